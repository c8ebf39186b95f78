//! The objects of a node: which of its own others hold, and which of others it holds; the shell of the counting core.
//!
//! Lock order: nothing is called under the lock but the core. Entries are dropped outside of it: their drop comes back here.

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use std::pin::pin;
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

use super::core::refs::{Effect, Effects, Hold as Held, Kind, Load, Loss, Refs};
use super::link::PeerLink;
use super::recover::Lead;
use super::runtime::Node;
use crate::actor::inbox::Host;
use crate::actor::lifetime::{At, Lifetime};
use crate::clock;
use crate::directory::request::Withdraw;
use crate::id::{ActorId, Life, ObjectId};
use crate::limits::{MEETING, REFS_GRACE};
use crate::object::content::Content;
use crate::object::entry::{Entry, Outcome};
use crate::object::error::{Fault, GetError};
use crate::object::home::{Home, Waited};
use crate::object::lost::Lost;
use crate::wire::bytes::List;
use crate::wire::codec::{Enclosed, Hold};
use crate::wire::packet::{Counted, Kept, Ref, Settle};

/// The table.
#[derive(Default)]
pub(super) struct Objects {
    state: Mutex<Option<State>>,
    /// Told when others may be known that were not.
    met: Notify,
}

pub(super) struct State {
    pub(super) refs: Refs<Hold>,
    /// Objects of other lives, as this node's references share them.
    borrowed: FxHashMap<ObjectId, Weak<Entry>>,
    /// Actors that this node spawned, and those of others that it has handles of.
    pub(super) lifetimes: FxHashMap<ActorId, Weak<Lifetime>>,
    /// By what they are now: objects of this node that it gave to others.
    pub(super) given: FxHashMap<ObjectId, ObjectId>,
    /// By the values: objects whose values are those of other lives' objects.
    pub(super) leads: FxHashMap<ObjectId, Lead>,
    /// Arrived, and of owners that have ended: the head may know of others.
    orphans: Vec<Arc<Entry>>,
    /// Lives that there is something to say to, and that this node has not heard of yet.
    unmet: FxHashSet<Life>,
}

impl State {
    fn new(life: Life) -> Self {
        State {
            refs: Refs::new(life),
            borrowed: FxHashMap::default(),
            lifetimes: FxHashMap::default(),
            given: FxHashMap::default(),
            leads: FxHashMap::default(),
            orphans: Vec::new(),
            unmet: FxHashSet::default(),
        }
    }

    /// The entry of an object that a packet refers to.
    fn arrived(&mut self, from: Life, object: ObjectId, home: Weak<dyn Home>, effects: &mut Effects<Hold>) -> Hold {
        let counted = Counted::Object(object);
        let lost = |loss: Loss| -> Hold { Entry::settled(object, Err(Arc::new(lost(object, loss)))) };
        match self.refs.arrived(from, counted, effects) {
            Held::Own(token) => return token,
            Held::Lost(Loss::OwnerDied) => {
                let entry = Entry::pending(object, None);
                self.orphans.push(entry.clone());
                return entry;
            }
            Held::Lost(loss) => return lost(loss),
            Held::Taken => {}
        }
        // The packet's own hold is the entry's, which has one already or gets this.
        match self.borrowed.get(&object).and_then(Weak::upgrade) {
            Some(entry) => {
                self.refs.unhold(counted, effects);
                entry
            }
            None => {
                let entry = Entry::borrowed(object, home, self.refs.life());
                self.borrowed.insert(object, Arc::downgrade(&entry));
                entry
            }
        }
    }

    /// What a packet refers to, all at once: what is to be asked about owners that have ended is then one question.
    fn all_arrived(
        &mut self,
        from: Life,
        refs: &[Ref],
        home: &Weak<dyn Home>,
        host: &dyn Fn() -> Arc<dyn Host>,
        effects: &mut Effects<Hold>,
    ) -> Vec<Option<Hold>> {
        let arrive = |reference: &Ref| match *reference {
            Ref::Object { object } | Ref::Argument { object, .. } | Ref::Pinned { object, .. } => {
                Some(self.arrived(from, object, home.clone(), effects))
            }
            Ref::Actor { actor, type_key, host: at, placement, kept: Kept::Counted } => {
                self.actor_arrived(from, (actor, type_key), At { host: at, placement }, &host(), effects)
            }
            _ => None,
        };
        refs.iter().map(arrive).collect()
    }

    /// The entry of an object of which the head has told.
    pub(super) fn told_of(
        &mut self,
        object: ObjectId,
        home: Weak<dyn Home>,
        effects: &mut Effects<Hold>,
    ) -> Option<Arc<Entry>> {
        if let Some(entry) = self.borrowed.get(&object).and_then(Weak::upgrade) {
            return Some(entry);
        }
        match self.refs.hold(Counted::Object(object), effects) {
            Held::Own(token) => token.downcast().ok(),
            Held::Lost(_) => None,
            Held::Taken => {
                let entry = Entry::borrowed(object, home, self.refs.life());
                self.borrowed.insert(object, Arc::downgrade(&entry));
                Some(entry)
            }
        }
    }

