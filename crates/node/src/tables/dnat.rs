//! Table 40, DNAT: what goes to a service's address goes to the host, which chooses the endpoint.

use super::{Category, TableId, bits, ip, output_port, resubmit};
use crate::config::GATEWAY_PORT;
use crate::state::NodeState;
use footbridge_openflow::{Action, Field, Flow};

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    const TABLE: TableId = TableId::DNAT;
    let services = state.config.service_cidr;
    let to_services = ip().with_masked(Field::NwDst, bits(services.network()), services.mask());
    let mut to_the_host = vec![Action::ModDlDst(state.gateway_mac)];
    to_the_host.extend(output_port(GATEWAY_PORT));
    to_the_host.push(resubmit(TableId::ConntrackCommit));
    vec![
        TABLE.flow(state, Category::Service, 200, to_services, to_the_host),
        TABLE.default_flow(state, vec![resubmit(TableId::EgressRule)]),
    ]
}
