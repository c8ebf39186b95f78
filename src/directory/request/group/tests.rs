use super::*;
use crate::directory::message::{Command, How, News};
use crate::directory::request::{GroupLine, GroupState, Needs, Page, Prospect, Query, Spawn, SpawnError, WantError};
use crate::directory::testing::{Head, choose, cpus, name, spawn, want};
use crate::id::ActorId;
use crate::limits::GROUPS_A_LOOK;
use crate::schedule::Strategy;
use std::time::Duration;

fn create(life: Life, serial: u64, bundles: &[f64], packing: Packing) -> CreateGroup {
    let bundles = bundles.iter().map(|n| cpus(*n)).collect();
    let (group, patience) = (GroupId { life, serial }, Patience::Fail);
    CreateGroup { group, bundles, packing, name: None, detached: false, patience }
}

fn within(group: GroupId, index: Option<u32>, cpu: f64) -> Needs {
    Needs { resources: cpus(cpu), strategy: Strategy::Bundle { group, index }, ..Needs::default() }
}

fn groups(head: &Head) -> Vec<GroupLine> {
    match head.directory.status(Query::Groups { after: None }) {
        Page::Groups(lines) => lines,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_group_that_no_nodes_could_hold_waits_for_some_if_it_is_to() {
    let mut head = Head::new();
    let (driver, _one) = (head.driver(9), head.worker(1));
    let spread = create(driver, 1, &[1.0, 1.0], Packing::StrictSpread);
    assert_eq!(
        head.asked(driver, spread.clone()),
        Err(GroupError::Unplaced(Why::BundlesNeverFit(Packing::StrictSpread)))
    );
    let patient = CreateGroup { patience: Patience::Wait, ..create(driver, 2, &[1.0, 1.0], Packing::StrictSpread) };
    let request = head.asks(driver, patient);
    assert_eq!(head.answer::<CreateGroup>(request), None);
    assert_eq!(groups(&head)[0].why, Some(Why::BundlesNeverFit(Packing::StrictSpread)));
    head.worker(2);
    head.pass(Duration::from_millis(1));
    assert_eq!(head.answer::<CreateGroup>(request).expect("placed").unwrap().hosts.len(), 2);
}

#[test]
fn all_bundles_are_placed_at_once_or_none_and_the_group_waits() {
    let mut head = Head::new();
    let (first, second, driver) = (head.worker(1), head.worker(2), head.driver(11));
    assert!(head.asked(driver, choose(driver, 1, 1.0)).is_ok());
    let waits = head.asks(driver, create(driver, 1, &[2.0, 2.0], Packing::StrictSpread));
    assert_eq!((head.reply(waits), head.free(second)), (None, cpus(2.0)), "nothing is taken meanwhile");
    assert_eq!(groups(&head)[0].state, GroupState::Waiting);
    let fits = head.asked(driver, create(driver, 2, &[1.0], Packing::Pack));
    assert_eq!(fits, Ok(Grouped { hosts: vec![first] }));
    head.asked(driver, RemoveGroup { group: GroupId { life: driver, serial: 2 } }).unwrap();
    let actor = ActorId { life: driver, serial: 1 };
    let ended = crate::directory::request::Ended { actor, placement: crate::id::Placement(0), why: Gone::Stopped };
    head.asked(driver, ended).unwrap();
    assert_eq!(head.answer::<CreateGroup>(waits), Some(Ok(Grouped { hosts: vec![first, second] })));
    assert_eq!((head.free(first).get("cpu"), head.free(second).get("cpu")), Default::default());
}

#[test]
fn a_group_that_waits_says_what_would_have_to_change_and_its_asker_is_told() {
    let mut head = Head::new();
    let (first, second, driver) = (head.worker(1), head.worker(2), head.driver(11));
    assert!(head.asked(driver, choose(driver, 1, 1.0)).is_ok());
    let asks = head.asks(driver, create(driver, 1, &[2.0, 2.0], Packing::StrictSpread));
    let seen = |head: &Head| groups(head)[0].why.clone();
    let told = |head: &Head| -> Vec<Why> {
        let why = |news| match news {
            News::Waits { request, why } if request == asks => Some(why),
            _ => None,
        };
        head.news_to(driver).into_iter().filter_map(why).collect()
    };
    assert_eq!((seen(&head), told(&head)), (Some(Why::Full), vec![Why::Full]));
    head.leaves(second);
    head.pass(std::time::Duration::ZERO);
    let never = Why::BundlesNeverFit(Packing::StrictSpread);
    assert_eq!((seen(&head), told(&head)), (Some(never.clone()), vec![Why::Full, never.clone()]));
    let third = head.worker(3);
    assert_eq!((seen(&head), told(&head)), (Some(Why::Full), vec![Why::Full, never, Why::Full]), "{first:?}");
    let fourth = head.worker(4);
    assert_eq!(head.answer::<CreateGroup>(asks), Some(Ok(Grouped { hosts: vec![third, fourth] })));
    assert_eq!(seen(&head), None, "it waits no longer");
}

#[test]
fn a_look_seeks_places_for_some_of_many_groups_and_each_has_its_turn() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(11));
    let [gives, _stays] = [1, 2].map(|serial| head.asked(driver, choose(driver, serial, 1.0)).map(|_| serial).unwrap());
    let many = 10 * GROUPS_A_LOOK as u64;
    for serial in 1..=many {
        head.asks(driver, create(driver, serial, &[2.0], Packing::Pack));
    }
    let small = head.asks(driver, create(driver, many + 1, &[1.0], Packing::Pack));
    let others = head.asks(driver, create(driver, many + 2, &[2.0], Packing::Pack));
    head.pass(Duration::from_millis(100));
    let actor = ActorId { life: driver, serial: gives };
    let ended = crate::directory::request::Ended { actor, placement: crate::id::Placement(0), why: Gone::Stopped };
    head.asked(driver, ended).unwrap();
    let mut looks = 0;
    while head.reply(small).is_none() {
        looks += 1;
        assert!(looks <= 20, "its turn comes");
        head.pass(Duration::from_millis(1));
    }
    assert!(looks > 5, "a look takes some only: {looks}");
    assert_eq!(head.answer::<CreateGroup>(small), Some(Ok(Grouped { hosts: vec![worker] })));
    (0..30).for_each(|_| drop(head.pass(Duration::from_millis(1))));
    assert!(head.reply(others).is_none() && head.directory.grants.deadline().is_none(), "it comes to rest");
}

