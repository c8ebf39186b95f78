//! No two things of an actor may have one name.

use super::Errors;
use crate::model::{Constructor, Function, Method, OnStop};
use std::collections::BTreeMap;
use syn::{Ident, ImplItem, ItemImpl, ext::IdentExt};

pub(super) fn check(
    constructors: &[Constructor],
    methods: &[Method],
    on_stop: &[OnStop],
    item: &ItemImpl,
    errors: &mut Errors,
) {
    let functions = constructors.iter().map(|c| &c.function).chain(methods.iter().map(|m| &m.function));
    check_messages(functions, errors);
    check_spawns(constructors, item, errors);
    for second in on_stop.iter().skip(1).filter(|second| second.cfgs.is_empty()) {
        errors.at(&second.ident, "an actor stops once: keep one `#[on_stop]`");
    }
}

/// Messages have one name each, except where `#[cfg]` lets only one of them exist.
fn check_messages<'a>(functions: impl Iterator<Item = &'a Function>, errors: &mut Errors) {
    let mut named: BTreeMap<&str, &Function> = BTreeMap::new();
    for function in functions {
        match named.get(function.name.as_str()) {
            Some(earlier) if !are_alternatives(earlier, function) => errors.at(
                &function.ident,
                format!(
                    "the message of `{}` is called `{}` too: rename one of them, or give it another name by `#[method(name = \"..\")]`",
                    earlier.ident, function.name
                ),
            ),
            _ => {
                named.insert(&function.name, function);
            }
        }
    }
}

fn are_alternatives(one: &Function, other: &Function) -> bool {
    !one.attributes.cfgs.is_empty() && !other.attributes.cfgs.is_empty()
}

/// `spawn` and its like are generated beside the user's functions.
fn check_spawns(constructors: &[Constructor], item: &ItemImpl, errors: &mut Errors) {
    for item in &item.items {
        let name: &Ident = match item {
            ImplItem::Fn(function) => &function.sig.ident,
            ImplItem::Const(constant) => &constant.ident,
            _ => continue,
        };
        if let Some(constructor) = constructors.iter().find(|constructor| constructor.spawn == *name) {
            let message = format!(
                "`{}` is generated: it starts the actor by `{}`. Choose another name",
                name.unraw(),
                constructor.function.ident
            );
            errors.at(name, message);
        }
    }
}
