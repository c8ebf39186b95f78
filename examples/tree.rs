//! A tree of actors over two worker processes: each splits what it is given between two children, down to the leaves, and
//! every question goes down and its answer comes up.

use futures::future::try_join_all;
use mobula::prelude::*;
use std::collections::BTreeSet;

const LEAVES: usize = 64;

#[mobula::main(workers = 2)]
async fn main(cluster: Cluster) -> anyhow::Result<()> {
    let numbers: Vec<u64> = (1..=10_000).collect();
    let root = Branch::spawn(&cluster, numbers.clone(), LEAVES).await?;
    let total = root.sum().await?;
    let (actors, processes) = root.census().await?;
    println!("{actors} actors in {} processes say {total}", processes.len());
    assert_eq!(total, numbers.iter().sum());
    assert_eq!((actors, processes.len()), (2 * LEAVES as u64 - 1, 2));

    // What one branch is told reaches all of its leaves before the next question does.
    root.add(1).await?;
    assert_eq!(root.sum().await?, total + numbers.len() as u64);
    Ok(())
}

#[actor]
struct Branch {
    numbers: Vec<u64>,
    children: Vec<BranchHandle>,
}

#[methods]
impl Branch {
    #[constructor]
    pub async fn new(numbers: Vec<u64>, leaves: usize, ctx: &mut ActorContext<Self>) -> mobula::Result<Self> {
        if leaves == 1 {
            return Ok(Self { numbers, children: Vec::new() });
        }
        let halves = numbers.chunks(numbers.len().div_ceil(2));
        let children = halves.map(|half| Branch::spawn(&ctx.cluster(), half.to_vec(), leaves / 2));
        Ok(Self { children: try_join_all(children).await?, numbers: Vec::new() })
    }

    pub async fn sum(&self) -> mobula::Result<u64> {
        let below = try_join_all(self.children.iter().map(|child| child.sum())).await?;
        Ok(self.numbers.iter().chain(&below).sum())
    }

    pub async fn add(&mut self, by: u64) -> mobula::Result<()> {
        self.numbers.iter_mut().for_each(|number| *number += by);
        try_join_all(self.children.iter().map(|child| child.add(by))).await?;
        Ok(())
    }

    /// How many actors there are from here on down, and in which processes.
    pub async fn census(&self) -> mobula::Result<(u64, BTreeSet<u32>)> {
        let below = try_join_all(self.children.iter().map(|child| child.census())).await?;
        let here = (1, BTreeSet::from([std::process::id()]));
        Ok(below.into_iter().fold(here, |(count, all), (more, others)| (count + more, &all | &others)))
    }
}
