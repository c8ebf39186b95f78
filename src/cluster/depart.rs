//! How a node leaves its cluster: told in time, or for good without being asked.

use std::time::Duration;

use super::client::Cluster;
use crate::directory::journal::JournalError;
use crate::directory::request::JoinError;
use crate::id::Epoch;
use crate::node::runtime::StandingNow;

/// Why a node is out of its cluster for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Departed {
    /// [`Cluster::shutdown`] was called.
    #[error("this node has left the cluster")]
    ShutDown,
    /// The node had to join anew, and the head refused it.
    #[error("the head refuses this node: {0}")]
    Refused(JoinError),
    /// The head was in this process, and nodes have met a later one.
    #[error("another head, of epoch {0}, has taken over: this one has stopped")]
    Replaced(Epoch),
    /// The head was in this process, and cannot write what it decides.
    #[error("the head has stopped: {0}")]
    Journal(JournalError),
}

impl Cluster {
    /// Waits until this node is out of the cluster for good, and says why: what a process that only serves waits for.
    ///
    /// A node that loses its head, or its life, joins anew by itself: that is no such end.
    ///
    /// # Cancel safety
    /// Waiting changes nothing.
    pub async fn departed(&self) -> Departed {
        let mut standing = self.node().standing();
        loop {
            match &*standing.borrow_and_update() {
                StandingNow::Joining | StandingNow::Member(_) => {}
                StandingNow::Left => return Departed::ShutDown,
                StandingNow::Refused(why) => return Departed::Refused(why.clone()),
                StandingNow::Replaced(by) => return Departed::Replaced(*by),
                StandingNow::Unwritten(why) => return Departed::Journal(why.clone()),
            }
            if standing.changed().await.is_err() {
                return Departed::ShutDown;
            }
        }
    }

    /// Lets this node come to its end: nothing that others ask for is placed here any more. Every actor stops as by
    /// [`stop`](crate::actor::handle::Handle::stop); one that may be placed again (`restarts`) does so on another node then, where its
    /// handles find it, and no restart is spent. Tasks of others that have not begun run elsewhere. Waits until all that had begun has
    /// ended and its callers have their answers, at most `limit`. Says whether all came to its end.
    ///
    /// If the head is away, actors that it has placed here stay until the node has left.
    ///
    /// [`shutdown`](Cluster::shutdown) comes after it, and ends what is left. A worker process that is told to end by
    /// SIGTERM does both.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.node().drain(limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::AskError;

    #[tokio::test]
    async fn who_waits_for_the_end_of_a_node_learns_why_it_ended() {
        let cluster = Cluster::local().await.unwrap();
        let waiting = tokio::spawn({
            let cluster = cluster.clone();
            async move { cluster.departed().await }
        });
        cluster.shutdown().await;
        assert_eq!(waiting.await.unwrap(), Departed::ShutDown);
        assert_eq!(cluster.departed().await, Departed::ShutDown, "also who asks later");
    }

    #[tokio::test]
    async fn a_head_that_was_replaced_is_no_cluster_any_more() {
        let cluster = Cluster::local().await.unwrap();
        cluster.node().head_replaced(Epoch(9));
        assert_eq!(cluster.departed().await, Departed::Replaced(Epoch(9)));
        assert!(matches!(cluster.status().await, Err(AskError::LifeOver { .. })));
    }
}
