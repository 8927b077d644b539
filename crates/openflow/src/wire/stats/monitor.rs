//! Flow monitors: changes of flows, told as they happen.
//!
//! nicira-ext's NXST_FLOW_MONITOR (2), ONF's extension 187 for 1.3 (1870), OpenFlow 1.4.1 §7.3.5.17.

use super::super::bytes::{Reader, U16, U32, U64, layout, patch_u16, put};
use super::super::error::{EncodeError, ErrorCode, Refusal};
use super::super::flow_removed::RemovedReason;
use super::super::matching::{self, Rigour, port_from_16, port_from_32, port_to_16};
use super::super::version::Version;
use super::super::{ANY_GROUP, Context, action};
use super::{Number, ONF_FLOW_MONITOR, nicira, standard};
use crate::action::Action;
use crate::matching::Match;
use crate::port::PortNo;

layout! {
    /// nx_flow_monitor_request, before the match
    struct RequestNx { id: U32, flags: U16, out_port: U16, match_len: U16, table: u8, zeros: [u8; 5], }
    /// onf_flow_monitor_request, before the match
    struct Request13 { id: U32, flags: U16, match_len: U16, out_port: U32, table: u8, zeros: [u8; 3], }
    /// ofp_flow_monitor_request (1.4), before the match
    struct Request14 { id: U32, out_port: U32, out_group: U32, flags: U16, table: u8, command: u8, }
    /// nx_flow_update_header, ofp_flow_update_header
    struct Head { length: U16, event: U16, }
    /// nx_flow_update_full, behind the header and before the match
    struct UpdateNx {
        reason: U16, priority: U16, idle: U16, hard: U16, match_len: U16, table: u8, pad: u8, cookie: U64,
    }
    /// ofp_flow_update_full, behind the header and before the match
    struct Update14 {
        table: u8, reason: u8, idle: U16, hard: U16, priority: U16, zeros: [u8; 4], cookie: U64,
    }
}

/// Bits of a request's flags, in the numbers of 1.4.
mod bit {
    pub(super) const INITIAL: u16 = 1 << 0;
    pub(super) const ADD: u16 = 1 << 1;
    pub(super) const DELETE: u16 = 1 << 2;
    pub(super) const MODIFY: u16 = 1 << 3;
    pub(super) const ACTIONS: u16 = 1 << 4;
    pub(super) const NO_ABBREV: u16 = 1 << 5;
    pub(super) const ONLY_OWN: u16 = 1 << 6;
}

/// Of Nicira's and ONF's forms: changes that the monitor itself makes are told in full.
const OWN: u16 = 1 << 5;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MonitorFlags {
    /// The flows that there are already.
    pub initial: bool,
    /// New ones.
    pub add: bool,
    /// Deleted ones.
    pub delete: bool,
    /// Changed ones.
    pub modify: bool,
    /// With their actions.
    pub actions: bool,
    /// The monitor's own changes in full rather than by their xid (NXFMF_OWN, OFPFMF_NO_ABBREV).
    pub no_abbrev: bool,
    /// Nothing but the monitor's own changes (1.4).
    pub only_own: bool,
}

/// OFPFMC_*
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum MonitorCommand {
    /// Begin to monitor. Before 1.4 the only one.
    Add = 0,
    /// Change what is monitored.
    Modify = 1,
    /// End.
    Delete = 2,
}

/// One monitor asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorRequest {
    /// Of this connection.
    pub id: u32,
    /// What to do with it.
    pub command: MonitorCommand,
    /// What is told.
    pub flags: MonitorFlags,
    /// Only flows that output to it; NONE for all.
    pub out_port: PortNo,
    /// Only flows that send to the group; None for all.
    pub out_group: Option<u32>,
    /// The table; 255 for all.
    pub table: u8,
    /// Only flows whose match this one contains.
    pub matching: Match,
}

/// The number of monitors in this version.
pub(super) fn number(version: Version) -> Number {
    match version {
        Version::V10 => Number::Nicira(nicira::FLOW_MONITOR),
        Version::V13 => Number::Onf(ONF_FLOW_MONITOR),
        Version::V14 | Version::V15 => Number::Standard(standard::FLOW_MONITOR),
    }
}

