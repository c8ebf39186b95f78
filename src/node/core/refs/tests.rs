//! R1 to R4 in worlds of several nodes, driven by seeds, and each rule by itself.

mod rules;
mod shell;
mod world;

use world::{Faults, World};

/// Runs one seed; a failure names it.
fn run(seed: u64, steps: usize, faults: Faults) -> World {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with seed {}", self.0);
            }
        }
    }
    let _named = Named(seed);
    let mut world = World::new(seed, faults);
    (0..steps).for_each(|_| world.step());
    world.finish();
    world
}

const SEEDS: u64 = if cfg!(debug_assertions) { 100 } else { 2_000 };

#[test]
fn r1_r2_r3_hold_in_any_order_of_packets_across_channels() {
    let mut seen = world::Seen::default();
    for seed in 0..SEEDS {
        seen.add(&run(seed, 400, Faults::None).seen);
    }
    let world::Seen { forwards, claims, reads, released, .. } = seen;
    let often = SEEDS as usize;
    assert!(forwards > 5 * often && claims > 2 * often && reads > 2 * often && released > 5 * often, "{seen:?}");
    assert_eq!(seen.lost, 0, "R1");
}

#[test]
fn r1_to_r4_hold_when_lives_end() {
    let mut seen = world::Seen::default();
    for seed in 0..SEEDS {
        seen.add(&run(seed, 400, Faults::Deaths).seen);
    }
    assert!(seen.deaths > SEEDS as usize / 2 && seen.lost > SEEDS as usize / 4, "{seen:?}");
}

#[test]
fn a_seed_replays_exactly() {
    assert_eq!(run(7, 600, Faults::Deaths).history, run(7, 600, Faults::Deaths).history);
}
