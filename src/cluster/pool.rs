//! `Pool<H>`: several actors that do the same work.

use parking_lot::Mutex;
use rustc_hash::FxHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

mod map;

pub use map::PoolMap;

use crate::actor::call::Call;
use crate::actor::error::{CallError, Never, WireError};
use crate::actor::handle::Handle;
use crate::actor::reply::Reply;
use crate::id::ActorId;
use crate::object::entry::Watch;
use crate::object::error::GetError;
use crate::object::param::Param;
use crate::object::reference::ObjectRef;

/// Which actor of a pool a call goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Router {
    /// The one that has the fewest calls of this pool under way; of several, each in turn.
    #[default]
    LeastLoaded,
    /// Each in turn.
    RoundRobin,
}

/// Several actors that do the same work: a call goes to one of them, a [`map`](Pool::map) to all.
///
/// Clones are the same pool. It counts the calls that were made through it, from this node. An actor that was found to have
/// ended gets no more of them; the call that found it errs, and is not made again elsewhere.
///
/// ```standalone_crate
/// # use mobula::prelude::*;
/// # use futures::TryStreamExt;
/// # #[actor] struct Squarer;
/// # #[methods] impl Squarer {
/// #   #[constructor] pub fn new() -> Self { Squarer }
/// #   pub fn square(&mut self, x: u64) -> u64 { x * x }
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> mobula::Result<()> {
/// # let cluster = Cluster::local().await?;
/// let pool = Pool::new([Squarer::spawn(&cluster).await?, Squarer::spawn(&cluster).await?]);
/// assert_eq!(pool.call(|one| one.square(3)).await?, 9);
/// let squares: Vec<u64> = pool.map(0..4, |one, x| one.square(x)).try_collect().await?;
/// assert_eq!(squares, [0, 1, 4, 9]);
/// # Ok(())
/// # }
/// ```
pub struct Pool<H> {
    members: Arc<Members<H>>,
    router: Router,
    depth: usize,
}

struct Members<H> {
    /// Replaced when an actor comes or goes: who chooses one reads those that there are, and holds nobody up.
    all: Mutex<Arc<[Arc<Member<H>>]>>,
    turn: AtomicUsize,
}

struct Member<H> {
    handle: H,
    /// Calls under way.
    load: AtomicUsize,
    ended: AtomicBool,
}

impl<H: Handle> Member<H> {
    fn new(handle: H) -> Arc<Self> {
        Arc::new(Member { handle, load: AtomicUsize::new(0), ended: AtomicBool::new(false) })
    }

    /// A call of it has failed: it gets no more, if that says that it has ended.
    fn failed(&self, has_ended: bool) {
        if has_ended {
            self.ended.store(true, Ordering::Relaxed);
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed) || self.handle.as_ref().has_ended()
    }

    /// A key goes to the actor whose weight for it is the highest: when one ends, only its own keys move.
    fn weight(&self, key: u64) -> u64 {
        let (id, mut hasher) = (self.handle.id(), FxHasher::default());
        (key, id.life, id.serial).hash(&mut hasher);
        // The last step of this hash leaves its low bits poor.
        hasher.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
    }
}

impl<H: Handle> Pool<H> {
    /// A pool of these actors.
    ///
    /// # Panics
    /// If there are none.
    pub fn new(actors: impl IntoIterator<Item = H>) -> Self {
        let all: Arc<[_]> = actors.into_iter().map(Member::new).collect();
        assert!(!all.is_empty(), "a pool has at least one actor");
        let members = Members { all: Mutex::new(all), turn: AtomicUsize::new(0) };
        Pool { members: Arc::new(members), router: Router::default(), depth: 2 }
    }

    /// How actors are chosen from here on, by this clone.
    #[must_use]
    pub fn router(mut self, router: Router) -> Self {
        self.router = router;
        self
    }

    /// How many calls a [`map`](Pool::map) of this clone has under way for each actor: two unless this says otherwise, so that
    /// none waits for its next item to arrive. At least one.
    #[must_use]
    pub fn depth(mut self, calls: usize) -> Self {
        self.depth = calls.max(1);
        self
    }

    /// Adds an actor.
    pub fn push(&self, actor: H) {
        let mut all = self.members.all.lock();
        *all = all.iter().cloned().chain([Member::new(actor)]).collect();
    }

    /// Lets an actor go; what is under way there goes on. A pool keeps its last.
    pub fn remove(&self, actor: ActorId) -> Option<H> {
        let mut all = self.members.all.lock();
        let place = all.iter().position(|member| member.handle.id() == actor).filter(|_| all.len() > 1)?;
        let removed = all[place].handle.clone();
        *all = all[..place].iter().chain(&all[place + 1..]).cloned().collect();
        Some(removed)
    }

    /// Those of its actors that are not known to have ended.
    #[must_use]
    pub fn actors(&self) -> Vec<H> {
        let all = self.all();
        all.iter().filter(|member| !member.has_ended()).map(|member| member.handle.clone()).collect()
    }

    /// Calls through this pool that are under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.all().iter().map(|member| member.load.load(Ordering::Relaxed)).sum()
    }

    /// A call of an actor of the router's choice, which is made here and now; the call itself is lazy like any other.
    pub fn call<T: Reply, E: WireError>(&self, call: impl FnOnce(&H) -> Call<T, E>) -> PoolCall<H, T, E> {
        PoolCall::new(self.choose(self.router), call)
    }

    /// A call of the actor that this key belongs to: the same one for as long as it lives, from whichever node, if their pools
    /// have the same actors.
    pub fn call_for<K, T, E>(&self, key: &K, call: impl FnOnce(&H) -> Call<T, E>) -> PoolCall<H, T, E>
    where
        K: Hash + ?Sized,
        T: Reply,
        E: WireError,
    {
        PoolCall::new(self.of_key(key), call)
    }

    /// Sends a call to an actor of the router's choice, and gives a reference to its reply. Never waits.
    pub fn submit<T, E>(&self, call: impl FnOnce(&H) -> Call<T, E>) -> ObjectRef<T, E>
    where
        T: Reply + Param<Owned = T>,
        E: WireError,
    {
        Self::submit_to(self.choose(self.router), call)
    }

    /// Sends a call to the actor that this key belongs to, and gives a reference to its reply. Never waits.
    pub fn submit_for<K, T, E>(&self, key: &K, call: impl FnOnce(&H) -> Call<T, E>) -> ObjectRef<T, E>
    where
        K: Hash + ?Sized,
        T: Reply + Param<Owned = T>,
        E: WireError,
    {
        Self::submit_to(self.of_key(key), call)
    }

    /// Calls the actors for each of the items, [`depth`](Pool::depth) calls for each actor at a time: a stream of the replies
    /// in the order of the items. Items are taken as they are needed; replies that came early wait, up to a bound.
    ///
    /// # Cancel safety
    /// Dropping it cancels the calls that are under way.
    pub fn map<I, F, T, E>(&self, items: I, call: F) -> PoolMap<H, I::IntoIter, F, T, E>
    where
        I: IntoIterator,
        F: FnMut(&H, I::Item) -> Call<T, E>,
        T: Reply,
        E: WireError,
    {
        PoolMap::in_order(self.clone(), items.into_iter(), call)
    }

    /// The same, the replies as they come.
    ///
    /// # Cancel safety
    /// Dropping it cancels the calls that are under way.
    pub fn map_unordered<I, F, T, E>(&self, items: I, call: F) -> PoolMap<H, I::IntoIter, F, T, E>
    where
        I: IntoIterator,
        F: FnMut(&H, I::Item) -> Call<T, E>,
        T: Reply,
        E: WireError,
    {
        PoolMap::as_they_come(self.clone(), items.into_iter(), call)
    }

    fn submit_to<T, E>(member: Arc<Member<H>>, call: impl FnOnce(&H) -> Call<T, E>) -> ObjectRef<T, E>
    where
        T: Reply + Param<Owned = T>,
        E: WireError,
    {
        let call = call(&member.handle);
        let counted = Counted::new(member);
        let reference = call.submit();
        let submitted: Arc<dyn Watch> = Arc::new(Submitted { counted, of: reference.clone() });
        // Settled already: what counts it is dropped.
        let _ = reference.entry().watch(&submitted, 0);
        reference
    }

    fn all(&self) -> Arc<[Arc<Member<H>>]> {
        self.members.all.lock().clone()
    }

    /// One that lives, if any does; else whichever, whose error says so.
    fn choose(&self, router: Router) -> Arc<Member<H>> {
        let all = self.all();
        let turn = self.members.turn.fetch_add(1, Ordering::Relaxed) % all.len();
        let mut in_turn = all[turn..].iter().chain(&all[..turn]).filter(|member| !member.has_ended());
        let chosen = match router {
            Router::RoundRobin => in_turn.next(),
            Router::LeastLoaded => in_turn.min_by_key(|member| member.load.load(Ordering::Relaxed)),
        };
        chosen.unwrap_or(&all[turn]).clone()
    }

    fn of_key<K: Hash + ?Sized>(&self, key: &K) -> Arc<Member<H>> {
        let mut hasher = FxHasher::default();
        key.hash(&mut hasher);
        let (key, all) = (hasher.finish(), self.all());
        let heaviest = |member: &&Arc<Member<H>>| (!member.has_ended(), member.weight(key));
        all.iter().max_by_key(heaviest).unwrap_or(&all[0]).clone()
    }

    /// Calls that a map has under way at most.
    fn room(&self) -> usize {
        self.all().iter().filter(|member| !member.has_ended()).count().max(1) * self.depth
    }
}

