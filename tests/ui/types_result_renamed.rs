#![allow(unused)]
use mobula::prelude::*;

type Outcome<T> = Result<T, mobula::Failure>;

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    pub fn add(&mut self) -> Outcome<u64> {
        Ok(0)
    }
}

fn main() {}
