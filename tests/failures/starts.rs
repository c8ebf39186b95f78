//! Nodes and spawns that cannot be: each error says what stands in the way, and what to do about it.

use crate::actors::{Gate, Holder, Sloth};
use crate::common::*;
use crate::heads::Keys;
use crate::stranger::{frame, greeting, ready};
use mobula::net::DialError;
use mobula::prelude::*;
use mobula::{SpawnError, StartError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn dial_error(started: Result<Cluster, StartError>) -> DialError {
    match started {
        Err(StartError::Head(error)) => error,
        other => panic!("the head cannot be reached: {other:?}"),
    }
}

/// Answers whoever connects with these bytes.
async fn says(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let bytes = bytes.clone();
            tokio::spawn(async move {
                let _ = stream.write_all(&bytes).await; // the dialer may have gone
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_head_that_nobody_can_reach_is_said_to_be_so() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let keys = Keys::new();
    for builder in [Cluster::connect(format!("tcp://{free}")), Cluster::builder().worker_of(&keys.address)] {
        let builder = builder.cluster_key(keys.key.clone()).head_wait(Duration::from_millis(300));
        let error = dial_error(bounded(builder).await);
        assert!(matches!(error, DialError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("check the address, and that the node runs"), "{error}");
    }
}

#[tokio::test]
async fn a_node_with_another_key_is_told_at_once_to_take_the_same() {
    let keys = Keys::new();
    let head = Cluster::builder().head().listen("tcp://127.0.0.1:0").cluster_key(keys.key.clone());
    let head = bounded(head.identity(keys.head.clone())).await.unwrap();
    let (address, other) = (head.addresses().remove(0), Keys::new());
    for builder in [Cluster::connect(&address), Cluster::builder().worker_of(&address)] {
        // Waiting for the head would not help.
        let builder = builder.cluster_key(other.key.clone()).head_wait(Duration::from_secs(600));
        let error = dial_error(bounded(builder).await);
        assert!(matches!(error, DialError::WrongKey { .. }), "{error:?}");
        assert!(error.to_string().contains("give both nodes the same file of `mobula key new`"), "{error}");
    }
    ends_without_a_trace(head).await;
}

#[tokio::test]
async fn a_head_of_another_wire_version_is_told_apart_from_what_is_no_head() {
    let keys = Keys::new();
    let other = [&b"MOBULA"[..], &[0x34, 0x12]].concat();
    let version = says([greeting(), ready("ROUTER", b""), frame(&other)].concat()).await;
    let builder = Cluster::connect(version).cluster_key(keys.key.clone()).head_wait(Duration::from_secs(600));
    let error = dial_error(bounded(builder).await);
    assert!(matches!(error, DialError::WireVersion { theirs: 0x1234, .. }), "{error:?}");
    assert!(error.to_string().contains("run the same version of mobula on both"), "{error}");

    let web = says(b"HTTP/1.1 400 Bad Request\r\n\r\n".repeat(20)).await;
    let builder = Cluster::connect(web).cluster_key(keys.key.clone()).head_wait(Duration::from_secs(600));
    let error = dial_error(bounded(builder).await);
    assert!(matches!(error, DialError::NotMobula { .. }), "{error:?}");
    assert!(error.to_string().contains("check the port"), "{error}");
}

#[tokio::test]
async fn a_node_without_key_or_with_a_wrong_address_does_not_start() {
    let error = bounded(Cluster::connect("tcp://127.0.0.1:7400")).await.unwrap_err();
    assert!(matches!(error, StartError::NoKey) && error.to_string().contains("MOBULA_KEY"), "{error}");
    let error = bounded(Cluster::connect("head:7400").cluster_key(Keys::new().key)).await.unwrap_err();
    assert!(matches!(error, StartError::Address(_)) && error.to_string().contains("tcp://host:port"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_type_that_no_worker_was_built_with_is_named_and_never_waited_for() {
    let cluster = bounded(Cluster::local().workers(1)).await.unwrap();
    let error = bounded(Holder::<u32>::spawn(&cluster, 7)).await.unwrap_err();
    assert!(matches!(error, SpawnError::NotPlaced(_)), "{error:?}");
    let named = bounded(Holder::<u32>::spawn(&cluster, 7).name("held")).await.unwrap_err();
    for text in [error.to_string(), named.to_string()] {
        assert!(text.contains("failures::Holder"), "{text}");
    }
    let gate = bounded(Gate::spawn(&cluster)).await.unwrap();
    let sloth = bounded(Sloth::spawn(&cluster, &gate)).await.unwrap();
    assert_eq!(bounded(sloth.noted()).await, Ok(vec![]));
    ends_without_a_trace(cluster).await;
}
