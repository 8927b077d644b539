//! A walk as a page like the article's: a section a table, the flow in full, its actions one by one.

use super::{Step, Walk};
use core::fmt::{self, Display, Formatter};

/// The page.
pub(crate) struct Markdown<'a>(pub(crate) &'a Walk);

impl Display for Markdown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let walk = self.0;
        writeln!(f, "# What happens to this packet\n\nIn on **{}**:\n", escaped(&walk.in_port))?;
        writeln!(f, "<pre><code>{}</code></pre>\n", in_html(&walk.packet))?;
        if let Some(table) = walk.table_line() {
            writeln!(f, "{table}\n")?;
        }
        walk.steps.iter().try_for_each(|step| write_step(f, step))?;
        writeln!(f, "\n## The end\n")?;
        for left in &walk.leaves {
            let back =
                if left.is_answer { ", back to where it came from: the bridge's own answer" } else { "" };
            writeln!(f, "By **{}**{back}, {}:\n", escaped(&left.port), escaped(&left.summary))?;
            writeln!(f, "<pre><code>{}</code></pre>\n", in_html(&left.packet))?;
        }
        writeln!(f, "**{}**", escaped(&walk.plain_end()))
    }
}

impl Walk {
    /// The tables of the way, in one line.
    fn table_line(&self) -> Option<String> {
        let tables: Vec<String> = (self.steps.iter())
            .filter_map(|step| match step {
                Step::Matched { table, name, .. } | Step::Missed { table, name, .. } => {
                    Some(name.as_ref().map_or_else(|| table.to_string(), |name| format!("{table} {name}")))
                }
                _ => None,
            })
            .collect();
        (!tables.is_empty()).then(|| format!("Its way: {}", escaped(&tables.join(" → "))))
    }
}

fn write_step(f: &mut Formatter<'_>, step: &Step) -> fmt::Result {
    match step {
        Step::Matched { table, name, line, flow, conjunction, passed, .. } => {
            heading(f, *table, name)?;
            let line = line.map_or_else(String::new, |line| format!(", line {line} of the dump"));
            let by = conjunction.map_or_else(String::new, |id| format!(", by conjunction {id}"));
            writeln!(f, "The flow that takes the packet{line}{by}:\n")?;
            let (matching, actions) = flow.split_once("actions=").unwrap_or((flow, ""));
            writeln!(
                f,
                "<pre><code>{}<b>actions={}</b></code></pre>\n",
                in_html(matching),
                in_html(actions)
            )?;
            write_passed(f, passed)
        }
        Step::Missed { table, name, passed, .. } => {
            heading(f, *table, name)?;
            writeln!(f, "No flow of the table takes the packet.\n")?;
            write_passed(f, passed)
        }
        Step::Action { action, changes, note, .. } => {
            let note = note.as_ref().map_or_else(String::new, |note| format!(" ({})", escaped(note)));
            writeln!(f, "- `{action}`{note}")?;
            for change in changes {
                let means =
                    change.means.as_ref().map_or_else(String::new, |means| format!(" ({})", escaped(means)));
                writeln!(f, "  - {}: {} → **{}**{means}", escaped(change.field), change.old, change.new)?;
            }
            Ok(())
        }
        Step::Tracked { zone, state, mark, .. } => {
            writeln!(f, "  - the tracker, zone {zone}: `{state}`, mark {mark:#x}")
        }
        Step::Chosen { how, .. } => writeln!(f, "  - {}", escaped(how)),
        Step::Output { port, .. } => writeln!(f, "  - out of **{}**", escaped(port)),
        Step::PacketIn { controller, .. } => writeln!(f, "  - to controller {controller}"),
        Step::Dropped { drop, .. } => writeln!(f, "  - **dropped**: {}", escaped(drop.description)),
    }
}

fn heading(f: &mut Formatter<'_>, table: u8, name: &Option<String>) -> fmt::Result {
    match name {
        Some(name) => writeln!(f, "\n## {} Table #{table}\n", escaped(name)),
        None => writeln!(f, "\n## Table #{table}\n"),
    }
}

fn write_passed(f: &mut Formatter<'_>, passed: &[super::Passed]) -> fmt::Result {
    if passed.is_empty() {
        return Ok(());
    }
    writeln!(
        f,
        "Why no flow above it does:\n\n| line | priority | match | why not |\n| --- | --- | --- | --- |"
    )?;
    for passed in passed {
        let line = passed.line.map_or_else(String::new, |line| line.to_string());
        let (priority, why) = (passed.priority, escaped(&passed.why));
        writeln!(f, "| {line} | {priority} | {} | {why} |", escaped(&passed.matching))?;
    }
    writeln!(f)
}

/// Text in which Markdown finds nothing of its own.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| "\\`*_[]<>|#".contains(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Text in HTML, where nothing is Markdown's.
pub(super) fn in_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
