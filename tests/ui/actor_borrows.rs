#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Reader<'a, T> {
    text: &'a str,
    of: T,
}

fn main() {}
