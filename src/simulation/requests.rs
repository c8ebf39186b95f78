//! A node's requests to the head, as its client makes them: asked again over each new session until answered, given up when
//! the head stays away.

use super::checks::saves::Save;
use super::node::{Control, Node};
use super::stage::{Handle, Stage};
use crate::actor::core::tally::Restarts;
use crate::clock::Moment;
use crate::directory::message::{Ask, Command, How, Settled};
use crate::directory::request::{DialMe, Died, End, Ended, GetOrSpawn, GiveUp, Gone, Hosted, Locate, Spawn};
use crate::directory::{Reply, Request, RequestId, ToHead};
use crate::id::{ActorId, GroupId, Life, Placement};
use crate::limits::HEAD_WAIT;
use crate::schedule::Class;
use std::collections::BTreeMap;

/// Why something was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It only has to arrive.
    Report,
    /// Where a route's actor is.
    Route(ActorId),
    /// The head is to keep what was saved of an actor.
    Save,
    /// User code waits for the actor.
    Spawn,
    /// User code waits for a node for this actor.
    Choose(ActorId),
    /// User code waits for a placement group.
    Group,
    /// User code waits for the end.
    End,
    /// Slots are wanted for a class of tasks.
    Want(Class),
    /// A peer is asked to dial.
    DialMe(Life),
}

#[derive(Debug)]
struct Open {
    what: Request,
    purpose: Purpose,
    asked: Moment,
    said: bool,
}

#[derive(Debug, Default)]
pub(super) struct Requests {
    last: u64,
    open: BTreeMap<RequestId, Open>,
    done: Vec<RequestId>,
}

impl Requests {
    pub(super) fn life_over(&mut self) {
        self.open.clear();
        self.done.clear();
    }

    /// Those for which someone waits.
    pub(super) fn open(&self) -> impl Iterator<Item = &Request> {
        self.open.values().map(|open| &open.what)
    }
}

impl Node {
    pub(super) fn ask(&mut self, stage: &mut Stage, what: impl Into<Request>, purpose: Purpose) {
        let (Some(life), asked) = (self.life(), self.now(stage)) else { return };
        self.requests.last += 1;
        let (request, what) = (RequestId(self.requests.last), what.into());
        let said = matches!(self.control, Control::Open(_));
        stage.note(32, self.index as u64, request.0, || {
            format!("node {} asks {request:?} (said: {said}): {what:?}", self.index)
        });
        self.requests.open.insert(request, Open { what: what.clone(), purpose, asked, said });
        if said {
            let settled = std::mem::take(&mut self.requests.done);
            self.say(stage, ToHead::Ask(Ask { life, request, settled, what }));
        }
    }

    /// A new session: what is open is asked again, the rest may be forgotten.
    pub(super) fn ask_again(&mut self, stage: &mut Stage) {
        let (Some(life), Control::Open(_)) = (self.life(), self.control) else { return };
        self.requests.done.clear();
        let said = self.requests.open.iter().filter(|(_, open)| open.said).map(|(request, _)| *request);
        let settled = Settled::AllBut(said.collect());
        self.say(stage, ToHead::Settle(life, settled));
        let asks = self.requests.open.iter_mut().map(|(request, open)| {
            open.said = true;
            Ask { life, request: *request, settled: Vec::new(), what: open.what.clone() }
        });
        let asks: Vec<_> = asks.collect();
        asks.into_iter().for_each(|ask| self.say(stage, ToHead::Ask(ask)));
    }

    pub(super) fn answered(&mut self, stage: &mut Stage, request: RequestId, reply: Reply) {
        stage.note(33, self.index as u64, request.0, || {
            format!("node {} is answered {request:?}: {reply:?}", self.index)
        });
        self.requests.done.push(request);
        let Some(open) = self.requests.open.remove(&request) else { return };
        match (open.purpose, reply) {
            (Purpose::Report, Reply::Reported(report)) => self.reported(stage, &open.what, report.is_ok()),
            (Purpose::Save, Reply::Kept(kept)) => {
                if let Request::Checkpoint(what) = &open.what {
                    self.saved(stage, what, Some(kept));
                }
            }
            (Purpose::Route(actor), Reply::Located(located)) => self.located(stage, actor, located.ok()),
            (Purpose::Spawn, Reply::Spawned(Ok(spawned)) | Reply::Found(Ok(spawned))) => {
                let (actor, life, placement) = (spawned.actor, spawned.life, spawned.placement);
                stage.note(30, actor.serial, life.0, || format!("{actor} runs as {placement} in life {life}"));
                stage.publish(Handle { actor, life, placement, ephemeral: false });
            }
            (Purpose::Choose(actor), Reply::Chosen(chosen)) => {
                match chosen.ok().as_ref().and_then(|chosen| chosen.candidates.first()) {
                    Some(candidate) => {
                        stage.chosen.insert(actor, candidate.epoch);
                        self.make(stage, actor, candidate.life);
                    }
                    None => self.child_made(stage, actor, None),
                }
            }
            (Purpose::Group, Reply::Grouped(Ok(grouped))) => {
                if let Request::CreateGroup(create) = &open.what {
                    self.grouped(stage, create.group, &grouped);
                }
            }
            (Purpose::Want(class), Reply::Wanted(Err(_))) => self.class_refused(stage, class),
            (Purpose::DialMe(life), Reply::Dialled(result)) => self.dial_me_answered(stage, life, result.is_ok()),
            _ => {}
        }
    }

