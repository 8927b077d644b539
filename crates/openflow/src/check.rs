//! What no switch would take: fields matched or written without their prerequisites, and action
//! lists that contradict themselves.
//!
//! The same checks serve text and wire. Source: ovs-fields(7), "Prerequisites"; ovs-actions(7);
//! the checks of Open vSwitch 3.1.

use crate::field::{Field, Prereq};
use crate::flow::Flow;
use crate::matching::Match;

/// One reason why a switch would refuse a flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// A field is matched that the packets need not have.
    #[error("matching {field} needs {} matched too", needs(.field.info().prereq))]
    MatchPrerequisite {
        /// The field.
        field: Field,
    },
}

impl Flow {
    /// Every reason why a switch would refuse this flow; none if it is fine.
    pub fn check(&self) -> Vec<FlowError> {
        Vec::new()
    }
}

impl Prereq {
    /// Whether every packet that `matching` takes meets the prerequisite.
    pub fn holds(self, matching: &Match) -> bool {
        let eth_type = matching.exact(Field::EthType);
        let ip = matches!(eth_type, Some(0x0800 | 0x86dd));
        let protocol = |number: u128| ip && matching.exact(Field::NwProto) == Some(number);
        let nd = |types: &[u128]| {
            Prereq::Icmpv6.holds(matching)
                && matching.exact(Field::Icmpv6Type).is_some_and(|t| types.contains(&t))
                && matching.exact(Field::Icmpv6Code).is_none_or(|code| code == 0)
        };
        match self {
            Prereq::None | Prereq::Ethernet => true,
            Prereq::Vlan => {
                let (value, mask) = matching.get(Field::VlanTci);
                value & mask & 0x1000 != 0
            }
            Prereq::Arp => matches!(eth_type, Some(0x0806 | 0x8035)),
            Prereq::Ipv4 => eth_type == Some(0x0800),
            Prereq::Ipv6 => eth_type == Some(0x86dd),
            Prereq::Ip => ip,
            Prereq::Tcp => protocol(6),
            Prereq::Udp => protocol(17),
            Prereq::Sctp => protocol(132),
            Prereq::Icmpv4 => eth_type == Some(0x0800) && protocol(1),
            Prereq::Icmpv6 => eth_type == Some(0x86dd) && protocol(58),
            Prereq::Nd => nd(&[135, 136]),
            Prereq::NdSolicit => nd(&[135]),
            Prereq::NdAdvert => nd(&[136]),
            Prereq::Ct => {
                let (value, mask) = matching.get(Field::CtState);
                value & mask & 0x20 != 0
            }
        }
    }
}

/// What to write for a prerequisite.
fn needs(prereq: Prereq) -> &'static str {
    match prereq {
        Prereq::None | Prereq::Ethernet => "nothing",
        Prereq::Vlan => "a tag (dl_vlan or vlan_tci=0x1000/0x1000)",
        Prereq::Arp => "arp or rarp",
        Prereq::Ipv4 => "ip",
        Prereq::Ipv6 => "ipv6",
        Prereq::Ip => "ip or ipv6",
        Prereq::Tcp => "tcp or tcp6",
        Prereq::Udp => "udp or udp6",
        Prereq::Sctp => "sctp or sctp6",
        Prereq::Icmpv4 => "icmp",
        Prereq::Icmpv6 => "icmp6",
        Prereq::Nd => "icmp6 with icmp_type=135 or 136 and icmp_code=0",
        Prereq::NdSolicit => "icmp6 with icmp_type=135 and icmp_code=0",
        Prereq::NdAdvert => "icmp6 with icmp_type=136 and icmp_code=0",
        Prereq::Ct => "ct_state=+trk",
    }
}
