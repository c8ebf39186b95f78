//! Supervisors around the real [`Supervision`], and waits for the ends of actors, wherever these are: who waits asks the
//! actor's node, which answers when the end has come.

use super::Bug;
use super::errands::{Reply, What};
use super::node::Node;
use super::requests::Purpose;
use super::stage::{Handle, Stage, Within};
use crate::actor::core::supervision::{Follows, How, Kind, Step, Strategy, Supervision};
use crate::actor::core::tally::Restarts;
use crate::directory::request::Gone;
use crate::id::{ActorId, Life};
use crate::limits::CHILD_STOP;
use crate::wire::packet::StopMode;
use std::collections::{BTreeMap, VecDeque};

/// An end that is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watch {
    /// Of a supervisor's child, which was started so often.
    Child { supervisor: usize, child: usize, starts: u64 },
    /// Of one that it stops.
    Stopped { supervisor: usize, actor: ActorId },
}

/// Who is told of the end of an actor of this node.
#[derive(Clone, Copy, Debug)]
enum Watcher {
    Here(Watch),
    /// By a call and its errand.
    There(Life, (u64, u64)),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    Pauses,
    Starts(usize, ActorId),
    Stops(usize, Handle),
}

#[derive(Debug)]
struct Keeper {
    core: Supervision<Handle>,
    doing: Doing,
    /// Ends that it was told of while it did something.
    ends: VecDeque<(usize, u64, How)>,
}

/// The supervisors of a life, and who waits for ends.
#[derive(Debug, Default)]
pub(super) struct Supervisors {
    keepers: BTreeMap<usize, Keeper>,
    /// Who is to have the actors that are being made.
    making: BTreeMap<ActorId, usize>,
    watchers: BTreeMap<ActorId, Vec<Watcher>>,
    /// Errands by which this node waits for ends, and whom it has asked.
    asked: BTreeMap<u64, Life>,
}

impl Supervisors {
    /// Nothing is being done.
    pub(super) fn is_idle(&self) -> bool {
        self.keepers.values().all(|keeper| keeper.doing == Doing::Nothing && keeper.ends.is_empty())
    }

    pub(super) fn standing(&self) -> String {
        format!("supervisors {:?}", self.keepers)
    }

    /// Ends that this node waits for over the link to a life, and that it was asked for over it.
    pub(super) fn waits(&self, life: Life) -> (usize, usize) {
        let asked = self.asked.values().filter(|asked| **asked == life).count();
        let from = |watcher: &&Watcher| matches!(watcher, Watcher::There(from, _) if *from == life);
        (asked, self.watchers.values().flatten().filter(from).count())
    }

    /// An errand waits for an end, or does no longer.
    pub(super) fn asks(&mut self, errand: u64, of: Life) {
        self.asked.insert(errand, of);
    }

    pub(super) fn answered(&mut self, errand: u64) {
        self.asked.remove(&errand);
    }
}

impl Node {
    /// User code starts a supervisor; one for each life is enough.
    pub(super) fn supervises(&mut self, stage: &mut Stage) {
        let Some(life) = self.life().filter(|_| self.supervisors.keepers.is_empty()) else { return };
        let strategies = [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne];
        let strategy = strategies[stage.user.index(3)];
        let kinds = [Kind::Permanent, Kind::Permanent, Kind::Transient, Kind::Temporary];
        let kinds: Vec<Kind> = (0..2 + stage.user.index(2)).map(|_| kinds[stage.user.index(4)]).collect();
        let limit = [1, 3, 10][stage.user.index(3)];
        let intensity = Restarts { limit, window: Some(stage.user.millis(1_000, 30_000)) };
        let id = stage.supervisors.begins(life, strategy, &kinds, intensity);
        stage.note(90, id as u64, life.0, || format!("supervisor {id} in life {life}: {strategy:?} of {kinds:?}"));
        let forgets = stage.has(Bug::ForgetsLater) && strategy == Strategy::RestForOne;
        let strategy = if forgets { Strategy::OneForOne } else { strategy };
        let intensity =
            if stage.has(Bug::MendsForever) { Restarts { limit: u32::MAX, ..intensity } } else { intensity };
        let core = Supervision::new(strategy, kinds, intensity, self.now(stage));
        self.supervisors.keepers.insert(id, Keeper { core, doing: Doing::Nothing, ends: VecDeque::new() });
        self.tends(stage, id);
    }

