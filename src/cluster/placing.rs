//! Where a spawn's actor goes: this process, a node of the head's choice, or under the head's own care.

use std::future::poll_fn;
use std::sync::Arc;

use super::client::Cluster;
use super::reserved::{Reserved, Wanted};
use super::spawn::{Options, SpawnError, Spawning};
use super::stage::Stage;
use crate::actor::args;
use crate::actor::bring::{self, Absent, Gathered};
use crate::actor::dispatch::{Actor, Constructor, Isolation};
use crate::actor::error::{CallError, EndReason, Part, WireError};
use crate::actor::handle::{ActorRef, Handle};
use crate::actor::inbox::{Host, Inbox, Resolved};
use crate::actor::lifetime::{At, Keeps, Placed};
use crate::actor::remote::ask::{self, NodeAsk, Plain};
use crate::actor::remote::{Caller, Outgoing, Peer, ReservedOf, encode_part, encode_spawn};
use crate::actor::restart::Restarts;
use crate::actor::spawn::{Planted, construct, failed};
use crate::directory::request::{
    self, ActorType, Arguments, Candidate, Choose, Failure, GetOrSpawn, IsolationError, Needs, Spawned,
};
use crate::directory::{AskError, Question};
use crate::id::{ActorId, Placement};
use crate::node::actors;
use crate::node::core::link::Party;
use crate::node::isolated::Isolated;
use crate::node::runtime::Node;
use crate::node::spawn::{Seed, Seeds, join_arguments};
use crate::schedule::{Resources, Strategy};
use crate::wire::codec::{self, Enclosed, Hold};
use crate::wire::packet::{Executed, Ref};

type HandleOf<C> = <<C as Constructor>::Actor as Actor>::Handle;
type Result<T, C> = std::result::Result<T, SpawnError<<C as Constructor>::Error>>;

pub(super) fn spawn<C: Constructor>(
    cluster: Cluster,
    mut options: Options,
    message: C,
) -> Spawning<HandleOf<C>, C::Error> {
    let node = cluster.node().clone();
    let (stage, limit) = (Stage::default(), options.limit);
    if options.is_plain() && node.is_alone() {
        stage.asks_node(node.id());
        return stage.bound(limit, Box::pin(async move { here(&node, options.restarts, message).await }));
    }
    let now = stage.clone();
    stage.bound(
        limit,
        Box::pin(async move {
            let mut needs = std::mem::take(&mut options.needed).finish().map_err(SpawnError::Invalid)?;
            node.living().await.map_err(SpawnError::Head)?;
            if options.here {
                now.asks_node(node.id());
                return here(&node, options.restarts, message).await;
            }
            if let (Some(object), Strategy::Default) = (options.near.take(), needs.strategy) {
                needs.strategy = node.place_of(object.entry()).await.map_or(Strategy::Default, Strategy::Prefer);
            }
            // The head knows actors that outlive something: a lookup, their spawner, their node.
            match options.name.is_some() || options.detached || options.restarts.allow_any() {
                true => by_the_head(&cluster, options, needs, &now, message).await,
                false => chosen(&node, needs, options, &now, message).await,
            }
        }),
    )
}

/// In this process.
async fn here<C: Constructor>(node: &Arc<Node>, restarts: Restarts, message: C) -> Result<HandleOf<C>, C> {
    make(node, node.next_actor(), restarts, None, message).await
}

async fn make<C: Constructor>(
    node: &Arc<Node>,
    id: ActorId,
    restarts: Restarts,
    reserved: Option<Arc<actors::Reserved>>,
    message: C,
) -> Result<HandleOf<C>, C> {
    let placement = Placement::BY_SPAWNER;
    let inbox = Inbox::<C::Actor>::new(id, placement, node.clone());
    let host = Host::life(&**node);
    // Before the constructor runs: it may ask for a handle of its own.
    let lifetime = node.own_actor(id, C::Actor::type_name().key(), Placed::BySpawner);
    node.host(inbox.clone(), Some(host), reserved).map_err(SpawnError::Node)?;
    construct(inbox.clone(), restarts, None, message).await.map_err(SpawnError::from_constructor)?;
    lifetime.is_at(At { host, placement });
    Ok(HandleOf::<C>::from_ref(ActorRef::local(inbox, Keeps::Counted(lifetime))))
}

