//! Finds the longest words of many files by a map and a tree of reductions, on two worker processes:
//! `cargo run --release --example map_reduce [-- FILES..]`. Without files it cuts the poem of the quickstart into sixteen.

use anyhow::Context;
use mobula::prelude::*;
use std::collections::BTreeMap;

/// How often each length of words occurs, and the first of the words that have it.
type Lengths = BTreeMap<usize, (u64, String)>;

#[mobula::main(workers = 2)]
async fn main(cluster: Cluster) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let files: Vec<String> = match std::env::args().skip(1).collect::<Vec<_>>() {
        none if none.is_empty() => pieces(folder.path())?,
        files => files,
    };
    let mut lengths: Vec<ObjectRef<Lengths, _>> = files.iter().map(|file| map::submit(&cluster, file)).collect();
    // A reduction begins when its two inputs are there; only references pass through here.
    while lengths.len() > 1 {
        let reduced = lengths.chunks(2).map(|pair| match pair {
            [one, other] => reduce::submit(&cluster, one, other),
            rest => rest[0].clone(),
        });
        lengths = reduced.collect();
    }
    let lengths = cluster.get(&lengths[0]).await?;
    for (length, (count, first)) in lengths.iter().rev().take(5) {
        println!("{count:>5} words of {length} letters, such as {first}");
    }
    let mut alone = Lengths::new();
    for file in &files {
        alone = merged(alone, &count(&std::fs::read_to_string(file)?));
    }
    assert_eq!(lengths, alone, "the workers' count is that of one thread");
    Ok(())
}

#[task]
fn map(file: &str) -> mobula::Result<Lengths> {
    Ok(count(&std::fs::read_to_string(file).context(file.to_owned())?))
}

#[task]
fn reduce(one: Lengths, other: &Lengths) -> mobula::Result<Lengths> {
    Ok(merged(one, other))
}

fn count(text: &str) -> Lengths {
    let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    words.fold(Lengths::new(), |mut lengths, word| {
        let (count, first) = lengths.entry(word.chars().count()).or_default();
        *count += 1;
        if first.is_empty() || word < first.as_str() {
            *first = word.to_owned();
        }
        lengths
    })
}

fn merged(mut one: Lengths, other: &Lengths) -> Lengths {
    for (length, (count, word)) in other {
        let (sum, first) = one.entry(*length).or_insert((0, word.clone()));
        *sum += count;
        if word < first {
            first.clone_from(word);
        }
    }
    one
}

/// The poem, in sixteen files.
fn pieces(folder: &std::path::Path) -> std::io::Result<Vec<String>> {
    let lines: Vec<&str> = include_str!("data/paradise-lost.txt").lines().collect();
    let written = lines.chunks(lines.len() / 16 + 1).enumerate().map(|(number, piece)| {
        let path = folder.join(format!("{number}.txt")).to_string_lossy().into_owned();
        std::fs::write(&path, piece.join("\n")).map(|()| path)
    });
    written.collect()
}
