#![allow(unused)]
use futures::stream::{self, Stream};
use mobula::task;

#[task]
fn streams() -> impl Stream<Item = u64> {
    stream::empty()
}

#[task]
async fn streams_perhaps() -> mobula::Result<impl Stream<Item = u64> + Unpin> {
    Ok(stream::empty())
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
