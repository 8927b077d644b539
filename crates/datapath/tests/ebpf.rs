//! The eBPF datapath passes the suite of all datapaths.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
mod suite;

use footbridge_datapath::ebpf::Ebpf;
use footbridge_datapath::{Attachment, Change, Datapath, Link, PortSpec, TunnelProtocol};
use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{Flow, PortNames, PortNo};
use footbridge_pipeline::DropReason;

fn ebpf() -> Box<dyn Datapath> {
    Box::new(Ebpf::start().unwrap())
}

suite::datapath_suite! {
    ebpf;
    drops_and_counts_everything_without_flows,
    carries_ping_between_two_ports,
    carries_vlan_tags,
    tracks_connections,
    completes_checksums_that_a_sender_left_undone,
    counts_frames_too_long_for_the_next_device,
    outlives_a_device_and_takes_it_back,
    notices_a_device_coming_up_by_itself,
    serves_others_while_one_port_is_flooded,
    carries_tcp_at_a_sane_speed,
    commits_are_atomic_for_packets,
    hands_packets_to_the_controllers,
    joins_two_bridges_by_vxlan,
    counts_what_a_tunnel_cannot_send,
    drops_bad_vxlan,
    sends_handed_in_packets_through_a_tunnel,
    floods_leave_tunnels_out,
}

suite::datapath_suite! {
    ignored "needs a kernel with Geneve devices: scripts/kernels runs it on such";
    ebpf;
    joins_two_bridges_by_geneve,
    carries_tunnel_metadata_in_geneve,
}

