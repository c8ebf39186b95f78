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

#[actor(restarts = "3")]
struct Text;

#[actor(restarts = 3, restart_window = 60)]
struct Unitless;

#[actor(restarts = 3, restart_window = "25h")]
struct TooLong;

#[actor(isolation = "thread")]
struct Unisolated;

#[actor(restart_window = "1m")]
struct Uncounted;

fn main() {}
