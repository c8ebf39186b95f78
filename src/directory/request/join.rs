//! `Join`: a node begins a life (§2.1). A node id has one living life: joining again ends the earlier one first.

use crate::clock::Moment;
use crate::directory::message::News;
use crate::directory::record::Record;
use crate::directory::request::{Change, Claim, Holdings, LifeEnd, Snapshot};
use crate::directory::state::{Directory, Door, Effects, Keeps};
use crate::id::{ActorId, Epoch, Key, Life, NodeId};
use crate::limits::{ADDRESSES, ADVERTISED, NAME_BYTES, NODES};
use crate::schedule::resources::is_name;
use crate::schedule::{Labels, Requirement, Resources};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A boot of a machine, and one numbering of its processes: another after each start, and in a container that numbers its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Boot(#[serde(with = "serde_bytes")] pub [u8; 16]);

/// A node asks for a life.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Join {
    /// The node's own number for this life, random: the same join asked again is answered the same.
    pub attempt: u64,
    /// Who.
    pub node: NodeId,
    /// The boot of its machine.
    pub boot: Boot,
    /// Its process id.
    pub process: u32,
    /// Its machine's name, for people.
    pub host_name: Arc<str>,
    /// Whether actors may be placed on it; a driver's is false.
    pub hosts: bool,
    /// Where its peers may dial it; none for one that only dials.
    pub addresses: Vec<Arc<str>>,
    /// What it has.
    pub resources: Resources,
    /// What it says about itself.
    pub labels: Labels,
    /// What it was compiled with.
    pub advertised: Arc<Advertised>,
    /// The head that it last obeyed; zero if this is its first life.
    #[serde(default)]
    pub served: Epoch,
    /// The actor that this is the process of, if the head placed that.
    #[serde(default)]
    pub claims: Option<Claim>,
}

/// The actor types a node was compiled with, in the order of their keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Advertised(Vec<AdvertisedType>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AdvertisedType {
    /// The key of its name.
    pub key: Key,
    /// Its name, for people.
    pub name: Arc<str>,
    /// The keys of its constructors, in their order.
    pub constructors: Vec<Key>,
}

impl Advertised {
    /// These types, in order.
    #[must_use]
    pub fn new(types: impl IntoIterator<Item = AdvertisedType>) -> Advertised {
        let mut types: Vec<AdvertisedType> = types.into_iter().collect();
        for each in &mut types {
            each.constructors.sort_unstable();
            each.constructors.dedup();
        }
        types.sort_unstable();
        types.dedup_by_key(|each| each.key);
        Advertised(types)
    }

    /// The type of this key.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&AdvertisedType> {
        self.0.binary_search_by_key(&key, |each| each.key).ok().map(|at| &self.0[at])
    }

    /// Whether such an actor can be made.
    #[must_use]
    pub fn makes(&self, need: &Requirement) -> bool {
        let constructs =
            |each: &AdvertisedType| need.constructor.is_none_or(|key| each.constructors.binary_search(&key).is_ok());
        self.get(need.type_key).is_some_and(constructs)
    }

    fn check(&self) -> Result<(), JoinError> {
        let entries: usize = self.0.iter().map(|each| 1 + each.constructors.len()).sum();
        if entries > ADVERTISED {
            return Err(JoinError::TooMuch { what: "actor types and constructors".into(), most: ADVERTISED });
        }
        let ordered = self.0.is_sorted_by(|one, next| one.key < next.key)
            && self.0.iter().all(|each| each.constructors.is_sorted_by(|one, next| one < next));
        match self.0.iter().find(|each| !is_name(&each.name)) {
            None if ordered => Ok(()),
            None => Err(JoinError::Malformed("the advertised types are not in order".into())),
            Some(_) => Err(JoinError::Malformed(format!("a type's name has 1 to {NAME_BYTES} bytes").into())),
        }
    }
}

/// A life has begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Joined {
    /// The join it answers.
    pub attempt: u64,
    /// The life.
    pub life: Life,
    /// How long it goes on without a beat; none when it ends with the head's process.
    pub lease: Option<Duration>,
    /// Everyone, this node included.
    pub members: Snapshot,
}

/// Why a node gets no life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// As many nodes as a head serves.
    #[error("the cluster is full: it has {0} nodes, as many as one head serves")]
    Full(usize),
    /// Its parent has proved it dead.
    #[error("the parent of this process has reported it dead: start a new one with a new identity")]
    Dead,
    /// It is the process of an actor that is not to be made there any more.
    #[error("actor {0}, whose process this is, has ended, or was placed elsewhere")]
    NotAwaited(ActorId),
    /// Too much of something.
    #[error("a node may advertise at most {most} {what}")]
    TooMuch {
        /// Of what.
        what: Arc<str>,
        /// The bound.
        most: usize,
    },
    /// Against the protocol.
    #[error("the join is malformed: {0}; do node and head run the same version?")]
    Malformed(Arc<str>),
}

impl Join {
    fn check(&self, door: &Door) -> Result<(), JoinError> {
        if self.node != door.node {
            return Err(JoinError::Malformed("it names another node than the handshake proved".into()));
        }
        if self.addresses.len() > ADDRESSES {
            return Err(JoinError::TooMuch { what: "addresses".into(), most: ADDRESSES });
        }
        if !self.addresses.iter().all(|address| is_name(address)) || self.host_name.len() > NAME_BYTES {
            return Err(JoinError::Malformed(format!("an address or host name has 1 to {NAME_BYTES} bytes").into()));
        }
        self.advertised.check()
    }
}