pub(super) fn decode_requests(
    reader: &mut Reader<'_>,
    context: Context<'_>,
) -> Result<Vec<MonitorRequest>, Refusal> {
    let mut requests = Vec::new();
    while !reader.is_empty() {
        requests.push(MonitorRequest::decode(reader, context)?);
    }
    Ok(requests)
}

impl MonitorFlags {
    fn from_wire(bits: u16, version: Version) -> Result<MonitorFlags, Refusal> {
        let known = match version {
            Version::V10 | Version::V13 => 0x3f,
            // Open vSwitch refuses OFPFMF_NO_ABBREV.
            Version::V14 | Version::V15 => 0x5f,
        };
        if bits & !known != 0 || bits & (bit::ADD | bit::DELETE | bit::MODIFY) == 0 {
            return Err(Refusal::new(ErrorCode::MofcBadFlags, "a flow monitor request"));
        }
        Ok(MonitorFlags {
            initial: bits & bit::INITIAL != 0,
            add: bits & bit::ADD != 0,
            delete: bits & bit::DELETE != 0,
            modify: bits & bit::MODIFY != 0,
            actions: bits & bit::ACTIONS != 0,
            no_abbrev: bits & bit::NO_ABBREV != 0,
            only_own: bits & bit::ONLY_OWN != 0,
        })
    }

    fn to_wire(self, version: Version) -> u16 {
        let early = matches!(version, Version::V10 | Version::V13);
        [
            (self.initial, bit::INITIAL),
            (self.add, bit::ADD),
            (self.delete, bit::DELETE),
            (self.modify, bit::MODIFY),
            (self.actions, bit::ACTIONS),
            (self.no_abbrev && early, OWN),
            (self.only_own && !early, bit::ONLY_OWN),
        ]
        .into_iter()
        .fold(0, |bits, (set, bit)| if set { bits | bit } else { bits })
    }
}

impl MonitorRequest {
    fn decode(reader: &mut Reader<'_>, context: Context<'_>) -> Result<MonitorRequest, Refusal> {
        let version = context.version;
        match version {
            Version::V10 => {
                let l: &RequestNx = reader.take()?;
                let flags = MonitorFlags::from_wire(l.flags.get(), version)?;
                must_be_zero(&l.zeros)?;
                let (matching, _) = matching::decode_nxm(reader, l.match_len.get(), context, Rigour::Strict)?;
                Ok(MonitorRequest {
                    id: l.id.get(),
                    command: MonitorCommand::Add,
                    flags,
                    out_port: port_from_16(l.out_port.get()),
                    out_group: None,
                    table: l.table,
                    matching,
                })
            }
            Version::V13 => {
                let l: &Request13 = reader.take()?;
                let flags = MonitorFlags::from_wire(l.flags.get(), version)?;
                must_be_zero(&l.zeros)?;
                Ok(MonitorRequest {
                    id: l.id.get(),
                    command: MonitorCommand::Add,
                    flags,
                    out_port: port_from_32(l.out_port.get(), ErrorCode::BrcBadPort)?,
                    out_group: None,
                    table: l.table,
                    matching: matching::decode(reader, context)?,
                })
            }
            Version::V14 | Version::V15 => {
                let l: &Request14 = reader.take()?;
                let command = match l.command {
                    0 => MonitorCommand::Add,
                    1 => MonitorCommand::Modify,
                    2 => MonitorCommand::Delete,
                    _ => return Err(Refusal::new(ErrorCode::MofcBadCommand, "a flow monitor request")),
                };
                let flags = match command {
                    MonitorCommand::Delete => MonitorFlags::default(),
                    _ => MonitorFlags::from_wire(l.flags.get(), version)?,
                };
                Ok(MonitorRequest {
                    id: l.id.get(),
                    command,
                    flags,
                    out_port: port_from_32(l.out_port.get(), ErrorCode::MofcBadOut)?,
                    out_group: Some(l.out_group.get()).filter(|group| *group != ANY_GROUP),
                    table: l.table,
                    matching: matching::decode(reader, context)?,
                })
            }
        }
    }

