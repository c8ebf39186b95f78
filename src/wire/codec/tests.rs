use super::*;
use crate::id::{ActorId, Key, Life, ObjectId, Placement};
use crate::wire::packet::Kept;
use proptest::prelude::*;
use serde::{Deserialize, Deserializer, Serializer};
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Circle(f64),
    Box { width: u32, height: u32 },
    Pair(i64, Option<String>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    shapes: Vec<Shape>,
    table: BTreeMap<String, Vec<i32>>,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    unit: (),
    tuple: (u8, char, i128),
}

fn everything() -> impl Strategy<Value = Everything> {
    let shape = prop_oneof![
        Just(Shape::Dot),
        any::<i32>().prop_map(|radius| Shape::Circle(f64::from(radius))),
        any::<(u32, u32)>().prop_map(|(width, height)| Shape::Box { width, height }),
        any::<(i64, Option<String>)>().prop_map(|(number, text)| Shape::Pair(number, text)),
    ];
    (any::<bool>(), prop::collection::vec(shape, 0..8), any::<BTreeMap<String, Vec<i32>>>(), any::<Vec<u8>>()).prop_map(
        |(flag, shapes, table, bytes)| Everything { flag, shapes, table, bytes, unit: (), tuple: (1, 'é', -5) },
    )
}

/// A handle as the actors' will be: an index into the list of references.
#[derive(Clone, Debug)]
struct Held(Ref);

impl Serialize for Held {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(scope::put(self.0, None).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Held {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let index = u32::deserialize(deserializer)?;
        Ok(Held(scope::take(index).map_err(serde::de::Error::custom)?.0))
    }
}

fn reference(serial: u64) -> Ref {
    let actor = ActorId { life: Life(3), serial };
    Ref::Actor { actor, type_key: Key(7), host: Life(4), placement: Placement(1), kept: Kept::Counted }
}

fn node() -> Arc<dyn Any + Send + Sync> {
    Arc::new("a node")
}

#[test]
fn structs_carry_their_field_names() {
    #[derive(Serialize)]
    struct Old {
        a: u8,
    }
    #[derive(Deserialize)]
    struct New {
        a: u8,
        #[serde(default)]
        b: u8,
    }
    let mut body = Vec::new();
    encode(&Old { a: 1 }, &mut body).unwrap();
    assert_eq!(body, [0x81, 0xa1, b'a', 1]);
    let new: New = decode(&body).unwrap();
    assert_eq!((new.a, new.b), (1, 0));
}

#[test]
fn nesting_is_bounded_both_ways() {
    #[derive(Debug, Serialize, Deserialize)]
    enum Nest {
        End,
        More(Box<Nest>),
    }
    let nest = |depth| (0..depth).fold(Nest::End, |nest, _| Nest::More(Box::new(nest)));
    let mut body = vec![9];
    encode(&nest(BODY_DEPTH), &mut body).unwrap();
    decode::<Nest>(&body[1..]).unwrap();
    let whole = body.len();
    assert_eq!(encode(&nest(BODY_DEPTH + 1), &mut body), Err(EncodeError::TooDeep));
    assert_eq!(body.len(), whole, "what did not encode leaves nothing behind");
    // An enum in an enum is not counted by rmp-serde's own depth.
    let hostile: Vec<u8> = [0x81, 0xa4, b'M', b'o', b'r', b'e'].repeat(100_000);
    assert_eq!(decode::<Nest>(&hostile).unwrap_err(), DecodeError::TooDeep);
}

#[test]
fn declared_lengths_are_not_believed() {
    for hostile in [&[0xdd, 0xff, 0xff, 0xff, 0xff, 0][..], &[0xdf, 0xff, 0xff, 0xff, 0xff], &[0xc6, 0x7f, 0, 0, 0, 1]]
    {
        assert_eq!(decode::<Vec<u64>>(hostile).unwrap_err(), DecodeError::Truncated);
    }
    assert_eq!(decode::<u8>(&[1, 1]).unwrap_err(), DecodeError::Trailing);
    assert_eq!(decode::<u8>(&[0xc1]).unwrap_err(), DecodeError::Reserved);
    assert!(matches!(decode::<u8>(&[0xa1, b'x']).unwrap_err(), DecodeError::Value(_)));
}

#[test]
fn references_travel_beside_the_body_and_attach_to_the_node() {
    let mut body = Vec::new();
    let held = vec![Held(reference(1)), Held(reference(2)), Held(reference(1))];
    let refs = encode_message(&held, &mut body).unwrap();
    assert_eq!(refs.refs, [reference(1), reference(2), reference(1)]);
    assert!(refs.holds.is_empty(), "no object is among them");
    assert_eq!(body, [0x93, 0, 1, 2]);
    let back: Vec<Held> = decode_message(&body, refs, &node()).unwrap();
    assert_eq!(back.iter().map(|held| held.0).collect::<Vec<_>>(), [reference(1), reference(2), reference(1)]);
    let missing = decode_message::<Held>(&[5], Enclosed::new(vec![reference(1)], Vec::new()), &node()).unwrap_err();
    assert!(missing.to_string().contains("reference 5"), "{missing}");
}

#[test]
fn references_are_refused_outside_of_a_message() {
    let outside = encode(&Held(reference(1)), &mut Vec::new()).unwrap_err();
    assert!(outside.to_string().contains("inside a message"), "{outside}");
    assert!(decode::<Held>(&[0]).unwrap_err().to_string().contains("out of a message"));
}

#[test]
fn a_message_holds_a_bounded_number_of_references() {
    let many = vec![Held(reference(1)); MESSAGE_REFS + 1];
    let mut body = Vec::new();
    assert_eq!(encode_message(&many, &mut body).err().unwrap(), EncodeError::TooManyRefs);
    assert!(body.is_empty());
    assert_eq!(encode_message(&many[1..], &mut body).unwrap().refs.len(), MESSAGE_REFS);
}

#[test]
fn scopes_nest_and_survive_panics() {
    struct Inside(bool);
    impl Serialize for Inside {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let inner = std::panic::catch_unwind(|| {
                let inner = encode_message(&Held(reference(8)), &mut Vec::new()).unwrap().into_lists().refs;
                assert!(!self.0, "as the test wants it");
                inner
            });
            assert_eq!(inner.is_err(), self.0);
            serializer.serialize_unit()
        }
    }
    for panics in [false, true] {
        let message = (Held(reference(1)), Inside(panics), Held(reference(2)));
        let refs = encode_message(&message, &mut Vec::new()).unwrap().into_lists().refs;
        assert_eq!(refs, [reference(1), reference(2)]);
    }
    assert_eq!(scope::put(reference(1), None), Err(scope::ScopeError::NotEncoding));
}

