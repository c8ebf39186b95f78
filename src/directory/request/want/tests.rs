use super::*;
use crate::directory::message::News;
use crate::directory::request::{DemandLine, Join, Page, Query, ReportError, Spawn};
use crate::directory::state::Effect;
use crate::directory::testing::{Head, choose, cpus, join, node, spawn, want};
use crate::directory::{FromHead, Reply};
use crate::id::ActorId;
use crate::limits::{GRANT_TURN, WEIGHTLESS_SLOTS};
use crate::schedule::Amount;
use std::time::Duration;

fn demand(head: &Head) -> Vec<DemandLine> {
    match head.directory.status(Query::Demand { after: None }) {
        Page::Demand(lines) => lines,
        other => panic!("{other:?}"),
    }
}

/// Slots that a life may keep, by what it was ordered.
fn kept(head: &Head, life: Life) -> u32 {
    demand(head).iter().filter(|line| line.owner == life).map(|line| line.granted).sum()
}

/// Carries out all recalls as an owner would whose tasks finish.
fn obeys_recalls(head: &mut Head, life: Life) {
    let recalls = head.grant_orders(life).into_iter().filter_map(|what| match what {
        Command::Recall { grant, keep } => Some((grant, keep)),
        _ => None,
    });
    for (grant, keep) in recalls.collect::<Vec<_>>() {
        head.gives_back(life, grant, keep);
    }
}

#[test]
fn slots_are_granted_at_once_and_taken_of_the_nodes_resources() {
    let mut head = Head::new();
    let (first, second, driver) = (head.worker(1), head.worker(2), head.driver(3));
    assert_eq!(head.asked(driver, want(0, 1.0, 3)), Ok(Prospect::Soon));
    let granted = head.granted(driver);
    let on = |life| granted.iter().filter(|grant| grant.life == life).map(|grant| grant.slots).sum::<u32>();
    assert_eq!((on(first) + on(second), kept(&head, driver)), (3, 3), "{granted:?}");
    assert_eq!(granted[0].node, node(1));
    let free = head.free(first).get("cpu").quantity() + head.free(second).get("cpu").quantity();
    assert_eq!(free, 1.0);
    assert!(granted.is_sorted_by(|one, next| one.grant < next.grant));
    assert_eq!(head.asked(driver, want(0, 1.0, 3)), Ok(Prospect::Soon));
    assert_eq!(head.granted(driver).len(), granted.len(), "asked again, nothing changes");
    for grant in &granted {
        head.gives_back(driver, grant.grant, 0);
    }
    head.asked(driver, want(0, 1.0, 0)).unwrap();
    let again: Vec<GrantId> = head.granted(driver)[granted.len()..].iter().map(|grant| grant.grant).collect();
    again.iter().for_each(|grant| head.gives_back(driver, *grant, 0));
    assert_eq!((head.free(first), head.free(second)), (cpus(2.0), cpus(2.0)));
    assert_eq!(demand(&head), []);
    assert!(again.iter().all(|id| granted.iter().all(|grant| grant.grant < *id)), "never reused");
}

#[test]
fn a_grant_ends_with_its_node_and_with_its_owner() {
    let mut head = Head::new();
    let (first, second, driver, other) = (head.worker(1), head.worker(2), head.driver(3), head.driver(4));
    head.asked(driver, want(0, 2.0, 2)).unwrap();
    assert_eq!(head.granted(driver).len(), 2);
    head.leaves(first);
    assert_eq!(kept(&head, driver), 1);
    assert_eq!(head.asked(other, want(0, 2.0, 1)), Ok(Prospect::Waits(WantError::Unplaced(Why::Full))));
    let there = head.granted(driver).into_iter().find(|granted| granted.life == second).unwrap();
    head.leaves(driver);
    assert_eq!(head.granted(other), [], "what runs there has yet to end");
    head.gives_back(second, there.grant, 0);
    assert_eq!(head.granted(other).iter().map(|grant| grant.life).collect::<Vec<_>>(), [second]);
    head.leaves(other);
    let last = head.granted(other)[0].grant;
    head.gives_back(second, last, 0);
    assert_eq!((head.free(second), demand(&head)), (cpus(2.0), Vec::new()));
}

