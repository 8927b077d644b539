//! A pipeline made ready to be looked up by sets of packets; what can't be followed is refused by name.

use crate::bdd::{Bdd, Sets};
use crate::image::Image;
use crate::live::Liveness;
use crate::space::Space;
use footbridge_openflow::action::CtZone;
use footbridge_openflow::{Action, Field, Match, PortNo};
use footbridge_pipeline::{Entry, FlowId, Pipeline};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A flow that verify can't follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not followed by verify")]
pub struct Unfollowed {
    /// The flow.
    pub flow: FlowId,
    /// What it does.
    pub what: &'static str,
}

/// The flows of a bridge.
pub(crate) struct Program<'p> {
    pub(crate) flows: Vec<Row<'p>>,
    tables: BTreeMap<u8, Table>,
    pub(crate) live: Liveness,
    /// Whether a packet may come near the limits of look-ups, which then have to be counted.
    pub(crate) counts_lookups: bool,
}

/// One flow.
pub(crate) struct Row<'p> {
    pub(crate) entry: &'p Arc<Entry>,
    pub(crate) conjunctive: bool,
    /// Flows of the same priority that take some of the same packets and do different things.
    pub(crate) rivals: Vec<usize>,
    /// What it takes of the packets that are as they came in.
    as_came: Option<Bdd>,
}

#[derive(Default)]
struct Table {
    /// Places in [`Program::flows`], the flow that wins first.
    order: Vec<usize>,
    conjunctive: bool,
}

/// What becomes of a set of packets in a table.
pub(crate) struct Split {
    /// Which flow takes which packets, and by which conjunction.
    pub(crate) hits: Vec<(usize, Bdd)>,
    /// What no flow takes.
    pub(crate) missed: Bdd,
}

impl<'p> Program<'p> {
    pub(crate) fn of(pipeline: &'p Pipeline) -> Result<Program<'p>, Unfollowed> {
        let mut flows = Vec::with_capacity(pipeline.len());
        let mut tables: BTreeMap<u8, Table> = BTreeMap::new();
        for number in pipeline.tables() {
            let table = tables.entry(number).or_default();
            for entry in pipeline.table(number) {
                if let Some(what) = unfollowed(entry) {
                    return Err(Unfollowed { flow: entry.id, what });
                }
                let conjunctive =
                    entry.flow.actions.iter().any(|action| matches!(action, Action::Conjunction { .. }));
                table.conjunctive |= conjunctive;
                table.order.push(flows.len());
                flows.push(Row { entry, conjunctive, rivals: Vec::new(), as_came: None });
            }
            table.order.sort_by_key(|place| {
                let entry = flows[*place].entry;
                (std::cmp::Reverse(entry.flow.priority), pipeline.position(entry.id))
            });
        }
        let places: hashbrown::HashMap<FlowId, usize> =
            flows.iter().enumerate().map(|(place, row)| (row.entry.id, place)).collect();
        for place in 0..flows.len() {
            let flow = &flows[place].entry.flow;
            let rivals = pipeline
                .overlapping(flow.table, flow.priority, &flow.matching)
                .filter(|other| other.flow.actions != flow.actions)
                .filter_map(|other| places.get(&other.id).copied())
                .filter(|other| !flows[*other].conjunctive && !flows[place].conjunctive);
            flows[place].rivals = rivals.collect();
        }
        let counts_lookups = may_reach_limits(pipeline);
        Ok(Program { flows, tables, live: Liveness::of(pipeline), counts_lookups })
    }

    /// The places of a table's flows, the one that wins first.
    pub(crate) fn order(&self, table: u8) -> &[usize] {
        self.tables.get(&table).map_or(&[], |table| &table.order)
    }

    /// The tables that have flows.
    pub(crate) fn tables(&self) -> impl Iterator<Item = u8> {
        self.tables.keys().copied()
    }

    /// The packets that a flow's match takes, priorities aside.
    pub(crate) fn takes(&mut self, sets: &mut Sets, space: &Space, place: usize, image: &Image) -> Bdd {
        let row = &mut self.flows[place];
        let matching = &row.entry.flow.matching;
        if !image.leaves_alone(matching) {
            return image.set_of(sets, space, matching);
        }
        *row.as_came.get_or_insert_with(|| space.set(sets, matching))
    }

    /// Look a set of packets up in a table, as the pipeline does one.
    pub(crate) fn look_up(
        &mut self,
        sets: &mut Sets,
        space: &Space,
        table: u8,
        image: &Image,
        packets: Bdd,
    ) -> Split {
        let Some(Table { conjunctive, .. }) = self.tables.get(&table) else {
            return Split { hits: Vec::new(), missed: packets };
        };
        if *conjunctive {
            return self.look_up_conjunctive(sets, space, table, image, packets);
        }
        let mut hits = Vec::new();
        let missed = self.best(sets, space, table, image, packets, &mut hits);
        Split { hits, missed }
    }

    /// Hand packets out to the flows of a table that are not conjunctive; what is left.
    fn best(
        &mut self,
        sets: &mut Sets,
        space: &Space,
        table: u8,
        image: &Image,
        packets: Bdd,
        hits: &mut Vec<(usize, Bdd)>,
    ) -> Bdd {
        let mut left = packets;
        for index in 0..self.order(table).len() {
            if left.is_none() {
                break;
            }
            let place = self.order(table)[index];
            if !self.flows[place].conjunctive {
                let takes = self.takes(sets, space, place, image);
                let hit = sets.and(left, takes);
                if !hit.is_none() {
                    left = sets.without(left, hit);
                    hits.push((place, hit));
                }
            }
        }
        left
    }

    /// As the pipeline: a conjunctive flow takes no packet, but at each priority those above all plain
    /// flows that take the packet may complete a conjunction, and the table is looked up again with its
    /// id.
    fn look_up_conjunctive(
        &mut self,
        sets: &mut Sets,
        space: &Space,
        table: u8,
        image: &Image,
        packets: Bdd,
    ) -> Split {
        let (mut hits, mut left, mut start) = (Vec::new(), packets, 0);
        while start < self.order(table).len() && !left.is_none() {
            let priority_of =
                |program: &Self, index: usize| program.flows[program.order(table)[index]].entry.flow.priority;
            let priority = priority_of(self, start);
            let end = (start..self.order(table).len())
                .find(|index| priority_of(self, *index) != priority)
                .unwrap_or(self.order(table).len());
            let level: Vec<usize> = self.order(table)[start..end].to_vec();
            for place in
                level.iter().copied().filter(|place| !self.flows[*place].conjunctive).collect::<Vec<_>>()
            {
                let takes = self.takes(sets, space, place, image);
                let hit = sets.and(left, takes);
                if !hit.is_none() {
                    left = sets.without(left, hit);
                    hits.push((place, hit));
                }
            }
            for (id, complete) in self.complete(sets, space, &level, image) {
                let by_id = sets.and(left, complete);
                if by_id.is_none() {
                    continue;
                }
                let mut with_id = image.clone();
                with_id.set(Field::ConjId, id.into(), Field::ConjId.all_ones());
                let not_found = self.best(sets, space, table, &with_id, by_id, &mut hits);
                left = sets.without(left, by_id);
                left = sets.or(left, not_found);
            }
            start = end;
        }
        Split { hits, missed: left }
    }

    /// The conjunctions of some flows, by rising id, with the packets that complete them.
    fn complete(
        &mut self,
        sets: &mut Sets,
        space: &Space,
        level: &[usize],
        image: &Image,
    ) -> Vec<(u32, Bdd)> {
        let mut clauses: BTreeMap<(u32, u8), BTreeMap<u8, Vec<usize>>> = BTreeMap::new();
        for place in level.iter().copied().filter(|place| self.flows[*place].conjunctive) {
            for action in &self.flows[place].entry.flow.actions {
                if let Action::Conjunction { id, clause, n_clauses } = action {
                    let of_id = clauses.entry((*id, *n_clauses)).or_default();
                    of_id.entry(*clause).or_default().push(place);
                }
            }
        }
        let mut complete = Vec::new();
        for ((id, n), clauses) in clauses {
            if clauses.len() < usize::from(n) {
                continue;
            }
            let mut all = Bdd::ALL;
            for flows in clauses.values() {
                let takes: Vec<Bdd> =
                    flows.iter().map(|place| self.takes(sets, space, *place, image)).collect();
                let any = sets.union(takes);
                all = sets.and(all, any);
            }
            complete.push((id, all));
        }
        complete
    }
}

/// What of a flow verify can't follow.
fn unfollowed(entry: &Entry) -> Option<&'static str> {
    const ORIGINAL: [Field; 7] = [
        Field::CtNwSrc,
        Field::CtNwDst,
        Field::CtIpv6Src,
        Field::CtIpv6Dst,
        Field::CtNwProto,
        Field::CtTpSrc,
        Field::CtTpDst,
    ];
    if ORIGINAL.iter().any(|field| entry.flow.matching.get(*field).1 != 0) {
        return Some("a match on the connection's original addresses (ct_nw_src and its like)");
    }
    entry.flow.actions.iter().find_map(unfollowed_action)
}

