//! From the [model](crate::model) to tokens. Nothing here can fail.
//!
//! Generated items live in `const _: () = { .. }`, so that none of their names reaches the user's namespace, and import
//! nothing, so that none of the user's names means something else in them.

mod actor;
mod checkpoint;
mod main_function;
mod message;
mod methods;
mod placement;
mod register;
mod task;

use crate::model::{Fault, Function, Input, Reply, TypeName};
use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Type, spanned::Spanned};

pub(crate) use self::{actor::actor, main_function::main, methods::methods, register::register, task::task};

/// Where everything that only generated code names lives.
fn support() -> TokenStream {
    support_at(Span::call_site())
}

/// The same, for code with a span of the user's: an error would stand at the attribute if only these tokens stood there.
fn support_at(span: Span) -> TokenStream {
    quote_spanned!(span=> ::mobula::macro_support)
}

/// A name of our own that no name of the user's can meet.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// The span of the user's tokens, for code that must not see the user's local names.
fn at(span: Span) -> Span {
    span.resolved_at(Span::mixed_site())
}

/// What may be said of the user's functions once, and not again of those made after them.
fn quiet() -> TokenStream {
    quote!(#[allow(dead_code, private_bounds, private_interfaces, unreachable_pub, clippy::used_underscore_binding)])
}

/// The stable name of an actor type or a task.
fn type_name(name: &TypeName) -> TokenStream {
    let m = support();
    match name {
        TypeName::InCrate(name) => quote!(#m::TypeName::within(::core::module_path!(), #name)),
        TypeName::Given(name) => quote!(#m::TypeName::given(#name)),
    }
}

/// The name of an instance is looked up by the type, in the trait that says it.
fn instance(generics: &syn::Generics, of: &TokenStream) -> Option<TokenStream> {
    let m = support();
    (!generics.params.is_empty()).then(|| {
        quote!(
            fn type_name() -> #m::TypeName {
                #m::instance::<Self>(<Self as #of>::NAME)
            }
        )
    })
}

impl Reply {
    /// Where errors about the reply belong.
    fn span(&self) -> Span {
        match self {
            Reply::Value(ty, _) | Reply::OkOf(ty) | Reply::Stream(ty) => ty.span(),
            Reply::Several(tuple) => tuple.span(),
        }
    }

    fn ty(&self) -> TokenStream {
        match self {
            Reply::Value(ty, _) => quote!(#ty),
            Reply::OkOf(alias) => of_result(alias, "Ok"),
            Reply::Stream(item) => {
                let m = support_at(item.span());
                quote_spanned!(item.span()=> #m::Streamed<#item>)
            }
            Reply::Several(tuple) => {
                let m = support_at(tuple.span());
                quote_spanned!(tuple.span()=> #m::Several<#tuple>)
            }
        }
    }
}

/// What an alias of `Result` holds.
fn of_result(alias: &Type, which: &str) -> TokenStream {
    let (m, which) = (support_at(alias.span()), Ident::new(which, alias.span()));
    quote_spanned!(alias.span()=> <#alias as #m::Fallible>::#which)
}

impl Fault {
    fn ty(&self) -> TokenStream {
        match self {
            Fault::Never => quote!(::mobula::Never),
            Fault::Written(ty) => quote!(#ty),
            Fault::ErrOf(alias) => of_result(alias, "Err"),
            Fault::Text(span) => quote_spanned!(*span=> ::mobula::Failure),
        }
    }

    /// The error as a second type argument, left away where it is the default.
    fn second(&self) -> TokenStream {
        match self {
            Fault::Never => TokenStream::new(),
            error => {
                let ty = error.ty();
                quote!(, #ty)
            }
        }
    }
}

impl Function {
    /// The parameters of a generated function that makes the message: `by: impl IntoArg<u64>`.
    fn parameters(&self) -> Vec<TokenStream> {
        let parameters = self.inputs.iter().filter_map(Input::argument).map(|argument| {
            let (name, ty) = (&argument.name, &argument.ty);
            let into = quote_spanned!(ty.span()=> impl ::mobula::IntoArg<#ty>);
            quote!(#name: #into)
        });
        parameters.collect()
    }

    /// The message, made of those parameters.
    fn message(&self) -> TokenStream {
        let message = &self.message;
        let names = self.inputs.iter().filter_map(Input::argument).map(|argument| &argument.name);
        quote!(#message(#(::mobula::IntoArg::into_arg(#names),)* ::core::marker::PhantomData))
    }
}

/// What the arguments of a message are called while a method runs.
fn argument(position: usize) -> Ident {
    Ident::new(&format_ident!("argument{position}").to_string(), Span::mixed_site())
}
