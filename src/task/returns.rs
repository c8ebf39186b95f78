//! What a task's function gives back: one value, several, or a stream of them; and what its caller gets of it.

use std::sync::Arc;

use super::stream::{Items, ObjectRefStream, Produces};
use crate::actor::reply::Streamed;
use crate::id::ObjectId;
use crate::object::content::Content;
use crate::object::entry::Entry;
use crate::object::error::Fault;
use crate::object::param::Param;
use crate::object::reference::ObjectRef;

/// What a task may return: a value that travels, or a stream of such values.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a task",
    label = "needs `Serialize + Deserialize + Send + Sync`, and to own what it holds",
    note = "derive both on it, or return another type"
)]
pub trait Returns: Sized + Send + 'static {
    /// What [`submit`](crate::TaskCall::submit) gives.
    type Submitted<E>;
    #[doc(hidden)]
    const SHAPE: Shape;
    #[doc(hidden)]
    fn submitted<E>(of: Promised) -> Self::Submitted<E>;
    /// Settles what was promised; a stream does so item by item.
    #[doc(hidden)]
    fn settle(self, outlet: Outlet<'_>) -> Option<Produces>;
}

/// How many results there are.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    One,
    Several(usize),
    Stream,
}

/// The objects of a task that is submitted.
#[doc(hidden)]
pub struct Promised {
    /// Settled when the task is over: its result, if it has one.
    pub(crate) whole: Arc<Entry>,
    pub(crate) more: Option<Arc<More>>,
    /// Of one that streams.
    pub(crate) cancel: Option<Cancel>,
}

/// Has a task cancelled.
pub(crate) type Cancel = Box<dyn FnOnce() + Send + Sync>;

/// What a task makes beside, or instead of, its one result.
pub(crate) enum More {
    /// Results, each an object.
    Parts(Vec<Arc<Entry>>),
    Items(Items),
}

/// Where a task's results go.
#[doc(hidden)]
pub struct Outlet<'a> {
    pub(crate) whole: &'a Arc<Entry>,
    pub(crate) more: Option<&'a More>,
}

#[diagnostic::do_not_recommend]
impl<T: Param<Owned = T>> Returns for T {
    type Submitted<E> = ObjectRef<T, E>;
    const SHAPE: Shape = Shape::One;

    fn submitted<E>(of: Promised) -> ObjectRef<T, E> {
        ObjectRef::new(of.whole)
    }

    fn settle(self, outlet: Outlet<'_>) -> Option<Produces> {
        outlet.whole.settle(Ok(Content::of::<T>(T::share(self))));
        None
    }
}

#[diagnostic::do_not_recommend]
impl<T: Param<Owned = T>> Returns for Streamed<T> {
    type Submitted<E> = ObjectRefStream<T, E>;
    const SHAPE: Shape = Shape::Stream;

    fn submitted<E>(of: Promised) -> ObjectRefStream<T, E> {
        ObjectRefStream::new(of)
    }

    fn settle(self, _: Outlet<'_>) -> Option<Produces> {
        Some(Produces::of(self))
    }
}

/// The results of a `#[task(returns = 2)]`, a tuple whose fields are objects by themselves. Submitted, it gives as many
/// references; awaited, the tuple.
///
/// ```
/// # use mobula::prelude::*;
/// #[task(returns = 2)]
/// fn divide(number: u64, by: u64) -> (u64, u64) {
///     (number / by, number % by)
/// }
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cluster = Cluster::local().await?;
/// let (whole, rest): (ObjectRef<u64>, ObjectRef<u64>) = divide::submit(&cluster, 17, 5);
/// let again = divide::call(&cluster, whole, rest); // each is an argument, as any reference
/// assert_eq!(again.await?, (1, 1));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Several<T>(pub T);

impl Outlet<'_> {
    fn settle<T: Param<Owned = T>>(&self, part: usize, value: T) {
        if let Some(part) = self.more.and_then(|more| more.parts().get(part)) {
            part.settle(Ok(Content::of::<T>(T::share(value))));
        }
    }
}

macro_rules! several {
    ($count:literal, $($part:ident $place:tt),+) => {
        #[diagnostic::do_not_recommend]
        impl<$($part: Param<Owned = $part>),+> Returns for Several<($($part,)+)> {
            type Submitted<E> = ($(ObjectRef<$part, E>,)+);
            const SHAPE: Shape = Shape::Several($count);

            fn submitted<E>(of: Promised) -> Self::Submitted<E> {
                let parts = of.more.as_deref().map_or(&[][..], More::parts);
                let part = |place: usize| parts.get(place).unwrap_or(&of.whole).clone();
                ($(ObjectRef::new(part($place)),)+)
            }

            fn settle(self, outlet: Outlet<'_>) -> Option<Produces> {
                $(outlet.settle($place, self.0.$place);)+
                outlet.whole.settle(Ok(done()));
                None
            }
        }
    };
}
several!(2, A 0, B 1);
several!(3, A 0, B 1, C 2);
several!(4, A 0, B 1, C 2, D 3);
several!(5, A 0, B 1, C 2, D 3, E5 4);
several!(6, A 0, B 1, C 2, D 3, E5 4, F 5);
several!(7, A 0, B 1, C 2, D 3, E5 4, F 5, G 6);
several!(8, A 0, B 1, C 2, D 3, E5 4, F 5, G 6, H 7);

/// What a task's result is that has others beside it.
pub(crate) fn done() -> Content {
    Content::of::<()>(Arc::new(()))
}

impl More {
    /// Of several results, the objects.
    pub(crate) fn parts(&self) -> &[Arc<Entry>] {
        match self {
            More::Parts(parts) => parts,
            More::Items(_) => &[],
        }
    }

    /// Of a stream, its items.
    pub(crate) fn items(&self) -> Option<&Items> {
        match self {
            More::Items(items) => Some(items),
            More::Parts(_) => None,
        }
    }

    /// All that was to come has come.
    pub(crate) fn end(&self) {
        if let More::Items(items) = self {
            items.end();
        }
    }

    pub(crate) fn fail(&self, fault: &Arc<Fault>) {
        match self {
            More::Parts(parts) => parts.iter().for_each(|part| part.settle(Err(fault.clone()))),
            More::Items(items) => items.fail(fault.clone()),
        }
    }
}

impl Shape {
    /// What a task of it makes beside its result.
    pub(crate) fn more(self, next_object: impl Fn() -> ObjectId) -> Option<Arc<More>> {
        match self {
            Shape::One => None,
            Shape::Several(count) => {
                let parts = (0..count).map(|_| Entry::pending(next_object(), None));
                Some(Arc::new(More::Parts(parts.collect())))
            }
            Shape::Stream => Some(Arc::new(More::Items(Items::default()))),
        }
    }
}
