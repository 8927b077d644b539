//! TCP as the tracker follows it: states, and a table of what each kind of segment does in each.
//!
//! The states and transitions are those of Linux's nf_conntrack_proto_tcp, without its windows;
//! RFC 9293 §3.3.2 for the connection itself.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum TcpState {
    /// A SYN went out.
    SynSent,
    /// A SYN+ACK came back.
    SynRecv,
    /// Data may flow.
    Established,
    /// One side said FIN.
    FinWait,
    /// That FIN was acknowledged.
    CloseWait,
    /// Both sides said FIN.
    LastAck,
    /// Both FINs were acknowledged.
    TimeWait,
    /// Reset.
    Close,
    /// Both sides sent a SYN.
    SynSent2,
}

/// What a segment's flags make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Segment {
    /// SYN without ACK.
    Syn,
    /// SYN and ACK.
    SynAck,
    /// FIN (and ACK).
    Fin,
    /// ACK, with data or without.
    Ack,
    /// RST.
    Rst,
}

/// What a segment does to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// It is part of it, and this is the state from now on.
    To(TcpState),
    /// It is let pass without changing the state.
    Stay,
    /// It is no part of it.
    Invalid,
    /// It begins another connection between the same ends.
    Reopen,
}

const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const RST: u16 = 0x04;
const ACK: u16 = 0x10;
const URG: u16 = 0x20;

impl Segment {
    /// What the flags make of a segment; None for combinations that no TCP sends.
    pub fn of(flags: u16) -> Option<Segment> {
        const SYN_URG: u16 = SYN | URG;
        const SYN_ACK: u16 = SYN | ACK;
        const RST_ACK: u16 = RST | ACK;
        const FIN_ACK: u16 = FIN | ACK;
        const FIN_ACK_URG: u16 = FIN | ACK | URG;
        const ACK_URG: u16 = ACK | URG;
        // PSH and the ECN flags say nothing about the connection.
        match flags & (FIN | SYN | RST | ACK | URG) {
            SYN | SYN_URG => Some(Segment::Syn),
            SYN_ACK => Some(Segment::SynAck),
            FIN_ACK | FIN_ACK_URG => Some(Segment::Fin),
            ACK | ACK_URG => Some(Segment::Ack),
            RST | RST_ACK => Some(Segment::Rst),
            _ => None,
        }
    }

    /// The state of a connection that begins, for the tracker, with this segment: a SYN, or data of
    /// one that was there before. None where none can begin so.
    pub fn begins(self) -> Option<TcpState> {
        match self {
            Segment::Syn => Some(TcpState::SynSent),
            Segment::Ack => Some(TcpState::Established),
            Segment::SynAck | Segment::Fin | Segment::Rst => None,
        }
    }
}

impl TcpState {
    /// What a segment does in this state, sent in the original direction or in reply.
    pub fn on(self, segment: Segment, reply: bool) -> Transition {
        let table = if reply { &REPLY } else { &ORIGINAL };
        table[segment as usize][self as usize]
    }

    /// How long a connection in this state waits for its next segment.
    pub const fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            TcpState::SynSent | TcpState::SynSent2 | TcpState::FinWait | TcpState::TimeWait => 120,
            TcpState::SynRecv | TcpState::CloseWait => 60,
            TcpState::Established => 432_000,
            TcpState::LastAck => 30,
            TcpState::Close => 10,
        })
    }
}

const SS: Transition = Transition::To(TcpState::SynSent);
const SR: Transition = Transition::To(TcpState::SynRecv);
const ES: Transition = Transition::To(TcpState::Established);
const FW: Transition = Transition::To(TcpState::FinWait);
const CW: Transition = Transition::To(TcpState::CloseWait);
const LA: Transition = Transition::To(TcpState::LastAck);
const TW: Transition = Transition::To(TcpState::TimeWait);
const CL: Transition = Transition::To(TcpState::Close);
const S2: Transition = Transition::To(TcpState::SynSent2);
const ST: Transition = Transition::Stay;
const IV: Transition = Transition::Invalid;
const RE: Transition = Transition::Reopen;

// By segment, then by state:
//   SynSent SynRecv Established FinWait CloseWait LastAck TimeWait Close SynSent2
#[rustfmt::skip]
static ORIGINAL: [[Transition; 9]; 5] = [
    /* Syn    */ [SS, ST, ST, ST, ST, ST, RE, RE, S2],
    /* SynAck */ [IV, SR, IV, IV, IV, IV, IV, IV, SR],
    /* Fin    */ [IV, FW, FW, LA, LA, LA, TW, CL, IV],
    /* Ack    */ [IV, ES, ES, CW, CW, TW, TW, CL, IV],
    /* Rst    */ [CL, CL, CL, CL, CL, CL, CL, CL, CL],
];

#[rustfmt::skip]
static REPLY: [[Transition; 9]; 5] = [
    /* Syn    */ [S2, IV, IV, IV, IV, IV, RE, IV, S2],
    /* SynAck */ [SR, ST, ST, ST, ST, ST, ST, ST, SR],
    /* Fin    */ [IV, FW, FW, LA, LA, LA, TW, CL, IV],
    /* Ack    */ [ST, SR, ES, CW, CW, TW, TW, CL, ST],
    /* Rst    */ [CL, CL, CL, CL, CL, CL, CL, CL, CL],
];
