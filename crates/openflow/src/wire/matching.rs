//! Matches as lists of NXM or OXM entries.
//!
//! OpenFlow 1.3.5 §7.2.3 (ofp_match, OXM), 1.5.1 §7.2.3, and nicira-ext's nx_match: entries in any
//! order, each field at most once and behind its prerequisites, padded to 8 bytes. OpenFlow 1.0's
//! fixed match is [`super::match10`].
//!
//! One table ([`ORDER`]) says which fields are written and in which order, the order of Open vSwitch.
//! Fields share bits (a register and its xreg, the ports of TCP and UDP), so a field is written only
//! where its prerequisite is matched.

use super::Context;
use super::bytes::{Reader, U16, layout, pad8, patch_u16, put};
use super::error::{ErrorCode, Refusal};
use super::oxm::{self, Dialect, Entry, Name};
use super::version::Version;
use crate::field::{Field, Masking};
use crate::matching::Match;
use crate::port::PortNo;

const OFPMT_OXM: u16 = 1;
/// The present bit of a tag, as vlan_tci and OXM_OF_VLAN_VID have it.
const VLAN_PRESENT: u128 = 0x1000;

layout! {
    /// ofp_match
    struct Layout {
        kind: U16,
        /// Of type, length and entries, without the padding.
        length: U16,
    }
}

/// A cookie and which of its bits count, as NXM requests carry them among the match's entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CookieMatch {
    /// The bits.
    pub value: u64,
    /// Which count.
    pub mask: u64,
}

/// What is refused: entries of a flow mod strictly, those of a packet-in's metadata hardly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rigour {
    /// Unknown fields and missing prerequisites are errors.
    Strict,
    /// Both are skipped. The bits of a field without its prerequisite could as well be another's.
    Loose,
}

/// When a field of [`ORDER`] is written.
enum When {
    /// Whenever any of its bits is matched.
    Always,
    /// Only in NXM.
    Nxm,
    /// Only in OXM.
    Oxm,
    /// Only in OXM before OpenFlow 1.5, and in NXM.
    BeforeV15,
    /// Only in OpenFlow 1.5.
    V15,
}

// Which fields are written, in order, and when. Behind the fields that others need.
#[rustfmt::skip]
const ORDER: &[(Field, When)] = {
    use Field::*;
    use When::*;
    &[
        (PacketType, Always),
        (ConjId, Always),
        (InPort, Nxm), (InPortOxm, Oxm), (ActsetOutput, Always),
        (EthSrc, Always), (EthDst, Always), (EthType, Always),
        (VlanTci, Nxm), (VlanVid, Oxm), (VlanPcp, Oxm),
        (NwSrc, Always), (NwDst, Always), (Ipv6Src, Always), (Ipv6Dst, Always),
        (IpFrag, Always), (NwTos, Nxm), (IpDscp, Oxm), (NwEcn, Always), (NwTtl, Always), (Ipv6Label, Always),
        (NwProto, Always),
        (TcpSrc, Always), (TcpDst, Always), (TcpFlags, Always),
        (UdpSrc, Always), (UdpDst, Always), (SctpSrc, Always), (SctpDst, Always),
        (IcmpType, Always), (IcmpCode, Always), (Icmpv6Type, Always), (Icmpv6Code, Always),
        (NdReserved, Always), (NdTarget, Always), (NdOptionsType, Always), (NdSll, Always), (NdTll, Always),
        (ArpOp, Always), (ArpSpa, Always), (ArpTpa, Always), (ArpSha, Always), (ArpTha, Always),
        (TunId, Always), (TunFlags, Always), (TunSrc, Always), (TunDst, Always), (TunIpv6Src, Always),
        (TunIpv6Dst, Always), (TunGbpId, Always), (TunGbpFlags, Always),
        (TunMetadata0, Always), (TunMetadata1, Always), (TunMetadata2, Always), (TunMetadata3, Always),
        (TunMetadata4, Always), (TunMetadata5, Always), (TunMetadata6, Always), (TunMetadata7, Always),
        (Reg0, BeforeV15), (Reg1, BeforeV15), (Reg2, BeforeV15), (Reg3, BeforeV15),
        (Reg4, BeforeV15), (Reg5, BeforeV15), (Reg6, BeforeV15), (Reg7, BeforeV15),
        (Reg8, BeforeV15), (Reg9, BeforeV15), (Reg10, BeforeV15), (Reg11, BeforeV15),
        (Reg12, BeforeV15), (Reg13, BeforeV15), (Reg14, BeforeV15), (Reg15, BeforeV15),
        (Xreg0, V15), (Xreg1, V15), (Xreg2, V15), (Xreg3, V15),
        (Xreg4, V15), (Xreg5, V15), (Xreg6, V15), (Xreg7, V15),
        (PktMark, Always), (CtState, Always), (CtZone, Always), (CtMark, Always), (CtLabel, Always),
        (CtNwSrc, Always), (CtIpv6Src, Always), (CtNwDst, Always), (CtIpv6Dst, Always),
        (CtNwProto, Always), (CtTpSrc, Always), (CtTpDst, Always),
        (Metadata, Always),
    ]
};

