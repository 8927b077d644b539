//! Flow mods: add, modify and delete flows.
//!
//! OpenFlow 1.0.0 §5.3.3, 1.3.5 §7.3.4.1, 1.4.1 (importance); nicira-ext's NXT_FLOW_MOD (13).

use super::bytes::{Reader, U16, U32, U64, layout, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header;
use super::matching::{self, CookieMatch, Rigour, port_from_16, port_from_32, port_to_16};
use super::version::Version;
use super::{ALL_TABLES, ANY_GROUP, Context, Form, NICIRA, NO_BUFFER, action, kind, match10, nicira};
use crate::action::Action;
use crate::flow::FlowFlags;
use crate::matching::Match;
use crate::port::PortNo;

layout! {
    /// ofp_flow_mod (1.0)
    struct Layout10 {
        matching: match10::Layout, cookie: U64, command: U16, idle: U16, hard: U16, priority: U16,
        buffer_id: U32, out_port: U16, flags: U16,
    }
    /// ofp_flow_mod (1.1 and later), before the match
    struct Layout11 {
        cookie: U64, cookie_mask: U64, table: u8, command: u8, idle: U16, hard: U16, priority: U16,
        buffer_id: U32, out_port: U32, out_group: U32, flags: U16, importance: U16,
    }
    /// nx_flow_mod, before the match
    struct Nxt {
        cookie: U64, command: U16, idle: U16, hard: U16, priority: U16, buffer_id: U32, out_port: U16,
        flags: U16, match_len: U16, pad: [u8; 6],
    }
}

/// OFPFC_*
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Command {
    /// Add, or replace the flow of the same match and priority.
    Add = 0,
    /// Change the actions of all flows that the match contains.
    Modify = 1,
    /// Change the actions of the flow of this match and priority.
    ModifyStrict = 2,
    /// Delete all flows that the match contains.
    Delete = 3,
    /// Delete the flow of this match and priority.
    DeleteStrict = 4,
}

impl Command {
    fn from_wire(number: u16) -> Result<Command, Refusal> {
        Ok(match number {
            0 => Command::Add,
            1 => Command::Modify,
            2 => Command::ModifyStrict,
            3 => Command::Delete,
            4 => Command::DeleteStrict,
            _ => return Err(Refusal::new(ErrorCode::FmfcBadCommand, "a flow mod")),
        })
    }

    fn deletes(self) -> bool {
        matches!(self, Command::Delete | Command::DeleteStrict)
    }
}

/// A flow mod in any of its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowMod {
    /// NXT_FLOW_MOD or the version's own. Later versions than 1.0 have Nicira's too, and need it no more.
    pub form: Form,
    /// What to do.
    pub command: Command,
    /// The table; 255 for all (deletes), and in 1.0 for whichever the switch chooses.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// The flow's new cookie; None leaves it (modifies).
    pub cookie: Option<u64>,
    /// Which cookies are modified or deleted; None for all.
    pub cookie_match: Option<CookieMatch>,
    /// Which packets.
    pub matching: Match,
    /// What to do with them.
    pub actions: Vec<Action>,
    /// Seconds.
    pub idle_timeout: u16,
    /// Seconds.
    pub hard_timeout: u16,
    /// For eviction; 1.4 and later, in adds.
    pub importance: u16,
    /// A packet that the switch keeps, to run through the flow.
    pub buffer_id: Option<u32>,
    /// Delete only flows that output to it; NONE for all.
    pub out_port: PortNo,
    /// Delete only flows that send to the group; None for all.
    pub out_group: Option<u32>,
    /// Flags.
    pub flags: FlowFlags,
}

const SEND_FLOW_REM: u16 = 1 << 0;
const CHECK_OVERLAP: u16 = 1 << 1;
/// OFPFF_EMERG of 1.0.
const EMERGENCY: u16 = 1 << 2;
const RESET_COUNTS: u16 = 1 << 2;
const NO_PACKET_COUNTS: u16 = 1 << 3;
const NO_BYTE_COUNTS: u16 = 1 << 4;

/// OFPFF_* bits, in the version's numbers.
pub(crate) fn flags_to_wire(flags: FlowFlags, version: Version) -> u16 {
    let bit = |set: bool, bit: u16| if set { bit } else { 0 };
    let mut bits = bit(flags.send_flow_rem, SEND_FLOW_REM) | bit(flags.check_overlap, CHECK_OVERLAP);
    if version != Version::V10 {
        bits |= bit(flags.reset_counts, RESET_COUNTS)
            | bit(flags.no_packet_counts, NO_PACKET_COUNTS)
            | bit(flags.no_byte_counts, NO_BYTE_COUNTS);
    }
    bits
}

