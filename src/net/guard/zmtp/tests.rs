use super::*;
use crate::net::preface::{Lane, preface};
use proptest::collection::vec;
use proptest::prelude::*;

const BOUND: usize = 4_096;
const HANDSHAKE: Allowance = Allowance::Handshake { frame: 64, total: 200 };

fn frame(body: &[u8]) -> Vec<u8> {
    match u8::try_from(body.len()) {
        Ok(length) => [&[0, length], body].concat(),
        Err(_) => [&[LONG][..], &(body.len() as u64).to_be_bytes(), body].concat(),
    }
}

fn opening(kind: Kind) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_greeting_and_ready(kind, None, &mut bytes);
    bytes
}

/// A greeting, then a READY with this body behind its name.
fn with_properties(properties: &[u8]) -> Vec<u8> {
    let body = [b"\x05READY", properties].concat();
    let mut bytes = opening(Kind::Dealer)[..GREETING_BYTES].to_vec();
    bytes.extend_from_slice(&[COMMAND, body.len() as u8]);
    bytes.extend_from_slice(&body);
    bytes
}

/// Gives `stream` in pieces as a relay would: what passes, or the verdict.
fn relay<'a>(mut frames: Frames, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Result<(), Violation>) {
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        match frames.pass(&held) {
            Ok(bytes) => passed.extend(held.drain(..bytes)),
            Err(violation) => return (passed, Err(violation)),
        }
    }
    (passed, Ok(()))
}

/// What a plain reading of the whole stream says: the end of what passes, or the verdict.
fn oracle(stream: &[u8], bound: u64) -> Result<usize, Violation> {
    let mut at = 0;
    loop {
        let Some(&flags) = stream.get(at) else { return Ok(at) };
        match flags {
            0 | LONG => {}
            _ if flags > 7 => return Err(Violation::ReservedFlags),
            _ if flags & COMMAND != 0 => return Err(Violation::Command),
            _ => return Err(Violation::Multipart),
        }
        let digits = if flags == LONG { 8 } else { 1 };
        let Some(length) = stream.get(at + 1..at + 1 + digits) else { return Ok(at) };
        let declared = length.iter().fold(0, |number, &digit| number << 8 | u64::from(digit));
        if declared > bound {
            return Err(Violation::FrameTooLong { declared, bound: bound as usize });
        }
        at += 1 + digits + declared as usize;
        if at >= stream.len() {
            return Ok(stream.len());
        }
    }
}

#[test]
fn golden_bytes_of_the_greeting_and_of_ready() {
    let mut bytes = Vec::new();
    write_greeting_and_ready(Kind::Dealer, Some(&PeerIdentity(*b"0123456789abcdef")), &mut bytes);
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9..12].copy_from_slice(&[0x7f, 3, 0]);
    greeting[12..16].copy_from_slice(b"NULL");
    assert_eq!(bytes[..64], greeting);
    assert_eq!(bytes[64..], *b"\x04\x39\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x100123456789abcdef");
    assert!(bytes.len() <= GREETING_AND_READY_BYTES);
}

#[test]
fn an_opening_is_read_whole_however_it_is_cut() {
    let bytes = [opening(Kind::Router), frame(b"more")].concat();
    let end = opening(Kind::Router).len();
    for cut in 0..bytes.len() {
        let found = greeting_and_ready(&bytes[..cut], Kind::Router);
        assert_eq!(found, Ok((cut >= end).then_some(end)), "cut at {cut}");
    }
}

#[test]
fn an_opening_is_refused_at_its_first_wrong_byte() {
    let good = opening(Kind::Dealer);
    for (at, byte) in [(0, 0xfe), (9, 0), (10, 2), (12, b'P'), (16, b'X'), (31, 1)] {
        let mut bytes = good.clone();
        bytes[at] = byte;
        for cut in 0..=bytes.len() {
            let verdict = greeting_and_ready(&bytes[..cut], Kind::Dealer);
            assert_eq!(verdict.is_err(), cut > at, "byte {at}, cut at {cut}");
            assert!(verdict.is_ok() || verdict == Err(Violation::Greeting));
        }
    }
    assert_eq!(greeting_and_ready(b"GET / HTTP/1.1\r\n", Kind::Dealer), Err(Violation::Greeting));
}

