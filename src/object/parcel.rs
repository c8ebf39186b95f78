//! A value that is carried by code which does not know its type: what a queue holds.
//!
//! ```text
//! of(value) ─▶ alive, shared ─▶ open::<T>()                       within one process nothing is encoded
//!                  │ a packet
//!                  ▼
//!            (form, body, its references) ─▶ open::<T>()          decoded where it is opened, and nowhere before
//! ```

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

use super::content::{Content, Encoded, Form};
use super::error::GetError;
use super::failure::Never;
use super::param::Param;
use crate::wire::codec::{Enclosed, Lists, scope};

/// A value of a type that its carrier does not know.
#[derive(Clone)]
pub struct Parcel(Content);

impl Parcel {
    /// Packs a value.
    pub(crate) fn of<T: Param<Owned = T, Shared = Arc<T>>>(value: T) -> Self {
        Parcel(Content::of::<T>(T::share(value)))
    }

    /// How many references the message that carries it lists for it, as far as that is known: of a value that is alive, one.
    pub(crate) fn references(&self) -> usize {
        match &self.0 {
            Content::Encoded(encoded) => encoded.enclosed.refs.len(),
            _ => 1,
        }
    }

    /// The value; that of a parcel which has clones is theirs.
    ///
    /// # Errors
    /// It is of another type, does not decode, or is alive and shared.
    pub(crate) fn open<T: Param<Owned = T, Shared = Arc<T>>>(self) -> Result<T, GetError> {
        let shared = self.0.shared::<T, Never>()?;
        Arc::try_unwrap(shared).map_err(|_| GetError::Codec { message: "it is shared".to_owned() })
    }

    /// A clone of the value.
    ///
    /// # Errors
    /// It is of another type, or does not decode.
    pub(crate) fn open_shared<T: Param<Owned = T, Shared = Arc<T>> + Clone>(self) -> Result<T, GetError> {
        self.0.shared::<T, Never>().map(Arc::unwrap_or_clone)
    }
}

/// As it travels: the places of its references in the list of the message that carries it.
#[derive(Serialize, Deserialize)]
struct Packed(Form, #[serde(with = "serde_bytes")] Vec<u8>, Vec<u32>);

impl Serialize for Parcel {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Encoded { form, body, enclosed, .. } = self.0.encode().map_err(S::Error::custom)?;
        let Lists { refs, holds } = enclosed.into_lists();
        let holds = holds.into_iter().chain(std::iter::repeat(None));
        let places = refs.into_iter().zip(holds).map(|(reference, hold)| scope::put(reference, hold));
        let places = places.collect::<Result<_, _>>().map_err(S::Error::custom)?;
        Packed(form, body.to_vec(), places).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Packed(form, body, places) = Packed::deserialize(from)?;
        let (mut enclosed, mut node) = (Enclosed::default(), None);
        for place in places {
            let (reference, here) = scope::take(place).map_err(D::Error::custom)?;
            let Lists { refs, holds } = enclosed.lists_mut();
            refs.push(reference);
            holds.push(scope::take_hold(place).ok());
            node = Some(here);
        }
        Ok(Parcel(Content::Encoded(Encoded { form, body: body.into(), enclosed, node })))
    }
}

impl fmt::Debug for Parcel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parcel")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec;

    #[test]
    fn a_parcel_is_opened_as_what_was_packed_also_after_it_has_travelled_twice() {
        assert_eq!(Parcel::of(vec!["a".to_owned()]).open::<Vec<String>>(), Ok(vec!["a".to_owned()]));
        let mut parcel = Parcel::of(7_u64);
        for _ in 0..2 {
            let mut body = Vec::new();
            let enclosed = codec::encode_message(&vec![parcel], &mut body).unwrap();
            assert!(enclosed.is_empty());
            parcel = codec::decode::<Vec<Parcel>>(&body).unwrap().remove(0);
        }
        assert_eq!(parcel.open::<u64>(), Ok(7));
    }

    #[test]
    fn a_parcel_of_another_type_is_refused() {
        assert!(matches!(Parcel::of(7_u64).open::<u32>(), Err(GetError::WrongType { .. })));
        let packed = Parcel(Content::Encoded(Content::of::<String>(Arc::new("text".to_owned())).encode().unwrap()));
        assert!(matches!(packed.open::<u32>(), Err(GetError::Codec { .. })));
    }

    #[test]
    fn a_parcel_that_has_clones_is_cloned_or_refused() {
        let parcel = Parcel::of("text".to_owned());
        let kept = parcel.clone();
        assert_eq!(parcel.clone().open_shared::<String>(), Ok("text".to_owned()));
        assert!(matches!(parcel.open::<String>(), Err(GetError::Codec { .. })), "and it is gone");
        assert_eq!(kept.open::<String>(), Ok("text".to_owned()), "the last of them has it for itself");
    }
}
