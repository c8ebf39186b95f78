//! What the macros make of an impl leaves the user's names, lints and attributes alone.
#![deny(
    dead_code,
    missing_docs,
    missing_debug_implementations,
    private_bounds,
    private_interfaces,
    unreachable_pub,
    unused
)]
#![deny(clippy::all, clippy::pedantic, clippy::nursery)]
#![deny(rust_2018_idioms, unused_qualifications, single_use_lifetimes, trivial_casts, let_underscore_drop)]
#![allow(
    clippy::missing_const_for_fn,
    clippy::items_after_statements,
    clippy::unnecessary_wraps,
    clippy::use_self,
    clippy::unused_self,
    clippy::needless_pass_by_ref_mut,
    clippy::type_repetition_in_bounds
)]
#![allow(
    clippy::redundant_clone,
    clippy::unused_async,
    clippy::redundant_pub_crate,
    clippy::non_minimal_cfg,
    clippy::needless_arbitrary_self_type,
    clippy::many_single_char_names
)]
#![forbid(unsafe_code)]

use mobula::macro_support::{Methods, Registration, TaskRegistration, inventory};
use mobula::{
    Actor, ActorContext, CallError, Cluster, GetError, Handle, Message, ObjectRef, TaskContext, actor, methods, task,
};

/// An actor in a module of its own, whose methods stand in another.
mod room {
    /// Holds nothing.
    #[mobula::actor]
    #[derive(Debug)]
    pub(super) struct Room {
        pub(super) people: u32,
    }
}

mod elsewhere {
    #[mobula::methods]
    impl super::room::Room {
        #[constructor]
        pub(super) const fn empty() -> Self {
            Self { people: 0 }
        }

        pub(super) const fn enter(&mut self, people: u32) -> u32 {
            self.people += people;
            self.people
        }

        /// In the module alone.
        #[deprecated = "use `enter`"]
        pub(self) fn leave(&mut self) -> Option<u32> {
            self.people = self.people.checked_sub(1)?;
            Some(self.people)
        }
    }
}

#[tokio::test]
async fn methods_may_stand_in_another_module() {
    let cluster = Cluster::local().await.expect("a cluster");
    let room = room::Room::spawn(&cluster).await.expect("spawned");
    assert_eq!(room.enter(3).await, Ok(3));
    assert_eq!(room::Room::METHODS.len(), 2);
}

/// Everything of the prelude means something else here.
mod hostile {
    #![allow(dead_code, unused_macros, unused_imports, non_camel_case_types, clippy::missing_const_for_fn)]

    pub(super) struct Result;
    pub(super) struct Option;
    pub(super) struct Box;
    pub(super) struct Call;
    pub(super) struct Arg;
    pub(super) struct Ok;
    pub(super) struct Err;
    pub(super) struct Some;
    pub(super) struct Vec;
    pub(super) struct String;
    pub(super) trait Clone {}
    pub(super) trait Send {}
    pub(super) trait Handle {}
    pub(super) trait From {}
    pub(super) trait IntoArg {}
    pub(super) mod core {}
    pub(super) mod std {}
    pub(super) mod serde {}
    macro_rules! assert {
        ($($any:tt)*) => {
            compile_error!("the user's own")
        };
    }
    macro_rules! module_path {
        ($($any:tt)*) => {
            compile_error!("the user's own")
        };
    }
    pub(super) use {assert, module_path};

    #[::mobula::actor]
    pub(super) struct Ship {
        pub(super) cargo: u8,
    }

    #[::mobula::methods]
    impl Ship {
        #[constructor]
        pub(super) fn new(cluster: u8, argument0: u8) -> Self {
            Self { cargo: cluster + argument0 }
        }
        pub(super) fn load(&mut self, actor: u8, context: u8, m: u8, message: u8) -> u8 {
            self.cargo += actor + context + m + message;
            self.cargo
        }
        pub(super) async fn sail(&mut self, deserializer: u8) -> ::core::result::Result<u8, ::mobula::Failure> {
            ::core::result::Result::Ok(self.cargo + deserializer)
        }
    }