/// Read entries to the end of `reader`.
pub(crate) fn decode_entries(
    mut reader: Reader<'_>,
    context: Context<'_>,
    rigour: Rigour,
) -> Result<(Match, Option<CookieMatch>), Refusal> {
    let mut matching = Match::any();
    let mut cookie = None;
    while !reader.is_empty() {
        let entry = Entry::decode(&mut reader, context)?;
        match entry.name {
            Name::Unknown if rigour == Rigour::Loose => {}
            Name::Unknown => return Err(Refusal::new(ErrorCode::BmcBadField, "a match")),
            Name::Cookie if cookie.is_some() => {
                return Err(Refusal::new(ErrorCode::BmcDupField, "a match's cookie"));
            }
            Name::Cookie => {
                cookie = Some(CookieMatch {
                    value: entry.value as u64,
                    mask: entry.mask.map_or(u64::MAX, |m| m as u64),
                });
            }
            Name::Field(field) => decode_field(&mut matching, field, entry, rigour)?,
        }
    }
    Ok((matching, cookie))
}

fn decode_field(matching: &mut Match, field: Field, entry: Entry, rigour: Rigour) -> Result<(), Refusal> {
    let refuse = |code| Refusal::new(code, field.name());
    let all = field.all_ones();
    // tun_flags has reserved bits above its one.
    let mask = entry.mask.map_or(all, |m| m & all);
    let value = entry.value & if entry.mask.is_some() { mask } else { u128::MAX };
    if field.info().masking == Masking::Exact && mask != all && mask != 0 {
        return Err(refuse(ErrorCode::BmcBadMask));
    }
    if !field.takes(value) {
        return Err(refuse(ErrorCode::BmcBadValue));
    }
    if !field.info().prereq.holds(matching) {
        return match rigour {
            Rigour::Strict => Err(refuse(ErrorCode::BmcBadPrereq)),
            Rigour::Loose => Ok(()),
        };
    }
    if matching.get(field).1 & !overlap_allowed(field) != 0 {
        return Err(refuse(ErrorCode::BmcDupField));
    }
    match field {
        // NXM's IP_TOS is the DSCP alone.
        Field::NwTos if mask != 0 => matching.set(Field::IpDscp, value >> 2, Field::IpDscp.all_ones()),
        Field::VlanPcp if mask != 0 => {
            let (tci, known) = matching.get(Field::VlanTci);
            matching.set(Field::VlanTci, tci | value << 13 | VLAN_PRESENT, known | 0xe000 | VLAN_PRESENT);
        }
        // Every packet of this bridge is an Ethernet packet.
        Field::PacketType if value == 0 => {}
        // Matches hold a port in 16 bits; the numbers between have been refused above.
        Field::InPortOxm => matching.set(Field::InPort, value & 0xffff, mask & 0xffff),
        _ => matching.set(field, value, mask),
    }
    Ok(())
}

/// Bits of a field that an earlier entry may have set: those of ECN within the TOS byte.
fn overlap_allowed(field: Field) -> u128 {
    if field == Field::NwTos { 3 } else { 0 }
}

/// The port that a match wants packets to come from.
pub(crate) fn in_port(matching: &Match) -> Option<PortNo> {
    matching.exact(Field::InPort).map(|port| port_from_16(port as u16))
}

/// The match of packets from a port.
pub(crate) fn from_port(port: PortNo) -> Match {
    Match::any().with(Field::InPort, u128::from(port.0 & 0xffff))
}

/// A 16-bit port number as a 32-bit one.
pub(crate) fn port_from_16(port: u16) -> PortNo {
    PortNo(if port >= 0xff00 { 0xffff_0000 | u32::from(port) } else { u32::from(port) })
}

/// A port number as OpenFlow 1.0 has it; None where it has none.
pub(crate) fn port_to_16(port: PortNo) -> Option<u16> {
    (port.0 < 0xff00 || port.0 >= 0xffff_ff00).then_some(port.0 as u16)
}

