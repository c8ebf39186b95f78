#![allow(unused)]
use mobula::prelude::*;

#[task]
fn square(x: u64) -> u64 {
    x * x
}

mod hidden {
    #[mobula::task]
    fn private() {}
}

async fn run(cluster: &Cluster) {
    square::submit(cluster, 3_u32);
    square::submit(cluster, "three");
    square::submit(3);
    square::call(cluster, 3);
    let squared: u64 = square::submit(cluster, 3);
    hidden::private::submit(cluster);
}

fn main() {}
