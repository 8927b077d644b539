//! One packet's way through a dump, recorded.
//!
//! The evaluator is the pipeline's own; this only listens. A walk reads no clock and keeps nothing
//! between two packets, so the same files and packet give the same walk. What a dump does not tell is asked
//! for by name, and the walk stops there.
//!
//! | module | what |
//! | --- | --- |
//! | `dump` | a bridge as a dump tells it; `tables` and `groups` beside it |
//! | `input` | packets: flow text, hex, captures (`pcap`) |
//! | `running` | a bridge that runs, asked by its control socket |
//! | `recorder` | the evaluator's steps as a [`Walk`]; `names` and `why` what is told of them |
//! | `nat` | what `ct(nat)` does, as far as it is known |
//! | `answer` | what ct() is supposed to find |
//! | `text`, `markdown`, `svg` | a [`Walk`] for people |

mod answer;
mod dump;
mod groups;
pub(crate) mod input;
mod markdown;
mod names;
mod nat;
pub(crate) mod pcap;
mod recorder;
mod running;
mod style;
mod svg;
mod tables;
mod text;
mod why;

pub(crate) use answer::CtAnswer;
pub(crate) use dump::{Bridge, Dump};
pub(crate) use groups::Groups;
pub(crate) use markdown::Markdown;
pub(crate) use names::{Change, port_name, summary};
pub(crate) use style::Style;
pub(crate) use svg::Svg;
pub(crate) use tables::TableNames;
pub(crate) use why::Passed;

use footbridge_openflow::Key;
use footbridge_pipeline::conntrack::Tracker;
use footbridge_pipeline::{Drop, Fdb, Packet, Pipeline, Time, Verdict};
use recorder::Recorder;
use serde::Serialize;
use std::borrow::Cow;

/// What happened to a packet, in order.
#[derive(Debug, Serialize)]
pub(crate) struct Walk {
    /// The packet as it came.
    pub(crate) packet: String,
    /// The port it came in on.
    pub(crate) in_port: String,
    /// The steps.
    pub(crate) steps: Vec<Step>,
    /// Names or numbers of the ports that it left by.
    pub(crate) outputs: Vec<String>,
    /// The packet as it leaves, for each of them but the controllers.
    pub(crate) leaves: Vec<Left>,
    /// Why it left by none.
    pub(crate) drop: Option<Dropped>,
    /// Why its way is not known to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stopped: Option<Stopped>,
    /// All tables of the bridge, by number, with their names.
    #[serde(skip)]
    pub(crate) tables: Vec<(u8, Option<String>)>,
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
        /// Its name, if it has one.
        name: Option<String>,
        /// The flow's line in the dump.
        line: Option<usize>,
        /// The flow.
        flow: String,
        /// The conjunction that it was found by.
        conjunction: Option<u32>,
        /// Why the flows above it did not take the packet, where that was asked.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        passed: Vec<Passed>,
    },
    /// No flow of the table takes the packet.
    Missed {
        /// How many lists of actions are under way.
        depth: usize,
        /// The table.
        table: u8,
        /// Its name, if it has one.
        name: Option<String>,
        /// Why its flows did not take the packet, where that was asked.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        passed: Vec<Passed>,
    },
    /// An action was carried out.
    Action {
        /// How many lists of actions are under way.
        depth: usize,
        /// The action.
        action: String,
        /// What it changed.
        changes: Vec<Change>,
        /// What else is to be known of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
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

/// A packet that leaves.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Left {
    /// By this port.
    pub(crate) port: String,
    /// In a phrase.
    pub(crate) summary: String,
    /// Its fields.
    pub(crate) packet: String,
    /// Whether it goes back to where it came from: the bridge's own answer.
    pub(crate) is_answer: bool,
}

/// Why and where a packet ended.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Dropped {
    /// The reason's name.
    pub(crate) reason: &'static str,
    /// What it means.
    pub(crate) description: &'static str,
    /// The table looked up last.
    pub(crate) table: u8,
}

