//! Two datapaths joined by a tunnel, each in a namespace of its own.
//!
//! ```text
//!     host a (10.0.0.1)                         host b (10.0.0.2)
//!        │                                         │
//!  ┌─────2─────┐                             ┌─────2─────┐
//!  │ datapath  │                             │ datapath  │
//!  └─────1─────┘  port 1: the tunnel         └─────1─────┘
//!        ╎                                         ╎
//!     uplink 192.0.2.1 ─────── veth ─────── uplink 192.0.2.2
//! ```

use super::{Bed, Factory};
use crate::common::{Namespace, eventually, pings, tcp_passes};
use footbridge_datapath::{Attachment, PacketOut, PortSpec, TunnelProtocol};
use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{Match, PortNames, PortNo};
use footbridge_pipeline::DropReason;
use std::net::UdpSocket;
use std::time::Duration;

/// Ping, and TCP both ways, byte for byte, through VXLAN.
pub(crate) fn joins_two_bridges_by_vxlan(factory: Factory) {
    joins_two_bridges(factory, TunnelProtocol::Vxlan);
}

/// Ping, and TCP both ways, byte for byte, through Geneve.
pub(crate) fn joins_two_bridges_by_geneve(factory: Factory) {
    joins_two_bridges(factory, TunnelProtocol::Geneve);
}

fn joins_two_bridges(factory: Factory, protocol: TunnelProtocol) {
    let (left, _right, a, b) = joined(factory, protocol);
    assert!(pings(&a, "10.0.0.2"));
    assert!(tcp_passes(&a, &b, "10.0.0.2", 1_000_000));
    assert!(tcp_passes(&b, &a, "10.0.0.1", 1_000_000));
    let status = left.status(1);
    assert!(status.rx.packets > 100 && status.tx.packets > 100, "{status:?}");
}

/// A Geneve option carries tun_metadata0 to the other side, where flows match it.
pub(crate) fn carries_tunnel_metadata_in_geneve(factory: Factory) {
    let (mut left, mut right, a, _b) = joined(factory, TunnelProtocol::Geneve);
    let flows = |mark: &str, peer: &str| {
        [
            format!("in_port=2 actions=load:{mark}->NXM_NX_TUN_METADATA0[0..31],{}", to(peer)),
            format!("in_port=1,tun_metadata0={mark},tun_src={peer} actions=output:2"),
        ]
    };
    for (bed, peer) in [(&mut left, "192.0.2.2"), (&mut right, "192.0.2.1")] {
        let [out, back] = flows("0xcafe1234", peer);
        bed.flows(&[&out, &back]);
    }
    assert!(pings(&a, "10.0.0.2"));
    let [out, back] = flows("0x1", "192.0.2.2");
    left.flows(&[&out, &back]);
    assert!(!pings(&a, "10.0.0.2"), "another mark is not taken");
}

/// A frame for the tunnel without a destination, and one to where no route leads, are counted.
pub(crate) fn counts_what_a_tunnel_cannot_send(factory: Factory) {
    let (mut left, _right, a, _b) = joined(factory, TunnelProtocol::Vxlan);
    left.flows(&["in_port=2 actions=output:1"]);
    assert!(!pings(&a, "10.0.0.2"));
    let without = |bed: &Bed| {
        bed.status(1).drops.of(DropReason::NoTunnelDst) + bed.status(2).drops.of(DropReason::NoTunnelDst)
    };
    assert!(without(&left) > 0);
    left.flows(&[&format!("in_port=2 actions={}", to("203.0.113.1"))]);
    assert!(!pings(&a, "10.0.0.2"));
    assert!(left.status(1).drops.of(DropReason::Unreachable) > 0, "{:?}", left.status(1));
}

/// Datagrams that are no VXLAN, or another network's, are dropped, and the tunnel goes on. They are counted, but for
/// those that are no VXLAN on a device of the kernel, which does not tell of them.
pub(crate) fn drops_bad_vxlan(factory: Factory) {
    let (left, right, a, _b) = joined(factory, TunnelProtocol::Vxlan);
    send_bad_vxlan(&right.namespace);
    let other_networks = || left.status(1).drops.of(DropReason::TunnelId) == 2;
    eventually("other networks' are counted", Duration::from_secs(2), other_networks);
    let told = if left.datapath.kind() == "ebpf" { 0 } else { 5 };
    let no_vxlan = || left.status(1).drops.of(DropReason::TunnelHeader) == told;
    eventually("the others are counted", Duration::from_secs(2), no_vxlan);
    assert_eq!(left.status(1).rx.packets, 0);
    assert!(pings(&a, "10.0.0.2"));
}

