//! As much of Rust as tidiness needs: words and signs without comments and literals, the functions they form, and what
//! they import. Good enough for code that compiles, and only asked about such code.

/// A word (`use`, `snow`, `r#type` as `type`), a sign of one character, or `"` for any literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    pub text: &'a str,
    pub line: usize,
}

/// A file taken apart.
#[derive(Default)]
pub struct Source<'a> {
    pub tokens: Vec<Token<'a>>,
    pub comments: Vec<Token<'a>>,
}

/// A function with a body, from its `fn` to its closing brace.
#[derive(Debug, PartialEq, Eq)]
pub struct Function<'a> {
    pub name: &'a str,
    pub first: usize,
    pub last: usize,
}

/// What a file names of its own crate, from the crate's root down.
#[derive(Debug, PartialEq, Eq)]
pub struct Import<'a> {
    pub path: Vec<&'a str>,
    pub line: usize,
}

pub fn read(text: &str) -> Source<'_> {
    let mut reader = Reader { text, bytes: text.as_bytes(), at: 0, line: 1 };
    let mut source = Source::default();
    while let Some(&first) = reader.bytes.get(reader.at) {
        let (start, line) = (reader.at, reader.line);
        let kind = reader.take(first);
        let piece = &text[start..reader.at];
        reader.line += piece.bytes().filter(|&byte| byte == b'\n').count();
        match kind {
            Kind::Blank => {}
            Kind::Comment => source.comments.push(Token { text: piece, line }),
            Kind::Literal => source.tokens.push(Token { text: "\"", line }),
            Kind::Word => source.tokens.push(Token { text: piece.strip_prefix("r#").unwrap_or(piece), line }),
            Kind::Sign => source.tokens.push(Token { text: piece, line }),
        }
    }
    source
}

enum Kind {
    Blank,
    Comment,
    Literal,
    Word,
    Sign,
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    line: usize,
}

impl Reader<'_> {
    fn take(&mut self, first: u8) -> Kind {
        let rest = &self.text[self.at..];
        match first {
            _ if rest.starts_with("//") => self.skip_to(rest.find('\n').unwrap_or(rest.len()), Kind::Comment),
            _ if rest.starts_with("/*") => self.skip_to(block_comment(rest), Kind::Comment),
            b'"' => self.skip_to(1 + quoted(&rest[1..]), Kind::Literal),
            b'\'' => match character(rest) {
                Some(length) => self.skip_to(length, Kind::Literal),
                None => self.skip_to(1, Kind::Blank), // a lifetime: its name follows as a word, and no rule minds
            },
            _ if is_word(first) => self.word(rest),
            _ if first.is_ascii_whitespace() => self.skip_to(1, Kind::Blank),
            _ => self.skip_to(1, Kind::Sign),
        }
    }

    fn word(&mut self, rest: &str) -> Kind {
        let length = rest.bytes().take_while(|&byte| is_word(byte)).count();
        let (word, after) = rest.split_at(length);
        let hashes = after.bytes().take_while(|&byte| byte == b'#').count();
        match word {
            "r" | "br" | "cr" if after[hashes..].starts_with('"') => {
                let end = format!("\"{}", "#".repeat(hashes));
                let body = length + hashes + 1;
                let close = rest[body..].find(&end).map_or(rest.len(), |found| body + found + end.len());
                self.skip_to(close, Kind::Literal)
            }
            "b" | "c" if after.starts_with('"') => self.skip_to(length + 1 + quoted(&after[1..]), Kind::Literal),
            "b" if after.starts_with('\'') => self.skip_to(length + character(after).unwrap_or(1), Kind::Literal),
            "r" if hashes == 1 => {
                let name = after[1..].bytes().take_while(|&byte| is_word(byte)).count();
                self.skip_to(length + 1 + name, Kind::Word)
            }
            _ => self.skip_to(length, Kind::Word),
        }
    }

    fn skip_to(&mut self, length: usize, kind: Kind) -> Kind {
        self.at += length;
        kind
    }
}

fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

/// The length of a string's rest, its closing quote included.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; `None` where a lifetime begins.
fn character(rest: &str) -> Option<usize> {
    let mut after = rest[1..].char_indices();
    match after.next()?.1 {
        '\\' => rest[3..].find('\'').map(|end| 3 + end + 1),
        _ => after.next().filter(|(_, next)| *next == '\'').map(|(at, _)| 1 + at + 1),
    }
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

pub fn functions<'a>(tokens: &[Token<'a>]) -> Vec<Function<'a>> {
    let named = tokens.windows(2).enumerate().filter(|(_, pair)| pair[0].text == "fn" && names(pair[1]));
    named
        .filter_map(|(at, pair)| {
            let last = body_end(&tokens[at + 2..])?;
            Some(Function { name: pair[1].text, first: pair[0].line, last })
        })
        .collect()
}

fn names(token: Token<'_>) -> bool {
    token.text.bytes().next().is_some_and(is_word)
}

/// The line of the brace that closes the body; `None` for a function without one.
fn body_end(signature: &[Token<'_>]) -> Option<usize> {
    let (mut nested, mut braces) = (0_usize, 0_usize);
    for token in signature {
        match token.text {
            "{" if nested == 0 => braces += 1,
            "}" if nested == 0 => {
                braces = braces.checked_sub(1)?;
                if braces == 0 {
                    return Some(token.line);
                }
            }
            ";" if nested == 0 && braces == 0 => return None,
            "(" | "[" => nested += 1,
            ")" | "]" => nested = nested.checked_sub(1)?,
            _ => {} // braces of a closure inside an argument list, too
        }
    }
    None
}

/// What the file of `module` names by `crate::`, `super::`, `self::` or `own::`, the crate's name for itself.
/// What a macro names by `$crate::` is imported where the macro is used.
pub fn imports<'a>(tokens: &[Token<'a>], module: &[&'a str], own: Option<&str>) -> Vec<Import<'a>> {
    let mut found = Vec::new();
    let mut module = module.to_vec();
    let (mut depth, mut opened) = (0, Vec::new());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let text = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text);
        let mut leaves = Vec::new();
        match token.text {
            "mod" if text(2) == "{" => {
                opened.push(depth);
                module.push(text(1));
                at += 1;
            }
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if opened.last() == Some(&depth) {
                    opened.pop();
                    module.pop();
                }
            }
            "use" if text(1) != "<" => at = tree(tokens, at + 1, &[], &mut leaves) - 1,
            _ if begins_path(tokens, at, own) => at = straight(tokens, at, &mut leaves) - 1,
            _ => {}
        }
        let rooted = leaves.into_iter().filter_map(|leaf| Some((from_root(&leaf, &module, own)?, token.line)));
        found.extend(rooted.map(|(path, line)| Import { path, line }));
        at += 1;
    }
    found
}

fn begins_path(tokens: &[Token<'_>], at: usize, own: Option<&str>) -> bool {
    let text = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map_or("", |token| token.text);
    let (head, before) = (tokens[at].text, text(at.checked_sub(1)));
    let rooted = matches!(head, "crate" | "super" | "self") && before != ":" && before != "$";
    let leading = before == ":" && !at.checked_sub(3).is_some_and(|at| names(tokens[at]) || tokens[at].text == ">");
    let named = own == Some(head) && (before != ":" || leading);
    (rooted || named) && text(Some(at + 1)) == ":" && text(Some(at + 2)) == ":"
}

/// Reads `a::b::c`; gives where it ends.
fn straight<'a>(tokens: &[Token<'a>], mut at: usize, leaves: &mut Vec<Vec<&'a str>>) -> usize {
    let mut path = vec![tokens[at].text];
    while let [first, second, word, ..] = &tokens[at + 1..]
        && (first.text, second.text) == (":", ":")
        && names(*word)
    {
        path.push(word.text);
        at += 3;
    }
    leaves.push(path);
    at + 1
}

