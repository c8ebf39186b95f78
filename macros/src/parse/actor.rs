//! `#[actor]` on a struct.

use super::{Errors, Refusal, attributes, options, placement};
use crate::model::{Actor, Placement, Restarts, TypeName};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident};
use std::time::Duration;
use syn::{GenericParam, Item, ItemStruct, ext::IdentExt};

/// The longest window of restarts: `RESTART_WINDOW` of `mobula`'s limits.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn actor(given: TokenStream, item: TokenStream) -> Result<Actor, Refusal> {
    let mut errors = Errors::default();
    let Options { name, restarts, isolated, placement } = options_of(given, &mut errors);
    match syn::parse2(item.clone()) {
        Ok(Item::Struct(item)) => {
            check_generics(&item, &mut errors);
            let name = name.unwrap_or_else(|| TypeName::InCrate(item.ident.unraw().to_string()));
            let attributes = attributes::shared_with(&item.attrs);
            let handle = format_ident!("{}Handle", item.ident);
            let whole = item.to_token_stream();
            errors.finish(Actor { item, attributes, name, restarts, isolated, placement, handle }, || whole)
        }
        Ok(other) => {
            let (span, what) = match other {
                Item::Enum(other) => {
                    (other.enum_token.span, "an enum: wrap it in a struct, `struct Machine { state: State }`")
                }
                Item::Union(other) => (other.union_token.span, "a union: wrap it in a struct"),
                Item::Impl(other) => {
                    (other.impl_token.span, "an impl: put `#[methods]` there, and `#[actor]` on the struct")
                }
                Item::Fn(other) => {
                    (other.sig.fn_token.span, "a function: put it on the struct whose methods are the messages")
                }
                _ => (Span::call_site(), "this item: put it on a struct"),
            };
            let error = syn::Error::new(span, format!("`#[actor]` is for structs, not for {what}"));
            Err(errors.refuse(error, item))
        }
        Err(error) => Err(errors.refuse(error, item)),
    }
}

/// What `#[actor(..)]` says.
struct Options {
    name: Option<TypeName>,
    restarts: Restarts,
    isolated: bool,
    placement: Placement,
}

fn options_of(given: TokenStream, errors: &mut Errors) -> Options {
    let (mut name, mut restarts, mut window, mut isolated) = (None, Restarts::default(), None, false);
    let mut placement = Placement::default();
    for option in options::of_macro(given, errors) {
        if option.path().is_ident("name") {
            name = options::name(&option, errors).map(|name| TypeName::Given(name.value()));
        } else if option.path().is_ident("restarts") {
            restarts.limit = options::whole(&option, errors);
        } else if option.path().is_ident("restart_window") {
            restarts.window = options::duration(&option, WINDOW, errors);
            window = Some(option);
        } else if option.path().is_ident("isolation") {
            isolated = options::isolation(&option, errors);
        } else if !placement::takes(&option, &mut placement, errors) {
            let known = format!(
                "{}, `name = \"..\"`, `restarts = 3`, `restart_window = \"1m\"` and `isolation = \"process\"`",
                placement::KNOWN
            );
            options::unknown(&option, &known, errors);
        }
    }
    if let (None, Some(window)) = (restarts.limit, window) {
        errors.at(window, "this says within which time restarts are counted: say how many beside it, `restarts = 3`");
    }
    Options { name, restarts, isolated, placement }
}

fn check_generics(item: &ItemStruct, errors: &mut Errors) {
    for parameter in &item.generics.params {
        if let GenericParam::Lifetime(lifetime) = parameter {
            errors.at(
                lifetime,
                "an actor outlives every borrow of who spawned it: let it own what it holds (`String` for `&str`, `Vec<T>` \
                 for `&[T]`, `Arc<T>` for what is shared)",
            );
        }
    }
}
