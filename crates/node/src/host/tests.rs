//! Diffs against a host that is a value.

use super::*;
use crate::cluster::Cluster;
use crate::config::{EncapMode, NodeConfig};
use crate::identity::PortAssignments;
use crate::tables::Round;
use crate::underlay::Underlay;
use proptest::prelude::*;

const ARTICLE: &str = include_str!("../../../footbridge/labs/article.yaml");

fn worker1() -> Desired {
    worker1_of(&NodeConfig::new("worker1"))
}

fn worker1_of(config: &NodeConfig) -> Desired {
    let cluster = Cluster::parse("article.yaml", ARTICLE).unwrap();
    let ports = PortAssignments::default().updated(cluster.pods_on("worker1")).unwrap();
    let underlay = Underlay {
        networks: [("ens160".to_owned(), [(Ipv4Addr::new(10, 79, 1, 201), 24)].into())].into(),
        mtus: [("ens160".to_owned(), 1500)].into(),
    };
    let state = NodeState::derive(&cluster, &[], config, &ports, Round::FIRST, &underlay).unwrap();
    Desired::of(&state, Wiring::OWN)
}

/// The same with a bridge that makes the gateway's device, and has done so.
fn worker1_with(guards: bool) -> Desired {
    let wiring = Wiring { gateway: GatewayKind::BridgePort { made: true }, guards };
    let own = worker1();
    let bridge_sides = own.bridge_sides.iter().filter(|name| **name != "antrea-gw0-p").cloned().collect();
    Desired { wiring, bridge_sides, ..own }
}

/// Take a step on the value, as the kernel would.
fn take(host: &mut Actual, step: &Step, desired: &Desired) {
    let next_index = host.links.values().map(|l| l.index).max().unwrap_or(0) + 1;
    match step {
        Step::CreateGateway { name, peer, mac, mtu } => {
            let end =
                |index, other, mac| Link { mac, mtu: *mtu, veth_peer: Some(other), ..pod_device(index) };
            host.links.insert(name.clone(), end(next_index, next_index + 1, Some(*mac)));
            host.links.insert(peer.clone(), end(next_index + 1, next_index, Some(MacAddr([2; 6]))));
            for key in ["send_redirects", "arp_announce", "rp_filter"] {
                host.sysctls.insert(format!("net/ipv4/conf/{name}/{key}"), "unset".to_owned());
            }
            host.sysctls.insert(format!("net/ipv6/conf/{peer}/disable_ipv6"), "0".to_owned());
        }
        Step::DeleteLink(name) => {
            let gone = host.links.remove(name);
            if let Some(peer) = gone.and_then(|l| l.veth_peer) {
                host.links.retain(|_, l| l.index != peer);
            }
            host.addresses.retain(|device, _| host.links.contains_key(device));
            if !host.links.contains_key(&desired.gateway) {
                host.routes.clear();
                host.neighbours.clear();
            }
        }
        Step::Firewall(change) => {
            host.firewall.guards.extend(change.guard.iter().cloned());
            host.firewall.guards.retain(|name| !change.unguard.contains(name));
            // What nft would list after the commands.
            let commands = change.commands();
            for command in commands["nftables"].as_array().unwrap() {
                if let Some(rule) = command.get("add").or(command.get("insert")).and_then(|c| c.get("rule")) {
                    let text = |key: &str| rule[key].as_str().unwrap().to_owned();
                    match (text("family").as_str(), text("table").as_str()) {
                        ("inet", "footbridge") => {
                            host.firewall.tunnel_rules.get_or_insert_default().insert(text("comment"));
                        }
                        ("ip", "footbridge") => {
                            host.firewall.masquerade.get_or_insert_default().rules.insert(text("comment"));
                        }
                        _ => {
                            let chain = firewall::Chain {
                                family: text("family"),
                                table: text("table"),
                                name: text("chain"),
                            };
                            host.firewall.forward.get_mut(&chain).unwrap().insert(text("comment"));
                        }
                    }
                } else if command["delete"]["table"]["family"] == "inet" {
                    host.firewall.tunnel_rules = Some(BTreeSet::new());
                } else if command["delete"]["table"]["family"] == "ip" {
                    host.firewall.masquerade = None;
                } else if let Some(element) = command.pointer("/add/element") {
                    let list = serde_json::json!({"nftables": [
                        {"set": {"family": "ip", "table": "footbridge", "name": "direct", "elem": element["elem"]}},
                    ]});
                    let listed = firewall::Firewall::parse(&list.to_string()).unwrap().masquerade.unwrap();
                    host.firewall.masquerade.get_or_insert_default().direct = listed.direct;
                }
            }
        }
        Step::SetSysctl { key, value } => drop(host.sysctls.insert(key.clone(), (*value).to_owned())),
        Step::DisableOffloads(name) => {
            host.plain.insert(host.links[name].index);
        }
        Step::SetMac(name, mac) => host.links.get_mut(name).unwrap().mac = Some(*mac),
        Step::SetMtu(name, mtu) => host.links.get_mut(name).unwrap().mtu = *mtu,
        Step::DelAddress(name, address, prefix) => {
            assert!(host.addresses.get_mut(name).unwrap().remove(&(*address, *prefix)));
        }
        Step::AddAddress(name, address, prefix) => {
            host.addresses.entry(name.clone()).or_default().insert((*address, *prefix));
            let subnet = Subnet::containing(*address, *prefix).unwrap();
            host.routes.insert(Route { subnet, over: Over::Gateway, via: None, onlink: false, metric: 0 });
        }
        Step::SetUp(name) => {
            assert!(
                !desired.bridge_sides.contains(name)
                    || host.firewall.guards.contains(name)
                    || host.links[name].in_bridge,
                "{name} goes up before the host's stack is kept from it"
            );
            host.links.get_mut(name).unwrap().up = true;
        }
        Step::PutRoute(route) => {
            host.routes.retain(|r| r.subnet != route.subnet || r.metric != route.metric);
            host.routes.insert(route.clone());
        }
        Step::DelRoute(route) => assert!(host.routes.remove(route)),
        Step::DelNeighbour(address) => host.neighbours.retain(|n| n.address != *address),
    }
}

