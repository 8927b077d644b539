//! The one table of fields.
//!
//! Every field that a flow can match or an action can touch is one row of [`fields!`] below: its
//! names in ovs-fields(7), where its bits live in a [`Key`](crate::Key), its width, its
//! prerequisite, how its text looks, and its NXM and OXM headers. The parser, the printer, the
//! wire codecs, the evaluator and the compiler all read this table, and match on [`Field`]
//! exhaustively where a field needs code of its own; so a new field is one row here, and a compile
//! error in each place that has to know it.
//!
//! Source: ovs-fields(7) of Open vSwitch 3.1; OpenFlow 1.3.5 §7.2.3.7 and 1.5.1 §7.2.3.8 for the
//! OXM numbers. Widths are in bits; values are host-order integers whose least significant bit is
//! the last bit on the wire.
//!
//! Limits: `tun_metadata0` to `tun_metadata7` are supported, each up to 128 bits (Open vSwitch has
//! 64 of up to 992 bits). MPLS, NSH, ERSPAN and GTP-U fields are not in the table.

use core::fmt;

/// How a field's value is written in flow text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Unsigned decimal.
    Decimal,
    /// `0x`-prefixed hexadecimal, without leading zeros.
    Hex,
    /// A MAC address.
    Ethernet,
    /// A dotted quad.
    Ipv4,
    /// RFC 5952 text.
    Ipv6,
    /// A port number or name.
    Port,
    /// `+new-est` style connection-tracking flags.
    CtState,
    /// `+oam` style tunnel flags.
    TunFlags,
    /// `no`, `yes`, `first`, `later`, `not_later`.
    Frag,
    /// `+syn-ack` style TCP flags.
    TcpFlags,
    /// `(ns,type)`.
    PacketType,
}

/// Which masks a match on the field may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masking {
    /// Exact match only.
    Exact,
    /// Any bitwise mask.
    Bitwise,
}

/// What a flow must already match before it may match or write the field.
///
/// The names are those of the "Prerequisites" lines of ovs-fields(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prereq {
    /// Nothing.
    None,
    /// An Ethernet packet, as every packet is here.
    Ethernet,
    /// An 802.1Q tag is present.
    Vlan,
    /// dl_type 0x0806 or 0x8035.
    Arp,
    /// dl_type 0x0800.
    Ipv4,
    /// dl_type 0x86dd.
    Ipv6,
    /// Either IP version.
    Ip,
    /// IP protocol 6.
    Tcp,
    /// IP protocol 17.
    Udp,
    /// IP protocol 132.
    Sctp,
    /// IPv4 protocol 1.
    Icmpv4,
    /// IPv6 protocol 58.
    Icmpv6,
    /// icmp_type 135 or 136, icmp_code 0.
    Nd,
    /// icmp_type 135, icmp_code 0.
    NdSolicit,
    /// icmp_type 136, icmp_code 0.
    NdAdvert,
    /// `+trk` in ct_state.
    Ct,
}

/// The class of an NXM or OXM header (the upper 16 bits, or the experimenter behind 0xffff).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeaderClass {
    /// 0x0000, Nicira's mirror of OpenFlow 1.0.
    NxmOf,
    /// 0x0001, Nicira's extensions.
    NxmNx,
    /// 0x8000, OpenFlow 1.2 and later.
    OxmOf,
    /// 0x8001, OpenFlow 1.5 packet registers.
    PktReg,
    /// Experimenter 0x4f4e4600 (ONF).
    OnfEt,
    /// 0x1000, Ericsson.
    EricEt,
}

/// One header by which a field is named on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The header's name in text, as `move` and `load` print it.
    pub name: &'static str,
    /// Its class.
    pub class: HeaderClass,
    /// Its number within the class (7 bits).
    pub number: u8,
}

/// Where a field's bits live in a [`Key`](crate::Key).
///
/// `shift` counts from the least significant bit of word `word`. A field wider than 64 bits has
/// `shift` 0 and takes words `word` (its high half) and `word + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Index into the key's words.
    pub word: u8,
    /// Lowest bit within the word.
    pub shift: u8,
}

