//! PROTOCOLS §3, rule by rule. O is life 1 and owns X; A, B and C are lives 2 to 4. A thing's token is its serial.

use crate::clock::Moment;
use crate::id::{ActorId, Life, ObjectId};
use crate::limits::{COUNTED_THINGS, COUNTS};
use crate::node::core::refs::{Breach, Effect, Hold, Kind, Load, Loss, Refs, Said};
use crate::wire::bytes::List;
use crate::wire::packet::{Count, Counted};
use std::time::Duration;

const O: Life = Life(1);
const A: Life = Life(2);
const B: Life = Life(3);
const C: Life = Life(4);
const X: Counted = object(O, 1);
const GRACE: Duration = Duration::from_secs(2);

const fn object(life: Life, serial: u64) -> Counted {
    Counted::Object(ObjectId { life, serial })
}

fn one(first: Counted, n: u64) -> Vec<Count> {
    vec![Count { first, run: 1, n }]
}

/// A node, and what its shell was told to do.
struct Node {
    refs: Refs<u64>,
    effects: Vec<Effect<u64>>,
}

impl Node {
    fn new(life: Life) -> Self {
        Self { refs: Refs::new(life), effects: Vec::new() }
    }

    fn arrives(&mut self, from: Life, counted: Counted) -> Hold<u64> {
        self.refs.arrived(from, counted, &mut self.effects)
    }

    fn holds(&mut self, counted: Counted) -> Hold<u64> {
        self.refs.hold(counted, &mut self.effects)
    }

    fn drops(&mut self, counted: Counted) {
        self.refs.unhold(counted, &mut self.effects);
    }

    fn hears(&mut self, from: Life, kind: Kind, counts: &[Count]) -> Result<(), Breach> {
        self.refs.apply(from, kind, &List::Items(counts), &mut self.effects)
    }

    /// All that it has to say to a life.
    fn says(&mut self, to: Life) -> Vec<(Kind, Vec<Count>)> {
        std::iter::from_fn(|| self.refs.take(to)).map(|Said { kind, counts }| (kind, counts)).collect()
    }

    fn ended(&mut self, life: Life, now: Moment) {
        self.refs.node_ended(life, now, &mut self.effects);
    }

    /// What was freed or lost, since the last look.
    fn did(&mut self) -> Vec<Effect<u64>> {
        self.effects.drain(..).filter(|effect| !matches!(effect, Effect::Say(_))).collect()
    }
}

/// Carries what `from` has to say to `to`.
fn carry(from: &mut Node, to: &mut Node) {
    for (kind, counts) in from.says(to.refs.life()) {
        to.hears(from.refs.life(), kind, &counts).unwrap();
    }
}

/// A node that holds X, as the owner knows.
fn holder(owner: &mut Node, life: Life) -> Node {
    let mut node = Node::new(life);
    owner.refs.send(X, &1, life, 1);
    assert_eq!(node.arrives(O, X), Hold::Taken);
    node
}

#[test]
fn rule_1_what_is_sent_is_counted_until_the_same_number_came_back() {
    let (mut o, mut b) = (Node::new(O), Node::new(B));
    o.refs.send(X, &1, B, 3);
    assert_eq!((o.refs.sent(X, B), o.refs.find(X)), (3, Some(1)));
    (0..2).for_each(|_| assert_eq!(b.arrives(O, X), Hold::Taken));
    (0..2).for_each(|_| b.drops(X));
    carry(&mut b, &mut o);
    assert_eq!((o.refs.sent(X, B), o.did()), (1, vec![]), "one is still on its way: a release never crosses a send");
    let _ = b.arrives(O, X);
    b.drops(X);
    carry(&mut b, &mut o);
    assert_eq!((o.refs.find(X), o.did()), (None, vec![Effect::Free(1)]));
    assert_eq!((o.refs.load(), b.refs.load()), (Load::default(), Load::default()));
}

#[test]
fn rule_1_what_was_never_sent_is_not_counted() {
    let mut o = Node::new(O);
    o.refs.send(X, &1, B, 2);
    o.refs.unsend(X, B, 2, &mut o.effects);
    assert_eq!((o.did(), o.refs.load()), (vec![Effect::Free(1)], Load::default()));
    o.refs.unsend(X, B, 2, &mut o.effects);
    assert_eq!(o.did(), [], "its life has ended meanwhile");
}

