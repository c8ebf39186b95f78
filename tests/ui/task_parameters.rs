#![allow(unused)]
use mobula::prelude::*;

#[task]
fn changes(total: &mut u64, items: &mut [f32]) {}

#[task]
fn borrows(texts: Vec<&str>, name: &'static str) {}

#[task]
fn opaque(item: impl Into<u64>, call: Box<dyn Fn()>, pointer: fn(u64)) {}

#[task]
fn contexts(one: &TaskContext, other: &TaskContext) {}

#[task]
fn mutable(ctx: &mut TaskContext) {}

#[task]
fn owned(ctx: TaskContext) {}

#[task]
fn of_an_actor(ctx: &TaskContext, actor: u64, other: &mut ActorContext<u64>) {}

#[task]
fn only_of_an_actor(ctx: &mut ActorContext<u64>) {}

#[task]
fn cut(#[cfg(all())] here: u64) {}

#[task]
#[rustfmt::skip]
fn many(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8, m: u8, n: u8, o: u8, p: u8, q: u8) {}

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    pub fn task(&mut self, ctx: &TaskContext) {}
}

fn main() {}
