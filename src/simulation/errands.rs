//! What nodes ask of each other themselves: to read an object, to run a task, to give tasks back. A request carries its
//! errand's number; what it asks and what is answered stand here, as the scripts of calls do.

use super::links::Token;
use super::node::Node;
use super::owning::Sent;
use super::stage::{Stage, Within};
use super::supervising::Watch;
use crate::actor::core::course::Lost;
use crate::actor::core::supervision::How;
use crate::id::{ActorId, GrantId, Key, Life, ObjectId, Placement};
use crate::node::core::link::{Arrival, Begin, Called, Delivery, Demand, Patience, Sent as Asked, Ticket};
use crate::schedule::TaskNumber;
use crate::wire::bytes::List;
use crate::wire::packet::{Answer, CallFault, Executed, Flags, Outcome, Request, Settle, StopMode};

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// What is inside an object.
    Read(ObjectId),
    /// A grant's terms, or what is left of them: nobody waits for an answer.
    Terms(Terms),
    /// To run a task.
    Run(Sent),
    /// Tasks that have not begun.
    Recall(GrantId, u32),
    /// The end of an actor, which is asked for or only waited for.
    End(ActorId, Option<StopMode>, Watch),
}

/// A grant, as its owner tells its node of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) grant: GrantId,
    pub(super) epoch: crate::id::Epoch,
    pub(super) slots: u32,
    pub(super) cpus: u64,
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Reply {
    #[default]
    Nothing,
    Inside(Vec<ObjectId>),
    Ran(std::time::Duration),
    Recalled(Vec<TaskNumber>),
    Ended(How),
}

#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) what: What,
    pub(super) reply: Reply,
}

impl Node {
    /// Asks a peer's node something. Gives its ticket, if it was taken and is answered.
    pub(super) fn errand(&mut self, stage: &mut Stage, to: Life, what: What) -> Option<Ticket> {
        let now = self.now(stage);
        let id = stage.errands.len() as u64;
        let tell = matches!(what, What::Terms(_));
        stage.note(80, id, to.0, || format!("node {} asks {to}: errand {id}, {what:?}", self.index));
        let ends = matches!(what, What::End(..));
        let patience = if let What::Read(_) = what { Patience::Fails } else { Patience::Waits };
        stage.errands.push(Errand { what, reply: Reply::Nothing });
        let mut packet = Vec::new();
        encode(id, to, tell, &mut packet);
        // Who sends knows the node: from the head, with the grant, or from the reference's owner.
        let node = stage.node_of(to).filter(|_| !self.core.known().has_ended(to));
        let sent = node.and_then(|node| self.peer(stage, to, node)).map(|peer| {
            let stream = *peer.stream.get_or_insert_with(|| peer.link.open_stream());
            peer.link.send(now, stream, &mut packet, Demand { token: Token::Errand(id), deadline: None, patience })
        });
        self.touched(stage, to);
        match sent {
            Some(Asked::Asked { ticket, .. } | Asked::Waiting(ticket)) => {
                if ends {
                    self.supervisors.asks(id, to);
                }
                Some(ticket)
            }
            Some(Asked::Told(_)) => None,
            Some(Asked::Unreachable(_) | Asked::Ended(_)) | None => {
                self.errand_unsent(stage, id);
                None
            }
        }
    }

    /// A peer asks this node something.
    pub(super) fn errand_arrives(&mut self, stage: &mut Stage, from: Life, arrival: Arrival, id: u64) {
        let now = self.now(stage);
        let what = stage.errands[id as usize].what.clone();
        let Some(peer) = self.links.get_mut(&from) else { return };
        // A task under a grant that is not known is refused before it begins.
        if let What::Run(sent) = &what
            && !self.host.knows(from, sent.grant)
        {
            return self.refuse_errand(stage, from, arrival.call, CallFault::NoGrant);
        }
        let begun = peer.link.begin(now, arrival, u32::MAX);
        self.touched(stage, from);
        if begun.begin == Begin::Gone {
            return;
        }
        match what {
            What::Read(object) => match self.inside(object) {
                Some(inner) => self.answer_errand(stage, from, (arrival.call, id), Reply::Inside(inner)),
                None => {
                    let fault = CallFault::ReferenceLost;
                    self.answer_to(stage, from, arrival.call, Outcome::Error { executed: Executed::Yes, fault });
                }
            },
            What::Terms(terms) => self.terms_arrive(stage, from, terms),
            What::Run(sent) => self.task_arrives(stage, from, (arrival.call, id), &sent),
            What::Recall(grant, count) => {
                let back = self.recall_here(stage, from, grant, count);
                self.answer_errand(stage, from, (arrival.call, id), Reply::Recalled(back));
            }
            What::End(actor, mode, _) => self.end_asked_by(stage, from, (arrival.call, id), (actor, mode)),
        }
    }

