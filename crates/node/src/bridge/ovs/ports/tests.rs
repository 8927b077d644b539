//! Changes of a database that is a value.

use super::*;
use footbridge_openflow::PortNo;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const BRIDGE: &str = "br-int";

fn port(number: u32, name: &str, role: Role) -> WantedPort {
    WantedPort { number: PortNo(number), name: name.to_owned(), role }
}

fn wanted() -> Vec<WantedPort> {
    let local = Some(Ipv4Addr::new(10, 79, 1, 201));
    vec![
        port(1, "antrea-tun0", Role::Tunnel { kind: TunnelType::Geneve, udp_port: 6081, local }),
        port(2, "antrea-gw0", Role::Gateway { mtu: 1450 }),
        port(3, "coredns--3e3abf", Role::Pod),
        port(49, "frontend-a3ba2f", Role::Pod),
    ]
}

fn links<const N: usize>(devices: [(&str, u32); N]) -> BTreeMap<String, Link> {
    let link = |index| Link { index, up: true, mac: None, mtu: 1450, veth_peer: Some(1), in_bridge: false };
    devices.into_iter().map(|(name, index)| (name.to_owned(), link(index))).collect()
}

fn both() -> BTreeMap<String, Link> {
    links([("coredns--3e3abf", 7), ("frontend-a3ba2f", 8)])
}

