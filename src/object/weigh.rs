//! What a value takes of its process's memory: what the store counts of objects that are alive.

use bytes::Bytes;
use std::any::{Any, TypeId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// What a value takes of memory, for [`Cluster::put_weighed`](crate::Cluster::put_weighed): objects that are alive count against
/// [`store_memory`](crate::ClusterBuilder::store_memory), from [`STORED`](crate::limits::STORED) bytes on.
///
/// [`put`](crate::Cluster::put) needs no such trait. It counts text, [`Bytes`] and vectors of numbers whole; of every other type
/// its [`size_of`], which does not include what the value owns elsewhere.
///
/// An estimate will do: it is asked for once, when the value is put. It should cost little beside making the value.
///
/// ```
/// use mobula::Weigh;
///
/// struct Table {
///     columns: Vec<Vec<f64>>,
///     names: Vec<String>,
/// }
///
/// impl Weigh for Table {
///     fn weigh(&self) -> usize {
///         self.columns.weigh() + self.names.weigh()
///     }
/// }
///
/// let table = Table { columns: vec![vec![0.0; 1_000]; 2], names: vec!["a".into(), "b".into()] };
/// assert!((16_000..17_000).contains(&table.weigh()));
/// ```
pub trait Weigh {
    /// Bytes of memory, those of the value itself and of what it owns.
    fn weigh(&self) -> usize;
}

macro_rules! by_size {
    ($($type:ty)*) => {
        $(impl Weigh for $type {
            fn weigh(&self) -> usize {
                size_of::<$type>()
            }
        })*
        /// Whether this is a vector of one of these.
        fn is_numbers(of: TypeId) -> bool {
            [$(TypeId::of::<Vec<$type>>()),*].contains(&of)
        }

        /// What the vectors among these take; none of any other type. Which it is, the compiler knows.
        fn numbers(value: &dyn Any) -> Option<usize> {
            $(if let Some(vector) = value.downcast_ref::<Vec<$type>>() {
                return Some(size_of::<Vec<$type>>() + vector.capacity() * size_of::<$type>());
            })*
            None
        }
    };
}

by_size!(() bool char u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);

/// Whether such a value is known to refer to no object.
#[inline]
pub(super) fn refers_to_nothing<T: Any>() -> bool {
    let of = TypeId::of::<T>();
    !std::mem::needs_drop::<T>() || of == TypeId::of::<String>() || of == TypeId::of::<Bytes>() || is_numbers(of)
}

/// What `put` counts of a value whose type says nothing.
#[inline]
pub(super) fn of_any<T: Any>(value: &T) -> usize {
    if !std::mem::needs_drop::<T>() {
        return size_of::<T>();
    }
    let any: &dyn Any = value;
    let text = any.downcast_ref::<String>().map(Weigh::weigh);
    let known = text.or_else(|| any.downcast_ref::<Bytes>().map(Weigh::weigh)).or_else(|| numbers(any));
    known.unwrap_or(size_of::<T>())
}

impl Weigh for str {
    fn weigh(&self) -> usize {
        self.len()
    }
}

impl Weigh for String {
    fn weigh(&self) -> usize {
        size_of::<String>() + self.capacity()
    }
}

impl Weigh for Bytes {
    fn weigh(&self) -> usize {
        size_of::<Bytes>() + self.len()
    }
}

impl<T: Weigh> Weigh for [T] {
    fn weigh(&self) -> usize {
        self.iter().map(T::weigh).sum()
    }
}

impl<T: Weigh, const N: usize> Weigh for [T; N] {
    fn weigh(&self) -> usize {
        self[..].weigh()
    }
}

impl<T: Weigh> Weigh for Vec<T> {
    fn weigh(&self) -> usize {
        size_of::<Vec<T>>() + self[..].weigh() + (self.capacity() - self.len()) * size_of::<T>()
    }
}

impl<T: Weigh> Weigh for VecDeque<T> {
    fn weigh(&self) -> usize {
        let used: usize = self.iter().map(T::weigh).sum();
        size_of::<VecDeque<T>>() + used + (self.capacity() - self.len()) * size_of::<T>()
    }
}

impl<T: Weigh + ?Sized> Weigh for Box<T> {
    fn weigh(&self) -> usize {
        size_of::<Box<T>>() + (**self).weigh()
    }
}

/// As if no other one had it.
impl<T: Weigh + ?Sized> Weigh for Arc<T> {
    fn weigh(&self) -> usize {
        size_of::<Arc<T>>() + (**self).weigh()
    }
}

impl<T: Weigh> Weigh for Option<T> {
    fn weigh(&self) -> usize {
        self.as_ref().map_or(size_of::<Option<T>>(), T::weigh)
    }
}

/// What tables take beside their entries is left out.
impl<K: Weigh, V: Weigh, S> Weigh for HashMap<K, V, S> {
    fn weigh(&self) -> usize {
        size_of::<Self>() + self.iter().map(|(key, value)| key.weigh() + value.weigh()).sum::<usize>()
    }
}

impl<K: Weigh, V: Weigh> Weigh for BTreeMap<K, V> {
    fn weigh(&self) -> usize {
        size_of::<Self>() + self.iter().map(|(key, value)| key.weigh() + value.weigh()).sum::<usize>()
    }
}

impl<T: Weigh, S> Weigh for HashSet<T, S> {
    fn weigh(&self) -> usize {
        size_of::<Self>() + self.iter().map(T::weigh).sum::<usize>()
    }
}

impl<T: Weigh> Weigh for BTreeSet<T> {
    fn weigh(&self) -> usize {
        size_of::<Self>() + self.iter().map(T::weigh).sum::<usize>()
    }
}

macro_rules! tuples {
    ($($($part:ident $at:tt)+;)+) => {
        $(impl<$($part: Weigh),+> Weigh for ($($part,)+) {
            fn weigh(&self) -> usize {
                0 $(+ self.$at.weigh())+
            }
        })+
    };
}

tuples! {
    A 0;
    A 0 B 1;
    A 0 B 1 C 2;
    A 0 B 1 C 2 D 3;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_bytes_and_numbers_count_whole_and_other_values_by_their_size() {
        assert_eq!(of_any(&7_u64), 8);
        assert_eq!(of_any(&[0_u8; 70_000]), 70_000);
        assert_eq!(of_any(&"text".repeat(1_000)), size_of::<String>() + 4_000);
        assert_eq!(of_any(&vec![0_f32; 1_000]), size_of::<Vec<f32>>() + 4_000);
        assert_eq!(of_any(&Bytes::from(vec![0; 1_000])), size_of::<Bytes>() + 1_000);
        assert_eq!(of_any(&vec![String::new(); 1_000]), size_of::<Vec<String>>());
    }

    #[test]
    fn values_that_own_what_is_not_known_may_refer_to_objects() {
        assert!(refers_to_nothing::<u64>() && refers_to_nothing::<String>() && refers_to_nothing::<Vec<f32>>());
        assert!(!refers_to_nothing::<Vec<String>>() && !refers_to_nothing::<Box<u64>>());
    }

    #[test]
    fn what_a_value_owns_counts_by_the_trait() {
        let words = vec!["four".to_owned(); 1_000];
        assert_eq!(words.weigh(), size_of::<Vec<String>>() + 1_000 * (size_of::<String>() + 4));
        let map: HashMap<u32, Vec<u8>> = (0..10).map(|key| (key, vec![0; 100])).collect();
        assert_eq!(map.weigh(), size_of_val(&map) + 10 * (4 + size_of::<Vec<u8>>() + 100));
        assert_eq!((Some(Box::new(1_u64)), "a").0.weigh(), 16);
    }
}
