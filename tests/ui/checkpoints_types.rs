#![allow(unused)]
use mobula::prelude::*;

/// It is never started again.
#[actor]
struct Once;

#[methods]
impl Once {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[checkpoint]
    fn save(&self) -> u64 {
        0
    }
    #[restore]
    fn restored(saved: u64) -> Self {
        Self
    }
}

/// What is saved is not what it is restored from.
#[actor(restarts = 3)]
struct Other;

#[methods]
impl Other {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[checkpoint]
    fn save(&self) -> u64 {
        0
    }
    #[restore]
    fn restored(saved: String) -> Self {
        Self
    }
}

struct Opaque;

/// What is saved cannot be encoded.
#[actor(restarts = 3)]
struct Unencoded;

#[methods]
impl Unencoded {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    #[checkpoint]
    fn save(&self) -> Opaque {
        Opaque
    }
    #[restore]
    fn restored(saved: Opaque) -> Self {
        Self
    }
}

/// It says nothing of what is saved.
#[actor(restarts = 3)]
struct Silent;

#[methods]
impl Silent {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    pub async fn saves(&mut self, ctx: &mut ActorContext<Self>) {
        let _ = ctx.checkpoint(self).await;
    }
}

fn main() {}
