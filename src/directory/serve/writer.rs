//! The thread that writes a head's records: what came while it wrote is the next batch, so that one sync serves all who
//! wait.
//!
//! What the journal does not take is tried again, until the head is over: nothing is acknowledged meanwhile, but for beats.

use super::{Head, Over};
use crate::clock;
use crate::directory::held::{Batch, Kind};
use crate::directory::journal::{Journal, JournalError};
use crate::limits::JOURNAL_PAUSE;
use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use tokio::sync::watch;

pub(super) struct Writer {
    pub(super) head: Weak<Head>,
    pub(super) journal: Box<dyn Journal>,
    /// Rung when there is something to write; cut when the head is over.
    pub(super) bell: Receiver<()>,
    /// Dropped last of all: the journal is closed.
    pub(super) _closed: watch::Sender<()>,
}

/// Without it nothing would ever be acknowledged.
impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(head) = self.head.upgrade() {
            head.ends(Over::Journal(JournalError::Thread("it has ended".into())));
        }
    }
}

impl Writer {
    pub(super) fn run(mut self) {
        while self.bell.recv().is_ok() {
            while let Some(batch) = self.take(Kind::Records) {
                if let Err(error) = self.write(&batch)
                    && !self.recovers(error)
                {
                    return;
                }
            }
        }
    }

    fn take(&self, kind: Kind) -> Option<Batch> {
        self.head.upgrade().and_then(|head| head.take_batch(kind))
    }

    /// Writes, and lets those go on who waited for it.
    fn write(&mut self, batch: &Batch) -> Result<(), JournalError> {
        match batch.kind {
            Kind::Records => self.journal.append(&batch.records)?,
            Kind::State => self.journal.replace(&batch.records)?,
        }
        if let Some(head) = self.head.upgrade() {
            head.written(batch.up_to, self.journal.size());
        }
        Ok(())
    }

    /// Waits until the journal is tried again, however much there is to write, and says whether the head still is.
    fn pauses(&self) -> bool {
        let until = clock::now() + JOURNAL_PAUSE;
        loop {
            match self.bell.recv_timeout(until.since(clock::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Tries until the whole state is written, and says whether there is more to write.
    fn recovers(&mut self, mut error: JournalError) -> bool {
        loop {
            let Some(head) = self.head.upgrade() else { return false };
            if !error.may_pass() {
                head.ends(Over::Journal(error));
                return false;
            }
            tracing::error!(%error, "nothing is acknowledged: the head's journal takes no records");
            head.stands();
            drop(head);
            if !self.pauses() {
                return false;
            }
            let again = self.journal.recover().and_then(|()| match self.take(Kind::State) {
                Some(batch) => self.write(&batch),
                None => Ok(()),
            });
            match again {
                Ok(()) => {
                    tracing::info!("the head's journal takes records again");
                    return true;
                }
                Err(again) => error = again,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::journal::Opener;
    use crate::directory::journal::memory::MemoryDisk;
    use crate::id::{Epoch, NodeId};
    use std::sync::mpsc;

    #[test]
    fn a_journal_that_takes_nothing_is_left_alone_for_a_while_whatever_comes_meanwhile() {
        let (ring, bell) = mpsc::sync_channel(3);
        let (closed, _) = watch::channel(());
        let opened =
            MemoryDisk::default().open(Opener { cluster: NodeId([1; 32]), at_least: Epoch(1), instance: 1 }).unwrap();
        let writer = Writer { head: Weak::new(), journal: opened.journal, bell, _closed: closed };
        (0..3).for_each(|_| ring.send(()).unwrap());
        let began = clock::now();
        assert!(writer.pauses(), "the head goes on");
        assert!(clock::now().since(began) >= JOURNAL_PAUSE);
        ring.send(()).unwrap();
        drop(ring);
        assert!(!writer.pauses(), "the head is over");
    }
}
