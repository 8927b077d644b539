//! Table 110, L2ForwardingOut: out by the port in the register, where one was found.

use super::registers::{Bits, OUT_PORT};
use super::{Category, DROP, TableId, ip};
use crate::state::NodeState;
use footbridge_openflow::{Action, Flow, Subfield};

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    const TABLE: TableId = TableId::L2ForwardingOut;
    let output = vec![Action::OutputReg { src: Subfield::whole(OUT_PORT) }];
    vec![
        TABLE.flow(state, Category::Default, 200, Bits::PORT_FOUND.matching(ip(), 1), output),
        TABLE.default_flow(state, DROP),
    ]
}
