#![allow(unused)]
use mobula::prelude::*;

mod exam {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Result {
        pub points: u64,
    }
}

#[actor]
struct Exam;

#[methods]
impl Exam {
    #[constructor]
    pub fn new() -> Self {
        Self
    }
    pub fn grade(&mut self) -> exam::Result {
        exam::Result { points: 1 }
    }
    #[method(plain)]
    pub fn plain(&mut self) -> exam::Result {
        exam::Result { points: 1 }
    }
}

fn main() {}
