//! Plain values in this process's own memory, such as bytes that a task returned: they move into the store when a process that
//! reads it asks for them, and all of this host read them in place from then on.

use std::sync::Arc;

use crate::limits::STORED;
use crate::node::runtime::Node;
use crate::object::content::Content;
use crate::object::entry::Entry;

impl Node {
    /// The value of an object of this node, in its store if it is plain and large. Where it was if there is no room right now:
    /// then its bytes are sent.
    pub(in crate::node) async fn in_store(self: &Arc<Self>, entry: &Arc<Entry>, content: Content) -> Content {
        let is_large = |content: &Content| content.own_plain().filter(|bytes| bytes.len() >= STORED);
        if is_large(&content).is_none() {
            return content;
        }
        // One at a time: of many readers who ask at once, the first has it moved.
        let _one = self.lending().moving.lock().await;
        let Some(Ok(content)) = entry.outcome() else { return content };
        let (Some(bytes), Ok(store)) = (is_large(&content), self.store()) else { return content };
        let copies = move || store.copy_in(&bytes).map(|stored| store.keep(stored));
        match self.runtime().spawn_blocking(copies).await {
            Ok(Ok(kept)) => {
                entry.moved(Content::Kept(kept.clone()));
                Content::Kept(kept)
            }
            Ok(Err(_)) | Err(_) => content,
        }
    }
}
