//! Tasks that wait for what others bring, where there are fewer CPUs than tasks that wait.

use mobula::id::NodeId;
use mobula::prelude::*;
use mobula::{Queue, task};
use std::time::Duration;

mobula::test_worker!();

/// A door that opens once.
#[actor]
#[derive(Default)]
struct Door {
    opened: tokio::sync::watch::Sender<bool>,
}

#[methods(concurrency = 4)]
impl Door {
    #[constructor]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn open(&self) {
        self.opened.send_replace(true);
    }

    pub async fn passed(&self, with: u64) -> u64 {
        let _ = self.opened.subscribe().wait_for(|opened| *opened).await;
        with
    }
}

/// Takes a number out of the queue, has a task of its own take one, or brings them.
#[task]
async fn plays(ctx: &TaskContext, part: Part, numbers: Queue<u64>) -> mobula::Result<u64> {
    Ok(match part {
        Part::Takes => numbers.get().await?,
        Part::HasOneTake => plays::call(&ctx.cluster(), Part::Takes, numbers).await?,
        Part::Brings(count) => {
            for number in 0..count {
                numbers.put(number).await?;
            }
            count
        }
    })
}

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Part {
    Takes,
    HasOneTake,
    Brings(u64),
}

/// Brings numbers, and is of another class than those that take them.
#[task]
async fn brings(count: u64, numbers: Queue<u64>) -> mobula::Result<u64> {
    for number in 0..count {
        numbers.put(number).await?;
    }
    Ok(count)
}

#[task]
fn add(one: u64, two: u64) -> u64 {
    one + two
}

/// Waits for a task that is ready only when the door is open.
#[task]
async fn waits_for_late_child(ctx: &TaskContext, door: DoorHandle, says: Queue<u64>) -> mobula::Result<u64> {
    let child = add::submit(&ctx.cluster(), door.passed(4).submit(), 1);
    says.put(0).await?;
    Ok(child.await?)
}

/// The same, on its thread.
#[task]
fn waits_here_for_late_child(ctx: &TaskContext, door: DoorHandle, two: u64) -> mobula::Result<u64> {
    let child = add::submit(&ctx.cluster(), door.passed(4).submit(), two);
    Ok(ctx.get(&child)?)
}

/// What a task says of where it runs and what it takes.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Says {
    Nothing,
    Cpus,
    Spread,
    Label,
    Node(NodeId),
}

const SMALL: (&str, &str) = ("disk", "small");

macro_rules! says {
    ($says:expr, $call:expr) => {
        match $says {
            Says::Nothing => $call,
            Says::Cpus => $call.cpus(1.0),
            Says::Spread => $call.spread(),
            Says::Label => $call.label(SMALL.0, SMALL.1),
            Says::Node(node) => $call.on(node),
        }
    };
}

/// Waits for one that says the other thing, and so on.
#[task]
async fn nests(ctx: &TaskContext, says: [Says; 2], depth: u64) -> mobula::Result<u64> {
    let [this, next] = says;
    match depth {
        0 => Ok(0),
        _ => Ok(1 + says!(next, nests::call(&ctx.cluster(), [next, this], depth - 1)).await?),
    }
}

/// The same, on its thread.
#[task]
fn nests_here(ctx: &TaskContext, says: [Says; 2], depth: u64) -> mobula::Result<u64> {
    let [this, next] = says;
    match depth {
        0 => Ok(0),
        _ => Ok(1 + ctx.get(&says!(next, nests_here::call(&ctx.cluster(), [next, this], depth - 1)).submit())?),
    }
}

async fn bounded<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future.into_future()).await.expect("within 30 s")
}

/// A worker with one CPU, and a queue that is on no node with CPUs.
async fn one_cpu() -> (Cluster, Queue<u64>) {
    let cluster = bounded(Cluster::local().workers(1).cpus(1.0)).await.unwrap();
    let numbers = bounded(Queue::bounded(&cluster, 100)).await.unwrap();
    (cluster, numbers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lent_slot_comes_back_when_the_task_that_borrowed_it_waits_itself() {
    let (cluster, numbers) = one_cpu().await;
    let waits = plays::submit(&cluster, Part::HasOneTake, numbers.clone());
    let brings = plays::submit(&cluster, Part::Brings(1), numbers.clone());
    assert_eq!(bounded(brings).await.unwrap(), 1);
    assert_eq!(bounded(waits).await.unwrap(), 0);
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_comes_to_be_ready_while_its_parent_waits_is_lent_the_parents_slot() {
    let (cluster, says) = one_cpu().await;
    for _ in 0..3 {
        let door = Door::spawn(&cluster).await.unwrap();
        let parent = waits_for_late_child::submit(&cluster, &door, says.clone());
        bounded(says.get()).await.unwrap();
        bounded(door.open()).await.unwrap();
        assert_eq!(bounded(parent).await.unwrap(), 5);
        let door = Door::spawn(&cluster).await.unwrap();
        let parent = waits_here_for_late_child::submit(&cluster, &door, 2);
        bounded(door.open()).await.unwrap();
        assert_eq!(bounded(parent).await.unwrap(), 6);
    }
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_wait_for_one_more_of_their_kind_do_not_keep_it_from_running() {
    let (cluster, numbers) = one_cpu().await;
    let take: Vec<_> = (0..40).map(|_| plays::submit(&cluster, Part::Takes, numbers.clone())).collect();
    let brings = plays::submit(&cluster, Part::Brings(40), numbers.clone());
    assert_eq!(bounded(brings).await.unwrap(), 40);
    let mut taken = bounded(cluster.get_all(&take)).await.unwrap();
    taken.sort_unstable();
    assert_eq!(taken, (0..40).collect::<Vec<_>>());
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_wait_for_one_of_another_kind_do_not_keep_it_from_running() {
    let (cluster, numbers) = one_cpu().await;
    let take: Vec<_> = (0..40).map(|_| plays::submit(&cluster, Part::Takes, numbers.clone())).collect();
    assert_eq!(bounded(brings::submit(&cluster, 40, numbers.clone())).await.unwrap(), 40);
    assert_eq!(bounded(cluster.get_all(&take)).await.unwrap().len(), 40);
    bounded(cluster.shutdown()).await;
}

/// One CPU, and then two with two that nest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_say_where_they_run_wait_for_such_tasks_on_too_few_cpus() {
    for cpus in [1, 2] {
        let cluster = bounded(Cluster::local().workers(1).cpus(f64::from(cpus)).label(SMALL.0, SMALL.1)).await.unwrap();
        let worker = cluster.nodes().into_iter().find(|node| node.hosts_actors).unwrap().id;
        for says in [Says::Cpus, Says::Spread, Says::Label, Says::Node(worker)] {
            for next in [says, Says::Nothing] {
                let both = [says, next];
                let nest = |_| says!(says, nests::call(&cluster, both, 4)).submit();
                let nest_here = |_| says!(says, nests_here::call(&cluster, both, 4)).submit();
                let nested: Vec<ObjectRef<u64, _>> = (0..cpus).map(nest).chain((0..cpus).map(nest_here)).collect();
                for nested in nested {
                    assert_eq!(bounded(nested).await.unwrap(), 4, "{both:?}");
                }
            }
        }
        bounded(cluster.shutdown()).await;
    }
}
