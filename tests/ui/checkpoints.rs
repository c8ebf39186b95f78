#![allow(unused)]
use mobula::prelude::*;

#[actor(restarts = 3)]
struct Lone;

#[methods]
impl Lone {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[checkpoint]
    fn save(&self) -> u64 {
        0
    }
}

#[actor(restarts = 3)]
struct Unsaved;

#[methods]
impl Unsaved {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[restore]
    fn restored(saved: u64) -> Self {
        Self
    }
}

#[actor(restarts = 3)]
struct Nothing;

#[methods(checkpoint_every = 5)]
impl Nothing {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
}

#[actor(restarts = 3)]
struct Twice;

#[methods]
impl Twice {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[checkpoint]
    fn save(&self) -> u64 {
        0
    }
    #[checkpoint]
    fn also(&self) -> u64 {
        0
    }
    #[restore]
    fn restored(saved: u64) -> Self {
        Self
    }
    #[restore]
    fn as_well(saved: u64) -> Self {
        Self
    }
}

#[actor(restarts = 3)]
struct Shapes;

#[methods(checkpoint_every = soon)]
impl Shapes {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[checkpoint(often)]
    async fn save(&mut self, more: u64) {}
    #[restore(often)]
    fn restored(&self) -> u64 {
        0
    }
}

#[actor(restarts = 3)]
struct Several;

#[methods(checkpoint_every = "5 x")]
impl Several {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[checkpoint]
    fn save() -> u64 {
        0
    }
    #[restore]
    fn restored(saved: u64, more: u64) -> Self {
        Self
    }
}

fn main() {}
