//! Table 100, IngressDefault: what no policy isolates may come.

use super::{TableId, resubmit};
use crate::state::NodeState;
use footbridge_openflow::Flow;

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    vec![TableId::IngressDefault.default_flow(state, vec![resubmit(TableId::ConntrackCommit)])]
}