    fn reported(&mut self, stage: &mut Stage, what: &Request, counts: bool) {
        match what {
            Request::Ended(ended) => {
                self.ended.retain(|actor, (placement, _)| *actor != ended.actor || *placement != ended.placement);
            }
            // The host ends what does not count.
            Request::Hosted(hosted) if !counts && self.hosts(hosted.actor, hosted.placement) => {
                self.actor_ends(stage, hosted.actor, Gone::Lost);
                self.ended.remove(&hosted.actor);
            }
            _ => {}
        }
    }

    pub(super) fn obey(&mut self, stage: &mut Stage, command: Command) {
        match command {
            Command::Host(host) => {
                let (id, placement) = (host.spawn.actor, host.placement);
                let newer = self.actors.get(&id).is_none_or(|actor| actor.placement < placement);
                if newer && self.ended.get(&id).is_none_or(|(ended, _)| *ended < placement) {
                    let Spawn { restarts: limit, restart_window: window, .. } = *host.spawn;
                    let of = host.saved.as_deref().and_then(Save::decoded);
                    self.host(stage, (id, placement), Restarts { limit, window }, of);
                }
            }
            Command::Grant(granted) => self.granted(stage, &granted),
            Command::Recall { grant, keep } => self.grant_recalled(stage, grant, keep),
            Command::Revoke { grant, why } => self.grant_revoked(stage, grant, why),
            Command::Vacate { grant } => self.grant_vacated(stage, grant),
            // No node is told to end there.
            Command::Move { .. } => {}
            Command::End { actor, placement, how, why } => {
                if self.hosts(actor, placement) {
                    match how {
                        How::Kill => self.actor_ends(stage, actor, why),
                        How::Stop => self.actor_drains(stage, actor, why),
                    }
                } else if placement == Placement(0) {
                    self.report_free(stage, actor);
                }
            }
        }
    }

    pub(super) fn report_made(&mut self, stage: &mut Stage, actor: ActorId, placement: Placement) {
        self.ask(stage, Hosted { actor, placement, made: Ok(()) }, Purpose::Report);
    }

    pub(super) fn report_ended(&mut self, stage: &mut Stage, actor: ActorId, placement: Placement, why: Gone) {
        self.ended.insert(actor, (placement, why.clone()));
        self.ask(stage, Ended { actor, placement, why }, Purpose::Report);
    }

    pub(super) fn locate(&mut self, stage: &mut Stage, actor: ActorId, after: Placement) {
        self.ask(stage, Locate { actor, after }, Purpose::Route(actor));
    }

    /// What was taken for an ephemeral actor is free again.
    pub(super) fn report_free(&mut self, stage: &mut Stage, actor: ActorId) {
        if stage.takers.contains(&actor) {
            self.ask(stage, Ended { actor, placement: Placement(0), why: Gone::Killed }, Purpose::Report);
        }
    }

    pub(super) fn prove(&mut self, stage: &mut Stage, died: Died) {
        self.ask(stage, died, Purpose::Report);
    }

    /// Placement groups that this life has asked for and not been told of.
    pub(super) fn groups_asked_for(&self) -> Vec<GroupId> {
        let asked = self.requests.open().filter_map(|what| match what {
            Request::CreateGroup(create) => Some(create.group),
            _ => None,
        });
        asked.collect()
    }

    pub(super) fn ask_to_dial(&mut self, stage: &mut Stage, peer: Life) {
        self.ask(stage, DialMe { peer }, Purpose::DialMe(peer));
    }

    /// When the first request stops waiting for a head that is away.
    pub(super) fn head_wait_over(&self) -> Option<Moment> {
        if matches!(self.control, Control::Open(_)) {
            return None;
        }
        let waits = self.requests.open.values().filter(|open| open.purpose != Purpose::Report);
        waits.map(|open| open.asked.max(self.head_seen) + HEAD_WAIT).min()
    }

    pub(super) fn give_up_on_head(&mut self, stage: &mut Stage) {
        let now = self.now(stage);
        if self.head_wait_over().is_none_or(|over| over > now) {
            return;
        }
        let over = |open: &Open| open.purpose != Purpose::Report && open.asked.max(self.head_seen) + HEAD_WAIT <= now;
        let given_up: Vec<_> = self.requests.open.iter().filter(|(_, open)| over(open)).map(|(id, _)| *id).collect();
        for request in given_up {
            let Some(open) = self.requests.open.remove(&request) else { continue };
            stage.note(31, self.index as u64, request.0, || {
                format!("node {}: head away for {:?}", self.index, open.what)
            });
            match (open.purpose, open.what) {
                (Purpose::Route(actor), _) => self.head_away(stage, actor),
                (Purpose::Want(class), _) => self.head_away_for(stage, class),
                (Purpose::Save, Request::Checkpoint(what)) => self.saved(stage, &what, None),
                (Purpose::DialMe(life), _) => self.dial_me_answered(stage, life, false),
                // What it may have made is undone.
                (_, Request::Spawn(spawn)) if open.said => {
                    self.ask(stage, End { actor: spawn.actor, how: How::Kill }, Purpose::Report);
                }
                (_, Request::GetOrSpawn(GetOrSpawn(spawn))) if open.said => {
                    self.ask(stage, GiveUp { actor: spawn.actor }, Purpose::Report);
                }
                (_, Request::CreateGroup(create)) if open.said => self.removes_group(stage, create.group),
                (_, Request::Choose(choose)) => {
                    if open.said {
                        self.report_free(stage, choose.actor);
                    }
                    self.child_made(stage, choose.actor, None);
                }
                _ => {}
            }
        }
    }
}