#[test]
fn what_can_never_be_placed_and_what_is_not_allowed_is_refused() {
    let mut head = Head::new();
    let (_, driver) = (head.worker(1), head.driver(11));
    let error = head.asked(driver, create(driver, 1, &[1.0, 1.0], Packing::StrictSpread)).unwrap_err();
    assert_eq!(error, GroupError::Unplaced(Why::BundlesNeverFit(Packing::StrictSpread)));
    for wrong in [
        create(Life(99), 1, &[1.0], Packing::Pack),
        create(driver, 1, &[], Packing::Pack),
        create(driver, 1, &[0.0], Packing::Pack),
    ] {
        assert_eq!(head.asked(driver, wrong), Err(GroupError::Invalid));
    }
    let named = |serial| CreateGroup { name: Some(name("g")), ..create(driver, serial, &[1.0], Packing::Pack) };
    head.asked(driver, named(1)).unwrap();
    assert!(matches!(head.asked(driver, named(2)), Err(GroupError::NameTaken { .. })));
    assert!(head.asked(driver, named(1)).is_ok(), "asked again, it is the same group");
}

#[test]
fn actors_and_tasks_take_of_their_bundle_and_end_with_the_group() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(11));
    let group = GroupId { life: driver, serial: 1 };
    head.asked(driver, create(driver, 1, &[1.0, 1.0], Packing::Pack)).unwrap();
    let (actor, host, _) = head.spawned(Spawn { needs: within(group, Some(0), 1.0), ..spawn(driver, 1) });
    assert_eq!(host, worker);
    let full = head.asks(driver, Spawn { needs: within(group, Some(0), 1.0), ..spawn(driver, 2) });
    assert_eq!(head.reply(full), None, "that bundle is full");
    let error = head.asked(driver, Spawn { needs: within(group, Some(2), 1.0), ..spawn(driver, 3) });
    assert_eq!(error, Err(SpawnError::NoGroup(group)));
    head.asked(driver, crate::directory::request::Want { needs: within(group, None, 0.5), ..want(0, 0.0, 8) }).unwrap();
    let grants = head.granted(driver);
    assert_eq!(grants.iter().map(|grant| (grant.bundle, grant.slots)).collect::<Vec<_>>(), [(Some((group, 1)), 2)]);
    head.asked(driver, RemoveGroup { group }).unwrap();
    let why = Revoked::GroupRemoved(group);
    assert!(head.grant_orders(driver).contains(&Command::Revoke { grant: grants[0].grant, why }));
    assert_eq!(head.free(worker).get("cpu").quantity(), 0.0, "tasks may run in the one, an actor does in the other");
    head.gives_back(worker, grants[0].grant, 0);
    assert_eq!(head.free(worker), cpus(1.0), "a bundle goes with the last that runs in it");
    head.obeys(actor);
    assert_eq!(head.gone(actor), Some(Gone::GroupRemoved { group }));
    assert_eq!(head.free(worker), cpus(2.0));
    let gone = crate::directory::request::Want { needs: within(group, None, 0.5), ..want(1, 0.0, 1) };
    assert_eq!(head.asked(driver, gone), Ok(Prospect::Waits(WantError::NoGroup(group))));
}

