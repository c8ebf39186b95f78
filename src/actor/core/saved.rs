//! What was saved of an actor last, and whether it is where it must be: with the head, if that may place the actor again.
//!
//! What is saved is numbered within a placement. One is sent at a time, the last, so that none comes to the head behind a
//! later one.

/// The last checkpoint of an actor (`K`) on a node.
#[derive(Debug)]
pub(crate) struct Saved<K> {
    last: Option<K>,
    /// Which it is, of those of this placement.
    number: u64,
    /// The last that is where it must be.
    safe: u64,
}

impl<K> Default for Saved<K> {
    fn default() -> Self {
        Saved { last: None, number: 0, safe: 0 }
    }
}

impl<K: Clone> Saved<K> {
    /// What another run here would be made of.
    pub(crate) fn last(&self) -> Option<&K> {
        self.last.as_ref()
    }

    /// The number of what was saved last here; 0 if nothing was.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// What the actor came with. Gives what it takes the place of.
    pub(crate) fn begin_with(&mut self, saved: K) -> Option<K> {
        self.last.replace(saved)
    }

    /// Something was saved: its number, and what it takes the place of.
    pub(crate) fn take(&mut self, saved: K) -> (u64, Option<K>) {
        self.number += 1;
        (self.number, self.last.replace(saved))
    }

    /// What was saved last, or came with the actor, is nowhere else any more: it is saved once more. False if nothing was.
    pub(crate) fn again(&mut self) -> bool {
        self.number += u64::from(self.last.is_some());
        self.last.is_some()
    }

    /// What is to be sent now for the one of this number to be safe: the last, in its place, unless it is safe already.
    pub(crate) fn unsafe_at(&self, number: u64) -> Option<(u64, K)> {
        let last = self.last.clone().filter(|_| self.safe < number)?;
        Some((self.number, last))
    }

    /// The one of this number is where it must be, and so are those before it.
    pub(crate) fn is_safe(&mut self, number: u64) {
        self.safe = self.safe.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_is_sent_for_all_before_it_and_once() {
        let mut saved = Saved::default();
        assert_eq!(saved.begin_with("came"), None);
        assert_eq!((saved.number(), saved.last()), (0, Some(&"came")));
        assert_eq!(saved.take("first"), (1, Some("came")));
        assert_eq!(saved.take("second"), (2, Some("first")));
        assert_eq!(saved.unsafe_at(1), Some((2, "second")), "the first is not sent any more");
        saved.take("third");
        saved.is_safe(2);
        assert_eq!((saved.unsafe_at(1), saved.unsafe_at(2)), (None, None));
        assert_eq!(saved.unsafe_at(3), Some((3, "third")));
        saved.is_safe(3);
        saved.is_safe(2);
        assert_eq!((saved.unsafe_at(3), saved.last()), (None, Some(&"third")));
        assert!(saved.again());
        assert_eq!((saved.number(), saved.unsafe_at(4)), (4, Some((4, "third"))));
        assert!(!Saved::<()>::default().again());
    }
}