pub(crate) fn flags_from_wire(bits: u16, version: Version) -> Result<FlowFlags, Refusal> {
    let known = if version == Version::V10 { SEND_FLOW_REM | CHECK_OVERLAP } else { 0x1f };
    if bits & !known != 0 {
        return Err(Refusal::new(ErrorCode::FmfcBadFlags, "a flow's flags"));
    }
    Ok(FlowFlags {
        send_flow_rem: bits & SEND_FLOW_REM != 0,
        check_overlap: bits & CHECK_OVERLAP != 0,
        reset_counts: bits & RESET_COUNTS != 0,
        no_packet_counts: bits & NO_PACKET_COUNTS != 0,
        no_byte_counts: bits & NO_BYTE_COUNTS != 0,
    })
}

impl FlowMod {
    /// A flow mod that adds to `table` a flow without actions.
    pub fn add(table: u8, priority: u16, matching: Match) -> FlowMod {
        FlowMod {
            form: Form::Standard,
            command: Command::Add,
            table,
            priority,
            cookie: Some(0),
            cookie_match: None,
            matching,
            actions: Vec::new(),
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            buffer_id: None,
            out_port: PortNo::NONE,
            out_group: None,
            flags: FlowFlags::default(),
        }
    }

    pub(crate) fn decode(body: &[u8], context: Context<'_>) -> Result<FlowMod, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_FLOW_MOD");
        if context.version != Version::V10 {
            return FlowMod::decode_11(&mut reader, context);
        }
        let l: &Layout10 = reader.take()?;
        let matching = match10::decode(&l.matching);
        // A 1.0 match without wildcards is of the highest priority.
        let priority = if match10::is_exact(&l.matching) { u16::MAX } else { l.priority.get() };
        let head = Head {
            form: Form::Standard,
            command: l.command.get(),
            cookie: l.cookie.get(),
            idle: l.idle.get(),
            hard: l.hard.get(),
            priority,
            buffer_id: l.buffer_id.get(),
            out_port: l.out_port.get(),
            flags: l.flags.get(),
        };
        head.finish(reader, context, matching, None)
    }

    /// NXT_FLOW_MOD, from the bytes behind the subtype.
    pub(crate) fn decode_nxt(body: &[u8], context: Context<'_>) -> Result<FlowMod, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "NXT_FLOW_MOD");
        let l: &Nxt = reader.take()?;
        let (matching, cookie) =
            matching::decode_nxm(&mut reader, l.match_len.get(), context, Rigour::Strict)?;
        let head = Head {
            form: Form::Nicira,
            command: l.command.get(),
            cookie: l.cookie.get(),
            idle: l.idle.get(),
            hard: l.hard.get(),
            priority: l.priority.get(),
            buffer_id: l.buffer_id.get(),
            out_port: l.out_port.get(),
            flags: l.flags.get(),
        };
        head.finish(reader, context, matching, cookie.filter(|c| c.mask != 0))
    }

    fn decode_11(reader: &mut Reader<'_>, context: Context<'_>) -> Result<FlowMod, Refusal> {
        let l: &Layout11 = reader.take()?;
        let matching = matching::decode(reader, context)?;
        let command = Command::from_wire(l.command.into())?;
        if l.table == ALL_TABLES && !command.deletes() {
            return Err(Refusal::new(ErrorCode::FmfcBadTableId, "OFPT_FLOW_MOD"));
        }
        let out_port = port_from_32(l.out_port.get(), ErrorCode::BacBadOutPort)?;
        let adds = command == Command::Add;
        let cookie_match = CookieMatch { value: l.cookie.get(), mask: l.cookie_mask.get() };
        let importance = if adds && context.version >= Version::V14 { l.importance.get() } else { 0 };
        Ok(FlowMod {
            form: Form::Standard,
            command,
            table: l.table,
            priority: l.priority.get(),
            cookie: adds.then_some(l.cookie.get()),
            cookie_match: Some(cookie_match).filter(|c| !adds && c.mask != 0),
            matching,
            actions: action::decode_instructions(reader.rest(), context)?,
            idle_timeout: l.idle.get(),
            hard_timeout: l.hard.get(),
            importance,
            buffer_id: Some(l.buffer_id.get()).filter(|id| *id != NO_BUFFER),
            out_port,
            out_group: Some(l.out_group.get()).filter(|group| command.deletes() && *group != ANY_GROUP),
            flags: flags_from_wire(l.flags.get(), context.version)?,
        })
    }

