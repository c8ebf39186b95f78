//! What nodes say about themselves, and what an actor asks of them.
//!
//! ```text
//! condition = value | "!" value | "in(" value ("," value)* ")" | "!in(" value ("," value)* ")" | "*" | "!*"
//! ```

use crate::limits::{LABEL_VALUES, LABELS, NAME_BYTES, SELECTORS};
use crate::schedule::resources::is_name;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A node's labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<Arc<str>, Arc<str>>", into = "BTreeMap<Arc<str>, Arc<str>>")]
pub struct Labels(BTreeMap<Arc<str>, Arc<str>>);

impl Labels {
    /// These labels with `key` set to `value`.
    ///
    /// # Errors
    /// A name is refused, or there are too many.
    pub fn with(mut self, key: &str, value: &str) -> Result<Labels, LabelError> {
        self.0.insert(name(key)?, name(value)?);
        if self.0.len() > LABELS { Err(LabelError::TooMany) } else { Ok(self) }
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        self.0.get(key)
    }
}

impl TryFrom<BTreeMap<Arc<str>, Arc<str>>> for Labels {
    type Error = LabelError;

    fn try_from(entries: BTreeMap<Arc<str>, Arc<str>>) -> Result<Labels, LabelError> {
        entries.iter().try_fold(Labels::default(), |all, (key, value)| all.with(key, value))
    }
}

impl From<Labels> for BTreeMap<Arc<str>, Arc<str>> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// One of these values.
    In(BTreeSet<Arc<str>>),
    /// Absent, or none of these values.
    NotIn(BTreeSet<Arc<str>>),
    /// There, whatever its value.
    Present,
    /// Not there.
    Absent,
}

impl Condition {
    fn holds(&self, value: Option<&Arc<str>>) -> bool {
        match self {
            Condition::In(values) => value.is_some_and(|value| values.contains(value)),
            Condition::NotIn(values) => !value.is_some_and(|value| values.contains(value)),
            Condition::Present => value.is_some(),
            Condition::Absent => value.is_none(),
        }
    }

    fn check(&self) -> Result<(), LabelError> {
        let (Condition::In(values) | Condition::NotIn(values)) = self else { return Ok(()) };
        if values.is_empty() || values.len() > LABEL_VALUES {
            return Err(LabelError::Values);
        }
        values.iter().try_for_each(|value| name(value).map(drop))
    }
}

impl FromStr for Condition {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Condition, LabelError> {
        let (not, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        if rest == "*" {
            return Ok(if not { Condition::Absent } else { Condition::Present });
        }
        let listed = rest.strip_prefix("in(").and_then(|rest| rest.strip_suffix(')'));
        let values = match listed {
            Some(list) => list.split(',').map(|value| name(value.trim())).collect::<Result<BTreeSet<_>, _>>()?,
            None => BTreeSet::from([name(rest)?]),
        };
        let condition = if not { Condition::NotIn(values) } else { Condition::In(values) };
        condition.check().map(|()| condition)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |values: &BTreeSet<Arc<str>>| {
            if values.len() == 1 {
                return values.iter().map(|value| value.to_string()).collect();
            }
            format!("in({})", values.iter().map(|value| &**value).collect::<Vec<_>>().join(", "))
        };
        match self {
            Condition::In(values) => f.write_str(&listed(values)),
            Condition::NotIn(values) => write!(f, "!{}", listed(values)),
            Condition::Present => f.write_str("*"),
            Condition::Absent => f.write_str("!*"),
        }
    }
}

/// The labels an actor asks its node to have: all conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<Arc<str>, Condition>", into = "BTreeMap<Arc<str>, Condition>")]
pub struct Selector(BTreeMap<Arc<str>, Condition>);

impl Selector {
    /// These conditions and `condition` for `key`, which replaces an earlier one.
    ///
    /// # Errors
    /// A name is refused, or there are too many.
    pub fn with(mut self, key: &str, condition: Condition) -> Result<Selector, LabelError> {
        condition.check()?;
        self.0.insert(name(key)?, condition);
        if self.0.len() > LABELS { Err(LabelError::TooMany) } else { Ok(self) }
    }

    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `labels` are as asked.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|(key, condition)| condition.holds(labels.get(key)))
    }
}

impl TryFrom<BTreeMap<Arc<str>, Condition>> for Selector {
    type Error = LabelError;

    fn try_from(entries: BTreeMap<Arc<str>, Condition>) -> Result<Selector, LabelError> {
        entries.into_iter().try_fold(Selector::default(), |all, (key, condition)| all.with(&key, condition))
    }
}

impl From<Selector> for BTreeMap<Arc<str>, Condition> {
    fn from(selector: Selector) -> Self {
        selector.0
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        self.0
            .iter()
            .try_for_each(|(key, condition)| write!(f, "{}{key}={condition}", std::mem::replace(&mut between, ", ")))
    }
}

/// Selectors in the order in which they are tried: a node is the better, the earlier the first one that it meets. None of them
/// asks nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Selector>", into = "Vec<Selector>")]
pub struct Selectors(Vec<Selector>);

