//! References between processes: what they promise wherever they went, and that nothing is kept once they are gone.

use mobula::prelude::*;
use mobula::{Executed, GetError, Part, SharedObjects};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

mobula::test_worker!();

type Blob = Vec<u8>;

/// References inside a value of the user's own.
#[derive(Clone, Serialize, Deserialize)]
struct Parcel {
    name: String,
    blobs: Vec<ObjectRef<Blob>>,
}

/// Cannot be encoded: its `Serialize` panics.
#[derive(Clone, Deserialize)]
struct Explosive(u32);

impl Serialize for Explosive {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("it goes off")
    }
}

/// Open once a [`Gated`] that opens it was read by another node.
static GATE: std::sync::LazyLock<tokio::sync::watch::Sender<bool>> = std::sync::LazyLock::new(Default::default);

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(transparent)]
struct Gated {
    opens: bool,
}

impl Serialize for Gated {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.opens {
            GATE.send_replace(true);
        }
        self.opens.serialize(to)
    }
}

/// Takes long to encode: until a [`Gated`] that opens was read.
#[derive(Clone, Deserialize)]
struct Slow(String);

impl Serialize for Slow {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (0..2_000).take_while(|_| !*GATE.borrow()).for_each(|_| std::thread::sleep(Duration::from_millis(5)));
        assert!(*GATE.borrow(), "nothing else was read meanwhile");
        self.0.serialize(to)
    }
}

#[task]
fn handles(explosive: Explosive) -> u32 {
    explosive.0
}

#[actor]
struct Keeper {
    kept: Vec<ObjectRef<Blob>>,
    gate: tokio::sync::watch::Sender<bool>,
}

#[methods(concurrency = 8)]
impl Keeper {
    #[constructor]
    pub fn new() -> Self {
        Self { kept: Vec::new(), gate: tokio::sync::watch::Sender::new(false) }
    }

    pub fn keep(&mut self, parcel: Parcel) -> usize {
        self.kept.extend(parcel.blobs);
        self.kept.len()
    }

    pub fn forget(&mut self) {
        self.kept.clear();
    }

    pub fn give(&self) -> Vec<ObjectRef<Blob>> {
        self.kept.clone()
    }

    pub async fn pass_on(&self, to: KeeperHandle) -> mobula::Result<usize> {
        let (name, blobs) = ("passed on".to_owned(), self.kept.clone());
        Ok(to.keep(Parcel { name, blobs }).await?)
    }

    pub async fn lengths(&self) -> mobula::Result<Vec<usize>> {
        let mut lengths = Vec::new();
        for blob in self.kept.clone() {
            lengths.push(blob.await?.len());
        }
        Ok(lengths)
    }

    pub async fn make(&self, ctx: &mut ActorContext<Self>, length: usize) -> mobula::Result<ObjectRef<Blob>> {
        Ok(ctx.cluster().put(vec![7; length]).await?)
    }

    pub async fn make_many(
        &self,
        ctx: &mut ActorContext<Self>,
        number: u64,
    ) -> mobula::Result<ObjectRef<Vec<ObjectRef<u64>>>> {
        let cluster = ctx.cluster();
        let mut many = Vec::new();
        for number in 0..number {
            many.push(cluster.put(number).await?);
        }
        Ok(cluster.put(many).await?)
    }

    pub async fn read_many(&self, of: Vec<ObjectRef<Vec<ObjectRef<u64>>>>) -> mobula::Result<(usize, u64)> {
        let [of] = of.try_into().map_err(|_| "one object")?;
        let many = of.await?;
        let last = many[many.len() - 1].clone().await?;
        Ok((many.len(), last))
    }

    pub async fn slowly(&self, length: usize) -> mobula::Result<Blob> {
        self.gate.subscribe().wait_for(|open| *open).await?;
        Ok(vec![1; length])
    }

    pub async fn read_both(&self, slow: Vec<ObjectRef<Slow>>, opens: Vec<ObjectRef<Gated>>) -> mobula::Result<usize> {
        let both = tokio::try_join!(slow[0].clone().into_future(), opens[0].clone().into_future())?;
        Ok(both.0.0.len())
    }

    /// One that is there once the other was read.
    pub async fn gated(&self, ctx: &mut ActorContext<Self>) -> mobula::Result<Vec<ObjectRef<Gated>>> {
        Ok(vec![ctx.handle().behind_gate().submit().erase(), ctx.cluster().put(Gated { opens: true }).await?])
    }

    pub async fn behind_gate(&self) -> mobula::Result<Gated> {
        GATE.subscribe().wait_for(|open| *open).await?;
        Ok(Gated { opens: false })
    }

    pub fn open(&self) {
        self.gate.send_replace(true);
    }

