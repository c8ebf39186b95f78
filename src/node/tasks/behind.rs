//! Tasks that were pushed behind others whose results they take: they begin when those are there, without a word from their
//! owner in between.

use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::arrive::Arrived;
use super::line::{Ready, Whose};
use super::owner::Queued;
use crate::actor::inbox::Host as _;
use crate::id::GrantId;
use crate::node::runtime::Node;
use crate::object::entry::{Entry, Watch};
use crate::wire::packet::CallFault;

struct Behind {
    node: Arc<Node>,
    grant: GrantId,
    missing: AtomicUsize,
    results: Vec<Arc<Entry>>,
    ready: Mutex<Option<(Ready, Option<Queued>)>>,
}

impl Node {
    /// Runs a task under a grant once these results are there. One of a peer goes back if any of them fails.
    pub(super) fn run_behind(
        self: &Arc<Self>,
        grant: GrantId,
        ready: Ready,
        own: Option<Queued>,
        results: Vec<Arc<Entry>>,
    ) {
        if let Whose::Peer(arrived) = &ready.whose
            && !self.tasks().host.stand_behind(grant)
        {
            return arrived.refuse(CallFault::NoGrant);
        }
        let count = results.len();
        let (missing, ready) = (AtomicUsize::new(count), Mutex::new(Some((ready, own))));
        let behind = Arc::new(Behind { node: self.clone(), grant, missing, results, ready });
        let watch: Arc<dyn Watch> = behind.clone();
        let settled = behind.results.iter().filter(|result| result.watch(&watch, 0).is_none()).count();
        (0..settled).for_each(|_| behind.clone().settled(0));
    }

    /// Runs a task under a grant, or says that this is over.
    pub(super) fn run_or_refuse(self: &Arc<Self>, grant: GrantId, ready: Ready) {
        self.run_or_return(grant, ready, None);
    }

    /// The same; one of this node's own goes back to its queue as it was there, even if that has lost it meanwhile.
    pub(super) fn run_or_return(self: &Arc<Self>, grant: GrantId, ready: Ready, own: Option<Queued>) {
        let Err(ready) = self.run_under(grant, ready) else { return };
        match (&ready.whose, own) {
            (Whose::Peer(arrived), _) => arrived.refuse(CallFault::NoGrant),
            (Whose::Own(number), own) => self.refused_here(grant, *number, own),
            (Whose::Alone, _) => {}
        }
    }
}

impl Watch for Behind {
    fn settled(self: Arc<Self>, _: usize) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let Some((ready, own)) = self.ready.lock().take() else { return };
        if let Whose::Peer(_) = &ready.whose {
            self.node.tasks().host.step_up(self.grant);
        }
        let failed = || self.results.iter().any(|result| !matches!(result.outcome(), Some(Ok(_))));
        match &ready.whose {
            Whose::Peer(arrived) if failed() => {
                // In a task of its own: those behind it are refused in turn, and there may be many.
                let arrived: Arc<Arrived> = arrived.clone();
                self.node.spawn(Box::pin(async move {
                    arrived.refuse(CallFault::ReferenceLost);
                    drop(ready);
                }));
            }
            _ => self.node.run_or_return(self.grant, ready, own),
        }
    }
}
