//! What became of a packet.

use crate::drop_reason::DropReason;
use crate::packet::TunnelKey;
use core::fmt;
use footbridge_openflow::PortNo;

/// What became of one packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Frames to send, in the order in which the actions sent them.
    pub outputs: Vec<Output>,
    /// Packets for the controllers.
    pub packet_ins: Vec<PacketIn>,
    /// Why the packet went nowhere: set exactly where there is no output and nothing for the
    /// controllers but word of an expired TTL.
    pub drop: Option<Drop>,
    /// Further copies that went nowhere, to be counted beside `drop`: outputs that an action asked
    /// for and that did not happen, lists that a TTL ended.
    pub lost: Vec<Drop>,
}

/// One frame to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Where to; a port of the state's [`PortSet`](crate::PortSet).
    pub port: PortNo,
    /// What.
    pub frame: Vec<u8>,
    /// The tunnel header's fields, for a tunnel port.
    pub tunnel: TunnelKey,
    /// The port's queue that `set_queue` or `enqueue` chose.
    pub queue: Option<u32>,
}

/// One packet for the controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketIn {
    /// Why, by OpenFlow 1.4's OFPR_* (0 no match, 1 action, 2 invalid TTL, 3 action set, 5 packet-out).
    pub reason: u8,
    /// The table whose flow sent it, or in which none took it.
    pub table: u8,
    /// That flow's cookie; all ones where no flow sent it.
    pub cookie: u64,
    /// Whether that flow is the table-miss flow: of priority 0, taking every packet. OpenFlow 1.3 and
    /// later then say "no match" of a plain output to the controllers.
    pub table_miss: bool,
    /// Which controllers.
    pub controller: u16,
    /// Where the packet came in.
    pub in_port: PortNo,
    /// The frame, whole whatever `max_len` says: nothing is buffered, of which that is the limit
    /// (OpenFlow 1.0.0 §5.4.1).
    pub frame: Vec<u8>,
    /// The packet's fields, for the metadata that goes along.
    pub key: footbridge_openflow::Key,
    /// Bytes from the action.
    pub userdata: Vec<u8>,
}

impl PacketIn {
    /// OFPR_NO_MATCH
    pub const NO_MATCH: u8 = 0;
    /// OFPR_ACTION
    pub const ACTION: u8 = 1;
    /// OFPR_INVALID_TTL
    pub const INVALID_TTL: u8 = 2;
    /// OFPR_ACTION_SET
    pub const ACTION_SET: u8 = 3;
    /// OFPR_PACKET_OUT
    pub const PACKET_OUT: u8 = 5;

    /// Whether this only tells that a TTL expired: the packet itself went nowhere.
    pub fn is_of_expired_ttl(&self) -> bool {
        self.reason == PacketIn::INVALID_TTL
    }
}

/// Why a packet went nowhere, and where it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Drop {
    /// Why.
    pub reason: DropReason,
    /// The table looked up last, or that of the flow whose output was lost.
    pub table: u8,
}

impl fmt::Display for Drop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (table {})", self.reason, self.table)
    }
}
