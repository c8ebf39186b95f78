use super::*;
use crate::directory::message::{How, News};
use crate::directory::request::{
    Advertised, AdvertisedType, Choose, DialMe, DialMeError, Died, DiedError, End, Ended, GetOrSpawn, Hosted, Join,
    Lookup, LookupError, Page, Query,
};
use crate::directory::state::Effect;
use crate::directory::testing::{self, Head, MAKE, choose, cpus, kind, name, node, spawn};
use crate::schedule::{Amount, Why};

fn named(life: Life, serial: u64, text: &str) -> Spawn {
    Spawn { name: Some(name(text)), ..spawn(life, serial) }
}

#[test]
fn l3_a_placement_is_journaled_before_it_is_ordered_and_answered_once_made() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(2));
    let request = head.asks(driver, named(driver, 1, "a"));
    let [Effect::Journal(Record::Spawned { .. }), Effect::Journal(Record::Placed { host, .. }), Effect::Send(..)] =
        &head.log[head.log.len() - 3..]
    else {
        panic!("{:?}", head.log)
    };
    assert_eq!((*host, head.reply(request)), (worker, None));
    let id = ActorId { life: driver, serial: 1 };
    head.obeys(id);
    let made = Spawned { actor: id, placement: Placement(1), life: worker, node: node(1), detached: false };
    assert_eq!(head.answer::<Spawn>(request), Some(Ok(made)));
}

#[test]
fn asked_again_a_spawn_is_answered_the_same_also_by_a_later_head() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(2));
    let request = head.asks(driver, named(driver, 1, "a"));
    assert_eq!(head.asks_again(driver, request, named(driver, 1, "a")), [], "still open");
    head.obeys(ActorId { life: driver, serial: 1 });
    let answer = head.reply(request);
    let records = head.journal.len();
    assert_eq!(head.asks_again(driver, request, named(driver, 1, "a")).len(), 1);
    assert_eq!((head.reply(request), head.journal.len()), (answer.clone(), records));
    let mut head = head.restarted();
    for (life, n) in [(worker, 1), (driver, 2)] {
        head.rejoins(life, n);
    }
    let again = head.asks(driver, named(driver, 1, "a"));
    assert_eq!(head.reply(again), answer);
}

#[test]
fn a_names_conflict_says_who_holds_it_and_its_end_frees_it() {
    let mut head = Head::new();
    let (_, driver) = (head.worker(1), head.driver(2));
    let (holder, ..) = head.spawned(named(driver, 1, "a"));
    let error = head.asked(driver, named(driver, 2, "a")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the name `a` (namespace `default`) is taken: actor 2.1 holds it, a `tests::Counter` on node 0101010101010101"
    );
    let other = FullName { namespace: "other".into(), name: "a".into() };
    head.spawned(Spawn { name: Some(other), ..spawn(driver, 3) });
    let ends = head.ends(driver, holder, How::Stop);
    assert_eq!(head.reply(ends), None, "answered when it has ended");
    head.obeys(holder);
    assert_eq!(head.answer::<End>(ends), Some(Ok(Gone::Stopped)));
    head.spawned(named(driver, 4, "a"));
}

#[test]
fn of_many_who_get_or_spawn_one_spawns_and_all_get_the_same() {
    let mut head = Head::new();
    let (_, one, other) = (head.worker(1), head.driver(2), head.driver(3));
    let first = head.asks(one, GetOrSpawn(named(one, 1, "a")));
    let second = head.asks(other, GetOrSpawn(named(other, 1, "a")));
    let found = head.asks(other, Lookup { name: name("a"), kind: kind() });
    assert_eq!((head.reply(first), head.reply(second), head.reply(found)), (None, None, None));
    head.obeys(ActorId { life: one, serial: 1 });
    let made = head.answer::<GetOrSpawn>(first).unwrap().unwrap();
    assert_eq!(head.answer::<GetOrSpawn>(second), Some(Ok(made.clone())));
    assert_eq!(head.answer::<Lookup>(found), Some(Ok(made)));
    assert_eq!(head.summary().actors, 1);
    let wrong = ActorType { key: Key(99), name: "tests::Other".into() };
    let error = head.asked(one, Lookup { name: name("a"), kind: wrong }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the actor named `a` (namespace `default`) is a `tests::Counter`, not a `tests::Other`"
    );
    assert_eq!(head.asked(one, Lookup { name: name("b"), kind: kind() }), Err(LookupError::NotFound("b".into())));
}

