//! OFPST_FLOW: flows with their counters; and the request, which OFPST_AGGREGATE shares.
//!
//! OpenFlow 1.0.0 §5.3.5, 1.3.5 §7.3.5.2, 1.4.1 (importance), 1.5.1 §7.3.5.2 (OFPMP_FLOW_DESC with OXS);
//! nicira-ext's NXST_FLOW (0).

use super::super::bytes::{Reader, U16, U32, U64, layout, patch_u16, put};
use super::super::error::{EncodeError, ErrorCode, Refusal};
use super::super::flow_mod::{flags_from_wire, flags_to_wire};
use super::super::matching::{self, CookieMatch, Rigour, port_from_16, port_from_32, port_to_16};
use super::super::oxs::Stats;
use super::super::version::Version;
use super::super::{ANY_GROUP, Context, Form, action, match10};
use crate::flow::{Flow, FlowStats};
use crate::matching::Match;
use crate::port::PortNo;
use core::time::Duration;

layout! {
    /// ofp_flow_stats_request (1.0)
    struct Request10 { matching: match10::Layout, table: u8, pad: u8, out_port: U16, }
    /// ofp_flow_stats_request (1.1), before the match
    struct Request11 {
        table: u8, pad: [u8; 3], out_port: U32, out_group: U32, pad2: [u8; 4], cookie: U64, cookie_mask: U64,
    }
    /// nx_flow_stats_request, before the match
    struct RequestNx { out_port: U16, match_len: U16, table: u8, pad: [u8; 3], }
    /// ofp_flow_stats (1.0), before the actions
    struct Entry10 {
        length: U16, table: u8, pad: u8, matching: match10::Layout, seconds: U32, nanoseconds: U32, priority: U16,
        idle: U16, hard: U16, pad2: [u8; 6], cookie: U64, packets: U64, bytes: U64,
    }
    /// ofp_flow_stats (1.3, 1.4), before match and instructions
    struct Entry13 {
        length: U16, table: u8, pad: u8, seconds: U32, nanoseconds: U32, priority: U16, idle: U16, hard: U16,
        flags: U16, importance: U16, pad2: [u8; 2], cookie: U64, packets: U64, bytes: U64,
    }
    /// ofp_flow_desc (1.5), before match, statistics and instructions
    struct Entry15 {
        length: U16, pad: [u8; 2], table: u8, pad2: u8, priority: U16, idle: U16, hard: U16, flags: U16,
        importance: U16, cookie: U64,
    }
    /// nx_flow_stats, before match and actions
    struct EntryNx {
        length: U16, table: u8, pad: u8, seconds: U32, nanoseconds: U32, priority: U16, idle: U16, hard: U16,
        match_len: U16,
        /// Seconds since the last packet, and since the last change, plus 1; 0 where not known.
        idle_age: U16,
        hard_age: U16,
        cookie: U64, packets: U64, bytes: U64,
    }
}

/// Which flows are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowStatsRequest {
    /// NXST_* or the version's own; 1.3 and later have only their own.
    pub form: Form,
    /// The table; 255 for all.
    pub table: u8,
    /// Only flows that output to it; NONE for all.
    pub out_port: PortNo,
    /// Only flows that send to the group; None for all.
    pub out_group: Option<u32>,
    /// Only these cookies.
    pub cookie: Option<CookieMatch>,
    /// Only flows whose match this one contains.
    pub matching: Match,
}

impl FlowStatsRequest {
    pub(crate) fn decode(reader: &mut Reader<'_>, context: Context<'_>) -> Result<FlowStatsRequest, Refusal> {
        if context.version == Version::V10 {
            let l: &Request10 = reader.take()?;
            return Ok(FlowStatsRequest {
                form: Form::Standard,
                table: l.table,
                out_port: port_from_16(l.out_port.get()),
                out_group: None,
                cookie: None,
                matching: match10::decode(&l.matching),
            });
        }
        let l: &Request11 = reader.take()?;
        let matching = matching::decode(reader, context)?;
        let cookie = CookieMatch { value: l.cookie.get(), mask: l.cookie_mask.get() };
        Ok(FlowStatsRequest {
            form: Form::Standard,
            table: l.table,
            out_port: port_from_32(l.out_port.get(), ErrorCode::BrcBadPort)?,
            out_group: Some(l.out_group.get()).filter(|group| *group != ANY_GROUP),
            cookie: Some(cookie).filter(|c| c.mask != 0),
            matching,
        })
    }