#[test]
fn rule_2_a_packet_that_was_not_read_is_a_hold() {
    let mut o = Node::new(O);
    let mut b = holder(&mut o, B);
    o.refs.send(X, &1, B, 1);
    let _ = b.arrives(O, X);
    b.drops(X);
    assert_eq!(b.says(O), [], "the older handle's end gives nothing back of what the packet brought");
    b.drops(X);
    assert_eq!(b.says(O), [(Kind::Release, one(X, 2))]);
}

#[test]
fn rule_2_what_is_needed_again_before_it_was_given_back_is_kept() {
    let mut o = Node::new(O);
    let mut b = holder(&mut o, B);
    b.drops(X);
    assert_eq!((b.refs.load().held, b.holds(X)), (0, Hold::Taken));
    assert_eq!(b.says(O), []);
    b.drops(X);
    assert_eq!(b.says(O), [(Kind::Release, one(X, 1))]);
}

#[test]
fn rule_3_what_a_third_node_sent_is_claimed_and_landed_after_that() {
    let mut o = Node::new(O);
    let (mut a, mut b) = (holder(&mut o, A), Node::new(B));
    a.refs.sent_on(X, B, 2);
    a.drops(X);
    assert_eq!(a.says(O), [], "a transit hold");
    (0..2).for_each(|_| assert_eq!(b.arrives(A, X), Hold::Taken));
    (0..2).for_each(|_| b.drops(X));
    assert_eq!(b.says(A), []);
    carry(&mut b, &mut o);
    assert_eq!((o.refs.sent(X, A), o.refs.sent(X, B)), (1, 1));
    assert_eq!(b.says(O), [], "it is given back only after `Claimed`");
    carry(&mut o, &mut b);
    assert_eq!(b.refs.load().unsaid, 2);
    carry(&mut b, &mut a);
    assert_eq!(a.says(O), [(Kind::Release, one(X, 1))]);
    assert_eq!(b.says(O), [(Kind::Release, one(X, 1))]);
}

#[test]
fn rule_3_what_the_owner_counts_already_has_landed_at_once() {
    let mut o = Node::new(O);
    let (mut a, mut b) = (holder(&mut o, A), holder(&mut o, B));
    a.refs.sent_on(X, B, 1);
    let _ = b.arrives(A, X);
    assert_eq!((b.says(A), b.says(O)), (vec![(Kind::Landed, one(X, 1))], vec![]));
}

#[test]
fn rule_3_a_reference_that_goes_home_is_held_until_it_has_landed_too() {
    let mut o = Node::new(O);
    let mut a = holder(&mut o, A);
    a.refs.sent_on(X, O, 1);
    a.drops(X);
    assert_eq!(a.says(O), [], "in settle it would overtake the packet, which is work");
    assert_eq!(o.arrives(A, X), Hold::Own(1));
    carry(&mut o, &mut a);
    carry(&mut a, &mut o);
    assert_eq!((o.did(), a.refs.load()), (vec![Effect::Free(1)], Load::default()));
}

#[test]
fn rule_3_a_claim_may_be_passed_by_what_the_owner_sends() {
    let mut o = Node::new(O);
    let (mut a, mut b) = (holder(&mut o, A), Node::new(B));
    a.refs.sent_on(X, B, 1);
    let _ = b.arrives(A, X);
    o.refs.send(X, &1, B, 1);
    let _ = b.arrives(O, X);
    (0..2).for_each(|_| b.drops(X));
    carry(&mut b, &mut o);
    carry(&mut o, &mut b);
    assert_eq!(b.says(O), [(Kind::Release, one(X, 2))]);
}

#[test]
fn rule_3_gone_is_said_of_what_nobody_holds_and_heard_as_lost() {
    let (mut o, mut b) = (Node::new(O), Node::new(B));
    let _ = b.arrives(A, X);
    carry(&mut b, &mut o);
    assert_eq!((o.did(), o.refs.load().exposed), (vec![], 0));
    carry(&mut o, &mut b);
    assert_eq!(b.did(), [Effect::Lost(X, Loss::Gone)]);
    assert_eq!(b.says(A), [(Kind::Landed, one(X, 1))]);
    o.refs.send(X, &1, B, 1);
    let _ = b.arrives(O, X);
    (0..2).for_each(|_| b.drops(X));
    assert_eq!(b.says(O), [(Kind::Release, one(X, 1))], "what is lost may come again, and its holds are let go as any");
}

