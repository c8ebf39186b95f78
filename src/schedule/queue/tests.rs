use super::*;
use crate::limits::{GRANT_IDLE, RECALLED, TASK_CLASSES, WANT_AGAIN, WANT_PAUSE};

type Tasks = Queue<&'static str, u32>;

const MS: Duration = Duration::from_millis(1);
const HERE: Life = Life(1);
const THERE: Life = Life(2);

fn queue() -> (Tasks, Class) {
    let mut queue = Queue::new(Bounds::default());
    let class = queue.class("class").unwrap();
    (queue, class)
}

fn plain(class: Class, token: u32) -> Submission<'static, u32> {
    Submission { class, priority: 0, waits_for: 0, follows: &[], token }
}

fn submits(queue: &mut Tasks, class: Class, tokens: std::ops::Range<u32>) -> Vec<TaskNumber> {
    tokens.map(|token| queue.submit(plain(class, token)).unwrap()).collect()
}

fn flush(queue: &mut Tasks, at: u64) -> Vec<Effect> {
    let mut effects = Vec::new();
    queue.tick(Moment(0) + at as u32 * MS, &mut effects);
    queue.flush(Moment(0) + at as u32 * MS, &mut effects);
    effects
}

fn now(at: u64) -> Moment {
    Moment(0) + at as u32 * MS
}

/// The tokens pushed, in order, with their grants.
fn pushed(queue: &Tasks, effects: &[Effect]) -> Vec<(u64, u32)> {
    let tasks = effects.iter().filter_map(|effect| match effect {
        Effect::Push { grant, tasks } => Some(tasks.iter().map(|task| (grant.0, *queue.get(*task).unwrap()))),
        _ => None,
    });
    tasks.flatten().collect()
}

#[test]
fn tasks_leave_by_priority_then_age_two_a_slot_at_first() {
    let (mut queue, class) = queue();
    submits(&mut queue, class, 0..3);
    queue.submit(Submission { priority: 5, ..plain(class, 9) }).unwrap();
    assert_eq!(flush(&mut queue, 0), [Effect::Want { class, slots: 4, priority: 5 }]);
    queue.granted(now(1), GrantId(7), class, HERE, 1);
    let effects = flush(&mut queue, 1);
    assert_eq!(pushed(&queue, &effects), [(7, 9), (7, 0)]);
    assert_eq!(queue.queued(), 2);
}

#[test]
fn the_head_is_told_the_priority_of_what_waits_first() {
    let (mut queue, class) = queue();
    let of = |priority, token| Submission { priority, ..plain(class, token) };
    queue.submit(of(-2, 0)).unwrap();
    assert_eq!(flush(&mut queue, 0), [Effect::Want { class, slots: 1, priority: -2 }]);
    queue.granted(now(0), GrantId(7), class, HERE, 1);
    let effects = flush(&mut queue, 0);
    assert_eq!(pushed(&queue, &effects), [(7, 0)]);
    let pause = WANT_PAUSE.as_millis() as u64;
    let usual = [Effect::Want { class, slots: 1, priority: 0 }];
    assert_eq!(flush(&mut queue, pause), usual, "it has begun: nothing of it waits");
    let ahead = queue.submit(of(4, 1)).unwrap();
    let effects = flush(&mut queue, pause);
    assert!(effects.contains(&Effect::Want { class, slots: 2, priority: 4 }), "it waits under its grant: {effects:?}");
    queue.submit(of(5, 2)).unwrap();
    queue.submit(of(6, 3)).unwrap();
    assert_eq!(flush(&mut queue, pause), [Effect::Want { class, slots: 4, priority: 6 }]);
    queue.submit(of(7, 4)).unwrap();
    assert_eq!(flush(&mut queue, pause), [], "a change is told after a pause");
    assert_eq!(flush(&mut queue, 2 * pause), [Effect::Want { class, slots: 5, priority: 7 }]);
    assert!(queue.drain(class).len() == 3 && queue.failed(ahead) == Some(1));
    assert_eq!(flush(&mut queue, 2 * pause), []);
    assert_eq!(flush(&mut queue, 3 * pause), [Effect::Want { class, slots: 1, priority: 0 }]);
}

