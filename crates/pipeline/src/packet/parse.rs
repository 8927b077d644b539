//! Frames to keys.
//!
//! Facts from Open vSwitch 3.1's `miniflow_extract` (vlan-limit 1); RFC 791, 8200, 4443, 4861,
//! 826, 9293, 768, 9260; IEEE 802.3 and 802.1Q.

use footbridge_openflow::{Field, Key};

pub(crate) const ETH_TYPE_VLAN: u16 = 0x8100;
pub(crate) const ETH_TYPE_SVLAN: u16 = 0x88a8;
pub(crate) const ETH_TYPE_IPV4: u16 = 0x0800;
pub(crate) const ETH_TYPE_IPV6: u16 = 0x86dd;
pub(crate) const ETH_TYPE_ARP: u16 = 0x0806;
pub(crate) const ETH_TYPE_RARP: u16 = 0x8035;
/// Below this the type field is a length (802.3).
const ETH_TYPE_MIN: u16 = 0x600;
/// The type of an 802.3 frame without SNAP (ovs-fields(7), "eth_type").
const ETH_TYPE_NONE: u16 = 0x05ff;
/// The present bit of vlan_tci.
pub(crate) const VLAN_PRESENT: u16 = 0x1000;

pub(crate) const IPPROTO_ICMP: u8 = 1;
pub(crate) const IPPROTO_TCP: u8 = 6;
pub(crate) const IPPROTO_UDP: u8 = 17;
pub(crate) const IPPROTO_ICMPV6: u8 = 58;
pub(crate) const IPPROTO_SCTP: u8 = 132;
const IPPROTO_HOPOPTS: u8 = 0;
const IPPROTO_ROUTING: u8 = 43;
pub(crate) const IPPROTO_FRAGMENT: u8 = 44;
const IPPROTO_AH: u8 = 51;
const IPPROTO_DSTOPTS: u8 = 60;

pub(crate) const FRAG_ANY: u128 = 1;
pub(crate) const FRAG_LATER: u128 = 2;

const ND_SOLICIT: u8 = 135;
const ND_ADVERT: u8 = 136;
pub(crate) const ND_OPT_SLL: u8 = 1;
pub(crate) const ND_OPT_TLL: u8 = 2;

/// Where a frame's headers begin, for those that were read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Layers {
    pub(crate) network: Option<Network>,
    /// The transport header, where the packet has one that was read whole.
    pub(crate) transport: Option<(Transport, usize)>,
    /// Where the IP payload ends, without padding of the Ethernet frame.
    pub(crate) end: usize,
    pub(crate) fragment: Option<Fragment>,
    /// The target address of neighbour discovery.
    pub(crate) nd_target: Option<usize>,
    /// The Ethernet address in the source link-layer address option.
    pub(crate) nd_sll: Option<usize>,
    /// The Ethernet address in the target link-layer address option.
    pub(crate) nd_tll: Option<usize>,
    /// The first link-layer address option.
    pub(crate) nd_option: Option<usize>,
    /// An IPv6 routing header with segments left: the checksum is over another destination.
    pub(crate) routed: bool,
}

/// The network header, and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    Arp(usize),
    Ipv4(usize),
    Ipv6(usize),
}

/// The transport header's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    Sctp,
    Icmp,
    Icmpv6,
}

/// What an IP fragment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// The datagram's identification, 16 bits in IPv4.
    pub(crate) id: u32,
    /// Not the first.
    pub(crate) later: bool,
    /// The datagram's protocol; in IPv6, the fragment header's next header.
    pub(crate) proto: u8,
}

/// Big-endian readers that give None beyond the end.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_be_bytes)
}

pub(crate) fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    bytes.get(at..)?.first_chunk().copied().map(u128::from_be_bytes)
}

pub(crate) fn mac_at(bytes: &[u8], at: usize) -> Option<u128> {
    Some((u128::from(u16_at(bytes, at)?) << 32) | u128::from(u32_at(bytes, at + 2)?))
}

/// Read a frame: its fields and where its headers are.
pub(crate) fn parse(frame: &[u8]) -> (Key, Layers) {
    let mut reader = Reader { frame, key: Key::default(), layers: Layers::default() };
    // None ends the reading where the frame ends; what was read so far stands.
    let _ = reader.ethernet();
    (reader.key, reader.layers)
}

struct Reader<'a> {
    frame: &'a [u8],
    key: Key,
    layers: Layers,
}

