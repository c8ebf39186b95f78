//! What user code fails with, and how it travels.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use crate::wire::codec::panic_message;

/// The error of a method that cannot fail by itself. It has no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

/// Any error, as text that travels: `?` accepts every error type, `anyhow::Error` and `&str` too.
/// It keeps the chain of sources, outermost first.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    chain: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain.join(": "))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            chain.push(error.to_string());
            source = error.source();
        }
        Failure { chain }
    }
}

/// What a method may fail with: an error that travels to its caller.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to the caller as an error",
    label = "needs `Serialize + Deserialize + Display + Debug + Clone`",
    note = "or return `mobula::Result<T>`: its `?` accepts any error and carries its text"
)]
pub trait WireError: Serialize + DeserializeOwned + fmt::Debug + fmt::Display + Clone + Send + Sync + 'static {}
impl<E: Serialize + DeserializeOwned + fmt::Debug + fmt::Display + Clone + Send + Sync + 'static> WireError for E {}

/// A part of a call's traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// What the caller passed.
    Arguments,
    /// What the method returned.
    Reply,
    /// One item of a streaming reply.
    Item,
    /// The error that the method returned.
    Error,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Arguments => "the arguments",
            Part::Reply => "the reply",
            Part::Item => "an item of the reply",
            Part::Error => "the method's error",
        })
    }
}

/// What an error says; a `Display` that panics says so.
pub(crate) fn text_of(error: &impl fmt::Display) -> String {
    catch_unwind(AssertUnwindSafe(|| error.to_string()))
        .unwrap_or_else(|panic| format!("an error whose `Display` panicked: {}", panic_message(&*panic)))
}
