//! Making actors on this node: for a peer that chose it, for the head that placed one here, and for this process itself.

use bytes::Bytes;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::sync::Arc;

use super::actors::{Entry, Known, NotHosted, Reserved};
use super::runtime::Node;
use crate::actor::error::{CallError, EndReason, FirstEnd};
use crate::actor::hosted::Hosted;
use crate::actor::mailbox::Then;
use crate::actor::remote::NodeRef;
use crate::actor::remote::host::{Incoming, Served, answer_fault, send_fault};
use crate::actor::remote::{ask, with_scratch};
use crate::actor::reply::Answering;
use crate::actor::restart::Restarts;
use crate::actor::spawn::{Coming, Planted, Planting};
use crate::directory::message::How;
use crate::directory::request::{self, Arguments, Gone, Hosted as HostedReport};
use crate::id::{ActorId, Key, Life, Placement};
use crate::limits::MESSAGE_REFS;
use crate::schedule::resources::ResourcesError;
use crate::schedule::{Amount, Resources, Strategy};
use crate::wire::bytes::{List, Reader};
use crate::wire::codec::{DecodeError, Enclosed};
use crate::wire::packet::{Answer, CallFault, Executed, Flags, Lifetime, Outcome, Ref, Spawn};

/// Makes an actor out of a constructor that never left this process.
pub(crate) type Seed = Box<dyn FnOnce(Sowing) + Send>;

/// What a seed needs.
pub(crate) struct Sowing {
    pub(crate) node: Arc<Node>,
    pub(crate) placement: Placement,
    pub(crate) done: Box<dyn FnOnce(Planted) + Send>,
}

/// Constructors whose spawner waits for the head to place them here.
#[derive(Default)]
pub(crate) struct Seeds(Mutex<FxHashMap<ActorId, Seed>>);

impl Seeds {
    /// Keeps a constructor until the head orders its actor, or the guard is dropped.
    pub(crate) fn keep(node: &Arc<Node>, actor: ActorId, seed: Seed) -> Kept {
        node.seeds().0.lock().insert(actor, seed);
        Kept { node: node.clone(), actor }
    }
}

/// Forgets a constructor that was not needed.
pub(crate) struct Kept {
    node: Arc<Node>,
    actor: ActorId,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let seed = self.node.seeds().0.lock().remove(&self.actor);
        drop(seed);
    }
}

impl Node {
    /// Takes an actor into the table.
    pub(crate) fn host(
        &self,
        actor: Arc<dyn Hosted>,
        owner: Option<Life>,
        reserved: Option<Arc<Reserved>>,
    ) -> Result<(), CallError> {
        self.admit(Entry { actor, owner, known: reserved.map_or(Known::ToItsSpawner, Known::Reserved) })
    }

    fn admit(&self, entry: Entry) -> Result<(), CallError> {
        let (actor, placement) = (entry.actor.id(), entry.actor.placement());
        // Of a spawner elsewhere.
        let owner = entry.owner.filter(|owner| *owner != self.last_life() && entry.known != Known::Placed);
        let epoch = match &entry.known {
            Known::Reserved(reserved) => Some(reserved.epoch),
            Known::ToItsSpawner | Known::Placed => None,
        };
        self.actors().insert(entry).map_err(|why| match why {
            NotHosted::Twice => CallError::Cancelled { executed: Executed::No },
            NotHosted::Full => {
                tracing::error!("this node hosts as many actors as it may");
                CallError::ActorDied { actor, reason: EndReason::NotConstructed, executed: Executed::No }
            }
        })?;
        // Looked at once it is in the table: it was in what a later head was told, or that head is seen here. Whoever ends what
        // is its owner's, when that has ended, finds it there, or the end is seen here.
        let orphan = owner.is_some_and(|owner| self.known(|known| known.has_ended(owner)));
        if orphan || epoch.is_some_and(|epoch| epoch < self.served()) {
            let entry = self.actors().remove(actor, placement);
            if entry.is_some_and(|entry| matches!(entry.known, Known::Reserved(_))) {
                let why = Gone::Unmade(request::Failure::Unknown);
                self.client().report(request::Ended { actor, placement: Placement::BY_SPAWNER, why });
            }
            return Err(CallError::ActorDied { actor, reason: EndReason::NotConstructed, executed: Executed::No });
        }
        Ok(())
    }

