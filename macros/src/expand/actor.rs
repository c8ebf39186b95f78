//! What `#[actor]` adds to a struct: its handle, and who it is.

use super::{instance, placement, support, type_name};
use crate::{
    model::{Actor, Attributes, Restarts},
    signature::spell,
};
use proc_macro2::TokenStream;
use quote::quote;
use syn::{GenericParam, Generics, Meta, ext::IdentExt, parse_quote};

pub(crate) fn actor(actor: Actor) -> TokenStream {
    let item = documented(&actor);
    let handle = handle(&actor);
    let identity = identity(&actor);
    let serialization = serialization(&actor);
    let shared = shared(&actor);
    quote! {
        #item
        #handle
        #shared
        const _: () = {
            #identity
            #serialization
        };
    }
}

/// The attributes of what is generated beside the struct.
fn shared(actor: &Actor) -> TokenStream {
    let Attributes { cfgs, deprecated, lints, .. } = &actor.attributes;
    let silent = (!deprecated.is_empty()).then(|| quote!(#[allow(deprecated)]));
    quote!(#(#cfgs)* #(#lints)* #silent)
}

/// The struct, with a line of documentation on what became of it.
fn documented(actor: &Actor) -> TokenStream {
    let mut item = actor.item.clone();
    let line = format!(" An actor: [`{handle}`] is its address.", handle = actor.handle);
    if item.attrs.iter().any(|attribute| attribute.path().is_ident("doc")) {
        item.attrs.push(parse_quote!(#[doc = ""]));
    }
    item.attrs.push(parse_quote!(#[doc = #line]));
    quote!(#item)
}

/// The struct's generics, with what an actor's parameters must be in any case.
fn generics(actor: &Actor) -> Generics {
    let mut generics = actor.item.generics.clone();
    for parameter in &mut generics.params {
        if let GenericParam::Type(parameter) = parameter {
            parameter.bounds.push(parse_quote!(::core::marker::Send));
            parameter.bounds.push(parse_quote!('static));
        }
    }
    generics
}

fn handle(actor: &Actor) -> TokenStream {
    let (name, handle, vis) = (&actor.item.ident, &actor.handle, &actor.item.vis);
    let (shared, deprecated) = (shared(actor), &actor.attributes.deprecated);
    let hidden =
        actor.attributes.docs.iter().find(|doc| matches!(&doc.meta, Meta::List(doc) if spell(&doc.tokens) == "hidden"));
    let generics = generics(actor);
    let where_clause = &generics.where_clause;
    let (_, arguments, _) = actor.item.generics.split_for_impl();
    let first = format!(" The typed address of a [`{name}`], the same wherever it lives.");
    let second = format!(" Its methods are those of [`{name}`], as calls: lazy, sent when awaited.");
    quote! {
        #shared
        #(#deprecated)*
        #hidden
        #[doc = #first]
        #[doc = ""]
        #[doc = #second]
        #vis struct #handle #generics (::mobula::ActorRef<#name #arguments>) #where_clause;
    }
}

fn identity(actor: &Actor) -> TokenStream {
    let m = support();
    let (name, handle) = (&actor.item.ident, &actor.handle);
    let generics = generics(actor);
    let (parameters, arguments, where_clause) = generics.split_for_impl();
    let (type_name, restarts) = (type_name(&actor.name), restarts(&actor.restarts));
    let isolation = actor.isolated.then(|| {
        quote!(
            const ISOLATION: ::mobula::Isolation = ::mobula::Isolation::Process;
        )
    });
    let placement = placement::options(&actor.placement, &quote!(#m::PlacementOptions::NONE))
        .map(|said| quote!(const PLACEMENT: #m::PlacementOptions = #said;));
    let instance = instance(&generics, &quote!(::mobula::Actor));
    let type_name = if instance.is_some() { quote!(#type_name.generic()) } else { type_name };
    quote! {
        // Who forgot the attribute is not told of another actor instead.
        #[diagnostic::do_not_recommend]
        impl #parameters ::mobula::Actor for #name #arguments #where_clause {
            const NAME: #m::TypeName = #type_name;
            #instance
            #restarts
            #isolation
            #placement
            type Handle = #handle #arguments;
        }

        impl #parameters ::mobula::Handle for #handle #arguments #where_clause {
            type Actor = #name #arguments;
            fn from_ref(actor: ::mobula::ActorRef<#name #arguments>) -> Self {
                Self(actor)
            }
            fn as_ref(&self) -> &::mobula::ActorRef<#name #arguments> {
                &self.0
            }
        }
    }
}

/// How often it is started again, where the attribute says so.
fn restarts(restarts: &Restarts) -> Option<TokenStream> {
    let m = support();
    let limit = restarts.limit?;
    let window = match restarts.window.map(|window| u64::try_from(window.as_millis()).unwrap_or(u64::MAX)) {
        None => quote!(::core::option::Option::None),
        Some(window) => quote!(::core::option::Option::Some(::core::time::Duration::from_millis(#window))),
    };
    Some(quote!(const RESTARTS: #m::Restarts = #m::Restarts { limit: #limit, window: #window };))
}

/// By hand, not derived: no bound may land on a generic actor's parameters.
fn serialization(actor: &Actor) -> TokenStream {
    let m = support();
    let handle = &actor.handle;
    let text = handle.unraw().to_string();
    let generics = generics(actor);
    let (parameters, arguments, where_clause) = generics.split_for_impl();
    let mut decoding = generics.clone();
    decoding.params.insert(0, parse_quote!('de));
    let (decoding, ..) = decoding.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #parameters ::core::clone::Clone for #handle #arguments #where_clause {
            fn clone(&self) -> Self {
                Self(::core::clone::Clone::clone(&self.0))
            }
        }

        #[automatically_derived]
        impl #parameters ::core::fmt::Debug for #handle #arguments #where_clause {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Formatter::debug_tuple(formatter, #text).field(&self.0).finish()
            }
        }

        #[automatically_derived]
        impl #parameters #m::serde::Serialize for #handle #arguments #where_clause {
            fn serialize<__S: #m::serde::Serializer>(
                &self,
                serializer: __S,
            ) -> ::core::result::Result<__S::Ok, __S::Error> {
                #m::serde::Serialize::serialize(&self.0, serializer)
            }
        }

        #[automatically_derived]
        impl #decoding #m::serde::Deserialize<'de> for #handle #arguments #where_clause {
            fn deserialize<__D: #m::serde::Deserializer<'de>>(
                deserializer: __D,
            ) -> ::core::result::Result<Self, __D::Error> {
                ::core::result::Result::map(#m::serde::Deserialize::deserialize(deserializer), Self)
            }
        }
    }
}
