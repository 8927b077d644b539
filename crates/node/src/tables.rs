//! The pipeline's tables: one file each, pure functions from [`NodeState`] to flows.
//!
//! # Contract
//!
//! [`flows`] is everything the bridge should hold, in the order in which a fresh bridge is filled.
//! It depends on the state alone; equal states give equal flows. For the article's worker1 it is
//! the dump in `tests/data/worker1.flows` less the network policies' flows.
//!
//! Every table ends in a flow of priority 0, but for table 30: a packet that is not IP has no
//! business there and misses.

mod arp_responder;
mod classifier;
mod conntrack;
mod conntrack_commit;
mod conntrack_state;
mod cookie;
mod dnat;
mod egress_default;
mod egress_rule;
mod ingress_default;
mod ingress_rule;
mod l2_forwarding_calc;
mod l2_forwarding_out;
mod l3_forwarding;
mod registers;
mod spoof_guard;

pub use cookie::{Category, Cookie, Round};
pub use registers::{CT_ZONE, MEANINGS, Meaning, OUT_PORT};

use crate::state::{LocalPod, NodeState};
use footbridge_openflow::{Action, Field, Flow, MacAddr, Match, Subfield};
use registers::Bits;
use std::net::Ipv4Addr;

macro_rules! tables {
    ($( $(#[$doc:meta])* $number:literal $variant:ident $module:ident; )*) => {
        /// The tables of the pipeline: number and name appear here and nowhere else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum TableId { $( $(#[$doc])* $variant = $number ),* }

        impl TableId {
            /// All tables, in the pipeline's order.
            pub const ALL: &[TableId] = &[ $( TableId::$variant ),* ];

            /// The table's name.
            pub fn name(self) -> &'static str {
                match self { $( TableId::$variant => stringify!($variant) ),* }
            }

            /// The table's flows.
            fn flows(self, state: &NodeState) -> Vec<Flow> {
                match self { $( TableId::$variant => $module::flows(state) ),* }
            }
        }
    };
}

tables! {
    /// Where a packet comes from.
    0 Classifier classifier;
    /// Whether its source addresses are its sender's.
    10 SpoofGuard spoof_guard;
    /// ARP: peers' gateways are answered for, the rest is switched.
    20 ARPResponder arp_responder;
    /// Connection tracking.
    30 Conntrack conntrack;
    /// What is known of the connection.
    31 ConntrackState conntrack_state;
    /// Traffic to services goes to the host.
    40 DNAT dnat;
    /// Network policies of the sender (none enforced).
    50 EgressRule egress_rule;
    /// What the sender's policies leave over.
    60 EgressDefault egress_default;
    /// Routing: to local pods and to peers.
    70 L3Forwarding l3_forwarding;
    /// The output port, from the destination MAC.
    80 L2ForwardingCalc l2_forwarding_calc;
    /// Network policies of the receiver (none enforced).
    90 IngressRule ingress_rule;
    /// What the receiver's policies leave over.
    100 IngressDefault ingress_default;
    /// New connections are committed.
    105 ConntrackCommit conntrack_commit;
    /// Output.
    110 L2ForwardingOut l2_forwarding_out;
}

/// Every flow that the bridge should hold.
pub fn flows(state: &NodeState) -> Vec<Flow> {
    TableId::ALL.iter().flat_map(|table| table.flows(state)).collect()
}

/// A pod's own flows: those that would not be there without it.
pub fn flows_of(state: &NodeState, pod: &LocalPod) -> Vec<Flow> {
    let mut without = state.clone();
    without.pods.retain(|other| other != pod);
    // The others are the same, in the same order.
    let mut others = flows(&without).into_iter().peekable();
    flows(state).into_iter().filter(|flow| others.next_if_eq(flow).is_none()).collect()
}

impl TableId {
    /// The table's number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// A flow of this table.
    fn flow(
        self,
        state: &NodeState,
        category: Category,
        priority: u16,
        matching: Match,
        actions: Vec<Action>,
    ) -> Flow {
        let cookie = Cookie::new(state.round, category, 0);
        Flow::new(self.number(), priority, cookie.bits(), matching, actions)
    }

    /// The flow that takes what no other does.
    fn default_flow(self, state: &NodeState, actions: Vec<Action>) -> Flow {
        self.flow(state, Category::Default, 0, Match::any(), actions)
    }
}

/// Nothing to do with a packet: the empty list of actions.
const DROP: Vec<Action> = Vec::new();

/// `resubmit(,TABLE)`
fn resubmit(table: TableId) -> Action {
    Action::Resubmit { port: None, table: Some(table.number()), with_ct_orig: false }
}

/// `load:VALUE->FIELD[]`
fn load(field: Field, value: impl Into<u128>) -> Action {
    Action::Load { value: value.into(), dst: Subfield::whole(field) }
}

/// `move:SRC[]->DST[]`
fn copy(src: Field, dst: Field) -> Action {
    Action::Move { src: Subfield::whole(src), dst: Subfield::whole(dst) }
}

/// An address as the number that fields hold.
fn bits(address: Ipv4Addr) -> u32 {
    u32::from(address)
}

/// `ip`
fn ip() -> Match {
    Match::any().with(Field::EthType, 0x0800_u16)
}

/// `arp`
fn arp() -> Match {
    Match::any().with(Field::EthType, 0x0806_u16)
}

/// `-new+est`, `-new+trk` and the like: the flags of `set`, and none of `unset`.
fn ct_state(matching: Match, set: u32, unset: u32) -> Match {
    matching.with_masked(Field::CtState, set, set | unset)
}

/// Bits of ct_state (ovs-fields(7)).
mod ct {
    pub(super) const NEW: u32 = 0x01;
    pub(super) const EST: u32 = 0x02;
    pub(super) const INV: u32 = 0x10;
    pub(super) const TRK: u32 = 0x20;
}

/// The output port is known: load it and say so.
fn output_port(port: footbridge_openflow::PortNo) -> [Action; 2] {
    [load(registers::OUT_PORT, port.0), Bits::PORT_FOUND.load(1)]
}

/// The MAC addresses of a frame that this node's gateway routed on.
fn routed(gateway: MacAddr, next_hop: MacAddr) -> [Action; 2] {
    [Action::ModDlSrc(gateway), Action::ModDlDst(next_hop)]
}

#[cfg(test)]
mod tests;
