//! The options of our attributes: `key`, `key = value`, `key(..)`.

use super::Errors;
use crate::model::Every;
use crate::signature::spell;
use proc_macro2::TokenStream;
use std::time::Duration;
use syn::{Expr, ExprLit, ExprPath, Lit, LitInt, LitStr, Meta, Token, UnOp, parse::Parser, punctuated::Punctuated};

/// The longest name that may be given, in bytes: with the type's before it, it stays within the wire's bound for names.
const NAME_BYTES: usize = 120;

/// The most of a resource that anything may ask for: `Amount::MAX` of `mobula`'s resources.
const MOST: u64 = 1 << 50;

/// The smallest step of a resource.
const STEP: f64 = 0.0001;

/// Options that may be given again, for another name.
const NAMING: [&str; 3] = ["resource", "label", "select"];

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

/// The options, each of which may be given once, but for those that name what they are about.
fn unique(parsed: syn::Result<List>, errors: &mut Errors) -> Vec<Meta> {
    let mut options: Vec<Meta> = Vec::new();
    for option in errors.take(parsed).into_iter().flatten() {
        if NAMING.iter().any(|naming| option.path().is_ident(naming)) {
            options.push(option);
            continue;
        }
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
    let number = unsuffixed(option);
    if number.is_none() {
        errors.at(option, format!("this option takes a number: `{} = 4`", key(option)));
    }
    number
}

/// `key = 0.5`: how much of a resource.
pub(super) fn amount(option: &Meta, errors: &mut Errors) -> Option<f64> {
    match literal(option).as_ref().and_then(quantity) {
        Some(amount) => Some(amount),
        None => {
            errors.at(option, format!("this option takes 0, or a number from {STEP} to 2^50: `{} = 0.5`", key(option)));
            None
        }
    }
}

/// What a literal says of how much there is of a resource.
pub(super) fn quantity(literal: &Lit) -> Option<f64> {
    let amount = match literal {
        Lit::Int(number) if number.suffix().is_empty() => number.base10_parse::<f64>().ok(),
        Lit::Float(number) if number.suffix().is_empty() => number.base10_parse::<f64>().ok(),
        _ => None,
    };
    amount.filter(|amount| *amount == 0.0 || (STEP..=MOST as f64).contains(amount))
}

/// `key = 1_000_000`: how many bytes.
pub(super) fn bytes(option: &Meta, errors: &mut Errors) -> Option<u64> {
    let bytes = unsuffixed(option).and_then(|number| number.base10_parse().ok()).filter(|bytes| *bytes <= MOST);
    if bytes.is_none() {
        errors.at(option, format!("this option takes a number of bytes up to 2^50: `{} = 1_000_000`", key(option)));
    }
    bytes
}

/// `key = 3`: how many times.
pub(super) fn whole(option: &Meta, errors: &mut Errors) -> Option<u32> {
    let number = unsuffixed(option).and_then(|number| number.base10_parse().ok());
    if number.is_none() {
        errors.at(option, format!("this option takes a whole number from 0 to {}: `{} = 3`", u32::MAX, key(option)));
    }
    number
}

/// `retries = 3`: of a call.
pub(super) fn retries(option: &Meta, errors: &mut Errors) -> Option<u8> {
    let number = unsuffixed(option).and_then(|number| number.base10_parse().ok());
    if number.is_none() {
        errors.at(option, "a call is tried again from 0 to 255 times: `retries = 3`");
    }
    number
}

/// `key = -5`: a number on either side of zero.
pub(super) fn signed(option: &Meta, errors: &mut Errors) -> Option<i32> {
    let number = match value(option) {
        Some(Expr::Unary(negative)) if matches!(negative.op, UnOp::Neg(_)) => match &*negative.expr {
            Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) if number.suffix().is_empty() => {
                format!("-{}", number.base10_digits()).parse().ok()
            }
            _ => None,
        },
        _ => unsuffixed(option).and_then(|number| number.base10_parse().ok()),
    };
    if number.is_none() {
        let (least, most, key) = (i32::MIN, i32::MAX, key(option));
        errors.at(option, format!("this option takes a whole number from {least} to {most}: `{key} = 5`"));
    }
    number
}

/// `key = "process"`.
pub(super) fn isolation(option: &Meta, errors: &mut Errors) -> bool {
    let is_known = matches!(literal(option), Some(Lit::Str(text)) if text.value() == "process");
    if !is_known {
        errors.at(option, "this option takes one value: `isolation = \"process\"`, a process of the actor's own");
    }
    is_known
}

/// `key = "1m"`: a time of at least a millisecond.
pub(super) fn duration(option: &Meta, most: Duration, errors: &mut Errors) -> Option<Duration> {
    let time = match literal(option) {
        Some(Lit::Str(text)) => time(&text.value()),
        _ => None,
    };
    let time = time.filter(|time| *time >= Duration::from_millis(1) && *time <= most);
    if time.is_none() {
        let (key, hours) = (key(option), most.as_secs() / 3_600);
        errors.at(option, format!("this option takes a time from `\"1ms\"` to `\"{hours}h\"`: `{key} = \"30s\"`"));
    }
    time
}

/// `key = 100` or `key = "5s"`: after so many calls, or so long.
pub(super) fn every(option: &Meta, most: Duration, errors: &mut Errors) -> Option<Every> {
    match literal(option) {
        Some(Lit::Int(_)) => count(option, errors).map(Every::Calls),
        Some(Lit::Str(_)) => duration(option, most, errors).map(Every::Time),
        _ => {
            let key = key(option);
            errors
                .at(option, format!("this option takes a number of calls or a time: `{key} = 100`, `{key} = \"5s\"`"));
            None
        }
    }
}

/// `250ms`, `30s`, `5m`, `1h`.
pub(super) fn time(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let milliseconds = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(u64::from(number.parse::<u32>().ok()?) * milliseconds))
}

/// `key = path`: of a function.
pub(super) fn path(option: &Meta, errors: &mut Errors) -> Option<ExprPath> {
    match value(option) {
        Some(Expr::Path(path)) => Some(path.clone()),
        _ => {
            let key = key(option);
            errors.at(option, format!("this option takes the path of a function: `{key} = is_transient`"));
            None
        }
    }
}

/// The whole number of `key = number`.
fn unsuffixed(option: &Meta) -> Option<LitInt> {
    match literal(option) {
        Some(Lit::Int(number)) if number.suffix().is_empty() => Some(number),
        _ => None,
    }
}

fn key(option: &Meta) -> String {
    option.path().get_ident().map_or_else(|| "key".to_owned(), ToString::to_string)
}

/// The literal of `key = literal`.
pub(super) fn literal(option: &Meta) -> Option<Lit> {
    match value(option)? {
        Expr::Lit(literal) => Some(literal.lit.clone()),
        _ => None,
    }
}

/// What stands behind `key =`; a `macro_rules!` may have wrapped it in an invisible group.
fn value(option: &Meta) -> Option<&Expr> {
    let Meta::NameValue(option) = option else { return None };
    Some(bare(&option.value))
}

/// An expression without the invisible groups of a `macro_rules!`.
pub(super) fn bare(mut value: &Expr) -> &Expr {
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_whole_number_and_its_unit() {
        let seconds = |text| time(text).map(|time| time.as_secs_f64());
        let all = ["1500ms", "30s", "5m", "5min", "2h"].map(seconds);
        assert_eq!(all, [1.5, 30.0, 300.0, 300.0, 7_200.0].map(Some));
        assert_eq!(["5", "m", "5 days", "4294967296s", "-1s"].map(seconds), [None; 5]);
    }
}
