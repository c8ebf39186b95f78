//! Readers that keep to the protocol, in this process: PROTOCOLS §4, P1 and P2.

use super::support::{LONG, MIB, Owner, pattern, until};
use mobula::store::{Attached, Location, PinError, ServeError, Ticket, TransferError};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_sees_the_object_and_its_pin_ends_with_its_view() {
    let owner = Owner::new(64 * MIB);
    let (reader, attached) = owner.attach().await;
    for bytes in [pattern(1, 0), pattern(2, 100), pattern(3, 6 * MIB)] {
        let stored = owner.put(&bytes);
        let (place, location) = (stored.location(), owner.store.pin(&stored, reader).unwrap());
        drop(stored);
        let view = attached.view(location).await.unwrap();
        assert!(*view == *bytes && view.as_ptr().addr().is_multiple_of(64));
        let held = owner.store.usage();
        assert!(held.pinned >= bytes.len().max(64) && held.sealed == 0, "{held:?}");
        let clone = view.clone();
        drop(view);
        assert_eq!(*clone, *bytes);
        drop(clone);
        until("the pin to end", || owner.store.usage().pinned == 0).await;
        assert_eq!(owner.put(&bytes).location(), place);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_pin_is_for_one_view_and_views_share_a_mapping() {
    let owner = Owner::new(64 * MIB);
    let (reader, attached) = owner.attach().await;
    let stored = owner.put(b"shark");
    let locations = [(); 3].map(|()| owner.store.pin(&stored, reader).unwrap());
    let other = owner.put(b"whale");
    let beside = owner.store.pin(&other, reader).unwrap();
    let (one, two, whale) =
        tokio::join!(attached.view(locations[0]), attached.view(locations[1]), attached.view(beside));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.as_ptr(), attached.segments()), (two.as_ptr(), 1));
    drop((stored, other, one, two));
    drop(whale.unwrap());
    until("the other's pin to end", || owner.store.usage().pinned == 64).await;
    // One pin is left, of which the reader has not made use yet.
    drop(attached.view(locations[2]).await.unwrap());
    until("all pins to end", || owner.store.usage().pinned == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_is_given_up_or_fails_ends_its_pin() {
    let owner = Owner::new(64 * MIB);
    let (reader, attached) = owner.attach().await;
    let location = owner.store.pin(&owner.put(b"shark"), reader).unwrap();
    assert!(futures::FutureExt::now_or_never(attached.view(location)).is_none());
    until("the pin to end", || owner.store.usage().pinned == 0).await;
    let location = owner.store.pin(&owner.put(b"shark"), reader).unwrap();
    let outside = Location { length: 1 << 40, ..location };
    assert!(matches!(attached.view(outside).await, Err(TransferError::OutOfRange { .. })));
    until("the pin to end", || owner.store.usage().pinned == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_admits_one_connection_until_it_is_revoked() {
    let owner = Owner::new(MIB);
    let refused = Attached::connect(&owner.path, &Ticket::from_bytes([0; 32])).await.unwrap_err();
    assert!(matches!(refused, TransferError::Ticket), "{refused}");
    let (_, ticket) = owner.store.issue_ticket().unwrap();
    let attached = Attached::connect(&owner.path, &ticket).await.unwrap();
    assert!(matches!(Attached::connect(&owner.path, &ticket).await, Err(TransferError::Ticket)));
    drop(attached);
    assert!(matches!(Attached::connect(&owner.path, &ticket).await, Err(TransferError::Ticket)));
    let (reader, ticket) = owner.store.issue_ticket().unwrap();
    owner.store.pin(&owner.put(b"shark"), reader).unwrap();
    assert_eq!(owner.store.usage().pinned, 64);
    owner.store.revoke(reader);
    assert_eq!(owner.store.usage().pinned, 0, "nobody can have mapped it");
    assert!(matches!(Attached::connect(&owner.path, &ticket).await, Err(TransferError::Ticket)));
    assert_eq!(owner.store.pin(&owner.put(b"shark"), reader), Err(PinError::ReaderGone));
    assert_eq!(Owner::new(MIB).store.pin(&owner.put(b"shark"), reader), Err(PinError::OtherStore));
    assert!(!format!("{ticket:?}").contains(|digit: char| digit.is_ascii_digit()), "a secret is not printed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_whose_ticket_is_revoked_keeps_its_views_and_gets_no_more() {
    let owner = Owner::new(64 * MIB);
    let (reader, attached) = owner.attach().await;
    let first = owner.store.pin(&owner.put(&pattern(1, 5 * MIB)), reader).unwrap();
    let second = owner.store.pin(&owner.put(&pattern(2, 5 * MIB)), reader).unwrap();
    let view = attached.view(first).await.unwrap();
    owner.store.revoke(reader);
    assert!(matches!(attached.view(second).await, Err(TransferError::Closed)));
    until("the second pin to end", || owner.store.usage().pinned == 5 * MIB).await;
    assert_eq!(*view, *pattern(1, 5 * MIB));
    drop(view);
    until("the first pin to end", || owner.store.usage().pinned == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pins_end_with_the_socket_which_ends_with_the_last_view() {
    let owner = Owner::new(64 * MIB);
    let (reader, attached) = owner.attach().await;
    let stored = owner.put(b"shark");
    let viewed = owner.store.pin(&stored, reader).unwrap();
    owner.store.pin(&owner.put(b"whale"), reader).unwrap();
    let view = attached.view(viewed).await.unwrap();
    drop((stored, attached));
    assert_eq!((&*view, owner.store.usage().pinned), (&b"shark"[..], 128));
    drop(view);
    until("both pins to end, the unused one too", || owner.store.usage().pinned == 0).await;
    until("the reader to be gone", || owner.store.pin(&owner.put(b"ray"), reader) == Err(PinError::ReaderGone)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_outlives_the_readers_runtime_and_keeps_its_pin() {
    let owner = Owner::new(64 * MIB);
    let (reader, ticket) = owner.store.issue_ticket().unwrap();
    let location = owner.store.pin(&owner.put(b"shark"), reader).unwrap();
    let path = owner.path.clone();
    let view = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { Attached::connect(&path, &ticket).await?.view(location).await })
    });
    let view = view.join().unwrap().unwrap();
    // The owner would see the end of the socket before this reader's, if the view did not hold on to it.
    let (later, attached) = owner.attach().await;
    let other = owner.store.pin(&owner.put(b"whale"), later).unwrap();
    drop(attached.view(other).await.unwrap());
    until("the later reader's pin to end", || owner.store.usage().pinned == 64).await;
    assert_eq!(&*view, b"shark");
    drop(view);
    until("the pin to end", || owner.store.usage().pinned == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_are_given_back_when_their_room_is_needed() {
    let owner = Owner::new(16 * MIB);
    let (reader, attached) = owner.attach().await;
    let location = owner.store.pin(&owner.put(&pattern(1, 4 * MIB)), reader).unwrap();
    drop(attached.view(location).await.unwrap());
    until("the pin to end", || owner.store.usage().pinned == 0).await;
    assert_eq!((attached.segments(), owner.store.usage().warm), (1, 4 * MIB));
    let all = owner.store.create(16 * MIB, LONG).await.unwrap();
    assert_eq!((attached.segments(), owner.store.usage().retiring), (0, 0));
    drop(all);
    // The same reader is given another segment.
    let location = owner.store.pin(&owner.put(&pattern(2, 4 * MIB)), reader).unwrap();
    assert_eq!(*attached.view(location).await.unwrap(), *pattern(2, 4 * MIB));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_ends_leaves_views_readable() {
    let owner = Owner::new(64 * MIB);
    let (reader, attached) = owner.attach().await;
    let location = owner.store.pin(&owner.put(b"shark"), reader).unwrap();
    let view = attached.view(location).await.unwrap();
    let path = owner.path.clone();
    drop(owner);
    assert!(!path.exists());
    assert!(matches!(attached.view(Location { segment: 99, ..location }).await, Err(TransferError::Closed)));
    assert_eq!(&*view, b"shark");
}

/// This process's mappings: address, access, offset, device and inode of each, and more.
fn mappings() -> Vec<Vec<String>> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// The memory file that lies at this address.
fn file_of(bytes: &[u8]) -> Vec<String> {
    let holds = |range: &str| {
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|end| usize::from_str_radix(end, 16).unwrap());
        (from..to).contains(&bytes.as_ptr().addr())
    };
    mappings().into_iter().find(|line| holds(&line[0])).expect("it is mapped")[3..5].to_vec()
}

/// Whether its owner, who is in this process, has this file.
fn is_owned(file: &[String]) -> bool {
    mappings().iter().any(|line| line[1].starts_with("rw") && line[3..5] == *file)
}

#[test]
fn a_store_whose_runtime_ends_under_its_readers_reuses_nothing_and_goes_with_its_last_handle() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (owners, readers) = (runtime(), runtime());
    let (owner, location, ticket) = owners.block_on(async {
        let owner = Owner::new(16 * MIB);
        let (reader, ticket) = owner.store.issue_ticket().unwrap();
        let location = owner.store.pin(&owner.put(&pattern(1, 5 * MIB)), reader).unwrap();
        (owner, location, ticket)
    });
    let (attached, view) = readers.block_on(async {
        let attached = Attached::connect(&owner.path, &ticket).await.unwrap();
        let view = attached.view(location).await.unwrap();
        (attached, view)
    });
    let file = file_of(&view);
    drop(owners);
    assert_eq!(owner.store.usage().pinned, 5 * MIB, "the reader goes on");
    let later = owner.put(&pattern(2, 5 * MIB));
    assert_ne!(later.location().segment, location.segment);
    let store = owner.store.clone();
    drop((owner, later));
    assert!(is_owned(&file), "somebody has the store");
    drop(store);
    assert!(!is_owned(&file));
    assert_eq!(*view, *pattern(1, 5 * MIB));
    drop((view, attached));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_handles_goes_on_while_something_is_pinned() {
    let owner = Owner::new(64 * MIB);
    let (reader, attached) = owner.attach().await;
    let first = owner.store.pin(&owner.put(&pattern(1, 5 * MIB)), reader).unwrap();
    let second = owner.store.pin(&owner.put(&pattern(2, 5 * MIB)), reader).unwrap();
    drop(owner);
    let view = attached.view(first).await.unwrap();
    let other = attached.view(second).await.expect("it is given what was pinned for it");
    drop(view);
    let file = file_of(&other);
    assert!(is_owned(&file) && *other == *pattern(2, 5 * MIB));
    drop(other);
    until("the store to end with its last pin", || !is_owned(&file)).await;
}

#[tokio::test]
async fn a_socket_that_others_could_reach_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let refused = super::support::store(MIB).serve(&folder.path().join("store")).unwrap_err();
    assert!(matches!(refused, ServeError::OpenFolder { .. }), "{refused}");
}
