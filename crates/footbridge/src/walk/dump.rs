//! A bridge as a dump tells it.
//!
//! A dump may hold flows that the evaluator does not carry out: groups, meters, `learn`, `ct(nat)` and actions
//! that flow text here does not have. [`Bridge::read`] refuses them; [`Bridge::read_partly`] keeps the flow up
//! to what it can't carry out, and a walk that comes there says what is missing. In the evaluator's place for such an
//! action stands one that does what is known of it, or `note`, which does nothing and where the walk stops.

use super::groups::{Chosen, Groups};
use super::names::People;
use super::tables::{TableNames, TablesError};
use crate::verify;
use footbridge_openflow::action::Ct;
use footbridge_openflow::text::{ParseError, Problem, parse_dump, parse_flow_with_stats};
use footbridge_openflow::{Action, Field, Flow, PortNames, PortNo};
use footbridge_pipeline::refusal::Reason;
use footbridge_pipeline::{Entry, FlowId, Pipeline, PortKind, PortSet, Refusal, Time};
use footbridge_verify::{Node, VerifyError};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// A bridge as a dump describes it.
pub(crate) struct Bridge {
    pub(super) pipeline: Pipeline,
    ports: PortSet,
    names: PortNames,
    pub(super) flows: HashMap<FlowId, Written>,
    pub(super) tables: TableNames,
    pub(super) people: People,
    node: Option<Node>,
}

/// Everything that tells of a bridge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dump<'a> {
    /// What `ovs-ofctl dump-flows` prints.
    pub(crate) flows: &'a str,
    /// What to call that text in errors.
    pub(crate) file: &'a str,
    /// The port that is a tunnel, by name.
    pub(crate) tunnel: &'a str,
    /// And the gateway.
    pub(crate) gateway: &'a str,
    /// The tables' names, where given.
    pub(crate) tables: Option<&'a TableNames>,
    /// The groups.
    pub(crate) groups: &'a Groups,
    /// By group, the bucket to take.
    pub(crate) buckets: &'a BTreeMap<u32, u32>,
}

/// Why a dump is no bridge.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    /// A line is no flow.
    #[error("{0}")]
    Parse(Box<ParseError>),
    /// A flow that no bridge takes.
    #[error("{file}:{line}: {refusal}")]
    Refused {
        /// The dump.
        file: String,
        /// Its line.
        line: usize,
        /// Why.
        refusal: Refusal,
    },
    /// A table that has no number.
    #[error("{file}:{line}: {source}")]
    Tables {
        /// The dump.
        file: String,
        /// Its line.
        line: usize,
        /// Which.
        source: TablesError,
    },
}

/// A flow as the dump has it.
#[derive(Debug, Clone)]
pub(super) struct Written {
    /// Its line.
    pub(super) line: usize,
    /// Its own text, without statistics, where the evaluator's flow is not the whole of it.
    pub(super) text: Option<String>,
    /// Where the evaluator has another action than the dump, or a walk something to say of one, by the
    /// action's place in the evaluator's list.
    pub(super) stands_for: BTreeMap<usize, StandsFor>,
}

/// What an action of the evaluator's stands for.
#[derive(Debug, Clone)]
pub(super) enum StandsFor {
    /// What the dump has, and what is to be known of it.
    Action { text: String, note: Option<String>, learns: Option<u8> },
    /// A group, whose bucket's actions are told and not the copy that they are carried out on.
    Group { text: String, note: String },
    /// What can't be carried out: the walk stops here.
    Stop { text: String, why: String, needs: Option<String> },
    /// `ct(nat)`: what it does depends on what is found.
    Nat { text: String, ct: Ct },
    /// What `nat` writes: the `ct(nat)` itself follows.
    Translation,
}

impl Bridge {
    /// Read a dump.
    ///
    /// # Errors
    /// The first line that is no flow, or one that no bridge would take.
    pub(crate) fn read(dump: &str, file: &str, names: PortNames, tunnel: &str) -> Result<Bridge, WalkError> {
        let mut pipeline = Pipeline::new();
        let mut flows = HashMap::new();
        for parsed in parse_dump(dump, file, &names).map_err(|error| WalkError::Parse(Box::new(error)))? {
            let line = parsed.line;
            let inserted = pipeline
                .insert(parsed.flow, Time::default())
                .map_err(|refusal| WalkError::Refused { file: file.to_owned(), line, refusal })?;
            flows.insert(inserted.entry.id, Written { line, text: None, stands_for: BTreeMap::new() });
        }
        Ok(Bridge::of(pipeline, flows, names, tunnel, verify::GATEWAY, None))
    }

