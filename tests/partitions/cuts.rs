//! Workers in network namespaces whose links are cut and mended. Where namespaces cannot be made, these say so and pass.

use crate::common::*;
use crate::ledger::{self, Ledger, LedgerHandle, Load};
use crate::namespaces::{Bridge, CUTS, Cut};
use crate::nodes::{Keys, LEASE, Worker};
use mobula::Executed;
use mobula::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// A head here, and so many workers in namespaces of their own.
struct Parted {
    bridge: Bridge,
    keys: Keys,
    cluster: Arc<Cluster>,
    workers: Vec<Worker>,
}

impl Parted {
    async fn start(workers: u8, lease: Duration) -> Option<Parted> {
        let bridge = Bridge::of(workers)?;
        let keys = Keys::new();
        let cluster = keys.head(&format!("tcp://{}:0", bridge.here()), lease).await;
        let head = cluster.addresses().into_iter().next().unwrap();
        let mut joined = Vec::new();
        for host in 0..workers {
            let at = format!("tcp://{}:7400", bridge.address(host));
            joined.push(keys.worker(Some(&bridge.namespace(host)), &head, &at, &at).await);
        }
        let parted = Parted { bridge, keys, cluster: Arc::new(cluster), workers: joined };
        for worker in &parted.workers {
            until("a worker among the members", || worker.is_known_to(&parted.cluster)).await;
        }
        Some(parted)
    }

    /// A ledger on a worker, and where it writes.
    async fn ledger(&self, host: usize, name: &str) -> (LedgerHandle, std::path::PathBuf) {
        let file = self.keys.file(name);
        let on = self.workers[host].id(&self.cluster);
        let spawned = Ledger::spawn(&self.cluster, file.display().to_string()).on(on);
        (bounded(spawned).await.unwrap(), file)
    }

    async fn ends(self) {
        let Parted { bridge, keys, cluster, workers } = self;
        bounded(Arc::into_inner(cluster).expect("nobody else has it").shutdown()).await;
        workers.into_iter().for_each(|worker| worker.player.kill());
        drop((bridge, keys));
    }
}

