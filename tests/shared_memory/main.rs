//! Objects in shared memory, as the cluster's users have them.

mod memory;
mod one_process;
mod processes;
mod spilling;
mod support;

mobula::test_worker!();
