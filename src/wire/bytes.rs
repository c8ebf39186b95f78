//! The bounded reader and the writers that all of the wire's grammar is built from.
//!
//! ```text
//! varint = 7 bits a byte, least significant first, high bit: more follows; at most 10 bytes, never padded
//! u8 u32 u64 = fixed width, little endian
//! text   = length varint . UTF-8
//! ```
//!
//! Nothing here allocates for what a peer declares: counts and lengths are checked against a bound and against the
//! bytes that are left before anyone reserves room for them.

/// Why bytes from a peer are not what the grammar says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes end inside of something.
    #[error("the bytes end in the middle of {0}")]
    Truncated(&'static str),
    /// Bytes are left where the thing should end.
    #[error("{0} has bytes left over after its end")]
    Trailing(&'static str),
    /// A varint beyond 64 bits, or padded.
    #[error("{0} is no valid varint")]
    Varint(&'static str),
    /// A tag, flag or mode that this version does not know.
    #[error("{what} has the unknown tag {tag}")]
    Tag {
        /// What the tag chooses.
        what: &'static str,
        /// The tag.
        tag: u8,
    },
    /// A number or length over its bound.
    #[error("{what} is {found}, and may be {most} at most")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The declared value.
        found: u64,
        /// Its bound.
        most: u64,
    },
    /// Text that is not UTF-8.
    #[error("{0} is not UTF-8")]
    Text(&'static str),
}

/// Reads a slice from the front; what it returns borrows from the slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Succeeds if everything was read.
    pub const fn end(&self, what: &'static str) -> Result<(), WireError> {
        if self.rest.is_empty() { Ok(()) } else { Err(WireError::Trailing(what)) }
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(WireError::Truncated(what))?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(WireError::Truncated(what))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self, what: &'static str) -> Result<u8, WireError> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    /// Four bytes.
    #[inline]
    pub fn u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    /// Eight bytes.
    #[inline]
    pub fn u64(&mut self, what: &'static str) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A varint.
    #[inline]
    pub fn varint(&mut self, what: &'static str) -> Result<u64, WireError> {
        match self.rest {
            [byte @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            rest => match long_varint(rest) {
                Some((value, rest)) => {
                    self.rest = rest;
                    Ok(value)
                }
                None if rest.len() < 10 && rest.iter().all(|byte| *byte >= 0x80) => Err(WireError::Truncated(what)),
                None => Err(WireError::Varint(what)),
            },
        }
    }

    /// A varint of at most `most`.
    #[inline]
    pub fn bounded(&mut self, most: u64, what: &'static str) -> Result<u64, WireError> {
        let found = self.varint(what)?;
        if found > most { Err(WireError::TooLarge { what, found, most }) } else { Ok(found) }
    }

    /// A varint of at most 32 bits.
    #[inline]
    pub fn varint32(&mut self, what: &'static str) -> Result<u32, WireError> {
        let found = self.bounded(u64::from(u32::MAX), what)?;
        u32::try_from(found).map_err(|_| WireError::Varint(what))
    }

    /// A length of at most `most`, and that many bytes.
    #[inline]
    pub fn sized(&mut self, most: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let length = self.bounded(most as u64, what)?;
        self.take(usize::try_from(length).map_err(|_| WireError::Varint(what))?, what)
    }

    /// A text of at most `most` bytes.
    pub fn text(&mut self, most: usize, what: &'static str) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.sized(most, what)?).map_err(|_| WireError::Text(what))
    }
}

/// A varint of any length, and what follows it. Numbers of calls are such: what comes back is made to fit into registers.
fn long_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && *byte > 1 {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return (bits > 0 || index == 0).then(|| (value, &bytes[index + 1..]));
        }
    }
    None
}

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The bytes [`put_varint`] takes for `value`.
#[inline]
#[must_use]
pub const fn varint_len(value: u64) -> usize {
    (value | 1).ilog2() as usize / 7 + 1
}

/// Appends a length and the bytes.
#[inline]
pub fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends `text`, cut at a character's boundary to at most `most` bytes: for texts that inform and decide nothing.
pub fn put_text(out: &mut Vec<u8>, text: &str, most: usize) {
    put_sized(out, &text.as_bytes()[..text.floor_char_boundary(most)]);
}

/// What a [`List`] holds: encoded by hand, at least one byte each.
pub trait Element<'a>: Copy + 'a {
    /// What errors call it.
    const WHAT: &'static str;
    /// Appends it.
    fn put(&self, out: &mut Vec<u8>);
    /// Reads one.
    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError>;
}

/// A list inside a packet: items to encode, or validated bytes that decode again as they are read, without allocating.
#[derive(Clone, Copy)]
pub enum List<'a, E> {
    /// Items of this process.
    Items(&'a [E]),
    /// What [`List::read`] found.
    Encoded {
        /// How many.
        count: usize,
        /// Their encodings, one after the other.
        bytes: &'a [u8],
    },
}

impl<'a, E: Element<'a>> List<'a, E> {
    /// No items.
    pub const EMPTY: Self = List::Items(&[]);

    /// How many items.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self {
            List::Items(items) => items.len(),
            List::Encoded { count, .. } => *count,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items.
    pub fn iter(&self) -> impl Iterator<Item = E> + use<'a, E> {
        let (mut items, mut reader) = match *self {
            List::Items(items) => (items.iter(), Reader::new(&[])),
            List::Encoded { bytes, .. } => ([].iter(), Reader::new(bytes)),
        };
        std::iter::from_fn(move || match items.next() {
            Some(item) => Some(*item),
            None if reader.rest().is_empty() => None,
            None => E::read(&mut reader).ok(),
        })
    }

    /// Appends count and items.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.len() as u64);
        match self {
            List::Items(items) => items.iter().for_each(|item| item.put(out)),
            List::Encoded { bytes, .. } => out.extend_from_slice(bytes),
        }
    }

    /// Reads and validates a list of at most `most` items.
    #[inline]
    pub fn read(reader: &mut Reader<'a>, most: usize) -> Result<Self, WireError> {
        // Most are empty.
        match reader.rest {
            [0, rest @ ..] => {
                reader.rest = rest;
                Ok(Self::EMPTY)
            }
            _ => Self::read_items(reader, most),
        }
    }

    fn read_items(reader: &mut Reader<'a>, most: usize) -> Result<Self, WireError> {
        let count = reader.bounded(most as u64, E::WHAT)? as usize;
        let start = reader.rest();
        if count > start.len() {
            return Err(WireError::Truncated(E::WHAT));
        }
        for _ in 0..count {
            E::read(reader)?;
        }
        Ok(List::Encoded { count, bytes: &start[..start.len() - reader.rest().len()] })
    }
}

