use super::*;
use crate::actor::remote::Outgoing;
use crate::id::{ActorId, Key, NodeId, Placement};
use crate::wire::packet::{Answer, Flags, Outcome, Request, Work};
use std::sync::Weak;

/// A node that runs tasks, and knows nobody.
struct Alone(NodeRef);

impl Surroundings for Alone {
    fn request(&self, _: &Incoming<'_>) -> Option<Arc<dyn Served>> {
        None
    }
    fn may_send(&self, _: Moment) -> bool {
        true
    }
    fn after_message(&self, _: Moment) {}
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

/// Waits for an answer, and says how often it was told that none comes; one that is a user's panics then.
#[derive(Default)]
struct Waiter {
    panics: bool,
    failed: AtomicUsize,
}

impl Caller for Waiter {
    fn told(&self) {}
    fn item(self: Arc<Self>, _: Enclosed, _: &[u8], _: usize) {}
    fn answered(self: Arc<Self>, _: Outcome<'_>, _: Enclosed) {}
    fn failed(self: Arc<Self>, _: CallError) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics, "on purpose: a waker that panics");
    }
}

#[tokio::test]
async fn a_caller_whose_code_panics_keeps_nobody_else_from_its_end() {
    let link = PeerLink::start(party(1), party(2), Arc::new(Alone(Arc::new(()))));
    let stream = link.open_stream();
    let waiters = [true, false, true, false].map(|panics| Arc::new(Waiter { panics, ..Waiter::default() }));
    for waiter in &waiters {
        let mut packet = Vec::new();
        let actor = ActorId { life: Life(2), serial: 1 };
        let request = Request {
            placement: Placement(1),
            actor,
            flags: Flags::ASK,
            ..link.to_node(Flags::ASK, Key(1), List::EMPTY, b"")
        };
        Work::Request(request).encode(&mut packet);
        let (packet, enclosed) = (&mut packet[..], &Enclosed::default());
        let caller: Arc<dyn Caller> = waiter.clone();
        link.request(stream, Outgoing { packet, deadline: None, enclosed }, &caller).expect("it waits for a session");
    }
    let (ran, ends) = (Arc::new(AtomicUsize::new(0)), Arc::downgrade(&waiters[0]));
    let counts = ran.clone();
    link.after_acknowledged(Box::new(|| panic!("on purpose: and so does what comes after")));
    link.after_acknowledged(Box::new(move || _ = counts.fetch_add(1, Ordering::Relaxed)));
    link.end(Failure::Ended);
    assert_eq!(waiters.each_ref().map(|waiter| waiter.failed.load(Ordering::Relaxed)), [1; 4]);
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    drop(waiters);
    assert!(ends.upgrade().is_none());
}

#[tokio::test]
async fn an_answer_that_does_not_decode_fails_its_caller_and_breaks_the_link_whoever_panics_beside_it() {
    let link = PeerLink::start(party(1), party(2), Arc::new(Alone(Arc::new(()))));
    let (peer, mut packet): (Arc<dyn Peer>, _) = (link.clone(), Vec::new());
    Settle::Answer(Answer { call: 1, outcome: Outcome::Value { refs: List::EMPTY, body: b"" } }).encode(&mut packet);
    // No outcome is called that.
    packet[2] = 77;
    let waiters = [true, false, true, false].map(|panics| Arc::new(Waiter { panics, ..Waiter::default() }));
    let at = link::Span::within(&packet, &packet);
    let answers = waiters.iter().map(|waiter| Delivery::Answer { token: waiter.clone() as Token, order: 0, at });
    let (mut deliveries, late) = (answers.collect::<Vec<_>>(), Delivery::Settle { at });
    assert!(matches!(link.deliver(&peer, &packet, &mut deliveries), Err(Breach::Wire(_))));
    assert_eq!(waiters.each_ref().map(|waiter| waiter.failed.load(Ordering::Relaxed)), [1; 4]);
    assert!(matches!(link.deliver(&peer, &packet, &mut vec![late]), Err(Breach::Wire(_))));
    link.end(Failure::Ended);
}

#[test]
fn a_peer_is_dialled_again_after_ever_longer_pauses() {
    let mut redial = Redial::default();
    let pauses: Vec<_> = (0..10).map(|_| redial.pause().as_millis()).collect();
    assert_eq!(pauses, [0, 5, 10, 20, 40, 80, 160, 320, 500, 500]);
}