    /// Append one request.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, context: Context<'_>) {
        let (id, table) = (U32::new(self.id), self.table);
        let flags = U16::new(self.flags.to_wire(context.version));
        let out_port = U32::new(self.out_port.0);
        let mut entries = Vec::new();
        match context.version {
            Version::V10 => {
                let length = matching::encode_nxm(&mut entries, &self.matching, None, context);
                let out_port = U16::new(port_to_16(self.out_port).unwrap_or(0xffff));
                let match_len = U16::new(length as u16);
                put(out, RequestNx { id, flags, out_port, match_len, table, zeros: [0; 5] });
            }
            Version::V13 => {
                let length = matching::encode(&mut entries, &self.matching, context);
                let match_len = U16::new(length as u16);
                put(out, Request13 { id, flags, match_len, out_port, table, zeros: [0; 3] });
            }
            Version::V14 | Version::V15 => {
                matching::encode(&mut entries, &self.matching, context);
                let out_group = U32::new(self.out_group.unwrap_or(ANY_GROUP));
                put(out, Request14 { id, out_port, out_group, flags, table, command: self.command as u8 });
            }
        }
        out.extend_from_slice(&entries);
    }
}

fn must_be_zero(bytes: &[u8]) -> Result<(), Refusal> {
    if super::super::bytes::all_zero(bytes) {
        Ok(())
    } else {
        Err(Refusal::new(ErrorCode::NxbrcMustBeZero, "a flow monitor request"))
    }
}

/// What happened to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdateEvent {
    /// It was there already. Before 1.4 told as added.
    Initial,
    /// It was added.
    Added,
    /// It went.
    Deleted(RemovedReason),
    /// Its actions or cookie changed.
    Modified,
}

/// One change of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FlowUpdate {
    /// In full.
    Full {
        /// What happened.
        event: UpdateEvent,
        /// Its table.
        table: u8,
        /// Its priority.
        priority: u16,
        /// Its idle timeout in seconds.
        idle_timeout: u16,
        /// Its hard timeout in seconds.
        hard_timeout: u16,
        /// Its cookie.
        cookie: u64,
        /// Its match.
        matching: Match,
        /// Its actions, where they were asked for.
        actions: Vec<Action>,
    },
    /// A change that the request of this xid made, which the monitor itself sent.
    Abbreviated {
        /// The request's.
        xid: u32,
    },
    /// Updates stop, for the client does not read them (1.4; before a message of its own).
    Paused,
    /// Updates go on (1.4; before a message of its own).
    Resumed,
}

impl UpdateEvent {
    fn to_wire(self, version: Version) -> u16 {
        let early = matches!(version, Version::V10 | Version::V13);
        match self {
            UpdateEvent::Initial if early => 0,
            UpdateEvent::Added if early => 0,
            UpdateEvent::Deleted(_) if early => 1,
            UpdateEvent::Modified if early => 2,
            UpdateEvent::Initial => 0,
            UpdateEvent::Added => 1,
            UpdateEvent::Deleted(_) => 2,
            UpdateEvent::Modified => 3,
        }
    }

    /// OFPRR_* of a deletion; 0 elsewhere.
    fn reason(self) -> u8 {
        match self {
            UpdateEvent::Deleted(reason) => reason as u8,
            UpdateEvent::Initial | UpdateEvent::Added | UpdateEvent::Modified => 0,
        }
    }
}

/// The events that are no flow's: abbreviated, paused, resumed.
fn special_events(version: Version) -> (u16, Option<(u16, u16)>) {
    match version {
        Version::V10 | Version::V13 => (3, None),
        Version::V14 | Version::V15 => (4, Some((5, 6))),
    }
}