/// Everything the table says of one field.
#[derive(Debug)]
pub struct FieldInfo {
    /// The field this row describes.
    pub field: Field,
    /// The name printed.
    pub name: &'static str,
    /// Other names accepted when parsing.
    pub aliases: &'static [&'static str],
    /// Width in bits, 1 to 128.
    pub width: u8,
    /// Bits in a [`Key`](crate::Key).
    pub location: Location,
    /// Text form.
    pub format: Format,
    /// Masks allowed.
    pub masking: Masking,
    /// What has to be matched first.
    pub prereq: Prereq,
    /// Whether actions may write the field.
    pub writable: bool,
    /// The Nicira (NXM) header, if there is one.
    pub nxm: Option<Header>,
    /// The OpenFlow (OXM) header, if there is one.
    pub oxm: Option<Header>,
}

macro_rules! header {
    (-) => {
        None
    };
    ($class:ident $number:literal $name:literal) => {
        Some(Header { name: $name, class: HeaderClass::$class, number: $number })
    };
}

macro_rules! writable {
    (rw) => {
        true
    };
    (ro) => {
        false
    };
}

macro_rules! fields {
    ($( $variant:ident $name:literal $([$($alias:literal)+])? : $width:literal @ $word:literal/$shift:literal
        $format:ident $masking:ident $prereq:ident $rw:ident ($($nxm:tt)+) ($($oxm:tt)+); )*) => {
        /// A field: one row of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the table's names are ovs-fields(7)'s")]
        pub enum Field { $($variant),* }

        /// The table, indexed by `Field as usize`.
        pub static FIELDS: &[FieldInfo] = &[ $( FieldInfo {
            field: Field::$variant,
            name: $name,
            aliases: &[$($($alias),+)?],
            width: $width,
            location: Location { word: $word, shift: $shift },
            format: Format::$format,
            masking: Masking::$masking,
            prereq: Prereq::$prereq,
            writable: writable!($rw),
            nxm: header!($($nxm)+),
            oxm: header!($($oxm)+),
        } ),* ];
    };
}

