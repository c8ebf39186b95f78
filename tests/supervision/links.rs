//! Of two linked actors the end of one is the end of the other, unless it was stopped.

use crate::common::{bounded, ends_without_a_trace, hold};
use mobula::id::ActorId;
use mobula::prelude::*;
use mobula::{EndReason, FirstEnd, Handle};

hold! {
    the_end_of_one_is_the_end_of_the_other_whichever_asked
    a_stop_is_the_end_of_nobody_else
    who_was_unlinked_lives_on
    a_ring_of_links_ends_as_a_whole_and_names_the_first
    who_links_with_an_actor_that_has_ended_ends_at_once
    a_named_actor_is_linked_like_any_other
    an_actor_that_is_started_again_stays_linked
}

/// May be linked with others.
#[actor]
pub struct Knot;

#[methods]
impl Knot {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub async fn ties(&mut self, other: KnotHandle, ctx: &mut ActorContext<Self>) -> mobula::Result<()> {
        Ok(ctx.link(&other).await?)
    }

    pub async fn unties(&mut self, other: KnotHandle, ctx: &mut ActorContext<Self>) -> mobula::Result<()> {
        Ok(ctx.unlink(&other).await?)
    }

    pub fn falls(&mut self) {
        panic!("on purpose");
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

async fn knot(cluster: &Cluster) -> KnotHandle {
    bounded(Knot::spawn(cluster)).await.unwrap()
}

async fn tie(one: &KnotHandle, other: &KnotHandle) {
    bounded(one.ties(other)).await.unwrap();
}

pub fn linked(first: ActorId, why: &str) -> Result<EndReason, CallError> {
    Ok(EndReason::Linked(Box::new(FirstEnd { actor: first, message: why.to_owned() })))
}

const KILLED: &str = "it was killed";
const FALLEN: &str = "it panicked in `falls`: on purpose";

async fn the_end_of_one_is_the_end_of_the_other_whichever_asked(cluster: &Cluster) {
    let (asks, asked) = (knot(cluster).await, knot(cluster).await);
    tie(&asks, &asked).await;
    bounded(asked.falls()).await.unwrap_err();
    assert_eq!(bounded(asks.ended()).await, linked(asked.id(), FALLEN));
    let (asks, asked) = (knot(cluster).await, knot(cluster).await);
    tie(&asks, &asked).await;
    bounded(asks.kill()).await.unwrap();
    assert_eq!(bounded(asked.ended()).await, linked(asks.id(), KILLED));
}

/// Whether it lives: it is ended by a link that is made now, and not by one before.
async fn lives(one: &KnotHandle, cluster: &Cluster) {
    let other = knot(cluster).await;
    tie(one, &other).await;
    bounded(other.kill()).await.unwrap();
    assert_eq!(bounded(one.ended()).await, linked(other.id(), KILLED));
}

async fn a_stop_is_the_end_of_nobody_else(cluster: &Cluster) {
    let (asks, asked) = (knot(cluster).await, knot(cluster).await);
    tie(&asks, &asked).await;
    assert_eq!(bounded(asks.stop()).await, Ok(EndReason::Stopped));
    lives(&asked, cluster).await;
}

async fn who_was_unlinked_lives_on(cluster: &Cluster) {
    for by_the_one_that_asked in [true, false] {
        let (asks, asked) = (knot(cluster).await, knot(cluster).await);
        // Two are linked once, however often that is asked for, and by whom.
        tie(&asks, &asked).await;
        tie(&asks, &asked).await;
        tie(&asked, &asks).await;
        let (unties, other) = if by_the_one_that_asked { (&asks, &asked) } else { (&asked, &asks) };
        bounded(unties.unties(other)).await.unwrap();
        bounded(asks.kill()).await.unwrap();
        lives(&asked, cluster).await;
    }
}

async fn a_ring_of_links_ends_as_a_whole_and_names_the_first(cluster: &Cluster) {
    let mut ring = Vec::new();
    for _ in 0..6 {
        ring.push(knot(cluster).await);
    }
    for at in 0..ring.len() {
        tie(&ring[at], &ring[(at + 1) % ring.len()]).await;
    }
    let first = ring.swap_remove(2);
    bounded(first.falls()).await.unwrap_err();
    for other in ring {
        assert_eq!(bounded(other.ended()).await, linked(first.id(), FALLEN));
    }
}

async fn who_links_with_an_actor_that_has_ended_ends_at_once(cluster: &Cluster) {
    let (late, gone) = (knot(cluster).await, knot(cluster).await);
    let named = gone.clone();
    bounded(gone.kill()).await.unwrap();
    // It may be ended before it answers.
    let _ = bounded(late.ties(&named)).await;
    assert_eq!(bounded(late.ended()).await, linked(gone.id(), KILLED));
    let (late, stopped) = (knot(cluster).await, knot(cluster).await);
    let named = stopped.clone();
    bounded(stopped.stop()).await.unwrap();
    tie(&late, &named).await;
    lives(&late, cluster).await;
}

async fn a_named_actor_is_linked_like_any_other(cluster: &Cluster) {
    let named = bounded(Knot::spawn(cluster).name("knot")).await.unwrap();
    let (asks, asked) = (knot(cluster).await, knot(cluster).await);
    tie(&asks, &named).await;
    tie(&named, &asked).await;
    bounded(asks.kill()).await.unwrap();
    assert_eq!(bounded(named.ended()).await, linked(asks.id(), KILLED));
    assert_eq!(bounded(asked.ended()).await, linked(asks.id(), KILLED));
}

async fn an_actor_that_is_started_again_stays_linked(cluster: &Cluster) {
    let again = bounded(Knot::spawn(cluster).restarts(1)).await.unwrap();
    let other = knot(cluster).await;
    tie(&again, &other).await;
    bounded(again.falls()).await.unwrap_err();
    bounded(again.process()).await.expect("it runs again");
    bounded(other.kill()).await.unwrap();
    assert_eq!(bounded(again.ended()).await, linked(other.id(), KILLED));
}
