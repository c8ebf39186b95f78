//! Tasks that worker processes run.

use mobula::error::{NotGranted, Why};
use mobula::id::NodeId;
use mobula::prelude::*;
use mobula::{Executed, GetError, task};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

mobula::test_worker!();

#[task]
fn process() -> u32 {
    std::process::id()
}

#[task]
fn add(one: u64, two: u64) -> u64 {
    one + two
}

#[task]
fn grown(bytes: Vec<u8>, by: usize) -> Vec<u8> {
    let mut bytes = bytes;
    bytes.resize(bytes.len() + by, 9);
    bytes
}

#[task]
fn fails(why: &str) -> mobula::Result<u64> {
    Err(why.to_owned())?
}

#[task]
fn panics() -> u64 {
    panic!("as asked")
}

#[task]
async fn nested(ctx: &TaskContext, depth: u64) -> mobula::Result<u64> {
    match depth {
        0 => Ok(1),
        _ => Ok(1 + nested::call(&ctx.cluster(), depth - 1).await?),
    }
}

/// Ends its process where `file` is not there yet, and makes it.
#[task(retries = 2)]
fn survives(file: &str) -> u32 {
    if std::fs::File::create_new(file).is_ok() {
        std::process::abort();
    }
    std::process::id()
}

/// As `survives`, and says which attempt it is.
#[task(retries = 1)]
fn attempt(ctx: &TaskContext, file: &str) -> u32 {
    if std::fs::File::create_new(file).is_ok() {
        std::process::abort();
    }
    ctx.attempt()
}

/// Waits for tasks of its own, each of which waits for one of its own.
#[task]
async fn fan(ctx: &TaskContext, width: u64) -> mobula::Result<u64> {
    let cluster = ctx.cluster();
    let each: Vec<ObjectRef<u64, mobula::Failure>> = (0..width).map(|_| nested::submit(&cluster, 2)).collect();
    let mut sum = 0;
    for one in each {
        sum += one.await?;
    }
    Ok(sum)
}

/// Ends when `file` is there, and says when it began by making `begun`.
#[task]
fn until(file: &str, begun: &str) -> bool {
    let _ = std::fs::File::create(begun);
    while !std::path::Path::new(file).exists() {
        std::thread::yield_now();
    }
    true
}

/// Appends its name to a file.
#[task]
fn sign(file: &str, name: &str) -> mobula::Result<()> {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file)?;
    Ok(writeln!(file, "{name}")?)
}

#[task]
fn sign_too(file: &str, name: &str) -> mobula::Result<()> {
    sign(file, name)
}

/// Leaves its process in the file, and stays.
#[task]
fn notes_and_stays(file: &str) -> mobula::Result<()> {
    use std::io::Write;
    let mut runs = std::fs::OpenOptions::new().append(true).create(true).open(file)?;
    writeln!(runs, "{}", std::process::id())?;
    loop {
        std::thread::park();
    }
}

static ASKED: AtomicBool = AtomicBool::new(false);
static MAY_SAY: AtomicBool = AtomicBool::new(false);

/// Whether an attempt is to follow: says so when it may.
fn says_later(_: &mobula::Failure) -> bool {
    ASKED.store(true, Ordering::Release);
    while !MAY_SAY.load(Ordering::Acquire) {
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

#[task(retries = 1, retry_on = says_later)]
fn fails_and_asks() -> mobula::Result<u64> {
    Err("no".to_owned())?
}

#[task]
fn dies() -> u32 {
    std::process::abort()
}

async fn bounded<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), future.into_future()).await.expect("within 30 s")
}

