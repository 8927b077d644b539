//! Table 105, ConntrackCommit: new connections are entered; those that the gateway opens get its
//! mark, by which table 31 finds their replies.

use super::registers::{Bits, CT_ZONE, GATEWAY_CT_MARK, Source};
use super::{Category, TableId, ct, ct_state, ip, load, resubmit};
use crate::state::NodeState;
use footbridge_openflow::action::{Action, Ct, CtZone};
use footbridge_openflow::{Field, Flow};

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    const TABLE: TableId = TableId::ConntrackCommit;
    let new = ct_state(ip(), ct::NEW | ct::TRK, 0);
    vec![
        TABLE.flow(
            state,
            Category::Default,
            200,
            Bits::SOURCE.matching(new.clone(), Source::Gateway as u32),
            vec![commit(vec![load(Field::CtMark, GATEWAY_CT_MARK)])],
        ),
        TABLE.flow(state, Category::Default, 190, new, vec![commit(Vec::new())]),
        TABLE.default_flow(state, vec![resubmit(TableId::L2ForwardingOut)]),
    ]
}

fn commit(exec: Vec<Action>) -> Action {
    Action::Ct(Box::new(Ct {
        commit: true,
        force: false,
        table: Some(TableId::L2ForwardingOut.number()),
        zone: CtZone::Number(CT_ZONE),
        nat: None,
        alg: None,
        exec,
    }))
}
