//! What goes wrong, and when: drawn from the seed before anything runs, mended at the end.

use super::network::Weather;
use super::random::Random;
use super::stage::{Event, Queue};
use super::world::{Layout, World};
use crate::clock::Moment;
use crate::directory::request::Died;
use std::time::Duration;

/// Something breaks, or is mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// One connection breaks.
    Cut,
    /// Nothing gets from one machine to another.
    Dark {
        from: usize,
        to: usize,
    },
    Light {
        from: usize,
        to: usize,
    },
    /// Delays, and losses of a million.
    Weather {
        delay: u64,
        jitter: u64,
        loss: u64,
    },
    /// A process is stopped, and goes on: SIGSTOP, SIGCONT.
    Stop(usize),
    Continue(usize),
    /// A whole machine sleeps; its clock goes on.
    Sleep(usize),
    Wake(usize),
    /// A process is killed; where a parent watches it, that is proved.
    Kill {
        node: usize,
        proved: bool,
    },
    /// A machine loses power: its peers hear nothing.
    Crash(usize),
    Start(usize),
    Leave(usize),
    KillHead,
    StartHead,
    StopHead,
    ContinueHead,
    SlowDisk(bool),
    /// Nothing goes wrong: all actors that the head has placed ask one of this node.
    Asks(usize),
    /// Everything is mended.
    Calm,
    /// Whoever takes resources ends, so that what waits for room is made.
    Room,
}

/// How often room is made once all is mended.
const ROUNDS: u32 = 30;

/// How a seed treats its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Temper {
    /// Nothing goes wrong.
    Calm,
    /// Connections break, ways are dark or slow, messages are lost.
    Network,
    /// Processes stop, die and start, the head too.
    Processes,
    /// Both.
    Everything,
    /// Nothing but what leases are for.
    Leases,
    /// Heads that end while what was granted is on its way.
    Grants,
    /// Processes that are killed while what their actors have called is on its way.
    Runs,
}

/// Draws all faults of a seed. Gives when they are over.
pub(super) fn plan(random: &mut Random, layout: &Layout, queue: &mut Queue, temper: Option<Temper>) -> Moment {
    let drawn = match random.below(20) {
        0 => Temper::Calm,
        1..6 => Temper::Network,
        6..10 => Temper::Processes,
        10..12 => Temper::Leases,
        12 => Temper::Grants,
        13 => Temper::Runs,
        _ => Temper::Everything,
    };
    let temper = temper.unwrap_or(drawn);
    let mut over = Moment(0) + random.millis(20_000, 90_000);
    let mut at = Moment(0) + random.millis(500, 4_000);
    if temper == Temper::Leases {
        // Actors first; and the head must have the time to place them again.
        let begins = at + random.millis(8_000, 15_000);
        worst_for_a_lease(random, layout, queue, begins);
        over = begins + random.millis(45_000, 70_000);
    }
    while temper == Temper::Grants && at < over {
        worst_for_a_grant(random, layout, queue, at);
        at = at + random.millis(8_000, 20_000);
    }
    while temper == Temper::Runs && at < over {
        worst_for_a_run(random, layout, queue, at);
        at = at + random.millis(10_000, 20_000);
    }
    while !matches!(temper, Temper::Calm | Temper::Leases) && at < over {
        let network = match temper {
            Temper::Network => true,
            Temper::Processes => false,
            _ => random.one_in(2),
        };
        if network {
            network_fault(random, layout, queue, at);
        } else {
            process_fault(random, layout, queue, at);
        }
        at = at + random.millis(200, 9_000);
    }
    queue.at(over, Event::Fault(Fault::Calm));
    for round in 1..=ROUNDS {
        queue.at(over + 3 * round * Duration::from_secs(1), Event::Fault(Fault::Room));
    }
    over
}

fn pause(random: &mut Random) -> Duration {
    match random.below(8) {
        0..3 => random.millis(10, 1_000),
        3..6 => random.millis(1_000, 12_000),
        _ => random.millis(12_000, 50_000),
    }
}

