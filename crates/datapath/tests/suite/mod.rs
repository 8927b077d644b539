//! What every datapath has to do, on a real kernel. A test program calls [`datapath_suite!`] with a
//! factory, and gets one test a claim.
//!
//! ```text
//!     host a            host b            host c          10.0.0.1/24, .2, .3; hosts of a test of
//!      eth0              eth0              eth0            its own, each a namespace
//!        │                 │                 │
//!        a                 b                 c             devices in the bridge's namespace
//!  ┌─────1─────────────────2─────────────────3─────┐
//!  │                  the datapath                 │
//!  └────────────────────────────────────────────────┘
//! ```

use crate::common::{Namespace, attach_host, eventually, host, pings, tcp_passes};
use footbridge_datapath::{Attachment, Change, Datapath, Link, PortSpec, PortStatus};
use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{Field, PortNames, PortNo};
use footbridge_pipeline::conntrack::Connection;
use footbridge_pipeline::{DropReason, FlowId, Time};
use std::time::{Duration, Instant};

mod tunnels;
pub(crate) use tunnels::*;

/// Makes a datapath in the calling thread's network namespace.
pub(crate) type Factory = fn() -> Box<dyn Datapath>;

macro_rules! datapath_suite {
    (ignored $why:literal; $factory:expr; $($claim:ident),* $(,)?) => {
        $(
            #[test]
            #[ignore = $why]
            fn $claim() {
                crate::suite::$claim($factory);
            }
        )*
    };
    ($factory:expr; $($claim:ident),* $(,)?) => {
        $(
            #[test]
            fn $claim() {
                if crate::common::privileged(stringify!($claim)) {
                    crate::suite::$claim($factory);
                }
            }
        )*
    };
}
pub(crate) use datapath_suite;

/// A datapath in a namespace.
struct Bed {
    namespace: Namespace,
    datapath: Box<dyn Datapath>,
}

impl Bed {
    fn new(factory: Factory) -> Bed {
        let namespace = Namespace::new("br");
        let datapath = namespace.enter(factory);
        Bed { namespace, datapath }
    }

    /// A host behind a port; address 10.0.0.NUMBER/24.
    fn host(&mut self, number: u32, device: &str) -> Namespace {
        self.host_at(number, device, number)
    }

    /// A host behind a port; address 10.0.0.LAST/24.
    fn host_at(&mut self, number: u32, device: &str, last: u32) -> Namespace {
        let host = host(&self.namespace, device, &format!("10.0.0.{last}/24"));
        self.port(number, device);
        host
    }

    fn port(&mut self, number: u32, device: &str) {
        let attachment = Attachment::Device { ifname: device.to_owned() };
        self.datapath
            .add_port(&PortSpec { number: PortNo(number), name: device.to_owned(), attachment })
            .unwrap();
    }

    /// Replace all flows.
    fn flows(&mut self, flows: &[&str]) {
        let shared = self.datapath.flows();
        let mut pipeline = shared.write().unwrap();
        let removed: Vec<FlowId> = pipeline.entries().map(|entry| entry.id).collect();
        removed.iter().for_each(|id| drop(pipeline.remove(*id)));
        let insert = |line: &&str| {
            let flow = parse_flow(line, &PortNames::none()).unwrap();
            pipeline.insert(flow, footbridge_datapath::clock::now()).unwrap().entry.id
        };
        let added = flows.iter().map(insert).collect();
        self.datapath.commit(&pipeline, &Change { added, removed }).unwrap();
    }

    fn status(&self, number: u32) -> PortStatus {
        let ports = self.datapath.ports().unwrap();
        ports.into_iter().find(|port| port.number == PortNo(number)).unwrap()
    }
}

/// Without flows nothing passes, and what came in is counted where it came in.
pub(crate) fn drops_and_counts_everything_without_flows(factory: Factory) {
    let mut bed = Bed::new(factory);
    let (a, _b) = (bed.host(1, "a"), bed.host(2, "b"));
    assert!(!pings(&a, "10.0.0.2"));
    let status = bed.status(1);
    assert!(status.rx.packets > 0);
    assert_eq!(status.drops.of(DropReason::NoFlow), status.rx.packets);
    assert_eq!(bed.status(2).tx.packets, 0);
}

