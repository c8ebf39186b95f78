use mobula::task;

#[task]
struct Square(u64);

#[task]
impl Square {}

#[task]
trait Area {
    fn area(&self) -> u64;
}

#[task]
mod squares {}

#[task]
const SQUARE: u64 = 4;

impl Square {
    #[task]
    fn area(&self) -> u64 {
        self.0
    }
}

fn main() {}
