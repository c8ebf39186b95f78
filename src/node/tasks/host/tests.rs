use super::*;
use crate::id::{Key, ObjectId};

const OWNER: Life = Life(2);

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
    let host = Host::new(1, 1);
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
    let host = Host::new(1, 1);
    host.take_terms(OWNER, terms(7, 1, 2));
    let reported = host.lendings(Epoch(2));
    assert_eq!(reported.iter().map(|lending| (lending.grant, lending.slots)).collect::<Vec<_>>(), [(GrantId(7), 2)]);
    host.take_terms(OWNER, terms(8, 1, 2));
    assert_eq!(may_run(&host, OWNER, 7, Vec::new()), Ok(()));
    assert_eq!(may_run(&host, OWNER, 8, Vec::new()), Err(CallFault::NoGrant), "the new head does not know of it");
    host.take_terms(OWNER, terms(9, 2, 1));
    assert_eq!(may_run(&host, OWNER, 9, Vec::new()), Ok(()));
}