/// Kernels' ARP and ping by plain outputs, with flow and port counters.
pub(crate) fn carries_ping_between_two_ports(factory: Factory) {
    let mut bed = Bed::new(factory);
    let (a, _b) = (bed.host(1, "a"), bed.host(2, "b"));
    bed.flows(&["in_port=1 actions=output:2", "in_port=2 actions=output:1"]);
    assert!(pings(&a, "10.0.0.2"));
    let (one, two) = (bed.status(1), bed.status(2));
    assert_eq!(one.link, Link::Up);
    assert!(one.rx.packets >= 4, "3 pings and an ARP request: {one:?}");
    assert_eq!(one.rx, two.tx);
    assert_eq!(two.rx, one.tx);
    let flows = bed.datapath.flows();
    let flows = flows.read().unwrap();
    let flow = flows.entries().next().unwrap();
    let statistics = bed.datapath.flow_statistics(flow);
    assert_eq!((statistics.packets, statistics.bytes), (one.rx.packets, one.rx.bytes));
    assert!(statistics.last_used > Some(Time::default()));
}

/// A host that may ask, and another that may only answer: TCP, whole and in superframes, ping, datagrams in
/// fragments. The tracked connections are listed, and when they are forgotten the answers are nobody's.
pub(crate) fn tracks_connections(factory: Factory) {
    let mut bed = Bed::new(factory);
    let (a, b) = (bed.host(1, "a"), bed.host(2, "b"));
    bed.flows(&[
        "table=0,priority=1,arp actions=NORMAL",
        "table=0,ip actions=ct(table=1,zone=9)",
        "table=1,priority=3,ct_state=+inv+trk,ip actions=drop",
        "table=1,priority=2,ct_state=+est,ip,in_port=2 actions=output:1",
        "table=1,priority=2,ct_state=+rel,ip,in_port=2 actions=output:1",
        "table=1,priority=1,ip,in_port=1 actions=ct(commit,zone=9,exec(load:0x2a->NXM_NX_CT_MARK[])),output:2",
    ]);
    assert!(!pings(&b, "10.0.0.1"), "the other way round");
    assert!(pings(&a, "10.0.0.2"));
    assert!(a.run("ping -c 2 -i 0.2 -W 2 -s 4000 10.0.0.2").is_ok(), "in fragments");
    assert!(tcp_passes(&a, &b, "10.0.0.2", 4 << 20));
    let connections = bed.datapath.connections(Some(9)).unwrap();
    assert!(connections.iter().all(|connection| connection.mark == 0x2a), "{connections:?}");
    for proto in [1, 6] {
        let of_proto = |connection: &&Connection| connection.original.proto == proto;
        let found = connections.iter().find(of_proto).unwrap_or_else(|| panic!("{proto}: {connections:?}"));
        assert!(found.replied && found.original.src.address.to_string() == "10.0.0.1", "{found:?}");
    }
    // A port that nobody listens at: the kernel's ICMP error is about a connection, and its second write fails.
    let writes = "exec 3<>/dev/udp/10.0.0.2/9; echo x >&3; sleep 0.3; echo x >&3";
    assert!(!a.shell(&format!("bash -c '{writes}' 2>/dev/null")), "no ICMP error came");
    assert!(bed.datapath.connections(Some(8)).unwrap().is_empty());
    assert_eq!(bed.datapath.flush_connections(Some(8)).unwrap(), 0);
    assert!(bed.datapath.flush_connections(None).unwrap() >= connections.len());
    assert!(bed.datapath.connections(None).unwrap().is_empty());
    bed.datapath.restore_connections(connections.clone()).unwrap();
    assert_eq!(bed.datapath.connections(None).unwrap().len(), connections.len());
}

/// A tagged frame keeps its tag and the tag's type, though the kernel takes it out of what it receives:
/// one datapath puts it on, the next matches it and takes it off.
///
/// ```text
///     host a ─1─ datapath ─2──── veth, tagged ────2─ datapath ─1─ host b
/// ```
pub(crate) fn carries_vlan_tags(factory: Factory) {
    let (mut left, mut right) = (Bed::new(factory), Bed::new(factory));
    let (a, _b) = (left.host(1, "a"), right.host_at(1, "b", 2));
    left.namespace.veth("trunk", &right.namespace, "trunk");
    let capture = right.namespace.spawn("tcpdump -l -n -e -i trunk");
    std::thread::sleep(Duration::from_millis(500));
    for bed in [&mut left, &mut right] {
        bed.namespace.deafen("trunk");
        bed.port(2, "trunk");
    }
    for (tpid, vlan) in [("0x8100", 5), ("0x88a8", 7)] {
        for bed in [&mut left, &mut right] {
            let tag = format!("in_port=1,vlan_tci=0 actions=push_vlan:{tpid},mod_vlan_vid:{vlan},output:2");
            let untag = format!("in_port=2,dl_vlan={vlan} actions=strip_vlan,output:1");
            bed.flows(&[&tag, &untag]);
        }
        assert!(pings(&a, "10.0.0.2"), "{tpid}");
    }
    let seen = capture.stop();
    assert!(seen.contains("802.1Q (0x8100)") && seen.contains("vlan 5"), "{seen}");
    assert!(seen.contains("802.1Q-QinQ (0x88a8)") && seen.contains("vlan 7"), "{seen}");
}

