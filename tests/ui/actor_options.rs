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

#[actor(cpus = -0.5)]
struct Owed;

#[actor(gpus = "one")]
struct Quoted;

#[actor(memory = 1.5)]
struct Parted;

#[actor(resource("tpu"))]
struct Unmeasured;

#[actor(resource("cpu", 1))]
struct HasItsOwn;

#[actor(resource("tpu", 0))]
struct NoneOfIt;

#[actor(label("zone", 1))]
struct OfANumber;

#[actor(label("zone", "a"), select("zone", "!b"))]
struct TwiceTheSame;

#[actor(select("zone"))]
struct Unconditional;

#[actor(select("zone", "in(a, )"))]
struct OfNothing;

#[actor(wait_for_node = true)]
struct Patient;

fn main() {}