#[test]
fn orders_about_grants_survive_a_change_of_session() {
    let mut head = Head::new();
    let (_, driver) = (head.worker(1), head.driver(3));
    head.asked(driver, want(0, 1.0, 2)).unwrap();
    let door = head.door(3);
    let effects = head.beats_at(driver, door, 0);
    let grants = |effects: &[Effect]| {
        let of = |effect: &&Effect| matches!(effect, Effect::Send(_, FromHead { news: News::Order(order), .. }) if matches!(order.what, Command::Grant(_)));
        effects.iter().filter(of).count()
    };
    assert_eq!(grants(&effects), 1);
    let door = head.door(3);
    assert_eq!(grants(&head.beats_at(driver, door, 1)), 0, "acknowledged");
}

#[test]
fn what_no_node_has_fails_or_waits_as_its_owner_says_and_says_why() {
    let mut head = Head::new();
    let (_, driver) = (head.worker(1), head.driver(3));
    let fails = |want| Want { patience: Patience::Fail, ..want };
    let unknown = TaskKind { key: Key(5), name: "tests::square".into() };
    let error = head.asked(driver, fails(Want { kind: unknown.clone(), ..want(0, 1.0, 1) })).unwrap_err();
    assert!(
        error.to_string().starts_with("no node was compiled with the task `tests::square` (asked: 0101"),
        "{error}"
    );
    let error = head.asked(driver, fails(Want { signature: Key(5), ..want(0, 1.0, 1) })).unwrap_err();
    assert!(matches!(error, WantError::OtherSignature { .. }));
    let error = head.asked(driver, fails(want(0, 3.0, 1))).unwrap_err();
    assert_eq!(error.to_string(), "no node has cpu ≥ 3: lower it, or start a node with more");
    assert_eq!(demand(&head), [], "what is refused is forgotten");
    let waits = head.asked(driver, Want { kind: unknown, ..want(1, 1.0, 1) });
    assert!(matches!(waits, Ok(Prospect::Waits(WantError::UnknownTask { .. }))));
    assert!(matches!(
        head.asked(driver, want(2, 3.0, 4)),
        Ok(Prospect::Waits(WantError::Unplaced(Why::NeverFits(..))))
    ));
    let [_, large] = &demand(&head)[..] else { panic!("{:?}", demand(&head)) };
    assert_eq!((large.wanted, large.granted, &*large.name), (4, 0, "tests::Counter"));
    assert!(matches!(large.why, Some(WantError::Unplaced(Why::NeverFits(..)))));
    let life = head.joins(Join { resources: cpus(7.0), ..join(5, 9) });
    assert_eq!(head.granted(driver).iter().map(|grant| (grant.life, grant.slots)).collect::<Vec<_>>(), [(life, 2)]);
    assert_eq!(demand(&head)[1].why, Some(WantError::Unplaced(Why::Full)));
}

#[test]
fn a_class_that_is_outranked_says_so_and_not_that_nodes_are_full() {
    let mut head = Head::new();
    let (_, driver, other) = (head.worker(1), head.driver(3), head.driver(4));
    let why = |head: &Head, class: u32| {
        let lines = demand(head);
        lines.iter().find(|line| line.owner == driver && line.class == Class(class)).unwrap().why.clone()
    };
    head.asked(driver, want(0, 1.0, 4)).unwrap();
    assert_eq!(why(&head, 0), Some(WantError::Unplaced(Why::Full)), "it has all there is");
    head.asked(driver, Want { priority: 5, ..want(1, 1.0, 4) }).unwrap();
    assert_eq!(why(&head, 0), Some(WantError::Unplaced(Why::Outranked(5))));
    assert_eq!(why(&head, 1), Some(WantError::Unplaced(Why::Full)));
    obeys_recalls(&mut head, driver);
    assert_eq!(why(&head, 0), Some(WantError::Unplaced(Why::Outranked(5))), "it gave all that it had");
    let large = Want { priority: 9, ..want(2, 3.0, 1) };
    assert!(matches!(head.asked(driver, large), Ok(Prospect::Waits(_))));
    assert_eq!(why(&head, 0), Some(WantError::Unplaced(Why::Outranked(5))), "what no node can run is before nobody");
    head.asked(driver, want(3, 3.0, 1)).unwrap();
    assert!(matches!(why(&head, 3), Some(WantError::Unplaced(Why::NeverFits(..)))), "nor is it outranked");
    head.asked(other, want(0, 1.0, 4)).unwrap();
    let of_other = demand(&head).into_iter().find(|line| line.owner == other).unwrap();
    assert!(!matches!(of_other.why, Some(WantError::Unplaced(Why::Outranked(_)))), "priorities are an owner's own");
    head.asked(driver, want(1, 1.0, 0)).unwrap();
    assert_ne!(why(&head, 0), Some(WantError::Unplaced(Why::Outranked(5))), "it is no more");
}

