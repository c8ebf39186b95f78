//! What every journal promises (J1 to J6), asked of each kind through its trait alone.

use super::memory::{Fault, MemoryDisk};
use super::{JournalError, Opened, Opener, disk};
use crate::directory::message::How;
use crate::directory::record::Record;
use crate::directory::request::{Claim, CreateGroup, Gone, Join, LifeEnd, Patience, Spawn};
use crate::directory::testing::{cpus, join, name, node, spawn};
use crate::id::{ActorId, Epoch, GroupId, Life, NodeId, ObjectId, Placement};
use crate::schedule::Packing;
use std::sync::Arc;

/// A record that is unlike all others of its number.
pub(super) fn gone(serial: u64) -> Record {
    Record::Gone { actor: ActorId { life: Life(1), serial }, why: Gone::Stopped }
}

/// One of each kind; of those that have changed since the first version, one of each version.
pub(super) fn every_kind() -> Vec<Record> {
    let (life, serial) = (Life(3), 4);
    let (actor, group, object) = (ActorId { life, serial }, GroupId { life, serial }, ObjectId { life, serial });
    let placement = Placement(2);
    let create = CreateGroup {
        group,
        bundles: vec![cpus(1.0), cpus(2.5)],
        packing: Packing::StrictSpread,
        name: Some(name("group")),
        detached: true,
        patience: Patience::Fail,
    };
    vec![
        Record::Began { life, join: Arc::new(join(1, 2)) },
        Record::NodeEnded { life, why: LifeEnd::Proved { by: Life(2) } },
        Record::Spawned { spawn: Arc::new(spawn(life, serial)) },
        Record::Placed { actor, placement, host: life, restarts: 7, bundle: Some(1) },
        Record::Hosted { actor },
        Record::Ending { actor, how: How::Kill, why: Gone::OwnerEnded { life } },
        Record::Grouped { create: Arc::new(create) },
        Record::GroupPlaced { group, hosts: vec![life, Life(4)] },
        Record::GroupGone { group },
        Record::Gone { actor, why: Gone::Panicked("oh".into()) },
        Record::Entrusted { object, to: ObjectId { life, serial: 5 } },
        Record::Withdrawn { object },
        Record::Given { life },
        Record::Unplaced { actor, placement, restarts: 1 },
        Record::GroupHeld { group, hosts: vec![None, Some(life)] },
        Record::GroupBuried { group },
        Record::Closing { group, index: 1, host: life, total: cpus(0.5) },
        Record::Checkpointed { actor, placement, number: 3, state: bytes::Bytes::from_static(b"state") },
        Record::Claimed { actor, life },
        Record::Began {
            life,
            join: Arc::new(Join { claims: Some(Claim { actor, placement, host: life }), ..join(2, 3) }),
        },
        Record::Spawned { spawn: Arc::new(Spawn { isolated: true, ..spawn(life, serial) }) },
    ]
}

fn these(range: std::ops::Range<u64>) -> Vec<Record> {
    range.map(gone).collect()
}

/// One kind of journal: how it is opened, and how its next write is made to fail.
pub(super) struct Subject {
    pub(super) open: Box<dyn Fn(Opener) -> Result<Opened, JournalError>>,
    pub(super) fail: Box<dyn Fn()>,
}

impl Subject {
    fn opener(cluster: u8) -> Opener {
        Opener { cluster: node(cluster), at_least: Epoch(1 << 30), instance: 9 }
    }

    fn opened(&self) -> Opened {
        (self.open)(Subject::opener(1)).unwrap()
    }

    /// All of the promises.
    pub(super) fn conforms(&self) {
        self.is_kept_and_epochs_rise();
        self.is_replaced();
        self.is_one_heads_at_a_time();
        self.stops_at_an_error();
        self.stays_short();
    }

