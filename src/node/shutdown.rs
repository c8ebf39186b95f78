//! The end of a node that is told in time: its actors stop, and what they answered arrives.

use std::time::Duration;

use super::runtime::Node;
use crate::directory::request::Retire;
use crate::limits::{ACK_DELAY, FAREWELL};

impl Node {
    /// Stops every actor that this node hosts, as `stop` does, and waits until they have ended and their callers have
    /// acknowledged what was answered, at most `limit`. Says whether all came to its end.
    ///
    /// What is placed here meanwhile, by a head that could not be told, stops as well.
    pub(crate) async fn drain(&self, limit: Duration) -> bool {
        let drained = async {
            // Nothing more is placed here, if the head can be told in time.
            let _ = tokio::time::timeout(FAREWELL, self.client().ask(Retire::Anyway)).await;
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
