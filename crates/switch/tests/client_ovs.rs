//! The OpenFlow client against a real Open vSwitch: what it is told it gives back, and what it refuses
//! changes nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../openflow/tests/common/mod.rs"]
mod common;
#[path = "../../openflow/tests/common/ovs.rs"]
mod ovs;

use common::{Dialect, Random};
use footbridge_openflow::text::{parse_flow, parse_ports};
use footbridge_openflow::wire::{TlvMapping, Version};
use footbridge_openflow::{Flow, PortNames, PortNo};
use footbridge_switch::client::{Address, Client, Failure, PATIENCE};
use footbridge_switch::{FlowFilter, FlowMod};
use ovs::OpenVswitch;

const WORKER1: &str = include_str!("../../openflow/tests/data/worker1.flows");
const WORKER1_PORTS: &str = "1 antrea-tun0\n2 antrea-gw0\n3 coredns--3e3abf\n4 antrea-o-830766\n48 backend1-bab86f\n49 frontend-a3ba2f\n";
/// The option that worker1's classifier reads as tun_metadata0.
const OPTION: TlvMapping = TlvMapping { option_class: 0x0104, option_type: 0x80, option_len: 4, index: 0 };

fn address(ovs: &OpenVswitch) -> Address {
    Address::Unix(ovs.path("br0.mgmt").into())
}

async fn client(ovs: &OpenVswitch) -> Client {
    Client::connect(&address(ovs), PATIENCE).await.unwrap()
}

/// Let the bridge speak these versions only.
fn speak(ovs: &OpenVswitch, versions: &[Version]) {
    let names: Vec<String> = versions.iter().map(ToString::to_string).collect();
    let db = format!("--db=unix:{}", ovs.path("db.sock"));
    ovs.run("ovs-vsctl", &[&db, "set", "bridge", "br0", &format!("protocols={}", names.join(","))]).unwrap();
}

fn flows(text: &str) -> Vec<Flow> {
    let names = parse_ports(WORKER1_PORTS).unwrap();
    text.lines().map(|line| parse_flow(line, &names).unwrap()).collect()
}

fn adds(flows: &[Flow]) -> Vec<FlowMod> {
    flows.iter().cloned().map(FlowMod::Add).collect()
}

/// All flows that the bridge has, in text, sorted.
async fn dump(client: &mut Client) -> Vec<String> {
    dump_of(client, &FlowFilter::default()).await
}

async fn dump_of(client: &mut Client, filter: &FlowFilter) -> Vec<String> {
    lines(client.flows(filter).await.unwrap().iter().map(|entry| &entry.flow))
}

