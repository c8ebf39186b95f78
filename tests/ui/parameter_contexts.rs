#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    pub fn twice(&mut self, one: &mut ActorContext<Self>, other: &mut ActorContext<Self>) {}
    pub fn shared(&mut self, context: &ActorContext<Self>) {}
    pub fn owned(&mut self, context: ActorContext<Self>) {}
}

fn main() {}
