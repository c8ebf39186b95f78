//! Synchronous tasks that wait for objects: the thread is parked, and its CPU goes to another task meanwhile.
//!
//! A task that waits for one of this node's own that stands in a line here runs that one itself, on its own stack: most
//! nesting then costs neither a thread nor a switch.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use super::super::cancel::standing_of;
use super::super::line::Ready;
use super::{ALONE, Host, Tell, Turn};
use crate::actor::error::Executed;
use crate::actor::frame;
use crate::id::GrantId;
use crate::limits::{NESTED_TASKS, PARKED_THREADS, RESUME_LOOK};
use crate::node::runtime::Node;
use crate::object::entry::{Entry, Outcome};
use crate::object::error::{Fault, GetError};
use crate::object::get::Value;
use crate::task::context::{Site, TaskContext};
use crate::task::slot::Runnable;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A thread that waits; when this is dropped it has a slot again.
struct Parked<'a> {
    node: &'a Arc<Node>,
    context: &'a TaskContext,
    site: Site,
}

impl Host {
    /// Takes a task of this node out of the line where it stands here; gives its priority there, too.
    fn claim(&self, task: &Arc<dyn Runnable>) -> Option<(GrantId, Ready, i32)> {
        let mut state = self.state.lock();
        state.grants.iter_mut().find_map(|(grant, lent)| {
            let (ready, priority) = lent.line.take(task)?;
            Some((*grant, ready, priority))
        })
    }

    /// A parked thread goes on, before new tasks begin: once there is a slot, or if it is cancelled.
    /// Gives what the grant's owner is to be told.
    fn resume(&self, grant: GrantId, is_cancelled: &dyn Fn() -> bool) -> Option<Tell> {
        let mut state = self.state.lock();
        let root = state.root(grant);
        state.resuming(root, true);
        while state.grants.get(&root).is_some_and(|lent| !lent.may_resume()) && !is_cancelled() {
            self.freed.wait_for(&mut state, RESUME_LOOK);
        }
        state.resuming(root, false);
        let over = state.turn(grant, Turn::GoesOn);
        let tell = state.grants.get_mut(&root).and_then(|lent| lent.tell(root));
        self.lends.set(state.any_lendable());
        drop(state);
        drop(over);
        tell
    }
}

impl Node {
    /// Waits for an object on the thread of a synchronous task.
    pub(crate) fn wait_in_task(self: &Arc<Self>, context: &TaskContext, entry: &Arc<Entry>) -> Outcome {
        let site = context.site().map_err(|why| {
            let message = why.to_owned();
            Arc::new(Fault::Call { message, executed: Executed::No })
        })?;
        let _runtime = self.runtime().enter();
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let (mut cx, mut value) = (Context::from_waker(&waker), Value::of(entry.clone()));
        if let Poll::Ready(outcome) = Pin::new(&mut value).poll(&mut cx) {
            return outcome;
        }
        if site.depth < NESTED_TASKS
            && let Some((grant, ready)) = self.claim(entry)
        {
            // Numbered before those of what runs above it: of a circle through both, one of them is the victim, for this one
            // cannot go on before they have.
            if let Some(frame) = frame::origin() {
                drop(frame.waits(|| self.prober().number()));
            }
            self.run_here(ready, grant, site);
        }
        if let Poll::Ready(outcome) = Pin::new(&mut value).poll(&mut cx) {
            return outcome;
        }
        let _parked = self.park_thread(context, site)?;
        loop {
            if let Poll::Ready(outcome) = Pin::new(&mut value).poll(&mut cx) {
                return outcome;
            }
            if context.standing().poll_cancelled(&waker) {
                return Err(Arc::new(Fault::Cancelled { executed: Executed::Maybe }));
            }
            std::thread::park();
        }
    }

    /// The task that makes an object, if it stands in a line here and can begin on this thread: in the slot of the one that
    /// waits for it.
    fn claim(self: &Arc<Self>, entry: &Entry) -> Option<(GrantId, Ready)> {
        let task = standing_of(entry)?.task()?;
        if !task.is_blocking() {
            return None;
        }
        // Out of its line first: its arguments are for whoever took it from there, alone.
        let (grant, ready, priority) = self.tasks().host.claim(&task)?;
        if task.bring().is_none() {
            if grant == ALONE {
                self.tasks().host.give_room(1);
            }
            return Some((grant, ready));
        }
        // It goes back: its arguments are brought when it has a slot of its own.
        match grant {
            ALONE => self.run_alone(ready, priority),
            _ => self.run_or_refuse(grant, ready),
        }
        None
    }

    /// A task that waits for this one runs it on its own thread.
    fn run_here(self: &Arc<Self>, ready: Ready, grant: GrantId, above: Site) {
        let (task, context, place) = self.place(grant, ready, Some(above));
        place.run(&task, context);
    }

    /// A task waits: another one may have its slot.
    pub(super) fn park_slot(self: &Arc<Self>, grant: GrantId) {
        let host = &self.tasks().host;
        let root = host.root(grant);
        host.turn(grant, Turn::Parks);
        self.slot_freed(root);
    }

    fn park_thread<'a>(self: &'a Arc<Self>, context: &'a TaskContext, site: Site) -> Result<Parked<'a>, Arc<Fault>> {
        if !self.compute().park(PARKED_THREADS) {
            return Err(Arc::new(GetError::NestingTooDeep { limit: PARKED_THREADS }));
        }
        if site.yields {
            self.park_slot(site.grant);
        }
        Ok(Parked { node: self, context, site })
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        if self.site.yields {
            // One that was cancelled has nothing more to do that is worth waiting for.
            let tell = self.node.tasks().host.resume(self.site.grant, &|| self.context.cancelled());
            if let Some(tell) = tell {
                self.node.tell_parked(&tell);
            }
        }
        self.node.compute().unpark();
    }
}
