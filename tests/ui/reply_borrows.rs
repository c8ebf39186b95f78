#![allow(unused)]
use mobula::prelude::*;
use std::borrow::Cow;

#[actor]
struct Counter {
    name: String,
}

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self { name: String::new() }
    }
    pub fn name(&mut self) -> &str {
        &self.name
    }
    pub fn names(&mut self) -> Vec<&String> {
        vec![&self.name]
    }
    pub fn perhaps(&mut self) -> Result<&str, u64> {
        Ok(&self.name)
    }
    pub fn failing(&mut self) -> Result<(), &'static str> {
        Err("always")
    }
    pub fn either(&mut self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }
    pub fn stream(&mut self) -> impl Stream<Item = &str> {
        futures::stream::empty()
    }
}

fn main() {}
