//! What the node does about what its life says.

use super::{Node, StandingNow, random_number};
use crate::actor::error::EndReason;
use crate::clock;
use crate::directory::message::{Caller, Command, ToHead};
use crate::directory::request::{Beat, Hosting, Rejoin, Standing};
use crate::id::{Epoch, Life};
use crate::node::core::life::{Effect, Fenced};
use crate::schedule::Strategy;

impl Node {
    pub(super) fn carry_out(&self, effect: Effect) {
        match effect {
            Effect::Send(message) => self.say(message),
            Effect::Rejoin(beat) => self.rejoin(beat),
            Effect::Begun(life, reign) => self.begun(life, reign.epoch),
            Effect::Fence(life, why) => self.fence(life, &why),
            Effect::Exit => {
                tracing::error!("this node's lease ran out and a handler still runs: the process exits");
                std::process::exit(75);
            }
            Effect::Refused(why) => {
                tracing::error!(%why, "the head refuses this node");
                self.client.close();
                self.standing.send_replace(StandingNow::Refused(why));
            }
            Effect::Redial => self.hang_up(),
            Effect::Distrust(stale) => tracing::error!(%stale, "a head that is not to be obeyed has spoken"),
            Effect::Obey(Command::Host(host)) => self.shared().make(&host),
            Effect::Obey(Command::End { actor, placement, how, why }) => self.end_ordered(actor, placement, how, &why),
            Effect::Obey(Command::Move { actor, placement }) => self.move_ordered(actor, placement),
            Effect::Obey(Command::Grant(granted)) => {
                let epoch = self.machine.lock().life.reign().unwrap_or_default().epoch;
                self.shared().granted(granted, epoch);
            }
            Effect::Obey(Command::Recall { grant, keep }) => self.shared().grant_recalled(grant, keep),
            Effect::Obey(Command::Revoke { grant, why }) => self.shared().grant_revoked(grant, why),
            Effect::Obey(Command::Vacate { grant }) => self.shared().grant_vacated(grant),
            Effect::Departed => {
                let ended = |life| self.known(|known| known.has_ended(life));
                // Before their links end: what was sent to them is then sent elsewhere.
                self.shared().tasks_of_ended(ended);
                self.links.end(ended);
                self.bulk.end(|node| self.known(|known| known.of_node(node).is_none()));
                self.actors.close(&EndReason::OwnerDied, |entry| entry.owner.is_some_and(ended));
                self.keepers_ended(ended);
                self.shared().holders_ended(ended);
            }
            Effect::Answer(request, reply) => self.client.answered(request, reply),
            Effect::Waits(request, why) => self.client.waits(request, why),
            Effect::Dial(Caller { life, node, .. }) => self.shared().dial_caller(life, node),
            Effect::Status(number, page) => self.looks.shown(number, page),
        }
    }

    pub(in crate::node) fn say(&self, message: ToHead) {
        let say = self.machine.lock().say.clone();
        if let Some(say) = say {
            say(message);
        }
    }

    fn hang_up(&self) {
        let hang_up = self.machine.lock().hang_up.clone();
        if let Some(hang_up) = hang_up {
            hang_up();
        }
    }

    fn begun(&self, life: Life, epoch: Epoch) {
        self.begins_under(epoch);
        self.attach_client(life);
        self.standing.send_replace(StandingNow::Member(life));
        self.shared().want_anew();
    }

    /// The life is over: nothing of it goes on (PROTOCOLS §2.3). Then it joins anew, with no actors.
    fn fence(&self, life: Life, why: &Fenced) {
        if *why != Fenced::Left {
            tracing::error!(%life, %why, "this node's life is over: its actors end, then it joins anew");
        }
        self.client.life_over();
        self.isolated_life_over();
        match why {
            Fenced::Left => self.shared().close_tasks(),
            _ => self.shared().tasks_between_lives(),
        }
        // Before those are told who wait for peers: what runs here is to stop.
        self.actors.close(&EndReason::NodeDied, |_| true);
        self.links.end_all();
        self.bulk.end(|_| true);
        self.callers.lock().clear();
        self.checkpoints.clear();
        if *why == Fenced::Left {
            return;
        }
        self.standing.send_replace(StandingNow::Joining);
        let node = self.shared();
        self.runtime.spawn(async move {
            while node.actors.len() > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            node.step(|machine, effects| machine.life.emptied(clock::now(), random_number(), effects));
        });
    }

    fn rejoin(&self, beat: Beat) {
        let hosting = |(actor, placement)| Hosting { actor, placement, standing: Standing::Running };
        let mut hosted: Vec<Hosting> = self.actors.known().into_iter().map(hosting).collect();
        let starting = |(actor, placement)| Hosting { actor, placement, standing: Standing::Making };
        hosted.extend(self.isolated_awaited().into_iter().map(starting));
        // First: what is made from now on under a reservation of an earlier head is refused.
        let mut holdings = self.holdings(beat.epoch);
        let mut there = self.actors.reserved();
        there.extend(self.isolated_reserved());
        let bundled = there.iter().filter(|(_, reserved)| reserved.strategy != Strategy::Default);
        holdings.bundled = bundled.map(|(actor, reserved)| (*actor, reserved.strategy)).collect();
        let reserved = there.iter().map(|(actor, reserved)| (*actor, reserved.resources.clone())).collect();
        self.say(ToHead::Rejoin(Rejoin { beat, hosted, reserved, holdings }));
        if let Some(life) = self.is_member() {
            self.attach_client(life);
        }
        self.shared().want_anew();
    }
}
