//! Colours, for a terminal. What is written with them is plain text again for anything else.

use anstyle::{AnsiColor, Style as Ansi};
use std::fmt::Display;

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// A table, a node: what a part begins with.
    Heading,
    /// Said beside the point.
    Faint,
    /// What changed.
    Changed,
    /// Where a packet leaves.
    Leaves,
    /// Where it goes nowhere, or the walk does not know.
    Lost,
}

impl Style {
    /// The text in its colour.
    pub(crate) fn paint(self, text: impl Display) -> String {
        let style = match self {
            Style::Heading => AnsiColor::Cyan.on_default().bold(),
            Style::Faint => Ansi::new().dimmed(),
            Style::Changed => AnsiColor::Yellow.on_default(),
            Style::Leaves => AnsiColor::Green.on_default().bold(),
            Style::Lost => AnsiColor::Red.on_default().bold(),
        };
        format!("{style}{text}{style:#}")
    }
}
