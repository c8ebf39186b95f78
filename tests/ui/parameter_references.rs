#![allow(unused)]
use mobula::prelude::*;
use std::borrow::Cow;

#[actor]
struct Counter;

struct Ref<'a>(&'a str);

#[methods]
impl Counter {
    #[constructor]
    pub fn new(totals: &mut Vec<u64>) -> Self {
        Self
    }
    pub fn change(&mut self, total: &mut u64) {}
    pub fn fill(&mut self, totals: &mut [u64]) {}
    pub fn texts(&mut self, texts: Vec<&str>) {}
    pub fn perhaps(&mut self, total: Option<&u64>) {}
    pub fn twice(&mut self, text: &&str) {}
    pub fn pairs(&mut self, pair: (u64, &[u64])) {}
    pub fn forever(&mut self, text: &'static str) {}
    pub fn lent<'a>(&'a mut self, text: Cow<'a, str>) {}
    pub fn elided(&mut self, text: Ref<'_>) {}
}

fn main() {}
