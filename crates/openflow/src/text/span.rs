//! Pieces of a line that know where they stand, and the cut of a list into `key=value` items.

use super::error::{Fail, Problem};

/// A piece of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span<'a> {
    /// The piece.
    pub(super) text: &'a str,
    /// Its byte offset in the line.
    pub(super) at: usize,
}

impl<'a> Span<'a> {
    /// A whole line.
    pub(super) fn line(text: &'a str) -> Span<'a> {
        Span { text, at: 0 }
    }

    /// The pieces before and after byte `i`, which is cut down to the piece's end and, in the middle
    /// of a character, to its start.
    pub(super) fn split_at(self, i: usize) -> (Span<'a>, Span<'a>) {
        let i = (0..=i.min(self.text.len())).rev().find(|i| self.text.is_char_boundary(*i)).unwrap_or(0);
        let (a, b) = self.text.split_at(i);
        (Span { text: a, at: self.at }, Span { text: b, at: self.at + i })
    }

    /// The pieces around the first `separator`.
    pub(super) fn split_once(self, separator: &str) -> Option<(Span<'a>, Span<'a>)> {
        let i = self.text.find(separator)?;
        let (a, b) = self.split_at(i);
        Some((a, b.split_at(separator.len()).1))
    }

    /// The piece without a leading `prefix`.
    pub(super) fn strip_prefix(self, prefix: &str) -> Option<Span<'a>> {
        self.text.starts_with(prefix).then(|| self.split_at(prefix.len()).1)
    }

    /// The piece without a trailing `suffix`.
    pub(super) fn strip_suffix(self, suffix: &str) -> Option<Span<'a>> {
        self.text.ends_with(suffix).then(|| self.split_at(self.text.len() - suffix.len()).0)
    }

    /// The piece without white space around it.
    pub(super) fn trim(self) -> Span<'a> {
        let start = self.text.len() - self.text.trim_start().len();
        let (_, rest) = self.split_at(start);
        rest.split_at(rest.text.trim_end().len()).0
    }

    /// The piece's end.
    pub(super) fn end(self) -> Span<'a> {
        self.split_at(self.text.len()).1
    }

    /// Something else should stand here.
    pub(super) fn unexpected(self, expected: impl Into<String>) -> Fail {
        self.misspelt(expected, None)
    }

    /// Something else should stand here, probably `suggestion`.
    pub(super) fn misspelt(self, expected: impl Into<String>, suggestion: Option<&'static str>) -> Fail {
        let problem =
            Problem::Unexpected { expected: expected.into(), found: self.text.to_owned(), suggestion };
        Fail { at: self.at, problem: Box::new(problem) }
    }

    /// This is not for us.
    pub(super) fn unsupported(self) -> Fail {
        Fail { at: self.at, problem: Box::new(Problem::Unsupported { what: self.text.to_owned() }) }
    }
}

/// How an item's value hangs on its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Joint {
    /// A lone key.
    None,
    /// `key=value`
    Equals,
    /// `key:value`
    Colon,
    /// `key(value)`
    Parentheses,
}

/// One item of a comma-separated list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    /// The key.
    pub(super) key: Span<'a>,
    /// What joins key and value.
    pub(super) joint: Joint,
    /// The value; empty without one.
    pub(super) value: Span<'a>,
    /// What follows the closing parenthesis (`->field`).
    pub(super) tail: Span<'a>,
    /// All of it.
    pub(super) whole: Span<'a>,
}

/// The items of a list; commas and white space, any number of them, stand between.
pub(super) struct Items<'a> {
    rest: Span<'a>,
}

impl<'a> Items<'a> {
    /// The items of `list`.
    pub(super) fn of(list: Span<'a>) -> Items<'a> {
        Items { rest: list }
    }

    /// The next item, behind whose closing parenthesis no arrow stands.
    pub(super) fn next(&mut self) -> Result<Option<Item<'a>>, Fail> {
        match self.next_with_tail()? {
            Some(item) if !item.tail.text.is_empty() => Err(item.tail.unexpected("nothing behind this ')'")),
            item => Ok(item),
        }
    }

