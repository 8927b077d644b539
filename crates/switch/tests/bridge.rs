//! A bridge on a real kernel.
//!
//! ```text
//!     host a            host b            host c          10.0.0.1/24, .2, .3
//!      eth0              eth0              eth0            a namespace each
//!        │                 │                 │
//!        a                 b                 c             devices in the bridge's namespace
//!  ┌─────1─────────────────2─────────────────3─────┐
//!  │                      br0                      │
//!  └────────────────────────────────────────────────┘
//! ```

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../datapath/tests/common/mod.rs"]
mod common;

use common::{Namespace, eventually, host, pings, privileged, tcp_passes};
use footbridge_datapath::userspace::Userspace;
use footbridge_datapath::{Attachment, Link, PortSpec};
use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{PortNames, PortNo};
use footbridge_pipeline::DropReason;
use footbridge_switch::{Bridge, FlowFilter, FlowMod};
use std::time::Duration;

struct Bed {
    namespace: Namespace,
    bridge: Bridge,
}

impl Bed {
    fn new() -> Bed {
        let namespace = Namespace::new("br");
        let datapath = namespace.enter(Userspace::start).unwrap();
        Bed { namespace, bridge: Bridge::new("br0", Box::new(datapath)).unwrap() }
    }

    fn host(&self, number: u32, device: &str) -> Namespace {
        let host = host(&self.namespace, device, &format!("10.0.0.{number}/24"));
        self.port(number, device);
        host
    }

    fn port(&self, number: u32, device: &str) {
        let attachment = Attachment::Device { ifname: device.to_owned() };
        self.bridge
            .add_port(PortSpec { number: PortNo(number), name: format!("port-{device}"), attachment })
            .unwrap();
    }

    fn add(&self, flows: &[&str]) {
        let add = |line: &&str| FlowMod::Add(parse_flow(line, &self.bridge.port_names()).unwrap());
        self.bridge.bundle(&flows.iter().map(add).collect::<Vec<_>>()).unwrap();
    }

    fn dump(&self, filter: &str) -> Vec<String> {
        let names = self.bridge.port_names();
        let flows = self.bridge.flows(&FlowFilter::parse(filter, &names).unwrap());
        flows.iter().map(|report| report.flow().display(&names).to_string().trim().to_owned()).collect()
    }
}

#[test]
fn normal_carries_arp_ping_and_tcp_and_learns() {
    if !privileged("normal_carries_arp_ping_and_tcp_and_learns") {
        return;
    }
    let bed = Bed::new();
    let (a, b, c) = (bed.host(1, "a"), bed.host(2, "b"), bed.host(3, "c"));
    bed.add(&["priority=0 actions=NORMAL"]);
    assert!(pings(&a, "10.0.0.2") && pings(&b, "10.0.0.3") && pings(&c, "10.0.0.1"));
    assert!(tcp_passes(&a, &c, "10.0.0.3", 1_000_000));
    let learned = bed.bridge.fdb().unwrap();
    for (host, port) in [(&a, 1), (&b, 2), (&c, 3)] {
        let mac = host.must("cat /sys/class/net/eth0/address");
        assert!(
            learned.iter().any(|e| e.mac.to_string() == mac.trim() && e.port == PortNo(port)),
            "{learned:?}"
        );
    }
    // What goes to a learned address goes nowhere else: c saw neither ping nor TCP of a and b.
    let before = bed.bridge.ports().unwrap()[2].tx.packets;
    assert!(tcp_passes(&a, &b, "10.0.0.2", 1_000_000));
    let after = bed.bridge.ports().unwrap()[2].tx.packets;
    assert!(after - before < 5, "{} frames flooded", after - before);
}

/// The article's table 20: the kernel asks, the flow answers, and the answer is the virtual MAC.
#[test]
fn the_responder_answers_a_kernels_arp_with_the_virtual_mac() {
    if !privileged("the_responder_answers_a_kernels_arp_with_the_virtual_mac") {
        return;
    }
    let bed = Bed::new();
    let a = bed.host(1, "a");
    bed.add(&[
        "table=0,priority=190,arp,in_port=1 actions=resubmit(,20)",
        "table=20,priority=200,arp,arp_tpa=10.0.0.77,arp_op=1 actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],\
         mod_dl_src:aa:bb:cc:dd:ee:ff,load:0x2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],\
         load:0xaabbccddeeff->NXM_NX_ARP_SHA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],\
         load:0xa00004d->NXM_OF_ARP_SPA[],IN_PORT",
    ]);
    let _ = a.run("ping -q -c 1 -W 1 10.0.0.77");
    let neighbours = a.must("ip neigh show");
    assert!(neighbours.contains("10.0.0.77 dev eth0 lladdr aa:bb:cc:dd:ee:ff"), "{neighbours}");
    assert!(a.must("arping -c 1 -w 2 -I eth0 10.0.0.77").to_lowercase().contains("aa:bb:cc:dd:ee:ff"));
    let [report] = &bed.bridge.flows(&FlowFilter::table(20))[..] else { panic!("one flow") };
    assert!(report.packets >= 2 && report.bytes >= 84, "{report:?}");
    // Table 0 takes ARP only: the ping itself was dropped, and says so.
    let port = &bed.bridge.ports().unwrap()[0];
    assert!(port.drops.of(DropReason::NoFlow) >= 1, "{port:?}");
}

