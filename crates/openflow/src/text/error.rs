//! What can be wrong with a text, and where.

use crate::check::FlowError;
use core::fmt;

/// Why a text was refused, and where it went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The file, where the text came from one.
    pub file: Option<String>,
    /// The line, from 1, where the text has several.
    pub line: Option<usize>,
    /// The column of the offending token, from 1, in characters.
    pub column: usize,
    /// What is wrong there.
    pub problem: Box<Problem>,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Something else should stand here.
    #[error("expected {expected}, found {}{}", quoted(.found), hint(.suggestion))]
    Unexpected {
        /// What may stand here.
        expected: String,
        /// What does.
        found: String,
        /// The known word nearest to it.
        suggestion: Option<&'static str>,
    },
    /// Valid for Open vSwitch, not known here.
    #[error("'{what}' is not supported")]
    Unsupported {
        /// The word.
        what: String,
    },
    /// It reads well, but no switch would take it.
    #[error(transparent)]
    Flow(#[from] FlowError),
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line}:{}: ", self.column)?,
            (Some(file), None) => write!(f, "{file}: column {}: ", self.column)?,
            (None, Some(line)) => write!(f, "line {line}, column {}: ", self.column)?,
            (None, None) => write!(f, "column {}: ", self.column)?,
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for ParseError {}

impl ParseError {
    /// The same error, said to be in `file`.
    #[must_use]
    pub fn in_file(mut self, file: &str) -> ParseError {
        self.file = Some(file.to_owned());
        self
    }

    /// The same error, said to be in line `line`.
    #[must_use]
    pub fn at_line(mut self, line: usize) -> ParseError {
        self.line = Some(line);
        self
    }
}

fn quoted(found: &str) -> String {
    const SHOWN: usize = 60;
    if found.is_empty() {
        "nothing".to_owned()
    } else if found.chars().count() > SHOWN {
        format!("'{}…'", found.chars().take(SHOWN).collect::<String>())
    } else {
        format!("'{found}'")
    }
}

fn hint(suggestion: &Option<&'static str>) -> String {
    suggestion.map_or_else(String::new, |word| format!("; did you mean '{word}'?"))
}

/// A problem at a byte offset of a line: what the inner parsers return.
#[derive(Debug)]
pub(super) struct Fail {
    /// Byte offset in the line.
    pub(super) at: usize,
    /// What is wrong.
    pub(super) problem: Box<Problem>,
}

impl Fail {
    /// The error, with its column counted in `line`.
    pub(super) fn in_line(self, line: &str) -> ParseError {
        let before = line.char_indices().take_while(|(i, _)| *i < self.at).count();
        ParseError { file: None, line: None, column: before + 1, problem: self.problem }
    }
}

/// The word of `known` that `word` most likely was meant to be, where one is near.
pub(super) fn nearest(word: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let length = word.chars().count();
    let far = match length {
        0..=2 => return None,
        3..=5 => 1,
        _ => 2,
    };
    // The words are ASCII: their bytes are their characters.
    let comparable = known.filter(|k| k.len().abs_diff(length) <= far);
    comparable.map(|k| (distance(word, k), k)).filter(|(d, _)| *d <= far).min().map(|(_, k)| k)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}
