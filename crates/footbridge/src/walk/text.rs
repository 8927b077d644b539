//! A walk as people read it.

use super::{Change, Step, Walk};
use core::fmt::{self, Display, Formatter};

impl Display for Walk {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            step.fmt(f)?;
        }
        match &self.drop {
            Some(drop) => writeln!(f, "drop: {} (table {})", drop.reason, drop.table),
            None => writeln!(f, "output: {}", self.outputs.join(" ")),
        }
    }
}

impl Walk {
    /// The way in short: the flows that took the packet, what was sent, and the end.
    pub(crate) fn path(&self) -> Vec<String> {
        let mut path: Vec<String> = (self.steps.iter())
            .filter_map(|step| match step {
                Step::Matched { table, name, line, flow, .. } => {
                    let line = line.map_or_else(String::new, |line| format!(", line {line}"));
                    Some(format!("table {table}{}{line}: {flow}", Named(*name)))
                }
                Step::Missed { table, name, .. } => {
                    Some(format!("table {table}{}: no flow takes the packet", Named(*name)))
                }
                _ => None,
            })
            .collect();
        path.push(match &self.drop {
            Some(drop) => format!("drop: {} (table {})", drop.reason, drop.table),
            None => format!("output: {}", self.outputs.join(" ")),
        });
        path
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Step::Matched { table, name, line, flow, conjunction, .. } => {
                write!(f, "table {table}{}", Named(*name))?;
                if let Some(line) = line {
                    write!(f, ", line {line}")?;
                }
                if let Some(id) = conjunction {
                    write!(f, ", by conjunction {id}")?;
                }
                writeln!(f, "\n  {flow}")
            }
            Step::Missed { table, name, .. } => {
                writeln!(f, "table {table}{}\n  no flow takes the packet", Named(*name))
            }
            Step::Action { action, changes, .. } => {
                writeln!(f, "    {action}")?;
                changes.iter().try_for_each(|change| change.fmt(f))
            }
            Step::Tracked { zone, state, mark, .. } => {
                writeln!(f, "      ct: zone {zone}, {state}, mark {mark:#x}")
            }
            Step::Chosen { how, .. } => writeln!(f, "      {how}"),
            Step::Output { port, .. } => writeln!(f, "      -> {port}"),
            Step::PacketIn { controller, .. } => writeln!(f, "      -> controller {controller}"),
            Step::Dropped { drop, .. } => writeln!(f, "      dropped: {}", drop.description),
        }
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "      {}: {} -> {}", self.field, self.old, self.new)
    }
}

struct Named(Option<&'static str>);

impl Display for Named {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |name| write!(f, " {name}"))
    }
}
