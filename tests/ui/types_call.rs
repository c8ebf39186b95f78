#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    pub fn add(&mut self, by: u64) {}
}

fn call(counter: &CounterHandle) {
    let _ = counter.add(1u32);
    let _ = counter.add("one");
    let _ = counter.add();
}

fn main() {}
