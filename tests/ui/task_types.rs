#![allow(unused)]
use mobula::prelude::*;
use std::rc::Rc;

struct Opaque;

#[task]
fn takes(opaque: Opaque) {}

#[task]
fn lends(opaque: &Opaque) {}

#[task]
fn gives() -> Opaque {
    Opaque
}

#[task]
fn fails() -> Result<u64, Opaque> {
    Ok(0)
}

fn main() {}
