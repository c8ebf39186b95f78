#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct None;

#[methods]
impl None {
    #[constructor]
    pub fn one() -> Self {
        Self
    }
    #[constructor]
    pub fn other() -> Self {
        Self
    }
}

#[actor]
struct Both;

#[methods]
impl Both {
    #[constructor(default)]
    pub fn one() -> Self {
        Self
    }
    #[constructor(default)]
    pub fn other() -> Self {
        Self
    }
}

#[actor]
struct Unknown;

#[methods]
impl Unknown {
    #[constructor(defualt)]
    pub fn one() -> Self {
        Self
    }
    #[constructor(default = true)]
    pub fn other() -> Self {
        Self
    }
}

fn main() {}
