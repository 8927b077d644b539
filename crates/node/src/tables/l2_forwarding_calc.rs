//! Table 80, L2ForwardingCalc: the output port of each local MAC address.

use super::{Category, TableId, output_port, resubmit};
use crate::config::GATEWAY_PORT;
use crate::state::NodeState;
use footbridge_openflow::{Field, Flow, MacAddr, Match, PortNo};

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    const TABLE: TableId = TableId::L2ForwardingCalc;
    let flow = |category, mac: MacAddr, port: PortNo| {
        let mut actions = output_port(port).to_vec();
        actions.push(resubmit(TableId::IngressRule));
        TABLE.flow(state, category, 200, Match::any().with(Field::EthDst, mac), actions)
    };
    let mut flows = vec![flow(Category::Default, state.gateway_mac, GATEWAY_PORT)];
    flows.extend(state.pods.iter().map(|pod| flow(Category::Pod, pod.mac, pod.port)));
    flows.push(TABLE.default_flow(state, vec![resubmit(TableId::IngressRule)]));
    flows
}
