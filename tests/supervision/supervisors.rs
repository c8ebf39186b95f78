//! Supervisors: who is started again with whom, in which order, and how often.

use crate::common::{bounded, ends_without_a_trace, hold};
use crate::parts::{Diary, DiaryHandle, Part, PartHandle, fall, part};
use crate::support::{Worker, WorkerHandle};
use mobula::limits::CHILDREN;
use mobula::prelude::*;
use mobula::{EndReason, Handle, Supervisor, SupervisorError, SupervisorHandle};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

hold! {
    one_for_one_starts_the_child_that_ended_and_no_other
    one_for_all_stops_all_the_last_first_and_starts_them_in_order
    rest_for_one_does_so_with_those_that_were_started_later
    a_child_is_made_with_the_sibling_that_lives_as_long
    each_kind_of_child_is_started_again_after_its_own_ends
    beyond_its_intensity_a_supervisor_ends_its_children_and_itself
    a_supervisor_s_own_end_is_its_supervisor_s_to_deal_with
    escalation_ends_where_nobody_supervises
    a_child_that_cannot_be_started_undoes_the_start
    a_restart_that_fails_is_tried_again_and_counts
    a_child_that_does_not_stop_in_time_is_killed
    a_supervisor_that_is_killed_takes_its_children_along
    a_supervisor_that_nobody_holds_stops
    an_actor_may_have_a_supervisor_and_others_ask_it
    what_a_supervisor_cannot_do_is_a_typed_error
}

const LONG: Duration = Duration::from_secs(3_600);

async fn diary(cluster: &Cluster) -> DiaryHandle {
    bounded(Diary::spawn(cluster)).await.unwrap()
}

/// Three parts in a row, started.
async fn three(supervisor: mobula::NewSupervisor, diary: &DiaryHandle, cluster: &Cluster) -> SupervisorHandle {
    let supervisor = supervisor.intensity(8, LONG);
    let supervisor = supervisor.child("a", part("a", diary)).child("b", part("b", diary)).child("c", part("c", diary));
    let supervisor = bounded(supervisor.start(cluster)).await.unwrap();
    assert_eq!(bounded(diary.lines(3)).await.unwrap(), ["a starts", "b starts", "c starts"]);
    supervisor
}

async fn child(supervisor: &SupervisorHandle, name: &str) -> PartHandle {
    bounded(supervisor.child::<PartHandle>(name)).await.unwrap()
}

/// What was written after so many lines, once that is so much.
async fn after(diary: &DiaryHandle, lines: usize, more: usize) -> Vec<String> {
    bounded(diary.lines(lines + more)).await.unwrap().split_off(lines)
}

async fn stops_in_reverse(supervisor: SupervisorHandle, diary: &DiaryHandle, lines: usize) {
    assert_eq!(bounded(supervisor.stop()).await, Ok(EndReason::Stopped));
    assert_eq!(after(diary, lines, 3).await, ["c stops", "b stops", "a stops"]);
    assert_eq!(bounded(diary.lines(0)).await.unwrap().len(), lines + 3, "and nothing else");
}

async fn one_for_one_starts_the_child_that_ended_and_no_other(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let supervisor = three(Supervisor::one_for_one(), &diary, cluster).await;
    let former = child(&supervisor, "b").await;
    let (a, c) = (child(&supervisor, "a").await.id(), child(&supervisor, "c").await.id());
    fall(&former).await;
    assert_eq!(after(&diary, 3, 1).await, ["b starts"]);
    let next = child(&supervisor, "b").await;
    assert_ne!(next.id(), former.id(), "it is another actor");
    assert_eq!(bounded(next.name()).await.as_deref(), Ok("b"));
    assert_eq!((child(&supervisor, "a").await.id(), child(&supervisor, "c").await.id()), (a, c));
    let children = bounded(supervisor.children()).await.unwrap();
    let restarts: Vec<_> = children.iter().map(|child| (child.name.as_str(), child.restarts)).collect();
    assert_eq!(restarts, [("a", 0), ("b", 1), ("c", 0)]);
    assert_eq!(children[1].actor, Some(next.id()));
    // Also one that was killed, by whomever.
    bounded(next.kill()).await.unwrap();
    assert_eq!(after(&diary, 4, 1).await, ["b starts"]);
    stops_in_reverse(supervisor, &diary, 5).await;
}

