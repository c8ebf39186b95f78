//! What `#[methods]` adds to an actor's impl: messages, the handle's methods, `spawn`, and the table of it all.

use super::{at, checkpoint, local, message, quiet, support, support_at};
use crate::model::{Call, Concurrency, Constructor, Function, Method, Methods, OnStop, Reply, Target};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Visibility, ext::IdentExt};

pub(crate) fn methods(methods: Methods) -> TokenStream {
    let m = support();
    let target = &methods.actor;
    let (item, ty) = (&methods.item, &target.ty);
    let (cfgs, lints) = (&methods.attributes.cfgs, &methods.attributes.lints);
    let constructors = methods.constructors.iter().map(|constructor| message::of_constructor(constructor, target));
    let messages = methods.methods.iter().map(|method| message::of_method(method, target));
    let (spawns, handle, table) = (spawns(&methods), handle(&methods), table(&methods));
    let checkpoint = methods.checkpoint.iter().map(|checkpoint| checkpoint::of(checkpoint, target));
    let registration = target.is_concrete.then(|| quote!(#m::inventory::submit! { #m::Registration::of::<#ty>() }));
    quote! {
        #item
        #(#cfgs)*
        #(#lints)*
        #[allow(clippy::type_repetition_in_bounds)]
        const _: () = {
            #(#constructors)*
            #(#messages)*
            #spawns
            #handle
            #table
            #(#checkpoint)*
            #registration
        };
    }
}

/// `spawn` and `spawn_<name>`, on the actor's type.
fn spawns(methods: &Methods) -> TokenStream {
    let target = &methods.actor;
    let ty = &target.ty;
    let (parameters, _, where_clause) = target.generics.split_for_impl();
    let quiet = quiet();
    let spawns = methods.constructors.iter().map(|constructor| spawn(constructor, methods));
    quote! {
        #quiet
        impl #parameters #ty #where_clause {
            #(#spawns)*
        }
    }
}

fn spawn(constructor: &Constructor, methods: &Methods) -> TokenStream {
    let m = support();
    let target = &methods.actor;
    let Constructor { function, spawn, error } = constructor;
    let (vis, attributes, handle) = (&function.vis, &function.attributes, &target.handle);
    let (cfgs, lints, deprecated) = (&attributes.cfgs, &attributes.lints, &attributes.deprecated);
    let cluster = local("cluster");
    let (parameters, message, error) = (function.parameters(), function.message(), error.second());
    let line = format!(" Starts a `{}` by {}, where the scheduler finds room.", target.name, linked(target, function));
    let docs = (!attributes.docs.is_empty()).then(|| {
        let docs = &attributes.docs;
        quote!(#[doc = ""] #(#docs)*)
    });
    quote! {
        #[doc = #line]
        #docs
        #(#cfgs)*
        #(#lints)*
        #(#deprecated)*
        #vis fn #spawn(#cluster: &::mobula::Cluster, #(#parameters),*) -> ::mobula::Spawn<#handle #error> {
            #m::constructed(#cluster, #message)
        }
    }
}

/// The user's function as documentation names it: by a link, if readers can follow it.
fn linked(target: &Target, function: &Function) -> String {
    let (name, function, vis) = (&target.name, function.ident.unraw(), &function.vis);
    match vis {
        Visibility::Public(_) => format!("[`{name}::{function}`]"),
        _ => format!("`{name}::{function}`"),
    }
}

/// The handle's methods, one for each message.
fn handle(methods: &Methods) -> TokenStream {
    let target = &methods.actor;
    let handle = &target.handle;
    let (parameters, _, where_clause) = target.generics.split_for_impl();
    let quiet = quiet();
    let calls = methods.methods.iter().map(|method| call(method, methods));
    quote! {
        #quiet
        impl #parameters #handle #where_clause {
            #(#calls)*
        }
    }
}

