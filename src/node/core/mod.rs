//! The node's pure state machines: no clock, no I/O, no randomness, no locks of their own.
//!
//! ```text
//! life     this node's life: beats, lease, fence (PROTOCOLS §2)
//! link     one link between two lives: channels, sessions, streams, calls (PROTOCOLS §1)
//! channel  numbers, windows, what is not acknowledged      calls    tables by number and by ticket
//! stream   credit                                          reply    streaming replies
//! callers  which runs of calling actors are refused (PROTOCOLS §2)
//! kept     which checkpoints lie with other nodes (PROTOCOLS §2.13)
//! refs     who holds references to what this node owns, and what it holds of others (PROTOCOLS §3)
//! pull     whom an object's ranges are asked of          places   who may ask a holder for them
//! probe    re-entrance and cycles of waits (PROTOCOLS §5)
//! ```

pub mod callers;
mod calls;
mod channel;
pub mod kept;
pub mod life;
pub mod link;
pub mod places;
pub mod probe;
pub mod pull;
pub mod refs;
mod reply;
mod stream;
