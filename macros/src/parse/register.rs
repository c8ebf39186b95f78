//! `register!`: which instances of generic actors and tasks other processes find.

use super::{Errors, Refusal};
use crate::{
    model::{Instance, InstanceName, Registered},
    signature::spell,
};
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{
    LitStr, Path, PathArguments, Token, TypePath,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
};

pub(crate) fn register(given: TokenStream) -> Result<Vec<Instance>, Refusal> {
    let mut errors = Errors::default();
    let entries = errors.take(Punctuated::<Entry, Token![,]>::parse_terminated.parse2(given)).unwrap_or_default();
    let instances = entries.into_iter().filter_map(|entry| instance(entry, &mut errors)).collect();
    errors.finish(instances, TokenStream::new)
}

/// `Holder<u32>`, `fn mean::<f32>`, either with `as "name"`.
struct Entry {
    is_task: bool,
    path: TypePath,
    name: Option<LitStr>,
}

impl Parse for Entry {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let is_task = input.parse::<Option<Token![fn]>>()?.is_some();
        let path = input.parse()?;
        let name = match input.parse::<Option<Token![as]>>()? {
            Some(_) => Some(input.parse()?),
            None => None,
        };
        Ok(Entry { is_task, path, name })
    }
}

fn instance(entry: Entry, errors: &mut Errors) -> Option<Instance> {
    let Entry { is_task, path: ty, name } = entry;
    let path = &ty.path;
    let last = path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        let name = spell(&last.ident);
        let instance = if is_task { format!("fn {name}::<u32>") } else { format!("{name}<u32>") };
        let message = format!(
            "this says no parameters: say which instance, as in `{instance}`; what has none is registered by its attribute"
        );
        errors.at(path, message);
        return None;
    };
    let mut arguments = arguments.clone();
    arguments.colon2_token = None;
    let name = match name {
        Some(name) if name.value().is_empty() => {
            errors.at(&name, "a name is not empty");
            return None;
        }
        Some(name) => InstanceName::Given(name.value()),
        None => InstanceName::Arguments(spell(&arguments)),
    };
    let of = match is_task {
        true => Registered::Task { function: without_arguments(path), arguments },
        false => Registered::Actor(ty),
    };
    Some(Instance { of, name })
}

/// The function's path, as a type of its own.
fn without_arguments(path: &Path) -> TokenStream {
    let mut path = path.clone();
    if let Some(last) = path.segments.last_mut() {
        last.arguments = PathArguments::None;
    }
    path.into_token_stream()
}
