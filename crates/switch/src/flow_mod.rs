//! Changes of flows, as OpenFlow's OFPT_FLOW_MOD asks for them.

use crate::journal::Journal;
use footbridge_openflow::text::{self, ParseError};
use footbridge_openflow::wire::RemovedReason;
use footbridge_openflow::{Action, Flow, Match, PortNames, PortNo};
use footbridge_pipeline::{Entry, FlowId, Pipeline, Prepared, Refusal, Time};
use std::sync::Arc;

/// One change of a bridge's flows (OpenFlow 1.3.5 §6.4, with Open vSwitch's choices).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowMod {
    /// Add a flow. One of the same table, priority and match is replaced; its counters go on,
    /// unless the flow says `reset_counts`, and its age starts again. One that says `check_overlap` is
    /// refused where a packet could match it and another flow of its table and priority.
    Add(Flow),
    /// Give every flow that the filter selects these actions; its counters and its age go on. None is
    /// no error.
    Modify {
        /// Which flows.
        filter: FlowFilter,
        /// Their new cookie; None leaves each its own.
        cookie: Option<u64>,
        /// Their new actions.
        actions: Vec<Action>,
        /// What to add where the filter selects none, as OpenFlow 1.0 asks for.
        or_add: Option<Box<Flow>>,
    },
    /// The same for the flow of this priority and of exactly the filter's match.
    ModifyStrict {
        /// Its table (of all where the filter says none), its match, and further conditions.
        filter: FlowFilter,
        /// Its priority.
        priority: u16,
        /// Its new cookie; None leaves it its own.
        cookie: Option<u64>,
        /// Its new actions.
        actions: Vec<Action>,
        /// What to add where there is none, as OpenFlow 1.0 asks for.
        or_add: Option<Box<Flow>>,
    },
    /// Delete every flow that the filter selects; none is no error.
    Delete(FlowFilter),
    /// Delete the flow of this priority and of exactly the filter's match; none is no error.
    DeleteStrict {
        /// Its table (of all where the filter says none), its match, and further conditions.
        filter: FlowFilter,
        /// Its priority.
        priority: u16,
    },
}

/// A change with all done that can be before the flows are locked.
#[derive(Debug)]
pub enum Ready {
    /// An addition, which was checked.
    Add(Prepared),
    /// An addition that will be refused, when it is its turn.
    Refused(Box<Refusal>),
    /// Any other.
    Other(Box<FlowMod>),
}

impl From<FlowMod> for Ready {
    fn from(flow_mod: FlowMod) -> Ready {
        match flow_mod {
            FlowMod::Add(flow) => {
                Prepared::new(flow).map_or_else(|refusal| Ready::Refused(Box::new(refusal)), Ready::Add)
            }
            other => Ready::Other(Box::new(other)),
        }
    }
}

/// Why a change can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowModError {
    /// The bridge can't carry the flow out.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// `check_overlap`, and there is one.
    #[error(
        "table {table}, priority {priority}: another flow takes some of the same packets (check_overlap)"
    )]
    Overlap {
        /// The flow's table.
        table: u8,
        /// The flow's priority.
        priority: u16,
    },
}

/// A choice among flows. The default takes all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FlowFilter {
    /// Of this table; None for any.
    pub table: Option<u8>,
    /// Flows that match at least this: every packet they take, it takes too.
    pub matching: Match,
    /// Flows whose cookie is this one in the bits of `cookie_mask`.
    pub cookie: u64,
    /// Which bits of the cookie are compared.
    pub cookie_mask: u64,
    /// Flows that send to this port, by an output that names it.
    pub out_port: Option<PortNo>,
    /// Flows that send to this group.
    pub out_group: Option<u32>,
}

/// Why a filter's text is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A number that is none, or too large.
    #[error("'{word}' in the flow filter: {expected}")]
    Word {
        /// The part of the filter.
        word: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// The match is wrong.
    #[error("the flow filter: {0}")]
    Match(Box<ParseError>),
}

impl FlowFilter {
    /// All flows of a table.
    pub fn table(table: u8) -> FlowFilter {
        FlowFilter { table: Some(table), ..FlowFilter::default() }
    }

    /// All flows whose cookie has the bits of `cookie` in `mask`.
    pub fn cookie(cookie: u64, mask: u64) -> FlowFilter {
        FlowFilter { cookie, cookie_mask: mask, ..FlowFilter::default() }
    }

    /// Read what `ovs-ofctl dump-flows` takes: `table=N`, `cookie=C/MASK` (`cookie=C/-1` for all
    /// bits), `out_port=PORT`, and a match, all with commas between. Empty text takes all flows. Quoted
    /// port names may hold anything.
    ///
    /// # Errors
    ///
    /// Says which part is wrong, and what was expected there.
    pub fn parse(text: &str, names: &PortNames) -> Result<FlowFilter, FilterError> {
        let mut filter = FlowFilter::default();
        let mut rest = Vec::new();
        for word in words(text) {
            let wrong = |expected| FilterError::Word { word: word.to_owned(), expected };
            match word.split_once('=') {
                Some(("table", number)) => {
                    let table = number.parse().map_err(|_| wrong("a table is a number from 0 to 255"))?;
                    filter.table = Some(table);
                }
                Some(("cookie", value)) => {
                    let (cookie, mask) = value.split_once('/').unwrap_or((value, "-1"));
                    let expected = "a cookie is a number or number/mask, of 64 bits";
                    filter.cookie = number64(cookie).ok_or_else(|| wrong(expected))?;
                    filter.cookie_mask = number64(mask).ok_or_else(|| wrong(expected))?;
                }
                Some(("out_port", port)) => {
                    let number = text::parse_port(port, names);
                    filter.out_port = Some(number.map_err(|_| wrong("no port has that name or number"))?);
                }
                _ => rest.push(word),
            }
        }
        filter.matching =
            text::parse_match(&rest.join(","), names).map_err(|error| FilterError::Match(Box::new(error)))?;
        Ok(filter)
    }

