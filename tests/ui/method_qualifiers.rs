#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor]
    pub unsafe fn new() -> Self {
        Self
    }
    pub unsafe fn peek(&mut self) {}
    pub extern "C" fn foreign(&mut self) {}
}

#[actor]
struct Variadic;

#[methods]
impl Variadic {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    pub unsafe extern "C" fn print(&mut self, format: u64, more: ...) {}
}

fn main() {}
