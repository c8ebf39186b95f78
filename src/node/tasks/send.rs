//! Tasks on their way to a grant's node, and what comes back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::line::{Again, Ready, Whose};
use super::owner::{Gone, Held, Pushed, Queued};
use super::terms::{Header, RECALL, TERMS, Terms, read_ran};
use super::unsettled;
use crate::actor::error::{CallError, Executed};
use crate::actor::inbox::Host as _;
use crate::actor::remote::{self, Caller, Outgoing, Peer, fault_to_error, with_scratch};
use crate::actor::slot::to_get_error;
use crate::id::{ActorId, GrantId, Key};
use crate::limits::BODY_INLINE;
use crate::node::core::link::Party;
use crate::node::link::PeerLink;
use crate::node::runtime::Node;
use crate::object::body::Body;
use crate::object::content::{Content, Encoded, Form};
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::object::failure::Never;
use crate::object::home::Home;
use crate::schedule::TaskNumber;
use crate::task::slot::Runnable;
use crate::task::standing::OnTheWay;
use crate::task::stream::Items;
use crate::wire::bytes::List;
use crate::wire::codec::{self, Enclosed};
use crate::wire::packet::{CallFault, Flags, Outcome, Pin, Ref};

/// A task that another node runs for this one.
pub(super) struct Sent {
    pub(super) node: Arc<Node>,
    pub(super) grant: GrantId,
    pub(super) number: TaskNumber,
    pub(super) queued: Queued,
    /// Arguments that are results of tasks before it.
    left_out: Vec<(u32, u64)>,
    /// Arguments that are pinned for it, each by its bit in the answer.
    pins: OnceLock<Vec<(u8, Pin)>>,
    to: Party,
}

impl Node {
    /// Hands tasks to the grant's node, in this order.
    pub(super) fn push_tasks(self: &Arc<Self>, grant: GrantId, held: &Held, tasks: Pushed, yields: bool) {
        if held.life == self.life() {
            return self.push_here(grant, held, tasks, yields);
        }
        let to = Party { node: held.node, life: held.life };
        let link = self.link(to);
        if let Some(link) = link.as_ref().filter(|_| !held.told) {
            send_terms(link, grant, held);
        }
        for (number, queued) in tasks {
            let left_out = if queued.behind { queued.task.behind(&unfinished) } else { Vec::new() };
            let sent = Sent { node: self.clone(), grant, number, queued, left_out, pins: OnceLock::new(), to };
            match &link {
                Some(link) => self.send_task(link, sent, yields),
                None => {
                    let died = GetError::NodeDied { node: to.node, executed: Executed::No };
                    self.attempt_failed(&sent, died, Gone::Grant);
                }
            }
        }
    }

    fn push_here(self: &Arc<Self>, grant: GrantId, held: &Held, tasks: Pushed, yields: bool) {
        if !held.told {
            drop(self.tasks().host.take_terms(held.life, terms(grant, held)));
        }
        for (number, queued) in tasks {
            let (task, attempt) = (queued.task.clone(), queued.attempt);
            let missing = if queued.behind { unsettled(&task) } else { Vec::new() };
            let again = Again::queued(&queued);
            let ready = Ready { task, whose: Whose::Own(number), attempt, yields, again };
            match missing.is_empty() {
                true => self.run_or_return(grant, ready, Some(queued)),
                false => self.run_behind(grant, ready, Some(queued), missing),
            }
        }
    }

    fn send_task(self: &Arc<Self>, link: &Arc<PeerLink>, sent: Sent, yields: bool) {
        let sent = Arc::new(sent);
        let (caller, standing): (Arc<dyn Caller>, _) = (sent.clone(), sent.queued.task.standing());
        let items = items_of(&sent.queued.task);
        if let Some(items) = items {
            items.begins();
        }
        let asked = with_scratch(|body, packet| {
            let mut enclosed = self.encode_task(&sent, yields, body)?;
            if !standing.leaves() {
                return Err(GetError::Cancelled { executed: Executed::No });
            }
            link.pin(&mut enclosed);
            let pins = pins(&enclosed.refs);
            if !pins.is_empty() {
                sent.pins.get_or_init(|| pins);
            }
            let refs = List::Items(&enclosed.refs);
            let method = sent.queued.task.kind().signature;
            let flags = if items.is_some() { Flags::STREAM } else { Flags::ASK };
            link.to_node(flags, method, refs, body).encode(packet);
            let outgoing = Outgoing { packet, deadline: None, enclosed: &enclosed };
            let asked = link.request_patiently(link.node_stream(), outgoing, &caller);
            let asked = asked.map_err(|error| to_get_error::<Never>(error).into_fault())?;
            Ok((asked, enclosed))
        });
        let asked = asked.map(|(asked, enclosed)| match asked {
            remote::Sent::Asked(ticket) | remote::Sent::Waiting(ticket) => {
                if let Some(items) = items {
                    let peer: Arc<dyn Peer> = link.clone();
                    items.comes_from(&peer, ticket);
                }
                standing.sent(OnTheWay { to: link.clone(), ticket, enclosed })
            }
            remote::Sent::Told => true,
        });
        // It was cancelled meanwhile.
        if let Ok(false) = asked {
            self.call_off(&sent.queued.task);
        }
        if let Err(fault) = asked {
            let gone = if matches!(fault, GetError::NodeDied { .. }) { Gone::Grant } else { Gone::Nothing };
            self.attempt_failed(&sent, fault, gone);
        }
    }

