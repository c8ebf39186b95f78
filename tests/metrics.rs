//! What operators look at: metrics as text and over HTTP, with what is wanted and not there.

use mobula::ops::http;
use mobula::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

mod common;
#[path = "common/tenant.rs"]
mod tenant;
use common::{bounded, ends_without_a_trace};
use tenant::Tenant;

mobula::test_worker!();

/// The value of a metric, by how its line begins.
fn value(text: &str, begins: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(begins).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Metrics in which `begins` is so much, once the head has heard of what makes it so.
async fn metrics_with(cluster: &Cluster, begins: &str, wanted: f64) -> String {
    let looking = async {
        loop {
            let text = cluster.metrics().await.unwrap();
            if value(&text, begins) == Some(wanted) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    bounded(looking).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wanted_and_not_there_is_a_metric() {
    let cluster = bounded(Cluster::local().workers(1).cpus(2.0)).await.unwrap();
    let one = bounded(Tenant::spawn(&cluster).name("one")).await.unwrap();
    let text = bounded(cluster.metrics()).await.unwrap();
    assert_eq!(value(&text, r#"mobula_nodes{role="worker",suspect="false"}"#), Some(1.0), "{text}");
    assert_eq!(value(&text, r#"mobula_actors{state="running"}"#), Some(1.0), "{text}");
    assert_eq!(value(&text, r#"mobula_demand_missing{resource="cpu"}"#), Some(0.0), "nothing waits: {text}");
    assert!(text.contains(r#"resource="cpu"} 2.0"#) && text.contains(r#"resource="cpu"} 1.0"#), "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");

    let (two, three) = (Tenant::spawn(&cluster), Tenant::spawn(&cluster).cpus(1.5));
    let two = bounded(two).await.unwrap();
    let three = tokio::spawn(three.into_future());
    let text = metrics_with(&cluster, r#"mobula_demand_missing{resource="cpu"}"#, 1.5).await;
    let waits = r#"{kind="actor",name="metrics::Tenant"}"#;
    assert_eq!(value(&text, &format!("mobula_demand_wanted{waits}")), Some(1.0), "{text}");
    assert_eq!(value(&text, &format!("mobula_demand_granted{waits}")), Some(0.0), "{text}");
    drop((one, two));
    let three = bounded(three).await.unwrap().unwrap();
    let text = bounded(cluster.metrics()).await.unwrap();
    assert_eq!(value(&text, r#"mobula_demand_missing{resource="cpu"}"#), Some(0.0), "{text}");
    drop(three);
    ends_without_a_trace(cluster).await;
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
}

/// The answer to a request, until the server closes.
async fn answer(at: SocketAddr, request: &str) -> String {
    let mut stream = bounded(TcpStream::connect(at)).await.unwrap();
    bounded(stream.write_all(request.as_bytes())).await.unwrap();
    let mut answer = String::new();
    bounded(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_are_served_over_http() {
    let cluster = bounded(Cluster::local().cpus(1.0)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let serving = tokio::spawn(http::serve(cluster.clone(), listener));
    let scraped = answer(at, &get("/metrics")).await;
    let (head, body) = scraped.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/openmetrics-text"), "{head}");
    assert!(body.contains("mobula_store_bytes{of=\"capacity\"}") && body.ends_with("# EOF\n"), "{body}");
    assert!(answer(at, &get("/healthz")).await.ends_with("\r\n\r\nok\n"));
    assert!(answer(at, &get("/nothing")).await.starts_with("HTTP/1.1 404"));
    assert!(answer(at, "not HTTP at all\r\n\r\n").await.starts_with("HTTP/1.1 400"));

    // Who says nothing takes a seat and no more.
    let silent: Vec<_> = futures::future::join_all((0..8).map(|_| TcpStream::connect(at))).await;
    assert!(answer(at, &get("/healthz")).await.ends_with("ok\n"));
    drop(silent);

    cluster.shutdown().await;
    bounded(serving).await.expect("it serves no cluster that it has left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_while_the_head_is_away_is_told_so() {
    let (key, identity) = mobula::ClusterKey::generate().unwrap();
    let head = Cluster::builder().head().cluster_key(key.clone()).identity(identity).listen("tcp://127.0.0.1:0");
    let head = bounded(head).await.unwrap();
    let driver = Cluster::connect(&head.addresses()[0]).cluster_key(key).head_wait(Duration::from_millis(50));
    let driver = bounded(driver).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let serving = tokio::spawn(http::serve(driver.clone(), listener));
    assert!(answer(at, &get("/healthz")).await.ends_with("ok\n"));
    head.shutdown().await;
    for path in ["/healthz", "/metrics"] {
        let away = answer(at, &get(path)).await;
        assert!(away.starts_with("HTTP/1.1 503") && away.contains("the head has been away"), "{away}");
    }
    driver.shutdown().await;
    bounded(serving).await.unwrap();
}
