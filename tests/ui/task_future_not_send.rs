#![allow(unused)]
use mobula::prelude::*;
use std::rc::Rc;

#[task]
async fn later(by: u64) -> u64 {
    let kept = Rc::new(by);
    std::future::ready(()).await;
    *kept
}

fn main() {}
