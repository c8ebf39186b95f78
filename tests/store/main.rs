//! The store through its public door: objects, the line of those who wait, spilling, and readers in other processes.

#[path = "../common/alone.rs"]
mod alone;
mod descriptors;
mod hostile;
mod line;
mod objects;
mod processes;
mod readers;
mod spilling;
mod support;
