//! The shell around a node's real [`Link`]s: dialling, sessions, batches, deliveries; and what a known end of a life does.

use super::Bug;
use super::checks::Rule;
use super::checks::hold;
use super::network::{Lane, Side, What, Whose, Wire};
use super::node::Node;
use super::stage::{Stage, Within};
use crate::clock::Moment;
use crate::directory::request::Gone;
use crate::id::{Life, NodeId};
use crate::limits::{HANDSHAKE_TIME, SETTLE_BACKLOG, SETTLE_WINDOW, WINDOW_PACKETS, WORK_WINDOW_MAX};
use crate::node::core::link::{Delivery, Link, Party, SessionRefused, StreamId};
use crate::node::core::refs::Kind;
use crate::wire::frame::{Batch, Hello};
use crate::wire::packet::{Settle, StopMode, Work};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// What a node does about a session with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dial {
    /// Nothing before this.
    Idle(Moment),
    /// It dials, since then.
    Dialing(u64, Moment),
    /// It asked the peer to dial, through the head.
    Asked,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Call(u64),
    Errand(u64),
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) link: Link<Token>,
    pub(super) node: NodeId,
    /// The stream of what is asked of the node itself.
    pub(super) stream: Option<StreamId>,
    /// The connection that the link lives on.
    session: Option<u64>,
    dial: Dial,
    flushing: bool,
}

impl Peer {
    /// When something of it is due.
    fn deadline(&self) -> Option<Moment> {
        let dial = match self.dial {
            Dial::Dialing(_, since) => Some(since + HANDSHAKE_TIME),
            Dial::Idle(at) if self.link.wants_session() => Some(at),
            _ => None,
        };
        // Its sender has its turn right now: what is due is then no longer.
        let link = self.link.deadline().filter(|_| !self.flushing);
        [link, dial].into_iter().flatten().min().filter(|_| !self.link.is_ended())
    }
}

/// A peer whose deadline is remembered until somebody touches it: it is asked for after every event.
#[derive(Debug)]
pub(super) struct Watched {
    peer: Peer,
    due: Cell<Option<Option<Moment>>>,
}

impl Watched {
    fn deadline(&self) -> Option<Moment> {
        let due = self.due.get().unwrap_or_else(|| self.peer.deadline());
        self.due.set(Some(due));
        due
    }
}

impl Deref for Watched {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl DerefMut for Watched {
    fn deref_mut(&mut self) -> &mut Peer {
        self.due.set(None);
        &mut self.peer
    }
}

/// A connection of the calls lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) side: Side,
    /// The peer's life, once it is known.
    life: Option<Life>,
}

impl Node {
    /// The link with a life; made if there is none.
    pub(super) fn peer(&mut self, stage: &Stage, life: Life, node: NodeId) -> Option<&mut Peer> {
        let (own, now) = (Party { node: self.id, life: self.life()? }, self.now(stage));
        let fresh = || {
            let link = Link::new(now, own, Party { node, life });
            let peer = Peer { link, node, stream: None, session: None, dial: Dial::Idle(Moment(0)), flushing: false };
            Watched { peer, due: Cell::new(None) }
        };
        Some(self.links.entry(life).or_insert_with(fresh))
    }

    /// After anything was done to a link: its sender may have something to take.
    pub(super) fn touched(&mut self, stage: &mut Stage, life: Life) {
        let now = self.now(stage);
        let Some(peer) = self.links.get_mut(&life) else { return };
        if peer.link.wake_sender(now) && !std::mem::replace(&mut peer.flushing, true) {
            let pause = stage.shell.micros(0, 80);
            stage.queue.after(pause, self.within(Within::Flush(life)));
        }
        self.link_holds(stage, life);
    }

    /// I5 of one link.
    fn link_holds(&self, stage: &mut Stage, life: Life) {
        let Some(peer) = self.links.get(&life) else { return };
        let load = peer.link.load();
        let held = load.work.1 <= WORK_WINDOW_MAX
            && load.work.0 <= WINDOW_PACKETS
            && load.settle.1 <= SETTLE_WINDOW + SETTLE_BACKLOG;
        let holds = hold(held, Rule::I5, || format!("the link of node {} with {life} holds {load:?}", self.index));
        stage.check(holds);
    }

