//! The one actor of a process that is an actor's own, which ends with it.

use tokio::sync::watch;

use super::Isolated;
use crate::directory::client::Client;
use crate::limits::{ACK_DELAY, FAREWELL, ISOLATED_JOIN};
use crate::node::links::Links;

/// How far the one actor of this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Expected,
    Made,
    Over,
}

/// What a node knows that is the process of one actor.
pub(in crate::node) struct Only {
    pub(in crate::node) of: Isolated,
    stage: watch::Sender<Stage>,
}

impl Only {
    pub(super) fn new(of: Isolated) -> Only {
        Only { of, stage: watch::Sender::new(Stage::Expected) }
    }

    pub(in crate::node) fn made(&self) {
        self.stage.send_replace(Stage::Made);
    }

    pub(in crate::node) fn over(&self) {
        self.stage.send_replace(Stage::Over);
    }

    /// Waits until there is no more for this process to do: its actor has ended, and its callers have heard of that, or it
    /// never came.
    pub(super) async fn done(&self, links: &Links, client: &Client) {
        let mut stage = self.stage.subscribe();
        let come = stage.wait_for(|stage| *stage != Stage::Expected);
        if tokio::time::timeout(ISOLATED_JOIN, come).await.is_err() {
            return;
        }
        let _ = stage.wait_for(|stage| *stage == Stage::Over).await;
        let heard = async {
            while !links.all_answered() {
                tokio::time::sleep(ACK_DELAY).await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, heard).await;
        // Else the head would take its end for that of its node, and place it again. Ends with this life at the latest.
        while client.has_reports() {
            tokio::time::sleep(ACK_DELAY).await;
        }
    }
}
