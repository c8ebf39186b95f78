//! What `#[checkpoint]` and `#[restore]` become: how the actor's state is saved, and the actor made again of it.

use super::{at, local, message, support, support_at};
use crate::model::{Call, Checkpoint, Every, Fault, Input, Target};
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

pub(super) fn of(checkpoint: &Checkpoint, target: &Target) -> TokenStream {
    let m = support();
    let Checkpoint { save, restore, .. } = checkpoint;
    let (parameters, _, where_clause) = target.generics.split_for_impl();
    let (ty, cfgs, saved) = (&target.ty, &save.cfgs, save.reply.ty());
    let span = at(save.ident.span());
    let (save_ident, actor) = (&save.ident, quote!(self));
    let saves = quote_spanned!(span=> <#ty>::#save_ident(#actor));
    let saves = match save.error {
        Fault::Never => quote!(::core::result::Result::Ok(#saves)),
        _ => quote!(::core::result::Result::map_err(#saves, |error| ::std::string::ToString::to_string(&error))),
    };
    let (given, context) = (local("saved"), message::context(&restore.inputs));
    let restores = restores(checkpoint, target);
    let probe = message::probe(&save.reply).filter(|_| target.is_concrete);
    let probe = probe.map(|probe| quote!(#(#cfgs)* const _: () = #probe;));
    let restarts = target.is_concrete.then(|| {
        let asserts = asserts(checkpoint, target);
        quote!(#(#cfgs)* const _: () = #asserts;)
    });
    quote! {
        #probe
        #restarts
        #(#cfgs)*
        impl #parameters #m::Checkpointed for #ty #where_clause {
            type Saved = #saved;
            fn save(&self) -> ::core::result::Result<Self::Saved, ::std::string::String> {
                #saves
            }
            fn restore<'a>(
                #given: Self::Saved,
                #context: &'a mut ::mobula::ActorContext<Self>,
            ) -> #m::BoxFuture<'a, ::core::result::Result<Self, ::std::string::String>> {
                #restores
            }
        }
    }
}

/// The future that makes the actor again, with the user's spans.
fn restores(checkpoint: &Checkpoint, target: &Target) -> TokenStream {
    let restore = &checkpoint.restore;
    let (ty, ident) = (&target.ty, &restore.ident);
    let span = at(ident.span());
    let m = support_at(span);
    let passed = restore.inputs.iter().map(|input| match input {
        Input::Context => Ident::new("context", span).to_token_stream(),
        Input::Argument(_) => Ident::new("saved", span).to_token_stream(),
    });
    let called = quote_spanned!(span=> <#ty>::#ident(#(#passed),*));
    let made = match restore.call {
        Call::Sync => called,
        Call::Async => quote_spanned!(span=> #m::send_future(#called).await),
    };
    let made = match restore.error {
        Fault::Never => quote_spanned!(span=> ::core::result::Result::Ok(#made)),
        _ => {
            quote_spanned!(span=> ::core::result::Result::map_err(#made, |error| ::std::string::ToString::to_string(&error)))
        }
    };
    quote_spanned!(span=> ::std::boxed::Box::pin(async move { #made }))
}

/// That somebody will ask for what is saved.
fn asserts(checkpoint: &Checkpoint, target: &Target) -> TokenStream {
    let (ty, span) = (&target.ty, checkpoint.save.ident.span());
    quote_spanned! {span=>
        ::core::assert!(
            <#ty as ::mobula::Actor>::RESTARTS.limit > 0,
            "this actor is never started again, so that nobody would ask for what is saved: write `#[actor(restarts = 3)]`",
        )
    }
}

/// In the actor's table.
pub(super) fn entry(checkpoint: &Checkpoint, target: &Target) -> TokenStream {
    let m = support();
    let cfgs = &checkpoint.save.cfgs;
    let every = match checkpoint.every {
        Every::Asked => quote!(#m::Every::Asked),
        Every::Calls(calls) => quote!(#m::Every::Calls(#calls)),
        Every::Time(time) => {
            let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            quote!(#m::Every::Time(::core::time::Duration::from_millis(#milliseconds)))
        }
    };
    let asserts = (!target.is_concrete).then(|| asserts(checkpoint, target)).map(|asserts| quote!(#asserts;));
    quote! {
        #(#cfgs)*
        const CHECKPOINT: ::core::option::Option<#m::Checkpoint<Self>> = {
            #asserts
            ::core::option::Option::Some(#m::checkpoint::<Self>(#every))
        };
    }
}