/// Carry out a command, as ovs-vsctl and ovs-vswitchd would.
fn carry_out(snapshot: &mut Snapshot, command: &Command) {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--if-exists", "del-port", BRIDGE, name] => drop(snapshot.ports.remove(*name)),
        ["--may-exist", "add-port", BRIDGE, name] => {
            snapshot.ports.entry((*name).to_owned()).or_default();
        }
        ["clear", "Interface", name, "options", "mtu_request"] => {
            let port = snapshot.ports.get_mut(*name).unwrap();
            port.options.clear();
            port.mtu_requested = None;
        }
        ["set", table, name, columns @ ..] => {
            let port = snapshot.ports.get_mut(*name).unwrap();
            for column in columns {
                let (column, value) = column.split_once('=').unwrap();
                match (*table, column) {
                    ("Port", "external_ids:footbridge") => port.ours = true,
                    ("Interface", "type") => port.kind = value.trim_matches('"').to_owned(),
                    ("Interface", "ofport_request") => {
                        port.number_requested = value.parse().ok();
                        port.number = port.number_requested;
                    }
                    ("Interface", "mtu_request") => port.mtu_requested = value.parse().ok(),
                    ("Interface", "external_ids:footbridge-ifindex") => port.device = value.parse().ok(),
                    ("Interface", option) => {
                        let option = option.strip_prefix("options:").unwrap();
                        port.options.insert(option.to_owned(), value.to_owned());
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        other => panic!("{other:?}"),
    }
}

/// Change until nothing is left to do, which is after once.
fn settle(snapshot: &mut Snapshot, wanted: &[WantedPort], links: &BTreeMap<String, Link>) -> Changes {
    let changes = diff(BRIDGE, wanted.iter(), snapshot, links);
    for command in changes.remove.iter().chain(changes.make.iter().flat_map(|make| &make.commands)) {
        carry_out(snapshot, command);
    }
    assert_eq!(diff(BRIDGE, wanted.iter(), snapshot, links), Changes::default(), "settled");
    changes
}

fn settled() -> Snapshot {
    let mut snapshot = Snapshot::default();
    settle(&mut snapshot, &wanted(), &both());
    snapshot
}

#[test]
fn an_empty_bridge_gets_every_port_with_its_number() {
    let snapshot = settled();
    let numbers: Vec<_> = snapshot.ports.iter().map(|(name, port)| (name.as_str(), port.number)).collect();
    let expected = [("antrea-gw0", 2), ("antrea-tun0", 1), ("coredns--3e3abf", 3), ("frontend-a3ba2f", 49)];
    assert_eq!(numbers, expected.map(|(name, number)| (name, Some(number))));
    let tunnel = &snapshot.ports["antrea-tun0"];
    let options: Vec<_> = tunnel.options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(options, ["dst_port=6081", "key=0", "local_ip=10.79.1.201", "remote_ip=flow"]);
    assert_eq!(tunnel.kind, "geneve");
    assert!(verify(wanted().iter(), &snapshot, &both()).is_ok());
}

#[test]
fn a_pod_without_its_device_has_no_port_until_the_device_is_there() {
    let mut snapshot = settled();
    let without = links([("coredns--3e3abf", 7)]);
    settle(&mut snapshot, &wanted(), &without);
    assert!(!snapshot.ports.contains_key("frontend-a3ba2f"));
    assert!(verify(wanted().iter(), &snapshot, &without).is_ok(), "it waits, and that is no error");
    settle(&mut snapshot, &wanted(), &both());
    assert!(snapshot.ports.contains_key("frontend-a3ba2f"));
}

#[test]
fn a_port_whose_device_is_another_is_removed_before_it_is_made_anew() {
    let mut snapshot = settled();
    let anew = links([("coredns--3e3abf", 7), ("frontend-a3ba2f", 9)]);
    let changes = settle(&mut snapshot, &wanted(), &anew);
    assert_eq!(changes.remove, [remove(BRIDGE, "frontend-a3ba2f")]);
    let made: Vec<_> = changes.make.iter().map(|make| (make.name.as_str(), make.new)).collect();
    assert_eq!(made, [("frontend-a3ba2f", true)]);
    assert_eq!(snapshot.ports["frontend-a3ba2f"].device, Some(9));
}

#[test]
fn only_ports_with_our_mark_are_removed() {
    let mut snapshot = settled();
    snapshot.ports.insert("somebodys".to_owned(), Port { number: Some(5), ..Port::default() });
    snapshot.ports.insert("old-pod-123456".to_owned(), Port { ours: true, ..Port::default() });
    let changes = settle(&mut snapshot, &wanted()[..3], &both());
    let gone = [remove(BRIDGE, "frontend-a3ba2f"), remove(BRIDGE, "old-pod-123456")];
    assert_eq!((changes.remove.as_slice(), changes.make.len()), (&gone[..], 0));
    assert!(snapshot.ports.contains_key("somebodys"));
}

#[test]
fn a_number_that_another_port_has_is_said_with_its_holder() {
    let mut snapshot = settled();
    snapshot.ports.get_mut("frontend-a3ba2f").unwrap().number = Some(50);
    let error = |snapshot: &Snapshot| verify(wanted().iter(), snapshot, &both()).unwrap_err().to_string();
    let none = "port frontend-a3ba2f can't have number 49: Open vSwitch gives it another";
    assert_eq!(error(&snapshot), none);
    snapshot.ports.insert("somebodys".to_owned(), Port { number: Some(49), ..Port::default() });
    let somebody = "port frontend-a3ba2f can't have number 49: somebodys has it \
                    (ovs-vsctl set interface somebodys ofport_request=ANOTHER)";
    assert_eq!(error(&snapshot), somebody);
}

#[test]
fn what_open_vswitch_says_of_a_port_it_can_not_have_is_passed_on() {
    let mut snapshot = settled();
    snapshot.ports.get_mut("antrea-tun0").unwrap().error = Some("no such thing".to_owned());
    let error = verify(wanted().iter(), &snapshot, &both()).unwrap_err().to_string();
    assert_eq!(error, "Open vSwitch can't have port antrea-tun0: no such thing");
}

prop_compose! {
    fn a_port()(
        kind in prop_oneof![Just(""), Just("vxlan"), Just("internal")],
        options in proptest::collection::btree_map("(key|remote_ip|csum)", "(0|flow|true)", 0..3),
        number in proptest::option::of(-1_i64..60),
        mtu in proptest::option::of(1400_i64..1500),
        ours: bool,
        device in proptest::option::of(6_u32..10),
    ) -> Port {
        let (number_requested, mtu_requested) = (number, mtu);
        Port { kind: kind.to_owned(), options, number, number_requested, mtu_requested, error: None, ours, device }
    }
}

proptest! {
    #[test]
    fn whatever_the_database_had_becomes_what_is_wanted_at_once(
        ports in proptest::collection::btree_map(
            prop_oneof![Just("antrea-tun0"), Just("antrea-gw0"), Just("frontend-a3ba2f"), Just("other")], a_port(), 0..4),
    ) {
        let ports = ports.into_iter().map(|(name, port)| (name.to_owned(), port)).collect();
        let mut snapshot = Snapshot { ports, ..Snapshot::default() };
        let other = snapshot.ports.get("other").cloned().filter(|port| !port.ours);
        settle(&mut snapshot, &wanted(), &both());
        prop_assert_eq!(snapshot.ports.remove("other"), other);
        let names: Vec<_> = snapshot.ports.keys().map(String::as_str).collect();
        prop_assert_eq!(names, ["antrea-gw0", "antrea-tun0", "coredns--3e3abf", "frontend-a3ba2f"]);
    }
}
