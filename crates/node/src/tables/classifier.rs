//! Table 0, Classifier: where a packet comes from, noted in reg0.

use super::registers::{Bits, Source};
use super::{Category, DROP, TableId, resubmit};
use crate::config::{GATEWAY_PORT, TUNNEL_PORT};
use crate::state::NodeState;
use footbridge_openflow::{Action, Field, Flow, Match, PortNo, Subfield};

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    const TABLE: TableId = TableId::Classifier;
    let from = |port: PortNo| Match::any().with(Field::InPort, port.0);
    let trace_tag = Bits::TUNNEL_TRACE_TAG.subfield();
    let mut flows = vec![TABLE.flow(
        state,
        Category::Default,
        200,
        from(GATEWAY_PORT),
        vec![Source::Gateway.load(), resubmit(TableId::SpoofGuard)],
    )];
    if state.config.encap.tunnels() {
        let actions = vec![
            Action::Move { src: Subfield { field: Field::TunMetadata0, ..trace_tag }, dst: trace_tag },
            Source::Tunnel.load(),
            Bits::REWRITE_MAC.load(1),
            resubmit(TableId::Conntrack),
        ];
        flows.push(TABLE.flow(state, Category::Default, 200, from(TUNNEL_PORT), actions));
    }
    flows.extend(state.pods.iter().map(|pod| {
        let actions = vec![Source::Pod.load(), resubmit(TableId::SpoofGuard)];
        TABLE.flow(state, Category::Pod, 190, from(pod.port), actions)
    }));
    flows.push(TABLE.default_flow(state, DROP));
    flows
}
