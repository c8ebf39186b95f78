use super::*;
use crate::wire::bytes::put_sized;
use proptest::prelude::*;

fn golden_header() -> Header {
    Header { session: 3, ack_work: 300, ack_settle: 7, room_work: 1 << 20, echo: false }
}

fn encode(header: &Header, settle: Section<'_>, work: Section<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    header.encode(!settle.packets.is_empty(), !work.packets.is_empty(), &mut out);
    for section in [settle, work].into_iter().filter(|section| !section.packets.is_empty()) {
        Section::begin(section.first, section.packets.len(), &mut out);
        out.extend_from_slice(section.packets);
    }
    out
}

#[test]
fn a_batch_has_its_golden_bytes() {
    let settle = Section { first: 9, packets: &[2, 0xaa, 0xbb, 1, 0xcc] };
    let work = Section { first: 128, packets: &[1, 0xdd] };
    let golden = [
        0x06, 3, 0xac, 0x02, 7, 0x80, 0x80, 0x40, // header
        9, 5, 2, 0xaa, 0xbb, 1, 0xcc, // settle
        0x80, 0x01, 2, 1, 0xdd, // work
    ];
    assert_eq!(encode(&golden_header(), settle, work), golden);
    let read = Batch::decode(&golden).unwrap();
    assert_eq!(read, Batch::Packets { header: golden_header(), settle, work });
    let packets: Vec<_> = settle.packets().map(Result::unwrap).collect();
    assert_eq!(packets, [(9, &[0xaa, 0xbb][..]), (10, &[0xcc][..])]);
}

#[test]
fn a_batch_without_packets_has_its_golden_bytes() {
    let echo = Header { echo: true, ..golden_header() };
    let bytes = encode(&echo, Section::default(), Section::default());
    assert_eq!(bytes, [0x08, 3, 0xac, 0x02, 7, 0x80, 0x80, 0x40]);
}

#[test]
fn a_hello_has_its_golden_bytes() {
    let hello = Hello { life: Life(5), to: Life(0), session: 2, dialled: 3, received_work: 1_000, received_settle: 1 };
    let mut out = Vec::new();
    hello.encode(&mut out);
    assert_eq!(out, [0x01, 5, 0, 2, 3, 0xe8, 0x07, 1]);
    assert_eq!(Batch::decode(&out), Ok(Batch::Hello(hello)));
}

#[test]
fn breaches_of_the_grammar_have_their_errors() {
    let cases: [(&[u8], WireError); 6] = [
        (&[], WireError::Truncated("a batch")),
        (&[0x10], WireError::Tag { what: "a batch's flags", tag: 0x10 }),
        (&[0x03], WireError::Tag { what: "a batch's flags", tag: 0x03 }),
        (&[0x00, 1, 1, 1, 1, 1], WireError::Trailing("a batch")),
        (&[0x04, 1, 1, 1, 1, 0, 1, 1], WireError::Truncated("a section")),
        (
            &[0x00, 1, 1, 1, 0xff, 0xff, 0xff, 0x7f],
            WireError::TooLarge { what: "a window", found: 0xfff_ffff, most: WORK_WINDOW_MAX as u64 },
        ),
    ];
    for (bytes, error) in cases {
        assert_eq!(Batch::decode(bytes), Err(error), "{bytes:x?}");
    }
    let short = Section { first: 1, packets: &[5, 0] };
    assert_eq!(short.packets().collect::<Vec<_>>(), [Err(WireError::Truncated("a packet"))]);
}

proptest! {
    #[test]
    fn batches_read_back(
        numbers: [u64; 3],
        room in 0..=WORK_WINDOW_MAX as u64,
        echo: bool,
        first in 1..u64::MAX / 2,
        packets: [Vec<Vec<u8>>; 2],
        cut: prop::sample::Index,
    ) {
        let join = |packets: &[Vec<u8>]| packets.iter().fold(Vec::new(), |mut all, packet| {
            put_sized(&mut all, packet);
            all
        });
        let [settle, work] = [join(&packets[0]), join(&packets[1])];
        let section = |packets: &'_ [u8]| if packets.is_empty() { 0 } else { first };
        let settle = Section { first: section(&settle), packets: &settle };
        let work = Section { first: section(&work), packets: &work };
        let [session, ack_work, ack_settle] = numbers;
        let header = Header { session, ack_work, ack_settle, room_work: room, echo };
        let bytes = encode(&header, settle, work);
        prop_assert_eq!(Batch::decode(&bytes), Ok(Batch::Packets { header, settle, work }));
        let read: Vec<_> = work.packets().map(|packet| packet.unwrap().1.to_vec()).collect();
        prop_assert_eq!(&read, &packets[1]);
        prop_assert!(Batch::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn no_bytes_panic_the_reader(bytes: Vec<u8>) {
        if let Ok(Batch::Packets { settle, work, .. }) = Batch::decode(&bytes) {
            prop_assert!(settle.packets().count() + work.packets().count() <= bytes.len());
        }
    }
}
