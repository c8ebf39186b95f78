//! What most programs need: `use mobula::prelude::*;`

pub use crate::{
    Actor, ActorContext, Call, CallError, Cluster, Handle, LookupActor, Message, Never, StreamCall, actor, methods,
};
pub use futures_core::Stream;