/// Read, diff and apply until nothing is left; how often that took.
fn settle(host: &mut Actual, desired: &Desired) -> usize {
    for times in 0..6 {
        let steps = diff(desired, host).unwrap();
        if steps.is_empty() {
            return times;
        }
        // Deletions first, as `Kernel::apply` does with routes.
        let rank = |step: &Step| match step {
            Step::DelRoute(_) => 1,
            Step::PutRoute(_) => 2,
            _ => 0,
        };
        let mut steps = steps;
        steps.sort_by_key(rank);
        for step in &steps {
            take(host, step, desired);
        }
    }
    panic!("never settles; left: {:#?}", diff(desired, host));
}

fn pod_device(index: u32) -> Link {
    Link {
        index,
        up: false,
        mac: Some(MacAddr([2, 0, 0, 0, 0, 9])),
        mtu: 1450,
        veth_peer: Some(99),
        in_bridge: false,
    }
}

fn bare_host() -> Actual {
    let mut host = Actual::default();
    host.links.insert("frontend-a3ba2f".to_owned(), pod_device(10));
    host.sysctls.insert("net/ipv4/ip_forward".to_owned(), "0".to_owned());
    host.sysctls.insert("net/ipv4/conf/all/send_redirects".to_owned(), "1".to_owned());
    host
}

#[test]
fn a_bare_host_becomes_the_articles_worker1() {
    let (mut host, desired) = (bare_host(), worker1());
    assert!(settle(&mut host, &desired) <= 4);
    let via = |subnet: &str| {
        let subnet: Subnet = subnet.parse().unwrap();
        Route { subnet, over: Over::Gateway, via: Some(subnet.gateway()), onlink: true, metric: 0 }
    };
    assert!(host.routes.contains(&via("10.222.0.0/24")) && host.routes.contains(&via("10.222.2.0/24")));
    assert!(host.links["frontend-a3ba2f"].up && host.links["antrea-gw0-p"].up && host.links["antrea-gw0"].up);
    assert_eq!(host.links["antrea-gw0"].mtu, 1450);
    assert_eq!(host.sysctls["net/ipv4/ip_forward"], "1");
    assert_eq!(host.firewall.tunnel_rules.as_ref().unwrap().len(), 2);
}

#[test]
fn a_neighbour_written_by_hand_or_wrong_is_forgotten_and_a_right_one_kept() {
    let (mut host, desired) = (bare_host(), worker1());
    settle(&mut host, &desired);
    let entry = |last, mac, fixed| Neighbour { address: Ipv4Addr::new(10, 222, last, 1), mac, fixed };
    host.neighbours = BTreeSet::from([
        entry(0, GLOBAL_VIRTUAL_MAC, false),
        entry(2, GLOBAL_VIRTUAL_MAC, true),
        entry(9, GLOBAL_VIRTUAL_MAC, false),
        entry(1, MacAddr([2; 6]), false),
    ]);
    settle(&mut host, &desired);
    let left: Vec<_> = host.neighbours.iter().map(|n| n.address.octets()[2]).collect();
    assert_eq!(left, [0, 1], "those of the peer that asked and of a local pod");
}