/// A load of one ledger, which is not replaced.
fn load_of(caller: u64, ledger: &LedgerHandle) -> Load {
    let ledger = ledger.clone();
    Load::begin(caller, move || std::future::ready(Some(ledger.clone())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_that_is_mended_within_the_lease_loses_nothing_and_fails_nothing() {
    let Some(parted) = Parted::start(1, Duration::from_secs(15)).await else { return };
    let (ledger, file) = parted.ledger(0, "ledger").await;
    let load = load_of(1, &ledger);
    for cut in CUTS {
        load.goes_on_by(200).await;
        parted.bridge.cut(0, cut);
        if cut == Cut::ToHost {
            // It is heard on for as long as its own side of the connection goes on.
            load.stands_still().await;
        } else {
            until("doubt", || !parted.workers[0].is_known_to(&parted.cluster)).await;
        }
        parted.bridge.mend(0, cut);
        until("no doubt", || parted.workers[0].is_known_to(&parted.cluster)).await;
    }
    load.goes_on_by(200).await;
    let (caller, outcomes) = load.ends().await;
    let failed: Vec<_> = outcomes.iter().filter(|(_, executed)| **executed != Executed::Yes).collect();
    assert!(failed.is_empty(), "{failed:?}");
    ledger::check(&ledger::read(&file), caller, &outcomes);
    drop(ledger);
    parted.ends().await;
}

/// What holds of a worker that is cut off for longer than its lease, whichever way.
async fn fences_itself(cut: Cut) {
    let Some(parted) = Parted::start(1, LEASE).await else { return };
    let worker = &parted.workers[0];
    let (ledger, file) = parted.ledger(0, "ledger").await;
    bounded(ledger.tick_every(5)).await.unwrap();
    let load = load_of(1, &ledger);
    load.goes_on_by(200).await;
    until("ticks", || !ledger::ticks(&file).is_empty()).await;

    parted.bridge.cut(0, cut);
    until("the end of its life", || !worker.lives_in(&parted.cluster)).await;
    let ended = ledger::now();
    let (caller, outcomes) = load.ends().await;
    let after = bounded(ledger.write(2, 1)).await.unwrap_err();
    assert_eq!(after.executed(), Executed::No, "what comes after the end of its node does not run");
    parted.bridge.mend(0, cut);
    until("its next life", || worker.is_known_to(&parted.cluster)).await;
    let lines = ledger::read(&file);
    ledger::check(&lines, caller, &outcomes);
    let late: Vec<_> = lines.iter().filter(|line| line.at >= ended).collect();
    assert!(late.is_empty(), "{cut:?}: it wrote after its life had ended: {late:?}");
    assert!(bounded(ledger.write(2, 2)).await.is_err(), "its actors ended with its life");

    let (next, file) = parted.ledger(0, "next").await;
    let load = load_of(1, &next);
    load.goes_on_by(200).await;
    let (caller, outcomes) = load.ends().await;
    ledger::check(&ledger::read(&file), caller, &outcomes);
    drop((ledger, next));
    parted.ends().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_whose_link_is_down_fences_itself_before_its_life_ends_and_joins_anew() {
    fences_itself(Cut::Link).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_not_heard_fences_itself_before_its_life_ends_and_joins_anew() {
    fences_itself(Cut::FromHost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_hears_nothing_fences_itself_before_its_life_ends_and_joins_anew() {
    fences_itself(Cut::ToHost).await;
}

/// Calls a ledger for others.
#[actor]
pub struct Relay {
    ledger: LedgerHandle,
}

#[methods(concurrency = 64)]
impl Relay {
    #[constructor]
    pub fn to(ledger: LedgerHandle) -> Self {
        Self { ledger }
    }

    /// What became of the call.
    pub async fn write(&self, number: u64) -> String {
        match self.ledger.write(1, number).await {
            Ok(_) => "Yes".to_owned(),
            Err(error) => format!("{:?}", error.executed()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_between_workers_that_lost_each_other_say_so_and_go_on_when_they_meet_again() {
    let Some(parted) = Parted::start(2, Duration::from_secs(30)).await else { return };
    let (ledger, file) = parted.ledger(0, "ledger").await;
    let relay =
        bounded(Relay::spawn(&parted.cluster, &ledger).on(parted.workers[1].id(&parted.cluster))).await.unwrap();
    let mut outcomes = ledger::Outcomes::new();
    let executed = |said: &str| match said {
        "Yes" => Executed::Yes,
        "Maybe" => Executed::Maybe,
        "No" => Executed::No,
        other => panic!("{other}"),
    };
    for number in 1..=20 {
        outcomes.insert(number, executed(&bounded(relay.write(number)).await.unwrap()));
    }
    assert!(outcomes.values().all(|executed| *executed == Executed::Yes));

    parted.bridge.part(0, 1);
    // What is sent into the silence may have arrived; what comes later is not sent at all.
    let sent = executed(&bounded(relay.write(21)).await.unwrap());
    assert_eq!(sent, Executed::Maybe);
    let next = executed(&bounded(relay.write(22)).await.unwrap());
    assert_eq!(next, Executed::No);
    outcomes.extend([(21, sent), (22, next)]);
    assert!(parted.workers.iter().all(|worker| worker.is_known_to(&parted.cluster)), "the head hears both");
    assert!(bounded(ledger.write(2, 1)).await.is_ok(), "and both are reached from elsewhere");

    parted.bridge.join(0, 1);
    let mut number = 22;
    let mut again = Executed::No;
    let meeting = async {
        while again != Executed::Yes {
            number += 1;
            again = executed(&relay.write(number).await.unwrap());
            outcomes.insert(number, again);
        }
    };
    bounded(meeting).await;
    ledger::check(&ledger::read(&file), 1, &outcomes);
    drop((ledger, relay));
    parted.ends().await;
}

/// A sequence of numbers that anybody who knows the seed can have again (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_cut_and_stopped_when_nothing_runs_twice_or_out_of_order_and_all_goes_on() {
    let seed = std::env::var("MOBULA_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("seed {seed}: another one by MOBULA_TEST_SEED");
    let Some(parted) = Parted::start(2, LEASE).await else { return };
    let mut chance = Chance(seed);
    let loads: Vec<_> = (0..2)
        .map(|host| {
            let (cluster, on) = (parted.cluster.clone(), parted.workers[host].id(&parted.cluster));
            let file = parted.keys.file(&format!("ledger {host}")).display().to_string();
            Load::begin(1, move || {
                let spawned = Ledger::spawn(&cluster, file.clone()).on(on).timeout(BOUND);
                async move { spawned.await.ok() }
            })
        })
        .collect();
    for load in &loads {
        load.goes_on_by(100).await;
    }
    for _ in 0..5 {
        let host = chance.below(2) as u8;
        let hold = Duration::from_millis(chance.below(2_000) + if chance.below(3) == 0 { 4_000 } else { 0 });
        let process = parted.workers[usize::from(host)].player.process();
        let what = CUTS.get(chance.below(4) as usize).copied();
        match what {
            Some(cut) => parted.bridge.cut(host, cut),
            None => signal(process, rustix::process::Signal::STOP),
        }
        // How long it lasts is the test's to say.
        tokio::time::sleep(hold).await;
        match what {
            Some(cut) => parted.bridge.mend(host, cut),
            None => signal(process, rustix::process::Signal::CONT),
        }
        println!("{what:?} of worker {host} for {hold:?}");
        loads[usize::from(1 - host)].goes_on_by(10).await;
    }
    for (host, load) in loads.into_iter().enumerate() {
        load.goes_on_by(100).await;
        let (caller, outcomes) = load.ends().await;
        ledger::check(&ledger::read(&parted.keys.file(&format!("ledger {host}"))), caller, &outcomes);
    }
    parted.ends().await;
}
