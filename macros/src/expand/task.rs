//! What `#[task]` adds to a function: a type of its name that holds `submit` and `call`, and the message behind them.
//!
//! Functions are values and enums are types, so that both have the one name.

use super::{argument, instance, local, message, placement, quiet, support, type_name};
use crate::model::{Attributes, Call, Defaults, Function, Input, Reply, Task};
use proc_macro2::{Literal, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{GenericParam, Generics, TypeTuple, ext::IdentExt, parse_quote};

pub(crate) fn task(task: Task) -> TokenStream {
    let m = support();
    let Function { ident, message, vis, attributes, .. } = &task.function;
    let (cfgs, lints) = (&attributes.cfgs, &attributes.lints);
    let generics = generics(&task.generics);
    let (item, quiet) = (documented(&task), quiet());
    let carrier = message::carrier(&task.function, &generics, named(&generics));
    let (identity, run, doors) = (identity(&task, &generics), run(&task, &generics), doors(&task, &generics));
    let is_concrete = generics.params.is_empty();
    let registration = is_concrete.then(|| quote!(#m::inventory::submit! { #m::TaskRegistration::of::<#message>() }));
    quote! {
        #item
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(missing_debug_implementations, non_camel_case_types)]
        #(#lints)*
        #quiet
        #vis enum #ident {}
        #(#cfgs)*
        #(#lints)*
        #[allow(clippy::type_repetition_in_bounds)]
        const _: () = {
            #carrier
            #identity
            #run
            #doors
            #registration
        };
    }
}

/// The function, with a line of documentation on what became of it.
fn documented(task: &Task) -> TokenStream {
    let mut item = task.item.clone();
    let line = format!(" A task: `{}::submit(&cluster, ..)` runs it in the cluster.", task.function.ident);
    if !task.function.attributes.docs.is_empty() {
        item.attrs.push(parse_quote!(#[doc = ""]));
    }
    item.attrs.push(parse_quote!(#[doc = #line]));
    item.into_token_stream()
}

/// The function's generics, with what a task's parameters must be in any case.
fn generics(of: &Generics) -> Generics {
    let mut generics = of.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!('static));
        }
    }
    generics
}

/// A type that names each type parameter.
fn named(generics: &Generics) -> TokenStream {
    let types = generics.type_params().map(|parameter| &parameter.ident);
    quote!((#(::core::marker::PhantomData<#types>,)*))
}

/// What it is called, takes and gives.
fn identity(task: &Task, generics: &Generics) -> TokenStream {
    let m = support();
    let Function { message, signature, call, .. } = &task.function;
    let (parameters, arguments, where_clause) = generics.split_for_impl();
    let (reply, error, name) = (task.reply.ty(), task.error.ty(), type_name(&task.name));
    let code = match call {
        Call::Sync => quote!(#m::TaskCode::Blocking(Self::run)),
        Call::Async => quote!(#m::TaskCode::Async(Self::run)),
    };
    let (defaults, retry_on) = (defaults(&task.defaults), retry_on(task));
    let is_concrete = generics.params.is_empty();
    let probe = message::probe(&task.reply).filter(|_| is_concrete).map(|probe| quote!(const _: () = #probe;));
    let instance = instance(generics, &quote!(#m::Task));
    let name = if is_concrete { name } else { quote!(#name.generic()) };
    quote! {
        #probe
        impl #parameters #m::Task for #message #arguments #where_clause {
            type Reply = #reply;
            type Error = #error;
            const NAME: #m::TypeName = #name;
            #instance
            const SIGNATURE: &'static str = #signature;
            const CODE: #m::TaskCode<Self> = #code;
            #retry_on
            #defaults
        }
    }
}

/// Of which errors it is run again, and how.
fn retry_on(task: &Task) -> Option<TokenStream> {
    let path = task.retry_on.as_ref()?;
    let (m, unpacked) = (support(), message::unpacked(&task.function));
    let names = || task.function.inputs.iter().filter_map(Input::argument).enumerate().map(|(at, _)| argument(at));
    let twice = names().map(|name| quote!(let #name = ::mobula::Arg::twice(#name);));
    let (one, other) = (names().map(|name| quote!(#name.0,)), names().map(|name| quote!(#name.1,)));
    Some(quote! {
        const RETRY_ON: ::core::option::Option<#m::RetryOn<Self>> = ::core::option::Option::Some(#m::RetryOn {
            on: #path,
            twice: |#unpacked| {
                #(#twice)*
                (Self(#(#one)* ::core::marker::PhantomData), Self(#(#other)* ::core::marker::PhantomData))
            },
        });
    })
}

fn defaults(given: &Defaults) -> Option<TokenStream> {
    let m = support();
    let Defaults { placement, retries, priority, timeout } = given;
    let fields = [
        placement::options(placement, &quote!(#m::Defaults::NONE.placement)).map(|said| quote!(placement: #said)),
        retries.map(Literal::u32_unsuffixed).map(|retries| quote!(retries: #retries)),
        priority.map(Literal::i32_unsuffixed).map(|priority| quote!(priority: #priority)),
        timeout
            .map(|limit| Literal::u64_unsuffixed(limit.as_millis() as u64))
            .map(|limit| quote!(timeout: ::core::option::Option::Some(::core::time::Duration::from_millis(#limit)))),
    ];
    let all = fields.len();
    let fields: Vec<TokenStream> = fields.into_iter().flatten().collect();
    let rest = (fields.len() < all).then(|| quote!(..#m::Defaults::NONE));
    (!fields.is_empty()).then(|| quote!(const DEFAULTS: #m::Defaults = #m::Defaults { #(#fields,)* #rest };))
}

/// How it is run.
fn run(task: &Task, generics: &Generics) -> TokenStream {
    let m = support();
    let function = &task.function;
    let message = &function.message;
    let (parameters, arguments, where_clause) = generics.split_for_impl();
    let (context, unpacked) = (message::context(&function.inputs), message::unpacked(function));
    let (reply, error, deprecated) = (task.reply.ty(), task.error.ty(), message::allow_deprecated(function));
    let called = message::called(function, path(task), None);
    let result = message::result(function, &task.reply, &task.error, called);
    let probe =
        message::probe(&task.reply).filter(|_| !generics.params.is_empty()).map(|probe| quote!(const { #probe }));
    let result_of = quote!(::core::result::Result<#reply, #error>);
    let (lifetime, output, body) = match function.call {
        Call::Sync => (None, result_of, quote!(let #unpacked = self; #result)),
        Call::Async => {
            let future = message::boxed(function, quote!(let #unpacked = self; #result));
            (Some(quote!('a)), quote!(#m::BoxFuture<'a, #result_of>), future)
        }
    };
    let introduced = lifetime.as_ref().map(|lifetime| quote!(<#lifetime>));
    quote! {
        impl #parameters #message #arguments #where_clause {
            #deprecated
            fn run #introduced (self, #context: &#lifetime ::mobula::TaskContext) -> #output {
                #probe
                #body
            }
        }
    }
}

/// The function, its parameters named: not every one can be told from the arguments.
fn path(task: &Task) -> TokenStream {
    let ident = &task.function.ident;
    let (_, arguments, _) = task.generics.split_for_impl();
    let arguments = arguments.as_turbofish();
    quote!(#ident #arguments)
}

/// `submit` and `call`, on the type of the function's name.
fn doors(task: &Task, generics: &Generics) -> TokenStream {
    let m = support();
    let Task { function, reply, error, .. } = task;
    let Function { ident, vis, attributes, .. } = function;
    let Attributes { docs, deprecated, .. } = attributes;
    let (quiet, cluster) = (quiet(), local("cluster"));
    let where_clause = &generics.where_clause;
    let (parameters, message, reply_ty, second) =
        (function.parameters(), function.message(), reply.ty(), error.second());
    let (_, arguments, _) = generics.split_for_impl();
    let carrier = &function.message;
    let submitted = match reply {
        Reply::Stream(item) => quote!(::mobula::ObjectRefStream<#item #second>),
        Reply::Several(TypeTuple { elems, .. }) => {
            let parts = elems.iter();
            quote!((#(::mobula::ObjectRef<#parts #second>,)*))
        }
        Reply::Value(..) | Reply::OkOf(_) => quote!(::mobula::ObjectRef<#reply_ty #second>),
    };
    let made = quote_spanned!(reply.span()=> #m::task::<#carrier #arguments>(#cluster, #message));
    let docs = (!docs.is_empty()).then(|| quote!(#[doc = ""] #(#docs)*));
    let name = ident.unraw();
    let what = match reply {
        Reply::Stream(_) => "references to its results, as they come",
        Reply::Several(_) => "a reference to each of its results, which can be passed on before these are there",
        Reply::Value(..) | Reply::OkOf(_) => "a reference to its result, which can be passed on before that is there",
    };
    let submits = format!(" Submits `{name}`: {what}.");
    let calls = format!(" `{name}` as a call: options first, then `.submit()`, or `.await` for its result.");
    let registration = (!generics.params.is_empty()).then(|| {
        quote!(
            #[doc(hidden)]
            #vis const fn __registration #generics () -> #m::TaskRegistration #where_clause {
                #m::TaskRegistration::of::<#carrier #arguments>()
            }
        )
    });
    quote! {
        #quiet
        #[allow(clippy::multiple_bound_locations)]
        impl #ident {
            #registration

            #[doc = #submits]
            #docs
            #(#deprecated)*
            #vis fn submit #generics (
                #cluster: &::mobula::Cluster,
                #(#parameters),*
            ) -> #submitted #where_clause {
                ::mobula::TaskCall::submit(#made)
            }

            #[doc = #calls]
            #docs
            #(#deprecated)*
            #vis fn call #generics (
                #cluster: &::mobula::Cluster,
                #(#parameters),*
            ) -> ::mobula::TaskCall<#reply_ty #second> #where_clause {
                #made
            }
        }
    }
}
