//! What two sides share until one of them has let go.

use super::Counted;

/// The value, if nobody else shares it.
#[inline]
pub(crate) fn alone<T>(shared: Counted<T>) -> Result<T, Counted<T>> {
    // Nobody can come to share what one owner holds, so the count may be read before the attempt.
    if Counted::strong_count(&shared) == 1 { Counted::try_unwrap(shared) } else { Err(shared) }
}
