//! The caller's side of calls: one route for each actor and group, in the order of first polls; where it leads, what waits in
//! it, and how it is bound anew (PROTOCOLS §1.13, §1.15, §1.16).

use super::Bug;
use super::checks::calls::{End, Stream};
use super::checks::{Rule, hold};
use super::links::Token;
use super::node::Node;
use super::script::{At, Call, Key, Kind, Script, Waiter};
use super::stage::{Handle, Stage, Within};
use crate::directory::request::Located;
use crate::id::{ActorId, Incarnation, Key as Method, Life, Placement};
use crate::limits::STREAM_ITEMS;
use crate::node::core::link::{Demand, Failure, Patience, Sent, StreamId, Taken};
use crate::wire::bytes::List;
use crate::wire::packet::{CallFault, Executed, Flags, Outcome, Request, StopMode};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// Nobody has asked yet.
    Unknown,
    /// The head is asked.
    Locating,
    /// To an actor of this node.
    Here,
    There(Life, StreamId),
    /// Not there: what is outstanding is awaited.
    Draining(Life, StreamId),
    /// The actor is no more.
    Over,
}

#[derive(Debug)]
pub(super) struct Route {
    bound: Bound,
    pub(super) placement: Placement,
    ephemeral: bool,
    last: u64,
    waiting: BTreeMap<u64, u64>,
}

/// A call to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) group: u8,
    pub(super) kind: Kind,
    pub(super) script: Script,
    pub(super) waiter: Waiter,
    pub(super) retries: u32,
    pub(super) cancels: bool,
    pub(super) size: usize,
    /// Stops waiting after this; drops the call after that.
    pub(super) timeout: Option<Duration>,
    pub(super) drop_after: Option<Duration>,
    pub(super) from: Option<(ActorId, Incarnation)>,
}

impl Node {
    /// A call's first poll.
    pub(super) fn call(&mut self, stage: &mut Stage, handle: Handle, wish: Wish) -> Option<u64> {
        let own = self.life()?;
        let key = Key { actor: handle.actor, group: wish.group };
        self.route(stage, key, handle);
        let route = self.routes.get_mut(&key)?;
        route.last += 1;
        let (id, order) = (stage.calls.len() as u64, route.last);
        stage.ledger.opens(id, Stream { caller: own, actor: key.actor, group: key.group }, order, 1 + wish.retries);
        stage.note(50, id, own.0, || format!("call {id} from life {own} to {} as number {order}: {wish:?}", key.actor));
        let deadline = wish.timeout.map(|timeout| stage.queue.now + timeout);
        let encloses = wish.kind != Kind::Make && stage.user.one_in(3);
        let references = if encloses { self.some_handles(stage, 3) } else { Vec::new() };
        stage.calls.push(Call {
            caller: self.here(),
            waiter: wish.waiter,
            key,
            order,
            kind: wish.kind,
            script: wish.script,
            retries: wish.retries,
            may_have_run: false,
            deadline,
            cancels: wish.cancels,
            size: wish.size,
            references,
            enclosed: Vec::new(),
            from: wish.from,
            at: At::Route,
            items: VecDeque::new(),
            next_item: 0,
        });
        if let Some(at) = deadline {
            stage.queue.at(at, self.within(Within::TimeUp(id)));
        }
        if let Some(pause) = wish.drop_after {
            stage.queue.after(pause, self.within(Within::Drop(id)));
        }
        self.dispatch(stage, id);
        Some(id)
    }

    fn route(&mut self, stage: &mut Stage, key: Key, handle: Handle) {
        if self.routes.contains_key(&key) {
            return;
        }
        let bound = self.bind(stage, handle.life, handle.ephemeral);
        let (placement, ephemeral) = (handle.placement, handle.ephemeral);
        self.routes.insert(key, Route { bound, placement, ephemeral, last: 0, waiting: BTreeMap::new() });
    }

    /// A stream to a life, if it is not known as ended.
    fn bind(&mut self, stage: &mut Stage, life: Life, ephemeral: bool) -> Bound {
        if self.life() == Some(life) {
            return Bound::Here;
        }
        let member = self.core.known().get(life).map(|member| member.node);
        let known = member.or_else(|| self.links.get(&life).map(|peer| peer.node));
        let Some(node) = known.or_else(|| stage.node_of(life)).filter(|_| !self.core.known().has_ended(life)) else {
            return if ephemeral { Bound::Over } else { Bound::Unknown };
        };
        match self.peer(stage, life, node) {
            Some(peer) if !peer.link.is_ended() => Bound::There(life, peer.link.open_stream()),
            _ => Bound::Unknown,
        }
    }

