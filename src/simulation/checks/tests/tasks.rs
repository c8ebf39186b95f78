//! Q1 to Q4: histories of tasks and grants that break them.

use super::breaks;
use crate::id::{GrantId, Life};
use crate::limits::PUSH_DEPTH_MIN;
use crate::schedule::Class;
use crate::simulation::checks::Rule;
use crate::simulation::checks::tasks::{Attempt, End, Lane, Tasks};
use std::time::Duration;

const OWNER: Life = Life(1);
const HOST: Life = Life(2);
const OTHER: Life = Life(3);
const GRANT: GrantId = GrantId(7);
const ELSEWHERE: GrantId = GrantId(8);
const CLASS: Class = Class(0);
const LANE: Lane = (0, CLASS, 0);

const fn attempt(number: u32, host: Life, grant: GrantId) -> Attempt {
    Attempt { number, owner: OWNER, host, grant }
}

/// So many tasks that may run twice; one slot on the host, one elsewhere.
fn tasks(count: usize) -> Tasks {
    let mut tasks = Tasks::default();
    for _ in 0..count {
        tasks.submits(LANE, 2, None);
    }
    tasks.granted(GRANT, CLASS, 1, 1);
    tasks.granted(ELSEWHERE, CLASS, 1, 1);
    tasks
}

#[test]
fn q1_more_than_a_grant_or_a_node_has_is_noticed() {
    let mut deep = tasks(4);
    for task in 0..u64::from(PUSH_DEPTH_MIN) {
        deep.pushes(task, GRANT, Some(OWNER)).unwrap();
    }
    breaks(deep.pushes(3, GRANT, Some(OWNER)), Rule::Q1);
    let mut fast = tasks(4);
    fast.measured(LANE.0, CLASS, Duration::from_millis(1));
    (0..4).for_each(|task| fast.pushes(task, GRANT, Some(OWNER)).unwrap());

    let mut kept = tasks(1);
    kept.keeps(GRANT, 0);
    breaks(kept.pushes(0, GRANT, Some(OWNER)), Rule::Q1);
    breaks(tasks(1).pushes(0, GrantId(99), Some(OWNER)), Rule::Q1);
    let mut over = tasks(1);
    over.keeps(GRANT, 0);
    over.over(OWNER);
    over.pushes(0, GRANT, Some(OWNER)).unwrap();

    let mut slots = tasks(2);
    slots.begins(0, attempt(1, HOST, GRANT), (0, 4)).unwrap();
    breaks(slots.gives_back(GRANT, 0), Rule::Q1);
    breaks(slots.begins(1, attempt(1, HOST, GRANT), (0, 4)), Rule::Q1);

    let mut full = tasks(1);
    breaks(full.begins(0, attempt(1, HOST, GRANT), (4, 4)), Rule::Q1);
    breaks(full.fits(HOST, 4, 4), Rule::Q1);
    full.leaves(0, attempt(1, HOST, GRANT));
    full.fits(HOST, 4, 4).unwrap();
}

#[test]
fn q1_what_an_owner_left_running_is_counted_until_it_ends() {
    let mut tasks = tasks(1);
    tasks.begins(0, attempt(1, HOST, GRANT), (3, 4)).unwrap();
    tasks.over(OWNER);
    breaks(tasks.fits(HOST, 4, 4), Rule::Q1);
    tasks.leaves(0, attempt(1, HOST, GRANT));
    tasks.fits(HOST, 4, 4).unwrap();
}

#[test]
fn q2_a_task_that_is_pushed_or_begins_twice_is_noticed() {
    let mut pushed = tasks(1);
    pushed.pushes(0, GRANT, Some(OWNER)).unwrap();
    breaks(pushed.pushes(0, ELSEWHERE, Some(OWNER)), Rule::Q2);
    let mut begun = tasks(1);
    begun.begins(0, attempt(1, HOST, GRANT), (0, 4)).unwrap();
    begun.leaves(0, attempt(1, HOST, GRANT));
    breaks(begun.begins(0, attempt(1, OTHER, ELSEWHERE), (0, 4)), Rule::Q2);
    let mut often = tasks(1);
    for number in 1..=2 {
        often.begins(0, attempt(number, HOST, GRANT), (0, 4)).unwrap();
        often.leaves(0, attempt(number, HOST, GRANT));
    }
    breaks(often.begins(0, attempt(3, HOST, GRANT), (0, 4)), Rule::Q2);
}

#[test]
fn q2_an_attempt_beside_an_earlier_one_is_noticed() {
    let mut beside = tasks(1);
    beside.begins(0, attempt(1, HOST, GRANT), (0, 4)).unwrap();
    breaks(beside.begins(0, attempt(2, OTHER, ELSEWHERE), (0, 4)), Rule::Q2);
    let mut after = tasks(1);
    after.begins(0, attempt(1, HOST, GRANT), (0, 4)).unwrap();
    after.over(HOST);
    after.begins(0, attempt(2, OTHER, ELSEWHERE), (0, 4)).unwrap();
}

#[test]
fn q2_a_task_that_ends_twice_or_never_or_otherwise_than_it_ran_is_noticed() {
    let mut tasks = tasks(3);
    breaks(tasks.all_ended(), Rule::Q2);
    breaks(tasks.ends(0, End::Value), Rule::Q2);
    breaks(tasks.ends(0, End::Failed), Rule::Q2);
    breaks(tasks.returns(0), Rule::Q2);
    tasks.ends(1, End::Never).unwrap();
    breaks(tasks.begins(1, attempt(1, HOST, GRANT), (0, 4)), Rule::Q2);
    tasks.begins(2, attempt(1, OTHER, ELSEWHERE), (0, 4)).unwrap();
    breaks(tasks.ends(2, End::Never), Rule::Q2);
    assert_eq!((tasks.open(), tasks.count(), tasks.begun()), (0, 3, 2));
}

#[test]
fn q2_a_process_takes_its_tasks_with_it() {
    let mut tasks = tasks(1);
    tasks.submits((1, CLASS, 0), 1, None);
    tasks.begins(0, attempt(1, HOST, GRANT), (0, 4)).unwrap();
    tasks.process_gone(0, [(0, attempt(1, HOST, GRANT))].into_iter());
    assert!(tasks.is_over(0) && !tasks.is_over(1));
    tasks.fits(HOST, 4, 4).unwrap();
}

#[test]
fn q3_a_task_that_is_pushed_after_a_later_one_is_noticed() {
    let mut tasks = tasks(3);
    tasks.pushes(1, GRANT, Some(OWNER)).unwrap();
    tasks.pushes(2, ELSEWHERE, Some(OWNER)).unwrap();
    breaks(tasks.pushes(0, GRANT, Some(OWNER)), Rule::Q3);
    let mut again = self::tasks(2);
    again.pushes(0, GRANT, Some(OWNER)).unwrap();
    again.returns(0).unwrap();
    again.pushes(1, GRANT, Some(OWNER)).unwrap();
    again.pushes(0, GRANT, Some(OWNER)).unwrap();
}

#[test]
fn q4_a_slot_that_idles_while_tasks_are_ready_is_noticed() {
    let mut tasks = tasks(2);
    breaks(tasks.no_slot_idles(&[CLASS], [GRANT].into_iter()), Rule::Q4);
    tasks.no_slot_idles(&[], [GRANT].into_iter()).unwrap();
    tasks.no_slot_idles(&[Class(1)], [GRANT].into_iter()).unwrap();
    tasks.pushes(0, GRANT, Some(OWNER)).unwrap();
    tasks.no_slot_idles(&[CLASS], [GRANT].into_iter()).unwrap();
}