    /// The next item, with the arrow behind its closing parenthesis and what it points to.
    pub(super) fn next_with_tail(&mut self) -> Result<Option<Item<'a>>, Fail> {
        let skipped = self.rest.text.len() - self.rest.text.trim_start_matches(is_gap).len();
        let start = self.rest.split_at(skipped).1;
        if start.text.is_empty() {
            self.rest = start;
            return Ok(None);
        }
        let (key, rest) =
            start.split_at(extent(start, |c| is_gap(c) || matches!(c, ':' | '=' | '('), false)?);
        let joint = match rest.text.bytes().next() {
            Some(b'=') => Joint::Equals,
            Some(b':') => Joint::Colon,
            Some(b'(') => Joint::Parentheses,
            _ => Joint::None,
        };
        let (value, tail, rest) = match joint {
            Joint::None => (rest.split_at(0).0, rest.split_at(0).0, rest),
            Joint::Equals | Joint::Colon => {
                let rest = rest.split_at(1).1;
                let (value, rest) = rest.split_at(extent(rest, is_gap, true)?);
                (value, value.end(), rest)
            }
            Joint::Parentheses => {
                let inner = rest.split_at(1).1;
                let (value, after) = inner.split_at(extent(inner, |c| c == ')', true)?);
                let Some(after) = after.strip_prefix(")") else {
                    return Err(rest.unexpected("a ')' for this '('"));
                };
                // Without an arrow it is the next item, as Open vSwitch reads it.
                let end = if after.text.starts_with("->") { extent(after, is_gap, true)? } else { 0 };
                let (tail, rest) = after.split_at(end);
                (value, tail, rest)
            }
        };
        self.rest = rest;
        let whole = start.split_at(rest.at - start.at).0;
        Ok(Some(Item { key, joint, value, tail, whole }))
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> Span<'a> {
        self.rest
    }
}

impl<'a> Item<'a> {
    /// The value, which must not be empty.
    pub(super) fn required(&self, what: &str) -> Result<Span<'a>, Fail> {
        if self.value.text.is_empty() {
            Err(self.value.unexpected(format!("{what} after '{}'", self.key.text)))
        } else {
            Ok(self.value)
        }
    }
}

/// The pieces between commas, outside quotes and parentheses.
pub(super) fn pieces(list: Span<'_>) -> Result<Vec<Span<'_>>, Fail> {
    let (mut pieces, mut rest) = (Vec::new(), list);
    loop {
        let (piece, behind) = rest.split_at(extent(rest, |c| c == ',', true)?);
        pieces.push(piece);
        match behind.strip_prefix(",") {
            Some(next) => rest = next,
            None => return Ok(pieces),
        }
    }
}

fn is_gap(c: char) -> bool {
    matches!(c, ',' | ' ' | '\t' | '\r' | '\n')
}

/// Length of the text before the first character for which `stop` holds, outside quotes and, with
/// `nested`, parentheses.
fn extent(span: Span<'_>, stop: impl Fn(char) -> bool, nested: bool) -> Result<usize, Fail> {
    let (mut open, mut quote, mut escaped) = (Vec::new(), None, false);
    for (i, c) in span.text.char_indices() {
        if quote.is_some() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quote = None,
                _ => {}
            }
        } else if open.is_empty() && stop(c) {
            return Ok(i);
        } else {
            match c {
                '"' => quote = Some(i),
                '(' if nested => open.push(i),
                ')' if nested => {
                    open.pop();
                }
                _ => {}
            }
        }
    }
    match (quote, open.pop()) {
        (Some(i), _) => Err(span.split_at(i).1.unexpected("a '\"' that ends this name")),
        (None, Some(i)) => Err(span.split_at(i).1.unexpected("a ')' for this '('")),
        (None, None) => Ok(span.text.len()),
    }
}
