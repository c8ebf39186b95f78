//! Objects as something that methods and tasks wait for (PROTOCOLS §5.6).
//!
//! ```text
//! frame ──waits──▶ object ──of another node──▶ its owner, by the object's serial
//!                         ──a call makes it──▶ that call: it stands in a mailbox, runs, or is with a peer
//!                         ──a task makes it──▶ the frame that it runs in, here or at a peer; before that, its arguments
//! ```

use std::sync::{Arc, Weak};
use std::task::Context;

use super::fetch::READ;
use super::runtime::Node;
use crate::actor::error::Executed;
use crate::actor::frame::{self, BegunWait, Circle, Held, Place, Serves, Wait};
use crate::id::{ActorId, Key, Life, ObjectId};
use crate::object::entry::{Entry, MadeBy, Making};
use crate::object::error::Fault;
use crate::object::home::Waited;
use crate::task::standing::Standing;
use crate::wire::packet::ProbeTo;

/// What a probe follows that goes after a task: a call of the node itself.
const TASK: Key = Key::of("mobula", "task");

/// A wait for an object.
pub(super) struct ObjectWait {
    node: Weak<Node>,
    object: Arc<Entry>,
    circle: Circle,
}

impl ObjectWait {
    pub(super) fn of(node: &Arc<Node>, object: &Arc<Entry>) -> Arc<Self> {
        Arc::new(ObjectWait { node: Arc::downgrade(node), object: object.clone(), circle: Circle::default() })
    }

    /// The object that the value is to come of, if there is none yet.
    fn pending(&self) -> Option<(Arc<Node>, Arc<Entry>)> {
        let last = awaited(&self.object)?;
        Some((self.node.upgrade()?, last))
    }
}

impl Wait for ObjectWait {
    fn actor(&self) -> ActorId {
        match self.pending().and_then(|(_, last)| last.making()) {
            Some(Making::Call(call)) => call.actor,
            Some(Making::Task(_)) | None => ActorId::of_node(self.object.id().life),
        }
    }

    fn place(&self) -> Place {
        let Some((node, last)) = self.pending() else { return Place::Over };
        let ObjectId { life, serial } = last.id();
        if last.is_borrowed() {
            return Place::There(life, ProbeTo { actor: ActorId::of_node(life), method: READ, call: Some(serial) });
        }
        match last.making() {
            Some(Making::Call(call)) => {
                if !missing(&call).is_empty() || node.actors().get(call.actor).is_some() {
                    return Place::Here;
                }
                let to = |number| ProbeTo { actor: call.actor, method: call.method, call: number };
                let there = node.call_making(last.id());
                there.map_or(Place::Here, |(peer, number)| Place::There(peer, to(number)))
            }
            Some(Making::Task(standing)) => {
                let standing = standing.downcast::<Standing>().ok();
                let away = standing.filter(|standing| !stands_behind(standing)).and_then(|standing| standing.away());
                let Some((peer, ticket)) = away else { return Place::Here };
                let to = |call| ProbeTo { actor: ActorId::of_node(peer.life()), method: TASK, call };
                peer.standing(ticket).map_or(Place::Over, |call| Place::There(peer.life(), to(call)))
            }
            None => Place::Here,
        }
    }

    fn held(&self) -> Held {
        let Some((node, last)) = self.pending() else { return Held::Not };
        match last.making() {
            Some(Making::Call(call)) => {
                let missing = missing(&call);
                if !missing.is_empty() {
                    return node.led_to(&missing);
                }
                let hosted = node.actors().get(call.actor);
                hosted.map_or(Held::Not, |hosted| hosted.held_object(call.method, last.id()))
            }
            Some(Making::Task(standing)) => {
                let standing = standing.downcast::<Standing>().ok();
                standing.map_or(Held::Not, |standing| node.task_held(&standing))
            }
            None => Held::Not,
        }
    }

    fn deadlock(&self, cycle: Vec<ActorId>) {
        self.circle.found(cycle);
    }
}

/// The object that an object's value is to come of, if there is none yet.
fn awaited(object: &Arc<Entry>) -> Option<Arc<Entry>> {
    object.followed().ok().filter(|last| !last.is_there())
}

/// Of what a call was passed, that which has no value yet.
fn missing(call: &MadeBy) -> Vec<Arc<Entry>> {
    let passed = call.passed.iter().filter_map(Weak::upgrade);
    passed.filter(|object| awaited(object).is_some()).collect()
}

/// Whether a task waits for others, wherever it stands.
fn stands_behind(standing: &Standing) -> bool {
    let Some(task) = standing.task() else { return false };
    !standing.has_begun() && task.references().iter().any(|object| awaited(object).is_some())
}

impl Waited for BegunWait<ObjectWait> {
    fn poll(&self, cx: &Context<'_>) -> Option<Arc<Fault>> {
        let (mut cycle, waiter) = (self.wait().circle.watch(cx)?, self.frame().id().actor);
        // Who waits is in it, also where nobody else has a name.
        if cycle.is_empty() && !waiter.is_node() {
            cycle = vec![waiter; 2];
        }
        Some(Arc::new(Fault::Deadlock { cycle, executed: Executed::Maybe }))
    }
}

impl Node {
    /// A method or task that is polled, or runs, on this thread waits for an object.
    pub(super) fn begin_wait(&self, object: &Arc<Entry>) -> Option<Box<dyn Waited>> {
        let frame = frame::origin().filter(|origin| origin.is_frame())?;
        Some(Box::new(BegunWait::new(frame, ObjectWait::of(&self.shared(), object))))
    }

    /// What an object of this node waits for that a peer wants.
    pub(super) fn object_held(&self, serial: u64) -> Held {
        let object = self.exposed(ObjectId { life: self.last_life(), serial });
        object.map_or(Held::Not, |object| Held::Leads(vec![ObjectWait::of(&self.shared(), &object)]))
    }

    /// What a task of this node waits for that is not on its way to another.
    fn task_held(self: &Arc<Self>, standing: &Standing) -> Held {
        let Some(task) = standing.task() else { return Held::Not };
        if standing.has_begun() {
            return self.task_running(Serves::Object(task.result().id()));
        }
        self.led_to(&task.references())
    }

    fn led_to(self: &Arc<Self>, objects: &[Arc<Entry>]) -> Held {
        let wait = |object: &Arc<Entry>| -> Arc<dyn Wait> { ObjectWait::of(self, object) };
        Held::Leads(objects.iter().map(wait).collect())
    }

    /// The frame that a task runs in, if it ever waited.
    pub(super) fn task_running(&self, task: Serves) -> Held {
        self.tasks().frames().running(task).map_or(Held::Not, Held::Begun)
    }

    /// The peer that has the call which makes an object, and the call's number, unless that waits for credit.
    fn call_making(&self, object: ObjectId) -> Option<(Life, Option<u64>)> {
        let links = self.links().all();
        links.into_iter().find_map(|link| Some((link.party().life, link.call_making(object)?)))
    }
}
