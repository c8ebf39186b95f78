//! Someone between a dialer and a listener who sees, changes, drops, repeats and swaps whole messages.

use bytes::Bytes;
use zeromq::{DealerSocket, RouterSocket, Socket, SocketEvent, SocketRecv, SocketSend, ZmqMessage};

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToListener,
    ToDialer,
}

/// What to send on for the n-th message of a way, counted from 0.
pub(crate) type Tap = Box<dyn FnMut(Way, usize, Bytes) -> Vec<Bytes> + Send>;

/// Listens at the endpoint `at`, and passes one connection on to `target` through `tap`. Ends with the test.
pub(crate) async fn zmq(at: &str, target: &str, mut tap: Tap) -> String {
    let mut router = RouterSocket::new();
    let bound = router.bind(at).await.unwrap().to_string();
    let mut dealer = DealerSocket::new();
    dealer.connect(target).await.unwrap();
    let mut gone = futures::stream::select(dealer.monitor(), router.monitor());
    tokio::spawn(async move {
        let (mut dialer, mut ups, mut downs) = (Bytes::new(), 0, 0);
        loop {
            tokio::select! {
                Ok(message) = router.recv() => {
                    let parts = message.into_vecdeque();
                    dialer = parts[0].clone();
                    for message in tap(Way::ToListener, ups, parts[1].clone()) {
                        dealer.send(ZmqMessage::from(message)).await.ok();
                    }
                    ups += 1;
                }
                Ok(message) = dealer.recv() => {
                    for message in tap(Way::ToDialer, downs, message.into_vecdeque().remove(0).unwrap()) {
                        let mut message = ZmqMessage::from(message);
                        message.push_front(dialer.clone());
                        router.send(message).await.ok();
                    }
                    downs += 1;
                }
                event = futures::StreamExt::next(&mut gone) => match event {
                    Some(SocketEvent::Disconnected(_)) => break,
                    other => drop(other),
                },
            }
        }
    });
    bound
}
