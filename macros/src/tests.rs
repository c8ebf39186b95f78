//! Expansions, whole, and what is refused, many mistakes at once. That expansions compile and run is the root crate's to
//! test, and that errors stand where they belong, `tests/ui`.

use crate::{
    expand,
    model::{Defaults, Placement, TypeName},
    parse,
};
use proc_macro2::TokenStream;
use quote::quote;
use std::time::Duration;

fn pretty(tokens: TokenStream) -> String {
    prettyplease::unparse(&syn::parse2(tokens).unwrap())
}

fn refused_methods(options: TokenStream, item: TokenStream) -> Vec<String> {
    parse::methods(options, item).err().map(|refusal| refusal.messages()).unwrap_or_default()
}

#[test]
fn an_actor_gets_a_handle() {
    let item = quote! {
        /// Keeps things.
        pub(crate) struct Shelf<T: Clone = String, const N: usize = 4>
        where
            T: Default,
        {
            items: [T; N],
        }
    };
    insta::assert_snapshot!(pretty(expand::actor(parse::actor(quote!(), item).unwrap())));
}

#[test]
fn an_actor_says_where_it_runs_as_a_task_does() {
    let options = quote!(
        cpus = 0.5,
        gpus = 1,
        memory = 4096,
        resource("tpu", 2),
        label("zone", "a"),
        select("disk", "!in(hdd, tape)"),
        spread,
        wait_for_node
    );
    let said = Placement {
        cpus: Some(0.5),
        gpus: Some(1.0),
        memory: Some(4096),
        resources: vec![("tpu".to_owned(), 2.0)],
        labels: vec![("zone".to_owned(), "a".to_owned())],
        conditions: vec![("disk".to_owned(), "!in(hdd, tape)".to_owned())],
        spread: true,
        waits: true,
    };
    let item = quote!(
        struct Model;
    );
    let actor = parse::actor(options.clone(), item).unwrap();
    assert_eq!(actor.placement, said);
    let task = parse::task(
        options,
        quote!(
            fn train() {}
        ),
    )
    .unwrap();
    assert_eq!(task.defaults.placement, said);
    let expanded = pretty(expand::actor(actor));
    let placement = expanded.split("const PLACEMENT").nth(1).and_then(|rest| rest.split("};").next()).unwrap();
    insta::assert_snapshot!(placement);
}

#[test]
fn methods_become_messages() {
    let item = quote! {
        impl Counter {
            #[constructor]
            pub fn starting_at(total: u64) -> Self {
                Self { total }
            }
            /// Adds.
            pub fn add(&mut self, by: u64) -> u64 {
                self.total += by;
                self.total
            }
            #[method(cancel, name = "look")]
            pub(crate) async fn watch(&self, context: &mut ActorContext<Self>, of: &[f32]) -> Result<impl Stream<Item = u64>, Gone> {
                todo!()
            }
            #[on_stop]
            async fn close(&mut self) {}
            fn private(&self) {}
        }
    };
    insta::assert_snapshot!(pretty(expand::methods(parse::methods(quote!(), item).unwrap())));
}

#[test]
fn a_generic_actor_registers_nothing_by_itself_and_its_messages_carry_its_parameters() {
    let item = quote! {
        impl<T: Message> shelf::Shelf<T> where T: Clone {
            #[constructor]
            pub async fn open(path: &str) -> mobula::Result<Self> {
                todo!()
            }
            #[method(blocking, group = "io")]
            pub fn put(&self, (item, _): (T, Self::Tag)) -> io::Result<usize> {
                todo!()
            }
            pub async fn all(&self) -> Vec<T> {
                todo!()
            }
        }
    };
    let options = quote!(concurrency = 8, groups(io = 4));
    insta::assert_snapshot!(pretty(expand::methods(parse::methods(options, item).unwrap())));
}

#[test]
fn a_task_gets_a_type_beside_its_function() {
    let item = quote! {
        /// Squares.
        #[deprecated]
        #[cfg(unix)]
        pub fn square(x: u64) -> u64 {
            x * x
        }
    };
    insta::assert_snapshot!(pretty(expand::task(parse::task(quote!(), item).unwrap())));
}

