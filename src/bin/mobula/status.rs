//! `mobula status`: a look at a cluster, as a table or as JSON.

use clap::Args;
use comfy_table::{Table, presets};
use mobula::{ActorState, ActorStatus, Cluster, ClusterStatus, JournalStatus, NodeStatus};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Shows a cluster's nodes and named actors.
///
/// It joins the cluster as a driver for a moment, and does not show itself. Actors without a name are known to their
/// spawners alone: nodes tell how many they run.
#[derive(Args)]
pub(crate) struct Status {
    /// The head's address, such as tcp://head:7400.
    #[arg(long, value_name = "ADDRESS", env = "MOBULA_ADDRESS")]
    address: String,
    /// The cluster key: a file that `mobula key new` wrote.
    #[arg(long, value_name = "FILE", env = "MOBULA_KEY")]
    key: PathBuf,
    /// Prints JSON: {"head": .., "nodes": [..], "actors": [..], "waiting": n}.
    #[arg(long)]
    json: bool,
    /// How long to wait for a head that does not answer.
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = crate::duration)]
    wait: Duration,
}

impl Status {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let cluster = Cluster::connect(self.address).key(self.key).head_wait(self.wait).await?;
        let status = cluster.status().await;
        let own = cluster.node_id();
        cluster.shutdown().await;
        let mut status = status?;
        status.nodes.retain(|node| node.id != own);
        match self.json {
            true => println!("{:#}", as_json(&status)),
            false => print!("{}", as_tables(&status)),
        }
        Ok(())
    }
}

fn as_json(status: &ClusterStatus) -> Value {
    let node = |node: &NodeStatus| {
        let resources = node.resources.iter();
        let resources = resources.map(|each| (each.name.clone(), json!({ "total": each.total, "free": each.free })));
        json!({
            "id": node.id.to_string(),
            "life": node.life.0,
            "host": node.host_name,
            "process": node.process,
            "role": role(node, status),
            "suspect": node.suspect,
            "addresses": node.addresses,
            "actors": node.actors,
            "resources": resources.collect::<serde_json::Map<_, _>>(),
        })
    };
    let actor = |actor: &ActorStatus| {
        json!({
            "id": actor.id.to_string(),
            "type": actor.type_name,
            "name": actor.name,
            "namespace": actor.namespace,
            "state": state(actor.state),
            "node": actor.node.map(|node| node.to_string()),
            "detached": actor.detached,
        })
    };
    let journal = status.journal.map(|journal| json!({ "bytes": journal.bytes, "takes": journal.takes }));
    json!({
        "head": { "epoch": status.epoch.0, "id": status.head.to_string(), "journal": journal },
        "nodes": status.nodes.iter().map(node).collect::<Vec<_>>(),
        "actors": status.actors.iter().map(actor).collect::<Vec<_>>(),
        "waiting": status.waiting,
    })
}

fn as_tables(status: &ClusterStatus) -> String {
    let mut nodes = table(&["NODE", "ROLE", "HOST", "PROCESS", "ACTORS", "FREE", "ADDRESS"]);
    for node in &status.nodes {
        let free = node.resources.iter().map(|each| format!("{} {} of {}", each.name, each.free, each.total));
        let silent = if node.suspect { " (silent)" } else { "" };
        nodes.add_row([
            node.id.to_string(),
            format!("{}{silent}", role(node, status)),
            node.host_name.clone(),
            node.process.to_string(),
            node.actors.to_string(),
            free.collect::<Vec<_>>().join(", "),
            node.addresses.join(" "),
        ]);
    }
    let mut text = format!("{}\n", nodes.trim_fmt());
    if !status.actors.is_empty() {
        let mut actors = table(&["ACTOR", "NAME", "NAMESPACE", "TYPE", "STATE", "NODE"]);
        for actor in &status.actors {
            let detached = if actor.detached { " (detached)" } else { "" };
            actors.add_row([
                actor.id.to_string(),
                actor.name.clone().unwrap_or_default(),
                actor.namespace.clone().unwrap_or_default(),
                actor.type_name.clone(),
                format!("{}{detached}", state(actor.state)),
                actor.node.map(|node| node.to_string()).unwrap_or_default(),
            ]);
        }
        text.push_str(&format!("\n{}\n", actors.trim_fmt()));
    }
    if status.waiting > 0 {
        text.push_str(&format!("\n{} actors wait until a node has room for them.\n", status.waiting));
    }
    text.push_str(&match status.journal {
        Some(JournalStatus { bytes, takes: true, .. }) => format!("\nThe head's journal takes {bytes} bytes.\n"),
        Some(_) => "\nThe head's journal takes nothing: see its log. Nothing is acknowledged meanwhile.\n".to_owned(),
        None => "\nThe head has no journal: its state ends with it.\n".to_owned(),
    });
    text
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(head);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn role(node: &NodeStatus, status: &ClusterStatus) -> &'static str {
    match node.hosts_actors {
        _ if node.id == status.head => "head",
        true => "worker",
        false => "driver",
    }
}

fn state(state: ActorState) -> &'static str {
    match state {
        ActorState::Waiting => "waiting for room",
        ActorState::Making => "being made",
        ActorState::Running => "running",
        ActorState::Ending => "ending",
    }
}
