//! The one list of reasons for a packet to go nowhere, for evaluator, kernel counters, walk and
//! metrics alike.

use core::fmt;

macro_rules! reasons {
    ($( $variant:ident $name:literal $description:literal; )*) => {
        /// Why a packet, or a copy of it, went nowhere.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $( #[doc = $description] $variant ),* }

        static ROWS: &[(DropReason, &str, &str)] = &[ $( (DropReason::$variant, $name, $description) ),* ];

        impl DropReason {
            /// How many reasons there are.
            pub const COUNT: usize = [ $( $name ),* ].len();
        }
    };
}

// One row a reason: variant, name (in metrics and in `drop: NAME (table N)`), description.
reasons! {
    NoFlow         "no_flow"         "no flow of the table takes the packet";
    FlowDrop       "flow_drop"       "the last flow that took the packet sends it nowhere";
    NoSuchPort     "no_such_port"    "the output port does not exist";
    BackToInPort   "back_to_in_port" "the output port is the one the packet came in on";
    TtlExpired     "ttl_expired"     "the TTL or hop limit ran out";
    TunnelToSelf   "tunnel_to_self"  "the output is a tunnel to the address that the packet was tunnelled to";
    NoTunnelDst    "no_tunnel_dst"   "the output is a tunnel and the packet has no tunnel destination";
    ReservedMulticast "reserved_multicast" "NORMAL does not forward to 01:80:c2:00:00:0x and other addresses reserved for switches";
    NormalInPort   "normal_in_port"  "NORMAL learned the destination on the port the packet came in on";
    NormalTunnel   "normal_tunnel"   "NORMAL learned the destination behind a tunnel";
    NormalNoPort   "normal_no_port"  "NORMAL or a flood found no port to send to";
    UnknownInPort  "unknown_in_port" "NORMAL does not take packets from a port that does not exist";
    PartialVlan    "partial_vlan"    "the frame ends within its VLAN tag";
    TooDeep        "too_deep"        "more than 64 nested lookups in the same or lower tables";
    TooManyResubmits "too_many_resubmits" "more than 4096 lookups for one packet after the first";
    StackFull      "stack_full"      "64 kB of pushed values when a table is to be looked up";
    Malformed      "malformed"       "too short for an Ethernet header";
    // The datapath's own.
    TunnelHeader   "tunnel_header"   "no valid tunnel header on what came to the tunnel's UDP port";
    TunnelId       "tunnel_id"       "the tunnel header has another network's identifier";
    TooBig         "too_big"         "longer than the output device or the tunnel's path can carry";
    Congestion     "congestion"      "the output device's queue was full";
    PortDown       "port_down"       "the output device is down or gone";
    Unreachable    "unreachable"     "no route leads to the tunnel's destination";
    SendError      "send_error"      "the kernel refused the frame";
    NoController   "no_controller"   "meant for a controller, and none is connected";
}

impl DropReason {
    /// Every reason, in the order of their numbers.
    pub fn all() -> impl ExactSizeIterator<Item = DropReason> {
        ROWS.iter().map(|(reason, ..)| *reason)
    }

    /// The reason's name, of lower-case letters, digits and underscores.
    pub fn name(self) -> &'static str {
        ROWS[self as usize].1
    }

    /// What the reason means, in a phrase.
    pub fn description(self) -> &'static str {
        ROWS[self as usize].2
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
