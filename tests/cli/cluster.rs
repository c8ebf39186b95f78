//! A head, workers and drivers, each a process of its own.

use crate::support::{BOUND, Clerk, Keys, Running, bounded, mobula, nodes, status, text, until};
use mobula::Cluster;
use mobula::error::{AskError, Executed};
use rustix::process::Signal;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_other_processes_join_a_published_head_and_are_shown() {
    let keys = Keys::new();
    let (head, address) = Running::head(&keys, "tcp://127.0.0.1:0", &[]);
    let mut program = keys.program(Some("worker"), Some(&address));
    program.env("MOBULA_LISTEN", "tcp://0.0.0.0:0").env("MOBULA_CPUS", "3").env("MOBULA_RESOURCES", "gpu=2");
    let worker = Running::start(program.env("MOBULA_LABELS", "zone=a").env("MOBULA_NAMESPACE", "shop"));
    until(|| nodes(&status(&keys, &address), "worker").len() == 1).await;

    let driver = keys.program(None, Some(&address)).output().unwrap();
    assert!(driver.status.success(), "{}", text(&driver.stderr));
    let said = format!("driver: 1 by {}", worker.id());
    assert!(text(&driver.stdout).contains(&said), "its actor ran in the worker: {}", text(&driver.stdout));

    let cluster = bounded(Cluster::connect(&address).key(keys.file())).await.unwrap();
    let clerk = Clerk::spawn(&cluster, keys.path()).name("clerk").cpus(0.5).resource("gpu", 1.0).label("zone", "a");
    let clerk = bounded(clerk).await.unwrap();
    assert_eq!(bounded(clerk.process()).await, Ok(worker.id()));
    let shown = status(&keys, &address);
    assert_eq!((nodes(&shown, "head").len(), nodes(&shown, "worker").len(), nodes(&shown, "driver").len()), (1, 1, 1));
    let node = nodes(&shown, "worker")[0];
    assert_eq!(node["process"], worker.id());
    assert_eq!((&node["resources"]["cpu"]["total"], &node["resources"]["cpu"]["free"]), (&3.0.into(), &2.5.into()));
    assert_eq!((&node["resources"]["gpu"]["total"], &node["resources"]["gpu"]["free"]), (&2.0.into(), &1.0.into()));
    let listens = node["addresses"][0].as_str().unwrap();
    assert!(listens.starts_with("tcp://127.0.0.1:"), "where the head's side finds it, not every interface: {listens}");
    let [actor] = &**shown["actors"].as_array().unwrap() else { panic!("the named actor alone: {shown:#}") };
    assert_eq!((&actor["name"], &actor["state"], &actor["node"]), (&"clerk".into(), &"running".into(), &node["id"]));
    assert_eq!(actor["type"], "cli::Clerk");

    let table = mobula(&["status", "--address", &address, "--key"]).arg(keys.file()).output().unwrap();
    let lines: Vec<&str> = text(&table.stdout).lines().collect();
    assert!(lines[0].starts_with("NODE") && lines[0].ends_with("ADDRESS"), "{lines:#?}");
    let expected = |line: &&&str| line.contains("clerk") && line.contains("cli::Clerk") && line.contains("running");
    assert_eq!(lines.iter().filter(expected).count(), 1, "{lines:#?}");

    bounded(cluster.shutdown()).await;
    assert_eq!(worker.terminated().await.0.code(), Some(0));
    assert_eq!(status(&keys, &address)["nodes"].as_array().unwrap().len(), 1, "who left is gone, at once");
    assert_eq!(head.terminated().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_worker_is_started_again_when_it_crashes_and_ends_when_its_keeper_is_told_to() {
    let keys = Keys::new();
    let (_head, address) = Running::head(&keys, "tcp://127.0.0.1:0", &["--lease", "5m"]);
    let keeper = Running::start(&mut keys.kept_program(&address));
    let processes = || {
        let shown = status(&keys, &address);
        nodes(&shown, "worker").iter().map(|node| node["process"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    until(|| processes().len() == 1).await;
    let first = processes()[0];
    let crashes = rustix::process::Pid::from_raw(i32::try_from(first).unwrap()).unwrap();
    rustix::process::kill_process(crashes, Signal::KILL).unwrap();
    // Long before its lease is over.
    until(|| matches!(processes()[..], [now] if now != first)).await;
    let (ended, said) = keeper.terminated().await;
    assert_eq!(ended.code(), Some(0), "{said}");
    assert!(said.contains("has ended (signal: 9 (SIGKILL)): it is started again in 100ms"), "{said}");
    assert!(processes().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_terminated_answers_what_it_took_on_and_leaves() {
    let keys = Keys::new();
    let (_head, address) = Running::head(&keys, "tcp://127.0.0.1:0", &[]);
    let worker = Running::start(&mut keys.program(Some("worker"), Some(&address)));
    until(|| nodes(&status(&keys, &address), "worker").len() == 1).await;
    let cluster = bounded(Cluster::connect(&address).key(keys.file())).await.unwrap();
    let clerk = bounded(Clerk::spawn(&cluster, keys.path())).await.unwrap();
    let idle = bounded(Clerk::spawn(&cluster, keys.path())).await.unwrap();

    let asked = clerk.clone();
    let answers = tokio::spawn(futures::future::join3(asked.hold(), asked.work(), asked.work()));
    until(|| keys.folder.path().join("begun").exists()).await;
    // What one node sends another arrives in order: the three are there.
    assert_eq!(bounded(idle.work()).await, Ok(1));
    worker.signal(Signal::TERM);
    until(|| keys.folder.path().join("stopped-after-1").exists()).await;
    assert!(bounded(idle.work()).await.is_err(), "nothing new is taken on");
    std::fs::write(keys.folder.path().join("go"), "").unwrap();

    assert_eq!(bounded(answers).await.unwrap(), (Ok(1), Ok(2), Ok(3)));
    assert!(keys.folder.path().join("stopped-after-3").exists(), "`on_stop` ran after the last");
    let (status, said) = worker.ended().await;
    assert_eq!((status.code(), &*said), (Some(0), ""));
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_worker_whose_actors_do_not_come_to_their_end() {
    let keys = Keys::new();
    let (_head, address) = Running::head(&keys, "tcp://127.0.0.1:0", &[]);
    let worker = Running::start(&mut keys.program(Some("worker"), Some(&address)));
    until(|| nodes(&status(&keys, &address), "worker").len() == 1).await;
    let cluster = bounded(Cluster::connect(&address).key(keys.file())).await.unwrap();
    let clerk = bounded(Clerk::spawn(&cluster, keys.path())).await.unwrap();
    let idle = bounded(Clerk::spawn(&cluster, keys.path())).await.unwrap();
    let held = tokio::spawn(clerk.hold().into_future());
    until(|| keys.folder.path().join("begun").exists()).await;
    worker.signal(Signal::TERM);
    until(|| keys.folder.path().join("stopped-after-0").exists()).await;
    worker.signal(Signal::INT);
    let (status, _) = worker.ended().await;
    assert_eq!(status.code(), Some(0));
    assert!(bounded(held).await.unwrap().is_err(), "the call that held it up has failed");
    assert!(bounded(idle.work()).await.is_err());
    bounded(cluster.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_starts_again_is_found_again_by_its_workers() {
    let keys = Keys::new();
    let (head, address) = Running::head(&keys, "tcp://127.0.0.1:0", &["--lease", "3s"]);
    let worker = Running::start(&mut keys.program(Some("worker"), Some(&address)));
    until(|| nodes(&status(&keys, &address), "worker").len() == 1).await;
    let driver =
        bounded(Cluster::connect(&address).key(keys.file()).head_wait(Duration::from_millis(300))).await.unwrap();
    let before = status(&keys, &address);
    head.signal(Signal::KILL);
    head.ended().await;
    assert!(matches!(bounded(driver.status()).await, Err(AskError::HeadAway { executed: Executed::No, .. })));

    let (head, again) = Running::head(&keys, &address, &["--lease", "3s"]);
    assert_eq!(again, address);
    until(|| nodes(&status(&keys, &address), "worker").len() == 1).await;
    let after = status(&keys, &address);
    assert!(after["head"]["epoch"].as_u64() > before["head"]["epoch"].as_u64());
    let (was, is) = (nodes(&before, "worker")[0], nodes(&after, "worker")[0]);
    assert_eq!((&is["process"], &is["id"]), (&was["process"], &was["id"]));
    assert!(is["life"].as_u64() > was["life"].as_u64(), "it joined anew, as a later life");
    let looked = async {
        loop {
            if let Ok(seen) = driver.status().await {
                return seen;
            }
        }
    };
    let seen = bounded(looked).await;
    assert!(seen.nodes.iter().any(|node| node.process == worker.id()), "the driver is back as well: {seen:?}");
    bounded(driver.shutdown()).await;
    let driver = keys.program(None, Some(&address)).output().unwrap();
    assert!(text(&driver.stdout).contains(&format!("driver: 1 by {}", worker.id())), "{}", text(&driver.stderr));
    assert_eq!(worker.terminated().await.0.code(), Some(0));
    assert_eq!(head.terminated().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_serves_metrics_where_it_is_told_to() {
    let keys = Keys::new();
    let mut command = mobula(&["head", "--listen", "tcp://127.0.0.1:0", "--http", "127.0.0.1:0"]);
    let head = Running::start(command.arg("--key").arg(keys.file()));
    let line = head.line_with("mobula head: metrics at http://");
    let at = line.trim_start_matches("mobula head: metrics at http://").trim_end_matches("/metrics").to_owned();
    head.line_with("mobula head: ready at ");
    let scraped = bounded(tokio::task::spawn_blocking(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&at).unwrap();
        stream.set_read_timeout(Some(BOUND)).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer).unwrap()
    }))
    .await
    .unwrap();
    assert!(scraped.starts_with("HTTP/1.1 200"), "{scraped}");
    assert!(scraped.contains(r#"mobula_nodes{role="head",suspect="false"} 1"#), "{scraped}");
    assert_eq!(head.terminated().await.0.code(), Some(0));
}
