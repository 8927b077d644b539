//! Table 60, EgressDefault: what no policy isolates may go.

use super::{TableId, resubmit};
use crate::state::NodeState;
use footbridge_openflow::Flow;

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    vec![TableId::EgressDefault.default_flow(state, vec![resubmit(TableId::L3Forwarding)])]
}
