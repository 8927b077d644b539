#![allow(clippy::unwrap_used, reason = "a test that can't look has failed")]

use super::*;

const ARTICLE: &str = include_str!("../../../footbridge/labs/article.yaml");

/// worker1's state in the article's cluster, changed.
fn worker1(change: impl FnOnce(&mut Cluster), config: &NodeConfig) -> Result<NodeState, StateError> {
    let mut cluster = Cluster::parse("article.yaml", ARTICLE).unwrap();
    change(&mut cluster);
    let ports = PortAssignments::default().updated(cluster.pods_on("worker1")).unwrap();
    let underlay = Underlay {
        networks: [("ens160".to_owned(), [(Ipv4Addr::new(10, 79, 1, 201), 24)].into())].into(),
        mtus: [("ens160".to_owned(), 1500)].into(),
    };
    NodeState::derive(&cluster, &[], config, &ports, Round::FIRST, &underlay)
}

fn set_subnet(node: &str, subnet: &str) -> impl FnOnce(&mut Cluster) {
    move |cluster| cluster.nodes.get_mut(node).unwrap().subnet = Some(subnet.parse().unwrap())
}

#[test]
fn a_peer_whose_subnet_would_cut_the_host_off_is_no_peer_and_the_others_are() {
    let config = NodeConfig::new("worker1");
    let state = worker1(set_subnet("worker2", "10.79.0.0/16"), &config).unwrap();
    let names: Vec<&str> = state.peers.iter().map(|peer| peer.name.as_str()).collect();
    assert_eq!(names, ["master"]);
    let said: Vec<String> = state.unusable.iter().map(ToString::to_string).collect();
    let expected = "node worker2 is no peer: its pod subnet 10.79.0.0/16 can't be used, for it has the address \
                    10.79.1.200 of node master in it; give the node another subnet (spec.podCIDR), or correct \
                    --service-cidr";
    assert_eq!(said, [expected]);
}

#[test]
fn an_own_subnet_among_the_service_addresses_is_refused() {
    let config = NodeConfig { service_cidr: "10.222.0.0/16".parse().unwrap(), ..NodeConfig::new("worker1") };
    let error = worker1(|_| {}, &config).unwrap_err().to_string();
    let expected = "this node's pod subnet 10.222.1.0/24 can't be used, for it and the service CIDR 10.222.0.0/16 \
                    have addresses in common; give node worker1 another subnet (spec.podCIDR), or correct \
                    --service-cidr";
    assert_eq!(error, expected);
}

#[test]
fn the_mode_and_the_peers_address_say_how_packets_go_to_it() {
    let ways = |encap| {
        let elsewhere = |cluster: &mut Cluster| {
            cluster.nodes.get_mut("worker2").unwrap().address = Some(Ipv4Addr::new(10, 79, 9, 202));
        };
        let state = worker1(elsewhere, &NodeConfig { encap, ..NodeConfig::new("worker1") }).unwrap();
        state.peers.iter().map(|peer| peer.way).collect::<Vec<_>>()
    };
    assert_eq!(ways(EncapMode::Encap), [Way::Tunnel, Way::Tunnel]);
    assert_eq!(ways(EncapMode::NoEncap), [Way::Segment, Way::Network]);
    assert_eq!(ways(EncapMode::Hybrid), [Way::Segment, Way::Tunnel]);
}

#[test]
fn an_uplink_that_is_not_there_is_waited_for() {
    let config = NodeConfig { uplink: Some("eth7".to_owned()), ..NodeConfig::new("worker1") };
    let error = worker1(|_| {}, &config).unwrap_err();
    assert_eq!(error, StateError::NoUplink("eth7".to_owned()));
}
