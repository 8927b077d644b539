//! Matches, in the order and with the folding of Open vSwitch's `match_format`.

use super::print_value::{self, AltHex, PortText, port_of_16_bits};
use super::words::{PROTOCOLS, VLAN_PRESENT, eth_type};
use crate::field::{Field, Format};
use crate::matching::Match;
use crate::port::PortNames;
use core::fmt::{self, Display, Write};

/// Prints a match, and `priority=` before it where given.
pub(super) struct MatchText<'a> {
    pub(super) matching: &'a Match,
    pub(super) priority: Option<u16>,
    pub(super) names: &'a PortNames,
}

/// How one field stands in a match.
#[derive(Clone, Copy)]
enum Style {
    /// In the field's own format, masks in hexadecimal.
    Own,
    /// `%#x`, which prints 0 as `0`.
    Alt,
    /// `0x` and so many digits.
    Digits(usize),
    /// Decimal; value and mask in hexadecimal where there is a mask.
    Decimal,
    /// Decimal, whatever the mask.
    Whole,
    /// `+a-b`, whatever the mask.
    Signed,
}

use Field::*;
use Style::*;

/// The fields printed before the protocol.
const BEFORE_PROTOCOL: &[(Field, &str, Style)] = &[
    (PktMark, "pkt_mark", Alt),
    (ConjId, "conj_id", Whole),
    (SkbPriority, "skb_priority", Alt),
    (ActsetOutput, "actset_output", Own),
    (CtState, "ct_state", Own),
    (CtZone, "ct_zone", Decimal),
    (CtMark, "ct_mark", Alt),
    (CtLabel, "ct_label", Own),
    (CtNwSrc, "ct_nw_src", Own),
    (CtIpv6Src, "ct_ipv6_src", Own),
    (CtNwDst, "ct_nw_dst", Own),
    (CtIpv6Dst, "ct_ipv6_dst", Own),
    (CtNwProto, "ct_nw_proto", Whole),
    (CtTpSrc, "ct_tp_src", Decimal),
    (CtTpDst, "ct_tp_dst", Decimal),
    (PacketType, "packet_type", Own),
];

/// Those between the protocol and the VLAN.
const AFTER_PROTOCOL: &[(Field, &str, Style)] = &[
    (Reg0, "reg0", Alt),
    (Reg1, "reg1", Alt),
    (Reg2, "reg2", Alt),
    (Reg3, "reg3", Alt),
    (Reg4, "reg4", Alt),
    (Reg5, "reg5", Alt),
    (Reg6, "reg6", Alt),
    (Reg7, "reg7", Alt),
    (Reg8, "reg8", Alt),
    (Reg9, "reg9", Alt),
    (Reg10, "reg10", Alt),
    (Reg11, "reg11", Alt),
    (Reg12, "reg12", Alt),
    (Reg13, "reg13", Alt),
    (Reg14, "reg14", Alt),
    (Reg15, "reg15", Alt),
    (TunId, "tun_id", Alt),
    (TunSrc, "tun_src", Own),
    (TunDst, "tun_dst", Own),
    (TunIpv6Src, "tun_ipv6_src", Own),
    (TunIpv6Dst, "tun_ipv6_dst", Own),
    (TunGbpId, "tun_gbp_id", Decimal),
    (TunGbpFlags, "tun_gbp_flags", Alt),
    (TunFlags, "tun_flags", Signed),
    (TunMetadata0, "tun_metadata0", Own),
    (TunMetadata1, "tun_metadata1", Own),
    (TunMetadata2, "tun_metadata2", Own),
    (TunMetadata3, "tun_metadata3", Own),
    (TunMetadata4, "tun_metadata4", Own),
    (TunMetadata5, "tun_metadata5", Own),
    (TunMetadata6, "tun_metadata6", Own),
    (TunMetadata7, "tun_metadata7", Own),
    (Metadata, "metadata", Alt),
    (InPort, "in_port", Own),
];

/// What follows the VLAN in every protocol but ARP.
const IP_FIELDS: &[(Field, &str, Style)] = &[
    (Ipv6Src, "ipv6_src", Own),
    (Ipv6Dst, "ipv6_dst", Own),
    (Ipv6Label, "ipv6_label", Digits(5)),
    (NwSrc, "nw_src", Own),
    (NwDst, "nw_dst", Own),
];

/// What follows the VLAN in ARP and RARP.
const ARP_FIELDS: &[(Field, &str, Style)] = &[
    (ArpSpa, "arp_spa", Own),
    (ArpTpa, "arp_tpa", Own),
    (ArpOp, "arp_op", Whole),
    (ArpSha, "arp_sha", Own),
    (ArpTha, "arp_tha", Own),
];

/// What follows all of these where the protocol is ICMP or ICMPv6.
const ICMP_FIELDS: &[(Field, &str, Style)] = &[
    (IcmpType, "icmp_type", Decimal),
    (IcmpCode, "icmp_code", Decimal),
    (NdTarget, "nd_target", Own),
    (NdSll, "nd_sll", Own),
    (NdTll, "nd_tll", Own),
    (NdReserved, "nd_reserved", Whole),
    (NdOptionsType, "nd_options_type", Whole),
];

