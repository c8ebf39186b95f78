#![allow(unused)]
use mobula::prelude::*;

#[task]
fn unbounded<T>(items: Vec<T>) -> usize {
    items.len()
}

#[task]
fn not_plain<T: Message>(items: &[T]) -> usize {
    items.len()
}

fn main() {}
