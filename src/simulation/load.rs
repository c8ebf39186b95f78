//! What user code does: actors are made and ended, calls made one by one and in bursts, told, timed, dropped.

use super::grouping::in_a_bundle;
use super::node::Node;
use super::owning::CLASSES;
use super::requests::Purpose;
use super::routes::Wish;
use super::script::{Kind, Script, Waiter};
use super::stage::{Handle, Stage, Within};
use crate::actor::core::tally::Restarts;
use crate::directory::message::How;
use crate::directory::request::{
    ActorType, Advertised, AdvertisedType, Arguments, Boot, Choose, End, FullName, GetOrSpawn, Gone, Join, Lookup,
    Needs, Patience, Spawn,
};
use crate::id::{ActorId, Epoch, Incarnation, Key, NodeId};
use crate::schedule::{Amount, Class, Labels, Resources};
use crate::wire::packet::StopMode;
use std::sync::Arc;
use std::time::Duration;

const KIND: Key = Key(11);
const MAKE: Key = Key(12);

/// What a host has.
pub(super) const CPUS: u64 = 4;

/// So many CPUs.
pub(super) fn cpus(count: u64) -> Resources {
    Resources::none().with("cpu", Amount::ten_thousandths(count * 10_000)).unwrap_or_default()
}

fn kind() -> ActorType {
    ActorType { key: KIND, name: "simulation::Actor".into() }
}

/// What the head is told of every task's function: its type, and the key of its signature.
pub(super) fn task_kind() -> (ActorType, Key) {
    (kind(), MAKE)
}

/// What a node says when it joins.
pub(super) fn join(node: NodeId, machine: usize, hosts: bool, listens: bool, attempt: u64) -> Join {
    let types = [AdvertisedType { key: KIND, name: "simulation::Actor".into(), constructors: vec![MAKE] }];
    Join {
        attempt,
        node,
        boot: Boot([machine as u8; 16]),
        process: attempt as u32,
        host_name: format!("machine-{machine}").into(),
        hosts,
        addresses: if listens { vec!["virtual".into()] } else { Vec::new() },
        resources: if hosts { cpus(CPUS) } else { Resources::none() },
        labels: Labels::default(),
        advertised: Arc::new(Advertised::new(types)),
        served: Epoch::default(),
        claims: None,
    }
}

/// Now and then a CPU, for as long as the actor lives.
fn needs(stage: &mut Stage, actor: ActorId) -> Needs {
    if !stage.user.one_in(4) {
        return Needs::default();
    }
    stage.takers.insert(actor);
    Needs { resources: cpus(1), ..Needs::default() }
}

/// How often an actor is started again.
pub(super) fn restarts(stage: &mut Stage) -> Restarts {
    let limit = [0, 1, 3, 50][stage.user.index(4)];
    Restarts { limit, window: stage.user.one_in(3).then(|| stage.user.millis(100, 20_000)) }
}

/// The call that a handler makes.
pub(super) fn inner(stage: &mut Stage, frame: u64, timeout: Duration, from: Option<(ActorId, Incarnation)>) -> Wish {
    let script = Script::draw(&mut stage.user, Kind::Ask, None, stage.calm);
    Wish {
        group: stage.user.below(2) as u8,
        kind: Kind::Ask,
        script,
        waiter: Waiter::Frame(frame),
        retries: 0,
        cancels: stage.user.one_in(4),
        size: 20,
        timeout: Some(timeout),
        drop_after: None,
        from,
    }
}

/// What the head is asked for an ephemeral actor that needs nothing.
pub(super) fn anywhere(actor: ActorId) -> Choose {
    Choose { actor, kind: kind(), constructor: MAKE, needs: Needs::default(), patience: Patience::Wait }
}

impl Node {
    /// User code does something, and will again.
    pub(super) fn act(&mut self, stage: &mut Stage) {
        if stage.calm {
            return;
        }
        let pause = stage.user.millis(5, 2_000);
        stage.queue.after(pause, self.within(Within::Act));
        if self.life().is_none() {
            return;
        }
        match stage.user.below(100) {
            0..9 => self.spawns(stage),
            9..17 => self.chooses(stage),
            17..21 => self.ends_one(stage),
            21..33 => self.puts(stage),
            33..38 => self.drops(stage),
            38..43 => self.reads(stage),
            43..53 => self.tasks(stage),
            53..55 => self.cancels_task(stage),
            55..58 => self.groups(stage),
            58..60 => self.supervises(stage),
            _ => self.calls(stage),
        }
    }

