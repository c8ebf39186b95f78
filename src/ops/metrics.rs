//! The cluster as its head sees it, and this node, in the text format of OpenMetrics 1.0, which Prometheus reads.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use crate::cluster::client::Cluster;
use crate::cluster::demand::{Demand, DemandKind, Wanted};
use crate::cluster::status::{ClusterStatus, NodeStatus};
use crate::directory::AskError;
use crate::directory::request::ActorState;
use crate::store::Usage;

/// Labels, in their order.
type Labels = Vec<(&'static str, String)>;

impl Cluster {
    /// Metrics as OpenMetrics text: of the cluster, as its head sees it, and of this node. Each call is a look of its own.
    ///
    /// | metric | labels | is |
    /// |---|---|---|
    /// | `mobula_nodes` | `role`, `suspect` | living nodes |
    /// | `mobula_node_actors` | `node`, `host` | actors that run there, by its last word |
    /// | `mobula_resource_offered`, `mobula_resource_free` | `node`, `host`, `resource` | what a node has |
    /// | `mobula_actors` | `state` | named and detached actors |
    /// | `mobula_demand_wanted`, `mobula_demand_granted` | `kind`, `name` | [demand](Cluster::demand) of all nodes: slots, actors, groups |
    /// | `mobula_demand_missing` | `resource` | what those take that wait for room on some node, whatever its labels: what a scaler adds |
    /// | `mobula_head_epoch`, `mobula_journal_bytes`, `mobula_journal_takes` | | the head, and whether its journal takes what it writes |
    /// | `mobula_store_bytes` | `of` | this node's [memory for objects](crate::StoreUsage) |
    /// | `mobula_events_total` | `event` | this node's [counters](Cluster::counters) |
    ///
    /// # Errors
    /// The head could not be asked, as for [`status`](Cluster::status).
    ///
    /// ```
    /// # use mobula::prelude::*;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let cluster = Cluster::local().cpus(2.0).await?;
    /// assert!(cluster.metrics().await?.contains("resource=\"cpu\"} 2.0"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn metrics(&self) -> Result<String, AskError> {
        let (status, wanted) = (self.status().await?, self.node().wanted().await?);
        let mut all = Metrics::default();
        all.cluster(&status);
        all.missing(&status, &wanted);
        all.demand(&wanted.into_demand());
        all.store(&self.store_usage());
        all.events(&self.counters());
        Ok(all.text())
    }
}

#[derive(Default)]
struct Metrics(Registry);

impl Metrics {
    fn gauges(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, f64)>) {
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, [(Labels::new(), value)]);
    }

    fn cluster(&mut self, status: &ClusterStatus) {
        let nodes = status
            .nodes
            .iter()
            .map(|node| (vec![("role", role(node, status).to_owned()), ("suspect", node.suspect.to_string())], 1.0));
        self.gauges("mobula_nodes", "Living nodes", nodes);
        let of = |node: &NodeStatus| vec![("node", node.id.to_string()), ("host", node.host_name.clone())];
        let actors = status.nodes.iter().map(|node| (of(node), node.actors as f64));
        self.gauges("mobula_node_actors", "Actors that run on a node", actors);
        let resources = || {
            status.nodes.iter().flat_map(move |node| {
                node.resources.iter().map(move |each| {
                    let mut labels = of(node);
                    labels.push(("resource", each.name.clone()));
                    (labels, each)
                })
            })
        };
        let offered = resources().map(|(labels, each)| (labels, each.total));
        self.gauges("mobula_resource_offered", "What a node has of a resource", offered);
        let free = resources().map(|(labels, each)| (labels, each.free));
        self.gauges("mobula_resource_free", "What nothing has taken of it", free);
        let actors = status.actors.iter().map(|actor| (vec![("state", state(actor.state).to_owned())], 1.0));
        self.gauges("mobula_actors", "Named and detached actors", actors);
        self.gauge("mobula_head_epoch", "Rises whenever the head starts anew", status.epoch.0 as f64);
        if let Some(journal) = status.journal {
            self.gauge("mobula_journal_bytes", "What the head's journal takes on disk", journal.bytes as f64);
            let takes = f64::from(u8::from(journal.takes));
            self.gauge("mobula_journal_takes", "Whether the head's journal takes what it writes", takes);
        }
    }

    fn demand(&mut self, demand: &[Demand]) {
        let of = |each: &Demand| vec![("kind", kind(each.kind).to_owned()), ("name", each.task.clone())];
        let wanted = demand.iter().map(|each| (of(each), f64::from(each.wanted)));
        self.gauges("mobula_demand_wanted", "Slots, actors and groups that are wanted", wanted);
        let granted = demand.iter().map(|each| (of(each), f64::from(each.granted)));
        self.gauges("mobula_demand_granted", "Those that have room", granted);
    }

    fn missing(&mut self, status: &ClusterStatus, wanted: &Wanted) {
        let offered = status.nodes.iter().flat_map(|node| &node.resources);
        let mut missing: BTreeMap<&str, f64> = offered.map(|each| (&*each.name, 0.0)).collect();
        for (resources, count) in wanted.missing() {
            for (name, amount) in resources.iter() {
                *missing.entry(name).or_default() += amount.quantity() * f64::from(count);
            }
        }
        let missing = missing.into_iter().map(|(name, amount)| (vec![("resource", name.to_owned())], amount));
        self.gauges("mobula_demand_missing", "What those take that wait for room on some node", missing);
    }

    fn store(&mut self, usage: &Usage) {
        let Usage { capacity, held, drafts, sealed, pinned, warm, retiring, heap } = *usage;
        let bytes = [
            ("capacity", capacity),
            ("held", held),
            ("drafts", drafts),
            ("sealed", sealed),
            ("pinned", pinned),
            ("warm", warm),
            ("retiring", retiring),
            ("heap", heap),
        ];
        let bytes = bytes.map(|(of, bytes)| (vec![("of", of.to_owned())], bytes as f64));
        self.gauges("mobula_store_bytes", "This node's memory for objects", bytes);
    }

    fn events(&mut self, counters: &[(&'static str, u64)]) {
        let events = Family::<Labels, Counter>::default();
        for (event, count) in counters {
            events.get_or_create(&vec![("event", (*event).to_owned())]).inc_by(*count);
        }
        self.0.register("mobula_events", "What happened on this node", events);
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails never.
        let _ = encode(&mut text, &self.0);
        text
    }
}

fn role(node: &NodeStatus, status: &ClusterStatus) -> &'static str {
    match node.hosts_actors {
        true => "worker",
        false if node.id == status.head => "head",
        false => "driver",
    }
}

fn state(state: ActorState) -> &'static str {
    match state {
        ActorState::Waiting => "waiting",
        ActorState::Making => "making",
        ActorState::Running => "running",
        ActorState::Ending => "ending",
    }
}

fn kind(kind: DemandKind) -> &'static str {
    match kind {
        DemandKind::Tasks => "tasks",
        DemandKind::Actor(_) => "actor",
        DemandKind::Group(_) => "group",
    }
}
