#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor(default)]
    pub fn nothing() {}
    #[constructor]
    pub fn other() -> u64 {
        0
    }
    #[constructor]
    pub fn maybe() -> Option<Self> {
        Some(Self)
    }
    #[constructor]
    pub fn fallible_other() -> Result<u64, String> {
        Ok(0)
    }
    #[constructor]
    pub fn any_error() -> Result<Self, Box<dyn std::error::Error>> {
        Ok(Self)
    }
    #[constructor]
    pub fn of_itself(&self) -> Self {
        Self
    }
}

fn main() {}
