//! What lay at a node that ended is made again by who owns it, each result once; else the error says why not. Real processes.
#![allow(missing_docs)]

mod arguments;
mod calls;
#[path = "../common/mod.rs"]
mod common;
mod tasks;

use bytes::Bytes;
use common::{bounded, ends_without_a_trace, until, workers};
use mobula::id::NodeId;
use mobula::prelude::*;
use mobula::{GetError, Lost};
use std::io::Write;

mobula::test_worker!();

/// Too much for an answer: it stays where it was made.
const LARGE: usize = 100_000;

/// Who ran, one line a run.
struct Log(tempfile::TempDir);

impl Log {
    fn new() -> Self {
        Log(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> String {
        self.0.path().join("runs").to_str().unwrap().to_owned()
    }

    fn runs(&self, name: &str) -> usize {
        let runs = std::fs::read_to_string(self.path()).unwrap_or_default();
        runs.lines().filter(|run| *run == name).count()
    }
}

fn ran(log: &str, name: &str) {
    let mut runs = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    runs.write_all(format!("{name}\n").as_bytes()).unwrap();
}

/// Two workers.
struct Pair {
    cluster: Cluster,
    lives: NodeId,
    dies: NodeId,
    victim: u32,
    log: Log,
}

impl Pair {
    async fn of(builder: mobula::ClusterBuilder) -> Pair {
        let cluster = bounded(builder.workers(2).cpus(8.0)).await.unwrap();
        let [(lives, _), (dies, victim)] = workers(&cluster)[..] else { panic!("two workers") };
        Pair { cluster, lives, dies, victim, log: Log::new() }
    }

    async fn new() -> Pair {
        Pair::of(Cluster::local()).await
    }

    /// Submitted to where it will be lost, and waited for: not its value.
    async fn there<T: mobula::Object + mobula::Param<Owned = T>>(&self, call: mobula::TaskCall<T>) -> ObjectRef<T> {
        let object = call.prefer(self.dies).submit();
        self.settled(&object).await;
        object
    }

    async fn settled<T>(&self, object: &ObjectRef<T>) {
        bounded(self.cluster.wait([object], 1).without_fetching()).await;
    }

    async fn is(&self, object: &ObjectRef<Bytes>, byte: u8) {
        let got = bounded(self.cluster.get(object)).await.unwrap();
        assert!(got.len() == LARGE && got.iter().all(|got| *got == byte), "{} instead of {byte}", got[0]);
    }

    async fn is_lost(&self, object: &ObjectRef<Bytes>) -> Lost {
        match bounded(self.cluster.get(object)).await {
            Err(GetError::Lost { object: named, owner, why }) => {
                assert!(named == object.id() && owner == named.life, "{named} of {owner}, and not {}", object.id());
                why
            }
            Err(other) => panic!("it is lost, and not so: {other}"),
            Ok(got) => panic!("{} is lost: {:?}", object.id(), &got[..3]),
        }
    }

    /// Nothing is referred to any more.
    async fn ends_empty(self) {
        until("nothing is shared", || {
            let shared = self.cluster.shared_objects();
            (shared.lent, shared.borrowed, shared.in_transit) == (0, 0, 0)
        })
        .await;
        ends_without_a_trace(self.cluster).await;
    }
}