#[test]
fn a_generic_task_registers_nothing_by_itself_and_its_doors_take_its_parameters() {
    let item = quote! {
        async fn mean<T: Pod, const N: usize>(ctx: &TaskContext, of: &[T], scale: [f32; N]) -> Result<f64, Empty>
        where
            T: Into<f64>,
        {
            todo!()
        }
    };
    let options = quote!(retries = 3, cpus = 0.5, gpus = 1, memory = 1_000_000, priority = -5, name = "stats::mean");
    insta::assert_snapshot!(pretty(expand::task(parse::task(options, item).unwrap())));
}

#[test]
fn instances_are_registered_and_named() {
    let given = quote!(
        shelf::Shelf<Vec<(u8, String)>, 4>,
        shelf::Shelf::<u32> as "shelf of numbers",
        fn stats::mean::<f32, { 1 + 1 }>,
        fn sum<u64> as "sum",
    );
    insta::assert_snapshot!(pretty(expand::register(parse::register(given).unwrap())));
}

#[test]
fn a_task_that_streams_gives_a_stream_of_references_and_is_tried_again_for_its_error() {
    let item = quote! {
        pub fn lines(path: String, of: &str) -> io::Result<impl Stream<Item = String>> {
            todo!()
        }
    };
    insta::assert_snapshot!(pretty(expand::task(parse::task(quote!(retry_on = is_busy), item).unwrap())));
}

#[test]
fn a_task_with_several_results_gives_a_reference_to_each() {
    let item = quote! {
        async fn split(number: u64) -> mobula::Result<(u64, String)> {
            todo!()
        }
    };
    insta::assert_snapshot!(pretty(expand::task(parse::task(quote!(returns = 2), item).unwrap())));
}

#[test]
fn main_is_wrapped() {
    let item = quote! {
        /// Runs.
        #[allow(unused)]
        async fn main(cluster: Cluster) -> anyhow::Result<()> {
            Ok(())
        }
    };
    insta::assert_snapshot!(pretty(expand::main(parse::main(quote!(workers = 2), item).unwrap())));
}

