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
    pub fn any(&mut self, total: impl Into<u64>) {}
    pub fn any_of(&mut self, totals: Vec<impl Into<u64>>) {}
    pub fn object(&mut self, total: &dyn Fn() -> u64) {}
    pub fn boxed(&mut self, total: Box<dyn Fn() -> u64 + Send>) {}
    pub fn pointed(&mut self, total: fn(u64) -> u64) {}
    pub fn raw(&mut self, total: *const u64) {}
    pub fn sometimes(&mut self, #[cfg(any())] total: u64) {}
    pub fn many(
        &mut self, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8,
    ) {
    }
}

fn main() {}
