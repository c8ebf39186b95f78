//! From tokens to the [model](crate::model). The only part that can fail: each error says what to write instead.

mod actor;
mod attributes;
mod callee;
mod checkpoint;
mod function;
mod main_function;
mod methods;
mod names;
mod options;
mod placement;
mod register;
mod role;
mod streams;
mod task;
mod types;

use proc_macro2::TokenStream;
use quote::ToTokens;
use std::fmt::Display;

pub(crate) use self::{actor::actor, main_function::main, methods::methods, register::register, task::task};

/// Errors, and the item that they are about, which is given back to the compiler beside them.
#[derive(Debug)]
pub(crate) struct Refusal {
    errors: syn::Error,
    item: TokenStream,
}

impl Refusal {
    pub(crate) fn into_tokens(self) -> TokenStream {
        let mut tokens = self.errors.into_compile_error();
        tokens.extend(self.item);
        tokens
    }

    #[cfg(test)]
    pub(crate) fn messages(&self) -> Vec<String> {
        self.errors.clone().into_iter().map(|error| error.to_string()).collect()
    }
}

/// The errors found so far.
#[derive(Default)]
struct Errors(Option<syn::Error>);

impl Errors {
    fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn at(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    /// The value, or what parsing it failed with.
    fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// Gives up at `error`.
    fn refuse(mut self, error: syn::Error, item: TokenStream) -> Refusal {
        let errors = match self.0.take() {
            Some(mut errors) => {
                errors.combine(error);
                errors
            }
            None => error,
        };
        Refusal { errors, item }
    }

    /// Gives up with what was found, of which there is something.
    fn give_up(self, item: TokenStream) -> Refusal {
        let errors =
            self.0.unwrap_or_else(|| syn::Error::new(proc_macro2::Span::call_site(), "this is not understood"));
        Refusal { errors, item }
    }

    /// Gives the model if nothing was wrong.
    fn finish<T>(self, model: T, item: impl FnOnce() -> TokenStream) -> Result<T, Refusal> {
        match self.0 {
            None => Ok(model),
            Some(errors) => Err(Refusal { errors, item: item() }),
        }
    }
}
