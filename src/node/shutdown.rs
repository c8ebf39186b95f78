//! The end of a node that is told in time: its actors stop, and what they answered arrives.

use std::time::Duration;

use super::runtime::Node;
use crate::limits::ACK_DELAY;

impl Node {
    /// Stops every actor that this node hosts, as `stop` does, and waits until they have ended and their callers have
    /// acknowledged what was answered, at most `limit`. Says whether all came to its end.
    ///
    /// The head learns of the ends, but places actors here until the node leaves: those stop as well.
    pub(crate) async fn drain(&self, limit: Duration) -> bool {
        let drained = async {
            loop {
                self.actors().stop();
                if self.actors().len() == 0 && self.links().all_acknowledged() {
                    return;
                }
                tokio::time::sleep(ACK_DELAY).await;
            }
        };
        tokio::time::timeout(limit, drained).await.is_ok()
    }
}
