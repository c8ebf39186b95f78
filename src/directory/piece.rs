//! Control messages as bytes. A message is cut into pieces, each one batch of the control lane, so that a long one (a list of
//! all members) does not hold up a beat on its way through the sockets' bounds.
//!
//! ```text
//! piece = version u8 | last u8 (1, or 0: more follow) | bytes
//! message = MessagePack of `ToHead` or `FromHead`, at most CONTROL_MESSAGE bytes
//! ```

use crate::limits::{CONTROL_MESSAGE, CONTROL_PIECE};
use crate::wire::codec::{self, DecodeError, EncodeError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of the control messages' form.
const VERSION: u8 = 1;
const HEADER: usize = 2;

/// Why a message cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CutError {
    /// It does not encode.
    #[error("a control message does not encode: {0}")]
    Encode(#[from] EncodeError),
    /// It is too long.
    #[error("a control message of {0} bytes is too long, at most {CONTROL_MESSAGE} are sent: advertise fewer types")]
    TooLong(usize),
}

/// Why a piece is refused: its session is to be closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PieceError {
    /// Too short, too long, or its header is not one of this version.
    #[error("a piece of a control message is malformed")]
    Malformed,
    /// The message grows beyond the bound.
    #[error("a control message is longer than {CONTROL_MESSAGE} bytes")]
    TooLong,
    /// The message does not decode.
    #[error("a control message does not decode: {0}")]
    Decode(#[from] DecodeError),
}

/// The pieces of a message, in the order in which they are sent.
///
/// # Errors
/// It does not encode, or is too long.
pub fn cut<T: Serialize>(message: &T) -> Result<Vec<Vec<u8>>, CutError> {
    let mut bytes = Vec::new();
    codec::encode(message, &mut bytes)?;
    if bytes.len() > CONTROL_MESSAGE {
        return Err(CutError::TooLong(bytes.len()));
    }
    let chunks = bytes.chunks(CONTROL_PIECE - HEADER);
    let last = chunks.len().saturating_sub(1);
    let piece = |(at, chunk): (usize, &[u8])| [&[VERSION, u8::from(at == last)], chunk].concat();
    Ok(chunks.enumerate().map(piece).collect())
}

/// Puts the pieces of one session together again.
#[derive(Debug, Default)]
pub struct Joiner(Vec<u8>);

impl Joiner {
    /// Takes the next piece, and gives the message that it completes.
    ///
    /// # Errors
    /// The piece or the message is refused.
    pub fn push<T: DeserializeOwned>(&mut self, piece: &[u8]) -> Result<Option<T>, PieceError> {
        let [VERSION, last @ (0 | 1), bytes @ ..] = piece else { return Err(PieceError::Malformed) };
        if bytes.is_empty() || piece.len() > CONTROL_PIECE {
            return Err(PieceError::Malformed);
        }
        if self.0.len() + bytes.len() > CONTROL_MESSAGE {
            return Err(PieceError::TooLong);
        }
        match (last, self.0.is_empty()) {
            (0, _) => {
                self.0.extend_from_slice(bytes);
                Ok(None)
            }
            (_, true) => Ok(Some(codec::decode(bytes)?)),
            (_, false) => {
                self.0.extend_from_slice(bytes);
                Ok(Some(codec::decode(&std::mem::take(&mut self.0))?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::message::{Ask, News, Reply, RequestId, ToHead};
    use crate::directory::request::{Beat, JoinError, Spawn, SpawnError};
    use crate::directory::testing::{choose, join, name, spawn};
    use crate::directory::{FromHead, Reign};
    use crate::id::{Epoch, Life};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn ask(what: impl Into<crate::directory::Request>) -> ToHead {
        ToHead::Ask(Ask { life: Life(1), request: RequestId(2), settled: vec![RequestId(1)], what: what.into() })
    }

    #[test]
    fn what_is_said_arrives_in_one_piece_or_in_many() {
        let mut long = join(1, 2);
        long.addresses = vec!["a".repeat(200).into(); 1_000];
        let messages = [
            ToHead::Join(Arc::new(long)),
            ToHead::Beat(Beat { life: Life(1), epoch: Epoch(2), number: 3, orders: 4, members: 5, actors: 6 }),
            ask(Spawn { name: Some(name("a")), ..spawn(Life(1), 7) }),
            ask(choose(Life(1), 7, 0.5)),
        ];
        let mut joiner = Joiner::default();
        for message in messages {
            let pieces = cut(&message).unwrap();
            let (last, before) = pieces.split_last().unwrap();
            assert!(before.iter().all(|piece| joiner.push::<ToHead>(piece).unwrap().is_none()));
            assert_eq!(joiner.push(last).unwrap(), Some(message));
        }
    }

    #[test]
    fn a_refusal_keeps_its_meaning_over_the_wire() {
        let error = SpawnError::NameTaken {
            name: name("a"),
            holder: spawn(Life(3), 1).actor,
            type_name: "x::Y".into(),
            node: None,
        };
        let news = News::Answer { request: RequestId(1), reply: Reply::Spawned(Err(error)) };
        let message = FromHead { reign: Reign { epoch: Epoch(1), instance: 2 }, news };
        assert_eq!(Joiner::default().push(&cut(&message).unwrap()[0]).unwrap(), Some(message));
        let news = News::JoinRefused { attempt: 1, why: JoinError::Dead };
        let message = FromHead { reign: Reign::default(), news };
        assert_eq!(Joiner::default().push(&cut(&message).unwrap()[0]).unwrap(), Some(message));
    }

    #[test]
    fn another_version_an_empty_piece_and_an_endless_message_are_refused() {
        let mut joiner = Joiner::default();
        for piece in [&[][..], &[1], &[1, 1], &[2, 1, 0xc0], &[1, 2, 0xc0], &[1; CONTROL_PIECE + 1]] {
            assert!(matches!(joiner.push::<ToHead>(piece), Err(PieceError::Malformed)));
        }
        let piece = [&[VERSION, 0][..], &[0; CONTROL_PIECE - HEADER]].concat();
        let refused =
            (0..=CONTROL_MESSAGE / (CONTROL_PIECE - HEADER)).find_map(|_| joiner.push::<ToHead>(&piece).err());
        assert!(matches!(refused, Some(PieceError::TooLong)));
    }

    proptest! {
        #[test]
        fn random_and_flipped_bytes_never_panic(random in proptest::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let _ = Joiner::default().push::<ToHead>(&[&[VERSION, 1][..], &random].concat());
            let mut piece = cut(&ask(Spawn { name: Some(name("a")), ..spawn(Life(1), 7) })).unwrap().remove(0);
            let at = at.index(piece.len());
            piece[at] ^= 1 << bit;
            let _ = Joiner::default().push::<ToHead>(&piece);
            let _ = Joiner::default().push::<FromHead>(&piece);
        }
    }
}
