//! Table 30, Conntrack: IP goes through the tracker, in the bridge's own zone. No miss flow: what is
//! not IP ends here.

use super::registers::CT_ZONE;
use super::{Category, TableId, ip};
use crate::state::NodeState;
use footbridge_openflow::Flow;
use footbridge_openflow::action::{Action, Ct, CtZone};

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    let track = Action::Ct(Box::new(Ct {
        commit: false,
        force: false,
        table: Some(TableId::ConntrackState.number()),
        zone: CtZone::Number(CT_ZONE),
        nat: None,
        alg: None,
        exec: Vec::new(),
    }));
    vec![TableId::Conntrack.flow(state, Category::Default, 200, ip(), vec![track])]
}
