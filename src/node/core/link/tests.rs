//! I1 to I6 on two links that a network joins which cuts sessions wherever it likes, and each rule by itself.

mod rules;
mod sessions;
mod world;

use world::World;

/// Runs one seed; a failure names it.
fn run(seed: u64, steps: usize) -> World {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with seed {}", self.0);
            }
        }
    }
    let _named = Named(seed);
    let mut world = World::new(seed);
    (0..steps).for_each(|_| world.step());
    world.finish();
    world
}

#[test]
fn i1_to_i6_hold_over_sessions_that_are_cut_anywhere() {
    let (mut cuts, mut calls, mut unreachable) = (0, 0, 0);
    for seed in 0..40 {
        let world = run(seed, 2_000);
        cuts += world.cuts;
        calls += world.calls();
        unreachable += world.unreachable;
    }
    assert!(cuts > 100 && calls > 5_000 && unreachable > 5, "{cuts} cuts, {calls} calls, {unreachable} unreachable");
}

#[test]
fn every_ask_ends_when_a_life_ends() {
    for seed in 1_000..1_100 {
        let mut world = World::new(seed);
        (0..800).for_each(|_| world.step());
        world.end_of_life();
    }
}

#[test]
fn a_seed_replays_exactly() {
    assert_eq!(run(7, 3_000).history, run(7, 3_000).history);
}