#[test]
fn a_slot_is_given_as_many_tasks_as_it_runs_in_five_milliseconds() {
    let (mut queue, class) = queue();
    let tasks = submits(&mut queue, class, 0..1_000);
    queue.granted(now(0), GrantId(7), class, HERE, 1);
    flush(&mut queue, 0);
    queue.finished(tasks[0], MS / 10);
    let effects = flush(&mut queue, 1);
    assert_eq!(pushed(&queue, &effects).len(), 49, "fifty in all");
    queue.finished(tasks[1], MS / 10);
    assert_eq!(flush(&mut queue, 1), [], "a push is a message: the next goes when a quarter has room");
    (2..13).for_each(|n| assert!(queue.finished(tasks[n], MS / 10).is_some()));
    let effects = flush(&mut queue, 1);
    assert!(matches!(&effects[..], [Effect::Push { tasks, .. }] if tasks.len() == 12), "{effects:?}");
}

#[test]
fn a_few_tasks_are_shared_among_the_slots() {
    let (mut queue, class) = queue();
    let first = submits(&mut queue, class, 0..1)[0];
    queue.granted(now(0), GrantId(1), class, HERE, 1);
    flush(&mut queue, 0);
    queue.finished(first, MS / 100);
    queue.granted(now(0), GrantId(2), class, THERE, 1);
    submits(&mut queue, class, 0..20);
    let effects = flush(&mut queue, 1);
    let under = |grant| pushed(&queue, &effects).iter().filter(|(under, _)| *under == grant).count();
    assert_eq!((under(1), under(2)), (10, 10));
}

#[test]
fn an_idle_slot_fetches_what_the_fullest_grant_has_not_begun() {
    let (mut queue, class) = queue();
    let tasks = submits(&mut queue, class, 0..2);
    queue.granted(now(0), GrantId(1), class, HERE, 1);
    flush(&mut queue, 0);
    queue.granted(now(1), GrantId(2), class, THERE, 1);
    assert_eq!(flush(&mut queue, 1), [Effect::Recall { grant: GrantId(1), count: 1 }]);
    assert_eq!(flush(&mut queue, 2), [], "one at a time");
    queue.recalled(GrantId(1), &tasks[1..]);
    let effects = flush(&mut queue, 3);
    assert_eq!(pushed(&queue, &effects), [(2, 1)]);
}

#[test]
fn recalled_tasks_are_the_first_of_their_class_again() {
    let (mut queue, class) = queue();
    let tasks = submits(&mut queue, class, 0..6);
    queue.granted(now(0), GrantId(1), class, HERE, 2);
    flush(&mut queue, 0);
    queue.recall(GrantId(1), 0);
    assert_eq!(flush(&mut queue, 1), [Effect::Recall { grant: GrantId(1), count: 4 }]);
    queue.recalled(GrantId(1), &tasks[2..4]);
    assert_eq!(flush(&mut queue, 2), [], "two of two slots may still run");
    queue.finished(tasks[0], MS);
    assert!(flush(&mut queue, 3).contains(&Effect::GiveBack { grant: GrantId(1), keep: 1 }));
    queue.granted(now(4), GrantId(2), class, THERE, 3);
    let effects = flush(&mut queue, 4);
    assert_eq!(pushed(&queue, &effects).iter().map(|(_, token)| *token).collect::<Vec<_>>(), [2, 3, 4, 5]);
    queue.finished(tasks[1], MS);
    assert!(flush(&mut queue, 5).contains(&Effect::GiveBack { grant: GrantId(1), keep: 0 }));
    assert_eq!(queue.held().map(|held| held.grant).collect::<Vec<_>>(), [GrantId(2)]);
}

#[test]
fn a_recall_asks_for_no_more_than_an_answer_carries_and_the_next_for_the_rest() {
    let (mut queue, class) = queue();
    let first = submits(&mut queue, class, 0..1)[0];
    queue.granted(now(0), GrantId(1), class, HERE, 16);
    flush(&mut queue, 0);
    queue.finished(first, MS / 1_000);
    let tasks = submits(&mut queue, class, 0..10_016);
    let effects = flush(&mut queue, 1);
    assert_eq!(pushed(&queue, &effects).len(), tasks.len());
    queue.recall(GrantId(1), 0);
    let mut left = tasks.len();
    for count in [RECALLED, RECALLED, 10_016 - 2 * RECALLED] {
        assert_eq!(flush(&mut queue, 2), [Effect::Recall { grant: GrantId(1), count }]);
        let from = (left - count as usize).max(16);
        queue.recalled(GrantId(1), &tasks[from..left]);
        left = from;
    }
    assert_eq!(flush(&mut queue, 3), [], "the others have begun");
}