#[test]
fn a_later_version_and_other_properties_are_taken() {
    let mut bytes = with_properties(b"\x06X-Note\0\0\0\x02hi\x0bsocket-type\0\0\0\x06DEALER\x08Identity\0\0\0\0");
    bytes[10..12].copy_from_slice(&[3, 1]);
    assert_eq!(greeting_and_ready(&bytes, Kind::Dealer), Ok(Some(bytes.len())));
}

#[test]
fn a_ready_is_short_well_formed_and_of_the_kind_expected() {
    let socket = &b"\x0bSocket-Type\0\0\0\x06DEALER"[..];
    let cases: [(Vec<u8>, Violation); 8] = [
        (with_properties(b""), Violation::Ready),
        (with_properties(b"\x0bSocket-Type\0\0\0\x06ROUTER"), Violation::Ready),
        (with_properties(&[socket, socket].concat()), Violation::Ready),
        (with_properties(&[socket, b"\x09X"].concat()), Violation::Ready),
        (with_properties(&[socket, b"\x01X\0\0\0\x02a"].concat()), Violation::Ready),
        (with_properties(&[socket, b"\x01X\xff\xff\xff\xff"].concat()), Violation::Ready),
        (with_properties(&[socket, b"\x08Identity\0\0\0\x01i"].concat()), Violation::Identity),
        (with_properties(&[b"\x08iDENTITY\0\0\0\x01i", socket].concat()), Violation::Identity),
    ];
    for (bytes, violation) in cases {
        assert_eq!(greeting_and_ready(&bytes, Kind::Dealer), Err(violation), "{}", bytes.escape_ascii());
    }
    let greeting = &opening(Kind::Dealer)[..GREETING_BYTES];
    for flags in (0..=u8::MAX).filter(|&flags| flags != COMMAND) {
        assert_eq!(greeting_and_ready(&[greeting, &[flags]].concat(), Kind::Dealer), Err(Violation::Ready));
    }
}

#[test]
fn the_first_message_has_the_length_of_some_versions_preface() {
    let preface = preface(Lane::Calls);
    let bytes = [frame(&preface), frame(b"next")].concat();
    for cut in 0..bytes.len() {
        let found = first_message(&bytes[..cut]);
        assert_eq!(found, Ok((cut >= 18).then_some((&preface[..], 18))), "cut at {cut}");
    }
    for length in [0, 7, PREFACE_MAX + 1] {
        assert_eq!(first_message(&frame(&vec![0; length])), Err(Violation::Preface));
    }
    assert_eq!(first_message(&[LONG, 0, 0, 0x40, 0, 0, 0, 0, 0]), Err(Violation::Preface));
    assert_eq!(first_message(&[MORE]), Err(Violation::Multipart));
    assert_eq!(first_message(&[COMMAND]), Err(Violation::Command));
}

#[test]
fn a_frame_is_refused_by_its_header_alone() {
    let long = |declared: u64| [&[LONG][..], &declared.to_be_bytes()].concat();
    let too_long = |declared| Violation::FrameTooLong { declared, bound: BOUND };
    let cases = [
        (long(1 << 46), too_long(1 << 46)),
        (long(u64::MAX), too_long(u64::MAX)),
        (long(BOUND as u64 + 1), too_long(BOUND as u64 + 1)),
        (vec![MORE], Violation::Multipart),
        (vec![COMMAND], Violation::Command),
        (vec![COMMAND | LONG], Violation::Command),
        (vec![0b1000], Violation::ReservedFlags),
        (vec![0xff], Violation::ReservedFlags),
    ];
    for (header, violation) in cases {
        for allowance in [HANDSHAKE, Allowance::Admitted] {
            let mut frames = Frames::new(BOUND, allowance);
            assert_eq!(frames.pass(&frame(b"good")), Ok(6));
            for cut in 0..header.len() {
                assert_eq!(frames.clone().pass(&header[..cut]), Ok(0), "an incomplete header is kept");
            }
            assert_eq!(frames.pass(&header), Err(violation));
        }
    }
}