#[test]
fn an_administrators_own_route_over_the_gateway_is_left_alone_and_a_stale_peers_removed() {
    let (mut host, desired) = (bare_host(), worker1());
    settle(&mut host, &desired);
    let own = Route {
        subnet: "192.168.7.0/24".parse().unwrap(),
        over: Over::Gateway,
        via: Some(Ipv4Addr::new(10, 222, 1, 47)),
        onlink: false,
        metric: 0,
    };
    let stale = Route {
        subnet: "10.222.9.0/24".parse().unwrap(),
        over: Over::Gateway,
        via: Some(Ipv4Addr::new(10, 222, 9, 1)),
        onlink: true,
        metric: 0,
    };
    host.routes.extend([own.clone(), stale.clone()]);
    settle(&mut host, &desired);
    assert!(host.routes.contains(&own) && !host.routes.contains(&stale));
}

#[test]
fn without_tunnels_peers_are_routed_to_their_addresses_and_what_the_tunnels_needed_goes() {
    let (mut host, tunnels) = (bare_host(), worker1());
    settle(&mut host, &tunnels);
    host.neighbours =
        [Neighbour { address: Ipv4Addr::new(10, 222, 2, 1), mac: GLOBAL_VIRTUAL_MAC, fixed: false }].into();
    let plain = worker1_of(&NodeConfig { encap: EncapMode::NoEncap, ..NodeConfig::new("worker1") });
    settle(&mut host, &plain);
    let route = |third: u8, node: u8| Route {
        subnet: Subnet::containing(Ipv4Addr::new(10, 222, third, 0), 24).unwrap(),
        over: Over::Device("ens160".to_owned()),
        via: Some(Ipv4Addr::new(10, 79, 1, node)),
        onlink: false,
        metric: 0,
    };
    let peers: Vec<&Route> = host.routes.iter().filter(|route| route.via.is_some()).collect();
    assert_eq!(peers, [&route(0, 200), &route(2, 202)]);
    assert!(host.neighbours.is_empty());
    assert_eq!(host.links["antrea-gw0"].mtu, 1500);
    assert_eq!(host.firewall.tunnel_rules, Some(BTreeSet::new()));
    let direct = host.firewall.masquerade.as_ref().unwrap().direct.clone();
    let text = |address: u32| Ipv4Addr::from(address).to_string();
    let direct: Vec<String> = direct.iter().map(|(a, b)| format!("{}-{}", text(*a), text(*b))).collect();
    let expected = [
        "10.79.1.200-10.79.1.200",
        "10.79.1.202-10.79.1.202",
        "10.222.0.0-10.222.0.255",
        "10.222.2.0-10.222.2.255",
    ];
    assert_eq!(direct, expected);
    settle(&mut host, &tunnels);
    assert!(host.routes.iter().all(|route| route.over == Over::Gateway) && host.routes.len() == 3);
}

#[test]
fn masquerading_can_be_switched_off_and_on() {
    let mut host = bare_host();
    let off = worker1_of(&NodeConfig { masquerade: false, ..NodeConfig::new("worker1") });
    settle(&mut host, &worker1());
    let rules = host.firewall.masquerade.clone().unwrap().rules;
    assert_eq!(rules, ["masquerade 10.222.1.0/24 out of the cluster, not over antrea-gw0".to_owned()].into());
    settle(&mut host, &off);
    assert_eq!(host.firewall.masquerade, None);
    settle(&mut host, &worker1());
    assert!(host.firewall.masquerade.is_some());
}

#[test]
fn a_configured_mtu_wins_over_the_uplinks() {
    let config = NodeConfig { mtu: Some(1300), ..NodeConfig::new("worker1") };
    assert_eq!(worker1_of(&config).mtu, 1300);
}

#[test]
fn refuses_a_gateway_name_that_another_device_has() {
    let (mut host, desired) = (bare_host(), worker1());
    host.links.insert("antrea-gw0".to_owned(), Link { veth_peer: None, ..pod_device(3) });
    let error = diff(&desired, &host).unwrap_err().to_string();
    assert!(error.contains("antrea-gw0 is there and is none of ours"));
}

