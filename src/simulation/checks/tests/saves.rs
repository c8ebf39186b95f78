//! What was saved of an actor is kept, and comes back.

use super::super::saves::{Save, Saves};
use super::*;

fn save(placement: u64, number: u64) -> Save {
    Save { placement: Placement(placement), number }
}

fn placed(placement: u64) -> Record {
    Record::Placed { actor: ACTOR, placement: Placement(placement), host: Life(1), restarts: 1, bundle: None }
}

fn on_disk(save: Save, state: Save) -> Record {
    let Save { placement, number } = save;
    Record::Checkpointed { actor: ACTOR, placement, number, state: state.encoded() }
}

/// The first placement has saved twice.
fn saved_twice() -> Saves {
    let mut saves = Saves::default();
    saves.on_disk(&placed(1)).unwrap();
    saves.makes(ACTOR, Placement(1), None).unwrap();
    (1..=2).for_each(|number| saves.saves(ACTOR, save(1, number)).unwrap());
    saves
}

#[test]
fn l6_what_the_head_keeps_of_another_run_or_after_a_later_one_is_noticed() {
    assert_eq!(Save::decoded(&save(3, 4).encoded()), Some(save(3, 4)));
    let mut saves = saved_twice();
    saves.on_disk(&on_disk(save(1, 2), save(1, 2))).unwrap();
    breaks(saves.on_disk(&on_disk(save(1, 1), save(1, 1))), Rule::L6);
    saves.on_disk(&placed(2)).unwrap();
    breaks(saves.on_disk(&on_disk(save(1, 3), save(1, 3))), Rule::L6);
    breaks(saves.on_disk(&on_disk(save(2, 1), save(1, 3))), Rule::L6);
    saves.on_disk(&on_disk(save(2, 2), save(2, 2))).unwrap();
}

#[test]
fn l6_a_run_that_is_made_of_less_than_was_acknowledged_is_noticed() {
    let mut saves = saved_twice();
    saves.keeps(ACTOR, save(1, 2)).unwrap();
    breaks(saves.makes(ACTOR, Placement(2), None), Rule::L6);
    breaks(saves.makes(ACTOR, Placement(2), Some(save(1, 1))), Rule::L6);
    saves.makes(ACTOR, Placement(2), Some(save(1, 2))).unwrap();
    let mut saves = saved_twice();
    saves.makes(ACTOR, Placement(2), Some(save(1, 1))).unwrap();
    saves.keeps(ACTOR, save(1, 1)).unwrap();
    breaks(saves.keeps(ACTOR, save(1, 2)), Rule::L6);
}

#[test]
fn l6_a_run_that_is_made_of_what_nobody_saved_before_it_is_noticed() {
    let mut saves = saved_twice();
    breaks(saves.makes(ACTOR, Placement(2), Some(save(1, 3))), Rule::L6);
    let mut saves = saved_twice();
    saves.makes(ACTOR, Placement(2), Some(save(1, 2))).unwrap();
    saves.saves(ACTOR, save(1, 3)).unwrap();
    breaks(saves.makes(ACTOR, Placement(3), Some(save(1, 3))), Rule::L6);
    breaks(saves.saves(ACTOR, save(1, 3)), Rule::L6);
}

#[test]
fn l6_a_run_in_place_that_is_not_made_of_what_was_saved_last_is_noticed() {
    let mut saves = saved_twice();
    saves.makes_again(ACTOR, Placement(1), Some(save(1, 2))).unwrap();
    breaks(saves.makes_again(ACTOR, Placement(1), Some(save(1, 1))), Rule::L6);
    saves.makes(ACTOR, Placement(2), Some(save(1, 2))).unwrap();
    saves.makes_again(ACTOR, Placement(2), Some(save(1, 2))).unwrap();
    breaks(saves.makes_again(ACTOR, Placement(2), None), Rule::L6);
}

#[test]
fn l6_a_run_that_is_refused_though_nothing_has_replaced_it_is_noticed() {
    let mut saves = saved_twice();
    breaks(saves.refuses(ACTOR, save(1, 2)), Rule::L6);
    saves.on_disk(&placed(2)).unwrap();
    saves.refuses(ACTOR, save(1, 2)).unwrap();
}