impl<'a, E: Element<'a> + PartialEq> PartialEq for List<'a, E> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<'a, E: Element<'a> + std::fmt::Debug> std::fmt::Debug for List<'a, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn varints_have_the_bytes_of_leb128() {
        for (value, bytes) in [(0, &[0][..]), (127, &[0x7f]), (128, &[0x80, 1]), (300, &[0xac, 2])] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn varints_that_are_padded_too_long_or_cut_are_refused() {
        let read = |bytes: &[u8]| Reader::new(bytes).varint("it");
        assert_eq!(read(&[0x80, 0]), Err(WireError::Varint("it")));
        assert_eq!(read(&[0xff; 11]), Err(WireError::Varint("it")));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]), Err(WireError::Varint("it")));
        assert_eq!(read(&[0x80]), Err(WireError::Truncated("it")));
        assert_eq!(read(&[]), Err(WireError::Truncated("it")));
    }

    #[test]
    fn texts_that_inform_are_cut_between_characters() {
        let mut out = Vec::new();
        put_text(&mut out, "aé", 2);
        assert_eq!(out, [1, b'a']);
    }

    proptest! {
        #[test]
        fn a_varint_reads_back(value: u64, shift in 0..64) {
            let value = value >> shift;
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint("value"), Ok(value));
            prop_assert_eq!(reader.end("value"), Ok(()));
        }
    }
}
