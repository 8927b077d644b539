//! One packet's way through a dump, recorded.
//!
//! The evaluator is the pipeline's own; this only listens. A walk reads no clock and keeps nothing
//! between two packets, so the same files and packet give the same text.

mod text;

use footbridge_node::tables::TableId;
use footbridge_openflow::field::Format;
use footbridge_openflow::text::{ParseError, parse_dump};
use footbridge_openflow::{Action, Field, Key, MacAddr, Match, PortNames, PortNo};
use footbridge_pipeline::conntrack::{Memo, Outcome, Request, Tracker, state};
use footbridge_pipeline::observer::{Choice, List};
use footbridge_pipeline::packet::Frame;
use footbridge_pipeline::{Drop, Entry, Fdb, FlowId, Observer, Pipeline, PortKind, PortSet, Refusal, Time};
use footbridge_verify::{Answer, VerifyError};
use serde::Serialize;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A bridge as a dump describes it.
pub(crate) struct Bridge {
    pipeline: Pipeline,
    ports: PortSet,
    names: PortNames,
    lines: HashMap<FlowId, usize>,
}

/// Why a dump is no bridge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    /// A line is no flow.
    #[error("{0}")]
    Parse(Box<ParseError>),
    /// A flow that the evaluator does not take.
    #[error("{file}:{line}: {refusal}")]
    Refused {
        /// The dump.
        file: String,
        /// Its line.
        line: usize,
        /// Why.
        refusal: Refusal,
    },
}

/// What happened to a packet, in order.
#[derive(Debug, Serialize)]
pub(crate) struct Walk {
    /// The steps.
    pub(crate) steps: Vec<Step>,
    /// Names or numbers of the ports that it left by.
    pub(crate) outputs: Vec<String>,
    /// Why it left by none.
    pub(crate) drop: Option<Dropped>,
}

/// One step.
#[derive(Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(crate) enum Step {
    /// A flow took the packet.
    Matched {
        /// How many lists of actions are under way.
        depth: usize,
        /// The table.
        table: u8,
        /// Its name, if it is one of the agent's.
        name: Option<&'static str>,
        /// The flow's line in the dump.
        line: Option<usize>,
        /// The flow.
        flow: String,
        /// The conjunction that it was found by.
        conjunction: Option<u32>,
    },
    /// No flow of the table takes the packet.
    Missed {
        /// How many lists of actions are under way.
        depth: usize,
        /// The table.
        table: u8,
        /// Its name, if it is one of the agent's.
        name: Option<&'static str>,
    },
    /// An action was carried out.
    Action {
        /// How many lists of actions are under way.
        depth: usize,
        /// The action.
        action: String,
        /// What it changed.
        changes: Vec<Change>,
    },
    /// ct() answered.
    Tracked {
        /// How many lists of actions are under way.
        depth: usize,
        /// The zone.
        zone: u16,
        /// What it found, as flow text.
        state: String,
        /// The connection's mark.
        mark: u32,
    },
    /// NORMAL or a flood chose ports.
    Chosen {
        /// How many lists of actions are under way.
        depth: usize,
        /// How.
        how: String,
    },
    /// The packet left.
    Output {
        /// How many lists of actions are under way.
        depth: usize,
        /// By this port.
        port: String,
    },
    /// The packet went to a controller.
    PacketIn {
        /// How many lists of actions are under way.
        depth: usize,
        /// Which.
        controller: u16,
    },
    /// The packet, or a copy, went nowhere.
    Dropped {
        /// How many lists of actions are under way.
        depth: usize,
        /// Why and where.
        #[serde(flatten)]
        drop: Dropped,
    },
}

/// A field that an action changed.
#[derive(Debug, Serialize)]
pub(crate) struct Change {
    /// The field.
    pub(crate) field: &'static str,
    /// Its value before.
    pub(crate) old: String,
    /// And after.
    pub(crate) new: String,
}

/// Why and where a packet ended.
#[derive(Debug, Serialize)]
pub(crate) struct Dropped {
    /// The reason's name.
    pub(crate) reason: &'static str,
    /// What it means.
    pub(crate) description: &'static str,
    /// The table looked up last.
    pub(crate) table: u8,
}

/// What one ct() is supposed to find.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CtAnswer {
    state: u8,
    mark: u32,
    label: u128,
}

impl Bridge {
    /// Read a dump.
    ///
    /// # Errors
    /// The first line that is no flow, or one that no bridge would take.
    pub(crate) fn read(dump: &str, file: &str, names: PortNames, tunnel: &str) -> Result<Bridge, WalkError> {
        let mut pipeline = Pipeline::new();
        let mut lines = HashMap::new();
        for parsed in parse_dump(dump, file, &names).map_err(|error| WalkError::Parse(Box::new(error)))? {
            let inserted = pipeline.insert(parsed.flow, Time::default()).map_err(|refusal| {
                WalkError::Refused { file: file.to_owned(), line: parsed.line, refusal }
            })?;
            lines.insert(inserted.entry.id, parsed.line);
        }
        let mut ports = PortSet::default();
        for (number, name) in names.iter() {
            ports.insert(number, if name == tunnel { PortKind::Tunnel } else { PortKind::Ordinary });
        }
        Ok(Bridge { pipeline, ports, names, lines })
    }

