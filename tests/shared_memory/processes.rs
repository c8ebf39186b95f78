//! Between processes of one host.

use super::support::{MIB, all_is_free, bounded, numbers, until, used};
use futures::{FutureExt, StreamExt};
use mobula::prelude::*;
use mobula::{GetError, task};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs::File;
use std::path::Path;

/// How this process maps stores' segments: those that it only reads.
fn maps() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("/memfd:mobula-") && line.contains(" r--s ")).count()
}

/// Whether an address lies in such a mapping.
pub fn is_mapped<T>(items: &[T]) -> bool {
    let at = items.as_ptr() as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut ranges = maps.lines().filter(|line| line.contains("/memfd:mobula-") && line.contains(" r--s "));
    ranges.any(|line| {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let number = |text| usize::from_str_radix(text, 16).unwrap();
        (number(from)..number(to)).contains(&at)
    })
}

pub fn sum(of: &[u64]) -> u64 {
    of.iter().fold(0, |total, each| total.wrapping_add(*each))
}

/// Looks at a view again and again, on a thread that no end of a life ends, and writes to a file how often it has looked and
/// what it saw, until there is one beside it with the extension `stop`.
pub fn look_until_told(report: &Path, view: View<[u64]>) {
    let report = report.to_owned();
    std::thread::spawn(move || {
        let at_first = sum(&view);
        let mut same = true;
        for round in 1_u64.. {
            same &= sum(&view) == at_first;
            let verdict = if same { "same" } else { "changed" };
            // Put in its place whole: who reads it may come at any time.
            let draft = report.with_extension("draft");
            let written = std::fs::write(&draft, format!("{round} {verdict}"));
            let stops = report.with_extension("stop").exists();
            if stops || written.and_then(|()| std::fs::rename(&draft, &report)).is_err() {
                return;
            }
        }
    });
}

#[task]
pub fn total(of: &[u64]) -> (u64, bool) {
    (sum(of), is_mapped(of))
}

#[task]
fn words(text: &str) -> (usize, bool) {
    (text.split(' ').count(), is_mapped(text.as_bytes()))
}

#[actor]
pub struct Reader {
    kept: Vec<ObjectRef<[u64]>>,
    views: Vec<View<[u64]>>,
    /// Open for no other reason than that others cannot be.
    files: Vec<File>,
}

#[methods]
impl Reader {
    #[constructor(default)]
    pub fn new() -> Self {
        Self { kept: Vec::new(), views: Vec::new(), files: Vec::new() }
    }

    /// Knows a total from the beginning.
    #[constructor]
    pub fn of(items: &[u64]) -> mobula::Result<Self> {
        match is_mapped(items) {
            true => Ok(Self { kept: Vec::new(), views: Vec::new(), files: Vec::new() }),
            false => Err(format!("{} items are a copy", items.len()))?,
        }
    }

    pub fn total(&mut self, of: &[u64]) -> (u64, bool) {
        (sum(of), is_mapped(of))
    }

    /// Needs no descriptor to see where that lies.
    pub fn sum(&mut self, of: &[u64]) -> u64 {
        sum(of)
    }

    pub async fn sum_kept(&mut self) -> mobula::Result<u64> {
        Ok(sum(&self.kept[0].clone().await?))
    }

    pub fn last_word(&mut self, words: Vec<String>) -> Option<String> {
        words.into_iter().next_back()
    }

    /// How many words there are, and the total of what is referred to beside them.
    pub async fn inside(&mut self, of: (Vec<String>, ObjectRef<[u64]>)) -> mobula::Result<(usize, u64)> {
        Ok((of.0.len(), sum(&of.1.await?)))
    }

    pub fn length(&mut self, text: &str) -> usize {
        text.len()
    }

    pub fn keep(&mut self, objects: Vec<ObjectRef<[u64]>>) {
        self.kept.extend(objects);
    }

    pub async fn view(&mut self) -> mobula::Result<(u64, bool)> {
        let (mut total, mut in_place) = (0_u64, true);
        for object in &self.kept {
            let view = object.clone().await?;
            total = total.wrapping_add(sum(&view));
            in_place &= is_mapped(&view);
            self.views.push(view);
        }
        Ok((total, in_place))
    }

    /// Waits until what it keeps is there, without reading it.
    pub async fn watch(&mut self, ctx: &mut ActorContext<Self>) -> usize {
        ctx.cluster().as_settled(self.kept.clone()).count().await
    }

