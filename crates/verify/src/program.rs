//! A pipeline made ready to be looked up by sets of packets; what can't be followed is refused by name.

use crate::bdd::{Bdd, Sets};
use crate::image::{Bit, Image};
use crate::live::{Live, Liveness};
use crate::space::Space;
use footbridge_openflow::{Action, Field, Flow, Match, PortNo};
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
    pub(crate) units: Vec<Unit>,
    pub(crate) live: Liveness,
    /// The bits that decide a packet's way.
    ways: Liveness,
    /// Whether ct() may be met from each table on.
    tracks: Vec<bool>,
    /// Whether a packet may come near the limits of look-ups, which then have to be counted.
    pub(crate) counts_lookups: bool,
}

/// One flow.
pub(crate) struct Row<'p> {
    pub(crate) entry: &'p Arc<Entry>,
    pub(crate) conjunctive: bool,
    /// Its unit, in [`Program::units`].
    pub(crate) unit: usize,
    /// Flows of the same priority that take some of the same packets and do different things.
    pub(crate) rivals: Vec<usize>,
    /// What it takes of the packets that are as they came in.
    as_came: Option<Bdd>,
}

/// Flows of one table, priority and mask that do the same but for registers and for constants which nobody
/// looks at before the packet leaves: looked up and carried out as one. No two of them take one packet.
#[derive(Default)]
pub(crate) struct Unit {
    /// Places in [`Program::flows`].
    pub(crate) members: Vec<usize>,
    /// What they take of the packets that are as they came in.
    takes: Option<Bdd>,
    /// The bits that differ, by the action that writes them.
    varying: Option<BTreeMap<usize, Vec<(u8, Bit)>>>,
}

#[derive(Default)]
struct Table {
    /// Places in [`Program::flows`], the flow that wins first.
    order: Vec<usize>,
    /// Places in [`Program::units`], in the order of their first flows.
    units: Vec<usize>,
    conjunctive: bool,
}

/// Priority and mask of a unit's flows.
type Kind = (u16, Vec<(u8, u64)>);

/// Who takes packets in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Taker {
    /// A flow, by its place.
    Flow(usize),
    /// One of the flows of a unit.
    Unit(usize),
}

