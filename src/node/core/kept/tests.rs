//! A host, its keepers and the head: what the head would give the next host is always kept, and nothing else for long.

use super::*;
use proptest::prelude::*;

const ACTOR: ActorId = ActorId { life: Life(1), serial: 7 };

fn edition(placement: u64, number: u64) -> Edition {
    Edition { placement: Placement(placement), number }
}

fn all(keeping: &mut Keeping<Edition>, of: Range<Edition>) -> Vec<Edition> {
    keeping.let_go(ACTOR, |edition| of.contains(&edition))
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
            all(self.keepers.get_mut(&life).unwrap(), Edition::FIRST..saved);
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
        let keeping = self.keepers.get_mut(&keeper).unwrap();
        let kept = keeping.editions(ACTOR);
        let needed = self.given.needed(ACTOR, Placement(self.placement), &kept);
        keeping.let_go(ACTOR, |edition| kept.contains(&edition) && !needed.contains(&edition));
    }

    fn check(&self) {
        if let Some((saved, Some(keeper))) = self.head {
            assert!(self.keepers[&keeper].get(ACTOR, saved).is_some(), "what the head knows of is kept");
        }
    }
}

proptest! {
    #[test]
    fn what_the_head_knows_of_is_kept_and_the_rest_goes(steps in prop::collection::vec((0_u8..6, 1_u64..4, 0_u8..3), 0..60)) {
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
        // One more is saved, and all are asked.
        world.save(Some(Life(2)), 1);
        (1..=3).for_each(|life| world.ask(Life(life)));
        world.check();
        let left: Vec<usize> = world.keepers.values().map(|keeping| keeping.editions(ACTOR).len()).collect();
        prop_assert_eq!(left, vec![0, 1, 0]);
    }

    #[test]
    fn actors_are_asked_about_in_turn_and_few_at_once(count in 1_u64..40, most in 1_usize..8) {
        let mut keeping = Keeping::default();
        for serial in 0..count {
            keeping.keep(ActorId { serial, ..ACTOR }, Edition::FIRST, ());
        }
        let mut seen = BTreeSet::new();
        for _ in 0..count.div_ceil(most as u64) {
            let asked = keeping.ask(most).unwrap();
            prop_assert!(asked.len() <= most);
            prop_assert!(keeping.ask(most).unwrap().len() <= most - asked.len());
            seen.extend(asked);
            let all: Vec<_> = keeping.asked.iter().copied().collect();
            seen.extend(&all);
            all.into_iter().for_each(|actor| keeping.has_asked(actor));
        }
        prop_assert_eq!(seen.len() as u64, count);
        keeping.clear().for_each(drop);
        prop_assert_eq!(keeping.ask(most), None);
    }
}

#[test]
fn a_keeper_that_has_ended_is_replaced_and_told_nothing() {
    let mut given = Given::default();
    assert!(given.is_safe(ACTOR, edition(1, 1), None).is_empty(), "what the head keeps needs no keeper");
    given.give(ACTOR, Life(2));
    assert!(given.keeper(ACTOR).is_none(), "not before the head knows");
    given.is_safe(ACTOR, edition(1, 2), Some(Life(2)));
    given.give(ACTOR, Life(3));
    assert_eq!(given.ended(|life| life == Life(3)), vec![]);
    assert_eq!(given.ended(|life| life == Life(2)), vec![ACTOR]);
    assert_eq!(given.ended(|life| life == Life(2)), vec![], "once");
    assert_eq!(given.keeper(ACTOR), None);
    given.give(ACTOR, Life(4));
    assert_eq!(
        given.needed(ACTOR, Placement(1), &[edition(1, 2), edition(1, 3), edition(2, 0)]),
        [edition(1, 2), edition(1, 3)]
    );
    assert_eq!(given.is_safe(ACTOR, edition(1, 3), Some(Life(4))).into_iter().collect::<Vec<_>>(), [Life(4)]);
    assert_eq!(given.over(ACTOR).into_iter().collect::<Vec<_>>(), [Life(4)]);
    assert!(given.needed(ACTOR, Placement(1), &[edition(1, 3)]).is_empty());
}
