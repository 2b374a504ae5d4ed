//! Paths in token streams, which syn does not parse: the inside of macro calls,
//! of macro definitions and of attributes. What looks like a path is one here.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};

use super::scan::{Kind, Names};

/// A path among tokens.
pub(super) struct Found {
    pub kind: Kind,
    pub segments: Names,
    pub absolute: bool,
    pub span: Span,
}

/// Every path of two or more segments and every macro call; with `strings`,
/// also the paths that are written as string literals.
pub(super) fn paths(stream: TokenStream, strings: bool) -> Vec<Found> {
    let mut search = Search { strings, found: Vec::new() };
    search.walk(stream, &Vec::new());
    search.found
}

struct Search {
    strings: bool,
    found: Vec<Found>,
}

impl Search {
    /// `prefix` is the path in front of the braces whose inside is walked.
    fn walk(&mut self, stream: TokenStream, prefix: &Names) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(_) => at = self.path(&tokens, at, prefix),
                TokenTree::Group(group) => {
                    self.walk(group.stream(), &Vec::new());
                    at += 1;
                }
                TokenTree::Literal(literal) => {
                    if self.strings {
                        self.string(literal);
                    }
                    at += 1;
                }
                TokenTree::Punct(_) => at += 1,
            }
        }
    }

    /// Takes the path that starts at an identifier; where the rest begins.
    fn path(&mut self, tokens: &[TokenTree], start: usize, prefix: &Names) -> usize {
        let span = tokens[start].span();
        let mut segments = prefix.clone();
        segments.extend(ident(tokens.get(start)));
        let mut at = start + 1;
        let mut kind = Some(Kind::Path);
        while colons(tokens, at) {
            match tokens.get(at + 2) {
                Some(TokenTree::Ident(_)) => segments.extend(ident(tokens.get(at + 2))),
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    self.walk(group.stream(), &segments);
                    kind = None;
                }
                Some(TokenTree::Punct(star)) if star.as_char() == '*' => kind = Some(Kind::Glob),
                _ => break,
            }
            at += 3;
        }
        let is_call = is_punct(tokens.get(at), '!') && !is_punct(tokens.get(at + 1), '=');
        let colons_before = start >= 2 && colons(tokens, start - 2);
        // `Vec::<T>::new`: what follows the generics is no path of its own.
        let goes_on = colons_before && start >= 3 && is_punct(tokens.get(start - 3), '>');
        let mut note = |kind, segments| {
            self.found.push(Found { kind, segments, absolute: colons_before, span });
        };
        if is_call {
            note(Kind::Call, segments.clone());
        }
        if let Some(kind) = kind.filter(|_| segments.len() > 1 && !goes_on) {
            note(kind, segments);
        }
        at
    }

    fn string(&mut self, literal: &proc_macro2::Literal) {
        let parsed = syn::parse_str::<syn::LitStr>(&literal.to_string());
        let Some(path) = parsed.ok().and_then(|text| text.parse::<syn::Path>().ok()) else {
            return;
        };
        let segments = path.segments.iter().map(|segment| segment.ident.to_string());
        if path.segments.len() > 1 {
            self.found.push(Found {
                kind: Kind::Path,
                segments: segments.collect(),
                absolute: path.leading_colon.is_some(),
                span: literal.span(),
            });
        }
    }
}

fn ident(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

fn colons(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

fn is_punct(token: Option<&TokenTree>, character: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == character)
}
