#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Counter;

#[methods(concurency = 4)]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
}

#[actor]
struct Zero;

#[methods(concurrency = 0, groups(io = 0))]
impl Zero {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
}

#[actor]
struct Groups;

#[methods(concurrency = "8", groups(io = 4, io = 2, default = 3, a::b = 1, compute))]
impl Groups {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
}

#[actor]
struct Unnamed;

#[methods(concurrency, groups = 4)]
impl Unnamed {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
}

#[actor]
struct Retried;

#[methods(retries = 256)]
impl Retried {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    #[method(retries = "3")]
    pub fn text(&self) {}

    #[method(retries = 3)]
    pub fn items(&self) -> impl Stream<Item = u8> {
        futures::stream::empty()
    }
}

fn main() {}