    fn dispatch(&mut self, stage: &mut Stage, id: u64) {
        let (key, order) = (stage.calls[id as usize].key, stage.calls[id as usize].order);
        let Some(route) = self.routes.get_mut(&key) else { return };
        match route.bound {
            Bound::Here => self.enqueue_here(stage, id),
            Bound::There(life, stream) => self.send(stage, id, life, stream),
            Bound::Over => self.end(stage, id, End::Failed(Executed::No)),
            Bound::Unknown => {
                route.waiting.insert(order, id);
                self.relocate(stage, key);
            }
            Bound::Locating | Bound::Draining(..) => drop(route.waiting.insert(order, id)),
        }
    }

    /// Asks the head where the actor is now; one that only its spawner knew is no more.
    fn relocate(&mut self, stage: &mut Stage, key: Key) {
        let Some(route) = self.routes.get_mut(&key) else { return };
        if route.ephemeral {
            return self.route_over(stage, key);
        }
        if route.waiting.is_empty() {
            route.bound = Bound::Unknown;
            return;
        }
        route.bound = Bound::Locating;
        let after = route.placement;
        stage.note(52, self.index as u64, key.actor.serial, || {
            format!("node {} asks where {key:?} is after {after}", self.index)
        });
        self.locate(stage, key, after);
    }

    fn route_over(&mut self, stage: &mut Stage, key: Key) {
        let Some(route) = self.routes.get_mut(&key) else { return };
        route.bound = Bound::Over;
        if stage.user.one_in(2) {
            stage.handles.retain(|handle| handle.actor != key.actor);
        }
        self.fail_waiting(stage, key);
    }

    fn fail_waiting(&mut self, stage: &mut Stage, key: Key) {
        let Some(route) = self.routes.get_mut(&key) else { return };
        for id in std::mem::take(&mut route.waiting).into_values() {
            self.end(stage, id, End::Failed(Executed::No));
        }
    }

    /// The head was away for too long.
    pub(super) fn head_away(&mut self, stage: &mut Stage, key: Key) {
        if let Some(route) = self.routes.get_mut(&key).filter(|route| route.bound == Bound::Locating) {
            route.bound = Bound::Unknown;
            self.fail_waiting(stage, key);
        }
    }

    /// The head's answer: what waits goes there, in the order of first polls.
    pub(super) fn located(&mut self, stage: &mut Stage, key: Key, located: Option<Located>) {
        let Some(route) = self.routes.get_mut(&key).filter(|route| route.bound == Bound::Locating) else { return };
        stage.note(53, self.index as u64, key.actor.serial, || {
            format!("node {}: {key:?} is at {located:?}", self.index)
        });
        let Some(located) = located else { return self.route_over(stage, key) };
        let later = hold(located.placement > route.placement, Rule::L2, || {
            format!(
                "{} is located at {}, and that was asked for after {}",
                key.actor, located.placement, route.placement
            )
        });
        stage.check(later);
        route.placement = located.placement;
        let bound = self.bind(stage, located.life, false);
        let Some(route) = self.routes.get_mut(&key) else { return };
        route.bound = bound;
        if bound == Bound::Unknown {
            return self.relocate(stage, key);
        }
        for id in std::mem::take(&mut route.waiting).into_values() {
            self.dispatch(stage, id);
        }
    }

    fn send(&mut self, stage: &mut Stage, id: u64, life: Life, stream: StreamId) {
        let now = self.now(stage);
        let placement = self.routes.get(&stage.calls[id as usize].key).map_or(Placement(0), |route| route.placement);
        let references = stage.calls[id as usize].references.clone();
        let enclosed = self.enclose(stage, life, &references);
        // Before the call can end: its handles' end is to be the last one's.
        drop(references);
        let call = &mut stage.calls[id as usize];
        call.enclosed = enclosed;
        let mut packet = Vec::new();
        encode(call, id, placement, &mut packet);
        let patience = if call.retries > 0 { Patience::Waits } else { Patience::Fails };
        let left = call.deadline.map(|deadline| now + deadline.since(stage.queue.now));
        let (token, peer) = (Token::Call(id), self.links.get_mut(&life));
        let demand = Demand { token, deadline: left, patience };
        let sent = peer.map_or(Sent::Ended(token), |peer| peer.link.send(now, stream, &mut packet, demand));
        if matches!(sent, Sent::Unreachable(_) | Sent::Ended(_)) {
            self.unsent(stage, id, life);
        }
        match sent {
            Sent::Asked { ticket, .. } | Sent::Waiting(ticket) => {
                stage.calls[id as usize].at = At::Link(life, ticket);
            }
            Sent::Told(_) => self.end(stage, id, End::Told),
            Sent::Unreachable(_) => self.end(stage, id, End::Failed(Executed::No)),
            Sent::Ended(_) => self.not_there(stage, id),
        }
        self.touched(stage, life);
    }

