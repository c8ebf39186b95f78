//! The node's pure state machines: no clock, no I/O, no randomness, no locks of their own.
