//! What `register!` leaves: that this binary has an instance of a generic actor or task, and what it is called.

use super::support;
use crate::model::{Instance, InstanceName, Registered};
use proc_macro2::TokenStream;
use quote::quote;

pub(crate) fn register(instances: Vec<Instance>) -> TokenStream {
    let m = support();
    instances
        .into_iter()
        .map(|Instance { of, name }| {
            let registration = match of {
                Registered::Actor(ty) => quote!(#m::Registration::of::<#ty>()),
                Registered::Task { function, arguments } => quote!(<#function>::__registration::#arguments()),
            };
            let named = match name {
                InstanceName::Arguments(arguments) => quote!(with(#arguments)),
                InstanceName::Given(name) => quote!(called(#name)),
            };
            quote! {
                const _: () = {
                    #m::inventory::submit! { #registration }
                    #m::inventory::submit! { #registration.instance.#named }
                };
            }
        })
        .collect()
}
