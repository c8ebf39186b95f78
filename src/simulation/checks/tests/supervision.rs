//! What a supervisor does otherwise than it promises is noticed.

use super::super::supervision::Supervisors;
use super::*;
use crate::actor::core::supervision::{Kind, Strategy};
use crate::actor::core::tally::Restarts;

fn actor(serial: u64) -> ActorId {
    ActorId { life: Life(1), serial }
}

/// A supervisor with three permanent children, which are actors 0 to 2.
fn stands(strategy: Strategy, limit: u32) -> Supervisors {
    let mut supervisors = Supervisors::default();
    let intensity = Restarts { limit, window: Some(Duration::from_secs(5)) };
    assert_eq!(supervisors.begins(Life(1), strategy, &[Kind::Permanent; 3], intensity), 0);
    (0..3).for_each(|child| assert_eq!(supervisors.started(0, child, actor(child as u64)), None));
    supervisors.rests(0).unwrap();
    supervisors
}

/// A round in which these children are started again.
fn round(supervisors: &mut Supervisors, children: &[usize]) -> Checked {
    supervisors.restarts(0, Moment(0)).unwrap();
    children.iter().for_each(|child| supervisors.ended(0, *child));
    for child in children {
        assert!(supervisors.started(0, *child, actor(10 + *child as u64)).is_some());
    }
    supervisors.rests(0)
}

#[test]
fn supervised_children_that_are_forgotten_or_started_in_another_order_are_noticed() {
    round(&mut stands(Strategy::OneForOne, 3), &[1]).unwrap();
    round(&mut stands(Strategy::RestForOne, 3), &[1, 2]).unwrap();
    round(&mut stands(Strategy::OneForAll, 3), &[0, 1, 2]).unwrap();
    breaks(round(&mut stands(Strategy::RestForOne, 3), &[1]), Rule::Supervised);
    breaks(round(&mut stands(Strategy::RestForOne, 3), &[2, 1]), Rule::Supervised);
    breaks(round(&mut stands(Strategy::OneForAll, 3), &[1, 2]), Rule::Supervised);
}

#[test]
fn supervised_restarts_beyond_what_may_be_and_an_end_before_that_are_noticed() {
    let after = |seconds| Moment(0) + Duration::from_secs(seconds);
    let mut supervisors = stands(Strategy::OneForOne, 2);
    breaks(supervisors.gives_up(0, after(0)), Rule::Supervised);
    let mut supervisors = stands(Strategy::OneForOne, 2);
    (0..2).for_each(|second| supervisors.restarts(0, after(second)).unwrap());
    supervisors.restarts(0, after(5)).unwrap();
    breaks(supervisors.restarts(0, after(5)), Rule::Supervised);
    let mut supervisors = stands(Strategy::OneForOne, 2);
    (0..2).for_each(|second| supervisors.restarts(0, after(second)).unwrap());
    supervisors.gives_up(0, after(4)).unwrap();
}

#[test]
fn supervised_who_runs_without_reason_or_does_not_is_noticed() {
    let supervisors = stands(Strategy::OneForOne, 0);
    supervisors.stand(|_| true).unwrap();
    breaks(supervisors.stand(|of| of != actor(1)), Rule::Supervised);
    let mut supervisors = stands(Strategy::OneForOne, 0);
    supervisors.ended(0, 1);
    breaks(supervisors.stand(|of| of != actor(1)), Rule::Supervised);
    supervisors.ends(0);
    supervisors.stand(|_| false).unwrap();
    breaks(supervisors.stand(|of| of == actor(2)), Rule::Supervised);
    supervisors.over(Life(1));
    supervisors.stand(|_| true).unwrap();
    assert_eq!(supervisors.started(0, 1, actor(11)), Some(actor(1)), "in whose place it is");
}

#[test]
fn supervised_an_actor_that_runs_beside_the_one_in_whose_place_it_is_is_noticed() {
    let mut lives = Lives::default();
    let present = |life| Present { node: life as usize, life: Life(life), placement: Placement(1) };
    lives.appears(actor(1), present(1)).unwrap();
    lives.appears(actor(2), present(2)).unwrap();
    lives.succeeds(actor(1), actor(2));
    breaks(lives.one_begins(|_| true), Rule::Supervised);
    lives.one_begins(|present| present.life == Life(2)).unwrap();
    lives.vanishes(actor(1), Life(1));
    lives.one_begins(|_| true).unwrap();
}
