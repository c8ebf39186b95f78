#![allow(unused)]
use mobula::prelude::*;

#[actor]
struct Holder<T: Message> {
    held: T,
}

#[methods]
impl<T: Message> Holder<T> {
    #[constructor]
    fn of(held: T) -> Self {
        Self { held }
    }
}

#[actor]
struct Counter;

#[methods]
impl Counter {
    #[constructor]
    fn new() -> Self {
        Self
    }
}

#[task]
fn largest<T: Message + Ord>(items: Vec<T>) -> Option<T> {
    items.into_iter().max()
}

type Numbers = Holder<u32>;

mobula::register!(Counter, Numbers, fn largest);
mobula::register!(Holder<u32> as "");
mobula::register!(fn largest::<u64> as largest);
mobula::register!(largest::<u64>);
mobula::register!(fn largest::<f64>);
mobula::register!(Vec<u32>);

fn main() {}