impl Reader<'_> {
    fn set(&mut self, field: Field, value: impl Into<u128>) {
        self.key.set(field, value.into());
    }

    fn ethernet(&mut self) -> Option<()> {
        let (frame, mut at) = (self.frame, 12);
        let mut eth_type = u16_at(frame, 12)?;
        self.set(Field::EthDst, mac_at(frame, 0)?);
        self.set(Field::EthSrc, mac_at(frame, 6)?);
        // A tag counts when the type behind it is there too.
        if is_vlan(eth_type)
            && let (Some(tci), Some(inner)) = (u16_at(frame, 14), u16_at(frame, 16))
        {
            self.set(Field::VlanTci, tci | VLAN_PRESENT);
            (eth_type, at) = (inner, 16);
        }
        at += 2;
        if eth_type < ETH_TYPE_MIN {
            (eth_type, at) = match frame.get(at..at + 8) {
                Some([0xaa, 0xaa, 3, 0, 0, 0, a, b]) if u16::from_be_bytes([*a, *b]) >= ETH_TYPE_MIN => {
                    (u16::from_be_bytes([*a, *b]), at + 8)
                }
                _ => (ETH_TYPE_NONE, at),
            };
        }
        self.set(Field::EthType, eth_type);
        match eth_type {
            ETH_TYPE_IPV4 => self.ipv4(at),
            ETH_TYPE_IPV6 => self.ipv6(at),
            ETH_TYPE_ARP | ETH_TYPE_RARP => self.arp(at),
            _ => None,
        }
    }

    fn arp(&mut self, at: usize) -> Option<()> {
        let arp = self.frame.get(at..at + 28)?;
        if arp[..6] != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        self.layers.network = Some(Network::Arp(at));
        let op = u16_at(arp, 6).filter(|op| *op <= 0xff).unwrap_or(0);
        self.set(Field::ArpOp, op);
        self.set(Field::ArpSha, mac_at(arp, 8)?);
        self.set(Field::ArpSpa, u32_at(arp, 14)?);
        self.set(Field::ArpTha, mac_at(arp, 18)?);
        self.set(Field::ArpTpa, u32_at(arp, 24)?);
        Some(())
    }

    fn ipv4(&mut self, at: usize) -> Option<()> {
        let header = self.frame.get(at..at + 20)?;
        let header_len = usize::from(header[0] & 0x0f) * 4;
        let (total, available) = (usize::from(u16_at(header, 2)?), self.frame.len() - at);
        if header_len < 20 || header_len > total || total > available || available - total > 0xffff {
            return None;
        }
        self.layers.network = Some(Network::Ipv4(at));
        self.layers.end = at + total;
        let (fragment, proto) = (u16_at(header, 6)?, header[9]);
        let (more, later) = (fragment & 0x2000 != 0, fragment & 0x1fff != 0);
        let mut bits = 0;
        if more || later {
            self.layers.fragment = Some(Fragment { id: u16_at(header, 4)?.into(), later, proto });
            bits = FRAG_ANY | if later { FRAG_LATER } else { 0 };
        }
        self.set(Field::NwSrc, u32_at(header, 12)?);
        self.set(Field::NwDst, u32_at(header, 16)?);
        self.set(Field::NwTos, header[1]);
        self.set(Field::NwTtl, header[8]);
        self.set(Field::NwProto, proto);
        self.set(Field::IpFrag, bits);
        if later {
            return None;
        }
        self.transport(proto, at + header_len)
    }

    fn ipv6(&mut self, at: usize) -> Option<()> {
        let header = self.frame.get(at..at + 40)?;
        let (payload, available) = (usize::from(u16_at(header, 4)?), self.frame.len() - at - 40);
        if payload > available || available - payload > 0xffff {
            return None;
        }
        self.layers.network = Some(Network::Ipv6(at));
        self.layers.end = at + 40 + payload;
        self.set(Field::Ipv6Src, u128_at(header, 8)?);
        self.set(Field::Ipv6Dst, u128_at(header, 24)?);
        let (proto, bits, transport_at) = self.ipv6_extensions(header[6], at + 40)?;
        let first = u32_at(header, 0)?;
        self.set(Field::Ipv6Label, first & 0x000f_ffff);
        self.set(Field::NwTos, (first >> 20) as u8);
        self.set(Field::NwTtl, header[7]);
        self.set(Field::NwProto, proto);
        self.set(Field::IpFrag, bits);
        if bits & FRAG_LATER != 0 {
            return None;
        }
        self.transport(proto, transport_at)
    }

    /// Follow the extension headers: the protocol, ip_frag, and where the payload begins.
    fn ipv6_extensions(&mut self, first: u8, start: usize) -> Option<(u8, u128, usize)> {
        let (mut proto, mut at, mut bits) = (first, start, 0);
        loop {
            if !is_extension(proto) {
                return Some((proto, bits, at));
            }
            let rest = self.frame.get(at..self.layers.end)?;
            let header = rest.get(..8)?;
            let len = match proto {
                IPPROTO_AH => (usize::from(header[1]) + 2) * 4,
                IPPROTO_FRAGMENT => 8,
                _ => (usize::from(header[1]) + 1) * 8,
            };
            if len > rest.len() {
                return None;
            }
            if proto == IPPROTO_ROUTING && header[3] != 0 {
                self.layers.routed = true;
            }
            if proto == IPPROTO_FRAGMENT {
                let offset = u16_at(header, 2)?;
                // An atomic fragment (RFC 6946) is none.
                if offset != 0 {
                    let later = offset & 0xfff8 != 0;
                    let (id, inner) = (u32_at(header, 4)?, header[0]);
                    self.layers.fragment = Some(Fragment { id, later, proto: inner });
                    bits = FRAG_ANY;
                    if later {
                        return Some((IPPROTO_FRAGMENT, FRAG_ANY | FRAG_LATER, at + 8));
                    }
                }
            }
            proto = header[0];
            at += len;
        }
    }

    fn transport(&mut self, proto: u8, at: usize) -> Option<()> {
        let rest = self.frame.get(at..self.layers.end)?;
        match proto {
            IPPROTO_TCP => {
                let header_len = usize::from(rest.get(12)? >> 4) * 4;
                if header_len < 20 || header_len > rest.len() {
                    return None;
                }
                self.layers.transport = Some((Transport::Tcp, at));
                self.set(Field::TcpSrc, u16_at(rest, 0)?);
                self.set(Field::TcpDst, u16_at(rest, 2)?);
                self.set(Field::TcpFlags, u16_at(rest, 12)? & 0x0fff);
            }
            IPPROTO_UDP if rest.len() >= 8 => {
                self.layers.transport = Some((Transport::Udp, at));
                self.set(Field::UdpSrc, u16_at(rest, 0)?);
                self.set(Field::UdpDst, u16_at(rest, 2)?);
            }
            IPPROTO_SCTP if rest.len() >= 12 => {
                self.layers.transport = Some((Transport::Sctp, at));
                self.set(Field::SctpSrc, u16_at(rest, 0)?);
                self.set(Field::SctpDst, u16_at(rest, 2)?);
            }
            IPPROTO_ICMP if rest.len() >= 8 => {
                self.layers.transport = Some((Transport::Icmp, at));
                self.set(Field::IcmpType, rest[0]);
                self.set(Field::IcmpCode, rest[1]);
            }
            IPPROTO_ICMPV6 if rest.len() >= 8 => {
                self.layers.transport = Some((Transport::Icmpv6, at));
                self.set(Field::Icmpv6Type, rest[0]);
                self.set(Field::Icmpv6Code, rest[1]);
                if matches!(rest[0], ND_SOLICIT | ND_ADVERT) && rest[1] == 0 {
                    self.neighbour_discovery(at)?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn neighbour_discovery(&mut self, at: usize) -> Option<()> {
        self.set(Field::NdReserved, u32_at(self.frame, at + 4)?);
        let target = at + 8;
        let options = self.frame.get(target + 16..self.layers.end)?;
        let (mut sll, mut tll, mut first) = (None, None, None);
        let mut rest = options;
        while rest.len() >= 8 {
            let len = usize::from(rest[1]) * 8;
            if len == 0 || len > rest.len() {
                break;
            }
            let here = self.layers.end - rest.len();
            if len == 8 && matches!(rest[0], ND_OPT_SLL | ND_OPT_TLL) {
                let known = if rest[0] == ND_OPT_SLL { &mut sll } else { &mut tll };
                // The same option twice makes the message invalid: target and addresses read 0.
                if known.is_some_and(|at| mac_at(self.frame, at) != Some(0)) {
                    self.set(Field::NdOptionsType, first.map_or(0, |at: usize| self.frame[at]));
                    return None;
                }
                *known = Some(here + 2);
                first = first.or(Some(here));
            }
            rest = &rest[len..];
        }
        self.set(Field::NdTarget, u128_at(self.frame, target)?);
        self.layers.nd_target = Some(target);
        (self.layers.nd_sll, self.layers.nd_tll, self.layers.nd_option) = (sll, tll, first);
        if let Some(at) = sll {
            self.set(Field::NdSll, mac_at(self.frame, at)?);
        }
        if let Some(at) = tll {
            self.set(Field::NdTll, mac_at(self.frame, at)?);
        }
        if let Some(at) = first {
            self.set(Field::NdOptionsType, self.frame[at]);
        }
        Some(())
    }
}

/// Whether a key's protocol is that of an IPv6 extension header, which is none of a packet's own.
pub(crate) fn announces_extension(key: &Key) -> bool {
    key.get(Field::EthType) == u128::from(ETH_TYPE_IPV6) && is_extension(key.get(Field::NwProto) as u8)
}

fn is_extension(proto: u8) -> bool {
    matches!(proto, IPPROTO_HOPOPTS | IPPROTO_ROUTING | IPPROTO_DSTOPTS | IPPROTO_AH | IPPROTO_FRAGMENT)
}

pub(crate) fn is_vlan(eth_type: u16) -> bool {
    matches!(eth_type, ETH_TYPE_VLAN | ETH_TYPE_SVLAN)
}