/// A host with the gateway's device as a bridge in user space makes it.
fn host_with_a_bridges_gateway() -> Actual {
    let mut host = bare_host();
    host.links.insert("antrea-gw0".to_owned(), Link { veth_peer: None, ..pod_device(3) });
    host
}

#[test]
fn a_gateway_that_the_bridge_made_is_given_all_a_veth_pair_is_and_no_other_end() {
    let (mut host, desired) = (host_with_a_bridges_gateway(), worker1_with(true));
    settle(&mut host, &desired);
    let gateway = &host.links["antrea-gw0"];
    assert_eq!((gateway.up, gateway.mtu, gateway.mac), (true, 1450, Some(desired.gateway_mac)));
    assert_eq!(host.addresses["antrea-gw0"], [(Ipv4Addr::new(10, 222, 1, 1), 24)].into());
    assert_eq!(host.routes.len(), 3);
    assert_eq!(host.firewall.guards, ["frontend-a3ba2f".to_owned()].into());
    assert!(!host.links.contains_key("antrea-gw0-p") && host.links["frontend-a3ba2f"].up);
}

#[test]
fn a_bridge_in_the_kernel_gets_no_guards_and_loses_those_that_would_cut_it_off() {
    let (mut host, desired) = (host_with_a_bridges_gateway(), worker1_with(false));
    host.firewall.guards = ["frontend-a3ba2f".to_owned(), "antrea-gw0-p".to_owned()].into();
    settle(&mut host, &desired);
    assert_eq!(host.firewall.guards, BTreeSet::new());
    assert!(!host.links["frontend-a3ba2f"].up, "the bridge has not taken it yet");
    host.links.get_mut("frontend-a3ba2f").unwrap().in_bridge = true;
    settle(&mut host, &desired);
    assert!(host.links["frontend-a3ba2f"].up);
}

#[test]
fn a_veth_pair_makes_room_for_the_bridges_gateway_and_anything_else_is_left_alone() {
    let (mut host, own) = (bare_host(), worker1());
    settle(&mut host, &own);
    let mut desired = worker1_with(true);
    desired.wiring.gateway = GatewayKind::BridgePort { made: false };
    assert_eq!(diff(&desired, &host), Ok(vec![Step::DeleteLink("antrea-gw0".to_owned())]));
    take(&mut host, &Step::DeleteLink("antrea-gw0".to_owned()), &desired);
    assert_eq!(diff(&desired, &host), Err(GatewayError::Absent("antrea-gw0".to_owned())));
    let host = host_with_a_bridges_gateway();
    assert_eq!(diff(&desired, &host), Err(GatewayError::Taken("antrea-gw0".to_owned())));
}

/// The host settles; device `name` stays as it was.
fn is_left_alone(name: &str, mut host: Actual, why: Refusal) {
    let desired = worker1();
    assert_eq!(refused(&desired, &host), BTreeMap::from([(name.to_owned(), why)]));
    host.sysctls.insert(disable_ipv6(name), "0".to_owned());
    let before = host.clone();
    settle(&mut host, &desired);
    assert_eq!(
        (host.links.get(name), host.addresses.get(name)),
        (before.links.get(name), before.addresses.get(name))
    );
    assert!(!host.firewall.guards.contains(name));
    assert_eq!(host.sysctls[&disable_ipv6(name)], "0");
    assert!(host.links["frontend-a3ba2f"].up && host.links["antrea-gw0"].up, "the others go on");
}

#[test]
fn a_host_device_that_a_pods_annotation_names_is_left_alone() {
    let name = "backend1-bab86f";
    let with = |link: Link, address: Option<[u8; 4]>| {
        let mut host = bare_host();
        host.links.insert(name.to_owned(), link);
        let address = address.map(|address| (Ipv4Addr::from(address), 24));
        host.addresses.insert(name.to_owned(), address.into_iter().collect());
        host
    };
    let no_veth = Link { veth_peer: None, ..pod_device(30) };
    is_left_alone(name, with(no_veth.clone(), None), Refusal::NotVeth);
    is_left_alone(name, with(no_veth, Some([192, 0, 2, 9])), Refusal::NotVeth);
    let node = Refusal::Uplink(Ipv4Addr::new(10, 79, 1, 201));
    is_left_alone(name, with(pod_device(30), Some([10, 79, 1, 201])), node);
    is_left_alone(name, with(pod_device(30), Some([192, 0, 2, 9])), Refusal::InUse);
    let mut ipv6 = with(pod_device(30), None);
    ipv6.global_ipv6.insert(name.to_owned());
    is_left_alone(name, ipv6, Refusal::InUse);
}

