//! Each ledger is told of a history that breaks its rule, and says so.

mod references;
mod saves;
mod supervision;
mod tasks;

use super::calls::{Calls, End, Stream, mailbox};
use super::lives::{Lives, Present};
use super::packets::Packets;
use super::{Checked, Rule};
use crate::clock::Moment;
use crate::directory::message::{Command, Order};
use crate::directory::request::{Host, Joined, LifeEnd, Snapshot};
use crate::directory::testing::{join, spawn};
use crate::directory::{News, Record, Reign};
use crate::id::{ActorId, Epoch, Incarnation, Life, NodeId, Placement};
use crate::limits::{LEASE, MAILBOX_CAPACITY, WORK_WINDOW_MAX};
use crate::wire::frame::{Batch, Header, Section};
use crate::wire::packet::{Executed, Settle};
use std::sync::Arc;
use std::time::Duration;

const ACTOR: ActorId = ActorId { life: Life(1), serial: 1 };
const HERE: Incarnation = Incarnation { placement: Placement(1), restart: 0 };
const LATER: Incarnation = Incarnation { placement: Placement(2), restart: 0 };

fn breaks(checked: Checked, rule: Rule) {
    assert_eq!(checked.map_err(|violation| violation.rule), Err(rule));
}

/// A batch with these settle packets.
fn batch(first: u64, calls: impl IntoIterator<Item = u64>, ack_settle: u64) -> Vec<u8> {
    let (mut packets, mut out) = (Vec::new(), Vec::new());
    for call in calls {
        let mut packet = Vec::new();
        Settle::Cancel { call }.encode(&mut packet);
        packets.push(packet.len() as u8);
        packets.extend(packet);
    }
    Header { session: 1, ack_work: 0, ack_settle, room_work: 0, echo: false }.encode(
        !packets.is_empty(),
        false,
        &mut out,
    );
    if !packets.is_empty() {
        Section::begin(first, packets.len(), &mut out);
        out.extend(packets);
    }
    out
}