fn kind_of<C: Constructor>() -> ActorType {
    let name = C::Actor::type_name();
    ActorType { key: name.key(), name: name.to_string().into() }
}

/// On a node that the head names.
async fn chosen<C: Constructor>(
    node: &Arc<Node>,
    needs: Needs,
    options: Options,
    stage: &Stage,
    message: C,
) -> Result<HandleOf<C>, C> {
    let (actor, restarts, patience) = (node.next_actor(), options.restarts, options.patience);
    let choose = Choose { actor, kind: kind_of::<C>(), constructor: C::KEY, needs, patience };
    let (resources, strategy) = (choose.needs.resources.clone(), choose.needs.strategy);
    let asked = |reason| stage.asks_head(reason);
    let chosen = node.client().choose(choose, asked).await.map_err(SpawnError::Head)?;
    let candidate = chosen.map_err(SpawnError::NotPlaced)?;
    stage.asks_node(candidate.node);
    let held = Reserved::new(node, actor, &resources);
    if options.isolation == Isolation::Process {
        let there = actors::Reserved::of(resources, strategy, candidate.epoch);
        let own = process_of::<C>(held, node, candidate, actor, there).await?;
        stage.asks_node(own.node);
        // What is reserved lies where the process was started, and is given back there.
        let (none, held) = (Resources::none(), Reserved::new(node, actor, &Resources::none()));
        return make_there(held, node, own, (actor, restarts), (&none, own.epoch, None), message).await;
    }
    if candidate.life == Host::life(&**node) {
        let there = actors::Reserved::of(resources, strategy, candidate.epoch);
        return held.keep_if(make(node, actor, restarts, there, message).await);
    }
    let bundle = match strategy {
        Strategy::Bundle { group, index } => Some((group, index)),
        _ => None,
    };
    let there = (&resources, candidate.epoch, bundle);
    make_there(held, node, candidate, (actor, restarts), there, message).await
}

/// A process for an actor, started by the node that was chosen for it.
async fn process_of<C: Constructor>(
    mut held: Reserved,
    node: &Arc<Node>,
    at: Candidate,
    actor: ActorId,
    reserved: Option<Arc<actors::Reserved>>,
) -> Result<Candidate, C> {
    let isolated = Isolated::new(actor, reserved.as_ref().map(|reserved| &reserved.resources), None);
    let (here, host) = (node.clone(), Party { node: at.node, life: at.life });
    // Goes on if nobody waits for it any more: then the process ends, since its actor does not come.
    let starting = node.runtime().spawn(async move {
        let started = here.isolated_at(host, isolated, reserved).await;
        if started.is_ok() {
            held.keep();
        }
        started
    });
    let ending = CallError::ActorDied { actor, reason: EndReason::ShutDown, executed: Executed::No };
    let started = starting.await.map_err(|_| SpawnError::Node(ending))?;
    let (node, life) = started.map_err(|why| why.map_or_else(SpawnError::Node, SpawnError::Isolation))?;
    Ok(Candidate { life, node, ..at })
}

async fn make_there<C: Constructor>(
    held: Reserved,
    node: &Arc<Node>,
    at: Candidate,
    (actor, restarts): (ActorId, Restarts),
    reserved: ReservedOf<'_>,
    mut message: C,
) -> Result<HandleOf<C>, C> {
    let gone = || SpawnError::Node(CallError::NodeDied { node: at.node, executed: Executed::No });
    let link = node.link(Party { node: at.node, life: at.life }).ok_or_else(gone)?;
    let remote = node.reach(actor, C::Actor::type_name().key(), Placement::BY_SPAWNER, link.clone());
    let lifetime = node.own_actor(actor, C::Actor::type_name().key(), Placed::BySpawner);
    let ask = NodeAsk::new(actor, at.node, (C::NAME, C::SIGNATURE));
    let caller: Arc<dyn Caller> = ask.clone();
    let spawn = ((actor, Placement::BY_SPAWNER), (C::KEY, C::Actor::type_name().key()), restarts, reserved);
    // Held until the actor is made: what is passed as a reference is read by then.
    let _gathered = arguments(&mut message, |message| args::leave(message, |_| false)).await?;
    encode_spawn(spawn, node.here(), &mut message, |packet, enclosed| {
        link.request(remote.stream(0), Outgoing { packet, deadline: None, enclosed }, &caller)
    })
    .map_err(SpawnError::Node)?;
    drop(message);
    let wanted = Wanted::new(remote, held);
    let answer = poll_fn(|cx| ask.poll(cx)).await;
    if let Err(error @ CallError::Unreachable { .. }) = answer {
        // It may be made all the same, and is ended then.
        return Err(SpawnError::Node(error));
    }
    let (remote, mut held) = wanted.answered().ok_or_else(gone)?;
    match answer {
        Ok(Plain::Value(..)) => {
            held.keep();
            lifetime.is_at(remote.at());
            Ok(HandleOf::<C>::from_ref(ActorRef::remote(remote, Keeps::Counted(lifetime))))
        }
        Ok(Plain::Elsewhere(_)) => Err(SpawnError::Node(ask::nonsense())),
        Ok(Plain::App(enclosed, body)) => Err(app_error::<C>(node, enclosed, &body)),
        Err(error) => Err(SpawnError::from_constructor(error.widen())),
    }
}

