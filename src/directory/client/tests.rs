use super::*;
use crate::directory::message::{Command, FromHead, How, News};
use crate::directory::request::{
    End, Ended, GetOrSpawn, Gone, Hosted, Lookup, Patience, Query, Spawn, SpawnError, Summary,
};
use crate::directory::testing::{choose, join, name, node, spawn};
use crate::directory::{Config, Door, Head, Keeps, Reign, Word};
use crate::id::{ActorId, Epoch, Placement};
use std::sync::atomic::{AtomicU64, Ordering};

/// A node of the head's own process that makes at once whatever it is ordered to.
struct Local {
    head: Arc<Head>,
    client: Client,
    door: Door,
    life: Life,
}

impl Local {
    fn start() -> Local {
        let head = Head::start(Config::new(Reign { epoch: Epoch(1), instance: 7 }));
        let client = Client::new(Duration::from_millis(20));
        let life = Arc::new(AtomicU64::new(0));
        let (to, joined) = (client.clone(), life.clone());
        let door = head.open(node(1), Keeps::Pace, Arc::new(move |word| heard(&to, &joined, word)));
        head.hear(door, ToHead::Join(Arc::new(join(1, 5))));
        let local = Local { head, client, door, life: Life(life.load(Ordering::Relaxed)) };
        local.attach();
        local
    }

    fn attach(&self) {
        let (head, door) = (self.head.clone(), self.door);
        self.client.attached(self.life, Arc::new(move |message| head.hear(door, message)));
    }

    fn summary(&self) -> Summary {
        match self.head.status(Query::Summary) {
            crate::directory::request::Page::Summary(summary) => summary,
            other => panic!("{other:?}"),
        }
    }
}

fn heard(client: &Client, life: &AtomicU64, word: Word) {
    let Word::Said(FromHead { news, .. }) = word else { panic!("closed") };
    match news {
        News::Joined(joined) => life.store(joined.life.0, Ordering::Relaxed),
        News::Answer { request, reply } => client.answered(request, reply),
        News::Waits { request, why } => client.waits(request, why),
        News::Order(order) => match order.what {
            Command::Host(host) => {
                client.report(Hosted { actor: host.spawn.actor, placement: host.placement, made: Ok(()) });
            }
            Command::End { actor, placement, why, .. } => client.report(Ended { actor, placement, why }),
            Command::Move { .. } | Command::Grant(_) | Command::Recall { .. } => {}
            Command::Revoke { .. } | Command::Vacate { .. } => {}
        },
        _ => {}
    }
}

/// The answer, which must be there without waiting.
fn now<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("not answered at once"),
    }
}

#[test]
fn a_head_in_this_process_spawns_finds_and_ends_before_the_request_returns() {
    let local = Local::start();
    let life = local.life;
    let made = now(local.client.ask(Spawn { name: Some(name("a")), ..spawn(life, 1) })).unwrap().unwrap();
    assert_eq!((made.life, made.placement), (life, Placement(1)));
    let taken = now(local.client.ask(Spawn { name: Some(name("a")), ..spawn(life, 2) })).unwrap().unwrap_err();
    assert!(matches!(taken, SpawnError::NameTaken { holder, .. } if holder == made.actor));
    let ended = now(local.client.ask(End { actor: made.actor, how: How::Kill })).unwrap();
    assert_eq!(ended, Ok(Gone::Killed));
    assert_eq!((local.summary().actors, local.summary().names), (0, 0));
    assert!(local.summary().requests <= DONE_ALONE, "the head forgets what is done");
}

#[tokio::test(start_paused = true)]
async fn a_request_outlives_its_door_and_a_head_that_stays_away_fails_it() {
    let local = Local::start();
    local.client.detached();
    let asking = local.client.ask(spawn(local.life, 1));
    local.attach();
    assert!(asking.await.unwrap().is_ok(), "asked again at the next door");
    local.client.detached();
    let error = local.client.ask(spawn(local.life, 2)).await.unwrap_err();
    assert!(matches!(error, AskError::HeadAway { executed: Executed::No, .. }), "{error}");
    assert!(error.to_string().contains("not carried out"), "{error}");
    local.attach();
    assert_eq!(local.summary().actors, 1, "what was given up is not asked later");
    local.client.detached();
    (3..100).for_each(|serial| drop(local.client.ask(spawn(local.life, serial))));
    assert!(!local.client.0.state.lock().has_unsaid(), "nor kept");
}

