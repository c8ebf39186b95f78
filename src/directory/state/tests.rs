use super::*;
use crate::directory::request::Spawn;
use crate::directory::testing::{Head, cpus, spawn, want};
use crate::directory::{FromHead, request};

#[test]
fn a_node_with_more_requests_open_than_allowed_is_shown_the_door() {
    let mut head = Head::new();
    let driver = head.driver(2);
    let needs = request::Needs { resources: cpus(9.0), ..Default::default() };
    head.worker(1);
    for serial in 0..limits::REQUESTS as u64 {
        head.asks(driver, Spawn { needs: needs.clone(), ..spawn(driver, serial) });
    }
    let door = head.doors[&driver].id;
    let effects = head.asks_again(driver, RequestId(0), Spawn { needs, ..spawn(driver, 9_999) });
    assert_eq!(effects, [Effect::Close(door)]);
}

#[test]
fn a_long_look_at_the_demand_is_followed_by_as_long_a_rest() {
    let mut head = Head::new();
    let (_, driver) = (head.worker(1), head.driver(2));
    head.asked(driver, want(0, 1.0, 5)).unwrap();
    let began = head.now;
    head.directory.done_by(began + 3 * limits::DEMAND_SHORT);
    head.pass(4 * limits::DEMAND_SHORT);
    head.asked(driver, want(1, 1.0, 5)).unwrap();
    assert!(head.directory.grants.due && head.directory.grants.looks_from.is_none(), "not looked at yet");
    assert_eq!(head.directory.grants.deadline(), Some(began + 6 * limits::DEMAND_SHORT));
    head.pass(2 * limits::DEMAND_SHORT);
    assert!(head.directory.grants.looks_from.is_some());
}

#[test]
fn what_is_said_at_another_door_than_the_lifes_last_is_not_heard() {
    let mut head = Head::new();
    let driver = head.driver(2);
    let old = head.doors[&driver];
    let new = head.door(2);
    head.beats_at(driver, new, 0);
    head.doors.insert(driver, old);
    assert_eq!(head.asks_again(driver, RequestId(1), spawn(driver, 1)), []);
    let stranger = head.door(3);
    head.doors.insert(driver, stranger);
    assert_eq!(head.asks_again(driver, RequestId(1), spawn(driver, 1)), [], "nor at one of another node");
    let effects = head.beats(driver);
    assert!(matches!(&effects[..], [Effect::Send(_, FromHead { news: News::Ended { .. }, .. })]), "{effects:?}");
}

#[test]
fn a_request_that_is_given_up_leaves_nothing_that_waits() {
    let mut head = Head::new();
    let (_, driver) = (head.worker(1), head.driver(2));
    let (actor, _, after) = head.spawned(spawn(driver, 1));
    let locates = head.asks(driver, request::Locate { actor, after });
    assert_eq!(head.directory.actors.all[&actor].askers.len(), 1);
    let door = head.doors[&driver];
    head.apply(Event::Said(door, ToHead::Settle(driver, Settled::These(vec![locates]))));
    assert!(head.directory.actors.all[&actor].askers.is_empty());
    head.asks(driver, request::Locate { actor, after });
    head.apply(Event::Said(door, ToHead::Leave(request::Leave { life: driver })));
    assert!(head.directory.actors.all[&actor].askers.is_empty(), "nor does a life that ends");
}