    #[::mobula::task]
    pub(super) fn load(cluster: u8, argument0: u8, context: u8, m: u8, message: u8, visit: u8) -> u8 {
        cluster + argument0 + context + m + message + visit
    }

    #[::mobula::task(cpus = 0.5)]
    pub(super) async fn submit(call: u8, _: &::mobula::TaskContext) -> ::core::result::Result<u8, ::mobula::Failure> {
        ::core::result::Result::Ok(call)
    }

    /// Named as what it is taken by is.
    #[::mobula::task]
    pub(super) fn take<Item: ::mobula::Message>(take: Item) -> Item {
        take
    }
}

#[tokio::test]
async fn no_name_of_the_users_means_something_else() {
    let cluster = Cluster::local().await.expect("a cluster");
    let ship = hostile::Ship::spawn(&cluster, 1, 2).await.expect("spawned");
    assert_eq!(ship.load(1, 1, 1, 1).await, Ok(7));
    assert_eq!(ship.sail(1).await, Ok(8));
    assert_eq!(hostile::load::submit(&cluster, 1, 2, 3, 4, 5, 6).await, Ok(21));
    assert_eq!(hostile::submit::submit(&cluster, 1).await, Ok(1));
    assert_eq!(hostile::take::call(&cluster, 1_u8).await, Ok(1));
    assert_eq!(hostile::load(1, 2, 3, 4, 5, 6) + hostile::take(1), 22);
}

macro_rules! made_by_a_macro {
    ($(#[$attribute:meta])* $vis:vis $name:ident, $ty:ty, $reply:ty, $limit:literal, |$by:pat_param| $body:expr) => {
        $(#[$attribute])*
        #[actor]
        #[derive(Debug, Default)]
        $vis struct $name {
            total: $ty,
        }

        #[methods(concurrency = $limit)]
        impl $name {
            #[constructor]
            $vis fn new(total: $ty) -> Self {
                Self { total }
            }
            $vis fn add(&mut self, $by: ($ty, $ty)) -> $reply {
                self.total += $body;
                self.total
            }
            $vis async fn get(&self, text: &$ty) -> Result<$reply, mobula::Failure> {
                Ok(self.total + text)
            }
        }
    };
}

made_by_a_macro!(
    /// Made by a macro.
    pub(crate) Made, u64, u64, 3, |(a, b)| a + b
);

#[tokio::test]
async fn a_macro_may_make_actors() {
    let cluster = Cluster::local().await.expect("a cluster");
    let made = Made::spawn(&cluster, 1).await.expect("spawned");
    assert_eq!(made.add((1, 2)).await, Ok(4));
    assert_eq!(made.get(2).await, Ok(6));
    assert_eq!(groups::<Made>(), [("default", 3)]);
}

/// Raw identifiers.
#[actor]
struct r#Type(u8);

#[methods]
impl r#Type {
    #[constructor]
    const fn r#loop(r#in: u8) -> Self {
        Self(r#in)
    }
    #[constructor(default)]
    const fn r#move() -> Self {
        Self(1)
    }
    pub(crate) fn r#match(&mut self, r#fn: u8, mut by: u8, _: u8, (a, b): (u8, u8), [c, ..]: [u8; 2]) -> u8 {
        by += 1;
        self.0 + r#fn + by + a + b + c
    }
}