    /// The sender task: takes what there is, and drops it where the node may no longer send.
    pub(super) fn flush(&mut self, stage: &mut Stage, life: Life) {
        let now = self.now(stage);
        let (may_send, Some(own)) = (self.may_begin(stage), self.life()) else { return };
        let Some(peer) = self.links.get_mut(&life) else { return };
        peer.flushing = false;
        let mut batch = Vec::new();
        while let Some(id) = peer.link.take_batch(now, &mut batch) {
            let sent = stage.packets.sends(own, life, &batch);
            stage.check(sent);
            if let Some(session) = self.sessions.get(&id).filter(|_| may_send) {
                let message = Wire::Batch(std::mem::take(&mut batch));
                stage.network.send(&mut stage.queue, id, session.side, message);
            }
        }
    }

    pub(super) fn session(&mut self, stage: &mut Stage, id: u64, side: Side, whose: Whose, what: What) {
        match what {
            What::Opened if side == Side::Listener => {
                self.sessions.insert(id, Session { side, life: None });
            }
            What::Opened => self.dialed(stage, id),
            What::Message(Wire::Batch(batch)) => self.batch(stage, id, side, whose.peer, &batch),
            What::Message(Wire::Ended) => self.refused_by_peer(stage),
            What::Message(_) => {}
            What::Closed => self.session_closed(stage, id),
        }
    }

    fn session_closed(&mut self, stage: &mut Stage, id: u64) {
        stage.note(42, self.index as u64, id, || format!("node {}: session {id} is closed", self.index));
        self.sessions.remove(&id);
        let (now, pause) = (self.now(stage), stage.shell.millis(5, 100));
        for peer in self.links.values_mut() {
            if peer.session == Some(id) {
                peer.session = None;
                peer.link.closed(now, id);
                peer.dial = Dial::Idle(now + pause);
            }
            if matches!(peer.dial, Dial::Dialing(dialed, _) if dialed == id) {
                peer.dial = Dial::Idle(now + pause);
            }
        }
    }

    /// A connection that this node dialled stands.
    fn dialed(&mut self, stage: &mut Stage, id: u64) {
        let now = self.now(stage);
        let dialing = |peer: &Peer| matches!(peer.dial, Dial::Dialing(dialed, _) if dialed == id);
        let Some((life, peer)) = self.links.iter_mut().find(|(_, peer)| dialing(peer)) else {
            return stage.network.close(&mut stage.queue, id, Side::Dialer);
        };
        let life = *life;
        peer.dial = Dial::Idle(now);
        let dialled = peer.link.dialled(now, id);
        stage.note(43, self.index as u64, id, || {
            format!("node {} dialled {life}: session {id}, {dialled:?}", self.index)
        });
        match dialled {
            Ok(replaced) => {
                peer.session = Some(id);
                self.sessions.insert(id, Session { side: Side::Dialer, life: Some(life) });
                self.close_session(stage, replaced);
                self.touched(stage, life);
            }
            Err(_) => stage.network.close(&mut stage.queue, id, Side::Dialer),
        }
    }

    fn close_session(&mut self, stage: &mut Stage, id: Option<u64>) {
        if let Some(id) = id
            && let Some(session) = self.sessions.remove(&id)
        {
            stage.network.close(&mut stage.queue, id, session.side);
        }
    }

    fn batch(&mut self, stage: &mut Stage, id: u64, side: Side, from: NodeId, batch: &[u8]) {
        let life = match self.sessions.get(&id) {
            Some(Session { life: Some(life), .. }) => *life,
            Some(_) => match Batch::decode(batch) {
                Ok(Batch::Hello(hello)) => return self.hello(stage, id, from, &hello),
                _ => return stage.network.close(&mut stage.queue, id, side),
            },
            None => return,
        };
        self.receive(stage, id, life, batch);
    }

