//! Scripted handlers: what runs in an actor's slots, how it goes on, returns, panics, is cancelled, streams.

use super::hosting::{Entry, From, Phase};
use super::node::Node;
use super::script::{At, Blocks, Script};
use super::stage::{Stage, Within};
use crate::clock::Moment;
use crate::id::{ActorId, Life};
use crate::node::core::link::ItemSent;
use crate::wire::bytes::List;
use crate::wire::packet::{CallFault, Executed, Settle};
use std::time::Duration;

/// A handler that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) actor: ActorId,
    /// In which run of it.
    pub(super) restart: u32,
    pub(super) group: u8,
    pub(super) entry: Entry,
    pub(super) script: Script,
    pub(super) blocks: Blocks,
    pub(super) ends_at: Moment,
    /// The call that it waits for.
    pub(super) asks: Option<u64>,
    pub(super) asked: bool,
    pub(super) items: u64,
}

impl Node {
    pub(super) fn frame_goes_on(&mut self, stage: &mut Stage, id: u64) {
        let Some(frame) = self.frames.get(&id).copied() else { return };
        match frame.script {
            Script::Return(_) | Script::Hold(..) => {
                if stage.saver.one_in(6) && self.may_begin(stage) {
                    self.saves(stage, frame.actor);
                }
                self.finish(stage, id, Executed::Yes, None);
            }
            Script::Fail(_) => self.finish(stage, id, Executed::Yes, None),
            Script::Panic(_) => self.panics(stage, id),
            Script::Ask(other, timeout) => match frame.asks {
                Some(asks) if stage.calls[asks as usize].at != At::Over => {}
                None if !frame.asked && self.may_begin(stage) => {
                    let from = self.actors.get(&frame.actor).map(|actor| (frame.actor, actor.incarnation()));
                    self.frames.entry(id).and_modify(|frame| frame.asked = true);
                    let wish = super::load::inner(stage, id, timeout, from);
                    let asks = self.call(stage, other, wish);
                    self.frames.entry(id).and_modify(|frame| frame.asks = asks);
                }
                _ => self.finish(stage, id, Executed::Yes, None),
            },
            Script::Stream(items, pause) => self.next_item(stage, id, items, pause),
        }
    }

    /// A handler has returned.
    pub(super) fn finish(&mut self, stage: &mut Stage, id: u64, executed: Executed, fault: Option<CallFault<'_>>) {
        let Some(frame) = self.drop_frame(stage, id) else { return };
        self.answer(stage, frame.entry, executed, fault);
        let Some(actor) = self.actors.get_mut(&frame.actor) else { return };
        actor.groups[frame.group as usize].running -= 1;
        if actor.phase == Phase::Ends {
            return self.run_over(stage, frame.actor);
        }
        self.pump(stage, frame.actor, frame.group as usize);
        self.ends_if_drained(stage, frame.actor);
    }

    /// A frame is no more; what it asked is dropped.
    pub(super) fn drop_frame(&mut self, stage: &mut Stage, id: u64) -> Option<Frame> {
        let frame = self.frames.remove(&id)?;
        if let From::Link(life, arrival) = frame.entry.from {
            self.serving.remove(&(life, arrival.call));
        }
        if let Some(asks) = frame.asks {
            self.caller_leaves(stage, asks, "its handler is no more");
        }
        Some(frame)
    }

    pub(super) fn cancel_frame(&mut self, stage: &mut Stage, id: u64) {
        let Some(frame) = self.frames.get(&id) else { return };
        // A stream that nobody takes from would never have room again.
        let streams = matches!(frame.script, Script::Stream(..));
        if frame.blocks == Blocks::No && (streams || stage.calls[frame.entry.call as usize].cancels) {
            self.finish(stage, id, Executed::Yes, Some(CallFault::Cancelled));
        }
    }

    /// Nobody waits any more for a call that has begun.
    pub(super) fn cancelled(&mut self, stage: &mut Stage, life: Life, call: u64) {
        match self.serving.get(&(life, call)).copied() {
            Some(frame) => self.cancel_frame(stage, frame),
            None => self.task_cancelled(stage, life, call),
        }
    }

    /// Sends the next item of a streaming reply, or ends it.
    fn next_item(&mut self, stage: &mut Stage, id: u64, items: u32, pause: Duration) {
        let Some(frame) = self.frames.get_mut(&id) else { return };
        let From::Link(life, arrival) = frame.entry.from else { return self.finish(stage, id, Executed::Yes, None) };
        if frame.items >= u64::from(items) {
            return self.finish(stage, id, Executed::Yes, None);
        }
        let mut packet = Vec::new();
        let body = [7; 20];
        Settle::Item { call: arrival.call, index: frame.items, refs: List::EMPTY, body: &body }.encode(&mut packet);
        let Some(peer) = self.links.get_mut(&life) else { return };
        match peer.link.send_item(arrival.call, &packet) {
            ItemSent::Sent => {
                frame.items += 1;
                stage.queue.after(pause, self.within(Within::Frame(id)));
                self.touched(stage, life);
            }
            ItemSent::Full => {}
            ItemSent::Gone => self.finish(stage, id, Executed::Yes, None),
        }
    }

    /// The consumer of a streaming reply has room again.
    pub(super) fn room(&mut self, stage: &mut Stage, life: Life, call: u64) {
        if let Some(frame) = self.serving.get(&(life, call)).copied() {
            stage.queue.at(stage.queue.now, self.within(Within::Frame(frame)));
        }
    }
}
