// Files of the library are formatted where they lie, and use more of themselves there.
#[path = "../../../../src/actor/line.rs"]
#[allow(dead_code)]
#[rustfmt::skip]
mod line;
#[path = "../../../../src/actor/mailbox.rs"]
#[allow(dead_code)]
#[rustfmt::skip]
mod mailbox;

mod calls_in_line;
mod cell_and_senders;

pub(crate) mod error {
    /// Why an actor ends.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum EndReason {
        Stopped,
        Killed,
        Unknown,
    }

    pub(crate) fn panic_message(_: &(dyn std::any::Any + Send)) -> &'static str {
        "a panic"
    }
}

pub(crate) mod remote {
    /// Another node.
    pub(crate) trait Peer: Send + Sync {}
}
