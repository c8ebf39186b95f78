//! The head's side of actors in processes of their own.

use super::*;
use crate::directory::message::{How, News, RequestId, ToHead};
use crate::directory::request::{
    Beat, Checkpoint, Died, End, Ended, Failure, Gone, Holdings, Hosted, Hosting, Join, LifeEnd, Locate, Rejoin,
    ReportError, Spawn, SpawnError, Standing,
};
use crate::directory::state::{Effect, Event};
use crate::directory::testing::{Head, cpus, join, name, node, spawn};
use crate::directory::{Door, FromHead};
use crate::schedule::Resources;
use bytes::Bytes;
use std::sync::Arc;

/// Takes all CPUs of a worker.
fn own(life: Life, restarts: u32) -> Spawn {
    let needs = crate::directory::request::Needs { resources: cpus(2.0), ..Default::default() };
    Spawn { isolated: true, name: Some(name("own")), needs, restarts, ..spawn(life, 1) }
}

/// What the process of a claim says when it joins.
fn process(n: u8, claim: Claim) -> Join {
    Join { hosts: false, resources: Resources::none(), claims: Some(claim), ..join(n, 1) }
}

/// The process that was ordered of a host.
fn ordered(head: &Head, actor: ActorId) -> Claim {
    let order = head.ordered(actor).expect("an order");
    match order.what {
        Command::Host(host) => Claim { actor, placement: host.placement, host: order.life },
        other => panic!("{other:?}"),
    }
}

fn refusal(head: &mut Head, join: Join) -> JoinError {
    let door = Door { node: join.node, ..head.door(0) };
    match head.apply(Event::Said(door, ToHead::Join(Arc::new(join)))).pop() {
        Some(Effect::Send(_, FromHead { news: News::JoinRefused { why, .. }, .. })) => why,
        other => panic!("{other:?}"),
    }
}

fn free(head: &Head, life: Life) -> f64 {
    head.free(life).get("cpu").quantity()
}

/// A life says to a head that was started anew what it has.
fn comes_back(head: &mut Head, life: Life, n: u8, hosted: Vec<Hosting>) {
    let door = head.door(n);
    head.beats_at(life, door, 0);
    let epoch = head.directory.reign().epoch;
    let beat = Beat { life, epoch, number: 1, orders: 0, members: 0, actors: 0 };
    let rejoin = Rejoin { beat, hosted, reserved: Vec::new(), holdings: Holdings::default() };
    head.apply(Event::Said(door, ToHead::Rejoin(rejoin)));
}

/// A worker, a driver, and an actor of that whose process has been ordered.
fn placing(restarts: u32) -> (Head, Life, Life, ActorId) {
    let (head, worker, driver, (actor, _)) = asked(restarts);
    (head, worker, driver, actor)
}

/// The same, and the request that its spawner waits for.
fn asked(restarts: u32) -> (Head, Life, Life, (ActorId, RequestId)) {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(2));
    let spawns = head.asks(driver, own(driver, restarts));
    (head, worker, driver, (ActorId { life: driver, serial: 1 }, spawns))
}