    /// A peer that dialled says who it is.
    fn hello(&mut self, stage: &mut Stage, id: u64, from: NodeId, hello: &Hello) {
        let (now, life) = (self.now(stage), hello.life);
        if self.core.known().admit(from, life).is_err() {
            let side = Side::Listener;
            stage.network.send(&mut stage.queue, id, side, Wire::Ended);
            return self.close_session(stage, Some(id));
        }
        let mut deliveries = Vec::new();
        let (known, index) = (self.links.contains_key(&life), self.index);
        let Some(peer) = self.peer(stage, life, from) else { return self.close_session(stage, Some(id)) };
        let heard = peer.link.hello(now, id, hello, &mut deliveries);
        stage.note(44, index as u64, id, || format!("node {index}: {hello:?} on {id}, {heard:?}"));
        match heard {
            Ok(replaced) => {
                peer.session = Some(id);
                if !matches!(peer.dial, Dial::Dialing(..)) {
                    peer.dial = Dial::Idle(now);
                }
                self.sessions.insert(id, Session { side: Side::Listener, life: Some(life) });
                self.close_session(stage, replaced);
                let accepted = stage.lives.accepts_life(self.index, self.run, from, life);
                stage.check(accepted);
            }
            Err(refused) => {
                self.check_refusal(stage, life, refused);
                if !known {
                    self.links.remove(&life);
                }
                self.close_session(stage, Some(id));
            }
        }
        self.hand_over(stage, life, deliveries, &[]);
    }

    fn check_refusal(&self, stage: &mut Stage, life: Life, refused: SessionRefused) {
        let sound = !matches!(refused, SessionRefused::Broken(_));
        let holds = hold(sound, Rule::I1, || format!("node {} refuses life {life}: {refused}", self.index));
        stage.check(holds);
    }

    fn receive(&mut self, stage: &mut Stage, id: u64, life: Life, batch: &[u8]) {
        let (now, Some(own)) = (self.now(stage), self.life()) else { return };
        let Some(peer) = self.links.get_mut(&life) else { return };
        let current = peer.session == Some(id) && !peer.link.is_ended();
        let fresh = if current { stage.packets.arrives(life, own, batch) } else { Ok(Default::default()) };
        let fresh = stage.check(fresh);
        let mut deliveries = Vec::new();
        let received = peer.link.receive(now, id, batch, &mut deliveries);
        if let Err(breach) = received {
            let breach = hold(false, Rule::I1, || format!("node {} finds a breach of {life}: {breach}", self.index));
            stage.check(breach);
        }
        if stage.has(Bug::Redelivers) && stage.shell.one_in(20) {
            let again: Vec<_> =
                deliveries.iter().filter(|one| matches!(one, Delivery::Request { .. })).copied().collect();
            deliveries.extend(again);
        }
        let spans = deliveries.iter().filter_map(|delivery| match delivery {
            Delivery::Request { at, .. }
            | Delivery::Work { at }
            | Delivery::Answer { at, .. }
            | Delivery::Item { at, .. }
            | Delivery::Settle { at } => Some(at.of(batch)),
            _ => None,
        });
        let applied = stage.packets.applied(batch, &fresh, spans);
        // The planted bug is to be found by what it does to calls.
        if !stage.has(Bug::Redelivers) {
            stage.check(applied);
        }
        let count = deliveries.len() as u64;
        stage.note(40, (self.index as u64) << 32 | life.0, count << 32 | batch.len() as u64, || {
            format!("node {} receives {} bytes of {life}: {count} deliveries", self.index, batch.len())
        });
        self.hand_over(stage, life, deliveries, batch);
    }