fn lines<'a>(flows: impl Iterator<Item = &'a Flow>) -> Vec<String> {
    let names = PortNames::none();
    let mut lines: Vec<String> = flows.map(|flow| flow.display(&names).to_string()).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn flows_in_are_flows_out_in_every_version_that_has_bundles() {
    let test = "flows_in_are_flows_out_in_every_version_that_has_bundles";
    let Some(ovs) = OpenVswitch::start(test) else { return };
    let mut random = Random::new(21);
    let mut wanted = flows(WORKER1);
    for i in 0..1000 {
        let mut flow = random.flow(Dialect::OpenFlow15);
        // None replaces another, and all stay until the end.
        flow.priority = 1000 + i;
        (flow.idle_timeout, flow.hard_timeout) = (flow.idle_timeout.max(600), flow.hard_timeout.max(600));
        flow.flags.check_overlap = false;
        wanted.push(flow);
    }
    for version in [Version::V13, Version::V14, Version::V15] {
        speak(&ovs, &[Version::V10, version]);
        let mut client = client(&ovs).await;
        assert_eq!(client.version(), version);
        client.map_tunnel_option(OPTION).await.unwrap();
        client.bundle(&[FlowMod::Delete(FlowFilter::default())]).await.unwrap();
        assert_eq!(client.flows(&FlowFilter::default()).await.unwrap(), []);
        client.bundle(&adds(&wanted)).await.unwrap();
        let mut missing = wanted.clone();
        for flow in &mut missing {
            *flow = client.given_back(flow).unwrap();
        }
        let mut more = Vec::new();
        for entry in client.flows(&FlowFilter::default()).await.unwrap() {
            match missing.iter().position(|flow| *flow == entry.flow) {
                Some(at) => drop(missing.swap_remove(at)),
                None => more.push(entry.flow),
            }
        }
        assert!(
            missing.is_empty() && more.is_empty(),
            "{version}, seed 21: missing:\n{}\nand more:\n{}",
            lines(missing.iter()).join("\n"),
            lines(more.iter()).join("\n")
        );
    }
}

#[tokio::test]
async fn a_refused_bundle_changes_nothing_and_names_the_change() {
    let test = "a_refused_bundle_changes_nothing_and_names_the_change";
    let Some(ovs) = OpenVswitch::start(test) else { return };
    let here = flows(" cookie=0x1, table=7, priority=5,ip,nw_dst=10.0.0.0/8 actions=NORMAL");
    let good = flows(" table=8, priority=5,arp actions=drop");
    // One that the bridge can't read, and one that is wrong only beside what is there.
    let unreadable = flows(" table=8, priority=6,arp actions=mod_nw_src:10.0.0.1");
    let overlaps = flows(" table=7, priority=5,check_overlap,ip,nw_src=10.0.0.0/8 actions=NORMAL");
    for version in [Version::V13, Version::V14, Version::V15] {
        speak(&ovs, &[version]);
        let mut client = client(&ovs).await;
        client.bundle(&adds(&here)).await.unwrap();
        for (wrong, reason) in [(&unreadable, "OFPBAC_MATCH_INCONSISTENT"), (&overlaps, "OFPFMFC_OVERLAP")] {
            let mut changes = adds(&good);
            changes.push(FlowMod::Delete(FlowFilter::table(7)));
            changes.extend(adds(&here));
            changes.extend(adds(wrong));
            changes.extend(adds(&good));
            let error = client.bundle(&changes).await.unwrap_err();
            let Failure::RefusedChange(refused) = &error.why else { panic!("{error}") };
            assert_eq!((refused.index, refused.of), (3, 5), "{error}");
            assert_eq!(refused.reason.to_string(), reason);
            let line = wrong[0].display(&PortNames::none()).to_string();
            assert_eq!(refused.change, format!("add {}", line.trim()));
            assert_eq!(dump(&mut client).await, lines(here.iter()), "{version}, {reason}");
        }
        // The connection is as good as before.
        client.bundle(&adds(&good)).await.unwrap();
        assert_eq!(dump_of(&mut client, &FlowFilter::table(8)).await, lines(good.iter()));
        client.bundle(&[FlowMod::Delete(FlowFilter::default())]).await.unwrap();
    }
}

#[tokio::test]
async fn changes_and_filters_mean_what_they_say() {
    let test = "changes_and_filters_mean_what_they_say";
    let Some(ovs) = OpenVswitch::start(test) else { return };
    let mut client = client(&ovs).await;
    let [a, b, c] = [
        " cookie=0x11, table=1, priority=3,ip,nw_dst=10.1.0.0/16 actions=output:5",
        " cookie=0x12, table=1, priority=4,ip,nw_dst=10.1.2.0/24 actions=output:6",
        " cookie=0x21, table=2, priority=3,arp actions=output:5",
    ];
    let all = flows(&[a, b, c].join("\n"));
    client.bundle(&adds(&all)).await.unwrap();
    let names = PortNames::none();
    let filter = |text: &str| FlowFilter::parse(text, &names).unwrap();
    for (text, expected) in [
        ("table=1", vec![a, b]),
        ("cookie=0x10/0xf0", vec![a, b]),
        ("out_port=5", vec![a, c]),
        ("ip", vec![a, b]),
        ("table=1,ip,nw_dst=10.1.2.0/24", vec![b]),
    ] {
        assert_eq!(dump_of(&mut client, &filter(text)).await, expected, "{text}");
    }
    let drop = Vec::new();
    client
        .bundle(&[
            FlowMod::Modify {
                filter: filter("table=1,cookie=0x11/-1"),
                cookie: None,
                actions: drop.clone(),
                or_add: None,
            },
            FlowMod::ModifyStrict {
                filter: FlowFilter { matching: all[2].matching.clone(), ..FlowFilter::table(2) },
                priority: 3,
                or_add: None,
                cookie: None,
                actions: drop,
            },
        ])
        .await
        .unwrap();
    let changed = [
        " cookie=0x11, table=1, priority=3,ip,nw_dst=10.1.0.0/16 actions=drop",
        b,
        " cookie=0x21, table=2, priority=3,arp actions=drop",
    ];
    assert_eq!(dump(&mut client).await, changed);
    client
        .bundle(&[
            FlowMod::Delete(filter("out_port=6")),
            FlowMod::DeleteStrict {
                filter: FlowFilter { matching: all[2].matching.clone(), ..FlowFilter::table(2) },
                priority: 3,
            },
            FlowMod::DeleteStrict {
                filter: FlowFilter { matching: all[0].matching.clone(), ..FlowFilter::table(1) },
                priority: 9,
            },
        ])
        .await
        .unwrap();
    assert_eq!(dump(&mut client).await, [changed[0]]);
}

#[tokio::test]
async fn a_version_is_found_with_every_bridge_that_has_bundles() {
    let test = "a_version_is_found_with_every_bridge_that_has_bundles";
    let Some(ovs) = OpenVswitch::start(test) else { return };
    for (spoken, found) in [
        (&Version::ALL[..], Version::V14),
        (&[Version::V10, Version::V13], Version::V13),
        (&[Version::V10, Version::V15], Version::V15),
    ] {
        speak(&ovs, spoken);
        assert_eq!(client(&ovs).await.version(), found);
    }
    speak(&ovs, &[Version::V10]);
    let error = Client::connect(&address(&ovs), PATIENCE).await.err().unwrap().to_string();
    assert!(
        error.contains("it speaks OpenFlow10; one of OpenFlow13, OpenFlow14, OpenFlow15 is needed"),
        "{error}"
    );
}

#[tokio::test]
async fn a_tunnel_option_is_mapped_once_and_one_mapped_otherwise_is_said() {
    let test = "a_tunnel_option_is_mapped_once_and_one_mapped_otherwise_is_said";
    let Some(ovs) = OpenVswitch::start(test) else { return };
    let mut client = client(&ovs).await;
    let wanted = OPTION;
    client.map_tunnel_option(wanted).await.unwrap();
    client.map_tunnel_option(wanted).await.unwrap();
    assert_eq!(client.tunnel_options().await.unwrap().0, [wanted]);
    for other in [TlvMapping { index: 1, ..wanted }, TlvMapping { option_type: 0x81, ..wanted }] {
        let error = client.map_tunnel_option(other).await.unwrap_err();
        assert!(matches!(error.why, Failure::OptionTaken { taken, .. } if taken == wanted), "{error}");
    }
    assert_eq!(client.tunnel_options().await.unwrap().0, [wanted]);
}

#[tokio::test]
async fn ports_are_read_with_their_counters() {
    let test = "ports_are_read_with_their_counters";
    let Some(ovs) = OpenVswitch::start(test) else { return };
    let db = format!("--db=unix:{}", ovs.path("db.sock"));
    let port = ["add-port", "br0", "p7", "--", "set", "interface", "p7", "type=dummy", "ofport_request=7"];
    ovs.run("ovs-vsctl", &[&[db.as_str()], &port[..]].concat()).unwrap();
    let mut client = client(&ovs).await;
    let ports = client.ports().await.unwrap();
    let mut ports: Vec<_> = ports.iter().map(|port| (port.number, port.name.as_str())).collect();
    ports.sort();
    assert_eq!(ports, [(PortNo(7), "p7"), (PortNo::LOCAL, "br0")]);
    let frame = "50540000000a50540000000b08004500";
    ovs.run("ovs-appctl", &["-t", &ovs.path("ctl"), "netdev-dummy/receive", "p7", frame]).unwrap();
    let stats = client.port_stats().await.unwrap();
    let received = |number| stats.iter().find(|port| port.port == number).unwrap().rx_packets;
    assert_eq!((stats.len(), received(PortNo(7)), received(PortNo::LOCAL)), (2, 1, 0));
}

#[tokio::test]
async fn a_flow_beyond_our_words_is_said_and_can_be_deleted() {
    let test = "a_flow_beyond_our_words_is_said_and_can_be_deleted";
    let Some(ovs) = OpenVswitch::start(test) else { return };
    ovs.run("ovs-ofctl", &["add-flow", &address(&ovs).to_string(), "actions=sample(probability=1)"]).unwrap();
    let mut client = client(&ovs).await;
    let error = client.flows(&FlowFilter::default()).await.unwrap_err();
    assert!(matches!(error.why, Failure::Unreadable(_)), "{error}");
    let all = FlowMod::Delete(FlowFilter::default());
    client.bundle(&[all, FlowMod::Add(flows(" priority=1 actions=drop").remove(0))]).await.unwrap();
    assert_eq!(dump(&mut client).await, [" priority=1 actions=drop"]);
}

#[tokio::test]
async fn a_bridge_that_dies_is_noticed_at_once() {
    let test = "a_bridge_that_dies_is_noticed_at_once";
    let Some(ovs) = OpenVswitch::start(test) else { return };
    let mut client = client(&ovs).await;
    drop(ovs);
    let error = tokio::time::timeout(PATIENCE, client.closed()).await.unwrap();
    assert!(matches!(error.why, Failure::HungUp { .. }), "{error}");
    assert!(matches!(client.ports().await.unwrap_err().why, Failure::Lost));
}
