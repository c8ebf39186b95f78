#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Counter {
    totals: Vec<u64>,
}

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self { totals: Vec::new() }
    }
    pub fn watch(&mut self) -> impl Stream<Item = u64> {
        futures::stream::iter(self.totals.iter().copied())
    }
}

fn main() {}