fn call(method: &Method, methods: &Methods) -> TokenStream {
    let target = &methods.actor;
    let Method { function, reply, error, .. } = method;
    let (ident, vis, attributes) = (&function.ident, &function.vis, &function.attributes);
    let (cfgs, lints, deprecated) = (&attributes.cfgs, &attributes.lints, &attributes.deprecated);
    let (parameters, message, error) = (function.parameters(), function.message(), error.second());
    let address = quote!(::mobula::Handle::as_ref(self));
    let call = quote_spanned!(reply.span()=> ::mobula::Call::new(#address, #message));
    let (output, body) = match reply {
        Reply::Stream(item) => (quote!(::mobula::StreamCall<#item #error>), quote!(::mobula::StreamCall::from(#call))),
        reply => {
            let ty = reply.ty();
            (quote!(::mobula::Call<#ty #error>), call)
        }
    };
    let docs = match attributes.docs.as_slice() {
        [] => {
            let line = format!(" Calls {}.", linked(target, function));
            quote!(#[doc = #line])
        }
        docs => quote!(#(#docs)*),
    };
    quote! {
        #docs
        #(#cfgs)*
        #(#lints)*
        #(#deprecated)*
        #[inline]
        #vis fn #ident(&self, #(#parameters),*) -> #output {
            #body
        }
    }
}

/// The table by which a node finds what to run.
fn table(methods: &Methods) -> TokenStream {
    let m = support();
    let target = &methods.actor;
    let ty = &target.ty;
    let (parameters, arguments, where_clause) = target.generics.split_for_impl();
    let entry = |function: &Function, kind: TokenStream| {
        let (message, cfgs) = (&function.message, &function.attributes.cfgs);
        quote!(#(#cfgs)* #m::#kind::<#message #arguments>())
    };
    let entries = methods.methods.iter().map(|method| entry(&method.function, quote!(method)));
    let constructors = methods.constructors.iter().map(|constructor| entry(&constructor.function, quote!(constructor)));
    let (groups, drive) = concurrency(methods.concurrency.as_ref());
    let on_stop = methods.on_stop.iter().map(|on_stop| stop(on_stop, methods));
    let checkpoint = methods.checkpoint.iter().map(|of| checkpoint::entry(of, target));
    quote! {
        impl #parameters #m::Methods for #ty #where_clause {
            const METHODS: &'static [#m::MethodEntry<Self>] = &[#(#entries),*];
            const CONSTRUCTORS: &'static [#m::ConstructorEntry<Self>] = &[#(#constructors),*];
            const GROUPS: &'static [#m::GroupLimit] = &[#(#groups),*];
            #(#checkpoint)*
            #drive
            #(#on_stop)*
        }
    }
}

/// The limits of the groups, and the function that drives an actor within them.
fn concurrency(concurrency: Option<&Concurrency>) -> (Vec<TokenStream>, TokenStream) {
    let m = support();
    let drive = |cell: Ident, future: TokenStream| {
        quote! {
            fn drive(#cell: #m::Cell<Self>) -> #m::BoxFuture<'static, ()> {
                #future
            }
        }
    };
    let Some(Concurrency { span, groups }) = concurrency else {
        let cell = local("cell");
        let future = quote!(::std::boxed::Box::pin(#m::drive_exclusive(#cell)));
        return (Vec::new(), drive(cell, future));
    };
    let groups = groups.iter().map(|group| {
        let (name, limit) = (&group.name, Literal::u32_unsuffixed(group.limit));
        quote!(#m::GroupLimit { name: #name, concurrency: #limit })
    });
    // All of it stands at the option that asked for it: that is where an actor that is not `Sync` is reported.
    let span = at(*span);
    let (cell, shared) = (Ident::new("cell", span), support_at(span));
    let future = quote_spanned!(span=> ::std::boxed::Box::pin(#shared::drive_shared(#cell)));
    (groups.collect(), drive(cell, future))
}

fn stop(on_stop: &OnStop, methods: &Methods) -> TokenStream {
    let ty = &methods.actor.ty;
    let OnStop { ident, cfgs, call, inputs } = on_stop;
    let span = at(ident.span());
    let m = support_at(span);
    let context = message::context(inputs);
    let passed = message::passed(inputs, span);
    let actor = quote!(self);
    let called = quote_spanned!(span=> <#ty>::#ident(#actor, #(#passed),*));
    let body = match call {
        Call::Sync => called,
        Call::Async => quote_spanned!(span=> #m::send_future(#called).await),
    };
    quote! {
        #(#cfgs)*
        fn on_stop<'a>(
            &'a mut self,
            #context: &'a mut ::mobula::ActorContext<Self>,
        ) -> #m::BoxFuture<'a, ()> {
            ::std::boxed::Box::pin(async move { #body })
        }
    }
}