/// What follows all of these in every other protocol.
const PORT_FIELDS: &[(Field, &str, Style)] =
    &[(TcpSrc, "tp_src", Decimal), (TcpDst, "tp_dst", Decimal), (TcpFlags, "tcp_flags", Own)];

impl Display for MatchText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = List { f, first: true };
        if let Some(priority) = self.priority {
            list.item(|f| write!(f, "priority={priority}"))?;
        }
        self.fields(&mut list, BEFORE_PROTOCOL)?;

        let ether = self.matching.exact(EthType).and_then(|t| u16::try_from(t).ok());
        let protocol = self.matching.exact(NwProto).and_then(|p| u8::try_from(p).ok());
        let with_ip = PROTOCOLS
            .iter()
            .find(|p| Some(p.eth_type) == ether && protocol.is_some() && p.ip_proto == protocol);
        let word =
            with_ip.or_else(|| PROTOCOLS.iter().find(|p| Some(p.eth_type) == ether && p.ip_proto.is_none()));
        if let Some(word) = word {
            list.item(|f| f.write_str(word.name))?;
        }
        self.fields(&mut list, AFTER_PROTOCOL)?;
        self.vlan(&mut list)?;
        self.fields(&mut list, &[(EthSrc, "dl_src", Own), (EthDst, "dl_dst", Own)])?;
        if word.is_none() {
            self.fields(&mut list, &[(EthType, "dl_type", Digits(4))])?;
        }
        if matches!(ether, Some(eth_type::ARP | eth_type::RARP)) {
            return self.fields(&mut list, ARP_FIELDS);
        }
        self.fields(&mut list, IP_FIELDS)?;
        if with_ip.is_none() {
            self.fields(&mut list, &[(NwProto, "nw_proto", Whole)])?;
        }
        if let (tos, 0xfc..) = self.matching.get(NwTos) {
            list.item(|f| write!(f, "nw_tos={}", tos & 0xfc))?;
        }
        self.fields(
            &mut list,
            &[(NwEcn, "nw_ecn", Whole), (NwTtl, "nw_ttl", Whole), (IpFrag, "nw_frag", Own)],
        )?;
        let icmp = with_ip.is_some_and(|p| p.name.starts_with("icmp"));
        self.fields(&mut list, if icmp { ICMP_FIELDS } else { PORT_FIELDS })
    }
}

impl MatchText<'_> {
    fn fields(&self, list: &mut List<'_, '_>, fields: &[(Field, &str, Style)]) -> fmt::Result {
        for (field, name, style) in fields {
            let (value, mask) = self.matching.get(*field);
            if mask == 0 {
                continue;
            }
            let exact = mask == field.all_ones();
            list.item(|f| {
                write!(f, "{name}=")?;
                match style {
                    Alt if exact => AltHex(value).fmt(f),
                    Alt => write!(f, "{}/{}", AltHex(value), AltHex(mask)),
                    Digits(n) if exact => write!(f, "0x{value:0n$x}"),
                    Digits(n) => write!(f, "0x{value:0n$x}/0x{mask:0n$x}"),
                    Decimal if exact => write!(f, "{value}"),
                    Decimal => write!(f, "{value:#x}/{mask:#x}"),
                    Whole => write!(f, "{value}"),
                    Signed => print_value::signed_flags(f, *field, value, mask),
                    Own if field.info().format == Format::Port && *field == InPort => {
                        PortText(port_of_16_bits(value), self.names).fmt(f)
                    }
                    Own => print_value::field_value(f, *field, value, mask, self.names),
                }
            })?;
        }
        Ok(())
    }

    /// `dl_vlan` and `dl_vlan_pcp` where a tag is wanted and each is matched whole or not at all,
    /// else `vlan_tci`.
    fn vlan(&self, list: &mut List<'_, '_>) -> fmt::Result {
        let (tci, mask) = self.matching.get(VlanTci);
        if mask == 0 {
            return Ok(());
        }
        let present = u128::from(VLAN_PRESENT);
        let (vid_mask, pcp_mask) = (mask & 0xfff, mask & 0xe000);
        let wanted = mask & present != 0 && tci & present != 0;
        if wanted
            && matches!(vid_mask, 0 | 0xfff)
            && matches!(pcp_mask, 0 | 0xe000)
            && vid_mask | pcp_mask != 0
        {
            if vid_mask != 0 {
                list.item(|f| write!(f, "dl_vlan={}", tci & 0xfff))?;
            }
            if pcp_mask != 0 {
                list.item(|f| write!(f, "dl_vlan_pcp={}", tci >> 13))?;
            }
            return Ok(());
        }
        list.item(|f| {
            write!(f, "vlan_tci=0x{tci:04x}")?;
            if mask == VlanTci.all_ones() { Ok(()) } else { write!(f, "/0x{mask:04x}") }
        })
    }
}

/// Items with commas between.
struct List<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    first: bool,
}

impl List<'_, '_> {
    fn item(&mut self, print: impl FnOnce(&mut fmt::Formatter<'_>) -> fmt::Result) -> fmt::Result {
        if !core::mem::replace(&mut self.first, false) {
            self.f.write_char(',')?;
        }
        print(self.f)
    }
}
