//! Tasks that are to run no more, because somebody cancelled them or their time is up.
//!
//! What is queued never runs. What runs here is told; what was sent is cancelled over its link, and told there. Whoever waits
//! for the result is told at once, however long the task itself takes to end. The tasks that it submitted follow.

use std::sync::Arc;
use std::time::Duration;

use crate::actor::error::Executed;
use crate::actor::inbox::Host as _;
use crate::actor::remote::host::Incoming;
use crate::actor::remote::{Caller, Outgoing, Peer as _, with_scratch};
use crate::node::runtime::Node;
use crate::object::entry::{Entry, Making};
use crate::object::error::{Fault, GetError};
use crate::schedule::TaskNumber;
use crate::schedule::queue::Why;
use crate::task::slot::Runnable;
use crate::task::standing::{Away, OnTheWay, Standing};
use crate::wire::bytes::List;
use crate::wire::packet::Flags;

use super::send::Nobody;
use super::terms::CANCEL;

impl Node {
    /// What makes this object is to run no more, if it is a task.
    pub(crate) fn cancel_object(self: &Arc<Self>, entry: &Arc<Entry>) {
        self.cancel_all(vec![entry.clone()]);
    }

    /// The same for all of these, and for what their tasks submitted: in a list, as tasks nest deeper than a stack holds.
    pub(super) fn cancel_all(self: &Arc<Self>, entries: Vec<Arc<Entry>>) {
        let mut left = entries;
        while let Some(entry) = left.pop() {
            left.extend(self.cancel_one(&entry));
        }
    }

    /// Gives what its task submitted.
    fn cancel_one(self: &Arc<Self>, entry: &Arc<Entry>) -> Vec<Arc<Entry>> {
        // One that leads astray has failed.
        let Some(entry) = entry.followed().ok().filter(|entry| !entry.is_settled()) else { return Vec::new() };
        if let Some(standing) = standing_of(&entry) {
            return self.cancel_task(&standing, |executed| GetError::Cancelled { executed });
        }
        if entry.is_borrowed() {
            self.cancel_elsewhere(&entry);
        }
        Vec::new()
    }

    /// Gives what it submitted.
    pub(super) fn cancel_task(
        self: &Arc<Self>,
        standing: &Standing,
        fault: impl FnOnce(Executed) -> Fault,
    ) -> Vec<Arc<Entry>> {
        let Some(task) = standing.task() else { return Vec::new() };
        // Whatever comes from where it runs is too late from here on.
        standing.claim();
        let children = standing.cancel();
        // What was not sent does not begin from here on, or has begun.
        let executed = self.call_off(&task).unwrap_or_else(|| match standing.begin() {
            true => Executed::No,
            false => Executed::Maybe,
        });
        let executed = if standing.was_tried() { Executed::Maybe } else { executed };
        task.ends_cancelled(fault(executed));
        children
    }

    /// Takes a task out of wherever it is. Says whether it may have run where it was sent, if it was.
    pub(super) fn call_off(self: &Arc<Self>, task: &Arc<dyn Runnable>) -> Option<Executed> {
        let (standing, number) = (task.standing(), task.result().maker().map(TaskNumber));
        let sent = match standing.take_sent() {
            Away::Sent(OnTheWay { to, ticket, enclosed }) => {
                let executed = to.call_off(ticket);
                if executed == Executed::No {
                    to.not_sent(&enclosed);
                }
                Some(executed)
            }
            // Whoever sends it comes here in turn.
            Away::Leaves => return Some(Executed::Maybe),
            Away::Not => None,
        };
        if let Some(number) = number {
            let taken = self.own(|state, _| match sent {
                // It may run where it was sent, and holds its slot there until that has answered.
                Some(Executed::Yes | Executed::Maybe) => None,
                Some(Executed::No) => state.queue.failed(number),
                None => state.take_queued(number),
            });
            drop(taken);
        }
        sent
    }

    /// Its owner is asked to cancel it. The reference travels along: one by itself could be released before.
    fn cancel_elsewhere(&self, entry: &Arc<Entry>) {
        let object = entry.id();
        // Who owned it has ended, and it with them.
        let Some(link) = self.link_to(object.life) else { return };
        let (nobody, enclosed): (Arc<dyn Caller>, _) = (Arc::new(Nobody), entry.enclosed());
        with_scratch(|_, packet| {
            link.to_node(Flags::TELL, CANCEL, List::Items(&enclosed.refs), &[]).encode(packet);
            let outgoing = Outgoing { packet, deadline: None, enclosed: &enclosed };
            // As above.
            let _ = link.request_patiently(link.node_stream(), outgoing, &nobody);
        });
    }

    /// A peer that has a reference cancels what makes its object.
    pub(super) fn cancel_arrived(self: &Arc<Self>, incoming: &Incoming<'_>) {
        incoming.begin();
        let peer = incoming.peer;
        match Entry::of_enclosed(&incoming.enclosed) {
            Some(entry) => self.cancel_object(&entry),
            None => tracing::warn!(node = %peer.node(), "a peer cancels an object without naming it"),
        }
    }

    /// Cancels a task unless its result is there in time.
    pub(crate) fn bound_task(self: &Arc<Self>, entry: Arc<Entry>, after: Duration) {
        let node = Arc::downgrade(self);
        self.spawn(Box::pin(async move {
            if tokio::time::timeout(after, entry.settling()).await.is_ok() {
                return;
            }
            let Some((node, standing)) = node.upgrade().zip(standing_of(&entry)) else { return };
            let waiting = node.waiting_of(&entry, &standing);
            let what = standing.task().map_or_else(|| "task".to_owned(), |task| format!("task `{}`", task.label()));
            let timeout = |executed| GetError::Timeout { what, after, waiting, executed };
            let children = node.cancel_task(&standing, timeout);
            node.cancel_all(children);
        }));
    }

    /// What the task waits for that makes an object, if one does.
    pub(in crate::node) fn waiting_for(&self, entry: &Entry) -> Option<String> {
        standing_of(entry).map(|standing| self.waiting_of(entry, &standing))
    }

    /// What a task waits for.
    fn waiting_of(&self, entry: &Entry, standing: &Standing) -> String {
        let here = self.id();
        if standing.has_begun() {
            return format!("running on node {here}");
        }
        let why = entry.maker().and_then(|number| self.why_queued(TaskNumber(number)));
        match why {
            Some(Why::Pushed(to)) if to.life == self.life() => format!("waiting for a CPU of node {here}"),
            Some(Why::Pushed(to)) => self.node_of(to.life).map_or_else(
                || "on its way to another node".to_owned(),
                |node| format!("running on node {node}, or next in line there"),
            ),
            Some(why @ (Why::Arguments(_) | Why::Grant { .. } | Why::Turn { .. })) => why.to_string(),
            None if standing.task().is_some_and(|task| task.references().iter().any(|entry| !entry.is_settled())) => {
                "waiting for arguments".to_owned()
            }
            None => format!("waiting for a CPU of node {here}"),
        }
    }
}

pub(super) fn standing_of(entry: &Entry) -> Option<Arc<Standing>> {
    match entry.making()? {
        Making::Task(standing) => standing.downcast().ok(),
        Making::Call(..) => None,
    }
}