#[test]
fn what_no_node_was_compiled_with_fails_at_once_naming_the_nodes_asked() {
    let mut head = Head::new();
    let driver = head.driver(2);
    let error = head.asked(driver, spawn(driver, 1)).unwrap_err();
    assert!(error.to_string().contains("`tests::Counter` (there is none that hosts actors)"), "{error}");
    head.worker(1);
    let stranger = ActorType { key: Key(99), name: "x::Y".into() };
    let error = head.asked(driver, Spawn { kind: stranger, ..spawn(driver, 2) }).unwrap_err();
    assert!(error.to_string().contains("`x::Y` (asked: 0101010101010101)"), "{error}");
    let error = head.asked(driver, Spawn { constructor: Key(98), ..spawn(driver, 3) }).unwrap_err();
    assert!(matches!(error, SpawnError::UnknownConstructor { .. }));
    let error = head.asked(driver, choose(driver, 4, 0.0)).map(|chosen| chosen.candidates.len());
    assert_eq!(error, Ok(1));
    assert_eq!(head.summary().actors, 0);
}

#[test]
fn a_constructor_that_fails_leaves_nothing_behind() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(2));
    let request = head.asks(driver, named(driver, 1, "a"));
    let id = ActorId { life: driver, serial: 1 };
    let long: Arc<str> = "é".repeat(4_000).into();
    let failure = Failure::Error { error: Bytes::from_static(b"e"), text: long };
    let report = Hosted { actor: id, placement: Placement(1), made: Err(failure) };
    assert_eq!(head.asked(worker, report), Ok(()));
    let Some(Err(SpawnError::Unmade(Failure::Error { text, .. }))) = head.answer::<Spawn>(request) else {
        panic!("refused")
    };
    assert!(text.len() <= crate::limits::FAILURE_TEXT);
    assert_eq!((head.summary().actors, head.summary().names), (0, 0));
}

#[test]
fn resources_are_held_until_the_end_is_reported_and_who_waits_is_told_why_and_served_in_turn() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(2));
    let needs = Needs { resources: cpus(1.5), ..Needs::default() };
    let big = |serial| Spawn { needs: needs.clone(), ..spawn(driver, serial) };
    let (first, _, placement) = head.spawned(big(1));
    let second = head.asks(driver, big(2));
    let third = head.asks(driver, choose(driver, 3, 1.0));
    let waits = head.news_to(driver).into_iter().filter(|news| matches!(news, News::Waits { why: Why::Full, .. }));
    assert_eq!((waits.count(), head.summary().waiting), (2, 2));
    assert_eq!(head.asked(worker, Ended { actor: first, placement, why: Gone::Panicked("boom".into()) }), Ok(()));
    assert_eq!((head.reply(third), head.summary().waiting), (None, 1), "first come, first served");
    head.obeys(ActorId { life: driver, serial: 2 });
    assert!(head.reply(second).is_some());
    let kills = head.ends(driver, ActorId { life: driver, serial: 2 }, How::Kill);
    head.obeys(ActorId { life: driver, serial: 2 });
    assert!(head.reply(kills).is_some() && head.reply(third).is_some());
    let reserved = Ended { actor: ActorId { life: driver, serial: 3 }, placement: Placement(0), why: Gone::Stopped };
    assert_eq!(head.asked(worker, reserved), Ok(()));
    assert_eq!(head.summary().reservations, 0);
    let never = head.asks(driver, Choose { patience: Patience::Wait, ..choose(driver, 4, 3.0) });
    let why = Why::NeverFits("cpu".into(), Amount::new(3.0).unwrap());
    assert!(head.news_to(driver).contains(&News::Waits { request: never, why }));
    head.joins(Join { resources: cpus(4.0), ..testing::join(3, 9) });
    assert!(head.reply(never).is_some(), "a node with more has come");
}

