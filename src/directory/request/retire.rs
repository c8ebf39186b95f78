//! `Retire`: a node is about to leave. Nothing new is placed on it from then on, so that it leaves nothing behind.
//!
//! One that has nothing to do goes at once. One that is told to end comes to its end first, and what it asks for itself until
//! then it may get of its own: whoever runs there may hang on it. Actors that would be placed again after its end leave it now,
//! one by one, as they have done what they had taken on. Of others' tasks those go on that have begun.

use crate::directory::actors::Actor;
use crate::directory::lives::Takes;
use crate::directory::message::Command;
use crate::directory::request::{Change, Revoked};
use crate::directory::state::{Directory, Effects};
use crate::id::Life;
use serde::{Deserialize, Serialize};

/// Whether anything new may be placed on the asking node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retire {
    /// No, if there is nothing on it: it has nothing to do.
    IfUnused,
    /// No, but for its own: it is told to end, and runs what it has begun.
    Drains,
    /// Yes: it stays after all.
    NotNow,
}

impl Directory {
    /// Whether nothing new comes to it now. In no journal: after the head's start all are open.
    pub(in crate::directory) fn retire(&mut self, life: Life, retire: Retire, effects: &mut Effects) -> bool {
        let Some(living) = self.lives.get_mut(life) else { return false };
        let takes = match retire {
            Retire::IfUnused if living.is_unused() => Takes::Nothing,
            Retire::Drains => Takes::ItsOwn,
            Retire::IfUnused | Retire::NotNow => Takes::All,
        };
        if living.takes != takes {
            living.takes = takes;
            // It is as suspect as before: but who holds a choice of nodes for the present membership makes it anew.
            let as_before = if living.suspect() { Change::Suspect(life) } else { Change::Back(life) };
            self.members.log(as_before);
            self.fill(life, effects);
        }
        if takes == Takes::ItsOwn {
            self.clear_out(life, effects);
        }
        takes != Takes::All
    }

