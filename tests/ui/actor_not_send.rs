#![allow(unused)]
use mobula::prelude::*;
use std::rc::Rc;

#[actor]
struct Counter {
    total: Rc<u64>,
}

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self { total: Rc::new(0) }
    }
}

fn main() {}
