//! OpenFlow 1.0's fixed match.
//!
//! OpenFlow 1.0.0 §5.2.3: 40 bytes, with a wildcard bit for each field and a count of wildcarded bits
//! for each address. What a field means depends on the Ethernet type: `nw_src` is an ARP packet's
//! sender, `tp_src` an ICMP packet's type. Fields that mean nothing for the type are ignored, as Open
//! vSwitch does.

use super::bytes::{U16, U32, layout};
use crate::addr::MacAddr;
use crate::field::{Field, ones};
use crate::matching::Match;

const IN_PORT: u32 = 1 << 0;
const DL_VLAN: u32 = 1 << 1;
const DL_SRC: u32 = 1 << 2;
const DL_DST: u32 = 1 << 3;
const DL_TYPE: u32 = 1 << 4;
const NW_PROTO: u32 = 1 << 5;
const TP_SRC: u32 = 1 << 6;
const TP_DST: u32 = 1 << 7;
const NW_SRC_SHIFT: u32 = 8;
const NW_DST_SHIFT: u32 = 14;
const DL_VLAN_PCP: u32 = 1 << 20;
const NW_TOS: u32 = 1 << 21;
/// dl_vlan of a packet without a tag.
const VLAN_NONE: u16 = 0xffff;
const PRESENT: u128 = 0x1000;
/// dl_type of a packet with a length in its place, in the specification and in Open vSwitch alike.
const ETH_ARP: u128 = 0x0806;
const ETH_RARP: u128 = 0x8035;
const ETH_IPV4: u128 = 0x0800;
const ETH_IPV6: u128 = 0x86dd;

layout! {
    /// ofp_match
    struct Fields {
        wildcards: U32,
        in_port: U16,
        dl_src: [u8; 6],
        dl_dst: [u8; 6],
        dl_vlan: U16,
        dl_vlan_pcp: u8,
        pad1: u8,
        dl_type: U16,
        nw_tos: u8,
        nw_proto: u8,
        pad2: [u8; 2],
        nw_src: U32,
        nw_dst: U32,
        tp_src: U16,
        tp_dst: U16,
    }
}

/// The match as it stands inside messages.
pub(crate) type Layout = [u8; 40];

/// The fields that the two ports stand for, by protocol.
fn ports(dl_type: u128, protocol: u128) -> Option<(Field, Field)> {
    match (dl_type, protocol) {
        (ETH_IPV4 | ETH_IPV6, 6) => Some((Field::TcpSrc, Field::TcpDst)),
        (ETH_IPV4 | ETH_IPV6, 17) => Some((Field::UdpSrc, Field::UdpDst)),
        (ETH_IPV4 | ETH_IPV6, 132) => Some((Field::SctpSrc, Field::SctpDst)),
        (ETH_IPV4, 1) => Some((Field::IcmpType, Field::IcmpCode)),
        (ETH_IPV6, 58) => Some((Field::Icmpv6Type, Field::Icmpv6Code)),
        _ => None,
    }
}

/// A network mask of as many leading ones as are not wildcarded.
fn netmask(wildcards: u32, shift: u32) -> u128 {
    let free = (wildcards >> shift) & 0x3f;
    if free >= 32 { 0 } else { ones(32) & !ones(free) }
}

/// Read the match. Every 40 bytes are one.
pub(crate) fn decode(bytes: &Layout) -> Match {
    let layout: Fields = zerocopy::transmute!(*bytes);
    let wildcards = layout.wildcards.get();
    let has = |bit: u32| wildcards & bit == 0;
    let mut matching = Match::any();
    if has(IN_PORT) {
        matching = matching.with(Field::InPort, layout.in_port.get());
    }
    if has(DL_SRC) {
        matching = matching.with(Field::EthSrc, MacAddr(layout.dl_src));
    }
    if has(DL_DST) {
        matching = matching.with(Field::EthDst, MacAddr(layout.dl_dst));
    }
    decode_vlan(&mut matching, &layout);
    if !has(DL_TYPE) {
        return matching;
    }
    let dl_type = u128::from(layout.dl_type.get());
    matching = matching.with(Field::EthType, dl_type);
    let (source, destination) = match dl_type {
        ETH_IPV4 => (Field::NwSrc, Field::NwDst),
        ETH_ARP | ETH_RARP => (Field::ArpSpa, Field::ArpTpa),
        ETH_IPV6 => (Field::NwSrc, Field::NwDst),
        _ => return matching,
    };
    if dl_type != ETH_IPV6 {
        matching = matching
            .with_masked(source, layout.nw_src.get(), netmask(wildcards, NW_SRC_SHIFT))
            .with_masked(destination, layout.nw_dst.get(), netmask(wildcards, NW_DST_SHIFT));
    }
    if matches!(dl_type, ETH_ARP | ETH_RARP) {
        if has(NW_PROTO) {
            matching = matching.with(Field::ArpOp, layout.nw_proto);
        }
        return matching;
    }
    if has(NW_TOS) {
        matching = matching.with(Field::IpDscp, layout.nw_tos >> 2);
    }
    if !has(NW_PROTO) {
        return matching;
    }
    matching = matching.with(Field::NwProto, layout.nw_proto);
    if let Some((source, destination)) = ports(dl_type, layout.nw_proto.into()) {
        for (bit, field, port) in [(TP_SRC, source, layout.tp_src), (TP_DST, destination, layout.tp_dst)] {
            if has(bit) {
                matching = matching.with(field, u128::from(port.get()) & field.all_ones());
            }
        }
    }
    matching
}