#[test]
fn a_signature_says_what_travels_however_it_is_written() {
    let item = quote! {
        impl Shelf<T> {
            #[constructor]
            pub fn open(path: &str) -> Result<Shelf<T>, Failure> {}
            pub fn nothing(&mut self) {}
            pub fn put<'a>(&'a mut self, context: &mut ActorContext<Self>, (at, _): (u64, [T; 4]), text: &'a str) -> usize {}
            pub async fn merge(&mut self, mut other: Vec< Self >, handle: ShelfHandle<T>) -> io::Result<Option<Shelf<T>>> {}
            pub fn watch(&self) -> impl futures::Stream<Item = &'static str> + Unpin {}
            pub fn watch_all(&self) -> impl futures::Stream<Item = Vec<T>> + Unpin {}
        }
    };
    let item = quote!(#item);
    let refused = refused_methods(quote!(), item.clone());
    assert_eq!(refused, ["a reply owns what it carries, for it leaves the actor: write `String`"]);
    let item: TokenStream = item.to_string().replace("& 'static str", "String").parse().unwrap();
    let methods = parse::methods(quote!(), item).unwrap();
    let signatures: Vec<&str> = methods.methods.iter().map(|method| &*method.function.signature).collect();
    assert_eq!(
        signatures,
        [
            "() -> ()",
            "((u64, [T; 4]), &str) -> usize",
            "(Vec<Self>, ShelfHandle<T>) -> io::Result<Option<Self>>",
            "() -> impl Stream<Item = String>",
            "() -> impl Stream<Item = Vec<T>>",
        ]
    );
    assert_eq!(methods.constructors[0].function.signature, "(&str) -> Result<Self, Failure>");
}

#[test]
fn a_task_has_a_signature_and_options_like_a_method() {
    let item = quote! {
        fn look(text: &str, (at, _): (u64, [T; 4]), ctx: &TaskContext, of: & [ f32 ]) -> io::Result<Vec< u8 >> {}
    };
    let options =
        quote!(cpus = 2, priority = 1, memory = 4096, resource("tpu", 1), label("zone", "a"), spread, timeout = "2min");
    let task = parse::task(options, item).unwrap();
    assert_eq!(task.function.signature, "(&str, (u64, [T; 4]), &[f32]) -> io::Result<Vec<u8>>");
    assert_eq!(task.name, TypeName::InCrate("look".to_owned()));
    let placement = Placement {
        cpus: Some(2.0),
        memory: Some(4096),
        resources: vec![("tpu".to_owned(), 1.0)],
        labels: vec![("zone".to_owned(), "a".to_owned())],
        spread: true,
        ..Placement::default()
    };
    let defaults =
        Defaults { placement, priority: Some(1), timeout: Some(Duration::from_secs(120)), ..Defaults::default() };
    assert_eq!(task.defaults, defaults);
}

#[test]
fn as_many_mistakes_are_told_of_a_task_as_there_are() {
    let item = quote! {
        extern "C" fn change<'a>(self, total: &mut u64, ctx: &mut ActorContext<Self>, item: impl Sized) -> impl Stream<Item = &u64> {}
    };
    let refusal = parse::task(quote!(cpus = -1, retry = 3), item).err();
    let refused = refusal.map(|refusal| refusal.messages()).unwrap_or_default();
    let told = [
        "this option takes 0, or a number from 0.0001 to 2^50: `cpus = 0.5`",
        "unknown option: there is `cpus = 0.5`",
        "a task is a function of its own",
        "a result owns what it carries",
        "a task is no foreign call",
        "a task is lent its arguments",
        "a task cannot change what its caller holds: take `u64`",
        "take the context as `&TaskContext`",
        "the caller must know this type",
    ];
    assert_eq!(refused.len(), told.len(), "{refused:#?}");
    for (refused, told) in refused.iter().zip(told) {
        assert!(refused.starts_with(told), "{refused}");
    }
}

#[test]
fn as_many_mistakes_are_told_as_there_are() {
    let item = quote! {
        impl Counter {
            pub fn change(&mut self, total: &mut u64, texts: Vec<&str>) -> &str {}
            #[method(cancel, bloking)]
            pub fn put<T>(self, item: T) {}
        }
    };
    let refused = refused_methods(quote!(concurrency = 0, grops(io = 1)), item);
    let told = [
        "with `concurrency = 0` nothing would ever run",
        "unknown option: there is `concurrency = 8`",
        "a reply owns what it carries",
        "an actor cannot change what its caller holds: take `u64`",
        "a message owns what it carries: write `Vec<String>`",
        "unknown option: there is `blocking`",
        "an actor stays where it is",
        "a synchronous method has no await",
        "a message has one type",
        "an actor is made where it is placed",
    ];
    assert_eq!(refused.len(), told.len(), "{refused:#?}");
    for (refused, told) in refused.iter().zip(told) {
        assert!(refused.starts_with(told), "{refused}");
    }
}

#[test]
fn a_refused_item_comes_back_without_attributes_that_only_we_know() {
    let item = quote! {
        impl Counter {
            #[constructor]
            #[inline]
            pub fn new() {}
            #[on_stop]
            #[cfg_attr(all(), method(blocking))]
            fn stop(&mut self) {}
        }
    };
    let tokens = parse::methods(quote!(), item).err().map(parse::Refusal::into_tokens).unwrap().to_string();
    assert!(tokens.contains("compile_error") && tokens.contains("inline") && tokens.contains("fn stop"), "{tokens}");
    assert!(
        !["constructor", "on_stop", "blocking"].iter().any(|ours| tokens.contains(&format!("# [{ours}"))),
        "{tokens}"
    );
    assert!(!tokens.contains("# [cfg_attr"), "{tokens}");
}

#[test]
fn no_tokens_are_too_strange_to_be_refused() {
    let strange = [
        "",
        ";",
        "impl",
        "impl X",
        "struct",
        "fn f(",
        "pub pub",
        "impl X { fn }",
        "#![inner] struct X;",
        "?",
        "mod m;",
    ];
    for source in strange {
        let Ok(tokens) = source.parse::<TokenStream>() else { continue };
        assert!(parse::actor(quote!(), tokens.clone()).is_err() || source.contains("struct X"), "{source}");
        assert!(parse::methods(quote!(), tokens.clone()).is_err(), "{source}");
        assert!(parse::main(quote!(), tokens.clone()).is_err(), "{source}");
        assert!(parse::task(quote!(), tokens.clone()).is_err(), "{source}");
        assert!(parse::methods(tokens.clone(), quote!(impl X {})).is_err(), "{source}");
    }
}