    /// Whether the filter takes the flow.
    pub fn selects(&self, flow: &Flow) -> bool {
        self.table.is_none_or(|table| table == flow.table)
            && (flow.cookie ^ self.cookie) & self.cookie_mask == 0
            && flow.matching.is_subset_of(&self.matching)
            && self.out_port.is_none_or(|port| outputs_to(&flow.actions, port))
            && self.out_group.is_none_or(|group| flow.actions.contains(&Action::Group(group)))
    }

    /// The flows that the filter takes, in the order of a dump.
    pub(crate) fn select<'a>(&'a self, pipeline: &'a Pipeline) -> impl Iterator<Item = &'a Arc<Entry>> {
        pipeline.within(self.table, &self.matching).filter(|entry| self.selects(&entry.flow))
    }

    /// The flow of this priority, in each table asked for, whose match is the filter's own.
    fn select_strict<'a>(
        &'a self,
        pipeline: &'a Pipeline,
        priority: u16,
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        pipeline
            .tables()
            .filter(|table| self.table.is_none_or(|asked| asked == *table))
            .filter_map(move |table| pipeline.get_strict(table, priority, &self.matching))
            .filter(|entry| self.selects(&entry.flow))
    }
}

/// Whether some of the actions sends to the port by its number: not through a register or a flood.
pub(crate) fn outputs_to(actions: &[Action], port: PortNo) -> bool {
    actions.iter().any(|action| match action {
        Action::Output { port: to, .. }
        | Action::OutputTruncated { port: to, .. }
        | Action::Enqueue { port: to, .. } => *to == port,
        Action::Controller(_) => port == PortNo::CONTROLLER,
        Action::WriteActions(actions) | Action::Clone(actions) => outputs_to(actions, port),
        _ => false,
    })
}

/// What commas and white space part, outside quotes.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let between = move |c: char| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        !quoted && matches!(c, ',' | ' ' | '\t' | '\r' | '\n')
    };
    text.split(between).filter(|word| !word.is_empty())
}

/// A decimal or `0x` number, or `-1` for all bits.
fn number64(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if text == "-1" => Some(u64::MAX),
        None => text.parse().ok(),
    }
}

/// Carry out one change, and write down in the journal what was done.
///
/// A refused one may have been done in part, which is in the journal, too.
pub(crate) fn apply(
    pipeline: &mut Pipeline,
    ready: Ready,
    now: Time,
    journal: &mut Journal,
) -> Result<(), FlowModError> {
    let other = match ready {
        Ready::Add(flow) => return add(pipeline, flow, now, journal),
        Ready::Refused(refusal) => return Err(FlowModError::Refused(*refusal)),
        Ready::Other(other) => *other,
    };
    match other {
        FlowMod::Add(flow) => add(pipeline, Prepared::new(flow)?, now, journal),
        FlowMod::Modify { filter, cookie, actions, or_add } => {
            let ids = ids(filter.select(pipeline));
            match or_add {
                Some(flow) if ids.is_empty() => add(pipeline, Prepared::new(*flow)?, now, journal),
                _ => modify(pipeline, &ids, cookie, &actions, now, journal),
            }
        }
        FlowMod::ModifyStrict { filter, priority, cookie, actions, or_add } => {
            let ids = ids(filter.select_strict(pipeline, priority));
            match or_add {
                Some(flow) if ids.is_empty() => add(pipeline, Prepared::new(*flow)?, now, journal),
                _ => modify(pipeline, &ids, cookie, &actions, now, journal),
            }
        }
        FlowMod::Delete(filter) => {
            let ids = ids(filter.select(pipeline));
            delete(pipeline, &ids, journal);
            Ok(())
        }
        FlowMod::DeleteStrict { filter, priority } => {
            let ids = ids(filter.select_strict(pipeline, priority));
            delete(pipeline, &ids, journal);
            Ok(())
        }
    }
}

fn ids<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>) -> Vec<FlowId> {
    entries.map(|entry| entry.id).collect()
}

fn add(
    pipeline: &mut Pipeline,
    prepared: Prepared,
    now: Time,
    journal: &mut Journal,
) -> Result<(), FlowModError> {
    let Flow { table, priority, matching, flags, .. } = prepared.flow();
    if flags.check_overlap && pipeline.overlapping(*table, *priority, matching).next().is_some() {
        return Err(FlowModError::Overlap { table: *table, priority: *priority });
    }
    journal.added(pipeline.insert_prepared(prepared, now)?);
    Ok(())
}

fn modify(
    pipeline: &mut Pipeline,
    ids: &[FlowId],
    cookie: Option<u64>,
    actions: &[Action],
    now: Time,
    journal: &mut Journal,
) -> Result<(), FlowModError> {
    for id in ids {
        if let Some(inserted) = pipeline.modify(*id, actions, cookie, now)? {
            journal.modified(inserted);
        }
    }
    Ok(())
}

fn delete(pipeline: &mut Pipeline, ids: &[FlowId], journal: &mut Journal) {
    for id in ids {
        if let Some(displaced) = pipeline.remove(*id) {
            journal.removed(displaced, RemovedReason::Delete);
        }
    }
}