fn decode_vlan(matching: &mut Match, layout: &Fields) {
    let vid = (layout.wildcards.get() & DL_VLAN == 0).then(|| layout.dl_vlan.get());
    let pcp = (layout.wildcards.get() & DL_VLAN_PCP == 0).then_some(layout.dl_vlan_pcp & 7);
    if vid == Some(VLAN_NONE) {
        // With a PCP too this contradicts itself; Open vSwitch then takes untagged packets.
        matching.set(Field::VlanTci, 0, 0xffff);
        return;
    }
    let (mut value, mut mask) = (0, 0);
    if let Some(vid) = vid {
        value |= u128::from(vid & 0xfff);
        mask |= 0xfff | PRESENT;
    }
    if let Some(pcp) = pcp {
        value |= u128::from(pcp) << 13;
        mask |= 0xe000 | PRESENT;
    }
    if mask != 0 {
        matching.set(Field::VlanTci, value | PRESENT, mask);
    }
}

/// Wildcarded bits of an address mask: those behind its last one.
fn free_bits(mask: u128) -> u32 {
    if mask == 0 { 32 } else { mask.trailing_zeros().min(32) }
}

/// Whether the fixed match can say all that `matching` says.
pub(crate) fn can_express(matching: &Match) -> bool {
    decode(&encode(matching)) == *matching
}

/// The fixed match; what it cannot say is left out ([`can_express`] tells).
pub(crate) fn encode(matching: &Match) -> Layout {
    let mut wildcards = 0;
    let mut exact = |bit: u32, field: Field| {
        let (value, mask) = matching.get(field);
        if mask == 0 {
            wildcards |= bit;
        }
        value
    };
    let in_port = exact(IN_PORT, Field::InPort);
    let dl_src = exact(DL_SRC, Field::EthSrc);
    let dl_dst = exact(DL_DST, Field::EthDst);
    let dl_type = exact(DL_TYPE, Field::EthType);
    let arp = matches!(dl_type, ETH_ARP | ETH_RARP);
    let ip = matches!(dl_type, ETH_IPV4 | ETH_IPV6);
    let none = Field::SkbPriority; // never matched
    let nw_proto = exact(
        NW_PROTO,
        if arp {
            Field::ArpOp
        } else if ip {
            Field::NwProto
        } else {
            none
        },
    );
    let nw_tos = exact(NW_TOS, if ip { Field::IpDscp } else { none }) << 2;
    let (tp_src, tp_dst) = ports(dl_type, if ip { nw_proto } else { 0 }).unwrap_or((none, none));
    let (tp_src, tp_dst) = (exact(TP_SRC, tp_src), exact(TP_DST, tp_dst));
    let (source, destination) = if arp {
        (Field::ArpSpa, Field::ArpTpa)
    } else if dl_type == ETH_IPV4 {
        (Field::NwSrc, Field::NwDst)
    } else {
        (none, none)
    };
    let ((nw_src, src_mask), (nw_dst, dst_mask)) = (matching.get(source), matching.get(destination));
    wildcards |= free_bits(src_mask) << NW_SRC_SHIFT | free_bits(dst_mask) << NW_DST_SHIFT;

    let (tci, tci_mask) = matching.get(Field::VlanTci);
    let (mut dl_vlan, mut dl_vlan_pcp) = (0, 0);
    if tci_mask == 0 {
        wildcards |= DL_VLAN | DL_VLAN_PCP;
    } else if tci_mask & PRESENT != 0 && tci & PRESENT == 0 {
        dl_vlan = VLAN_NONE;
    } else {
        if tci_mask & 0xfff == 0 {
            wildcards |= DL_VLAN;
        } else {
            dl_vlan = (tci & 0xfff) as u16;
        }
        if tci_mask & 0xe000 == 0 {
            wildcards |= DL_VLAN_PCP;
        } else {
            dl_vlan_pcp = (tci >> 13) as u8;
        }
    }
    zerocopy::transmute!(Fields {
        wildcards: U32::new(wildcards),
        in_port: U16::new(in_port as u16),
        dl_src: MacAddr::from(dl_src).0,
        dl_dst: MacAddr::from(dl_dst).0,
        dl_vlan: U16::new(dl_vlan),
        dl_vlan_pcp,
        pad1: 0,
        dl_type: U16::new(dl_type as u16),
        nw_tos: nw_tos as u8,
        nw_proto: nw_proto as u8,
        pad2: [0; 2],
        nw_src: U32::new(nw_src as u32),
        nw_dst: U32::new(nw_dst as u32),
        tp_src: U16::new(tp_src as u16),
        tp_dst: U16::new(tp_dst as u16),
    })
}

/// Whether no field is wildcarded, which gives a 1.0 flow mod the highest priority.
pub(crate) fn is_exact(bytes: &Layout) -> bool {
    let layout: Fields = zerocopy::transmute!(*bytes);
    layout.wildcards.get() & ((1 << 22) - 1) == 0
}
