//! What a run of an actor sends that the head has replaced: whoever has taken a call of the later run refuses it. The later run
//! is a member's here that speaks the records, so that the former one need not be stopped in the middle of anything.

use crate::common::bounded;
use crate::place::{At, Place, Witness, WitnessHandle};
use crate::rogue::{Rogue, SOME_LIFE, Said, arguments, echo, encoded};
use mobula::Executed;
use mobula::id::{ActorId, Incarnation, Life, NodeId, Placement};
use mobula::prelude::*;
use mobula::wire::packet::{Flags, Request, Work};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

const STALE: &str = "stale";
const OK: &str = "ok";

/// A call of the witness by a run of an actor.
fn by(place: &Place, caller: ActorId, placement: u64, restart: u32) -> Vec<u8> {
    let (body, placement) = (arguments(7), Placement(placement));
    let caller = Some((caller, Incarnation { placement, restart }));
    encoded(Work::Request(Request { caller, ..echo(place, &body) }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_was_replaced_calls_nobody_who_has_taken_a_call_of_the_next() {
    let place = Place::start().await;
    let (mut former, mut next) = (Rogue::greeted(&place, SOME_LIFE).await, Rogue::greeted(&place, SOME_LIFE + 1).await);
    let (actor, other) = (ActorId { life: Life(3), serial: 1 }, ActorId { life: Life(3), serial: 2 });
    let value = || Said::Value(vec![7]);
    let stale = || Said::Fault(Executed::No, "Stale".to_owned());
    let said = |said: Vec<Said>| (1..).zip(said).collect::<BTreeMap<u64, Said>>();
    former.send(&[by(&place, actor, 4, 0)]).await;
    assert_eq!(former.answers(1).await, said(vec![value()]), "nobody has heard of another");
    // What it had said before it was started again in place is as good as what came after.
    next.send(&[by(&place, actor, 5, 1), by(&place, actor, 5, 0)]).await;
    assert_eq!(next.answers(2).await, said(vec![value(), value()]));
    let body = arguments(7);
    let make = Request {
        flags: Flags::SPAWN,
        caller: Some((actor, Incarnation { placement: Placement(4), restart: 9 })),
        ..echo(&place, &body)
    };
    let sent = [
        (by(&place, actor, 4, 0), stale()),
        (by(&place, actor, 4, 9), stale()),
        (encoded(Work::Request(make)), stale()),
        (by(&place, other, 1, 0), value()),
        (encoded(Work::Request(echo(&place, &body))), value()),
    ];
    former.send(&sent.iter().map(|(packet, _)| packet.clone()).collect::<Vec<_>>()).await;
    let expected = (2..).zip(sent.into_iter().map(|(_, said)| said)).collect();
    assert_eq!(former.answers(5).await, expected);
    // Nobody is told of a tell, and it does not run.
    let tell = Request {
        flags: Flags::TELL,
        caller: Some((actor, Incarnation { placement: Placement(4), restart: 0 })),
        ..echo(&place, &body)
    };
    former.send(&[encoded(Work::Request(tell)), by(&place, other, 1, 0)]).await;
    assert_eq!(former.answers(1).await, BTreeMap::from([(8, value())]));
    assert_eq!(bounded(place.witness.echoed()).await, Ok(6));
    for rogue in [former, next] {
        bounded(rogue.node.net.close()).await;
    }
    place.end().await;
}

fn outcome<T, E: Display>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => OK.to_owned(),
        Err(error) if error.to_string().contains("this run of it is stale") => STALE.to_owned(),
        Err(error) => error.to_string(),
    }
}

/// Calls the witness in all ways there are.
#[actor(restarts = 3)]
pub(crate) struct Guest {
    witness: WitnessHandle,
    made: String,
    rang: Arc<Notify>,
}

#[methods]
impl Guest {
    #[constructor]
    pub async fn of(witness: WitnessHandle) -> Self {
        let made = outcome(witness.echo(1).await);
        Self { witness, made, rang: Arc::default() }
    }

    /// How its constructor's call ended.
    pub fn made(&self) -> String {
        self.made.clone()
    }

    pub async fn asks(&mut self) -> String {
        outcome(self.witness.echo(1).await)
    }

    pub async fn submits(&mut self, ctx: &mut ActorContext<Self>) -> String {
        let submitted = self.witness.echo(1).submit();
        outcome(ctx.cluster().get(&submitted).await)
    }

    pub fn submits_at_once(&mut self) -> ObjectRef<u64> {
        self.witness.echo(1).submit()
    }

    #[method(blocking)]
    pub fn submits_from_the_pool(&mut self) -> ObjectRef<u64> {
        self.witness.echo(1).submit()
    }

    pub async fn links(&mut self, ctx: &mut ActorContext<Self>) -> String {
        let linked = outcome(ctx.link(&self.witness).await);
        let _ = ctx.unlink(&self.witness).await;
        linked
    }

    pub async fn spawns(&mut self, ctx: &mut ActorContext<Self>, on: NodeId) -> String {
        outcome(Witness::spawn(&ctx.cluster()).on(on).await)
    }

    pub async fn kills(&mut self) -> String {
        outcome(self.witness.kill().await)
    }

    /// Calls of which nobody is told how they ended.
    pub async fn tells(&mut self) {
        self.witness.echo(1).tell().await.expect("it is under way");
    }

    pub fn tries_to_tell(&mut self) {
        assert!(self.witness.echo(1).try_tell().is_ok());
    }

    pub fn sets_a_timer(&mut self, ctx: &mut ActorContext<Self>) {
        let (witness, rang) = (self.witness.clone(), self.rang.clone());
        ctx.after(Duration::ZERO, move |_| {
            // Told once the call is under way.
            rang.notify_one();
            witness.echo(1)
        });
    }

    pub async fn timer_rang(&mut self) {
        self.rang.notified().await;
    }

    pub fn panics(&mut self) {
        panic!("as it was asked to");
    }
}

/// What became of the calls of each kind of which somebody is told.
async fn ways(place: &Place, guest: &GuestHandle) -> Vec<String> {
    let mut outcomes = vec![
        bounded(guest.asks()).await.unwrap(),
        bounded(guest.submits()).await.unwrap(),
        bounded(guest.links()).await.unwrap(),
        bounded(guest.spawns(place.worker.id)).await.unwrap(),
    ];
    for submitted in [guest.submits_at_once().await, guest.submits_from_the_pool().await] {
        outcomes.push(outcome(bounded(place.cluster.get(&submitted.unwrap())).await));
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_an_actor_calls_by_it_says_which_run_it_is() {
    let place = Place::with_workers(2).await;
    let (own, worker) = (place.cluster.node_id(), place.worker.id);
    let nodes = place.cluster.nodes();
    let elsewhere = nodes.iter().find(|node| node.hosts_actors && node.id != worker && node.id != own).unwrap().id;
    let guest = bounded(Guest::spawn(&place.cluster, &place.witness).name("guest").on(elsewhere)).await.unwrap();
    assert_eq!(bounded(guest.made()).await.unwrap(), OK);
    assert_eq!(ways(&place, &guest).await, [OK; 6]);
    bounded(guest.tells()).await.unwrap();
    bounded(guest.tries_to_tell()).await.unwrap();
    bounded(guest.sets_a_timer()).await.unwrap();
    bounded(guest.timer_rang()).await.unwrap();
    bounded(guest.asks()).await.unwrap();
    let echoed = bounded(place.witness.echoed()).await.unwrap();
    assert_eq!(echoed, 9, "each ran");

    // Somebody has placed it again, and the next one as well.
    let mut later = Rogue::greeted(&place, SOME_LIFE).await;
    let another = ActorId { serial: guest.id().serial + 1, ..guest.id() };
    later.send(&[by(&place, guest.id(), 1 << 40, 0), by(&place, another, 1 << 40, 0)]).await;
    assert_eq!(later.answers(2).await.len(), 2);
    assert_eq!(ways(&place, &guest).await, [STALE; 6]);
    assert_eq!(bounded(guest.kills()).await.unwrap(), STALE);
    bounded(guest.tells()).await.unwrap();
    bounded(guest.tries_to_tell()).await.unwrap();
    bounded(guest.sets_a_timer()).await.unwrap();
    bounded(guest.timer_rang()).await.unwrap();
    // In the line of these.
    assert_eq!(bounded(guest.asks()).await.unwrap(), STALE);
    assert!(bounded(guest.panics()).await.is_err());
    assert_eq!(bounded(guest.made()).await.unwrap(), STALE, "its constructor, in its next run");
    let next = bounded(Guest::spawn(&place.cluster, &place.witness).name("next").on(elsewhere)).await.unwrap();
    assert_eq!((next.id(), bounded(next.made()).await.unwrap()), (another, STALE.to_owned()));
    assert_eq!(bounded(place.witness.echoed()).await, Ok(echoed + 2), "none of all that ran");
    bounded(later.node.net.close()).await;
    drop((guest, next));
    assert!(place.resident(At::Worker) > 0);
    place.end().await;
}