fn unfollowed_action(action: &Action) -> Option<&'static str> {
    match action {
        Action::WriteActions(_) => Some("write_actions"),
        Action::CheckPktLarger { .. } => Some("check_pkt_larger"),
        Action::Resubmit { with_ct_orig: true, .. } => Some("resubmit(,N,ct)"),
        Action::Clone(actions) => actions.iter().find_map(unfollowed_action),
        Action::Ct(ct) if matches!(ct.zone, CtZone::Field(_)) => Some("ct(zone=FIELD)"),
        _ => None,
    }
}

/// Where a list of actions may send a packet on.
fn targets(actions: &[Action], table: u8, found: &mut Vec<u8>) {
    for action in actions {
        match action {
            Action::Resubmit { table: to, .. } => found.push(to.unwrap_or(table)),
            Action::GotoTable(to) => found.push(*to),
            Action::Ct(ct) => found.extend(ct.table),
            Action::Clone(actions) => targets(actions, table, found),
            Action::Output { port: PortNo::TABLE, .. } => found.push(0),
            _ => {}
        }
    }
}

/// Whether a packet may be looked up more often than the evaluator allows: not where all ways lead to
/// higher tables, and the longest has few look-ups.
fn may_reach_limits(pipeline: &Pipeline) -> bool {
    let mut lookups = [1_usize; 256];
    let numbers: Vec<u8> = pipeline.tables().collect();
    for number in numbers.into_iter().rev() {
        for entry in pipeline.table(number) {
            let mut found = Vec::new();
            targets(&entry.flow.actions, number, &mut found);
            if found.iter().any(|to| *to <= number) {
                return true;
            }
            let below = found.iter().fold(1_usize, |sum, to| sum.saturating_add(lookups[usize::from(*to)]));
            lookups[usize::from(number)] = lookups[usize::from(number)].max(below);
        }
    }
    lookups.iter().max().is_some_and(|most| *most > footbridge_pipeline::evaluate::MAX_RESUBMITS)
}

/// The match of everything.
pub(crate) fn is_miss(matching: &Match, priority: u16) -> bool {
    priority == 0 && *matching == Match::any()
}