    /// Read a dump whose flows may do more than can be carried out here.
    ///
    /// # Errors
    /// As [`Bridge::read`], and a table's name without a number.
    pub(crate) fn read_partly(dump: &Dump<'_>, names: PortNames) -> Result<Bridge, WalkError> {
        let mut pipeline = Pipeline::new();
        let mut flows = HashMap::new();
        let unnamed = TableNames::default();
        let tables = dump.tables.unwrap_or(&unnamed);
        for (at, text) in dump.flows.lines().enumerate() {
            let line = at + 1;
            let numbered = tables.numbered(text).map_err(|source| WalkError::Tables {
                file: dump.file.to_owned(),
                line,
                source,
            })?;
            let parsed = read_line(&numbered, &names)
                .map_err(|error| WalkError::Parse(Box::new(error.at_line(line).in_file(dump.file))))?;
            let Some((flow, unread)) = parsed else { continue };
            let known = flow.actions.to_vec();
            let (actions, stands_for) = resolve(&known, unread, dump, &names);
            let is_own = stands_for.is_empty() && matches!(numbered, Cow::Borrowed(_));
            let text = (!is_own).then(|| without_stats(text));
            let flow = Flow { actions, ..flow };
            let inserted = pipeline.insert(flow, Time::default()).map_err(|refusal| WalkError::Refused {
                file: dump.file.to_owned(),
                line,
                refusal,
            })?;
            flows.insert(inserted.entry.id, Written { line, text, stands_for });
        }
        Ok(Bridge::of(pipeline, flows, names, dump.tunnel, dump.gateway, dump.tables.cloned()))
    }