    /// Takes a request that arrived over a link.
    pub(super) fn serve(&self, incoming: &Incoming<'_>) -> Option<Arc<dyn Served>> {
        if let Some((actor, incarnation)) = incoming.request.caller
            && let Err(fault) = self.admit_caller(incoming.now, actor, incarnation.placement)
        {
            incoming.refuse(fault);
            return None;
        }
        if incoming.request.flags.has(Flags::SPAWN) {
            self.plant_for_peer(incoming);
            return None;
        }
        let request = &incoming.request;
        if request.actor.is_node() {
            return self.serve_node(incoming);
        }
        match self.actors().get(request.actor) {
            Some(actor) if actor.placement() == request.placement => actor.deliver(incoming),
            _ => {
                let ended = self.actors().end_of(request.actor).filter(|_| request.placement == Placement::BY_SPAWNER);
                let fault =
                    ended.as_ref().and_then(EndReason::to_wire).map_or(CallFault::NotHere, CallFault::ActorDied);
                incoming.refuse(fault);
                None
            }
        }
    }

    /// A peer chose this node for an actor of its own.
    fn plant_for_peer(&self, incoming: &Incoming<'_>) {
        let request = &incoming.request;
        let spawn = match Spawn::decode(request.body) {
            Ok(spawn) => spawn,
            Err(error) => {
                incoming.refuse(CallFault::Decode { message: &error.to_string() });
                return;
            }
        };
        let only = self.only().filter(|only| only.of.actor == request.actor && only.of.claim.is_none());
        if !self.hosts_actors() && only.is_none() {
            incoming.refuse(CallFault::NoResources);
            return;
        }
        let owner = match spawn.lifetime {
            Lifetime::Owned => Some(incoming.peer.life()),
            Lifetime::Detached => None,
        };
        let known = match reserved(&spawn) {
            Ok(reserved) => reserved.map_or(Known::ToItsSpawner, Known::Reserved),
            Err(error) => {
                incoming.refuse(CallFault::Decode { message: &error.to_string() });
                return;
            }
        };
        let unmade = {
            let (node, is_only) = (self.shared(), only.is_some());
            move || {
                if let Some(only) = node.only().filter(|_| is_only) {
                    only.over();
                }
            }
        };
        if let Some(only) = only {
            only.made();
        }
        if !incoming.begin() {
            return unmade();
        }
        let (peer, arrival) = (incoming.peer.clone(), incoming.arrival);
        let to = Answering { peer, call: arrival.call, consumer: None };
        let done = {
            let (to, unmade) = (to.clone(), unmade.clone());
            Box::new(move |planted| {
                let is_made = matches!(planted, Planted::Alive);
                answer_spawn(&to, planted);
                if !is_made {
                    unmade();
                }
            })
        };
        let made = self.plant(Plant {
            id: request.actor,
            placement: request.placement,
            type_key: spawn.type_key,
            constructor: request.method,
            enclosed: incoming.enclosed.clone(),
            arguments: spawn.arguments,
            owner,
            known,
            restarts: Restarts { limit: spawn.restarts, window: spawn.window },
            saved: None,
            done,
        });
        if let Err(why) = made {
            answer_not_planted(&to, &why);
            unmade();
        }
    }