    /// Begins to read what it keeps, and waits for none of it; says how many were at hand.
    pub fn glance(&mut self, ctx: &mut ActorContext<Self>) -> usize {
        let cluster = ctx.cluster();
        self.kept.iter().filter_map(|object| cluster.get(object).now_or_never()).count()
    }

    pub fn views(&mut self) -> u64 {
        self.views.iter().map(|view| sum(view)).fold(0, u64::wrapping_add)
    }

    /// Begins to look at the first that it keeps.
    pub async fn look_at(&mut self, report: String) -> mobula::Result<()> {
        look_until_told(Path::new(&report), self.kept[0].clone().await?);
        Ok(())
    }

    pub fn close(&mut self) {
        self.views.clear();
    }

    pub fn forget(&mut self) {
        self.kept.clear();
    }

    pub async fn make(
        &mut self,
        ctx: &mut ActorContext<Self>,
        seed: u64,
        bytes: usize,
    ) -> mobula::Result<ObjectRef<[u64]>> {
        Ok(ctx.cluster().put_slice(&numbers(seed, bytes)).await?)
    }

    pub fn pass_on(&mut self, to: ReaderHandle) -> ObjectRef<(u64, bool)> {
        to.total(&self.kept[0]).submit()
    }

    /// Takes all descriptors that its process may have.
    pub fn starve(&mut self) -> usize {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(1_024);
        setrlimit(Resource::Nofile, limit).unwrap();
        self.files.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
        self.files.len()
    }

    pub fn feed(&mut self) {
        self.files.clear();
    }

    pub fn process(&mut self) -> u32 {
        std::process::id()
    }

    pub fn used(&mut self, ctx: &mut ActorContext<Self>) -> (usize, usize) {
        (used(&ctx.cluster()), maps())
    }
}

pub async fn readers(cluster: &Cluster) -> Vec<ReaderHandle> {
    let mut readers = Vec::new();
    for node in cluster.nodes().into_iter().filter(|node| node.hosts_actors) {
        readers.push(bounded(Reader::spawn(cluster).on(node.id)).await.unwrap());
    }
    readers
}

