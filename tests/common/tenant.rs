//! An actor that takes a CPU, and does nothing with it.
#![allow(dead_code, reason = "each test binary takes what it needs")]

use mobula::prelude::*;

#[actor(cpus = 1)]
pub struct Tenant;

#[methods]
impl Tenant {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}
