//! Requests about what this switch has none of: groups, meters, queues and the tables' own settings.
//!
//! OpenFlow 1.3.5 §7.3.3, §7.3.4.2 (group mod), §7.3.4.4 (meter mod), §7.3.6 (queues); 1.0.0 §5.3.4;
//! 1.5.1 §7.3.4.3. Decoded as far as it takes to give the right refusal or an empty answer.

use super::Context;
use super::bytes::{Reader, U16, U32, layout, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header;
use super::kind;
use super::matching::{port_from_16, port_from_32, port_to_16};
use super::version::Version;
use crate::port::PortNo;

layout! {
    /// ofp_group_mod, before the buckets
    struct Group { command: U16, kind: u8, pad: u8, id: U32, }
    /// ofp_meter_mod, before the bands
    struct Meter { command: U16, flags: U16, id: U32, }
    /// ofp_table_mod
    struct Table { id: u8, pad: [u8; 3], config: U32, }
    /// ofp_queue_get_config_request (1.0)
    struct Queue10 { port: U16, pad: [u8; 2], }
    /// ofp_queue_get_config_request (1.1)
    struct Queue11 { port: U32, pad: [u8; 4], }
}

/// OFPT_GROUP_MOD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupMod {
    /// OFPGC_*: 0 add, 1 modify, 2 delete.
    pub command: u16,
    /// OFPGT_*
    pub kind: u8,
    /// The group; 0xfffffffc for all.
    pub id: u32,
}

/// OFPT_METER_MOD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeterMod {
    /// OFPMC_*: 0 add, 1 modify, 2 delete.
    pub command: u16,
    /// OFPMF_*
    pub flags: u16,
    /// The meter; 0xffffffff for all.
    pub id: u32,
}

/// OFPT_TABLE_MOD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableMod {
    /// The table; 255 for all.
    pub table: u8,
    /// OFPTC_*
    pub config: u32,
}

impl GroupMod {
    pub(crate) fn decode(body: &[u8]) -> Result<GroupMod, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_GROUP_MOD");
        let layout: &Group = reader.take()?;
        // 1.5 adds insert-bucket (3), remove-bucket (5); 0x8000 is Open vSwitch's add-or-modify.
        if !matches!(layout.command.get(), 0..=3 | 5 | 0x8000) {
            return Err(Refusal::new(ErrorCode::GmfcBadCommand, "OFPT_GROUP_MOD"));
        }
        Ok(GroupMod { command: layout.command.get(), kind: layout.kind, id: layout.id.get() })
    }
}

impl MeterMod {
    pub(crate) fn decode(body: &[u8]) -> Result<MeterMod, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_METER_MOD");
        let layout: &Meter = reader.take()?;
        if layout.command.get() > 2 {
            return Err(Refusal::new(ErrorCode::MmfcBadCommand, "OFPT_METER_MOD"));
        }
        Ok(MeterMod { command: layout.command.get(), flags: layout.flags.get(), id: layout.id.get() })
    }
}

impl TableMod {
    pub(crate) fn decode(body: &[u8]) -> Result<TableMod, Refusal> {
        let layout: &Table = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_TABLE_MOD").take()?;
        Ok(TableMod { table: layout.id, config: layout.config.get() })
    }
}

/// The port whose queues OFPT_QUEUE_GET_CONFIG_REQUEST asks for.
pub(crate) fn decode_queue_port(body: &[u8], context: Context<'_>) -> Result<PortNo, Refusal> {
    let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_QUEUE_GET_CONFIG_REQUEST");
    match context.version {
        Version::V10 => Ok(port_from_16(reader.take::<Queue10>()?.port.get())),
        _ => port_from_32(reader.take::<Queue11>()?.port.get(), ErrorCode::QofcBadPort),
    }
}

/// A whole OFPT_QUEUE_GET_CONFIG_REPLY: the port has no queues. 1.0 to 1.3.
pub fn encode_no_queues(port: PortNo, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
    header::message(context.version, kind::queue_config_reply(context.version), xid, |out| {
        match context.version {
            Version::V10 => {
                put(out, U16::new(port_to_16(port).unwrap_or(0xffff)));
                out.extend_from_slice(&[0; 6]);
            }
            _ => put(out, Queue11 { port: U32::new(port.0), pad: [0; 4] }),
        }
        Ok(())
    })
}