#[tokio::test]
async fn raw_identifiers_keep_their_names() {
    let cluster = Cluster::local().await.expect("a cluster");
    let raw = r#Type::spawn_loop(&cluster, 1).await.expect("spawned");
    assert_eq!(raw.r#match(1, 1, 1, (1, 1), [1, 2]).await, Ok(7));
    assert_eq!(r#Type::NAME.name, "Type");
    assert_eq!(r#Type::NAME.krate, "hygiene");
    let cluster = Cluster::local().await.expect("a cluster");
    r#Type::spawn(&cluster).await.expect("spawned");
}

/// Keeps items.
#[actor(name = "shop::Shelf")]
#[derive(Debug)]
pub struct Shelf<T, const N: usize = 2>
where
    T: Clone,
{
    items: Vec<T>,
}

#[methods(concurrency = 4, groups(io = 2, r#type = 1))]
impl<T: Message, const N: usize> Shelf<T, N>
where
    T: Clone + PartialEq,
{
    /// Room for `N`.
    pub const ROOM: usize = N;

    /// Opens an empty shelf.
    ///
    /// # Errors
    ///
    /// When `path` is empty.
    #[constructor]
    pub async fn open(path: &str, _context: &mut ActorContext<Self>) -> mobula::Result<Self> {
        tokio::task::yield_now().await;
        if path.is_empty() {
            Err("no path")?;
        }
        Ok(Self { items: Vec::new() })
    }

    /// Puts an item there.
    pub fn put(&mut self, item: T) -> usize {
        self.items.push(item);
        self.items.len()
    }

    /// Whether `item` is there.
    #[method(group = "io", cancel, name = "contains")]
    pub async fn has<'a>(&'a self, item: &'a T) -> bool {
        tokio::task::yield_now().await;
        self.items.contains(item)
    }

    /// Takes the item at `at`.
    ///
    /// # Errors
    ///
    /// When there is none.
    #[method(blocking)]
    pub fn take(&mut self, at: usize) -> mobula::Result<T> {
        if at < self.items.len() { Ok(self.items.remove(at)) } else { Err(format!("no item {at}"))? }
    }

    /// Counts, on a thread of its own.
    #[method(blocking, group = "type")]
    #[must_use]
    pub fn count(self: &Self) -> usize {
        self.items.len()
    }

    /// Merges another shelf.
    pub async fn merge(&mut self, _other: ShelfHandle<T, N>, _copies: [u8; 2], _of: Option<Vec<Self>>) -> usize
    where
        'static: 'static,
    {
        self.items.len()
    }

    #[on_stop]
    async fn close(&mut self, _context: &mut ActorContext<Self>) {
        tokio::task::yield_now().await;
        self.items.clear();
    }
}

impl<T: Message + Clone, const N: usize> serde::Serialize for Shelf<T, N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

impl<'de, T: Message + Clone, const N: usize> serde::Deserialize<'de> for Shelf<T, N> {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Self { items: Vec::new() })
    }
}

#[tokio::test]
async fn generic_actors_work_as_others_do() {
    let cluster = Cluster::local().await.expect("a cluster");
    assert!(Shelf::<String>::spawn(&cluster, "").await.is_err());
    let shelf = Shelf::<String, 2>::spawn(&cluster, "here").await.expect("spawned");
    assert_eq!(shelf.put("literal").await, Ok(1));
    assert_eq!(shelf.has("literal").await, Ok(true));
    assert_eq!(shelf.count().await, Ok(1));
    assert_eq!(shelf.merge(&shelf, [0, 1], None).await, Ok(1));
    assert_eq!(shelf.take(0).await, Ok("literal".to_owned()));
    shelf.stop().await.expect("stopped");
    type Table = Shelf<String>;
    assert_eq!((Table::NAME.krate, Table::NAME.name), ("", "shop::Shelf"));
    assert_eq!(groups::<Table>(), [("default", 4), ("io", 2), ("type", 1)]);
    assert!(groups::<Cut>().is_empty());
}

fn groups<A: Methods>() -> Vec<(&'static str, usize)> {
    A::GROUPS.iter().map(|group| (group.name, group.concurrency)).collect()
}

/// Cut by configuration.
#[actor]
#[derive(Debug)]
#[cfg_attr(all(), derive(Default))]
pub struct Cut {
    #[cfg(any())]
    gone: Gone,
    here: u8,
}