/// A 32-bit port number; those that have no 16-bit form are not ports of Open vSwitch's either.
pub(crate) fn port_from_32(port: u32, code: ErrorCode) -> Result<PortNo, Refusal> {
    let port = PortNo(port);
    port_to_16(port).map(|_| port).ok_or(Refusal::new(code, "a port number"))
}

/// Append the entries of `matching`.
pub(crate) fn encode_entries(out: &mut Vec<u8>, matching: &Match, context: Context<'_>, dialect: Dialect) {
    for (field, when) in ORDER {
        let wanted = match when {
            When::Always => true,
            When::Nxm => dialect == Dialect::Nxm,
            When::Oxm => dialect == Dialect::Oxm,
            When::BeforeV15 => dialect == Dialect::Nxm || context.version != Version::V15,
            When::V15 => dialect == Dialect::Oxm && context.version == Version::V15,
        };
        if !wanted {
            continue;
        }
        let (value, mask) = matching.get(*field);
        if mask == 0 || !field.info().prereq.holds(matching) {
            continue;
        }
        let (value, mask) = match field {
            Field::NwTos if mask & 0xfc == 0 => continue,
            Field::NwTos => (value & 0xfc, field.all_ones()),
            Field::InPortOxm => (port_from_16(value as u16).0.into(), field.all_ones()),
            // OXM has no mask for it; a PCP matched in part is written whole, as by Open vSwitch.
            Field::VlanPcp => (value, field.all_ones()),
            _ => (value, mask),
        };
        oxm::put_entry(out, *field, value, mask, context, dialect);
    }
}

/// Read an ofp_match with its padding.
pub(crate) fn decode(reader: &mut Reader<'_>, context: Context<'_>) -> Result<Match, Refusal> {
    Ok(decode_with(reader, context, Rigour::Strict)?.0)
}

/// Read an ofp_match with its padding.
pub(crate) fn decode_with(
    reader: &mut Reader<'_>,
    context: Context<'_>,
    rigour: Rigour,
) -> Result<(Match, Option<CookieMatch>), Refusal> {
    let bad_length = Refusal::new(ErrorCode::BmcBadLen, "ofp_match");
    let layout: &Layout = reader.take().map_err(|_| bad_length)?;
    if layout.kind.get() != OFPMT_OXM {
        return Err(Refusal::new(ErrorCode::BmcBadType, "ofp_match"));
    }
    let length = usize::from(layout.length.get());
    let entries = length.checked_sub(size_of::<Layout>()).ok_or(bad_length)?;
    let padding = length.next_multiple_of(8) - length;
    let bytes = reader.bytes(entries).map_err(|_| bad_length)?;
    reader.bytes(padding).map_err(|_| bad_length)?;
    decode_entries(Reader::new(bytes, ErrorCode::BmcBadLen, "ofp_match"), context, rigour)
}

/// Append an ofp_match with its padding; its length without padding is returned.
pub(crate) fn encode(out: &mut Vec<u8>, matching: &Match, context: Context<'_>) -> usize {
    let start = out.len();
    put(out, Layout { kind: U16::new(OFPMT_OXM), length: U16::ZERO });
    encode_entries(out, matching, context, Dialect::Oxm);
    let length = out.len() - start;
    patch_u16(out, start + 2, length);
    pad8(out, start);
    length
}

/// Read an nx_match of `length` bytes with its padding.
pub(crate) fn decode_nxm(
    reader: &mut Reader<'_>,
    length: u16,
    context: Context<'_>,
    rigour: Rigour,
) -> Result<(Match, Option<CookieMatch>), Refusal> {
    let bad_length = Refusal::new(ErrorCode::BmcBadLen, "nx_match");
    let length = usize::from(length);
    let bytes = reader.bytes(length).map_err(|_| bad_length)?;
    reader.bytes(length.next_multiple_of(8) - length).map_err(|_| bad_length)?;
    decode_entries(Reader::new(bytes, ErrorCode::BmcBadLen, "nx_match"), context, rigour)
}

/// Append an nx_match with its padding; its length without padding is returned.
pub(crate) fn encode_nxm(
    out: &mut Vec<u8>,
    matching: &Match,
    cookie: Option<CookieMatch>,
    context: Context<'_>,
) -> usize {
    let start = out.len();
    encode_entries(out, matching, context, Dialect::Nxm);
    if let Some(cookie) = cookie {
        oxm::put_cookie(out, cookie.value, cookie.mask);
    }
    let length = out.len() - start;
    pad8(out, start);
    length
}
