//! A relay of TCP connections that lag, stall and are reset when a test says so.

use rustix::net::sockopt::set_socket_linger;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How connections fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weather {
    /// How long each piece takes.
    lag: Duration,
    /// Nothing comes through, and nothing is lost.
    stalled: bool,
    /// Connections made before the last reset are over.
    resets: u64,
}

pub struct Proxy {
    weather: Arc<watch::Sender<Weather>>,
    relay: JoinHandle<()>,
}

impl Proxy {
    /// Relays what is dialled at `here` to `there`, which need not listen yet.
    pub async fn start(here: &str, there: &str) -> Proxy {
        let listener = TcpListener::bind(here).await.unwrap();
        let there = there.to_owned();
        let fair = Weather { lag: Duration::ZERO, stalled: false, resets: 0 };
        let weather = Arc::new(watch::Sender::new(fair));
        let now = weather.clone();
        let relay = tokio::spawn(async move {
            while let Ok((dialled, _)) = listener.accept().await {
                let Ok(onward) = TcpStream::connect(&there).await else { continue };
                tokio::spawn(relay(dialled, onward, now.subscribe()));
            }
        });
        Proxy { weather, relay }
    }

    pub fn lags(&self, by: Duration) {
        self.weather.send_modify(|weather| weather.lag = by);
    }

    pub fn stalls(&self, stalled: bool) {
        self.weather.send_modify(|weather| weather.stalled = stalled);
    }

    /// Ends all connections, with a reset at both ends.
    pub fn resets(&self) {
        self.weather.send_modify(|weather| weather.resets += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.relay.abort();
        self.resets();
    }
}

async fn relay(dialled: TcpStream, onward: TcpStream, mut weather: watch::Receiver<Weather>) {
    for end in [&dialled, &onward] {
        // What is closed is reset then, whatever is under way.
        set_socket_linger(end, Some(Duration::ZERO)).unwrap();
    }
    let since = weather.borrow().resets;
    let ((from, to), (back_from, back_to)) = (dialled.into_split(), onward.into_split());
    let (there, back) = (pump(from, back_to, weather.clone()), pump(back_from, to, weather.clone()));
    tokio::select! {
        () = there => {}
        () = back => {}
        _ = weather.wait_for(|weather| weather.resets > since) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let mut piece = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let lag = weather.borrow_and_update().lag;
        if !lag.is_zero() {
            tokio::time::sleep(lag).await;
        }
        if weather.wait_for(|weather| !weather.stalled).await.is_err() || to.write_all(&piece[..length]).await.is_err()
        {
            return;
        }
    }
}
