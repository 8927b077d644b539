//! The mapping of tunnel options to `tun_metadata` fields.
//!
//! nicira-ext: NXT_TLV_TABLE_MOD (24), NXT_TLV_TABLE_REQUEST (25), NXT_TLV_TABLE_REPLY (26).

use super::bytes::{Reader, U16, U32, layout, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header::vendor_message;
use super::{Context, NICIRA, nicira};

layout! {
    /// nx_tlv_map
    struct Map { option_class: U16, option_type: u8, option_len: u8, index: U16, pad: [u8; 2], }
    /// nx_tlv_table_mod, before the maps
    struct Mod { command: U16, pad: [u8; 6], }
    /// nx_tlv_table_reply, before the maps
    struct Reply { max_option_space: U32, max_fields: U16, reserved: [u8; 10], }
}

/// One tunnel option and the field it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TlvMapping {
    /// Geneve's option class.
    pub option_class: u16,
    /// Its type.
    pub option_type: u8,
    /// Bytes of its value, a multiple of 4.
    pub option_len: u8,
    /// N of `tun_metadataN`.
    pub index: u16,
}

/// The mapping in force.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlvTable(pub Vec<TlvMapping>);

/// NXTTMC_*
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum TlvCommand {
    /// Add mappings.
    Add = 0,
    /// Delete mappings, by index.
    Delete = 1,
    /// Delete all.
    Clear = 2,
}

/// NXT_TLV_TABLE_MOD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvTableMod {
    /// What to do.
    pub command: TlvCommand,
    /// With which.
    pub mappings: Vec<TlvMapping>,
}

/// NXT_TLV_TABLE_REPLY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvTableReply {
    /// Bytes that all options together may have.
    pub max_option_space: u32,
    /// Fields that there are.
    pub max_fields: u16,
    /// The mapping.
    pub mappings: Vec<TlvMapping>,
}

/// `tun_metadata` fields that Open vSwitch numbers.
const MAX_INDEX: u16 = 63;
/// The longest option of Geneve.
const MAX_OPTION: u8 = 124;

fn decode_maps(reader: &mut Reader<'_>, rigorous: bool) -> Result<Vec<TlvMapping>, Refusal> {
    let mut mappings = Vec::new();
    while !reader.is_empty() {
        let map: &Map = reader.take()?;
        if rigorous
            && (map.option_len == 0 || !map.option_len.is_multiple_of(4) || map.option_len > MAX_OPTION)
        {
            return Err(Refusal::new(ErrorCode::NxttmfcBadOptLen, "NXT_TLV_TABLE_MOD"));
        }
        if map.index.get() > MAX_INDEX {
            return Err(Refusal::new(ErrorCode::NxttmfcBadFieldIdx, "NXT_TLV_TABLE_MOD"));
        }
        mappings.push(TlvMapping {
            option_class: map.option_class.get(),
            option_type: map.option_type,
            option_len: map.option_len,
            index: map.index.get(),
        });
    }
    Ok(mappings)
}

fn encode_maps(out: &mut Vec<u8>, mappings: &[TlvMapping]) {
    for map in mappings {
        put(
            out,
            Map {
                option_class: U16::new(map.option_class),
                option_type: map.option_type,
                option_len: map.option_len,
                index: U16::new(map.index),
                pad: [0; 2],
            },
        );
    }
}

impl TlvTableMod {
    pub(crate) fn decode(body: &[u8]) -> Result<TlvTableMod, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "NXT_TLV_TABLE_MOD");
        let command = match reader.take::<Mod>()?.command.get() {
            0 => TlvCommand::Add,
            1 => TlvCommand::Delete,
            2 => TlvCommand::Clear,
            _ => return Err(Refusal::new(ErrorCode::NxttmfcBadCommand, "NXT_TLV_TABLE_MOD")),
        };
        Ok(TlvTableMod { command, mappings: decode_maps(&mut reader, command == TlvCommand::Add)? })
    }

    /// A whole message.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        vendor_message(context.version, NICIRA, nicira::TLV_TABLE_MOD, xid, |out| {
            put(out, Mod { command: U16::new(self.command as u16), pad: [0; 6] });
            encode_maps(out, &self.mappings);
            Ok(())
        })
    }
}

impl TlvTableReply {
    pub(crate) fn decode(body: &[u8]) -> Result<TlvTableReply, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "NXT_TLV_TABLE_REPLY");
        let layout: &Reply = reader.take()?;
        Ok(TlvTableReply {
            max_option_space: layout.max_option_space.get(),
            max_fields: layout.max_fields.get(),
            mappings: decode_maps(&mut reader, false)?,
        })
    }

    /// A whole message.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        vendor_message(context.version, NICIRA, nicira::TLV_TABLE_REPLY, xid, |out| {
            let (space, fields) = (U32::new(self.max_option_space), U16::new(self.max_fields));
            put(out, Reply { max_option_space: space, max_fields: fields, reserved: [0; 10] });
            encode_maps(out, &self.mappings);
            Ok(())
        })
    }
}