#[test]
fn what_no_node_has_is_refused_at_once_unless_it_may_wait_and_then_it_is_seen() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(2));
    let labels = Selectors::default().with("zone", "nowhere".parse().unwrap()).unwrap();
    let nowhere = Needs { labels, ..Needs::default() };
    let large = Needs { resources: cpus(3.0), ..Needs::default() };
    let in_head = |head: &Head| head.summary().waiting + head.summary().actors + head.summary().reservations;
    for (needs, missing) in [(nowhere.clone(), "no node has the labels"), (large.clone(), "no node has cpu ≥ 3")] {
        let chosen = head.asked(driver, Choose { needs: needs.clone(), ..choose(driver, 1, 0.0) }).unwrap_err();
        let named = head.asked(driver, Spawn { needs, ..named(driver, 2, "a") }).unwrap_err();
        for error in [chosen, named] {
            assert!(matches!(error, SpawnError::Unplaced { .. }), "{error:?}");
            let said = error.to_string();
            assert!(said.contains(missing) && said.contains("(asked: 0101010101010101)"), "{said}");
        }
        assert_eq!(in_head(&head), 0, "what is refused is forgotten");
    }
    let patience = Patience::Wait;
    let stranger = ActorType { key: Key(99), name: "x::Y".into() };
    let waits = [
        head.asks(driver, Choose { needs: nowhere, patience, ..choose(driver, 1, 0.0) }),
        head.asks(driver, Choose { needs: large.clone(), patience, ..choose(driver, 2, 0.0) }),
        head.asks(driver, Spawn { kind: stranger.clone(), patience, ..spawn(driver, 3) }),
    ];
    assert!(waits.iter().all(|request| head.reply(*request).is_none()));
    let Page::Waiting(lines) = head.directory.status(Query::Waiting { after: None }) else { panic!("another page") };
    let seen: Vec<_> = lines.iter().map(|line| (line.actor.serial, &*line.name, line.why.is_some())).collect();
    assert_eq!(seen, [(1, "tests::Counter", true), (2, "tests::Counter", true), (3, "x::Y", true)]);
    assert_eq!((&lines[1].resources, lines[0].resources.is_empty()), (&large.resources, true));
    let after = Some(lines[2].actor);
    assert_eq!(head.directory.status(Query::Waiting { after }), Page::Waiting(Vec::new()));
    // One that is silent could hold it.
    let needs = Needs { strategy: Strategy::Node(node(1)), ..Needs::default() };
    let door = head.doors[&worker].id;
    head.apply(crate::directory::Event::Closed(door));
    let silent = head.asks(driver, Choose { needs, ..choose(driver, 4, 0.0) });
    assert_eq!(head.reply(silent), None);
    let advertised = Advertised::new([AdvertisedType { key: Key(99), name: "x::Y".into(), constructors: vec![MAKE] }]);
    head.joins(Join { advertised: Arc::new(advertised), ..testing::join(3, 9) });
    assert!(head.news_to(driver).len() >= 3);
    head.obeys(ActorId { life: driver, serial: 3 });
    assert!(head.reply(waits[2]).is_some(), "a node with its type has come");
}

