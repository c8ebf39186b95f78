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
    #[on_stop]
    fn shared(&self) {}
}

#[actor]
struct Takes;

#[methods]
impl Takes {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[on_stop]
    fn more(&mut self, by: u64) -> Result<(), u64> {
        Ok(())
    }
}

#[actor]
struct Nobody;

#[methods]
impl Nobody {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[on_stop(last)]
    fn none() {}
}

#[actor]
struct Twice;

#[methods]
impl Twice {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[on_stop]
    fn one(&mut self) {}
    #[on_stop]
    fn other(&mut self) {}
}

fn main() {}