    /// A task's header and arguments; those that no packet carries become an object of this node.
    fn encode_task(self: &Arc<Self>, sent: &Sent, yields: bool, body: &mut Vec<u8>) -> Result<Enclosed, Fault> {
        let Sent { grant, number, queued, left_out, .. } = sent;
        let (name, attempt, left_out) = (queued.task.kind().name.key(), queued.attempt, left_out.clone());
        let (grant, number, title) = (*grant, *number, queued.task.standing().name().map(Into::into));
        let header = Header { name, elsewhere: false, yields, grant, number, attempt, left_out, title };
        header.put(body);
        let arguments = body.len();
        let enclosed = queued.task.encode(body, &sent.left_out)?;
        if body.len() <= BODY_INLINE {
            return Ok(enclosed);
        }
        let content = Encoded::at(self.here(), Form::Packed, Body::copied(&body[arguments..]), enclosed);
        body.clear();
        Header { elsewhere: true, ..header }.put(body);
        Ok(Entry::settled(self.next_object(), Ok(self.counted(Content::Encoded(content)))).enclosed())
    }

    /// Asks a grant's node for tasks that have not begun.
    pub(super) fn recall_tasks(self: &Arc<Self>, grant: GrantId, held: &Held, count: u32) {
        if held.life == self.life() {
            let back = self.tasks().host.recall(held.life, grant, count);
            return self.recalled_here(grant, &back);
        }
        let to = Party { node: held.node, life: held.life };
        let Some(link) = self.link(to) else { return drop(self.lose_grant(grant)) };
        let caller: Arc<dyn Caller> = Arc::new(Recall { node: self.clone(), grant });
        let asked = with_scratch(|body, packet| {
            codec::encode(&(grant, count), body).ok()?;
            link.to_node(Flags::ASK, RECALL, List::EMPTY, body).encode(packet);
            let outgoing = Outgoing { packet, deadline: None, enclosed: &Enclosed::default() };
            link.request_patiently(link.node_stream(), outgoing, &caller).ok()
        });
        if asked.is_none() {
            drop(self.lose_grant(grant));
        }
    }

    /// Tasks that were to run here have not begun.
    fn recalled_here(self: &Arc<Self>, grant: GrantId, back: &[Ready]) {
        self.recalled(grant, &own_numbers(back));
    }

    fn recalled(self: &Arc<Self>, grant: GrantId, numbers: &[TaskNumber]) {
        self.own(|state, _| {
            for number in numbers {
                if let Some(queued) = state.queue.get_mut(*number) {
                    queued.sent = false;
                }
            }
            state.queue.recalled(grant, numbers);
        });
    }

    /// Tells a grant's node what is left of it.
    pub(super) fn tell_terms(self: &Arc<Self>, grant: GrantId, held: &Held) {
        if held.life == self.life() {
            let unbegun = self.tasks().host.take_terms(held.life, terms(grant, held));
            for number in own_numbers(&unbegun) {
                self.refused_here(grant, number, None);
            }
            return;
        }
        if let Some(link) = self.link(Party { node: held.node, life: held.life }) {
            send_terms(&link, grant, held);
        }
    }
}

/// The numbers of this node's own tasks.
pub(super) fn own_numbers(unbegun: &[Ready]) -> Vec<TaskNumber> {
    let own = |ready: &Ready| match ready.whose {
        Whose::Own(number) => Some(number),
        Whose::Alone | Whose::Peer(_) => None,
    };
    unbegun.iter().filter_map(own).collect()
}

/// Those of the first eight references that were passed which are pinned.
fn pins(refs: &[Ref]) -> Vec<(u8, Pin)> {
    let passed = refs.iter().filter(|reference| reference.position().is_some()).take(8).enumerate();
    let pinned = passed.filter_map(|(at, reference)| match reference {
        Ref::Pinned { pin, .. } => Some((1 << at, *pin)),
        _ => None,
    });
    pinned.collect()
}

