//! Several nodes that put, send, forward, read and drop at random.
//!
//! Each direction between two nodes has two channels, work and settle. Each is in order and loses nothing between two
//! lives; between the two no order is promised: work may wait for acknowledgements or room while settle goes ahead.
//! References travel in either, counts in settle only. So a `Release` may overtake a packet with references sent before
//! it, `Landed` may overtake them and be overtaken, and `Claimed` may arrive before or after what its owner sent in work.

use super::shell::{Handle, Shell, Thing};
use crate::clock::Moment;
use crate::id::Life;
use crate::node::core::refs::{Kind, Load};
use crate::wire::packet::Counted;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Faults {
    None,
    Deaths,
}

/// What happened, so that a test knows that it tested something.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) forwards: usize,
    pub(super) claims: usize,
    pub(super) reads: usize,
    pub(super) released: usize,
    pub(super) deaths: usize,
    pub(super) lost: usize,
}

impl Seen {
    pub(super) fn add(&mut self, other: &Seen) {
        self.forwards += other.forwards;
        self.claims += other.claims;
        self.reads += other.reads;
        self.released += other.released;
        self.deaths += other.deaths;
        self.lost += other.lost;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Channel {
    Work,
    Settle,
}

pub(super) type Way = (Life, Life, Channel);

enum Packet {
    Refs(Vec<Counted>),
    Counts(Vec<u8>),
}

pub(super) struct World {
    random: u64,
    faults: Faults,
    now: Moment,
    nodes: BTreeMap<Life, Shell>,
    dead: BTreeSet<Life>,
    /// Who has yet to hear of whose end.
    notices: Vec<(Life, Life)>,
    /// Encoded, and waiting for the link.
    staged: Vec<(Way, Vec<Counted>)>,
    ways: BTreeMap<Way, VecDeque<Packet>>,
    /// Those on which packets take long: that is what makes orders that surprise.
    slow: BTreeSet<Way>,
    things: BTreeMap<Counted, Weak<Thing>>,
    /// The lives through whose hands each thing went.
    involved: BTreeMap<Counted, BTreeSet<Life>>,
    pub(super) seen: Seen,
    pub(super) history: Vec<(Way, usize)>,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        let lives = (1..=3 + seed % 3).map(Life);
        let mut world = Self {
            random: seed,
            faults,
            now: Moment(0),
            nodes: lives.map(|life| (life, Shell::new(life))).collect(),
            dead: BTreeSet::new(),
            notices: Vec::new(),
            staged: Vec::new(),
            ways: BTreeMap::new(),
            slow: BTreeSet::new(),
            things: BTreeMap::new(),
            involved: BTreeMap::new(),
            seen: Seen::default(),
            history: Vec::new(),
        };
        for (from, to) in (1..6).flat_map(|from| (1..6).map(move |to| (Life(from), Life(to)))) {
            let slow = [Channel::Work, Channel::Settle].into_iter().filter(|_| world.below(3) == 0);
            let slow: Vec<_> = slow.map(|channel| (from, to, channel)).collect();
            world.slow.extend(slow);
        }
        world
    }

    /// splitmix64
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn pick<E: Clone>(&mut self, from: &[E]) -> Option<E> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())].clone()) }
    }

    fn someone(&mut self) -> Life {
        let lives: Vec<_> = self.nodes.keys().copied().collect();
        self.pick(&lives).expect("two nodes at least live on")
    }

    fn node(&mut self, life: Life) -> &mut Shell {
        self.nodes.get_mut(&life).expect("it lives")
    }

    pub(super) fn step(&mut self) {
        let who = self.someone();
        match self.below(32) {
            0..2 => self.put(who),
            2..7 => self.encode(who),
            7..11 => self.send(),
            11..19 => self.deliver(),
            19..22 => self.open(who),
            22..24 => self.read(who),
            24..27 => self.drop_handle(who),
            27 => self.node(who).bury(2),
            28..30 => self.speak(who),
            30 => {
                let late = !self.dead.is_empty() && self.below(10) == 0;
                let pause = self.below(if late { 4_000 } else { 200 }) as u64;
                self.pass(Duration::from_millis(pause));
            }
            _ if self.faults == Faults::None => {}
            _ if self.below(8) == 0 => self.kill(who),
            _ => self.notice(),
        }
        self.check();
    }

    fn put(&mut self, who: Life) {
        let count = self.below(5);
        let handles: Vec<_> = self.node(who).handles.iter().filter(|handle| !handle.is_lost()).cloned().collect();
        let inner: Vec<_> = (0..count).filter_map(|_| self.pick(&handles)).collect();
        self.node(who).drop_all(handles);
        let thing = self.node(who).put(inner);
        self.things.insert(thing.id, Rc::downgrade(&thing));
        self.involved.insert(thing.id, BTreeSet::from([who]));
    }

    fn encode(&mut self, who: Life) {
        let lives: Vec<_> = (1..6).map(Life).filter(|life| *life != who && self.exists(*life)).collect();
        let (Some(to), count) = (self.pick(&lives), 1 + self.below(3)) else { return };
        let channel = if self.below(2) == 0 { Channel::Work } else { Channel::Settle };
        let handles = self.node(who).handles.clone();
        let chosen: Vec<_> = (0..count).filter_map(|_| self.pick(&handles)).collect();
        let ids = self.node(who).encode(to, &chosen);
        self.node(who).drop_all([handles, chosen].concat());
        self.seen.forwards += ids.iter().filter(|id| id.owner() != who).count();
        for id in &ids {
            self.involved.entry(*id).or_default().extend([who, to]);
        }
        self.staged.push(((who, to, channel), ids));
    }

    fn exists(&self, life: Life) -> bool {
        self.nodes.contains_key(&life) || self.dead.contains(&life)
    }

    /// What was encoded gets its number, or is taken back.
    fn send(&mut self) {
        if self.staged.is_empty() {
            return;
        }
        let index = self.below(self.staged.len());
        let (way, ids) = self.staged.remove(index);
        let refused = self.node(way.0).ended.contains(&way.1);
        if refused || self.below(8) == 0 {
            self.node(way.0).withdraw(way.1, &ids);
        } else {
            self.ways.entry(way).or_default().push_back(Packet::Refs(ids));
        }
    }

    fn deliver(&mut self) {
        let full: Vec<_> = self.ways.iter().filter(|(_, way)| !way.is_empty()).map(|(way, _)| *way).collect();
        let Some(way) = self.pick(&full) else { return };
        if self.slow.contains(&way) && self.below(12) > 0 {
            return;
        }
        let packet = self.ways.get_mut(&way).and_then(VecDeque::pop_front).expect("it is not empty");
        let Some(node) = self.nodes.get_mut(&way.1) else { return };
        match packet {
            Packet::Refs(ids) => {
                self.history.push((way, ids.len()));
                node.arrive(way.0, &ids);
            }
            Packet::Counts(bytes) => {
                self.history.push((way, bytes.len()));
                node.settle(way.0, &bytes);
            }
        }
    }

    /// A packet is read: its body decodes, or does not.
    fn open(&mut self, who: Life) {
        let count = self.node(who).mailbox.len();
        if count == 0 {
            return;
        }
        let (index, decodes) = (self.below(count), self.below(5) > 0);
        let node = self.node(who);
        let parcel = node.mailbox.swap_remove(index);
        match decodes {
            true => node.handles.extend(parcel),
            false => node.drop_all(parcel),
        }
    }

    /// An object is read, wherever it is.
    fn read(&mut self, who: Life) {
        let handles: Vec<_> = self.node(who).handles.iter().filter(|handle| !handle.is_lost()).cloned().collect();
        let far: Vec<_> = handles.iter().filter(|handle| matches!(handle, Handle::Far(_))).cloned().collect();
        let outer = if self.below(4) > 0 { self.pick(&far) } else { self.pick(&handles) };
        self.node(who).drop_all(far);
        if let Some(outer) = outer {
            let owner = self.nodes.get(&outer.id().owner());
            match (&outer, owner.and_then(|owner| owner.refs.find(outer.id()))) {
                (Handle::Own(thing), _) => self.node(who).handles.extend(thing.inner.iter().cloned()),
                (_, Some(thing)) => {
                    let ids: Vec<_> = thing.inner.iter().map(Handle::id).collect();
                    let through = self.involved[&thing.id].clone();
                    for id in &ids {
                        self.involved.entry(*id).or_default().extend(through.iter().copied().chain([who]));
                    }
                    self.seen.reads += ids.len();
                    self.node(who).read(thing.id, &ids);
                }
                (_, None) => assert!(self.may_be_lost(outer.id()), "R1: {:?} is held and cannot be read", outer.id()),
            }
            self.node(who).drop_all(vec![outer]);
        }
        self.node(who).drop_all(handles);
    }

    fn drop_handle(&mut self, who: Life) {
        let count = self.node(who).handles.len();
        for left in (0..count).rev().take(1 + count / 8) {
            let index = self.below(left + 1);
            let handle = self.node(who).handles.swap_remove(index);
            self.node(who).drop_all(vec![handle]);
        }
    }

    fn speak(&mut self, who: Life) {
        let now = self.now;
        let talks: Vec<_> = self.node(who).talks.iter().copied().collect();
        let Some(to) = self.pick(&talks) else { return };
        self.node(who).talks.remove(&to);
        if self.node(who).ended.contains(&to) {
            return self.node(who).node_ended(to, now);
        }
        while let Some(said) = self.node(who).refs.take(to) {
            self.seen.claims += usize::from(said.kind == Kind::Claim);
            let mut bytes = Vec::new();
            said.packet().encode(&mut bytes);
            self.ways.entry((who, to, Channel::Settle)).or_default().push_back(Packet::Counts(bytes));
        }
    }

    fn pass(&mut self, pause: Duration) {
        self.now = self.now + pause;
        let now = self.now;
        self.nodes.values_mut().for_each(|node| node.tick(now));
    }

    fn kill(&mut self, who: Life) {
        if self.nodes.len() <= 2 {
            return;
        }
        let node = self.nodes.remove(&who).expect("it lives");
        self.collect(&node);
        self.seen.deaths += 1;
        self.dead.insert(who);
        self.staged.retain(|(way, _)| way.0 != who);
        self.ways.retain(|way, _| way.1 != who);
        self.notices.extend(self.nodes.keys().map(|life| (*life, who)));
        self.notices.retain(|(life, _)| *life != who);
    }

    /// A node hears of the end of another: the link ends, and what was on it.
    fn notice(&mut self) {
        if self.notices.is_empty() {
            return;
        }
        let index = self.below(self.notices.len());
        let (who, ended) = self.notices.swap_remove(index);
        let now = self.now;
        self.ways.retain(|way, _| (way.0, way.1) != (ended, who) && (way.0, way.1) != (who, ended));
        self.node(who).node_ended(ended, now);
    }

    fn may_be_lost(&self, id: Counted) -> bool {
        self.involved[&id].iter().any(|life| self.dead.contains(life))
    }

    fn lives(&self, id: Counted) -> bool {
        self.things[&id].strong_count() > 0
    }

    fn check(&self) {
        let packets = self.ways.values().flatten().filter_map(|packet| match packet {
            Packet::Refs(ids) => Some(ids),
            Packet::Counts(_) => None,
        });
        let packets = packets.chain(self.staged.iter().map(|(_, ids)| ids)).flatten().copied();
        let handles = self.nodes.values().flat_map(|node| node.mailbox.iter().flatten().chain(&node.handles));
        for id in packets.chain(handles.clone().map(Handle::id)) {
            assert!(self.lives(id) || self.may_be_lost(id), "R1: {id} is referred to, and gone");
        }
        for handle in handles.filter(|handle| handle.is_lost()) {
            assert!(self.may_be_lost(handle.id()), "R1: {} is said to be lost", handle.id());
        }
    }

    fn collect(&mut self, node: &Shell) {
        self.seen.released += node.freed;
        self.seen.lost += node.lost;
    }

    /// All that is under way arrives.
    fn quiet(&mut self) {
        let lives: Vec<_> = self.nodes.keys().copied().collect();
        loop {
            for who in &lives {
                self.node(*who).bury(usize::MAX);
                self.open(*who);
                self.speak(*who);
            }
            self.send();
            self.notice();
            (0..4).for_each(|_| self.deliver());
            self.check();
            let empty = self.staged.is_empty() && self.notices.is_empty() && self.ways.values().all(VecDeque::is_empty);
            if empty && self.nodes.values().all(Shell::is_quiet) {
                return;
            }
        }
    }

    /// Handles go one by one: it is when little is left that it shows who holds what.
    fn wane(&mut self) {
        while self.nodes.values().any(|node| !node.handles.is_empty() || !node.mailbox.is_empty()) {
            let who = self.someone();
            match self.below(12) {
                0..2 => self.drop_handle(who),
                2 => self.read(who),
                3..5 => self.open(who),
                5..7 => self.node(who).bury(1),
                7..9 => self.speak(who),
                _ => self.deliver(),
            }
            if self.below(4) == 0 {
                self.drop_handle(who);
            }
            self.check();
        }
    }

    /// R4: what is not said to be lost is there. Then all handles go, and R2: nothing is left anywhere.
    pub(super) fn finish(&mut self) {
        self.quiet();
        let grace = Duration::from_secs(2);
        self.pass(grace);
        self.quiet();
        for (life, node) in &mut self.nodes {
            for id in node.handles.iter().filter(|handle| !handle.is_lost()).map(Handle::id) {
                // Of what its container has lost, a reader hears when it asks the owner.
                let inside = node.refs.held(id).is_some_and(|held| held.inside.is_some());
                assert!(inside || !self.dead.contains(&id.owner()), "R4: {id} is gone, and {life} was not told");
                assert!(inside || self.things[&id].strong_count() > 0, "R4: {id} is gone, and {life} was not told");
            }
        }
        self.wane();
        self.quiet();
        self.pass(grace);
        self.quiet();
        for (life, node) in std::mem::take(&mut self.nodes) {
            assert_eq!(node.refs.load(), Load::default(), "R2: at {life}");
            assert!(node.refs.deadline().is_none());
            self.collect(&node);
            self.nodes.insert(life, node);
        }
        for (id, thing) in &self.things {
            assert!(thing.strong_count() == 0 || self.dead.contains(&id.owner()), "R2: {id} is never freed");
        }
    }
}
