//! What ct() is supposed to find, in place of a tracker with connections.

use footbridge_pipeline::Time;
use footbridge_pipeline::conntrack::{Memo, Outcome, Request, Tracker, state};
use footbridge_pipeline::packet::Frame;
use footbridge_verify::Answer;
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What one ct() is supposed to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CtAnswer {
    pub(super) state: u8,
    mark: u32,
    label: u128,
    /// The end that `nat` writes over the packet's source.
    pub(super) src: Option<Translated>,
    /// And over its destination.
    pub(super) dst: Option<Translated>,
}

/// An address, and perhaps a port, that `nat` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Translated {
    pub(super) address: IpAddr,
    pub(super) port: Option<u16>,
}

impl CtAnswer {
    const NOTHING: CtAnswer = CtAnswer { state: state::TRK, mark: 0, label: 0, src: None, dst: None };

    /// Whether it is of a connection that `nat` may have translated before.
    pub(super) fn is_of_a_connection(&self) -> bool {
        self.state & (state::EST | state::REL | state::RPL) != 0
    }
}

impl Default for CtAnswer {
    fn default() -> CtAnswer {
        CtAnswer { state: state::TRK | state::NEW, ..CtAnswer::NOTHING }
    }
}

/// Answers ct() from a list: each `ct(table=)` takes the next; a ct() without table, which shows the
/// packet nothing, is of the connection answered last.
pub(super) struct Script {
    answers: VecDeque<CtAnswer>,
    last: CtAnswer,
}

impl Script {
    pub(super) fn new(answers: &[CtAnswer]) -> Script {
        Script { answers: answers.iter().copied().collect(), last: CtAnswer::default() }
    }
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

/// The flags in words.
const FLAGS: [(u8, &str); 6] = [
    (state::TRK, "trk"),
    (state::NEW, "new"),
    (state::EST, "est"),
    (state::REL, "rel"),
    (state::RPL, "rpl"),
    (state::INV, "inv"),
];

impl FromStr for CtAnswer {
    type Err = String;

    fn from_str(text: &str) -> Result<CtAnswer, String> {
        let mut answer = CtAnswer::NOTHING;
        for word in text.split([',', '|', '+']).filter(|word| !word.is_empty()) {
            let known = || {
                if let Some((flag, _)) = FLAGS.iter().find(|(_, name)| *name == word) {
                    answer.state |= flag;
                    return Some(());
                }
                match word.split_once('=')? {
                    ("mark", value) => answer.mark = number(value)?,
                    ("src", value) => answer.src = Some(value.parse().ok()?),
                    ("dst", value) => answer.dst = Some(value.parse().ok()?),
                    _ => return None,
                }
                Some(())
            };
            let mut known = known;
            known().ok_or_else(|| {
                format!(
                    "'{word}': expected trk, new, est, rel, rpl, inv or mark=NUMBER, or, what nat makes of the \
                     packet, src=ADDRESS:PORT or dst=ADDRESS:PORT"
                )
            })?;
        }
        Ok(answer)
    }
}

impl FromStr for Translated {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Translated, Self::Err> {
        match text.parse::<std::net::SocketAddr>() {
            Ok(end) => Ok(Translated { address: end.ip(), port: Some(end.port()) }),
            Err(_) => Ok(Translated { address: text.parse()?, port: None }),
        }
    }
}

impl fmt::Display for Translated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => std::net::SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

impl From<&Answer> for CtAnswer {
    fn from(answer: &Answer) -> CtAnswer {
        CtAnswer { state: answer.state, mark: answer.mark, label: answer.label, src: None, dst: None }
    }
}

/// As it is read; a label, which can't be, behind it.
impl fmt::Display for CtAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = FLAGS.iter().filter(|(flag, _)| self.state & flag != 0);
        f.write_str(&set.map(|(_, word)| *word).collect::<Vec<_>>().join(","))?;
        if self.mark != 0 {
            write!(f, ",mark={:#x}", self.mark)?;
        }
        for (word, end) in [("src", self.src), ("dst", self.dst)] {
            if let Some(end) = end {
                write!(f, ",{word}={end}")?;
            }
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
