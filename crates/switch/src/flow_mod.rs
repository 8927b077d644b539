//! Changes of flows, as OpenFlow's OFPT_FLOW_MOD asks for them.

use footbridge_datapath::Change;
use footbridge_openflow::text::{self, ParseError};
use footbridge_openflow::{Action, Flow, Match, PortNames, PortNo};
use footbridge_pipeline::{Entry, FlowId, Pipeline, Refusal, Time};

/// One change of a bridge's flows (OpenFlow 1.3.5 §6.4, with Open vSwitch's choices).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowMod {
    /// Add a flow. One of the same table, priority and match is replaced; its counters go on,
    /// unless the flow says `reset_counts`, and its age starts again. One that says `check_overlap` is
    /// refused where a packet could match it and another flow of its table and priority.
    Add(Flow),
    /// Give every flow that the filter selects these actions; its counters and its age go on. None is
    /// no error, and none is added.
    Modify {
        /// Which flows.
        filter: FlowFilter,
        /// Their new cookie; None leaves each its own.
        cookie: Option<u64>,
        /// Their new actions.
        actions: Vec<Action>,
    },
    /// The same for the flow of exactly this table, priority and match.
    ModifyStrict {
        /// Its table.
        table: u8,
        /// Its priority.
        priority: u16,
        /// Its match.
        matching: Match,
        /// Its new cookie; None leaves it its own.
        cookie: Option<u64>,
        /// Its new actions.
        actions: Vec<Action>,
    },
    /// Delete every flow that the filter selects; none is no error.
    Delete(FlowFilter),
    /// Delete the flow of exactly this table, priority and match; none is no error.
    DeleteStrict {
        /// Its table.
        table: u8,
        /// Its priority.
        priority: u16,
        /// Its match.
        matching: Match,
    },
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
    /// Flows that send to this port, by a plain output.
    pub out_port: Option<PortNo>,
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
    /// bits), `out_port=PORT`, and a match, all with commas between. Empty text takes all flows.
    ///
    /// # Errors
    ///
    /// Says which part is wrong, and what was expected there.
    pub fn parse(text: &str, names: &PortNames) -> Result<FlowFilter, FilterError> {
        let mut filter = FlowFilter::default();
        let mut rest = Vec::new();
        for word in text.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
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
                    let number =
                        names.number(port.trim_matches('"')).or_else(|| port.parse().ok().map(PortNo));
                    filter.out_port = Some(number.ok_or_else(|| wrong("no port has that name or number"))?);
                }
                _ => rest.push(word),
            }
        }
        if !rest.is_empty() {
            filter.matching = text::parse_flow(&format!("{} actions=drop", rest.join(",")), names)
                .map_err(|error| FilterError::Match(Box::new(error)))?
                .matching;
        }
        Ok(filter)
    }

    /// Whether the filter takes the flow.
    pub fn selects(&self, flow: &Flow) -> bool {
        self.table.is_none_or(|table| table == flow.table)
            && (flow.cookie ^ self.cookie) & self.cookie_mask == 0
            && flow.matching.is_subset_of(&self.matching)
            && self.out_port.is_none_or(|port| flow.actions.contains(&Action::Output(port)))
    }

    /// The flows that the filter takes, in the order of a dump.
    pub(crate) fn select<'a>(&'a self, pipeline: &'a Pipeline) -> impl Iterator<Item = &'a Entry> {
        pipeline.entries().filter(|entry| self.selects(&entry.flow))
    }
}

/// A decimal or `0x` number, or `-1` for all bits.
fn number64(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if text == "-1" => Some(u64::MAX),
        None => text.parse().ok(),
    }
}

/// Carry out one change on a pipeline that nobody uses yet, and add to what has changed.
pub(crate) fn apply(
    pipeline: &mut Pipeline,
    flow_mod: &FlowMod,
    now: Time,
    change: &mut Changes,
) -> Result<(), FlowModError> {
    let strict = |pipeline: &Pipeline, table: u8, priority: u16, matching: &Match| -> Vec<FlowId> {
        pipeline.get_strict(table, priority, matching).map(|entry| entry.id).into_iter().collect()
    };
    let loose = |pipeline: &Pipeline, filter: &FlowFilter| -> Vec<FlowId> {
        filter.select(pipeline).map(|entry| entry.id).collect()
    };
    match flow_mod {
        FlowMod::Add(flow) => {
            let overlaps = |other: &Entry| {
                let Flow { priority, matching, .. } = &*other.flow;
                *priority == flow.priority && *matching != flow.matching && matching.overlaps(&flow.matching)
            };
            if flow.flags.check_overlap && pipeline.table(flow.table).any(overlaps) {
                return Err(FlowModError::Overlap { table: flow.table, priority: flow.priority });
            }
            let replaced = strict(pipeline, flow.table, flow.priority, &flow.matching);
            let id = pipeline.insert(flow.clone(), now)?;
            change.replace(&replaced, id);
        }
        FlowMod::Modify { filter, cookie, actions } => {
            let ids = loose(pipeline, filter);
            modify(pipeline, &ids, *cookie, actions, change)?;
        }
        FlowMod::ModifyStrict { table, priority, matching, cookie, actions } => {
            let ids = strict(pipeline, *table, *priority, matching);
            modify(pipeline, &ids, *cookie, actions, change)?;
        }
        FlowMod::Delete(filter) => {
            let ids = loose(pipeline, filter);
            delete(pipeline, &ids, change);
        }
        FlowMod::DeleteStrict { table, priority, matching } => {
            let ids = strict(pipeline, *table, *priority, matching);
            delete(pipeline, &ids, change);
        }
    }
    Ok(())
}

fn modify(
    pipeline: &mut Pipeline,
    ids: &[FlowId],
    cookie: Option<u64>,
    actions: &[Action],
    change: &mut Changes,
) -> Result<(), Refusal> {
    for old in ids {
        let Some(entry) = pipeline.get(*old) else { continue };
        let mut flow = Flow::clone(&entry.flow);
        flow.actions = actions.to_vec();
        flow.cookie = cookie.unwrap_or(flow.cookie);
        // That was about its adding: these counters go on.
        flow.flags.reset_counts = false;
        // Added again in its own place, at its own time.
        let added = entry.added;
        let id = pipeline.insert(flow, added)?;
        change.replace(&[*old], id);
    }
    Ok(())
}

fn delete(pipeline: &mut Pipeline, ids: &[FlowId], change: &mut Changes) {
    for id in ids {
        pipeline.remove(*id);
        change.remove(*id);
    }
}

/// A [`Change`] being gathered: what came and went within one bundle is in neither list.
#[derive(Default)]
pub(crate) struct Changes(pub(crate) Change);

impl Changes {
    fn replace(&mut self, old: &[FlowId], new: FlowId) {
        old.iter().for_each(|id| self.remove(*id));
        self.0.added.push(new);
    }

    pub(crate) fn remove(&mut self, id: FlowId) {
        match self.0.added.iter().position(|added| *added == id) {
            Some(at) => drop(self.0.added.swap_remove(at)),
            None => self.0.removed.push(id),
        }
    }
}