    /// The ports' names.
    pub(crate) fn names(&self) -> &PortNames {
        &self.names
    }

    /// The flows.
    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The ports.
    pub(crate) fn ports(&self) -> &PortSet {
        &self.ports
    }

    /// A flow's line in the dump.
    pub(crate) fn line_of(&self, flow: FlowId) -> Option<usize> {
        self.lines.get(&flow).copied()
    }

    /// The bridge with the ports that its flows name, for want of a list of them.
    pub(crate) fn with_ports_of_flows(mut self, tunnel: PortNo) -> Bridge {
        let kind = |port| if port == tunnel { PortKind::Tunnel } else { PortKind::Ordinary };
        for entry in self.pipeline.entries() {
            let matched = entry.flow.matching.exact(Field::InPort).map(|port| PortNo(port as u32));
            let named = entry.flow.actions.iter().filter_map(|action| match action {
                Action::Output { port, .. } | Action::OutputTruncated { port, .. } => Some(*port),
                _ => None,
            });
            for port in matched.into_iter().chain(named).filter(|port| port.is_ordinary()) {
                self.ports.insert(port, kind(port));
            }
        }
        self
    }

    /// What is said of a flow that verify can't follow, with its place.
    pub(crate) fn explain(&self, error: &VerifyError, file: &str) -> String {
        match error {
            VerifyError::Unfollowed(unfollowed) => match self.line_of(unfollowed.flow) {
                Some(line) => format!("{file}:{line}: {error}"),
                None => format!("{file}: {error}"),
            },
            VerifyError::TooMuch(_) => format!("{file}: {error}"),
        }
    }

    /// Take a packet through; `answers` are what ct() finds, one after the other.
    pub(crate) fn walk(&self, key: &Key, answers: &[CtAnswer]) -> Walk {
        let mut recorder = Recorder { bridge: self, depth: 0, steps: Vec::new() };
        let mut script = Script { answers: answers.iter().copied().collect(), last: CtAnswer::default() };
        // As of ofproto/trace, a walk has no effects: NORMAL does not learn the packet's own source.
        let mut fdb = Fdb::with_limit(0);
        let verdict = self.pipeline.process_key(
            &mut fdb,
            &self.ports,
            &mut script,
            key,
            Time::default(),
            &mut recorder,
        );
        let mut outputs: Vec<String> = verdict.outputs.iter().map(|output| self.port(output.port)).collect();
        let sent = verdict.packet_ins.iter().filter(|packet_in| !packet_in.is_of_expired_ttl());
        outputs.extend(sent.map(|_| "CONTROLLER".to_owned()));
        Walk { steps: recorder.steps, outputs, drop: verdict.drop.map(Dropped::from) }
    }

    fn port(&self, port: PortNo) -> String {
        self.names.name(port).map_or_else(|| port.0.to_string(), str::to_owned)
    }
}

impl From<Drop> for Dropped {
    fn from(drop: Drop) -> Dropped {
        Dropped { reason: drop.reason.name(), description: drop.reason.description(), table: drop.table }
    }
}

impl Default for CtAnswer {
    fn default() -> CtAnswer {
        CtAnswer { state: state::TRK | state::NEW, mark: 0, label: 0 }
    }
}

/// Answers ct() from a list: each `ct(table=)` takes the next; a ct() without table, which shows the
/// packet nothing, is of the connection answered last.
struct Script {
    answers: VecDeque<CtAnswer>,
    last: CtAnswer,
}

impl Tracker for Script {
    fn track(&mut self, _frame: &Frame, _memo: &mut Option<Memo>, request: &Request, _now: Time) -> Outcome {
        if request.continues {
            self.last = self.answers.pop_front().unwrap_or_default();
        }
        let answer = self.last;
        Outcome {
            state: answer.state,
            zone: request.zone,
            mark: (answer.mark & !request.mark.1) | (request.mark.0 & request.mark.1),
            label: (answer.label & !request.label.1) | (request.label.0 & request.label.1),
            original: None,
        }
    }
}

impl FromStr for CtAnswer {
    type Err = String;

    fn from_str(text: &str) -> Result<CtAnswer, String> {
        let mut answer = CtAnswer { state: state::TRK, mark: 0, label: 0 };
        for word in text.split([',', '|', '+']).filter(|word| !word.is_empty()) {
            answer.state |= match word {
                "trk" => state::TRK,
                "new" => state::NEW,
                "est" => state::EST,
                "rel" => state::REL,
                "rpl" => state::RPL,
                "inv" => state::INV,
                _ => {
                    let mark = word.strip_prefix("mark=").and_then(number);
                    answer.mark = mark.ok_or_else(|| {
                        format!("'{word}': expected trk, new, est, rel, rpl, inv or mark=NUMBER")
                    })?;
                    0
                }
            };
        }
        Ok(answer)
    }
}