/// Waits for the values of a constructor's arguments, and puts them in their places as `put` says.
async fn arguments<C: Constructor>(
    message: &mut C,
    put: impl FnOnce(&mut C) -> std::result::Result<(), Absent>,
) -> Result<Gathered, C> {
    let absent = |absent| SpawnError::Node(CallError::absent(absent));
    let gathered = bring::gather(message).bring().await.map_err(absent)?;
    put(message).map_err(absent)?;
    Ok(gathered)
}

fn app_error<C: Constructor>(node: &Node, enclosed: Enclosed, body: &[u8]) -> SpawnError<C::Error> {
    codec::decode_message(body, enclosed, node.here()).map_or_else(
        |error| {
            let (what, message) = (Part::Error, error.to_string());
            SpawnError::Node(CallError::Decode { what, message, executed: Executed::Yes })
        },
        SpawnError::App,
    )
}

/// Placed, named and known by the head.
async fn by_the_head<C: Constructor>(
    cluster: &Cluster,
    options: Options,
    needs: Needs,
    stage: &Stage,
    mut message: C,
) -> Result<HandleOf<C>, C> {
    let node = cluster.node();
    let isolated = options.isolation == Isolation::Process;
    if isolated && node.is_alone() {
        return Err(SpawnError::Isolation(IsolationError::OneProcess));
    }
    let actor = node.next_actor();
    let name = options.full_name(cluster);
    let owned = !options.detached;
    let owner = owned.then(|| Host::life(&**node));
    let lifetime = owned.then(|| node.own_actor(actor, C::Actor::type_name().key(), Placed::ByHead));
    // What the arguments hold is held here at least until the actor is made: its node asks the owners to count it.
    let mut holds = Vec::new();
    // Alone, the constructor stays here as it is; else any node may be the one to run it.
    let (arguments, kept) = if node.is_alone() {
        (Arguments::Held, Some(Seeds::keep(node, actor, seed(actor, owner, options.restarts, message))))
    } else {
        match for_the_head::<C>(&mut message).await {
            Ok((arguments, held)) => {
                holds.extend(held);
                (arguments, None)
            }
            // It ends with its node: there it is started again all the same.
            Err(SpawnError::Node(CallError::TooLarge { .. } | CallError::Encode { .. })) if name.is_none() && owned => {
                drop(lifetime);
                return chosen(node, needs, options, stage, message).await;
            }
            Err(error) => return Err(error),
        }
    };
    if let Some(lifetime) = &lifetime {
        // The head may have the actor made again.
        lifetime.with(std::mem::take(&mut holds));
    }
    let spawn = request::Spawn {
        actor,
        kind: kind_of::<C>(),
        constructor: C::KEY,
        name,
        needs,
        restarts: options.restarts.limit,
        restart_window: options.restarts.window,
        detached: options.detached,
        isolated,
        arguments,
        patience: options.patience,
    };
    let answer = match options.get {
        true => ask_head(node, GetOrSpawn(spawn), stage).await,
        false => ask_head(node, spawn, stage).await,
    };
    drop((kept, holds));
    match answer.map_err(SpawnError::Head)? {
        Ok(spawned) => {
            if let Some(lifetime) = lifetime.filter(|_| spawned.actor == actor) {
                lifetime.is_at(At { host: spawned.life, placement: spawned.placement });
                return handle(node, &spawned, Some(Keeps::Counted(lifetime))).map_err(SpawnError::Node);
            }
            handle(node, &spawned, None).map_err(SpawnError::Node)
        }
        Err(error) => Err(refused(error)),
    }
}