#[test]
fn rule_3_gone_loses_nothing_that_came_from_the_owner_meanwhile() {
    let (mut o, mut b) = (Node::new(O), Node::new(B));
    let _ = b.arrives(A, X);
    carry(&mut b, &mut o);
    o.refs.send(X, &1, B, 1);
    let _ = b.arrives(O, X);
    carry(&mut o, &mut b);
    assert_eq!(b.did(), []);
    (0..2).for_each(|_| b.drops(X));
    carry(&mut b, &mut o);
    assert_eq!(o.did(), [Effect::Free(1)]);
}

#[test]
fn rule_3_a_reference_from_the_head_is_claimed() {
    let mut o = Node::new(O);
    let (_a, mut b) = (holder(&mut o, A), Node::new(B));
    assert_eq!(b.holds(X), Hold::Taken);
    assert_eq!(b.holds(X), Hold::Taken);
    assert_eq!(b.says(O), [(Kind::Claim, one(X, 1))]);
}

#[test]
fn rule_4_an_object_of_many_references_costs_no_message_to_read_and_one_claim_to_outlive() {
    let (y, inner) = (object(A, 1), |serial| object(O, serial));
    let (mut o, mut b) = (Node::new(O), Node::new(B));
    (1..=10_000).for_each(|serial| o.refs.send(inner(serial), &serial, A, 1));
    let _ = b.arrives(A, y);
    for serial in 1..=10_000 {
        assert_eq!(b.refs.hold_inside(inner(serial), y, &mut b.effects), Hold::Taken);
    }
    (1..=100).for_each(|serial| b.drops(inner(serial)));
    assert_eq!((b.says(O), b.says(A)), (vec![], vec![]));
    b.drops(y);
    assert_eq!(b.says(A), [], "it is kept until the owners of the others have counted them");
    carry(&mut b, &mut o);
    assert_eq!(o.says(B), [(Kind::Claimed, vec![Count { first: inner(101), run: 9_900, n: 1 }])]);
    b.hears(O, Kind::Claimed, &[Count { first: inner(101), run: 9_900, n: 1 }]).unwrap();
    assert_eq!(b.says(A), [(Kind::Release, one(y, 1))]);
    (101..=10_000).for_each(|serial| b.drops(inner(serial)));
    assert_eq!(b.says(O), [(Kind::Release, vec![Count { first: inner(101), run: 9_900, n: 1 }])]);
    assert_eq!(b.refs.load(), Load::default());
}

#[test]
fn rule_4_an_object_is_kept_until_all_that_survives_it_is_counted() {
    let (y, other, mut b) = (object(A, 1), object(C, 1), Node::new(B));
    let _ = b.arrives(A, y);
    for inner in [X, other] {
        let _ = b.refs.hold_inside(inner, y, &mut b.effects);
    }
    b.drops(y);
    b.hears(O, Kind::Claimed, &one(X, 1)).unwrap();
    assert_eq!(b.says(A), [], "A, that holds the other, has to know of this node until C does");
    b.hears(C, Kind::Claimed, &one(other, 1)).unwrap();
    assert_eq!(b.says(A), [(Kind::Release, one(y, 1))]);
}

#[test]
fn rule_4_nested_objects_are_let_go_from_the_inside() {
    let things: Vec<_> = (1..=50_000).map(|serial| object(A, serial)).collect();
    let mut b = Node::new(B);
    let _ = b.arrives(A, things[0]);
    for pair in things.windows(2) {
        let _ = b.refs.hold_inside(pair[1], pair[0], &mut b.effects);
    }
    things.iter().rev().skip(1).for_each(|thing| b.drops(*thing));
    assert_eq!((b.says(A), b.refs.load().held), (vec![(Kind::Claim, one(things[49_999], 1))], 50_000));
    b.hears(A, Kind::Claimed, &one(things[49_999], 1)).unwrap();
    assert_eq!((b.says(A), b.refs.load().held), (vec![(Kind::Release, one(things[0], 1))], 1));
}

#[test]
fn rule_4_what_its_own_node_put_into_an_object_can_be_claimed() {
    let (y, mut a, mut b, mut c) = (object(A, 1), Node::new(A), Node::new(B), Node::new(C));
    let x = object(A, 2);
    a.refs.contain(x, &2);
    a.refs.send(y, &1, B, 1);
    let _ = (b.arrives(A, y), b.refs.hold_inside(x, y, &mut b.effects));
    b.refs.sent_on(x, C, 1);
    let _ = c.arrives(B, x);
    b.drops(x);
    carry(&mut c, &mut a);
    carry(&mut a, &mut c);
    assert_eq!(c.did(), []);
    a.drops(x);
    assert_eq!((a.did(), a.refs.find(x)), (vec![], Some(2)));
}

