//! What travels over the bulk lane: one word is one message. Who wants an object asks for ranges of it, and has each answered
//! once. Nothing is acknowledged: what a session lost is asked for again, on another or of another node.
//!
//! ```text
//! ask   = 1 . number u64 . had u64 . object . offset u64 . length u32
//!         number: the asker's, not used twice on a session; had: answers to its asks that it has read so far (rule 6.6)
//! chunk = 2 . number u64 . offset u64 . bytes                   the answer: that range, whole
//! wait  = 3 . number u64                                        no answer yet: it is being brought from disk
//! no    = 4 . number u64 . why u8                               the answer: 1 it is not here, 2 busy, 3 no such range
//! end   = 5 . object                                            the asker wants no more of it
//! object = life u64 . serial u64
//! ```

use super::bytes::{Reader, WireError};
use crate::id::{Life, ObjectId};
use crate::limits::OBJECT_CHUNK;

const ASK: u8 = 1;
const CHUNK: u8 = 2;
const WAIT: u8 = 3;
const NO: u8 = 4;
const END: u8 = 5;

/// Bytes of an object, not empty and no more than [`OBJECT_CHUNK`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first byte.
    pub offset: u64,
    /// How many.
    pub length: u32,
}

/// Why a range is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The object is not there, or not any more.
    Gone,
    /// As many are sent it as may be: others have it, or will.
    Busy,
    /// The object is shorter than that.
    Range,
}

/// One message of the bulk lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word<'a> {
    /// Asks for a range.
    Ask {
        /// What the answer names.
        number: u64,
        /// Answers that the asker has read on this session.
        had: u64,
        /// Of this object.
        object: ObjectId,
        /// The range.
        range: Range,
    },
    /// A range that was asked for.
    Chunk {
        /// Of the ask.
        number: u64,
        /// Where it begins.
        offset: u64,
        /// All of it.
        bytes: &'a [u8],
    },
    /// It will come.
    Wait {
        /// Of the ask.
        number: u64,
    },
    /// It will not.
    No {
        /// Of the ask.
        number: u64,
        /// Why not.
        why: Refusal,
    },
    /// Nothing more of this object is asked for.
    End {
        /// The object.
        object: ObjectId,
    },
}

impl Range {
    /// The byte after the last; none if no object can be so long.
    #[must_use]
    pub const fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.length as u64)
    }

    /// The range within an object's bytes; none if it is not all there.
    #[must_use]
    pub fn within(&self, length: usize) -> Option<std::ops::Range<usize>> {
        let end = usize::try_from(self.end()?).ok().filter(|end| *end <= length)?;
        Some(end - self.length as usize..end)
    }
}

impl<'a> Word<'a> {
    /// Appends the message that is this word.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let numbers = |out: &mut Vec<u8>, tag: u8, numbers: &[u64]| {
            out.push(tag);
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        };
        match *self {
            Word::Ask { number, had, object, range } => {
                numbers(out, ASK, &[number, had, object.life.0, object.serial, range.offset]);
                out.extend_from_slice(&range.length.to_le_bytes());
            }
            Word::Chunk { number, offset, bytes } => {
                numbers(out, CHUNK, &[number, offset]);
                out.extend_from_slice(bytes);
            }
            Word::Wait { number } => numbers(out, WAIT, &[number]),
            Word::No { number, why } => {
                numbers(out, NO, &[number]);
                out.push(match why {
                    Refusal::Gone => 1,
                    Refusal::Busy => 2,
                    Refusal::Range => 3,
                });
            }
            Word::End { object } => numbers(out, END, &[object.life.0, object.serial]),
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// No node of this version sends it.
    pub fn decode(message: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(message);
        let word = match reader.u8("a word of the bulk lane")? {
            ASK => {
                let (number, had) = (reader.u64("an ask")?, reader.u64("an ask")?);
                let object = object(&mut reader)?;
                let (offset, length) = (reader.u64("an ask")?, reader.u32("an ask")?);
                if !(1..=OBJECT_CHUNK as u32).contains(&length) {
                    let (found, most) = (u64::from(length), OBJECT_CHUNK as u64);
                    return Err(WireError::TooLarge { what: "a range", found, most });
                }
                Word::Ask { number, had, object, range: Range { offset, length } }
            }
            CHUNK => {
                let (number, offset) = (reader.u64("a chunk")?, reader.u64("a chunk")?);
                return Ok(Word::Chunk { number, offset, bytes: reader.rest() });
            }
            WAIT => Word::Wait { number: reader.u64("a wait")? },
            NO => {
                let number = reader.u64("a no")?;
                let why = match reader.u8("a no")? {
                    1 => Refusal::Gone,
                    2 => Refusal::Busy,
                    3 => Refusal::Range,
                    tag => return Err(WireError::Tag { what: "a no", tag }),
                };
                Word::No { number, why }
            }
            END => Word::End { object: object(&mut reader)? },
            tag => return Err(WireError::Tag { what: "a word of the bulk lane", tag }),
        };
        reader.end("a word of the bulk lane")?;
        Ok(word)
    }
}