#[methods]
#[cfg(all())]
#[allow(clippy::missing_const_for_fn)]
impl Cut {
    /// Makes it.
    #[cfg(all())]
    #[constructor]
    #[must_use]
    pub fn new() -> Self {
        Self { here: 1 }
    }
    /// Does not.
    #[cfg(not(all()))]
    #[constructor]
    pub fn new(gone: Gone) -> Self {
        Self { gone }
    }
    /// Looks.
    #[cfg_attr(all(), cfg(any()), doc = "gone")]
    pub fn look(&mut self, gone: Gone) {}
    /// Looks.
    #[cfg_attr(all(), cfg(all()), doc = "here", allow(clippy::unused_self))]
    pub fn look(&mut self, here: &u8) -> u8 {
        self.here + here
    }
    /// Is old.
    #[cfg_attr(all(), deprecated)]
    pub fn old(&mut self) {}
    /// Takes too much.
    #[expect(clippy::too_many_arguments)]
    pub fn much(
        &mut self,
        a: u8,
        b: u8,
        c: u8,
        d: u8,
        e: u8,
        f: u8,
        #[allow(unused_variables)] unused: u8,
        _: u8,
    ) -> u8 {
        a + b + c + d + e + f
    }
    #[on_stop]
    #[cfg(any())]
    fn stop(&mut self) {
        gone();
    }
    #[on_stop]
    #[cfg(not(any()))]
    fn stop(&mut self) {
        self.here = 0;
    }
}

#[tokio::test]
async fn configuration_cuts_what_is_generated_too() {
    let cluster = Cluster::local().await.expect("a cluster");
    let cut = Cut::spawn(&cluster).await.expect("spawned");
    assert_eq!(cut.look(1).await, Ok(2));
    assert_eq!(cut.much(1, 1, 1, 1, 1, 1, 1, 1).await, Ok(6));
    #[allow(deprecated)]
    cut.old().await.expect("called");
    assert_eq!(Cut::METHODS.len(), 3);
}

#[tokio::test]
async fn an_actor_may_be_local_to_a_function() {
    /// Unit structs are actors too.
    #[actor]
    struct Local;
    type Alias = u8;
    #[methods]
    impl Local {
        #[constructor]
        fn new() -> Result<Local, mobula::Failure> {
            Ok(Self)
        }
        pub(crate) fn stop(&mut self, by: Alias) -> Alias {
            by
        }
        pub(crate) fn lookup(&mut self) {}
    }
    let cluster = Cluster::local().await.expect("a cluster");
    let local = Local::spawn(&cluster).await.expect("spawned");
    assert_eq!(local.stop(1).await, Ok(1));
    local.lookup().await.expect("called");
    Handle::stop(&local).await.expect("stopped");
}

#[test]
fn types_without_parameters_register_themselves() {
    // Beside those of the library itself.
    let own = |registration: &&Registration| format!("{registration:?}").starts_with("Registration(hygiene::");
    assert_eq!(inventory::iter::<Registration>.into_iter().filter(own).count(), 8);
}

mod entry {
    use mobula::Cluster;

    /// Runs.
    #[mobula::main]
    pub(super) async fn entry(cluster: Cluster) -> Result<(), mobula::Never> {
        let _same = cluster.clone();
        Ok(())
    }
}

#[test]
fn main_becomes_a_plain_function() {
    assert_eq!(entry::entry(), std::process::ExitCode::SUCCESS);
}

/// Nobody should start it any more.
#[deprecated = "use `Cut`"]
#[doc(hidden)]
#[actor]
#[allow(non_camel_case_types)]
#[derive(Debug)]
pub struct old_counter;

#[methods]
#[allow(deprecated)]
impl old_counter {
    #[constructor]
    fn new() -> Self {
        Self
    }
}

/// A result under the name that the macros look for, without arguments.
mod results {
    #![allow(clippy::unnecessary_wraps)]

    type Result = core::result::Result<u64, String>;

