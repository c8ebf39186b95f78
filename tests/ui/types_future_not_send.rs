#![allow(unused)]
use mobula::prelude::*;
use std::rc::Rc;

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    pub async fn add(&mut self, by: u64) -> u64 {
        let kept = Rc::new(by);
        std::future::ready(()).await;
        *kept
    }
}

fn main() {}