impl Directory {
    pub(in crate::directory) fn join(&mut self, now: Moment, door: Door, join: Arc<Join>, effects: &mut Effects) {
        let attempt = join.attempt;
        if Epoch::default() < join.served && join.served < self.config.reign.epoch {
            self.succeed();
        }
        match self.begin(now, door, join, effects) {
            Ok(life) => self.welcome(now, door, life, attempt, effects),
            Err(why) => self.say(door.id, News::JoinRefused { attempt, why }, effects),
        }
    }

    fn begin(&mut self, now: Moment, door: Door, join: Arc<Join>, effects: &mut Effects) -> Result<Life, JoinError> {
        join.check(&door)?;
        if let Some(life) = self.lives.of_node(join.node) {
            if self.lives.get(life).is_some_and(|living| living.join.attempt == join.attempt) {
                return Ok(life);
            }
            self.end_life(now, life, LifeEnd::JoinedAnew, effects);
        }
        if self.dead.holds(join.node, join.boot) {
            return Err(JoinError::Dead);
        }
        if let Some(claim) = join.claims {
            self.may_claim(claim)?;
        }
        if self.lives.len() >= NODES {
            return Err(JoinError::Full(NODES));
        }
        let life = self.lives.next();
        effects.journal(Record::Began { life, join: join.clone() });
        self.lives.insert(life, &join, door.keeps);
        if let Some(living) = self.lives.get_mut(life) {
            living.known = true;
            self.members.log(Change::Joined(living.member().clone()));
        }
        if let Some(claim) = join.claims {
            self.claim(claim, life, effects);
        }
        Ok(life)
    }

    fn welcome(&mut self, now: Moment, door: Door, life: Life, attempt: u64, effects: &mut Effects) {
        if !self.lives.attach(life, door.id) {
            return;
        }
        let lease = match door.keeps {
            Keeps::Lease => Some(self.config.lease),
            Keeps::Pace => None,
        };
        self.hear(now, life);
        let members = self.snapshot();
        let Some(living) = self.lives.get_mut(life) else { return };
        living.told = members.version;
        let missed: Vec<_> = living.orders.unacknowledged().cloned().collect();
        let known = std::mem::replace(&mut living.known, true);
        self.say(door.id, News::Joined(Joined { attempt, life, lease, members }), effects);
        for order in missed {
            self.say(door.id, News::Order(order), effects);
        }
        if !known {
            self.take_over(life, Holdings::default(), effects);
            self.compare(life, Vec::new(), effects);
        }
        self.fill(life, effects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::state::{Effect, Event};
    use crate::directory::testing::{self, Head};
    use crate::directory::{FromHead, ToHead};

    fn refusal(head: &mut Head, join: Join) -> JoinError {
        let door = Door { node: join.node, ..head.door(0) };
        match head.apply(Event::Said(door, ToHead::Join(Arc::new(join)))).pop() {
            Some(Effect::Send(_, FromHead { news: News::JoinRefused { why, .. }, .. })) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_life_is_journaled_before_it_is_given_and_never_reused() {
        let mut head = Head::new();
        let first = head.worker(1);
        assert!(matches!(&head.log[0], Effect::Journal(Record::Began { life, .. }) if *life == first));
        head.pass(Duration::from_secs(1));
        let second = head.worker(1);
        assert!(second > first);
        let ended = head.journal.iter().position(|r| *r == Record::NodeEnded { life: first, why: LifeEnd::JoinedAnew });
        let began = head.journal.iter().position(|r| matches!(r, Record::Began { life, .. } if *life == second));
        assert!(ended.unwrap() < began.unwrap(), "joining again ends the earlier life first");
        let mut head = head.restarted();
        assert!(head.worker(2) > second);
    }

    #[test]
    fn the_same_join_asked_again_is_answered_the_same() {
        let mut head = Head::new();
        let life = head.joins(testing::join(1, 77));
        assert_eq!(head.joins(testing::join(1, 77)), life);
        assert_eq!(head.journal.len(), 1);
        let mut head = head.restarted();
        assert_eq!(head.joins(testing::join(1, 77)), life, "also at a later head");
    }

    #[test]
    fn a_join_that_lies_or_is_too_large_is_refused() {
        let mut head = Head::new();
        let door = head.door(2);
        let effects = head.apply(Event::Said(door, ToHead::Join(Arc::new(testing::join(1, 1)))));
        assert!(
            matches!(&effects[..], [Effect::Send(_, FromHead { news: News::JoinRefused { .. }, .. })]),
            "{effects:?}"
        );
        let many = Join { addresses: vec!["tcp://a:1".into(); ADDRESSES + 1], ..testing::join(1, 1) };
        assert_eq!(refusal(&mut head, many), JoinError::TooMuch { what: "addresses".into(), most: ADDRESSES });
        let of = |n| AdvertisedType { key: Key(n), name: "t".into(), constructors: vec![Key(1)] };
        let full = Advertised::new((0..ADVERTISED as u64 / 2 + 1).map(of));
        let error = refusal(&mut head, Join { advertised: Arc::new(full), ..testing::join(1, 1) });
        assert!(matches!(error, JoinError::TooMuch { .. }));
        let unordered = Advertised(vec![of(2), of(1)]);
        let error = refusal(&mut head, Join { advertised: Arc::new(unordered), ..testing::join(1, 1) });
        assert!(matches!(error, JoinError::Malformed(_)));
        assert!(head.journal.is_empty());
    }
}
