//! A picture of the pipeline: its tables in order, the way lit, what changed noted at each stop.
//!
//! A column of boxes, one a table; the way runs down at their left from stop to stop (a stop may come again), and the
//! notes stand at their right. Light and dark by the viewer's own choice.

use super::markdown::in_html;
use super::{Step, Walk};
use core::fmt::{self, Display, Formatter};

/// The picture.
pub(crate) struct Svg<'a>(pub(crate) &'a Walk);

/// One stop: a table, and what is noted there.
struct Stop {
    table: u8,
    notes: Vec<String>,
    is_lost: bool,
}

const WIDTH: usize = 960;
const BOX: (usize, usize) = (220, 34);
const LEFT: usize = 60;
const NOTES: usize = LEFT + BOX.0 + 24;
const LINE: usize = 16;
const TOP: usize = 72;
/// As many characters as fit beside the boxes.
const COLUMNS: usize = 92;

const CSS: &str = "svg{font:13px/1.3 ui-sans-serif,system-ui,sans-serif}.bg{fill:#fff}.table{fill:#f6f8fa;stroke:#8c959f}\
.lit{fill:#ddf4ff;stroke:#0969da;stroke-width:2}.lost{fill:#ffebe9;stroke:#cf222e;stroke-width:2}text{fill:#1f2328}\
.unlit{fill:#57606a}.note{font:12px ui-monospace,monospace}.way{stroke:#0969da;fill:none;stroke-width:2}.b{font-weight:600}\
@media(prefers-color-scheme:dark){.bg{fill:#0d1117}.table{fill:#161b22;stroke:#6e7681}.lit{fill:#0c2d6b;stroke:#58a6ff}\
.lost{fill:#490202;stroke:#ff7b72}text{fill:#e6edf3}.unlit{fill:#8b949e}.way{stroke:#58a6ff}}";

impl Display for Svg<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let walk = self.0;
        let stops = stops(walk);
        // What is noted at all stops of one table stands beside its box.
        let rows = walk.tables.iter().map(|(table, name)| {
            let here: Vec<&Stop> = stops.iter().filter(|stop| stop.table == *table).collect();
            (*table, name.clone(), here)
        });
        let mut y = TOP;
        let placed: Vec<_> = rows
            .map(|(table, name, here)| {
                let notes: Vec<&String> = here.iter().flat_map(|stop| &stop.notes).collect();
                let height = (BOX.1 + 10).max(notes.len() * LINE + 14);
                let at = y;
                y += height;
                (table, name, here, at)
            })
            .collect();
        let height = y + 60;
        let end = walk.plain_end();
        writeln!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"t d\">\n\
             <title id=\"t\">A packet's way through the tables</title>\n<desc id=\"d\">{} in on {}; {}</desc>\n<style>{CSS}</style>\n\
             <defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" \
             orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"context-stroke\"/></marker></defs>\n\
             <rect class=\"bg\" width=\"{WIDTH}\" height=\"{height}\"/>",
            in_html(&walk.packet),
            in_html(&walk.in_port),
            in_html(&end)
        )?;
        writeln!(f, "<text x=\"{LEFT}\" y=\"24\" class=\"b\">in on {}</text>", in_html(&walk.in_port))?;
        writeln!(
            f,
            "<text x=\"{LEFT}\" y=\"44\" class=\"note\">{}</text>",
            in_html(&cut(&walk.packet, 115))
        )?;
        for (table, name, here, at) in &placed {
            let class = match here.last() {
                Some(stop) if stop.is_lost => "lost",
                Some(_) => "lit",
                None => "table",
            };
            let label = name.as_ref().map_or_else(|| table.to_string(), |name| format!("{table}  {name}"));
            let (text, (width, tall)) = (if here.is_empty() { "unlit" } else { "b" }, BOX);
            writeln!(
                f,
                "<rect x=\"{LEFT}\" y=\"{at}\" width=\"{width}\" height=\"{tall}\" rx=\"6\" class=\"{class}\"/>\n\
                 <text x=\"{}\" y=\"{}\" class=\"{text}\">{}</text>",
                LEFT + 12,
                at + 22,
                in_html(&label)
            )?;
            for (line, note) in here.iter().flat_map(|stop| &stop.notes).enumerate() {
                let (y, note) = (at + 14 + line * LINE, in_html(&cut(note, COLUMNS)));
                writeln!(f, "<text x=\"{NOTES}\" y=\"{y}\" class=\"note\">{note}</text>")?;
            }
        }
        let middle = |table: u8| placed.iter().find(|row| row.0 == table).map(|row| row.3 + BOX.1 / 2);
        let first = stops.first().and_then(|stop| middle(stop.table));
        if let Some(first) = first {
            writeln!(
                f,
                "<path class=\"way\" marker-end=\"url(#a)\" d=\"M24 {} V{first} H{LEFT}\"/>",
                TOP - 20
            )?;
        }
        for (index, pair) in stops.windows(2).enumerate() {
            if let [from, to] = pair
                && let (Some(from), Some(to)) = (middle(from.table), middle(to.table))
            {
                // Each leg on a line of its own, so that ways that come back do not hide others.
                let x = 24 + (index % 4) * 8;
                let (from, to) = (from + 6, to - 6);
                writeln!(
                    f,
                    "<path class=\"way\" marker-end=\"url(#a)\" d=\"M{LEFT} {from} H{x} V{to} H{LEFT}\"/>"
                )?;
            }
        }
        let class = if walk.drop.is_some() || walk.stopped.is_some() { "lost" } else { "lit" };
        writeln!(
            f,
            "<rect x=\"{LEFT}\" y=\"{}\" width=\"{}\" height=\"34\" rx=\"6\" class=\"{class}\"/>\n\
             <text x=\"{}\" y=\"{}\" class=\"b\">{}</text>\n</svg>",
            height - 46,
            WIDTH - 2 * LEFT,
            LEFT + 12,
            height - 24,
            in_html(&cut(&end, 110))
        )
    }
}