    /// Tasks of one class, often one, at times many.
    fn tasks(&mut self, stage: &mut Stage) {
        let burst = match stage.user.below(30) {
            0 => 100,
            1..6 => stage.user.below(20),
            _ => 1 + stage.user.below(3),
        };
        let class = Class(stage.user.below(CLASSES.len() as u64) as u32);
        let priority = if stage.user.one_in(4) { 1 } else { 0 };
        (0..burst).for_each(|_| self.submits(stage, class, priority));
    }

    pub(super) fn next_actor(&mut self) -> Option<ActorId> {
        self.serial += 1;
        Some(ActorId { life: self.life()?, serial: self.serial })
    }

    fn spawns(&mut self, stage: &mut Stage) {
        let Some(actor) = self.next_actor() else { return };
        let named = |name: usize| FullName { namespace: "default".into(), name: ["one", "two", "three"][name].into() };
        let name = stage.user.index(6);
        let Restarts { limit: restarts, window: restart_window } = restarts(stage);
        let within = if stage.user.one_in(4) { in_a_bundle(stage, actor) } else { None };
        let spawn = Spawn {
            actor,
            kind: kind(),
            constructor: MAKE,
            name: (name < 3).then(|| named(name)),
            needs: within.unwrap_or_else(|| needs(stage, actor)),
            restarts,
            restart_window,
            detached: !stage.user.one_in(3),
            isolated: false,
            arguments: Arguments::Encoded(bytes::Bytes::from_static(b"arguments")),
            patience: Patience::Wait,
        };
        match stage.user.below(4) {
            0 if name < 3 => self.ask(stage, GetOrSpawn(spawn), Purpose::Spawn),
            1 => self.ask(stage, Lookup { name: named(name % 3), kind: kind() }, Purpose::Spawn),
            _ => self.ask(stage, spawn, Purpose::Spawn),
        }
    }

    fn chooses(&mut self, stage: &mut Stage) {
        let Some(actor) = self.next_actor() else { return };
        let choose =
            Choose { actor, kind: kind(), constructor: MAKE, needs: needs(stage, actor), patience: Patience::Wait };
        self.ask(stage, choose, Purpose::Choose(actor));
    }

    fn ends_one(&mut self, stage: &mut Stage) {
        let Some(handle) = self.any_handle(stage) else { return };
        let kills = stage.user.one_in(2);
        if !handle.ephemeral {
            let how = if kills { How::Kill } else { How::Stop };
            self.ask(stage, End { actor: handle.actor, how }, Purpose::End);
        } else if self.life() == Some(handle.actor.life) {
            self.stop_ephemeral(stage, handle, if kills { StopMode::Kill } else { StopMode::Drain });
        }
    }

    pub(super) fn make_room(&mut self, stage: &mut Stage) {
        let takers: Vec<_> = self.actors.keys().filter(|actor| stage.takers.contains(actor)).copied().collect();
        for actor in takers {
            self.actor_ends(stage, actor, Gone::Panicked("room".into()));
        }
        self.removes_all_groups(stage);
        self.schedule(stage);
    }

    fn any_handle(&self, stage: &mut Stage) -> Option<Handle> {
        let count = stage.handles.len();
        (count > 0).then(|| stage.handles[stage.user.index(count)])
    }

    fn calls(&mut self, stage: &mut Stage) {
        let Some(handle) = self.any_handle(stage) else { return };
        let burst = match stage.user.below(240) {
            0 => 300,
            1..16 => stage.user.below(40),
            _ => 1 + stage.user.below(4),
        };
        let group = stage.user.below(2) as u8;
        let large = stage.user.one_in(40);
        for _ in 0..burst {
            let wish = self.wish(stage, group, if large { 30_000 } else { 100 });
            self.call(stage, handle, wish);
        }
    }

    fn wish(&mut self, stage: &mut Stage, group: u8, size: u64) -> Wish {
        let other = self.any_handle(stage);
        let user = &mut stage.user;
        let kind = match user.below(10) {
            0..2 => Kind::Tell,
            2 => Kind::Stream,
            _ => Kind::Ask,
        };
        let retries = if kind == Kind::Ask && user.one_in(3) { 1 + user.below(3) as u32 } else { 0 };
        let timeout = (kind != Kind::Tell && user.one_in(3)).then(|| user.millis(1, 6_000));
        let drop_after = user.one_in(12).then(|| user.micros(1, 400_000));
        Wish {
            group,
            kind,
            script: Script::draw(user, kind, other, stage.calm),
            waiter: Waiter::Outside,
            retries,
            cancels: user.one_in(3),
            size: user.below(size) as usize,
            timeout,
            drop_after,
            from: None,
        }
    }
}
