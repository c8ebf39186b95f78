#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Shelf<T> {
    items: Vec<T>,
}

#[methods]
impl<T: mobula::Message> Shelf<T> {
    #[constructor]
    pub fn new<const N: usize>() -> Self {
        Self { items: Vec::new() }
    }
    pub fn put<U: Into<T>>(&mut self, item: U) {}
    pub fn put_all<const N: usize>(&mut self, items: [u64; N]) {}
    pub fn sort(&mut self)
    where
        T: Ord,
    {
    }
}

fn main() {}
