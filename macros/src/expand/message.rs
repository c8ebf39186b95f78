//! The struct that carries the arguments of one method, constructor or task, and how it is run.
//!
//! ```text
//! struct __Add(Arg<u64>, PhantomData<fn() -> Counter>);   encoded as the tuple of its arguments
//! ```
//!
//! The last field carries the parameters of a generic actor or task. It also spares users errors: whether a struct is sized hangs on
//! its last field alone, so that an argument that cannot travel is reported for its own field and not for each impl.

use super::{argument, at, local, support, support_at};
use crate::model::{
    Argument, Call, Cancel, Constructor, Fault, Function, Input, Method, Passing, Probe, Reply, Run, Target,
};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::{Generics, Ident, parse_quote, spanned::Spanned};

pub(super) fn of_method(method: &Method, target: &Target) -> TokenStream {
    let m = support();
    let Function { message, name, signature, attributes, .. } = &method.function;
    let (parameters, arguments, where_clause) = target.generics.split_for_impl();
    let (actor, reply, error) = (&target.ty, method.reply.ty(), method.error.ty());
    let (cfgs, lints) = (&attributes.cfgs, &attributes.lints);
    let code = match method.run {
        Run::Exclusive => quote!(#m::Code::Exclusive(Self::run)),
        Run::Shared { group } => quote!(#m::Code::Shared { group: #group, run: Self::run }),
        Run::Blocking => quote!(#m::Code::Blocking(Self::run)),
        Run::BlockingShared { group } => quote!(#m::Code::BlockingShared { group: #group, run: Self::run }),
    };
    let cancel = (method.cancel == Cancel::Drop).then(|| quote!(const CANCEL: #m::OnCancel = #m::OnCancel::Drop;));
    let retries = method.retries.map(|retries| quote!(const RETRIES: u8 = #retries;));
    let carrier = carrier(&method.function, &target.generics, actor);
    let run = run(method, target);
    let probe = probe(&method.reply)
        .filter(|_| target.generics.params.is_empty())
        .map(|probe| quote!(#(#cfgs)* const _: () = #probe;));
    quote! {
        #carrier
        #probe
        #(#cfgs)*
        #(#lints)*
        impl #parameters #m::Method for #message #arguments #where_clause {
            type Actor = #actor;
            type Reply = #reply;
            type Error = #error;
            const NAME: &'static str = #name;
            const SIGNATURE: &'static str = #signature;
            const CODE: #m::Code<Self> = #code;
            #cancel
            #retries
        }
        #run
    }
}

pub(super) fn of_constructor(constructor: &Constructor, target: &Target) -> TokenStream {
    let m = support();
    let Function { message, name, signature, attributes, .. } = &constructor.function;
    let (parameters, arguments, where_clause) = target.generics.split_for_impl();
    let (actor, error) = (&target.ty, constructor.error.ty());
    let (cfgs, lints, deprecated) = (&attributes.cfgs, &attributes.lints, allow_deprecated(&constructor.function));
    let carrier = carrier(&constructor.function, &target.generics, actor);
    let unpacked = unpacked(&constructor.function);
    let context = context(&constructor.function.inputs);
    let made = called(&constructor.function, associated(&constructor.function, target), None);
    let made = if let Fault::Never = constructor.error { quote!(::core::result::Result::Ok(#made)) } else { made };
    let future = boxed(&constructor.function, quote!(let #unpacked = self; #made));
    quote! {
        #carrier
        #(#cfgs)*
        #(#lints)*
        impl #parameters #m::Constructor for #message #arguments #where_clause {
            type Actor = #actor;
            type Error = #error;
            const NAME: &'static str = #name;
            const SIGNATURE: &'static str = #signature;
            #deprecated
            fn run<'a>(
                self,
                #context: &'a mut ::mobula::ActorContext<#actor>,
            ) -> #m::BoxFuture<'a, ::core::result::Result<#actor, #error>> {
                #future
            }
        }
    }
}

/// The struct, and how it is encoded; `of` is a type that names all of its parameters.
pub(super) fn carrier(function: &Function, generics: &Generics, of: impl ToTokens) -> TokenStream {
    let m = support();
    let message = &function.message;
    let (cfgs, lints) = (&function.attributes.cfgs, &function.attributes.lints);
    let (parameters, arguments, where_clause) = generics.split_for_impl();
    let (types, names): (Vec<_>, Vec<_>) = function
        .inputs
        .iter()
        .filter_map(Input::argument)
        .enumerate()
        .map(|(position, Argument { ty, .. })| (quote_spanned!(ty.span()=> ::mobula::Arg<#ty>), argument(position)))
        .unzip();
    let positions: Vec<syn::Index> = (0..types.len()).map(syn::Index::from).collect();
    let visit = if positions.is_empty() { quote!(_) } else { local("visit").to_token_stream() };
    let mut decoding = generics.clone();
    decoding.params.insert(0, parse_quote!('de));
    let (decoding, ..) = decoding.split_for_impl();
    quote! {
        #(#cfgs)*
        #(#lints)*
        struct #message #parameters (#(#types,)* ::core::marker::PhantomData<fn() -> #of>) #where_clause;

        #(#cfgs)*
        #(#lints)*
        #[automatically_derived]
        impl #parameters #m::serde::Serialize for #message #arguments #where_clause {
            fn serialize<__S: #m::serde::Serializer>(
                &self,
                serializer: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                #m::serde::Serialize::serialize(&(#(&self.#positions,)*), serializer)
            }
        }

        #(#cfgs)*
        #(#lints)*
        #[automatically_derived]
        impl #parameters #m::Arguments for #message #arguments #where_clause {
            #[inline]
            fn form(&self) -> #m::Form {
                #m::Form::NONE #(.and(self.#positions.form()))*
            }
            fn each<'a>(&'a mut self, #visit: &mut dyn ::core::ops::FnMut(&'a mut dyn #m::Unresolved)) {
                #(#visit(&mut self.#positions);)*
            }
        }

        #(#cfgs)*
        #(#lints)*
        #[automatically_derived]
        impl #decoding #m::serde::Deserialize<'de> for #message #arguments #where_clause {
            fn deserialize<__D: #m::serde::Deserializer<'de>>(
                deserializer: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                ::core::result::Result::map(
                    #m::serde::Deserialize::deserialize(deserializer),
                    |(#(#names,)*)| Self(#(#names,)* ::core::marker::PhantomData),
                )
            }
        }
    }
}

fn run(method: &Method, target: &Target) -> TokenStream {
    let m = support();
    let function = &method.function;
    let message = &function.message;
    let (cfgs, lints, deprecated) = (&function.attributes.cfgs, &function.attributes.lints, allow_deprecated(function));
    let (parameters, arguments, where_clause) = target.generics.split_for_impl();
    let (actor, context, unpacked) = (local("actor"), context(&function.inputs), unpacked(function));
    let ty = &target.ty;
    let called = called(function, associated(function, target), Some(&actor));
    let result = result(function, &method.reply, &method.error, called);
    let probe =
        probe(&method.reply).filter(|_| !target.generics.params.is_empty()).map(|probe| quote!(const { #probe }));
    let (reply, error) = (method.reply.ty(), method.error.ty());
    let is_blocking = matches!(method.run, Run::Blocking | Run::BlockingShared { .. });
    let borrow = match method.run {
        Run::Exclusive | Run::Blocking => quote!(&'a mut),
        Run::Shared { .. } | Run::BlockingShared { .. } => quote!(&'a),
    };
    let (output, body) = match (is_blocking, function.call) {
        (true, _) => (quote!(::core::result::Result<#reply, #error>), quote!(let #unpacked = self; #result)),
        (false, Call::Sync) => (quote!(#m::Ran<'a, Self>), quote!(let #unpacked = self; #m::Ran::Done(#result))),
        (false, Call::Async) => {
            let future = boxed(function, quote!(let #unpacked = self; #result));
            (quote!(#m::Ran<'a, Self>), quote!(#m::Ran::Running(#future)))
        }
    };
    quote! {
        #(#cfgs)*
        #(#lints)*
        impl #parameters #message #arguments #where_clause {
            #deprecated
            fn run<'a>(
                self,
                #actor: #borrow #ty,
                #context: &'a mut ::mobula::ActorContext<#ty>,
            ) -> #output {
                #probe
                #body
            }
        }
    }
}

/// The pattern that takes the arguments out of a message.
pub(super) fn unpacked(function: &Function) -> TokenStream {
    let count = function.inputs.iter().filter_map(Input::argument).count();
    let names = (0..count).map(argument);
    quote!(Self(#(#names,)* _))
}

/// The context's name, or a pattern for who does not take it.
pub(super) fn context(inputs: &[Input]) -> TokenStream {
    match inputs.iter().any(|input| matches!(input, Input::Context)) {
        true => local("context").to_token_stream(),
        false => quote!(_),
    }
}

/// A function of the actor's impl, with the user's span.
fn associated(function: &Function, target: &Target) -> TokenStream {
    let (ty, ident) = (&target.ty, &function.ident);
    quote_spanned!(at(ident.span())=> <#ty>::#ident)
}

/// The call of the user's function, awaited if it is asynchronous, with the user's spans: errors point there, once.
pub(super) fn called(function: &Function, path: TokenStream, actor: Option<&Ident>) -> TokenStream {
    let span = at(function.ident.span());
    let m = support_at(span);
    let actor = actor.map(|actor| Ident::new(&actor.to_string(), span)).map(|actor| quote!(#actor,));
    let passed = passed(&function.inputs, span);
    let call = quote_spanned!(span=> #path(#actor #(#passed),*));
    match function.call {
        Call::Sync => call,
        Call::Async => quote_spanned!(span=> #m::send_future(#call).await),
    }
}

/// The future of `body`. It has the span of the user's function: if that is not `Send`, the compiler says so of both, and
/// says the same at the same place only once.
pub(super) fn boxed(function: &Function, body: TokenStream) -> TokenStream {
    quote_spanned!(at(function.ident.span())=> ::std::boxed::Box::pin(async move { #body }))
}

/// The parameters, in the user's order.
pub(super) fn passed(inputs: &[Input], span: proc_macro2::Span) -> Vec<TokenStream> {
    let mut position = 0;
    let passed = inputs.iter().map(|input| match input {
        Input::Context => Ident::new("context", span).to_token_stream(),
        Input::Argument(Argument { ty, passing, .. }) => {
            let span = at(ty.span());
            let m = support_at(span);
            let name = Ident::new(&argument(position).to_string(), span);
            position += 1;
            match passing {
                Passing::Owned => quote_spanned!(span=> #m::take!(#name)),
                Passing::Borrowed => quote_spanned!(span=> &*#name),
            }
        }
    });
    passed.collect()
}

/// What the call gave as the `Result` of a reply and an error.
pub(super) fn result(function: &Function, reply: &Reply, error: &Fault, called: TokenStream) -> TokenStream {
    let span = at(function.ident.span());
    let m = support_at(span);
    match (reply, error) {
        (Reply::Stream(_), Fault::Never) => quote_spanned!(span=> ::core::result::Result::Ok(#m::streamed(#called))),
        (Reply::Stream(_), _) => quote_spanned!(span=> ::core::result::Result::map(#called, #m::streamed)),
        (Reply::Several(_), Fault::Never) => quote_spanned!(span=> ::core::result::Result::Ok(#m::Several(#called))),
        (Reply::Several(_), _) => quote_spanned!(span=> ::core::result::Result::map(#called, #m::Several)),
        (_, Fault::Never) => quote_spanned!(span=> ::core::result::Result::Ok(#called)),
        (..) => called,
    }
}

/// The check that a reply is no `Result` under another name.
pub(super) fn probe(reply: &Reply) -> Option<TokenStream> {
    let Reply::Value(ty, Probe::NotResult) = reply else { return None };
    let m = support_at(ty.span());
    Some(quote_spanned! {ty.span()=> {
        use #m::NotResult as _;
        ::core::assert!(
            !<#m::Probe<#ty>>::IS_RESULT,
            "this is a `Result` under another name: write `Result<..>`, and callers get one `?` instead of two",
        )
    }})
}

pub(super) fn allow_deprecated(function: &Function) -> Option<TokenStream> {
    (!function.attributes.deprecated.is_empty()).then(|| quote!(#[allow(deprecated)]))
}
