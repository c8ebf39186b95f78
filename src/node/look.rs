//! Looks at the cluster: pages of the head's status, asked for at whatever door to it is open.
//!
//! ```text
//! look ─▶ Status {number, query} ─▶ head        a door that closes takes its unanswered looks with it,
//!      ◀─ Status {number, page}  ◀─┘            and they are asked again at the next one
//! ```
//!
//! A look changes nothing, so it needs no life and is never carried out twice: the head keeps no answer for it.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::runtime::Node;
use crate::directory::AskError;
use crate::directory::message::ToHead;
use crate::directory::request::{Page, Query};
use crate::wire::packet::Executed;

/// A node's looks that are under way.
pub(crate) struct Looks {
    under_way: Mutex<UnderWay>,
    door: watch::Sender<bool>,
}

#[derive(Default)]
struct UnderWay {
    last: u64,
    pages: BTreeMap<u64, oneshot::Sender<Page>>,
}

impl Default for Looks {
    fn default() -> Self {
        Looks { under_way: Mutex::default(), door: watch::Sender::new(false) }
    }
}

impl Looks {
    /// A door to the head has opened.
    pub(super) fn attached(&self) {
        self.door.send_replace(true);
    }

    /// That door has closed.
    pub(super) fn detached(&self) {
        self.door.send_replace(false);
        self.under_way.lock().pages.clear();
    }

    /// The head has shown a page.
    pub(super) fn shown(&self, number: u64, page: Page) {
        let wanted = self.under_way.lock().pages.remove(&number);
        if let Some(wanted) = wanted {
            // Whoever looked may have stopped waiting.
            let _ = wanted.send(page);
        }
    }

    fn begin(&self) -> (Under<'_>, oneshot::Receiver<Page>) {
        let (page, shown) = oneshot::channel();
        let mut under_way = self.under_way.lock();
        under_way.last += 1;
        let number = under_way.last;
        under_way.pages.insert(number, page);
        (Under { looks: self, number }, shown)
    }
}

/// Forgets a look that is over, or that nobody waits for any more.
struct Under<'a> {
    looks: &'a Looks,
    number: u64,
}

impl Drop for Under<'_> {
    fn drop(&mut self) {
        self.looks.under_way.lock().pages.remove(&self.number);
    }
}

impl Node {
    /// One page of a look at the cluster.
    pub(crate) async fn look(&self, query: Query) -> Result<Page, AskError> {
        let wait = self.client().head_wait();
        let deadline = Instant::now() + wait;
        let away = AskError::HeadAway { waited: wait, executed: Executed::No };
        let mut door = self.looks().door.subscribe();
        let mut standing = self.standing();
        loop {
            tokio::select! {
                biased;
                left = standing.wait_for(|now| now.is_over()) => {
                    drop(left);
                    return Err(AskError::LifeOver { executed: Executed::No });
                }
                page = self.look_once(query, &mut door) => {
                    if let Some(page) = page {
                        return Ok(page);
                    }
                }
                () = tokio::time::sleep_until(deadline) => return Err(away),
            }
        }
    }

    /// The page, or nothing if the door closed meanwhile.
    async fn look_once(&self, query: Query, door: &mut watch::Receiver<bool>) -> Option<Page> {
        door.wait_for(|open| *open).await.ok()?;
        let (under, shown) = self.looks().begin();
        // A door that closed before this took nothing of it along.
        if !*door.borrow_and_update() {
            return None;
        }
        self.say(ToHead::Status { number: under.number, query });
        shown.await.ok()
    }
}
