//! When a link's peer is dialled again.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::PeerLink;
use crate::limits::{REDIAL_FIRST, REDIAL_LAST};

/// The pauses between dials of one peer: none before the first, then ever longer ones until a session has had both its hellos.
#[derive(Debug, Default)]
pub(super) struct Redial(Option<Duration>);

impl Redial {
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.0.unwrap_or_default();
        self.0 = Some(self.0.map_or(REDIAL_FIRST, |last| (last * 2).clamp(REDIAL_FIRST, REDIAL_LAST)));
        pause
    }
}

impl PeerLink {
    /// Whether the other one is to see to a session; `false` while someone does.
    pub(in crate::node) fn begin_connecting(&self) -> bool {
        !self.connecting.swap(true, Ordering::AcqRel)
    }

    pub(in crate::node) fn end_connecting(&self) {
        self.connecting.store(false, Ordering::Release);
    }

    /// How long to wait before the next try.
    pub(in crate::node) fn redial_pause(&self) -> Duration {
        self.redial.lock().pause()
    }
}
