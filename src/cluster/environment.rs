//! What the environment makes of a program: a cluster of its own, or a member of one, and what that offers.

use super::client::Cluster;
use super::config::ClusterBuilder;
use super::start::StartError;
use crate::node::worker;
use std::time::Duration;

/// What the environment asks for.
pub(super) struct Start {
    pub(super) builder: ClusterBuilder,
    /// A worker runs no body.
    pub(super) serves: bool,
}

/// What each variable says, if it says anything.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What this process becomes by its environment: by default, a cluster of its own of so many worker processes.
pub(super) fn what_to_start(workers: usize) -> Result<Start, StartError> {
    read(workers, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn read(workers: usize, variable: Variables<'_>) -> Result<Start, StartError> {
    let address = variable("MOBULA_ADDRESS");
    match (variable(worker::ROLE).as_deref(), address) {
        (Some("worker"), Some(address)) => {
            let builder = worker(member(Cluster::builder().worker_of(address), variable)?, variable)?;
            Ok(Start { builder, serves: true })
        }
        (None | Some("driver"), Some(address)) => {
            Ok(Start { builder: member(Cluster::connect(address), variable)?, serves: false })
        }
        (Some("worker" | "driver"), None) => Err(StartError::NoAddress),
        (None, None) => Ok(Start { builder: Cluster::local().workers(workers), serves: false }),
        (Some(role), _) => Err(StartError::Role(role.to_owned())),
    }
}

/// What is said of any member. The key's file is looked for where the key is needed.
fn member(mut builder: ClusterBuilder, variable: Variables<'_>) -> Result<ClusterBuilder, StartError> {
    if let Some(namespace) = variable("MOBULA_NAMESPACE") {
        builder = builder.namespace(namespace);
    }
    if let Some(bytes) = number("MOBULA_STORE_MEMORY", "bytes, such as 8000000000", variable)? {
        builder = builder.store_memory(bytes);
    }
    if let Some(folder) = variable("MOBULA_SPILL_FOLDER") {
        builder = builder.spill_to(folder);
    }
    if let Some(tasks) = number("MOBULA_MAX_QUEUED", "a number of tasks, such as 1000000", variable)? {
        builder = builder.max_queued(tasks);
    }
    if let Some(bytes) = number("MOBULA_LINEAGE_MEMORY", "bytes, such as 100000000", variable)? {
        builder = builder.lineage_memory(bytes);
    }
    if let Some(micros) = number("MOBULA_BUSY_POLL", "microseconds, such as 50", variable)? {
        builder = builder.busy_poll(Duration::from_micros(micros));
    }
    Ok(builder)
}

/// What is said of a worker beside that.
fn worker(mut builder: ClusterBuilder, variable: Variables<'_>) -> Result<ClusterBuilder, StartError> {
    if let Some(listen) = variable("MOBULA_LISTEN") {
        builder = builder.listen(listen);
    }
    if let Some(advertise) = variable("MOBULA_ADVERTISE") {
        builder = builder.advertise(advertise);
    }
    if let Some(cpus) = number("MOBULA_CPUS", "a number of CPUs, such as 7.5", variable)? {
        builder = builder.cpus(cpus);
    }
    if let Some(seconds) = number("MOBULA_IDLE_TIMEOUT", "seconds, such as 60", variable)? {
        builder = builder.idle_timeout(Duration::from_secs(seconds));
    }
    let (name, expected) = ("MOBULA_RESOURCES", "amounts by their names, such as `gpu=2,tpu=0.5`");
    for (resource, amount) in pairs(name, expected, variable)? {
        let amount = amount.parse().map_err(|_| not_read(name, &amount, expected))?;
        builder = builder.resource(resource, amount);
    }
    for (key, value) in pairs("MOBULA_LABELS", "values by their keys, such as `zone=a,disk=ssd`", variable)? {
        builder = builder.label(key, value);
    }
    Ok(builder)
}

fn number<N: std::str::FromStr>(
    name: &'static str,
    expected: &'static str,
    variable: Variables<'_>,
) -> Result<Option<N>, StartError> {
    let Some(value) = variable(name) else { return Ok(None) };
    value.trim().parse().map(Some).map_err(|_| not_read(name, &value, expected))
}

/// `a=1, b=2`.
fn pairs(
    name: &'static str,
    expected: &'static str,
    variable: Variables<'_>,
) -> Result<Vec<(String, String)>, StartError> {
    let all = variable(name).unwrap_or_default();
    let pair = |one: &str| {
        let (key, value) = one.split_once('=').map(|(key, value)| (key.trim(), value.trim()))?;
        (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
    };
    let said = all.split(',').filter(|one| !one.trim().is_empty());
    said.map(|one| pair(one).ok_or_else(|| not_read(name, one.trim(), expected))).collect()
}

fn not_read(name: &'static str, value: &str, expected: &'static str) -> StartError {
    StartError::Variable { name, value: value.to_owned(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(variables: &[(&str, &str)]) -> Result<Start, StartError> {
        let variable = |name: &str| {
            let said = [("MOBULA_ROLE", "worker"), ("MOBULA_ADDRESS", "tcp://127.0.0.1:1")];
            let all = variables.iter().chain(&said).find(|(known, _)| *known == name);
            all.map(|(_, value)| (*value).to_owned())
        };
        read(0, &variable)
    }

    #[test]
    fn a_worker_is_told_what_it_offers() {
        let start = started(&[
            ("MOBULA_CPUS", "7.5"),
            ("MOBULA_RESOURCES", "gpu=2, tpu=0.5,"),
            ("MOBULA_LABELS", "zone=a,disk="),
            ("MOBULA_NAMESPACE", "shop"),
            ("MOBULA_MAX_QUEUED", "1000"),
            ("MOBULA_LINEAGE_MEMORY", "0"),
            ("MOBULA_BUSY_POLL", "50"),
            ("MOBULA_IDLE_TIMEOUT", "90"),
        ])
        .unwrap();
        assert!(start.serves);
        assert_eq!(start.builder.cpus, Some(7.5));
        assert_eq!(start.builder.resources, [("gpu".to_owned(), 2.0), ("tpu".to_owned(), 0.5)]);
        let labels = [("zone", "a"), ("disk", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(start.builder.labels, labels);
        assert_eq!(start.builder.namespace, "shop");
        let allowance = start.builder.allowance;
        assert_eq!(start.builder.idle_timeout, Some(Duration::from_secs(90)));
        assert_eq!((allowance.max_queued, allowance.lineage_memory), (1_000, 0));
        assert_eq!(allowance.busy_poll, Duration::from_micros(50));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let bad = [
            ("MOBULA_CPUS", "many"),
            ("MOBULA_RESOURCES", "gpu"),
            ("MOBULA_RESOURCES", "gpu=two"),
            ("MOBULA_RESOURCES", "=2"),
            ("MOBULA_LABELS", "zone"),
            ("MOBULA_STORE_MEMORY", "8G"),
            ("MOBULA_MAX_QUEUED", "-1"),
            ("MOBULA_LINEAGE_MEMORY", "half"),
            ("MOBULA_BUSY_POLL", "50us"),
            ("MOBULA_IDLE_TIMEOUT", "1m"),
        ];
        for (name, value) in bad {
            let Err(error) = started(&[(name, value)]) else { panic!("{name}={value} is read") };
            assert!(error.to_string().starts_with(name), "{error}");
        }
    }
}
