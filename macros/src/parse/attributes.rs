//! Which of the user's attributes generated items share.

use super::Errors;
use crate::model::Attributes;
use quote::ToTokens;
use syn::{Attribute, Meta, Token, parse_quote, parse_quote_spanned, punctuated::Punctuated, spanned::Spanned};

/// The attributes that only `#[methods]` understands.
pub(super) const OURS: [&str; 5] = ["constructor", "method", "on_stop", "checkpoint", "restore"];

/// The `#[cfg]`s, also those that a `#[cfg_attr]` would add.
pub(super) fn cfgs(attributes: &[Attribute]) -> Vec<Attribute> {
    shared(attributes, &["cfg"])
}

pub(super) fn shared_with(attributes: &[Attribute]) -> Attributes {
    Attributes {
        cfgs: cfgs(attributes),
        docs: shared(attributes, &["doc"]),
        deprecated: shared(attributes, &["deprecated"]),
        lints: lints(attributes),
    }
}

/// The attributes of these names, and the `#[cfg_attr]`s reduced to them.
fn shared(attributes: &[Attribute], names: &[&str]) -> Vec<Attribute> {
    attributes.iter().filter_map(|attribute| Some(with_meta(attribute, reduced(&attribute.meta, names)?))).collect()
}

fn with_meta(attribute: &Attribute, meta: Meta) -> Attribute {
    Attribute { meta, ..attribute.clone() }
}

fn reduced(meta: &Meta, names: &[&str]) -> Option<Meta> {
    if names.iter().any(|name| meta.path().is_ident(name)) {
        return Some(meta.clone());
    }
    let (predicate, added) = conditional(meta)?;
    let added: Vec<Meta> = added.iter().filter_map(|meta| reduced(meta, names)).collect();
    (!added.is_empty()).then(|| parse_quote_spanned!(meta.span()=> cfg_attr(#predicate, #(#added),*)))
}

/// The predicate of a `cfg_attr(predicate, ..)` and what it adds.
fn conditional(meta: &Meta) -> Option<(Meta, Vec<Meta>)> {
    let Meta::List(list) = meta else { return None };
    if !list.path.is_ident("cfg_attr") {
        return None;
    }
    let mut metas = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?.into_iter();
    Some((metas.next()?, metas.collect()))
}

fn lints(attributes: &[Attribute]) -> Vec<Attribute> {
    let mut lints = shared(attributes, &["allow"]);
    for expectation in attributes.iter().filter(|attribute| attribute.path().is_ident("expect")) {
        if let Meta::List(list) = &expectation.meta {
            let lint = &list.tokens;
            lints.push(parse_quote!(#[allow(#lint)]));
        }
    }
    lints
}

/// Takes our attributes off a function, and refuses them where only the compiler could tell whether they are there.
pub(super) fn take_ours(attributes: &mut Vec<Attribute>, errors: &mut Errors) -> Vec<Attribute> {
    for attribute in &*attributes {
        if let Some(hidden) = conditional(&attribute.meta).and_then(|(_, added)| added.into_iter().find(is_ours)) {
            let name = hidden.path().to_token_stream();
            errors.at(
                attribute,
                format!("`#[{name}]` cannot depend on `#[cfg_attr]`: write the function twice, under `#[cfg(..)]` and `#[cfg(not(..))]`"),
            );
        }
    }
    attributes.extract_if(.., |attribute| is_ours(&attribute.meta)).collect()
}

/// Takes our attributes off, silently: for what is given back beside errors.
pub(super) fn strip_ours(attributes: &mut Vec<Attribute>) {
    attributes.retain(|attribute| {
        let hides_ours = conditional(&attribute.meta).is_some_and(|(_, added)| added.iter().any(is_ours));
        !hides_ours && !is_ours(&attribute.meta)
    });
}

fn is_ours(meta: &Meta) -> bool {
    OURS.iter().any(|name| meta.path().is_ident(name))
}
