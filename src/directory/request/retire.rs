//! `Retire`: a node is about to leave. Nothing new is placed on it from then on, so that it leaves nothing behind.

use crate::directory::request::Change;
use crate::directory::state::{Directory, Effects};
use crate::id::Life;
use serde::{Deserialize, Serialize};

/// Whether anything new may be placed on the asking node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Retire {
    /// No, if there is nothing on it: it has nothing to do.
    IfUnused,
    /// Yes: it stays after all.
    NotNow,
}

impl Directory {
    /// Whether nothing new comes to it now. In no journal: after the head's start all are open.
    pub(in crate::directory) fn retire(&mut self, life: Life, retire: Retire, effects: &mut Effects) -> bool {
        let Some(living) = self.lives.get_mut(life) else { return false };
        let closed = retire == Retire::IfUnused && living.is_unused();
        if living.closed != closed {
            living.closed = closed;
            // It is as suspect as before: but who holds a choice of nodes for the present membership makes it anew.
            let as_before = if living.suspect() { Change::Suspect(life) } else { Change::Back(life) };
            self.members.log(as_before);
            self.fill(life, effects);
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::News;
    use crate::directory::request::{Choose, Needs};
    use crate::directory::testing::{Head, choose, want};
    use crate::limits::MEMBERS_PAUSE;
    use crate::schedule::Resources;

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
    fn a_node_with_something_on_it_stays_open() {
        let mut head = Head::new();
        let (one, two) = (head.worker(1), head.worker(2));
        head.asked(one, want(0, 1.0, 4)).unwrap();
        assert!(!head.asked(two, Retire::IfUnused), "slots of it are granted");
        assert!(!head.asked(one, Retire::IfUnused), "and it holds some itself");
    }
}
