//! Table 20, ARPResponder: peers' gateways are answered for with the global virtual MAC, so that
//! the host's question never leaves the node; other ARP is switched as usual. About a peer without a
//! tunnel the host asks nobody here.

use super::{Category, DROP, TableId, arp, bits, copy, load};
use crate::config::GLOBAL_VIRTUAL_MAC;
use crate::state::{NodeState, Way};
use footbridge_openflow::{Action, Field, Flow, PortNo};

const REQUEST: u16 = 1;
const REPLY: u16 = 2;

pub(super) fn flows(state: &NodeState) -> Vec<Flow> {
    const TABLE: TableId = TableId::ARPResponder;
    let mut flows: Vec<Flow> = state
        .peers
        .iter()
        .filter(|peer| peer.way == Way::Tunnel)
        .map(|peer| {
            let gateway = bits(peer.subnet.gateway());
            let question = arp().with(Field::ArpTpa, gateway).with(Field::ArpOp, REQUEST);
            // The request becomes its own answer.
            let answer = vec![
                copy(Field::EthSrc, Field::EthDst),
                Action::ModDlSrc(GLOBAL_VIRTUAL_MAC),
                load(Field::ArpOp, REPLY),
                copy(Field::ArpSha, Field::ArpTha),
                load(Field::ArpSha, GLOBAL_VIRTUAL_MAC),
                copy(Field::ArpSpa, Field::ArpTpa),
                load(Field::ArpSpa, gateway),
                Action::output(PortNo::IN_PORT),
            ];
            TABLE.flow(state, Category::Node, 200, question, answer)
        })
        .collect();
    flows.push(TABLE.flow(state, Category::Default, 190, arp(), vec![Action::output(PortNo::NORMAL)]));
    flows.push(TABLE.default_flow(state, DROP));
    flows
}
