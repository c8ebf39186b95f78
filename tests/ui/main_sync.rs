#![allow(unused)]
use mobula::Cluster;

#[mobula::main]
fn main(cluster: Cluster) {}
