//! Matches: protocols, fields, and the OpenFlow 1.0 words for VLANs.

use super::error::{Fail, Problem, nearest};
use super::parse_value;
use super::span::{Item, Joint, Span};
use super::words::{PROTOCOLS, VLAN_NONE, VLAN_PRESENT, eth_type, ip_proto};
use crate::check::FlowError;
use crate::field::Field;
use crate::matching::Match;
use crate::port::PortNames;

/// A match while its items are read.
///
/// `tp_src`, `icmp_type`, `nw_src`, `nw_proto` and their like name different fields for different
/// protocols, and the protocol may follow them; so what each field means is settled at the end.
pub(super) struct MatchParser<'a> {
    names: &'a PortNames,
    exact: bool,
    matching: Match,
    later: Vec<Later<'a>>,
    places: Vec<(Field, usize)>,
}

/// A match with the places of its fields.
pub(super) struct ParsedMatch {
    /// The match.
    pub(super) matching: Match,
    /// The fields named, each with its byte offset in the line.
    pub(super) places: Vec<(Field, usize)>,
}

/// A field whose meaning or right to be there depends on the rest of the match.
struct Later<'a> {
    key: Span<'a>,
    value: Span<'a>,
    field: Field,
}

/// The packet_type of Ethernet, which every packet here has.
const PACKET_TYPE_ETHERNET: u128 = 0;

/// The keyword for what every packet here is.
const ETHERNET: &str = "eth";

/// OpenFlow 1.0's VLAN words, which are no fields of their own here.
const VLAN_WORDS: &[&str] = &["dl_vlan", "dl_vlan_pcp"];