#[test]
fn what_nobody_waits_for_is_undone() {
    let local = Local::start();
    drop(local.client.ask(spawn(local.life, 1)));
    assert_eq!(local.summary().actors, 0, "a spawn that is dropped leaves no actor");
    let full = now(local.client.choose(choose(local.life, 2, 2.0), |_| ())).unwrap();
    assert_eq!(full.unwrap().life, local.life);
    let mut waits = Box::pin(local.client.choose(choose(local.life, 3, 1.0), |_| ()));
    assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(local.summary().waiting, 1);
    drop(waits);
    assert_eq!(local.summary().waiting, 0);
}

#[test]
fn what_another_found_by_its_name_outlives_a_maker_that_gives_up() {
    let local = Local::start();
    let asked = |serial| GetOrSpawn(Spawn { name: Some(name("a")), ..spawn(local.life, serial) });
    let first = local.client.ask(asked(1));
    drop(local.client.ask(asked(2)));
    let found = now(local.client.ask(asked(3))).unwrap().unwrap();
    drop(first);
    assert_eq!((found.actor.serial, local.summary().actors), (1, 1));
    drop(local.client.ask(GetOrSpawn(Spawn { name: Some(name("b")), ..spawn(local.life, 4) })));
    assert_eq!(local.summary().actors, 1, "nobody else asked for that one");
}

#[test]
fn what_waits_says_why_and_a_life_that_is_over_fails_it() {
    let local = Local::start();
    let asking = local.client.ask(Choose { patience: Patience::Wait, ..choose(local.life, 1, 64.0) });
    assert_eq!(asking.why().unwrap().to_string(), "no node has cpu ≥ 64: lower it, or start a node with more");
    local.client.life_over();
    assert!(matches!(now(asking), Err(AskError::LifeOver { executed: Executed::Maybe })));
}

#[tokio::test(start_paused = true)]
async fn between_two_lives_a_question_waits_for_the_next_and_what_was_to_be_made_fails() {
    let local = Local::start();
    local.client.life_over();
    let mut waits = Box::pin(local.client.ask(Lookup { name: name("a"), kind: spawn(local.life, 1).kind }));
    let late = local.client.ask(spawn(Life(local.life.0 + 1), 1));
    assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    local.attach();
    assert!(matches!(waits.await, Ok(Err(_))), "nobody has the name");
    assert!(matches!(late.await, Err(AskError::LifeOver { executed: Executed::No })), "it is of another life");
    local.client.life_over();
    let waits = local.client.ask(Lookup { name: name("a"), kind: spawn(local.life, 1).kind });
    assert!(matches!(waits.await, Err(AskError::HeadAway { executed: Executed::No, .. })), "but not for ever");
    local.client.close();
    local.attach();
    let over = local.client.ask(Lookup { name: name("a"), kind: spawn(local.life, 1).kind });
    assert!(matches!(now(over), Err(AskError::LifeOver { executed: Executed::No })));
}

#[test]
fn actors_without_resources_cost_no_request_each() {
    let local = Local::start();
    let asked = local.client.0.state.lock().last;
    for serial in 1..=1_000 {
        assert_eq!(
            now(local.client.choose(choose(local.life, serial, 0.0), |_| ())).unwrap().unwrap().life,
            local.life
        );
    }
    assert_eq!(local.client.0.state.lock().last.0, asked.0 + 1);
    local.client.members(99);
    assert_eq!(local.client.chosen(&choose(local.life, 1, 0.0)), None, "membership has changed");
}