    /// Does what there is to do, until it takes time.
    fn tends(&mut self, stage: &mut Stage, id: usize) {
        loop {
            let now = self.now(stage);
            let idle = |keeper: &&mut Keeper| keeper.doing == Doing::Nothing;
            let Some(keeper) = self.supervisors.keepers.get_mut(&id).filter(idle) else { return };
            match keeper.core.next(now) {
                Step::Rest => {
                    let Some((child, starts, how)) = keeper.ends.pop_front() else {
                        let rests = stage.supervisors.rests(id);
                        return stage.check(rests);
                    };
                    let (follows, former) = keeper.core.ended(child, starts, how, now);
                    if former.is_some() {
                        stage.supervisors.ended(id, child);
                    }
                    self.follows(stage, id, follows);
                }
                Step::Pause(pause) => {
                    keeper.doing = Doing::Pauses;
                    return stage.queue.after(pause, self.within(Within::Tend(id)));
                }
                Step::Start(child) => return self.starts_child(stage, id, child),
                Step::Stop(child, handle) => {
                    keeper.doing = Doing::Stops(child, handle);
                    self.stops_child(stage, id, handle);
                }
                Step::End => {
                    self.supervisors.keepers.remove(&id);
                    stage.note(91, id as u64, 0, || format!("supervisor {id} ends"));
                    return stage.supervisors.ends(id);
                }
            }
        }
    }

    fn follows(&mut self, stage: &mut Stage, id: usize, follows: Follows) {
        stage.note(92, id as u64, 0, || format!("supervisor {id}: {follows:?}"));
        let sound = match follows {
            Follows::Nothing => Ok(()),
            Follows::Restart(_) => stage.supervisors.restarts(id, self.now(stage)),
            Follows::End => stage.supervisors.gives_up(id, self.now(stage)),
        };
        stage.check(sound);
    }

    fn starts_child(&mut self, stage: &mut Stage, id: usize, child: usize) {
        let Some(actor) = self.next_actor() else { return };
        if let Some(keeper) = self.supervisors.keepers.get_mut(&id) {
            keeper.doing = Doing::Starts(child, actor);
        }
        self.supervisors.making.insert(actor, id);
        self.ask(stage, super::load::anywhere(actor), Purpose::Choose(actor));
    }

    /// An actor was made, or was not.
    pub(super) fn child_made(&mut self, stage: &mut Stage, actor: ActorId, made: Option<Handle>) {
        let now = self.now(stage);
        let Some(id) = self.supervisors.making.remove(&actor) else { return };
        let Some(keeper) = self.supervisors.keepers.get_mut(&id) else { return };
        let Doing::Starts(child, _) = std::mem::replace(&mut keeper.doing, Doing::Nothing) else { return };
        match made {
            Some(handle) => {
                keeper.core.started(child, handle);
                let starts = keeper.core.starts(child);
                stage.note(93, id as u64, actor.serial, || format!("supervisor {id} has started {child}: {actor}"));
                if let Some(former) = stage.supervisors.started(id, child, actor) {
                    stage.lives.succeeds(former, actor);
                }
                self.ask_end(stage, handle, None, Watch::Child { supervisor: id, child, starts });
            }
            None => {
                let follows = keeper.core.not_started(child, now);
                self.follows(stage, id, follows);
            }
        }
        self.tends(stage, id);
    }

    fn stops_child(&mut self, stage: &mut Stage, supervisor: usize, handle: Handle) {
        let watch = Watch::Stopped { supervisor, actor: handle.actor };
        if stage.has(Bug::StartsBeside) {
            return self.hears_end(stage, watch, How::Stopped);
        }
        self.ask_end(stage, handle, Some(StopMode::Drain), watch);
        stage.queue.after(CHILD_STOP, self.within(Within::Kill(supervisor, handle.actor)));
    }

