#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Counter;

#[methods(concurrency = 0, grops(io = 1))]
impl Counter {
    pub fn change(&mut self, total: &mut u64, texts: Vec<&str>) -> &str {
        ""
    }
    pub fn put<T>(self, item: T) {}
}

fn main() {}
