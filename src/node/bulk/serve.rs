//! The holder's end: sends ranges of what is here, of this node's own objects and of copies of others'.

use bytes::Bytes;
use std::pin::pin;
use std::sync::Arc;

use super::BulkSession;
use crate::clock;
use crate::id::ObjectId;
use crate::limits::{BULK_WAIT, PULL_FREE};
use crate::node::runtime::Node;
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::wire::chunk::{Range, Refusal, Word};

impl Node {
    /// A peer asks for a range, and may.
    pub(super) fn serve_range(&self, bulk: &Arc<BulkSession>, number: u64, object: ObjectId, range: Range) {
        let (node, bulk, mut over) = (self.shared(), bulk.clone(), bulk.over());
        self.runtime().spawn(async move {
            tokio::select! {
                biased;
                // The session that says so is gone, or says so.
                _ = over.wait_for(|over| *over) => {}
                () = node.answer_range(&bulk, number, object, range) => {}
            }
        });
    }

    async fn answer_range(self: &Arc<Self>, bulk: &Arc<BulkSession>, number: u64, object: ObjectId, range: Range) {
        let mut placed = false;
        let found = self.range_of(bulk, number, (object, range), &mut placed).await;
        let mut message = bulk.buffer.lock().await;
        message.clear();
        match &found {
            Ok(bytes) => Word::Chunk { number, offset: range.offset, bytes },
            Err(why) => Word::No { number, why: *why },
        }
        .encode(&mut message);
        // Before it is sent: its reader may say so before this goes on.
        bulk.unread.lock().answered();
        bulk.send(&message).await;
        drop(message);
        if placed {
            self.bulk().places.lock().answered(clock::now(), object, bulk.id());
        }
    }

    async fn range_of(
        self: &Arc<Self>,
        bulk: &Arc<BulkSession>,
        number: u64,
        (object, range): (ObjectId, Range),
        placed: &mut bool,
    ) -> Result<Bytes, Refusal> {
        let entry = self.exposed(object).or_else(|| self.borrowed(object)).ok_or(Refusal::Gone)?;
        let body = entry.body().ok_or(Refusal::Gone)?;
        let length = match &body {
            Ok(bytes) => bytes.len(),
            Err(Content::Kept(kept)) => kept.len(),
            // It is encoded once, and then is of the first kind.
            Err(_) => 0,
        };
        if length > PULL_FREE {
            *placed = self.bulk().places.lock().ask(clock::now(), object, bulk.id());
            if !*placed {
                return Err(Refusal::Busy);
            }
            // The session's end says so before it gives its places back: one of both sees the other.
            if *bulk.over().borrow() {
                self.bulk().places.lock().closed(bulk.id());
            }
        }
        let body = match body {
            Ok(bytes) => bytes,
            Err(content) => bring(&entry, content, bulk, number).await?,
        };
        range.within(body.len()).map(|within| body.slice(within)).ok_or(Refusal::Range)
    }

    /// A peer has what it wanted of an object.
    pub(super) fn pull_ended(&self, bulk: &BulkSession, object: ObjectId) {
        self.bulk().places.lock().end(object, bulk.id());
    }
}

/// Why it cannot be brought is said by its owner, whom the asker asks then.
async fn bring(entry: &Entry, content: Content, bulk: &Arc<BulkSession>, number: u64) -> Result<Bytes, Refusal> {
    let mut bringing = pin!(content.brought(entry.id()));
    let content = loop {
        match tokio::time::timeout(BULK_WAIT, &mut bringing).await {
            Ok(brought) => break brought.map_err(|_| Refusal::Gone)?,
            Err(_) => bulk.say(&Word::Wait { number }),
        }
    };
    entry.encoded(&content).map(|encoded| encoded.body.into()).map_err(|_| Refusal::Gone)
}
