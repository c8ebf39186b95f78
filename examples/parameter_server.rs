//! Trains a linear model: an actor holds its parameters, tasks on two worker processes compute the gradients.
//!
//! Samples and parameters are arrays that are passed by reference. Every gradient is applied as it comes, to parameters that
//! may have moved on meanwhile: asynchronous descent, as parameter servers do it.

use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use mobula::prelude::*;

const FEATURES: usize = 64;
const SAMPLES: usize = 2_000;
const SHARDS: usize = 4;
const STEPS: usize = 400;

#[mobula::main(workers = 2)]
async fn main(cluster: Cluster) -> anyhow::Result<()> {
    let truth: Vec<f32> = (0..FEATURES).map(|at| (at as f32 * 0.7).sin()).collect();
    let samples: Vec<Vec<f32>> = (0..SHARDS).map(|shard| samples(shard, &truth)).collect();
    let shards = try_join_all(samples.iter().map(|shard| cluster.put_slice(shard))).await?;
    let server = Server::spawn(&cluster, FEATURES).await?;
    let step = |step: usize| {
        let parameters = server.parameters().submit(); // goes from the server to the task, not through here
        server.apply(gradient::submit(&cluster, parameters, &shards[step % SHARDS]))
    };
    let steps = futures::stream::iter(0..STEPS).map(step).buffer_unordered(SHARDS); // so many under way
    steps.try_collect::<()>().await?;

    let wrong = server.parameters().await?.into_iter().zip(truth).map(|(found, truth)| (found - truth).abs());
    let worst = wrong.fold(0.0, f32::max);
    println!("{STEPS} steps; the worst parameter is off by {worst:.5}");
    assert!(worst < 0.01, "the model has not converged");
    Ok(())
}

#[actor]
struct Server {
    parameters: Vec<f32>,
}

#[methods]
impl Server {
    #[constructor]
    pub fn new(features: usize) -> Self {
        Self { parameters: vec![0.0; features] }
    }

    pub fn parameters(&self) -> Vec<f32> {
        self.parameters.clone()
    }

    pub fn apply(&mut self, gradient: Vec<f32>) {
        self.parameters.iter_mut().zip(gradient).for_each(|(parameter, slope)| *parameter -= 0.5 * slope);
    }
}

/// The slope of the mean squared error of a shard, whose rows are the features and what they should give.
#[task]
fn gradient(parameters: &Vec<f32>, shard: &[f32]) -> Vec<f32> {
    let mut slope = vec![0.0; parameters.len()];
    for row in shard.chunks_exact(parameters.len() + 1) {
        let (features, wanted) = row.split_at(parameters.len());
        let error = features.iter().zip(parameters).map(|(x, p)| x * p).sum::<f32>() - wanted[0];
        slope.iter_mut().zip(features).for_each(|(slope, x)| *slope += 2.0 * error * x / SAMPLES as f32);
    }
    slope
}

fn samples(shard: usize, truth: &[f32]) -> Vec<f32> {
    let mut state = 1 + shard as u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let row = |_| {
        let features: Vec<f32> = (0..FEATURES).map(|_| random()).collect();
        let wanted = features.iter().zip(truth).map(|(x, t)| x * t).sum();
        features.into_iter().chain([wanted])
    };
    (0..SAMPLES).flat_map(row).collect()
}
