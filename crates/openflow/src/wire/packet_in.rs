//! Packets sent to the controller.
//!
//! OpenFlow 1.0.0 §5.4.1, 1.3.5 §7.4.1; nicira-ext's NXT_PACKET_IN (17) and NXT_PACKET_IN2 (30).

use super::bytes::{Reader, U16, U32, U64, layout, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header;
use super::matching::{self, Rigour, port_from_16, port_to_16};
use super::oxm::Dialect;
use super::property::{Properties, put_bytes, put_u64};
use super::settings::PacketInFormat;
use super::version::Version;
use super::{Context, NICIRA, NO_BUFFER, kind, nicira};
use crate::matching::Match;
use crate::port::PortNo;

layout! {
    /// ofp_packet_in (1.0)
    struct Layout10 { buffer_id: U32, total_len: U16, in_port: U16, reason: u8, pad: u8, }
    /// ofp_packet_in (1.3), before the match
    struct Layout13 { buffer_id: U32, total_len: U16, reason: u8, table: u8, cookie: U64, }
    /// nx_packet_in, before the match
    struct Nxt {
        buffer_id: U32, total_len: U16, reason: u8, table: u8, cookie: U64, match_len: U16, pad: [u8; 6],
    }
}

/// Properties of NXT_PACKET_IN2.
mod property_kind {
    pub(super) const PACKET: u16 = 0;
    pub(super) const FULL_LEN: u16 = 1;
    pub(super) const BUFFER_ID: u16 = 2;
    pub(super) const TABLE_ID: u16 = 3;
    pub(super) const COOKIE: u16 = 4;
    pub(super) const REASON: u16 = 5;
    pub(super) const METADATA: u16 = 6;
    pub(super) const USERDATA: u16 = 7;
    pub(super) const CONTINUATION: u16 = 8;
}

/// OFPT_PACKET_IN in any of its forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketIn {
    /// The form. 1.0's own says nothing of table, cookie and metadata but in_port.
    pub format: PacketInFormat,
    /// Where the switch keeps the packet; None where `data` is all of it.
    pub buffer_id: Option<u32>,
    /// The packet's whole length.
    pub total_len: u32,
    /// OFPR_*. 3 to 5 are of 1.4, and are 1 before.
    pub reason: u8,
    /// The table of the flow that sent it.
    pub table: u8,
    /// That flow's cookie; all ones where there is no flow.
    pub cookie: u64,
    /// in_port, registers, tunnel and so on, each field matched exactly.
    pub metadata: Match,
    /// controller(userdata=)
    pub userdata: Vec<u8>,
    /// The packet, or its beginning.
    pub data: Vec<u8>,
}

/// OFPR_ACTION
const ACTION: u8 = 1;
/// OFPR_INVALID_TTL, the last reason before 1.4.
const INVALID_TTL: u8 = 2;

impl PacketIn {
    /// Where the packet came in.
    pub fn in_port(&self) -> Option<PortNo> {
        matching::in_port(&self.metadata)
    }

    /// The version's own form.
    pub(crate) fn decode(body: &[u8], context: Context<'_>) -> Result<PacketIn, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_PACKET_IN");
        let buffer = |id: U32| Some(id.get()).filter(|id| *id != NO_BUFFER);
        if context.version == Version::V10 {
            let layout: &Layout10 = reader.take()?;
            return Ok(PacketIn {
                format: PacketInFormat::Standard,
                buffer_id: buffer(layout.buffer_id),
                total_len: layout.total_len.get().into(),
                reason: layout.reason,
                table: 0,
                cookie: u64::MAX,
                metadata: matching::from_port(port_from_16(layout.in_port.get())),
                userdata: Vec::new(),
                data: reader.rest().to_vec(),
            });
        }
        let layout: &Layout13 = reader.take()?;
        let (metadata, _) = matching::decode_with(&mut reader, context, Rigour::Loose)?;
        reader.bytes(2)?;
        Ok(PacketIn {
            format: PacketInFormat::Standard,
            buffer_id: buffer(layout.buffer_id),
            total_len: layout.total_len.get().into(),
            reason: layout.reason,
            table: layout.table,
            cookie: layout.cookie.get(),
            metadata,
            userdata: Vec::new(),
            data: reader.rest().to_vec(),
        })
    }

    /// NXT_PACKET_IN, from the bytes behind the subtype.
    pub(crate) fn decode_nxt(body: &[u8], context: Context<'_>) -> Result<PacketIn, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "NXT_PACKET_IN");
        let layout: &Nxt = reader.take()?;
        let (metadata, _) =
            matching::decode_nxm(&mut reader, layout.match_len.get(), context, Rigour::Loose)?;
        reader.bytes(2)?;
        Ok(PacketIn {
            format: PacketInFormat::Nxt,
            buffer_id: Some(layout.buffer_id.get()).filter(|id| *id != NO_BUFFER),
            total_len: layout.total_len.get().into(),
            reason: layout.reason,
            table: layout.table,
            cookie: layout.cookie.get(),
            metadata,
            userdata: Vec::new(),
            data: reader.rest().to_vec(),
        })
    }