async fn one_for_all_stops_all_the_last_first_and_starts_them_in_order(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let supervisor = three(Supervisor::one_for_all(), &diary, cluster).await;
    fall(&child(&supervisor, "b").await).await;
    let lines = after(&diary, 3, 5).await;
    assert_eq!(lines, ["c stops", "a stops", "a starts", "b starts", "c starts"]);
    stops_in_reverse(supervisor, &diary, 8).await;
}

async fn rest_for_one_does_so_with_those_that_were_started_later(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let supervisor = three(Supervisor::rest_for_one(), &diary, cluster).await;
    let a = child(&supervisor, "a").await.id();
    fall(&child(&supervisor, "b").await).await;
    assert_eq!(after(&diary, 3, 3).await, ["c stops", "b starts", "c starts"]);
    assert_eq!(child(&supervisor, "a").await.id(), a);
    fall(&child(&supervisor, "a").await).await;
    let lines = after(&diary, 6, 5).await;
    assert_eq!(lines, ["c stops", "b stops", "a starts", "b starts", "c starts"]);
    stops_in_reverse(supervisor, &diary, 11).await;
}

async fn a_child_is_made_with_the_sibling_that_lives_as_long(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let above = diary.clone();
    let supervisor = Supervisor::rest_for_one().child("below", part("below", &diary)).child("above", move |context| {
        let (cluster, below, diary) =
            (context.cluster().clone(), context.sibling::<PartHandle>("below"), above.clone());
        async move { Ok::<_, mobula::Failure>(Part::spawn_over(&cluster, "above".to_owned(), diary, below?).await?) }
    });
    let supervisor = bounded(supervisor.start(cluster)).await.unwrap();
    for _ in 0..2 {
        let (below, above) = (child(&supervisor, "below").await, child(&supervisor, "above").await);
        assert_eq!(bounded(above.below()).await.unwrap(), Some(below.id()));
        fall(&below).await;
        bounded(above.ended()).await.unwrap();
    }
    bounded(supervisor.stop()).await.unwrap();
}

async fn each_kind_of_child_is_started_again_after_its_own_ends(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let supervisor = Supervisor::one_for_one().intensity(8, LONG).child("permanent", part("permanent", &diary));
    let supervisor = supervisor.transient("transient", part("transient", &diary));
    let supervisor = supervisor.temporary("temporary", part("temporary", &diary));
    let supervisor = bounded(supervisor.start(cluster)).await.unwrap();
    bounded(child(&supervisor, "permanent").await.stop()).await.unwrap();
    assert_eq!(after(&diary, 3, 2).await, ["permanent stops", "permanent starts"]);
    fall(&child(&supervisor, "transient").await).await;
    assert_eq!(after(&diary, 5, 1).await, ["transient starts"]);
    let transient = child(&supervisor, "transient").await;
    bounded(transient.halts()).await.unwrap();
    assert_eq!(bounded(transient.ended()).await, Ok(EndReason::Stopped));
    assert_eq!(after(&diary, 6, 1).await, ["transient stops"]);
    fall(&child(&supervisor, "temporary").await).await;
    for name in ["transient", "temporary"] {
        let over = bounded(supervisor.child::<PartHandle>(name)).await;
        assert_eq!(over.unwrap_err(), SupervisorError::Over { name: name.to_owned() });
    }
    assert!(bounded(child(&supervisor, "permanent").await.name()).await.is_ok());
    bounded(supervisor.stop()).await.unwrap();
    assert_eq!(after(&diary, 7, 1).await, ["permanent stops"]);
}

async fn beyond_its_intensity_a_supervisor_ends_its_children_and_itself(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let supervisor = Supervisor::one_for_one().intensity(1, LONG);
    let supervisor =
        supervisor.child("a", part("a", &diary)).child("b", part("b", &diary)).child("c", part("c", &diary));
    let supervisor = bounded(supervisor.start(cluster)).await.unwrap();
    fall(&child(&supervisor, "b").await).await;
    assert_eq!(after(&diary, 3, 1).await, ["b starts"]);
    fall(&child(&supervisor, "b").await).await;
    let message = "`b`: it panicked in `falls`: on purpose".to_owned();
    let reason = EndReason::ChildrenFailed { restarts: 1, message };
    assert_eq!(bounded(supervisor.ended()).await, Ok(reason.clone()));
    assert_eq!(after(&diary, 4, 2).await, ["c stops", "a stops"]);
    match bounded(supervisor.child::<PartHandle>("a")).await {
        Err(SupervisorError::Call(CallError::ActorDied { reason: why, .. })) => assert_eq!(why, reason),
        other => panic!("{other:?}"),
    }
}