#[test]
fn it_is_made_by_a_process_of_its_own_and_its_host_keeps_the_room() {
    let (mut head, worker, driver, (actor, spawns)) = asked(0);
    let claim = ordered(&head, actor);
    assert_eq!((claim.host, free(&head, worker)), (worker, 0.0));
    let made = |made| Hosted { actor, placement: claim.placement, made };
    assert_eq!(head.asked(worker, made(Ok(()))), Err(ReportError::Stale(claim.placement)), "it is not made there");

    let process = head.joins(process(5, claim));
    let at = |wanted: &dyn Fn(&Effect) -> bool| head.log.iter().rposition(wanted).expect("an effect");
    let began = at(&|effect| matches!(effect, Effect::Journal(Record::Began { life, .. }) if *life == process));
    let claimed = at(&|effect| *effect == Effect::Journal(Record::Claimed { actor, life: process }));
    let joined = at(&|effect| matches!(effect, Effect::Send(_, FromHead { news: News::Joined(_), .. })));
    let order = at(&|effect| matches!(effect, Effect::Send(_, FromHead { news: News::Order(_), .. })));
    assert!(began < claimed && claimed < joined && joined < order, "{:?}", head.log);
    assert_eq!(ordered(&head, actor), Claim { host: process, ..claim }, "the same placement");
    assert_eq!(head.reply(spawns), None, "its constructor runs");
    head.obeys(actor);
    let spawned = head.answer::<Spawn>(spawns).unwrap().unwrap();
    assert_eq!((spawned.life, spawned.node, spawned.placement), (process, node(5), claim.placement));
    let news = head.news_to(driver);
    let told = news.iter().position(|news| matches!(news, News::Members(_))).expect("told of the process");
    let answered = news.iter().position(|news| matches!(news, News::Answer { .. })).unwrap();
    assert!(told < answered, "who is told where it is knows that node: {news:?}");

    assert!(head.asked(worker, over(claim)).is_err(), "nor is its end its host's to say");
    assert!(head.asked(worker, made(Err(Failure::Unknown))).is_err());
    assert_eq!(free(&head, worker), 0.0);
    let stops = head.ends(driver, actor, How::Stop);
    assert_eq!(head.ordered(actor).unwrap().life, process);
    head.obeys(actor);
    assert_eq!(head.answer::<End>(stops), Some(Ok(Gone::Stopped)));
    assert_eq!((head.summary().actors, head.summary().names), (0, 0), "another may have its name");
    let next = head.asks(driver, Spawn { actor: ActorId { serial: 2, ..actor }, ..own(driver, 0) });
    assert_eq!(head.asked(process, over(claim)), Err(ReportError::Stale(claim.placement)), "nor its room its own");
    head.leaves(process);
    assert_eq!((free(&head, worker), head.summary().waiting), (0.0, 1), "its process has not ended");
    assert_eq!(head.asked(worker, over(claim)), Ok(()));
    assert_eq!((head.summary().reservations, head.summary().waiting, head.reply(next)), (0, 0, None));
    assert_eq!(head.asked(worker, over(claim)), Err(ReportError::NotKnown), "said again, it changes nothing");
    assert_eq!(free(&head, worker), 0.0);
}

/// What the host of a process says of its end.
fn over(claim: Claim) -> Ended {
    Ended { actor: claim.actor, placement: claim.placement, why: Gone::Killed }
}

#[test]
fn a_process_that_is_not_waited_for_gets_no_life() {
    let (mut head, worker, driver, actor) = placing(0);
    let claim = ordered(&head, actor);
    let refused = JoinError::NotAwaited(actor);
    for wrong in [
        Claim { placement: claim.placement.next(), ..claim },
        Claim { host: driver, ..claim },
        Claim { actor: ActorId { life: driver, serial: 9 }, ..claim },
    ] {
        assert_eq!(refusal(&mut head, process(5, wrong)), JoinError::NotAwaited(wrong.actor));
    }
    let own = head.joins(process(6, claim));
    assert_eq!(head.joins(process(6, claim)), own, "asked again, answered the same");
    assert_eq!(refusal(&mut head, process(7, claim)), refused, "one is enough");
    head.obeys(actor);
    assert_eq!(refusal(&mut head, process(7, claim)), refused);
    assert_eq!((head.summary().nodes, free(&head, worker)), (3, 0.0));
    // Its own node, in a later life.
    let again = Join { attempt: 2, ..process(6, claim) };
    assert_eq!(refusal(&mut head, again), refused);
    assert_eq!(head.gone(actor), Some(Gone::NodeEnded { life: own, why: LifeEnd::JoinedAnew }));
    assert_eq!(free(&head, worker), 2.0);
    // One that is an actor of an ordinary process.
    head.spawned(spawn(driver, 2));
    let ordinary = Claim { actor: ActorId { life: driver, serial: 2 }, placement: Placement(1), host: worker };
    assert_eq!(refusal(&mut head, process(8, ordinary)), JoinError::NotAwaited(ordinary.actor));
}