    /// What need not end with a node leaves it.
    fn clear_out(&mut self, life: Life, effects: &mut Effects) {
        let Some(living) = self.lives.get(life) else { return };
        let (hosted, lent) = (living.hosted.clone(), living.lent.clone());
        for id in hosted {
            // One in a process of its own goes with that.
            let moves = |actor: &&Actor| actor.may_be_placed_again() && !actor.spawn.isolated;
            if let Some(placement) = self.actors.all.get(&id).filter(moves).map(|actor| actor.placement) {
                self.order(life, Command::Move { actor: id, placement }, effects);
            }
        }
        for id in lent {
            if self.grants.all.get(&id).is_some_and(|grant| grant.owner != life && !grant.over) {
                self.revoke(id, Revoked::Leaving, effects);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::News;
    use crate::directory::request::{Choose, Granted, Needs, Spawn};
    use crate::directory::testing::{Head, choose, node, spawn, want};
    use crate::limits::MEMBERS_PAUSE;
    use crate::schedule::{Resources, Strategy};

    fn chosen(head: &mut Head, choose: Choose) -> Vec<Life> {
        head.asked(choose.actor.life, choose).unwrap().candidates.iter().map(|candidate| candidate.life).collect()
    }

    #[test]
    fn nothing_new_comes_to_a_node_that_is_about_to_leave() {
        let mut head = Head::new();
        let (one, two, owner) = (head.worker(1), head.worker(2), head.driver(3));
        let light = |serial| Choose {
            needs: Needs { resources: Resources::none(), ..Needs::default() },
            ..choose(owner, serial, 1.0)
        };
        assert_eq!(chosen(&mut head, light(1)), [one, two]);
        let before = head.asked(owner, light(2)).unwrap().members;
        assert!(head.asked(two, Retire::IfUnused));
        assert!(head.asked(owner, light(3)).unwrap().members > before, "who held both chooses anew");
        assert_eq!(chosen(&mut head, light(4)), [one]);
        assert_eq!([5, 6].map(|serial| chosen(&mut head, choose(owner, serial, 1.0))), [[one], [one]]);
        let waits = head.asks(owner, choose(owner, 7, 1.0));
        assert_eq!(head.answer::<Choose>(waits), None, "it waits, and is not refused: a node could do it");
        assert!(!head.asked(two, Retire::NotNow));
        let answer = head.answer::<Choose>(waits).expect("it is open again").unwrap();
        assert_eq!(answer.candidates[0].life, two);
    }

    #[test]
    fn a_node_that_comes_to_its_end_lets_go_of_what_outlives_it_and_takes_only_its_own() {
        let mut head = Head::new();
        let (one, owner) = (head.worker(1), head.driver(3));
        let (moves, _, placement) = head.spawned(Spawn { restarts: 1, ..spawn(owner, 1) });
        let (ends, ..) = head.spawned(spawn(owner, 2));
        head.asked(owner, want(0, 1.0, 2)).unwrap();
        let granted = head.granted(owner)[0].clone();
        let two = head.worker(2);
        assert!(head.asked(one, Retire::Drains));

        let moved = head.ordered(moves).map(|order| order.what);
        assert_eq!(moved, Some(Command::Move { actor: moves, placement }));
        assert!(matches!(head.ordered(ends).map(|order| order.what), Some(Command::Host(_))), "it ends with its node");
        let revoked = Command::Revoke { grant: granted.grant, why: Revoked::Leaving };
        assert!(head.grant_orders(owner).contains(&revoked));
        assert!(head.grant_orders(one).contains(&Command::Vacate { grant: granted.grant }));
        let on_other = |granted: &&Granted| granted.life == two;
        assert_eq!(head.granted(owner).iter().filter(on_other).map(|granted| granted.slots).sum::<u32>(), 2);

        head.gives_back(one, granted.grant, 0);
        head.obeys(moves);
        let order = head.ordered(moves).expect("an order");
        let Command::Host(host) = order.what else { panic!("{order:?}") };
        assert_eq!((order.life, host.placement, host.restarts), (two, placement.next(), 1), "none is spent");
        assert_eq!(head.gone(moves), None);

        let here = |life, serial| {
            let needs = Needs { strategy: Strategy::Node(node(1)), ..choose(life, serial, 0.5).needs };
            Choose { needs, ..choose(life, serial, 0.5) }
        };
        assert_eq!(chosen(&mut head, here(one, 1)), [one], "what it asks for itself");
        let waits = head.asks(owner, here(owner, 3));
        assert_eq!(head.answer::<Choose>(waits), None, "others wait");
        let mut own = want(0, 0.5, 1);
        own.needs.strategy = Strategy::Node(node(1));
        head.asked(one, own).unwrap();
        assert_eq!(head.granted(one).iter().map(|granted| granted.life).collect::<Vec<_>>(), [one]);

        let mut head = head.restarted();
        head.rejoins(two, 2);
        assert!(head.summary().actors > 0, "a head that starts knows where it went");
    }

    #[test]
    fn nodes_that_leave_together_are_told_of_together() {
        let mut head = Head::new();
        let workers: Vec<Life> = (1..=20).map(|n| head.worker(n)).collect();
        let driver = head.driver(30);
        head.pass(MEMBERS_PAUSE);
        let told = |head: &Head| head.news_to(driver).iter().filter(|news| matches!(news, News::Members(_))).count();
        let before = told(&head);
        for worker in workers {
            assert!(head.asked(worker, Retire::IfUnused));
            head.leaves(worker);
        }
        head.pass(MEMBERS_PAUSE);
        assert!(told(&head) - before <= 2, "the first at once, the others with it");
        assert_eq!(head.summary().nodes, 1);
    }

    #[test]
    fn the_end_of_one_that_has_something_elsewhere_is_told_before_that_ends() {
        let mut head = Head::new();
        let (one, two, driver) = (head.worker(1), head.worker(2), head.driver(3));
        let host = head.asked(driver, choose(driver, 1, 1.0)).unwrap().candidates[0].life;
        head.pass(MEMBERS_PAUSE);
        let idle = if host == one { two } else { one };
        assert!(head.asked(idle, Retire::IfUnused));
        head.leaves(idle);
        let told = |head: &Head| head.news_to(host).iter().filter(|news| matches!(news, News::Members(_))).count();
        let before = told(&head);
        head.leaves(driver);
        assert_eq!(told(&head) - before, 1, "without a pause: what was reserved there may be on its way");
    }

    #[test]
    fn a_node_with_something_on_it_stays_open() {
        let mut head = Head::new();
        let (one, two) = (head.worker(1), head.worker(2));
        head.asked(one, want(0, 1.0, 4)).unwrap();
        assert!(!head.asked(two, Retire::IfUnused), "slots of it are granted");
        assert!(!head.asked(one, Retire::IfUnused), "and it holds some itself");
    }
}
