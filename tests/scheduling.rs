//! Where tasks and actors go: strategies, labels, placement groups, and whose turn it is. Real worker processes.
#![allow(missing_docs)]

mod common;

use common::{bounded, ends_without_a_trace, until, workers};
use futures::future::join_all;
use mobula::error::{AmountError, LabelError, NotGranted, NotGrouped, NotPlaced, ResourcesError, SpawnError, Why};
use mobula::limits::{LABEL_VALUES, RESOURCES};
use mobula::net::{ClusterKey, Identity};
use mobula::prelude::*;
use mobula::{Demand, DemandKind, Executed, GetError, GroupState, InvalidOption, Never, Packing, PlacementError, task};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

mobula::test_worker!();

#[task]
fn process() -> u32 {
    std::process::id()
}

/// Why an object of another node cannot be had.
#[task]
async fn why_not(ctx: &TaskContext, of: Vec<ObjectRef<u32>>) -> GetError {
    ctx.cluster().get(&of[0]).await.unwrap_err()
}

/// Keeps its CPU for a while.
#[task]
fn works(milliseconds: u64) -> u32 {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
    std::process::id()
}

#[actor]
struct Where;

#[methods]
impl Where {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }
}

async fn cluster_of(count: usize, cpus: f64) -> Cluster {
    bounded(Cluster::local().workers(count).cpus(cpus)).await.unwrap()
}

