//! What is promised of every actor, wherever it lives: one suite, which runs on actors of the calling process and on
//! those of another one.

use crate::common::bounded;
use mobula::prelude::*;
use mobula::{EndReason, Executed, Timer, TryTellError, Waiting};
use std::time::Duration;
use tokio::sync::watch;

/// Lets tests wait for actors, and actors for tests; both may be in other processes.
#[actor]
pub struct Gate {
    arrived: watch::Sender<u64>,
    open: watch::Sender<bool>,
    left: std::sync::Mutex<Option<Vec<u64>>>,
}

#[methods(concurrency = 256)]
impl Gate {
    #[constructor]
    pub fn new() -> Self {
        Self { arrived: watch::Sender::new(0), open: watch::Sender::new(false), left: std::sync::Mutex::default() }
    }

    pub fn arrive(&self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
    }

    /// Waits until so many have arrived.
    pub async fn reached(&self, arrived: u64) {
        let mut watched = self.arrived.subscribe();
        let reached = watched.wait_for(|now| *now >= arrived).await;
        reached.expect("the sender is this actor's own");
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Arrives, and waits until it is open.
    pub async fn pass(&self) {
        self.arrive();
        let mut watched = self.open.subscribe();
        let opened = watched.wait_for(|open| *open).await;
        opened.expect("the sender is this actor's own");
    }

    pub fn leave(&self, noted: Vec<u64>) {
        *self.left.lock().unwrap() = Some(noted);
    }

    /// What an actor left here when it stopped.
    pub fn left(&self) -> Option<Vec<u64>> {
        self.left.lock().unwrap().clone()
    }
}

/// Does one thing at a time, and notes what.
#[actor]
pub struct Clerk {
    gate: GateHandle,
    noted: Vec<u64>,
    most_waiting: usize,
    timer: Option<Timer>,
}

#[methods]
impl Clerk {
    #[constructor]
    pub fn at(gate: GateHandle) -> Self {
        Self { gate, noted: Vec::new(), most_waiting: 0, timer: None }
    }

    pub fn note(&mut self, number: u64, ctx: &mut ActorContext<Self>) {
        self.noted.push(number);
        self.most_waiting = self.most_waiting.max(ctx.waiting());
    }

    pub fn noted(&self) -> Vec<u64> {
        self.noted.clone()
    }

    pub fn count(&self) -> u64 {
        self.noted.len() as u64
    }

    /// The first number that came before its time, where two nodes count: one from zero, one from `second`.
    pub fn out_of_order(&self, second: u64) -> Option<u64> {
        let mut next = [0, second];
        self.noted.iter().copied().find(|number| {
            let next = &mut next[usize::from(*number >= second)];
            let early = number != next;
            *next += 1;
            early
        })
    }

    pub fn most_waiting(&self) -> usize {
        self.most_waiting
    }

    /// Notes once the gate has let it pass.
    pub async fn pass(&mut self, number: u64) -> Result<(), CallError> {
        self.gate.pass().await?;
        self.noted.push(number);
        Ok(())
    }

    #[method(cancel)]
    pub async fn give_up(&mut self, number: u64) -> Result<(), CallError> {
        self.gate.pass().await?;
        self.noted.push(number);
        Ok(())
    }

    #[method(blocking)]
    pub fn thread(&mut self) -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    pub fn note_after(&mut self, milliseconds: u64, number: u64, ctx: &mut ActorContext<Self>) {
        self.timer = Some(ctx.after(Duration::from_millis(milliseconds), move |me| me.note(number)));
    }

    pub fn note_every(&mut self, milliseconds: u64, number: u64, ctx: &mut ActorContext<Self>) {
        self.timer = Some(ctx.every(Duration::from_millis(milliseconds), move |me| me.note(number)));
    }

    pub fn forget(&mut self) {
        self.timer.take().expect("a timer").cancel();
    }

    #[on_stop]
    async fn last(&mut self) {
        // The gate may have ended with the test.
        let _ = self.gate.leave(std::mem::take(&mut self.noted)).await;
    }
}

/// Does several things at a time, and counts how many at most.
#[actor]
pub struct Crowd {
    gate: GateHandle,
    now: [std::sync::atomic::AtomicUsize; 2],
    most: [std::sync::atomic::AtomicUsize; 2],
}

#[methods(concurrency = 2, groups(io = 3))]
impl Crowd {
    #[constructor]
    pub fn at(gate: GateHandle) -> Self {
        Self { gate, now: Default::default(), most: Default::default() }
    }

    pub async fn enter(&self) -> Result<(), CallError> {
        self.within(0).await
    }

