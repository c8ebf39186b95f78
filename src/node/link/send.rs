//! The task that sends a link's batches.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::{Instant, Sleep};

use super::PeerLink;
use crate::actor::remote::Peer;
use crate::clock::{self, Moment};
use crate::limits::BATCH_BYTES;
use crate::net::Closed;

/// Takes what the core has and sends it; waits for more, or for the next thing that is due.
pub(super) async fn send_batches(link: Arc<PeerLink>) {
    let (mut batch, mut alarm) = (Vec::with_capacity(BATCH_BYTES / 4), Alarm::default());
    loop {
        let next = {
            let mut core = link.core.lock();
            if core.link.is_ended() {
                return;
            }
            let now = link.now();
            link.around.may_send(now).then(|| {
                let taken = core.link.take_batch(now, &mut batch);
                taken.map(|id| core.session.clone().filter(|session| session.id() == id))
            })
        };
        let Some(next) = next else {
            // The life is over, and whoever fences it ends the link: nothing more is sent (PROTOCOLS §2.3).
            link.sender.notified().await;
            continue;
        };
        match next {
            Some(Some(session)) => {
                link.around.after_message(link.recent());
                if session.send(&batch).await.is_err() {
                    link.closed(&session);
                }
            }
            // The session went in between: its successor is said hello.
            Some(None) => {}
            None => idle(&link, &mut alarm).await,
        }
    }
}

/// Somebody sends much and goes on and on. The task that would take it was woken on the same thread of the runtime, as the
/// next one there; once another one is, an idle thread takes it from there.
pub(super) fn hurry() {
    let runtime = Handle::try_current().ok().filter(|of| of.runtime_flavor() == RuntimeFlavor::MultiThread);
    if let Some(runtime) = runtime {
        drop(runtime.spawn(std::future::ready(())));
    }
}

/// When the task looks by itself. To set a timer wakes the runtime's driver, and what is due mostly comes to nothing: an
/// acknowledgement goes with the next batch. So an alarm that goes off before something is due is left as it is.
#[derive(Default)]
struct Alarm(Option<(Moment, Pin<Box<Sleep>>)>);

impl Alarm {
    /// When it goes off if it is to do so by `at`.
    fn by(&self, at: Moment) -> Moment {
        self.0.as_ref().map_or(at, |(set, _)| at.min(*set))
    }

    /// Waits until `at`, or until it goes off before that.
    async fn rings(&mut self, now: Moment, at: Moment) {
        let instant = || Instant::now() + at.since(now);
        let (set, sleep) = self.0.get_or_insert_with(|| (at, Box::pin(tokio::time::sleep_until(instant()))));
        if *set > at {
            *set = at;
            sleep.as_mut().reset(instant());
        }
        sleep.await;
        self.0 = None;
    }
}

/// Waits until there is something to send, and does what is due meanwhile.
async fn idle(link: &Arc<PeerLink>, alarm: &mut Alarm) {
    let (deadline, wants) = {
        let core = link.core.lock();
        let deadline = core.link.deadline();
        // Under the lock: a change after this one finds it.
        link.armed.store(deadline.map_or(u64::MAX, |at| alarm.by(at).0), Ordering::Relaxed);
        (deadline, core.link.wants_session())
    };
    if wants {
        link.around.connect(link);
    }
    let now = clock::now();
    match deadline {
        Some(at) if at > now => {
            tokio::select! {
                () = link.sender.notified() => return link.armed.store(0, Ordering::Relaxed),
                () = alarm.rings(now, at) => {}
            }
        }
        Some(_) => {}
        None => {
            link.sender.notified().await;
            return link.armed.store(0, Ordering::Relaxed);
        }
    }
    link.armed.store(0, Ordering::Relaxed);
    let peer: Arc<dyn Peer> = link.clone();
    let mut deliveries = link.apply.lock();
    let mut core = link.core.lock();
    let mute = core.link.tick(clock::now(), &mut deliveries);
    let mute = mute.and_then(|id| core.session.take_if(|session| session.id() == id));
    drop(core);
    // Nothing arrives with it.
    let _ = link.deliver(&peer, &[], &mut deliveries);
    drop(deliveries);
    if let Some(session) = mute {
        session.close(Closed::Peer);
    }
}
