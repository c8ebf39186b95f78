//! Strangers with a bare socket, and the bytes that a well-behaved peer would begin with.

use mobula::net::preface::{Lane, preface};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No test waits longer for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A greeting and the READY of a DEALER, byte by byte.
pub(crate) fn greeting() -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[0] = 0xff;
    bytes[9..12].copy_from_slice(&[0x7f, 3, 0]);
    bytes[12..16].copy_from_slice(b"NULL");
    bytes
}

pub(crate) fn ready(socket: &str, more: &[u8]) -> Vec<u8> {
    let body = [b"\x05READY\x0bSocket-Type\0\0\0\x06", socket.as_bytes(), more].concat();
    [&[4, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    match u8::try_from(body.len()) {
        Ok(length) => [&[0, length], body].concat(),
        Err(_) => [&[2][..], &(body.len() as u64).to_be_bytes(), body].concat(),
    }
}

/// What a DEALER sends before its handshake, up to and with the preface.
pub(crate) fn opening(lane: Lane) -> Vec<u8> {
    [greeting(), ready("DEALER", b""), frame(&preface(lane))].concat()
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it takes too long")
}

/// Whoever reaches the port with a bare socket.
pub(crate) struct Stranger {
    pub(crate) tcp: TcpStream,
}

impl Stranger {
    pub(crate) async fn connect(address: &str) -> Stranger {
        Stranger { tcp: soon(TcpStream::connect(address)).await.unwrap() }
    }

    pub(crate) async fn with(address: &str, bytes: &[u8]) -> Stranger {
        let mut stranger = Stranger::connect(address).await;
        stranger.send(bytes).await;
        stranger
    }

    /// Sends what the other end takes: it may close in the middle.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _ = soon(self.tcp.write_all(bytes)).await;
    }

    /// Reads to the end of the connection, which may be a reset.
    pub(crate) async fn closed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match soon(self.tcp.read_to_end(&mut bytes)).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
        bytes
    }
}

/// Reproducible bytes; the seed is printed by whoever fails.
pub(crate) fn random_bytes(mut seed: u64, length: usize) -> Vec<u8> {
    println!("random bytes of seed {seed}");
    let next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
