//! `mobula key new`: the two key files of a new cluster.

use clap::Subcommand;
use mobula::ClusterKey;
use std::path::{Path, PathBuf};

/// Makes a cluster's keys.
#[derive(Subcommand)]
pub(crate) enum Key {
    /// Makes a new cluster's two key files: FILE, the cluster key, and FILE.head, the head's identity.
    ///
    /// FILE goes to every machine that runs a node of the cluster: whoever has it is a full member. FILE.head stays with
    /// the head: whoever has it can be the head. Both are readable by their owner alone, and existing files are never
    /// overwritten.
    New {
        /// Where the cluster key is written.
        file: PathBuf,
    },
}

impl Key {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let Key::New { file } = self;
        let head_file = identity_beside(&file);
        let (key, head) = ClusterKey::generate()?;
        // The head's first: the cluster key is there only when both are.
        head.save(&head_file)?;
        if let Err(error) = key.save(&file) {
            // Made a moment ago, and no key pins it.
            let _ = std::fs::remove_file(&head_file);
            return Err(error.into());
        }
        let (file, head_file) = (file.display(), head_file.display());
        println!("{file}: the cluster key. Copy it to every machine that runs a node, and show it to nobody else.");
        println!("{head_file}: the head's identity. Keep it where the head runs.");
        println!("Next, start the head: mobula head --key {file}");
        Ok(())
    }
}

/// Where the head's identity is, unless something else is said: beside the cluster key.
pub(crate) fn identity_beside(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push(".head");
    name.into()
}
