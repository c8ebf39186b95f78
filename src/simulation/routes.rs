//! The caller's side of calls: one route for each actor, around the real [`Course`]; where it leads, what waits in it, and how
//! it is bound anew (PROTOCOLS §1.13, §1.15, §1.16).

use super::Bug;
use super::checks::calls::{End, Stream};
use super::checks::{Rule, hold};
use super::links::Token;
use super::node::Node;
use super::script::{At, Call, Key, Kind, Script, Waiter};
use super::stage::{Handle, Stage, Within};
use crate::actor::core::course::{Course, Entered, Lost, after};
use crate::directory::request::Located;
use crate::id::{ActorId, Incarnation, Key as Method, Life, Placement};
use crate::limits::STREAM_ITEMS;
use crate::node::core::link::{Demand, Failure, Patience, Sent, StreamId, Taken};
use crate::wire::bytes::List;
use crate::wire::packet::{CallFault, Executed, Flags, Outcome, Request, StopMode};
use std::collections::VecDeque;
use std::time::Duration;

/// Where calls go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// To an actor of this node.
    Here,
    There(Life),
}

/// The real course of a node's calls to an actor, and what its shell knows beside it.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) course: Course<Bound, u64, ()>,
    /// Where the actor is, or was last.
    life: Life,
    pub(super) placement: Placement,
    ephemeral: bool,
    /// Of each group, once something was sent there.
    streams: [Option<StreamId>; 2],
    /// The placement after which it is sought, and why it was lost.
    sought: (Placement, Lost),
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
        self.route(stage, handle);
        let id = stage.calls.len() as u64;
        let entered = self.routes.get_mut(&key.actor)?.course.enter();
        let order = match entered {
            Ok(Entered::Goes(_, order) | Entered::Waits(order)) => order,
            Err(()) => 0,
        };
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
            out: false,
            items: VecDeque::new(),
            next_item: 0,
        });
        if let Some(at) = deadline {
            stage.queue.at(at, self.within(Within::TimeUp(id)));
        }
        if let Some(pause) = wish.drop_after {
            stage.queue.after(pause, self.within(Within::Drop(id)));
        }
        match entered {
            Ok(Entered::Goes(bound, _)) => self.goes(stage, id, bound),
            Ok(Entered::Waits(_)) => self.in_line(stage, id),
            Err(()) => self.end(stage, id, End::Failed(Executed::No)),
        }
        Some(id)
    }

    fn route(&mut self, stage: &mut Stage, handle: Handle) {
        if self.routes.contains_key(&handle.actor) {
            return;
        }
        let Handle { life, placement, ephemeral, .. } = handle;
        let bound = if self.life() == Some(life) { Some(Bound::Here) } else { self.bind(stage, life) };
        let (course, sought) = (Course::new(bound.ok_or(Lost::LinkEnded)), (placement, Lost::LinkEnded));
        self.routes.insert(handle.actor, Route { course, life, placement, ephemeral, streams: [None; 2], sought });
    }

    /// A link to a life, if it is not known as ended.
    fn bind(&mut self, stage: &mut Stage, life: Life) -> Option<Bound> {
        let member = self.core.known().get(life).map(|member| member.node);
        let known = member.or_else(|| self.links.get(&life).map(|peer| peer.node));
        let node = known.or_else(|| stage.node_of(life)).filter(|_| !self.core.known().has_ended(life))?;
        let peer = self.peer(stage, life, node).filter(|peer| !peer.link.is_ended());
        peer.map(|_| Bound::There(life))
    }

    /// A call that is out from now on, where the actor is.
    fn goes(&mut self, stage: &mut Stage, id: u64, bound: Bound) {
        let call = &mut stage.calls[id as usize];
        call.out = true;
        match bound {
            // Its caller has left it in the line.
            _ if call.at == At::Over => {}
            Bound::There(life) => return self.send(stage, id, life),
            Bound::Here => self.enqueue_here(stage, id),
        }
        self.is_back(stage, id);
    }

    /// A call is out no more: who waits for that seeks the actor.
    fn is_back(&mut self, stage: &mut Stage, id: u64) {
        let call = &mut stage.calls[id as usize];
        if std::mem::take(&mut call.out)
            && let Some(route) = self.routes.get_mut(&call.key.actor)
        {
            route.course.returns();
            let actor = call.key.actor;
            self.seeks(stage, actor);
        }
    }

    /// A call that is new, or goes again, stands in line.
    pub(super) fn in_line(&mut self, stage: &mut Stage, id: u64) {
        let reorders = stage.has(Bug::ReordersRetries) && stage.calls[id as usize].may_have_run;
        let call = &mut stage.calls[id as usize];
        if call.at == At::Over {
            return self.is_back(stage, id);
        }
        call.at = At::Route;
        let (actor, order) = (call.key.actor, call.order + (u64::from(reorders) << 32));
        let Some(route) = self.routes.get_mut(&actor) else { return };
        route.course.again(order, id);
        if call.out { self.is_back(stage, id) } else { self.seeks(stage, actor) }
    }

    /// Asks the head where the actor is now, once that may be; one that only its spawner knew is no more.
    fn seeks(&mut self, stage: &mut Stage, actor: ActorId) {
        let Some(route) = self.routes.get_mut(&actor).filter(|route| route.course.seeks()) else { return };
        let Some(why) = route.course.seek() else { return };
        if route.ephemeral {
            return self.route_over(stage, actor);
        }
        let lives = !self.core.known().has_ended(route.life);
        let asked = after(route.placement, lives, why);
        route.sought = (asked, why);
        stage.note(52, self.index as u64, actor.serial, || {
            format!("node {} asks where {actor} is after {asked}: {why:?}", self.index)
        });
        self.locate(stage, actor, asked);
    }

    fn route_over(&mut self, stage: &mut Stage, actor: ActorId) {
        let Some(route) = self.routes.get_mut(&actor) else { return };
        let (left, _) = route.course.ends(());
        if stage.user.one_in(2) {
            stage.handles.retain(|handle| handle.actor != actor);
        }
        left.into_values().for_each(|id| self.end(stage, id, End::Failed(Executed::No)));
    }

    /// The head was away for too long.
    pub(super) fn head_away(&mut self, stage: &mut Stage, actor: ActorId) {
        let Some(route) = self.routes.get_mut(&actor) else { return };
        let (left, _) = route.course.not_found(route.sought.1);
        left.into_values().for_each(|id| self.end(stage, id, End::Failed(Executed::No)));
    }

    /// The head's answer: what waits goes there, in the order of first polls.
    pub(super) fn located(&mut self, stage: &mut Stage, actor: ActorId, located: Option<Located>) {
        stage.note(53, self.index as u64, actor.serial, || format!("node {}: {actor} is at {located:?}", self.index));
        let Some(Located { placement, life, .. }) = located else { return self.route_over(stage, actor) };
        let Some(route) = self.routes.get_mut(&actor) else { return };
        let asked = route.sought.0;
        let later = hold(placement > asked, Rule::L2, || {
            format!("{actor} is located at {placement}, and that was asked for after {asked}")
        });
        stage.check(later);
        let bound = match self.life() == Some(life) {
            true => self.hosts(actor, placement).then_some(Bound::Here),
            false => self.bind(stage, life),
        };
        let Some(route) = self.routes.get_mut(&actor) else { return };
        let Some(bound) = bound else {
            // It is there no more: the head knows of another place, or soon will.
            route.sought.0 = placement;
            return self.locate(stage, actor, placement);
        };
        (route.life, route.placement, route.streams) = (life, placement, [None; 2]);
        let _former = route.course.found(bound);
        while let Some((_, id)) = self.routes.get_mut(&actor).and_then(|route| route.course.next_in_line()) {
            self.goes(stage, id, bound);
        }
    }

    fn send(&mut self, stage: &mut Stage, id: u64, life: Life) {
        let (now, Key { actor, group }) = (self.now(stage), stage.calls[id as usize].key);
        let Some(route) = self.routes.get_mut(&actor) else { return };
        let (placement, stream) = (route.placement, &mut route.streams[group as usize]);
        let peer = self.links.get_mut(&life);
        let Some(stream) = peer.map(|peer| *stream.get_or_insert_with(|| peer.link.open_stream())) else {
            return self.not_there(stage, id, Lost::LinkEnded);
        };
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
            Sent::Ended(_) => self.not_there(stage, id, Lost::LinkEnded),
        }
        self.touched(stage, life);
    }

    /// What was encoded of a call never left.
    pub(super) fn unsent(&mut self, stage: &mut Stage, id: u64, to: Life) {
        let enclosed = std::mem::take(&mut stage.calls[id as usize].enclosed);
        self.not_sent(stage, to, enclosed);
    }

    /// A call finds no actor where it was sent: it goes again, when that is found.
    pub(super) fn not_there(&mut self, stage: &mut Stage, id: u64, why: Lost) {
        let actor = stage.calls[id as usize].key.actor;
        stage.note(54, id, 0, || format!("call {id} is not there: {why:?}"));
        let Some(route) = self.routes.get_mut(&actor) else { return };
        let _former = route.course.lost(|_| true, why);
        self.in_line(stage, id);
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
            Outcome::Error { executed: Executed::No, fault: CallFault::NotHere } => {
                self.not_there(stage, id, Lost::NotHere);
            }
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
            Failure::Ended if executed == Executed::No => self.not_there(stage, id, Lost::LinkEnded),
            Failure::Ended if call.retries > 0 && call.next_item == 0 => {
                call.retries -= u32::from(stage.bug != Some(Bug::RetriesForever));
                call.may_have_run = true;
                self.not_there(stage, id, Lost::LinkEnded);
            }
            Failure::Ended => {
                if let Some(route) = self.routes.get_mut(&call.key.actor) {
                    let _former = route.course.lost(|_| true, Lost::LinkEnded);
                }
                self.end(stage, id, End::Failed(executed));
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
        self.is_back(stage, id);
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
        let Some(route) = self.routes.get(&actor) else { return };
        let life = route.leads_to(self.life());
        let handle = life.map(|life| Handle { actor, life, placement: route.placement, ephemeral: true });
        match handle {
            Some(handle) if end == End::Value => {
                stage.publish(handle);
                return self.child_made(stage, actor, Some(handle));
            }
            // It may be made now: its node says when it is not there any more.
            Some(handle) => self.stop_ephemeral(stage, handle, StopMode::Kill),
            None => self.report_free(stage, actor),
        }
        self.child_made(stage, actor, None);
    }

    /// Its caller waits no more (PROTOCOLS §1.10).
    pub(super) fn caller_leaves(&mut self, stage: &mut Stage, id: u64, why: &str) {
        let at = stage.calls[id as usize].at;
        stage.note(51, id, 0, || format!("the caller of {id} leaves: {why}"));
        let executed = match at {
            At::Over => return,
            // It stays in line, and does not go when its turn comes.
            At::Route => Executed::No,
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
    fn leads_to(&self, own: Option<Life>) -> Option<Life> {
        match self.course.leads_to()? {
            Bound::Here => own,
            Bound::There(life) => Some(*life),
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
