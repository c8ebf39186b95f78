//! Values that travel by themselves though they are part of something: the items of a task's stream.
//!
//! ```text
//! part = form u8 . body        0 MessagePack, with its references beside it . 1 plain bytes
//!                              2 nothing: it stays where it was made, and the one reference beside it leads there
//! ```

use std::sync::Arc;

use crate::actor::inbox::Host as _;
use crate::limits::BODY_INLINE;
use crate::node::runtime::Node;
use crate::object::content::{Content, Encoded, Form};
use crate::object::entry::Entry;
use crate::object::error::{Fault, GetError};
use crate::wire::codec::Enclosed;

const PACKED: u8 = 0;
const PLAIN: u8 = 1;
const ELSEWHERE: u8 = 2;

impl Node {
    /// A part as it travels; what takes more than so many bytes stays here.
    pub(super) fn encoded_part(self: &Arc<Self>, part: Content) -> Result<(Vec<u8>, Enclosed), Fault> {
        let Encoded { form, body, enclosed, node } =
            part.encode().map_err(|error| GetError::Codec { message: error.to_string() })?;
        if body.len() >= BODY_INLINE {
            let node = node.or_else(|| Some(self.here().clone()));
            let content = Content::Encoded(Encoded { form, body, enclosed, node });
            return Ok((vec![ELSEWHERE], Entry::settled(self.next_object(), Ok(content)).enclosed()));
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

    /// A part that arrived; none if it is no such thing.
    pub(super) fn part(self: &Arc<Self>, part: &[u8], enclosed: Enclosed) -> Option<Content> {
        let (&form, body) = part.split_first()?;
        let form = match form {
            PACKED => Form::Packed,
            PLAIN => Form::Plain,
            ELSEWHERE => return Entry::of_enclosed(&enclosed).map(Content::Elsewhere),
            _ => return None,
        };
        let (body, node) = (bytes::Bytes::copy_from_slice(body), Some(self.here().clone()));
        Some(Content::Encoded(Encoded { form, body, enclosed, node }))
    }
}
