#![allow(unused)]
use mobula::prelude::*;
use std::io;

struct Opaque;

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Result<Self, Opaque> {
        Ok(Self)
    }
    pub fn add(&mut self) -> Result<u64, Opaque> {
        Err(Opaque)
    }
    pub fn read(&mut self) -> io::Result<u64> {
        Ok(0)
    }
}

fn main() {}
