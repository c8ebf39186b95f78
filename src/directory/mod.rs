//! The head: which nodes live, where named, detached and restartable actors are, and what they are called. It is off the
//! path of calls.
//!
//! ```text
//! serve (shell) ── Event ──▶ Directory::apply(now, event, &mut Effects) ──▶ Journal, Send, Close, Abdicate ──▶ serve
//!                            one file a request: request/*.rs              in this order: journal before answer (L3)
//! client: a node's side of its requests; both doors, in this process and over a session
//! ```
//!
//! The state is pure: no clock, no I/O, no randomness, no locks. Numbers in comments are of PROTOCOLS.

pub mod client;
pub mod fence;
pub mod held;
pub mod journal;
pub mod known;
pub mod message;
pub mod outbox;
pub mod piece;
pub mod record;
pub mod request;
pub mod serve;
pub mod state;

mod actors;
mod answers;
mod buried;
mod candidates;
mod elders;
mod grants;
mod groups;
mod lease;
mod lives;
mod room;
#[cfg(test)]
pub(crate) mod testing;

pub use client::{AskError, Client};
pub use fence::{Fence, Reign, Stale};
pub use known::{KnownLives, Unfit};
pub use message::{FromHead, News, Question, Reply, Request, RequestId, ToHead};
pub use record::Record;
pub use serve::{Head, Outlet, Word};
pub use state::{Config, Directory, Door, Effect, Effects, Event, Keeps};
