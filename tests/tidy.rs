//! The rules of the house that the compiler does not hold: which way imports point, how long files are, who may name
//! what. ARCHITECTURE.md says why. Each failure names a line, the rule and the remedy.

#[path = "tidy/checks.rs"]
mod checks;
#[path = "tidy/source.rs"]
mod source;

use checks::{File, Layout, Offence, Pure, Reserved};
use std::fs;
use std::path::Path;

const LIBRARY: Layout = Layout {
    folder: "src/",
    own: Some("mobula"),
    rows: &[
        &["clock", "id", "limits", "sync"],
        &["wire"],
        &["net"],
        &["store"],
        &["schedule"],
        &["directory"],
        &["object"],
        &["actor"],
        &["task"],
        &["node"],
        &["error"],
        &["simulation"],
        &["cluster"],
        &["ops"],
        &["lib", "prelude", "macro_support"],
        &["bin"],
    ],
};

const MACROS: Layout = Layout {
    folder: "macros/src/",
    own: None,
    rows: &[&["model", "signature"], &["parse"], &["expand"], &["lib", "tests"]],
};

/// At most one file that may be longer, and why.
const LONG: &[(&str, &str)] = &[("src/limits.rs", "a list: every bound is found in one place")];

const RESERVED: &[Reserved] = &[
    Reserved {
        word: "zeromq",
        owners: &["src/net/zmq"],
        within: &["src/", "macros/src/"],
        fix: "go through `net::Net`, or through its transport trait",
    },
    Reserved {
        word: "snow",
        owners: &["src/net/handshake"],
        within: &["src/", "macros/src/"],
        fix: "let `net/handshake.rs` do it: nonces and keys are handled in one place",
    },
    Reserved {
        word: "rmp_serde",
        owners: &["src/wire/codec"],
        within: &["src/", "macros/src/"],
        fix: "use `wire::codec`, which bounds depth and lengths",
    },
    Reserved {
        word: "redb",
        owners: &["src/directory/journal/disk"],
        within: &["src/", "macros/src/"],
        fix: "keep records by `directory::journal::Journal`",
    },
    Reserved {
        word: "SpinMutex",
        owners: &["src/sync/brief"],
        within: &["src/", "macros/src/"],
        fix: "who waits must come to sleep: see `sync::brief`",
    },
    Reserved {
        word: "brief",
        owners: &["src/sync/mod", "src/actor/slot", "src/actor/mailbox"],
        within: &["src/"],
        fix: "use `parking_lot::Mutex`, at which threads may sleep: this one is for what each call within a process takes",
    },
    Reserved {
        word: "unsafe",
        owners: &["src/store/copy", "src/store/segment"],
        within: &["src/", "macros/src/", "tests/", "benches/", "examples/"],
        fix: "find a safe way; rustix has safe calls for most of what the system offers",
    },
];

const PURE: &[Pure] = &[
    Pure { module: "actor/core", shells: &[] },
    Pure { module: "node/core", shells: &[] },
    Pure { module: "directory", shells: &["client", "journal", "outbox", "serve"] },
    Pure { module: "schedule", shells: &[] },
    Pure { module: "simulation", shells: &[] },
];

#[test]
fn imports_point_down() {
    none(checks::directions(&LIBRARY, &rust_files()));
    none(checks::directions(&MACROS, &rust_files()));
}

#[test]
fn top_modules_form_no_cycle() {
    none(checks::cycles(&LIBRARY, &rust_files()));
    none(checks::cycles(&MACROS, &rust_files()));
}

#[test]
fn files_and_functions_are_short() {
    assert!(LONG.len() <= 1, "one exception is a case, two are a habit: {LONG:?}");
    none(checks::lengths(&rust_files(), LONG));
}

#[test]
fn dependencies_are_named_where_they_belong() {
    none(checks::reserved(RESERVED, &rust_files()));
}

#[test]
fn state_machines_are_pure() {
    none(checks::purity(PURE, &rust_files()));
}

#[test]
fn nothing_is_left_unfinished() {
    let mut files = rust_files();
    files.extend(
        ["README.md", "ARCHITECTURE.md", "Cargo.toml", "macros/Cargo.toml", "tests/models/Cargo.toml", ".ci/run"]
            .map(read),
    );
    none(files.iter().flat_map(checks::unfinished).collect());
}

fn none(wrong: Vec<Offence>) {
    let list: Vec<String> = wrong.iter().map(Offence::to_string).collect();
    assert!(list.is_empty(), "{} broken rules\n{}", list.len(), list.join("\n"));
}

fn read(path: &str) -> File {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
    File { path: path.to_owned(), text: text.unwrap_or_else(|error| panic!("{path}: {error}")) }
}

/// Every Rust file of all crates, but for those that are made to be refused.
fn rust_files() -> Vec<File> {
    let mut files = Vec::new();
    for folder in ["src", "macros", "tests", "examples", "benches"] {
        walk(folder, &mut files);
    }
    assert!(files.len() > 50, "the walk finds the repository's files");
    files
}

fn walk(folder: &str, files: &mut Vec<File>) {
    let entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
    let mut entries: Vec<_> = entries.into_iter().flatten().filter_map(Result::ok).collect();
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true if path.ends_with("tests/ui") || path.ends_with("/target") => {}
            true => walk(&path, files),
            false if path.ends_with(".rs") => files.push(read(&path)),
            false => {}
        }
    }
}
