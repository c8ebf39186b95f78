//! The rules, each a function from what a file says to what is wrong with it.

use super::source::{Import, Source, Token, functions, imports, read};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A broken rule, where, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Offence {
    pub path: String,
    pub line: usize,
    pub rule: String,
    pub fix: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n    fix: {}", self.path, self.line, self.rule, self.fix)
    }
}

/// A file of the repository; its path is relative, with `/`.
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    pub fn source(&self) -> Source<'_> {
        read(&self.text)
    }

    fn offence(&self, line: usize, rule: impl Into<String>, fix: impl Into<String>) -> Offence {
        Offence { path: self.path.clone(), line, rule: rule.into(), fix: fix.into() }
    }

    /// Whether this file is the module `at` (no `.rs`), or within it.
    fn is_in(&self, at: &str) -> bool {
        self.path.strip_prefix(at).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    fn is_test(&self) -> bool {
        let folders = ["tests/", "benches/", "macros/tests/"];
        folders.iter().any(|folder| self.path.starts_with(folder))
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
    }
}

/// A crate whose modules stand in rows. A file imports its own folder, its row and lower ones.
pub struct Layout {
    /// `src/`
    pub folder: &'static str,
    /// What the crate calls itself beside `crate`.
    pub own: Option<&'static str>,
    /// From low to high; the root's own items belong to `lib`.
    pub rows: &'static [&'static [&'static str]],
}

impl Layout {
    fn row(&self, module: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.contains(&module))
    }

    /// The module path of a file of this crate, and the top module that it belongs to.
    fn place<'a>(&self, file: &'a File) -> Option<(&'a str, Vec<&'a str>)> {
        let inside = file.path.strip_prefix(self.folder)?.strip_suffix(".rs")?;
        let module: Vec<&str> = inside.strip_suffix("/mod").unwrap_or(inside).split('/').collect();
        match module[..] {
            ["lib"] => Some(("lib", Vec::new())),
            _ => Some((module[0], module)),
        }
    }

    /// The top module that an import leads to: what the root names itself belongs to `lib`.
    fn target<'a>(&self, import: &Import<'a>) -> &'a str {
        import.path.first().copied().filter(|first| self.row(first).is_some()).unwrap_or("lib")
    }

    fn imports_of<'a>(&self, file: &'a File) -> Option<(&'a str, Vec<Import<'a>>)> {
        let (top, module) = self.place(file)?;
        if top == "bin" {
            return Some((top, Vec::new())); // a crate of its own, above all of this one
        }
        Some((top, imports(&file.source().tokens, &module, self.own)))
    }
}

/// Imports point down.
pub fn directions(layout: &Layout, files: &[File]) -> Vec<Offence> {
    let mut wrong = Vec::new();
    for file in files {
        let Some((top, imports)) = layout.imports_of(file) else { continue };
        let Some(row) = layout.row(top) else {
            let fix = "give it a row in `ROWS`, and in ARCHITECTURE.md";
            wrong.push(file.offence(1, format!("the module `{top}` stands in no row"), fix));
            continue;
        };
        for import in imports {
            let target = layout.target(&import);
            if layout.row(target).is_some_and(|other| other > row) {
                let rule = format!("`{top}` imports `{}`, which stands above it", import.path.join("::"));
                let fix = match target {
                    "lib" => "name the item by the module that defines it".to_owned(),
                    _ => format!(
                        "move what both need down, or declare a trait in `{top}` and implement it in `{target}`"
                    ),
                };
                wrong.push(file.offence(import.line, rule, fix));
            }
        }
    }
    wrong
}

/// Top modules form no cycle.
pub fn cycles(layout: &Layout, files: &[File]) -> Vec<Offence> {
    let mut edges: BTreeMap<&str, BTreeMap<&str, (&File, usize)>> = BTreeMap::new();
    for file in files {
        let Some((top, imports)) = layout.imports_of(file) else { continue };
        for import in imports {
            let target = layout.target(&import);
            if target != top {
                edges.entry(top).or_default().entry(target).or_insert((file, import.line));
            }
        }
    }
    let (mut done, mut wrong) = (BTreeSet::new(), Vec::new());
    for &start in edges.keys() {
        descend(&edges, start, &mut Vec::new(), &mut done, &mut wrong);
    }
    wrong
}

