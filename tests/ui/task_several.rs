#![allow(unused)]
use futures::stream::{self, Stream};
use mobula::task;

#[task(returns = 0)]
fn none() {}

#[task(returns = 1)]
fn one() -> (u64,) {
    (1,)
}

#[task(returns = 9)]
fn many() -> (u8, u8, u8, u8, u8, u8, u8, u8, u8) {
    Default::default()
}

#[task(returns = 3)]
fn fewer() -> mobula::Result<(u64, u64)> {
    Ok((1, 2))
}

#[task(returns = 2)]
fn listed() -> Vec<u64> {
    vec![1, 2]
}

#[task(returns = 2)]
fn aliased() -> std::fmt::Result {
    Ok(())
}

#[task(returns = 2)]
fn nothing() {}

#[task(returns = 2)]
fn streams() -> impl Stream<Item = u64> {
    stream::empty()
}

#[task(returns = "two")]
fn quoted() -> (u64, u64) {
    (1, 2)
}

fn main() {}
