//! What needs much, behind a stream of what needs little: it gets its room, and until then nothing else idles.

use super::World;
use crate::directory::request::{Choose, CreateGroup, Ended, Gone, Patience, RemoveGroup};
use crate::directory::testing::{cpus, want};
use crate::id::{ActorId, GrantId, GroupId, Placement};
use crate::schedule::{Amount, Packing};
use std::time::Duration;

/// Small actors come and go without end, so that there is never much room; and something that nothing can hold was first.
struct Stream {
    world: World,
    /// Small ones that have their room, and how much each takes.
    small: Vec<ActorId>,
    most: f64,
}

impl Stream {
    fn new(seed: u64, nodes: u64) -> Stream {
        let world = World::new(seed, nodes, 3);
        let most = world.workers.iter().map(|life| world.head.free(*life).get("cpu").quantity()).fold(0.0, f64::max);
        let mut stream = Stream { world, small: Vec::new(), most };
        let hopeless = stream.actor(2);
        stream.spawn(hopeless, 1_000.0);
        for _ in 0..10 * nodes {
            stream.one_comes();
        }
        stream
    }

    fn actor(&mut self, owner: usize) -> ActorId {
        self.world.numbers += 1;
        ActorId { life: self.world.owners[owner], serial: self.world.numbers }
    }

    fn spawn(&mut self, actor: ActorId, cpu: f64) {
        let choose = crate::directory::testing::choose(actor.life, actor.serial, cpu);
        self.world.ask(actor.life, Choose { patience: Patience::Wait, ..choose });
    }

    fn one_comes(&mut self) {
        let actor = self.actor(0);
        self.spawn(actor, 1.0);
        self.small.push(actor);
    }

    fn has_room(&self, actor: ActorId) -> bool {
        self.world.head.directory.actors.reservations.get(&actor).is_some_and(|one| one.place.is_ok())
    }

    /// One ends, one comes: whoever waits finds all that is free taken, or kept.
    fn goes_on(&mut self) {
        let running: Vec<ActorId> = self.small.iter().copied().filter(|actor| self.has_room(*actor)).collect();
        if let Some(actor) = self.world.pick(&running) {
            self.small.retain(|other| *other != actor);
            self.world.ask(actor.life, Ended { actor, placement: Placement(0), why: Gone::Stopped });
        }
        self.one_comes();
        self.world.pass(Duration::from_millis(1));
        self.world.check();
        let directory = &self.world.head.directory;
        let waits = self.small.iter().any(|actor| !self.has_room(*actor));
        for (life, living) in directory.lives.iter().filter(|(_, living)| living.join.hosts && waits) {
            let room = living.room.free_at(u64::MAX).get("cpu");
            assert!(room < Amount::ONE, "seed {}: {room} CPUs of {life} idle, and nobody keeps them", self.world.seed);
        }
    }

    fn goes_on_until(&mut self, what: &str, done: impl Fn(&Stream) -> bool) {
        let steps = (1..=20_000).find(|_| {
            self.goes_on();
            done(self)
        });
        assert!(steps.is_some(), "seed {}: {what} starves behind small ones", self.world.seed);
    }
}

fn large_ones_do_not_starve(seed: u64, nodes: u64) {
    let mut stream = Stream::new(seed, nodes);
    let (most, owner) = (stream.most, stream.world.owners[1]);
    let actor = stream.actor(1);
    stream.spawn(actor, most);
    stream.goes_on_until("an actor that takes a whole node", |stream| stream.has_room(actor));
    stream.world.ask(owner, Ended { actor, placement: Placement(0), why: Gone::Stopped });
    let packings = [Packing::StrictSpread, Packing::StrictPack, Packing::Pack, Packing::Spread];
    for packing in packings {
        stream.world.numbers += 1;
        let group = GroupId { life: owner, serial: stream.world.numbers };
        let bundles = match packing {
            Packing::StrictPack => vec![cpus(most / 2.0); 2],
            Packing::StrictSpread => vec![cpus(1.0); nodes as usize],
            _ => vec![cpus(1.0); most as usize],
        };
        stream
            .world
            .ask(owner, CreateGroup { group, bundles, packing, name: None, detached: false, patience: Patience::Fail });
        stream.goes_on_until("a placement group", |stream| {
            stream.world.head.directory.groups.all.get(&group).is_some_and(|group| group.whole().is_some())
        });
        stream.world.ask(owner, RemoveGroup { group });
    }
    stream.world.ask(owner, want(7, most, 1));
    stream.goes_on_until("a task that takes a whole node", |stream| {
        stream.world.held.values().any(|(of, ..)| *of == owner)
    });
    stream.world.ask(owner, want(7, most, 0));
    let grants: Vec<GrantId> = stream.world.held.keys().copied().collect();
    grants.into_iter().for_each(|grant| stream.world.keeps(grant, 0));
    stream.goes_on();
    assert!(stream.world.head.directory.elders.is_empty(), "seed {seed}: who waits no more keeps nothing");
}

#[test]
fn what_needs_much_does_not_starve_behind_a_stream_of_what_needs_little() {
    for seed in 1..=12 {
        large_ones_do_not_starve(seed, 1 + seed % 6);
    }
}

/// What the property is worth: it is lost where nobody keeps a room.
#[test]
fn what_needs_much_starves_where_who_is_overtaken_keeps_nothing() {
    for seed in 1..=4 {
        let mut stream = Stream::new(seed, 2);
        stream.world.head.directory.elders.keep_nothing = true;
        let (most, actor) = (stream.most, stream.actor(1));
        stream.spawn(actor, most);
        let found = (0..4_000).any(|_| {
            stream.goes_on();
            stream.has_room(actor)
        });
        assert!(most < 2.0 || !found, "seed {seed}: of a node of {most} CPUs all was free at once");
    }
}
