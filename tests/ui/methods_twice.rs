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
}

#[methods]
impl Counter {
    #[constructor]
    pub fn again() -> Self {
        Self
    }
}

fn main() {}
