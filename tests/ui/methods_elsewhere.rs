#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Counter;

#[methods]
impl Default for Counter {
    fn default() -> Self {
        Self
    }
}

#[methods]
trait Counts {}

#[methods]
struct Total;

#[methods]
fn count() {}

#[methods]
impl (Counter, u8) {}

#[methods]
impl<'a> Reader<'a> {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
}

fn main() {}
