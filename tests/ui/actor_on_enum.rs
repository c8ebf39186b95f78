#![allow(unused)]
use mobula::prelude::*;

#[actor]
enum Machine {
    Idle,
}

#[actor]
union Bits {
    word: u32,
}

#[actor]
fn count() {}

#[actor]
impl Machine {}

#[actor]
trait Counts {}

fn main() {}
