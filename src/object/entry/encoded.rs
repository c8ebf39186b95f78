//! An object's value as it travels: encoded once, and kept so for as long as the object.

use bytes::Bytes;

use super::{Entry, State};
use crate::limits::STORED;
use crate::object::body::Body;
use crate::object::content::{Content, Encoded, Form};
use crate::object::home::Home;
use crate::wire::codec::{self, Enclosed, EncodeError};

/// A value that is alive, as it travels, and whether that counts as its node's.
pub(super) struct Travelling {
    encoded: Encoded,
    counts: bool,
}

impl Entry {
    /// Whether it was encoded, and is kept so.
    pub(crate) fn is_encoded(&self) -> bool {
        matches!(&*self.state.lock(), State::Settled(_, Some(shared)) if shared.encoded.is_some())
    }

    /// A value of this object as it travels; what is alive is encoded once.
    pub(crate) fn encoded(&self, value: &Content) -> Result<Encoded, EncodeError> {
        if let State::Settled(_, Some(shared)) = &*self.state.lock()
            && let Some(travelling) = &shared.encoded
        {
            return Ok(travelling.encoded.clone());
        }
        let encoded = value.encode()?;
        Ok(if matches!(value, Content::Live(_)) { self.keep(encoded) } else { encoded })
    }

    /// Appends its value as MessagePack, if that takes no more than `most` bytes, and gives what it encloses. If it takes more,
    /// `out` is as it was, and a value that is alive is kept as it travels.
    pub(crate) fn write(
        &self,
        value: &Content,
        most: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<Enclosed>, EncodeError> {
        let at = out.len();
        let (form, enclosed) = match value {
            Content::Live(live) if !live.is_large() && !self.is_encoded() => live.write(out)?,
            _ => {
                let Encoded { form, body, enclosed, .. } = self.encoded(value)?;
                if body.len() > most {
                    return Ok(None);
                }
                out.extend_from_slice(&body);
                (form, enclosed)
            }
        };
        if form == Form::Plain {
            let plain = out.split_off(at);
            codec::encode(serde_bytes::Bytes::new(&plain), out)?;
        }
        if out.len() - at <= most {
            return Ok(Some(enclosed));
        }
        if form == Form::Packed && matches!(value, Content::Live(_)) {
            self.keep(Encoded { form, body: Body::copied(&out[at..]), enclosed, node: None });
        }
        out.truncate(at);
        Ok(None)
    }

    /// Keeps an encoded form of a value that is alive. Gives the one that is kept, which another thread may have made.
    fn keep(&self, encoded: Encoded) -> Encoded {
        let mut state = self.state.lock();
        let kept = match &mut *state {
            State::Settled(_, shared) => {
                let travelling = || Travelling { encoded: encoded.clone(), counts: false };
                shared.get_or_insert_default().encoded.get_or_insert_with(travelling).encoded.clone()
            }
            State::Pending(_) | State::Given(_) => encoded.clone(),
        };
        // What another one encoded meanwhile is what is kept; the other is dropped outside of the lock.
        drop(state);
        kept
    }

    /// The same where others ask for it: what is kept of it beside the value itself counts as this node's.
    pub(crate) fn encoded_at(&self, home: &dyn Home, value: &Content) -> Result<Encoded, EncodeError> {
        let encoded = self.encoded(value)?;
        if encoded.body.len() < STORED || !self.may_count() {
            return Ok(encoded);
        }
        let counted = match home.counted(Content::Encoded(encoded.clone())) {
            Content::Encoded(counted) => counted,
            _ => return Ok(encoded),
        };
        let mut state = self.state.lock();
        let former = match &mut *state {
            State::Settled(_, Some(shared)) => match &mut shared.encoded {
                Some(Travelling { encoded, counts }) if !*counts => {
                    *counts = true;
                    Some(std::mem::replace(encoded, counted.clone()))
                }
                _ => None,
            },
            _ => None,
        };
        drop(state);
        drop(former);
        Ok(counted)
    }

    fn may_count(&self) -> bool {
        match &*self.state.lock() {
            State::Settled(_, Some(shared)) => shared.encoded.as_ref().is_some_and(|travelling| !travelling.counts),
            State::Settled(_, None) | State::Pending(_) | State::Given(_) => false,
        }
    }

    /// Its value's bytes, as they travel, if they are at hand here; else what to bring or to encode. None of it if the value is
    /// not here.
    pub(crate) fn body(&self) -> Option<Result<Bytes, Content>> {
        match &*self.state.lock() {
            State::Settled(Ok(Content::Encoded(Encoded { body, .. })), _) => Some(Ok(body.clone().into())),
            State::Settled(Ok(Content::Lent(lent)), _) => lent.copy().map(|copy| Err(Content::Kept(copy))),
            State::Settled(Ok(content @ (Content::Kept(_) | Content::Live(_))), shared) => {
                let encoded = shared.as_ref().and_then(|shared| shared.encoded.as_ref());
                Some(encoded.map(|travelling| travelling.encoded.body.clone().into()).ok_or_else(|| content.clone()))
            }
            _ => None,
        }
    }

    /// Bytes of its value that are kept for it here, as far as that is known.
    pub(crate) fn bytes_here(&self) -> u64 {
        match &*self.state.lock() {
            State::Settled(Ok(Content::Kept(kept)), _) => kept.len() as u64,
            State::Settled(Ok(Content::Encoded(encoded)), _) => encoded.body.len() as u64,
            State::Settled(Ok(Content::Live(_)), Some(shared)) => {
                shared.encoded.as_ref().map_or(0, |travelling| travelling.encoded.body.len() as u64)
            }
            _ => 0,
        }
    }
}
