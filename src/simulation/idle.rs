//! What a node looks like from outside: where it listens, whether it has come to rest, and if not, why.

use super::hosting::{Actor, Phase};
use super::links::Token;
use super::load::cpus;
use super::network::Listener;
use super::node::Node;
use super::references::References;
use super::routes::Route;
use super::stage::Stage;
use crate::directory::request::{Hosting, Standing};
use crate::id::{ActorId, Life};
use crate::node::core::link::Link;
use crate::schedule::Resources;

impl Node {
    pub(super) fn listener(&self) -> Listener {
        Listener { place: self.place(), machine: self.machine, node: self.id }
    }

    /// What the head put here, as it stands.
    pub(super) fn standing(&self) -> Vec<Hosting> {
        let living = self.actors.iter().filter(|(_, actor)| !actor.ephemeral).map(|(id, actor)| {
            let standing = if actor.phase == Phase::Made { Standing::Making } else { Standing::Running };
            Hosting { actor: *id, placement: actor.placement, standing }
        });
        let ended = self.ended.iter().map(|(id, (placement, why))| Hosting {
            actor: *id,
            placement: *placement,
            standing: Standing::Ended(why.clone()),
        });
        living.chain(ended).collect()
    }

    /// What is taken here for ephemeral actors.
    pub(super) fn reserved(&self, stage: &Stage) -> Vec<(ActorId, Resources)> {
        let takes = |(id, actor): &(&ActorId, &Actor)| actor.ephemeral && stage.takers.contains(id);
        self.actors.iter().filter(takes).map(|(id, _)| (*id, cpus(1))).collect()
    }

    /// Nothing is open here, but for waits for the ends of actors that live.
    pub(super) fn is_idle(&self) -> bool {
        let waits = self.requests.open().next().is_some();
        let ends = |life: &Life| self.supervisors.waits(*life);
        let busy = self.links.iter().any(|(life, peer)| !peer.link.is_ended() && !is_empty(&peer.link, ends(life)));
        let counted = self.references.as_ref().is_some_and(References::is_quiet);
        let runs = !self.owner.is_idle() || !self.host.is_idle() || !self.supervisors.is_idle();
        self.up && self.life().is_some() && !waits && !busy && counted && !runs && self.frames.is_empty()
    }

    pub(super) fn why_busy(&self) -> String {
        let links: Vec<_> =
            self.links.iter().map(|(life, peer)| (life, peer.link.load(), peer.link.is_ended())).collect();
        let requests: Vec<_> = self.requests.open().collect();
        let waits = |route: &&Route| route.course.bound().is_none() && route.course.gone().is_none();
        let routes: Vec<_> = self.routes.values().filter(waits).collect();
        let references = self.references.as_ref().map(References::standing);
        let frames: Vec<_> = self.frames.values().map(|frame| (frame.entry.call, frame.script)).collect();
        format!(
            "node {} (up {}, life {:?}): {requests:?} {links:?} {routes:?} {references:?} {frames:?} acks {:?} {} {} {} {}",
            self.index,
            self.up,
            self.life(),
            self.acks,
            self.held(),
            self.owner.standing(),
            self.host.standing(),
            self.supervisors.standing()
        )
    }
}

fn is_empty(link: &Link<Token>, (asks, serving): (usize, usize)) -> bool {
    let load = link.load();
    (load.asks, load.serving) == (asks, serving) && load.queued == 0 && load.work.0 == 0 && load.settle.0 == 0
}
