//! OFPT_FLOW_REMOVED: a flow with send_flow_rem went.
//!
//! OpenFlow 1.0.0 §5.4.2, 1.3.5 §7.4.2, 1.5.1 §7.4.2; nicira-ext's NXT_FLOW_REMOVED (14).

use super::bytes::{Reader, U16, U32, U64, layout, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header;
use super::matching::{self, Rigour};
use super::oxs::Stats;
use super::version::Version;
use super::{Context, Form, NICIRA, kind, match10, nicira};
use crate::matching::Match;

layout! {
    /// ofp_flow_removed (1.0)
    struct Layout10 {
        matching: match10::Layout, cookie: U64, priority: U16, reason: u8, pad: u8, seconds: U32,
        nanoseconds: U32, idle: U16, pad2: [u8; 2], packets: U64, bytes: U64,
    }
    /// ofp_flow_removed (1.1 to 1.4), before the match
    struct Layout11 {
        cookie: U64, priority: U16, reason: u8, table: u8, seconds: U32, nanoseconds: U32, idle: U16,
        hard: U16, packets: U64, bytes: U64,
    }
    /// ofp_flow_removed (1.5), before match and statistics
    struct Layout15 { table: u8, reason: u8, priority: U16, idle: U16, hard: U16, cookie: U64, }
    /// nx_flow_removed, before the match
    struct Nxt {
        cookie: U64, priority: U16, reason: u8,
        /// The table's number plus 1; 0 where it is not known.
        table: u8,
        seconds: U32, nanoseconds: U32, idle: U16, match_len: U16, packets: U64, bytes: U64,
    }
}

/// OFPRR_*
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RemovedReason {
    /// No packet for idle_timeout.
    IdleTimeout = 0,
    /// hard_timeout passed.
    HardTimeout = 1,
    /// A flow mod deleted it.
    Delete = 2,
    /// Its group was deleted (1.3).
    GroupDelete = 3,
    /// Its meter was deleted (1.4).
    MeterDelete = 4,
    /// It made room for another (1.4).
    Eviction = 5,
}

impl RemovedReason {
    pub(crate) fn from_wire(number: u8) -> Result<RemovedReason, Refusal> {
        Ok(match number {
            0 => RemovedReason::IdleTimeout,
            1 => RemovedReason::HardTimeout,
            2 => RemovedReason::Delete,
            3 => RemovedReason::GroupDelete,
            4 => RemovedReason::MeterDelete,
            5 => RemovedReason::Eviction,
            _ => return Err(Refusal::new(ErrorCode::NxbrcBadReason, "a removed flow's reason")),
        })
    }
}

/// OFPT_FLOW_REMOVED in any of its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRemoved {
    /// NXT_FLOW_REMOVED or the version's own; 1.3 and later have only their own.
    pub form: Form,
    /// Why.
    pub reason: RemovedReason,
    /// Its table; 255 where the form does not say (1.0).
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// Its cookie.
    pub cookie: u64,
    /// Its match.
    pub matching: Match,
    /// Seconds and nanoseconds that it stood.
    pub duration: (u32, u32),
    /// Its idle timeout in seconds.
    pub idle_timeout: u16,
    /// Its hard timeout in seconds; 0 where the form does not say (1.0).
    pub hard_timeout: u16,
    /// Packets that it took.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The table of a form that has none.
const UNKNOWN_TABLE: u8 = 0xff;

impl FlowRemoved {
    pub(crate) fn decode(body: &[u8], context: Context<'_>) -> Result<FlowRemoved, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_FLOW_REMOVED");
        match context.version {
            Version::V10 => {
                let l: &Layout10 = reader.take()?;
                reader.end()?;
                Ok(FlowRemoved {
                    form: Form::Standard,
                    reason: RemovedReason::from_wire(l.reason)?,
                    table: UNKNOWN_TABLE,
                    priority: l.priority.get(),
                    cookie: l.cookie.get(),
                    matching: match10::decode(&l.matching),
                    duration: (l.seconds.get(), l.nanoseconds.get()),
                    idle_timeout: l.idle.get(),
                    hard_timeout: 0,
                    packets: l.packets.get(),
                    bytes: l.bytes.get(),
                })
            }
            Version::V13 | Version::V14 => {
                let l: &Layout11 = reader.take()?;
                let matching = matching::decode(&mut reader, context)?;
                reader.end()?;
                Ok(FlowRemoved {
                    form: Form::Standard,
                    reason: RemovedReason::from_wire(l.reason)?,
                    table: l.table,
                    priority: l.priority.get(),
                    cookie: l.cookie.get(),
                    matching,
                    duration: (l.seconds.get(), l.nanoseconds.get()),
                    idle_timeout: l.idle.get(),
                    hard_timeout: l.hard.get(),
                    packets: l.packets.get(),
                    bytes: l.bytes.get(),
                })
            }
            Version::V15 => {
                let l: &Layout15 = reader.take()?;
                let matching = matching::decode(&mut reader, context)?;
                let stats = Stats::decode(&mut reader)?;
                reader.end()?;
                Ok(FlowRemoved {
                    form: Form::Standard,
                    reason: RemovedReason::from_wire(l.reason)?,
                    table: l.table,
                    priority: l.priority.get(),
                    cookie: l.cookie.get(),
                    matching,
                    duration: stats.duration.unwrap_or_default(),
                    idle_timeout: l.idle.get(),
                    hard_timeout: l.hard.get(),
                    packets: stats.packets.unwrap_or(u64::MAX),
                    bytes: stats.bytes.unwrap_or(u64::MAX),
                })
            }
        }
    }

    /// NXT_FLOW_REMOVED, from the bytes behind the subtype.
    pub(crate) fn decode_nxt(body: &[u8], context: Context<'_>) -> Result<FlowRemoved, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "NXT_FLOW_REMOVED");
        let l: &Nxt = reader.take()?;
        let (matching, _) = matching::decode_nxm(&mut reader, l.match_len.get(), context, Rigour::Strict)?;
        reader.end()?;
        Ok(FlowRemoved {
            form: if context.version == Version::V10 { Form::Nicira } else { Form::Standard },
            reason: RemovedReason::from_wire(l.reason)?,
            table: l.table.wrapping_sub(1),
            priority: l.priority.get(),
            cookie: l.cookie.get(),
            matching,
            duration: (l.seconds.get(), l.nanoseconds.get()),
            idle_timeout: l.idle.get(),
            hard_timeout: 0,
            packets: l.packets.get(),
            bytes: l.bytes.get(),
        })
    }

    /// A whole message, in the flow's own form.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let version = context.version;
        let (cookie, priority, reason) = (U64::new(self.cookie), U16::new(self.priority), self.reason as u8);
        let (seconds, nanoseconds) = (U32::new(self.duration.0), U32::new(self.duration.1));
        let (idle, hard) = (U16::new(self.idle_timeout), U16::new(self.hard_timeout));
        let (packets, bytes) = (U64::new(self.packets), U64::new(self.bytes));
        if version == Version::V10 && self.form == Form::Nicira {
            return header::vendor_message(version, NICIRA, nicira::FLOW_REMOVED, xid, |out| {
                let mut entries = Vec::new();
                let length = matching::encode_nxm(&mut entries, &self.matching, None, context);
                put(
                    out,
                    Nxt {
                        cookie,
                        priority,
                        reason,
                        table: self.table.wrapping_add(1),
                        seconds,
                        nanoseconds,
                        idle,
                        match_len: U16::new(length as u16),
                        packets,
                        bytes,
                    },
                );
                out.extend_from_slice(&entries);
                Ok(())
            });
        }
        header::message(version, kind::FLOW_REMOVED, xid, |out| {
            match version {
                Version::V10 => put(
                    out,
                    Layout10 {
                        matching: match10::encode(&self.matching),
                        cookie,
                        priority,
                        reason,
                        pad: 0,
                        seconds,
                        nanoseconds,
                        idle,
                        pad2: [0; 2],
                        packets,
                        bytes,
                    },
                ),
                Version::V13 | Version::V14 => {
                    let table = self.table;
                    put(
                        out,
                        Layout11 {
                            cookie,
                            priority,
                            reason,
                            table,
                            seconds,
                            nanoseconds,
                            idle,
                            hard,
                            packets,
                            bytes,
                        },
                    );
                    matching::encode(out, &self.matching, context);
                }
                Version::V15 => {
                    put(out, Layout15 { table: self.table, reason, priority, idle, hard, cookie });
                    matching::encode(out, &self.matching, context);
                    Stats {
                        duration: Some(self.duration),
                        packets: Some(self.packets),
                        bytes: Some(self.bytes),
                        ..Stats::default()
                    }
                    .encode(out);
                }
            }
            Ok(())
        })
    }
}
