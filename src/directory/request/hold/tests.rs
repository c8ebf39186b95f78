use super::*;
use crate::directory::request::{DemandLine, Page, Query};
use crate::directory::testing::{Head, cpus, want};

/// A worker and a driver with two slots of one CPU on it, under a head that starts anew.
fn after_a_restart() -> (Head, Life, Life, Holding, Lending) {
    let mut head = Head::new();
    let (worker, driver) = (head.worker(1), head.driver(11));
    head.asked(driver, want(4, 1.0, 2)).unwrap();
    let granted = head.granted(driver).remove(0);
    assert_eq!(granted.slots, 2);
    let (grant, slots, size) = (granted.grant, granted.slots, granted.size);
    let holding = Holding { grant, class: granted.class, life: worker, slots };
    let lending = Lending { grant, owner: driver, slots, size, bundle: None };
    (head.restarted(), worker, driver, holding, lending)
}

fn held(holding: Holding) -> Holdings {
    Holdings { held: vec![holding], ..Holdings::default() }
}

fn lent(lending: Lending) -> Holdings {
    Holdings { lent: vec![lending], ..Holdings::default() }
}

fn demand(head: &Head) -> Vec<DemandLine> {
    match head.directory.status(Query::Demand { after: None }) {
        Page::Demand(lines) => lines,
        other => panic!("{other:?}"),
    }
}

fn revoked(head: &Head, life: Life, grant: GrantId) -> bool {
    head.grant_orders(life).contains(&Command::Revoke { grant, why: Revoked::NotKnown })
}

#[test]
fn a_grant_that_owner_and_node_report_goes_on_whoever_rejoins_first() {
    for owner_first in [true, false] {
        let (mut head, worker, driver, holding, lending) = after_a_restart();
        if owner_first {
            head.rejoins_with(driver, 11, held(holding));
            head.rejoins_with(worker, 1, lent(lending));
        } else {
            head.rejoins_with(worker, 1, lent(lending));
            assert_eq!(head.free(worker).get("cpu").quantity(), 0.0, "held until its owner has spoken");
            head.rejoins_with(driver, 11, held(holding));
        }
        assert_eq!(head.free(worker).get("cpu").quantity(), 0.0);
        head.asked(driver, want(4, 1.0, 2)).unwrap();
        assert_eq!((head.granted(driver).len(), demand(&head)[0].granted), (0, 2), "it counts for what is wanted");
        head.gives_back(driver, holding.grant, 0);
        head.asked(driver, want(4, 1.0, 2)).unwrap();
        assert!(head.granted(driver).iter().all(|granted| granted.grant > holding.grant), "never reused");
    }
}

#[test]
fn a_grant_that_only_its_owner_reports_is_revoked() {
    for owner_first in [true, false] {
        let (mut head, worker, driver, holding, _) = after_a_restart();
        if owner_first {
            head.rejoins_with(driver, 11, held(holding));
            head.rejoins_with(worker, 1, Holdings::default());
        } else {
            head.rejoins_with(worker, 1, Holdings::default());
            head.rejoins_with(driver, 11, held(holding));
        }
        assert!(revoked(&head, driver, holding.grant));
        assert_eq!(head.free(worker), cpus(2.0));
    }
}

#[test]
fn a_grant_that_only_its_node_reports_is_over_once_its_owner_has_rejoined_or_ended() {
    for rejoins in [true, false] {
        let (mut head, worker, driver, _, lending) = after_a_restart();
        let grant = lending.grant;
        head.rejoins_with(worker, 1, lent(lending));
        let other = head.driver(12);
        head.asked(other, want(0, 2.0, 1)).unwrap();
        assert_eq!(head.granted(other), [], "its owner may still use it");
        if rejoins {
            head.rejoins_with(driver, 11, Holdings::default());
        } else {
            let door = head.door(11);
            head.doors.insert(driver, door);
            head.leaves(driver);
        }
        assert!(head.grant_orders(worker).contains(&Command::Vacate { grant }));
        assert_eq!(head.granted(other), [], "what runs there has yet to end");
        head.gives_back(worker, grant, 0);
        assert_eq!(head.granted(other).len(), 1);
    }
}

#[test]
fn an_owner_that_gave_some_back_while_no_head_was_there_holds_the_rest() {
    for owner_first in [true, false] {
        let (mut head, worker, driver, holding, lending) = after_a_restart();
        let fewer = held(Holding { slots: 1, ..holding });
        if owner_first {
            head.rejoins_with(driver, 11, fewer);
            head.rejoins_with(worker, 1, lent(lending));
        } else {
            head.rejoins_with(worker, 1, lent(lending));
            head.rejoins_with(driver, 11, fewer);
        }
        assert_eq!(head.free(worker), cpus(1.0));
        head.gives_back(driver, holding.grant, 1);
        assert_eq!(head.free(worker), cpus(1.0), "said again, it changes nothing");
    }
}

#[test]
fn what_a_node_has_no_room_for_is_over_and_holds_its_room_until_nothing_runs_there() {
    for owner_first in [true, false] {
        let (mut head, worker, driver, holding, lending) = after_a_restart();
        let grant = holding.grant;
        // Of the same size, and given back to the former head.
        let former = Lending { grant: GrantId(grant.0 - 1), slots: 1, ..lending.clone() };
        let holds = Holdings { lent: vec![former.clone(), lending], ..Holdings::default() };
        if owner_first {
            head.rejoins_with(driver, 11, held(holding));
            head.rejoins_with(worker, 1, holds);
        } else {
            head.rejoins_with(worker, 1, holds);
            head.rejoins_with(driver, 11, held(holding));
        }
        assert!(revoked(&head, driver, grant));
        assert!(head.grant_orders(worker).contains(&Command::Vacate { grant }));
        head.gives_back(worker, former.grant, 0);
        let next = head.driver(12);
        head.asked(next, want(0, 1.0, 2)).unwrap();
        assert_eq!(head.granted(next), [], "two tasks run there");
        head.gives_back(driver, grant, 0);
        assert_eq!(head.granted(next), [], "its owner does not know when they end");
        head.gives_back(worker, grant, 0);
        assert_eq!(head.granted(next).iter().map(|granted| granted.slots).sum::<u32>(), 2);
    }
}
