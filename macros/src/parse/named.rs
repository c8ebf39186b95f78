//! Options of a task that name what they are about, `resource("tpu", 1)` and `label("zone", "a")`, and its time.

use super::{Errors, options};
use crate::model::Defaults;
use std::time::Duration;
use syn::{Expr, ExprLit, Lit, LitStr, Meta, Token, punctuated::Punctuated};

/// As of `mobula`'s limits.
const NAME_BYTES: usize = 256;
const LABELS: usize = 64;
/// Three of them have options of their own.
const RESOURCES: usize = 64 - 3;

/// `resource("tpu", 1)`.
pub(super) fn resource(option: &Meta, so_far: &Defaults, errors: &mut Errors) -> Option<(String, f64)> {
    let Some((name, amount)) = two(option) else {
        errors.at(option, "this option takes a name and how much of it: `resource(\"tpu\", 1)`");
        return None;
    };
    let own = match &*name.value() {
        "cpu" => Some("cpus = 0.5"),
        "gpu" => Some("gpus = 1"),
        "memory" => Some("memory = 1_000_000"),
        _ => None,
    };
    if let Some(own) = own {
        errors.at(&name, format!("this resource has an option of its own: `{own}`"));
        return None;
    }
    let amount = match options::quantity(&amount) {
        Some(0.0) => {
            errors.at(&amount, "none of it is what a task takes without this: leave it away");
            return None;
        }
        Some(amount) => amount,
        None => {
            errors.at(&amount, "how much of it is a number from 0.0001 to 2^50: `resource(\"tpu\", 0.5)`");
            return None;
        }
    };
    let others = so_far.resources.iter().map(|(name, _)| name);
    Some((new(&name, others, RESOURCES, "resource", errors)?, amount))
}

/// `label("zone", "a")`.
pub(super) fn label(option: &Meta, so_far: &Defaults, errors: &mut Errors) -> Option<(String, String)> {
    let Some((key, Lit::Str(value))) = two(option) else {
        errors.at(option, "this option takes a key and the value that it must have: `label(\"zone\", \"a\")`");
        return None;
    };
    let value = named(&value, errors);
    let others = so_far.labels.iter().map(|(key, _)| key);
    Some((new(&key, others, LABELS, "label", errors)?, value?))
}

/// `timeout = "5s"`.
pub(super) fn time(option: &Meta, errors: &mut Errors) -> Option<Duration> {
    let text = match options::literal(option) {
        Some(Lit::Str(text)) => Some(text.value()),
        _ => None,
    };
    let time = text.as_deref().and_then(read);
    match time {
        None => errors.at(
            option,
            "this option takes a whole number of `ms`, `s`, `min` or `h`, up to 2^32 of them: `timeout = \"5s\"`",
        ),
        Some(time) if time.is_zero() => {
            errors.at(option, "with no time at all nothing would ever run: write at least `timeout = \"1ms\"`");
        }
        Some(_) => {}
    }
    time
}

fn read(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let milliseconds = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(u64::from(number.parse::<u32>().ok()?) * milliseconds))
}

/// The two literals in the parentheses of an option, of which the first is a text.
fn two(option: &Meta) -> Option<(LitStr, Lit)> {
    let Meta::List(list) = option else { return None };
    let given = list.parse_args_with(Punctuated::<Expr, Token![,]>::parse_terminated).ok()?;
    let mut literals = given.iter().map(|value| match options::bare(value) {
        Expr::Lit(ExprLit { lit, .. }) => Some(lit.clone()),
        _ => None,
    });
    match (literals.next()??, literals.next()??, literals.next()) {
        (Lit::Str(name), other, None) => Some((name, other)),
        _ => None,
    }
}

/// A name that is none of the others, of which there may be so many.
fn new<'a>(
    name: &LitStr,
    mut others: impl ExactSizeIterator<Item = &'a String>,
    most: usize,
    what: &str,
    errors: &mut Errors,
) -> Option<String> {
    let fit = named(name, errors)?;
    if others.len() >= most {
        errors.at(name, format!("a task names at most {most} of these: leave some away"));
        return None;
    }
    if others.any(|other| *other == fit) {
        errors.at(name, format!("this {what} is named twice: keep one of them"));
        return None;
    }
    Some(fit)
}

/// What may name a resource or a label.
fn named(name: &LitStr, errors: &mut Errors) -> Option<String> {
    let text = name.value();
    let is_fit = !text.is_empty() && text.len() <= NAME_BYTES && !text.chars().any(char::is_control);
    if !is_fit {
        errors.at(name, format!("a name is 1 to {NAME_BYTES} bytes without control characters: choose one that fits"));
    }
    is_fit.then_some(text)
}
