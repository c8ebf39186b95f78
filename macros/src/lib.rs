//! The attribute macros of `mobula`: parse, model, expand.