fn object(reader: &mut Reader<'_>) -> Result<ObjectId, WireError> {
    Ok(ObjectId { life: Life(reader.u64("an object")?), serial: reader.u64("an object")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OBJECT: ObjectId = ObjectId { life: Life(3), serial: 9 };

    #[test]
    fn what_is_read_is_what_was_written_and_a_cut_word_is_none() {
        let range = Range { offset: 1 << 40, length: OBJECT_CHUNK as u32 };
        let words = [
            Word::Ask { number: 7, had: 6, object: OBJECT, range },
            Word::Wait { number: u64::MAX },
            Word::No { number: 0, why: Refusal::Gone },
            Word::No { number: 0, why: Refusal::Busy },
            Word::No { number: 1, why: Refusal::Range },
            Word::End { object: OBJECT },
            Word::Chunk { number: 1, offset: 64, bytes: b"bytes" },
        ];
        for word in words {
            let mut message = Vec::new();
            word.encode(&mut message);
            assert_eq!(Word::decode(&message), Ok(word));
            if !matches!(word, Word::Chunk { .. }) {
                assert!((0..message.len()).all(|short| Word::decode(&message[..short]).is_err()), "{word:?}");
                assert!(Word::decode(&[&message[..], &[0]].concat()).is_err(), "{word:?}");
            }
        }
    }

    /// Nodes of one version have to agree on these: they are written out.
    #[test]
    fn words_have_these_bytes() {
        let word = |word: Word<'_>| {
            let mut message = Vec::new();
            word.encode(&mut message);
            message
        };
        let numbers = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
        let ask = Word::Ask { number: 7, had: 5, object: OBJECT, range: Range { offset: 1 << 40, length: 0x1_02 } };
        assert_eq!(word(ask), [&[1][..], &numbers(&[7, 5, 3, 9, 1 << 40]), &[2, 1, 0, 0]].concat());
        let chunk = Word::Chunk { number: 7, offset: 64, bytes: b"bytes" };
        assert_eq!(word(chunk), [&[2][..], &numbers(&[7, 64]), b"bytes"].concat());
        assert_eq!(word(Word::Wait { number: 7 }), [&[3][..], &numbers(&[7])].concat());
        let no = |why| word(Word::No { number: 7, why });
        let of = |why: u8| [&[4][..], &numbers(&[7]), &[why]].concat();
        assert_eq!([no(Refusal::Gone), no(Refusal::Busy), no(Refusal::Range)], [of(1), of(2), of(3)]);
        assert_eq!(word(Word::End { object: OBJECT }), [&[5][..], &numbers(&[3, 9])].concat());
    }

    #[test]
    fn a_range_is_bounded_and_lies_within_its_object() {
        let ask = |length: u32| {
            let mut message = Vec::new();
            Word::Ask { number: 1, had: 0, object: OBJECT, range: Range { offset: 0, length } }.encode(&mut message);
            Word::decode(&message).map(|_| ())
        };
        assert!(ask(1).is_ok() && ask(OBJECT_CHUNK as u32).is_ok());
        assert!(ask(0).is_err() && ask(OBJECT_CHUNK as u32 + 1).is_err() && ask(u32::MAX).is_err());
        let within = |offset, length, of| Range { offset, length }.within(of);
        assert_eq!(within(4, 6, 10), Some(4..10));
        assert_eq!((within(4, 7, 10), within(11, 1, 10), within(u64::MAX, 1, 10)), (None, None, None));
    }

    proptest! {
        #[test]
        fn whatever_arrives_is_a_word_or_an_error(message: Vec<u8>) {
            if let Ok(word) = Word::decode(&message) {
                let mut again = Vec::new();
                word.encode(&mut again);
                prop_assert_eq!(again, message);
            }
        }
    }
}