impl From<&Answer> for CtAnswer {
    fn from(answer: &Answer) -> CtAnswer {
        CtAnswer { state: answer.state, mark: answer.mark, label: answer.label }
    }
}

/// As it is read; a label, which can't be, behind it.
impl fmt::Display for CtAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const FLAGS: [(u8, &str); 6] = [
            (state::TRK, "trk"),
            (state::NEW, "new"),
            (state::EST, "est"),
            (state::REL, "rel"),
            (state::RPL, "rpl"),
            (state::INV, "inv"),
        ];
        let set = FLAGS.iter().filter(|(flag, _)| self.state & flag != 0);
        f.write_str(&set.map(|(_, word)| *word).collect::<Vec<_>>().join(","))?;
        if self.mark != 0 {
            write!(f, ",mark={:#x}", self.mark)?;
        }
        if self.label != 0 {
            write!(f, " (label {:#x})", self.label)?;
        }
        Ok(())
    }
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Writes down what the evaluator tells.
struct Recorder<'a> {
    bridge: &'a Bridge,
    depth: usize,
    steps: Vec<Step>,
}

impl Observer for Recorder<'_> {
    fn matched(&mut self, table: u8, entry: &Entry, conjunction: Option<u32>, _key: &Key) {
        self.steps.push(Step::Matched {
            depth: self.depth,
            table,
            name: table_name(table),
            line: self.bridge.lines.get(&entry.id).copied(),
            flow: entry.flow.display(&self.bridge.names).to_string().trim_start().to_owned(),
            conjunction,
        });
    }

    fn missed(&mut self, table: u8, _key: &Key) {
        self.steps.push(Step::Missed { depth: self.depth, table, name: table_name(table) });
    }

    fn action(&mut self, action: &Action, before: &Key, after: &Key) {
        self.steps.push(Step::Action {
            depth: self.depth,
            action: action.display(&self.bridge.names).to_string(),
            changes: changes(before, after, &self.bridge.names),
        });
    }

    fn enter(&mut self, _list: List) {
        self.depth += 1;
    }

    fn leave(&mut self, _list: List) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn tracked(&mut self, request: &Request, outcome: &Outcome) {
        let state = value_text(Field::CtState, outcome.state.into(), &self.bridge.names);
        self.steps.push(Step::Tracked { depth: self.depth, zone: request.zone, state, mark: outcome.mark });
    }

    fn chosen(&mut self, choice: Choice) {
        let how = match choice {
            Choice::Learned(port) => format!("the destination was learned on {}", self.bridge.port(port)),
            Choice::Flood => "no port is known for the destination: flooded".to_owned(),
        };
        self.steps.push(Step::Chosen { depth: self.depth, how });
    }

    fn output(&mut self, port: PortNo, _key: &Key) {
        self.steps.push(Step::Output { depth: self.depth, port: self.bridge.port(port) });
    }

    fn packet_in(&mut self, controller: u16, _reason: u8) {
        self.steps.push(Step::PacketIn { depth: self.depth, controller });
    }

    fn dropped(&mut self, drop: Drop) {
        self.steps.push(Step::Dropped { depth: self.depth, drop: drop.into() });
    }
}

fn table_name(table: u8) -> Option<&'static str> {
    TableId::ALL.iter().find(|id| **id as u8 == table).map(|id| id.name())
}

/// The fields that differ. Of fields that share bits only the first is named.
fn changes(before: &Key, after: &Key, names: &PortNames) -> Vec<Change> {
    let mut named: Vec<(usize, usize)> = Vec::new();
    let mut changes = Vec::new();
    for field in Field::all().filter(|field| !field.name().starts_with('x')) {
        let (old, new) = (before.get(field), after.get(field));
        let location = field.info().location;
        let start = usize::from(location.word) * 64 + usize::from(location.shift);
        let bits = (start, start + field.width() as usize);
        if old == new || named.iter().any(|other| other.0 < bits.1 && bits.0 < other.1) {
            continue;
        }
        named.push(bits);
        changes.push(Change {
            field: field.name(),
            old: value_text(field, old, names),
            new: value_text(field, new, names),
        });
    }
    changes
}

/// A field's value as it stands in flow text.
fn value_text(field: Field, value: u128, names: &PortNames) -> String {
    match field.info().format {
        Format::Decimal => value.to_string(),
        Format::Hex => format!("{value:#x}"),
        Format::Ethernet => MacAddr::from(value).to_string(),
        Format::Ipv4 => Ipv4Addr::from(value as u32).to_string(),
        Format::Ipv6 => Ipv6Addr::from(value).to_string(),
        Format::Port
        | Format::CtState
        | Format::TunFlags
        | Format::Frag
        | Format::TcpFlags
        | Format::PacketType => {
            let text = Match::any().with(field, value).display(names).to_string();
            text.rsplit_once('=').map_or_else(|| format!("{value:#x}"), |(_, value)| value.to_owned())
        }
    }
}
