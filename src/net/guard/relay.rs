//! One guarded connection, one task: bytes from TCP are checked and written on as they are, bytes to TCP are our own.
//!
//! ```text
//!             inbound: read, check, write
//!    TCP peer ───────────────────────────▶ Unix socket of a ROUTER or DEALER
//!             ◀───────────────────────────
//!             outbound: read, write
//! ```
//!
//! Nothing is queued but what one buffer a direction holds: a side that does not read stops the other by its socket.

use super::zmtp::{Allowance, Frames, Violation};
use super::{Ending, Limits};
use crate::limits::{LINGER, RELAY_BUFFER, RELAY_BUFFER_BEFORE_HANDSHAKE, WIRE_VERSION};
use crate::net::preface::{ANSWER_BYTES, answer, read_answer};
use futures_util::task::AtomicWaker;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// What a connection was told from outside of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    Handshake,
    Admitted,
    CrowdedOut,
    Close,
}

/// How a connection's task is told; orders only rise.
#[derive(Debug, Default)]
pub(super) struct Control {
    order: AtomicU8,
    waker: AtomicWaker,
}

impl Control {
    /// Whether the order is news.
    pub(super) fn tell(&self, order: Order) -> bool {
        let raised = self.order.fetch_max(order as u8, Ordering::AcqRel) < order as u8;
        self.waker.wake();
        raised
    }

    /// The order in force; the task of `cx` is woken by the next.
    fn poll_order(&self, cx: &Context<'_>) -> Order {
        let order = self.order.load(Ordering::Acquire);
        if order > Order::Admitted as u8 {
            return Self::order(order);
        }
        self.waker.register(cx.waker());
        Self::order(self.order.load(Ordering::Acquire))
    }

    fn order(number: u8) -> Order {
        [Order::Handshake, Order::Admitted, Order::CrowdedOut, Order::Close][usize::from(number)]
    }

    /// Waits until the connection is to end.
    pub(super) async fn ended(&self) -> Ending {
        poll_fn(|cx| Self::ending(self.poll_order(cx)).map_or(Poll::Pending, Poll::Ready)).await
    }

    fn ending(order: Order) -> Option<Ending> {
        match order {
            Order::Handshake | Order::Admitted => None,
            Order::CrowdedOut => Some(Ending::CrowdedOut),
            Order::Close => Some(Ending::Closed),
        }
    }
}

/// Why a pump stopped.
enum Stop {
    Refused(Violation),
    SourceEnded,
    SinkEnded,
}

/// One direction: `buffer[start..passed]` may be written on, `buffer[passed..end]` waits for more bytes or the admission.
struct Pump {
    buffer: Box<[u8]>,
    start: usize,
    passed: usize,
    end: usize,
}

impl Pump {
    fn new(bytes: &[u8]) -> Self {
        let mut buffer = vec![0; RELAY_BUFFER_BEFORE_HANDSHAKE.max(bytes.len())].into_boxed_slice();
        buffer[..bytes.len()].copy_from_slice(bytes);
        Self { buffer, start: 0, passed: 0, end: bytes.len() }
    }

    fn grow(&mut self) {
        let mut buffer = vec![0; RELAY_BUFFER].into_boxed_slice();
        buffer[..self.end].copy_from_slice(&self.buffer[..self.end]);
        self.buffer = buffer;
    }

    fn check(&mut self, frames: &mut Frames) -> Result<(), Stop> {
        self.passed += frames.pass(&self.buffer[self.passed..self.end]).map_err(Stop::Refused)?;
        Ok(())
    }

    /// Moves bytes until a socket has none or takes none; `check` is run after each read.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
        mut check: impl FnMut(&mut Self) -> Result<(), Stop>,
    ) -> Poll<Stop> {
        loop {
            while self.start < self.passed {
                match ready!(Pin::new(&mut *to).poll_write(cx, &self.buffer[self.start..self.passed])) {
                    Ok(0) | Err(_) => return Poll::Ready(Stop::SinkEnded),
                    Ok(written) => self.start += written,
                }
            }
            self.buffer.copy_within(self.passed..self.end, 0);
            (self.start, self.passed, self.end) = (0, 0, self.end - self.passed);
            if self.end == self.buffer.len() {
                return Poll::Pending; // held back: the admission or the deadline wakes the task
            }
            let mut space = ReadBuf::new(&mut self.buffer[self.end..]);
            match ready!(Pin::new(&mut *from).poll_read(cx, &mut space)) {
                Ok(()) if !space.filled().is_empty() => self.end += space.filled().len(),
                Ok(()) | Err(_) => return Poll::Ready(Stop::SourceEnded),
            }
            if let Err(stop) = check(self) {
                return Poll::Ready(stop);
            }
        }
    }
}

/// The remote's first frame, kept on the dialling side: an answer to our preface tells why the connection ends.
#[derive(Default)]
struct FirstFrame {
    bytes: Vec<u8>,
}

impl FirstFrame {
    const BYTES: usize = 2 + ANSWER_BYTES;

    fn see(&mut self, passed: &[u8]) {
        let missing = Self::BYTES - self.bytes.len();
        self.bytes.extend_from_slice(&passed[..missing.min(passed.len())]);
    }

    fn version(&self) -> Option<u16> {
        match self.bytes.split_at_checked(2)? {
            ([0, length], answer) if usize::from(*length) == ANSWER_BYTES => read_answer(answer),
            _ => None,
        }
    }
}