    fn of(
        pipeline: Pipeline,
        flows: HashMap<FlowId, Written>,
        names: PortNames,
        tunnel: &str,
        gateway: &str,
        tables: Option<TableNames>,
    ) -> Bridge {
        let mut ports = PortSet::default();
        for (number, name) in names.iter() {
            ports.insert(number, if name == tunnel { PortKind::Tunnel } else { PortKind::Ordinary });
        }
        let is_ours = tables.is_none() && TableNames::are_of_a_node(pipeline.tables());
        let layout = verify::layout(verify::gateway(&names, gateway), verify::tunnel(&names, tunnel));
        let node = is_ours.then(|| Node::of(&pipeline, &layout)).flatten();
        let people = People::of(node.as_ref(), &names, node.is_some());
        let tables = match tables {
            Some(tables) => tables,
            None if is_ours => TableNames::of_a_node(),
            None => TableNames::default(),
        };
        Bridge { pipeline, ports, names, flows, tables, people, node }
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

    /// Who is where, where the tables are those of our nodes.
    pub(crate) fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// A flow's line in the dump.
    pub(crate) fn line_of(&self, flow: FlowId) -> Option<usize> {
        self.flows.get(&flow).map(|written| written.line)
    }

    /// A flow's own text.
    pub(super) fn text_of(&self, entry: &Entry, id: FlowId) -> String {
        let own = self.flows.get(&id).and_then(|written| written.text.clone());
        own.unwrap_or_else(|| entry.flow.display(&self.names).to_string().trim_start().to_owned())
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
}

/// Actions of a line that flow text here does not have, by their place among all.
type Unread = BTreeMap<usize, String>;

/// Read a line of a dump, if it is a flow; the actions not supported are left out of it.
fn read_line(line: &str, names: &PortNames) -> Result<Option<(Flow, Unread)>, ParseError> {
    let error = match parse_dump(line, "", names) {
        Ok(read) => return Ok(read.into_iter().next().map(|read| (read.flow, Unread::new()))),
        Err(error) => error,
    };
    let Some((head, list)) = line.split_once("actions=") else { return Err(error) };
    if !matches!(*error.problem, Problem::Unsupported { .. }) {
        return Err(error);
    }
    let mut unread = Unread::new();
    let mut actions = Vec::new();
    let (mut flow, _) = parse_flow_with_stats(&format!("{head}actions=drop"), names)?;
    for (at, item) in items(list).into_iter().enumerate() {
        match parse_flow_with_stats(&format!("{head}actions={item}"), names) {
            Ok((read, _)) => actions.extend(read.actions.iter().cloned()),
            Err(refused) if matches!(*refused.problem, Problem::Unsupported { .. }) => {
                unread.insert(at, item.to_owned());
            }
            Err(_) => return Err(error),
        }
    }
    flow.actions = actions;
    Ok(Some((flow, unread)))
}

/// A list's items: what stands between commas outside of brackets.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&list[start..]);
    items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// The line without what changes while packets pass.
fn without_stats(line: &str) -> String {
    const STATS: [&str; 5] = ["duration=", "n_packets=", "n_bytes=", "idle_age=", "hard_age="];
    let (head, actions) = line.split_once("actions=").unwrap_or((line, ""));
    let kept: Vec<Cow<'_, str>> = head
        .trim()
        .split(", ")
        .filter(|item| !STATS.iter().any(|stat| item.starts_with(stat)))
        .map(Cow::Borrowed)
        .collect();
    format!("{} actions={actions}", kept.join(", "))
}

/// What the evaluator is given for a list of actions.
fn resolve(
    known: &[Action],
    mut unread: Unread,
    dump: &Dump<'_>,
    names: &PortNames,
) -> (Vec<Action>, BTreeMap<usize, StandsFor>) {
    let nothing = || Action::Note(Vec::new());
    let mut actions = Vec::new();
    let mut stands_for = BTreeMap::new();
    let mut known = known.iter();
    loop {
        let at = actions.len();
        if let Some(text) = unread.remove(&at) {
            actions.push(nothing());
            let (learnt, stand) = unread_action(text);
            stands_for.insert(at, stand);
            if learnt {
                continue;
            }
            break;
        }
        let Some(action) = known.next() else { break };
        let text = action.display(names).to_string();
        let (given, stand) = match (action, reason(action)) {
            (_, None) => {
                actions.push(action.clone());
                continue;
            }
            (Action::Group(id), _) => match dump.groups.choose(*id, dump.buckets.get(id).copied()) {
                Chosen::Actions(given, note) if reason(&given).is_none() => {
                    (given, StandsFor::Group { text, note })
                }
                Chosen::Actions(..) => {
                    let why = "its bucket does what a walk does not".to_owned();
                    (nothing(), StandsFor::Stop { text, why, needs: None })
                }
                Chosen::Unknown(needs) => {
                    let why = "which bucket a packet gets is not known".to_owned();
                    (nothing(), StandsFor::Stop { text, why, needs: Some(needs) })
                }
            },
            (Action::Meter(_), _) => {
                let note = "supposed to let the packet pass: rates are not in a dump".to_owned();
                (nothing(), StandsFor::Action { text, note: Some(note), learns: None })
            }
            (Action::Ct(ct), _)
                if reason(&Action::Ct(Box::new(Ct { nat: None, alg: None, ..(**ct).clone() }))).is_none() =>
            {
                match &ct.nat {
                    Some(_) => (nothing(), StandsFor::Nat { text, ct: (**ct).clone() }),
                    None => {
                        let note =
                            "the helper looks for further connections, and changes nothing here".to_owned();
                        let ct = Ct { alg: None, ..(**ct).clone() };
                        let stand = StandsFor::Action { text, note: Some(note), learns: None };
                        (Action::Ct(Box::new(ct)), stand)
                    }
                }
            }
            (_, Some(reason @ (Reason::NoGroup | Reason::NoMeter | Reason::Nat | Reason::Helper))) => {
                let why = format!("something in it is not followed ({reason})");
                (nothing(), StandsFor::Stop { text, why, needs: None })
            }
            (_, Some(Reason::Pause)) => {
                let why = "the controllers decide how the packet goes on".to_owned();
                (nothing(), StandsFor::Stop { text, why, needs: None })
            }
            // Not for lack of something: no bridge would take it.
            (_, Some(_)) => {
                actions.push(action.clone());
                continue;
            }
        };
        actions.push(given);
        let stops = matches!(stand, StandsFor::Stop { .. });
        stands_for.insert(at, stand);
        if stops {
            break;
        }
    }
    (actions, stands_for)
}

/// Why the pipeline refuses an action, if it does.
fn reason(action: &Action) -> Option<Reason> {
    let flow = Flow::new(0, 0, 0, footbridge_openflow::Match::any(), vec![action.clone()]);
    footbridge_pipeline::refusal::check(&flow).err().map(|refusal| refusal.reason)
}

/// What is told of an action that flow text here does not have, and whether the packet goes on.
fn unread_action(text: String) -> (bool, StandsFor) {
    let learns = text
        .strip_prefix("learn(")
        .map(|inside| items(inside).into_iter().find_map(|item| item.strip_prefix("table=")?.parse().ok()));
    match learns {
        Some(table) => {
            let table = table.unwrap_or(1);
            let note = format!("adds a flow to table {table}; this packet goes on");
            (true, StandsFor::Action { text, note: Some(note), learns: Some(table) })
        }
        None => {
            let why = "walk does not have this action".to_owned();
            (false, StandsFor::Stop { text, why, needs: None })
        }
    }
}
