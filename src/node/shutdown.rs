//! The end of a node that is told in time: its actors stop, tasks that it has begun come to their end, and what it answered
//! arrives.
//!
//! ```text
//! told to end ─▶ the head closes it to others ─▶ actors that may be placed again leave, tasks that have not begun go elsewhere
//!                                             └▶ the others stop, and what runs comes to its end ─▶ nothing is under way any more
//! ```

use std::time::Duration;

use super::actors::Known;
use super::runtime::Node;
use crate::actor::mailbox::Then;
use crate::directory::request::{Ended, Gone, LifeEnd, Retire};
use crate::id::{ActorId, Epoch, Placement};
use crate::limits::{ACK_DELAY, FAREWELL, RETIRING};

impl Node {
    /// Has the head place nothing of others here any more and let those actors leave that it would place again; stops the
    /// others, as `stop` does; and waits until all have ended, tasks that had begun as well, and their callers have
    /// acknowledged what was answered, at most `limit`. Says whether all came to its end.
    ///
    /// If the head is away, what it has placed here stays: it is placed again after this node's end, if it may be.
    pub(crate) async fn drain(&self, limit: Duration) -> bool {
        let drained = async {
            let (mut told, mut still) = (None, None);
            loop {
                let epoch = Node::epoch(self);
                // A head that has just started knows nothing of it.
                if told != Some(epoch) {
                    told = self.closes_to_others().await.then_some(epoch);
                }
                if self.is_drained(told) {
                    // What was sent before its sender heard of it has come by then, and is refused.
                    let since = still.get_or_insert_with(tokio::time::Instant::now);
                    if since.elapsed() >= RETIRING {
                        return;
                    }
                } else {
                    still = None;
                }
                tokio::time::sleep(ACK_DELAY).await;
            }
        };
        tokio::time::timeout(limit, drained).await.is_ok()
    }

    async fn closes_to_others(&self) -> bool {
        let asked = tokio::time::timeout(FAREWELL, self.client().ask(Retire::Drains)).await;
        matches!(asked, Ok(Ok(_)))
    }

    /// Stops what is here, and says whether nothing is. What is to leave is about to, once the head was told.
    fn is_drained(&self, told: Option<Epoch>) -> bool {
        self.actors().stop(|entry| told.is_some() || entry.known != Known::Placed);
        let stays = if told.is_some() { 0 } else { self.actors().known().len() };
        self.actors().len() <= stays && self.is_running_no_tasks() && self.links().all_acknowledged()
    }

    /// The head has an actor leave this node, which is about to.
    pub(super) fn move_ordered(&self, actor: ActorId, placement: Placement) {
        match self.actors().get(actor).filter(|hosted| hosted.placement() == placement) {
            Some(hosted) => hosted.stop(Then::Elsewhere),
            // It ended meanwhile, and said so; or never came to be.
            None => {
                let why = Gone::NodeEnded { life: self.last_life(), why: LifeEnd::Left };
                self.client().report(Ended { actor, placement, why });
            }
        }
    }
}
