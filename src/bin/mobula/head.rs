//! `mobula head`: the directory service of a cluster, alone in its process.

use crate::Signals;
use crate::key::identity_beside;
use anyhow::{Context, bail};
use clap::Args;
use mobula::limits;
use mobula::{Cluster, Departed, Identity};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;

/// Runs a head until SIGTERM or an interrupt.
///
/// Prints a line once nodes can join: `mobula head: ready at ADDRESS`. When it starts anew, nodes find it again by
/// themselves. With a journal it goes on where it was: it acknowledges nothing that is not on disk. Without, its state is
/// kept in memory: nodes join anew, and the actors of before have ended.
#[derive(Args)]
pub(crate) struct Head {
    /// Where it listens: tcp://HOST:PORT (0.0.0.0 for every interface, port 0 for any), or ipc:///FOLDER for nodes of
    /// this machine and user. May be given several times.
    #[arg(long, value_name = "ADDRESS", default_value = "tcp://0.0.0.0:7400")]
    listen: Vec<String>,
    /// Where nodes find it, if that is not where it listens: behind a NAT, in a container.
    #[arg(long, value_name = "ADDRESS")]
    advertise: Vec<String>,
    /// The cluster key: a file that `mobula key new` wrote.
    #[arg(long, value_name = "FILE", env = "MOBULA_KEY")]
    key: PathBuf,
    /// The head's identity, if it is not in the cluster key's file with `.head` added.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// A folder where it keeps what it decides; made if need be, for this user alone. One cluster's, and one head's at a
    /// time.
    #[arg(long, value_name = "FOLDER", env = "MOBULA_JOURNAL")]
    journal: Option<PathBuf>,
    /// How long a node that falls silent is given before its actors count as lost: longer leases outlast longer
    /// outages, shorter ones notice a dead machine sooner.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::duration)]
    lease: Duration,
    /// Where it serves metrics (GET /metrics) and whether it is well (GET /healthz) over HTTP, such as 127.0.0.1:7480. Plain, and
    /// for whoever can reach it: not at all unless this is given.
    #[arg(long, value_name = "HOST:PORT", env = "MOBULA_HTTP")]
    http: Option<String>,
}

impl Head {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        // Before anything is started: a signal that comes early is not lost.
        let mut signals = Signals::new()?;
        let least = limits::BEAT * 3;
        if self.lease < least {
            bail!(
                "a lease of {:?} is too short: nodes beat every {:?}, give at least {least:?}",
                self.lease,
                limits::BEAT
            );
        }
        let identity = self.identity.unwrap_or_else(|| identity_beside(&self.key));
        let identity = Identity::load(&identity).context("the head's identity cannot be read")?;
        let silence = limits::SUSPECT_AFTER.min(self.lease / 2);
        let mut builder = Cluster::builder().head().key(self.key).identity(identity);
        builder = builder.lease(self.lease).suspect_after(silence);
        builder = self.journal.into_iter().fold(builder, |builder, folder| builder.journal(folder));
        builder = self.listen.into_iter().fold(builder, |builder, address| builder.listen(address));
        builder = self.advertise.into_iter().fold(builder, |builder, address| builder.advertise(address));
        let http = match &self.http {
            Some(at) => Some(TcpListener::bind(at).await.with_context(|| format!("HTTP cannot be served at {at}"))?),
            None => None,
        };
        let cluster = builder.await?;
        if let Some(listener) = http {
            println!("mobula head: metrics at http://{}/metrics", listener.local_addr()?);
            tokio::spawn(mobula::ops::http::serve(cluster.clone(), listener));
        }
        println!("mobula head: ready at {}", cluster.advertised().join(" and "));
        let departed = tokio::select! {
            () = signals.told() => None,
            why = cluster.departed() => Some(why),
        };
        cluster.shutdown().await;
        match departed {
            None | Some(Departed::ShutDown) => Ok(()),
            Some(why) => Err(why.into()),
        }
    }
}