    pub(super) fn answer_errand(&mut self, stage: &mut Stage, to: Life, (call, id): (u64, u64), reply: Reply) {
        stage.errands[id as usize].reply = reply;
        self.answer_to(stage, to, call, Outcome::Value { refs: List::EMPTY, body: &[] });
    }

    pub(super) fn refuse_errand(&mut self, stage: &mut Stage, to: Life, call: u64, fault: CallFault<'_>) {
        self.answer_to(stage, to, call, Outcome::Error { executed: Executed::No, fault });
    }

    fn answer_to(&mut self, stage: &mut Stage, to: Life, call: u64, outcome: Outcome<'_>) {
        let (now, mut packet) = (self.now(stage), Vec::new());
        Settle::Answer(Answer { call, outcome }).encode(&mut packet);
        if let Some(peer) = self.links.get_mut(&to) {
            peer.link.answer(now, call, &packet);
            self.touched(stage, to);
        }
    }

    /// A peer has answered.
    pub(super) fn errand_answered(&mut self, stage: &mut Stage, from: Life, id: u64, outcome: &Outcome<'_>) {
        let Errand { what, reply } = stage.errands[id as usize].clone();
        stage.note(81, id, from.0, || format!("errand {id} is answered: {outcome:?} {reply:?}"));
        match (what, outcome) {
            (What::Read(object), Outcome::Value { .. }) => {
                if let Reply::Inside(inner) = reply {
                    self.has_read(stage, object, &inner);
                }
            }
            (What::Read(_) | What::Terms(_), _) => {}
            (What::End(_, _, watch), _) => {
                self.supervisors.answered(id);
                self.hears_end(stage, watch, if let Reply::Ended(how) = reply { how } else { How::Otherwise });
            }
            (What::Run(sent), Outcome::Error { executed, fault }) => {
                self.task_refused(stage, &sent, *executed, fault);
            }
            (What::Run(sent), _) => self.task_ran(stage, &sent, reply),
            (What::Recall(grant, _), _) => {
                let back = if let Reply::Recalled(back) = reply { back } else { Vec::new() };
                self.recalled(stage, grant, &back);
            }
        }
    }

    /// There is no link to ask over: a grant there is over.
    fn errand_unsent(&mut self, stage: &mut Stage, id: u64) {
        match stage.errands[id as usize].what.clone() {
            What::Run(sent) => self.grant_gone(stage, &sent),
            What::Recall(grant, _) => self.lose_grants(stage, |of, _| of == grant),
            What::End(_, _, watch) => {
                stage.queue.at(stage.queue.now, self.within(Within::Ended(watch, How::Otherwise)))
            }
            What::Read(_) | What::Terms(_) => {}
        }
    }

    /// Calls come back that waited to be sent to a life.
    pub(super) fn called_back(&mut self, stage: &mut Stage, life: Life, called: Vec<Called<Token>>) {
        for called in called {
            match called.token {
                Token::Call(call) => {
                    self.unsent(stage, call, life);
                    self.not_there(stage, call, Lost::LinkEnded);
                }
                Token::Errand(errand) => self.errand_failed(stage, errand, life, Executed::No),
            }
        }
    }

    /// This node's life is over, and all its links: what was asked of others' nodes is not answered any more.
    pub(super) fn fail_errands(&mut self, stage: &mut Stage) {
        for (life, mut peer) in std::mem::take(&mut self.links) {
            let mut deliveries = Vec::new();
            let (called, _) = peer.link.end(&mut deliveries);
            let unsent = called.into_iter().map(|called| (called.token, Executed::No));
            let failed = deliveries.into_iter().filter_map(|delivery| match delivery {
                Delivery::Failed { token, executed, .. } => Some((token, executed)),
                _ => None,
            });
            for (token, executed) in unsent.chain(failed) {
                if let Token::Errand(errand) = token {
                    self.errand_failed(stage, errand, life, executed);
                }
            }
        }
    }

    /// A peer will not answer.
    pub(super) fn errand_failed(&mut self, stage: &mut Stage, id: u64, to: Life, executed: Executed) {
        stage.note(82, id, to.0, || format!("errand {id} to {to} has failed: {executed:?}"));
        match stage.errands[id as usize].what.clone() {
            What::Run(sent) => self.attempt_failed(stage, &sent, executed),
            What::End(_, _, watch) => {
                self.supervisors.answered(id);
                self.hears_end(stage, watch, How::Otherwise);
            }
            What::Read(_) | What::Terms(_) | What::Recall(..) => {}
        }
    }
}

fn encode(id: u64, to: Life, tell: bool, out: &mut Vec<u8>) {
    let request = Request {
        flags: if tell { Flags::TELL } else { Flags::ASK },
        stream: 0,
        time_left: None,
        placement: Placement(0),
        actor: ActorId::of_node(to),
        method: Key(id),
        retries: 0,
        caller: None,
        chain: List::EMPTY,
        refs: List::EMPTY,
        body: &[],
    };
    request.encode(out);
}
