//! The words of flow text that are not fields: protocols, flag bits, reserved ports.

use crate::field::Field;
use crate::port::PortNo;

/// A protocol keyword, such as `tcp6`, and the match it stands for.
pub(super) struct Protocol {
    /// The keyword.
    pub(super) name: &'static str,
    /// dl_type.
    pub(super) eth_type: u16,
    /// nw_proto, where the keyword fixes it.
    pub(super) ip_proto: Option<u8>,
}

/// Ethertypes that text has words or rules for.
pub(super) mod eth_type {
    pub(in crate::text) const IPV4: u16 = 0x0800;
    pub(in crate::text) const ARP: u16 = 0x0806;
    pub(in crate::text) const RARP: u16 = 0x8035;
    pub(in crate::text) const IPV6: u16 = 0x86dd;
}

/// IP protocols that text has words or rules for.
pub(super) mod ip_proto {
    pub(in crate::text) const ICMP: u8 = 1;
    pub(in crate::text) const TCP: u8 = 6;
    pub(in crate::text) const UDP: u8 = 17;
    pub(in crate::text) const ICMPV6: u8 = 58;
    pub(in crate::text) const SCTP: u8 = 132;
}

/// The protocol keywords. Where two mean the same, the first is printed.
#[rustfmt::skip]
pub(super) const PROTOCOLS: &[Protocol] = &[
    Protocol { name: "ip",     eth_type: eth_type::IPV4, ip_proto: None },
    Protocol { name: "ipv4",   eth_type: eth_type::IPV4, ip_proto: None },
    Protocol { name: "ip4",    eth_type: eth_type::IPV4, ip_proto: None },
    Protocol { name: "icmp",   eth_type: eth_type::IPV4, ip_proto: Some(ip_proto::ICMP) },
    Protocol { name: "tcp",    eth_type: eth_type::IPV4, ip_proto: Some(ip_proto::TCP) },
    Protocol { name: "udp",    eth_type: eth_type::IPV4, ip_proto: Some(ip_proto::UDP) },
    Protocol { name: "sctp",   eth_type: eth_type::IPV4, ip_proto: Some(ip_proto::SCTP) },
    Protocol { name: "arp",    eth_type: eth_type::ARP,  ip_proto: None },
    Protocol { name: "rarp",   eth_type: eth_type::RARP, ip_proto: None },
    Protocol { name: "ipv6",   eth_type: eth_type::IPV6, ip_proto: None },
    Protocol { name: "ip6",    eth_type: eth_type::IPV6, ip_proto: None },
    Protocol { name: "icmp6",  eth_type: eth_type::IPV6, ip_proto: Some(ip_proto::ICMPV6) },
    Protocol { name: "tcp6",   eth_type: eth_type::IPV6, ip_proto: Some(ip_proto::TCP) },
    Protocol { name: "udp6",   eth_type: eth_type::IPV6, ip_proto: Some(ip_proto::UDP) },
    Protocol { name: "sctp6",  eth_type: eth_type::IPV6, ip_proto: Some(ip_proto::SCTP) },
    Protocol { name: "mpls",   eth_type: 0x8847,         ip_proto: None },
    Protocol { name: "mplsm",  eth_type: 0x8848,         ip_proto: None },
];

/// Names of a flag field's bits, from bit 0.
pub(super) fn flag_names(field: Field) -> &'static [&'static str] {
    match field {
        Field::CtState => &["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"],
        Field::TcpFlags => {
            &["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]"]
        }
        Field::TunFlags => &["oam"],
        _ => &[],
    }
}

/// One word of `ip_frag`.
pub(super) struct Fragment {
    /// The word.
    pub(super) name: &'static str,
    /// Bits compared: 1 tells fragments from whole packets, 2 later fragments from the rest.
    pub(super) mask: u8,
    /// What they must be.
    pub(super) value: u8,
}

/// The words of `ip_frag`. Where two have one name, the first is meant when parsing.
#[rustfmt::skip]
pub(super) const FRAGMENTS: &[Fragment] = &[
    Fragment { name: "no",        mask: 3, value: 0 },
    Fragment { name: "first",     mask: 3, value: 1 },
    Fragment { name: "later",     mask: 3, value: 3 },
    Fragment { name: "no",        mask: 1, value: 0 },
    Fragment { name: "yes",       mask: 1, value: 1 },
    Fragment { name: "not_later", mask: 2, value: 0 },
    Fragment { name: "later",     mask: 2, value: 2 },
];

/// Reserved ports by name. Where two have one number, the first is printed.
pub(super) const RESERVED_PORTS: &[(&str, PortNo)] = &[
    ("IN_PORT", PortNo::IN_PORT),
    ("TABLE", PortNo::TABLE),
    ("NORMAL", PortNo::NORMAL),
    ("FLOOD", PortNo::FLOOD),
    ("ALL", PortNo::ALL),
    ("CONTROLLER", PortNo::CONTROLLER),
    ("LOCAL", PortNo::LOCAL),
    ("ANY", PortNo::NONE),
    ("NONE", PortNo::NONE),
    ("UNSET", PortNo(0xffff_fff7)),
];

/// dl_vlan's number for a packet without a tag (OFP_VLAN_NONE of OpenFlow 1.0).
pub(super) const VLAN_NONE: u16 = 0xffff;

/// The bit of vlan_tci that tells a tag from none.
pub(super) const VLAN_PRESENT: u16 = 0x1000;
