//! A node that leaves once it has had nothing to do for a while.
//!
//! ```text
//! idle for the limit ─▶ the head closes it, if it knows of nothing there ─▶ what was on its way has come ─▶ still idle: it leaves
//!                            not closed: it goes on                            else: open again, and on it goes
//! ```

use std::sync::Arc;
use std::time::Duration;

use super::runtime::Node;
use crate::directory::AskError;
use crate::directory::request::Retire;
use crate::limits::{FAREWELL, IDLE_LOOK, RETIRING};

impl Node {
    /// Leaves the cluster once nothing was done and kept here for `limit`.
    pub(crate) async fn leave_when_idle(self: Arc<Self>, limit: Duration) {
        loop {
            self.idle_for(limit).await;
            if self.closes_unused().await {
                self.retire().await;
                return;
            }
        }
    }

    async fn idle_for(&self, limit: Duration) {
        let (mut seen, mut since) = (self.busyness(), tokio::time::Instant::now());
        while since.elapsed() < limit {
            tokio::time::sleep(IDLE_LOOK.min(limit / 4)).await;
            let now = self.busyness();
            if now != seen || now.is_none() {
                (seen, since) = (now, tokio::time::Instant::now());
            }
        }
    }

    /// Whether the head has nothing on this node and places nothing more there, and nothing came on its way before.
    async fn closes_unused(&self) -> bool {
        if self.client().ask(Retire::IfUnused).await != Ok(true) {
            return false;
        }
        let seen = self.busyness();
        tokio::time::sleep(RETIRING).await;
        let still = self.busyness();
        if still.is_some() && still == seen {
            return true;
        }
        while let Err(AskError::HeadAway { .. }) = self.client().ask(Retire::NotNow).await {}
        false
    }

    /// None while something runs or lies here. Else what changes with all that comes from elsewhere.
    fn busyness(&self) -> Option<u64> {
        let (load, store) = (self.reference_load(), self.store_usage());
        let references = load.exposed + load.held + load.transit + load.landing;
        let bytes = store.drafts + store.sealed + store.pinned + store.heap;
        let at_work = self.actors().len() + self.isolated_children() + self.tasks_at_hand();
        (references + bytes + at_work == 0).then(|| self.links().received())
    }

    /// Leaves, and waits until the head knows.
    async fn retire(&self) {
        if self.say_leave() {
            let _ = tokio::time::timeout(FAREWELL, self.farewell()).await;
        }
        self.leave();
    }
}
