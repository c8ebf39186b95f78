//! What most programs need: `use mobula::prelude::*;`

pub use crate::{
    Actor, ActorContext, Call, CallError, Cluster, GetError, Group, Handle, LookupActor, Message, Never, ObjectRef,
    ObjectRefStream, Pool, Queue, StreamCall, TaskContext, View, actor, methods, task,
};
pub use futures_core::Stream;