// One row a field:
//   Variant "name" ["alias"…]: width @ word/shift  format masking prerequisite access  (NXM) (OXM)
#[rustfmt::skip]
fields! {
    // Conjunction.
    ConjId       "conj_id":        32 @ 35/0  Decimal  Exact   None ro (NxmNx 37 "NXM_NX_CONJ_ID") (-);
    // Tunnel.
    TunId        "tun_id" ["tunnel_id"]: 64 @ 0/0 Hex  Bitwise None rw (NxmNx 16 "NXM_NX_TUN_ID") (OxmOf 38 "OXM_OF_TUNNEL_ID");
    TunSrc       "tun_src":        32 @ 1/32  Ipv4     Bitwise None rw (NxmNx 31 "NXM_NX_TUN_IPV4_SRC") (-);
    TunDst       "tun_dst":        32 @ 1/0   Ipv4     Bitwise None rw (NxmNx 32 "NXM_NX_TUN_IPV4_DST") (-);
    TunIpv6Src   "tun_ipv6_src":  128 @ 2/0   Ipv6     Bitwise None rw (NxmNx 109 "NXM_NX_TUN_IPV6_SRC") (-);
    TunIpv6Dst   "tun_ipv6_dst":  128 @ 4/0   Ipv6     Bitwise None rw (NxmNx 110 "NXM_NX_TUN_IPV6_DST") (-);
    TunGbpId     "tun_gbp_id":     16 @ 6/48  Decimal  Bitwise None rw (NxmNx 38 "NXM_NX_TUN_GBP_ID") (-);
    TunGbpFlags  "tun_gbp_flags":   8 @ 6/40  Hex      Bitwise None rw (NxmNx 39 "NXM_NX_TUN_GBP_FLAGS") (-);
    TunFlags     "tun_flags":       1 @ 6/0   TunFlags Bitwise None rw (NxmNx 104 "NXM_NX_TUN_FLAGS") (-);
    TunMetadata0 "tun_metadata0": 128 @ 8/0   Hex      Bitwise None rw (NxmNx 40 "NXM_NX_TUN_METADATA0") (-);
    TunMetadata1 "tun_metadata1": 128 @ 10/0  Hex      Bitwise None rw (NxmNx 41 "NXM_NX_TUN_METADATA1") (-);
    TunMetadata2 "tun_metadata2": 128 @ 12/0  Hex      Bitwise None rw (NxmNx 42 "NXM_NX_TUN_METADATA2") (-);
    TunMetadata3 "tun_metadata3": 128 @ 14/0  Hex      Bitwise None rw (NxmNx 43 "NXM_NX_TUN_METADATA3") (-);
    TunMetadata4 "tun_metadata4": 128 @ 16/0  Hex      Bitwise None rw (NxmNx 44 "NXM_NX_TUN_METADATA4") (-);
    TunMetadata5 "tun_metadata5": 128 @ 18/0  Hex      Bitwise None rw (NxmNx 45 "NXM_NX_TUN_METADATA5") (-);
    TunMetadata6 "tun_metadata6": 128 @ 20/0  Hex      Bitwise None rw (NxmNx 46 "NXM_NX_TUN_METADATA6") (-);
    TunMetadata7 "tun_metadata7": 128 @ 22/0  Hex      Bitwise None rw (NxmNx 47 "NXM_NX_TUN_METADATA7") (-);
    // Metadata.
    InPort       "in_port":        16 @ 33/32 Port     Exact   None rw (NxmOf 0 "NXM_OF_IN_PORT") (-);
    InPortOxm    "in_port_oxm":    32 @ 33/32 Port     Exact   None rw (-) (OxmOf 0 "OXM_OF_IN_PORT");
    SkbPriority  "skb_priority":   32 @ 34/32 Hex      Exact   None ro (-) (-);
    PktMark      "pkt_mark":       32 @ 33/0  Hex      Bitwise None rw (NxmNx 33 "NXM_NX_PKT_MARK") (-);
    ActsetOutput "actset_output":  32 @ 34/0  Port     Exact   None ro (-) (OnfEt 43 "ONFOXM_ET_ACTSET_OUTPUT");
    PacketType   "packet_type":    32 @ 35/32 PacketType Exact None ro (-) (OxmOf 44 "OXM_OF_PACKET_TYPE");
    // Connection tracking.
    CtState      "ct_state":       32 @ 36/32 CtState  Bitwise None ro (NxmNx 105 "NXM_NX_CT_STATE") (-);
    CtZone       "ct_zone":        16 @ 37/48 Hex      Exact   None ro (NxmNx 106 "NXM_NX_CT_ZONE") (-);
    CtMark       "ct_mark":        32 @ 36/0  Hex      Bitwise None rw (NxmNx 107 "NXM_NX_CT_MARK") (-);
    CtLabel      "ct_label":      128 @ 38/0  Hex      Bitwise None rw (NxmNx 108 "NXM_NX_CT_LABEL") (-);
    CtNwSrc      "ct_nw_src":      32 @ 40/32 Ipv4     Bitwise Ct   ro (NxmNx 120 "NXM_NX_CT_NW_SRC") (-);
    CtNwDst      "ct_nw_dst":      32 @ 40/0  Ipv4     Bitwise Ct   ro (NxmNx 121 "NXM_NX_CT_NW_DST") (-);
    CtIpv6Src    "ct_ipv6_src":   128 @ 41/0  Ipv6     Bitwise Ct   ro (NxmNx 122 "NXM_NX_CT_IPV6_SRC") (-);
    CtIpv6Dst    "ct_ipv6_dst":   128 @ 43/0  Ipv6     Bitwise Ct   ro (NxmNx 123 "NXM_NX_CT_IPV6_DST") (-);
    CtNwProto    "ct_nw_proto":     8 @ 37/32 Decimal  Exact   Ct   ro (NxmNx 119 "NXM_NX_CT_NW_PROTO") (-);
    CtTpSrc      "ct_tp_src":      16 @ 37/16 Decimal  Bitwise Ct   ro (NxmNx 124 "NXM_NX_CT_TP_SRC") (-);
    CtTpDst      "ct_tp_dst":      16 @ 37/0  Decimal  Bitwise Ct   ro (NxmNx 125 "NXM_NX_CT_TP_DST") (-);
    // Registers: sixteen of 32 bits, overlaid by eight of 64 and four of 128, the lower-numbered
    // register in the higher bits.
    Metadata     "metadata":       64 @ 24/0  Hex      Bitwise None rw (-) (OxmOf 2 "OXM_OF_METADATA");
    Reg0         "reg0":           32 @ 25/32 Hex      Bitwise None rw (NxmNx 0 "NXM_NX_REG0") (-);
    Reg1         "reg1":           32 @ 25/0  Hex      Bitwise None rw (NxmNx 1 "NXM_NX_REG1") (-);
    Reg2         "reg2":           32 @ 26/32 Hex      Bitwise None rw (NxmNx 2 "NXM_NX_REG2") (-);
    Reg3         "reg3":           32 @ 26/0  Hex      Bitwise None rw (NxmNx 3 "NXM_NX_REG3") (-);
    Reg4         "reg4":           32 @ 27/32 Hex      Bitwise None rw (NxmNx 4 "NXM_NX_REG4") (-);
    Reg5         "reg5":           32 @ 27/0  Hex      Bitwise None rw (NxmNx 5 "NXM_NX_REG5") (-);
    Reg6         "reg6":           32 @ 28/32 Hex      Bitwise None rw (NxmNx 6 "NXM_NX_REG6") (-);
    Reg7         "reg7":           32 @ 28/0  Hex      Bitwise None rw (NxmNx 7 "NXM_NX_REG7") (-);
    Reg8         "reg8":           32 @ 29/32 Hex      Bitwise None rw (NxmNx 8 "NXM_NX_REG8") (-);
    Reg9         "reg9":           32 @ 29/0  Hex      Bitwise None rw (NxmNx 9 "NXM_NX_REG9") (-);
    Reg10        "reg10":          32 @ 30/32 Hex      Bitwise None rw (NxmNx 10 "NXM_NX_REG10") (-);
    Reg11        "reg11":          32 @ 30/0  Hex      Bitwise None rw (NxmNx 11 "NXM_NX_REG11") (-);
    Reg12        "reg12":          32 @ 31/32 Hex      Bitwise None rw (NxmNx 12 "NXM_NX_REG12") (-);
    Reg13        "reg13":          32 @ 31/0  Hex      Bitwise None rw (NxmNx 13 "NXM_NX_REG13") (-);
    Reg14        "reg14":          32 @ 32/32 Hex      Bitwise None rw (NxmNx 14 "NXM_NX_REG14") (-);
    Reg15        "reg15":          32 @ 32/0  Hex      Bitwise None rw (NxmNx 15 "NXM_NX_REG15") (-);
    Xreg0        "xreg0":          64 @ 25/0  Hex      Bitwise None rw (-) (PktReg 0 "OXM_OF_PKT_REG0");
    Xreg1        "xreg1":          64 @ 26/0  Hex      Bitwise None rw (-) (PktReg 1 "OXM_OF_PKT_REG1");
    Xreg2        "xreg2":          64 @ 27/0  Hex      Bitwise None rw (-) (PktReg 2 "OXM_OF_PKT_REG2");
    Xreg3        "xreg3":          64 @ 28/0  Hex      Bitwise None rw (-) (PktReg 3 "OXM_OF_PKT_REG3");
    Xreg4        "xreg4":          64 @ 29/0  Hex      Bitwise None rw (-) (PktReg 4 "OXM_OF_PKT_REG4");
    Xreg5        "xreg5":          64 @ 30/0  Hex      Bitwise None rw (-) (PktReg 5 "OXM_OF_PKT_REG5");
    Xreg6        "xreg6":          64 @ 31/0  Hex      Bitwise None rw (-) (PktReg 6 "OXM_OF_PKT_REG6");
    Xreg7        "xreg7":          64 @ 32/0  Hex      Bitwise None rw (-) (PktReg 7 "OXM_OF_PKT_REG7");
    Xxreg0       "xxreg0":        128 @ 25/0  Hex      Bitwise None rw (NxmNx 111 "NXM_NX_XXREG0") (-);
    Xxreg1       "xxreg1":        128 @ 27/0  Hex      Bitwise None rw (NxmNx 112 "NXM_NX_XXREG1") (-);
    Xxreg2       "xxreg2":        128 @ 29/0  Hex      Bitwise None rw (NxmNx 113 "NXM_NX_XXREG2") (-);
    Xxreg3       "xxreg3":        128 @ 31/0  Hex      Bitwise None rw (NxmNx 114 "NXM_NX_XXREG3") (-);
    // Ethernet and VLAN. The present bit 0x1000 of vlan_tci tells a tag from none.
    EthSrc       "eth_src" ["dl_src"]: 48 @ 46/16 Ethernet Bitwise Ethernet rw (NxmOf 2 "NXM_OF_ETH_SRC") (OxmOf 4 "OXM_OF_ETH_SRC");
    EthDst       "eth_dst" ["dl_dst"]: 48 @ 45/16 Ethernet Bitwise Ethernet rw (NxmOf 1 "NXM_OF_ETH_DST") (OxmOf 3 "OXM_OF_ETH_DST");
    EthType      "eth_type" ["dl_type"]: 16 @ 45/0 Hex     Exact   Ethernet ro (NxmOf 3 "NXM_OF_ETH_TYPE") (OxmOf 5 "OXM_OF_ETH_TYPE");
    VlanTci      "vlan_tci":       16 @ 46/0  Hex      Bitwise Ethernet rw (NxmOf 4 "NXM_OF_VLAN_TCI") (-);
    VlanVid      "vlan_vid":       13 @ 46/0  Decimal  Bitwise Ethernet rw (-) (OxmOf 6 "OXM_OF_VLAN_VID");
    VlanPcp      "vlan_pcp":        3 @ 46/13 Decimal  Exact   Vlan rw (-) (OxmOf 7 "OXM_OF_VLAN_PCP");
    // IPv4 and IPv6.
    NwSrc        "ip_src" ["nw_src"]: 32 @ 47/32 Ipv4  Bitwise Ipv4 rw (NxmOf 7 "NXM_OF_IP_SRC") (OxmOf 11 "OXM_OF_IPV4_SRC");
    NwDst        "ip_dst" ["nw_dst"]: 32 @ 47/0  Ipv4  Bitwise Ipv4 rw (NxmOf 8 "NXM_OF_IP_DST") (OxmOf 12 "OXM_OF_IPV4_DST");
    Ipv6Src      "ipv6_src":      128 @ 51/0  Ipv6     Bitwise Ipv6 rw (NxmNx 19 "NXM_NX_IPV6_SRC") (OxmOf 26 "OXM_OF_IPV6_SRC");
    Ipv6Dst      "ipv6_dst":      128 @ 53/0  Ipv6     Bitwise Ipv6 rw (NxmNx 20 "NXM_NX_IPV6_DST") (OxmOf 27 "OXM_OF_IPV6_DST");
    Ipv6Label    "ipv6_label":     20 @ 55/32 Hex      Bitwise Ipv6 rw (NxmNx 27 "NXM_NX_IPV6_LABEL") (OxmOf 28 "OXM_OF_IPV6_FLABEL");
    NwProto      "nw_proto" ["ip_proto"]: 8 @ 55/24 Decimal Exact Ip ro (NxmOf 6 "NXM_OF_IP_PROTO") (OxmOf 10 "OXM_OF_IP_PROTO");
    NwTtl        "nw_ttl":          8 @ 55/16 Decimal  Exact   Ip   rw (NxmNx 29 "NXM_NX_IP_TTL") (-);
    IpFrag       "ip_frag" ["nw_frag"]: 2 @ 55/0 Frag  Bitwise Ip   ro (NxmNx 26 "NXM_NX_IP_FRAG") (-);
    NwTos        "nw_tos":          8 @ 55/8  Decimal  Exact   Ip   rw (NxmOf 5 "NXM_OF_IP_TOS") (-);
    IpDscp       "ip_dscp":         6 @ 55/10 Decimal  Exact   Ip   rw (-) (OxmOf 8 "OXM_OF_IP_DSCP");
    NwEcn        "nw_ecn" ["ip_ecn"]: 2 @ 55/8 Decimal Exact   Ip   rw (NxmNx 28 "NXM_NX_IP_ECN") (OxmOf 9 "OXM_OF_IP_ECN");
    // ARP (and RARP).
    ArpOp        "arp_op":         16 @ 49/0  Decimal  Exact   Arp  rw (NxmOf 15 "NXM_OF_ARP_OP") (OxmOf 21 "OXM_OF_ARP_OP");
    ArpSpa       "arp_spa":        32 @ 48/32 Ipv4     Bitwise Arp  rw (NxmOf 16 "NXM_OF_ARP_SPA") (OxmOf 22 "OXM_OF_ARP_SPA");
    ArpTpa       "arp_tpa":        32 @ 48/0  Ipv4     Bitwise Arp  rw (NxmOf 17 "NXM_OF_ARP_TPA") (OxmOf 23 "OXM_OF_ARP_TPA");
    ArpSha       "arp_sha":        48 @ 49/16 Ethernet Bitwise Arp  rw (NxmNx 17 "NXM_NX_ARP_SHA") (OxmOf 24 "OXM_OF_ARP_SHA");
    ArpTha       "arp_tha":        48 @ 50/16 Ethernet Bitwise Arp  rw (NxmNx 18 "NXM_NX_ARP_THA") (OxmOf 25 "OXM_OF_ARP_THA");
    // TCP, UDP and SCTP share their port bits, ICMPv4 and ICMPv6 their type and code: the
    // prerequisites keep them apart.
    TcpSrc       "tcp_src" ["tp_src"]: 16 @ 56/48 Decimal Bitwise Tcp rw (NxmOf 9 "NXM_OF_TCP_SRC") (OxmOf 13 "OXM_OF_TCP_SRC");
    TcpDst       "tcp_dst" ["tp_dst"]: 16 @ 56/32 Decimal Bitwise Tcp rw (NxmOf 10 "NXM_OF_TCP_DST") (OxmOf 14 "OXM_OF_TCP_DST");
    TcpFlags     "tcp_flags":      12 @ 56/16 TcpFlags Bitwise Tcp  ro (NxmNx 34 "NXM_NX_TCP_FLAGS") (OnfEt 42 "ONFOXM_ET_TCP_FLAGS");
    UdpSrc       "udp_src":        16 @ 56/48 Decimal  Bitwise Udp  rw (NxmOf 11 "NXM_OF_UDP_SRC") (OxmOf 15 "OXM_OF_UDP_SRC");
    UdpDst       "udp_dst":        16 @ 56/32 Decimal  Bitwise Udp  rw (NxmOf 12 "NXM_OF_UDP_DST") (OxmOf 16 "OXM_OF_UDP_DST");
    SctpSrc      "sctp_src":       16 @ 56/48 Decimal  Bitwise Sctp rw (-) (OxmOf 17 "OXM_OF_SCTP_SRC");
    SctpDst      "sctp_dst":       16 @ 56/32 Decimal  Bitwise Sctp rw (-) (OxmOf 18 "OXM_OF_SCTP_DST");
    IcmpType     "icmp_type":       8 @ 56/8  Decimal  Exact   Icmpv4 rw (NxmOf 13 "NXM_OF_ICMP_TYPE") (OxmOf 19 "OXM_OF_ICMPV4_TYPE");
    IcmpCode     "icmp_code":       8 @ 56/0  Decimal  Exact   Icmpv4 rw (NxmOf 14 "NXM_OF_ICMP_CODE") (OxmOf 20 "OXM_OF_ICMPV4_CODE");
    Icmpv6Type   "icmpv6_type":     8 @ 56/8  Decimal  Exact   Icmpv6 rw (NxmNx 21 "NXM_NX_ICMPV6_TYPE") (OxmOf 29 "OXM_OF_ICMPV6_TYPE");
    Icmpv6Code   "icmpv6_code":     8 @ 56/0  Decimal  Exact   Icmpv6 rw (NxmNx 22 "NXM_NX_ICMPV6_CODE") (OxmOf 30 "OXM_OF_ICMPV6_CODE");
    // IPv6 neighbour discovery.
    NdTarget     "nd_target":     128 @ 57/0  Ipv6     Bitwise Nd   rw (NxmNx 23 "NXM_NX_ND_TARGET") (OxmOf 31 "OXM_OF_IPV6_ND_TARGET");
    NdSll        "nd_sll":         48 @ 59/16 Ethernet Bitwise NdSolicit rw (NxmNx 24 "NXM_NX_ND_SLL") (OxmOf 32 "OXM_OF_IPV6_ND_SLL");
    NdTll        "nd_tll":         48 @ 60/16 Ethernet Bitwise NdAdvert rw (NxmNx 25 "NXM_NX_ND_TLL") (OxmOf 33 "OXM_OF_IPV6_ND_TLL");
    NdReserved   "nd_reserved":    32 @ 61/32 Decimal  Exact   Nd   rw (-) (EricEt 1 "ERICOXM_OF_ICMPV6_ND_RESERVED");
    NdOptionsType "nd_options_type": 8 @ 61/0 Decimal  Exact   Nd   rw (-) (EricEt 2 "ERICOXM_OF_ICMPV6_ND_OPTIONS_TYPE");
}