fn descend<'a>(
    edges: &BTreeMap<&'a str, BTreeMap<&'a str, (&File, usize)>>,
    at: &'a str,
    way: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
    wrong: &mut Vec<Offence>,
) {
    if done.contains(at) {
        return;
    }
    way.push(at);
    for (&next, &(file, line)) in edges.get(at).into_iter().flatten() {
        match way.iter().position(|&passed| passed == next) {
            Some(first) => {
                let rule = format!("top modules import each other: {} -> {next}", way[first..].join(" -> "));
                wrong.push(file.offence(line, rule, "move what both need into the lower of them"));
            }
            None => descend(edges, next, way, done, wrong),
        }
    }
    way.pop();
    done.insert(at);
}

/// Files and functions are short; those in `exceptions` may not be, and must need it.
pub fn lengths(files: &[File], exceptions: &[(&str, &str)]) -> Vec<Offence> {
    const FUNCTION: usize = 70;
    let (mut wrong, mut excused) = (Vec::new(), BTreeSet::new());
    for file in files {
        let mut found = Vec::new();
        let (lines, limit) = (file.text.lines().count(), if file.is_test() { 700 } else { 500 });
        if lines >= limit {
            let rule = format!("{lines} lines, {limit} or more");
            found.push(file.offence(lines, rule, "split it: one noun a file, that type on top"));
        }
        for function in functions(&file.source().tokens) {
            let lines = function.last - function.first + 1;
            if lines >= FUNCTION {
                let rule = format!("`fn {}` has {lines} lines, {FUNCTION} or more", function.name);
                found.push(file.offence(function.first, rule, "give its parts names"));
            }
        }
        match exceptions.iter().find(|(path, _)| *path == file.path) {
            Some(_) if !found.is_empty() => drop(excused.insert(file.path.as_str())),
            _ => wrong.append(&mut found),
        }
    }
    let idle = exceptions.iter().filter(|(path, _)| !excused.contains(path));
    wrong.extend(idle.map(|(path, why)| Offence {
        path: (*path).to_owned(),
        line: 1,
        rule: format!("is excepted from the lengths ({why}), and needs it no more"),
        fix: "take it off the list".to_owned(),
    }));
    wrong
}

/// A word that only some modules may name.
pub struct Reserved {
    pub word: &'static str,
    /// The modules, as paths without `.rs`.
    pub owners: &'static [&'static str],
    /// The folders in which the rule holds.
    pub within: &'static [&'static str],
    pub fix: &'static str,
}

pub fn reserved(rules: &[Reserved], files: &[File]) -> Vec<Offence> {
    let mut wrong = Vec::new();
    for file in files {
        let holds = |rule: &&Reserved| {
            rule.within.iter().any(|folder| file.path.starts_with(folder))
                && !rule.owners.iter().any(|owner| file.is_in(owner))
        };
        let rules: Vec<&Reserved> = rules.iter().filter(holds).collect();
        for token in file.source().tokens {
            if let Some(rule) = rules.iter().find(|rule| rule.word == token.text) {
                let owners = match rule.owners {
                    [] => "nobody may".to_owned(),
                    owners => format!("only {} may", owners.join(", ")),
                };
                wrong.push(file.offence(token.line, format!("names `{}`: {owners}", rule.word), rule.fix));
            }
        }
    }
    wrong
}

/// A folder of state machines, but for its shells: no clock, I/O, randomness, locks or unordered tables.
pub struct Pure {
    /// The module, as a path below `src/`.
    pub module: &'static str,
    /// Its children that do the I/O.
    pub shells: &'static [&'static str],
}

const IMPURE: [&str; 14] = [
    "HashMap",
    "HashSet",
    "FxHashMap",
    "FxHashSet",
    "Instant",
    "SystemTime",
    "rand",
    "getrandom",
    "fastrand",
    "tokio",
    "Mutex",
    "RwLock",
    "Condvar",
    "parking_lot",
];

