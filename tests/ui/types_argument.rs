#![allow(unused)]
use mobula::prelude::*;

struct Opaque;

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor]
    pub fn new(of: Opaque) -> Self {
        Self
    }
    pub fn add(&mut self, by: Opaque) {}
    pub async fn look(&mut self, at: &Opaque) {}
}

fn main() {}
