//! The bytes of a value as it travels.

use bytes::Bytes;
use std::ops::Deref;

/// So many bytes lie in a [`Body`] itself, which takes no more than [`Bytes`] alone.
const FEW: usize = 23;

/// Bytes that are cheap to clone: of most values there are few, and these need no memory of their own.
#[derive(Clone)]
pub(crate) struct Body(Kept);

#[derive(Clone)]
enum Kept {
    Few { len: u8, bytes: [u8; FEW] },
    Many(Bytes),
}

const _: () = assert!(size_of::<Body>() == size_of::<Bytes>(), "there are millions of objects");

impl Body {
    pub(crate) fn copied(from: &[u8]) -> Self {
        let mut bytes = [0; FEW];
        Body(match (bytes.get_mut(..from.len()), u8::try_from(from.len())) {
            (Some(few), Ok(len)) => {
                few.copy_from_slice(from);
                Kept::Few { len, bytes }
            }
            _ => Kept::Many(Bytes::copy_from_slice(from)),
        })
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Kept::Few { len, bytes } => &bytes[..usize::from(*len)],
            Kept::Many(bytes) => bytes,
        }
    }
}

/// They stay where they are, however few: they may be kept in use for their owner's sake.
impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Body(Kept::Many(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= FEW { Body::copied(&bytes) } else { Body(Kept::Many(bytes.into())) }
    }
}

impl From<Body> for Bytes {
    fn from(body: Body) -> Bytes {
        match body.0 {
            Kept::Few { len, bytes } => Bytes::copy_from_slice(&bytes[..usize::from(len)]),
            Kept::Many(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_it_was_made_of_wherever_that_lies() {
        for length in [0, 1, FEW - 1, FEW, FEW + 1, 1_000] {
            let bytes: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            for body in [Body::copied(&bytes), Body::from(bytes.clone()), Body::from(Bytes::from(bytes.clone()))] {
                assert_eq!(*body, bytes[..]);
                assert_eq!(Bytes::from(body.clone()), bytes);
            }
        }
    }
}