#[test]
fn more_reports_than_the_head_takes_at_once_wait_their_turn() {
    let (client, said) = (Client::default(), Arc::new(Mutex::new(Vec::new())));
    let keep = said.clone();
    client.attached(Life(1), Arc::new(move |message| keep.lock().push(message)));
    let report =
        |serial| Ended { actor: ActorId { life: Life(1), serial }, placement: Placement(1), why: Gone::Stopped };
    (0..REQUESTS as u64 + 10).for_each(|serial| client.report(report(serial)));
    assert_eq!(said.lock().len(), 1 + REQUESTS);
    client.answered(RequestId(1), Reply::Reported(Ok(())));
    let last = said.lock().last().cloned();
    assert!(
        matches!(last, Some(ToHead::Ask(Ask { request, settled, .. })) if request == RequestId(REQUESTS as u64 + 1) && settled == [RequestId(1)])
    );
}

#[test]
fn a_report_never_stands_behind_questions_that_wait() {
    let local = Local::start();
    let all = choose(local.life, 1, 2.0);
    let all = |serial| Choose { actor: ActorId { life: local.life, serial }, ..all.clone() };
    let mut questions: Vec<_> = (0..2 * REQUESTS as u64).map(|serial| local.client.ask(all(serial))).collect();
    for (serial, question) in (0..).zip(questions.drain(..)) {
        let chosen = now(question).expect("answered");
        assert!(chosen.is_ok(), "{serial} has all there is, once the one before gave it back");
        let (actor, placement, why) = (ActorId { life: local.life, serial }, Placement(0), Gone::Stopped);
        local.client.report(Ended { actor, placement, why });
    }
}

/// A waker that looks whether the client's lock is free: when it wakes, and when it is dropped.
struct Looks {
    client: Client,
    held: Arc<AtomicU64>,
    looked: Arc<AtomicU64>,
}

impl Looks {
    fn look(&self) {
        self.looked.fetch_add(1, Ordering::Relaxed);
        self.held.fetch_add(u64::from(self.client.0.state.try_lock().is_none()), Ordering::Relaxed);
    }
}

impl futures_util::task::ArcWake for Looks {
    fn wake_by_ref(looks: &Arc<Self>) {
        looks.look();
    }
}

impl Drop for Looks {
    fn drop(&mut self) {
        self.look();
    }
}

#[test]
fn whoever_waits_is_woken_and_let_go_outside_of_the_lock() {
    let (held, looked) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let waits_for = |local: &Local, ends: &dyn Fn(&Local, RequestId)| {
        let waker = |local: &Local| {
            let (client, held, looked) = (local.client.clone(), held.clone(), looked.clone());
            futures_util::task::waker(Arc::new(Looks { client, held, looked }))
        };
        // It finds no room at the head: it waits there.
        let waits = Choose { patience: Patience::Wait, ..choose(local.life, 1, 64.0) };
        let mut asking = Box::pin(local.client.ask(waits));
        let request = local.client.0.state.lock().last;
        assert!(asking.as_mut().poll(&mut Context::from_waker(&waker(local))).is_pending());
        assert!(asking.as_mut().poll(&mut Context::from_waker(&waker(local))).is_pending());
        // A report that nobody answers.
        local.client.detached();
        let mut arrives = local.client.report_until_known(Ended {
            actor: ActorId { life: local.life, serial: 1 },
            placement: Placement(0),
            why: Gone::Stopped,
        });
        assert!(Pin::new(&mut arrives).poll(&mut Context::from_waker(&waker(local))).is_pending());
        ends(local, request);
        drop((asking, arrives));
    };
    waits_for(&Local::start(), &|local, _| local.client.life_over());
    waits_for(&Local::start(), &|local, _| local.client.close());
    waits_for(&Local::start(), &|local, _| local.attach());
    waits_for(&Local::start(), &|local, _| local.client.attached(Life(local.life.0 + 1), Arc::new(|_| {})));
    waits_for(&Local::start(), &|local, request| local.client.waits(request, Why::Full));
    waits_for(&Local::start(), &|local, request| {
        local.client.answered(request, Reply::Chosen(Err(ChooseError::Full)));
    });
    assert!(looked.load(Ordering::Relaxed) > 0);
    assert_eq!(held.load(Ordering::Relaxed), 0, "the lock was held");
}
