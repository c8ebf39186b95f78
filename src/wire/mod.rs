//! Bytes: how packets, batches and user values look on the wire. Knows nothing of links, actors or sockets.
//!
//! ```text
//! bytes    varints, fixed numbers, texts: the one bounded reader that everything else decodes with
//! frame    a batch: header, work section, settle section; or a Hello
//! packet   the closed set of packets, hand-written, borrowing their bodies
//! chunk    the words of the bulk lane, between those who pull an object and those who have it
//! codec    user values as MessagePack, and the scope that collects the references inside them
//! ```

pub mod bytes;
pub mod chunk;
pub mod codec;
pub mod frame;
pub mod packet;