    /// An entry is gone that was counted in this life. One of an earlier life has no part in these counts. Gives the object of
    /// this node that was given away as that one, and of what it was the value, if it was the last entry.
    fn let_go(
        &mut self,
        object: ObjectId,
        counted_in: Life,
        effects: &mut Effects<Hold>,
    ) -> (Option<ObjectId>, Option<Lead>) {
        if counted_in != self.refs.life() {
            return (None, None);
        }
        self.refs.unhold(Counted::Object(object), effects);
        // Another entry may have taken its place meanwhile.
        if self.borrowed.get(&object).is_some_and(|entry| entry.strong_count() > 0) {
            return (None, None);
        }
        self.borrowed.remove(&object);
        (self.given.remove(&object), self.leads.remove(&object))
    }
}

impl Node {
    /// Changes the counts of the life that is lived; then carries out what follows.
    pub(super) fn count<R>(&self, change: impl FnOnce(&mut State, &mut Effects<Hold>) -> R) -> R {
        let mut effects = Effects::new();
        let (result, orphans, former) = {
            let mut state = self.objects().state.lock();
            // Under the lock: else one who read an earlier life could put it in the place of a later one.
            let life = self.last_life();
            let former = state.take_if(|state| state.refs.life() != life);
            let state = state.get_or_insert_with(|| State::new(life));
            let result = change(state, &mut effects);
            (result, std::mem::take(&mut state.orphans), former)
        };
        if let Some(former) = former {
            lose(former.borrowed.into_values(), &Lost::HolderEnded);
        }
        self.carry_out_counts(effects, orphans);
        result
    }

    fn carry_out_counts(&self, effects: Effects<Hold>, orphans: Vec<Arc<Entry>>) {
        let mut orphans: Vec<_> = orphans.into_iter().map(orphan).collect();
        for effect in effects {
            match effect {
                Effect::Lost(Counted::Object(object), Loss::OwnerDied) => {
                    let entry = self.count(|state, _| state.borrowed.remove(&object));
                    let entry = entry.and_then(|entry| entry.upgrade());
                    orphans.extend(entry.filter(|entry| !entry.is_given()).map(orphan));
                }
                other => self.carry_out_count(other),
            }
        }
        if !orphans.is_empty() {
            self.shared().orphaned(orphans);
        }
    }

    fn carry_out_count(&self, effect: Effect<Hold>) {
        match effect {
            Effect::Say(life) => self.say_counts(life),
            Effect::Free(token) => drop(token),
            Effect::Lost(Counted::Object(object), loss) => {
                let entry = self.count(|state, _| state.borrowed.remove(&object));
                lose(entry, &why(loss));
            }
            // Its handles lead where they led: what is called there says that it has ended.
            Effect::Lost(Counted::Actor(actor), _) => drop(self.count(|state, _| state.lifetimes.remove(&actor))),
        }
    }

    /// Says what there is to say to a life, over its link.
    fn say_counts(&self, life: Life) {
        let Some(link) = self.link_to(life) else {
            match self.known(|known| known.has_ended(life)) {
                true => self.shared().holder_ended(life),
                // It joined a moment ago: to count it as ended would lose what it owns.
                false => self.count(|state, _| state.unmet.extend([life])),
            }
            return;
        };
        while let Some(said) = self.count(|state, _| state.refs.take(life)) {
            let mut packet = Vec::new();
            said.packet().encode(&mut packet);
            link.send_counts(&packet);
        }
    }

    /// Others may be known now that joined a moment ago.
    pub(super) fn meet(&self) {
        let unmet = self.count(|state, _| std::mem::take(&mut state.unmet));
        unmet.into_iter().for_each(|life| self.say_counts(life));
        self.objects().met.notify_waiters();
    }

    /// The link to a life, which may have joined a moment ago: then it is waited for. None once that life has ended, or this node
    /// has left, or if nobody has heard of it for so long.
    pub(super) async fn link_when_met(&self, life: Life) -> Option<Arc<PeerLink>> {
        tokio::time::timeout(MEETING, self.meeting(life)).await.ok()?
    }

    async fn meeting(&self, life: Life) -> Option<Arc<PeerLink>> {
        let mut standing = self.standing();
        loop {
            let mut met = pin!(self.objects().met.notified());
            met.as_mut().enable();
            if let Some(link) = self.link_to(life) {
                return Some(link);
            }
            if life == self.last_life() || self.known(|known| known.has_ended(life)) {
                return None;
            }
            tokio::select! {
                () = met => {}
                _ = standing.wait_for(|now| now.is_over()) => return None,
            }
        }
    }