#[test]
fn its_end_is_that_of_its_process_and_it_is_placed_again_with_what_was_saved() {
    let (mut head, worker, driver, actor) = placing(1);
    let claim = ordered(&head, actor);
    let own = head.joins(process(5, claim));
    head.obeys(actor);
    let state = Bytes::from_static(b"saved");
    let saves = Checkpoint { actor, placement: claim.placement, number: 1, state: state.clone() };
    assert_eq!(head.asked(own, saves), Ok(()));
    assert_eq!(head.asked(worker, Died { node: node(5), life: None }), Ok(()));
    let next = ordered(&head, actor);
    assert_eq!((next.host, next.placement), (worker, claim.placement.next()), "there is room again");
    assert_eq!(free(&head, worker), 0.0, "and it is taken once");
    assert_eq!(refusal(&mut head, process(6, claim)), JoinError::NotAwaited(actor), "of the former placement");
    let locates = head.asks(driver, Locate { actor, after: claim.placement });
    let own = head.joins(process(7, next));
    let Some(Command::Host(host)) = head.ordered(actor).map(|order| order.what) else { panic!("an order") };
    assert_eq!((host.saved, host.restarts), (Some(state), 0));
    head.obeys(actor);
    assert_eq!(head.answer::<Locate>(locates).unwrap().unwrap().life, own);
    assert_eq!(head.asked(worker, Died { node: node(7), life: None }), Ok(()));
    assert!(matches!(head.gone(actor), Some(Gone::NodeEnded { life, .. }) if life == own), "no restart is left");
    assert_eq!((free(&head, worker), head.summary().names), (2.0, 0));
}

#[test]
fn its_hosts_end_moves_nothing_before_its_own() {
    let (mut head, worker, driver, actor) = placing(2);
    let claim = ordered(&head, actor);
    let own = head.joins(process(5, claim));
    let other = head.worker(3);
    // While its constructor runs, and once it has.
    for made in [false, true] {
        if made {
            head.obeys(actor);
        }
        let host = if made { other } else { worker };
        let at = head.ordered(actor).unwrap();
        head.leaves(host);
        assert_eq!(head.ordered(actor).unwrap().number, at.number, "nothing is ordered of anybody");
        assert_eq!(head.gone(actor), None);
        if !made {
            assert_eq!(head.asked(driver, Died { node: node(5), life: Some(own) }), Ok(()));
            let next = ordered(&head, actor);
            assert_eq!((next.host, free(&head, other)), (other, 0.0));
            head.joins(process(6, next));
        }
    }
    let last = head.worker(4);
    assert_eq!(head.asked(driver, Died { node: node(6), life: None }), Ok(()));
    assert_eq!((ordered(&head, actor).host, free(&head, last)), (last, 0.0));
}

#[test]
fn a_host_that_ends_before_the_process_has_joined_is_no_host_any_more() {
    let (mut head, worker, _, actor) = placing(1);
    let claim = ordered(&head, actor);
    let other = head.worker(3);
    head.leaves(worker);
    let next = ordered(&head, actor);
    assert_eq!((next.host, next.placement), (other, claim.placement.next()));
    assert_eq!(refusal(&mut head, process(5, claim)), JoinError::NotAwaited(actor));
    head.joins(process(6, next));
    head.obeys(actor);
    assert_eq!(head.gone(actor), None);
}

#[test]
fn one_that_is_to_end_while_its_process_starts_is_ended_by_its_host() {
    let (mut head, worker, driver, actor) = placing(3);
    let claim = ordered(&head, actor);
    let kills = head.ends(driver, actor, How::Kill);
    assert_eq!(head.ordered(actor).unwrap().life, worker);
    assert_eq!(refusal(&mut head, process(5, claim)), JoinError::NotAwaited(actor), "it came too late");
    assert_eq!((head.reply(kills), free(&head, worker)), (None, 0.0), "its process has not ended");
    head.obeys(actor);
    assert_eq!(head.answer::<End>(kills), Some(Ok(Gone::Killed)));
    assert_eq!(free(&head, worker), 2.0);
}

#[test]
fn what_got_no_process_says_why_and_leaves_nothing() {
    let (mut head, worker, _, (actor, spawns)) = asked(3);
    let claim = ordered(&head, actor);
    let why = IsolationError::Ended { status: "é".repeat(4_000) };
    let made = Err(Failure::Isolation(why));
    assert_eq!(head.asked(worker, Hosted { actor, placement: claim.placement, made }), Ok(()));
    let Some(Err(SpawnError::Unmade(Failure::Isolation(IsolationError::Ended { status })))) =
        head.answer::<Spawn>(spawns)
    else {
        panic!("{:?}", head.answer::<Spawn>(spawns))
    };
    assert!(status.len() <= crate::limits::FAILURE_TEXT);
    assert_eq!((free(&head, worker), head.summary().actors, head.summary().names), (2.0, 0, 0));
    assert_eq!(refusal(&mut head, process(5, claim)), JoinError::NotAwaited(actor));
}

/// How far it has come when the head is started anew.
const STEPS: usize = 5;

