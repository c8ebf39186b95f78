#![allow(unused)]
use mobula::prelude::*;
use std::cell::Cell;

#[actor]
struct Counter {
    total: Cell<u64>,
}

#[methods(concurrency = 4)]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self { total: Cell::new(0) }
    }
    pub fn get(&self) -> u64 {
        self.total.get()
    }
}

fn main() {}
