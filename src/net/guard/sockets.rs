//! What both sides do to sockets: options, the opening of a Unix socket, reading until an opening is whole.

use super::Ending;
use super::zmtp::{self, Kind, OPENING_BYTES, PeerIdentity, Violation};
use crate::limits::{
    CONNECTIONS, DESCRIPTORS_SPARED, TCP_KEEPALIVE, TCP_KEEPALIVE_PAUSE, TCP_KEEPALIVE_PROBES, TCP_USER_TIMEOUT,
};
use rustix::net::sockopt;
use rustix::process::{Resource, getrlimit};
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

/// A guarded connection's own: TCP, the Unix socket, and the socket at that one's other end.
const DESCRIPTORS_EACH: usize = 3;
/// Between two tries at a full backlog.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

/// How many connections the process has descriptors for.
pub(super) fn connections_by_descriptors() -> usize {
    let limit =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    (limit.saturating_sub(DESCRIPTORS_SPARED.min(limit / 2)) / DESCRIPTORS_EACH).clamp(1, CONNECTIONS)
}

/// No delay for small messages; a peer that is gone without a word is found out.
pub(super) fn configure(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    sockopt::set_tcp_keepidle(tcp, TCP_KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(tcp, TCP_KEEPALIVE_PAUSE)?;
    sockopt::set_tcp_keepcnt(tcp, TCP_KEEPALIVE_PROBES)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_user_timeout(tcp, TCP_USER_TIMEOUT.as_millis() as u32)?;
    Ok(())
}

/// The bytes of an opening as they arrive; it has room for a whole one.
pub(super) struct Opening {
    bytes: [u8; OPENING_BYTES],
    start: usize,
    end: usize,
}

/// What `read` of an opening found in place of it.
pub(super) enum OpeningError {
    Closed,
    Refused(Violation),
}

impl OpeningError {
    /// The ending of a connection whose remote peer failed its opening.
    pub(super) fn of_peer(self) -> Ending {
        match self {
            OpeningError::Closed => Ending::PeerClosed,
            OpeningError::Refused(violation) => Ending::Refused(violation),
        }
    }
}

impl Opening {
    pub(super) fn new() -> Self {
        Self { bytes: [0; OPENING_BYTES], start: 0, end: 0 }
    }

    /// Reads until `parse` finds what it looks for at the front; it gives that and where it ends.
    pub(super) async fn read<T>(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        parse: impl Fn(&[u8]) -> Result<Option<(T, usize)>, Violation>,
    ) -> Result<T, OpeningError> {
        loop {
            if let Some((found, end)) = parse(self.rest()).map_err(OpeningError::Refused)? {
                self.start += end;
                return Ok(found);
            }
            match from.read(&mut self.bytes[self.end..]).await {
                Ok(read) if read > 0 => self.end += read,
                Ok(_) | Err(_) => return Err(OpeningError::Closed),
            }
        }
    }

    /// Reads greeting and READY of a `kind` of socket.
    pub(super) async fn greeting_and_ready(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        kind: Kind,
    ) -> Result<(), OpeningError> {
        self.read(from, |bytes| Ok(zmtp::greeting_and_ready(bytes, kind)?.map(|end| ((), end)))).await
    }

    /// What was read behind what was found.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
}

/// Connects to a ROUTER's Unix socket; while its backlog is full, which Unix sockets refuse at once, it tries again.
pub(super) async fn connect_local(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(BACKLOG_PAUSE).await,
            connected => return connected,
        }
    }
}

/// Speaks `ours` with the zeromq socket at the other end of a Unix socket, then writes `next` to it.
pub(super) async fn open_local(
    local: &mut UnixStream,
    ours: (Kind, Option<&PeerIdentity>),
    theirs: Kind,
    next: &[u8],
) -> Result<Opening, OpeningError> {
    let mut greeting = Vec::with_capacity(zmtp::GREETING_AND_READY_BYTES + next.len());
    zmtp::write_greeting_and_ready(ours.0, ours.1, &mut greeting);
    greeting.extend_from_slice(next);
    local.write_all(&greeting).await.map_err(|_| OpeningError::Closed)?;
    let mut opening = Opening::new();
    opening.greeting_and_ready(local, theirs).await?;
    Ok(opening)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_configured_socket_finds_out_that_its_peer_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        configure(&tcp).unwrap();
        assert!(tcp.nodelay().unwrap() && sockopt::socket_keepalive(&tcp).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&tcp).unwrap(), TCP_KEEPALIVE);
        assert_eq!(sockopt::tcp_keepintvl(&tcp).unwrap(), TCP_KEEPALIVE_PAUSE);
        assert_eq!(sockopt::tcp_keepcnt(&tcp).unwrap(), TCP_KEEPALIVE_PROBES);
        assert_eq!(u128::from(sockopt::tcp_user_timeout(&tcp).unwrap()), TCP_USER_TIMEOUT.as_millis());
    }

    #[test]
    fn connections_stay_within_the_process_s_descriptors() {
        let connections = connections_by_descriptors();
        assert!((1..=CONNECTIONS).contains(&connections));
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            assert!((connections * DESCRIPTORS_EACH) as u64 <= limit.max(DESCRIPTORS_EACH as u64));
        }
    }
}