#[test]
fn rule_7_what_a_life_held_stays_for_a_grace_so_that_its_claims_arrive() {
    let mut o = Node::new(O);
    let (mut b, now) = (Node::new(B), Moment(5));
    let _a = holder(&mut o, A);
    let _ = b.arrives(A, X);
    o.ended(A, now);
    o.ended(A, now + Duration::from_secs(1));
    assert_eq!(o.refs.deadline(), Some(now + GRACE));
    o.refs.tick(now + Duration::from_secs(1), &mut o.effects);
    carry(&mut b, &mut o);
    o.refs.tick(now + GRACE, &mut o.effects);
    assert_eq!((o.refs.sent(X, A), o.refs.sent(X, B), o.did()), (0, 1, vec![]));
    let _ = b.arrives(A, X);
    o.ended(B, now + GRACE);
    o.refs.tick(now + GRACE + GRACE, &mut o.effects);
    assert_eq!((o.did(), o.refs.load(), o.refs.deadline()), (vec![Effect::Free(1)], Load::default(), None));
}

#[test]
fn rule_7_what_was_on_its_way_to_a_life_stays_for_the_same_grace() {
    // A to B to C, and B ends before the owner has heard of it: C's claim needs A.
    let mut o = Node::new(O);
    let (mut a, mut c, now) = (holder(&mut o, A), Node::new(C), Moment(0));
    a.refs.sent_on(X, B, 1);
    a.drops(X);
    a.ended(B, now);
    let _ = c.arrives(B, X);
    assert_eq!(a.says(O), []);
    carry(&mut c, &mut o);
    a.refs.tick(now + GRACE, &mut a.effects);
    carry(&mut a, &mut o);
    carry(&mut o, &mut c);
    assert_eq!((o.refs.sent(X, A), o.refs.sent(X, C), c.did()), (0, 1, vec![]));
}

#[test]
fn rule_7_what_a_life_owned_is_lost_with_it() {
    let mut o = Node::new(O);
    let (mut b, now) = (holder(&mut o, B), Moment(0));
    let claimed = object(O, 2);
    let _ = b.arrives(A, claimed);
    b.ended(O, now);
    assert_eq!(b.did(), [Effect::Lost(X, Loss::OwnerDied), Effect::Lost(claimed, Loss::OwnerDied)]);
    assert_eq!((b.says(A), b.says(O)), (vec![(Kind::Landed, one(claimed, 1))], vec![]));
    assert_eq!(b.arrives(A, X), Hold::Lost(Loss::OwnerDied));
    assert_eq!((b.says(A), b.holds(X)), (vec![(Kind::Landed, one(X, 1))], Hold::Lost(Loss::OwnerDied)));
    b.drops(X);
    b.refs.tick(now + GRACE, &mut b.effects);
    assert_eq!(b.holds(X), Hold::Lost(Loss::OwnerDied), "while something is held of that life, its end is remembered");
    b.drops(claimed);
    assert_eq!(b.refs.load(), Load::default());
    // Long after that, nobody here knows that life: the shell finds out when it wants to say the claim.
    assert_eq!(b.arrives(A, X), Hold::Taken);
    b.ended(O, now + GRACE);
    assert_eq!(b.did(), [Effect::Lost(X, Loss::OwnerDied)]);
}

#[test]
fn rule_7_what_is_inside_of_a_lost_object_is_claimed_within_the_grace() {
    let (y, mut o, mut b) = (object(A, 1), Node::new(O), Node::new(B));
    o.refs.send(X, &1, A, 1);
    let _ = (b.arrives(A, y), b.refs.hold_inside(X, y, &mut b.effects));
    o.ended(A, Moment(0));
    b.ended(A, Moment(0));
    carry(&mut b, &mut o);
    o.refs.tick(Moment(0) + GRACE, &mut o.effects);
    carry(&mut o, &mut b);
    assert_eq!((b.did(), o.did(), o.refs.sent(X, B)), (vec![Effect::Lost(y, Loss::OwnerDied)], vec![], 1));
}

