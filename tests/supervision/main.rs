//! Actors that are told of the ends of others: in one process, across workers, and when workers are killed.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod deaths;
mod links;
mod monitors;
mod parts;
mod supervisors;
mod support;

mobula::test_worker!();
