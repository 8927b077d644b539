//! The evaluator's steps, written down.

use super::dump::{Bridge, StandsFor};
use super::names::{packet_text, port_name, summary, value_text};
use super::nat::{Changed, Met};
use super::why::passed;
use super::{Dropped, Left, Step, Stopped, Walk};
use footbridge_openflow::{Action, Field, Key, PortNo};
use footbridge_pipeline::conntrack::{Outcome, Request};
use footbridge_pipeline::observer::{Choice, List};
use footbridge_pipeline::{Drop, Entry, FlowId, Observer, Pipeline, Verdict};
use std::collections::BTreeSet;

/// Writes down what the evaluator tells, until the walk stops.
pub(super) struct Recorder<'a> {
    bridge: &'a Bridge,
    pipeline: &'a Pipeline,
    changed: &'a Changed,
    why_not: bool,
    /// The lists of actions under way.
    levels: Vec<Level>,
    /// The flow found last, whose actions follow.
    found: Option<FlowId>,
    /// Whether the copy that follows is a group's.
    is_group: bool,
    /// How many `ct(table=)` were answered.
    answered: usize,
    /// Tables that flows were added to on the way, which a dump does not have.
    learned: BTreeSet<u8>,
    met: Option<Met>,
    walk: Walk,
    in_port: PortNo,
}

/// A list of actions under way.
struct Level {
    list: List,
    flow: Option<FlowId>,
    next: usize,
    /// Whether it only serves to carry a group out.
    is_group: bool,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(
        bridge: &'a Bridge,
        pipeline: &'a Pipeline,
        changed: &'a Changed,
        key: &Key,
        why_not: bool,
    ) -> Recorder<'a> {
        let in_port = PortNo(key.get(Field::InPortOxm) as u32);
        let tables = pipeline.tables().map(|table| (table, bridge.tables.name(table).map(str::to_owned)));
        let walk = Walk {
            packet: packet_text(key, bridge.names()),
            in_port: port_name(in_port, bridge.names()),
            steps: Vec::new(),
            outputs: Vec::new(),
            leaves: Vec::new(),
            drop: None,
            stopped: None,
            tables: tables.collect(),
        };
        Recorder {
            bridge,
            pipeline,
            changed,
            why_not,
            levels: Vec::new(),
            found: None,
            is_group: false,
            answered: 0,
            learned: BTreeSet::new(),
            met: None,
            walk,
            in_port,
        }
    }

    /// The walk, and the `ct(nat)` at which it stopped.
    pub(super) fn finish(mut self, verdict: &Verdict) -> (Walk, Option<Met>) {
        if !self.is_over() {
            let ports = verdict.outputs.iter().map(|output| port_name(output.port, self.bridge.names()));
            self.walk.outputs = ports.collect();
            let sent = verdict.packet_ins.iter().filter(|packet_in| !packet_in.is_of_expired_ttl());
            self.walk.outputs.extend(sent.map(|_| "CONTROLLER".to_owned()));
            self.walk.drop = verdict.drop.map(Dropped::from);
        }
        (self.walk, self.met)
    }

    /// Whether it is unknown what else happens.
    fn is_over(&self) -> bool {
        self.walk.stopped.is_some() || self.met.is_some()
    }

    fn depth(&self) -> usize {
        self.levels.iter().filter(|level| !level.is_group).count()
    }

    fn push(&mut self, step: Step) {
        if !self.is_over() {
            self.walk.steps.push(step);
        }
    }

    fn stop(&mut self, at: String, why: String, needs: Option<String>) {
        if !self.is_over() {
            let table = self.table();
            self.walk.stopped = Some(Stopped { table, at, why, needs });
        }
    }

    /// The table of the flow whose actions are under way.
    fn table(&self) -> u8 {
        let tables = self.levels.iter().rev().filter_map(|level| match level.list {
            List::Flow(table) => Some(table),
            _ => None,
        });
        tables.into_iter().next().unwrap_or(0)
    }

    fn name(&self, table: u8) -> Option<String> {
        self.bridge.tables.name(table).map(str::to_owned)
    }

    /// Whether a flow that the packet made may decide here.
    fn may_be_learned(&mut self, table: u8) {
        if self.learned.contains(&table) {
            self.stop(
                format!("the lookup in table {table}"),
                "the flow that the packet's own learn() adds may take it".to_owned(),
                None,
            );
        }
    }

    fn passed(&self, table: u8, taker: Option<&Entry>, key: &Key) -> Vec<super::Passed> {
        if !self.why_not || self.is_over() {
            return Vec::new();
        }
        let line = |entry: &Entry| self.bridge.line_of(self.changed.written(self.bridge, entry.id).0);
        passed(self.pipeline, table, taker, key, self.bridge.names(), line)
    }
}

