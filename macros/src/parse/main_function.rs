//! `#[mobula::main]` on a function.

use super::{Errors, Refusal, options};
use crate::model::Main;
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{FnArg, Item, ItemFn, LitInt, Safety, Type};

const SHAPE: &str = "write `async fn main(cluster: Cluster)`";

pub(crate) fn main(given: TokenStream, item: TokenStream) -> Result<Main, Refusal> {
    let mut errors = Errors::default();
    let workers = workers(given, &mut errors);
    match syn::parse2(item.clone()) {
        Ok(Item::Fn(function)) => {
            check(&function, &mut errors);
            // Beside errors, an entry of the right shape: else the compiler repeats them in its own words.
            let (vis, ident, inner) = (function.vis.clone(), function.sig.ident.clone(), function.to_token_stream());
            errors.finish(Main { item: function, workers }, || quote!(#vis fn #ident() { #[allow(dead_code)] #inner }))
        }
        Ok(_) => {
            let error = syn::Error::new(Span::call_site(), format!("`#[mobula::main]` is for a function: {SHAPE}"));
            Err(errors.refuse(error, item))
        }
        Err(error) => Err(errors.refuse(error, item)),
    }
}

fn workers(given: TokenStream, errors: &mut Errors) -> Option<LitInt> {
    let mut workers = None;
    for option in options::of_macro(given, errors) {
        if option.path().is_ident("workers") {
            workers = options::number(&option, errors);
            if let Some(Err(error)) = workers.as_ref().map(LitInt::base10_parse::<u16>) {
                errors.push(error);
            }
        } else {
            options::unknown(&option, "`#[mobula::main(workers = 2)]`", errors);
        }
    }
    workers
}

fn check(function: &ItemFn, errors: &mut Errors) {
    let signature = &function.sig;
    if signature.asyncness.is_none() {
        errors
            .at(signature.fn_token, format!("the body runs on the cluster's runtime, so it is asynchronous: {SHAPE}"));
    }
    if let Safety::Unsafe(token) = &signature.safety {
        errors.at(token, format!("a program's entry is safe: {SHAPE}"));
    }
    if let Some(abi) = &signature.abi {
        errors.at(abi, format!("a program's entry has Rust's own calling convention: {SHAPE}"));
    }
    if !signature.generics.params.is_empty() {
        errors.at(&signature.generics.params, format!("nobody could choose these for a program's entry: {SHAPE}"));
    } else if let Some(clause) = &signature.generics.where_clause {
        errors.at(clause, format!("nobody could choose these for a program's entry: {SHAPE}"));
    }
    match signature.inputs.iter().collect::<Vec<_>>().as_slice() {
        [FnArg::Typed(cluster)] => {
            if let Type::Reference(reference) = &*cluster.ty {
                errors.at(reference, "the cluster is handed over by value: write `cluster: Cluster`");
            }
        }
        [FnArg::Receiver(receiver)] => errors.at(receiver, format!("a program's entry is no method: {SHAPE}")),
        [] => errors.at(&signature.ident, format!("it is given the cluster that it runs on: {SHAPE}")),
        [_, more @ ..] => {
            for input in more {
                errors.at(input.to_token_stream(), format!("it is given the cluster and nothing else: {SHAPE}"));
            }
        }
    }
}
