use super::*;
use crate::actor::dispatch::TypeName;
use crate::actor::remote::NodeRef;
use crate::id::{Key, ObjectId};
use crate::limits::PUSH_DEPTH_MAX;
use crate::object::error::Fault;
use crate::task::recipe::Recipe;
use crate::task::returns::More;
use crate::task::slot::{Attempt, End, Kind};
use crate::task::standing::Standing;
use crate::task::tail::Tail;
use crate::wire::codec::Enclosed;
use futures_util::future::BoxFuture;

const OWNER: Life = Life(2);
const ME: Life = Life(1);

/// A task that nobody runs.
struct Stub(Arc<Entry>, Arc<Standing>);

impl Runnable for Stub {
    fn waits(&self, _: &Arc<Tail>, _: &NodeRef) {}
    fn is_on_disk(&self) -> bool {
        false
    }
    fn result(&self) -> &Arc<Entry> {
        &self.0
    }

    fn references(&self) -> Vec<Arc<Entry>> {
        Vec::new()
    }

    fn bring(self: Arc<Self>) -> Option<BoxFuture<'static, ()>> {
        None
    }

    fn run(self: Arc<Self>, _: TaskContext, _: Attempt) -> Ran {
        Ran::Over(End::Settled)
    }

    fn is_retried(&self) -> bool {
        false
    }

    fn wants_again(&self, _: &Fault) -> bool {
        false
    }

    fn is_blocking(&self) -> bool {
        true
    }

    fn fail(&self, _: Fault) {}

    fn ends_cancelled(&self, _: Fault) {}

    fn more(&self) -> Option<&Arc<More>> {
        None
    }

    fn done(&self) {}

    fn standing(&self) -> &Arc<Standing> {
        &self.1
    }

    fn kind(&self) -> Kind {
        Kind { name: TypeName::given("stub"), signature: Key(1) }
    }

    fn behind(&self, _: &dyn Fn(&Arc<Entry>) -> Option<u64>) -> Vec<(u32, u64)> {
        Vec::new()
    }

    fn encode(&self, _: &mut Vec<u8>, _: &[(u32, u64)]) -> Result<Enclosed, Fault> {
        Ok(Enclosed::default())
    }

    fn recipe(&self) -> Option<Recipe> {
        None
    }
}

fn ready(whose: Whose) -> Ready {
    let result = Entry::pending(ObjectId { life: ME, serial: 1 }, None);
    Ready { task: Arc::new(Stub(result, Arc::default())), whose, attempt: 1, yields: true, again: None }
}

fn own() -> Ready {
    ready(Whose::Own(TaskNumber(1)))
}

fn cpus(count: u64) -> Resources {
    Resources::none().with("cpu", Amount::ten_thousandths(count * 10_000)).unwrap()
}

/// Grants that are known, and those of which a slot may be lent.
fn known(host: &Host) -> usize {
    let state = host.state.lock();
    assert_eq!(state.any_lendable(), host.lends());
    state.grants.len() - usize::from(state.grants.contains_key(&ALONE))
}

fn terms(grant: u64, epoch: u64, slots: u32) -> Terms {
    Terms { grant: GrantId(grant), epoch: Epoch(epoch), slots, size: Resources::none(), bundle: None }
}

/// Whether a task of this owner may run under this grant.
fn may_run(host: &Host, owner: Life, grant: u64, left_out: Vec<(u32, u64)>) -> Result<(), CallFault<'static>> {
    let (number, result) = (TaskNumber(1), Entry::pending(ObjectId { life: Life(1), serial: 1 }, None));
    let (name, grant) = (Key(1), GrantId(grant));
    let header = Header { name, elsewhere: false, yields: false, grant, number, attempt: 1, left_out, title: None };
    host.expect(owner, &header, &result).map(drop)
}