#[test]
fn tasks_that_declare_nothing_are_bounded_by_the_nodes_cpus() {
    let mut head = Head::new();
    let (_, driver) = (head.worker(1), head.driver(3));
    head.asked(driver, want(0, 0.0, 100)).unwrap();
    assert_eq!(kept(&head, driver), 2 * WEIGHTLESS_SLOTS);
    let other = head.driver(4);
    head.asked(other, want(0, 0.0, 100)).unwrap();
    obeys_recalls(&mut head, driver);
    assert_eq!((kept(&head, driver), kept(&head, other)), (WEIGHTLESS_SLOTS, WEIGHTLESS_SLOTS));
}

#[test]
fn two_owners_end_up_with_their_shares_and_what_is_asked_back_is_not_killed() {
    let mut head = Head::new();
    let _workers: Vec<Life> = (1..=4).map(|n| head.worker(n)).collect();
    let (one, other) = (head.driver(11), head.driver(12));
    head.asked(one, want(0, 1.0, 100)).unwrap();
    assert_eq!(kept(&head, one), 8);
    head.asked(other, want(0, 1.0, 100)).unwrap();
    assert_eq!((kept(&head, one), kept(&head, other)), (4, 0), "it waits for slots that come back");
    assert_eq!(demand(&head)[0].recalled, 4);
    let recalls = head.grant_orders(one).len();
    head.pass(Duration::from_secs(1));
    assert_eq!(head.grant_orders(one).len(), recalls, "asked back once");
    obeys_recalls(&mut head, one);
    assert_eq!((kept(&head, one), kept(&head, other)), (4, 4));
    assert_eq!(head.grant_orders(other).iter().filter(|what| matches!(what, Command::Recall { .. })).count(), 0);
    head.asked(one, want(1, 1.0, 100)).unwrap();
    obeys_recalls(&mut head, one);
    assert_eq!((kept(&head, one), kept(&head, other)), (4, 4), "a second class shares within its owner's");
    assert_eq!(demand(&head).iter().map(|line| line.granted).collect::<Vec<_>>(), [2, 2, 4]);
}

#[test]
fn shares_are_of_the_dominant_resource() {
    let mut head = Head::new();
    let with = |cpu, memory: f64| cpus(cpu).with("memory", Amount::new(memory).unwrap()).unwrap();
    head.joins(Join { resources: with(9.0, 18.0), ..join(1, 1) });
    let (one, other) = (head.driver(11), head.driver(12));
    let needs = |resources| Needs { resources, ..Needs::default() };
    head.asked(one, Want { needs: needs(with(1.0, 4.0)), ..want(0, 0.0, 100) }).unwrap();
    head.asked(other, Want { needs: needs(with(3.0, 1.0)), ..want(0, 0.0, 100) }).unwrap();
    for _ in 0..5 {
        obeys_recalls(&mut head, one);
        obeys_recalls(&mut head, other);
    }
    assert_eq!((kept(&head, one), kept(&head, other)), (3, 2), "the example of the paper on DRF");
}

/// Slots of each class that an owner may keep, by its number.
fn kept_of<const N: usize>(head: &Head, life: Life) -> [u32; N] {
    let lines = demand(head);
    std::array::from_fn(|class| {
        let line = lines.iter().find(|line| line.owner == life && line.class == Class(class as u32));
        line.map_or(0, |line| line.granted)
    })
}

fn urgent(class: u32, cpu: f64, slots: u32, priority: i32) -> Want {
    Want { priority, ..want(class, cpu, slots) }
}

