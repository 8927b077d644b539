//! Table 50, EgressRule: the senders' network policies, of which none are enforced yet; what is
//! established passes by them.

use super::{Category, TableId, ct, ct_state, ip, resubmit};
use crate::state::NodeState;
use footbridge_openflow::Flow;

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    const TABLE: TableId = TableId::EgressRule;
    let established = ct_state(ip(), ct::EST, ct::NEW);
    vec![
        TABLE.flow(state, Category::Default, 210, established, vec![resubmit(TableId::L3Forwarding)]),
        TABLE.default_flow(state, vec![resubmit(TableId::EgressDefault)]),
    ]
}
