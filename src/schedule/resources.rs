//! Named quantities (`cpu`, `gpu`, `memory`, any name) in fixed point of 1/10,000, so that what is taken and given back
//! adds up exactly.

use crate::limits::{NAME_BYTES, RESOURCES};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// A quantity in ten-thousandths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);
    /// One whole.
    pub const ONE: Amount = Amount(10_000);
    /// The most one node or actor may name: 2^50 wholes, so that a cluster's sum cannot overflow.
    pub const MAX: Amount = Amount((1 << 50) * 10_000);

    /// `quantity`, rounded to the nearest ten-thousandth.
    ///
    /// # Errors
    /// It is negative, not finite, too large, or not zero and yet below half a ten-thousandth.
    pub fn new(quantity: f64) -> Result<Amount, AmountError> {
        let rounded = (quantity * 10_000.0).round();
        if !(0.0..=Self::MAX.0 as f64).contains(&rounded) || quantity < 0.0 {
            return Err(AmountError::OutOfRange(quantity));
        }
        if rounded == 0.0 && quantity != 0.0 {
            return Err(AmountError::TooFine(quantity));
        }
        Ok(Amount(rounded as u64))
    }

    /// This many ten-thousandths.
    #[must_use]
    pub const fn ten_thousandths(n: u64) -> Amount {
        Amount(n)
    }

    /// The number of ten-thousandths.
    #[must_use]
    pub const fn as_ten_thousandths(self) -> u64 {
        self.0
    }

    /// As a number of wholes.
    #[must_use]
    pub fn quantity(self) -> f64 {
        self.0 as f64 / 10_000.0
    }

    fn plus(self, other: Amount) -> Amount {
        Amount(self.0.saturating_add(other.0))
    }

    fn minus(self, other: Amount) -> Amount {
        Amount(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0 / 10_000)?;
        match self.0 % 10_000 {
            0 => Ok(()),
            rest => f.write_str(format!(".{rest:04}").trim_end_matches('0')),
        }
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a number is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum AmountError {
    /// Negative, infinite, not a number, or beyond [`Amount::MAX`].
    #[error("{0} is no amount of a resource: give a number from 0 to 2^50")]
    OutOfRange(f64),
    /// Rounds to nothing.
    #[error("{0} of a resource is less than the smallest step, 0.0001")]
    TooFine(f64),
}

/// Why resources were refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ResourcesError {
    /// More names than [`RESOURCES`].
    #[error("at most {RESOURCES} resources may be named")]
    TooMany,
    /// A name that is empty, too long or holds a control character.
    #[error("{0:?} is no name of a resource: give 1 to {NAME_BYTES} bytes without control characters")]
    Name(Arc<str>),
    /// An amount beyond [`Amount::MAX`].
    #[error("{0} of `{1}` is more than a node can have")]
    Amount(Amount, Arc<str>),
}

/// Amounts by name, in the order of the names. What is not named is zero.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<(Arc<str>, Amount)>", into = "Vec<(Arc<str>, Amount)>")]
pub struct Resources(Vec<(Arc<str>, Amount)>);

impl Resources {
    /// No resources.
    #[must_use]
    pub const fn none() -> Resources {
        Resources(Vec::new())
    }

    /// These resources with `name` set to `amount`.
    ///
    /// # Errors
    /// The name or the amount is refused, or there are too many.
    pub fn with(mut self, name: &str, amount: Amount) -> Result<Resources, ResourcesError> {
        if !is_name(name) {
            return Err(ResourcesError::Name(name.chars().take(NAME_BYTES).collect::<String>().into()));
        }
        if amount > Amount::MAX {
            return Err(ResourcesError::Amount(amount, name.into()));
        }
        match (self.0.binary_search_by(|(at, _)| (**at).cmp(name)), amount) {
            (Ok(at), Amount::ZERO) => drop(self.0.remove(at)),
            (Ok(at), _) => self.0[at].1 = amount,
            (Err(_), Amount::ZERO) => {}
            (Err(_), _) if self.0.len() == RESOURCES => return Err(ResourcesError::TooMany),
            (Err(at), _) => self.0.insert(at, (name.into(), amount)),
        }
        Ok(self)
    }

