//! Table 70, L3Forwarding: packets that a peer sent or that go to a peer are routed.
//!
//! The global virtual MAC as destination says "route me": to the local gateway or a local pod. What
//! goes to a peer's subnet gets that MAC and the peer's address as the tunnel's destination; or, where
//! there is no tunnel to the peer, the gateway's MAC, for the host routes it. The rest is local traffic,
//! which needs no routing.

use super::{Category, TableId, bits, ip, load, output_port, resubmit, routed};
use crate::config::{GLOBAL_VIRTUAL_MAC, TUNNEL_PORT};
use crate::state::{NodeState, Way};
use footbridge_openflow::{Action, Field, Flow};

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    const TABLE: TableId = TableId::L3Forwarding;
    let to_be_routed =
        |address| ip().with(Field::EthDst, GLOBAL_VIRTUAL_MAC).with(Field::NwDst, bits(address));
    let mut flows = vec![TABLE.flow(
        state,
        Category::Default,
        200,
        to_be_routed(state.subnet.gateway()),
        vec![Action::ModDlDst(state.gateway_mac), resubmit(TableId::L2ForwardingCalc)],
    )];
    flows.extend(state.pods.iter().map(|pod| {
        let mut actions = routed(state.gateway_mac, pod.mac).to_vec();
        actions.extend([dec_ttl(), resubmit(TableId::L2ForwardingCalc)]);
        TABLE.flow(state, Category::Pod, 200, to_be_routed(pod.address), actions)
    }));
    flows.extend(state.peers.iter().map(|peer| {
        let to_peer = ip().with_masked(Field::NwDst, bits(peer.subnet.network()), peer.subnet.mask());
        let actions = match peer.way {
            Way::Tunnel => {
                let mut actions = vec![dec_ttl()];
                actions.extend(routed(state.gateway_mac, GLOBAL_VIRTUAL_MAC));
                actions.extend(output_port(TUNNEL_PORT));
                let tunnel = [load(Field::TunDst, bits(peer.address)), resubmit(TableId::ConntrackCommit)];
                actions.extend(tunnel);
                actions
            }
            Way::Segment | Way::Network => {
                vec![Action::ModDlDst(state.gateway_mac), resubmit(TableId::L2ForwardingCalc)]
            }
        };
        TABLE.flow(state, Category::Node, 200, to_peer, actions)
    }));
    flows.push(TABLE.default_flow(state, vec![resubmit(TableId::L2ForwardingCalc)]));
    flows
}

/// Bare `dec_ttl`.
fn dec_ttl() -> Action {
    Action::DecTtl(vec![0])
}
