//! The article's worker1, whole: its connections in the kernel's program, and the tables that packets pass.

use super::bed::{Bed, context};
use super::differential::{seen, state};
use crate::Change;
use crate::clock;
use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{Field, Key, PortNames, PortNo};
use footbridge_pipeline::conntrack::Progress;
use footbridge_pipeline::conntrack::tcp::TcpState;
use footbridge_pipeline::packet::compose;
use footbridge_pipeline::{FlowId, Packet, PortKind, State, TunnelKey, Unobserved};

const TUNNEL: u32 = 1;
const GATEWAY: u32 = 2;
const BACKEND1: u32 = 48;
const FRONTEND: u32 = 49;

const GATEWAY_MAC: u128 = 0x4e99_08c1_53be;
const FRONTEND_MAC: u128 = 0xbe2c_bfe4_ecc5;
const BACKEND1_MAC: u128 = 0xf232_d807_e2a6;
const VIRTUAL_MAC: u128 = 0xaabb_ccdd_eeff;
const FRONTEND_IP: u128 = 0x0ade_0130;
const BACKEND1_IP: u128 = 0x0ade_012f;
const BACKEND2_IP: u128 = 0x0ade_0222;
const SERVICE_IP: u128 = 0x0a68_4185;

const SYN: u128 = 0x02;
const SYN_ACK: u128 = 0x12;
const ACK: u128 = 0x10;

struct Node {
    bed: Bed,
    state: State,
}

impl Node {
    fn new(test: &str) -> Option<Node> {
        let mut bed = Bed::new(test, 49)?;
        let names = [
            (TUNNEL, "antrea-tun0"),
            (GATEWAY, "antrea-gw0"),
            (3, "coredns--3e3abf"),
            (4, "antrea-o-830766"),
            (BACKEND1, "backend1-bab86f"),
            (FRONTEND, "frontend-a3ba2f"),
        ];
        let mut ports = PortNames::none();
        names.iter().for_each(|(number, name)| ports.insert(PortNo(*number), *name));
        let text = include_str!("../../../../pipeline/tests/data/worker1.flows");
        let flows = text.lines().map(|line| parse_flow(line.trim(), &ports).unwrap());
        let insert = |flow| bed.pipeline.insert(flow, clock::now()).unwrap().entry.id;
        let added: Vec<FlowId> = flows.map(insert).collect();
        bed.commit(&Change { added, removed: vec![] }).unwrap();
        let mut state = state();
        names.iter().for_each(|(number, _)| state.ports.insert(PortNo(*number), PortKind::Ordinary));
        Some(Node { bed, state })
    }

    /// The port that the packet leaves by, here and in the evaluator.
    fn send(&mut self, in_port: u32, frame: &[u8]) -> Option<u32> {
        let packet = Packet { in_port: PortNo(in_port), frame: frame.to_vec(), tunnel: TunnelKey::default() };
        let expected = self.bed.pipeline.process(&mut self.state, packet, clock::now(), &mut Unobserved);
        let found = self.bed.run(PortNo(in_port), frame);
        assert_eq!(found, seen(expected), "{frame:02x?}");
        found.outputs.first().map(|(port, _)| *port)
    }

    /// Have such a packet looked up in so many `tables`, and print how many nanoseconds that takes. It has to leave as
    /// it came, for it is the same one again and again.
    fn passes(&self, what: &str, in_port: u32, frame: &[u8], tables: u64) {
        const RUNS: u32 = 20_000;
        let (program, _record) = self.bed.recording();
        let context = context(PortNo(in_port), &TunnelKey::default());
        let hits = || -> u64 {
            let flows = self.bed.pipeline.entries();
            flows.map(|flow| self.bed.compiled.statistics(flow).packets).sum()
        };
        let before = hits();
        let mut costs: Vec<u32> = (0..7).map(|_| program.run(frame, &context, RUNS).unwrap().1).collect();
        assert_eq!(hits() - before, 7 * u64::from(RUNS) * tables, "{what}");
        costs.sort_unstable();
        println!("{what}: {} ns (median of 7; {} to {}), {tables} tables", costs[3], costs[0], costs[6]);
    }
}