#[test]
fn tasks_run_only_under_grants_that_their_own_owner_has_told_of_and_not_given_back() {
    let host = Host::new(1, 1, Resources::none());
    assert_eq!(may_run(&host, OWNER, 7, Vec::new()), Err(CallFault::NoGrant));
    host.take_terms(OWNER, terms(7, 1, 2));
    assert_eq!(may_run(&host, OWNER, 7, Vec::new()), Ok(()));
    assert_eq!(may_run(&host, Life(3), 7, Vec::new()), Err(CallFault::NoGrant), "it is another's");
    host.take_terms(Life(3), terms(7, 1, 0));
    assert_eq!(may_run(&host, OWNER, 7, Vec::new()), Ok(()), "another ends nothing of it");
    assert_eq!(may_run(&host, OWNER, 7, vec![(0, 99)]), Err(CallFault::ReferenceLost));
    host.take_terms(OWNER, terms(7, 1, 0));
    assert_eq!(may_run(&host, OWNER, 7, Vec::new()), Err(CallFault::NoGrant));
}

#[test]
fn a_grant_of_an_earlier_head_goes_on_only_if_it_was_reported_to_this_one() {
    let host = Host::new(1, 1, Resources::none());
    host.take_terms(OWNER, terms(7, 1, 2));
    let reported = host.lendings(Epoch(2));
    assert_eq!(reported.iter().map(|lending| (lending.grant, lending.slots)).collect::<Vec<_>>(), [(GrantId(7), 2)]);
    host.take_terms(OWNER, terms(8, 1, 2));
    assert_eq!(may_run(&host, OWNER, 7, Vec::new()), Ok(()));
    assert_eq!(may_run(&host, OWNER, 8, Vec::new()), Err(CallFault::NoGrant), "the new head does not know of it");
    host.take_terms(OWNER, terms(9, 2, 1));
    assert_eq!(may_run(&host, OWNER, 9, Vec::new()), Ok(()));
}

#[test]
fn a_life_that_begins_under_a_later_head_takes_no_grant_that_an_earlier_one_gave_on_it() {
    let host = Host::new(1, 1, Resources::none());
    host.serves(Epoch(2));
    host.take_terms(OWNER, terms(7, 1, 2));
    assert_eq!(may_run(&host, OWNER, 7, Vec::new()), Err(CallFault::NoGrant), "the head has given its slots to others");
    host.take_terms(OWNER, terms(8, 2, 2));
    assert_eq!(may_run(&host, OWNER, 8, Vec::new()), Ok(()));
}

#[test]
fn an_owner_has_no_more_slots_than_the_node_has() {
    let host = Host::new(1, 1, cpus(3));
    let of = |grant, size| Terms { size, ..terms(grant, 1, 1_000) };
    host.take_terms(OWNER, of(7, cpus(2)));
    host.take_terms(OWNER, of(8, cpus(1)));
    host.take_terms(OWNER, of(9, Resources::none()));
    host.take_terms(OWNER, of(10, cpus(4)));
    host.take_terms(OWNER, of(11, Resources::none().with("gpu", Amount::ONE).unwrap()));
    let slots = host.lendings(Epoch(1)).iter().map(|lending| (lending.grant.0, lending.slots)).collect::<Vec<_>>();
    assert_eq!(slots, [(7, 1), (8, 3), (9, 12)]);
}

#[test]
fn what_waits_beside_the_queue_goes_on_after_a_life_and_ends_with_the_node() {
    let host = Host::new(3, 1, Resources::none());
    (0..3).for_each(|_| assert!(host.take_room() && host.line_up(ALONE, ready(Whose::Alone), 0).is_ok()));
    assert!(!host.take_room());
    assert!(host.clear().is_empty(), "another life begins");
    assert!(host.next(ALONE).is_ok() && host.next(ALONE).is_err(), "it has one CPU");
    assert_eq!(host.close().len(), 2);
    assert!(host.line_up(ALONE, ready(Whose::Alone), 0).is_err(), "it never runs");
    host.turn(ALONE, Turn::EndsRunning);
    assert!((0..3).all(|_| host.take_room()), "no room is lost");
    assert_eq!((known(&host), host.state.lock().grants.len()), (0, 0));
}

