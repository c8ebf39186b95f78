//! A head that starts with the records of a state stands as one that starts with all that led there.

use super::*;
use crate::directory::ToHead;
use crate::directory::message::{Command, How};
use crate::directory::request::{
    Claim, CreateGroup, End, Ended, Entrust, Gone, Hosting, Join, Needs, Patience, Rejoin, RemoveGroup, Spawn, Withdraw,
};
use crate::directory::state::{Config, Event};
use crate::directory::testing::{Head, cpus, join, name, spawn};
use crate::id::ObjectId;
use crate::schedule::{Packing, Strategy};
use std::fmt::Write;
use std::time::Duration;

/// All that a head takes from its journal, but for the tickets of what waits: their order alone counts.
fn standing(directory: &Directory) -> String {
    let mut text = format!("{:?}\n{:?}\n", directory.lives.last(), directory.actors.names);
    for (life, living) in directory.lives.iter() {
        let there = (&living.hosted, &living.isolated);
        writeln!(text, "{life} {:?} {there:?} {:?} {}", living.join, living.room, living.known).unwrap();
    }
    for (id, actor) in &directory.actors.all {
        let Actor { spawn, phase, keeper, placement, restarts_left, ending, .. } = actor;
        let phase = if let Phase::Unplaced(_) = phase { Phase::Unplaced(0) } else { *phase };
        writeln!(text, "{id} {spawn:?} {phase:?} {keeper:?} {placement:?} {restarts_left} {ending:?}").unwrap();
    }
    let tombs = (directory.actors.ended.iter().collect::<Vec<_>>(), directory.groups.gone.iter().collect::<Vec<_>>());
    writeln!(text, "{tombs:?} {} {}", directory.actors.arguments, directory.actors.lines.len()).unwrap();
    let groups: Vec<_> = directory.groups.all.iter().map(|(id, group)| (id, group.hosts())).collect();
    let waiting: Vec<_> = directory.groups.waiting.values().collect();
    let trusts: Vec<_> = directory.trusts.iter().collect();
    writeln!(text, "{groups:?} {waiting:?} {:?} {trusts:?}", directory.groups.names).unwrap();
    text
}

fn started(head: &Head, records: Vec<Record>) -> Directory {
    Directory::start(head.now, Config::new(head.directory.reign()), records)
}

struct World {
    seed: u64,
    random: u64,
    head: Head,
    serial: u64,
    /// The number of the last process of an actor's own.
    processes: u8,
}

