#![allow(unused)]
use mobula::prelude::*;
use std::{pin::Pin, sync::Arc};

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    pub fn consume(self) {}
    pub fn consume_mut(mut self) {}
    pub fn boxed(self: Box<Self>) {}
    pub fn shared(self: Arc<Self>) {}
    pub fn pinned(self: Pin<&mut Self>) {}
    pub fn none(by: u64) -> u64 {
        by
    }
}

fn main() {}
