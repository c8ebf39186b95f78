//! What is to survive: tasks that depend on each other, and actors whose state no death may change.

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use mobula::CheckpointError;
use mobula::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const LAYERS: u64 = 100;
const WIDTH: u64 = 100;
const ACCOUNTS: u64 = 200;
const DEPOSITS: u64 = 100;

/// Some work, whose result depends on both.
#[task(retries = 1000)]
fn mix(left: u64, right: u64) -> u64 {
    (0..500_000).fold(left ^ right.rotate_left(17), |mixed, round| (mixed ^ round).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Which of the layer before a task takes, beside the one above it.
fn other(layer: u64, at: u64) -> usize {
    ((at * 7 + layer) % WIDTH) as usize
}

/// Runs the tasks, and holds their results against those of plain calls. Gives how many there were.
pub async fn tasks(cluster: &Cluster, seed: u64) -> anyhow::Result<u64> {
    let expected = tokio::task::spawn_blocking(move || {
        let mut layer: Vec<u64> = (0..WIDTH).map(|at| mix(seed, at)).collect();
        for number in 1..LAYERS {
            layer = (0..WIDTH).map(|at| mix(layer[at as usize], layer[other(number, at)])).collect();
        }
        layer
    });
    let submit =
        |left: ObjectRef<u64>, right: &ObjectRef<u64>| mix::call(cluster, left, right).wait_for_node().submit();
    let first = (0..WIDTH).map(|at| mix::call(cluster, seed, at).wait_for_node().submit());
    let mut layer: Vec<ObjectRef<u64>> = first.collect();
    for number in 1..LAYERS {
        layer = (0..WIDTH).map(|at| submit(layer[at as usize].clone(), &layer[other(number, at)])).collect();
    }
    let results = cluster.get_all(&layer).await.context("a task")?;
    ensure!(results == expected.await?, "the tasks' results are not those of plain calls");
    Ok(LAYERS * WIDTH)
}

/// What an account has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    deposits: u64,
    total: u64,
}

/// An account, which adds up. Whatever its node and the head go through, it is made again as it was.
#[actor(restarts = 1_000_000)]
pub struct Account {
    state: State,
}

#[methods(retries = 10)]
impl Account {
    #[constructor]
    pub fn opened() -> Self {
        Self { state: State::default() }
    }

    #[checkpoint]
    fn save(&self) -> State {
        self.state
    }

    #[restore]
    fn restored(state: State) -> Self {
        Self { state }
    }

    /// Adds the deposit of this number, whose order matters to the total, unless that was done in an earlier try.
    pub async fn deposit(
        &mut self,
        number: u64,
        amount: u64,
        ctx: &mut ActorContext<Self>,
    ) -> Result<State, CheckpointError> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if number == self.state.deposits {
            self.state.deposits += 1;
            self.state.total = self.state.total.wrapping_mul(31).wrapping_add(amount);
        }
        ctx.checkpoint(self).await?;
        Ok(self.state)
    }
}

/// Fills all accounts at once. Gives how many deposits there were.
pub async fn accounts(cluster: &Cluster, seed: u64) -> anyhow::Result<u64> {
    try_join_all((0..ACCOUNTS).map(|account| fill(cluster, account, seed))).await?;
    Ok(ACCOUNTS * DEPOSITS)
}

/// What was acknowledged is never lost; what was not is deposited again, and counts once.
async fn fill(cluster: &Cluster, account: u64, seed: u64) -> anyhow::Result<()> {
    let amount = |number: u64| (seed ^ account).wrapping_mul(number + 1);
    let mut state = State::default();
    while state.deposits < DEPOSITS {
        let named = Account::spawn(cluster).name(format!("account {account}")).detached().get_or_spawn();
        let Ok(account) = named.wait_for_node().await else {
            // The head may be away, or this node's life over: the next one begins soon.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while state.deposits < DEPOSITS {
            match account.deposit(state.deposits, amount(state.deposits)).await {
                Ok(next) => {
                    ensure!(next.deposits == state.deposits + 1, "{next:?} came after {state:?}");
                    state = next;
                }
                Err(_) => break,
            }
        }
    }
    let total = (0..DEPOSITS).fold(0_u64, |total, number| total.wrapping_mul(31).wrapping_add(amount(number)));
    ensure!(state.total == total, "{state:?} should have come to {total}");
    Ok(())
}