impl World {
    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound.max(1)
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let at = self.below(all.len() as u64);
        all.get(usize::try_from(at).unwrap()).copied()
    }

    fn life(&mut self) -> Option<Life> {
        let all: Vec<Life> = self.head.doors.keys().copied().collect();
        self.pick(&all).filter(|life| self.head.directory.lives.get(*life).is_some_and(|living| living.known))
    }

    fn actor(&mut self) -> Option<ActorId> {
        let all: Vec<ActorId> = self.head.directory.actors.all.keys().copied().collect();
        self.pick(&all)
    }

    fn group(&mut self) -> Option<GroupId> {
        let all: Vec<GroupId> = self.head.directory.groups.all.keys().copied().collect();
        self.pick(&all)
    }

    fn spawns(&mut self, life: Life) {
        self.serial += 1;
        let name = (self.below(2) == 0).then(|| name(&format!("n{}", self.serial % 4)));
        let strategy = match self.group() {
            Some(group) if self.below(2) == 0 => Strategy::Bundle { group, index: None },
            _ => Strategy::Default,
        };
        let needs = Needs { resources: cpus([0.0, 0.5, 1.0][self.serial as usize % 3]), strategy, ..Needs::default() };
        let (restarts, detached) = (u32::try_from(self.below(3)).unwrap(), self.below(2) == 0);
        let isolated = self.below(3) == 0;
        let spawn = Spawn { name, needs, restarts, detached, isolated, ..spawn(life, self.serial) };
        self.head.asks(life, spawn);
    }

    /// A process joins that an actor's host was to start.
    fn joins_for(&mut self, actor: ActorId, host: Life) {
        let placement = self.head.directory.actors.all[&actor].placement;
        let claim = Claim { actor, placement, host };
        if self.processes < 250 && self.head.directory.may_claim(claim).is_ok() {
            self.processes += 1;
            let of = join(self.processes, self.serial);
            self.head.joins(Join { hosts: false, resources: cpus(0.0), claims: Some(claim), ..of });
        }
    }

    fn obeys(&mut self, actor: ActorId) {
        let known = |life| self.head.directory.lives.get(life).is_some_and(|living| living.known);
        let ordered = self.head.ordered(actor).filter(|order| known(order.life));
        if ordered.is_some_and(|order| match order.what {
            Command::Host(host) => host.placement == self.head.directory.actors.all[&actor].placement,
            _ => true,
        }) {
            let order = self.head.ordered(actor).unwrap();
            let is_started = !self.head.directory.actors.all[&actor].is_made_there();
            match order.what {
                Command::Host(_) if is_started => self.joins_for(actor, order.life),
                _ => self.head.obeys(actor),
            }
        }
    }

    /// A head of a later epoch, to which this life comes back with nothing.
    fn loses_what_it_had(&mut self, life: Life) {
        let door = self.head.doors[&life];
        self.head.directory = started(&self.head, self.head.journal.clone());
        let hosted: Vec<Hosting> = Vec::new();
        let epoch = self.head.directory.reign().epoch;
        let beat =
            crate::directory::request::Beat { life, epoch, number: self.serial, orders: 0, members: 0, actors: 0 };
        let rejoin = Rejoin { beat, hosted, reserved: Vec::new(), holdings: Default::default() };
        self.head.apply(Event::Said(door, ToHead::Rejoin(rejoin)));
        let lives = self.head.directory.lives.iter().filter(|(_, living)| !living.known);
        let unknown: Vec<(Life, u8)> = lives.map(|(life, living)| (life, living.join.node.0[0])).collect();
        for (life, n) in unknown {
            self.head.rejoins(life, n);
        }
    }

    fn step(&mut self) {
        let Some(life) = self.life() else {
            let n = 1 + u8::try_from(self.below(6)).unwrap();
            let _life = self.head.worker(n);
            return;
        };
        match self.below(14) {
            0 => _ = self.head.worker(1 + u8::try_from(self.serial % 5).unwrap()),
            1 => _ = self.head.driver(11 + u8::try_from(self.serial % 5).unwrap()),
            2..=4 => self.spawns(life),
            5 | 6 => _ = self.actor().map(|actor| self.obeys(actor)),
            7 => _ = self.actor().map(|actor| self.head.asks(life, End { actor, how: How::Stop })),
            8 => drop(self.head.leaves(life)),
            9 => {
                self.serial += 1;
                let group = GroupId { life, serial: self.serial };
                let bundles = vec![cpus(1.0); 1 + usize::try_from(self.below(2)).unwrap()];
                let packing = [Packing::StrictSpread, Packing::Pack][usize::try_from(self.below(2)).unwrap()];
                let name = None;
                let detached = self.below(2) == 0;
                self.head.asks(life, CreateGroup { group, bundles, packing, name, detached, patience: Patience::Fail });
            }
            10 => _ = self.group().map(|group| self.head.asks(life, RemoveGroup { group })),
            11 => {
                let (object, to) = (ObjectId { life, serial: self.below(5) }, self.life());
                match to {
                    Some(to) => _ = self.head.asks(life, Entrust { object, to: ObjectId { life: to, serial: 9 } }),
                    None => _ = self.head.asks(life, Withdraw { object }),
                }
            }
            12 => {
                let Some(actor) = self.actor() else { return };
                let placement = self.head.directory.actors.all[&actor].placement;
                if let Some(host) = self.head.directory.actors.all[&actor].host() {
                    self.head.asks(host, Ended { actor, placement, why: Gone::Killed });
                }
            }
            _ => self.loses_what_it_had(life),
        }
        self.serial += 1;
        self.head.pass(Duration::from_millis(1));
    }

    fn compares(&mut self) {
        let log = started(&self.head, self.head.journal.clone());
        let was = standing(&log);
        let again = started(&self.head, log.records());
        assert_eq!(standing(&again), was, "seed {}: from a state that was read", self.seed);
        let lived = started(&self.head, self.head.directory.records());
        assert_eq!(standing(&lived), was, "seed {}: from a state that was lived", self.seed);
    }
}

#[test]
fn a_state_as_records_is_the_state_that_all_records_lead_to() {
    let mut met = std::collections::BTreeSet::new();
    for seed in 1..=100 {
        let random = u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1;
        let mut world = World { seed, random, head: Head::new(), serial: 0, processes: 100 };
        for step in 0..120 {
            world.step();
            if step % 10 == 0 {
                world.compares();
            }
            // Between two looks the head may go on from the shorter journal.
            if world.below(40) == 0 {
                world.head.journal = world.head.directory.records();
            }
        }
        met.extend(world.head.directory.records().iter().map(std::mem::discriminant).map(|kind| format!("{kind:?}")));
    }
    assert!(met.len() >= 11, "all kinds of records are met: {met:?}");
}

#[test]
fn an_actor_that_its_host_had_lost_is_where_it_was_placed_next() {
    let mut head = Head::new();
    let (first, second, driver) = (head.worker(1), head.worker(2), head.driver(3));
    let (actor, host, _) = head.spawned(Spawn { restarts: 3, ..spawn(driver, 1) });
    let other = if host == first { second } else { first };
    let mut head = head.restarted();
    head.rejoins(driver, 3);
    head.rejoins_with(host, if host == first { 1 } else { 2 }, Default::default());
    head.obeys(actor);
    head.rejoins_with(other, if other == first { 1 } else { 2 }, Default::default());
    let head = head.restarted();
    let hosts = [first, second].map(|life| head.directory.lives.get(life).unwrap().hosted.contains(&actor));
    assert_eq!(hosts.iter().filter(|hosted| **hosted).count(), 1, "one node has it: {hosts:?}");
    assert_eq!(head.directory.actors.all[&actor].restarts_left, 2, "and one restart is used up");
}
