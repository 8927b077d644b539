//! A story as people read it.

use super::{Part, Place, Story};
use crate::walk::{Step, Style};
use core::fmt::{self, Display, Formatter};

/// A story in words; with each bridge's walk in full, or only the flows and what they changed.
pub(crate) struct Told<'a> {
    /// The story.
    pub(crate) story: &'a Story,
    /// Whether in full.
    pub(crate) in_full: bool,
}

impl Display for Told<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (at, part) in self.story.parts.iter().enumerate() {
            let heading = format!("{}. {} · {}", at + 1, part.node, part.place);
            writeln!(f, "{}: {}", Style::Heading.paint(heading), part.packet)?;
            part.says.iter().try_for_each(|says| writeln!(f, "  {says}"))?;
            match &part.walk {
                Some(walk) if self.in_full => {
                    walk.to_string().lines().try_for_each(|line| writeln!(f, "  {line}"))?;
                }
                Some(_) => write_way(f, part)?,
                None => {}
            }
        }
        let style = if self.story.arrived { Style::Leaves } else { Style::Lost };
        writeln!(f, "{}", style.paint(&self.story.end))
    }
}

fn write_way(f: &mut Formatter<'_>, part: &Part) -> fmt::Result {
    let Some(walk) = &part.walk else { return Ok(()) };
    for step in &walk.steps {
        match step {
            Step::Matched { table, name, line, flow, .. } => {
                let name = name.as_deref().unwrap_or_default();
                let line = line.map_or_else(String::new, |line| format!(", line {line}"));
                let flow = flow.split_once("priority=").map_or(&flow[..], |(_, rest)| rest);
                let flow = flow.split_once(" actions=").map_or(flow, |(matching, _)| matching);
                writeln!(f, "  {table} {name}{line}: priority {}", flow.replacen(',', " ", 1))?;
            }
            Step::Missed { table, name, .. } => {
                let name = name.as_deref().unwrap_or_default();
                writeln!(f, "  {table} {name}: no flow takes the packet")?;
            }
            Step::Action { changes, note, .. } => {
                if let Some(note) = note {
                    writeln!(f, "      ({note})")?;
                }
                changes.iter().try_for_each(|change| change.fmt(f))?;
            }
            Step::Tracked { .. } | Step::Chosen { .. } | Step::Dropped { .. } => step.fmt(f)?,
            Step::Output { .. } | Step::PacketIn { .. } => {}
        }
    }
    writeln!(f, "  {}", walk.end())
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Place::Pod(name) => write!(f, "pod {name}"),
            Place::Bridge => f.write_str("bridge"),
            Place::Host => f.write_str("host"),
            Place::Wire => f.write_str("between nodes"),
        }
    }
}
