//! What threads share without a lock, or with one for each call, in every order in which threads can be run and memory
//! be seen: [loom](https://docs.rs/loom) tries them. The files under test are the library's own; what they are made of
//! (`sync`) is the checker's here, and their neighbours are no more than what they name of them.
//!
//! What is not modelled: the counts of `std`'s `Arc` where a trait object hangs on one, and what lies behind a lock whole.
#![cfg(test)]

mod actor;
mod limits;
mod object;
mod sync;
mod task;
mod wire;

use loom::model::Builder;

/// Runs `model` in every order with at most so many preemptions: two find nearly all that any number does.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut orders = Builder::new();
    orders.preemption_bound = Some(preemptions);
    orders.check(model);
}