fn network_fault(random: &mut Random, layout: &Layout, queue: &mut Queue, at: Moment) {
    let (from, to) = (random.index(layout.machines), random.index(layout.machines));
    let again = at + pause(random);
    match random.below(10) {
        0..4 => queue.at(at, Event::Fault(Fault::Cut)),
        4..8 if from != to => {
            let both = random.one_in(2);
            for (from, to) in [(from, to), (to, from)].into_iter().take(1 + usize::from(both)) {
                queue.at(at, Event::Fault(Fault::Dark { from, to }));
                queue.at(again, Event::Fault(Fault::Light { from, to }));
            }
        }
        _ => {
            let (delay, jitter) = (random.below(20_000), random.below(100_000));
            let loss = if random.one_in(2) { random.below(20_000) } else { 0 };
            queue.at(at, Event::Fault(Fault::Weather { delay, jitter, loss }));
            let Weather { delay, jitter, loss } = Weather::CALM;
            queue.at(again, Event::Fault(Fault::Weather { delay, jitter, loss }));
        }
    }
}

fn process_fault(random: &mut Random, layout: &Layout, queue: &mut Queue, at: Moment) {
    let (node, machine) = (random.index(layout.nodes.len()), 1 + random.index(layout.machines - 1));
    let again = at + pause(random);
    let (fault, mended) = match random.below(20) {
        0..5 => (Fault::Stop(node), Fault::Continue(node)),
        5..9 => (Fault::Kill { node, proved: !random.one_in(3) }, Fault::Start(node)),
        9 => (Fault::Crash(machine), Fault::Wake(machine)),
        10 => (Fault::Sleep(machine), Fault::Wake(machine)),
        11 => (Fault::Leave(node), Fault::Start(node)),
        12..16 => (Fault::KillHead, Fault::StartHead),
        16 => (Fault::StopHead, Fault::ContinueHead),
        17 => (Fault::SlowDisk(true), Fault::SlowDisk(false)),
        _ => return worst_for_a_lease(random, layout, queue, at),
    };
    queue.at(at, Event::Fault(fault));
    queue.at(again, Event::Fault(mended));
}

/// A process stands still while an answer of the head's is on its way to it, and is cut off from the head when it goes on.
fn worst_for_a_lease(random: &mut Random, layout: &Layout, queue: &mut Queue, at: Moment) {
    let node = random.index(layout.nodes.len());
    let (from, stops) = (layout.nodes[node].machine, at + random.millis(1_500, 2_500));
    let goes_on = stops + random.millis(3_000, 22_000);
    let Weather { jitter, loss, .. } = Weather::CALM;
    let mut then = |at: Moment, fault: Fault| queue.at(at, Event::Fault(fault));
    then(at, Fault::Weather { delay: random.below(900_000), jitter, loss });
    then(stops, Fault::Stop(node));
    then(goes_on, Fault::Dark { from, to: 0 });
    then(goes_on, Fault::Continue(node));
    then(goes_on, Fault::Weather { delay: Weather::CALM.delay, jitter, loss });
    then(goes_on + random.millis(25_000, 50_000), Fault::Light { from, to: 0 });
}

/// What an owner says to a node waits on a dark way, while the head that granted it ends and another one begins.
fn worst_for_a_grant(random: &mut Random, layout: &Layout, queue: &mut Queue, at: Moment) {
    let index = random.index(layout.nodes.len());
    let to = layout.nodes[index].machine;
    let from: Vec<usize> = (1..layout.machines).filter(|machine| *machine != to).collect();
    let ends = at + random.millis(300, 3_000);
    let begins = ends + random.millis(50, 1_000);
    let mut then = |at: Moment, fault: Fault| queue.at(at, Event::Fault(fault));
    from.iter().for_each(|from| then(at, Fault::Dark { from: *from, to }));
    then(ends, Fault::KillHead);
    then(begins, Fault::StartHead);
    let light = begins + random.millis(500, 4_000);
    from.iter().for_each(|from| then(light, Fault::Light { from: *from, to }));
}

/// What actors of a node ask waits on a dark way, while their process is killed, and they are placed again and ask once more;
/// the node of whom they ask hears nothing of the head meanwhile.
fn worst_for_a_run(random: &mut Random, layout: &Layout, queue: &mut Queue, at: Moment) {
    let (node, host) = (random.index(layout.nodes.len()), random.index(layout.nodes.len()));
    let (from, to) = (layout.nodes[node].machine, layout.nodes[host].machine);
    if from == to {
        return;
    }
    let killed = at + random.millis(500, 2_000);
    let again = killed + random.millis(1_500, 4_000);
    let light = again + random.millis(200, 4_000);
    let mut then = |at: Moment, fault: Fault| queue.at(at, Event::Fault(fault));
    then(at, Fault::Dark { from, to });
    then(at, Fault::Asks(host));
    then(killed, Fault::Dark { from: 0, to });
    then(killed, Fault::Kill { node, proved: true });
    then(again, Fault::Asks(host));
    then(light, Fault::Light { from, to });
    let mended = light + random.millis(100, 2_000);
    then(mended, Fault::Light { from: 0, to });
    then(mended, Fault::Start(node));
}