#[test]
fn what_only_a_handshake_forbids_waits_for_its_end() {
    let stream = [frame(&[1; 64]), frame(&[2; 65]), frame(&[3; 4])].concat();
    let mut frames = Frames::new(BOUND, HANDSHAKE);
    assert_eq!(frames.pass(&stream), Ok(66));
    assert_eq!(frames.pass(&stream[66..]), Ok(0));
    frames.admit();
    assert_eq!(frames.pass(&stream[66..]), Ok(stream.len() - 66));
}

#[test]
fn small_frames_do_not_add_up_to_more_than_a_handshake_may_have() {
    let stream = frame(&[7; 18]).repeat(11);
    let (passed, verdict) = relay(Frames::new(BOUND, HANDSHAKE), [&stream[..]]);
    assert_eq!((passed.len(), verdict), (200, Ok(())));
    let (passed, verdict) = relay(Frames::new(BOUND, HANDSHAKE), [&frame(b"").repeat(500)[..]]);
    assert_eq!((passed.len(), verdict), (200, Ok(())), "empty frames count by their headers");
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let header = |flags: u8, length: u64| [&[flags][..], &length.to_be_bytes()].concat();
    prop_oneof![
        12 => vec(any::<u8>(), 0..=80).prop_map(|body| frame(&body)),
        3 => vec(any::<u8>(), 250..=600).prop_map(|body| frame(&body)),
        1 => vec(any::<u8>(), 0..=4).prop_map(move |body| [header(LONG, body.len() as u64), body].concat()),
        1 => any::<u64>().prop_map(move |length| header(LONG, length)),
        1 => any::<u8>().prop_map(|flags| vec![flags, 0]),
    ]
}

proptest! {
    #[test]
    fn cutting_a_stream_anywhere_changes_no_verdict(
        parts in vec(any_frame(), 0..12),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
        admitted in any::<bool>(),
    ) {
        let stream = parts.concat();
        let frames = Frames::new(BOUND, if admitted { Allowance::Admitted } else { HANDSHAKE });
        let (whole, verdict) = relay(frames.clone(), [&stream[..]]);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]);
        let (in_pieces, same) = relay(frames.clone(), pieces);
        prop_assert_eq!(&same, &verdict);
        let (by_byte, same) = relay(frames, stream.chunks(1));
        prop_assert_eq!(&same, &verdict);
        prop_assert!(stream.starts_with(&by_byte));
        if verdict.is_ok() {
            prop_assert_eq!(&in_pieces, &whole);
            prop_assert_eq!(&by_byte, &whole);
        }
    }

    #[test]
    fn an_admitted_stream_is_judged_as_a_plain_reading_judges_it(parts in vec(any_frame(), 0..12)) {
        let stream = parts.concat();
        let judged = Frames::new(BOUND, Allowance::Admitted).pass(&stream);
        prop_assert_eq!(judged, oracle(&stream, BOUND as u64));
    }

    #[test]
    fn random_bytes_are_judged_without_a_panic(bytes in vec(any::<u8>(), 0..400), at in 0_usize..GREETING_BYTES * 2) {
        prop_assert_eq!(Frames::new(BOUND, Allowance::Admitted).pass(&bytes), oracle(&bytes, BOUND as u64));
        prop_assert!(Frames::new(BOUND, HANDSHAKE).pass(&bytes).is_ok_and(|passed| passed <= 200) || oracle(&bytes, BOUND as u64).is_err());
        let _ = first_message(&bytes);
        let mut opened = opening(Kind::Dealer);
        opened.truncate(at);
        opened.extend_from_slice(&bytes);
        let read = greeting_and_ready(&opened, Kind::Dealer);
        prop_assert!(!matches!(read, Ok(Some(end)) if end > opened.len()));
    }
}
