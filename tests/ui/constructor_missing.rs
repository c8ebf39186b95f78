#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Counter;

#[methods]
impl Counter {
    fn new() -> Self {
        Self
    }
    pub fn add(&mut self) {}
}

fn main() {}