pub fn purity(pure: &[Pure], files: &[File]) -> Vec<Offence> {
    let mut wrong = Vec::new();
    for file in files {
        let is_core = |pure: &&Pure| {
            let shell = |shell: &&str| file.is_in(&format!("src/{}/{shell}", pure.module));
            file.is_in(&format!("src/{}", pure.module)) && !pure.shells.iter().any(shell)
        };
        let Some(pure) = pure.iter().find(is_core) else { continue };
        let source = file.source();
        for token in source.tokens.iter().filter(|token| IMPURE.contains(&token.text)) {
            let fix = "take time and chance as arguments, give effects back, keep order in a BTreeMap or a Vec";
            wrong.push(file.offence(token.line, format!("a pure state machine names `{}`", token.text), fix));
        }
        let inside = file.path.trim_start_matches("src/").trim_end_matches(".rs");
        let module: Vec<&str> = inside.strip_suffix("/mod").unwrap_or(inside).split('/').collect();
        for import in imports(&source.tokens, &module, Some("mobula")) {
            if let Some(rule) = leaves_core(pure, &import, module.join("/") == pure.module) {
                wrong.push(file.offence(import.line, rule, "let the shell call the core, never the other way"));
            }
        }
    }
    wrong
}

fn leaves_core(pure: &Pure, import: &Import<'_>, is_root: bool) -> Option<String> {
    let path = import.path.join("::");
    if path == "clock::now" {
        return Some("a pure state machine reads the clock".to_owned());
    }
    let core: Vec<&str> = pure.module.split('/').collect();
    if import.path.first() != core.first() {
        return None;
    }
    let shell = || import.path.get(core.len()).is_some_and(|child| pure.shells.contains(child));
    let outside = !import.path.starts_with(&core) || (!is_root && shell());
    outside.then(|| format!("a pure state machine imports `{path}` of the shell around it"))
}

/// Nothing is left unfinished or switched off.
pub fn unfinished(file: &File) -> Vec<Offence> {
    const MARKS: [&str; 3] = ["TODO", "FIXME", "XXX"];
    let marked =
        |line: &str| MARKS.into_iter().find(|mark| line.split(|c: char| !c.is_alphanumeric()).any(|w| w == *mark));
    let finish = |line, mark| file.offence(line, format!("`{mark}`"), "finish it, or file it as an issue");
    if !file.path.ends_with(".rs") {
        let lines = file.text.lines().enumerate();
        return lines.filter_map(|(at, line)| Some(finish(at + 1, marked(line)?))).collect();
    }
    let source = file.source();
    let mut wrong = Vec::new();
    for comment in &source.comments {
        let lines = comment.text.lines().enumerate();
        wrong.extend(lines.filter_map(|(at, line)| Some(finish(comment.line + at, marked(line)?))));
    }
    let mut quoted = 0;
    for (at, tokens) in source.tokens.windows(3).enumerate() {
        if at < quoted {
            continue;
        }
        match [tokens[0].text, tokens[1].text, tokens[2].text] {
            [mark @ ("dbg" | "todo" | "unimplemented"), "!", "(" | "[" | "{"] => {
                wrong.push(finish(tokens[0].line, mark))
            }
            ["#", "[", "ignore"] => {
                wrong.push(file.offence(tokens[0].line, "a test is ignored", "make it run, or delete it"));
            }
            // What a test gives to a macro as the user's code is that user's.
            ["quote", "!", _] if file.is_test() => quoted = at + 2 + enclosed(&source.tokens[at + 2..]),
            _ => {}
        }
    }
    wrong
}