    macro_rules! by_type {
        ($ty:ty, $vis:vis fn $name:ident($by:pat, $of:ty) -> $reply:ty $body:block) => {
            #[mobula::methods]
            impl $ty {
                #[constructor]
                pub(super) fn new() -> $ty {
                    Self
                }
                $vis fn $name(&mut self, $by: $of) -> $reply $body
                pub(super) fn unit(&mut self, _: &mut mobula::ActorContext<$ty>) -> () {}
                pub(super) fn alias(&mut self) -> Result {
                    Ok(1)
                }
                pub(super) fn path(&mut self) -> core::result::Result<$of, String> {
                    Err("always".to_owned())
                }
            }
        };
    }

    /// Its methods are made of fragments.
    #[mobula::actor]
    pub(super) struct Fragments;

    by_type!(Fragments, pub(super) fn of(_by, u8) -> Vec<u8> { vec![1] });
}

#[tokio::test]
async fn fragments_and_aliases_are_seen_through() {
    let cluster = Cluster::local().await.expect("a cluster");
    let fragments = results::Fragments::spawn(&cluster).await.expect("spawned");
    assert_eq!(fragments.of(1).await, Ok(vec![1]));
    assert_eq!(fragments.unit().await, Ok(()));
    assert_eq!(fragments.alias().await, Ok(1));
    assert_eq!(fragments.path().await, Err(CallError::App("always".to_owned())));
}

/// Tasks with names, visibilities and parameters of every kind.
pub mod tasks {
    #![allow(clippy::unnecessary_wraps, clippy::trivially_copy_pass_by_ref, clippy::no_effect_underscore_binding)]

    use super::{Message, TaskContext, task};

    /// Is no task.
    #[derive(Debug)]
    pub struct Square;
    /// Is no task.
    pub trait Add {}

    #[task]
    pub(crate) const fn square(x: u64) -> u64 {
        x * x
    }

    /// Takes patterns.
    #[task(name = "math::add", retries = 3, cpus = 0.25, gpus = 0, memory = 1_000, priority = -2)]
    #[must_use]
    pub fn add((one, two): (u8, u8), mut by: u8, _: u8, [first, ..]: [u8; 2], _unused: Option<u8>) -> u8 {
        by += 1;
        one + two + by + first
    }

    #[task]
    fn private() -> u8 {
        1
    }

    pub(super) async fn within(cluster: &mobula::Cluster) -> Result<u8, mobula::GetError> {
        private::submit(cluster).await
    }