/// All of this, with filters in place of tcx links, as below Linux 6.6.
#[test]
fn passes_with_filters_too() {
    if !common::privileged("passes_with_filters_too") {
        return;
    }
    let mut tests = std::process::Command::new(std::env::current_exe().unwrap());
    tests.args(["--skip", "passes_with_filters_too"]).env("FOOTBRIDGE_NO_TCX", "1");
    let output = tests.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// The article's ARP path: a host asks for a peer's gateway, and the kernel alone answers;
/// asking under another's address is dropped.
#[test]
fn answers_arp_for_peers_in_the_kernel() {
    const TEST: &str = "answers_arp_for_peers_in_the_kernel";
    if !common::privileged(TEST) {
        return;
    }
    let namespace = common::Namespace::new("br");
    let mut datapath = namespace.enter(ebpf);
    let host = common::host(&namespace, "gw", "10.222.1.1/24");
    host.must("ip link set dev eth0 address 4e:99:08:c1:53:be");
    host.must("ip addr add 10.222.1.9/24 dev eth0");
    let attachment = Attachment::Device { ifname: "gw".to_owned() };
    datapath.add_port(&PortSpec { number: PortNo(2), name: "antrea-gw0".to_owned(), attachment }).unwrap();
    commit(datapath.as_mut(), &arp_path());
    host.must("ip route add 10.222.2.0/24 via 10.222.2.1 dev eth0 onlink");
    // The kernel asks in the name of the packet's source. Nobody answers the ping itself.
    let heard = |sender: &str| {
        host.must("ip neigh flush dev eth0");
        let _ = host.run(&format!("ping -q -c 1 -W 1 -I {sender} 10.222.2.34"));
        host.must("ip neigh show 10.222.2.1")
    };
    let neighbour = heard("10.222.1.1");
    assert!(neighbour.contains("lladdr aa:bb:cc:dd:ee:ff"), "{neighbour}");
    let port = |datapath: &dyn Datapath| datapath.ports().unwrap().remove(0);
    let before = port(datapath.as_ref());
    assert!(before.tx.packets >= 1, "{before:?}");
    let neighbour = heard("10.222.1.9");
    assert!(!neighbour.contains("lladdr"), "a spoofed request was answered: {neighbour}");
    let after = port(datapath.as_ref());
    assert_eq!(after.tx, before.tx);
    assert!(after.drops.of(DropReason::FlowDrop) > before.drops.of(DropReason::FlowDrop), "{after:?}");
}

/// NORMAL floods what it does not know, and learns; a port that goes takes what was learned on it along.
#[test]
fn switches_by_learned_addresses() {
    if !common::privileged("switches_by_learned_addresses") {
        return;
    }
    let namespace = common::Namespace::new("br");
    let mut datapath = namespace.enter(ebpf);
    let hosts = [(1, "a"), (2, "b"), (3, "c")].map(|(number, device)| {
        let host = common::host(&namespace, device, &format!("10.0.0.{number}/24"));
        let attachment = Attachment::Device { ifname: device.to_owned() };
        datapath.add_port(&PortSpec { number: PortNo(number), name: device.to_owned(), attachment }).unwrap();
        host
    });
    commit(datapath.as_mut(), &[parse_flow("actions=NORMAL", &PortNames::none()).unwrap()]);
    assert!(common::pings(&hosts[0], "10.0.0.2"));
    let learned: Vec<PortNo> = datapath.fdb().unwrap().iter().map(|entry| entry.port).collect();
    assert_eq!(learned, [PortNo(1), PortNo(2)]);
    let ports = datapath.ports().unwrap();
    assert_eq!(ports[2].tx.packets, 1, "only the first ARP request is flooded: {ports:?}");
    assert!(common::pings(&hosts[2], "10.0.0.1"));
    datapath.del_port(PortNo(1)).unwrap();
    let learned: Vec<PortNo> = datapath.fdb().unwrap().iter().map(|entry| entry.port).collect();
    assert_eq!(learned, [PortNo(2), PortNo(3)]);
}

/// IPv6 addresses are written in what a sender left the checksum of to hardware, superframes too.
#[test]
fn writes_ipv6_addresses_of_offloaded_packets() {
    if !common::privileged("writes_ipv6_addresses_of_offloaded_packets") {
        return;
    }
    let namespace = common::Namespace::new("br");
    let mut datapath = namespace.enter(ebpf);
    let [a, b] = [(1, "a"), (2, "b")].map(|(number, device)| {
        let host = common::host(&namespace, device, &format!("10.0.0.{number}/24"));
        host.must("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=0");
        host.must(&format!("ip addr add fd00::{number}/64 dev eth0 nodad"));
        host.must("ethtool -K eth0 tx on rx on");
        let attachment = Attachment::Device { ifname: device.to_owned() };
        datapath.add_port(&PortSpec { number: PortNo(number), name: device.to_owned(), attachment }).unwrap();
        host
    });
    // To a, b is fd00::99.
    commit(
        datapath.as_mut(),
        &[
            "priority=2,in_port=1,ipv6,ipv6_dst=fd00::99 actions=set_field:fd00::2->ipv6_dst,dec_ttl,output:2",
            "priority=2,in_port=2,ipv6,ipv6_src=fd00::2 actions=set_field:fd00::99->ipv6_src,output:1",
        ]
        .map(|flow| parse_flow(flow, &PortNames::none()).unwrap()),
    );
    for (host, peer, address) in [(&a, &b, "fd00::99"), (&b, &a, "fd00::1")] {
        let mac = peer.must("cat /sys/class/net/eth0/address");
        host.must(&format!("ip -6 neigh replace {address} lladdr {} dev eth0", mac.trim()));
    }
    let receiver = b.spawn_shell("nc -l -d fd00::2 7000 | wc -c");
    common::eventually("nc listens", std::time::Duration::from_secs(5), || {
        b.must("ss -6Hltn").contains(":7000")
    });
    assert!(a.shell("head -c 3000000 /dev/zero | nc -N -w 5 fd00::99 7000"));
    assert_eq!(receiver.wait().trim(), "3000000");
    assert!(b.must("nstat -asz TcpInCsumErrors").contains("TcpInCsumErrors                 0 "));
}

/// A tunnel port's device goes with the port, and is made again where it is taken away; one of that name that is not
/// ours is left alone, and so is its UDP port.
#[test]
fn a_tunnels_device_comes_and_goes_with_its_port() {
    if !common::privileged("a_tunnels_device_comes_and_goes_with_its_port") {
        return;
    }
    let namespace = common::Namespace::new("br");
    let mut datapath = namespace.enter(ebpf);
    let device = || namespace.run("ip -d link show dev tun");
    let port = |name: &str| PortSpec {
        number: PortNo(1),
        name: name.to_owned(),
        attachment: Attachment::tunnel(TunnelProtocol::Vxlan),
    };
    datapath.add_port(&port("tun")).unwrap();
    let made = device().unwrap();
    assert!(made.contains("NOARP") && made.contains("external") && made.contains("dstport 4789"), "{made}");
    assert_eq!(namespace.must("ip addr show dev tun scope link").find("inet6"), None);
    namespace.must("ip link del dev tun");
    datapath.refresh_ports().unwrap();
    assert_eq!(datapath.ports().unwrap()[0].link, Link::Up);
    datapath.del_port(PortNo(1)).unwrap();
    assert!(device().is_err());
    namespace.must("ip link add tun type vxlan external dstport 4789");
    for name in ["tun", "other"] {
        let refused = datapath.add_port(&port(name)).unwrap_err().to_string();
        assert!(refused.contains("is there"), "{refused}");
    }
    drop(datapath);
    assert!(device().is_ok());
}

/// Tables 0, 10 and 20 of the article's worker1.
fn arp_path() -> Vec<Flow> {
    let text = include_str!("../../pipeline/tests/data/worker1.flows");
    let mut names = PortNames::none();
    for (number, name) in [
        (1, "antrea-tun0"),
        (2, "antrea-gw0"),
        (3, "coredns--3e3abf"),
        (4, "antrea-o-830766"),
        (48, "backend1-bab86f"),
        (49, "frontend-a3ba2f"),
    ] {
        names.insert(PortNo(number), name);
    }
    let flows = text.lines().map(|line| parse_flow(line.trim(), &names).unwrap());
    flows.filter(|flow| flow.table <= 20).collect()
}

fn commit(datapath: &mut dyn Datapath, flows: &[Flow]) {
    let shared = datapath.flows();
    let mut pipeline = shared.write().unwrap();
    let now = footbridge_datapath::clock::now();
    let added = flows.iter().map(|flow| pipeline.insert(flow.clone(), now).unwrap().entry.id).collect();
    datapath.commit(&pipeline, &Change { added, removed: Vec::new() }).unwrap();
}
