#![allow(unused)]
use futures::stream::{self, Stream};
use mobula::prelude::*;
use std::rc::Rc;

#[task]
fn borrows(text: &str) -> impl Stream<Item = char> {
    stream::iter(text.chars())
}

#[task]
fn stays() -> impl Stream<Item = u64> {
    let held = Rc::new(1);
    stream::once(async move { *held })
}

#[task]
fn counts() -> impl Stream<Item = std::time::Instant> {
    stream::empty()
}

#[task]
fn fine() -> impl Stream<Item = u64> {
    stream::empty()
}

async fn is_no_value(cluster: &Cluster) {
    let items = fine::call(cluster).await;
}

fn main() {}