    /// What was encoded of a call never left.
    pub(super) fn unsent(&mut self, stage: &mut Stage, id: u64, to: Life) {
        let enclosed = std::mem::take(&mut stage.calls[id as usize].enclosed);
        self.not_sent(stage, to, enclosed);
    }

    /// A call that did not run, and finds no actor where its route leads: the route is bound anew.
    pub(super) fn not_there(&mut self, stage: &mut Stage, id: u64) {
        let key = stage.calls[id as usize].key;
        self.back_in_line(stage, id);
        let Some(route) = self.routes.get_mut(&key) else { return };
        stage.note(54, id, 0, || format!("call {id} is not there: {:?}", route.bound));
        match route.bound {
            Bound::There(life, stream) => {
                route.bound = Bound::Draining(life, stream);
                if self.links.get_mut(&life).is_none_or(|peer| peer.link.hold_stream(stream)) {
                    self.drained(stage, (life, stream));
                }
            }
            Bound::Here | Bound::Unknown => self.relocate(stage, key),
            Bound::Over => self.fail_waiting(stage, key),
            Bound::Locating | Bound::Draining(..) => {}
        }
    }

    pub(super) fn back_in_line(&mut self, stage: &mut Stage, id: u64) {
        let call = &mut stage.calls[id as usize];
        call.at = At::Route;
        if let Some(route) = self.routes.get_mut(&call.key) {
            route.waiting.insert(call.order, id);
        }
    }

    /// Nothing is outstanding on a held stream: what waited in it joins the route's line.
    pub(super) fn drained(&mut self, stage: &mut Stage, lane: (Life, StreamId)) {
        let bound = Bound::Draining(lane.0, lane.1);
        let Some(key) = self.routes.iter().find(|(_, route)| route.bound == bound).map(|(key, _)| *key) else { return };
        if let Some(peer) = self.links.get_mut(&lane.0) {
            let called = peer.link.close_stream(lane.1);
            self.called_back(stage, lane.0, called);
        }
        self.relocate(stage, key);
    }

