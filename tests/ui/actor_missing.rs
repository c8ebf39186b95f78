#![allow(unused)]
use mobula::prelude::*;

struct Counter;

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
}

fn main() {}