impl<H> Clone for Pool<H> {
    fn clone(&self) -> Self {
        Pool { members: self.members.clone(), router: self.router, depth: self.depth }
    }
}

impl<H> fmt::Debug for Pool<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actors = self.members.all.lock().len();
        f.debug_struct("Pool").field("actors", &actors).field("router", &self.router).finish_non_exhaustive()
    }
}

/// A call under way: counted until this is dropped.
struct Counted<H>(Arc<Member<H>>);

impl<H> Counted<H> {
    fn new(member: Arc<Member<H>>) -> Self {
        member.load.fetch_add(1, Ordering::Relaxed);
        Counted(member)
    }
}

impl<H> Drop for Counted<H> {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A submitted call: counted until its reply is there.
struct Submitted<H, T, E> {
    counted: Counted<H>,
    of: ObjectRef<T, E>,
}

impl<H, T, E> Watch for Submitted<H, T, E>
where
    H: Handle,
    T: Send + Sync + 'static,
    E: 'static,
{
    fn settled(self: Arc<Self>, _: usize) {
        let Some(Err(fault)) = self.of.entry().outcome() else { return };
        let member = &self.counted.0;
        member.failed(match *fault {
            GetError::ActorDied { .. } => true,
            GetError::NodeDied { .. } => member.handle.as_ref().ends_with_its_node(),
            _ => false,
        });
    }
}

/// A call of one of a pool's actors: what [`Pool::call`] gives. Lazy, like the call itself.
///
/// # Cancel safety
/// As of [`Call`]: dropping it cancels the call.
#[must_use = "a call is lazy: await it"]
pub struct PoolCall<H, T, E = Never> {
    call: Call<T, E>,
    counted: Counted<H>,
}

impl<H: Handle, T: Reply, E: WireError> PoolCall<H, T, E> {
    fn new(member: Arc<Member<H>>, call: impl FnOnce(&H) -> Call<T, E>) -> Self {
        PoolCall { call: call(&member.handle), counted: Counted::new(member) }
    }

    /// Bounds the wait, from the first poll, as [`Call::timeout`] does.
    pub fn timeout(self, limit: Duration) -> Self {
        PoolCall { call: self.call.timeout(limit), counted: self.counted }
    }

    /// The actor that was chosen.
    #[must_use]
    pub fn target(&self) -> ActorId {
        self.counted.0.handle.id()
    }
}

impl<H: Handle, T, E> Future for PoolCall<H, T, E> {
    type Output = Result<T, CallError<E>>;

    /// # Panics
    /// When polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = std::task::ready!(Pin::new(&mut self.call).poll(cx));
        if let Err(error) = &result {
            self.counted.0.failed(self.counted.0.handle.as_ref().has_ended_by(error));
        }
        Poll::Ready(result)
    }
}

impl<H, T, E> fmt::Debug for PoolCall<H, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PoolCall").field(&self.call).finish()
    }
}