/// Five datagrams that are no VXLAN, then two of other networks, to the left datapath.
fn send_bad_vxlan(from: &Namespace) {
    let frame = [0u8; 14];
    let with = |header: [u8; 8]| [&header[..], &frame[..]].concat();
    let bad_headers = [
        vec![],
        vec![0x08, 0, 0, 0, 0, 0, 0],
        [8, 0, 0, 0, 0, 0, 0, 0].to_vec(),
        with([0, 0, 0, 0, 0, 0, 0, 0]),
        with([0xff, 0, 0, 0, 0, 0, 0, 0])[..21].to_vec(),
    ];
    let other_networks = [with([8, 0, 0, 0, 0, 0, 1, 0]), with([8, 0, 0, 0, 0x80, 0, 0, 0])];
    from.enter(|| {
        let socket = UdpSocket::bind("192.0.2.2:0").unwrap();
        for datagram in bad_headers.iter().chain(&other_networks) {
            socket.send_to(datagram, "192.0.2.1:4789").unwrap();
        }
    });
}

/// A packet that a controller hands in goes through the tunnel to where it says.
pub(crate) fn sends_handed_in_packets_through_a_tunnel(factory: Factory) {
    let (mut left, right, _a, _b) = joined(factory, TunnelProtocol::Vxlan);
    let packet = |actions: &str| PacketOut {
        in_port: PortNo::NONE,
        metadata: Match::any(),
        actions: parse_flow(&format!("actions={actions}"), &PortNames::none()).unwrap().actions,
        frame: [&[0x0a; 12][..], &[0x88, 0xb5], &[0; 46]].concat(),
    };
    left.datapath.packet_out(packet(&to("192.0.2.2"))).unwrap();
    let arrived = || right.status(1).rx.packets == 1;
    eventually("it arrives", Duration::from_secs(2), arrived);
    assert_eq!(right.status(2).tx.packets, 1);
    left.datapath.packet_out(packet("output:1")).unwrap();
    assert_eq!(left.status(1).tx.packets, 1);
}

/// FLOOD and NORMAL leave tunnels out, ALL does not, and what was learned behind a tunnel is not sent there.
pub(crate) fn floods_leave_tunnels_out(factory: Factory) {
    let (mut left, _right, a, b) = joined(factory, TunnelProtocol::Vxlan);
    let load = to("192.0.2.2").replace(",output:1", "");
    for (action, reaches) in [("FLOOD", false), ("NORMAL", false), ("ALL", true)] {
        let out = format!("in_port=2 actions={load},{action}");
        left.flows(&[&out, "in_port=1 actions=output:2"]);
        a.must("ip neigh flush dev eth0");
        assert_eq!(pings(&a, "10.0.0.2"), reaches, "{action}");
    }
    // The far host's request teaches the bridge where it is.
    left.flows(&[&format!("in_port=2 actions={load},NORMAL"), "in_port=1 actions=NORMAL"]);
    b.must("ip neigh flush dev eth0");
    assert!(!pings(&b, "10.0.0.1"));
    let status = left.status(2);
    assert!(status.tx.packets > 0 && status.drops.of(DropReason::NormalTunnel) > 0, "{status:?}");
}

/// Two datapaths with a host each, their tunnels, and flows that send everything to the other side.
fn joined(factory: Factory, protocol: TunnelProtocol) -> (Bed, Bed, Namespace, Namespace) {
    let (mut left, mut right) = (Bed::new(factory), Bed::new(factory));
    left.namespace.veth("uplink", &right.namespace, "uplink");
    let hosts = [(&mut left, 1, "192.0.2.2"), (&mut right, 2, "192.0.2.1")].map(|(bed, last, peer)| {
        bed.namespace.must(&format!("ip addr add 192.0.2.{last}/24 dev uplink"));
        let host = bed.host_at(2, "pod", last);
        host.must("ip link set dev eth0 mtu 1450");
        let (name, attachment) = ("tunnel".to_owned(), Attachment::tunnel(protocol));
        bed.datapath.add_port(&PortSpec { number: PortNo(1), name, attachment }).unwrap();
        bed.flows(&[&format!("in_port=2 actions={}", to(peer)), "in_port=1 actions=output:2"]);
        host
    });
    let [a, b] = hosts;
    (left, right, a, b)
}

/// The actions that send through the tunnel to a peer.
fn to(peer: &str) -> String {
    let address: std::net::Ipv4Addr = peer.parse().unwrap();
    format!("load:{:#x}->NXM_NX_TUN_IPV4_DST[],output:1", address.to_bits())
}