    pub(super) fn references_arrived(&self, from: Life, refs: &List<'_, Ref>) -> Enclosed {
        let refs: Vec<Ref> = refs.iter().collect();
        let node = self.shared();
        let home: Weak<dyn Home> = Arc::downgrade(&node) as Weak<dyn Home>;
        let host = || -> Arc<dyn Host> { node.clone() };
        let mut holds = self.count(|state, effects| state.all_arrived(from, &refs, &home, &host, effects));
        for (reference, hold) in refs.iter().zip(&mut holds) {
            if let Ref::Pinned { object, pin, .. } = *reference
                && let Some(counted) = hold.take()
            {
                *hold = Some(self.pinned_arrived(from, object, pin, counted));
            }
        }
        Enclosed::new(refs, holds)
    }

    pub(super) fn references_leave(&self, to: Life, enclosed: &Enclosed) {
        self.count(|state, _| {
            let me = state.refs.life();
            for (counted, hold) in counted(enclosed) {
                match counted.owner() == me {
                    true => state.refs.send(counted, hold, to, 1),
                    false => state.refs.sent_on(counted, to, 1),
                }
            }
        });
    }

    pub(super) fn references_stay(&self, to: Life, enclosed: &Enclosed) {
        self.count(|state, effects| {
            for (counted, _) in counted(enclosed) {
                state.refs.unsend(counted, to, 1, effects);
            }
        });
    }

    pub(super) fn references_counted(&self, from: Life, settle: &Settle<'_>) -> bool {
        let Some((kind, counts)) = Kind::of(settle) else { return true };
        // Dropped outside of the lock: it may be the last that keeps an actor.
        let mut claimed = Vec::new();
        let applied = self.count(|state, effects| {
            if kind == Kind::Claim {
                claimed = state.claimable(&counts);
            }
            let applied = state.refs.apply(from, kind, &counts, effects);
            state.claimed(&claimed, effects);
            applied
        });
        applied.is_ok()
    }

    /// A life has ended, or a link with it is broken: for references these are the same.
    pub(super) fn holder_ended(self: &Arc<Self>, life: Life) {
        self.holders_ended(|ended| ended == life);
    }

    /// Lives have ended.
    pub(super) fn holders_ended(self: &Arc<Self>, ended: impl Fn(Life) -> bool) {
        self.lending_ended(&ended);
        let now = clock::now();
        let waits = self.count(|state, effects| {
            let lives: Vec<Life> = state.refs.lives().filter(|life| ended(*life)).collect();
            for life in lives {
                state.refs.node_ended(life, now, effects);
            }
            state.refs.deadline().is_some()
        });
        if !waits {
            return;
        }
        // The grace of these lives: that of others that ended before is seen to by whoever heard of it.
        let (node, over) = (Arc::downgrade(self), now + REFS_GRACE);
        self.runtime().spawn(async move {
            while clock::now() < over {
                tokio::time::sleep(over.since(clock::now())).await;
            }
            if let Some(node) = node.upgrade() {
                node.count(|state, effects| state.refs.tick(clock::now(), effects));
            }
        });
    }

    /// How many references are counted between this node and others.
    pub(crate) fn reference_load(&self) -> Load {
        self.count(|state, _| state.refs.load())
    }

    /// An object of this node that another one may ask for.
    pub(super) fn exposed(&self, object: ObjectId) -> Option<Arc<Entry>> {
        self.count(|state, _| state.refs.find(Counted::Object(object)))?.downcast().ok()
    }

    /// An object of another node that is referred to here.
    pub(super) fn borrowed(&self, object: ObjectId) -> Option<Arc<Entry>> {
        self.count(|state, _| state.borrowed.get(&object).and_then(Weak::upgrade))
    }
}

impl Home for Node {
    fn fetch(&self, entry: &Arc<Entry>) {
        self.runtime().spawn(self.shared().fetch_object(entry.id(), Arc::downgrade(entry)));
    }

    fn look_for(&self, entry: &Arc<Entry>) {
        self.runtime().spawn(self.shared().look_for_object(entry.clone()));
    }