async fn tasks_and_methods_borrow_from_shared_memory() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let readers = readers(&cluster).await;
    let items = numbers(1, 9 * MIB);
    let object = bounded(cluster.put_slice(&items)).await.unwrap();
    for _ in 0..4 {
        assert_eq!(bounded(total::call(&cluster, &object)).await, Ok((sum(&items), true)));
    }
    for reader in &readers {
        assert_eq!(bounded(reader.total(&object)).await, Ok((sum(&items), true)));
    }
    bounded(Reader::spawn_of(&cluster, &object)).await.expect("a constructor borrows as well");
    let text = bounded(cluster.put_str(&"vast sea ".repeat(100_000))).await.unwrap();
    assert_eq!(bounded(words::call(&cluster, &text)).await, Ok((200_001, true)));
    assert_eq!(bounded(readers[0].length(&text)).await, Ok(900_000));
    drop((object, text));
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn a_view_keeps_its_object_and_a_reference_alone_pins_nothing() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let object = bounded(cluster.put_slice(&numbers(1, 5 * MIB))).await.unwrap();
    bounded(reader.keep(vec![object.clone()])).await.unwrap();
    for _ in 0..2 {
        assert_eq!(bounded(reader.view()).await.unwrap(), (sum(&numbers(1, 5 * MIB)), true));
        assert_eq!(cluster.store_usage().pinned, 5 * MIB);
        bounded(reader.close()).await.unwrap();
        until("the pin to end", || cluster.store_usage().pinned == 0).await;
        assert_eq!(used(&cluster), 5 * MIB, "the object stays");
    }
    bounded(reader.view()).await.unwrap();
    drop(object);
    bounded(reader.forget()).await.unwrap();
    until("only the view to be left", || cluster.shared_objects().lent == 0).await;
    assert_eq!(cluster.store_usage().pinned, 5 * MIB, "a view keeps its bytes");
    assert_eq!(bounded(reader.views()).await, Ok(sum(&numbers(1, 5 * MIB))));
    bounded(reader.close()).await.unwrap();
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn who_waits_for_an_object_and_does_not_read_it_pins_nothing() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let object = bounded(cluster.put_slice(&numbers(1, 5 * MIB))).await.unwrap();
    bounded(reader.keep(vec![object.clone()])).await.unwrap();
    assert_eq!(bounded(reader.watch()).await, Ok(1));
    until("the pin to end", || cluster.store_usage().pinned == 0).await;
    assert_eq!(bounded(reader.view()).await.unwrap(), (sum(&numbers(1, 5 * MIB)), true), "it is read in place still");
    bounded(reader.close()).await.unwrap();
    bounded(reader.forget()).await.unwrap();
    drop(object);
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn a_get_that_is_dropped_leaves_no_pin() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let object = bounded(cluster.put_slice(&numbers(1, 5 * MIB))).await.unwrap();
    bounded(reader.keep(vec![object.clone()])).await.unwrap();
    // Before it was ever fetched; then when it is known where it lies.
    assert_eq!(bounded(reader.glance()).await, Ok(0));
    assert_eq!(bounded(reader.watch()).await, Ok(1));
    until("the first pin to end", || cluster.store_usage().pinned == 0).await;
    assert_eq!(bounded(reader.glance()).await, Ok(0));
    // Asked for after them, and so answered after them: their pins were taken.
    assert_eq!(bounded(reader.view()).await.unwrap(), (sum(&numbers(1, 5 * MIB)), true));
    bounded(reader.close()).await.unwrap();
    until("all pins to end", || cluster.store_usage().pinned == 0).await;
    assert_eq!(used(&cluster), 5 * MIB, "the object stays");
    bounded(reader.forget()).await.unwrap();
    drop(object);
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn what_a_worker_owns_is_read_by_the_driver_and_passed_on_by_others() {
    let cluster = bounded(Cluster::local().workers(2)).await.unwrap();
    let [one, two] = &readers(&cluster).await[..] else { panic!("two workers") };
    let object = bounded(one.make(7, 6 * MIB)).await.unwrap();
    let view = bounded(cluster.get(&object)).await.unwrap();
    assert!(is_mapped(&view) && *view == *numbers(7, 6 * MIB));
    assert_eq!(bounded(two.total(&object)).await, Ok((sum(&view), true)));
    bounded(two.keep(vec![object.clone()])).await.unwrap();
    let passed: ObjectRef<(u64, bool)> = bounded(two.pass_on(one.clone())).await.unwrap();
    // Home again, it lies in its owner's own memory.
    assert_eq!(bounded(passed).await, Ok((sum(&view), false)));
    let victim = bounded(one.process()).await.unwrap();
    assert_eq!(std::process::Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap().code(), Some(0));
    let lost = bounded(async {
        loop {
            match bounded(two.view()).await {
                Ok(_) => bounded(two.close()).await.unwrap(),
                Err(error) => break error,
            }
        }
    });
    assert!(lost.await.to_string().contains("lost"));
    assert_eq!(*view, *numbers(7, 6 * MIB), "views outlive the owner");
    drop(view);
    until("the segment to be unmapped", || maps() == 0).await;
    let gone = bounded(cluster.get(&object)).await.unwrap_err();
    assert!(matches!(gone, GetError::Lost { .. }), "{gone}");
    bounded(cluster.shutdown()).await;
}

async fn a_reader_that_is_killed_with_views_open_frees_them() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let object = bounded(cluster.put_slice(&numbers(1, 5 * MIB))).await.unwrap();
    bounded(reader.keep(vec![object.clone()])).await.unwrap();
    bounded(reader.view()).await.unwrap();
    assert_eq!(cluster.store_usage().pinned, 5 * MIB);
    let victim = bounded(reader.process()).await.unwrap();
    assert_eq!(std::process::Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap().code(), Some(0));
    until("the pins to end", || cluster.store_usage().pinned == 0).await;
    drop(object);
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn holders_that_are_killed_at_the_same_time_are_all_forgotten() {
    let cluster = bounded(Cluster::local().workers(3)).await.unwrap();
    let readers = readers(&cluster).await;
    let object = bounded(cluster.put_slice(&numbers(1, 5 * MIB))).await.unwrap();
    let mut processes = Vec::new();
    for reader in &readers {
        bounded(reader.keep(vec![object.clone()])).await.unwrap();
        processes.push(bounded(reader.process()).await.unwrap());
    }
    processes.into_iter().for_each(super::common::kill);
    drop(object);
    all_is_free(&cluster).await;
    assert_eq!(cluster.shared_objects().lent, 0);
    bounded(cluster.shutdown()).await;
}