/// How many tokens the first opens and their last closes.
fn enclosed(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" if depth <= 1 => return at + 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout =
        Layout { folder: "src/", own: Some("mobula"), rows: &[&["id", "limits"], &["wire"], &["node"], &["lib"]] };

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn at(wrong: &[Offence]) -> Vec<String> {
        wrong.iter().map(|offence| format!("{}:{}", offence.path, offence.line)).collect()
    }

    #[test]
    fn an_import_that_points_up_is_found_also_in_tests() {
        let files = [
            file("src/wire/codec.rs", "use crate::id::Life;\n\nuse crate::node::Node;"),
            file("src/wire/mod.rs", "use crate::wire::codec::x;\nmod tests {\n use super::super::node;\n}"),
            file("src/id.rs", "fn f() -> crate::Result<()> {}"),
            file("src/node/mod.rs", "use crate::wire::x; use crate::{id::Life, limits};"),
            file("src/lib.rs", "pub use crate::node::Node;"),
        ];
        let wrong = directions(&LAYOUT, &files);
        assert_eq!(at(&wrong), ["src/wire/codec.rs:3", "src/wire/mod.rs:3", "src/id.rs:1"]);
        assert_eq!(
            wrong[0].to_string(),
            "src/wire/codec.rs:3: `wire` imports `node::Node`, which stands above it\n    \
             fix: move what both need down, or declare a trait in `wire` and implement it in `node`"
        );
        assert_eq!(wrong[2].fix, "name the item by the module that defines it");
    }

    #[test]
    fn a_module_without_a_row_is_found() {
        assert_eq!(at(&directions(&LAYOUT, &[file("src/new/mod.rs", "")])), ["src/new/mod.rs:1"]);
    }

    #[test]
    fn a_cycle_within_a_row_is_found_and_named() {
        let files = [file("src/id.rs", "use crate::limits::A;"), file("src/limits.rs", "\nuse super::id::B;")];
        assert_eq!(at(&directions(&LAYOUT, &files)), [""; 0]);
        let wrong = cycles(&LAYOUT, &files);
        assert_eq!(at(&wrong), ["src/limits.rs:2"]);
        assert_eq!(wrong[0].rule, "top modules import each other: id -> limits -> id");
        assert!(cycles(&LAYOUT, &files[..1]).is_empty());
    }

    #[test]
    fn long_files_and_functions_are_found_unless_excepted() {
        let long = file("src/id.rs", &"\n".repeat(500));
        let function = file("tests/x.rs", &format!("\nfn f() {{{}}}", "\n".repeat(69)));
        let fits = file("tests/y.rs", &format!("fn f() {{{}}}{}", "\n".repeat(68), "\n".repeat(600)));
        let files = [long, function, fits];
        assert_eq!(at(&lengths(&files, &[])), ["src/id.rs:500", "tests/x.rs:2"]);
        assert_eq!(at(&lengths(&files, &[("src/id.rs", "why")])), ["tests/x.rs:2"]);
        assert_eq!(at(&lengths(&files[2..], &[("src/id.rs", "why")])), ["src/id.rs:1"]);
    }

    #[test]
    fn a_reserved_word_is_found_outside_its_owners() {
        let rule = Reserved { word: "snow", owners: &["src/net/handshake"], within: &["src/"], fix: "" };
        let text = "// snow\nuse snow::Builder;";
        let files = ["src/net/handshake.rs", "src/net/handshake/x.rs", "src/net/handshakes.rs", "tests/x.rs"]
            .map(|path| file(path, text));
        assert_eq!(at(&reserved(&[rule], &files)), ["src/net/handshakes.rs:2"]);
    }

    #[test]
    fn a_core_that_is_not_pure_is_found_and_its_shell_is_let_be() {
        let pure = [Pure { module: "node/core", shells: &[] }, Pure { module: "directory", shells: &["serve"] }];
        let files = [
            file(
                "src/node/core/link.rs",
                "use std::collections::{BTreeMap,\nHashMap};\nuse crate::clock::{Moment, now};",
            ),
            file("src/node/core/mod.rs", "use super::runtime::Node;\nuse crate::directory::message::News;"),
            file("src/node/runtime.rs", "use tokio::x; use super::core::link;"),
            file("src/directory/state.rs", "use crate::directory::serve::Head;\nuse super::lease::x;"),
            file("src/directory/mod.rs", "pub use self::serve::Head;"),
            file("src/directory/serve.rs", "use tokio::x;"),
        ];
        let expected = [
            "src/node/core/link.rs:2",
            "src/node/core/link.rs:3",
            "src/node/core/mod.rs:1",
            "src/directory/state.rs:1",
        ];
        assert_eq!(at(&purity(&pure, &files)), expected);
    }

    #[test]
    fn what_is_unfinished_is_found() {
        let text = "/* a\n TODO: b */\nfn f() { todo!() }\n#[ignore = \"c\"]\nfn g() { \"TODO\"; dbg(1) } // todos";
        assert_eq!(at(&unfinished(&file("src/x.rs", text))), ["src/x.rs:2", "src/x.rs:3", "src/x.rs:4"]);
        let quoted = "fn f() { quote! { g() { todo!() } } }\nfn h() { todo!() }";
        assert_eq!(at(&unfinished(&file("macros/src/tests.rs", quoted))), ["macros/src/tests.rs:2"]);
        assert_eq!(at(&unfinished(&file("macros/src/lib.rs", quoted))).len(), 2);
        assert_eq!(at(&unfinished(&file("README.md", "a\n- FIXME\nTODOs"))), ["README.md:2"]);
    }
}