/// Why a walk ends before the packet does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Stopped {
    /// The table.
    pub(crate) table: u8,
    /// The action, or what a lookup depends on.
    pub(crate) at: String,
    /// Why it can't be followed.
    pub(crate) why: String,
    /// What would tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) needs: Option<String>,
}

/// A packet to walk: by its fields, or a frame that came in.
#[derive(Debug, Clone)]
pub(crate) enum Subject {
    /// Its fields; registers and metadata start as it says.
    Fields(Box<Key>),
    /// A frame.
    Frame(Box<Packet>),
}

impl From<Drop> for Dropped {
    fn from(drop: Drop) -> Dropped {
        Dropped { reason: drop.reason.name(), description: drop.reason.description(), table: drop.table }
    }
}

impl Subject {
    /// The packet's fields as it comes.
    fn key(&self) -> Cow<'_, Key> {
        match self {
            Subject::Fields(key) => Cow::Borrowed(&**key),
            Subject::Frame(packet) => {
                Cow::Owned(footbridge_pipeline::packet::parse(&packet.frame, packet.in_port, &packet.tunnel))
            }
        }
    }
}

impl Bridge {
    /// Take a packet through; `answers` are what ct() finds, one after the other.
    pub(crate) fn walk(&self, key: &Key, answers: &[CtAnswer]) -> Walk {
        self.walk_subject(&Subject::Fields(Box::new(key.clone())), answers, false).0
    }

    /// Take a packet through, and say why flows did not take it where `why_not`. What it leaves as is the
    /// evaluator's verdict, which counts for nothing where the walk stopped.
    pub(crate) fn walk_subject(
        &self,
        subject: &Subject,
        answers: &[CtAnswer],
        why_not: bool,
    ) -> (Walk, Verdict) {
        // As of ofproto/trace, a walk has no effects: NORMAL does not learn the packet's own source.
        let mut fdb = Fdb::with_limit(0);
        let mut changed = nat::Changed::default();
        loop {
            let mut script = answer::Script::new(answers);
            let pipeline = changed.pipeline(&self.pipeline);
            let (walk, verdict, met) =
                self.carry_out(pipeline, &changed, subject, &mut fdb, &mut script, why_not);
            // The packet met a ct(nat): if it is known what that does, it does so the next time round.
            match met.map(|met| changed.translate(self, &met, answers)) {
                None => return (walk, verdict),
                Some(Ok(())) => {}
                Some(Err(stopped)) => {
                    let walk = Walk { stopped: Some(stopped), outputs: Vec::new(), drop: None, ..walk };
                    return (walk, verdict);
                }
            }
        }
    }

    /// Take a packet through with connections and learned addresses that are real, or as good as.
    pub(crate) fn walk_live(
        &self,
        subject: &Subject,
        fdb: &mut Fdb,
        tracker: &mut dyn Tracker,
    ) -> (Walk, Verdict) {
        let changed = nat::Changed::default();
        let (walk, verdict, met) = self.carry_out(&self.pipeline, &changed, subject, fdb, tracker, false);
        let stopped = met.map(|met| nat::not_followed(&met)).or(walk.stopped);
        (Walk { stopped, ..walk }, verdict)
    }

    fn carry_out(
        &self,
        pipeline: &Pipeline,
        changed: &nat::Changed,
        subject: &Subject,
        fdb: &mut Fdb,
        tracker: &mut dyn Tracker,
        why_not: bool,
    ) -> (Walk, Verdict, Option<nat::Met>) {
        let key = subject.key();
        let mut recorder = Recorder::new(self, pipeline, changed, &key, why_not);
        let now = Time::default();
        let verdict = match subject {
            Subject::Fields(key) => pipeline.process_key(fdb, self.ports(), tracker, key, now, &mut recorder),
            Subject::Frame(packet) => {
                pipeline.process_tracked(fdb, self.ports(), tracker, (**packet).clone(), now, &mut recorder)
            }
        };
        let (walk, met) = recorder.finish(&verdict);
        (walk, verdict, met)
    }
}
