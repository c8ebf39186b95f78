//! What user code fails with, and how it travels.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;

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

/// The text of a caught panic.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}