#[test]
fn dumps_in_open_vswitchs_order_and_filters() {
    if !privileged("dumps_in_open_vswitchs_order_and_filters") {
        return;
    }
    let bed = Bed::new();
    let _a = bed.host(1, "a");
    bed.add(&[
        "cookie=0x1000000000000,table=10,priority=0 actions=drop",
        "cookie=0x1030000000000,table=10,priority=200,arp,in_port=\"port-a\",arp_spa=10.0.0.1 actions=resubmit(,20)",
        "cookie=0x1020000000000,table=20,priority=200,arp,arp_tpa=10.0.0.2 actions=IN_PORT",
        "cookie=0x1000000000000,table=20,priority=190,arp actions=NORMAL",
    ]);
    let all = bed.dump("");
    assert_eq!(all.len(), 4);
    assert!(all[0].contains("table=10, priority=200,arp,in_port=\"port-a\""), "{all:?}");
    assert!(all[1].contains("table=10, priority=0 actions=drop"), "{all:?}");
    assert_eq!(bed.dump("table=20").len(), 2);
    assert_eq!(bed.dump("arp").len(), 3);
    assert_eq!(bed.dump("table=10,arp").len(), 1);
    assert_eq!(bed.dump("cookie=0x1000000000000/-1").len(), 2);
    assert_eq!(bed.dump("cookie=0x20000000000/0xff0000000000").len(), 1);
    assert!(FlowFilter::parse("table=300", &PortNames::none()).is_err());
    assert!(FlowFilter::parse("arp,bogus=1", &PortNames::none()).is_err());
}

#[test]
fn a_refused_bundle_changes_nothing() {
    if !privileged("a_refused_bundle_changes_nothing") {
        return;
    }
    let bed = Bed::new();
    bed.add(&["table=0,priority=5,ip actions=NORMAL"]);
    let before = bed.dump("");
    let flow = |line| parse_flow(line, &PortNames::none()).unwrap();
    let refused = bed.bridge.bundle(&[
        FlowMod::Delete(FlowFilter::default()),
        FlowMod::Add(flow("table=1,arp actions=NORMAL")),
        FlowMod::Add(flow("table=1 actions=group:1")),
    ]);
    let error = refused.unwrap_err().to_string();
    assert!(error.starts_with("change 3 of 3: "), "{error}");
    assert_eq!(bed.dump(""), before);
}

#[test]
fn flow_mods_mean_what_they_mean_in_open_vswitch() {
    if !privileged("flow_mods_mean_what_they_mean_in_open_vswitch") {
        return;
    }
    let bed = Bed::new();
    let fill = || {
        bed.add(&[
            "cookie=1,table=0,priority=5,ip actions=NORMAL",
            "cookie=2,table=0,priority=5,ip,nw_dst=10.0.0.1 actions=NORMAL",
            "cookie=3,table=0,priority=6,arp actions=output:7",
            "cookie=4,table=1,priority=5,ip actions=NORMAL",
        ]);
    };
    let filter = |text| FlowFilter::parse(text, &PortNames::none()).unwrap();
    // Loose: all that match at least as much, of any priority.
    for (text, left) in
        [("ip", 1), ("table=0,ip", 2), ("", 0), ("cookie=4/-1", 3), ("out_port=7", 3), ("udp", 4)]
    {
        fill();
        bed.bridge.bundle(&[FlowMod::Delete(filter(text))]).unwrap();
        assert_eq!(bed.bridge.flow_count(), left, "after deleting '{text}'");
    }
    // Strict: the very one.
    fill();
    let strict = |priority| FlowMod::DeleteStrict { filter: filter("table=0,ip"), priority };
    bed.bridge.bundle(&[strict(4)]).unwrap();
    assert_eq!(bed.bridge.flow_count(), 4);
    bed.bridge.bundle(&[strict(5)]).unwrap();
    assert_eq!(bed.dump("cookie=1/-1").len(), 0);
    // Add replaces the same table, priority and match.
    fill();
    bed.add(&["cookie=9,table=0,priority=5,ip actions=drop"]);
    assert_eq!(bed.bridge.flow_count(), 4);
    assert_eq!(bed.dump("cookie=9/-1").len(), 1);
    // Modify changes the actions only; loose where the match is at least as narrow.
    bed.bridge
        .bundle(&[FlowMod::Modify {
            filter: filter("table=0,ip"),
            cookie: None,
            actions: vec![],
            or_add: None,
        }])
        .unwrap();
    assert_eq!(bed.dump("table=0,ip").iter().filter(|text| text.ends_with("actions=drop")).count(), 2);
    assert_eq!(bed.dump("cookie=2/-1").len(), 1, "the cookie stays");
    assert!(bed.dump("table=1")[0].ends_with("actions=NORMAL"));
}