    pub(crate) fn decode_nxst(
        reader: &mut Reader<'_>,
        context: Context<'_>,
    ) -> Result<FlowStatsRequest, Refusal> {
        let l: &RequestNx = reader.take()?;
        let (matching, cookie) = matching::decode_nxm(reader, l.match_len.get(), context, Rigour::Strict)?;
        Ok(FlowStatsRequest {
            form: Form::Nicira,
            table: l.table,
            out_port: port_from_16(l.out_port.get()),
            out_group: None,
            cookie: cookie.filter(|c| c.mask != 0),
            matching,
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>, context: Context<'_>) -> Result<(), EncodeError> {
        let version = context.version;
        let inexpressible = |what| EncodeError::Inexpressible { version, what };
        if version != Version::V10 {
            let cookie = self.cookie.unwrap_or_default();
            put(
                out,
                Request11 {
                    table: self.table,
                    pad: [0; 3],
                    out_port: U32::new(self.out_port.0),
                    out_group: U32::new(self.out_group.unwrap_or(ANY_GROUP)),
                    pad2: [0; 4],
                    cookie: U64::new(cookie.value),
                    cookie_mask: U64::new(cookie.mask),
                },
            );
            matching::encode(out, &self.matching, context);
            return Ok(());
        }
        let out_port = port_to_16(self.out_port).ok_or(inexpressible("a port number above 0xfeff"))?;
        let (out_port, table) = (U16::new(out_port), self.table);
        if self.form == Form::Nicira {
            let mut entries = Vec::new();
            let length = matching::encode_nxm(&mut entries, &self.matching, self.cookie, context);
            put(out, RequestNx { out_port, match_len: U16::new(length as u16), table, pad: [0; 3] });
            out.extend_from_slice(&entries);
        } else if self.cookie.is_some() || !match10::can_express(&self.matching) {
            return Err(inexpressible("this match without NXST_FLOW"));
        } else {
            put(out, Request10 { matching: match10::encode(&self.matching), table, pad: 0, out_port });
        }
        Ok(())
    }
}

/// One flow with its counters. Its flags are not said in 1.0, its importance not before 1.4; its idle
/// age is said by NXST_FLOW and 1.5, its hard age by NXST_FLOW only. Counters that are not known are
/// all ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowEntry {
    /// The flow.
    pub flow: Flow,
    /// Its counters.
    pub stats: FlowStats,
}

fn seconds_and_nanoseconds(duration: Duration) -> (U32, U32) {
    (U32::new(u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)), U32::new(duration.subsec_nanos()))
}

fn duration_of(seconds: u32, nanoseconds: u32) -> Duration {
    Duration::from_secs(seconds.into()) + Duration::from_nanos(nanoseconds.into())
}

/// An age as NXST_FLOW has it.
fn age_to_wire(age: Option<u32>) -> U16 {
    U16::new(age.map_or(0, |seconds| u16::try_from(seconds.saturating_add(1)).unwrap_or(u16::MAX)))
}

fn age_from_wire(age: U16) -> Option<u32> {
    age.get().checked_sub(1).map(u32::from)
}

impl FlowEntry {
    pub(crate) fn decode(
        reader: &mut Reader<'_>,
        form: Form,
        context: Context<'_>,
    ) -> Result<FlowEntry, Refusal> {
        let version = context.version;
        let length = usize::from(reader.peek::<U16>()?.get());
        let mut inside = reader.sub(length)?;
        let r = &mut inside;
        let (mut flow, duration, idle_age, hard_age, packets, bytes);
        match (version, form) {
            (Version::V10, Form::Standard) => {
                let l: &Entry10 = r.take()?;
                let matching = match10::decode(&l.matching);
                flow = Flow::new(l.table, l.priority.get(), l.cookie.get(), matching, Vec::new());
                (flow.idle_timeout, flow.hard_timeout) = (l.idle.get(), l.hard.get());
                duration = duration_of(l.seconds.get(), l.nanoseconds.get());
                (idle_age, hard_age) = (None, None);
                (packets, bytes) = (l.packets.get(), l.bytes.get());
            }
            (Version::V10, Form::Nicira) => {
                let l: &EntryNx = r.take()?;
                let (matching, _) = matching::decode_nxm(r, l.match_len.get(), context, Rigour::Strict)?;
                flow = Flow::new(l.table, l.priority.get(), l.cookie.get(), matching, Vec::new());
                (flow.idle_timeout, flow.hard_timeout) = (l.idle.get(), l.hard.get());
                duration = duration_of(l.seconds.get(), l.nanoseconds.get());
                (idle_age, hard_age) = (age_from_wire(l.idle_age), age_from_wire(l.hard_age));
                (packets, bytes) = (l.packets.get(), l.bytes.get());
            }
            (Version::V13 | Version::V14, _) => {
                let l: &Entry13 = r.take()?;
                let matching = matching::decode(r, context)?;
                flow = Flow::new(l.table, l.priority.get(), l.cookie.get(), matching, Vec::new());
                (flow.idle_timeout, flow.hard_timeout) = (l.idle.get(), l.hard.get());
                flow.flags = flags_from_wire(l.flags.get(), version)?;
                flow.importance = if version == Version::V14 { l.importance.get() } else { 0 };
                duration = duration_of(l.seconds.get(), l.nanoseconds.get());
                (idle_age, hard_age) = (None, None);
                (packets, bytes) = (l.packets.get(), l.bytes.get());
            }
            (Version::V15, _) => {
                let l: &Entry15 = r.take()?;
                let matching = matching::decode(r, context)?;
                let stats = Stats::decode(r)?;
                flow = Flow::new(l.table, l.priority.get(), l.cookie.get(), matching, Vec::new());
                (flow.idle_timeout, flow.hard_timeout) = (l.idle.get(), l.hard.get());
                flow.flags = flags_from_wire(l.flags.get(), version)?;
                flow.importance = l.importance.get();
                duration = stats.duration.map_or(Duration::ZERO, |(s, ns)| duration_of(s, ns));
                (idle_age, hard_age) = (stats.idle, None);
                (packets, bytes) = (stats.packets.unwrap_or(u64::MAX), stats.bytes.unwrap_or(u64::MAX));
            }
        }
        flow.actions = action::decode_instructions(r.rest(), context)?;
        let stats = FlowStats { duration, n_packets: packets, n_bytes: bytes, idle_age, hard_age };
        Ok(FlowEntry { flow, stats })
    }

