#![allow(unused)]
use mobula::task;

#[task]
unsafe fn is_unsafe() {}

#[task]
extern "C" fn foreign() {}

#[task]
fn lent<'a>(text: &'a str, other: &'a str) -> bool {
    text == other
}

#[task]
fn str(text: &str) -> usize {
    text.len()
}

fn main() {}
