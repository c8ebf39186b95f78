//! R1 to R4: histories of objects that break them.

use super::breaks;
use crate::id::{Life, ObjectId};
use crate::node::core::refs::Loss;
use crate::simulation::checks::Rule;
use crate::simulation::checks::references::References;

const OWNER: Life = Life(1);
const HOLDER: Life = Life(2);
const READER: Life = Life(3);
const X: ObjectId = ObjectId { life: OWNER, serial: 1 };
const Y: ObjectId = ObjectId { life: HOLDER, serial: 1 };

/// X was sent to its holder, and has arrived there.
fn held() -> References {
    let mut references = References::default();
    references.puts(X);
    references.leaves(X, OWNER, HOLDER);
    references.arrives(X).unwrap();
    references.held(X, HOLDER);
    references
}

#[test]
fn r1_an_object_that_is_freed_while_it_is_held_or_travels_is_noticed() {
    breaks(held().freed(X), Rule::R1);
    let mut travels = held();
    travels.let_go(X, HOLDER);
    travels.leaves(X, HOLDER, READER);
    breaks(travels.freed(X), Rule::R1);
    let mut returned = held();
    returned.let_go(X, HOLDER);
    returned.freed(X).unwrap();
    let mut ended = held();
    ended.over(HOLDER);
    ended.freed(X).unwrap();
}

#[test]
fn r1_who_was_involved_counts_through_what_an_object_was_in() {
    let mut references = held();
    references.puts(Y);
    references.read(X, Y, READER);
    references.held(X, READER);
    references.let_go(X, HOLDER);
    references.over(HOLDER);
    references.freed(X).unwrap();
}

#[test]
fn r2_an_object_that_is_never_freed_is_noticed() {
    let mut references = held();
    breaks(references.all_freed(), Rule::R2);
    assert_eq!(references.kept(), 1);
    references.let_go(X, HOLDER);
    references.freed(X).unwrap();
    references.all_freed().unwrap();
    references.puts(Y);
    references.over(HOLDER);
    references.puts(ObjectId { serial: 2, ..Y });
    references.all_freed().unwrap();
    assert_eq!((references.kept(), references.count()), (0, 3));
}

#[test]
fn r3_a_reference_that_arrives_twice_and_an_object_that_is_freed_twice_are_noticed() {
    breaks(held().arrives(X), Rule::R3);
    let mut unsent = held();
    unsent.leaves(X, OWNER, READER);
    unsent.stays(X);
    breaks(unsent.arrives(X), Rule::R3);
    let mut freed = held();
    freed.let_go(X, HOLDER);
    freed.freed(X).unwrap();
    breaks(freed.freed(X), Rule::R3);
}

#[test]
fn r4_a_loss_without_a_cause_and_one_that_is_not_told_are_noticed() {
    breaks(held().lost(X, HOLDER, Loss::OwnerDied), Rule::R4);
    breaks(held().lost(X, HOLDER, Loss::Gone), Rule::R4);
    let mut ended = held();
    ended.over(HOLDER);
    ended.lost(X, READER, Loss::Gone).unwrap();
    breaks(ended.lost(X, READER, Loss::OwnerDied), Rule::R4);
    held().is_there(X, HOLDER).unwrap();
    let mut orphan = held();
    orphan.over(OWNER);
    orphan.lost(X, HOLDER, Loss::OwnerDied).unwrap();
    breaks(orphan.is_there(X, HOLDER), Rule::R4);
    ended.freed(X).unwrap();
    breaks(ended.is_there(X, READER), Rule::R4);
}
