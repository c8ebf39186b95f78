//! What an actor or a task is to have of its node, as its options say it one by one.

use std::sync::Arc;
use std::time::Duration;

use crate::actor::dispatch::PlacementOptions;
use crate::actor::restart::Restarts;
use crate::directory::request::Needs;
use crate::limits::NAME_BYTES;
use crate::schedule::labels::LabelError;
use crate::schedule::resources::is_name;
use crate::schedule::{Amount, Condition, InvalidOption, Strategy};

/// The name of a run, if it may be called so.
pub(super) fn name_of_run(name: String) -> Result<Box<str>, InvalidOption> {
    match is_name(&name) {
        true => Ok(name.into()),
        false => Err(InvalidOption::Name(name.chars().take(NAME_BYTES).collect())),
    }
}

/// What was said so far.
#[derive(Debug, Default)]
pub(super) struct Needed {
    needs: Needs,
    /// The first option that is not allowed.
    invalid: Option<InvalidOption>,
}

impl Needed {
    /// What an attribute says.
    pub(super) fn of(said: &PlacementOptions) -> Self {
        let mut needed = Needed::default();
        let own = [("cpu", said.cpus), ("gpu", said.gpus), ("memory", said.memory as f64)];
        own.iter().chain(said.resources).for_each(|(name, amount)| needed.resource(name, *amount));
        said.labels.iter().for_each(|(key, value)| needed.label(key, (*value).to_owned()));
        said.conditions.iter().for_each(|(key, condition)| needed.select(key, condition));
        needed.choose(said.strategy);
        needed
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.invalid.is_none() && self.needs == Needs::default()
    }

    pub(super) fn resource(&mut self, name: &str, amount: f64) {
        self.change(|needs| {
            let amount = Amount::new(amount)?;
            needs.resources = std::mem::take(&mut needs.resources).with(name, amount)?;
            Ok::<_, InvalidOption>(())
        });
    }

    pub(super) fn label(&mut self, key: &str, value: String) {
        let value: Arc<str> = value.into();
        self.change(|needs| {
            let condition = Condition::In([value].into());
            needs.labels = std::mem::take(&mut needs.labels).with(key, condition)?;
            Ok::<_, LabelError>(())
        });
    }

    pub(super) fn select(&mut self, key: &str, condition: &str) {
        self.change(|needs| {
            needs.labels = std::mem::take(&mut needs.labels).with(key, condition.parse()?)?;
            Ok::<_, LabelError>(())
        });
    }

    pub(super) fn otherwise(&mut self) {
        self.change(|needs| {
            needs.labels = std::mem::take(&mut needs.labels).otherwise()?;
            Ok::<_, LabelError>(())
        });
    }

    pub(super) fn choose(&mut self, strategy: Strategy) {
        self.needs.strategy = strategy;
    }

    pub(super) fn restart_window(&mut self, window: Duration) {
        if !Restarts::count_within(window) {
            self.invalid.get_or_insert(InvalidOption::RestartWindow(window));
        }
    }

    fn change<X: Into<InvalidOption>>(&mut self, change: impl FnOnce(&mut Needs) -> Result<(), X>) {
        if let Err(error) = change(&mut self.needs) {
            self.invalid.get_or_insert(error.into());
        }
    }

    pub(super) fn finish(self) -> Result<Needs, InvalidOption> {
        self.invalid.map_or(Ok(self.needs), Err)
    }
}
