//! Why the flows above the one that took a packet did not: the first field of each that differs.

use super::names::value_text;
use footbridge_openflow::field::Format;
use footbridge_openflow::{Action, Field, Key, Match, PortNames};
use footbridge_pipeline::{Entry, Pipeline};
use serde::Serialize;

/// A flow that did not take the packet, though it comes before the one that did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Passed {
    /// Its line in the dump.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
    /// Its priority.
    pub(crate) priority: u16,
    /// Its match.
    #[serde(rename = "match")]
    pub(crate) matching: String,
    /// Why it did not.
    pub(crate) why: String,
}

/// The flows of a table that come before `taker`, or all of them, in the order in which they are asked.
pub(super) fn passed(
    pipeline: &Pipeline,
    table: u8,
    taker: Option<&Entry>,
    key: &Key,
    names: &PortNames,
    line: impl Fn(&Entry) -> Option<usize>,
) -> Vec<Passed> {
    let above = |entry: &&std::sync::Arc<Entry>| {
        taker.is_none_or(|taker| entry.id != taker.id && entry.flow.priority >= taker.flow.priority)
    };
    let mut flows: Vec<_> = pipeline.table(table).filter(above).collect();
    flows.sort_by_key(|entry| std::cmp::Reverse(entry.flow.priority));
    flows
        .into_iter()
        .map(|entry| Passed {
            line: line(entry),
            priority: entry.flow.priority,
            matching: entry.flow.matching.display(names).to_string(),
            why: why(entry, taker, key, names),
        })
        .collect()
}

fn why(entry: &Entry, taker: Option<&Entry>, key: &Key, names: &PortNames) -> String {
    let matching = &entry.flow.matching;
    let conjunctive = entry.flow.actions.iter().any(|action| matches!(action, Action::Conjunction { .. }));
    match Field::all().find(|field| differs(*field, matching, key)) {
        Some(field) => {
            let (value, mask) = matching.get(field);
            let is = value_text(field, key.get(field), names);
            format!("{} is {is}, not {}", field.name(), wanted(field, value, mask, names))
        }
        None if conjunctive => "the other parts of its conjunction do not take the packet".to_owned(),
        None if taker.is_some_and(|taker| taker.flow.priority == entry.flow.priority) => {
            "it would take the packet too: of two of one priority the one added first does".to_owned()
        }
        None => "the flow that took the packet was found by a conjunction above it".to_owned(),
    }
}

/// What a flow wants of a field, with its mask where it has one.
fn wanted(field: Field, value: u128, mask: u128, names: &PortNames) -> String {
    let text = value_text(field, value, names);
    let is_whole = mask == field.all_ones();
    let prefix = |width: u32| {
        let ones = mask.count_ones();
        (mask == field.all_ones() & !(field.all_ones() >> ones)).then_some(ones).filter(|ones| *ones < width)
    };
    match field.info().format {
        Format::CtState | Format::TunFlags | Format::Frag | Format::TcpFlags => {
            let text = Match::any().with_masked(field, value, mask).display(names).to_string();
            text.rsplit_once('=').map_or(text.clone(), |(_, value)| value.to_owned())
        }
        _ if is_whole => text,
        Format::Ipv4 | Format::Ipv6 if prefix(field.width()).is_some() => {
            format!("in {text}/{}", mask.count_ones())
        }
        _ => format!("{text}/{}", value_text(field, mask, names)),
    }
}

fn differs(field: Field, matching: &Match, key: &Key) -> bool {
    let (value, mask) = matching.get(field);
    let has = matching_has(field, matching);
    mask != 0 && has && key.get(field) & mask != value
}

/// Whether the bits are this field's: of fields that share bits, the one that the match's protocol has.
fn matching_has(field: Field, matching: &Match) -> bool {
    !field.name().starts_with('x') && field.info().prereq.holds(matching)
}