    /// A link has ended, and its calls have failed or are back in line.
    pub(super) fn routes_lost(&mut self, stage: &mut Stage, life: Life) {
        let lost = |bound: Bound| matches!(bound, Bound::There(of, _) | Bound::Draining(of, _) if of == life);
        let keys: Vec<Key> = self.routes.iter().filter(|(_, route)| lost(route.bound)).map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| self.relocate(stage, key));
    }

    pub(super) fn answer_arrives(&mut self, stage: &mut Stage, id: u64, outcome: &Outcome<'_>) {
        if stage.has(Bug::RepeatsAnswers) && stage.shell.one_in(40) {
            self.end(stage, id, End::Value);
            stage.calls[id as usize].at = At::Here;
        }
        match outcome {
            // It was handed over in the same batch as what made its caller leave.
            _ if stage.calls[id as usize].at == At::Over => {}
            Outcome::Value { .. } | Outcome::Elsewhere { .. } | Outcome::App { .. } => self.end(stage, id, End::Value),
            Outcome::Error { executed: Executed::No, fault: CallFault::NotHere } => self.not_there(stage, id),
            Outcome::Error { executed, .. } => self.end(stage, id, End::Failed(*executed)),
        }
    }

    pub(super) fn call_failed(&mut self, stage: &mut Stage, id: u64, to: Life, executed: Executed, why: Failure) {
        if executed == Executed::No {
            self.unsent(stage, id, to);
        }
        let call = &mut stage.calls[id as usize];
        match why {
            _ if call.at == At::Over => {}
            Failure::Ended if executed == Executed::No => self.back_in_line(stage, id),
            Failure::Ended if call.retries > 0 && call.next_item == 0 => {
                call.retries -= u32::from(stage.bug != Some(Bug::RetriesForever));
                call.may_have_run = true;
                self.back_in_line(stage, id);
            }
            _ => self.end(stage, id, End::Failed(executed)),
        }
    }

    pub(super) fn told(&mut self, stage: &mut Stage, id: u64) {
        self.end(stage, id, End::Told);
    }

    /// Its caller is told, once.
    pub(super) fn end(&mut self, stage: &mut Stage, id: u64, end: End) {
        let call = &mut stage.calls[id as usize];
        if call.at == At::Over {
            return;
        }
        call.at = At::Over;
        call.items.clear();
        let references = std::mem::take(&mut call.references);
        let (kind, waiter, actor, may_have_run) = (call.kind, call.waiter, call.key.actor, call.may_have_run);
        let end = match end {
            End::Failed(Executed::No) if may_have_run => End::Failed(Executed::Maybe),
            end => end,
        };
        stage.call_ends(id, end);
        self.let_go(stage, references);
        if let Waiter::Frame(frame) = waiter {
            stage.queue.at(stage.queue.now, self.within(Within::Frame(frame)));
        }
        if kind == Kind::Make {
            self.make_ends(stage, actor, end);
        }
    }

    /// An ephemeral actor is made, or was not: then what was made or taken for it is undone.
    fn make_ends(&mut self, stage: &mut Stage, actor: ActorId, end: End) {
        let Some(route) = self.routes.get(&Key { actor, group: 0 }) else { return };
        let life = route.leads_to(self.life());
        let handle = life.map(|life| Handle { actor, life, placement: route.placement, ephemeral: true });
        if end != End::Value {
            self.report_free(stage, actor);
        }
        match handle {
            Some(handle) if end == End::Value => stage.publish(handle),
            Some(handle) => self.stop_ephemeral(stage, handle, StopMode::Kill),
            None => {}
        }
    }

    /// Its caller waits no more (PROTOCOLS §1.10).
    pub(super) fn caller_leaves(&mut self, stage: &mut Stage, id: u64, why: &str) {
        let Call { key, order, at, .. } = stage.calls[id as usize];
        stage.note(51, id, 0, || format!("the caller of {id} leaves: {why}"));
        let executed = match at {
            At::Over => return,
            At::Route => {
                if let Some(route) = self.routes.get_mut(&key) {
                    route.waiting.remove(&order);
                }
                Executed::No
            }
            At::Link(life, ticket) => match self.links.get_mut(&life).map(|peer| peer.link.cancel(ticket)) {
                Some(Taken::Unsent(_)) => {
                    self.unsent(stage, id, life);
                    Executed::No
                }
                _ => Executed::Maybe,
            },
            At::Here => self.leaves_here(stage, id),
        };
        self.end(stage, id, End::Failed(executed));
        if let At::Link(life, _) = at {
            self.touched(stage, life);
        }
    }

    pub(super) fn item_arrives(&mut self, stage: &mut Stage, id: u64, index: u64, length: usize) {
        let call = &mut stage.calls[id as usize];
        if call.at == At::Over {
            return;
        }
        let due = std::mem::replace(&mut call.next_item, index + 1);
        call.items.push_back(length);
        let (held, first) = (call.items.len(), call.items.len() == 1);
        let in_order = hold(index == due, Rule::I1, || format!("item {index} of call {id} arrives where {due} is due"));
        let room = hold(held <= STREAM_ITEMS as usize, Rule::I5, || format!("call {id} runs {held} items ahead"));
        stage.check(in_order.and(room));
        if first {
            let pause = stage.user.micros(1, 2_000);
            stage.queue.after(pause, self.within(Within::Take(id)));
        }
    }

    pub(super) fn take_item(&mut self, stage: &mut Stage, id: u64) {
        let call = &mut stage.calls[id as usize];
        let At::Link(life, ticket) = call.at else { return };
        let Some(length) = call.items.pop_front() else { return };
        if !call.items.is_empty() {
            let pause = stage.user.micros(1, 2_000);
            stage.queue.after(pause, self.within(Within::Take(id)));
        }
        if let Some(peer) = self.links.get_mut(&life) {
            peer.link.took_item(ticket, length);
            self.touched(stage, life);
        }
    }

    /// Makes an ephemeral actor on a node that the head chose.
    pub(super) fn make(&mut self, stage: &mut Stage, actor: ActorId, life: Life) {
        let handle = Handle { actor, life, placement: Placement(1), ephemeral: true };
        let wish = Wish {
            group: 0,
            kind: Kind::Make,
            script: Script::Return(stage.user.micros(1, 20_000)),
            waiter: Waiter::Outside,
            retries: 0,
            cancels: false,
            size: 10,
            timeout: None,
            drop_after: None,
            from: None,
        };
        self.call(stage, handle, wish);
    }
}

impl Route {
    pub(super) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn leads_to(&self, own: Option<Life>) -> Option<Life> {
        match self.bound {
            Bound::Here => own,
            Bound::There(life, _) => Some(life),
            _ => None,
        }
    }
}

fn encode(call: &Call, id: u64, placement: Placement, out: &mut Vec<u8>) {
    let flags = match call.kind {
        Kind::Ask => Flags::ASK,
        Kind::Tell => Flags::TELL,
        Kind::Stream => Flags::STREAM,
        Kind::Make => Flags::SPAWN,
    };
    let request = Request {
        flags,
        stream: 0,
        time_left: None,
        placement,
        actor: call.key.actor,
        method: Method(id),
        retries: call.retries,
        caller: call.from,
        chain: List::EMPTY,
        refs: List::Items(&call.enclosed),
        body: &ZEROS[..call.size.min(ZEROS.len())],
    };
    request.encode(out);
}

/// What arguments consist of.
static ZEROS: [u8; 60_000] = [0; 60_000];