#[test]
fn tasks_that_take_longer_than_those_before_them_get_slots_of_their_own() {
    let (mut queue, class) = queue();
    let quick = submits(&mut queue, class, 0..1)[0];
    queue.granted(now(0), GrantId(1), class, HERE, 1);
    flush(&mut queue, 0);
    queue.finished(quick, MS / 50);
    let slow = submits(&mut queue, class, 1..9);
    let effects = flush(&mut queue, 0);
    assert_eq!(pushed(&queue, &effects).len(), 8, "all of them are thought to take no time");
    let look = u64::try_from(GRANT_IDLE.as_millis()).unwrap();
    assert!(!flush(&mut queue, look).iter().any(|effect| matches!(effect, Effect::Want { slots: 2.., .. })));
    let effects = flush(&mut queue, 2 * look);
    assert!(
        effects.contains(&Effect::Want { class, slots: 8, priority: 0 }),
        "none has ended between two looks: {effects:?}"
    );
    queue.granted(now(2 * look), GrantId(2), class, THERE, 7);
    let effects = flush(&mut queue, 2 * look);
    assert!(effects.contains(&Effect::Recall { grant: GrantId(1), count: 4 }), "{effects:?}");
    queue.recalled(GrantId(1), &slow[4..]);
    let effects = flush(&mut queue, 2 * look);
    assert_eq!(pushed(&queue, &effects), [(2, 5), (2, 6), (2, 7), (2, 8)]);
    assert!(effects.contains(&Effect::Recall { grant: GrantId(1), count: 2 }), "{effects:?}");
}

#[test]
fn parked_tasks_leave_their_slots_to_others_of_their_class() {
    let (mut queue, class) = queue();
    let tasks = submits(&mut queue, class, 0..10);
    queue.granted(now(0), GrantId(1), class, HERE, 2);
    let effects = flush(&mut queue, 0);
    assert_eq!(pushed(&queue, &effects).len(), 4, "two a slot");
    queue.parked(GrantId(1), 3);
    let effects = flush(&mut queue, 1);
    assert_eq!(pushed(&queue, &effects).len(), 3, "beside those that are parked");
    queue.finished(tasks[0], MS);
    queue.parked(GrantId(1), 99);
    let effects = flush(&mut queue, 2);
    assert_eq!(pushed(&queue, &effects).len(), 3, "there are no more than were pushed");
    queue.parked(GrantId(1), 0);
    tasks[1..].iter().for_each(|task| assert!(queue.finished(*task, MS).is_some()));
    flush(&mut queue, 3);
    assert_eq!(queue.why(tasks[9]), None);
}

#[test]
fn slots_of_parked_tasks_go_back_when_they_are_wanted_and_the_tasks_end_without() {
    let (mut queue, class) = queue();
    let tasks = submits(&mut queue, class, 0..2);
    queue.granted(now(0), GrantId(1), class, HERE, 1);
    flush(&mut queue, 0);
    queue.parked(GrantId(1), 2);
    assert_eq!(flush(&mut queue, 0), [], "nobody wants them");
    queue.recall(GrantId(1), 0);
    assert_eq!(flush(&mut queue, 1), [Effect::GiveBack { grant: GrantId(1), keep: 0 }]);
    assert_eq!((queue.held().count(), queue.grants_on(HERE)), (0, vec![GrantId(1)]));
    assert!(matches!(queue.why(tasks[0]), Some(Why::Pushed(Whereabouts { life: HERE, .. }))));
    assert!(queue.finished(tasks[0], MS).is_some() && queue.finished(tasks[1], MS).is_some());
    flush(&mut queue, 2);
    assert_eq!(queue.grants_on(HERE), []);
}

#[test]
fn a_lent_slot_is_for_one_task() {
    let (mut queue, class) = queue();
    assert!(!queue.lent(GrantId(9), class, HERE), "nothing is ready");
    let tasks = submits(&mut queue, class, 0..5);
    flush(&mut queue, 0);
    assert_eq!(queue.hungry().collect::<Vec<_>>(), [class]);
    assert!(queue.lent(GrantId(9), class, HERE));
    let effects = flush(&mut queue, 1);
    assert_eq!(effects.len(), 1, "nothing is asked back: {effects:?}");
    assert_eq!(pushed(&queue, &effects), [(9, 0)]);
    queue.finished(tasks[0], MS);
    assert_eq!(flush(&mut queue, 2), [Effect::GiveBack { grant: GrantId(9), keep: 0 }]);
    queue.drain(class);
    flush(&mut queue, 3);
    assert_eq!((queue.hungry().count(), queue.grants_on(HERE)), (0, vec![]));
}

