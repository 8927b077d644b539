//! A counterexample on the evaluator: nothing is claimed of a packet that was not seen to happen to it.

use crate::space::Answer;
use footbridge_openflow::{Action, Field, Key, Match, PortNames, PortNo};
use footbridge_pipeline::conntrack::{Memo, Outcome, Request, Tracker, state};
use footbridge_pipeline::packet::Frame;
use footbridge_pipeline::{Drop, DropReason, Entry, Fdb, FlowId, Observer, Pipeline, PortSet, Time};
use std::collections::VecDeque;

/// A packet that shows something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its fields as it comes in; registers too, where it is looked up in `table` at once.
    pub key: Key,
    /// What ct(table=) answers, one after the other.
    pub answers: Vec<Answer>,
    /// The only table that it is looked up in: no packet that comes in gets there and shows it.
    pub table: Option<u8>,
}

impl Witness {
    /// The packet in the words that flow text, `walk` and `ofproto/trace` have: what is 0 is left out.
    pub fn packet(&self, names: &PortNames) -> String {
        let mut matching = Match::any();
        for field in Field::all().filter(|field| *field != Field::InPortOxm) {
            let overlay = field.name().starts_with('x');
            let value = self.key.get(field);
            if value != 0 && !overlay && self.has(field) {
                matching.set(field, value, field.all_ones());
            }
        }
        matching.display(names).to_string()
    }

    /// Whether the packet has the field's layer, or could have it.
    fn has(&self, field: Field) -> bool {
        if !footbridge_pipeline::packet::is_packet_field(field) {
            return field != Field::ActsetOutput;
        }
        let below = [Field::EthType, Field::NwProto, Field::Icmpv6Type, Field::Icmpv6Code, Field::VlanTci];
        let below = below.into_iter().fold(Match::any(), |m, field| m.with(field, self.key.get(field)));
        field.info().prereq.holds(&below)
    }
}

/// What happened to a packet.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The tables that it was looked up in, with the flows that took it.
    pub lookups: Vec<(u8, Option<FlowId>)>,
    /// Its fields at each of these.
    pub keys: Vec<Key>,
    /// The ports that it left by, with its fields then.
    pub outputs: Vec<(PortNo, Key)>,
    /// The controllers that it was sent to, for other reasons than an expired TTL.
    pub controllers: Vec<u16>,
    /// Whether NORMAL switched it.
    pub switched: bool,
    /// Why it, or copies, went nowhere.
    pub lost: Vec<DropReason>,
}

impl Trace {
    /// Whether it was looked up in a table.
    pub fn came_to(&self, table: u8) -> bool {
        self.lookups.iter().any(|(number, _)| *number == table)
    }

    /// Whether a flow took it.
    pub fn took(&self, flow: FlowId) -> bool {
        self.lookups.iter().any(|(_, taken)| *taken == Some(flow))
    }

    /// Whether no flow of a table took it.
    pub fn missed(&self, table: u8) -> bool {
        self.lookups.contains(&(table, None))
    }

    /// Whether it left at all.
    pub fn left(&self) -> bool {
        !self.outputs.is_empty() || !self.controllers.is_empty()
    }
}

/// Take a witness through the tables, with the evaluator.
pub fn replay(pipeline: &Pipeline, ports: &PortSet, witness: &Witness) -> Trace {
    let mut trace = Trace::default();
    if let Some(table) = witness.table {
        let found = pipeline.lookup(table, &witness.key);
        trace.lookups.push((table, found.map(|found| found.entry.id)));
        trace.keys.push(witness.key.clone());
        return trace;
    }
    let mut script = Script { answers: witness.answers.iter().copied().collect(), last: NEW };
    let mut fdb = Fdb::with_limit(0);
    let verdict = pipeline.process_key(
        &mut fdb,
        ports,
        &mut script,
        &witness.key,
        Time::default(),
        &mut Listener(&mut trace),
    );
    if verdict.outputs.is_empty() {
        // Given up with all that it sent.
        trace.outputs.clear();
    }
    let told = verdict.packet_ins.iter().filter(|told| !told.is_of_expired_ttl());
    trace.controllers = told.map(|told| told.controller).collect();
    trace
}

struct Listener<'a>(&'a mut Trace);

impl Observer for Listener<'_> {
    fn matched(&mut self, table: u8, entry: &Entry, _conjunction: Option<u32>, key: &Key) {
        self.0.lookups.push((table, Some(entry.id)));
        self.0.keys.push(key.clone());
    }

    fn missed(&mut self, table: u8, key: &Key) {
        self.0.lookups.push((table, None));
        self.0.keys.push(key.clone());
    }

    fn action(&mut self, action: &Action, _before: &Key, _after: &Key) {
        self.0.switched |= matches!(action, Action::Output { port: PortNo::NORMAL, .. });
    }

    fn output(&mut self, port: PortNo, key: &Key) {
        self.0.outputs.push((port, key.clone()));
    }

    fn dropped(&mut self, drop: Drop) {
        self.0.lost.push(drop.reason);
    }
}

/// What ct() answers where nothing else is said.
const NEW: Answer = Answer { state: state::TRK | state::NEW, mark: 0, label: 0 };

/// Answers from a list, as `walk` does.
struct Script {
    answers: VecDeque<Answer>,
    last: Answer,
}

impl Tracker for Script {
    fn track(&mut self, _frame: &Frame, _memo: &mut Option<Memo>, request: &Request, _now: Time) -> Outcome {
        if request.continues {
            self.last = self.answers.pop_front().unwrap_or(NEW);
        }
        Outcome {
            state: self.last.state,
            zone: request.zone,
            mark: (self.last.mark & !request.mark.1) | (request.mark.0 & request.mark.1),
            label: (self.last.label & !request.label.1) | (request.label.0 & request.label.1),
            original: None,
        }
    }
}
