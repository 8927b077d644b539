//! Where a packet's state lives while its program runs: one per-CPU value, the *scratch*.
//!
//! It begins with the words of a [`Key`](footbridge_openflow::Key), in host byte order: matches are
//! masked words, in the evaluator and here alike. Behind them are the packet words as they stand in the
//! frame, so that an output writes what differs. All of it is zeroed, as far as a program uses it, when
//! a packet comes in; the verifier knows nothing of the values, so that each table is verified once.
//!
//! A frame that is sent can come in again by another port within the same call, where something redirects it
//! there (`tc … action mirred ingress redirect`, before Linux 6.8), while the run that sent it has more to do. So there are
//! [`RUNS`] of it on each CPU, and of all else that a packet has.

use footbridge_openflow::Field;
use footbridge_openflow::key::KEY_WORDS;
use footbridge_pipeline::{DropReason, PortKind};

/// The words of some fields that come together.
#[derive(Clone, Copy)]
pub(crate) struct Words(&'static [Field]);

/// The Ethernet header, and the tag.
pub(crate) const ETHERNET: Words = Words(&[Field::EthDst, Field::EthSrc]);
/// ARP and RARP.
pub(crate) const ARP: Words = Words(&[Field::ArpSpa, Field::ArpSha, Field::ArpTha]);
/// IPv4 addresses.
pub(crate) const IPV4: Words = Words(&[Field::NwSrc]);
/// IPv6 addresses.
pub(crate) const IPV6: Words = Words(&[Field::Ipv6Src, Field::Ipv6Dst]);
/// What both have, and what they carry.
pub(crate) const IP: Words = Words(&[Field::NwProto, Field::TcpSrc]);
/// IPv6 neighbour discovery.
pub(crate) const ND: Words = Words(&[Field::NdTarget, Field::NdSll, Field::NdTll, Field::NdReserved]);

impl Words {
    /// Their numbers, of wide fields both.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u8> {
        self.0.iter().flat_map(|field| (0..field.width().div_ceil(64)).map(|half| word(*field) + half as u8))
    }

    /// Whether some of them are among others.
    pub(crate) fn meet(&self, others: &std::collections::BTreeSet<u8>) -> bool {
        self.iter().any(|word| others.contains(&word))
    }
}

/// The word that a field is in, the first of a wide one.
pub(crate) fn word(field: Field) -> u8 {
    field.info().location.word
}

/// Whether the word is the packet's rather than of what is known about it.
pub(crate) fn is_packet_word(number: u8) -> bool {
    number >= word(Field::EthDst)
}

/// Where a key word is in the scratch.
pub(crate) fn key_word(number: u8) -> i16 {
    i16::from(number) * 8
}

/// Where the word as it stands in the frame is.
pub(crate) fn frame_word(number: u8) -> i16 {
    WORDS + i16::from(number) * 8
}

const WORDS: i16 = KEY_WORDS as i16 * 8;