#[test]
fn r3_a_count_below_zero_is_a_breach() {
    let mut o = Node::new(O);
    let mut a = holder(&mut o, A);
    assert_eq!(o.hears(A, Kind::Release, &one(X, 2)), Err(Breach::Released { counted: X, had: 1, n: 2 }));
    assert_eq!(o.hears(B, Kind::Release, &one(X, 1)), Err(Breach::Released { counted: X, had: 0, n: 1 }));
    a.refs.sent_on(X, B, 1);
    assert_eq!(a.hears(B, Kind::Landed, &one(X, 2)), Err(Breach::Landed { counted: X, had: 1, n: 2 }));
    assert_eq!(a.hears(C, Kind::Landed, &one(X, 1)), Err(Breach::Landed { counted: X, had: 0, n: 1 }));
    assert_eq!(a.hears(O, Kind::Claimed, &one(X, 1)), Err(Breach::Unasked(X)));
    assert_eq!(a.hears(O, Kind::Gone, &one(X, 1)), Err(Breach::Unasked(X)));
    assert_eq!(a.hears(B, Kind::Claimed, &one(X, 1)), Err(Breach::NotOwner(X)));
    assert_eq!(a.hears(B, Kind::Claim, &one(X, 1)), Err(Breach::NotOwner(X)));
    assert_eq!(a.hears(B, Kind::Release, &one(X, 1)), Err(Breach::NotOwner(X)));
}

#[test]
fn r3_counts_that_are_absurd_are_a_breach_and_no_work() {
    let mut o = Node::new(O);
    let claim = |first, run, n| [Count { first, run, n }];
    assert_eq!(o.hears(A, Kind::Claim, &claim(X, u32::MAX, 1)), Err(Breach::TooMany));
    assert_eq!(o.hears(A, Kind::Claim, &claim(X, 0, 1)), Err(Breach::Empty(X)));
    assert_eq!(o.hears(A, Kind::Claim, &claim(X, 1, 0)), Err(Breach::Empty(X)));
    let last = object(O, u64::MAX);
    assert_eq!(o.hears(A, Kind::Claim, &claim(last, 2, 1)), Err(Breach::Empty(last)));
    o.refs.send(X, &1, A, 1);
    assert_eq!(o.hears(A, Kind::Claim, &claim(X, 1, u64::MAX)), Err(Breach::TooMany));
}

#[test]
fn counts_are_packed_into_runs_and_packets_are_bounded() {
    let mut b = Node::new(B);
    let actor = |serial| Counted::Actor(ActorId { life: O, serial });
    for counted in [actor(7), object(O, 8), object(O, 9), object(O, 9), object(O, 10), object(O, 12)] {
        let _ = b.arrives(O, counted);
    }
    for counted in [actor(7), object(O, 8), object(O, 9), object(O, 9), object(O, 10), object(O, 12)] {
        b.drops(counted);
    }
    let runs =
        [(actor(7), 1, 1), (object(O, 8), 1, 1), (object(O, 9), 1, 2), (object(O, 10), 1, 1), (object(O, 12), 1, 1)];
    let counts = runs.map(|(first, run, n)| Count { first, run, n }).to_vec();
    assert_eq!(b.says(O), [(Kind::Release, counts)]);
    for serial in 0..COUNTED_THINGS + 1 {
        let _ = b.arrives(O, object(O, serial));
        b.drops(object(O, serial));
    }
    let sizes: Vec<_> = b.says(O).iter().map(|(_, counts)| (counts.len(), counts[0].run)).collect();
    assert_eq!(sizes, [(1, COUNTED_THINGS as u32), (1, 1)]);
    for serial in 0..=COUNTS as u64 {
        let _ = b.arrives(O, object(O, 2 * serial));
        b.drops(object(O, 2 * serial));
    }
    let sizes: Vec<_> = b.says(O).iter().map(|(_, counts)| counts.len()).collect();
    assert_eq!(sizes, [COUNTS, 1]);
}

#[test]
fn a_life_is_announced_once_until_all_is_taken() {
    let mut o = Node::new(O);
    let mut b = holder(&mut o, B);
    let other = object(O, 2);
    let _ = b.arrives(O, other);
    b.drops(X);
    b.drops(other);
    let _ = b.holds(X);
    b.drops(X);
    assert_eq!(b.effects, [Effect::Say(O)]);
    let counts = vec![Count { first: X, run: 2, n: 1 }];
    assert_eq!(b.says(O), [(Kind::Release, counts)]);
    assert_eq!(b.holds(X), Hold::Taken);
    assert_eq!(b.effects, [Effect::Say(O), Effect::Say(O)]);
}