impl Selectors {
    /// These, the last of them with `condition` for `key`.
    ///
    /// # Errors
    /// As [`Selector::with`]'s.
    pub fn with(mut self, key: &str, condition: Condition) -> Result<Selectors, LabelError> {
        let last = self.0.pop().unwrap_or_default();
        self.0.push(last.with(key, condition)?);
        Ok(self)
    }

    /// These, and one more that asks nothing yet. After nothing there is nothing else to try.
    ///
    /// # Errors
    /// There are too many.
    pub fn otherwise(mut self) -> Result<Selectors, LabelError> {
        if !self.0.is_empty() {
            self.0.push(Selector::default());
        }
        Selectors::try_from(self.0)
    }

    /// The first that `labels` meet, as its index.
    #[must_use]
    pub fn choice(&self, labels: &Labels) -> Option<usize> {
        match self.0.is_empty() {
            true => Some(0),
            false => self.0.iter().position(|selector| selector.matches(labels)),
        }
    }
}

impl TryFrom<Vec<Selector>> for Selectors {
    type Error = LabelError;

    fn try_from(selectors: Vec<Selector>) -> Result<Selectors, LabelError> {
        if selectors.len() > SELECTORS { Err(LabelError::Selectors) } else { Ok(Selectors(selectors)) }
    }
}

impl From<Selectors> for Vec<Selector> {
    fn from(selectors: Selectors) -> Self {
        selectors.0
    }
}

impl fmt::Display for Selectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        let mut each = self.0.iter();
        each.try_for_each(|selector| write!(f, "{}{selector}", std::mem::replace(&mut between, ", or else ")))
    }
}

fn name(text: &str) -> Result<Arc<str>, LabelError> {
    if is_name(text) { Ok(text.into()) } else { Err(LabelError::Name(text.chars().take(NAME_BYTES).collect())) }
}

/// Why a label or a condition was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// A key or value that is empty, too long or holds a control character.
    #[error("{0:?} is no label or value: give 1 to {NAME_BYTES} bytes without control characters")]
    Name(String),
    /// More than [`LABELS`].
    #[error("at most {LABELS} labels may be given")]
    TooMany,
    /// No value, or more than [`LABEL_VALUES`].
    #[error("a condition lists 1 to {LABEL_VALUES} values")]
    Values,
    /// More than [`SELECTORS`].
    #[error("at most {SELECTORS} selectors may be tried, one after the other")]
    Selectors,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_condition_reads_prints_and_decides() {
        let labels = Labels::default().with("zone", "a").unwrap().with("disk", "ssd").unwrap();
        let cases = [
            ("zone", "a", true),
            ("zone", "b", false),
            ("zone", "!a", false),
            ("rack", "!a", true),
            ("zone", "in(a, b)", true),
            ("zone", "in(b, c)", false),
            ("zone", "!in(b, c)", true),
            ("rack", "in(a, b)", false),
            ("disk", "*", true),
            ("rack", "*", false),
            ("rack", "!*", true),
            ("disk", "!*", false),
        ];
        for (key, text, holds) in cases {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(condition.to_string(), text);
            assert_eq!(Selector::default().with(key, condition).unwrap().matches(&labels), holds, "{key}={text}");
        }
        assert!(
            "".parse::<Condition>().is_err()
                && "in()".parse::<Condition>().is_err()
                && "!".parse::<Condition>().is_err()
        );
    }

    #[test]
    fn selectors_are_tried_in_their_order_and_their_number_is_bounded() {
        let zone = |all: Selectors, zone: &str| all.with("zone", zone.parse().unwrap()).unwrap();
        let labels = |zone: &str| Labels::default().with("zone", zone).unwrap();
        let both = zone(zone(Selectors::default(), "a").otherwise().unwrap(), "b");
        assert_eq!(["a", "b", "c"].map(|zone| both.choice(&labels(zone))), [Some(0), Some(1), None]);
        assert_eq!(both.to_string(), "zone=a, or else zone=b");
        assert_eq!(both.clone().otherwise().unwrap().choice(&labels("c")), Some(2), "in the end any will do");
        assert_eq!(Selectors::default().otherwise(), Ok(Selectors::default()));
        let full = (1..SELECTORS).try_fold(both, |all, n| all.otherwise().map(|all| zone(all, &n.to_string())));
        assert_eq!(full, Err(LabelError::Selectors));
    }

    #[test]
    fn all_conditions_must_hold_and_their_number_is_bounded() {
        let both =
            Selector::default().with("a", "1".parse().unwrap()).unwrap().with("b", "2".parse().unwrap()).unwrap();
        assert!(!both.matches(&Labels::default().with("a", "1").unwrap()));
        assert!(both.matches(&Labels::default().with("a", "1").unwrap().with("b", "2").unwrap()));
        assert_eq!(both.to_string(), "a=1, b=2");
        let full = (0..LABELS).fold(Labels::default(), |all, n| all.with(&format!("k{n}"), "v").unwrap());
        assert_eq!(full.with("one more", "v"), Err(LabelError::TooMany));
    }
}
