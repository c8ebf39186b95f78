//! Signatures are spelled by one rule of our own: how a compiler spaces tokens changes with its version, and a signature
//! is compared between programs that different compilers built.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;

/// The tokens with the spaces that rustfmt would leave on one line, for anything that stands in a type.
pub(crate) fn spell(tokens: impl ToTokens) -> String {
    let mut pieces = Vec::new();
    flatten(tokens.into_token_stream(), &mut pieces);
    let mut text = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        let next = pieces.get(at + 1).map_or("", String::as_str);
        if piece == "," && matches!(next, ">" | "]") {
            continue;
        }
        text.push_str(piece);
        if is_spaced(piece, next) {
            text.push(' ');
        }
    }
    text
}

fn flatten(tokens: TokenStream, pieces: &mut Vec<String>) {
    let mut joined = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                pieces.extend([open].iter().filter(|o| !o.is_empty()).map(ToString::to_string));
                flatten(group.stream(), pieces);
                pieces.extend([close].iter().filter(|c| !c.is_empty()).map(ToString::to_string));
                joined = false;
            }
            TokenTree::Punct(punct) => {
                match pieces.last_mut() {
                    Some(last) if joined => last.push(punct.as_char()),
                    _ => pieces.push(punct.as_char().to_string()),
                }
                joined = is_joined(pieces.last(), punct.spacing());
            }
            TokenTree::Ident(ident) => {
                match pieces.last_mut() {
                    Some(last) if last == "'" => last.push_str(&ident.to_string()),
                    _ => pieces.push(ident.to_string()),
                }
                joined = false;
            }
            TokenTree::Literal(literal) => {
                pieces.push(literal.to_string());
                joined = false;
            }
        }
    }
}

/// Only `::` and `->` are one piece: `>>` closes two lists, and `&&` borrows twice.
fn is_joined(last: Option<&String>, spacing: Spacing) -> bool {
    spacing == Spacing::Joint && last.is_some_and(|last| last == ":" || last == "-")
}

fn is_spaced(piece: &str, next: &str) -> bool {
    let is_word = |text: &str| text.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '\'' | '"'));
    let is_infix = |text: &str| matches!(text, "->" | "=" | "+");
    if next.is_empty() || matches!(next, "," | ";" | ")" | "]" | ":") {
        return false;
    }
    match piece {
        "," | ";" | ":" => true,
        ">" | ")" => is_word(next) || is_infix(next),
        "mut" | "const" | "dyn" | "impl" | "as" => next != ">",
        _ => is_infix(piece) || is_infix(next) || (is_word(piece) && is_word(next)),
    }
}

#[cfg(test)]
mod tests {
    use super::spell;

    fn spelled(source: &str) -> String {
        spell(source.parse::<proc_macro2::TokenStream>().unwrap())
    }

    #[test]
    fn however_it_is_spaced_a_type_is_spelled_the_same() {
        for (source, expected) in [
            ("Vec < u8 >", "Vec<u8>"),
            ("HashMap<String,Vec<Option<u8>>,>", "HashMap<String, Vec<Option<u8>>>"),
            ("( u64 ,& [ f32 ] ,)", "(u64, &[f32],)"),
            ("std :: io :: Result < ( ) >", "std::io::Result<()>"),
            ("impl Stream<Item=u64>+Send", "impl Stream<Item = u64> + Send"),
            ("[u8;4]", "[u8; 4]"),
            ("<Vec<T>as IntoIterator>::Item", "<Vec<T> as IntoIterator>::Item"),
            ("&mut[T]", "&mut [T]"),
            ("& & 'static str", "&&'static str"),
            ("fn(u8)->Box<dyn Fn()>", "fn(u8) -> Box<dyn Fn()>"),
            ("r#type::Of", "r#type::Of"),
        ] {
            assert_eq!(spelled(source), expected, "{source}");
        }
    }
}