    pub fn process(&self) -> u32 {
        std::process::id()
    }

    pub fn sum(&self, items: &[u32]) -> u32 {
        items.iter().sum()
    }

    pub fn handle(&self, explosive: &Explosive) -> u32 {
        explosive.0
    }

    pub fn breaks(&self) -> Vec<String> {
        panic!("nothing comes of it")
    }

    pub fn explode(&self) -> Explosive {
        Explosive(3)
    }

    /// Fails by an error of so many bytes.
    pub fn fails_at_length(&self, length: usize) -> mobula::Result<u32> {
        Err("x".repeat(length).into())
    }

    pub fn shared(&self, ctx: &mut ActorContext<Self>) -> (usize, usize, usize) {
        let SharedObjects { lent, borrowed, in_transit, .. } = ctx.cluster().shared_objects();
        (lent, borrowed, in_transit)
    }
}

async fn bounded<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future.into_future()).await.expect("within 20 s")
}

/// Waits until no node shares any object.
async fn nothing_is_shared(cluster: &Cluster, keepers: &[&KeeperHandle]) {
    let quiet = async {
        loop {
            let here = cluster.shared_objects();
            let mut all = vec![(here.lent, here.borrowed, here.in_transit)];
            for keeper in keepers {
                all.push(keeper.shared().await.unwrap());
            }
            if all.iter().all(|shared| *shared == (0, 0, 0)) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    bounded(quiet).await;
}

async fn two_keepers(cluster: &Cluster) -> (KeeperHandle, KeeperHandle) {
    let hosts: Vec<_> = cluster.nodes().into_iter().filter(|node| node.hosts_actors).map(|node| node.id).collect();
    let [one, two] = hosts[..] else { panic!("{} workers", hosts.len()) };
    (bounded(Keeper::spawn(cluster).on(one)).await.unwrap(), bounded(Keeper::spawn(cluster).on(two)).await.unwrap())
}

fn parcel(blobs: Vec<ObjectRef<Blob>>) -> Parcel {
    Parcel { name: "parcel".into(), blobs }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_is_read_wherever_it_went_and_all_is_let_go_when_it_is_gone() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (one, two) = two_keepers(&cluster).await;
    let lengths = [0, 5, 70_000, 3_000_000];
    let mut blobs = Vec::new();
    for length in lengths {
        blobs.push(cluster.put(vec![3; length]).await.unwrap());
    }
    assert_eq!(bounded(one.keep(parcel(blobs.clone()))).await, Ok(4));
    assert_eq!(cluster.shared_objects().lent, 4);
    drop(blobs);
    assert_eq!(bounded(one.lengths()).await.unwrap(), lengths, "they stay while someone elsewhere holds them");
    assert_eq!(bounded(one.pass_on(two.clone())).await.unwrap(), 4);
    bounded(one.forget()).await.unwrap();
    assert_eq!(bounded(two.lengths()).await.unwrap(), lengths, "and after who passed them on has let go");
    let back = bounded(two.give()).await.unwrap();
    assert_eq!(bounded(cluster.get(&back[3])).await.unwrap(), vec![3; 3_000_000], "home again");
    drop(back);
    bounded(two.forget()).await.unwrap();
    nothing_is_shared(&cluster, &[&one, &two]).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_to_what_is_not_there_yet_is_passed_on_and_waited_for_elsewhere() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (one, two) = two_keepers(&cluster).await;
    let late: ObjectRef<Blob, mobula::Failure> = one.slowly(100_000).submit();
    assert_eq!(bounded(two.keep(parcel(vec![late.clone().erase()]))).await, Ok(1));
    let lengths = tokio::spawn(two.lengths());
    bounded(one.open()).await.unwrap();
    assert_eq!(bounded(lengths).await.unwrap().unwrap(), [100_000]);
    drop(late);
    bounded(two.forget()).await.unwrap();
    nothing_is_shared(&cluster, &[&one, &two]).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_of_another_node_are_read_several_at_once() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (one, two) = two_keepers(&cluster).await;
    let gated = bounded(one.gated()).await.unwrap();
    let values = bounded(cluster.get_all(&gated)).await.unwrap();
    assert_eq!(
        values,
        [Gated { opens: false }, Gated { opens: true }],
        "in the order asked for, not that of their coming"
    );
    drop(gated);
    nothing_is_shared(&cluster, &[&one, &two]).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_takes_long_to_encode_holds_up_no_other() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (one, two) = two_keepers(&cluster).await;
    let slow = cluster.put(Slow("slow".into())).await.unwrap();
    let opens = cluster.put(Gated { opens: true }).await.unwrap();
    assert_eq!(bounded(one.read_both(vec![slow], vec![opens])).await, Ok(4));
    nothing_is_shared(&cluster, &[&one, &two]).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_argument_by_reference_is_a_value_where_it_arrives() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (one, two) = two_keepers(&cluster).await;
    let items = cluster.put_slice(&[1_u32, 2, 3]).await.unwrap();
    assert_eq!(bounded(one.sum(&items)).await, Ok(6));
    let made: ObjectRef<Blob> = bounded(two.make(200_000)).await.unwrap();
    assert_eq!(bounded(cluster.get(&made)).await.unwrap().len(), 200_000, "a worker owns it");
    drop(made);
    nothing_is_shared(&cluster, &[&one, &two]).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_owned_is_lost_and_what_it_held_is_let_go() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (one, two) = two_keepers(&cluster).await;
    let made: ObjectRef<Blob> = bounded(one.make(10)).await.unwrap();
    let mine = cluster.put(vec![1; 10]).await.unwrap();
    bounded(one.keep(parcel(vec![mine.clone()]))).await.unwrap();
    let victim = bounded(one.process()).await.unwrap();
    assert_eq!(std::process::Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap().code(), Some(0));
    let lost = bounded(cluster.get(&made)).await.unwrap_err();
    assert!(matches!(&lost, GetError::Lost { object, .. } if *object == made.id()), "{lost:?}");
    assert_eq!(bounded(cluster.get(&mine)).await.unwrap().len(), 10, "its owner lives");
    drop(made);
    nothing_is_shared(&cluster, &[&two]).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_whose_serialize_panics_fails_its_own_call_and_holds_nothing_up() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (one, two) = two_keepers(&cluster).await;
    let explosive = cluster.put(Explosive(1)).await.unwrap();
    let encodes =
        |error: &CallError| matches!(error, CallError::Encode { message, .. } if message.contains("goes off"));
    let by_reference = bounded(one.handle(&explosive)).await.unwrap_err();
    assert!(encodes(&by_reference), "{by_reference:?}");
    let by_value = bounded(one.handle(Explosive(2))).await.unwrap_err();
    assert!(encodes(&by_value), "{by_value:?}");
    let items = cluster.put_slice(&[1_u32, 2]).await.unwrap();
    assert_eq!(bounded(one.sum(&items)).await, Ok(3), "the line behind it goes on");
    let reply = bounded(one.explode()).await.map(drop).unwrap_err();
    assert!(encodes(&reply), "{reply:?}");
    let made: ObjectRef<Explosive> = two.explode().submit();
    let waiters = [made.clone(), made.clone(), made];
    for waiter in waiters {
        let error = bounded(waiter).await.map(drop).unwrap_err();
        assert!(error.to_string().contains("goes off"), "{error:?}");
    }
    let submitted = bounded(one.handle(&explosive).submit()).await.unwrap_err();
    assert!(
        matches!(&submitted, GetError::Encode { what: Part::Arguments, message, .. } if message.contains("goes off")),
        "{submitted:?}"
    );
    let task = bounded(handles::submit(&cluster, &explosive)).await.unwrap_err();
    assert!(task.to_string().contains("goes off"), "{task:?}");
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_submits_a_call_that_fails_on_its_way_learns_what_who_asks_does() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (one, _two) = two_keepers(&cluster).await;
    let asked = bounded(one.fails_at_length(100_000)).await.unwrap_err();
    let submitted = bounded(one.fails_at_length(100_000).submit()).await.unwrap_err();
    assert_eq!((submitted.to_string(), submitted.executed()), (asked.to_string(), asked.executed()));
    let GetError::TooLarge { what, bytes, limit, executed } = submitted else { panic!("{submitted:?}") };
    let CallError::TooLarge { what: of, bytes: asked, limit: most, .. } = asked else { panic!("{asked:?}") };
    assert_eq!((what, bytes, limit, executed), (of, asked, most, Executed::Yes));
    assert!(bytes > 100_000 && limit < bytes);
    bounded(cluster.shutdown()).await;
}

/// How often this process has encoded a [`Counted`].
static ENCODED: AtomicU64 = AtomicU64::new(0);

/// Says how often it is encoded.
#[derive(Clone, Deserialize)]
struct Counted(Vec<String>);

impl Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::Relaxed);
        to.serialize_newtype_struct("Counted", &self.0)
    }
}