#[test]
fn a_lent_slot_is_free_while_its_task_is_parked() {
    let host = Host::new(1, 1, cpus(1));
    let grant = GrantId(7);
    host.take_terms(OWNER, Terms { size: cpus(1), ..terms(7, 1, 1) });
    (0..3).for_each(|_| assert!(host.line_up(grant, own(), 0).is_ok()));
    assert!(host.next(grant).is_ok() && !host.lends());
    host.turn(grant, Turn::Parks);
    let (lent, size) = host.lend(ME, |size| *size == cpus(1)).unwrap();
    assert!(size == cpus(1) && host.lend(ME, |_| true).is_none(), "one for each that is parked, and there is one slot");
    assert!(host.next(grant).is_err(), "it is taken");
    assert!(host.line_up(lent, own(), 0).is_ok() && host.next(lent).is_ok());
    assert!(host.next(grant).is_err());
    host.turn(lent, Turn::Parks);
    assert!(host.next(grant).is_ok(), "it is free again");
    host.turn(grant, Turn::EndsRunning);
    assert!(host.next(grant).is_ok());
    host.turn(grant, Turn::EndsRunning);
    let idle = Tell { owner: OWNER, grant, parked: 1, number: 1 };
    assert_eq!(host.next(grant).err(), Some(Some(idle)), "its owner is told that a slot idles");
    assert_eq!(host.next(grant).err(), Some(None), "once");
    host.turn(lent, Turn::GoesOn);
    assert!(host.line_up(grant, own(), 0).is_ok() && host.next(grant).is_err(), "it has it again");
    host.turn(lent, Turn::EndsRunning);
    assert_eq!(known(&host), 1);
    assert!(host.next(grant).is_ok());
    host.turn(grant, Turn::EndsRunning);
    host.turn(grant, Turn::EndsParked);
    let none = Tell { parked: 0, number: 2, ..idle };
    assert_eq!(host.next(grant).err(), Some(Some(none)));
    host.take_terms(OWNER, terms(7, 1, 0));
    assert_eq!(known(&host), 0);
}

#[test]
fn what_was_lent_is_given_back_at_the_end_of_a_life_however_far_it_was() {
    for (begins, parks) in [(false, false), (true, false), (true, true)] {
        let host = Host::new(1, 1, cpus(1));
        host.take_terms(OWNER, Terms { size: cpus(1), ..terms(7, 1, 1) });
        assert!(host.line_up(GrantId(7), own(), 0).is_ok() && host.next(GrantId(7)).is_ok());
        host.turn(GrantId(7), Turn::Parks);
        let (lent, _) = host.lend(ME, |_| true).unwrap();
        assert!(host.line_up(lent, own(), 0).is_ok());
        if begins {
            assert!(host.next(lent).is_ok());
        }
        if parks {
            host.turn(lent, Turn::Parks);
        }
        assert_eq!(host.clear().len(), usize::from(!begins));
        assert_eq!(host.unlend(lent), None, "it is over, or ends with its task");
        if begins {
            host.turn(lent, if parks { Turn::EndsParked } else { Turn::EndsRunning });
        }
        assert_eq!(known(&host), 1, "a task of its owner is parked still");
        host.turn(GrantId(7), Turn::EndsParked);
        assert_eq!(known(&host), 0);
    }
}

#[test]
fn tasks_that_stand_behind_others_are_as_many_as_those_in_line_may_be() {
    let host = Host::new(4, 1, cpus(2));
    host.take_terms(OWNER, terms(1, 1, 1));
    let grant = GrantId(1);
    assert!((0..PUSH_DEPTH_MAX).all(|_| host.stand_behind(grant)));
    assert!(!host.stand_behind(grant) && !host.stand_behind(GrantId(2)));
    host.step_up(grant);
    assert!(host.stand_behind(grant), "one came into line, and was begun");
    host.take_terms(OWNER, terms(1, 1, 0));
    assert!(!host.stand_behind(grant));
}