/// Arguments for the head to keep, and what they hold. It keeps values: nobody would count what it refers to.
async fn for_the_head<C: Constructor>(message: &mut C) -> Result<(Arguments, Vec<Hold>), C> {
    drop(arguments::<C>(message, args::resolve).await?);
    let mut body = Vec::new();
    let enclosed = encode_part(Part::Arguments, Executed::No, message, &mut body).map_err(SpawnError::Node)?;
    if enclosed.refs.iter().any(|reference| matches!(reference, Ref::Object { .. })) {
        let what = Part::Arguments;
        let message = "the head keeps the arguments of a named or detached actor, and would have to count the objects \
                       inside them: send those in a call"
            .to_owned();
        return Err(SpawnError::Node(CallError::Encode { what, message, executed: Executed::No }));
    }
    let holds = enclosed.holds.iter().flatten().cloned().collect();
    Ok((Arguments::Encoded(join_arguments(&enclosed.refs, &body)), holds))
}

/// Asks the head, and says so.
async fn ask_head<Q: Question>(node: &Node, question: Q, stage: &Stage) -> std::result::Result<Q::Answer, AskError> {
    let asking = node.client().ask(question);
    stage.asks_head(asking.reason());
    asking.await
}

/// Why the head has no actor, as its spawner is told.
fn refused<E: WireError>(error: request::SpawnError) -> SpawnError<E> {
    match error {
        request::SpawnError::Unmade(Failure::Error { error, text }) => match codec::decode(&error) {
            Ok(error) => SpawnError::App(error),
            Err(_) => SpawnError::NotPlaced(request::SpawnError::Unmade(Failure::Error { error, text })),
        },
        request::SpawnError::Unmade(Failure::Panicked(message)) => {
            SpawnError::Panicked { message: message.to_string() }
        }
        request::SpawnError::Unmade(Failure::Isolation(why)) => SpawnError::Isolation(why),
        error => SpawnError::NotPlaced(error),
    }
}

/// A constructor that waits here for the head's order.
fn seed<C: Constructor>(actor: ActorId, owner: Option<crate::id::Life>, restarts: Restarts, message: C) -> Seed {
    Box::new(move |sowing| {
        let node = sowing.node.clone();
        let inbox = Inbox::<C::Actor>::new(actor, sowing.placement, node.clone());
        let done = sowing.done;
        if let Err(error) = node.host_placed(inbox.clone(), owner) {
            return done(Planted::Failed(error));
        }
        inbox.clone().run(Box::pin(async move {
            done(match construct(inbox, restarts, None, message).await {
                Ok(()) => Planted::Alive,
                Err(error) => failed(error),
            });
        }));
    })
}

/// The handle of an actor that the head has told of. Its owner is asked to count it, unless it is known what it keeps.
pub(super) fn handle<H: Handle>(
    node: &Arc<Node>,
    spawned: &Spawned,
    keeps: Option<Keeps>,
) -> std::result::Result<H, CallError> {
    let Spawned { actor, placement, life, detached, .. } = *spawned;
    let resolved = match life == Host::life(&**node) {
        true => node.hosted(actor),
        false => node.elsewhere(actor, H::Actor::type_name().key(), At { host: life, placement }),
    };
    if let Resolved::Gone(reason) = resolved {
        return Err(CallError::ActorDied { actor, reason, executed: Executed::No });
    }
    let type_key = H::Actor::type_name().key();
    let keeps = keeps.unwrap_or_else(|| match detached {
        true => Keeps::Detached,
        false => node.keep_actor(actor, type_key, At { host: life, placement }),
    });
    let found = ActorRef::resolved(actor, resolved, keeps);
    let reason = EndReason::Unknown;
    found.map(H::from_ref).map_err(|_| CallError::ActorDied { actor, reason, executed: Executed::No })
}