/// Numbers of 32 or 64 bits behind the words, one behind the other.
macro_rules! numbers {
    ($first:expr; $($(#[$doc:meta])* $name:ident $bytes:literal;)*) => {
        numbers!(@ $first; $($(#[$doc])* $name $bytes;)*);
    };
    (@ $at:expr; $(#[$doc:meta])* $name:ident $bytes:literal; $($rest:tt)*) => {
        $(#[$doc])*
        pub(crate) const $name: i16 = $at;
        const _: () = assert!($name % if $bytes > 8 { 8 } else { $bytes } == 0);
        numbers!(@ $name + $bytes; $($rest)*);
    };
    (@ $at:expr;) => {
        const NUMBERS_END: i16 = $at;
    };
}

numbers! {
    2 * WORDS;
    /// Where the network header begins in the frame, 0 where none was read whole.
    L3 4;
    /// Where the transport header begins, 0 for none.
    L4 4;
    /// The protocol of the transport header.
    L4_PROTO 4;
    /// How often the packet was sent.
    SENT 4;
    /// How the last look-up, or what came after it, ended: 0, or one of the two below.
    ENDED 4;
    /// How many look-ups are nested; and how many there were.
    DEPTH 4;
    LOOKUPS 4;
    /// 1 where the next look-up is nested in one of the same or a higher table.
    DEEPENS 4;
    /// How many lists were left, and how many copies there are of the packet.
    FRAMED 4;
    COPIED 4;
    /// How many values were pushed.
    PUSHED_COUNT 4;
    /// The slot of the flow whose list this is.
    FOUND_SLOT 4;
    /// The value that `pop` gives, 0 for none.
    PUSHED_TOP 8;
    /// With bit 32: in_port, while a look-up is made with another.
    SWAPPED 8;
    /// How many tags are known; how many of them `push_vlan` covered; the tag when they were settled last.
    TAG_COUNT 4;
    TAGS_COVERED 4;
    TCI_SETTLED 4;
    /// How many tags of those the frame had when it came in; and has.
    FIRST_TAGS 4;
    FRAME_TAG_COUNT 4;
    UNUSED_TAG 4;
    /// The known tags, and those of the frame.
    TAG_LIST 16;
    FRAME_TAGS 16;
    /// IPv6: a route has segments left. Neighbour discovery was read whole; where the first option with an
    /// Ethernet address is, and the two addresses, from the transport header on, 0 for none.
    ROUTED 4;
    ND_WHOLE 4;
    ND_OPTION 4;
    ND_SLL_AT 4;
    ND_TLL_AT 4;
    /// While headers and options are followed: the first option's type; where the next one is, and the packet's
    /// end; the protocol so far, ip_frag, and whether it went wrong; the two addresses.
    ND_TYPE 4;
    EXT_AT 4;
    EXT_END 4;
    EXT_PROTO 4;
    EXT_FRAG 4;
    EXT_FAILED 4;
    /// Of a fragment: the datagram's identification, and its protocol.
    FRAGMENT_ID 4;
    FRAGMENT_PROTO 4;
    UNUSED_EXT 4;
    ND_FIRST 16;
    /// Of the copy of the packet that goes on with what the tracker says: how many lists were left, and how many
    /// copies there were, before it began; 0 where there is none.
    TRACKED_FRAMED 4;
    TRACKED_COPIED 4;
    /// Of the action set: what is done before fields; what is done last. See `action_set.rs`.
    SET_STEPS 8;
    SET_LAST 8;
    /// All before this are 0 when a packet comes in.
    CLEARED_END 8;
    /// Of the list whose action set is carried out, the table.
    SET_FROM 4;
    /// How many runs of the program this one is within; not cleared by it.
    NESTED 4;
    /// The next piece of code.
    NEXT 4;
    /// The table looked up last, with [`MISS_IS_TOLD`].
    LOOKED_UP 4;
    UNUSED_LOOK_UP 4;
    /// The frame's length, its tag included.
    LENGTH 4;
    /// When the packet came in, nanoseconds of CLOCK_BOOTTIME.
    NOW 8;
    /// A value of 128 bits on its way, the higher half first.
    VALUE 8;
    VALUE_LOW 8;
}

/// How many tags can be known.
pub(crate) const TAGS: i32 = 4;

/// The place of a known tag: its TCI in bits 15..0, its type above.
pub(crate) fn tag(number: i32) -> i16 {
    TAG_LIST + 4 * number as i16
}

/// The same, of the frame's tags.
pub(crate) fn frame_tag(number: i32) -> i16 {
    FRAME_TAGS + 4 * number as i16
}

/// In [`LOOKED_UP`], above the table: a packet that no flow takes there is for the controllers.
pub(crate) const MISS_IS_TOLD: i32 = 1 << 8;

/// In [`ENDED`]: something was lost, and counted; no flow took the packet.
pub(crate) const ENDED_LOST: i32 = 1;
pub(crate) const ENDED_NO_FLOW: i32 = 2;

/// Where headers are read to: the network header, of 40 bytes; the transport header, or another, of 32; the
/// length of the IP payload.
pub(crate) const RAW: i16 = NUMBERS_END;
pub(crate) const TRANSPORT: i16 = RAW + 40;
pub(crate) const PAYLOAD: i16 = RAW + 72;
/// The number of a shape and the masked key words that a map is looked up with.
pub(crate) const SHAPE_KEY: i16 = RAW + 80;
/// Which clauses of which conjunctions the packet meets; see `conjunction.rs`.
pub(crate) const GATHERED: i16 = SHAPE_KEY + 8 + WORDS;
/// Which bits of a key word the action set changes.
pub(crate) fn set_mask(number: u8) -> i16 {
    SET + i16::from(number) * 16
}

/// What they become.
pub(crate) fn set_value(number: u8) -> i16 {
    set_mask(number) + 8
}

const SET: i16 = GATHERED + 8 * GATHERED_WORDS as i16;

/// How many 64-bit words there are of that.
pub(crate) const GATHERED_WORDS: usize = 512;
/// A `struct bpf_tunnel_key` for an output.
pub(crate) const TUNNEL_KEY: i16 = SET + 16 * KEY_WORDS as i16;
/// The Geneve options that a packet came with; 64 bytes.
pub(crate) const TUNNEL_OPTIONS: i16 = TUNNEL_KEY + 48;
/// What the tracker of connections has; see `ct/layout.rs`.
pub(crate) const CT: i16 = TUNNEL_OPTIONS + 64;
/// What passed the tables, which no packet clears: by number, a 64-bit count of packets that no flow took, and one
/// of those that one did.
pub(crate) const TABLES: i16 = CT + super::ct::layout::LENGTH as i16;
pub(crate) const TABLE_BYTES: i16 = 16;
pub(crate) const TABLE_MISSES: i16 = 0;
pub(crate) const TABLE_MATCHES: i16 = 8;
/// The length of the scratch.
pub(crate) const SCRATCH: usize = TABLES as usize + 256 * TABLE_BYTES as usize;
const _: () = assert!(SCRATCH < i16::MAX as usize);

/// Where a table's counts are.
pub(crate) fn table_counters(number: u8) -> i16 {
    TABLES + i16::from(number) * TABLE_BYTES
}

/// What the root program of a tunnel port says in the rest of `cb` of `struct __sk_buff`, behind the port and
/// its slot: outer source and destination, and the network identifier with [`FROM_TUNNEL`]. That of other
/// ports says 0 in the last.
pub(crate) const SKB_TUNNEL_SRC: i16 = super::SKB_CB + 8;
pub(crate) const SKB_TUNNEL_DST: i16 = super::SKB_CB + 12;
pub(crate) const SKB_TUNNEL: i16 = super::SKB_CB + 16;
/// Above the 24 bits of an identifier.
pub(crate) const FROM_TUNNEL: u32 = 1 << 24;

/// How many runs of the program can be within one another on a CPU; a packet of more is given up.
pub(crate) const RUNS: u32 = 3;

/// The length of a copy of a packet: all key words, the action set, tags, what was pushed, what it was when it came
/// through the tracker.
pub(crate) const COPY: usize = 8 * (3 * KEY_WORDS + 16);

/// What is counted for each port, on each CPU: 64-bit numbers in this order, then one for each drop
/// reason.
pub(crate) const RX_PACKETS: i16 = 0;
pub(crate) const RX_BYTES: i16 = 8;
pub(crate) const TX_PACKETS: i16 = 16;
pub(crate) const TX_BYTES: i16 = 24;
pub(crate) const TX_ERRORS: i16 = 32;
pub(crate) const DROPS: i16 = 40;

/// What is counted for each flow, on each CPU: 64-bit numbers.
pub(crate) const FLOW_PACKETS: i16 = 0;
pub(crate) const FLOW_BYTES: i16 = 8;
pub(crate) const FLOW_LAST_USED: i16 = 16;
pub(crate) const FLOW_COUNTERS: usize = 24;
/// In the number of packets: one passed at which `fin_timeout` cuts the flow's timeouts. Further packets leave it be.
pub(crate) const FLOW_IS_CLOSING: u64 = 1 << 63;

/// A flow as a shape's map holds it, in one 64-bit word that is read whole: its priority in bits 63..48,
/// its block in 47..32, its slot (of arguments and counters) in 31..0.
pub(crate) const fn flow_value(priority: u16, block: u16, slot: u32) -> u64 {
    (priority as u64) << 48 | (block as u64) << 32 | slot as u64
}

/// A port as the output map holds it: 0 for none, else its device's index in bits 31..0 (0 while the
/// device is down), its slot in 47..32, 1 above, and 1 above that where it is a tunnel.
pub(crate) fn port_value(ifindex: u32, slot: u16, kind: PortKind) -> [u8; 8] {
    let tunnel = u64::from(kind == PortKind::Tunnel) << PORT_IS_TUNNEL_BIT;
    (tunnel | 1 << 48 | u64::from(slot) << 32 | u64::from(ifindex)).to_ne_bytes()
}
/// What such a port is.
pub(crate) fn port_kind(value: &[u8]) -> PortKind {
    let value = value.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    if value >> PORT_IS_TUNNEL_BIT & 1 != 0 { PortKind::Tunnel } else { PortKind::Ordinary }
}
/// Which bit of it says that it is a tunnel.
pub(crate) const PORT_IS_TUNNEL_BIT: u32 = 49;

/// A tunnel port by its slot: network identifier (32 bits), source address (32 bits), and the header of the
/// Geneve option that stands for `tun_metadata0`, as it is in memory; 0 where there is none.
pub(crate) const TUNNEL_IDENTITY: i16 = 0;
pub(crate) const TUNNEL_OPTION: i16 = 8;
/// The length of that.
pub(crate) const TUNNEL_VALUE: usize = 16;

/// What is known of a learned address: when it was seen (64 bits, nanoseconds of CLOCK_BOOTTIME), and its
/// port (32 bits, then 32 unused). The key is the address in bits 63..16, and the VLAN in 11..0.
pub(crate) const FDB_SEEN: i16 = 0;
pub(crate) const FDB_PORT: i16 = 8;
/// The length of that.
pub(crate) const FDB_VALUE: usize = 16;

/// Lists of ports in the map of floods, each with its length before it: those that FLOOD and NORMAL send to,
/// and all, which have tunnels too.
pub(crate) const FLOOD_LIST: u64 = 0;
pub(crate) const ALL_LIST: u64 = 1 + PORTS as u64;
/// How long the map is.
pub(crate) const FLOOD_LISTS: u32 = 2 * (1 + PORTS);
/// How many ports a bridge can have.
pub(crate) const PORTS: u32 = 1024;

/// How many drop reasons a port's counters have room for.
pub(crate) const REASONS: usize = 33;
/// A reason as a function of the program returns it, from 1 up, is masked with this: the counters have room for each
/// number that is left.
pub(crate) const REASON_MASK: u64 = 31;
const _: () = assert!(DropReason::COUNT <= REASON_MASK as usize && (REASON_MASK as usize) < REASONS);
/// The length of a port's counters.
pub(crate) const PORT_COUNTERS: usize = DROPS as usize + 8 * REASONS;