/// What a task that streams gives to its caller.
fn items_of(task: &Arc<dyn Runnable>) -> Option<&Items> {
    task.more().and_then(|more| more.items())
}

/// The task of this node's queue that makes an object which is not there yet.
fn unfinished(entry: &Arc<Entry>) -> Option<u64> {
    entry.maker().filter(|_| !entry.is_settled())
}

pub(super) fn terms(grant: GrantId, held: &Held) -> Terms {
    Terms { grant, epoch: held.epoch, slots: held.slots, size: (*held.size).clone(), bundle: held.bundle }
}

fn send_terms(link: &Arc<PeerLink>, grant: GrantId, held: &Held) {
    tell_node(link, TERMS, &terms(grant, held));
}

/// Tells a node something of a grant.
pub(super) fn tell_node(link: &Arc<PeerLink>, what: Key, value: &impl serde::Serialize) {
    let nobody: Arc<dyn Caller> = Arc::new(Nobody);
    with_scratch(|body, packet| {
        if let Err(error) = codec::encode(value, body) {
            return tracing::error!(%error, "what is said of a grant does not encode");
        }
        link.to_node(Flags::TELL, what, List::EMPTY, body).encode(packet);
        let outgoing = Outgoing { packet, deadline: None, enclosed: &Enclosed::default() };
        // A link that has ended takes the grant with it.
        let _ = link.request_patiently(link.node_stream(), outgoing, &nobody);
    });
}

impl Caller for Sent {
    fn told(&self) {}

    fn item(self: Arc<Self>, enclosed: Enclosed, body: &[u8], length: usize) {
        let task = &self.queued.task;
        let Some(items) = items_of(task).filter(|_| !task.standing().is_cancelled()) else { return };
        match self.node.part(body, enclosed) {
            Some(item) => items.push(self.node.item(item), length),
            None => {
                let nonsense = GetError::Codec { message: "the node's item is no task's".to_owned() };
                items.fail(Arc::new(nonsense));
            }
        }
    }

    fn answered(self: Arc<Self>, outcome: Outcome<'_>, enclosed: Enclosed) {
        let task = &self.queued.task;
        let nonsense = || GetError::Codec { message: "the node's answer is no task's".to_owned() };
        let ran = match outcome {
            // Who cancelled it says what became of it: its slot is free.
            Outcome::Value { body, .. } | Outcome::App { body, .. } if task.standing().is_cancelled() => {
                self.read_ran(body).map(|(ran, _)| ran)
            }
            Outcome::Elsewhere { .. } | Outcome::Error { fault: CallFault::Cancelled, .. }
                if task.standing().is_cancelled() =>
            {
                None
            }
            Outcome::Value { body, .. } => {
                let Some((ran, body)) = self.read_ran(body) else { return self.over(Err(nonsense())) };
                match task.more() {
                    Some(more) if !more.parts().is_empty() => {
                        if !self.node.settle_parts(&self.queued, more.parts(), body, &enclosed) {
                            return self.over(Err(nonsense()));
                        }
                        task.done();
                    }
                    Some(_) => task.done(),
                    None => {
                        let value = Encoded::at(self.node.here(), Form::Packed, Body::copied(body), enclosed);
                        task.result().settle(Ok(Content::Encoded(value)));
                    }
                }
                Some(ran)
            }
            Outcome::Elsewhere { .. } if task.more().is_some() => return self.over(Err(nonsense())),
            Outcome::Elsewhere { .. } => return self.lies_elsewhere(&enclosed),
            Outcome::App { body, .. } => {
                let Some((ran, body)) = self.read_ran(body) else { return self.over(Err(nonsense())) };
                let fault = codec::decode(body).unwrap_or_else(|_| nonsense());
                if let GetError::Argument { object, .. } = &fault
                    && self.node.made(*object).is_some()
                {
                    self.over(Ok(Some(ran)));
                    return self.node.argument_missed(self.queued.clone(), *object, fault);
                }
                if self.queued.retries > 0 && task.is_retried() {
                    // Its error and what looks at it are the user's: others' answers do not wait for that.
                    let sent = self.clone();
                    return self.node.compute().run(Box::new(move || sent.failed_itself(ran, fault)));
                }
                task.fail(fault);
                Some(ran)
            }
            Outcome::Error { executed: Executed::No, fault: CallFault::Cancelled } => return self.comes_back(),
            // What it was to take is not there any more, or failed: it waits for that here.
            Outcome::Error { executed: Executed::No, fault: CallFault::ReferenceLost } if !self.left_out.is_empty() => {
                self.node.own(|state, _| state.queue.failed(self.number));
                return self.node.enqueue_again(self.queued.clone());
            }
            Outcome::Error { executed: Executed::No, fault: CallFault::NoGrant } => {
                let unknown = GetError::NodeDied { node: self.to.node, executed: Executed::No };
                return self.node.attempt_failed(&self, unknown, Gone::Grant);
            }
            Outcome::Error { executed, fault } => {
                let actor = ActorId::of_node(self.to.life);
                let error = fault_to_error(fault, executed, actor, self.to.node, (task.kind().name.name, ""));
                return self.over(Err(to_get_error::<Never>(error).into_fault()));
            }
        };
        self.over(Ok(ran));
    }