impl FlowUpdate {
    pub(crate) fn decode(reader: &mut Reader<'_>, context: Context<'_>) -> Result<FlowUpdate, Refusal> {
        let version = context.version;
        let length = usize::from(reader.peek::<Head>()?.length.get());
        let mut inside = reader.sub(length)?;
        let r = &mut inside;
        let number = r.take::<Head>()?.event.get();
        let bad_event = Refusal::new(ErrorCode::NxbrcFmBadEvent, "a flow update");
        let (abbreviated, pauses) = special_events(version);
        // Those that are no flow's have four bytes: an xid, or padding.
        let short = |mut r: Reader<'_>, update: fn(u32) -> FlowUpdate| {
            let word: &U32 = r.take()?;
            r.end()?;
            Ok(update(word.get()))
        };
        if number == abbreviated {
            return short(inside, |xid| FlowUpdate::Abbreviated { xid });
        }
        if let Some((paused, resumed)) = pauses {
            match number {
                _ if number == paused => return short(inside, |_| FlowUpdate::Paused),
                _ if number == resumed => return short(inside, |_| FlowUpdate::Resumed),
                _ => {}
            }
        }
        let event = |reason: u8| -> Result<UpdateEvent, Refusal> {
            let removed = RemovedReason::from_wire(reason);
            Ok(match (version, number) {
                (Version::V10 | Version::V13, 0) => UpdateEvent::Added,
                (Version::V10 | Version::V13, 1) => UpdateEvent::Deleted(removed?),
                (Version::V10 | Version::V13, 2) => UpdateEvent::Modified,
                (_, 0) => UpdateEvent::Initial,
                (_, 1) => UpdateEvent::Added,
                (_, 2) => UpdateEvent::Deleted(removed?),
                (_, 3) => UpdateEvent::Modified,
                _ => return Err(bad_event),
            })
        };
        if matches!(version, Version::V10 | Version::V13) {
            let l: &UpdateNx = r.take()?;
            let event = event(u8::try_from(l.reason.get()).map_err(|_| bad_event)?)?;
            let matching = if version == Version::V10 {
                matching::decode_nxm(r, l.match_len.get(), context, Rigour::Strict)?.0
            } else {
                matching::decode(r, context)?
            };
            return Ok(FlowUpdate::Full {
                event,
                table: l.table,
                priority: l.priority.get(),
                idle_timeout: l.idle.get(),
                hard_timeout: l.hard.get(),
                cookie: l.cookie.get(),
                matching,
                actions: action::decode_instructions(r.rest(), context)?,
            });
        }
        let l: &Update14 = r.take()?;
        Ok(FlowUpdate::Full {
            event: event(l.reason)?,
            table: l.table,
            priority: l.priority.get(),
            idle_timeout: l.idle.get(),
            hard_timeout: l.hard.get(),
            cookie: l.cookie.get(),
            matching: matching::decode(r, context)?,
            actions: action::decode_instructions(r.rest(), context)?,
        })
    }

    /// Append one update.
    pub fn encode(&self, out: &mut Vec<u8>, context: Context<'_>) -> Result<(), EncodeError> {
        let version = context.version;
        let start = out.len();
        let (abbreviated, pauses) = special_events(version);
        let head = |out: &mut Vec<u8>, event| put(out, Head { length: U16::ZERO, event: U16::new(event) });
        match self {
            FlowUpdate::Abbreviated { xid } => {
                head(out, abbreviated);
                put(out, U32::new(*xid));
            }
            FlowUpdate::Paused | FlowUpdate::Resumed => {
                let (paused, resumed) = pauses
                    .ok_or(EncodeError::Inexpressible { version, what: "a pause among flow updates" })?;
                head(out, if *self == FlowUpdate::Paused { paused } else { resumed });
                put(out, [0u8; 4]);
            }
            FlowUpdate::Full {
                event,
                table,
                priority,
                idle_timeout,
                hard_timeout,
                cookie,
                matching,
                actions,
            } => {
                head(out, event.to_wire(version));
                let (table, cookie) = (*table, U64::new(*cookie));
                let (priority, reason) = (U16::new(*priority), event.reason());
                let (idle, hard) = (U16::new(*idle_timeout), U16::new(*hard_timeout));
                let mut entries = Vec::new();
                if matches!(version, Version::V10 | Version::V13) {
                    let length = if version == Version::V10 {
                        matching::encode_nxm(&mut entries, matching, None, context)
                    } else {
                        matching::encode(&mut entries, matching, context)
                    };
                    let (reason, match_len) = (U16::new(reason.into()), U16::new(length as u16));
                    put(out, UpdateNx { reason, priority, idle, hard, match_len, table, pad: 0, cookie });
                } else {
                    matching::encode(&mut entries, matching, context);
                    put(out, Update14 { table, reason, idle, hard, priority, zeros: [0; 4], cookie });
                }
                out.extend_from_slice(&entries);
                action::encode_instructions(out, actions, context, matching)?;
            }
        }
        let length = out.len() - start;
        patch_u16(out, start, length);
        Ok(())
    }
}