    /// The head placed an actor here (an order).
    pub(super) fn make(self: Arc<Self>, host: &request::Host) {
        let (id, placement) = (host.spawn.actor, host.placement);
        if host.spawn.isolated && self.only().is_none() {
            return self.isolate_placed(host);
        }
        let report = {
            let node = self.clone();
            move |made: Result<(), request::Failure>| {
                let failed = made.is_err();
                node.client().report(HostedReport { actor: id, placement, made });
                match failed {
                    true => node.checkpoints_over(id),
                    false => node.checkpoint_came(id),
                }
                if let Some(only) = node.only().filter(|_| failed) {
                    only.over();
                }
            }
        };
        match self.only() {
            Some(only) if only.of.actor == id => only.made(),
            Some(_) => return report(Err(request::Failure::Unknown)),
            None => {}
        }
        let failed = report.clone();
        let done = Box::new(move |planted| report(made(planted)));
        let arguments = match &host.spawn.arguments {
            Arguments::Encoded(bytes) => bytes.clone(),
            Arguments::Held => {
                let seed = self.seeds().0.lock().remove(&id);
                return match seed {
                    Some(seed) => seed(Sowing { node: self.clone(), placement, done }),
                    // Its spawner gave up.
                    None => failed(Err(request::Failure::Unknown)),
                };
            }
        };
        let owner = (!host.spawn.detached).then_some(id.life);
        let saved = host.saved.as_deref().map(|saved| self.saved(id, saved));
        let planted = self.split_arguments(&arguments).map(|(enclosed, arguments)| Plant {
            id,
            placement,
            type_key: host.spawn.kind.key,
            constructor: host.spawn.constructor,
            enclosed,
            arguments,
            owner,
            known: Known::Placed,
            restarts: Restarts { limit: host.spawn.restarts, window: host.spawn.restart_window },
            saved,
            done,
        });
        let made = planted.and_then(|plant| self.plant(plant));
        match made {
            Ok(()) => {}
            Err(NotPlanted::Arguments(error)) => {
                failed(Err(request::Failure::Arguments(error.to_string().into())));
            }
            Err(NotPlanted::UnknownType | NotPlanted::UnknownConstructor) => failed(Err(request::Failure::Unknown)),
        }
    }

    /// Takes an actor that the head placed here and whose constructor never left this process.
    pub(crate) fn host_placed(&self, actor: Arc<dyn Hosted>, owner: Option<Life>) -> Result<(), CallError> {
        self.admit(Entry { actor, owner, known: Known::Placed })
    }

    /// The head ends an actor here.
    pub(super) fn end_ordered(&self, actor: ActorId, placement: Placement, how: How, why: &Gone) {
        let Some(hosted) = self.actors().get(actor).filter(|hosted| hosted.placement() == placement) else {
            // Its process has ended when that is reported.
            if self.end_isolated_of(actor, placement, why) {
                return;
            }
            // It ended meanwhile, and said so; or never came to be.
            return self.client().report(request::Ended { actor, placement, why: why.clone() });
        };
        match how {
            How::Stop => hosted.stop(Then::Over),
            How::Kill => hosted.close(end_reason(why)),
        }
    }

    pub(super) fn split_arguments<'a>(&self, bytes: &'a [u8]) -> Result<(Enclosed, &'a [u8]), NotPlanted> {
        let mut reader = Reader::new(bytes);
        let refs =
            List::<Ref>::read(&mut reader, MESSAGE_REFS).map_err(|_| NotPlanted::Arguments(DecodeError::Truncated))?;
        let refs: Vec<Ref> = refs.iter().collect();
        let holds = self.keep_named(&refs);
        Ok((Enclosed::new(refs, holds), reader.rest()))
    }

    fn plant(&self, plant: Plant<'_>) -> Result<(), NotPlanted> {
        let registered = self.registry().get(plant.type_key).ok_or(NotPlanted::UnknownType)?;
        let constructor = registered.constructors.iter().find(|each| each.message.key == plant.constructor);
        let constructor = constructor.ok_or(NotPlanted::UnknownConstructor)?;
        let (owner, known) = (plant.owner, plant.known);
        let here: &NodeRef = self.here();
        (constructor.spawn)(Planting {
            id: plant.id,
            placement: plant.placement,
            host: self.shared(),
            here,
            enclosed: plant.enclosed,
            arguments: plant.arguments,
            restarts: plant.restarts,
            saved: plant.saved,
            register: &|actor| self.admit(Entry { actor, owner, known: known.clone() }),
            done: plant.done,
        })
        .map_err(NotPlanted::Arguments)
    }
}