async fn processes(cluster: &Cluster, tasks: Vec<ObjectRef<u32>>) -> Vec<u32> {
    bounded(cluster.get_all(&tasks)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn affinity_is_obeyed_hard_and_soft() {
    let cluster = cluster_of(2, 1.0).await;
    let [(first, first_process), (second, second_process)] = workers(&cluster)[..] else { panic!("two workers") };
    let hard = (0..10).map(|_| process::call(&cluster).on(second).submit()).collect();
    assert_eq!(processes(&cluster, hard).await, [second_process; 10]);
    assert_eq!(bounded(process::call(&cluster).prefer(first)).await, Ok(first_process));
    let stranger = mobula::id::NodeId([7; 32]);
    let error = bounded(process::call(&cluster).on(stranger)).await.unwrap_err();
    assert!(error.to_string().contains("no member"), "{error}");
    for _ in 0..4 {
        let actor = bounded(Where::spawn(&cluster).prefer(second)).await.unwrap();
        assert_eq!(bounded(actor.process()).await, Ok(second_process), "an actor, also one that takes nothing");
    }
    let soft = bounded(process::call(&cluster).prefer(stranger)).await.unwrap();
    assert!([first_process, second_process].contains(&soft));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_spread_goes_to_every_node_and_the_rest_is_packed() {
    let cluster = cluster_of(2, 4.0).await;
    // Of four CPUs two are half: packed, both go to one node.
    let packed = (0..2).map(|_| works::call(&cluster, 100).submit()).collect();
    assert_eq!(processes(&cluster, packed).await.into_iter().collect::<BTreeSet<_>>().len(), 1);
    ends_without_a_trace(cluster).await;
    // Another cluster: the slots of those tasks are held for a moment, and make one node fuller.
    let cluster = cluster_of(2, 4.0).await;
    let spread = (0..2).map(|_| works::call(&cluster, 100).spread().submit()).collect();
    assert_eq!(processes(&cluster, spread).await.into_iter().collect::<BTreeSet<_>>().len(), 2);
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_choose_nodes_and_a_condition_that_none_meets_is_said_at_once() {
    let cluster = bounded(Cluster::local().workers(1).label("zone", "north")).await.unwrap();
    let only = workers(&cluster)[0].1;
    for condition in ["north", "in(south, north)", "!south", "*"] {
        assert_eq!(bounded(process::call(&cluster).select("zone", condition)).await, Ok(only), "{condition}");
    }
    for condition in ["south", "!*", "!in(north, west)"] {
        let error = bounded(process::call(&cluster).select("zone", condition)).await.unwrap_err();
        assert!(error.to_string().contains("no node has the labels zone="), "{error}");
    }
    let error = bounded(process::call(&cluster).select("zone", "in(")).await.unwrap_err();
    assert_eq!(error.executed(), mobula::Executed::No, "{error}");
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_are_tried_in_their_order() {
    let cluster = bounded(Cluster::local().workers(1).cpus(1.0).label("zone", "north")).await.unwrap();
    let only = workers(&cluster)[0].1;
    let tries = |zone: &str| process::call(&cluster).label("zone", "south").otherwise().select("zone", zone);
    assert_eq!(bounded(tries("north")).await, Ok(only));
    let error = bounded(tries("west")).await.unwrap_err();
    assert!(error.to_string().contains("no node has the labels zone=south, or else zone=west"), "{error}");
    assert_eq!(bounded(tries("west").otherwise()).await, Ok(only), "any node in the end");
    let spawned = |zone: &str| Where::spawn(&cluster).label("zone", "south").otherwise().label("zone", zone);
    assert_eq!(bounded(bounded(spawned("north")).await.unwrap().process()).await, Ok(only));
    assert_eq!(bounded(bounded(spawned("west").otherwise()).await.unwrap().process()).await, Ok(only));
    let endless = (0..10).fold(process::call(&cluster), |call, n| call.label("zone", n.to_string()).otherwise());
    let error = bounded(endless).await.unwrap_err();
    assert!(error.to_string().contains("at most 8 selectors"), "{error}");
    ends_without_a_trace(cluster).await;
}

#[task(resource("licence", 0.0002))]
fn licensed() -> u32 {
    std::process::id()
}

#[task(label("zone", "south"), label("disk", "ssd"))]
fn southern() -> u32 {
    std::process::id()
}

#[task(timeout = "1ms")]
async fn takes(from: Queue<u32>) -> mobula::Result<u32> {
    Ok(from.get().await?)
}

#[task(spread, cpus = 1)]
fn works_apart(milliseconds: u64) -> u32 {
    works(milliseconds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_attribute_says_holds_for_each_run_unless_the_call_says_otherwise() {
    let with = |cluster: mobula::ClusterBuilder| cluster.resource("licence", 0.0001).label("zone", "north");
    let cluster = bounded(with(Cluster::local().workers(1).label("disk", "ssd"))).await.unwrap();
    let only = workers(&cluster)[0].1;
    let error = bounded(licensed::call(&cluster)).await.unwrap_err();
    assert!(error.to_string().contains("no node has licence ≥ 0.0002"), "{error}");
    assert_eq!(bounded(licensed::call(&cluster).resource("licence", 0.0001)).await, Ok(only));
    let error = bounded(southern::call(&cluster)).await.unwrap_err();
    assert!(error.to_string().contains("no node has the labels disk=ssd, zone=south"), "{error}");
    assert_eq!(bounded(southern::call(&cluster).label("zone", "north")).await, Ok(only));
    let queue = bounded(Queue::bounded(&cluster, 1)).await.unwrap();
    let error = bounded(takes::call(&cluster, queue.clone())).await.unwrap_err();
    assert!(matches!(error, GetError::Timeout { after, .. } if after == Duration::from_millis(1)), "{error}");
    let patient = takes::call(&cluster, queue.clone()).timeout(common::BOUND).submit();
    bounded(queue.put(7)).await.unwrap();
    assert_eq!(bounded(patient).await, Ok(7));
    drop(queue);
    ends_without_a_trace(cluster).await;
    let cluster = cluster_of(2, 4.0).await;
    let spread = (0..2).map(|_| works_apart::submit(&cluster, 100)).collect();
    assert_eq!(processes(&cluster, spread).await.into_iter().collect::<BTreeSet<_>>().len(), 2);
    let (second, process) = workers(&cluster)[1];
    let chosen = (0..2).map(|_| works_apart::call(&cluster, 1).on(second).submit()).collect();
    assert_eq!(processes(&cluster, chosen).await, [process; 2]);
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_are_counted_in_ten_thousandths() {
    let cluster = bounded(Cluster::local().workers(1).cpus(1.0).resource("licence", 0.0003)).await.unwrap();
    let error = bounded(process::call(&cluster).resource("licence", 0.0004)).await.unwrap_err();
    assert!(error.to_string().contains("no node has licence ≥ 0.0004"), "{error}");
    let mut holders = Vec::new();
    for _ in 0..3 {
        holders.push(bounded(Where::spawn(&cluster).resource("licence", 0.0001)).await.unwrap());
    }
    let mut waits = Where::spawn(&cluster).resource("licence", 0.0001);
    assert!(futures::poll!(&mut waits).is_pending(), "all three are taken");
    drop(holders.pop());
    bounded(waits).await.unwrap();
    let error = bounded(process::call(&cluster).cpus(0.00001)).await.unwrap_err();
    assert_eq!(error.executed(), mobula::Executed::No, "{error}");
    ends_without_a_trace(cluster).await;
}

/// Leaves an array in its node's store.
#[task]
async fn leaves(ctx: &TaskContext, length: usize) -> mobula::Result<ObjectRef<[f32]>> {
    Ok(ctx.cluster().put_slice(&vec![0.5_f32; length]).await?)
}

#[task]
fn reads(array: &[f32]) -> (f32, u32) {
    (array.iter().sum(), std::process::id())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_goes_where_its_large_argument_lies() {
    // Room for what was granted before and is not given back yet: a preference yields where there is none.
    let cluster = cluster_of(2, 8.0).await;
    for (node, process) in workers(&cluster) {
        let array = bounded(leaves::call(&cluster, 1 << 18).on(node)).await.unwrap();
        // A slot that idles elsewhere may come first, so not each of them does.
        let mut there = 0;
        for _ in 0..40 {
            let (sum, ran) = bounded(reads::submit(&cluster, &array)).await.unwrap();
            assert_eq!(sum, 131_072.0);
            there += usize::from(ran == process);
        }
        assert!(there >= 30, "{there} of 40");
    }
    ends_without_a_trace(cluster).await;
}

/// An array, and a view that keeps its copy.
type Held = (ObjectRef<[f32]>, View<[f32]>);

/// Has copies of arrays, for as long as it lives.
#[actor]
struct Holds {
    held: Vec<Held>,
}

#[methods]
impl Holds {
    #[constructor]
    pub fn new() -> Self {
        Self { held: Vec::new() }
    }

    pub async fn hold(&mut self, array: Vec<ObjectRef<[f32]>>) -> mobula::Result<()> {
        for array in array {
            let view = array.clone().await?;
            self.held.push((array, view));
        }
        Ok(())
    }
}

#[task]
fn reads_three(one: &[f32], two: &[f32], three: &[f32]) -> (f32, u32) {
    (one.iter().chain(two).chain(three).sum(), std::process::id())
}

/// How many of 40 tasks ran in a process.
async fn ran_in(process: u32, run: impl AsyncFn() -> u32) -> usize {
    let mut there = 0;
    for _ in 0..40 {
        there += usize::from(run().await == process);
    }
    there
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_and_an_actor_go_where_a_copy_lies_and_where_most_bytes_do() {
    let cluster = bounded(Cluster::local().workers(2).cpus(8.0).never_share_memory()).await.unwrap();
    let nodes = workers(&cluster);
    // This process owns it, and hosts nothing.
    let mine = bounded(cluster.put_slice(&vec![0.5_f32; 1 << 18])).await.unwrap();
    let (node, process) = nodes[1];
    let holds = bounded(Holds::spawn(&cluster).on(node)).await.unwrap();
    bounded(holds.hold(vec![mine.clone()])).await.unwrap();
    // Where a copy is told of is soon known, and slots that idle elsewhere are given back.
    bounded(async { while ran_in(process, async || reads::submit(&cluster, &mine).await.unwrap().1).await < 30 {} })
        .await;
    let near = bounded(Where::spawn(&cluster).near(&mine)).await.unwrap();
    assert_eq!(bounded(near.process()).await, Ok(process));
    // One of four megabytes here, two of an eighth there.
    let (there, large_at) = (nodes[1].0, nodes[0].1);
    let large = bounded(leaves::call(&cluster, 1 << 20).on(nodes[0].0)).await.unwrap();
    let small = [0, 1].map(|_| leaves::call(&cluster, 1 << 15).on(there).submit());
    let [one, two] = &small;
    let (one, two) = (bounded(cluster.get(one)).await.unwrap(), bounded(cluster.get(two)).await.unwrap());
    let run = async || reads_three::submit(&cluster, &one, &large, &two).await.unwrap().1;
    bounded(async { while ran_in(large_at, run).await < 30 {} }).await;
    ends_without_a_trace(cluster).await;
}

/// A result that no packet carries lies where it was made.
#[task]
fn makes(length: usize) -> Vec<u8> {
    vec![7; length]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_goes_where_an_object_lies_if_it_is_asked_to() {
    let cluster = cluster_of(2, 4.0).await;
    for (node, process) in workers(&cluster) {
        let array = bounded(leaves::call(&cluster, 1 << 18).on(node)).await.unwrap();
        for _ in 0..3 {
            let near = bounded(Where::spawn(&cluster).near(&array)).await.unwrap();
            assert_eq!(bounded(near.process()).await, Ok(process));
        }
        let named = bounded(Where::spawn(&cluster).near(&array).name(process.to_string())).await.unwrap();
        assert_eq!(bounded(named.process()).await, Ok(process));
        let promised = makes::call(&cluster, 1 << 20).on(node).submit();
        let near = bounded(Where::spawn(&cluster).near(&promised)).await.unwrap();
        assert_eq!(bounded(near.process()).await, Ok(process), "it is waited for");
        let _full = bounded(Where::spawn(&cluster).on(node).cpus(4.0)).await.unwrap();
        let elsewhere = bounded(Where::spawn(&cluster).near(&array).cpus(1.0)).await.unwrap();
        assert_ne!(bounded(elsewhere.process()).await, Ok(process), "a preference yields where there is no room");
    }
    let mine = cluster.put(1_u8).await.unwrap();
    bounded(Where::spawn(&cluster).near(&mine)).await.expect("this process hosts nothing: anywhere, then");
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_placed_as_it_says_all_or_nothing() {
    let cluster = cluster_of(2, 2.0).await;
    let one = [("cpu", 1.0)];
    let group = |packing| cluster.placement_group().bundle(one).bundle(one).strategy(packing);
    for (packing, nodes) in
        [(Packing::Pack, 1), (Packing::StrictPack, 1), (Packing::Spread, 2), (Packing::StrictSpread, 2)]
    {
        let group = bounded(group(packing)).await.unwrap();
        let hosts: BTreeSet<_> = bounded(group.ready()).await.unwrap().into_iter().collect();
        assert_eq!(hosts.len(), nodes, "{packing}");
        bounded(group.remove()).await.unwrap();
        bounded(group.remove()).await.unwrap();
    }
    let never = bounded(group(Packing::StrictSpread).bundle(one)).await.unwrap_err();
    assert!(matches!(never, PlacementError::Refused(_)) && never.to_string().contains("would not fit"), "{never}");
    let invalid = bounded(cluster.placement_group().bundle([("cpu", f64::NAN)])).await.unwrap_err();
    assert!(matches!(invalid, PlacementError::Invalid(_)), "{invalid}");
    let empty = bounded(cluster.placement_group()).await.unwrap_err();
    assert!(matches!(empty, PlacementError::Refused(_)), "{empty}");
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_waits_for_room_and_holds_nothing_until_all_of_it_is_there() {
    let cluster = cluster_of(2, 1.0).await;
    let one = [("cpu", 1.0)];
    let first = bounded(cluster.placement_group().bundle(one)).await.unwrap();
    let both = cluster.placement_group().bundle(one).bundle(one).strategy(Packing::StrictSpread).name("both");
    let both = both.create().unwrap();
    let listed = bounded(cluster.placement_groups()).await.unwrap();
    let waiting = listed.iter().find(|group| group.name.as_deref() == Some("both")).unwrap();
    assert_eq!((waiting.id, &waiting.state), (both.id(), &GroupState::Waiting));
    assert!(bounded(process::submit(&cluster)).await.is_ok(), "the CPU that it waits with is not held");
    let soon = Duration::from_millis(20);
    let late = bounded(both.ready().timeout(soon)).await.unwrap_err();
    assert!(matches!(&late, PlacementError::Timeout { group, .. } if *group == both.id()), "{late:?}");
    assert!(late.to_string().contains("every node that would do is full"), "{late}");
    let third = cluster.placement_group().bundle(one).bundle(one).name("third").timeout(soon * 50);
    let late = bounded(third).await.unwrap_err();
    assert!(matches!(&late, PlacementError::Timeout { after, .. } if *after == soon * 50), "{late:?}");
    assert!(late.to_string().contains("every node that would do is full"), "{late}");
    let listed = bounded(cluster.placement_groups()).await.unwrap();
    assert!(listed.iter().all(|group| group.name.as_deref() != Some("third")), "it is removed again");
    let found = bounded(cluster.lookup_placement_group("both")).await.unwrap();
    let late = bounded(found.ready().timeout(soon)).await.unwrap_err();
    assert!(late.to_string().contains("waiting for room for all its bundles: every node"), "{late}");
    let ready = tokio::spawn(async move { found.ready().await });
    bounded(first.remove()).await.unwrap();
    assert_eq!(bounded(ready).await.unwrap().unwrap().len(), 2, "who did not make it waits for it as well");
    let hosts = bounded(both.ready()).await.unwrap();
    assert_eq!(hosts.len(), 2);
    let found = bounded(cluster.lookup_placement_group("both")).await.unwrap();
    assert_eq!((found.id(), found.bundles(), bounded(found.ready()).await.unwrap()), (both.id(), 2, hosts));
    let taken = bounded(cluster.placement_group().bundle([("memory", 1.0)]).name("both")).await.unwrap_err();
    assert!(taken.to_string().contains("is taken by placement group"), "{taken}");
    bounded(found.remove()).await.unwrap();
    let gone = bounded(cluster.lookup_placement_group("both")).await.unwrap_err();
    assert!(matches!(gone, PlacementError::Refused(NotGrouped::NotNamed(_))), "{gone}");
    assert!(bounded(found.ready()).await.is_err());
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_and_actors_run_within_bundles_and_end_with_the_group() {
    let cluster = cluster_of(2, 2.0).await;
    let one = [("cpu", 1.0)];
    let group = cluster.placement_group().bundle(one).bundle(one).strategy(Packing::StrictSpread);
    let group = bounded(group).await.unwrap();
    let hosts = bounded(group.ready()).await.unwrap();
    let process_of = |life| cluster.nodes().into_iter().find(|node| node.life == life).unwrap().process;
    let whichever = (0..8).map(|_| works::call(&cluster, 20).within(&group).submit()).collect();
    assert_eq!(processes(&cluster, whichever).await.into_iter().collect::<BTreeSet<_>>().len(), 2);
    for (bundle, life) in (0..).zip(&hosts) {
        let there = (0..5).map(|_| process::call(&cluster).within_bundle(&group, bundle).submit()).collect();
        assert_eq!(processes(&cluster, there).await, [process_of(*life); 5]);
    }
    // The slots of those tasks idle, and are asked back for it.
    let actor = bounded(Where::spawn(&cluster).cpus(1.0).within_bundle(&group, 1)).await.unwrap();
    assert_eq!(bounded(actor.process()).await, Ok(process_of(hosts[1])));
    let missing = bounded(process::call(&cluster).within_bundle(&group, 2)).await.unwrap_err();
    let no_group = GetError::NotPlaced { why: NotGranted::NoGroup(group.id()), executed: Executed::No };
    assert_eq!(missing, no_group);
    let missing = process::call(&cluster).within_bundle(&group, 2).submit();
    assert_eq!(bounded(why_not::submit(&cluster, vec![missing])).await, Ok(no_group.clone()), "it travels as it is");
    let too_much = bounded(process::call(&cluster).cpus(2.0).within(&group)).await.unwrap_err();
    let never = |why: &NotGranted| matches!(why, NotGranted::Unplaced(Why::NeverFits(..)));
    assert!(matches!(&too_much, GetError::NotPlaced { why, executed: Executed::No } if never(why)), "{too_much:?}");
    bounded(group.remove()).await.unwrap();
    let gone = bounded(process::call(&cluster).within(&group)).await.unwrap_err();
    assert_eq!(gone, no_group);
    ends_without_a_trace(cluster).await;
}

/// A value that a condition may list once too often.
fn values(count: usize) -> String {
    (0..count).map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_option_that_is_not_allowed_is_the_tasks_error_with_its_type_wherever_it_is_read() {
    let amount = |why| GetError::<Never>::Invalid(InvalidOption::Amount(why));
    let resource = |why| GetError::<Never>::Invalid(InvalidOption::Resource(why));
    let label = |why| GetError::<Never>::Invalid(InvalidOption::Label(why));
    for cluster in [bounded(Cluster::local()).await.unwrap(), cluster_of(1, 1.0).await] {
        let call = || process::call(&cluster);
        let many = (0..=RESOURCES).fold(call(), |call, each| call.resource(format!("r{each}"), 1.0));
        let cases = [
            (call().cpus(-1.0), amount(AmountError::OutOfRange(-1.0))),
            (call().gpus(f64::INFINITY), amount(AmountError::OutOfRange(f64::INFINITY))),
            (call().cpus(0.000_01), amount(AmountError::TooFine(0.000_01))),
            (call().resource("", 1.0), resource(ResourcesError::Name("".into()))),
            (many, resource(ResourcesError::TooMany)),
            (call().label("zone", "a\nb"), label(LabelError::Name("a\nb".to_owned()))),
            (call().select("zone", format!("in({})", values(LABEL_VALUES + 1))), label(LabelError::Values)),
            (call().name(""), GetError::Invalid(InvalidOption::Name(String::new()))),
            // The first one counts.
            (call().cpus(-2.0).resource("", 1.0), amount(AmountError::OutOfRange(-2.0))),
        ];
        for (call, expected) in cases {
            let failed = call.submit();
            assert_eq!(bounded(failed.clone()).await, Err(expected.clone()));
            assert_eq!(expected.executed(), Executed::No);
            assert_eq!(bounded(why_not::submit(&cluster, vec![failed])).await, Ok(expected), "it travels as it is");
        }
        let not_a_number = bounded(call().cpus(f64::NAN)).await.unwrap_err();
        let is_nan = |why: &GetError| matches!(why, GetError::Invalid(InvalidOption::Amount(AmountError::OutOfRange(n))) if n.is_nan());
        assert!(is_nan(&not_a_number), "{not_a_number:?}");
        assert!(not_a_number.to_string().contains("no amount of a resource"), "{not_a_number}");
        assert_eq!(bounded(call()).await.map(|_| ()), Ok(()), "the node takes others");
        ends_without_a_trace(cluster).await;
    }
}

static LET_GO: AtomicBool = AtomicBool::new(false);

/// `keeps` runs.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// Keeps its CPU until it is let go.
#[task]
fn keeps(begun: u64) -> u64 {
    BEGUN.store(true, Ordering::SeqCst);
    while !LET_GO.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    begun
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_stands_in_line_for_a_group_that_is_removed_is_told_that_it_did_not_run() {
    // In one process: the owner of its tasks is their host.
    let cluster = bounded(Cluster::local().cpus(1.0)).await.unwrap();
    let group = bounded(cluster.placement_group().bundle([("cpu", 1.0)])).await.unwrap();
    bounded(group.ready()).await.unwrap();
    let keep = |of| keeps::call(&cluster, of).within(&group).submit();
    let (runs, waits) = (keep(0), keep(1));
    let begun = async {
        while !BEGUN.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    };
    bounded(begun).await;
    bounded(group.remove()).await.unwrap();
    let gone = bounded(waits).await.unwrap_err();
    assert!(matches!(&gone, GetError::NotPlaced { why: NotGranted::NoGroup(_), executed: Executed::No }), "{gone:?}");
    LET_GO.store(true, Ordering::SeqCst);
    // Whether it was removed before it was done is not known.
    let done = bounded(runs).await;
    assert!(done.as_ref().is_ok_and(|done| *done == 0) || done.is_err_and(|error| error.executed() == Executed::Maybe));
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn demand_that_nothing_meets_is_seen_with_its_reason_and_holds_back_nothing() {
    let cluster = cluster_of(1, 1.0).await;
    let waits = process::call(&cluster).gpus(2.0).wait_for_node().submit();
    let mut found = None;
    while found.is_none() {
        let demand = bounded(cluster.demand()).await.unwrap();
        found = demand.into_iter().find(|line| line.why.is_some());
    }
    let line = found.unwrap();
    assert!(line.task.ends_with("::process") && (line.wanted, line.granted) == (1, 0), "{line:?}");
    assert!(line.why.as_deref().is_some_and(|why| why.contains("no node has gpu ≥ 2")), "{line:?}");
    assert!(line.resources.iter().any(|each| each.name == "gpu" && each.amount == 2.0), "{line:?}");
    let others = (0..100).map(|_| process::submit(&cluster)).collect();
    assert_eq!(processes(&cluster, others).await.len(), 100);
    assert!(!waits.is_settled());
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_others_of_a_higher_priority_keep_waiting_are_seen_with_that_reason() {
    let cluster = cluster_of(1, 1.0).await;
    let low: Vec<_> = (0..20).map(|_| works::submit(&cluster, 50)).collect();
    let high: Vec<_> = (0..20).map(|_| works_apart::call(&cluster, 50).priority(3).submit()).collect();
    let is_outranked = |line: &Demand| {
        let why = line.why.as_deref().unwrap_or_default();
        line.task.ends_with("::works") && why.contains("tasks of priority 3 of the same node come first")
    };
    bounded(async { while !cluster.demand().await.unwrap().iter().any(is_outranked) {} }).await;
    low.iter().chain(&high).for_each(|task| cluster.cancel(task));
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_no_node_can_hold_fails_at_once_or_waits_and_is_seen_with_its_reason() {
    let cluster = cluster_of(1, 1.0).await;
    let worker = workers(&cluster)[0].0;
    let gpu = || Where::spawn(&cluster).gpus(1.0);
    let nowhere = || Where::spawn(&cluster).label("zone", "nowhere");
    let cases = [
        (gpu(), "no node has gpu ≥ 1"),
        (gpu().name("named"), "no node has gpu ≥ 1"),
        (Where::spawn(&cluster).cpus(2.0), "no node has cpu ≥ 2"),
        (nowhere(), "no node has the labels"),
        (nowhere().name("named"), "no node has the labels"),
    ];
    for (spawn, missing) in cases {
        let error = bounded(spawn).await.unwrap_err();
        assert!(matches!(error, SpawnError::NotPlaced(NotPlaced::Unplaced { .. })), "{error:?}");
        let said = error.to_string();
        assert!(said.contains(missing) && said.contains(&worker.to_string()), "{said}");
    }
    let one = [("cpu", 1.0)];
    let placed = bounded(cluster.placement_group().bundle(one)).await.unwrap();
    let waits = cluster.placement_group().bundle(one).name("waits").create().unwrap();
    let mut actor = Box::pin(gpu().wait_for_node());
    assert!(futures::poll!(&mut actor).is_pending());
    let mut other = Box::pin(nowhere().wait_for_node());
    assert!(futures::poll!(&mut other).is_pending());
    let seen = async || bounded(cluster.demand()).await.unwrap();
    bounded(async { while seen().await.len() < 3 {} }).await;
    let demand = seen().await;
    let line = |of: &dyn Fn(&DemandKind) -> bool| demand.iter().filter(|line| of(&line.kind)).collect::<Vec<_>>();
    let actors = line(&|kind| matches!(kind, DemandKind::Actor(_)));
    let whys: Vec<_> = actors.iter().filter_map(|line| line.why.as_deref()).collect();
    assert!(
        whys.iter().any(|why| why.contains("gpu ≥ 1")) && whys.iter().any(|why| why.contains("labels")),
        "{whys:?}"
    );
    let gpus = actors.iter().flat_map(|line| &line.resources).filter(|each| each.name == "gpu").count();
    assert!(actors.iter().all(|line| line.task.ends_with("::Where")) && gpus == 1, "{actors:?}");
    let groups = line(&|kind| *kind == DemandKind::Group(waits.id()));
    let full =
        matches!(groups[..], [Demand { why: Some(why), .. }] if why.contains("every node that would do is full"));
    assert!(full && groups[0].task == "waits", "{groups:?}");
    for late in [gpu(), gpu().name("late")] {
        let late = bounded(late.wait_for_node().timeout(Duration::from_millis(50))).await.unwrap_err();
        assert!(
            matches!(&late, SpawnError::Timeout { .. }) && late.to_string().contains("no node has gpu ≥ 1"),
            "{late}"
        );
    }
    drop((actor, other));
    bounded(placed.remove()).await.unwrap();
    bounded(waits.ready()).await.unwrap();
    bounded(async { while !seen().await.is_empty() {} }).await;
    ends_without_a_trace(cluster).await;
}

/// Set for a process that is the second driver of the next test: the cluster's address and the file of its key.
const DRIVER: [&str; 2] = ["SECOND_DRIVER_ADDRESS", "SECOND_DRIVER_KEY"];

/// What the second driver does: it is a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_driver() {
    let [Ok(address), Ok(key)] = DRIVER.map(std::env::var) else { return };
    let driver = bounded(Cluster::connect(address).key(key)).await.unwrap();
    let short = (0..10).map(|_| works::submit(&driver, 20)).collect();
    assert_eq!(processes(&driver, short).await.len(), 10);
    bounded(driver.shutdown()).await;
}

#[task]
fn length(of: Vec<u8>) -> u32 {
    of.len() as u32
}

/// Waits for what another node's task makes.
#[task]
async fn waits_for(ctx: &TaskContext, results: Vec<ObjectRef<u32>>) -> String {
    let error = ctx.cluster().get(&results[0]).timeout(Duration::from_millis(100)).await.unwrap_err();
    error.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_result_in_vain_is_told_what_it_waits_for() {
    let cluster = cluster_of(1, 1.0).await;
    let says = async |result: &ObjectRef<u32>, what: &str| {
        let told = async {
            let limit = Duration::from_millis(20);
            while !cluster.get(result).timeout(limit).await.unwrap_err().to_string().contains(what) {}
        };
        bounded(told).await;
    };
    let starved = process::call(&cluster).gpus(1.0).wait_for_node().submit();
    says(&starved, "waiting for a grant: no node has gpu ≥ 1").await;
    let argument = makes::call(&cluster, 1).gpus(1.0).wait_for_node().submit();
    says(&length::submit(&cluster, &argument), "waiting for an argument").await;
    let elsewhere = bounded(waits_for::call(&cluster, vec![starved])).await.unwrap();
    assert!(elsewhere.contains("pending at its owner, node "), "{elsewhere}");
    let running = works::submit(&cluster, 1_000);
    says(&running, "running on node ").await;
    bounded(running).await.unwrap();
    ends_without_a_trace(cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_drivers_share_and_neither_waits_for_the_others_queue() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("ipc://{}", folder.path().join("sockets").display());
    let (key, head): (ClusterKey, Identity) = ClusterKey::generate().unwrap();
    let file = folder.path().join("cluster.key");
    key.save(&file).unwrap();
    let cluster = Cluster::local().workers(1).cpus(2.0).listen(&address).cluster_key(key).identity(head);
    let cluster = bounded(cluster).await.unwrap();
    let long: Vec<_> = (0..400).map(|_| works::submit(&cluster, 20)).collect();
    until("the first of the long queue", || long.iter().any(ObjectRef::is_settled)).await;
    let mut second = std::process::Command::new(std::env::current_exe().unwrap());
    second.args(["--exact", "second_driver"]).env(DRIVER[0], &address).env(DRIVER[1], &file);
    let second = bounded(tokio::task::spawn_blocking(move || second.output())).await.unwrap().unwrap();
    assert!(second.status.success(), "{}", String::from_utf8_lossy(&second.stdout));
    assert!(String::from_utf8_lossy(&second.stdout).contains("1 passed"), "it is a test of this file");
    assert!(long.iter().any(|task| !task.is_settled()), "the later driver has waited for the whole queue of the other");
    drop(long);
    bounded(cluster.shutdown()).await;
}

/// More kinds of task than an owner may have at a time, one lot after another; and more grants than may be without a word
/// from their owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kinds_of_tasks_that_are_over_make_room_for_others() {
    // There is room for all of a lot at once.
    let cluster = bounded(Cluster::local().cpus(1_000.0)).await.unwrap();
    for lot in 0..3 {
        let needs = |at: u32| f64::from(lot * 1_400 + at + 1) / 10_000.0;
        let tasks = (0..1_400).map(|at| process::call(&cluster).cpus(needs(at)).submit()).collect();
        assert_eq!(processes(&cluster, tasks).await.len(), 1_400);
        bounded(async { while !cluster.demand().await.unwrap().is_empty() {} }).await;
    }
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_room_submits_all_in_the_end() {
    let cluster = bounded(Cluster::local().workers(1).max_queued(8)).await.unwrap();
    let submitted = join_all((0..500).map(|_| process::call(&cluster).submit_wait()));
    let submitted: Vec<ObjectRef<u32>> = bounded(submitted).await;
    assert_eq!(processes(&cluster, submitted).await.len(), 500, "none has failed with QueueFull");
    ends_without_a_trace(cluster).await;
    let alone = bounded(Cluster::local().max_queued(8)).await.unwrap();
    let submitted: Vec<ObjectRef<u32>> = bounded(join_all((0..500).map(|_| process::call(&alone).submit_wait()))).await;
    assert_eq!(processes(&alone, submitted).await.len(), 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_actor_takes_of_its_spawners_own_node_is_free_when_it_has_ended() {
    let cluster = bounded(Cluster::local().cpus(1.0)).await.unwrap();
    for _ in 0..3 {
        let takes_all = bounded(Where::spawn(&cluster).cpus(1.0)).await.unwrap();
        let waits = Where::spawn(&cluster).cpus(1.0).timeout(Duration::from_millis(50));
        assert!(matches!(bounded(waits).await, Err(SpawnError::Timeout { .. })));
        bounded(takes_all.stop()).await.unwrap();
    }
    bounded(cluster.shutdown()).await;
}
