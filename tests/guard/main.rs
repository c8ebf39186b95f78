//! The guard from outside: real TCP, real Unix sockets, a real zeromq ROUTER and DEALER behind it.

mod dialled;
mod floods;
mod relayed;
mod strangers;
mod support;