    /// How much of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Amount {
        self.0.binary_search_by(|(at, _)| (**at).cmp(name)).map_or(Amount::ZERO, |at| self.0[at].1)
    }

    /// Whether nothing is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and amounts, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, Amount)> {
        self.0.iter().map(|(name, amount)| (name, *amount))
    }

    /// The first resource of `need` of which there is not enough here.
    #[must_use]
    pub fn lacks<'a>(&self, need: &'a Resources) -> Option<(&'a Arc<str>, Amount)> {
        need.iter().find(|(name, amount)| self.get(name) < *amount)
    }

    /// Takes `need` out; the caller has asked [`Resources::lacks`].
    pub fn take(&mut self, need: &Resources) {
        self.each(need, Amount::minus);
    }

    /// Puts `back` what was taken.
    pub fn give(&mut self, back: &Resources) {
        self.each(back, Amount::plus);
    }

    /// So many times these.
    #[must_use]
    pub fn times(&self, n: u32) -> Resources {
        let times = |(name, amount): &(Arc<str>, Amount)| (name.clone(), Amount(amount.0.saturating_mul(u64::from(n))));
        Resources(self.0.iter().map(times).collect())
    }

    /// Both together, whatever either names.
    #[must_use]
    pub fn and(&self, other: &Resources) -> Resources {
        let mut sum = self.clone();
        for (name, amount) in other.iter() {
            match sum.0.binary_search_by(|(at, _)| at.cmp(name)) {
                Ok(at) => sum.0[at].1 = sum.0[at].1.plus(amount),
                Err(at) => sum.0.insert(at, (name.clone(), amount)),
            }
        }
        sum
    }

    /// How much more of each resource this is than `there`.
    #[must_use]
    pub fn beyond(&self, there: &Resources) -> Resources {
        let more = self.iter().map(|(name, amount)| (name.clone(), amount.minus(there.get(name))));
        Resources(more.filter(|(_, more)| *more > Amount::ZERO).collect())
    }

    /// Of each resource the lesser amount.
    #[must_use]
    pub fn least(&self, other: &Resources) -> Resources {
        let least = |(name, amount): &(Arc<str>, Amount)| (name.clone(), (*amount).min(other.get(name)));
        Resources(self.0.iter().map(least).collect())
    }

    /// The largest part of `total` that this is of any resource, in parts of 2^32.
    #[must_use]
    pub fn dominant_share(&self, total: &Resources) -> u64 {
        let share = |(name, amount): (&Arc<str>, Amount)| {
            let of = u128::from(total.get(name).0.max(1));
            u64::try_from((u128::from(amount.0) << 32) / of).unwrap_or(u64::MAX)
        };
        self.iter().map(share).max().unwrap_or(0)
    }

    fn each(&mut self, by: &Resources, change: impl Fn(Amount, Amount) -> Amount) {
        for (name, amount) in by.iter() {
            if let Ok(at) = self.0.binary_search_by(|(at, _)| at.cmp(name)) {
                self.0[at].1 = change(self.0[at].1, amount);
            }
        }
    }

    /// How full a node of these resources, of which `free` are free, is once `need` is taken too: the fullest of the
    /// resources that `need` names, in ten-thousandths.
    #[must_use]
    pub fn fullness(&self, free: &Resources, need: &Resources) -> u64 {
        let full = |(name, amount): (&Arc<str>, Amount)| {
            let total = u128::from(self.get(name).0.max(1));
            let used = u128::from(self.get(name).minus(free.get(name)).plus(amount).0);
            u64::try_from(used * 10_000 / total).unwrap_or(u64::MAX)
        };
        need.iter().map(full).max().unwrap_or(0)
    }
}

/// Whether `name` may name an actor, a resource or a label.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES && !name.chars().any(char::is_control)
}

impl TryFrom<Vec<(Arc<str>, Amount)>> for Resources {
    type Error = ResourcesError;

    fn try_from(entries: Vec<(Arc<str>, Amount)>) -> Result<Resources, ResourcesError> {
        entries.into_iter().try_fold(Resources::none(), |all, (name, amount)| all.with(&name, amount))
    }
}

impl From<Resources> for Vec<(Arc<str>, Amount)> {
    fn from(resources: Resources) -> Self {
        resources.0
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, amount)| (name, amount))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(&str, f64)]) -> Resources {
        let add = |all: Resources, (name, n): &(&str, f64)| all.with(name, Amount::new(*n).unwrap()).unwrap();
        entries.iter().fold(Resources::none(), add)
    }

    #[test]
    fn amounts_are_exact_in_steps_of_a_ten_thousandth() {
        assert_eq!(Amount::new(0.1).unwrap(), Amount::ten_thousandths(1_000));
        assert_eq!(Amount::new(0.3333).unwrap().to_string(), "0.3333");
        assert_eq!(Amount::new(2.5).unwrap().to_string(), "2.5");
        assert_eq!(Amount::new(3.0).unwrap().to_string(), "3");
        assert_eq!(Amount::new(0.000_01), Err(AmountError::TooFine(0.000_01)));
        assert_eq!(Amount::new(-1.0), Err(AmountError::OutOfRange(-1.0)));
        assert!(Amount::new(f64::NAN).is_err() && Amount::new(f64::INFINITY).is_err() && Amount::new(1e300).is_err());
    }

    #[test]
    fn what_is_taken_and_given_back_adds_up() {
        let total = of(&[("cpu", 4.0), ("gpu", 1.0)]);
        let (mut free, need) = (total.clone(), of(&[("cpu", 0.1), ("gpu", 0.3)]));
        for _ in 0..3 {
            assert_eq!(free.lacks(&need), None);
            free.take(&need);
        }
        assert_eq!(free.lacks(&need).map(|(name, _)| &**name), Some("gpu"));
        assert_eq!(total.fullness(&free, &of(&[("cpu", 2.0)])), 5_750);
        (0..3).for_each(|_| free.give(&need));
        assert_eq!(free, total);
    }

    #[test]
    fn names_amounts_and_number_are_bounded_also_when_decoded() {
        assert!(matches!(Resources::none().with("", Amount::ONE), Err(ResourcesError::Name(_))));
        assert!(matches!(Resources::none().with("a\n", Amount::ONE), Err(ResourcesError::Name(_))));
        assert!(matches!(Resources::none().with(&"n".repeat(257), Amount::ONE), Err(ResourcesError::Name(_))));
        let many = (0..=RESOURCES).map(|n| (format!("r{n}").into(), Amount::ONE)).collect::<Vec<(Arc<str>, _)>>();
        assert_eq!(Resources::try_from(many), Err(ResourcesError::TooMany));
        let text = r#"[["gpu",10000],["cpu",5000],["gpu",20000],["x",0]]"#;
        assert_eq!(serde_json::from_str::<Resources>(text).unwrap(), of(&[("cpu", 0.5), ("gpu", 2.0)]));
        assert!(serde_json::from_str::<Resources>(r#"[["cpu",18446744073709551615]]"#).is_err());
    }
}