async fn arguments_on_disk_come_back_for_other_processes() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Cluster::local().workers(1).store_memory(8 * MIB).spill_to(folder.path().join("objects"));
    let cluster = bounded(builder).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let mut objects = Vec::new();
    for seed in 0..12 {
        objects.push(bounded(cluster.put_slice(&numbers(seed, 2 * MIB))).await.unwrap());
    }
    let tasks: Vec<_> = objects.iter().map(|object| total::submit(&cluster, object)).collect();
    let calls: Vec<_> = objects.iter().map(|object| reader.total(object).submit()).collect();
    for ((task, call), seed) in tasks.iter().zip(&calls).zip(0..) {
        let expected = (sum(&numbers(seed, 2 * MIB)), true);
        assert_eq!(bounded(cluster.get(task)).await, Ok(expected), "task {seed}");
        assert_eq!(bounded(cluster.get(call)).await, Ok(expected), "call {seed}");
    }
    drop((objects, tasks, calls));
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn a_process_without_descriptors_reads_bytes_and_in_place_again_when_it_has_some() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let words = vec!["word".to_owned(); 100_000];
    // What is not plain is never read in place: the lane that bytes come over is open.
    let words = bounded(cluster.put(words)).await.unwrap();
    bounded(reader.last_word(&words)).await.unwrap();
    let mut objects = Vec::new();
    for seed in 0..4 {
        objects.push(bounded(cluster.put_slice(&numbers(seed, 5 * MIB))).await.unwrap());
    }
    let total = |seed| sum(&numbers(seed, 5 * MIB));
    assert_eq!(bounded(reader.total(&objects[0])).await, Ok((total(0), true)));
    assert!(bounded(reader.starve()).await.unwrap() > 0);
    assert_eq!(bounded(reader.sum(&objects[1])).await, Ok(total(1)));
    assert_eq!(bounded(reader.sum(&objects[0])).await, Ok(total(0)), "its segment is known already");
    bounded(reader.keep(vec![objects[2].clone()])).await.unwrap();
    assert_eq!(bounded(reader.sum_kept()).await.unwrap(), total(2));
    assert_eq!(cluster.store_usage().pinned, 0, "it has a copy, and no pin");
    bounded(reader.feed()).await.unwrap();
    assert_eq!(bounded(reader.total(&objects[3])).await, Ok((total(3), true)));
    bounded(reader.forget()).await.unwrap();
    drop((objects, words));
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

async fn an_argument_that_was_read_in_place_once_comes_as_bytes_when_it_cannot_be_again() {
    let folder = tempfile::tempdir().unwrap();
    let builder = Cluster::local().workers(1).store_memory(16 * MIB).spill_to(folder.path().join("objects"));
    let cluster = bounded(builder).await.unwrap();
    let reader = readers(&cluster).await.remove(0);
    let words = bounded(cluster.put(vec!["word".to_owned(); 100_000])).await.unwrap();
    bounded(reader.last_word(&words)).await.unwrap();
    let object = bounded(cluster.put_slice(&numbers(1, 5 * MIB))).await.unwrap();
    bounded(reader.keep(vec![object.clone()])).await.unwrap();
    assert_eq!(bounded(reader.watch()).await, Ok(1));
    assert!(bounded(reader.starve()).await.unwrap() > 0);
    // It goes to disk for these, and comes back elsewhere: into memory that the reader cannot map.
    let mut others = Vec::new();
    for seed in 2..8 {
        others.push(bounded(cluster.put_slice(&numbers(seed, 5 * MIB))).await.unwrap());
    }
    for _ in 0..2 {
        assert_eq!(bounded(reader.sum(&object)).await, Ok(sum(&numbers(1, 5 * MIB))));
        assert_eq!(bounded(reader.sum_kept()).await.unwrap(), sum(&numbers(1, 5 * MIB)));
    }
    bounded(reader.forget()).await.unwrap();
    drop((object, others, words));
    all_is_free(&cluster).await;
    bounded(cluster.shutdown()).await;
}

super::quiet::leave_nothing! {
    tasks_and_methods_borrow_from_shared_memory
    a_view_keeps_its_object_and_a_reference_alone_pins_nothing
    who_waits_for_an_object_and_does_not_read_it_pins_nothing
    a_get_that_is_dropped_leaves_no_pin
    what_a_worker_owns_is_read_by_the_driver_and_passed_on_by_others
    a_reader_that_is_killed_with_views_open_frees_them
    holders_that_are_killed_at_the_same_time_are_all_forgotten
    arguments_on_disk_come_back_for_other_processes
    a_process_without_descriptors_reads_bytes_and_in_place_again_when_it_has_some
    an_argument_that_was_read_in_place_once_comes_as_bytes_when_it_cannot_be_again
}
