//! Table 31, ConntrackState: connections that the host opened stay with the host.
//!
//! The host translates a service's address; both directions of such a connection must pass it. So
//! the reply of an endpoint, in a connection with the gateway's mark, gets the gateway's MAC as its
//! destination, whatever the endpoint wrote. What is invalid is dropped.

use super::registers::{Bits, GATEWAY_CT_MARK, Source};
use super::{Category, DROP, TableId, ct, ct_state, ip, load, resubmit};
use crate::state::NodeState;
use footbridge_openflow::{Field, Flow};

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    const TABLE: TableId = TableId::ConntrackState;
    let of_the_gateway = ct_state(ip(), ct::TRK, ct::NEW).with(Field::CtMark, GATEWAY_CT_MARK);
    vec![
        TABLE.flow(
            state,
            Category::Default,
            210,
            Bits::SOURCE.matching(of_the_gateway.clone(), Source::Gateway as u32),
            vec![resubmit(TableId::DNAT)],
        ),
        TABLE.flow(
            state,
            Category::Default,
            200,
            of_the_gateway,
            vec![load(Field::EthDst, state.gateway_mac), resubmit(TableId::DNAT)],
        ),
        TABLE.flow(state, Category::Default, 190, ct_state(ip(), ct::INV | ct::TRK, 0), DROP),
        TABLE.default_flow(state, vec![resubmit(TableId::DNAT)]),
    ]
}