    #[method(group = "io")]
    pub async fn enter_io(&self) -> Result<(), CallError> {
        self.within(1).await
    }

    /// How many are inside, and have been at most.
    pub fn alone(&mut self) -> ([usize; 2], [usize; 2]) {
        let read = |counts: &[std::sync::atomic::AtomicUsize; 2]| {
            [0, 1].map(|at: usize| counts[at].load(std::sync::atomic::Ordering::SeqCst))
        };
        (read(&self.now), read(&self.most))
    }

    async fn within(&self, group: usize) -> Result<(), CallError> {
        use std::sync::atomic::Ordering::SeqCst;
        let inside = 1 + self.now[group].fetch_add(1, SeqCst);
        self.most[group].fetch_max(inside, SeqCst);
        let passed = self.gate.pass().await;
        self.now[group].fetch_sub(1, SeqCst);
        passed
    }
}

async fn gate_and_clerk(cluster: &Cluster) -> (GateHandle, ClerkHandle) {
    let gate = bounded(Gate::spawn(cluster)).await.unwrap();
    let clerk = bounded(Clerk::spawn(cluster, &gate)).await.unwrap();
    (gate, clerk)
}

/// A call that has taken its place in line.
async fn begun<C: Future + Unpin>(mut call: C) -> C
where
    C::Output: std::fmt::Debug,
{
    let polled = futures::poll!(&mut call);
    assert!(polled.is_pending(), "{polled:?}");
    call
}

pub async fn a_stopped_actor_first_does_what_waits_and_then_its_last(cluster: &Cluster) {
    let (gate, clerk) = gate_and_clerk(cluster).await;
    let passes = begun(clerk.pass(1)).await;
    let asked = begun(clerk.note(2)).await;
    bounded(clerk.note(3).tell()).await.unwrap();
    bounded(gate.reached(1)).await.unwrap();
    let ending = begun(clerk.stop()).await;
    bounded(gate.open()).await.unwrap();
    bounded(passes).await.unwrap();
    bounded(asked).await.unwrap();
    assert_eq!(bounded(ending).await, Ok(EndReason::Stopped));
    assert_eq!(bounded(clerk.ended()).await, Ok(EndReason::Stopped), "also later");
    assert_eq!(bounded(gate.left()).await, Ok(Some(vec![1, 2, 3])));
    let late = bounded(clerk.note(4)).await.unwrap_err();
    assert!(matches!(&late, CallError::ActorDied { executed: Executed::No, .. }), "{late:?}");
    assert!(matches!(clerk.note(4).try_tell(), Err(TryTellError::Failed(_)) | Ok(())));
}

pub async fn a_killed_actor_does_nothing_more(cluster: &Cluster) {
    let (gate, clerk) = gate_and_clerk(cluster).await;
    let passes = begun(clerk.pass(1)).await;
    let asked = begun(clerk.note(2)).await;
    bounded(gate.reached(1)).await.unwrap();
    assert_eq!(bounded(clerk.kill()).await, Ok(EndReason::Killed));
    let ran = bounded(passes).await.unwrap_err();
    assert!(matches!(&ran, CallError::ActorDied { reason: EndReason::Killed, .. }), "{ran:?}");
    assert_ne!(ran.executed(), Executed::No);
    let waited = bounded(asked).await.unwrap_err();
    assert!(matches!(&waited, CallError::ActorDied { reason: EndReason::Killed, executed: Executed::No, .. }));
    assert_eq!(bounded(clerk.ended()).await, Ok(EndReason::Killed));
    assert_eq!(bounded(gate.left()).await, Ok(None));
}

pub async fn a_dropped_call_never_runs_unless_it_has_begun(cluster: &Cluster) {
    let (gate, clerk) = gate_and_clerk(cluster).await;
    let passes = begun(clerk.pass(1)).await;
    bounded(gate.reached(1)).await.unwrap();
    drop(begun(clerk.note(2)).await);
    drop(passes);
    bounded(gate.open()).await.unwrap();
    assert_eq!(bounded(clerk.noted()).await, Ok(vec![1]), "what ran has finished, what waited never runs");
}

pub async fn a_call_that_may_be_cancelled_is_dropped_where_it_waits(cluster: &Cluster) {
    let (gate, clerk) = gate_and_clerk(cluster).await;
    let given_up = begun(clerk.give_up(1)).await;
    bounded(gate.reached(1)).await.unwrap();
    drop(given_up);
    assert_eq!(bounded(clerk.noted()).await, Ok(vec![]));
    bounded(gate.open()).await.unwrap();
    bounded(clerk.give_up(2)).await.unwrap();
    assert_eq!(bounded(clerk.noted()).await, Ok(vec![2]));
}

pub async fn a_call_whose_time_is_up_says_what_it_waited_for_and_never_runs(cluster: &Cluster) {
    let (gate, clerk) = gate_and_clerk(cluster).await;
    let limit = Duration::from_millis(30);
    let ran = bounded(clerk.pass(1).timeout(limit)).await.unwrap_err();
    // Of what another node has, this one knows no more.
    let runs = |waiting: &Waiting| matches!(waiting, Waiting::Running | Waiting::OnTheWay);
    assert!(matches!(&ran, CallError::Timeout { after, waiting, .. } if *after == limit && runs(waiting)), "{ran:?}");
    assert_ne!(ran.executed(), Executed::No);
    let waited = bounded(clerk.note(2).timeout(limit)).await.unwrap_err();
    let stands = |waiting: &Waiting| matches!(waiting, Waiting::InMailbox | Waiting::OnTheWay);
    assert!(matches!(&waited, CallError::Timeout { waiting, .. } if stands(waiting)), "{waited:?}");
    assert!(waited.to_string().contains("no reply within 30ms"), "{waited}");
    bounded(gate.open()).await.unwrap();
    assert_eq!(bounded(clerk.noted()).await, Ok(vec![1]));
}

pub async fn a_full_mailbox_gives_the_call_back_and_keeps_the_order(cluster: &Cluster) {
    let (gate, clerk) = gate_and_clerk(cluster).await;
    let passes = begun(clerk.pass(0)).await;
    bounded(gate.reached(1)).await.unwrap();
    let mut taken = 0;
    let given_back = loop {
        match clerk.note(taken + 1).try_tell() {
            Ok(()) => taken += 1,
            Err(TryTellError::Full(call)) => break call,
            Err(error) => panic!("{error}"),
        }
        assert!(taken < 2_000, "a mailbox is bounded");
    };
    assert_eq!(given_back.target(), Some(clerk.id()));
    let line = begun(given_back.tell()).await;
    let behind = begun(clerk.note(taken + 2)).await;
    bounded(gate.open()).await.unwrap();
    bounded(passes).await.unwrap();
    bounded(line).await.unwrap();
    bounded(behind).await.unwrap();
    assert_eq!(bounded(clerk.noted()).await, Ok((0..=taken + 2).collect()));
}

pub async fn what_may_be_tried_again_is_told_at_once_too(cluster: &Cluster) {
    let (gate, clerk) = gate_and_clerk(cluster).await;
    // A first call opens the way, if it is far.
    bounded(clerk.note(0)).await.unwrap();
    for number in 1..=10 {
        clerk.note(number).retries((number % 2) as u32).try_tell().unwrap();
    }
    // One that may be cancelled is not, though nobody waits for it.
    clerk.give_up(11).retries(1).try_tell().unwrap();
    bounded(gate.reached(1)).await.unwrap();
    bounded(gate.open()).await.unwrap();
    assert_eq!(bounded(clerk.noted()).await, Ok((0..=11).collect()));
}

pub async fn a_call_that_was_polled_goes_on_when_it_is_told(cluster: &Cluster) {
    let (gate, clerk) = gate_and_clerk(cluster).await;
    let passes = begun(clerk.pass(1)).await;
    bounded(gate.reached(1)).await.unwrap();
    let asked = begun(clerk.note(2)).await;
    bounded(asked.tell()).await.unwrap();
    begun(clerk.note(3)).await.try_tell().unwrap();
    bounded(gate.open()).await.unwrap();
    bounded(passes).await.unwrap();
    assert_eq!(bounded(clerk.noted()).await, Ok(vec![1, 2, 3]));
}

pub async fn timers_send_when_they_are_due_until_they_are_cancelled(cluster: &Cluster) {
    let (_gate, clerk) = gate_and_clerk(cluster).await;
    let noted = async |count: usize| {
        let enough = async {
            loop {
                let noted = bounded(clerk.noted()).await.unwrap();
                if noted.len() >= count {
                    break noted;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        bounded(enough).await
    };
    bounded(clerk.note_after(400, 3)).await.unwrap();
    bounded(clerk.note_after(200, 2)).await.unwrap();
    bounded(clerk.forget()).await.unwrap();
    bounded(clerk.note_after(1, 1)).await.unwrap();
    assert_eq!(noted(2).await, [1, 3], "2 was cancelled");
    bounded(clerk.note_every(1, 4)).await.unwrap();
    assert_eq!(noted(5).await[..5], [1, 3, 4, 4, 4]);
}

pub async fn calls_share_an_actor_within_the_limits_of_their_groups(cluster: &Cluster) {
    let gate = bounded(Gate::spawn(cluster)).await.unwrap();
    let crowd = bounded(Crowd::spawn(cluster, &gate)).await.unwrap();
    let mut calls = Vec::new();
    for _ in 0..6 {
        calls.push(begun(crowd.enter()).await);
        calls.push(begun(crowd.enter_io()).await);
    }
    bounded(gate.reached(5)).await.unwrap();
    let alone = begun(crowd.alone()).await;
    bounded(gate.open()).await.unwrap();
    for call in calls {
        bounded(call).await.unwrap();
    }
    assert_eq!(bounded(alone).await, Ok(([0, 0], [2, 3])));
}

pub async fn calls_that_nobody_waits_for_are_in_nobodys_way(cluster: &Cluster) {
    let gate = bounded(Gate::spawn(cluster)).await.unwrap();
    let crowd = bounded(Crowd::spawn(cluster, &gate)).await.unwrap();
    let mut hang = Vec::new();
    for _ in 0..3 + mobula::limits::MAILBOX_CAPACITY {
        hang.push(begun(crowd.enter_io()).await);
    }
    bounded(gate.reached(3)).await.unwrap();
    hang.truncate(3);
    let other = begun(crowd.enter()).await;
    bounded(gate.reached(4)).await.unwrap();
    bounded(gate.open()).await.unwrap();
    bounded(other).await.unwrap();
    for call in hang {
        bounded(call).await.unwrap();
    }
}

pub async fn an_actor_is_killed_over_the_calls_that_wait_for_it(cluster: &Cluster) {
    let (gate, clerk) = gate_and_clerk(cluster).await;
    let passes = begun(clerk.pass(0)).await;
    bounded(gate.reached(1)).await.unwrap();
    let more_than_fit = 1..2 * mobula::limits::MAILBOX_CAPACITY as u64;
    let waits: Vec<_> = more_than_fit.map(|number| clerk.note(number).submit()).collect();
    assert_eq!(bounded(clerk.kill()).await, Ok(EndReason::Killed));
    assert!(bounded(passes).await.is_err());
    for call in waits {
        let refused = bounded(call).await.unwrap_err();
        assert!(matches!(&refused, GetError::ActorDied { executed: Executed::No, .. }), "{refused:?}");
    }
}

pub async fn a_blocking_method_runs_on_the_compute_pool(cluster: &Cluster) {
    let (_gate, clerk) = gate_and_clerk(cluster).await;
    assert_eq!(bounded(clerk.thread()).await.as_deref(), Ok("mobula-compute"));
}

pub async fn many_tells_arrive_in_order_and_never_fill_more_than_a_mailbox(cluster: &Cluster) {
    let (_gate, clerk) = gate_and_clerk(cluster).await;
    for number in 0..20_000 {
        bounded(clerk.note(number).tell()).await.unwrap();
    }
    assert_eq!(bounded(clerk.noted()).await, Ok((0..20_000).collect()));
    let most = bounded(clerk.most_waiting()).await.unwrap();
    assert!(most <= mobula::limits::MAILBOX_CAPACITY + 1, "a mailbox, and the one caller who waits for room: {most}");
}

/// A test for each promise, on the cluster that `$start` gives.
macro_rules! hold_of {
    ($start:expr => $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let cluster = crate::common::bounded($start).await.unwrap();
                crate::semantics::$promise(&cluster).await;
                crate::common::ends_without_a_trace(cluster).await;
            }
        )*
    };
    ($start:expr) => {
        crate::semantics::hold_of! { $start =>
            a_stopped_actor_first_does_what_waits_and_then_its_last
            a_killed_actor_does_nothing_more
            a_dropped_call_never_runs_unless_it_has_begun
            a_call_that_may_be_cancelled_is_dropped_where_it_waits
            a_call_whose_time_is_up_says_what_it_waited_for_and_never_runs
            a_full_mailbox_gives_the_call_back_and_keeps_the_order
            what_may_be_tried_again_is_told_at_once_too
            a_call_that_was_polled_goes_on_when_it_is_told
            timers_send_when_they_are_due_until_they_are_cancelled
            calls_share_an_actor_within_the_limits_of_their_groups
            calls_that_nobody_waits_for_are_in_nobodys_way
            an_actor_is_killed_over_the_calls_that_wait_for_it
            a_blocking_method_runs_on_the_compute_pool
            many_tells_arrive_in_order_and_never_fill_more_than_a_mailbox
        }
    };
}
pub(crate) use hold_of;
