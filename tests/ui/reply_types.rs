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
    pub fn each(&mut self) -> impl Iterator<Item = u64> {
        0..3
    }
    pub fn later(&mut self) -> impl Future<Output = u64> {
        async { 0 }
    }
    pub fn items(&mut self) -> impl Stream {
        futures::stream::iter(0..3)
    }
    pub fn lent(&mut self) -> impl Stream<Item = u64> + '_ {
        futures::stream::iter(0..3)
    }
    pub fn nested(&mut self) -> Option<impl Stream<Item = u64>> {
        Some(futures::stream::iter(0..3))
    }
    pub fn boxed(&mut self) -> Box<dyn Fn()> {
        Box::new(|| ())
    }
    pub fn any_error(&mut self) -> Result<u64, Box<dyn std::error::Error>> {
        Ok(0)
    }
    pub fn never(&mut self) -> ! {
        loop {}
    }
}

fn main() {}