impl Field {
    /// This field's row of the table.
    pub fn info(self) -> &'static FieldInfo {
        &FIELDS[self as usize]
    }

    /// Every field, in the order of the table.
    pub fn all() -> impl Iterator<Item = Field> {
        FIELDS.iter().map(|row| row.field)
    }

    /// The field that text calls `name`, be it its name, an alias, or an NXM or OXM header name.
    pub fn by_name(name: &str) -> Option<Field> {
        FIELDS
            .iter()
            .find(|row| {
                row.name == name
                    || row.aliases.contains(&name)
                    || row.nxm.is_some_and(|h| h.name == name)
                    || row.oxm.is_some_and(|h| h.name == name)
            })
            .map(|row| row.field)
    }

    /// The name printed in matches and `set_field`.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The name printed in `move`, `load` and `output:`: the NXM header's, else the OXM header's,
    /// else the field's own.
    pub fn header_name(self) -> &'static str {
        let row = self.info();
        row.nxm.or(row.oxm).map_or(row.name, |h| h.name)
    }

    /// Whether a match or `set_field` may ask for this value, which is within the field's width.
    ///
    /// Source: `mf_is_value_valid` of Open vSwitch.
    pub(crate) fn takes(self, value: u128) -> bool {
        match self {
            Field::InPortOxm | Field::ActsetOutput => !(0xff00..0xffff_ff00).contains(&value),
            Field::CtState => value <= 0xff,
            _ => value & !self.known_bits() == 0,
        }
    }

    /// Whether writing one of two fields changes the other, as `reg0` and `xreg0` do.
    pub fn shares_bits(self, other: Field) -> bool {
        let range = |field: Field| {
            let Location { word, shift } = field.info().location;
            // Words are numbered from a wide field's high half: count bits from the key's end.
            let end = (u32::from(word) + field.width().div_ceil(64)) * 64 - u32::from(shift);
            (end - field.width(), end)
        };
        let ((start, end), (other_start, other_end)) = (range(self), range(other));
        start < other_end && other_start < end
    }

    /// Width in bits.
    pub fn width(self) -> u32 {
        u32::from(self.info().width)
    }

    /// How many bits `move`, `load`, `push` and their like can name: the width, but for vlan_vid,
    /// whose present bit only matches and `set_field` know (12 bits, says ovs-fields(7)).
    pub fn subfield_width(self) -> u8 {
        if self == Field::VlanVid { 12 } else { self.info().width }
    }

    /// The bits that actions find in the field: the others read 0, whatever the packet has there, and
    /// are not written. All bits, but for nw_tos, of which two are nw_ecn's, and arp_op, whose upper
    /// byte no ARP packet shows (ovs-fields(7)).
    pub fn known_bits(self) -> u128 {
        match self {
            Field::NwTos => 0xfc,
            Field::ArpOp => 0xff,
            _ => self.all_ones(),
        }
    }

    /// A value with every bit of the field set.
    pub fn all_ones(self) -> u128 {
        ones(self.width())
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The `width` lowest bits set; `width` is at most 128.
pub(crate) const fn ones(width: u32) -> u128 {
    if width >= 128 { u128::MAX } else { (1 << width) - 1 }
}

#[cfg(test)]
mod tests;
