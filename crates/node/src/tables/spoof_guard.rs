//! Table 10, SpoofGuard: what a port sends must bear the port's own addresses.
//!
//! The gateway may send IP from anywhere (it routes), but ARP only as itself. A pod may send ARP
//! and IP only with its own MAC and address. Everything else, IPv6 included, is dropped.

use super::{Category, DROP, TableId, arp, bits, ip, resubmit};
use crate::config::GATEWAY_PORT;
use crate::state::NodeState;
use footbridge_openflow::{Field, Flow};

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    const TABLE: TableId = TableId::SpoofGuard;
    let mut flows = vec![
        TABLE.flow(
            state,
            Category::Default,
            200,
            ip().with(Field::InPort, GATEWAY_PORT.0),
            vec![resubmit(TableId::Conntrack)],
        ),
        TABLE.flow(
            state,
            Category::Default,
            200,
            arp()
                .with(Field::InPort, GATEWAY_PORT.0)
                .with(Field::ArpSpa, bits(state.subnet.gateway()))
                .with(Field::ArpSha, state.gateway_mac),
            vec![resubmit(TableId::ARPResponder)],
        ),
    ];
    flows.extend(state.pods.iter().map(|pod| {
        let own = arp()
            .with(Field::InPort, pod.port.0)
            .with(Field::ArpSpa, bits(pod.address))
            .with(Field::ArpSha, pod.mac);
        TABLE.flow(state, Category::Pod, 200, own, vec![resubmit(TableId::ARPResponder)])
    }));
    flows.extend(state.pods.iter().map(|pod| {
        let own = ip()
            .with(Field::InPort, pod.port.0)
            .with(Field::EthSrc, pod.mac)
            .with(Field::NwSrc, bits(pod.address));
        TABLE.flow(state, Category::Pod, 200, own, vec![resubmit(TableId::Conntrack)])
    }));
    flows.push(TABLE.default_flow(state, DROP));
    flows
}
