#![allow(unused)]
use mobula::Cluster;

mod none {
    #[mobula::main]
    async fn main() {}
}

mod more {
    #[mobula::main]
    async fn main(cluster: super::Cluster, arguments: Vec<String>) {}
}

mod borrowed {
    #[mobula::main]
    async fn main(cluster: &super::Cluster) {}
}

mod method {
    #[mobula::main]
    async fn main(self) {}
}

mod generic {
    #[mobula::main]
    async fn main<T: Default, const N: usize>(cluster: super::Cluster)
    where
        T: Clone,
    {
    }
}

mod foreign {
    #[mobula::main]
    async unsafe extern "C" fn main(cluster: super::Cluster) {}
}

mod elsewhere {
    #[mobula::main]
    struct Main;
}

fn main() {}