/// A sender whose checksums are left to hardware is understood: they are completed on the way.
pub(crate) fn completes_checksums_that_a_sender_left_undone(factory: Factory) {
    let mut bed = Bed::new(factory);
    let (a, b) = (bed.host(1, "a"), bed.host(2, "b"));
    bed.flows(&["in_port=1 actions=output:2", "in_port=2 actions=output:1"]);
    for host in [&a, &b] {
        host.must("ethtool -K eth0 tx on rx on");
        host.must("ethtool -K eth0 tso off gso off sg off");
    }
    assert!(tcp_passes(&a, &b, "10.0.0.2", 100_000));
    // The receiver's kernel counts what it finds wrong.
    assert!(b.must("nstat -asz TcpInCsumErrors").contains("TcpInCsumErrors                 0 "));
}

/// A frame too long for the device it is to leave by is dropped and counted, and hurts nothing else.
pub(crate) fn counts_frames_too_long_for_the_next_device(factory: Factory) {
    let mut bed = Bed::new(factory);
    let (a, _b) = (bed.host(1, "a"), bed.host(2, "b"));
    bed.flows(&["in_port=1 actions=output:2", "in_port=2 actions=output:1"]);
    bed.namespace.must("ip link set dev b mtu 1000");
    assert!(a.run("ping -q -c 2 -i 0.05 -W 1 -M do -s 1200 10.0.0.2").is_err());
    assert_eq!(bed.status(2).drops.of(DropReason::TooBig), 2);
    assert!(pings(&a, "10.0.0.2"));
}

/// A device that is deleted leaves its port, down, and the port is as before when one of that name
/// is back. The other ports go on.
pub(crate) fn outlives_a_device_and_takes_it_back(factory: Factory) {
    let mut bed = Bed::new(factory);
    let (a, _b, c) = (bed.host(1, "a"), bed.host(2, "b"), bed.host(3, "c"));
    bed.flows(&[
        "priority=3,in_port=1,arp,arp_tpa=10.0.0.3 actions=output:3",
        "priority=3,in_port=1,ip,nw_dst=10.0.0.3 actions=output:3",
        "priority=2,in_port=1 actions=output:2",
        "priority=1 actions=output:1",
    ]);
    assert!(pings(&a, "10.0.0.2") && pings(&a, "10.0.0.3"));
    for round in 0..3 {
        bed.namespace.must("ip link del dev c");
        let gone = || bed.status(3).link == Link::Absent;
        eventually("the port notices", Duration::from_secs(2), gone);
        assert!(pings(&a, "10.0.0.2"), "round {round}: the others go on");
        assert!(!pings(&a, "10.0.0.3"));
        attach_host(&bed.namespace, "c", &c, "10.0.0.3/24");
        bed.datapath.refresh_ports().unwrap();
        assert_eq!(bed.status(3).link, Link::Up);
        // The new device has another MAC address.
        a.must("ip neigh flush dev eth0");
        assert!(pings(&a, "10.0.0.3"), "round {round}: it is back");
    }
    assert!(bed.status(3).drops.of(DropReason::PortDown) > 0, "{:?}", bed.status(3));
}

/// A device set down and up again comes back by itself, and one that comes late is found.
pub(crate) fn notices_a_device_coming_up_by_itself(factory: Factory) {
    let mut bed = Bed::new(factory);
    let a = bed.host(1, "a");
    bed.port(2, "b");
    assert_eq!(bed.status(2).link, Link::Absent);
    let _b = host(&bed.namespace, "b", "10.0.0.2/24");
    bed.flows(&["in_port=1 actions=output:2", "in_port=2 actions=output:1"]);
    eventually("b is found", Duration::from_secs(2), || bed.status(2).link == Link::Up);
    assert!(pings(&a, "10.0.0.2"));
    bed.namespace.must("ip link set dev b down");
    eventually("b is seen down", Duration::from_secs(2), || bed.status(2).link == Link::Down);
    bed.namespace.must("ip link set dev b up");
    eventually("b is seen up", Duration::from_secs(2), || bed.status(2).link == Link::Up);
    assert!(pings(&a, "10.0.0.2"));
}

/// A port that is flooded doesn't starve another one.
pub(crate) fn serves_others_while_one_port_is_flooded(factory: Factory) {
    let mut bed = Bed::new(factory);
    let (a, _b, c) = (bed.host(1, "a"), bed.host(2, "b"), bed.host(3, "c"));
    bed.flows(&["in_port=1 actions=output:2", "in_port=2 actions=output:1", "in_port=3 actions=drop"]);
    assert!(pings(&a, "10.0.0.2"));
    c.must("ip neigh add 10.0.0.9 lladdr 02:00:00:00:00:09 dev eth0");
    let flood = c.spawn("ping -q -f -l 1000 -w 20 10.0.0.9");
    let before = bed.status(3).rx.packets;
    eventually("the flood runs", Duration::from_secs(5), || bed.status(3).rx.packets > before + 1000);
    for _ in 0..5 {
        assert!(pings(&a, "10.0.0.2"));
    }
    drop(flood);
}

