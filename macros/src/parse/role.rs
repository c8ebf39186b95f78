//! What a function of an actor's impl is there for, by its attributes and its visibility.

use super::{Errors, attributes, options};
use quote::ToTokens;
use syn::{Attribute, ImplItemFn, LitStr, Meta, Visibility};

pub(super) enum Role {
    Constructor {
        is_default: bool,
    },
    Method(MethodOptions),
    OnStop,
    Checkpoint,
    Restore,
    /// No `pub`, none of our attributes: none of our business.
    Private,
}

/// The options of `#[method(..)]`, where they were given.
#[derive(Default)]
pub(super) struct MethodOptions {
    pub(super) blocking: Option<Meta>,
    pub(super) cancel: Option<Meta>,
    pub(super) plain: Option<Meta>,
    pub(super) group: Option<LitStr>,
    pub(super) name: Option<LitStr>,
    pub(super) retries: Option<u8>,
}

/// Takes our attributes off the function.
pub(super) fn role(item: &mut ImplItemFn, errors: &mut Errors) -> Role {
    let ours = attributes::take_ours(&mut item.attrs, errors);
    for second in ours.iter().skip(1) {
        errors.at(second, "a function is a constructor, a method, what runs on stop, what saves or what restores: keep one of these attributes");
    }
    match ours.first() {
        Some(attribute) if attribute.path().is_ident("constructor") => constructor(attribute, errors),
        Some(attribute) if attribute.path().is_ident("on_stop") => {
            alone(attribute, "`#[on_stop]` has no options: write it alone", errors);
            Role::OnStop
        }
        Some(attribute) if attribute.path().is_ident("checkpoint") => {
            const ALONE: &str = "`#[checkpoint]` has no options: how often it is done by itself is said by \
                                 `#[methods(checkpoint_every = 100)]` or `#[methods(checkpoint_every = \"5s\")]`";
            alone(attribute, ALONE, errors);
            Role::Checkpoint
        }
        Some(attribute) if attribute.path().is_ident("restore") => {
            alone(attribute, "`#[restore]` has no options: write it alone", errors);
            Role::Restore
        }
        Some(attribute) => {
            if matches!(item.vis, Visibility::Inherited) {
                errors.at(
                    item.sig.fn_token.to_token_stream(),
                    "a method without `pub` is no message: write `pub`, `pub(crate)` or the like, or leave `#[method]` away",
                );
            }
            Role::Method(method(attribute, errors))
        }
        None if matches!(item.vis, Visibility::Inherited) => Role::Private,
        None => Role::Method(MethodOptions::default()),
    }
}

fn alone(attribute: &Attribute, message: &str, errors: &mut Errors) {
    if attribute.meta.require_path_only().is_err() {
        errors.at(attribute, message);
    }
}

fn constructor(attribute: &Attribute, errors: &mut Errors) -> Role {
    let mut is_default = false;
    for option in options::of_attribute(&attribute.meta, errors) {
        if option.path().is_ident("default") {
            is_default = options::flag(&option, errors);
        } else {
            options::unknown(&option, "`#[constructor(default)]`", errors);
        }
    }
    Role::Constructor { is_default }
}

fn method(attribute: &Attribute, errors: &mut Errors) -> MethodOptions {
    let mut given = MethodOptions::default();
    for option in options::of_attribute(&attribute.meta, errors) {
        let path = option.path();
        if path.is_ident("group") {
            given.group = options::name(&option, errors);
        } else if path.is_ident("name") {
            given.name = options::name(&option, errors);
        } else if path.is_ident("retries") {
            given.retries = options::retries(&option, errors);
        } else if ["blocking", "cancel", "plain"].iter().any(|flag| path.is_ident(flag)) {
            options::flag(&option, errors);
            let place = if path.is_ident("blocking") {
                &mut given.blocking
            } else if path.is_ident("cancel") {
                &mut given.cancel
            } else {
                &mut given.plain
            };
            *place = Some(option);
        } else {
            const KNOWN: &str = "`blocking`, `cancel`, `group = \"..\"`, `name = \"..\"`, `retries = 3` and `plain`";
            options::unknown(&option, KNOWN, errors);
        }
    }
    given
}
