//! What waits to be said over one session of the control lane: pushed without waiting, cut into pieces and sent by one task.
//! Beyond its bound the session is closed; the next one is told what this one missed.

use crate::directory::piece::{self, CutError};
use crate::limits::CONTROL_QUEUE;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::VecDeque;
use std::future::Future;
use tokio::sync::Notify;

/// Why an outbox takes or sends nothing more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError<E> {
    /// It was closed.
    #[error("the session is closed")]
    Closed,
    /// Its peer does not read as fast as it is spoken to.
    #[error("more than {CONTROL_QUEUE} control messages wait for this peer: its session is closed")]
    Full,
    /// A message cannot be sent at all.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// The session failed.
    #[error("{0}")]
    Session(E),
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

/// The messages that wait for one session.
#[derive(Debug)]
pub struct Outbox<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

impl<T> Default for Outbox<T> {
    fn default() -> Outbox<T> {
        Outbox { state: Mutex::new(State { waiting: VecDeque::new(), closed: false }), changed: Notify::new() }
    }
}

impl<T: Serialize> Outbox<T> {
    /// Adds a message; never waits.
    ///
    /// # Errors
    /// It is closed, or full and therefore closed now.
    pub fn push(&self, message: T) -> Result<(), OutboxError<std::convert::Infallible>> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(OutboxError::Closed);
        }
        if state.waiting.len() >= CONTROL_QUEUE {
            drop(state);
            self.close();
            return Err(OutboxError::Full);
        }
        state.waiting.push_back(message);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes nothing more, and drops what waits.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.waiting.clear();
        drop(state);
        self.changed.notify_one();
    }

    /// Sends what is pushed, piece by piece in order, until it is closed or `send` fails. One caller at a time.
    ///
    /// # Errors
    /// Always ends with the reason.
    pub async fn pump<F, Sent, E>(&self, mut send: F) -> OutboxError<E>
    where
        F: FnMut(Vec<u8>) -> Sent,
        Sent: Future<Output = Result<(), E>>,
    {
        loop {
            let next = {
                let mut state = self.state.lock();
                if state.closed {
                    return OutboxError::Closed;
                }
                state.waiting.pop_front()
            };
            let Some(message) = next else {
                self.changed.notified().await;
                continue;
            };
            let pieces = match piece::cut(&message) {
                Ok(pieces) => pieces,
                Err(error) => return error.into(),
            };
            for piece in pieces {
                if let Err(error) = send(piece).await {
                    return OutboxError::Session(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::piece::Joiner;
    use std::time::Duration;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn messages_leave_in_order_until_it_is_closed() {
        let (outbox, (to, mut from)) = (Outbox::default(), mpsc::unbounded_channel());
        let long = "x".repeat(200_000);
        let check = async {
            let mut joiner = Joiner::default();
            let mut got: Vec<String> = Vec::new();
            while got.len() < 3 {
                let piece: Vec<u8> = from.recv().await.expect("a piece");
                got.extend(joiner.push(&piece).expect("well formed"));
            }
            outbox.close();
            got
        };
        for message in ["first", &long, "last"] {
            outbox.push(message).unwrap();
        }
        let both = async { tokio::join!(outbox.pump(|piece| std::future::ready(to.send(piece))), check) };
        let (ended, got) = tokio::time::timeout(Duration::from_secs(10), both).await.expect("in time");
        assert!(matches!(ended, OutboxError::Closed));
        assert_eq!(got, ["first", &long, "last"]);
        assert!(matches!(outbox.push("late"), Err(OutboxError::Closed)));
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_costs_its_session_and_one_that_fails_says_why() {
        let outbox = Outbox::default();
        (0..CONTROL_QUEUE).for_each(|n| outbox.push(n).unwrap());
        assert!(matches!(outbox.push(0), Err(OutboxError::Full)));
        let ended = outbox.pump(|_| std::future::ready(Ok::<(), &str>(()))).await;
        assert!(matches!(ended, OutboxError::Closed));
        let outbox = Outbox::default();
        outbox.push(1).unwrap();
        assert!(matches!(outbox.pump(|_| std::future::ready(Err("gone"))).await, OutboxError::Session("gone")));
    }
}
