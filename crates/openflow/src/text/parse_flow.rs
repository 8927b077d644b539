//! Flow lines: dumped, or as `add-flow` takes them; and whole dumps.

use super::error::{Fail, ParseError, Problem};
use super::parse_action;
use super::parse_match::{self, MatchParser, ParsedMatch};
use super::parse_value::integer;
use super::span::{Item, Items, Joint, Span};
use crate::check::FlowError;
use crate::field::Field;
use crate::flow::{DEFAULT_PRIORITY, Flow, FlowStats};
use crate::matching::Match;
use crate::port::PortNames;
use core::time::Duration;

/// One flow of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedLine {
    /// Its line, from 1.
    pub line: usize,
    /// The flow.
    pub flow: Flow,
    /// The statistics that the line holds.
    pub stats: FlowStats,
}

/// Read one flow: a line of a dump, or what `ovs-ofctl add-flow` takes.
///
/// # Errors
///
/// The text is no flow, or one that no switch would take.
pub fn parse_flow(line: &str, names: &PortNames) -> Result<Flow, ParseError> {
    parse_flow_with_stats(line, names).map(|(flow, _)| flow)
}

/// Read one flow and the statistics beside it, which are 0 or None where the line has none.
///
/// # Errors
///
/// The text is no flow, or one that no switch would take.
pub fn parse_flow_with_stats(line: &str, names: &PortNames) -> Result<(Flow, FlowStats), ParseError> {
    flow(Span::line(line), names).map_err(|fail| fail.in_line(line))
}

/// Read a match alone: `arp,in_port=2,arp_tpa=10.0.0.1`. Empty text takes every packet.
///
/// # Errors
///
/// The text is no match, or has a field without its prerequisite.
pub fn parse_match(text: &str, names: &PortNames) -> Result<Match, ParseError> {
    let read = || {
        let mut matching = MatchParser::new(names);
        let mut items = Items::of(Span::line(text));
        while let Some(item) = items.next()? {
            if !matching.take(item)? {
                let suggestion = parse_match::suggestion(item.key.text, &[]);
                return Err(item.key.misspelt("a protocol or a field", suggestion));
            }
        }
        let ParsedMatch { matching, places } = matching.finish()?;
        let flow = Flow::new(0, DEFAULT_PRIORITY, 0, matching, Vec::new());
        checked(&flow, Span::line(text), &places, &[])?;
        Ok(flow.matching)
    };
    read().map_err(|fail: Fail| fail.in_line(text))
}

/// Read a file of flows: a dump, or what `ovs-ofctl add-flows` takes.
///
/// Empty lines, comments (from `#` at a line's start) and the headers of replies are skipped.
///
/// # Errors
///
/// The first line that is no flow, or one that no switch would take; the error names `file_name`.
pub fn parse_dump(text: &str, file_name: &str, names: &PortNames) -> Result<Vec<ParsedLine>, ParseError> {
    let mut flows = Vec::new();
    for (i, content) in text.lines().enumerate() {
        let trimmed = content.trim_start();
        let is_header = ["NXST_FLOW reply", "OFPST_FLOW reply"].iter().any(|h| trimmed.starts_with(h));
        if trimmed.is_empty() || trimmed.starts_with('#') || is_header {
            continue;
        }
        let (flow, stats) =
            parse_flow_with_stats(content, names).map_err(|error| error.at_line(i + 1).in_file(file_name))?;
        flows.push(ParsedLine { line: i + 1, flow, stats });
    }
    Ok(flows)
}

/// The words of a flow line that are neither match nor actions.
const WORDS: &[&str] = &[
    "cookie",
    "table",
    "priority",
    "duration",
    "n_packets",
    "n_bytes",
    "idle_age",
    "hard_age",
    "idle_timeout",
    "hard_timeout",
    "importance",
    "send_flow_rem",
    "check_overlap",
    "reset_counts",
    "no_packet_counts",
    "no_byte_counts",
    "actions",
];