#[test]
fn slots_that_idle_are_given_back_and_a_burst_within_that_time_reuses_them() {
    let (mut queue, class) = queue();
    let tasks = submits(&mut queue, class, 0..4);
    queue.granted(now(0), GrantId(1), class, HERE, 4);
    flush(&mut queue, 0);
    tasks.iter().for_each(|task| assert!(queue.finished(*task, MS).is_some()));
    assert!(flush(&mut queue, 400).iter().all(|effect| !matches!(effect, Effect::GiveBack { .. })));
    let burst = submits(&mut queue, class, 0..2);
    let effects = flush(&mut queue, 450);
    assert_eq!(pushed(&queue, &effects).len(), 2);
    let gives = |effects: Vec<Effect>| effects.iter().any(|effect| matches!(effect, Effect::GiveBack { .. }));
    assert!(!gives(flush(&mut queue, 500)), "four were used in this time");
    assert!(flush(&mut queue, 1_000).contains(&Effect::GiveBack { grant: GrantId(1), keep: 2 }), "two in this");
    burst.iter().for_each(|task| assert!(queue.finished(*task, MS).is_some()));
    flush(&mut queue, 1_001);
    flush(&mut queue, 1_500);
    assert!(flush(&mut queue, 2_000).contains(&Effect::GiveBack { grant: GrantId(1), keep: 0 }));
    assert_eq!(queue.deadline(), None, "nothing is left to wait for");
    assert_eq!(GRANT_IDLE, 500 * MS);
}

#[test]
fn what_is_wanted_follows_the_work_and_goes_to_zero() {
    let (mut queue, class) = queue();
    let first = submits(&mut queue, class, 0..10);
    assert_eq!(flush(&mut queue, 0), [Effect::Want { class, slots: 10, priority: 0 }]);
    submits(&mut queue, class, 10..15);
    assert_eq!(flush(&mut queue, 1), [], "a little more is told after a pause");
    assert_eq!(queue.deadline(), Some(now(1) + WANT_PAUSE));
    assert_eq!(flush(&mut queue, 101), [Effect::Want { class, slots: 15, priority: 0 }]);
    assert_eq!(
        flush(&mut queue, 101 + WANT_AGAIN.as_millis() as u64),
        [Effect::Want { class, slots: 15, priority: 0 }],
        "unmet"
    );
    queue.granted(now(6_000), GrantId(1), class, HERE, 8);
    flush(&mut queue, 6_000);
    queue.finished(first[0], MS);
    flush(&mut queue, 6_001);
    let effects = flush(&mut queue, 6_101);
    assert!(effects.contains(&Effect::Want { class, slots: 2, priority: 0 }), "14 ms of work: {effects:?}");
    queue.lost(GrantId(1));
    assert_eq!(queue.queued(), 0);
    flush(&mut queue, 6_102);
    assert_eq!(flush(&mut queue, 6_300), [Effect::Want { class, slots: 0, priority: 0 }]);
    queue.new_head();
    assert_eq!(flush(&mut queue, 6_301), []);
}

#[test]
fn a_task_is_pushed_behind_those_whose_results_it_takes() {
    let (mut queue, class) = queue();
    queue.granted(now(0), GrantId(1), class, HERE, 1);
    let first = submits(&mut queue, class, 0..1)[0];
    let second = queue.submit(Submission { waits_for: 1, follows: &[first], ..plain(class, 1) }).unwrap();
    let third = queue.submit(Submission { waits_for: 2, follows: &[second], ..plain(class, 2) }).unwrap();
    let effects = flush(&mut queue, 0);
    assert_eq!(pushed(&queue, &effects), [(1, 0), (1, 1)]);
    assert_eq!(queue.why(third), Some(Why::Arguments(2)), "it misses another argument too");
    queue.recalled(GrantId(1), &[second]);
    assert_eq!(queue.why(second), Some(Why::Arguments(1)));
    queue.finished(first, MS);
    queue.ready(second);
    let effects = flush(&mut queue, 1);
    assert_eq!(pushed(&queue, &effects), [(1, 1)]);
    queue.ready(third);
    let effects = flush(&mut queue, 2);
    assert_eq!(pushed(&queue, &effects), [(1, 2)], "now only its forerunner's result is missing");
}

