//! Table 90, IngressRule: the receivers' network policies, of which none are enforced yet; what is
//! established passes by them, and so does the node itself (its probes must reach its pods).

use super::{Category, TableId, bits, ct, ct_state, ip, resubmit};
use crate::state::NodeState;
use footbridge_openflow::{Field, Flow};

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    const TABLE: TableId = TableId::IngressRule;
    let established = ct_state(ip(), ct::EST, ct::NEW);
    let from_the_node = ip().with(Field::NwSrc, bits(state.subnet.gateway()));
    vec![
        TABLE.flow(state, Category::Default, 210, established, vec![resubmit(TableId::ConntrackCommit)]),
        TABLE.flow(state, Category::Default, 210, from_the_node, vec![resubmit(TableId::ConntrackCommit)]),
        TABLE.default_flow(state, vec![resubmit(TableId::IngressDefault)]),
    ]
}
