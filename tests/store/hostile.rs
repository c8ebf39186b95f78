//! Readers and owners that do not keep to the protocol. They are spoken for with raw bytes.

use super::support::{MIB, Owner, until};
use mobula::store::{Attached, Location, MappingError, Ticket, TransferError};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW).union(SealFlags::FUTURE_WRITE);

fn frame(kind: u8, a: u64, b: u64) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[0] = kind;
    bytes[8..16].copy_from_slice(&a.to_le_bytes());
    bytes[16..].copy_from_slice(&b.to_le_bytes());
    bytes
}

fn greeting(ticket: &Ticket) -> Vec<u8> {
    [&b"MOBSTORE"[..], &1_u32.to_le_bytes(), &[0; 4], ticket.as_bytes()].concat()
}

/// What the owner says until it closes.
fn rest(stream: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_misbehaves_is_closed_and_keeps_its_pins_until_it_is_gone() {
    let bad = [
        ("no such message", frame(9, 0, 0).to_vec()),
        ("bytes that must be zero", [&[2, 1][..], &[0; 22]].concat()),
        ("a pin that there is not", frame(2, 1, 64).to_vec()),
        ("a segment with no pin", frame(1, 77, 0).to_vec()),
        ("a segment that it does not map", frame(3, 1, 0).to_vec()),
        ("a pin that is ended twice", [frame(2, 1, 64), frame(2, 1, 64)].concat()),
    ];
    for (what, bytes) in bad {
        let owner = Owner::new(64 * MIB);
        let (reader, ticket) = owner.store.issue_ticket().unwrap();
        let location = owner.store.pin(&owner.put(b"shark"), reader).unwrap();
        assert_eq!((location.segment, location.offset), (1, 0));
        let path = owner.path.clone();
        let (stream, said) = tokio::task::spawn_blocking(move || {
            let mut stream = UnixStream::connect(path).unwrap();
            stream.write_all(&greeting(&ticket)).unwrap();
            stream.write_all(&bytes).unwrap();
            let said = rest(&mut stream);
            // Nobody heeds it any more.
            stream.write_all(&frame(2, 1, 0)).unwrap();
            (stream, said)
        })
        .await
        .unwrap();
        assert_eq!(said, frame(1, 0, 0), "{what}");
        assert_eq!(owner.store.usage().pinned, 64, "{what}: it may still be reading");
        drop(stream);
        until(what, || owner.store.usage().pinned == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_refused_and_leaves_nothing() {
    let owner = Owner::new(MIB);
    let (_, ticket) = owner.store.issue_ticket().unwrap();
    let wrong =
        [(greeting(&Ticket::from_bytes([1; 32])), frame(2, 2, 0).to_vec()), (vec![b'x'; 48], frame(2, 1, 0).to_vec())];
    let path = owner.path.clone();
    let dialled = tokio::task::spawn_blocking(move || {
        wrong.map(|(bytes, answer)| {
            let mut stream = UnixStream::connect(&path).unwrap();
            stream.write_all(&bytes).unwrap();
            assert_eq!(rest(&mut stream), answer);
        })
    });
    dialled.await.unwrap();
    // Half a greeting, and then nothing: others are served meanwhile.
    let mut half = UnixStream::connect(&owner.path).unwrap();
    half.write_all(&greeting(&ticket)[..40]).unwrap();
    Attached::connect(&owner.path, &ticket).await.unwrap();
}

/// An owner that says what the test wants.
struct Rogue {
    path: std::path::PathBuf,
    listener: UnixListener,
    _folder: tempfile::TempDir,
}

impl Rogue {
    fn new() -> Rogue {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        Rogue { listener: UnixListener::bind(&path).unwrap(), path, _folder: folder }
    }

    /// What a reader that asks for segment 1 gets, if it is answered with these bytes and descriptors.
    async fn answer(self, bytes: Vec<u8>, files: Vec<OwnedFd>) -> TransferError {
        let listener = self.listener;
        let owner = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 48]).unwrap();
            stream.write_all(&frame(1, 0, 0)).unwrap();
            let mut asked = [0; 24];
            stream.read_exact(&mut asked).unwrap();
            assert_eq!(asked, frame(1, 1, 0));
            let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(files.is_empty() || control.push(SendAncillaryMessage::ScmRights(&files)));
            sendmsg(&stream, &[IoSlice::new(&bytes)], &mut control, SendFlags::empty()).unwrap();
            // Until the reader is done with it.
            rest(&mut stream);
        });
        let attached = Attached::connect(&self.path, &Ticket::from_bytes([0; 32])).await.unwrap();
        let error = attached.view(Location { segment: 1, offset: 0, length: 5 }).await.unwrap_err();
        drop(attached);
        owner.await.unwrap();
        error
    }
}

fn memory(length: u64, seals: SealFlags) -> OwnedFd {
    let file = memfd_create("rogue", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&file, length).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_descriptor_that_could_change_under_its_reader_is_refused() {
    for missing in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::FUTURE_WRITE] {
        let file = memory(4096, SEALS.difference(missing));
        let error = Rogue::new().answer(frame(3, 1, 4096).to_vec(), vec![file]).await;
        let TransferError::Mapping(error) = &error else { panic!("{error}") };
        assert!(matches!(**error, MappingError::Unsealed { .. }), "{error}");
    }
    for (length, said) in [(4096, 8192), (8192, 4096), (0, 0), (4096, u64::MAX)] {
        let error = Rogue::new().answer(frame(3, 1, said).to_vec(), vec![memory(length, SEALS)]).await;
        let TransferError::Mapping(error) = &error else { panic!("{error}") };
        assert!(matches!(**error, MappingError::WrongSize { .. }), "{error}");
    }
    let plain: OwnedFd = tempfile::tempfile().unwrap().into();
    let error = Rogue::new().answer(frame(3, 1, 4096).to_vec(), vec![plain]).await;
    let TransferError::Mapping(error) = &error else { panic!("{error}") };
    assert!(matches!(**error, MappingError::NotMemory), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_misbehaves_is_an_error() {
    let good = || memory(4096, SEALS);
    let bad = [
        ("no descriptor", frame(3, 1, 4096).to_vec(), vec![]),
        ("two descriptors", frame(3, 1, 4096).to_vec(), vec![good(), good()]),
        ("a segment that nobody asked for", frame(3, 2, 4096).to_vec(), vec![good()]),
        ("no such message", frame(7, 0, 0).to_vec(), vec![]),
        ("the end of what there is not", frame(4, 1, 0).to_vec(), vec![]),
        ("a second welcome", frame(1, 0, 0).to_vec(), vec![]),
    ];
    for (what, bytes, files) in bad {
        let error = Rogue::new().answer(bytes, files).await;
        assert!(matches!(error, TransferError::Malformed), "{what}: {error}");
    }
}
