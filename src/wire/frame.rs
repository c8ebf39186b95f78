//! A batch: the plaintext of one message of the calls lane.
//!
//! ```text
//! batch    = flags u8 . header . [settle section] . [work section]
//! flags    = 01 hello instead . 02 a settle section . 04 a work section . 08 please acknowledge at once
//! header   = session varint . ack_work varint . ack_settle varint . room_work varint (bytes)
//! section  = first number varint . length varint . packets
//! packet   = length varint . bytes (packet.rs)
//! hello    = 01 . life varint . to varint . session varint . dialled varint . received_work varint . received_settle varint
//! ```
//!
//! Acknowledgements are cumulative: the number of the last packet of that channel that was applied, zero before any.
//! The packets of a section have consecutive numbers. A session's first batch each way is a hello.

use super::bytes::{Reader, WireError, put_varint};
use crate::id::Life;
use crate::limits::{BATCH_BYTES, PACKET_BYTES, WORK_WINDOW_MAX};

const HELLO: u8 = 1;
const SETTLE: u8 = 2;
const WORK: u8 = 4;
const ECHO: u8 = 8;

/// What each batch begins with (PROTOCOLS §1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The session that it is part of.
    pub session: u64,
    /// The last work packet that was applied and need not be held back.
    pub ack_work: u64,
    /// The last settle packet that was applied.
    pub ack_settle: u64,
    /// Bytes of work that the other side may have unacknowledged.
    pub room_work: u64,
    /// Whether the sender waits for a sign of life.
    pub echo: bool,
}

/// Begins a session and says where to go on (PROTOCOLS §1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The sender's life.
    pub life: Life,
    /// The life it wants to talk to; zero when it does not know.
    pub to: Life,
    /// The dialer's number of this session, repeated by who answers.
    pub session: u64,
    /// How many sessions the sender has dialled: none of those begins any more but this one.
    pub dialled: u64,
    /// The last work packet that the sender applied.
    pub received_work: u64,
    /// The last settle packet that the sender applied.
    pub received_settle: u64,
}

/// Consecutive packets of one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Section<'a> {
    /// The number of the first; zero for a section that is not there.
    pub first: u64,
    /// The packets, each with its length before it.
    pub packets: &'a [u8],
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch<'a> {
    /// A session begins.
    Hello(Hello),
    /// Packets, acknowledgements or both.
    Packets {
        /// Acknowledgements.
        header: Header,
        /// Applied first: it frees what work may need.
        settle: Section<'a>,
        /// Applied second.
        work: Section<'a>,
    },
}

impl Hello {
    /// Appends the batch that is this hello.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(HELLO);
        for number in [self.life.0, self.to.0, self.session, self.dialled, self.received_work, self.received_settle] {
            put_varint(out, number);
        }
    }
}

impl Header {
    /// Appends the header of a batch in which these sections follow.
    pub fn encode(&self, settle: bool, work: bool, out: &mut Vec<u8>) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let sections = flag(settle, SETTLE) | flag(work, WORK);
        out.push(sections | flag(self.echo, ECHO));
        for number in [self.session, self.ack_work, self.ack_settle, self.room_work] {
            put_varint(out, number);
        }
    }
}

impl<'a> Section<'a> {
    /// Appends what comes before `length` bytes of packets.
    pub fn begin(first: u64, length: usize, out: &mut Vec<u8>) {
        put_varint(out, first);
        put_varint(out, length as u64);
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let first = reader.varint("a section's first number")?;
        let packets = reader.sized(BATCH_BYTES, "a section")?;
        if first == 0 || packets.is_empty() {
            return Err(WireError::Truncated("a section"));
        }
        Ok(Section { first, packets })
    }

    /// The packets with their numbers; ends after the first error.
    pub fn packets(&self) -> Packets<'a> {
        Packets { number: self.first, reader: Reader::new(self.packets) }
    }
}

/// Iterates over the packets of a section.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    number: u64,
    reader: Reader<'a>,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<(u64, &'a [u8]), WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.rest().is_empty() {
            return None;
        }
        let number = self.number;
        self.number = self.number.wrapping_add(1);
        let packet = self.reader.sized(PACKET_BYTES, "a packet");
        if packet.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(packet.map(|packet| (number, packet)))
    }
}

impl<'a> Batch<'a> {
    /// Reads a whole batch. Its packets are found, not yet decoded.
    pub fn decode(batch: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(batch);
        let flags = reader.u8("a batch")?;
        if flags == HELLO {
            return Self::decode_hello(reader);
        }
        if flags & !(SETTLE | WORK | ECHO) != 0 {
            return Err(WireError::Tag { what: "a batch's flags", tag: flags });
        }
        let header = Header {
            session: reader.varint("a session's number")?,
            ack_work: reader.varint("an acknowledgement")?,
            ack_settle: reader.varint("an acknowledgement")?,
            room_work: reader.bounded(WORK_WINDOW_MAX as u64, "a window")?,
            echo: flags & ECHO != 0,
        };
        let section = |reader: &mut Reader<'a>, flag: u8| {
            if flags & flag == 0 { Ok(Section::default()) } else { Section::read(reader) }
        };
        let (settle, work) = (section(&mut reader, SETTLE)?, section(&mut reader, WORK)?);
        reader.end("a batch")?;
        Ok(Batch::Packets { header, settle, work })
    }

    fn decode_hello(mut reader: Reader<'a>) -> Result<Self, WireError> {
        let hello = Hello {
            life: Life(reader.varint("a hello")?),
            to: Life(reader.varint("a hello")?),
            session: reader.varint("a hello")?,
            dialled: reader.varint("a hello")?,
            received_work: reader.varint("a hello")?,
            received_settle: reader.varint("a hello")?,
        };
        reader.end("a hello")?;
        Ok(Batch::Hello(hello))
    }
}

#[cfg(test)]
mod tests;
