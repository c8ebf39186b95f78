//! Objects: immutable values behind typed references, that exist or will.
//!
//! ```text
//! ObjectRef<T, E> ──Arc──▶ Entry: pending ──fill──▶ ready: the value as it was put, or its bytes
//!                                         ──fail──▶ failed: why, as whoever asks is told
//! ```

#[cfg(feature = "arrow")]
mod arrow;
pub(crate) mod body;
pub mod buffer;
pub(crate) mod content;
pub(crate) mod entry;
pub mod error;
pub mod failure;
pub mod get;
pub(crate) mod home;
pub(crate) mod lent;
pub(crate) mod limit;
pub mod lost;
pub mod param;
pub mod parcel;
pub(crate) mod promised;
pub mod reference;
pub mod settled;
pub mod weigh;
