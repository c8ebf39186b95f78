//! The two places that use [`Flag`].

use super::flag::Flag;
use crate::check;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// The store's housekeeper says that it wants idle objects, and looks at how many have one; who lets go of it hears that.
#[test]
fn an_object_that_becomes_idle_is_seen_or_its_last_viewer_hears() {
    check(3, || {
        let both = Arc::new((Flag::default(), AtomicUsize::new(2)));
        let viewer = thread::spawn({
            let both = both.clone();
            move || {
                // As `Arc` does.
                both.1.fetch_sub(1, Ordering::Release);
                both.0.hear()
            }
        });
        both.0.set(true);
        let idle = both.1.load(Ordering::Relaxed) == 1;
        assert!(viewer.join().unwrap() || idle, "the object stays in memory, and nobody looks again");
    });
}

/// The queue says that tasks are ready, the host that a slot may be lent: both may change their word.
#[test]
fn a_slot_that_can_be_lent_meets_the_task_that_wants_it() {
    check(3, || {
        let both = Arc::new((Flag::default(), Flag::default()));
        let host = thread::spawn({
            let both = both.clone();
            move || {
                both.0.set(false);
                both.0.set(true);
                both.1.get()
            }
        });
        both.1.set(false);
        both.1.set(true);
        let lends = both.0.get();
        assert!(host.join().unwrap() || lends, "a task waits beside a slot");
    });
}
