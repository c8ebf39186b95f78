#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Counter;

#[methods(groups(io = 4, compute = 2))]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[method(blokcing)]
    pub fn unknown(&mut self) {}
    #[method(blocking = true)]
    pub fn valued(&mut self) {}
    #[method(blocking, blocking)]
    pub fn twice(&mut self) {}
    #[method(blocking)]
    pub async fn blocks(&mut self) {}
    #[method(cancel)]
    pub fn never_awaits(&mut self) {}
    #[method(group = "oi")]
    pub fn unknown_group(&self) {}
    #[method(group = "io")]
    pub fn alone(&mut self) {}
    #[method(group = io)]
    pub fn unquoted(&self) {}
    #[method(name = "")]
    pub fn unnamed(&mut self) {}
    #[method = "add"]
    pub fn assigned(&mut self) {}
    #[method(plain)]
    pub fn plain(&mut self) -> u64 {
        0
    }
    #[method(cancel)]
    fn private(&mut self) {}
    #[method]
    #[constructor]
    pub fn both() -> Self {
        Self
    }
    #[cfg_attr(all(), method(blocking))]
    pub fn perhaps(&mut self) {}
}

#[actor]
struct Plain;

#[methods]
impl Plain {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[method(group = "io")]
    pub fn grouped(&self) {}
}

fn main() {}
