//! Metrics over HTTP: `GET /metrics` for Prometheus, `GET /healthz` for who restarts what does not answer.
//!
//! It is plain HTTP, and asks nobody who he is: listen where only those come who may see it, such as `127.0.0.1`.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::cluster::client::Cluster;
use crate::directory::AskError;
use crate::directory::request::Query;
use crate::limits::{ACCEPT_PAUSE, HTTP_ANSWER, HTTP_CONNECTIONS, HTTP_TIME};

/// The content type of OpenMetrics 1.0.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves what this node knows of its cluster until it has left that for good, or the future is dropped; meanwhile it holds the
/// cluster, as any clone does. At most [`HTTP_CONNECTIONS`] connections at a time, of one request each, which are over after
/// [`HTTP_TIME`].
///
/// ```no_run
/// # use mobula::prelude::*;
/// # async fn serve(cluster: Cluster) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:7480").await?;
/// tokio::spawn(mobula::ops::http::serve(cluster, listener));
/// # Ok(())
/// # }
/// ```
pub async fn serve(cluster: Cluster, listener: TcpListener) {
    tokio::select! {
        _ = cluster.departed() => {}
        () = accept(&cluster, &listener) => {}
    }
}

async fn accept(cluster: &Cluster, listener: &TcpListener) {
    let router =
        Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz)).with_state(cluster.clone());
    let seats = Arc::new(Semaphore::new(HTTP_CONNECTIONS));
    loop {
        let Ok(seat) = seats.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection over HTTP cannot be accepted");
                // Out of descriptors, most likely: without a pause this would spin.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HTTP_TIME)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            // Who breaks off, or is slow, has no answer to be told of.
            let _ = tokio::time::timeout(HTTP_TIME, served).await;
            drop(seat);
        });
    }
}

async fn metrics(State(cluster): State<Cluster>) -> Response {
    let text = answer(cluster.metrics()).await;
    text.map_or_else(|away| away, |text| ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

/// Whether the head answers.
async fn healthz(State(cluster): State<Cluster>) -> Response {
    answer(cluster.node().look(Query::Summary)).await.map_or_else(|away| away, |_| "ok\n".into_response())
}

/// What the head says, unless it is away.
async fn answer<T>(asked: impl Future<Output = Result<T, AskError>>) -> Result<T, Response> {
    let why = match tokio::time::timeout(HTTP_ANSWER, asked).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the head has not answered for {HTTP_ANSWER:?}"),
    };
    Err((StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response())
}
