//! Neighbours: processes of this machine that a node watches, to prove to the head that the nodes in them are dead
//! (PROTOCOLS §2.4).
//!
//! ```text
//! 30 ──▶ 41, 42    41 ──▶ 42, 30    42 ──▶ 30, 41      each process watches the next two, by number and around
//! ```
//!
//! So each is watched for as long as two live, by few descriptors; when one has ended, the ring closes.

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use tokio::net::unix::pipe::Receiver;
use tokio::task::{AbortHandle, JoinSet};

use super::runtime::Node;
use crate::directory::KnownLives;
use crate::directory::request::Died;
use crate::id::{Life, NodeId};
use crate::limits::NEIGHBOURS;

impl Node {
    /// Watches the processes that are next to this one, as long as it is polled.
    pub(crate) async fn watch_neighbours(self: Arc<Self>) {
        let mut watches = JoinSet::new();
        let mut watched = BTreeMap::<(Life, u32), AbortHandle>::new();
        loop {
            // Made before the look: a change in between is not missed.
            let changed = self.members_changed();
            let next: BTreeSet<_> = match self.is_member() {
                Some(here) => {
                    self.known(|known| neighbours(known, here)).into_iter().map(|next| (here, next)).collect()
                }
                None => BTreeSet::new(),
            };
            watched.retain(|at, watch| {
                let stays = next.contains(at);
                if !stays {
                    watch.abort();
                }
                stays
            });
            for (here, process) in next {
                let watch = || watches.spawn(self.clone().watch_process(here, process));
                watched.entry((here, process)).or_insert_with(watch);
            }
            while watches.try_join_next().is_some() {}
            changed.await;
        }
    }

    /// Reports the nodes of a process once it has ended, and those that the head lets join belatedly.
    ///
    /// The process is looked up anew after each look at the members: whoever had its number by then, this one or an earlier one, has
    /// ended when this one has. A node that joins later may be of a process that was given the number after it.
    async fn watch_process(self: Arc<Self>, here: Life, process: u32) {
        let mut reported = BTreeSet::new();
        loop {
            let mut changed = pin!(self.members_changed());
            let nodes = self.known(|known| nodes_of(known, here, process));
            tokio::select! {
                biased;
                () = ended(process) => {}
                () = &mut changed => continue,
            }
            for (life, node) in nodes {
                if reported.insert(life) {
                    tracing::debug!(%node, process, "a process of this machine has died");
                    self.client().report(Died { node, life: Some(life) });
                }
            }
            changed.await;
        }
    }
}

/// The nodes of a process on the machine of the node with this life.
fn nodes_of(known: &KnownLives, here: Life, process: u32) -> Vec<(Life, NodeId)> {
    let Some(own) = known.get(here) else { return Vec::new() };
    let of_process = known.iter().filter(|member| member.boot == own.boot && member.process == process);
    of_process.map(|member| (member.life, member.node)).collect()
}

/// The processes that the one with this life watches.
fn neighbours(known: &KnownLives, here: Life) -> BTreeSet<u32> {
    let Some(own) = known.get(here) else { return BTreeSet::new() };
    let of_boot = known.iter().filter(|member| member.boot == own.boot);
    let ring: BTreeSet<u32> = of_boot.map(|member| member.process).collect();
    let after = ring.range(own.process + 1..).chain(ring.range(..own.process));
    after.take(NEIGHBOURS).copied().collect()
}

/// Waits until a process of this machine has ended. Goes on for ever where that cannot be seen.
async fn ended(process: u32) {
    let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) else { return pending().await };
    let watched = match pidfd_open(pid, PidfdFlags::NONBLOCK) {
        Err(Errno::SRCH) => return,
        // Of a pipe's end nothing is used but that it tells when its descriptor can be read: this one, when the process ends.
        watched => watched.map_err(io::Error::from).and_then(Receiver::from_owned_fd_unchecked),
    };
    match watched {
        Ok(watched) if watched.readable().await.is_ok() => {}
        // It is this runtime that ends, which is proof of nothing.
        Ok(_) => pending().await,
        Err(error) => {
            tracing::warn!(process, %error, "a process cannot be watched: only its lease will show its death");
            pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::message::Members;
    use crate::directory::request::{Boot, Member, Snapshot};

    fn known(processes: &[(u8, u32)]) -> KnownLives {
        let member = |(number, (boot, process)): (u64, &(u8, u32))| {
            Arc::new(Member {
                life: Life(number),
                node: NodeId([number as u8; 32]),
                boot: Boot([*boot; 16]),
                process: *process,
                host_name: "host".into(),
                hosts: true,
                addresses: Vec::new(),
                suspect: false,
            })
        };
        let members: Vec<_> = (1..).zip(processes).map(member).collect();
        let last = Life(members.len() as u64);
        let mut known = KnownLives::default();
        let told = known.learn(Members::All(Snapshot { version: 1, members, last }));
        told.expect("a snapshot has no gap");
        known
    }

    #[test]
    fn each_process_is_watched_by_others_of_its_machine_and_none_watches_itself() {
        let known = known(&[(0, 40), (0, 40), (0, 30), (1, 35), (0, 50), (0, 60)]);
        let of = |life| neighbours(&known, Life(life)).into_iter().collect::<Vec<_>>();
        assert_eq!((of(1), of(2), of(3)), (vec![50, 60], vec![50, 60], vec![40, 50]));
        assert_eq!((of(5), of(6)), (vec![30, 60], vec![30, 40]));
        assert!(of(4).is_empty(), "alone on its machine");
        assert!(of(7).is_empty(), "no member");
    }

    #[tokio::test]
    async fn the_end_of_a_process_is_seen_also_when_it_is_over() {
        let mut child = tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
        let process = child.id().unwrap();
        let mut seen = Box::pin(ended(process));
        assert!(futures_util::poll!(&mut seen).is_pending());
        child.kill().await.unwrap();
        seen.await;
        ended(process).await;
    }
}
