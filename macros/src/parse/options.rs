//! The options of our attributes: `key`, `key = value`, `key(..)`.

use super::Errors;
use crate::signature::spell;
use proc_macro2::TokenStream;

use syn::{Expr, Lit, LitInt, LitStr, Meta, Token, parse::Parser, punctuated::Punctuated};

/// The longest name that may be given, in bytes: with the type's before it, it stays within the wire's bound for names.
const NAME_BYTES: usize = 120;

type List = Punctuated<Meta, Token![,]>;

/// The options of an attribute macro.
pub(super) fn of_macro(tokens: TokenStream, errors: &mut Errors) -> Vec<Meta> {
    unique(List::parse_terminated.parse2(tokens), errors)
}

/// The options of an attribute inside of what a macro was put on; `#[method]` has none.
pub(super) fn of_attribute(meta: &Meta, errors: &mut Errors) -> Vec<Meta> {
    match meta {
        Meta::Path(_) => Vec::new(),
        Meta::List(options) => unique(options.parse_args_with(List::parse_terminated), errors),
        Meta::NameValue(_) => {
            errors.at(meta, "options stand in parentheses: `#[method(name = \"..\")]`");
            Vec::new()
        }
    }
}

/// The options, each of which may be given once.
fn unique(parsed: syn::Result<List>, errors: &mut Errors) -> Vec<Meta> {
    let mut options: Vec<Meta> = Vec::new();
    for option in errors.take(parsed).into_iter().flatten() {
        match options.iter().any(|earlier| spell(earlier.path()) == spell(option.path())) {
            true => errors.at(option.path(), "this option is given twice: keep one of them"),
            false => options.push(option),
        }
    }
    options
}

pub(super) fn unknown(option: &Meta, known: &str, errors: &mut Errors) {
    errors.at(option, format!("unknown option: there is {known}"));
}

/// `key`, without a value.
pub(super) fn flag(option: &Meta, errors: &mut Errors) -> bool {
    if option.require_path_only().is_err() {
        errors.at(option, "this option takes no value: write its name alone");
    }
    true
}

/// `key = "text"`, where the text is a name.
pub(super) fn name(option: &Meta, errors: &mut Errors) -> Option<LitStr> {
    let Some(Lit::Str(text)) = literal(option) else {
        errors.at(option, format!("this option takes a name: `{} = \"..\"`", key(option)));
        return None;
    };
    let name = text.value();
    let is_fit = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
    if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(is_fit) {
        errors.at(
            &text,
            format!(
                "a name is 1 to {NAME_BYTES} bytes of letters, digits and `_`, `-`, `.`, `:`, `/`: choose one that fits"
            ),
        );
        return None;
    }
    Some(text)
}

/// `key = 4`: a number of at least one.
pub(super) fn count(option: &Meta, errors: &mut Errors) -> Option<u32> {
    let number = number(option, errors)?;
    match errors.take(number.base10_parse::<u32>())? {
        0 => {
            errors.at(&number, format!("with `{} = 0` nothing would ever run: write at least 1", key(option)));
            None
        }
        count => Some(count),
    }
}

/// `key = 4`.
pub(super) fn number(option: &Meta, errors: &mut Errors) -> Option<LitInt> {
    match literal(option) {
        Some(Lit::Int(number)) if number.suffix().is_empty() => Some(number),
        _ => {
            errors.at(option, format!("this option takes a number: `{} = 4`", key(option)));
            None
        }
    }
}

fn key(option: &Meta) -> String {
    option.path().get_ident().map_or_else(|| "key".to_owned(), ToString::to_string)
}

/// The literal of `key = literal`; a `macro_rules!` may have wrapped it in an invisible group.
fn literal(option: &Meta) -> Option<Lit> {
    let Meta::NameValue(option) = option else { return None };
    let mut value = &option.value;
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    match value {
        Expr::Lit(literal) => Some(literal.lit.clone()),
        _ => None,
    }
}