impl<'a> MatchParser<'a> {
    /// A match that takes everything, so far.
    pub(super) fn new(names: &'a PortNames) -> MatchParser<'a> {
        MatchParser { names, exact: false, matching: Match::any(), later: Vec::new(), places: Vec::new() }
    }

    /// The same, for fields that must have whole values.
    pub(super) fn exact(names: &'a PortNames) -> MatchParser<'a> {
        MatchParser { exact: true, ..MatchParser::new(names) }
    }

    /// Take one item, if it is part of a match.
    pub(super) fn take(&mut self, item: Item<'a>) -> Result<bool, Fail> {
        let key = item.key.text;
        if let Some(protocol) = PROTOCOLS.iter().find(|p| p.name == key) {
            if item.joint != Joint::None {
                return Err(item.whole.unexpected(format!("'{key}' alone")));
            }
            self.matching.set(Field::EthType, protocol.eth_type.into(), Field::EthType.all_ones());
            if let Some(number) = protocol.ip_proto {
                self.matching.set(Field::NwProto, number.into(), Field::NwProto.all_ones());
            }
            return Ok(true);
        }
        if key == ETHERNET && item.joint == Joint::None {
            return Ok(true);
        }
        if VLAN_WORDS.contains(&key) {
            self.vlan_word(item)?;
            return Ok(true);
        }
        if key.contains('[') {
            let part = parse_value::subfield(item.key)?;
            let value = parse_value::number(item.required("a number")?, u32::from(part.bits))?;
            let (old, old_mask) = self.matching.get(part.field);
            let bits = part.mask();
            self.matching.set(part.field, (old & !bits) | (value << part.offset), old_mask | bits);
            return Ok(true);
        }
        let Some(field) = Field::by_name(key) else { return Ok(false) };
        if item.joint == Joint::Parentheses {
            return Err(item.whole.unexpected(format!("{key}=VALUE")));
        }
        let value = item.required("a value")?;
        self.later.push(Later { key: item.key, value, field });
        Ok(true)
    }

    /// Words that [`MatchParser::take`] knows, for suggestions.
    pub(super) fn words() -> impl Iterator<Item = &'static str> {
        let fields =
            Field::all().flat_map(|f| core::iter::once(f.name()).chain(f.info().aliases.iter().copied()));
        PROTOCOLS.iter().map(|p| p.name).chain(VLAN_WORDS.iter().copied()).chain(fields)
    }

    /// The match.
    pub(super) fn finish(mut self) -> Result<ParsedMatch, Fail> {
        let mut later = core::mem::take(&mut self.later);
        later.sort_by_key(|item| rank(item.field));
        for item in later {
            self.constrain(&item)?;
        }
        Ok(ParsedMatch { matching: self.matching, places: self.places })
    }

    fn constrain(&mut self, item: &Later<'_>) -> Result<(), Fail> {
        let field = meant(item.field, item.key.text, &self.matching);
        if !field.info().prereq.holds(&self.matching) && field != Field::VlanPcp {
            return Err(Fail {
                at: item.key.at,
                problem: Box::new(Problem::Flow(FlowError::MatchPrerequisite { field })),
            });
        }
        let (value, mask) = parse_value::field_value(field, item.value, self.names)?;
        if self.exact && mask != parse_value::whole(field) {
            return Err(item.value.unexpected(format!("a whole value of {field}, without a mask")));
        }
        self.places.push((field, item.key.at));
        match field {
            Field::NwTos => {
                if value & 3 != 0 {
                    return Err(item.value.unexpected("a multiple of 4, for nw_tos is the DSCP in place"));
                }
                self.matching.set(Field::IpDscp, value >> 2, mask >> 2);
            }
            Field::PacketType if value == PACKET_TYPE_ETHERNET => {}
            // One match for one port, however it is spelled: 16 bits, as in Open vSwitch.
            Field::InPortOxm => self.matching.set(Field::InPort, value, mask),
            Field::VlanPcp => self.vlan_bits(value << 13 | u128::from(VLAN_PRESENT), 0xe000 & mask << 13),
            _ => self.matching.set(field, value, mask),
        }
        Ok(())
    }

    fn vlan_word(&mut self, item: Item<'_>) -> Result<(), Fail> {
        let text = item.required("a value")?;
        if item.key.text == "dl_vlan_pcp" {
            let pcp = parse_value::number(text, 3)?;
            self.vlan_bits(pcp << 13 | u128::from(VLAN_PRESENT), 0xe000);
            return Ok(());
        }
        match parse_value::integer::<u16>(text)? {
            VLAN_NONE => self.matching.set(Field::VlanTci, 0, Field::VlanTci.all_ones()),
            vid @ 0..=0xfff => self.vlan_bits((vid | VLAN_PRESENT).into(), 0xfff),
            _ => return Err(text.unexpected("a VLAN, 0 to 4095, or 65535 for none")),
        }
        Ok(())
    }

    /// A tag must be there, and the bits of `mask` in it be those of `value`.
    fn vlan_bits(&mut self, value: u128, mask: u128) {
        let mask = mask | u128::from(VLAN_PRESENT);
        let (old, old_mask) = self.matching.get(Field::VlanTci);
        self.matching.set(Field::VlanTci, (old & !mask) | (value & mask), old_mask | mask);
    }
}

/// The order in which fields are settled: what others depend on comes first.
fn rank(field: Field) -> u8 {
    match field {
        Field::EthType | Field::CtState | Field::VlanTci | Field::VlanVid => 0,
        Field::NwProto | Field::IpFrag => 1,
        Field::IcmpType | Field::IcmpCode | Field::Icmpv6Type | Field::Icmpv6Code => 2,
        Field::TcpSrc | Field::TcpDst => 2,
        _ => 3,
    }
}

/// The field that a name means in this match.
fn meant(field: Field, name: &str, matching: &Match) -> Field {
    let ether = matching.exact(Field::EthType).and_then(|t| u16::try_from(t).ok());
    let protocol = matching.exact(Field::NwProto).and_then(|p| u8::try_from(p).ok());
    let arp = matches!(ether, Some(eth_type::ARP | eth_type::RARP));
    let v6 = ether == Some(eth_type::IPV6);
    match (field, protocol) {
        (Field::NwSrc, _) if arp => Field::ArpSpa,
        (Field::NwDst, _) if arp => Field::ArpTpa,
        (Field::NwProto, _) if arp => Field::ArpOp,
        (Field::IcmpType, _) if v6 => Field::Icmpv6Type,
        (Field::IcmpCode, _) if v6 => Field::Icmpv6Code,
        (Field::TcpSrc, Some(p)) if name == "tp_src" => match p {
            ip_proto::UDP => Field::UdpSrc,
            ip_proto::SCTP => Field::SctpSrc,
            ip_proto::ICMP => Field::IcmpType,
            ip_proto::ICMPV6 => Field::Icmpv6Type,
            _ => field,
        },
        (Field::TcpDst, Some(p)) if name == "tp_dst" => match p {
            ip_proto::UDP => Field::UdpDst,
            ip_proto::SCTP => Field::SctpDst,
            ip_proto::ICMP => Field::IcmpCode,
            ip_proto::ICMPV6 => Field::Icmpv6Code,
            _ => field,
        },
        _ => field,
    }
}

/// The known word nearest to an unknown one.
pub(super) fn suggestion(word: &str, others: &[&'static str]) -> Option<&'static str> {
    nearest(word, MatchParser::words().chain(others.iter().copied()))
}
