use super::*;
use crate::directory::journal::conformance::{every_kind, gone};
use proptest::prelude::*;

fn unpacked(blocks: &[Vec<u8>]) -> Result<Vec<Record>, BlockError> {
    let mut records = Vec::new();
    for (number, block) in (7..).zip(blocks) {
        unpack(number, block, &mut records)?;
    }
    Ok(records)
}

#[test]
fn every_kind_of_record_comes_back() {
    let blocks = pack(7, &every_kind()).unwrap();
    assert_eq!(unpacked(&blocks), Ok(every_kind()));
}

/// What version 1 has on disk for the first records of every kind, as block 7.
const VERSION_1: &str = include_str!("version_1.hex");

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The same of version 2, of all.
const VERSION_2: &str = include_str!("version_2.hex");

fn read(text: &str) -> Vec<Record> {
    let mut read = Vec::new();
    unpack(7, &from_hex(text), &mut read).unwrap();
    read
}

/// Who changes what a record looks like finds out here: that is another version, which a head of this one must not read.
#[test]
fn what_is_written_is_version_2() {
    let written = pack(7, &every_kind()).unwrap().concat();
    let hex: String = written.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(written == from_hex(VERSION_2), "it is written as {hex}");
    assert_eq!((read(VERSION_2), VERSION), (every_kind(), 2));
}

#[test]
fn what_version_1_wrote_is_read_as_it_was() {
    assert_eq!(read(VERSION_1), &every_kind()[..17]);
    assert!(READ.contains(&1));
}

#[test]
fn long_batches_are_several_blocks_and_an_empty_one_is_none() {
    let records: Vec<Record> = (0..20_000).map(gone).collect();
    let blocks = pack(7, &records).unwrap();
    assert!(blocks.len() > 2 && blocks.iter().all(|block| block.len() < 2 * JOURNAL_BLOCK));
    assert_eq!(unpacked(&blocks), Ok(records));
    assert_eq!(pack(7, &[]), Ok(Vec::new()));
}

proptest! {
    #[test]
    fn another_bit_another_number_and_another_length_are_found(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let block = pack(7, &every_kind()).unwrap().remove(0);
        let at = at.index(block.len());
        let mut flipped = block.clone();
        flipped[at] ^= 1 << bit;
        let mut records = Vec::new();
        prop_assert!(unpack(7, &flipped, &mut records).is_err());
        prop_assert!(unpack(8, &block, &mut records).is_err());
        prop_assert!(unpack(7, &block[..at], &mut records).is_err());
        prop_assert!(records.is_empty());
    }
}