/// Both directions of a connection whose opening is done.
pub(super) struct Relay {
    tcp: TcpStream,
    local: UnixStream,
    inbound: Pump,
    outbound: Pump,
    frames: Frames,
    /// On the dialling side alone: nobody answers a preface with another.
    first: Option<FirstFrame>,
    /// Something of our own went to the peer.
    answered: bool,
    /// Until the admission: a timer left running would shorten every sleep of the runtime.
    deadline: Option<Pin<Box<Sleep>>>,
    outbound_first: bool,
}

impl Relay {
    /// `inbound` and `outbound` are the bytes that were read behind the openings of TCP and of the Unix socket.
    pub(super) fn new(tcp: TcpStream, local: UnixStream, inbound: &[u8], outbound: &[u8], limits: &Limits) -> Self {
        let allowance =
            Allowance::Handshake { frame: limits.frame_before_handshake, total: limits.bytes_before_handshake };
        Self {
            tcp,
            local,
            inbound: Pump::new(inbound),
            outbound: Pump::new(outbound),
            frames: Frames::new(limits.frame_after_handshake, allowance),
            first: None,
            answered: !outbound.is_empty(),
            deadline: None,
            outbound_first: false,
        }
    }

    /// This side sends a preface, so that the peer's first message may be an answer to it.
    pub(super) fn dialled(self) -> Self {
        Self { first: Some(FirstFrame::default()), ..self }
    }

    /// Relays until an end closes, something is refused, an order comes, or `deadline` passes before the admission.
    pub(super) async fn run(mut self, control: &Control, deadline: Instant) -> Ending {
        self.deadline = Some(Box::pin(sleep_until(deadline)));
        self.outbound.passed = self.outbound.end;
        if let Err(stop) = self.inbound.check(&mut self.frames) {
            return self.ending(&stop, Side::Inbound);
        }
        let ending = poll_fn(|cx| self.poll(cx, control)).await;
        match ending {
            Ending::LocalClosed => linger(&mut self.tcp, control).await,
            Ending::CrowdedOut if !self.answered => say_busy(&self.tcp),
            _ => {}
        }
        ending
    }

    fn poll(&mut self, cx: &mut Context<'_>, control: &Control) -> Poll<Ending> {
        let order = control.poll_order(cx);
        if let Some(ending) = Control::ending(order) {
            return Poll::Ready(ending);
        }
        if let Some(deadline) = &mut self.deadline {
            if order == Order::Admitted {
                if let Err(stop) = self.admit() {
                    return Poll::Ready(self.ending(&stop, Side::Inbound));
                }
            } else if deadline.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ending::Timeout);
            }
        }
        // Taking turns at going first: a stream that never pauses would use up the task's budget before the other runs.
        self.outbound_first = !self.outbound_first;
        let sides = if self.outbound_first { [Side::Outbound, Side::Inbound] } else { [Side::Inbound, Side::Outbound] };
        for side in sides {
            if let Poll::Ready(stop) = self.poll_side(cx, side) {
                return Poll::Ready(self.ending(&stop, side));
            }
        }
        Poll::Pending
    }

    fn admit(&mut self) -> Result<(), Stop> {
        self.deadline = None;
        self.frames.admit();
        self.inbound.grow();
        self.outbound.grow();
        self.inbound.check(&mut self.frames)
    }

    fn poll_side(&mut self, cx: &mut Context<'_>, side: Side) -> Poll<Stop> {
        let Self { tcp, local, inbound, outbound, frames, first, answered, .. } = self;
        match side {
            Side::Inbound => inbound.poll(cx, tcp, local, |pump| {
                pump.check(frames)?;
                if let Some(first) = first {
                    first.see(&pump.buffer[pump.start..pump.passed]);
                }
                Ok(())
            }),
            Side::Outbound => outbound.poll(cx, local, tcp, |pump| {
                pump.passed = pump.end;
                *answered = true;
                Ok(())
            }),
        }
    }

    fn ending(&self, stop: &Stop, side: Side) -> Ending {
        match (stop, side) {
            (Stop::Refused(violation), _) => Ending::Refused(*violation),
            (Stop::SourceEnded, Side::Inbound) | (Stop::SinkEnded, Side::Outbound) => {
                match self.first.as_ref().and_then(FirstFrame::version) {
                    Some(theirs) if self.deadline.is_some() && theirs != WIRE_VERSION => Ending::WireVersion { theirs },
                    _ => Ending::PeerClosed,
                }
            }
            (Stop::SourceEnded, Side::Outbound) | (Stop::SinkEnded, Side::Inbound) => Ending::LocalClosed,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Inbound,
    Outbound,
}

/// Tells a peer whose handshake gives way that it was not its key: an answer of its own version. It gets there if the
/// socket takes it now, which costs a stranger's flood nothing.
pub(super) fn say_busy(tcp: &TcpStream) {
    let _ = tcp.try_write(&answer_frame());
}

/// The answer to another version, or to a peer there is no room for, as a message.
pub(super) fn answer_frame() -> [u8; FirstFrame::BYTES] {
    let mut frame = [0; FirstFrame::BYTES];
    frame[1] = ANSWER_BYTES as u8;
    frame[2..].copy_from_slice(&answer());
    frame
}

/// Ends a connection so that its last bytes arrive: closing it with bytes unread would reset it and drop them.
pub(super) async fn linger(tcp: &mut TcpStream, control: &Control) {
    let mut rest = [0; 1024];
    let drained = async {
        let _ = tcp.shutdown().await; // fails on a connection that is gone, as reading does then
        while tcp.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        _ = timeout(LINGER, drained) => {}
        _ = control.ended() => {}
    }
}