#[test]
fn a_head_that_is_started_anew_at_any_step_comes_to_the_same() {
    for step in 0..STEPS {
        let (mut head, worker, driver, actor) = placing(1);
        let claim = ordered(&head, actor);
        let there = |standing| vec![Hosting { actor, placement: claim.placement, standing }];
        let mut own = None;
        if step >= 2 {
            own = Some(head.joins(process(5, claim)));
        }
        if step >= 3 {
            head.obeys(actor);
        }
        if step >= 4 {
            head.ends(driver, actor, How::Kill);
        }
        let mut head = head.restarted();
        comes_back(&mut head, driver, 2, Vec::new());
        // The process is being started; or the order was lost. That it has joined, its host may not have seen.
        let starting = if step == 0 { Vec::new() } else { there(Standing::Making) };
        comes_back(&mut head, worker, 1, starting);
        if step == 0 {
            assert_eq!(ordered(&head, actor), claim, "step {step}: ordered again");
        } else {
            assert_eq!(head.ordered(actor), None, "step {step}: neither again, nor its end");
        }
        assert_eq!(free(&head, worker), 0.0, "step {step}");
        let own = match own {
            None => head.joins(process(5, claim)),
            Some(own) => {
                let hosted = if step >= 3 { there(Standing::Running) } else { Vec::new() };
                comes_back(&mut head, own, 5, hosted);
                own
            }
        };
        match step {
            0..=2 => {
                assert_eq!(ordered(&head, actor), Claim { host: own, ..claim }, "step {step}");
                head.obeys(actor);
            }
            3 => assert_eq!(head.ordered(actor), None, "it runs"),
            _ => {
                head.obeys(actor);
                assert_eq!((head.gone(actor), free(&head, worker)), (Some(Gone::Killed), 0.0));
                assert_eq!(head.asked(worker, over(claim)), Ok(()));
                assert_eq!(free(&head, worker), 2.0);
                continue;
            }
        }
        let locates = head.asks(driver, Locate { actor, after: Placement(0) });
        assert_eq!(head.answer::<Locate>(locates).unwrap().unwrap().life, own, "step {step}");
        assert_eq!(head.asked(worker, Died { node: node(5), life: None }), Ok(()));
        let next = ordered(&head, actor);
        assert_eq!((next.host, next.placement), (worker, claim.placement.next()), "step {step}");
        assert_eq!(free(&head, worker), 0.0, "step {step}");
    }
}

#[test]
fn a_head_that_is_started_anew_learns_from_the_host_which_processes_outlast_their_actors() {
    for ends in [true, false] {
        let (mut head, worker, driver, actor) = placing(1);
        let claim = ordered(&head, actor);
        let process = head.joins(process(5, claim));
        head.obeys(actor);
        let placement = claim.placement;
        assert_eq!(head.asked(process, Ended { actor, placement, why: Gone::Stopped }), Ok(()));
        let mut head = head.restarted();
        let there = if ends { Vec::new() } else { vec![(actor, cpus(2.0))] };
        let door = head.door(1);
        head.beats_at(worker, door, 0);
        let epoch = head.directory.reign().epoch;
        let beat = Beat { life: worker, epoch, number: 1, orders: 0, members: 0, actors: 0 };
        let rejoin = Rejoin { beat, hosted: Vec::new(), reserved: there, holdings: Holdings::default() };
        head.apply(Event::Said(door, ToHead::Rejoin(rejoin)));
        comes_back(&mut head, driver, 2, Vec::new());
        comes_back(&mut head, process, 5, Vec::new());
        assert_eq!(free(&head, worker), if ends { 2.0 } else { 0.0 });
        assert_eq!(head.asked(worker, over(claim)).is_ok(), !ends);
        assert_eq!(free(&head, worker), 2.0);
    }
}

#[test]
fn a_process_that_never_heard_that_it_has_joined_has_claimed_its_actor_all_the_same() {
    let (mut head, worker, driver, actor) = placing(0);
    let claim = ordered(&head, actor);
    let own = head.joins(process(5, claim));
    let mut head = head.restarted();
    comes_back(&mut head, driver, 2, Vec::new());
    comes_back(&mut head, worker, 1, Vec::new());
    assert_eq!(head.joins(process(5, claim)), own);
    assert_eq!(ordered(&head, actor), Claim { host: own, ..claim });
    head.obeys(actor);
    assert_eq!((head.gone(actor), free(&head, worker)), (None, 0.0));
}