/// TCP through it is of a sane speed: far above what a packet storm or a timer in its way would leave.
pub(crate) fn carries_tcp_at_a_sane_speed(factory: Factory) {
    const BYTES: usize = 20_000_000;
    let mut bed = Bed::new(factory);
    let (a, b) = (bed.host(1, "a"), bed.host(2, "b"));
    bed.flows(&["in_port=1 actions=output:2", "in_port=2 actions=output:1"]);
    let start = Instant::now();
    assert!(tcp_passes(&a, &b, "10.0.0.2", BYTES));
    let rate = BYTES as f64 * 8e-6 / start.elapsed().as_secs_f64();
    println!("{rate:.0} Mbit/s");
    assert!(rate > 20.0, "{rate:.0} Mbit/s");
}

/// What a flow sends to the controllers arrives there whole, with what is known of it; while nobody takes
/// it, it is counted.
pub(crate) fn hands_packets_to_the_controllers(factory: Factory) {
    let mut bed = Bed::new(factory);
    let (a, _b) = (bed.host(1, "a"), bed.host(2, "b"));
    a.must("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0");
    bed.flows(&["cookie=5,icmp actions=load:7->NXM_NX_REG3[],CONTROLLER:20"]);
    assert!(!pings(&a, "10.0.0.2"));
    let untaken = || bed.status(1).drops.of(DropReason::NoController) == 3;
    eventually("they are counted", Duration::from_secs(2), untaken);
    let (sender, taken) = std::sync::mpsc::channel();
    bed.datapath.set_packet_in_sink(Box::new(move |packet| sender.send(packet).is_ok())).unwrap();
    assert!(a.run("ping -q -c 1 -W 1 -s 1400 10.0.0.2").is_err());
    let packet = taken.recv_timeout(Duration::from_secs(2)).unwrap();
    assert_eq!((packet.cookie, packet.in_port, packet.frame.len()), (5, PortNo(1), 1442));
    assert_eq!(packet.key.get(Field::Reg3), 7);
    assert_eq!(bed.status(1).drops.of(DropReason::NoController), 3);
}

/// Whatever pipeline a packet sees, it sees whole: of two pipelines that mark packets by two fields,
/// replaced over and over under load, no packet has the marks of both.
pub(crate) fn commits_are_atomic_for_packets(factory: Factory) {
    let mut bed = Bed::new(factory);
    let (a, b) = (bed.host(1, "a"), bed.host(2, "b"));
    a.must("ip neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev eth0");
    b.must("nft add table netdev watch");
    b.must("nft add chain netdev watch in { type filter hook ingress device eth0 priority 0 ; }");
    b.must("nft add set netdev watch seen { type ether_addr . ether_addr ; flags dynamic ; }");
    b.must("nft add rule netdev watch in add @seen { ether saddr . ether daddr }");
    let marks = |n: u8| {
        [
            format!("table=0,in_port=1 actions=mod_dl_src:0a:00:00:00:00:0{n},resubmit(,{n})"),
            format!("table={n} actions=mod_dl_dst:0a:00:00:00:00:1{n},output:2"),
        ]
    };
    let (one, two) = (marks(1), marks(2));
    bed.flows(&[&one[0], &one[1]]);
    let load = a.spawn("ping -q -f -l 1000 -w 20 10.0.0.2");
    let pairs = ["01", "02"].map(|n| format!("0a:00:00:00:00:{n} . 0a:00:00:00:00:1{}", &n[1..]));
    let start = Instant::now();
    let mut seen = String::new();
    // On an emulated machine ping alone takes seconds to begin.
    while start.elapsed() < Duration::from_secs(18) && !pairs.iter().all(|pair| seen.contains(pair)) {
        let round = Instant::now();
        while round.elapsed() < Duration::from_secs(2) {
            bed.flows(&[&two[0], &two[1]]);
            bed.flows(&[&one[0], &one[1]]);
        }
        seen = b.must("nft list set netdev watch seen");
    }
    drop(load);
    for pair in &pairs {
        assert!(seen.contains(pair), "{pair} not in {seen}");
    }
    assert_eq!(seen.matches(" . 0a:").count(), 2, "{seen}");
    assert!(bed.status(1).drops.total() == 0, "{:?}", bed.status(1));
}