fn flow(line: Span<'_>, names: &PortNames) -> Result<(Flow, FlowStats), Fail> {
    let mut flow = Flow::new(0, DEFAULT_PRIORITY, 0, Match::any(), Vec::new());
    let mut stats = FlowStats::default();
    let mut matching = MatchParser::new(names);
    let mut items = Items::of(line);
    let actions = loop {
        let before = items.rest();
        let Some(item) = items.next()? else {
            return Err(items.rest().unexpected("actions="));
        };
        if matches!(item.key.text, "actions" | "action") && item.joint == Joint::Equals {
            break before.split_at(item.value.at - before.at).1;
        }
        if !attribute(&item, &mut flow, &mut stats)? && !matching.take(item)? {
            let expected =
                if item.joint == Joint::None { "a protocol, a field or actions=" } else { "a field" };
            return Err(item.key.misspelt(expected, parse_match::suggestion(item.key.text, WORDS)));
        }
    };
    let fields = matching.finish()?;
    let (list, action_places) = parse_action::actions(actions, names)?;
    flow.matching = fields.matching;
    flow.actions = list;
    checked(&flow, line, &fields.places, &action_places)?;
    Ok((flow, stats))
}

/// Refuse a flow that no switch would take, at the place of what is wrong with it.
fn checked(flow: &Flow, line: Span<'_>, fields: &[(Field, usize)], actions: &[usize]) -> Result<(), Fail> {
    let Some(error) = flow.check().into_iter().next() else { return Ok(()) };
    let at = match &error {
        FlowError::MatchPrerequisite { .. }
        | FlowError::ConnectionFamily { .. }
        | FlowError::ArpOp { .. } => {
            let named = |(field, _): &&(Field, usize)| error_is_about(&error, *field);
            fields.iter().find(named).map(|(_, at)| *at)
        }
        FlowError::Action { index, .. } => actions.get(*index).copied(),
        FlowError::NoSuchTable => None,
    };
    Err(Fail { at: at.unwrap_or(line.at), problem: Box::new(Problem::Flow(error)) })
}

/// Whether an error in the match is about this field.
fn error_is_about(error: &FlowError, named: Field) -> bool {
    match error {
        FlowError::MatchPrerequisite { field } | FlowError::ConnectionFamily { field, .. } => {
            field.shares_bits(named)
        }
        FlowError::ArpOp { .. } => named == Field::ArpOp,
        FlowError::Action { .. } | FlowError::NoSuchTable => false,
    }
}

/// Take an item that is neither match nor actions, if it is one.
fn attribute(item: &Item<'_>, flow: &mut Flow, stats: &mut FlowStats) -> Result<bool, Fail> {
    let flag = match item.key.text {
        "send_flow_rem" => Some(&mut flow.flags.send_flow_rem),
        "check_overlap" => Some(&mut flow.flags.check_overlap),
        "reset_counts" => Some(&mut flow.flags.reset_counts),
        "no_packet_counts" => Some(&mut flow.flags.no_packet_counts),
        "no_byte_counts" => Some(&mut flow.flags.no_byte_counts),
        _ => None,
    };
    if let Some(flag) = flag {
        if item.joint != Joint::None {
            return Err(item.whole.unexpected(format!("'{}' alone", item.key.text)));
        }
        *flag = true;
        return Ok(true);
    }
    let value = item.value;
    match item.key.text {
        "cookie" => flow.cookie = integer(item.required("a number")?)?,
        "table" => {
            flow.table = match integer(item.required("a table")?)? {
                u8::MAX => return Err(value.unexpected("a table, 0 to 254")),
                table => table,
            }
        }
        "priority" => flow.priority = integer(item.required("a number")?)?,
        "idle_timeout" => flow.idle_timeout = integer(item.required("seconds")?)?,
        "hard_timeout" => flow.hard_timeout = integer(item.required("seconds")?)?,
        "importance" => flow.importance = integer(item.required("a number")?)?,
        "duration" => stats.duration = duration(item.required("seconds")?)?,
        "n_packets" => stats.n_packets = integer(item.required("a number")?)?,
        "n_bytes" => stats.n_bytes = integer(item.required("a number")?)?,
        "idle_age" => stats.idle_age = Some(integer(item.required("seconds")?)?),
        "hard_age" => stats.hard_age = Some(integer(item.required("seconds")?)?),
        _ => return Ok(false),
    }
    Ok(true)
}

/// Seconds, with at most nine decimals, and an `s`.
fn duration(text: Span<'_>) -> Result<Duration, Fail> {
    let read = || {
        let number = text.text.strip_suffix('s').unwrap_or(text.text);
        let (seconds, decimals) = number.split_once('.').unwrap_or((number, ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if !digits(seconds) || !digits(decimals) || decimals.len() > 9 {
            return None;
        }
        let nanoseconds = format!("{decimals:0<9}").parse().ok()?;
        Some(Duration::new(seconds.parse().ok()?, nanoseconds))
    };
    read().ok_or_else(|| text.unexpected("seconds, as in 12.5s"))
}
