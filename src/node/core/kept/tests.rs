//! A host, its keepers and the head: what the head would give the next host is always kept, and nothing else for long.

use super::*;
use proptest::prelude::*;

const ACTOR: ActorId = ActorId { life: Life(1), serial: 7 };

fn edition(placement: u64, number: u64) -> Edition {
    Edition { placement: Placement(placement), number }
}

/// Hosts come after each other, each with three lives that may keep something.
struct World {
    given: Given,
    keepers: BTreeMap<Life, Keeping<Edition>>,
    head: Option<(Edition, Option<Life>)>,
    placement: u64,
    number: u64,
}

impl World {
    fn new() -> Self {
        let keepers = (1..=3).map(|life| (Life(life), Keeping::default())).collect();
        World { given: Given::default(), keepers, head: None, placement: 1, number: 0 }
    }

    fn let_go(&mut self, life: Life, gone: impl FnMut(Edition) -> bool) {
        self.keepers.get_mut(&life).unwrap().let_go(ACTOR, gone);
    }

    /// Gives a checkpoint to a keeper, as far as `until`: 0 it was given, 1 the head knows, 2 the former are let go.
    fn save(&mut self, keeper: Option<Life>, until: u8) {
        self.number += 1;
        let saved = edition(self.placement, self.number);
        if let Some(keeper) = keeper {
            self.given.give(ACTOR, keeper);
            self.keepers.get_mut(&keeper).unwrap().keep(ACTOR, saved, saved);
        }
        if until == 0 {
            return;
        }
        self.head = Some((saved, keeper));
        let told = self.given.is_safe(ACTOR, saved, keeper);
        for life in told.into_iter().filter(|_| until > 1) {
            self.let_go(life, |edition| (Edition::FIRST..saved).contains(&edition));
        }
    }

    /// The host dies.
    fn moves(&mut self) {
        self.given = Given::default();
        (self.placement, self.number) = (self.placement + 1, 0);
        if let Some((saved, Some(keeper))) = self.head {
            self.given.came(ACTOR, saved, keeper);
        }
    }

    fn ask(&mut self, keeper: Life) {
        let saved = self.head.map(|(edition, _)| (edition.placement, edition.number));
        let needed = Some(LastSaved { placement: Placement(self.placement), saved });
        self.let_go(keeper, |edition| !edition.is_needed(needed));
    }

    fn check(&self) {
        if let Some((saved, Some(keeper))) = self.head {
            assert!(self.keepers[&keeper].get(ACTOR, saved).is_some(), "what the head knows of is kept");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_head_knows_of_is_kept_and_the_rest_goes(
        steps in prop::collection::vec((0_u8..6, 1_u64..4, 0_u8..3), 0..60),
    ) {
        let mut world = World::new();
        for (step, keeper, until) in steps {
            match step {
                0..=2 => world.save(Some(Life(keeper)), until),
                3 => world.save(None, 1 + until % 2),
                4 => world.moves(),
                _ => world.ask(Life(keeper)),
            }
            world.check();
        }
        // One more is saved, and all ask.
        world.save(Some(Life(2)), 1);
        (1..=3).for_each(|life| world.ask(Life(life)));
        world.check();
        let left: Vec<usize> = world.keepers.values().map(|keeping| keeping.editions(ACTOR).len()).collect();
        prop_assert_eq!(left, vec![0, 1, 0]);
    }

    #[test]
    fn all_are_asked_about_in_turn(count in 1_u64..40, most in 1_usize..8) {
        let mut keeping = Keeping::default();
        for serial in 0..count {
            keeping.keep(ActorId { serial, ..ACTOR }, Edition::FIRST, ());
        }
        let rounds = count.div_ceil(most as u64);
        let asked: BTreeSet<ActorId> = (0..rounds).flat_map(|_| keeping.next(most)).collect();
        prop_assert_eq!(asked.len() as u64, count);
        keeping.clear().for_each(drop);
        prop_assert!(keeping.next(most).is_empty());
    }
}

#[test]
fn a_keeper_that_has_ended_is_replaced_and_told_nothing() {
    let mut given = Given::default();
    assert!(given.is_safe(ACTOR, edition(1, 1), None).is_empty(), "what the head keeps needs no keeper");
    given.give(ACTOR, Life(2));
    assert!(given.keeper(ACTOR).is_none(), "not before the head knows");
    given.is_safe(ACTOR, edition(1, 2), Some(Life(2)));
    assert!(given.is_alone(ACTOR, Life(2)) && !given.is_alone(ACTOR, Life(1)), "it keeps its own");
    given.give(ACTOR, Life(3));
    assert_eq!(given.ended(|life| life == Life(3)), vec![]);
    assert_eq!(given.ended(|life| life == Life(2)), vec![ACTOR]);
    assert_eq!(given.ended(|life| life == Life(2)), vec![], "once");
    assert!(given.keeper(ACTOR).is_none() && given.is_alone(ACTOR, Life(1)));
    given.give(ACTOR, Life(4));
    assert!(given.is_safe(ACTOR, edition(1, 2), Some(Life(5))).is_empty(), "an answer that comes late");
    assert_eq!(given.is_safe(ACTOR, edition(1, 3), Some(Life(4))).into_iter().collect::<Vec<_>>(), [Life(4)]);
    given.is_safe(ACTOR, edition(1, 4), None);
    assert!(!given.is_alone(ACTOR, Life(1)), "the head has it");
    assert!(given.over(ACTOR).is_empty());
}

#[test]
fn nothing_is_needed_of_an_actor_that_has_ended() {
    assert!(!edition(1, 1).is_needed(None));
    assert!(
        edition(1, 1).is_needed(Some(LastSaved { placement: Placement(1), saved: None })),
        "its host is about to say so"
    );
    assert!(!edition(1, 1).is_needed(Some(LastSaved { placement: Placement(2), saved: None })));
}