/// TCP from a host with a MAC to another, between ports.
fn tcp(
    (src_mac, src, sport): (u128, u128, u128),
    (dst_mac, dst, dport): (u128, u128, u128),
    flags: u128,
) -> Vec<u8> {
    let mut key = Key::default();
    for (field, value) in [
        (Field::EthSrc, src_mac),
        (Field::EthDst, dst_mac),
        (Field::EthType, 0x0800),
        (Field::NwSrc, src),
        (Field::NwDst, dst),
        (Field::NwProto, 6),
        (Field::NwTtl, 64),
        (Field::TcpSrc, sport),
        (Field::TcpDst, dport),
        (Field::TcpFlags, flags),
    ] {
        key.set(field, value);
    }
    compose(&key)
}

/// The article's call: from the pod to the service's address, there by the host's stack, and from the gateway to the
/// endpoint on the other node; and back the same way, by the mark.
#[test]
fn a_service_call_passes_the_hosts_stack_both_ways() {
    let Some(mut node) = Node::new("a_service_call_passes_the_hosts_stack_both_ways") else { return };
    let frontend = |mac| (mac, FRONTEND_IP, 40_000);
    let request = |flags| tcp(frontend(FRONTEND_MAC), (GATEWAY_MAC, SERVICE_IP, 80), flags);
    let behind_nat = |flags| tcp(frontend(GATEWAY_MAC), (VIRTUAL_MAC, BACKEND2_IP, 80), flags);
    let reply = |flags| tcp((VIRTUAL_MAC, BACKEND2_IP, 80), (VIRTUAL_MAC, FRONTEND_IP, 40_000), flags);
    let unnatted = |flags| tcp((GATEWAY_MAC, SERVICE_IP, 80), frontend(FRONTEND_MAC), flags);
    assert_eq!(node.send(FRONTEND, &request(SYN)), Some(GATEWAY));
    assert_eq!(node.send(GATEWAY, &behind_nat(SYN)), Some(TUNNEL));
    // The mark sends the reply to the host rather than to the pod.
    assert_eq!(node.send(TUNNEL, &reply(SYN_ACK)), Some(GATEWAY));
    assert_eq!(node.send(GATEWAY, &unnatted(SYN_ACK)), Some(FRONTEND));
    assert_eq!(node.send(FRONTEND, &request(ACK)), Some(GATEWAY));
    assert_eq!(node.send(GATEWAY, &behind_nat(ACK)), Some(TUNNEL));
    let connections = node.bed.compiled.shared().connections.list(Some(65520), clock::now()).unwrap();
    let what: Vec<_> = connections.iter().map(|c| (c.mark, c.replied, c.progress)).collect();
    let established = Progress::Tcp(TcpState::Established);
    assert_eq!(what, [(0, true, established), (0x20, true, established)]);
    // Nobody else's, and no lone SYN+ACK.
    assert_eq!(
        node.send(TUNNEL, &tcp((VIRTUAL_MAC, BACKEND2_IP, 81), (VIRTUAL_MAC, FRONTEND_IP, 1), SYN_ACK)),
        None
    );
}

/// How many tables packets are looked up in. What they cost is printed, never judged: the machine's other work is in
/// it.
#[test]
fn packets_pass_no_more_tables_than_they_have_to() {
    let Some(mut node) = Node::new("packets_pass_no_more_tables_than_they_have_to") else { return };
    let (client, server) = ((FRONTEND_MAC, FRONTEND_IP, 40_000), (BACKEND1_MAC, BACKEND1_IP, 80));
    let (there, back) = (|flags| tcp(client, server, flags), |flags| tcp(server, client, flags));
    for (port, frame) in [(FRONTEND, there(SYN)), (BACKEND1, back(SYN_ACK)), (FRONTEND, there(ACK))] {
        assert!(node.send(port, &frame).is_some());
    }
    node.passes("pod to pod, established", FRONTEND, &there(ACK), 11);
    node.passes("pod to pod, the reply", BACKEND1, &back(ACK), 11);
    let unanswered = tcp((FRONTEND_MAC, FRONTEND_IP, 40_001), server, SYN);
    node.passes("pod to pod, a first SYN again and again", FRONTEND, &unanswered, 11);
    let invalid = tcp(client, (BACKEND1_MAC, BACKEND1_IP, 81), SYN_ACK);
    node.passes("pod to pod, invalid", FRONTEND, &invalid, 4);
    let spoofed = tcp((FRONTEND_MAC, BACKEND1_IP, 1), server, SYN);
    node.passes("spoofed", FRONTEND, &spoofed, 2);
}