#[test]
fn bundles_whose_node_has_ended_are_placed_again_and_what_is_within_goes_on_there() {
    let mut head = Head::new();
    let (first, second, driver) = (head.worker(1), head.worker(2), head.driver(11));
    let group = GroupId { life: driver, serial: 1 };
    head.asked(driver, create(driver, 1, &[2.0, 1.0], Packing::StrictSpread)).unwrap();
    let (actor, ..) = head.spawned(Spawn { needs: within(group, Some(0), 1.0), restarts: 1, ..spawn(driver, 1) });
    head.leaves(first);
    assert_eq!(groups(&head)[0].state, GroupState::Partly(vec![None, Some(second)]));
    assert_eq!(head.free(second), cpus(1.0), "the other bundle is held");
    let asks = head.asks(driver, create(driver, 1, &[2.0, 1.0], Packing::StrictSpread));
    let task = crate::directory::request::Want { needs: within(group, Some(0), 1.0), ..want(0, 0.0, 1) };
    let waits = Ok(Prospect::Waits(WantError::Unplaced(Why::NoBundle(group))));
    assert_eq!((head.asked(driver, task), head.reply(asks)), (waits, None));
    let third = head.worker(3);
    assert_eq!(head.answer::<CreateGroup>(asks), Some(Ok(Grouped { hosts: vec![third, second] })));
    let order = head.ordered(actor).unwrap();
    assert!(matches!((order.life, order.what), (life, Command::Host(_)) if life == third), "it begins again there");
    head.pass(std::time::Duration::ZERO);
    assert_eq!(head.granted(driver).iter().map(|grant| grant.life).collect::<Vec<_>>(), [third]);
    let placed = Record::GroupPlaced { group, hosts: vec![third, second] };
    assert!(head.journal.contains(&placed));
    let head = head.restarted();
    assert_eq!(groups(&head)[0].state, GroupState::Placed(vec![third, second]));
    assert_eq!((head.free(second), head.free(third).get("cpu")), (cpus(1.0), Default::default()));
}

#[test]
fn a_new_head_places_again_what_the_former_did_not_and_all_that_is_missing_or_none() {
    let mut head = Head::new();
    let (first, second, driver) = (head.worker(1), head.worker(2), head.driver(11));
    head.asked(driver, create(driver, 1, &[1.0, 1.0, 2.0], Packing::Spread)).unwrap();
    let GroupState::Placed(before) = groups(&head)[0].state.clone() else { panic!("it is placed") };
    assert_eq!(before, [second, second, first], "the largest has a node for itself");
    head.leaves(second);
    let mut head = head.restarted();
    head.rejoins(first, 1);
    head.rejoins(driver, 11);
    assert_eq!(groups(&head)[0].state, GroupState::Partly(vec![None, None, Some(first)]));
    let half = crate::directory::testing::join(3, 1);
    let third = head.joins(crate::directory::request::Join { resources: cpus(1.0), ..half });
    assert_eq!(head.free(third), cpus(1.0), "one of two is not placed");
    let fourth = head.worker(4);
    assert_eq!(groups(&head)[0].state, GroupState::Placed(vec![third, fourth, first]));
}

#[test]
fn a_group_that_waits_or_has_lost_bundles_ends_with_its_owner_and_holds_nothing() {
    let mut head = Head::new();
    let (first, second, driver) = (head.worker(1), head.worker(2), head.driver(11));
    head.asked(driver, create(driver, 1, &[2.0, 2.0], Packing::Spread)).unwrap();
    let kept = CreateGroup { detached: true, ..create(driver, 2, &[2.0], Packing::Pack) };
    let waits = head.asks(driver, kept);
    head.leaves(first);
    assert_eq!(head.reply(waits), None);
    head.leaves(driver);
    assert_eq!(
        groups(&head).iter().map(|line| line.state.clone()).collect::<Vec<_>>(),
        [GroupState::Placed(vec![second])]
    );
}