#[test]
fn check_overlap_refuses_what_overlaps() {
    if !privileged("check_overlap_refuses_what_overlaps") {
        return;
    }
    let bed = Bed::new();
    bed.add(&["priority=5,ip actions=drop"]);
    let mut flow = parse_flow("priority=5,ip,nw_dst=10.0.0.1 actions=drop", &PortNames::none()).unwrap();
    flow.flags.check_overlap = true;
    let refused = bed.bridge.bundle(&[FlowMod::Add(flow.clone())]).unwrap_err();
    assert!(refused.to_string().contains("check_overlap"), "{refused}");
    flow.priority = 6;
    bed.bridge.bundle(&[FlowMod::Add(flow.clone())]).unwrap();
    bed.bridge.bundle(&[FlowMod::Add(flow)]).unwrap();
}

/// Flows that open connections by a SYN from port 1 only: without its entry, one under way is stuck.
#[test]
fn a_connection_goes_on_over_a_clean_restart() {
    if !privileged("a_connection_goes_on_over_a_clean_restart") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("conntrack");
    let mut bed = Bed::new();
    let (a, b) = (bed.host(1, "a"), bed.host(2, "b"));
    let flows = [
        "priority=1,arp actions=NORMAL",
        "priority=1,tcp actions=ct(table=1,zone=7)",
        "table=1,priority=3,ct_state=+new+trk,tcp,in_port=1,tcp_flags=+syn-ack actions=ct(commit,zone=7),output:2",
        "table=1,priority=2,ct_state=+est+trk,in_port=1 actions=output:2",
        "table=1,priority=2,ct_state=+est+rpl+trk,in_port=2 actions=output:1",
    ];
    bed.add(&flows);
    let receiver = b.spawn_shell("nc -l -d 10.0.0.2 7000 | wc -c");
    eventually("nc listens", Duration::from_secs(5), || b.must("ss -Hltn").contains(":7000"));
    let sender = a.spawn_shell("(echo before; sleep 2; echo after) | nc -N -w 10 10.0.0.2 7000");
    let established = |bed: &Bed| bed.bridge.connections(Some(7)).unwrap().iter().any(|c| c.replied);
    eventually("the connection stands", Duration::from_secs(5), || established(&bed));
    assert_eq!(bed.bridge.save_connections(&saved).unwrap(), 1);
    let datapath = bed.namespace.enter(Userspace::start).unwrap();
    bed.bridge = Bridge::new("br0", Box::new(datapath)).unwrap();
    bed.add(&flows);
    assert_eq!(bed.bridge.restore_connections(&saved).unwrap(), Some(1));
    assert_eq!(bed.bridge.restore_connections(&saved).unwrap(), None);
    for (number, device) in [(1, "a"), (2, "b")] {
        bed.port(number, device);
    }
    assert_eq!(receiver.wait().trim(), "13");
    drop(sender);
    assert_eq!(bed.bridge.flush_connections(Some(8)).unwrap(), 0);
    assert_eq!(bed.bridge.flush_connections(Some(7)).unwrap(), 1);
    assert_eq!(bed.bridge.connections(None).unwrap(), []);
}

#[test]
fn timeouts_end_flows() {
    if !privileged("timeouts_end_flows") {
        return;
    }
    let bed = Bed::new();
    let a = bed.host(1, "a");
    bed.add(&[
        "table=0,priority=1,in_port=1,idle_timeout=2 actions=drop",
        "table=1,hard_timeout=1 actions=drop",
        "table=2 actions=drop",
    ]);
    eventually("the hard timeout ends its flow", Duration::from_secs(3), || bed.dump("table=1").is_empty());
    for _ in 0..4 {
        let _ = a.run("ping -q -c 1 -W 1 10.0.0.9");
        assert_eq!(bed.dump("table=0").len(), 1, "packets keep it");
    }
    eventually("idleness ends the other", Duration::from_secs(8), || bed.dump("table=0").is_empty());
    assert_eq!(bed.dump("").len(), 1);
}

#[test]
fn a_port_is_added_once_and_reported() {
    if !privileged("a_port_is_added_once_and_reported") {
        return;
    }
    let bed = Bed::new();
    let port = |number, name: &str| PortSpec {
        number: PortNo(number),
        name: name.to_owned(),
        attachment: Attachment::Device { ifname: "missing".to_owned() },
    };
    bed.bridge.add_port(port(5, "x")).unwrap();
    let same_number = bed.bridge.add_port(port(5, "y")).unwrap_err();
    assert_eq!(same_number.to_string(), "port number 5 is taken by x");
    assert!(bed.bridge.add_port(port(6, "x")).is_err());
    assert!(bed.bridge.add_port(port(0, "z")).is_err());
    assert!(bed.bridge.add_port(port(0xff00, "z")).is_err());
    let [report] = &bed.bridge.ports().unwrap()[..] else { panic!("one port") };
    assert_eq!((report.number, &*report.name, report.link), (PortNo(5), "x", Link::Absent));
    bed.bridge.del_port(PortNo(5)).unwrap();
    assert!(bed.bridge.del_port(PortNo(5)).is_err());
    bed.bridge.add_port(port(5, "x")).unwrap();
}
