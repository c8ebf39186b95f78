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
use crate::limits::{ACK_DELAY, FAREWELL, IDLE_LOOK, RETIRING};

impl Node {
    /// Leaves the cluster once nothing was done and kept here for `limit`.
    pub(crate) async fn leave_when_idle(self: Arc<Self>, limit: Duration) {
        loop {
            self.idle_for(limit).await;
            match self.closes_unused().await {
                Ok(true) => return self.retire().await,
                Ok(false) | Err(AskError::HeadAway { .. } | AskError::Nonsense) => {}
                // It may live another one by now.
                Err(AskError::LifeOver { .. }) if self.has_left() => return,
                Err(AskError::LifeOver { .. }) => {}
            }
        }
    }

    async fn idle_for(&self, limit: Duration) {
        let (mut seen, mut since) = (self.busyness(), tokio::time::Instant::now());
        loop {
            tokio::time::sleep(IDLE_LOOK.min(limit / 4).max(ACK_DELAY)).await;
            let now = self.busyness();
            if now != seen || now.is_none() {
                (seen, since) = (now, tokio::time::Instant::now());
            } else if since.elapsed() >= limit {
                return;
            }
        }
    }

    /// Whether the head has nothing on this node and places nothing more there, and nothing came on its way before.
    async fn closes_unused(&self) -> Result<bool, AskError> {
        let closed = self.client().ask(Retire::IfUnused).await;
        if closed == Ok(false) {
            return closed;
        }
        let seen = self.busyness();
        if closed == Ok(true) {
            tokio::time::sleep(RETIRING).await;
            let still = self.busyness();
            if still.is_some() && still == seen {
                return closed;
            }
        }
        // What the head has not answered, it may have done.
        loop {
            match self.client().ask(Retire::NotNow).await {
                Err(AskError::HeadAway { .. }) => {}
                opened => return opened,
            }
        }
    }

    /// None while something runs or lies here, or a peer has not heard all that it asked. Else what changes with all that comes from
    /// elsewhere.
    fn busyness(&self) -> Option<u64> {
        let (load, store) = (self.reference_load(), self.store_usage());
        let references = load.exposed + load.held + load.transit + load.landing;
        let bytes = store.drafts + store.sealed + store.pinned + store.heap;
        let at_work = self.actors().len() + self.isolated_children() + self.tasks_at_hand();
        let links = self.links();
        let idle = references + bytes + at_work == 0 && links.all_answered() && !self.keeps_checkpoints();
        idle.then(|| links.received())
    }

    /// Leaves, and waits until the head knows.
    async fn retire(&self) {
        if self.say_leave() {
            let _ = tokio::time::timeout(FAREWELL, self.farewell()).await;
        }
        self.leave();
    }
}
