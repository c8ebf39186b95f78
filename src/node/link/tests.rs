use super::*;
use crate::id::NodeId;
use std::sync::Weak;

/// A node that runs tasks, and knows nobody.
struct Alone(NodeRef);

impl Surroundings for Alone {
    fn request(&self, _: &Incoming<'_>) -> Option<Arc<dyn Served>> {
        None
    }
    fn connect(&self, _: &Arc<PeerLink>) {}
    fn run(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }
    fn here(&self) -> &NodeRef {
        &self.0
    }
    fn probed(&self, _: &PeerLink, _: &Probe<'_>) {}
    fn attach(&self, _: Life, _: &List<'_, Ref>) -> Enclosed {
        Enclosed::default()
    }
    fn enclose(&self, _: Life, _: &Enclosed) {}
    fn not_sent(&self, _: Life, _: &Enclosed) {}
    fn pin(&self, _: Life, _: &mut Enclosed) {}
    fn broken(&self, _: Life) {}
    fn counted(&self, _: Life, _: &Settle<'_>) -> bool {
        true
    }
}

fn party(number: u8) -> Party {
    Party { node: NodeId([number; 32]), life: Life(u64::from(number)) }
}

#[tokio::test]
async fn what_is_done_for_the_peer_alone_ends_with_the_link() {
    let link = PeerLink::start(party(1), party(2), Arc::new(Alone(Arc::new(()))));
    let waits_for = || -> Weak<()> {
        let kept = Arc::new(());
        let waiter = Arc::downgrade(&kept);
        link.spawn_linked(Box::pin(async move {
            std::future::pending::<()>().await;
            drop(kept);
        }));
        waiter
    };
    let before = waits_for();
    tokio::task::yield_now().await;
    assert!(before.upgrade().is_some(), "it waits while there is a link");
    link.end(Failure::Ended);
    let after = waits_for();
    let gone = async {
        while before.upgrade().is_some() || after.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.expect("nobody waits for a peer that is gone");
}
