//! What a node looks like from outside: where it listens, whether it has come to rest, and if not, why.

use super::links::Token;
use super::network::Listener;
use super::node::Node;
use super::references::References;
use super::routes::Route;
use crate::node::core::link::Link;

impl Node {
    pub(super) fn listener(&self) -> Listener {
        Listener { place: self.place(), machine: self.machine, node: self.id }
    }

    /// Nothing is open here.
    pub(super) fn is_idle(&self) -> bool {
        let waits = self.requests.open().next().is_some();
        let busy = self.links.values().any(|peer| !peer.link.is_ended() && !is_empty(&peer.link));
        let counted = self.references.as_ref().is_some_and(References::is_quiet);
        let runs = !self.owner.is_idle() || !self.host.is_idle();
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
            "node {} (up {}, life {:?}): {requests:?} {links:?} {routes:?} {references:?} {frames:?} acks {:?} {} {} {}",
            self.index,
            self.up,
            self.life(),
            self.acks,
            self.held(),
            self.owner.standing(),
            self.host.standing()
        )
    }
}

fn is_empty(link: &Link<Token>) -> bool {
    let load = link.load();
    load.asks == 0 && load.serving == 0 && load.queued == 0 && load.work.0 == 0 && load.settle.0 == 0
}
