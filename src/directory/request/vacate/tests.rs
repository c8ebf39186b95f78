use super::*;
use crate::directory::request::{Choose, CreateGroup, Ended, GiveBack, Holdings, Lending, Patience, RemoveGroup, Want};
use crate::directory::testing::{Head, choose, cpus, want};
use crate::id::GroupId;
use crate::schedule::{Packing, Strategy};

fn free(head: &Head, life: Life) -> f64 {
    head.free(life).get("cpu").quantity()
}

fn vacated(head: &Head, host: Life) -> Vec<GrantId> {
    let orders = head.grant_orders(host).into_iter();
    orders.filter_map(|what| if let Command::Vacate { grant } = what { Some(grant) } else { None }).collect()
}

/// A worker of two CPUs, and an owner that holds both.
fn held() -> (Head, Life, Life, GrantId) {
    let mut head = Head::new();
    let (worker, owner) = (head.worker(1), head.driver(2));
    head.asked(owner, want(0, 1.0, 2)).unwrap();
    let grant = head.granted(owner)[0].grant;
    (head, worker, owner, grant)
}

#[test]
fn what_an_owner_that_ended_left_running_is_free_once_its_node_says_so() {
    let (mut head, worker, owner, grant) = held();
    let next = head.driver(3);
    head.asked(next, want(0, 1.0, 1)).unwrap();
    head.leaves(owner);
    assert_eq!((vacated(&head, worker), free(&head, worker)), (vec![grant], 0.0));
    assert_eq!(head.granted(next), [], "nobody gets it");
    head.gives_back(next, grant, 0);
    assert_eq!(head.granted(next), [], "it is the node's word, and nobody else's");
    head.gives_back(worker, grant, 0);
    assert_eq!(head.granted(next).len(), 1);
    head.gives_back(worker, grant, 0);
    assert_eq!(free(&head, worker), 1.0, "said again, it changes nothing");
}

#[test]
fn a_nodes_end_frees_what_ran_there_of_an_owner_that_had_ended() {
    let (mut head, worker, owner, grant) = held();
    head.leaves(owner);
    head.leaves(worker);
    assert!(head.directory.grants.all.is_empty());
    let (other, next) = (head.worker(4), head.driver(3));
    head.asked(next, want(0, 1.0, 2)).unwrap();
    head.gives_back(other, grant, 0);
    assert_eq!((head.granted(next)[0].slots, free(&head, other)), (2, 0.0));
}

#[test]
fn after_a_restart_the_head_counts_what_its_nodes_still_run_for_owners_that_have_ended() {
    let (mut head, worker, owner, grant) = held();
    head.leaves(owner);
    let mut head = head.restarted();
    let lending = Lending { grant, owner, slots: 1, size: cpus(1.0), bundle: None };
    head.rejoins_with(worker, 1, Holdings { lent: vec![lending], ..Holdings::default() });
    assert_eq!((vacated(&head, worker), free(&head, worker)), (vec![grant], 1.0), "one of two is used");
    head.gives_back(worker, grant, 0);
    assert_eq!(free(&head, worker), 2.0);
}

#[test]
fn what_an_owner_does_not_claim_when_it_rejoins_is_over() {
    let (head, worker, owner, grant) = held();
    let mut head = head.restarted();
    let lending = Lending { grant, owner, slots: 2, size: cpus(1.0), bundle: None };
    head.rejoins_with(worker, 1, Holdings { lent: vec![lending], ..Holdings::default() });
    head.rejoins_with(owner, 2, Holdings::default());
    assert_eq!((vacated(&head, worker), free(&head, worker)), (vec![grant], 0.0));
    head.gives_back(owner, grant, 0);
    assert_eq!(free(&head, worker), 0.0, "it has lost its say");
    head.gives_back(worker, grant, 0);
    assert_eq!(free(&head, worker), 2.0);
}

/// A group of one bundle with a CPU, and a slot of half of it.
fn within() -> (Head, Life, Life, GroupId, GrantId) {
    let mut head = Head::new();
    let (worker, owner) = (head.worker(1), head.driver(2));
    let group = GroupId { life: owner, serial: 1 };
    let (packing, patience) = (Packing::Pack, Patience::Fail);
    let create = CreateGroup { group, bundles: vec![cpus(1.0)], packing, name: None, detached: false, patience };
    head.asked(owner, create).unwrap();
    let mut wanted: Want = want(0, 0.5, 1);
    wanted.needs.strategy = Strategy::Bundle { group, index: None };
    head.asked(owner, wanted).unwrap();
    let grant = head.granted(owner)[0].grant;
    (head, worker, owner, group, grant)
}

#[test]
fn a_bundle_that_was_removed_holds_its_room_until_nothing_runs_in_it() {
    for owner_ends in [false, true] {
        let (mut head, worker, owner, group, grant) = within();
        if owner_ends {
            head.leaves(owner);
        } else {
            head.asked(owner, RemoveGroup { group }).unwrap();
        }
        assert_eq!((vacated(&head, worker), free(&head, worker)), (vec![grant], 1.0));
        let next = head.driver(3);
        assert_eq!(head.asked(next, GiveBack { grant, keep: 0 }), Ok(()));
        assert_eq!(free(&head, worker), 1.0);
        head.gives_back(worker, grant, 0);
        assert_eq!(free(&head, worker), 2.0);
    }
}

#[test]
fn after_a_restart_the_node_holds_what_runs_in_a_bundle_that_is_no_more() {
    let (mut head, worker, owner, group, grant) = within();
    head.leaves(owner);
    assert_eq!(head.directory.records().iter().filter(|record| format!("{record:?}").contains("Closing")).count(), 0);
    let mut head = head.restarted();
    let lending = Lending { grant, owner, slots: 1, size: cpus(0.5), bundle: Some((group, 0)) };
    head.rejoins_with(worker, 1, Holdings { lent: vec![lending], ..Holdings::default() });
    assert_eq!(free(&head, worker), 1.5);
    head.gives_back(worker, grant, 0);
    assert_eq!(free(&head, worker), 2.0);
}

#[test]
fn what_is_reserved_for_an_actor_of_a_spawner_that_ended_is_free_once_its_node_says_so() {
    let mut head = Head::new();
    let (worker, spawner, next) = (head.worker(1), head.driver(2), head.driver(3));
    let kept: Choose = choose(spawner, 1, 2.0);
    assert!(head.asked(spawner, kept.clone()).is_ok());
    let (waits, behind) = (head.asks(spawner, choose(spawner, 2, 1.0)), head.asks(next, choose(next, 1, 2.0)));
    head.leaves(spawner);
    assert_eq!((head.reply(waits), head.reply(behind)), (None, None));
    assert_eq!((head.summary().reservations, free(&head, worker)), (2, 0.0));
    let order = head.ordered(kept.actor).expect("an order");
    assert_eq!(order.life, worker);
    let gone = Gone::OwnerEnded { life: spawner };
    assert!(matches!(order.what, Command::End { placement: Placement(0), how: How::Kill, why, .. } if why == gone));
    let ended = Ended { actor: kept.actor, placement: Placement(0), why: Gone::Killed };
    assert!(head.asked(next, ended).is_err(), "nobody else may say so");
    head.obeys(kept.actor);
    assert!(head.reply(behind).is_some());
}
