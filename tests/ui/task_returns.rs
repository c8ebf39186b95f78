#![allow(unused)]
use futures::stream::{self, Stream};
use mobula::task;

#[task]
fn streams(text: &str) -> impl Stream<Item = &str> {
    stream::empty()
}

#[task]
async fn streams_for_a_while(text: &str) -> mobula::Result<impl Stream<Item = u64> + '_> {
    Ok(stream::empty())
}

#[task]
fn streams_streams() -> impl Stream<Item = impl Stream<Item = u64>> {
    stream::iter([stream::empty()])
}

#[task]
fn borrows(text: &str) -> &str {
    text
}

#[task]
fn opaque() -> impl Into<u64> {
    0_u8
}

#[task]
fn never() -> ! {
    loop {}
}

#[task]
fn dynamic() -> Result<u64, Box<dyn std::error::Error>> {
    Ok(0)
}

#[task]
fn pointer() -> Option<fn()> {
    None
}

fn main() {}
