//! The article's worker1, and nodes that are not the article's.

use super::*;
use crate::cluster::Cluster;
use crate::config::{EncapMode, NodeConfig};
use crate::identity::PortAssignments;
use crate::underlay::Underlay;
use footbridge_openflow::{PortNames, PortNo, text};
use std::collections::BTreeSet;

const ARTICLE: &str = include_str!("../../../footbridge/labs/article.yaml");
const SMALL: &str = include_str!("../../../footbridge/labs/small.yaml");

fn state(text: &str, node: &str) -> NodeState {
    let cluster = Cluster::parse("test", text).unwrap();
    let ports = PortAssignments::default().updated(cluster.pods_on(node)).unwrap();
    NodeState::derive(&cluster, &[], &NodeConfig::new(node), &ports, Round::FIRST, &Underlay::default())
        .unwrap()
}

/// The dump of the article's worker1, less what network policies made: cookie 0x105…, and in
/// tables 60 and 100 all but priority 0.
fn worker1_dump() -> Vec<Flow> {
    let names: PortNames = [
        (1, "antrea-tun0"),
        (2, "antrea-gw0"),
        (3, "coredns--3e3abf"),
        (4, "antrea-o-830766"),
        (48, "backend1-bab86f"),
        (49, "frontend-a3ba2f"),
    ]
    .into_iter()
    .map(|(number, name)| (PortNo(number), name))
    .collect();
    let dump = include_str!("../../tests/data/worker1.flows");
    let flows = dump.lines().map(|line| text::parse_flow(line, &names).unwrap());
    flows
        .filter(|f| f.cookie >> 40 != 0x0105)
        .filter(|f| !matches!(f.table, 60 | 100) || f.priority == 0)
        .collect()
}

#[test]
fn the_articles_worker1_has_the_articles_flows_in_the_articles_order() {
    let made = flows(&state(ARTICLE, "worker1"));
    let dump = worker1_dump();
    assert!(dump.len() > 40);
    for flow in &dump {
        assert!(made.contains(flow), "missing: {flow:#?}");
    }
    for flow in &made {
        assert!(dump.contains(flow), "too many: {flow:#?}");
    }
    assert_eq!(made, dump, "in this order");
}

#[test]
fn without_tunnels_peers_go_to_the_gateway_and_there_is_no_tunnel_port() {
    let cluster = Cluster::parse("test", ARTICLE).unwrap();
    let ports = PortAssignments::default().updated(cluster.pods_on("worker1")).unwrap();
    let config = NodeConfig { encap: EncapMode::NoEncap, ..NodeConfig::new("worker1") };
    let plain =
        NodeState::derive(&cluster, &[], &config, &ports, Round::FIRST, &Underlay::default()).unwrap();
    let names = PortNames::none();
    let text = |flow: &Flow| flow.display(&names).to_string().trim_start().to_owned();
    let with: Vec<String> = flows(&state(ARTICLE, "worker1")).iter().map(text).collect();
    let without: Vec<String> = flows(&plain).iter().map(text).collect();
    let only_without: Vec<&String> = without.iter().filter(|flow| !with.contains(flow)).collect();
    let to = |subnet: &str| {
        format!(
            "cookie=0x1020000000000, table=70, priority=200,ip,nw_dst={subnet} \
             actions=mod_dl_dst:4e:99:08:c1:53:be,resubmit(,80)"
        )
    };
    assert_eq!(only_without, [&to("10.222.0.0/24"), &to("10.222.2.0/24")]);
    // The tunnel's classification, and for each of two peers an answer and a way.
    assert_eq!(with.iter().filter(|flow| !without.contains(flow)).count(), 1 + 2 * 2);
}

#[test]
fn every_table_but_conntrack_ends_in_a_default() {
    for (text, node) in [(ARTICLE, "worker1"), (ARTICLE, "master"), (SMALL, "left"), (SMALL, "right")] {
        let flows = flows(&state(text, node));
        for table in TableId::ALL {
            let default = flows.iter().any(|f| f.table == table.number() && f.priority == 0);
            assert_eq!(default, *table != TableId::Conntrack, "table {} of {node}", table.name());
        }
    }
}

#[test]
fn no_two_flows_of_a_table_match_alike() {
    let flows = flows(&state(SMALL, "left"));
    let unique: BTreeSet<_> = flows.iter().map(|f| (f.table, f.priority, f.matching.clone())).collect();
    assert_eq!(unique.len(), flows.len());
}

#[test]
fn other_prefix_lengths_than_24_are_matched_whole() {
    let flows = flows(&state(SMALL, "left"));
    let to_right = Match::any().with(Field::EthType, 0x0800_u16).with_masked(
        Field::NwDst,
        0xac14_0400_u32,
        0xffff_fc00_u32,
    );
    assert!(flows.iter().any(|f| f.table == 70 && f.matching == to_right));
}

#[test]
fn a_peer_without_subnet_or_address_has_no_flow_and_is_waited_for() {
    let without = SMALL.replace("podCIDR: 172.20.4.0/22, podCIDRs: [172.20.4.0/22]", "");
    let waiting = state(&without, "left");
    assert_eq!(
        waiting.waiting.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["waiting for node right: it has no pod subnet (spec.podCIDR) yet"]
    );
    assert!(!flows(&waiting).iter().any(|f| f.cookie >> 40 & 0xff == Category::Node as u64));
}

#[test]
fn a_pods_own_flows_are_its_two_guards_and_its_ways() {
    let state = state(ARTICLE, "worker1");
    for pod in &state.pods {
        let own: Vec<u8> = flows_of(&state, pod).iter().map(|flow| flow.table).collect();
        assert_eq!(own, [0, 10, 10, 70, 80], "{}", pod.name);
    }
}