#[test]
fn a_kill_overtakes_a_stop_and_reaches_an_actor_that_waits_or_is_being_made() {
    let mut head = Head::new();
    let (_, driver) = (head.worker(1), head.driver(2));
    let id = ActorId { life: driver, serial: 1 };
    let spawns = head.asks(driver, spawn(driver, 1));
    let stops = head.ends(driver, id, How::Stop);
    let kills = head.ends(driver, id, How::Kill);
    let again = head.ends(driver, id, How::Stop);
    assert_eq!(head.summary().orders, 3, "host, stop, kill");
    head.obeys(id);
    for request in [stops, kills, again] {
        assert_eq!(head.answer::<End>(request), Some(Ok(Gone::Killed)));
    }
    assert_eq!(head.answer::<Spawn>(spawns), Some(Err(SpawnError::Ended(Gone::Killed))));
    let needs = Needs { resources: cpus(9.0), ..Needs::default() };
    head.asks(driver, Spawn { needs, patience: Patience::Wait, ..spawn(driver, 2) });
    let waiting = ActorId { life: driver, serial: 2 };
    assert_eq!(head.asked(driver, End { actor: waiting, how: How::Stop }), Ok(Gone::Stopped));
    assert_eq!(head.asked(driver, End { actor: id, how: How::Kill }), Ok(Gone::Killed), "ended ones are remembered");
}

#[test]
fn requests_that_break_the_rules_are_refused() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(2));
    let refused = |head: &mut Head, spawn| match head.asked(driver, spawn) {
        Err(SpawnError::Invalid(invalid)) => invalid,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&mut head, spawn(worker, 1)), Invalid::Id);
    assert_eq!(refused(&mut head, named(driver, 1, &"n".repeat(NAME_BYTES + 1))), Invalid::Name);
    assert_eq!(refused(&mut head, named(driver, 1, "")), Invalid::Name);
    let long = Arguments::Encoded(vec![0; BODY_INLINE + 1].into());
    assert_eq!(refused(&mut head, Spawn { arguments: long, ..spawn(driver, 1) }), Invalid::Arguments(BODY_INLINE + 1));
    assert!(matches!(head.asked(driver, GetOrSpawn(spawn(driver, 1))), Err(SpawnError::Invalid(Invalid::Name))));
    let needs = Needs { strategy: Strategy::Node(node(9)), ..Needs::default() };
    assert_eq!(head.asked(driver, Spawn { needs, ..spawn(driver, 1) }), Err(SpawnError::NotThere(node(9))));
    let held = Spawn { arguments: Arguments::Held, constructor: MAKE, ..spawn(worker, 1) };
    assert_eq!(head.spawned(held).1, worker, "held arguments stay on their node");
}

#[test]
fn only_a_node_of_the_same_machine_can_prove_a_node_dead() {
    let mut head = Head::new();
    let (near, far) = (head.worker(1), head.worker(11));
    let victim = head.worker(2);
    let died = Died { node: node(2), life: Some(victim) };
    assert_eq!(head.asked(far, died), Err(DiedError::OtherHost));
    assert_eq!(head.asked(near, Died { life: Some(far), ..died }), Ok(()), "not its life: nothing happens");
    assert_eq!(head.summary().nodes, 3);
    assert_eq!(head.asked(near, died), Ok(()));
    assert!(
        head.journal.contains(&Record::NodeEnded {
            life: victim,
            why: crate::directory::request::LifeEnd::Proved { by: near }
        })
    );
    assert_eq!(head.asked(near, Died { node: node(3), life: None }), Ok(()), "a child that has not joined yet");
    let door = head.door(3);
    let join = crate::directory::ToHead::Join(Arc::new(testing::join(3, 1)));
    let effects = head.apply(crate::directory::Event::Said(door, join));
    assert!(matches!(&effects[..], [Effect::Send(_, message)] if matches!(message.news, News::JoinRefused { .. })));
}

#[test]
fn a_peer_that_cannot_be_dialled_is_asked_to_dial() {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(2));
    assert_eq!(head.asked(worker, DialMe { peer: driver }), Ok(()));
    assert!(head.news_to(driver).iter().any(|news| matches!(news, News::DialMe(caller) if caller.life == worker)));
    assert_eq!(head.asked(driver, DialMe { peer: worker }), Err(DialMeError::NoAddress));
    let door = head.doors[&driver].id;
    head.apply(crate::directory::Event::Closed(door));
    assert_eq!(head.asked(worker, DialMe { peer: driver }), Err(DialMeError::Away(node(2))));
    assert_eq!(head.asked(worker, DialMe { peer: Life(77) }), Err(DialMeError::Ended(Life(77))));
}
