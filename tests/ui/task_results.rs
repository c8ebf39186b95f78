#![allow(unused)]
use mobula::prelude::*;

type Outcome = Result<u64, String>;

#[task]
fn renamed() -> Outcome {
    Ok(0)
}

fn main() {}
