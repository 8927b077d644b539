//! A walk as people read it.

use super::{Change, Dropped, Left, Passed, Step, Stopped, Style, Walk};
use core::fmt::{self, Display, Formatter};

impl Display for Walk {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| step.fmt(f))?;
        self.leaves.iter().try_for_each(|left| left.fmt(f))?;
        writeln!(f, "{}", self.end())
    }
}

impl Walk {
    /// The last line: where the packet goes, why it goes nowhere, or why that is not known.
    pub(crate) fn end(&self) -> String {
        match (&self.stopped, &self.drop) {
            (Some(stopped), _) => Style::Lost.paint(stopped).to_string(),
            (None, Some(drop)) => Style::Lost.paint(drop).to_string(),
            (None, None) => Style::Leaves.paint(format!("output: {}", self.outputs.join(" "))).to_string(),
        }
    }

    /// The way in short: the flows that took the packet, what was sent, and the end. Without colours.
    pub(crate) fn path(&self) -> Vec<String> {
        let mut path: Vec<String> = (self.steps.iter())
            .filter_map(|step| match step {
                Step::Matched { table, name, line, flow, .. } => {
                    let line = line.map_or_else(String::new, |line| format!(", line {line}"));
                    Some(format!("table {table}{}{line}: {flow}", Named(name)))
                }
                Step::Missed { table, name, .. } => {
                    Some(format!("table {table}{}: no flow takes the packet", Named(name)))
                }
                _ => None,
            })
            .collect();
        path.push(self.plain_end());
        path
    }

    /// The last line without colours.
    pub(crate) fn plain_end(&self) -> String {
        anstream::adapter::strip_str(&self.end()).to_string()
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Step::Matched { table, name, line, flow, conjunction, passed, .. } => {
                write!(f, "{}", Style::Heading.paint(format_args!("table {table}{}", Named(name))))?;
                if let Some(line) = line {
                    write!(f, ", line {line}")?;
                }
                if let Some(id) = conjunction {
                    write!(f, ", by conjunction {id}")?;
                }
                writeln!(f)?;
                passed.iter().try_for_each(|passed| passed.fmt(f))?;
                writeln!(f, "  {flow}")
            }
            Step::Missed { table, name, passed, .. } => {
                writeln!(f, "{}", Style::Heading.paint(format_args!("table {table}{}", Named(name))))?;
                passed.iter().try_for_each(|passed| passed.fmt(f))?;
                writeln!(f, "  no flow takes the packet")
            }
            Step::Action { action, changes, note, .. } => {
                writeln!(f, "    {action}")?;
                if let Some(note) = note {
                    writeln!(f, "      ({note})")?;
                }
                changes.iter().try_for_each(|change| change.fmt(f))
            }
            Step::Tracked { zone, state, mark, .. } => {
                writeln!(f, "      ct: zone {zone}, {state}, mark {mark:#x}")
            }
            Step::Chosen { how, .. } => writeln!(f, "      {how}"),
            Step::Output { port, .. } => {
                writeln!(f, "      {}", Style::Leaves.paint(format_args!("-> {port}")))
            }
            Step::PacketIn { controller, .. } => writeln!(f, "      -> controller {controller}"),
            Step::Dropped { drop, .. } => {
                writeln!(f, "      {}", Style::Lost.paint(format_args!("dropped: {}", drop.description)))
            }
        }
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let change = format!("{}: {} -> {}", self.field, self.old, self.new);
        match &self.means {
            Some(means) => writeln!(f, "      {} ({means})", Style::Changed.paint(change)),
            None => writeln!(f, "      {}", Style::Changed.paint(change)),
        }
    }
}

impl Display for Passed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let line = self.line.map_or_else(String::new, |line| format!("line {line}, "));
        let matching = if self.matching.is_empty() { "everything" } else { &self.matching };
        let passed = format!("  not {line}priority {} {matching}: {}", self.priority, self.why);
        writeln!(f, "{}", Style::Faint.paint(passed))
    }
}

impl Display for Left {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let back = if self.is_answer { ", back to where it came from: the bridge's own answer" } else { "" };
        writeln!(f, "by {}{back}: {}\n  {}", Style::Leaves.paint(&self.port), self.summary, self.packet)
    }
}

impl Display for Dropped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "drop: {} (table {})", self.reason, self.table)
    }
}

impl Display for Stopped {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "not known: {} (table {}): {}", self.at, self.table, self.why)?;
        self.needs.as_ref().map_or(Ok(()), |needs| write!(f, "; {needs}"))
    }
}

/// A table's name behind its number, where it has one.
pub(super) struct Named<'a>(pub(super) &'a Option<String>);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}