    #[task]
    pub(super) fn r#match(r#fn: u8, r#type: &str) -> String {
        r#type.repeat(usize::from(r#fn))
    }

    /// Is here.
    #[task]
    #[cfg(all())]
    pub(super) fn cut(here: u8) -> u8 {
        here
    }

    /// Is not.
    #[task]
    #[cfg(any())]
    pub(super) fn cut(gone: Gone) -> Gone {
        gone
    }

    /// Nobody should submit it any more.
    #[task]
    #[deprecated = "use `square`"]
    #[must_use]
    #[cfg_attr(all(), cfg(all()), expect(clippy::too_many_arguments))]
    pub fn old(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) -> u8 {
        a + b + c + d + e + f + g + h
    }

    mod results {
        pub(super) type Result = core::result::Result<u64, String>;
    }

    /// What is called a result is one.
    #[task]
    pub(super) async fn aliased(context: &TaskContext) -> results::Result {
        tokio::task::yield_now().await;
        Ok(u64::from(context.attempt()))
    }

    /// Except where it is not.
    #[task(plain)]
    #[allow(unused_qualifications)]
    pub(super) fn plain() -> core::result::Result<u8, u8> {
        Ok(1)
    }

    /// Of whatever can be summed.
    #[task]
    pub(super) fn sum<T, const N: usize>(items: [T; N], _: &TaskContext, more: &T) -> T
    where
        T: Message + Copy + core::ops::Add<Output = T>,
        [T; N]: Message,
    {
        items.into_iter().fold(*more, |one, other| one + other)
    }

    macro_rules! by_type {
        ($(#[$attribute:meta])* $vis:vis fn $name:ident($by:pat, $of:ty, $text:ty, $cpus:literal) -> $reply:ty { $body:expr }) => {
            #[task(cpus = $cpus)]
            $(#[$attribute])*
            $vis fn $name($by: $of, text: &$text, _: &mobula::TaskContext) -> $reply {
                assert_eq!(text, "text");
                $body
            }
        };
    }

    by_type!(
        /// Made by a macro.
        pub(in super) fn made(_by, u8, str, 2) -> Vec<u8> { vec![1] }
    );
}

#[tokio::test]
async fn tasks_keep_their_names_attributes_and_patterns() {
    let cluster = Cluster::local().resource("memory", 1_000.0).await.expect("a cluster");
    assert_eq!(tasks::square::submit(&cluster, 3).await, Ok(9));
    assert_eq!(tasks::add::submit(&cluster, (1, 2), 3, 4, [5, 6], None).await, Ok(12));
    assert_eq!(tasks::within(&cluster).await, Ok(1));
    assert_eq!(tasks::r#match::submit(&cluster, 2, "two").await.expect("run"), "twotwo");
    assert_eq!(tasks::cut::submit(&cluster, 1).await, Ok(1));
    #[allow(deprecated)]
    let old = tasks::old::submit(&cluster, 1, 1, 1, 1, 1, 1, 1, 1);
    assert_eq!(old.await, Ok(8));
    assert_eq!(tasks::aliased::submit(&cluster).await, Ok(1));
    assert_eq!(tasks::plain::submit(&cluster).await, Ok(Ok(1)));
    assert_eq!(tasks::sum::submit::<u8, 2>(&cluster, [1, 2], 3).await, Ok(6));
    assert_eq!(tasks::made::submit(&cluster, 1, "text").await, Ok(vec![1]));
}

#[tokio::test]
async fn a_task_may_be_local_to_a_function() {
    type Alias = u8;
    #[task]
    fn local(by: Alias) -> Result<Alias, String> {
        by.checked_sub(1).ok_or_else(|| "none".to_owned())
    }
    let cluster = Cluster::local().await.expect("a cluster");
    let result: ObjectRef<u8, String> = local::submit(&cluster, 0);
    assert_eq!(result.await, Err(GetError::App("none".to_owned())));
    assert_eq!(local(1), Ok(0));
}

#[test]
fn concrete_tasks_register_themselves_by_their_stable_names() {
    let registered = inventory::iter::<TaskRegistration>.into_iter();
    let mut registered: Vec<String> = registered.map(|task| format!("{task:?}")).collect();
    registered.sort();
    let expected = [
        "TaskRegistration(hygiene::aliased() -> results::Result)",
        "TaskRegistration(hygiene::cut(u8) -> u8)",
        "TaskRegistration(hygiene::load(u8, u8, u8, u8, u8, u8) -> u8)",
        "TaskRegistration(hygiene::local(Alias) -> Result<Alias, String>)",
        "TaskRegistration(hygiene::made(u8, &str) -> Vec<u8>)",
        "TaskRegistration(hygiene::match(u8, &str) -> String)",
        "TaskRegistration(hygiene::old(u8, u8, u8, u8, u8, u8, u8, u8) -> u8)",
        "TaskRegistration(hygiene::plain() -> core::result::Result<u8, u8>)",
        "TaskRegistration(hygiene::private() -> u8)",
        "TaskRegistration(hygiene::square(u64) -> u64)",
        "TaskRegistration(hygiene::submit(u8) -> ::core::result::Result<u8, ::mobula::Failure>)",
        "TaskRegistration(math::add((u8, u8), u8, u8, [u8; 2], Option<u8>) -> u8)",
    ];
    assert_eq!(registered, expected);
}
