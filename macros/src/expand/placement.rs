//! Where an actor or a task runs, as far as its attribute says so.

use super::support;
use crate::model::Placement;
use proc_macro2::{Literal, TokenStream};
use quote::quote;

/// The options, those that are not said taken from `rest`; nothing if none is said.
pub(super) fn options(given: &Placement, rest: &TokenStream) -> Option<TokenStream> {
    let m = support();
    let Placement { cpus, gpus, memory, resources, labels, conditions, spread, waits } = given;
    let float = Literal::f64_unsuffixed;
    let (resource, amount): (Vec<_>, Vec<_>) = resources.iter().map(|(name, amount)| (name, float(*amount))).unzip();
    let pairs = |of: &[(String, String)]| {
        let pairs = of.iter().map(|(key, value)| quote!((#key, #value)));
        (!of.is_empty()).then(|| quote!(&[#(#pairs),*]))
    };
    let fields = [
        cpus.map(float).map(|cpus| quote!(cpus: #cpus)),
        gpus.map(float).map(|gpus| quote!(gpus: #gpus)),
        memory.map(Literal::u64_unsuffixed).map(|memory| quote!(memory: #memory)),
        (!resources.is_empty()).then(|| quote!(resources: &[#((#resource, #amount)),*])),
        pairs(labels).map(|labels| quote!(labels: #labels)),
        pairs(conditions).map(|conditions| quote!(conditions: #conditions)),
        spread.then(|| quote!(strategy: #m::Strategy::Spread)),
        waits.then(|| quote!(patience: #m::Patience::Wait)),
    ];
    let all = fields.len();
    let fields: Vec<TokenStream> = fields.into_iter().flatten().collect();
    let rest = (fields.len() < all).then(|| quote!(..#rest));
    (!fields.is_empty()).then(|| quote!(#m::PlacementOptions { #(#fields,)* #rest }))
}