    /// Append one entry.
    pub fn encode(&self, out: &mut Vec<u8>, form: Form, context: Context<'_>) -> Result<(), EncodeError> {
        let start = out.len();
        let (flow, stats, version) = (&self.flow, &self.stats, context.version);
        let (length, table) = (U16::ZERO, flow.table);
        let (seconds, nanoseconds) = seconds_and_nanoseconds(stats.duration);
        let (priority, cookie) = (U16::new(flow.priority), U64::new(flow.cookie));
        let (idle, hard) = (U16::new(flow.idle_timeout), U16::new(flow.hard_timeout));
        let (packets, bytes) = (U64::new(stats.n_packets), U64::new(stats.n_bytes));
        let flags = U16::new(flags_to_wire(flow.flags, version));
        let importance = U16::new(if version >= Version::V14 { flow.importance } else { 0 });
        match (version, form) {
            (Version::V10, Form::Standard) => put(
                out,
                Entry10 {
                    length,
                    table,
                    pad: 0,
                    matching: match10::encode(&flow.matching),
                    seconds,
                    nanoseconds,
                    priority,
                    idle,
                    hard,
                    pad2: [0; 6],
                    cookie,
                    packets,
                    bytes,
                },
            ),
            (Version::V10, Form::Nicira) => {
                let mut entries = Vec::new();
                let match_len = matching::encode_nxm(&mut entries, &flow.matching, None, context);
                put(
                    out,
                    EntryNx {
                        length,
                        table,
                        pad: 0,
                        seconds,
                        nanoseconds,
                        priority,
                        idle,
                        hard,
                        match_len: U16::new(match_len as u16),
                        idle_age: age_to_wire(stats.idle_age),
                        hard_age: age_to_wire(stats.hard_age),
                        cookie,
                        packets,
                        bytes,
                    },
                );
                out.extend_from_slice(&entries);
            }
            (Version::V13 | Version::V14, _) => {
                put(
                    out,
                    Entry13 {
                        length,
                        table,
                        pad: 0,
                        seconds,
                        nanoseconds,
                        priority,
                        idle,
                        hard,
                        flags,
                        importance,
                        pad2: [0; 2],
                        cookie,
                        packets,
                        bytes,
                    },
                );
                matching::encode(out, &flow.matching, context);
            }
            (Version::V15, _) => {
                let (pad, pad2) = ([0; 2], 0);
                put(
                    out,
                    Entry15 { length, pad, table, pad2, priority, idle, hard, flags, importance, cookie },
                );
                matching::encode(out, &flow.matching, context);
                Stats {
                    duration: Some((seconds.get(), nanoseconds.get())),
                    idle: stats.idle_age,
                    packets: Some(stats.n_packets),
                    bytes: Some(stats.n_bytes),
                    flows: None,
                }
                .encode(out);
            }
        }
        action::encode_instructions(out, &flow.actions, context, &flow.matching)?;
        let length = out.len() - start;
        patch_u16(out, start, length);
        Ok(())
    }
}
