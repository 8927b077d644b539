//! What the steps print: headings, what was seen, and whether each claim holds.
//!
//! Colour only where standard output is a terminal and `NO_COLOR` is not set.

use std::io::{IsTerminal, Write};

/// The report of one run.
pub(crate) struct Report {
    colour: bool,
    step: String,
    failed: Vec<String>,
}

impl Report {
    /// An empty report to standard output.
    pub(crate) fn new() -> Report {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Report { colour, step: String::new(), failed: Vec::new() }
    }

    /// Begin a step.
    pub(crate) fn step(&mut self, number: u8, title: &str) {
        self.step = number.to_string();
        let heading = self.painted("1", &format!("{number}  {title}"));
        self.line(&format!("\n{heading}"));
    }

    /// Say what will be looked at and what is expected.
    pub(crate) fn expect(&self, text: &str) {
        self.line(&format!("   expected: {text}"));
    }

    /// Show what the running system printed.
    pub(crate) fn saw(&self, what: &str, text: &str) {
        self.line(&self.painted("2", &format!("   {what}")));
        for line in text.trim_end_matches('\n').split('\n') {
            self.line(&format!("     {line}"));
        }
    }

    /// Show it just as it was printed, for what is compared by the byte.
    pub(crate) fn verbatim(&self, what: &str, text: &str) {
        self.line(&self.painted("2", &format!("   {what}")));
        self.line(text.trim_end_matches('\n'));
    }

    /// A claim, and whether it holds; `detail` says what was seen where it doesn't.
    pub(crate) fn check(&mut self, holds: bool, claim: &str, detail: &str) {
        if holds {
            self.line(&format!("   {} {claim}", self.painted("32", "holds ")));
            return;
        }
        self.line(&format!("   {} {claim}", self.painted("31;1", "FAILED")));
        for line in detail.trim_end_matches('\n').split('\n').filter(|line| !line.is_empty()) {
            self.line(&format!("          saw: {line}"));
        }
        if self.failed.last() != Some(&self.step) {
            self.failed.push(self.step.clone());
        }
    }

    /// The step can't be taken with this cluster.
    pub(crate) fn not_applicable(&self, why: &str) {
        self.line(&format!("   {} {why}", self.painted("33", "not applicable:")));
    }

    /// The steps that did not hold.
    pub(crate) fn failed(&self) -> &[String] {
        &self.failed
    }

    /// A line outside any step.
    pub(crate) fn line(&self, text: &str) {
        // Nobody reads it: the run's exit status still tells.
        let _unread = writeln!(std::io::stdout().lock(), "{text}");
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