#[test]
fn what_has_nothing_to_drop_encloses_nothing_and_takes_no_part_in_an_outer_message() {
    let mut out = Vec::new();
    assert!(encode_owned(&7_u64, &mut out).unwrap().is_empty());
    assert_eq!(decode::<u64>(&out), Ok(7));
    let text = (Held(reference(1)), "something to drop".to_owned());
    assert_eq!(encode_owned(&text, &mut Vec::new()).unwrap().into_lists().refs, [reference(1)]);

    struct Outer;
    impl Serialize for Outer {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let inner = encode_owned(&Held(reference(8)), &mut Vec::new()).unwrap();
            assert_eq!(inner.into_lists().refs, [reference(8)]);
            serializer.serialize_unit()
        }
    }
    assert_eq!(encode_message(&Outer, &mut Vec::new()).unwrap().into_lists().refs, []);
}

#[test]
fn arguments_that_are_values_need_no_scope_and_references_do() {
    assert_eq!(scope::put_argument(None), Ok(()));
    let object = ObjectId { life: Life(3), serial: 1 };
    assert_eq!(scope::put_argument(Some((object, Arc::new(())))), Err(scope::ScopeError::NotEncoding));
    let put = || scope::put_argument(Some((object, Arc::new(()))));
    let (result, enclosed) = scope::collect(true, || (scope::put_argument(None), put()));
    assert_eq!(result, (Ok(()), Ok(())));
    assert_eq!(enclosed.unwrap().into_lists().refs, [Ref::Argument { position: 1, object }]);
}

proptest! {
    #[test]
    fn values_survive_the_wire(value in everything()) {
        let mut body = Vec::new();
        encode(&value, &mut body).unwrap();
        prop_assert_eq!(decode::<Everything>(&body).unwrap(), value);
    }

    #[test]
    fn no_bytes_panic_the_decoder(bytes: Vec<u8>, mutated in everything(), at: prop::sample::Index, byte: u8) {
        let _ = decode::<Everything>(&bytes);
        let mut body = Vec::new();
        encode(&mutated, &mut body).unwrap();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = decode::<Everything>(&body);
        let _ = decode::<Everything>(&body[..at]);
    }
}

/// Panics when it is encoded or decoded.
#[derive(Debug)]
struct Explosive;

impl Serialize for Explosive {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("on the way out")
    }
}

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("on the way in")
    }
}

#[test]
fn a_panic_of_the_users_code_is_an_error_and_leaves_the_scope_and_the_buffer_as_they_were() {
    let mut out = vec![1, 2];
    let error = encode_message(&(1, Explosive), &mut out).err();
    assert_eq!(error, Some(EncodeError::Panicked("on the way out".to_owned())));
    assert_eq!(out, [1, 2]);
    assert_eq!(scope::put(reference(1), None), Err(scope::ScopeError::NotEncoding));
    let error = decode_message::<Explosive>(&[0xc0], Enclosed::default(), &node()).unwrap_err();
    assert_eq!(error, DecodeError::Panicked("on the way in".to_owned()));
    assert_eq!(scope::take(0).err(), Some(scope::ScopeError::NotDecoding));
}