/// Reads `a::{b, c::*, self as d}`; gives where it ends.
fn tree<'a>(tokens: &[Token<'a>], mut at: usize, prefix: &[&'a str], leaves: &mut Vec<Vec<&'a str>>) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text {
            ":" => {}
            "{" => {
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    at = tree(tokens, at, &path, leaves);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "as" => at += 1,
            "," | ";" | "}" => {
                at -= 1;
                break;
            }
            "self" if !path.is_empty() => {}
            word => path.push(word),
        }
    }
    leaves.push(path);
    at
}

/// The path from the crate's root; `None` for another crate's, and for one that begins with a child's name.
fn from_root<'a>(path: &[&'a str], module: &[&'a str], own: Option<&str>) -> Option<Vec<&'a str>> {
    let mut root = match *path.first()? {
        "super" | "self" => module.to_vec(),
        head if head == "crate" || own == Some(head) => Vec::new(),
        _ => return None,
    };
    for (at, word) in path.iter().enumerate() {
        match *word {
            "super" => drop(root.pop()),
            _ if at == 0 => {}
            word => root.push(word),
        }
    }
    Some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        read(text).tokens.iter().map(|token| token.text).collect()
    }

    fn imported(text: &str) -> Vec<String> {
        let source = read(text);
        imports(&source.tokens, &["net", "zmq"], Some("mobula")).iter().map(|found| found.path.join("::")).collect()
    }

    #[test]
    fn comments_and_literals_are_no_words() {
        assert_eq!(words("a // unsafe\n/* b /* unsafe */ c */ d"), ["a", "d"]);
        assert_eq!(
            words(r##"f("un\"safe", r#"x"y"#, b"z", '"', '\'', b'{', 'a')"##).concat(),
            "f(\",\",\",\",\",\",\")"
        );
        assert_eq!(words("&'a str r#type"), ["&", "a", "str", "type"]);
        assert_eq!(read("a\n\"\n\"\n// é\nb").tokens[2].line, 5);
        assert_eq!(read("a\n// é\nb").comments, [Token { text: "// é", line: 2 }]);
    }

    #[test]
    fn functions_end_at_their_own_brace() {
        let text =
            "trait T { fn a(&self) -> [u8; 3]; }\nfn b(c: impl Fn()) {\n  d(|| { \"}\" });\n  if e {}\n}\nfn f() {}";
        let source = read(text);
        let expected = [Function { name: "b", first: 2, last: 5 }, Function { name: "f", first: 6, last: 6 }];
        assert_eq!(functions(&source.tokens), expected);
    }

    #[test]
    fn every_way_to_import_is_seen() {
        assert_eq!(
            imported("use crate::wire::{self, codec::{a as b, c}, frame::*};"),
            ["wire", "wire::codec::a", "wire::codec::c", "wire::frame::*"]
        );
        assert_eq!(
            imported("pub(crate) use super::super::actor::Call; use self::x::y;"),
            ["actor::Call", "net::zmq::x::y"]
        );
        assert_eq!(
            imported("fn f(x: &crate::limits::B) { mobula::clock::now(); ::mobula::id::F }"),
            ["limits::B", "clock::now", "id::F"]
        );
        assert_eq!(
            imported("mod tests { use super::*; use super::super::x; mod deep { use super::y; } } use super::z;"),
            ["net::zmq::*", "net::x", "net::zmq::tests::y", "net::z"]
        );
        assert_eq!(
            imported("use crate::{limits::A, Cluster}; macro_rules! m { () => { $crate::Arg::x() } }"),
            ["limits::A", "Cluster"]
        );
    }

    #[test]
    fn other_crates_and_values_are_no_imports() {
        let text =
            "use serde::de; use std::{fmt, io::self}; fn f(self) -> impl A + use<'a> { self.a; other::mobula::x }";
        assert_eq!(imported(text), [""; 0]);
    }
}
