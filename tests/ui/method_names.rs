#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor(default)]
    pub fn new() -> Self {
        Self
    }
    #[constructor]
    pub fn at(total: u64) -> Self {
        Self
    }
    pub fn spawn(&mut self) {}
    fn spawn_at(&mut self) {}
    pub fn add(&mut self) {}
    #[method(name = "add")]
    pub fn add_up(&mut self) {}
    #[method(name = "at")]
    pub fn place(&mut self) {}
}

fn main() {}
