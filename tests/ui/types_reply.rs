#![allow(unused)]
use mobula::prelude::*;

struct Opaque;

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    pub fn get(&mut self) -> Opaque {
        Opaque
    }
    pub fn perhaps(&mut self) -> mobula::Result<Opaque> {
        Ok(Opaque)
    }
    pub fn all(&mut self) -> impl Stream<Item = Opaque> {
        futures::stream::empty()
    }
}

fn main() {}
