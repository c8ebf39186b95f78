//! What head and nodes must agree on when all is mended: a world at its end, in which one of them is changed behind the back
//! of the others.

use super::*;
use crate::id::ActorId;

/// A world at its end, with an actor of the head's on some node.
fn settled() -> World {
    let mut worlds = (0..100).map(|seed| {
        let mut world = World::new(seed, &Options::default());
        world.runs();
        assert_eq!((world.stage.violation.as_ref(), world.agrees()), (None, Ok(())), "seed {seed}");
        world
    });
    worlds.find(|world| named(world).is_some()).expect("one of these seeds ends with such an actor")
}

/// An actor that the head knows and that takes nothing, and where it is.
fn named(world: &World) -> Option<(usize, ActorId)> {
    let mut all = world.nodes.iter().flat_map(|node| node.actors.iter().map(|(id, actor)| (node.index, id, actor)));
    all.find(|(_, id, actor)| !actor.ephemeral && !world.stage.takers.contains(id)).map(|(node, id, _)| (node, *id))
}

/// Once a world was changed, the check says so.
fn is_noticed(change: impl FnOnce(&mut World), what: &str) {
    let mut world = settled();
    change(&mut world);
    let violation = world.agrees().expect_err(what);
    assert_eq!(violation.rule, Rule::Settled, "{what}");
    assert!(!violation.what.is_empty());
}

#[test]
fn settled_a_head_that_is_not_there_is_noticed() {
    is_noticed(|world| world.head.kill(&mut world.stage), "no head");
}

#[test]
fn settled_a_node_that_has_ended_unknown_to_the_head_is_noticed() {
    is_noticed(|world| world.nodes[0].die(&mut world.stage, Duration::ZERO, "for a test"), "a dead node");
}

#[test]
fn settled_an_actor_that_its_host_lost_is_noticed() {
    let lose = |world: &mut World| {
        let (node, actor) = named(world).expect("it is there");
        world.nodes[node].actors.remove(&actor);
    };
    is_noticed(lose, "a lost actor");
}

#[test]
fn settled_an_actor_of_which_the_head_knows_nothing_is_noticed() {
    let add = |world: &mut World| {
        let (node, actor) = named(world).expect("it is there");
        let stranger = ActorId { serial: u64::MAX, ..actor };
        world.nodes[node].host(
            &mut world.stage,
            (stranger, crate::id::Placement(1)),
            crate::actor::core::tally::Restarts::NEVER,
            None,
        );
    };
    is_noticed(add, "a stranger");
}

#[test]
fn settled_an_actor_under_another_placement_is_noticed() {
    let move_on = |world: &mut World| {
        let (node, actor) = named(world).expect("it is there");
        let actor = world.nodes[node].actors.get_mut(&actor).expect("it is there");
        actor.placement = actor.placement.next();
    };
    is_noticed(move_on, "a placement of its own");
}

#[test]
fn settled_a_cpu_that_is_taken_and_counted_as_free_is_noticed() {
    let take = |world: &mut World| {
        let (_, actor) = named(world).expect("it is there");
        world.stage.takers.insert(actor);
    };
    is_noticed(take, "a CPU that nobody counts");
}