    fn is_kept_and_epochs_rise(&self) {
        let Opened { mut journal, reign: first, records } = self.opened();
        assert_eq!(records, [], "a new one is empty");
        assert!(first.epoch >= Epoch(1 << 30) && first.instance == 9, "{first}");
        journal.append(&every_kind()).unwrap();
        journal.append(&[]).unwrap();
        journal.append(&these(0..3)).unwrap();
        drop(journal);
        let Opened { reign: second, records, .. } = self.opened();
        assert_eq!(records, [every_kind(), these(0..3)].concat(), "J1");
        let third = self.opened().reign;
        assert!(first.epoch < second.epoch && second.epoch < third.epoch, "J4: {first} {second} {third}");
    }

    fn is_replaced(&self) {
        let mut journal = self.opened().journal;
        journal.replace(&these(10..12)).unwrap();
        journal.append(&these(12..13)).unwrap();
        drop(journal);
        assert_eq!(self.opened().records, these(10..13), "J2");
        let mut journal = self.opened().journal;
        journal.replace(&[]).unwrap();
        drop(journal);
        assert_eq!(self.opened().records, [], "J2");
    }

    fn is_one_heads_at_a_time(&self) {
        let held = self.opened();
        let second = (self.open)(Subject::opener(1)).unwrap_err();
        assert!(matches!(second, JournalError::Locked(_)), "J3: {second}");
        drop(held);
        let Opened { journal, .. } = self.opened();
        drop(journal);
        let stranger = (self.open)(Subject::opener(2)).unwrap_err();
        let whose = |found: NodeId, this: NodeId| (found, this) == (node(1), node(2));
        assert!(matches!(stranger, JournalError::Cluster { found, this, .. } if whose(found, this)), "{stranger}");
    }

    fn stops_at_an_error(&self) {
        let mut journal = self.opened().journal;
        journal.replace(&these(0..3)).unwrap();
        (self.fail)();
        journal.append(&these(3..6)).unwrap_err();
        journal.append(&these(6..7)).expect_err("J5: nothing is written before it recovers");
        journal.replace(&[]).expect_err("J5");
        drop(journal);
        let records = self.opened().records;
        assert!(records.len() >= 3 && these(0..6).starts_with(&records), "J1: {records:?}");

        let mut journal = self.opened().journal;
        (self.fail)();
        journal.append(&these(3..6)).unwrap_err();
        journal.recover().unwrap();
        journal.replace(&these(20..24)).unwrap();
        journal.append(&these(24..25)).unwrap();
        (self.fail)();
        journal.replace(&these(30..31)).unwrap_err();
        drop(journal);
        let records = self.opened().records;
        assert!(records == these(20..25) || records == these(30..31), "J2: {records:?}");
    }

    fn stays_short(&self) {
        let mut journal = self.opened().journal;
        journal.replace(&[]).unwrap();
        let empty = journal.size();
        journal.append(&these(0..5_000)).unwrap();
        let grown = journal.size();
        assert!(grown.log > empty.log && grown.whole >= empty.whole, "{empty:?} {grown:?}");
        journal.replace(&these(0..10)).unwrap();
        let short = journal.size();
        assert!(short.log == 0 && 0 < short.state && short.state < grown.log / 100, "{grown:?} {short:?}");
        drop(journal);
        assert_eq!(self.opened().journal.size().log, short.state, "all that is there counts as log");
    }
}

#[test]
fn a_journal_in_memory_conforms() {
    for fault in [Fault::Torn(0), Fault::Torn(2), Fault::Torn(9), Fault::Unsynced, Fault::Full] {
        let disk = MemoryDisk::default();
        let (opens, fails) = (disk.clone(), disk);
        let fail = Box::new(move || fails.fail(fault));
        Subject { open: Box::new(move |opener| opens.open(opener)), fail }.conforms();
    }
}

#[test]
fn a_journal_on_disk_conforms() {
    for fault in disk::tests::FAULTS {
        let folder = tempfile::tempdir().unwrap();
        disk::tests::subject(folder.path(), fault).conforms();
    }
}