async fn two_workers() -> Cluster {
    bounded(Cluster::local().workers(2)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_are_spread_over_the_workers_and_their_results_come_back() {
    let cluster = two_workers().await;
    let submitted: Vec<ObjectRef<u32>> = (0..100).map(|_| process::submit(&cluster)).collect();
    let ran: BTreeSet<u32> = bounded(cluster.get_all(&submitted)).await.unwrap().into_iter().collect();
    let workers: BTreeSet<u32> = cluster.worker_processes().into_iter().collect();
    assert_eq!(ran, workers, "the driver runs none");
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_says_whether_a_task_is_tried_again_holds_up_no_other_answer() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let fails = fails_and_asks::submit(&cluster);
    bounded(async {
        while !ASKED.load(Ordering::Acquire) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    let other = tokio::time::timeout(Duration::from_secs(10), add::submit(&cluster, 1, 2)).await;
    MAY_SAY.store(true, Ordering::Release);
    assert_eq!(other.expect("it is answered meanwhile"), Ok(3));
    assert!(bounded(fails).await.is_err());
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_goes_on_from_node_to_node() {
    let cluster = two_workers().await;
    let mut last = add::submit(&cluster, 0, 0);
    for _ in 0..100 {
        last = add::submit(&cluster, &last, 1);
    }
    assert_eq!(bounded(last).await, Ok(100));
    assert_eq!(bounded(nested::call(&cluster, 5)).await.unwrap(), 6);
    bounded(cluster.shutdown()).await;
}

#[task]
fn add_or_fail(one: u64, two: u64) -> mobula::Result<u64> {
    match one + two {
        500 => Err("as asked".to_owned())?,
        sum => Ok(sum),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_in_a_chain_of_thousands_fails_all_behind_it_and_nothing_before() {
    let cluster = two_workers().await;
    let mut chain = vec![add_or_fail::submit(&cluster, 0, 1)];
    for _ in 1..2_000 {
        chain.push(add_or_fail::submit(&cluster, chain.last().unwrap(), 1));
    }
    let ends: Vec<_> = futures::future::join_all(chain.iter().map(|one| bounded(cluster.get(one)))).await;
    for (at, end) in (1..).zip(ends) {
        match end {
            Ok(sum) => assert!(sum == at && at < 500),
            Err(GetError::App(error)) => assert!(at == 500 && error.to_string() == "as asked"),
            Err(GetError::Argument { object, why, .. }) => {
                assert!(at > 500 && why == "as asked", "{at} {why}");
                assert_eq!(object, chain[at as usize - 2].id());
            }
            Err(error) => panic!("{at}: {error}"),
        }
    }
    bounded(cluster.shutdown()).await;
}

/// Its decoding fails where it is asked to.
#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "u64", into = "u64")]
struct Picky(u64);

impl TryFrom<u64> for Picky {
    type Error = &'static str;

    fn try_from(value: u64) -> Result<Self, Self::Error> {
        if value == 13 { Err("not thirteen") } else { Ok(Picky(value)) }
    }
}

impl From<Picky> for u64 {
    fn from(picky: Picky) -> u64 {
        picky.0
    }
}

#[task]
fn add_picky(one: Picky, two: u64) -> u64 {
    one.0 + two
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_behind_a_task_whose_arguments_do_not_decode_fails_with_it() {
    let cluster = two_workers().await;
    let mut chain = vec![add_picky::submit(&cluster, Picky(1), 0)];
    for at in 1..20 {
        chain.push(add_picky::submit(&cluster, Picky(if at == 5 { 13 } else { 1 }), chain.last().unwrap()));
    }
    for (at, one) in (0..).zip(&chain) {
        match bounded(cluster.get(one)).await {
            Ok(sum) => assert!(sum == at + 1 && at < 5),
            Err(GetError::Argument { object, .. }) => assert!(at > 5 && object == chain[at as usize - 1].id()),
            Err(error) => assert!(at == 5 && error.to_string().contains("thirteen"), "{at}: {error}"),
        }
    }
    bounded(cluster.shutdown()).await;
}

/// What is passed on is too large to be kept for those behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_of_long_values_arrives_whole() {
    let cluster = two_workers().await;
    let mut last = grown::submit(&cluster, vec![1; 1], 2_000);
    for _ in 0..200 {
        last = grown::submit(&cluster, &last, 10);
    }
    assert_eq!(bounded(last).await.map(|bytes| bytes.len()), Ok(4_001));
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_wait_for_tasks_never_hold_all_there_are() {
    let cluster = two_workers().await;
    assert_eq!(bounded(nested::call(&cluster, 100)).await.unwrap(), 101, "deeper than there are CPUs");
    let many: Vec<_> = (0..50).map(|_| fan::submit(&cluster, 4)).collect();
    for one in many {
        assert_eq!(bounded(one).await.unwrap(), 12);
    }
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_is_numbered_and_one_that_did_not_run_costs_none() {
    let cluster = two_workers().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("begun");
    // Others stand behind it on the node that dies: they did not begin, and have no retry to spend.
    let first = attempt::submit(&cluster, file.to_str().unwrap());
    let behind: Vec<_> = (0..200).map(|x| add::submit(&cluster, x, 1)).collect();
    assert_eq!(bounded(first).await, Ok(2));
    for (x, sum) in (0..).zip(behind) {
        match bounded(sum).await {
            Ok(sum) => assert_eq!(sum, x + 1),
            // One that may have begun there is not run twice.
            Err(error) => assert_eq!(error.executed(), Executed::Maybe, "{error}"),
        }
    }
    assert_eq!(bounded(add::submit(&cluster, 1, 1)).await, Ok(2));
    bounded(cluster.shutdown()).await;
}

/// A cluster of one CPU, which is taken, and a list that tasks sign.
struct Taken {
    cluster: Cluster,
    folder: tempfile::TempDir,
    blocks: ObjectRef<bool>,
    list: String,
}

impl Taken {
    async fn new() -> Taken {
        let cluster = bounded(Cluster::local().workers(1).cpus(1.0)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (begun, list) = (at("begun"), at("list"));
        let blocks = until::submit(&cluster, at("end"), &begun);
        let begins = async {
            while !std::path::Path::new(&begun).exists() {
                tokio::task::yield_now().await;
            }
        };
        bounded(begins).await;
        Taken { cluster, folder, blocks, list }
    }

    /// Frees the CPU, and gives the order in which these have signed.
    async fn order(self, signed: impl IntoIterator<Item = ObjectRef<(), mobula::Failure>>) -> Vec<String> {
        std::fs::File::create(self.folder.path().join("end")).unwrap();
        assert_eq!(bounded(self.blocks).await, Ok(true));
        for one in signed {
            bounded(one).await.unwrap();
        }
        bounded(self.cluster.shutdown()).await;
        std::fs::read_to_string(&self.list).unwrap().lines().map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn higher_priorities_leave_first() {
    let taken = Taken::new().await;
    // All of these are of one class that has no slot.
    let sign = |name: &str, priority| sign::call(&taken.cluster, &taken.list, name).priority(priority).submit();
    let signed = [sign("low", -1), sign("usual", 0), sign("high", 7), sign("higher", 8), sign("high too", 7)];
    assert_eq!(taken.order(signed).await, ["higher", "high", "high too", "usual", "low"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn higher_priorities_leave_first_whatever_function_they_are_of() {
    let taken = Taken::new().await;
    let (cluster, list) = (&taken.cluster, &taken.list);
    let low: Vec<_> = (0..3).map(|_| sign::submit(cluster, list, "low")).collect();
    let high: Vec<_> = (0..3).map(|_| sign_too::call(cluster, list, "high").priority(1).submit()).collect();
    let waits = |demand: Vec<mobula::Demand>, name: &str| demand.iter().any(|line| line.task.ends_with(name));
    for name in ["::sign", "::sign_too"] {
        bounded(async { while !waits(cluster.demand().await.unwrap(), name) {} }).await;
    }
    let signed = low.into_iter().chain(high);
    assert_eq!(taken.order(signed).await, ["high", "high", "high", "low", "low", "low"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_node_has_fails_at_once_or_waits_if_it_is_asked_to() {
    let cluster = two_workers().await;
    let waits = process::call(&cluster).resource("moon", 1.0).wait_for_node().submit();
    for _ in 0..3 {
        let error = bounded(process::call(&cluster).resource("moon", 1.0)).await.unwrap_err();
        let GetError::NotPlaced { why: NotGranted::Unplaced(why), .. } = &error else { panic!("{error:?}") };
        assert!(matches!(why, Why::NeverFits(name, _) if **name == *"moon"), "{why:?}");
        assert_eq!(error.executed(), Executed::No);
    }
    assert!(!waits.is_settled());
    assert_eq!(bounded(add::submit(&cluster, 1, 1)).await, Ok(2), "it holds back nothing else");
    bounded(cluster.shutdown()).await;
    let error = bounded(waits).await.unwrap_err();
    assert_eq!(error, GetError::ShutDown);
}

type Large = ObjectRef<Vec<u8>>;

/// Submits tasks from its methods.
#[actor]
struct Foreman {
    made: Vec<Large>,
}

#[methods]
impl Foreman {
    #[constructor]
    pub fn new() -> Self {
        Self { made: Vec::new() }
    }

    /// Where a task of each node ran, and where this runs.
    pub async fn sends_to(
        &mut self,
        nodes: Vec<NodeId>,
        ctx: &mut ActorContext<Self>,
    ) -> mobula::Result<(Vec<u32>, u32)> {
        let cluster = ctx.cluster();
        let sent: Vec<ObjectRef<u32>> =
            nodes.into_iter().map(|node| process::call(&cluster).on(node).submit()).collect();
        Ok((cluster.get_all(&sent).await?, std::process::id()))
    }

    /// Has each node make more of what the one before it made, and gives it all, before the last is made.
    pub async fn grows(&mut self, nodes: Vec<NodeId>, ctx: &mut ActorContext<Self>) -> Vec<Large> {
        let cluster = ctx.cluster();
        for node in nodes {
            let grown = match self.made.last() {
                Some(last) => grown::call(&cluster, last, 100_000),
                None => grown::call(&cluster, vec![1; 100_000], 100_000),
            };
            self.made.push(grown.on(node).submit());
        }
        self.made.clone()
    }

    /// Awaits what another one has had made.
    pub async fn measures(&mut self, of: Vec<Large>) -> mobula::Result<Vec<usize>> {
        let mut lengths = Vec::new();
        for object in of {
            lengths.push(object.await?.len());
        }
        Ok(lengths)
    }

    /// What a task fails with is the method's to handle.
    pub async fn is_told(&mut self, ctx: &mut ActorContext<Self>) -> mobula::Result<String> {
        let failed = fails::submit(&ctx.cluster(), "as asked").await.expect_err("it fails");
        Ok(format!("{failed}, and {}", add::call(&ctx.cluster(), 1, 2).await?))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actors_method_submits_tasks_awaits_them_and_passes_their_results_on() {
    let cluster = two_workers().await;
    let nodes: Vec<NodeId> = cluster.nodes().iter().filter(|node| node.hosts_actors).map(|node| node.id).collect();
    let [one, two] = nodes[..] else { panic!("two workers") };
    let foreman = bounded(Foreman::spawn(&cluster).on(one)).await.unwrap();
    let (ran, own) = bounded(foreman.sends_to(vec![one, two])).await.unwrap();
    assert!(ran[0] == own && ran[1] != own, "{ran:?}");
    assert_eq!(ran.iter().copied().collect::<BTreeSet<_>>(), cluster.worker_processes().into_iter().collect());
    let made = bounded(foreman.grows(vec![two, one, two])).await.unwrap();
    let other = bounded(Foreman::spawn(&cluster).on(two)).await.unwrap();
    let lengths = [200_000, 300_000, 400_000];
    assert_eq!(bounded(other.measures(made.clone())).await.unwrap(), lengths, "in another process");
    let here = bounded(cluster.get_all(&made)).await.unwrap();
    assert!(here.iter().map(|bytes| bytes.len()).eq(lengths), "and here");
    assert!(here[2].starts_with(&[1; 100_000]) && here[2][100_000..].iter().all(|byte| *byte == 9));
    assert_eq!(bounded(foreman.is_told()).await.unwrap(), "as asked, and 3");
    // Who had it made has ended: what others hold is theirs to read for as long as its node lives.
    bounded(foreman.stop()).await.unwrap();
    assert_eq!(bounded(other.measures(made)).await.unwrap(), lengths);
    bounded(cluster.shutdown()).await;
}

/// Queues tasks that wait for a node, one more than may be queued here, and gives what became of the last.
#[task]
async fn queues(ctx: &TaskContext, most: usize) -> Option<GetError> {
    let cluster = ctx.cluster();
    let submit = |_| process::call(&cluster).resource("moon", 1.0).wait_for_node().submit();
    let queued: Vec<ObjectRef<u32>> = (0..most).map(submit).collect();
    let error = submit(most).await.err();
    assert!(queued.iter().all(|task| !task.is_settled()));
    queued.iter().for_each(|task| cluster.cancel(task));
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_queues_no_more_tasks_than_its_cluster_says() {
    let cluster = bounded(Cluster::local().workers(1).max_queued(3)).await.unwrap();
    assert_eq!(bounded(queues::submit(&cluster, 3)).await, Ok(Some(GetError::QueueFull { limit: 3 })));
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_arguments_and_results_travel_as_objects() {
    let cluster = two_workers().await;
    let first = grown::submit(&cluster, vec![1; 300_000], 700_000);
    let second = grown::submit(&cluster, &first, 1);
    let third = grown::submit(&cluster, &second, 1);
    let value = bounded(cluster.get(&third)).await.unwrap();
    assert_eq!((value.len(), value[0], value[1_000_001]), (1_000_002, 1, 9));
    drop((first, second, third));
    let quiet = async {
        while cluster.shared_objects().lent + cluster.shared_objects().borrowed > 0 {
            tokio::task::yield_now().await;
        }
    };
    bounded(quiet).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_and_panics_come_back_as_what_they_are() {
    let cluster = two_workers().await;
    let error = bounded(fails::submit(&cluster, "no more")).await.unwrap_err();
    assert!(matches!(&error, GetError::App(failure) if failure.to_string() == "no more"), "{error:?}");
    let panicked = bounded(panics::submit(&cluster)).await.unwrap_err();
    assert!(matches!(&panicked, GetError::Panicked { message, .. } if message == "as asked"), "{panicked:?}");
    assert_eq!(panicked.executed(), Executed::Yes);
    let depends = bounded(add::submit(&cluster, panics::submit(&cluster), 1)).await.unwrap_err();
    assert!(matches!(depends, GetError::Argument { .. }), "{depends:?}");
    assert_eq!(bounded(add::submit(&cluster, 1, 1)).await, Ok(2), "the workers live");
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_worker_dies_runs_again_elsewhere_if_it_may_and_says_so_if_not() {
    let cluster = two_workers().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("begun");
    let survivor = bounded(survives::submit(&cluster, file.to_str().unwrap())).await.unwrap();
    assert!(file.exists() && survivor != std::process::id());
    let died = bounded(dies::submit(&cluster)).await.unwrap_err();
    assert!(matches!(died, GetError::NodeDied { executed: Executed::Maybe, .. }), "{died:?}");
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_says_nothing_of_retries_runs_once_whatever_becomes_of_its_node() {
    let cluster = two_workers().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runs");
    let runs = || std::fs::read_to_string(&file).map_or(0, |runs| runs.lines().count());
    let running = notes_and_stays::submit(&cluster, file.to_str().unwrap());
    let begun = async {
        while runs() == 0 {
            tokio::task::yield_now().await;
        }
    };
    bounded(begun).await;
    let process: u32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(process.cast_signed()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    let died = bounded(running).await.unwrap_err();
    assert!(matches!(died, GetError::NodeDied { executed: Executed::Maybe, .. }), "{died:?}");
    // Whoever would run it again has run what came after it by then.
    let others: Vec<_> = (0..20).map(|_| process::submit(&cluster)).collect();
    assert!(!bounded(cluster.get_all(&others)).await.unwrap().contains(&process));
    assert_eq!(runs(), 1);
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_task_takes_is_reserved_and_what_no_node_has_is_said_at_once() {
    let cluster = two_workers().await;
    let never = bounded(process::call(&cluster).gpus(1.0)).await.unwrap_err();
    assert!(never.to_string().contains("no node has gpu ≥ 1"), "{never}");
    assert_eq!(never.executed(), Executed::No);
    let whole = cluster.nodes().into_iter().find(|node| node.hosts_actors).unwrap().id;
    let many: Vec<_> = (0..20).map(|_| process::call(&cluster).cpus(0.5).on(whole).submit()).collect();
    let ran: BTreeSet<u32> = bounded(cluster.get_all(&many)).await.unwrap().into_iter().collect();
    assert_eq!(ran.len(), 1, "all on that node");
    bounded(cluster.shutdown()).await;
}
