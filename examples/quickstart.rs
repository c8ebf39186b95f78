//! Counts the words of a text on two worker processes: `cargo run --release --example quickstart [-- FILE]`.
//!
//! Without a file it reads John Milton's "Paradise Lost" (1674), which is in the public domain everywhere: the plain text
//! that Project Gutenberg released in February 1992, as compressors' test suites carry it (`plrabn12.txt`), without its
//! introduction.

use anyhow::Context;
use futures::future::try_join_all;
use mobula::prelude::*;
use std::collections::HashMap;
use std::time::Instant;

const PIECE: usize = 32 << 10;
const ACTORS: usize = 4;

#[mobula::main(workers = 2)]
async fn main(cluster: Cluster) -> anyhow::Result<()> {
    let text = match std::env::args().nth(1) {
        Some(path) => std::fs::read_to_string(&path).with_context(|| path)?,
        None => include_str!("data/paradise-lost.txt").to_owned(),
    };
    let start = Instant::now();
    let counters = try_join_all((0..ACTORS).map(|_| WordCounter::spawn(&cluster))).await?;
    let pieces = cut(&text);
    let calls = pieces.iter().zip(counters.iter().cycle()).map(|(piece, counter)| counter.count(*piece));
    let mut total = Counts::new();
    for (word, count) in try_join_all(calls).await?.into_iter().flatten() {
        *total.entry(word).or_default() += count;
    }
    let seconds = start.elapsed().as_secs_f64();

    let mut ranked: Vec<_> = total.iter().collect();
    ranked.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    for (word, count) in ranked.into_iter().take(10) {
        println!("{count:>8}  {word}");
    }
    println!("{} calls, {} bytes, {seconds:.3} seconds", pieces.len(), text.len());
    assert_eq!(total, count(&text), "the workers' counts are those of one thread");
    Ok(())
}

type Counts = HashMap<String, u64>;

#[actor]
struct WordCounter;

#[methods]
impl WordCounter {
    #[constructor]
    pub fn new() -> Self {
        Self
    }

    /// How often each word occurs.
    pub fn count(&mut self, text: &str) -> Counts {
        count(text)
    }
}

fn count(text: &str) -> Counts {
    let mut counts = Counts::new();
    for word in text.split(is_between_words).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    counts
}

fn is_between_words(c: char) -> bool {
    !c.is_alphanumeric() && c != '\''
}

/// Pieces of about [`PIECE`] bytes, each ending where a word does.
fn cut(mut text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    while !text.is_empty() {
        let least = text.floor_char_boundary(PIECE);
        let end = text[least..].find(is_between_words).map_or(text.len(), |more| least + more);
        pieces.push(&text[..end]);
        text = &text[end..];
    }
    pieces
}
