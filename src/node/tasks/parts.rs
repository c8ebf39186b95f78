//! Values that travel by themselves though they are part of something: the items of a task's stream, and its results if it
//! has several.
//!
//! ```text
//! results = (count of its references varint . length varint . part) ..      the references of all of them beside it
//! part = form u8 . body        0 MessagePack, with its references beside it . 1 plain bytes
//!                              2 nothing: it stays where it was made, and the one reference beside it leads there
//! ```

use std::sync::Arc;

use super::owner::Queued;
use super::terms::RAN;
use crate::actor::inbox::Host as _;
use crate::limits::{BODY_INLINE, PART_REFS};
use crate::node::recover::Made;
use crate::node::runtime::Node;
use crate::object::body::Body;
use crate::object::content::{Content, Encoded, Form};
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::object::home::Home;
use crate::wire::bytes::{Reader, put_sized, put_varint};
use crate::wire::codec::Enclosed;

const PACKED: u8 = 0;
const PLAIN: u8 = 1;
const ELSEWHERE: u8 = 2;
/// Bytes that stand before each of several results, at most.
const FRAME: usize = 16;

impl Node {
    /// A part as it travels; what does not fit into so many bytes stays here.
    pub(super) fn encoded_part(self: &Arc<Self>, part: Content, most: usize) -> Result<(Vec<u8>, Enclosed), Fault> {
        let Encoded { form, body, enclosed, .. } =
            part.encode().map_err(|error| GetError::Codec { message: error.to_string() })?;
        if body.len() >= most || enclosed.refs.len() > PART_REFS {
            let content = Content::Encoded(Encoded::at(self.here(), form, body, enclosed));
            let entry = Entry::settled(self.next_object(), Ok(self.counted(content)));
            return Ok((vec![ELSEWHERE], entry.enclosed()));
        }
        let form = match form {
            Form::Packed => PACKED,
            Form::Plain => PLAIN,
        };
        let mut part = Vec::with_capacity(body.len() + 1);
        part.push(form);
        part.extend_from_slice(&body);
        Ok((part, enclosed))
    }

    /// Appends the results of a task that has several, and gives what they enclose; on an error, only some of them.
    pub(super) fn write_parts(
        self: &Arc<Self>,
        parts: &[Arc<Entry>],
        body: &mut Vec<u8>,
    ) -> Result<Enclosed, Arc<Fault>> {
        let (mut refs, mut holds) = (Vec::new(), Vec::new());
        let mut room = (BODY_INLINE - RAN).saturating_sub(parts.len() * FRAME);
        for part in parts {
            let content = part.outcome().unwrap_or_else(|| Err(Arc::new(GetError::ShutDown)))?;
            let (part, enclosed) = self.encoded_part(content, room).map_err(Arc::new)?;
            room = room.saturating_sub(part.len());
            put_varint(body, enclosed.refs.len() as u64);
            put_sized(body, &part);
            refs.extend_from_slice(&enclosed.refs);
            holds.extend(enclosed.holds.iter().cloned());
            holds.resize(refs.len(), None);
        }
        Ok(Enclosed::new(refs, holds))
    }

    /// Settles results that arrived. False if they are not as many and no more; then not all of them are settled.
    pub(super) fn settle_parts(
        self: &Arc<Self>,
        queued: &Queued,
        parts: &[Arc<Entry>],
        body: &[u8],
        enclosed: &Enclosed,
    ) -> bool {
        let mut reader = Reader::new(body);
        let (mut refs, mut holds) = (enclosed.refs.iter(), enclosed.holds.iter());
        let values = parts.iter().map(|_| {
            let count = reader.bounded(PART_REFS as u64, "a result's references").ok()?;
            let part = reader.sized(BODY_INLINE, "a result").ok()?;
            let count = usize::try_from(count).ok()?;
            let refs: Vec<_> = refs.by_ref().take(count).cloned().collect();
            let holds = holds.by_ref().take(count).cloned().collect();
            (refs.len() == count).then(|| self.part(part, Enclosed::new(refs, holds)))?
        });
        let Some(values) = values.collect::<Option<Vec<Content>>>() else { return false };
        if !reader.rest().is_empty() || refs.next().is_some() {
            return false;
        }
        let elsewhere = parts.iter().zip(&values).filter_map(|(part, value)| match value {
            Content::Elsewhere(value) => Some((part, value)),
            _ => None,
        });
        self.lie_elsewhere(queued, &elsewhere.collect::<Vec<_>>());
        parts.iter().zip(values).for_each(|(part, value)| part.settle(Ok(value)));
        true
    }

    /// An item that arrived, as an object of this node.
    pub(super) fn item(self: &Arc<Self>, value: Content) -> Arc<Entry> {
        let elsewhere = match &value {
            Content::Elsewhere(value) => Some(value.clone()),
            _ => None,
        };
        let item = Entry::settled(self.next_object(), Ok(value));
        if let Some(value) = elsewhere {
            self.leads(&item, &value, Made::Streamed);
        }
        item
    }

    /// A part that arrived; none if it is no such thing.
    pub(super) fn part(self: &Arc<Self>, part: &[u8], enclosed: Enclosed) -> Option<Content> {
        let (&form, body) = part.split_first()?;
        let form = match form {
            PACKED => Form::Packed,
            PLAIN => Form::Plain,
            ELSEWHERE => return Entry::of_enclosed(&enclosed).map(Content::Elsewhere),
            _ => return None,
        };
        Some(Content::Encoded(Encoded::at(self.here(), form, Body::copied(body), enclosed)))
    }
}