#[test]
fn a_group_that_waits_has_slots_of_tasks_asked_back() {
    let mut head = Head::new();
    let (_, _, driver) = (head.worker(1), head.worker(2), head.driver(11));
    head.asked(driver, want(0, 1.0, 100)).unwrap();
    let waits = head.asks(driver, create(driver, 1, &[1.0, 2.0], Packing::StrictSpread));
    for what in head.grant_orders(driver) {
        if let Command::Recall { grant, keep } = what {
            head.gives_back(driver, grant, keep);
        }
    }
    assert!(matches!(head.answer::<CreateGroup>(waits), Some(Ok(_))), "{:?}", head.grant_orders(driver));
}

#[test]
fn what_waits_within_a_group_takes_nothing_of_a_group_that_is_placed_with_it() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(11));
    let (taker, ..) =
        head.spawned(Spawn { needs: Needs { resources: cpus(2.0), ..Needs::default() }, ..spawn(driver, 1) });
    let group = |serial| GroupId { life: driver, serial };
    let groups = [1, 2].map(|serial| head.asks(driver, create(driver, serial, &[1.0], Packing::Pack)));
    head.asked(driver, want(0, 1.0, 1)).unwrap();
    let within = head.asks(driver, Spawn { needs: within(group(1), None, 1.0), ..spawn(driver, 2) });
    head.ends(driver, taker, How::Kill);
    head.obeys(taker);
    assert!(groups.iter().all(|group| matches!(head.answer::<CreateGroup>(*group), Some(Ok(_)))));
    assert_eq!((head.granted(driver).len(), head.free(worker).get("cpu")), (0, Default::default()));
    head.obeys(ActorId { life: driver, serial: 2 });
    assert!(matches!(head.answer::<Spawn>(within), Some(Ok(_))));
    head.asked(driver, RemoveGroup { group: group(2) }).unwrap();
    assert_eq!(head.granted(driver).len(), 1, "what the other group held");
}

#[test]
fn a_new_head_knows_the_groups_and_what_they_hold() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(11));
    let group = GroupId { life: driver, serial: 1 };
    head.asked(driver, create(driver, 1, &[1.5], Packing::Pack)).unwrap();
    head.spawned(Spawn { needs: within(group, None, 1.0), ..spawn(driver, 1) });
    let mut head = head.restarted();
    assert_eq!(groups(&head)[0].state, GroupState::Placed(vec![worker]));
    assert_eq!(head.free(worker), cpus(0.5));
    head.rejoins(worker, 1);
    head.rejoins(driver, 11);
    let waits = head.asks(driver, Spawn { needs: within(group, Some(0), 1.0), ..spawn(driver, 2) });
    assert_eq!(head.reply(waits), None, "half a CPU is left in it");
}

#[test]
fn a_group_that_was_removed_is_not_made_again_by_its_maker_who_heard_of_nothing() {
    let mut head = Head::new();
    let (worker, maker, other) = (head.worker(1), head.driver(11), head.driver(12));
    let group = GroupId { life: maker, serial: 1 };
    let made = CreateGroup { detached: true, ..create(maker, 1, &[1.5], Packing::Pack) };
    head.asked(maker, made.clone()).unwrap();
    head.asked(other, RemoveGroup { group }).unwrap();
    let mut head = head.restarted();
    head.rejoins(worker, 1);
    head.rejoins(maker, 11);
    assert_eq!(head.asked(maker, made), Err(GroupError::NotKnown(group)));
    assert_eq!((groups(&head), head.free(worker)), (Vec::new(), cpus(2.0)));
}

#[test]
fn what_waits_within_a_group_ends_with_it_also_where_only_the_groups_end_was_journaled() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(11));
    let group = GroupId { life: driver, serial: 1 };
    head.asked(driver, create(driver, 1, &[1.0], Packing::Pack)).unwrap();
    head.spawned(Spawn { needs: within(group, None, 1.0), ..spawn(driver, 1) });
    let waits = Spawn { needs: within(group, None, 1.0), ..spawn(driver, 2) };
    head.asks(driver, waits.clone());
    head.asked(driver, RemoveGroup { group }).unwrap();
    let removed = head.journal.iter().position(|record| *record == Record::GroupGone { group }).unwrap();
    head.journal.truncate(removed + 1);
    let mut head = head.restarted();
    head.rejoins(worker, 1);
    head.rejoins(driver, 11);
    assert_eq!(head.asked(driver, waits), Err(SpawnError::Ended(Gone::GroupRemoved { group })));
}