#[test]
fn a_pods_fresh_device_may_have_a_link_local_address_and_a_guarded_one_loses_any() {
    let (mut host, desired) = (bare_host(), worker1());
    let give = |host: &mut Actual, address: [u8; 4]| {
        let addresses = BTreeSet::from([(Ipv4Addr::from(address), 16)]);
        host.addresses.insert("frontend-a3ba2f".to_owned(), addresses);
    };
    give(&mut host, [169, 254, 3, 4]);
    settle(&mut host, &desired);
    assert!(host.links["frontend-a3ba2f"].up && host.addresses["frontend-a3ba2f"].is_empty());
    give(&mut host, [192, 0, 2, 9]);
    assert_eq!(refused(&desired, &host), BTreeMap::new());
    settle(&mut host, &desired);
    assert!(host.addresses["frontend-a3ba2f"].is_empty());
}

#[test]
fn a_forward_chain_with_policy_drop_gets_both_accepts_once() {
    let (mut host, desired) = (bare_host(), worker1());
    let chain = firewall::Chain { family: "ip".into(), table: "filter".into(), name: "FORWARD".into() };
    host.firewall.forward.insert(chain.clone(), BTreeSet::new());
    settle(&mut host, &desired);
    assert_eq!(host.firewall.forward[&chain].len(), 2);
}

prop_compose! {
    fn a_route()(third in 0u8..6, prefix in 22u8..=26, gateway in any::<bool>(), onlink: bool, metric in 0u32..3)
        -> Route {
        let subnet = Subnet::containing(Ipv4Addr::new(10, 222, third, 0), prefix).unwrap();
        let via = (gateway || onlink).then(|| subnet.gateway());
        Route { subnet, over: Over::Gateway, via, onlink, metric }
    }
}

prop_compose! {
    /// A host on which things were left behind, half made or changed by hand.
    fn a_host()(
        links in proptest::collection::btree_map(
            prop_oneof![Just("antrea-gw0"), Just("antrea-gw0-p"), Just("backend1-bab86f"), Just("frontend-a3ba2f")],
            (1u32..5, any::<bool>(), 1000u32..1600, 1u32..5), 0..4),
        routes in proptest::collection::btree_set(a_route(), 0..8),
        guards in proptest::collection::btree_set(
            prop_oneof![Just("antrea-gw0-p"), Just("backend1-bab86f"), Just("old-pod-123456")], 0..3),
        tunnel in proptest::option::of(Just(BTreeSet::from(["other".to_owned()]))),
        address in proptest::option::of((0u8..4, 20u8..30)),
    ) -> Actual {
        let mut host = bare_host();
        for (n, (name, (_, up, mtu, peer))) in (20..).zip(links) {
            let (mac, veth_peer) = (Some(MacAddr([2; 6])), Some(19 + peer));
            let link = Link { index: n, up, mac, mtu, veth_peer, in_bridge: false };
            host.links.insert(name.to_owned(), link);
        }
        if let (Some((last, prefix)), true) = (address, host.links.contains_key("antrea-gw0")) {
            let address = (Ipv4Addr::new(10, 222, 1, last), prefix);
            host.addresses.insert("antrea-gw0".to_owned(), BTreeSet::from([address]));
        }
        if host.links.contains_key("antrea-gw0") {
            // One route a destination and metric, as in the kernel.
            for route in routes {
                if !host.routes.iter().any(|r| r.subnet == route.subnet && r.metric == route.metric) {
                    host.routes.insert(route);
                }
            }
        }
        host.firewall.guards = guards.into_iter().map(str::to_owned).collect();
        host.firewall.tunnel_rules = tunnel;
        host
    }
}

proptest! {
    #[test]
    fn whatever_was_there_becomes_what_is_wanted_and_stays(host in a_host()) {
        let desired = worker1();
        let mut host = host;
        settle(&mut host, &desired);
        prop_assert_eq!(diff(&desired, &host).unwrap(), vec![]);
        for route in desired.routes() {
            prop_assert!(host.routes.contains(&route));
        }
        for route in &host.routes {
            prop_assert!(!route.onlink || desired.routes().contains(route));
        }
        prop_assert!(!host.firewall.guards.contains("old-pod-123456"));
    }
}