    /// A child takes too long to stop.
    pub(super) fn kills_child(&mut self, stage: &mut Stage, supervisor: usize, actor: ActorId) {
        if let Some(Doing::Stops(_, handle)) = self.supervisors.keepers.get(&supervisor).map(|keeper| keeper.doing)
            && handle.actor == actor
        {
            self.ask_end(stage, handle, Some(StopMode::Kill), Watch::Stopped { supervisor, actor });
        }
    }

    /// A pause is over.
    pub(super) fn pause_over(&mut self, stage: &mut Stage, id: usize) {
        if let Some(keeper) = self.supervisors.keepers.get_mut(&id)
            && keeper.doing == Doing::Pauses
        {
            keeper.doing = Doing::Nothing;
            self.tends(stage, id);
        }
    }

    /// An end has come.
    pub(super) fn hears_end(&mut self, stage: &mut Stage, watch: Watch, how: How) {
        stage.note(94, 0, 0, || format!("node {} is told of an end: {watch:?}, {how:?}", self.index));
        let (Watch::Child { supervisor: id, .. } | Watch::Stopped { supervisor: id, .. }) = watch;
        let Some(keeper) = self.supervisors.keepers.get_mut(&id) else { return };
        match (watch, keeper.doing) {
            (Watch::Child { child, starts, .. }, _) => keeper.ends.push_back((child, starts, how)),
            (Watch::Stopped { actor, .. }, Doing::Stops(child, handle)) if handle.actor == actor => {
                keeper.core.stopped(child);
                keeper.doing = Doing::Nothing;
                stage.supervisors.ended(id, child);
            }
            (Watch::Stopped { .. }, _) => return,
        }
        self.tends(stage, id);
    }

    /// Asks for an actor's end, or only waits for it.
    fn ask_end(&mut self, stage: &mut Stage, handle: Handle, mode: Option<StopMode>, watch: Watch) {
        if self.life() == Some(handle.life) {
            self.end_asked(stage, handle.actor, mode, Watcher::Here(watch));
        } else {
            self.errand(stage, handle.life, What::End(handle.actor, mode, watch));
        }
    }

    /// A peer does so of an actor of this node.
    pub(super) fn end_asked_by(
        &mut self,
        stage: &mut Stage,
        from: Life,
        (call, errand): (u64, u64),
        (actor, mode): (ActorId, Option<StopMode>),
    ) {
        self.end_asked(stage, actor, mode, Watcher::There(from, (call, errand)));
    }

    fn end_asked(&mut self, stage: &mut Stage, actor: ActorId, mode: Option<StopMode>, watcher: Watcher) {
        if !self.actors.contains_key(&actor) {
            return self.tell_end(stage, watcher, How::Otherwise);
        }
        self.supervisors.watchers.entry(actor).or_default().push(watcher);
        match mode {
            Some(StopMode::Drain) => self.actor_drains(stage, actor, Gone::Stopped),
            Some(StopMode::Kill) => self.actor_ends(stage, actor, Gone::Killed),
            None => {}
        }
    }

    /// An actor of this node has ended.
    pub(super) fn tell_ends(&mut self, stage: &mut Stage, actor: ActorId, why: &Gone) {
        let how = if *why == Gone::Stopped { How::Stopped } else { How::Otherwise };
        for watcher in self.supervisors.watchers.remove(&actor).unwrap_or_default() {
            if !(stage.has(Bug::ForgetsWatchers) && stage.shell.one_in(4)) {
                self.tell_end(stage, watcher, how);
            }
        }
    }

    fn tell_end(&mut self, stage: &mut Stage, watcher: Watcher, how: How) {
        match watcher {
            Watcher::Here(watch) => stage.queue.at(stage.queue.now, self.within(Within::Ended(watch, how))),
            Watcher::There(life, call) => self.answer_errand(stage, life, call, Reply::Ended(how)),
        }
    }
}
