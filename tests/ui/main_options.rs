#![allow(unused)]
use mobula::Cluster;

mod unknown {
    #[mobula::main(worker = 2)]
    async fn main(cluster: super::Cluster) {}
}

mod text {
    #[mobula::main(workers = "2")]
    async fn main(cluster: super::Cluster) {}
}

mod huge {
    #[mobula::main(workers = 100_000)]
    async fn main(cluster: super::Cluster) {}
}

fn main() {}