impl Observer for Recorder<'_> {
    fn matched(&mut self, table: u8, entry: &Entry, conjunction: Option<u32>, key: &Key) {
        self.may_be_learned(table);
        self.found = Some(entry.id);
        let (id, _) = self.changed.written(self.bridge, entry.id);
        let step = Step::Matched {
            depth: self.depth(),
            table,
            name: self.name(table),
            line: self.bridge.line_of(id),
            flow: self.bridge.text_of(self.bridge.pipeline.get(id).map_or(entry, |entry| entry), id),
            conjunction,
            passed: self.passed(table, Some(entry), key),
        };
        self.push(step);
    }

    fn missed(&mut self, table: u8, key: &Key) {
        self.may_be_learned(table);
        let step = Step::Missed {
            depth: self.depth(),
            table,
            name: self.name(table),
            passed: self.passed(table, None, key),
        };
        self.push(step);
    }

    fn action(&mut self, action: &Action, before: &Key, after: &Key) {
        let depth = self.depth();
        let table = self.table();
        let Some(level) = self.levels.last_mut() else { return };
        let (at, flow, in_group) = (level.next, level.flow, level.is_group);
        level.next += 1;
        if in_group && matches!(action, Action::ClearActions | Action::WriteActions(_) | Action::Clone(_)) {
            self.is_group = true;
            return;
        }
        let (bridge, changed) = (self.bridge, self.changed);
        let stands_for = flow.and_then(|id| {
            let (original, written) = changed.written(bridge, id);
            Some((id, original, written?.stands_for.get(&at)?))
        });
        let (text, note) = match stands_for {
            None => (action.display(bridge.names()).to_string(), None),
            Some((_, _, StandsFor::Action { text, note, learns })) => {
                self.learned.extend(learns);
                (text.clone(), note.clone())
            }
            Some((_, _, StandsFor::Group { text, note })) => {
                self.is_group = true;
                (text.clone(), Some(note.clone()))
            }
            Some((_, _, StandsFor::Stop { text, why, needs })) => {
                self.stop(text.clone(), why.clone(), needs.clone());
                return;
            }
            Some((id, original, StandsFor::Nat { text, ct })) => {
                if !self.is_over() {
                    self.met = Some(Met::new(table, (original, id), at, (text, ct), self.answered));
                }
                return;
            }
            Some((_, _, StandsFor::Translation)) => ("nat".to_owned(), None),
        };
        let changes = bridge.people.changes(before, after, bridge.names());
        if changes.is_empty() && matches!(stands_for, Some((_, _, StandsFor::Translation))) {
            return;
        }
        self.push(Step::Action { depth, action: text, changes, note });
    }

    fn enter(&mut self, list: List) {
        let flow = match list {
            List::Flow(_) => self.found.take(),
            _ => None,
        };
        // The copy that carries a group out, and what stands in it but for the bucket's own actions.
        let is_group = std::mem::take(&mut self.is_group) && matches!(list, List::Clone);
        self.levels.push(Level { list, flow, next: 0, is_group });
    }

    fn leave(&mut self, _list: List) {
        self.levels.pop();
    }

    fn tracked(&mut self, request: &Request, outcome: &Outcome) {
        self.answered += usize::from(request.continues);
        let state = value_text(Field::CtState, outcome.state.into(), self.bridge.names());
        let (depth, zone, mark) = (self.depth(), request.zone, outcome.mark);
        self.push(Step::Tracked { depth, zone, state, mark });
    }

    fn chosen(&mut self, choice: Choice) {
        let how = match choice {
            Choice::Learned(port) => {
                format!("the destination was learned on {}", port_name(port, self.bridge.names()))
            }
            Choice::Flood => "no port is known for the destination: flooded".to_owned(),
        };
        self.push(Step::Chosen { depth: self.depth(), how });
    }

    fn output(&mut self, port: PortNo, key: &Key) {
        if self.is_over() {
            return;
        }
        let name = port_name(port, self.bridge.names());
        self.walk.leaves.push(Left {
            port: name.clone(),
            summary: summary(key),
            packet: packet_text(key, self.bridge.names()),
            is_answer: port == self.in_port,
        });
        self.push(Step::Output { depth: self.depth(), port: name });
    }

    fn packet_in(&mut self, controller: u16, _reason: u8) {
        self.push(Step::PacketIn { depth: self.depth(), controller });
    }

    fn dropped(&mut self, drop: Drop) {
        self.push(Step::Dropped { depth: self.depth(), drop: drop.into() });
    }
}