#[test]
fn classes_that_nothing_is_of_are_given_back_for_others() {
    let mut queue: Queue<u32, u32> = Queue::new(Bounds::default());
    let classes: Vec<Class> = (0..TASK_CLASSES as u32).map(|key| queue.class(key).unwrap()).collect();
    let submit = |queue: &mut Queue<u32, u32>, class| queue.submit(plain(class, 0)).unwrap();
    let tasks: Vec<TaskNumber> = classes.iter().map(|class| submit(&mut queue, *class)).collect();
    let mut effects = Vec::new();
    queue.flush(now(0), &mut effects);
    assert_eq!(queue.class(u32::MAX), Err(TooManyClasses), "all have a task");
    assert!(matches!(queue.cancel(tasks[5]), Cancelled::Queued(0)));
    queue.granted(now(0), GrantId(1), classes[6], HERE, 1);
    queue.flush(now(0), &mut effects);
    queue.finished(tasks[6], MS);
    assert_eq!(queue.class(u32::MAX), Err(TooManyClasses), "the head knows of one, and the other has a slot");
    for pass in 1..=3 {
        let at = now(0) + pass * (WANT_PAUSE.max(GRANT_IDLE) + MS);
        queue.tick(at, &mut effects);
        queue.flush(at, &mut effects);
    }
    assert!(effects.contains(&Effect::Want { class: classes[5], slots: 0, priority: 0 }));
    let others = [queue.class(u32::MAX).unwrap(), queue.class(u32::MAX - 1).unwrap()];
    assert!(others.iter().all(|class| !classes.contains(class)), "numbers are not used again");
    for class in others {
        submit(&mut queue, class);
    }
    assert_eq!(queue.class(u32::MAX - 2), Err(TooManyClasses));
    assert_eq!((queue.class(4), queue.class(u32::MAX)), (Ok(classes[4]), Ok(others[0])));
    assert!(queue.submit(plain(classes[5], 1)).is_err(), "it is none any more");
    queue.granted(now(1), GrantId(2), classes[5], HERE, 1);
    assert_eq!(queue.grants_on(HERE), []);
}

#[test]
fn a_cancelled_task_comes_back_or_says_where_it_is() {
    let (mut queue, class) = queue();
    let tasks = submits(&mut queue, class, 0..3);
    queue.granted(now(0), GrantId(1), class, HERE, 1);
    flush(&mut queue, 0);
    assert_eq!(queue.cancel(tasks[2]), Cancelled::Queued(2));
    assert_eq!(queue.cancel(tasks[2]), Cancelled::Unknown);
    assert_eq!(queue.cancel(tasks[0]), Cancelled::Pushed { grant: GrantId(1), life: HERE });
    assert_eq!(queue.finished(tasks[0], MS), Some(0));
    assert_eq!(queue.finished(tasks[0], MS), None);
    assert_eq!(queue.lost(GrantId(1)), [(tasks[1], 1)]);
    assert_eq!(queue.held().count(), 0);
}

#[test]
fn a_slot_that_idles_while_others_are_given_back_is_filled_with_what_comes() {
    let (mut queue, class) = queue();
    queue.granted(now(0), GrantId(7), class, HERE, 16);
    queue.recall(GrantId(7), 14);
    submits(&mut queue, class, 0..13);
    let effects = flush(&mut queue, 0);
    assert!(effects.contains(&Effect::GiveBack { grant: GrantId(7), keep: 14 }), "{effects:?}");
    assert_eq!(pushed(&queue, &effects).len(), 13);
    submits(&mut queue, class, 13..15);
    let effects = flush(&mut queue, 0);
    assert_eq!(pushed(&queue, &effects), [(7, 13), (7, 14)], "one of them ahead");
}

