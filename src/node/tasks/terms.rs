//! What is said between a grant's owner and its node beside the tasks themselves: the grant's terms, before the first task
//! and whenever they shrink, and the recall of tasks that have not begun.
//!
//! ```text
//! run      = task's key u64 . flags u8 . grant varint . number varint . attempt varint . [left out] . [name] . arguments
//! flags    = 1 the arguments are an object . 2 gives its CPU back when it first waits . 4 some arguments are left out
//!            8 it was given a name
//! left out = count varint . (position varint . number of the task whose result it is varint) ..
//! name     = length varint . text
//! ran      = nanoseconds u32 . ended u8 . value or error     what a run answers with; of the first eight arguments that were
//!                                                     references, a bit for each whose pin has ended (PROTOCOLS §4.1)
//! terms    = MessagePack of `Terms`                   a tell
//! recall   = MessagePack of (grant, count)            answered by the numbers of the tasks that come back
//! parked   = MessagePack of `Parked`                  a tell
//! cancel   = nothing, beside it the object           a tell
//! ```

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, GrantId, GroupId, Key};
use crate::limits::{LEFT_OUT, NAME_BYTES};
use crate::schedule::{Resources, TaskNumber};
use crate::wire::bytes::{Reader, WireError, put_text, put_varint};

/// The name of a message with a grant's terms.
pub(super) const TERMS: Key = Key::of("mobula", "grant");
/// The name of a recall.
pub(super) const RECALL: Key = Key::of("mobula", "recall");
/// The name of a message that says how many tasks of a grant are parked.
pub(super) const PARKED: Key = Key::of("mobula", "parked");

/// The name of a message that cancels what makes an object.
pub(super) const CANCEL: Key = Key::of("mobula", "cancel");

/// The arguments are an object of the owner's.
const ELSEWHERE: u8 = 1;
/// It gives its CPU back when it first waits.
const YIELDS: u8 = 2;
/// Some arguments are results of tasks before it.
const BEHIND: u8 = 4;
/// It was given a name.
const NAMED: u8 = 8;

/// A grant, as its owner tells its node of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) grant: GrantId,
    /// The head that gave it: the node takes none of an earlier one that it did not report to this one.
    pub(super) epoch: Epoch,
    /// How many tasks may run at once; with none, the grant is over.
    pub(super) slots: u32,
    /// What each takes ..
    pub(super) size: Resources,
    /// .. of this bundle, if not of the node.
    pub(super) bundle: Option<(GroupId, u32)>,
}

/// How many of a grant's tasks hold no slot, as its node tells its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parked {
    pub(super) grant: GrantId,
    pub(super) tasks: u32,
    /// Of two, the one with the higher number is true.
    pub(super) number: u32,
}

/// What stands before a task's arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Key,
    pub(super) elsewhere: bool,
    pub(super) yields: bool,
    pub(super) grant: GrantId,
    pub(super) number: TaskNumber,
    pub(super) attempt: u32,
    /// Positions of arguments that are results of tasks before it, and those tasks' numbers.
    pub(super) left_out: Vec<(u32, u64)>,
    /// What this run is called.
    pub(super) title: Option<Box<str>>,
}

impl Header {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name.0.to_le_bytes());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let behind = flag(!self.left_out.is_empty(), BEHIND);
        let named = flag(self.title.is_some(), NAMED);
        out.push(flag(self.elsewhere, ELSEWHERE) | flag(self.yields, YIELDS) | behind | named);
        put_varint(out, self.grant.0);
        put_varint(out, self.number.0);
        put_varint(out, u64::from(self.attempt));
        if behind > 0 {
            put_varint(out, self.left_out.len() as u64);
            for (position, number) in &self.left_out {
                put_varint(out, u64::from(*position));
                put_varint(out, *number);
            }
        }
        if let Some(title) = &self.title {
            put_text(out, title, NAME_BYTES);
        }
    }

    /// Reads it, and gives what follows.
    pub(super) fn read(body: &[u8]) -> Result<(Header, &[u8]), WireError> {
        let mut reader = Reader::new(body);
        let name = Key(reader.u64("a task's name")?);
        let flags = reader.u8("a task's flags")?;
        if flags & !(ELSEWHERE | YIELDS | BEHIND | NAMED) != 0 {
            return Err(WireError::Tag { what: "a task's flags", tag: flags });
        }
        let (grant, number) = (GrantId(reader.varint("a grant")?), TaskNumber(reader.varint("a task")?));
        let attempt = reader.varint32("an attempt")?;
        let (elsewhere, yields) = (flags & ELSEWHERE != 0, flags & YIELDS != 0);
        let mut left_out = Vec::new();
        if flags & BEHIND != 0 {
            for _ in 0..reader.bounded(LEFT_OUT as u64, "arguments that are left out")? {
                left_out.push((reader.varint32("a position")?, reader.varint("a task")?));
            }
        }
        let title = if flags & NAMED != 0 { Some(reader.text(NAME_BYTES, "a task's name")?.into()) } else { None };
        Ok((Header { name, elsewhere, yields, grant, number, attempt, left_out, title }, reader.rest()))
    }
}

/// What stands before a task's value or error.
pub(super) const RAN: usize = 5;

/// How long a task ran, and which of its pins have ended, as its answer says it.
pub(super) fn ran(nanoseconds: u64, ended: u8) -> [u8; RAN] {
    let [a, b, c, d] = u32::try_from(nanoseconds).unwrap_or(u32::MAX).to_le_bytes();
    [a, b, c, d, ended]
}

/// Reads them, and gives what follows.
pub(super) fn read_ran(body: &[u8]) -> Option<(u64, u8, &[u8])> {
    let (ran, rest) = body.split_first_chunk()?;
    let (ended, rest) = rest.split_first()?;
    Some((u64::from(u32::from_le_bytes(*ran)), *ended, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_a_broken_one_is_refused() {
        for (elsewhere, yields) in [(false, false), (true, false), (false, true), (true, true)] {
            let (grant, number) = (GrantId(1 << 40), TaskNumber(u64::MAX));
            let left_out = if yields { vec![(0, 1 << 33), (2, 5)] } else { Vec::new() };
            let title = elsewhere.then(|| "of May".into());
            let header = Header { name: Key(7), elsewhere, yields, grant, number, attempt: 3, left_out, title };
            let mut body = Vec::new();
            header.put(&mut body);
            let whole = body.len();
            body.extend_from_slice(b"arguments");
            assert_eq!(Header::read(&body), Ok((header, &b"arguments"[..])));
            assert!((0..whole).all(|short| Header::read(&body[..short]).is_err()));
            body[8] = 16;
            assert!(matches!(Header::read(&body), Err(WireError::Tag { .. })));
        }
    }

    #[test]
    fn how_long_a_task_ran_is_cut_at_four_seconds() {
        let mut body = ran(u64::MAX, 5).to_vec();
        body.push(9);
        assert_eq!(read_ran(&body), Some((u64::from(u32::MAX), 5, &[9][..])));
        assert_eq!(read_ran(&body[..RAN - 1]), None);
    }
}
