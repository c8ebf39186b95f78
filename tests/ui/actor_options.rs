#![allow(unused)]
use mobula::prelude::*;

#[actor(nam = "Counter")]
struct Unknown;

#[actor(name = "")]
struct Empty;

#[actor(name = "two words")]
struct Unfit;

#[actor(name = 3)]
struct Number;

#[actor(name = "a", name = "b")]
struct Twice;

#[actor(name = "a" name)]
struct Malformed;

fn main() {}
