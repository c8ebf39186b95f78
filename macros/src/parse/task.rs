//! `#[task]` on a function.

use super::{Errors, Refusal, function, options, placement, streams, types::Returned};
use crate::model::{Defaults, Fault, Function, Reply, Task, TypeName};
use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use std::time::Duration;
use syn::{ExprPath, Ident, Item, ItemFn, Lit, LitInt, LitStr, Meta, Type, ext::IdentExt};

pub(crate) fn task(given: TokenStream, item: TokenStream) -> Result<Task, Refusal> {
    let mut errors = Errors::default();
    let options = TaskOptions::new(given, &mut errors);
    match syn::parse2(item.clone()) {
        Ok(Item::Fn(function)) => understood(function, options, errors),
        Ok(other) => {
            let (span, what) = match other {
                Item::Struct(other) => (other.struct_token.span, "a struct: `#[actor]` makes it an actor"),
                Item::Impl(other) => {
                    (other.impl_token.span, "an impl: `#[methods]` makes its functions messages of an actor")
                }
                Item::Trait(other) => (other.trait_token.span, "a trait: put it on a function that calls its methods"),
                Item::Mod(other) => (other.mod_token.span, "a module: put it on each of its functions"),
                _ => (Span::call_site(), "this item: put it on a `fn` with a body, outside of impls and traits"),
            };
            let error = syn::Error::new(span, format!("`#[task]` is for functions, not for {what}"));
            Err(errors.refuse(error, item))
        }
        Err(error) => Err(errors.refuse(error, item)),
    }
}

fn understood(mut item: ItemFn, options: TaskOptions, mut errors: Errors) -> Result<Task, Refusal> {
    check_name(&item.sig.ident, &mut errors);
    let understood = function::task(&item, options.plain.as_ref(), &mut errors);
    let Some((function, Returned { reply, error, .. })) = understood else {
        return Err(errors.give_up(item.into_token_stream()));
    };
    if let (Some(option), Fault::Never) = (&options.retry_on, &error) {
        let message = "this asks which errors are worth another attempt, and the function has none: return `Result<T, E>`, or \
                       leave it away; for a node that ends, `retries` is enough";
        errors.at(option, message);
    }
    let whole = item.to_token_stream();
    let name = match options.name {
        Some(name) => TypeName::Given(name.value()),
        None => TypeName::InCrate(function.name.clone()),
    };
    let mut function = function;
    let reply = match options.returns {
        Some(count) => several(reply, &count, &mut function, &mut errors),
        None => reply,
    };
    let generics = item.sig.generics.clone();
    if let Reply::Stream(_) = &reply {
        streams::let_outlive(&mut item.sig.output);
    }
    let TaskOptions { retry_on, defaults, .. } = options;
    errors.finish(Task { item, name, function, generics, reply, error, retry_on, defaults }, || whole)
}

/// The most results of one task: `RETURNS` of `mobula`'s limits.
const RETURNS: usize = 8;

/// The reply of a task with so many results.
fn several(reply: Reply, count: &LitInt, function: &mut Function, errors: &mut Errors) -> Reply {
    let asked = errors.take(count.base10_parse::<usize>());
    match (&reply, asked) {
        (_, None) => {}
        (_, Some(0)) => {
            errors.at(count, "every task has a result, of type `()` if it returns nothing: leave this away")
        }
        (_, Some(1)) => errors.at(count, "one result is what a task has without this: leave it away"),
        (_, Some(asked)) if asked > RETURNS => {
            errors.at(
                count,
                format!("a task has at most {RETURNS} results by themselves: put some of them into a struct"),
            );
        }
        (Reply::Value(Type::Tuple(tuple), _), Some(asked)) if tuple.elems.len() == asked => {
            function.signature.push_str(&format!(" as {asked} results"));
            return Reply::Several(tuple.clone());
        }
        (Reply::Value(Type::Tuple(tuple), _), Some(asked)) => {
            let fields = tuple.elems.len();
            let message = format!(
                "this returns a tuple of {fields}, and `returns = {asked}` asks for one of {asked}: make them agree"
            );
            errors.at(count, message);
        }
        (Reply::Stream(_), _) => errors.at(count, "a stream has as many results as it makes: leave this away"),
        (_, Some(asked)) => {
            let tuple = ["A", "B", "C", "D", "E", "F", "G", "H"].get(..asked).unwrap_or_default().join(", ");
            errors.at(
                count,
                format!(
                    "each result is a field of a tuple that is written out: return `({tuple})`, also inside of `Result`"
                ),
            );
        }
    }
    reply
}

/// The function gets a type of its name beside it, which would hide one of these from its whole module.
fn check_name(ident: &Ident, errors: &mut Errors) {
    const PRIMITIVES: [&str; 17] = [
        "bool", "char", "f32", "f64", "i8", "i16", "i32", "i64", "i128", "isize", "str", "u8", "u16", "u32", "u64",
        "u128", "usize",
    ];
    let name = ident.unraw().to_string();
    if PRIMITIVES.contains(&&*name) {
        let message = format!(
            "a task has a type of its name, and `{name}` is one already: choose another name, and keep this one for other \
             programs by `#[task(name = \"{name}\")]`"
        );
        errors.at(ident, message);
    }
}

/// The options of `#[task(..)]`.
#[derive(Default)]
struct TaskOptions {
    name: Option<LitStr>,
    plain: Option<Meta>,
    retry_on: Option<ExprPath>,
    returns: Option<LitInt>,
    defaults: Defaults,
}

impl TaskOptions {
    fn new(given: TokenStream, errors: &mut Errors) -> Self {
        let mut found = TaskOptions::default();
        for option in options::of_macro(given, errors) {
            if placement::takes(&option, &mut found.defaults.placement, errors) {
                continue;
            }
            let key = option.path().get_ident().map(ToString::to_string).unwrap_or_default();
            match &*key {
                "timeout" => found.defaults.timeout = time(&option, errors),
                "retries" => found.defaults.retries = options::whole(&option, errors),
                "priority" => found.defaults.priority = options::signed(&option, errors),
                "retry_on" => found.retry_on = options::path(&option, errors),
                "returns" => found.returns = options::number(&option, errors),
                "name" => found.name = options::name(&option, errors),
                "plain" => {
                    options::flag(&option, errors);
                    found.plain = Some(option);
                }
                _ => {
                    let known = format!(
                        "{}, `retries = 3`, `retry_on = is_transient`, `timeout = \"5s\"`, `returns = 2`, \
                         `priority = 5`, `name = \"..\"` and `plain`",
                        placement::KNOWN
                    );
                    options::unknown(&option, &known, errors);
                }
            }
        }
        found
    }
}

/// `timeout = "5s"`.
fn time(option: &Meta, errors: &mut Errors) -> Option<Duration> {
    let text = match options::literal(option) {
        Some(Lit::Str(text)) => Some(text.value()),
        _ => None,
    };
    let time = text.as_deref().and_then(options::time);
    match time {
        None => errors.at(
            option,
            "this option takes a whole number of `ms`, `s`, `m` or `h`, up to 2^32 of them: `timeout = \"5s\"`",
        ),
        Some(time) if time.is_zero() => {
            errors.at(option, "with no time at all nothing would ever run: write at least `timeout = \"1ms\"`");
        }
        Some(_) => {}
    }
    time
}