    /// Hands over, in order, what a link gave.
    pub(super) fn hand_over(&mut self, stage: &mut Stage, life: Life, deliveries: Vec<Delivery<Token>>, batch: &[u8]) {
        for delivery in deliveries {
            match delivery {
                Delivery::Request { arrival, at } => self.request_arrives(stage, life, arrival, at.of(batch)),
                Delivery::Work { at } => self.work_arrives(stage, life, at.of(batch)),
                Delivery::Answer { token, at, .. } => match (token, Settle::decode(at.of(batch))) {
                    (Token::Call(call), Ok(Settle::Answer(answer))) => {
                        self.attach(stage, life, &answer.outcome.refs());
                        self.answer_arrives(stage, call, &answer.outcome);
                    }
                    (Token::Errand(errand), Ok(Settle::Answer(answer))) => {
                        self.errand_answered(stage, life, errand, &answer.outcome);
                    }
                    _ => self.nonsense(stage, life),
                },
                Delivery::Item { token: Token::Call(token), at } => match Settle::decode(at.of(batch)) {
                    Ok(Settle::Item { index, .. }) => self.item_arrives(stage, token, index, at.of(batch).len()),
                    _ => self.nonsense(stage, life),
                },
                Delivery::Told { token: Token::Call(token) } => self.told(stage, token),
                Delivery::Item { .. } | Delivery::Told { .. } => {}
                Delivery::Room { call } => self.room(stage, life, call),
                Delivery::Cancel { call } => self.cancelled(stage, life, call),
                Delivery::Settle { at } => self.settle_arrives(stage, life, at.of(batch)),
                Delivery::Failed { token: Token::Call(call), executed, why, .. } => {
                    self.call_failed(stage, call, life, executed, why);
                }
                Delivery::Failed { token: Token::Errand(errand), executed, .. } => {
                    self.errand_failed(stage, errand, life, executed);
                }
            }
        }
        self.touched(stage, life);
    }

    fn nonsense(&self, stage: &mut Stage, life: Life) {
        let holds = hold(false, Rule::I1, || format!("a delivery of {life} is not what it is said to be"));
        stage.check(holds);
    }

    fn work_arrives(&mut self, stage: &mut Stage, from: Life, packet: &[u8]) {
        match Work::decode(packet) {
            Ok(Work::Stop { actor, placement, mode }) if self.hosts(actor, placement) => match mode {
                StopMode::Drain => self.actor_drains(stage, actor, Gone::Stopped),
                StopMode::Kill => self.actor_ends(stage, actor, Gone::Killed),
            },
            // It ended, or was never made: its spawner, which is answered so, or its node says that.
            Ok(Work::Stop { actor, .. }) => self.report_free(stage, actor),
            // One that was cancelled before it came: what it encloses has arrived.
            Ok(Work::Request(request)) => self.attach(stage, from, &request.refs),
            _ => {}
        }
    }

    /// Counts of references, or what nobody waits for any more: what it encloses has arrived.
    fn settle_arrives(&mut self, stage: &mut Stage, from: Life, packet: &[u8]) {
        match Settle::decode(packet) {
            Ok(Settle::Answer(answer)) => self.attach(stage, from, &answer.outcome.refs()),
            Ok(settle) => {
                if let Some((kind, counts)) = Kind::of(&settle) {
                    self.counts_arrive(stage, from, kind, &counts);
                }
            }
            Err(_) => self.nonsense(stage, from),
        }
    }

    /// Lives have ended: their links do, and their ephemeral actors here.
    pub(super) fn departed(&mut self, stage: &mut Stage) {
        let linked = self.links.iter().filter(|(_, peer)| !peer.link.is_ended()).map(|(life, _)| *life);
        let owners = self.actors.iter().filter(|(_, here)| here.ephemeral).map(|(id, _)| id.life);
        let lives: BTreeSet<Life> = linked.chain(owners).filter(|life| self.core.known().has_ended(*life)).collect();
        // Before their links end: what was sent to them is then sent elsewhere.
        self.hosted_of_ended(stage);
        self.lose_grants_of_ended(stage);
        lives.into_iter().for_each(|life| self.life_ended(stage, life));
        self.holders_ended(stage);
    }

    fn life_ended(&mut self, stage: &mut Stage, life: Life) {
        stage.note(41, self.index as u64, life.0, || format!("node {} learns of the end of {life}", self.index));
        let orphans: Vec<_> = self.actors.iter().filter(|(id, here)| here.ephemeral && id.life == life).collect();
        let orphans: Vec<_> = orphans.into_iter().map(|(id, _)| *id).collect();
        for actor in orphans {
            self.actor_ends(stage, actor, Gone::OwnerEnded { life });
        }
        let Some(peer) = self.links.get_mut(&life).filter(|peer| !peer.link.is_ended()) else { return };
        let mut deliveries = Vec::new();
        let (called, session) = peer.link.end(&mut deliveries);
        peer.session = None;
        if let Dial::Dialing(id, _) = peer.dial {
            peer.dial = Dial::Idle(Moment(u64::MAX));
            stage.network.close(&mut stage.queue, id, Side::Dialer);
        }
        self.close_session(stage, session);
        self.called_back(stage, life, called);
        self.hand_over(stage, life, deliveries, &[]);
    }