async fn a_supervisor_s_own_end_is_its_supervisor_s_to_deal_with(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let below = diary.clone();
    let above = Supervisor::one_for_one().child("below", move |cluster| {
        Supervisor::one_for_one().intensity(0, LONG).child("leaf", part("leaf", &below)).start(cluster)
    });
    let above = bounded(above.start(cluster)).await.unwrap();
    let first = bounded(above.child::<SupervisorHandle>("below")).await.unwrap();
    fall(&child(&first, "leaf").await).await;
    assert!(matches!(bounded(first.ended()).await, Ok(EndReason::ChildrenFailed { restarts: 0, .. })));
    assert_eq!(bounded(diary.lines(2)).await.unwrap(), ["leaf starts", "leaf starts"]);
    let second = bounded(above.child::<SupervisorHandle>("below")).await.unwrap();
    assert_ne!(second.id(), first.id());
    assert_eq!(bounded(child(&second, "leaf").await.name()).await.as_deref(), Ok("leaf"));
    bounded(above.stop()).await.unwrap();
    assert_eq!(bounded(diary.lines(3)).await.unwrap()[2], "leaf stops");
    assert_eq!(bounded(second.ended()).await, Ok(EndReason::Stopped));
}

async fn escalation_ends_where_nobody_supervises(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let leaf = diary.clone();
    let above = Supervisor::one_for_all().intensity(0, LONG).child("beside", part("beside", &diary));
    let above = above.child("below", move |cluster| {
        Supervisor::one_for_one().intensity(0, LONG).child("leaf", part("leaf", &leaf)).start(cluster)
    });
    let above = bounded(above.start(cluster)).await.unwrap();
    let below = bounded(above.child::<SupervisorHandle>("below")).await.unwrap();
    fall(&child(&below, "leaf").await).await;
    match bounded(above.ended()).await {
        Ok(EndReason::ChildrenFailed { restarts: 0, message }) => {
            assert!(message.starts_with("`below`: ") && message.contains("`leaf`: it panicked"), "{message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bounded(diary.lines(3)).await.unwrap(), ["beside starts", "leaf starts", "beside stops"]);
}

async fn a_child_that_cannot_be_started_undoes_the_start(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let first = Supervisor::one_for_one().child("a", part("a", &diary)).child("b", part("b", &diary));
    let failing = first.child("c", |cluster| Worker::spawn(cluster).resource("unobtainium", 1.0));
    match bounded(failing.start(cluster)).await {
        Err(SupervisorError::NotStarted { name, message }) => {
            assert!(name == "c" && message.contains("unobtainium"), "{name}: {message}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bounded(diary.lines(4)).await.unwrap(), ["a starts", "b starts", "b stops", "a stops"]);
    let panics = Supervisor::one_for_one().child("c", |cluster| match cluster.nodes().len() {
        0 => Worker::spawn(cluster),
        _ => panic!("not today"),
    });
    match bounded(panics.start(cluster)).await {
        Err(SupervisorError::NotStarted { message, .. }) => assert!(message.contains("not today"), "{message}"),
        other => panic!("{other:?}"),
    }
}

async fn a_restart_that_fails_is_tried_again_and_counts(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let starts = Arc::new(AtomicU32::new(0));
    let (counted, written) = (starts.clone(), diary.clone());
    let flaky = move |context: &mobula::ChildContext<'_>| {
        let made = part("flaky", &written)(context);
        // The second and the third fail.
        let fails = matches!(counted.fetch_add(1, Ordering::Relaxed), 1 | 2);
        async move { if fails { Err(mobula::Failure::from("not yet".to_owned())) } else { Ok(made.await?) } }
    };
    let supervisor = Supervisor::one_for_one().intensity(3, LONG).child("flaky", flaky);
    let supervisor = bounded(supervisor.start(cluster)).await.unwrap();
    fall(&child(&supervisor, "flaky").await).await;
    assert_eq!(after(&diary, 1, 1).await, ["flaky starts"]);
    let next = child(&supervisor, "flaky").await;
    assert_eq!(starts.load(Ordering::Relaxed), 4);
    fall(&next).await;
    let ended = bounded(supervisor.ended()).await;
    assert!(matches!(ended, Ok(EndReason::ChildrenFailed { restarts: 3, .. })), "{ended:?}");
}

async fn a_child_that_does_not_stop_in_time_is_killed(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let supervisor = Supervisor::one_for_one().stop_within(Duration::from_millis(20));
    let supervisor = bounded(supervisor.child("a", part("a", &diary)).start(cluster)).await.unwrap();
    let slow = child(&supervisor, "a").await;
    let never = slow.never().submit();
    assert_eq!(after(&diary, 1, 1).await, ["a waits"]);
    assert_eq!(bounded(supervisor.stop()).await, Ok(EndReason::Stopped));
    assert_eq!(bounded(slow.ended()).await, Ok(EndReason::Killed));
    assert!(bounded(never).await.is_err());
}

async fn a_supervisor_that_is_killed_takes_its_children_along(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let supervisor = three(Supervisor::one_for_all(), &diary, cluster).await;
    let children = [child(&supervisor, "a").await, child(&supervisor, "b").await, child(&supervisor, "c").await];
    assert_eq!(bounded(supervisor.kill()).await, Ok(EndReason::Killed));
    for child in children {
        let ended = bounded(child.ended()).await.unwrap();
        assert!(matches!(ended, EndReason::Killed | EndReason::Stopped), "{ended}");
    }
}

async fn a_supervisor_that_nobody_holds_stops(cluster: &Cluster) {
    let diary = diary(cluster).await;
    drop(three(Supervisor::one_for_one(), &diary, cluster).await);
    assert_eq!(after(&diary, 3, 3).await, ["c stops", "b stops", "a stops"]);
}

/// Has a supervisor of its own.
#[actor]
pub struct Boss {
    supervisor: Option<SupervisorHandle>,
}

#[methods]
impl Boss {
    #[constructor]
    pub fn new() -> Self {
        Self { supervisor: None }
    }

    pub async fn hire(&mut self, diary: DiaryHandle, ctx: &mut ActorContext<Self>) -> mobula::Result<SupervisorHandle> {
        let supervisor = Supervisor::one_for_one().child("hired", part("hired", &diary)).start(&ctx.cluster()).await?;
        ctx.monitor(&supervisor, |me, _| me.supervisor_ended())?;
        self.supervisor = Some(supervisor.clone());
        Ok(supervisor)
    }

    pub fn supervisor_ended(&mut self) {
        self.supervisor = None;
    }

    pub fn supervises(&self) -> bool {
        self.supervisor.is_some()
    }
}

async fn an_actor_may_have_a_supervisor_and_others_ask_it(cluster: &Cluster) {
    let diary = diary(cluster).await;
    let boss = bounded(Boss::spawn(cluster)).await.unwrap();
    let supervisor = bounded(boss.hire(&diary)).await.unwrap();
    fall(&child(&supervisor, "hired").await).await;
    assert_eq!(after(&diary, 1, 1).await, ["hired starts"]);
    assert_eq!(bounded(child(&supervisor, "hired").await.name()).await.as_deref(), Ok("hired"));
    assert_eq!(bounded(supervisor.stop()).await, Ok(EndReason::Stopped));
    let heard = async { while boss.supervises().await.unwrap() {} };
    bounded(heard).await;
}

async fn what_a_supervisor_cannot_do_is_a_typed_error(cluster: &Cluster) {
    let worker = |cluster: &mobula::ChildContext<'_>| Worker::spawn(cluster);
    let new = || Supervisor::one_for_one().child("a", worker);
    let twice = bounded(new().child("a", worker).start(cluster)).await;
    assert_eq!(twice.unwrap_err(), SupervisorError::SameName { name: "a".to_owned() });
    for window in [Duration::ZERO, Duration::from_secs(24 * 3_600 + 1)] {
        let refused = bounded(new().intensity(1, window).start(cluster)).await;
        assert_eq!(refused.unwrap_err(), SupervisorError::Window);
    }
    let many = (0..CHILDREN).fold(new(), |supervisor, number| supervisor.child(number.to_string(), worker));
    assert_eq!(bounded(many.start(cluster)).await.unwrap_err(), SupervisorError::TooMany { limit: CHILDREN });
    let early = new().child("b", |context| {
        let later = context.sibling::<WorkerHandle>("c");
        async move { later }
    });
    match bounded(early.child("c", worker).start(cluster)).await {
        Err(SupervisorError::NotStarted { message, .. }) => {
            assert!(message.contains("`c` does not run yet"), "{message}")
        }
        other => panic!("{other:?}"),
    }
    let supervisor = bounded(new().start(cluster)).await.unwrap();
    let none = bounded(supervisor.child::<WorkerHandle>("b")).await;
    assert_eq!(none.unwrap_err(), SupervisorError::NoChild { name: "b".to_owned() });
    let other = bounded(supervisor.child::<PartHandle>("a")).await;
    assert!(matches!(other, Err(SupervisorError::OtherType { kind, .. }) if kind.ends_with("Worker")));
}