#[test]
fn the_queue_and_its_classes_are_bounded_and_a_task_can_say_why_it_waits() {
    let mut queue = Tasks::new(Bounds { queued: 2, slots: 1 });
    let class = queue.class("class").unwrap();
    let tasks = submits(&mut queue, class, 0..2);
    assert!(matches!(queue.submit(plain(class, 2)), Err(QueueFull(2))));
    assert_eq!(flush(&mut queue, 0), [Effect::Want { class, slots: 1, priority: 0 }]);
    queue.answered(class, Some("no node has gpu ≥ 1".into()));
    assert_eq!(queue.why(tasks[0]).unwrap().to_string(), "waiting for a grant: no node has gpu ≥ 1");
    queue.granted(now(0), GrantId(1), class, HERE, 1);
    flush(&mut queue, 0);
    submits(&mut queue, class, 2..4).iter().for_each(|task| {
        assert_eq!(queue.why(*task), Some(Why::Turn { slots: 1, ready: 2 }));
    });
    assert!(matches!(queue.why(tasks[0]), Some(Why::Pushed(_))));
    assert_eq!(queue.drain(class).into_iter().map(|(_, token)| token).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn who_gives_up_on_the_head_tells_it_later_that_nothing_is_wanted() {
    let (mut queue, class) = queue();
    submits(&mut queue, class, 0..3);
    assert_eq!(flush(&mut queue, 0), [Effect::Want { class, slots: 3, priority: 0 }]);
    assert_eq!(queue.drain(class).len(), 3);
    assert_eq!(flush(&mut queue, 1), []);
    assert_eq!(flush(&mut queue, 1 + WANT_PAUSE.as_millis() as u64), [Effect::Want { class, slots: 0, priority: 0 }]);
    submits(&mut queue, class, 0..3);
    let later = 2_000;
    assert_eq!(flush(&mut queue, later), [Effect::Want { class, slots: 3, priority: 0 }]);
    assert_eq!(queue.refused(class).len(), 3);
    let effects = flush(&mut queue, later + WANT_AGAIN.as_millis() as u64);
    assert_eq!(effects, [], "a head that refuses has forgotten it");
}

#[test]
fn a_new_head_is_told_of_a_class_that_wants_nothing_any_more() {
    let (mut queue, class) = queue();
    submits(&mut queue, class, 0..3);
    assert_eq!(flush(&mut queue, 0), [Effect::Want { class, slots: 3, priority: 0 }]);
    assert_eq!(queue.drain(class).len(), 3);
    queue.new_head();
    assert_eq!(
        flush(&mut queue, 1),
        [Effect::Want { class, slots: 0, priority: 0 }],
        "a want that was not answered is asked again"
    );
    queue.new_head();
    assert_eq!(flush(&mut queue, 2), [], "it was told");
}

#[test]
fn a_task_says_which_priority_goes_before_it() {
    let (mut queue, low) = queue();
    let high = queue.class("high").unwrap();
    let task = submits(&mut queue, low, 0..1)[0];
    queue.submit(Submission { priority: 5, ..plain(high, 1) }).unwrap();
    flush(&mut queue, 0);
    assert_eq!(queue.why(task).unwrap().to_string(), "waiting for a grant after tasks of priority 5");
    queue.drain(high);
    flush(&mut queue, 0);
    assert_eq!(queue.why(task), Some(Why::Grant { why: None, after: None }));
}

#[test]
fn those_that_follow_a_task_and_are_cancelled_are_forgotten_together() {
    let (mut queue, class) = queue();
    let ahead = submits(&mut queue, class, 0..1)[0];
    let follows = |queue: &mut Tasks, token| {
        queue.submit(Submission { waits_for: 1, follows: &[ahead], ..plain(class, token) }).unwrap()
    };
    let listed = |queue: &mut Tasks| queue.chain(ahead).map_or(0, |chain| chain.followers.len());
    let stays = follows(&mut queue, 1);
    let gone: Vec<TaskNumber> = (2..1_002).map(|token| follows(&mut queue, token)).collect();
    let looked: usize = gone
        .iter()
        .map(|task| {
            let before = listed(&mut queue);
            assert!(matches!(queue.cancel(*task), Cancelled::Queued(_)));
            before - listed(&mut queue)
        })
        .filter(|fewer| *fewer > 0)
        .count();
    assert!(looked < 12 && listed(&mut queue) <= 2, "{looked} times");
    queue.granted(now(0), GrantId(1), class, HERE, 1);
    let effects = flush(&mut queue, 0);
    assert_eq!(pushed(&queue, &effects), [(1, 0), (1, 1)], "who stays stands behind it");
    assert_eq!(queue.why(stays).map(|why| matches!(why, Why::Pushed(_))), Some(true));
}