    fn failed(self: Arc<Self>, error: CallError) {
        self.node.attempt_failed(&self, to_get_error::<Never>(error).into_fault(), Gone::Nothing);
    }
}

impl Sent {
    /// Its result lies where it ran.
    fn lies_elsewhere(&self, enclosed: &Enclosed) {
        let Some(value) = Entry::of_enclosed(enclosed) else {
            return self.over(Err(GetError::Codec { message: "the node's answer is no task's".to_owned() }));
        };
        if self.node.is_orphan(&value) {
            return self.over(Err(GetError::NodeDied { node: self.to.node, executed: Executed::Yes }));
        }
        let result = self.queued.task.result();
        self.node.lie_elsewhere(&self.queued, &[(result, &value)]);
        result.settle(Ok(Content::Elsewhere(value)));
        self.over(Ok(None));
    }

    /// How many nanoseconds it ran, and its value or error. What it reads no more is unpinned; of anything else it may say
    /// what it likes.
    fn read_ran<'a>(&self, body: &'a [u8]) -> Option<(u64, &'a [u8])> {
        let (ran, ended, rest) = read_ran(body)?;
        let pins = self.pins.get().into_iter().flatten();
        pins.filter(|(bit, _)| ended & bit != 0).for_each(|(_, pin)| self.node.unpin_argument(*pin));
        Some((ran, rest))
    }

    /// An attempt has failed with an error of its own, after so many nanoseconds: another one follows if that asks for it.
    fn failed_itself(&self, ran: u64, fault: Fault) {
        let task = &self.queued.task;
        let again = !task.standing().is_cancelled() && task.wants_again(&fault);
        if !again {
            task.fail(fault);
        }
        self.over(Ok(Some(ran)));
        if again {
            self.node.attempt_again(self.queued.clone());
        }
    }

    /// Its node has not begun it. It comes back with the others of its recall, or as one that was never sent if its node ends
    /// before that; at once if its grant is over, so that no recall is heard any more.
    fn comes_back(&self) {
        let known = self.node.own(|state, _| {
            let queued = state.queue.get_mut(self.number);
            queued.map(|queued| queued.sent = false).is_some()
        });
        if !known {
            self.node.enqueue_again(self.queued.clone());
        }
    }

    /// The node has answered: how many nanoseconds it ran, if it says so.
    fn over(&self, ran: Result<Option<u64>, Fault>) {
        match ran {
            Ok(Some(ran)) => {
                self.node.own(|state, _| state.queue.finished(self.number, Duration::from_nanos(ran)));
            }
            Ok(None) => {
                self.node.own(|state, _| state.queue.failed(self.number));
            }
            Err(fault) => self.node.attempt_failed(self, fault, Gone::Nothing),
        }
    }
}

/// A recall under way.
struct Recall {
    node: Arc<Node>,
    grant: GrantId,
}

impl Caller for Recall {
    fn told(&self) {}

    fn item(self: Arc<Self>, _: Enclosed, _: &[u8], _: usize) {}

    fn answered(self: Arc<Self>, outcome: Outcome<'_>, _: Enclosed) {
        let numbers: Vec<TaskNumber> = match outcome {
            Outcome::Value { body, .. } => codec::decode(body).unwrap_or_default(),
            // A node that does not know the grant runs nothing under it: each of its tasks is told so.
            _ => Vec::new(),
        };
        self.node.recalled(self.grant, &numbers);
    }

    /// The node's life has ended, and the grant with it; or it cannot say what comes back.
    fn failed(self: Arc<Self>, _: CallError) {
        drop(self.node.lose_grant(self.grant));
    }
}

/// Waits for no answer.
pub(super) struct Nobody;

impl Caller for Nobody {
    fn told(&self) {}

    fn item(self: Arc<Self>, _: Enclosed, _: &[u8], _: usize) {}

    fn answered(self: Arc<Self>, _: Outcome<'_>, _: Enclosed) {}

    fn failed(self: Arc<Self>, _: CallError) {}
}
