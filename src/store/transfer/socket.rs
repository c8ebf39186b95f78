//! Descriptors over Unix sockets, without ever blocking the runtime: what is of one operating system, but for memory.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The user at the other end. For who connected, this is who listens there.
pub(super) fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    Ok(rustix::net::sockopt::socket_peercred(stream)?.uid.as_raw())
}

/// The user of this process.
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Sends bytes, and with their first a descriptor.
pub(super) async fn send(stream: &UnixStream, mut bytes: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut file = file.as_slice();
    while !bytes.is_empty() {
        let sent = stream.async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !file.is_empty() && !control.push(SendAncillaryMessage::ScmRights(file)) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            Ok(sendmsg(stream.as_fd(), &[IoSlice::new(bytes)], &mut control, flags)?)
        });
        bytes = &bytes[sent.await?..];
        file = &[];
    }
    Ok(())
}

/// What was received.
pub(super) struct Received {
    /// Bytes; zero are the end.
    pub(super) bytes: usize,
    /// Whether descriptors came that this process has no room for, in the message or in its table.
    pub(super) cut: bool,
}

/// Receives bytes, as many as there are and fit, and the descriptors that came with them.
pub(super) async fn receive(
    stream: &UnixStream,
    bytes: &mut [u8],
    files: &mut VecDeque<OwnedFd>,
) -> io::Result<Received> {
    stream
        .async_io(Interest::READABLE, || {
            // The kernel gives one message's descriptors at once, and an owner sends one each.
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            let received = recvmsg(stream.as_fd(), &mut [IoSliceMut::new(bytes)], &mut control, flags)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(received) = message {
                    files.extend(received);
                }
            }
            // The kernel closes those.
            Ok(Received { bytes: received.bytes, cut: received.flags.contains(ReturnFlags::CTRUNC) })
        })
        .await
}
