//! The state machine itself: what each packet is, what it does to its connection, and how long the
//! connection then waits. Pure functions of small sets of values, so that the compiler of the eBPF
//! datapath can write them down as tables, and no rule is written twice.

use super::tcp::{Segment, TcpState, Transition};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Progress {
    /// A TCP connection.
    Tcp(TcpState),
    /// Packets one way only, of any other protocol.
    Unreplied,
    /// Packets both ways.
    Replied,
}

impl Progress {
    /// Every one.
    pub const ALL: [Progress; 11] = [
        Progress::Tcp(TcpState::SynSent),
        Progress::Tcp(TcpState::SynRecv),
        Progress::Tcp(TcpState::Established),
        Progress::Tcp(TcpState::FinWait),
        Progress::Tcp(TcpState::CloseWait),
        Progress::Tcp(TcpState::LastAck),
        Progress::Tcp(TcpState::TimeWait),
        Progress::Tcp(TcpState::Close),
        Progress::Tcp(TcpState::SynSent2),
        Progress::Unreplied,
        Progress::Replied,
    ];
}

/// What a packet does in its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A segment of TCP.
    Tcp(Segment),
    /// An ICMP reply, which begins no exchange.
    Reply,
    /// Any other packet.
    Datagram,
}

impl Step {
    /// Every one.
    pub const ALL: [Step; 7] = [
        Step::Tcp(Segment::Syn),
        Step::Tcp(Segment::SynAck),
        Step::Tcp(Segment::Fin),
        Step::Tcp(Segment::Ack),
        Step::Tcp(Segment::Rst),
        Step::Reply,
        Step::Datagram,
    ];

    fn begins(self) -> Option<Progress> {
        match self {
            Step::Tcp(segment) => segment.begins().map(Progress::Tcp),
            Step::Datagram => Some(Progress::Unreplied),
            Step::Reply => None,
        }
    }
}

/// What a step is to its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advance {
    /// Part of it.
    Valid,
    /// No part of it: nothing changes.
    Invalid,
    /// The connection is over, and this begins another one.
    Reopen,
}

/// The next progress of a connection, and what the step is to it. Of a later fragment the step is not
/// known, and only that it came counts.
pub fn advance(before: Progress, step: Option<Step>, reply: bool) -> (Progress, Advance) {
    match (before, step) {
        (Progress::Tcp(_), None) => (before, Advance::Valid),
        (Progress::Tcp(state), Some(Step::Tcp(segment))) => match state.on(segment, reply) {
            Transition::To(next) => (Progress::Tcp(next), Advance::Valid),
            Transition::Stay => (before, Advance::Valid),
            Transition::Invalid => (before, Advance::Invalid),
            Transition::Reopen => (before, Advance::Reopen),
        },
        (_, _) if reply => (Progress::Replied, Advance::Valid),
        (_, _) => (before, Advance::Valid),
    }
}

/// Whether a connection can begin with the step; a later fragment's may be any datagram's.
pub fn may_begin(step: Option<Step>) -> bool {
    step.is_none_or(|step| step.begins().is_some())
}

/// The progress of a connection of which this step is known, and nothing before it.
pub fn begun(proto: u8, step: Option<Step>) -> Progress {
    let unknown = if proto == 6 { Progress::Tcp(TcpState::Established) } else { Progress::Unreplied };
    step.and_then(Step::begins).unwrap_or(unknown)
}

/// How long a connection waits for its next packet (the defaults of Linux's nf_conntrack).
pub const fn timeout(proto: u8, progress: Progress) -> Duration {
    match (progress, proto) {
        (Progress::Tcp(state), _) => state.timeout(),
        (Progress::Unreplied, 17) => Duration::from_secs(30),
        (Progress::Replied, 17) => Duration::from_secs(120),
        (_, 1 | 58) => Duration::from_secs(30),
        (Progress::Unreplied | Progress::Replied, _) => Duration::from_secs(600),
    }
}

/// How long later fragments may take behind their first one (Linux's ipfrag_time).
pub const FRAGMENT_LIFETIME: Duration = Duration::from_secs(30);

/// How often, at most, a full table is looked through for connections past their time: that takes a while.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Whether the protocol has ports, or identifiers in their place: TCP, UDP, SCTP, and the ICMPs. A
/// packet of such a protocol whose header can't be read is broken; one of another protocol is tracked by
/// its addresses.
pub fn has_ports(proto: u8) -> bool {
    matches!(proto, 1 | 6 | 17 | 58 | 132)
}

/// What an ICMP message of one type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icmp {
    /// An error about another packet.
    Error,
    /// It asks; answers have this type.
    Request {
        /// The answers' type.
        reply: u8,
    },
    /// It answers requests of this type.
    Reply {
        /// The requests' type.
        request: u8,
    },
    /// Nothing that can be tracked.
    Other,
}

impl Icmp {
    /// What a type is: echo, timestamp, information, and the errors of RFC 792; echo and the errors of
    /// RFC 4443 §2.1.
    pub fn of(v6: bool, kind: u8) -> Icmp {
        match (v6, kind) {
            (false, 8) => Icmp::Request { reply: 0 },
            (false, 0) => Icmp::Reply { request: 8 },
            (false, 13 | 15) => Icmp::Request { reply: kind + 1 },
            (false, 14 | 16) => Icmp::Reply { request: kind - 1 },
            (true, 128) => Icmp::Request { reply: 129 },
            (true, 129) => Icmp::Reply { request: 128 },
            (false, 3 | 4 | 5 | 11 | 12) | (true, 1..=4) => Icmp::Error,
            _ => Icmp::Other,
        }
    }
}