/// What was reserved for an actor that a peer makes here.
fn reserved(spawn: &Spawn<'_>) -> Result<Option<Arc<Reserved>>, ResourcesError> {
    let mut resources = Resources::none();
    for amount in spawn.resources.iter() {
        resources = resources.with(amount.name, Amount::ten_thousandths(amount.units))?;
    }
    let strategy = spawn.bundle.map(|(group, index)| Strategy::Bundle { group, index });
    Ok(Reserved::of(resources, strategy.unwrap_or_default(), spawn.epoch))
}

/// An actor to make from encoded arguments.
struct Plant<'a> {
    id: ActorId,
    placement: Placement,
    type_key: Key,
    constructor: Key,
    enclosed: Enclosed,
    arguments: &'a [u8],
    owner: Option<Life>,
    known: Known,
    restarts: Restarts,
    saved: Option<Coming>,
    done: Box<dyn FnOnce(Planted) + Send>,
}

/// Why an actor was not made, before its constructor ran.
pub(super) enum NotPlanted {
    UnknownType,
    UnknownConstructor,
    Arguments(DecodeError),
}

/// How a constructor ended, as the head is told.
fn made(planted: Planted) -> Result<(), request::Failure> {
    match planted {
        Planted::Alive => Ok(()),
        Planted::App(error, enclosed, text) => {
            let error = if enclosed.is_empty() { error.into() } else { Bytes::new() };
            Err(request::Failure::Error { error, text: text.into() })
        }
        Planted::Failed(CallError::Panicked { message, .. }) => Err(request::Failure::Panicked(message.into())),
        Planted::Failed(CallError::ActorDied { reason: EndReason::NotRestored { message }, .. }) => {
            Err(request::Failure::NotRestored(message.into()))
        }
        Planted::Failed(error) => Err(request::Failure::Error { error: Bytes::new(), text: error.to_string().into() }),
    }
}

/// How a constructor ended, as the peer that asked for it is told.
fn answer_spawn(to: &Answering, planted: Planted) {
    match planted {
        Planted::Alive => ask::answer_value(&*to.peer, to.call, &()),
        Planted::Failed(error) => send_fault(to, &error),
        Planted::App(body, enclosed, _) => with_scratch(|_, packet| {
            let outcome = Outcome::App { refs: List::Items(&enclosed.refs), body: &body };
            Answer { call: to.call, outcome }.encode(packet);
            to.peer.answer(to.call, packet, &enclosed);
        }),
    }
}

/// Why no constructor ran, as the peer that asked for it is told.
fn answer_not_planted(to: &Answering, why: &NotPlanted) {
    let text;
    let fault = match why {
        NotPlanted::UnknownType => CallFault::UnknownType,
        NotPlanted::UnknownConstructor => CallFault::UnknownMethod,
        NotPlanted::Arguments(error) => {
            text = error.to_string();
            CallFault::Decode { message: &text }
        }
    };
    answer_fault(&*to.peer, to.call, Executed::No, fault);
}

/// A constructor's arguments for the head to keep: their references, then their body.
pub(crate) fn join_arguments(refs: &[Ref], body: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(body.len() + 1);
    List::Items(refs).put(&mut bytes);
    bytes.extend_from_slice(body);
    bytes.into()
}

/// Why the head ended an actor, as its callers are told.
pub(crate) fn end_reason(why: &Gone) -> EndReason {
    match why {
        Gone::Stopped => EndReason::Stopped,
        Gone::Killed | Gone::GroupRemoved { .. } => EndReason::Killed,
        Gone::Panicked(message) => EndReason::Panicked { message: message.to_string() },
        Gone::RestartsSpent { restarts, text } => {
            EndReason::RestartsSpent { restarts: *restarts, message: text.to_string() }
        }
        Gone::Unmade(request::Failure::NotRestored(text)) => EndReason::NotRestored { message: text.to_string() },
        Gone::Linked { actor, text } => {
            EndReason::Linked(Box::new(FirstEnd { actor: *actor, message: text.to_string() }))
        }
        Gone::Unmade(_) => EndReason::NotConstructed,
        Gone::OwnerEnded { .. } => EndReason::OwnerDied,
        Gone::NodeEnded { .. } | Gone::Lost => EndReason::NodeDied,
    }
}