fn packets_of(batch: &[u8]) -> Vec<&[u8]> {
    match Batch::decode(batch) {
        Ok(Batch::Packets { settle, .. }) => settle.packets().filter_map(|packet| Some(packet.ok()?.1)).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn i1_a_packet_applied_twice_skipped_or_changed_is_noticed() {
    let (a, b) = (Life(1), Life(2));
    let mut packets = Packets::default();
    let first = batch(1, [7, 8], 0);
    packets.sends(a, b, &first).unwrap();
    let fresh = packets.arrives(a, b, &first).unwrap();
    let [one, other] = packets_of(&first)[..] else { panic!("two packets") };
    packets.applied(&first, &fresh, [one, other].into_iter()).unwrap();
    breaks(packets.applied(&first, &fresh, [other, one].into_iter()), Rule::I1);
    breaks(packets.applied(&first, &fresh, [one, one].into_iter()), Rule::I1);
    let again = packets.arrives(a, b, &first).unwrap();
    packets.applied(&first, &again, std::iter::empty()).unwrap();
    breaks(packets.applied(&first, &again, [one].into_iter()), Rule::I1);
    breaks(packets.arrives(a, b, &batch(4, [9], 0)).map(drop), Rule::I1);
    breaks(packets.sends(a, b, &batch(2, [99], 0)), Rule::I1);
    breaks(packets.sends(a, b, &batch(5, [9], 0)), Rule::I1);
    breaks(packets.arrives(b, a, &batch(1, [], 3)).map(drop), Rule::I1);
    packets.arrives(b, a, &batch(1, [], 2)).unwrap();
    breaks(packets.sends(a, b, &[0xff]), Rule::I1);
}

#[test]
fn i5_more_on_its_way_than_the_window_is_noticed() {
    let mut packets = Packets::default();
    let mut next = 1;
    let checked = loop {
        let checked = packets.sends(Life(1), Life(2), &batch(next, next..next + 4_000, 0));
        next += 4_000;
        if checked.is_err() || next as usize > WORK_WINDOW_MAX {
            break checked;
        }
    };
    breaks(checked, Rule::I5);
    breaks(mailbox(MAILBOX_CAPACITY + 1, 0, 0), Rule::I5);
    breaks(mailbox(0, 257, 256), Rule::I5);
    mailbox(MAILBOX_CAPACITY, 256, 256).unwrap();
}

fn calls() -> Calls {
    let mut calls = Calls::default();
    for (call, group, order) in [(1, 0, 1), (2, 0, 2), (3, 1, 1)] {
        calls.opens(call, Stream { caller: Life(1), actor: ACTOR, group }, order, 2);
    }
    calls
}

#[test]
fn i2_a_call_that_begins_twice_in_an_incarnation_is_noticed() {
    let mut calls = calls();
    calls.begins(1, HERE).unwrap();
    calls.begins(1, LATER).unwrap();
    breaks(calls.begins(1, LATER), Rule::I2);
    breaks(calls.begins(9, HERE), Rule::I2);
}

#[test]
fn i3_a_call_that_begins_after_a_later_one_of_its_stream_is_noticed() {
    let mut calls = calls();
    calls.begins(2, HERE).unwrap();
    calls.begins(3, HERE).unwrap();
    breaks(calls.begins(1, HERE), Rule::I3);
}

#[test]
fn a_call_that_begins_more_often_than_it_may_is_noticed() {
    let mut calls = calls();
    let third = Incarnation { placement: Placement(9), restart: 0 };
    calls.begins(1, HERE).unwrap();
    calls.begins(1, LATER).unwrap();
    breaks(calls.begins(1, third), Rule::Attempts);
}

#[test]
fn l2_a_fence_that_falls_is_noticed() {
    let mut lives = Lives::default();
    lives.passes(ACTOR, (Epoch(2), HERE)).unwrap();
    lives.passes(ACTOR, (Epoch(2), LATER)).unwrap();
    breaks(lives.passes(ACTOR, (Epoch(2), HERE)), Rule::L2);
    breaks(lives.passes(ACTOR, (Epoch(1), LATER)), Rule::L2);
    lives.passes(ACTOR, (Epoch(3), LATER)).unwrap();
}

#[test]
fn i4_no_that_is_said_of_a_call_that_begins_is_noticed() {
    let mut begun = calls();
    begun.begins(1, HERE).unwrap();
    breaks(begun.refused(1, HERE), Rule::I4);
    breaks(begun.ends(1, End::Failed(Executed::No)), Rule::I4);
    begun.ends(1, End::Failed(Executed::Maybe)).unwrap();
    let mut refused = calls();
    refused.refused(1, HERE).unwrap();
    refused.ends(2, End::Failed(Executed::No)).unwrap();
    breaks(refused.begins(1, HERE), Rule::I4);
    breaks(refused.begins(2, HERE), Rule::I4);
}

#[test]
fn i6_a_call_that_ends_twice_or_never_or_without_having_run_is_noticed() {
    let mut calls = calls();
    breaks(calls.ends(1, End::Value), Rule::I1);
    calls.begins(1, HERE).unwrap();
    calls.ends(1, End::Value).unwrap();
    breaks(calls.ends(1, End::Value), Rule::I6);
    breaks(calls.ends(9, End::Gone), Rule::I6);
    breaks(calls.all_ended(), Rule::I6);
    calls.ends(2, End::Gone).unwrap();
    calls.ends(3, End::Told).unwrap();
    calls.all_ended().unwrap();
}

fn present(node: usize, life: u64, placement: u64) -> Present {
    Present { node, life: Life(life), placement: Placement(placement) }
}

#[test]
fn l1_two_incarnations_that_may_begin_calls_are_noticed() {
    let mut lives = Lives::default();
    lives.appears(ACTOR, present(0, 1, 1)).unwrap();
    lives.appears(ACTOR, present(1, 2, 2)).unwrap();
    lives.one_begins(|present| present.node == 1).unwrap();
    breaks(lives.one_begins(|_| true), Rule::L1);
    lives.process_gone(0);
    lives.one_begins(|_| true).unwrap();
}

#[test]
fn l2_an_earlier_incarnation_life_or_placement_that_is_accepted_is_noticed() {
    let mut lives = Lives::default();
    lives.accepts(Life(1), ACTOR, LATER).unwrap();
    breaks(lives.accepts(Life(1), ACTOR, HERE), Rule::L2);
    lives.accepts_life(0, 1, NodeId([1; 32]), Life(4)).unwrap();
    breaks(lives.accepts_life(0, 1, NodeId([1; 32]), Life(3)), Rule::L2);
    lives.appears(ACTOR, present(0, 1, 2)).unwrap();
    breaks(lives.appears(ACTOR, present(0, 1, 2)), Rule::L2);
    lives.on_disk(&placed(2, 1)).unwrap();
    breaks(lives.on_disk(&placed(2, 2)), Rule::L2);
}

fn placed(placement: u64, host: u64) -> Record {
    Record::Placed { actor: ACTOR, placement: Placement(placement), host: Life(host), restarts: 0, bundle: None }
}

fn host(placement: u64) -> News {
    let spawn = Arc::new(spawn(Life(1), 1));
    let what = Command::Host(Host { placement: Placement(placement), restarts: 0, spawn, saved: None });
    News::Order(Order { life: Life(2), number: 1, what })
}

#[test]
fn l3_what_is_said_or_placed_before_it_is_on_disk_is_noticed() {
    let mut lives = Lives::default();
    let members = Snapshot { version: 1, members: Vec::new(), last: Life(1) };
    let joined = News::Joined(Joined { attempt: 1, life: Life(1), lease: None, members });
    breaks(lives.says(&joined), Rule::L3);
    let began = Record::Began { life: Life(1), join: Arc::new(join(1, 1)) };
    lives.on_disk(&began).unwrap();
    lives.says(&joined).unwrap();
    breaks(lives.decided(Moment(0), LEASE, &began), Rule::L3);
    let ended = News::Ended { life: Life(1), why: LifeEnd::Left };
    breaks(lives.says(&ended), Rule::L3);

    breaks(lives.says(&host(1)), Rule::L3);
    lives.on_disk(&placed(1, 1)).unwrap();
    lives.says(&host(1)).unwrap();
    lives.appears(ACTOR, present(0, 1, 1)).unwrap();
    lives.on_disk(&placed(2, 2)).unwrap();
    breaks(lives.says(&host(2)), Rule::L3);
    lives.on_disk(&Record::NodeEnded { life: Life(1), why: LifeEnd::Left }).unwrap();
    lives.says(&host(2)).unwrap();
    lives.says(&ended).unwrap();
}

#[test]
fn l4_a_life_that_ends_by_time_before_a_full_lease_is_noticed() {
    let mut lives = Lives::default();
    let silence = Record::NodeEnded { life: Life(1), why: LifeEnd::Silence };
    let second = Duration::from_secs(1);
    lives.head_starts(Moment(0), Epoch(1)).unwrap();
    lives.heard(Moment(0) + second, Life(1));
    breaks(lives.decided(Moment(0) + LEASE, LEASE, &silence), Rule::L4);
    lives.decided(Moment(0) + LEASE + second, LEASE, &silence).unwrap();
    lives.head_starts(Moment(0) + LEASE, Epoch(2)).unwrap();
    breaks(lives.decided(Moment(0) + LEASE + second, LEASE, &silence), Rule::L4);
}

#[test]
fn l5_an_epoch_that_does_not_rise_and_a_second_head_that_is_obeyed_are_noticed() {
    let mut lives = Lives::default();
    lives.head_starts(Moment(0), Epoch(2)).unwrap();
    breaks(lives.head_starts(Moment(0), Epoch(2)), Rule::L5);
    let reign = |epoch, instance| Reign { epoch: Epoch(epoch), instance };
    lives.obeys(0, 1, reign(2, 1)).unwrap();
    lives.obeys(0, 1, reign(2, 1)).unwrap();
    breaks(lives.obeys(0, 1, reign(2, 9)), Rule::L5);
    lives.obeys(0, 1, reign(3, 9)).unwrap();
    breaks(lives.obeys(0, 1, reign(2, 1)), Rule::L5);
}