    fn read(&self, object: ObjectId) -> BoxFuture<'static, Outcome> {
        // Heard out even if nobody waits any more: where the object lies it was pinned for this node.
        let node = self.shared();
        let reading = self.runtime().spawn(async move { node.read_wherever(object).await });
        Box::pin(async move { reading.await.unwrap_or_else(|_| Err(Arc::new(GetError::ShutDown))) })
    }

    fn waiting(&self, entry: &Arc<Entry>) -> String {
        match entry.is_borrowed() {
            true => match self.node_of(entry.id().life) {
                Some(owner) => format!("pending at its owner, node {owner}, or on its way from there"),
                None => "pending at its owner, which is no member now".to_owned(),
            },
            false => self
                .waiting_for(entry)
                .unwrap_or_else(|| "pending: the call that makes it has no answer yet".to_owned()),
        }
    }

    fn waits(&self, entry: &Arc<Entry>) -> Option<Box<dyn Waited>> {
        self.begin_wait(entry)
    }

    fn counted(&self, content: Content) -> Content {
        match content.uncounted().zip(self.store().ok()) {
            Some((bytes, store)) => content.counted(store.weigh_anyway(bytes)),
            None => content,
        }
    }

    fn let_go(&self, object: ObjectId, counted_in: Life) {
        self.lost_copy(object);
        let (given, lead) = self.count(|state, effects| state.let_go(object, counted_in, effects));
        drop(lead);
        if let Some(object) = given {
            self.client().report(Withdraw { object });
        }
    }
}

/// An object whose owner has ended, and what is said of it if that did not give it away.
fn orphan(entry: Arc<Entry>) -> (Arc<Entry>, Arc<Fault>) {
    let fault = Arc::new(lost(entry.id(), Loss::OwnerDied));
    (entry, fault)
}

/// The objects and actors that a message encloses, and what keeps them.
fn counted(enclosed: &Enclosed) -> impl Iterator<Item = (Counted, &Hold)> {
    let pairs = enclosed.refs.iter().zip(&enclosed.holds);
    pairs.filter_map(|(reference, hold)| Some((reference.counted()?, hold.as_ref()?)))
}

fn lost(object: ObjectId, loss: Loss) -> Fault {
    GetError::lost(object, why(loss))
}

fn why(loss: Loss) -> Lost {
    match loss {
        Loss::Gone => Lost::LetGo,
        Loss::OwnerDied => Lost::OwnerDied,
    }
}

fn lose(entries: impl IntoIterator<Item = Weak<Entry>>, why: &Lost) {
    for entry in entries.into_iter().filter_map(|entry| entry.upgrade()) {
        entry.settle(Err(Arc::new(GetError::lost(entry.id(), why.clone()))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nowhere;

    impl Home for Nowhere {
        fn fetch(&self, _: &Arc<Entry>) {}
        fn look_for(&self, _: &Arc<Entry>) {}
        fn read(&self, _: ObjectId) -> BoxFuture<'static, Outcome> {
            Box::pin(std::future::ready(Err(Arc::new(GetError::ShutDown))))
        }
        fn waiting(&self, _: &Arc<Entry>) -> String {
            String::new()
        }
        fn counted(&self, content: Content) -> Content {
            content
        }
        fn let_go(&self, _: ObjectId, _: Life) {}
    }

    #[test]
    fn what_a_message_refers_to_of_owners_that_have_ended_is_one_question() {
        let (from, dead, living) = (Life(6), [Life(4), Life(5)], Life(7));
        let home: Arc<dyn Home> = Arc::new(Nowhere);
        let (mut state, mut effects) = (State::new(Life(8)), Effects::new());
        for life in dead {
            state.refs.node_ended(life, clock::now(), &mut effects);
        }
        let object = |life, serial| Ref::Object { object: ObjectId { life, serial } };
        let refs: Vec<Ref> =
            (0..3_000).flat_map(|serial| [dead[0], living, dead[1]].map(|life| object(life, serial))).collect();
        let host = || -> Arc<dyn Host> { unreachable!("no actor is referred to") };
        let holds = state.all_arrived(from, &refs, &Arc::downgrade(&home), &host, &mut effects);
        assert!(holds.len() == refs.len() && holds.iter().all(Option::is_some));
        assert_eq!(state.orphans.len(), 6_000, "all are asked for together, when the message has been looked at");
        assert!(state.orphans.iter().all(|entry| entry.id().life != living));
    }

    /// What the entry says when it is gone is carried over by hand: (object, life).
    #[test]
    fn an_entry_of_an_earlier_life_does_not_give_back_what_a_later_one_counts() {
        let (owner, object) = (Life(7), ObjectId { life: Life(7), serial: 1 });
        let home: Arc<dyn Home> = Arc::new(Nowhere);
        let (mut earlier, mut later) = (State::new(Life(8)), State::new(Life(9)));
        let mut effects = Effects::new();
        let old = earlier.arrived(owner, object, Arc::downgrade(&home), &mut effects);
        let new = later.arrived(owner, object, Arc::downgrade(&home), &mut effects);
        effects.clear();
        drop(old);
        later.let_go(object, Life(8), &mut effects);
        assert_eq!((later.refs.load().held, effects.len()), (1, 0), "the later life holds it still");
        drop(new);
        later.let_go(object, Life(9), &mut effects);
        assert_eq!(later.refs.load().held, 0);
        assert!(matches!(effects[..], [Effect::Say(life)] if life == owner), "and gives it back by its own entry");
    }
}
