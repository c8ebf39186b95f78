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
    pub fn add(
        &mut self,
        /// How many.
        by: u64,
    ) {
    }
}

fn main() {}
