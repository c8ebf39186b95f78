//! What `#[mobula::main]` makes of a function: `fn main() -> ExitCode`, with the user's inside.

use super::support;
use crate::model::Main;
use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Visibility};

pub(crate) fn main(main: Main) -> TokenStream {
    let m = support();
    let Main { mut item, workers } = main;
    let ident = item.sig.ident.clone();
    let vis = std::mem::replace(&mut item.vis, Visibility::Inherited);
    let is_outer =
        |attribute: &Attribute| ["cfg", "cfg_attr", "doc"].iter().any(|name| attribute.path().is_ident(name));
    let outer: Vec<Attribute> = item.attrs.extract_if(.., |attribute| is_outer(attribute)).collect();
    let workers = workers.map_or_else(|| quote!(0), |workers| quote!(#workers));
    quote! {
        #(#outer)*
        #vis fn #ident() -> ::std::process::ExitCode {
            #item
            #m::run_main(#m::Main { workers: #workers }, #ident)
        }
    }
}