impl World {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.stage.note(70, 0, 0, || format!("fault: {fault:?}"));
        let stage = &mut self.stage;
        match fault {
            Fault::Cut => {
                if let Some(id) = stage.network.any(&mut stage.shell) {
                    stage.network.cut(&mut stage.queue, id);
                }
            }
            Fault::Dark { from, to } => stage.network.darken(from, to),
            Fault::Light { from, to } => stage.network.lighten(&mut stage.queue, from, to),
            Fault::Weather { delay, jitter, loss } => stage.network.weather = Weather { delay, jitter, loss },
            Fault::Stop(node) => self.stop(node),
            Fault::Continue(node) => self.go_on(node),
            Fault::Sleep(machine) => self.on(machine, World::stop),
            Fault::Wake(machine) => {
                self.on(machine, World::go_on);
                self.on(machine, World::start);
            }
            Fault::Kill { node, proved } => self.kill(node, proved),
            Fault::Crash(machine) => self.on(machine, |world, node| {
                world.nodes[node].die(&mut world.stage, Duration::from_secs(30), "its machine crashes");
            }),
            Fault::Start(node) => self.start(node),
            Fault::Leave(node) => {
                if self.nodes[node].up && !self.nodes[node].still {
                    self.nodes[node].leave(&mut self.stage);
                }
            }
            Fault::KillHead => self.head.kill(&mut self.stage),
            Fault::StartHead => self.head.start(&mut self.stage),
            Fault::StopHead => self.head.stand_still(&mut self.stage),
            Fault::ContinueHead => self.head.go_on(&mut self.stage),
            Fault::SlowDisk(slow) => self.head.slow_disk = slow,
            Fault::Asks(of) => self.all_ask(of),
            Fault::Calm => self.calm(),
            Fault::Room => self.nodes.iter_mut().for_each(|node| node.make_room(&mut self.stage)),
        }
    }

    fn on(&mut self, machine: usize, act: fn(&mut World, usize)) {
        (0..self.nodes.len())
            .filter(|node| self.nodes[*node].machine == machine)
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|node| act(self, node));
    }

    fn stop(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if node.up {
            node.still = true;
            self.stage.network.still.insert(node.place());
        }
    }

    /// What waited in its sockets, and its timers, come in any order.
    fn go_on(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        if !std::mem::take(&mut node.still) {
            return;
        }
        let (place, missed) = (node.place(), std::mem::take(&mut node.missed));
        let stage = &mut self.stage;
        if stage.shell.one_in(2) {
            stage.network.goes_on(&mut stage.queue, place);
        }
        missed.into_iter().for_each(|event| stage.queue.at(stage.queue.now, event));
        stage.network.goes_on(&mut stage.queue, place);
    }

    fn kill(&mut self, index: usize, proved: bool) {
        let node = &self.nodes[index];
        let (life, machine, id) = (node.life(), node.machine, node.id);
        if !node.up {
            return;
        }
        self.nodes[index].die(&mut self.stage, Duration::ZERO, "it is killed");
        let witness = |other: &usize| *other != index && self.nodes[*other].machine == machine;
        if let Some(witness) = (0..self.nodes.len()).find(witness).filter(|_| proved) {
            // A parent's child has its identity once.
            let parent = life.is_none() || self.stage.shell.one_in(4);
            self.identity_over[index] |= parent;
            self.stage.died.push(Died { node: id, life: life.filter(|_| !parent) });
            let (delay, died) = (self.stage.shell.millis(1, 800), self.stage.died.len() - 1);
            self.stage.queue.after(delay, Event::Proof { witness, died });
        }
    }

    /// A process of the same machine reports what it saw.
    pub(super) fn proof(&mut self, witness: usize, died: usize) {
        let (died, node) = (self.stage.died[died], &mut self.nodes[witness]);
        if node.up && !node.still {
            node.prove(&mut self.stage, died);
        }
    }

    fn calm(&mut self) {
        let stage = &mut self.stage;
        stage.calm = true;
        stage.network.weather = Weather::CALM;
        stage.network.lighten_all(&mut stage.queue);
        self.head.slow_disk = false;
        self.head.go_on(stage);
        self.head.start(stage);
        for node in 0..self.nodes.len() {
            self.go_on(node);
            self.start(node);
        }
    }
}