    /// The body of NXT_FLOW_MOD or of 1.0's own.
    fn encode_10(&self, out: &mut Vec<u8>, context: Context<'_>) -> Result<(), EncodeError> {
        let inexpressible = |what| EncodeError::Inexpressible { version: context.version, what };
        let table = if context.table_in_command { u16::from(self.table) << 8 } else { 0 };
        let command = U16::new(table | self.command as u16);
        let cookie = U64::new(self.cookie.unwrap_or(u64::MAX));
        let (idle, hard) = (U16::new(self.idle_timeout), U16::new(self.hard_timeout));
        let priority = U16::new(self.priority);
        let buffer_id = U32::new(self.buffer_id.unwrap_or(NO_BUFFER));
        let out_port = port_to_16(self.out_port).ok_or(inexpressible("a port number above 0xfeff"))?;
        let out_port = U16::new(out_port);
        let flags = U16::new(flags_to_wire(self.flags, context.version));
        if self.form == Form::Nicira {
            let mut entries = Vec::new();
            let length = matching::encode_nxm(&mut entries, &self.matching, self.cookie_match, context);
            let (match_len, pad) = (U16::new(length as u16), [0; 6]);
            put(
                out,
                Nxt { cookie, command, idle, hard, priority, buffer_id, out_port, flags, match_len, pad },
            );
            out.extend_from_slice(&entries);
        } else if self.cookie_match.is_some() || !match10::can_express(&self.matching) {
            return Err(inexpressible("this match without NXT_FLOW_MOD"));
        } else {
            let matching = match10::encode(&self.matching);
            put(
                out,
                Layout10 { matching, cookie, command, idle, hard, priority, buffer_id, out_port, flags },
            );
        }
        action::encode_instructions(out, &self.actions, context, &self.matching)
    }

    /// A whole message.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let version = context.version;
        if self.form == Form::Nicira {
            let body = |out: &mut Vec<u8>| self.encode_10(out, context);
            return header::vendor_message(version, NICIRA, nicira::FLOW_MOD, xid, body);
        }
        if version == Version::V10 {
            return header::message(version, kind::FLOW_MOD, xid, |out| self.encode_10(out, context));
        }
        header::message(context.version, kind::FLOW_MOD, xid, |out| {
            let (cookie, cookie_mask) = match (self.command, self.cookie_match) {
                (Command::Add, _) => (self.cookie.unwrap_or(0), 0),
                (_, Some(cookie)) => (cookie.value, cookie.mask),
                (_, None) => (0, 0),
            };
            let importance = if context.version >= Version::V14 { self.importance } else { 0 };
            put(
                out,
                Layout11 {
                    cookie: U64::new(cookie),
                    cookie_mask: U64::new(cookie_mask),
                    table: self.table,
                    command: self.command as u8,
                    idle: U16::new(self.idle_timeout),
                    hard: U16::new(self.hard_timeout),
                    priority: U16::new(self.priority),
                    buffer_id: U32::new(self.buffer_id.unwrap_or(NO_BUFFER)),
                    out_port: U32::new(self.out_port.0),
                    out_group: U32::new(self.out_group.unwrap_or(ANY_GROUP)),
                    flags: U16::new(flags_to_wire(self.flags, context.version)),
                    importance: U16::new(importance),
                },
            );
            matching::encode(out, &self.matching, context);
            action::encode_instructions(out, &self.actions, context, &self.matching)
        })
    }
}

/// What 1.0's two forms have in common.
struct Head {
    form: Form,
    command: u16,
    cookie: u64,
    idle: u16,
    hard: u16,
    priority: u16,
    buffer_id: u32,
    out_port: u16,
    flags: u16,
}

impl Head {
    fn finish(
        self,
        reader: Reader<'_>,
        context: Context<'_>,
        matching: Match,
        cookie_match: Option<CookieMatch>,
    ) -> Result<FlowMod, Refusal> {
        let refuse = |code| Refusal::new(code, "a flow mod");
        let (table, command) = if context.table_in_command {
            ((self.command >> 8) as u8, self.command & 0xff)
        } else {
            (ALL_TABLES, self.command)
        };
        let command = Command::from_wire(command)?;
        if command == Command::Add && cookie_match.is_some() {
            return Err(refuse(ErrorCode::NxbrcNxmInvalid));
        }
        let actions = action::decode_instructions(reader.rest(), context)?;
        if context.version == Version::V10 {
            action::check_order(&actions)?;
        }
        let mut flags = flags_from_wire(self.flags & !EMERGENCY, context.version)?;
        if self.flags & EMERGENCY != 0 && context.version == Version::V10 {
            let timeouts = self.idle != 0 || self.hard != 0;
            return Err(refuse(if timeouts {
                ErrorCode::FmfcBadEmergTimeout
            } else {
                ErrorCode::FmfcTableFull
            }));
        }
        // In 1.0 an add always sets the counters to zero.
        flags.reset_counts = command == Command::Add;
        Ok(FlowMod {
            form: self.form,
            command,
            table,
            priority: self.priority,
            cookie: Some(self.cookie).filter(|cookie| *cookie != u64::MAX),
            cookie_match,
            matching,
            actions,
            idle_timeout: self.idle,
            hard_timeout: self.hard,
            importance: 0,
            buffer_id: Some(self.buffer_id).filter(|id| *id != NO_BUFFER),
            out_port: port_from_16(self.out_port),
            out_group: None,
            flags,
        })
    }
}
