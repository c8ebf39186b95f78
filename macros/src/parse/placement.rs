//! Options that say what an actor or a run of a task takes of its node, and which one that may be.

use super::{Errors, options};
use crate::model::Placement;
use std::collections::BTreeSet;
use syn::{Expr, ExprLit, Lit, LitStr, Meta, Token, punctuated::Punctuated};

/// As of `mobula`'s limits.
const NAME_BYTES: usize = 256;
const LABELS: usize = 64;
const LABEL_VALUES: usize = 64;
/// Three of them have options of their own.
const RESOURCES: usize = 64 - 3;

/// What there is to say, as far as actors and tasks have it in common.
pub(super) const KNOWN: &str = "`cpus = 0.5`, `gpus = 1`, `memory = 1_000_000`, `resource(\"tpu\", 1)`, \
                                `label(\"zone\", \"a\")`, `select(\"zone\", \"in(a, b)\")`, `spread`, `wait_for_node`";

/// Whether the option is one of these; then it is taken into what was said so far.
pub(super) fn takes(option: &Meta, so_far: &mut Placement, errors: &mut Errors) -> bool {
    let key = option.path().get_ident().map(ToString::to_string).unwrap_or_default();
    match &*key {
        "cpus" => so_far.cpus = options::amount(option, errors),
        "gpus" => so_far.gpus = options::amount(option, errors),
        "memory" => so_far.memory = options::bytes(option, errors),
        "resource" => so_far.resources.extend(resource(option, so_far, errors)),
        "label" => so_far.labels.extend(label(option, so_far, errors)),
        "select" => so_far.conditions.extend(select(option, so_far, errors)),
        "spread" => so_far.spread = options::flag(option, errors),
        "wait_for_node" => so_far.waits = options::flag(option, errors),
        _ => return false,
    }
    true
}

/// `resource("tpu", 1)`.
fn resource(option: &Meta, so_far: &Placement, errors: &mut Errors) -> Option<(String, f64)> {
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
            errors.at(&amount, "none of it is what is taken without this: leave it away");
            return None;
        }
        Some(amount) => amount,
        None => {
            errors.at(&amount, "how much of it is a number from 0.0001 to 2^50: `resource(\"tpu\", 0.5)`");
            return None;
        }
    };
    let others = so_far.resources.iter().map(|(name, _)| name).collect();
    Some((new(&name, others, RESOURCES, "resource", errors)?, amount))
}

/// `label("zone", "a")`.
fn label(option: &Meta, so_far: &Placement, errors: &mut Errors) -> Option<(String, String)> {
    let Some((key, Lit::Str(value))) = two(option) else {
        errors.at(option, "this option takes a key and the value that it must have: `label(\"zone\", \"a\")`");
        return None;
    };
    let value = named(&value, errors);
    Some((new(&key, labels(so_far), LABELS, "label", errors)?, value?))
}

/// `select("zone", "in(a, b)")`.
fn select(option: &Meta, so_far: &Placement, errors: &mut Errors) -> Option<(String, String)> {
    let Some((key, Lit::Str(condition))) = two(option) else {
        errors.at(option, "this option takes a key and what its value must meet: `select(\"zone\", \"in(a, b)\")`");
        return None;
    };
    let is_fit = is_condition(&condition.value());
    if !is_fit {
        let message = format!(
            "a condition is a value, `in(a, b)` of up to {LABEL_VALUES} values, or `*` for any, each also with a `!` before it; \
             a value is 1 to {NAME_BYTES} bytes without control characters"
        );
        errors.at(&condition, message);
    }
    let key = new(&key, labels(so_far), LABELS, "label", errors)?;
    is_fit.then(|| (key, condition.value()))
}

/// The labels that something was said of.
fn labels(so_far: &Placement) -> Vec<&String> {
    so_far.labels.iter().chain(&so_far.conditions).map(|(key, _)| key).collect()
}

/// Whether it is a condition of `mobula`'s labels.
fn is_condition(text: &str) -> bool {
    let rest = text.strip_prefix('!').unwrap_or(text);
    match rest.strip_prefix("in(").and_then(|rest| rest.strip_suffix(')')) {
        Some(list) => {
            let values: BTreeSet<&str> = list.split(',').map(str::trim).collect();
            values.len() <= LABEL_VALUES && values.into_iter().all(is_name)
        }
        None => is_name(rest),
    }
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
fn new(name: &LitStr, others: Vec<&String>, most: usize, what: &str, errors: &mut Errors) -> Option<String> {
    let fit = named(name, errors)?;
    if others.len() >= most {
        errors.at(name, format!("there may be {most} of these: leave some away"));
        return None;
    }
    if others.contains(&&fit) {
        errors.at(name, format!("this {what} is named twice: keep one of them"));
        return None;
    }
    Some(fit)
}

/// What may name a resource or a label.
fn named(name: &LitStr, errors: &mut Errors) -> Option<String> {
    let text = name.value();
    let is_fit = is_name(&text);
    if !is_fit {
        errors.at(name, format!("a name is 1 to {NAME_BYTES} bytes without control characters: choose one that fits"));
    }
    is_fit.then_some(text)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES && !text.chars().any(char::is_control)
}
