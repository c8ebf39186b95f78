//! Results of a grant's tasks that tasks behind them may take right here, before their owner has them.
//!
//! A place for each of the last tasks' numbers. One whose place was taken by another is asked of its owner instead: the
//! task that wants it comes back to its queue.

use std::sync::Arc;

use crate::limits::RESULTS_KEPT;
use crate::object::entry::Entry;
use crate::schedule::TaskNumber;

#[derive(Default)]
pub(super) struct Results(Vec<Option<(TaskNumber, Arc<Entry>)>>);

impl Results {
    /// Keeps a result to come. Gives the one whose place it takes: its drop is other people's code.
    pub(super) fn keep(&mut self, number: TaskNumber, result: Arc<Entry>) -> Option<Arc<Entry>> {
        let at = place(number);
        if self.0.len() <= at {
            self.0.resize(at + 1, None);
        }
        let former = self.0.get_mut(at).and_then(|kept| kept.replace((number, result)));
        former.map(|(_, result)| result)
    }

    pub(super) fn get(&self, number: TaskNumber) -> Option<Arc<Entry>> {
        let (kept, result) = self.0.get(place(number))?.as_ref()?;
        (*kept == number).then(|| result.clone())
    }

    /// Keeps it no longer: too large, or it refers to objects, which must not live on for it.
    pub(super) fn forget(&mut self, number: TaskNumber) -> Option<Arc<Entry>> {
        let kept = self.0.get_mut(place(number))?;
        kept.take_if(|(kept, _)| *kept == number).map(|(_, result)| result)
    }
}

fn place(number: TaskNumber) -> usize {
    // Numbers of tasks that are queued together differ in their low bits first.
    (number.0 % RESULTS_KEPT as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Life, ObjectId};

    fn result(serial: u64) -> Arc<Entry> {
        Entry::pending(ObjectId { life: Life(1), serial }, None)
    }

    #[test]
    fn a_result_is_found_by_its_number_until_another_takes_its_place_or_it_is_forgotten() {
        let mut results = Results::default();
        let (one, other) = (TaskNumber(3), TaskNumber(3 + RESULTS_KEPT as u64));
        assert!(results.get(one).is_none());
        let first = result(1);
        assert!(results.keep(one, first.clone()).is_none());
        assert!(results.get(one).is_some_and(|found| Arc::ptr_eq(&found, &first)));
        assert!(results.get(other).is_none(), "that place is another task's");
        let replaced = results.keep(other, result(2));
        assert!(replaced.is_some_and(|replaced| Arc::ptr_eq(&replaced, &first)));
        assert!(results.get(one).is_none() && results.forget(one).is_none());
        assert!(results.forget(other).is_some() && results.get(other).is_none());
    }
}