/// Reads what it is given, in the order in which it is given.
#[actor]
struct Reader {
    first: usize,
    read: Vec<usize>,
}

#[methods]
impl Reader {
    #[constructor]
    pub fn new(first: Vec<String>, more: &[u32]) -> Self {
        Self { first: first.len() + more.len(), read: Vec::new() }
    }

    pub fn first(&self) -> usize {
        self.first
    }

    pub fn read(&mut self, words: Vec<String>) -> usize {
        self.read.push(words.len());
        words.iter().map(String::len).sum()
    }

    pub fn read_all(&mut self, one: &Counted, words: &[String; 2], numbers: &[u64]) -> usize {
        self.read.push(one.0.len() + words.len() + numbers.len());
        self.read.len()
    }

    pub fn count(&mut self, counted: &Counted) -> usize {
        counted.0.len()
    }

    pub fn order(&self) -> Vec<usize> {
        self.read.clone()
    }
}

fn words(number: usize) -> Vec<String> {
    (0..number).map(|word| format!("word {word:08}")).collect()
}

async fn reader(cluster: &Cluster) -> ReaderHandle {
    let host = cluster.nodes().into_iter().find(|node| node.hosts_actors).unwrap().id;
    bounded(Reader::spawn(cluster, words(1), vec![1]).on(host)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_of_any_size_are_passed_by_value_and_keep_their_order() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let reader = reader(&cluster).await;
    for number in [1, 3_000, 10_000, 200_000] {
        assert_eq!(bounded(reader.read(words(number))).await, Ok(13 * number));
    }
    bounded(reader.read(words(20_001)).tell()).await.unwrap();
    bounded(reader.read(words(2)).tell()).await.unwrap();
    reader.read(words(20_002)).try_tell().unwrap();
    reader.read(words(3)).try_tell().unwrap();
    let submitted = reader.read(words(20_003)).submit();
    assert_eq!(bounded(submitted).await, Ok(13 * 20_003));
    assert_eq!(bounded(reader.order()).await.unwrap()[4..], [20_001, 2, 20_002, 3, 20_003], "one waits for another");
    let all = reader.read_all(Counted(words(9_000)), ["a".repeat(50_000), "b".repeat(50_000)], vec![7; 30_000]);
    assert_eq!(bounded(all).await, Ok(10));
    nothing_is_lent(&cluster).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_value_that_is_passed_by_reference_is_encoded_once() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let reader = reader(&cluster).await;
    let large = cluster.put(Counted(words(50_000))).await.unwrap();
    let before = ENCODED.load(Ordering::Relaxed);
    for _ in 0..5 {
        assert_eq!(bounded(reader.count(&large)).await, Ok(50_000));
    }
    let together = (0..20).map(|_| reader.count(&large)).map(IntoFuture::into_future);
    for counted in bounded(futures::future::join_all(together)).await {
        assert_eq!(counted, Ok(50_000));
    }
    assert_eq!(ENCODED.load(Ordering::Relaxed) - before, 1);
    drop(large);
    nothing_is_lent(&cluster).await;
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_constructor_takes_references_and_values_of_any_size() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (one, _two) = two_keepers(&cluster).await;
    for number in [2, 40_000] {
        let first = cluster.put(words(number)).await.unwrap();
        let more = cluster.put_slice(&vec![7_u32; number]).await.unwrap();
        let here = bounded(Reader::spawn(&cluster, &first, &more)).await.unwrap();
        assert_eq!(bounded(here.first()).await, Ok(2 * number), "by reference");
        let values = bounded(Reader::spawn(&cluster, words(number), vec![7; number])).await.unwrap();
        assert_eq!(bounded(values.first()).await, Ok(2 * number), "by value");
    }
    let first = cluster.put(words(3)).await.unwrap();
    let named = bounded(Reader::spawn(&cluster, &first, vec![1]).name("reader")).await.unwrap();
    assert_eq!(bounded(named.first()).await, Ok(4));
    // One whose value fails: no actor comes to be.
    let never: ObjectRef<Vec<String>> = one.breaks().submit();
    let error = bounded(Reader::spawn(&cluster, &never, vec![1])).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("cannot be had"), "{error}");
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_holds_ten_thousand_references_is_passed_on_read_and_let_go() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let (one, two) = two_keepers(&cluster).await;
    let made: ObjectRef<Vec<ObjectRef<u64>>> = bounded(one.make_many(10_000)).await.unwrap();
    let many = bounded(cluster.get(&made)).await.unwrap();
    assert_eq!(many.len(), 10_000);
    assert_eq!(bounded(two.read_many(vec![made.clone()])).await.unwrap(), (10_000, 9_999), "elsewhere, too");
    drop(made);
    assert_eq!(bounded(cluster.get(&many[4_321])).await, Ok(4_321), "what was inside outlives what held it");
    drop(many);
    nothing_is_shared(&cluster, &[&one, &two]).await;
    bounded(cluster.shutdown()).await;
}

/// Waits until no other node holds anything of this one.
async fn nothing_is_lent(cluster: &Cluster) {
    let quiet = async {
        while cluster.shared_objects().lent > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    bounded(quiet).await;
}