/// The tables that the packet came to, one after the other.
fn stops(walk: &Walk) -> Vec<Stop> {
    let mut stops: Vec<Stop> = Vec::new();
    for step in &walk.steps {
        match step {
            Step::Matched { table, line, flow, .. } => {
                let line = line.map_or_else(String::new, |line| format!("line {line}: "));
                let matching = flow.split_once("priority=").map_or(&flow[..], |(_, rest)| rest);
                let matching = matching.split_once(" actions=").map_or(matching, |(matching, _)| matching);
                let notes = vec![format!("{line}priority {}", matching.replacen(',', " ", 1))];
                stops.push(Stop { table: *table, notes, is_lost: false });
            }
            Step::Missed { table, .. } => {
                let notes = vec!["no flow takes the packet".to_owned()];
                stops.push(Stop { table: *table, notes, is_lost: false });
            }
            other => {
                let Some(stop) = stops.last_mut() else { continue };
                note(stop, other);
            }
        }
    }
    if let (Some(drop), Some(last)) = (&walk.drop, stops.last_mut()) {
        last.is_lost = true;
        if last.notes.len() == 1 {
            last.notes.push(drop.description.to_owned());
        }
    }
    if let (Some(_), Some(last)) = (&walk.stopped, stops.last_mut()) {
        last.is_lost = true;
    }
    stops
}

fn note(stop: &mut Stop, step: &Step) {
    match step {
        Step::Action { changes, note, .. } => {
            stop.notes.extend(note.iter().cloned());
            stop.notes.extend(changes.iter().map(|change| {
                let means = change.means.as_ref().map_or_else(String::new, |means| format!(" ({means})"));
                format!("{}: {} → {}{means}", change.field, change.old, change.new)
            }));
        }
        Step::Tracked { zone, state, mark, .. } => {
            stop.notes.push(format!("ct: zone {zone}, {state}, mark {mark:#x}"));
        }
        Step::Chosen { how, .. } => stop.notes.push(how.clone()),
        Step::Output { port, .. } => stop.notes.push(format!("→ {port}")),
        Step::PacketIn { controller, .. } => stop.notes.push(format!("→ controller {controller}")),
        Step::Dropped { drop, .. } => {
            stop.notes.push(format!("dropped: {}", drop.description));
            stop.is_lost = true;
        }
        Step::Matched { .. } | Step::Missed { .. } => {}
    }
}

/// As many characters as there is room for.
fn cut(text: &str, columns: usize) -> String {
    match text.chars().count() > columns {
        true => text.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}