#[test]
fn of_one_owners_classes_the_one_of_the_highest_priority_has_all() {
    let mut head = Head::new();
    let (_, driver) = (head.worker(1), head.driver(11));
    head.asked(driver, urgent(0, 1.0, 5, 0)).unwrap();
    assert_eq!(kept_of(&head, driver), [2, 0]);
    for _ in 0..3 {
        head.asked(driver, urgent(1, 1.0, 1, 3)).unwrap();
        head.pass(GRANT_TURN);
        assert_eq!(kept_of(&head, driver), [1, 0], "no more than it lacks is asked back");
    }
    head.asked(driver, urgent(1, 1.0, 5, 3)).unwrap();
    obeys_recalls(&mut head, driver);
    assert_eq!(kept_of(&head, driver), [0, 2], "whatever their shares are");
    head.asked(driver, urgent(2, 1.0, 5, 2)).unwrap();
    for _ in 0..4 {
        head.pass(GRANT_TURN);
        obeys_recalls(&mut head, driver);
        assert_eq!(kept_of(&head, driver), [0, 2, 0], "nor have the others turns");
    }
    head.asked(driver, urgent(1, 1.0, 1, 3)).unwrap();
    let last = head.granted(driver).into_iter().rfind(|granted| granted.class == Class(1)).unwrap();
    head.gives_back(driver, last.grant, last.slots - 1);
    assert_eq!(kept_of(&head, driver), [0, 1, 1], "what it needs no more goes to the next, not to who waits longest");
    // All of it has begun: what is left of it goes before nobody.
    head.asked(driver, urgent(1, 1.0, 1, 0)).unwrap();
    obeys_recalls(&mut head, driver);
    assert_eq!(kept_of(&head, driver), [0, 0, 2]);
}

#[test]
fn priorities_are_nothing_to_other_owners() {
    let mut head = Head::new();
    let (_, one, other) = (head.worker(1), head.driver(11), head.driver(12));
    head.asked(one, urgent(0, 1.0, 5, 0)).unwrap();
    head.asked(other, urgent(0, 1.0, 5, 1_000)).unwrap();
    head.asked(other, urgent(1, 1.0, 5, -1)).unwrap();
    for _ in 0..4 {
        obeys_recalls(&mut head, one);
        obeys_recalls(&mut head, other);
        head.pass(GRANT_TURN);
        assert_eq!((kept(&head, one), kept_of(&head, other)), (1, [1, 0]));
    }
}

#[test]
fn what_a_high_priority_cannot_have_goes_to_a_lower_one() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(11));
    let gpus =
        Needs { resources: Resources::none().with("gpu", Amount::new(1.0).unwrap()).unwrap(), ..Needs::default() };
    head.asked(driver, Want { needs: gpus, ..urgent(0, 0.0, 5, 9) }).unwrap();
    head.asked(driver, urgent(1, 4.0, 5, 8)).unwrap();
    head.asked(driver, urgent(2, 1.0, 5, 7)).unwrap();
    assert_eq!((kept_of(&head, driver), head.free(worker).get("cpu")), ([0, 0, 2], Amount::ZERO));
}

#[test]
fn a_large_task_has_room_set_aside_and_is_not_starved_by_small_ones() {
    let mut head = Head::new();
    let (_, small, large) = (head.worker(1), head.driver(11), head.driver(12));
    head.asked(small, want(0, 1.0, 2)).unwrap();
    let grants = head.granted(small);
    head.asked(large, want(0, 2.0, 1)).unwrap();
    assert_eq!(kept(&head, small), 2, "it has its turn");
    head.pass(GRANT_TURN);
    assert_eq!(kept(&head, small), 0);
    head.gives_back(small, grants[0].grant, 1);
    let cpu = head.driver(13);
    head.asked(cpu, want(0, 1.0, 1)).unwrap();
    assert_eq!(kept(&head, cpu), 0, "the free CPU is kept for the elder");
    head.asked(small, want(0, 1.0, 0)).unwrap();
    head.gives_back(small, grants[0].grant, 0);
    assert_eq!((kept(&head, large), kept(&head, cpu)), (1, 0));
}