/// What becomes of a set of packets in a table.
pub(crate) struct Split {
    /// Which flow takes which packets.
    pub(crate) hits: Vec<(Taker, Bdd)>,
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
                follow(entry)?;
                let conjunctive =
                    entry.flow.actions.iter().any(|action| matches!(action, Action::Conjunction { .. }));
                table.conjunctive |= conjunctive;
                table.order.push(flows.len());
                flows.push(Row { entry, conjunctive, unit: 0, rivals: Vec::new(), as_came: None });
            }
            table.order.sort_by_key(|place| {
                let entry = flows[*place].entry;
                (std::cmp::Reverse(entry.flow.priority), pipeline.position(entry.id))
            });
        }
        let places: hashbrown::HashMap<FlowId, usize> =
            flows.iter().enumerate().map(|(place, row)| (row.entry.id, place)).collect();
        let mut alone = vec![true; flows.len()];
        for place in 0..flows.len() {
            let flow = &flows[place].entry.flow;
            let overlapping = pipeline.overlapping(flow.table, flow.priority, &flow.matching);
            let overlapping: Vec<usize> =
                overlapping.filter_map(|other| places.get(&other.id).copied()).collect();
            alone[place] = overlapping.is_empty();
            let rivals = overlapping.into_iter().filter(|other| {
                flows[*other].entry.flow.actions != flow.actions
                    && !flows[*other].conjunctive
                    && !flows[place].conjunctive
            });
            flows[place].rivals = rivals.collect();
        }
        let ways = Liveness::of_ways(pipeline);
        let mut units: Vec<Unit> = Vec::new();
        for table in tables.values_mut() {
            let mut open: hashbrown::HashMap<Kind, Vec<usize>> = hashbrown::HashMap::new();
            for place in table.order.iter().copied() {
                let flow = &flows[place].entry.flow;
                let mask = flow.matching.terms().iter().map(|term| (term.word, term.mask)).collect();
                let like = open.entry((flow.priority, mask)).or_default();
                let fits = |unit: &&usize| {
                    alone[place]
                        && units[**unit].members.first().is_some_and(|first| {
                            alone[*first] && are_alike(&flows[*first].entry.flow, flow, &ways)
                        })
                };
                // A few kinds of actions a shape: where there are many, they are not worth looking through.
                match like.iter().rev().take(4).find(fits).copied() {
                    Some(unit) => units[unit].members.push(place),
                    None => {
                        like.push(units.len());
                        table.units.push(units.len());
                        units.push(Unit { members: vec![place], ..Unit::default() });
                    }
                }
            }
        }
        for (number, unit) in units.iter().enumerate() {
            unit.members.iter().for_each(|place| flows[*place].unit = number);
        }
        let counts_lookups = may_reach_limits(pipeline);
        Ok(Program {
            flows,
            tables,
            units,
            live: Liveness::of(pipeline),
            ways,
            tracks: tracking(pipeline),
            counts_lookups,
        })
    }

    /// The places of a table's flows, the one that wins first.
    pub(crate) fn order(&self, table: u8) -> &[usize] {
        self.tables.get(&table).map_or(&[], |table| &table.order)
    }

    /// The tables that have flows.
    pub(crate) fn tables(&self) -> impl Iterator<Item = u8> {
        self.tables.keys().copied()
    }

    /// The tables that flows of one send packets to.
    pub(crate) fn sends_to(&self, table: u8) -> Vec<u8> {
        let mut found = Vec::new();
        for place in self.order(table) {
            targets(&self.flows[*place].entry.flow.actions, table, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Whether ct() may be met from a table on.
    pub(crate) fn tracks_from(&self, table: u8) -> bool {
        self.tracks[usize::from(table)]
    }

    /// Whether ct() may be met from a list of actions of a flow in `table` on.
    pub(crate) fn tracks_in(&self, actions: &[Action], table: u8) -> bool {
        let mut found = Vec::new();
        targets(actions, table, &mut found);
        tracks(actions) || found.into_iter().any(|table| self.tracks_from(table))
    }

    /// The bits by which packets that come to a table may differ and be looked up as one: those of
    /// registers, and those that decide nothing before the packet leaves.
    pub(crate) fn mergeable(&self, table: u8) -> Live {
        let mut mergeable = self.ways.at(table).inverted();
        for field in Field::all().filter(|field| is_register(*field)) {
            mergeable.add(field, field.all_ones());
        }
        mergeable
    }

    /// The packets that a flow's match takes, priorities aside.
    pub(crate) fn takes(&mut self, sets: &mut Sets, space: &Space, place: usize, image: &Image) -> Bdd {
        let matching = &self.flows[place].entry.flow.matching;
        match image.leaves_alone(matching) {
            true => self.member_takes(sets, space, place),
            false => image.set_of(sets, space, matching),
        }
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
        hits: &mut Vec<(Taker, Bdd)>,
    ) -> Bdd {
        let mut left = packets;
        let units = self.tables.get(&table).map(|table| table.units.clone()).unwrap_or_default();
        for unit in units {
            let members = &self.units[unit].members;
            let first = members.first().copied().unwrap_or_default();
            if members.len() > 1 && image.leaves_alone(&self.flows[first].entry.flow.matching) {
                let takes = self.unit_takes(sets, space, unit);
                self.hand_out(sets, Taker::Unit(unit), takes, &mut left, hits);
                continue;
            }
            for member in 0..members.len() {
                let place = self.units[unit].members[member];
                if left.is_none() {
                    return left;
                }
                if !self.flows[place].conjunctive {
                    let takes = self.takes(sets, space, place, image);
                    self.hand_out(sets, Taker::Flow(place), takes, &mut left, hits);
                }
            }
        }
        left
    }

    fn hand_out(
        &self,
        sets: &mut Sets,
        taker: Taker,
        takes: Bdd,
        left: &mut Bdd,
        hits: &mut Vec<(Taker, Bdd)>,
    ) {
        let hit = sets.and(*left, takes);
        if !hit.is_none() {
            *left = sets.without(*left, takes);
            hits.push((taker, hit));
        }
    }

    /// What the flows of a table but one take of the packets that are as they came in.
    pub(crate) fn all_takes(
        &mut self,
        sets: &mut Sets,
        space: &Space,
        table: u8,
        but: Option<usize>,
    ) -> Vec<Bdd> {
        let units = self.tables.get(&table).map(|table| table.units.clone()).unwrap_or_default();
        let mut all = Vec::new();
        for unit in units {
            let members = &self.units[unit].members;
            let counts = members.iter().all(|place| Some(*place) != but && !self.flows[*place].conjunctive);
            if counts {
                all.push(self.unit_takes(sets, space, unit));
            }
        }
        all
    }

    fn unit_takes(&mut self, sets: &mut Sets, space: &Space, unit: usize) -> Bdd {
        if let Some(takes) = self.units[unit].takes {
            return takes;
        }
        let members = self.units[unit].members.iter();
        let matches = members.map(|place| self.flows[*place].entry.flow.matching.clone());
        let takes = space.any(sets, matches);
        self.units[unit].takes = Some(takes);
        takes
    }

    /// What a flow takes of the packets that are as they came in.
    pub(crate) fn member_takes(&mut self, sets: &mut Sets, space: &Space, place: usize) -> Bdd {
        let row = &mut self.flows[place];
        *row.as_came.get_or_insert_with(|| space.set(sets, &row.entry.flow.matching))
    }

    /// The bits that action `index` of a unit writes differently for different packets.
    pub(crate) fn varying(
        &mut self,
        sets: &mut Sets,
        space: &Space,
        unit: usize,
        index: usize,
    ) -> Vec<(u8, Bit)> {
        if self.units[unit].varying.is_none() {
            let varying = self.all_varying(sets, space, unit);
            self.units[unit].varying = Some(varying);
        }
        let varying = self.units[unit].varying.as_ref().and_then(|varying| varying.get(&index));
        varying.cloned().unwrap_or_default()
    }

    fn all_varying(&self, sets: &mut Sets, space: &Space, unit: usize) -> BTreeMap<usize, Vec<(u8, Bit)>> {
        let members = self.units[unit].members.clone();
        let first = members.first().copied().unwrap_or_default();
        let mut all = BTreeMap::new();
        for index in 0..self.flows[first].entry.flow.actions.len() {
            let write = |program: &Self, place: usize| {
                program.flows[place].entry.flow.actions.get(index).and_then(Action::field_write)
            };
            let Some(own) = write(self, first) else { continue };
            let values: Vec<u128> = members
                .iter()
                .map(|place| write(self, *place).map_or(own.value, |write| write.value))
                .collect();
            let differing = values.iter().fold(0, |bits, value| bits | (value ^ own.value));
            let mut bits = Vec::new();
            for bit in (0..own.field.info().width).filter(|bit| differing >> bit & 1 == 1) {
                let with = members.iter().zip(&values).filter(|(_, value)| *value >> bit & 1 == 1);
                let with = with.map(|(place, _)| self.flows[*place].entry.flow.matching.clone());
                bits.push((bit, Bit::In(space.any(sets, with))));
            }
            if !bits.is_empty() {
                all.insert(index, bits);
            }
        }
        all
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
                self.hand_out(sets, Taker::Flow(place), takes, &mut left, &mut hits);
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

/// Registers are few bits, and few flows look at them.
fn is_register(field: Field) -> bool {
    (Field::Reg0.info().location.word..=Field::Reg15.info().location.word)
        .contains(&field.info().location.word)
}

/// Whether two flows do the same, but for registers and for constants that decide nothing before the
/// packet leaves.
fn are_alike(a: &Flow, b: &Flow, ways: &Liveness) -> bool {
    a.actions.len() == b.actions.len()
        && a.actions.iter().zip(&b.actions).enumerate().all(|(index, (one, other))| {
            one == other
                || match (one.field_write(), other.field_write()) {
                    (Some(x), Some(y)) => {
                        let rest = a.actions.get(index + 1..).unwrap_or_default();
                        (x.field, x.mask) == (y.field, y.mask)
                            && (is_register(x.field)
                                || !ways.before(rest, a.table, Live::NONE).has(x.field, x.mask))
                    }
                    _ => false,
                }
        })
}

/// Whether a flow can be followed.
pub(crate) fn follow(entry: &Entry) -> Result<(), Unfollowed> {
    unfollowed(entry).map_or(Ok(()), |what| Err(Unfollowed { flow: entry.id, what }))
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

/// Whether a list of actions has a ct() of its own.
fn tracks(actions: &[Action]) -> bool {
    actions.iter().any(|action| match action {
        Action::Ct(_) => true,
        Action::Clone(actions) => tracks(actions),
        _ => false,
    })
}

/// The tables from which ct() may be met.
fn tracking(pipeline: &Pipeline) -> Vec<bool> {
    let (mut tables, mut leads) = (vec![false; 256], Vec::new());
    for entry in pipeline.entries() {
        let table = entry.flow.table;
        tables[usize::from(table)] |= tracks(&entry.flow.actions);
        let mut found = Vec::new();
        targets(&entry.flow.actions, table, &mut found);
        leads.extend(found.into_iter().map(|to| (table, to)));
    }
    leads.sort_unstable();
    leads.dedup();
    loop {
        let before = tables.clone();
        for (from, to) in &leads {
            tables[usize::from(*from)] |= tables[usize::from(*to)];
        }
        if tables == before {
            return tables;
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
