//! Objects in shared memory, as the cluster's users have them.

mod one_process;
mod spilling;
mod support;