#[test]
fn actors_come_first_and_have_slots_asked_back() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(11));
    head.asked(driver, want(0, 1.0, 100)).unwrap();
    let actor = head.asks(driver, choose(driver, 1, 1.0));
    assert_eq!((head.reply(actor), kept(&head, driver)), (None, 1));
    obeys_recalls(&mut head, driver);
    assert!(matches!(head.reply(actor), Some(Reply::Chosen(Ok(_)))));
    let needs = Needs { resources: cpus(1.0), ..Needs::default() };
    let named = head.asks(driver, Spawn { needs, ..spawn(driver, 2) });
    obeys_recalls(&mut head, driver);
    head.obeys(ActorId { life: driver, serial: 2 });
    assert!(matches!(head.reply(named), Some(Reply::Spawned(Ok(_)))));
    assert_eq!((kept(&head, driver), head.free(worker).get("cpu")), (0, Amount::ZERO));
}

#[test]
fn a_class_that_holds_nothing_gets_its_first_slot_in_its_turn_among_actors() {
    let mut head = Head::new();
    let (_, driver) = (head.worker(1), head.driver(11));
    (1..=2).for_each(|serial| assert!(head.asked(driver, choose(driver, serial, 1.0)).is_ok()));
    let before = head.asks(driver, choose(driver, 3, 1.0));
    head.asked(driver, want(0, 1.0, 2)).unwrap();
    let after = head.asks(driver, choose(driver, 4, 1.0));
    let ends = |head: &mut Head, serial| {
        let actor = ActorId { life: driver, serial };
        let ended = crate::directory::request::Ended {
            actor,
            placement: crate::id::Placement(0),
            why: crate::directory::request::Gone::Stopped,
        };
        assert_eq!(head.asked(driver, ended), Ok::<(), ReportError>(()));
    };
    ends(&mut head, 1);
    assert_eq!((head.reply(before).is_some(), kept(&head, driver)), (true, 0), "who came before it goes first");
    ends(&mut head, 2);
    assert_eq!((head.reply(after), kept(&head, driver)), (None, 0), "granted, and asked back for who came after it");
    assert_eq!(demand(&head)[0].recalled, 1);
}

#[test]
fn a_suspect_owner_or_one_that_acknowledges_nothing_gets_no_more() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(11));
    head.asked(driver, want(0, 1.0, 1)).unwrap();
    let door = head.doors[&driver];
    head.apply(crate::directory::Event::Closed(door.id));
    let grant = head.granted(driver)[0].grant;
    head.leaves(worker);
    head.worker(2);
    assert_eq!(head.granted(driver).len(), 1);
    let door = head.door(11);
    head.beats_at(driver, door, 1);
    assert!(head.granted(driver).iter().any(|granted| granted.grant > grant), "once it is heard again");
}

#[test]
fn a_head_that_succeeds_another_holds_for_a_lease_what_a_node_to_come_may_have() {
    let fails = |class| Want { patience: Patience::Fail, ..want(class, 1.0, 1) };
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(3));
    head.leaves(worker);
    let mut head = head.restarted();
    head.rejoins(driver, 3);
    assert!(matches!(head.asked(driver, fails(0)), Ok(Prospect::Waits(WantError::UnknownTask { .. }))));
    let group = GroupId { life: driver, serial: 9 };
    let nowhere = Needs { strategy: crate::schedule::Strategy::Bundle { group, index: None }, ..Needs::default() };
    assert_eq!(head.asked(driver, Want { needs: nowhere, ..fails(1) }), Err(WantError::NoGroup(group)));
    let back = head.joins(Join { served: crate::id::Epoch(1), ..join(1, 9) });
    assert_eq!(head.granted(driver).iter().map(|granted| granted.life).collect::<Vec<_>>(), [back]);

    let mut head = Head::with(Vec::new(), 5, head.now);
    let served = crate::id::Epoch(4);
    let driver = head.joins(Join { hosts: false, resources: Resources::none(), served, ..join(3, 9) });
    assert!(
        matches!(head.asked(driver, fails(0)), Ok(Prospect::Waits(_))),
        "there was a head before, so says the driver"
    );
    head.now = head.now + crate::limits::LEASE;
    let refused = head.asked(driver, fails(0));
    assert!(matches!(refused, Err(WantError::UnknownTask { .. })), "who has not come back is no more: {refused:?}");
    assert_eq!(demand(&head), []);

    let mut head = Head::with(Vec::new(), 5, head.now);
    let driver = head.joins(Join { hosts: false, resources: Resources::none(), ..join(3, 9) });
    assert!(head.asked(driver, fails(0)).is_err(), "a first head waits for nobody");
}
