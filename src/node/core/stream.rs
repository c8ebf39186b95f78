//! Streams and their credit (PROTOCOLS §1.6, §1.7), at the caller and at the host.
//!
//! ```text
//! caller: credit + (requests on the way) + host: queued + owed + withheld + (credit on the way) = 1,024
//! ```
//!
//! A stream has a number on the wire only while some of its credit is out: the caller gives the number with the first
//! request and takes it back when the last credit has returned, which is when the host forgets it.

use super::calls::Slot;
use crate::limits::{STREAM_CREDIT, STREAM_CREDIT_MIN};
use std::collections::VecDeque;

/// The caller's side of a stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The number on the wire, while credit is out.
    pub(super) number: Option<u32>,
    pub(super) credit: u32,
    /// Requests in the order of their first poll. Some may have been taken back since.
    pub(super) waiting: VecDeque<Slot>,
    /// How many of those were.
    pub(super) taken_back: usize,
    /// Asks that were sent and not answered.
    pub(super) asks: u32,
    /// Whether it stands in the line of streams that have something to send.
    pub(super) in_line: bool,
    /// Nobody will send on it any more.
    pub(super) closed: bool,
}

impl Outgoing {
    pub(super) const fn new() -> Self {
        Self {
            number: None,
            credit: STREAM_CREDIT,
            waiting: VecDeque::new(),
            taken_back: 0,
            asks: 0,
            in_line: false,
            closed: false,
        }
    }

    /// Requests that really wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() - self.taken_back
    }

    /// Whether a request may go out, as far as the stream is concerned.
    pub(super) fn may_send(&self) -> bool {
        self.credit > 0
    }

    /// Nothing of it is left anywhere.
    pub(super) fn is_over(&self) -> bool {
        self.closed && self.number.is_none() && self.asks == 0 && self.waiting() == 0
    }
}

/// The host's side of a stream; one that is forgotten is as if it had never been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Incoming {
    /// The credit in circulation: 1,024 less what is withheld.
    size: u32,
    /// Requests that have not begun.
    pub(super) queued: u32,
    /// Credit to return.
    owed: u32,
    /// Whether it stands in the list of streams with credit to return.
    listed: bool,
}

/// What to do about a stream's credit after a request of it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Return so much at once.
    Now(u32),
    /// Put it on the list of those to return soon.
    Soon,
    /// It is on the list.
    Listed,
}

impl Incoming {
    pub(super) const NEW: Self = Self { size: STREAM_CREDIT, queued: 0, owed: 0, listed: false };

    /// Takes one request in; false if the caller had no credit for it.
    pub(super) const fn arrive(&mut self) -> bool {
        let granted = self.queued + self.owed < self.size;
        self.queued += granted as u32;
        granted
    }

    /// One request began, or was dropped; the mailbox would like each of its streams to have `share`.
    pub(super) fn begin(&mut self, share: u32) -> Due {
        let share = share.clamp(STREAM_CREDIT_MIN, STREAM_CREDIT);
        self.queued = self.queued.saturating_sub(1);
        if self.size > share {
            self.size -= 1;
        } else {
            let back = 1 + u32::from(self.size < share);
            self.owed += back;
            self.size += back - 1;
        }
        if self.owed * 4 >= self.size && self.owed > 0 {
            Due::Now(std::mem::take(&mut self.owed))
        } else if std::mem::replace(&mut self.listed, true) {
            Due::Listed
        } else {
            Due::Soon
        }
    }

    /// All that can be returned now; forgets a stream without requests.
    pub(super) fn settle(&mut self) -> u32 {
        self.listed = false;
        let owed = std::mem::take(&mut self.owed);
        if self.queued > 0 {
            return owed;
        }
        let withheld = STREAM_CREDIT - self.size;
        self.size = STREAM_CREDIT;
        owed + withheld
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credit_comes_back_by_quarters() {
        let mut stream = Incoming::NEW;
        assert!((0..STREAM_CREDIT).all(|_| stream.arrive()));
        assert!(!stream.arrive(), "without credit nothing is taken in");
        let due: Vec<_> = (0..256).map(|_| stream.begin(STREAM_CREDIT)).collect();
        assert_eq!((due[0], due[1], due[254], due[255]), (Due::Soon, Due::Listed, Due::Listed, Due::Now(256)));
    }

    #[test]
    fn a_stream_shrinks_to_its_share_and_is_whole_again_when_idle() {
        let mut stream = Incoming::NEW;
        (0..STREAM_CREDIT).for_each(|_| assert!(stream.arrive()));
        let mut returned = 0;
        for _ in 0..STREAM_CREDIT - 6 {
            if let Due::Now(credit) = stream.begin(1) {
                returned += credit;
            }
        }
        assert_eq!(stream.size, STREAM_CREDIT_MIN);
        assert!(returned <= 10, "{returned}");
        (0..6).for_each(|_| {
            if let Due::Now(credit) = stream.begin(1) {
                returned += credit;
            }
        });
        assert_eq!(returned + stream.settle(), STREAM_CREDIT);
        assert_eq!(stream, Incoming::NEW);
    }

    #[test]
    fn what_is_withheld_stays_so_while_requests_wait() {
        let mut stream = Incoming::NEW;
        (0..3).for_each(|_| assert!(stream.arrive()));
        assert_eq!((stream.begin(16), stream.begin(16)), (Due::Soon, Due::Listed));
        assert_eq!(stream.settle(), 0);
        assert_eq!(stream.begin(16), Due::Soon);
        assert_eq!(stream.settle(), 3);
    }

    proptest! {
        #[test]
        fn i5_credit_is_neither_lost_nor_made(steps in prop::collection::vec((0..4, 1_u32..1_200), 1..4_000)) {
            let (mut caller, mut host) = (STREAM_CREDIT, Incoming::NEW);
            for (step, share) in steps {
                match step {
                    0 | 1 if caller > 0 => {
                        caller -= 1;
                        prop_assert!(host.arrive());
                    }
                    2 if host.queued > 0 => {
                        if let Due::Now(credit) = host.begin(share) {
                            caller += credit;
                        }
                    }
                    3 => caller += host.settle(),
                    _ => {}
                }
                prop_assert_eq!(caller + host.queued + host.owed + (STREAM_CREDIT - host.size), STREAM_CREDIT);
                prop_assert!(caller > 0 || host.queued > 0 || host.listed || host.owed > 0);
            }
            while host.queued > 0 {
                if let Due::Now(credit) = host.begin(STREAM_CREDIT) {
                    caller += credit;
                }
            }
            prop_assert_eq!(caller + host.settle(), STREAM_CREDIT);
        }
    }
}