    /// NXT_PACKET_IN2, from the bytes behind the subtype.
    pub(crate) fn decode_nxt2(body: &[u8], context: Context<'_>) -> Result<PacketIn, Refusal> {
        let mut packet = PacketIn {
            format: PacketInFormat::Nxt2,
            buffer_id: None,
            total_len: 0,
            reason: 0,
            table: 0,
            cookie: u64::MAX,
            metadata: Match::any(),
            userdata: Vec::new(),
            data: Vec::new(),
        };
        let mut full_length = None;
        for property in Properties::new(body) {
            let property = property?;
            match property.kind {
                property_kind::PACKET => packet.data = property.payload.to_vec(),
                property_kind::FULL_LEN => full_length = Some(property.u32()?),
                property_kind::BUFFER_ID => packet.buffer_id = Some(property.u32()?),
                property_kind::TABLE_ID => packet.table = property.u8()?,
                property_kind::COOKIE => packet.cookie = property.u64()?,
                property_kind::REASON => packet.reason = property.u8()?,
                property_kind::METADATA => {
                    let entries = Reader::new(property.payload, ErrorCode::BmcBadLen, "NXT_PACKET_IN2");
                    packet.metadata = matching::decode_entries(entries, context, Rigour::Loose)?.0;
                }
                property_kind::USERDATA => packet.userdata = property.payload.to_vec(),
                // Only the switch that made it can use it.
                property_kind::CONTINUATION => {}
                _ => return Err(Refusal::new(ErrorCode::BpcBadType, "NXT_PACKET_IN2")),
            }
        }
        packet.total_len = full_length.unwrap_or(packet.data.len() as u32);
        Ok(packet)
    }

    /// A whole message, in the packet's own form.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let version = context.version;
        let buffer_id = U32::new(self.buffer_id.unwrap_or(NO_BUFFER));
        let total_len = U16::new(u16::try_from(self.total_len).unwrap_or(u16::MAX));
        let early = matches!(version, Version::V10 | Version::V13);
        let reason = if early && self.reason > INVALID_TTL { ACTION } else { self.reason };
        let (table, cookie) = (self.table, U64::new(self.cookie));
        match self.format {
            PacketInFormat::Standard if version == Version::V10 => {
                header::message(version, kind::PACKET_IN, xid, |out| {
                    let port = self.in_port().and_then(port_to_16).unwrap_or(0xffff);
                    let in_port = U16::new(port);
                    put(out, Layout10 { buffer_id, total_len, in_port, reason, pad: 0 });
                    out.extend_from_slice(&self.data);
                    Ok(())
                })
            }
            PacketInFormat::Standard => header::message(version, kind::PACKET_IN, xid, |out| {
                put(out, Layout13 { buffer_id, total_len, reason, table, cookie });
                matching::encode(out, &self.metadata, context);
                out.extend_from_slice(&[0; 2]);
                out.extend_from_slice(&self.data);
                Ok(())
            }),
            PacketInFormat::Nxt => header::vendor_message(version, NICIRA, nicira::PACKET_IN, xid, |out| {
                let mut entries = Vec::new();
                let length = matching::encode_nxm(&mut entries, &self.metadata, None, context);
                let match_len = U16::new(length as u16);
                put(out, Nxt { buffer_id, total_len, reason, table, cookie, match_len, pad: [0; 6] });
                out.extend_from_slice(&entries);
                out.extend_from_slice(&[0; 2]);
                out.extend_from_slice(&self.data);
                Ok(())
            }),
            PacketInFormat::Nxt2 => header::vendor_message(version, NICIRA, nicira::PACKET_IN2, xid, |out| {
                self.encode_properties(out, context, reason);
                Ok(())
            }),
        }
    }

    fn encode_properties(&self, out: &mut Vec<u8>, context: Context<'_>, reason: u8) {
        put_bytes(out, property_kind::PACKET, &self.data);
        if self.total_len as usize != self.data.len() {
            put_bytes(out, property_kind::FULL_LEN, &self.total_len.to_be_bytes());
        }
        if let Some(id) = self.buffer_id {
            put_bytes(out, property_kind::BUFFER_ID, &id.to_be_bytes());
        }
        put_bytes(out, property_kind::TABLE_ID, &[self.table]);
        if self.cookie != u64::MAX {
            put_u64(out, property_kind::COOKIE, self.cookie);
        }
        put_bytes(out, property_kind::REASON, &[reason]);
        let mut entries = Vec::new();
        matching::encode_entries(&mut entries, &self.metadata, context, Dialect::Oxm);
        put_bytes(out, property_kind::METADATA, &entries);
        if !self.userdata.is_empty() {
            put_bytes(out, property_kind::USERDATA, &self.userdata);
        }
    }
}