    /// Deadlines of links and of dialling.
    pub(super) fn links_deadline(&self) -> Option<Moment> {
        self.links.values().filter_map(Watched::deadline).min()
    }

    pub(super) fn tick_links(&mut self, stage: &mut Stage) {
        let now = self.now(stage);
        let due: Vec<Life> = self.links.keys().copied().collect();
        for life in due {
            let mut deliveries = Vec::new();
            let Some(peer) = self.links.get_mut(&life) else { continue };
            if peer.link.deadline().is_some_and(|at| at <= now) {
                let mute = peer.link.tick(now, &mut deliveries);
                if mute.is_some() {
                    peer.session = None;
                }
                self.close_session(stage, mute);
                self.hand_over(stage, life, deliveries, &[]);
            }
            self.see_to_session(stage, life);
        }
    }

    fn see_to_session(&mut self, stage: &mut Stage, life: Life) {
        let now = self.now(stage);
        let pause = stage.shell.millis(20, 400);
        let (may_send, own) = (self.may_begin(stage), self.listener());
        let Some(peer) = self.links.get_mut(&life) else { return };
        match peer.dial {
            Dial::Dialing(id, since) if since + HANDSHAKE_TIME <= now => {
                peer.dial = Dial::Idle(now + pause);
                stage.network.close(&mut stage.queue, id, Side::Dialer);
            }
            Dial::Idle(at) if at <= now && peer.link.wants_session() => {
                let member = self.core.known().get(life);
                let listens = member.is_none_or(|member| !member.addresses.is_empty());
                match stage.node_listener(peer.node).filter(|_| member.is_some()) {
                    _ if !may_send => peer.dial = Dial::Idle(now + pause),
                    _ if !listens => {
                        peer.dial = Dial::Asked;
                        self.ask_to_dial(stage, life);
                    }
                    Some(listener) => {
                        let id = stage.network.connect(&mut stage.queue, Lane::Calls, own, Ok(listener));
                        peer.dial = Dial::Dialing(id, now);
                    }
                    None => peer.dial = Dial::Idle(now + pause),
                }
            }
            _ => {}
        }
    }

    /// The head passed it on, or could not: if the peer does not dial, it is asked again.
    pub(super) fn dial_me_answered(&mut self, stage: &mut Stage, life: Life, passed_on: bool) {
        let pause = if passed_on { Duration::from_secs(1) } else { stage.shell.millis(200, 500) };
        let again = self.now(stage) + pause;
        if let Some(peer) = self.links.get_mut(&life).filter(|peer| peer.dial == Dial::Asked) {
            peer.dial = Dial::Idle(again);
        }
    }

    /// A peer that cannot dial wants to be dialled.
    pub(super) fn asked_to_dial(&mut self, stage: &mut Stage, life: Life, node: NodeId) {
        if self.core.known().admit(node, life).is_err() {
            return;
        }
        let (now, own) = (self.now(stage), self.listener());
        let Some(listener) = stage.node_listener(node) else { return };
        let Some(peer) = self.peer(stage, life, node) else { return };
        if peer.session.is_none() && !matches!(peer.dial, Dial::Dialing(..)) && !peer.link.is_ended() {
            let id = stage.network.connect(&mut stage.queue, Lane::Calls, own, Ok(listener));
            peer.dial = Dial::Dialing(id, now);
        }
    }

    /// Ends an ephemeral actor of this node's, wherever it is.
    pub(super) fn stop_ephemeral(&mut self, stage: &mut Stage, handle: super::stage::Handle, mode: StopMode) {
        let now = self.now(stage);
        let mut packet = Vec::new();
        Work::Stop { actor: handle.actor, placement: handle.placement, mode }.encode(&mut packet);
        if let Some(peer) = self.links.get_mut(&handle.life) {
            peer.link.send_work(now, &packet);
            self.touched(stage, handle.life);
        } else if self.life() == Some(handle.life) {
            self.work_arrives(stage, handle.life, &packet);
        }
    }
}
