//! The article's worker1: its bridge as dumped, and what it does with the article's packets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use footbridge_openflow::text::{parse_flow, parse_packet};
use footbridge_openflow::{Field, Key, MacAddr, PortNames, PortNo};
use footbridge_pipeline::{
    DropReason, Entry, Observer, Packet, Pipeline, PortKind, State, Time, TunnelKey, Unobserved, Verdict,
    packet,
};
use std::net::Ipv4Addr;

const TUNNEL: PortNo = PortNo(1);
const GATEWAY: PortNo = PortNo(2);
const BACKEND1: PortNo = PortNo(48);
const FRONTEND: PortNo = PortNo(49);
const VIRTUAL_MAC: &str = "aa:bb:cc:dd:ee:ff";
const GATEWAY_MAC: &str = "4e:99:08:c1:53:be";

struct Worker1 {
    pipeline: Pipeline,
    state: State,
    names: PortNames,
    now: Time,
}

impl Worker1 {
    /// The bridge with all its flows, or with those that `keep` takes.
    fn with(keep: impl Fn(&str) -> bool) -> Worker1 {
        let ports = [
            (TUNNEL, "antrea-tun0"),
            (GATEWAY, "antrea-gw0"),
            (PortNo(3), "coredns--3e3abf"),
            (PortNo(4), "antrea-o-830766"),
            (BACKEND1, "backend1-bab86f"),
            (FRONTEND, "frontend-a3ba2f"),
        ];
        let names: PortNames = ports.into_iter().collect();
        let mut pipeline = Pipeline::new();
        for line in include_str!("data/worker1.flows").lines().filter(|line| keep(line)) {
            let flow = parse_flow(line, &names).unwrap();
            pipeline.insert(flow, Time::from_secs(1)).unwrap();
        }
        let mut state = State::default();
        for (number, _) in ports {
            let kind = if number == TUNNEL { PortKind::Tunnel } else { PortKind::Ordinary };
            state.ports.insert(number, kind);
        }
        Worker1 { pipeline, state, names, now: Time::from_secs(10) }
    }

    fn new() -> Worker1 {
        Worker1::with(|_| true)
    }

    /// Without the policies that isolate backend1 and frontend.
    fn without_policies() -> Worker1 {
        Worker1::with(|line| {
            let policy = line.contains("cookie=0x105");
            let isolation =
                ["table=60", "table=100"].iter().any(|t| line.contains(t)) && !line.contains("priority=0 ");
            !policy && !isolation
        })
    }

    fn key(&self, text: &str) -> Key {
        parse_packet(text, &self.names).unwrap()
    }

    fn send(&mut self, text: &str) -> Verdict {
        let key = self.key(text);
        let in_port = PortNo(key.get(Field::InPortOxm) as u32);
        let packet = Packet { in_port, frame: packet::compose(&key), tunnel: TunnelKey::of(&key) };
        self.now = Time(self.now.0 + 1_000_000);
        self.pipeline.process(&mut self.state, packet, self.now, &mut Unobserved)
    }
}

fn key_of(verdict: &Verdict) -> Key {
    let [output] = &verdict.outputs[..] else { panic!("not one output: {verdict:?}") };
    packet::parse(&output.frame, PortNo::ZERO, &output.tunnel)
}

fn mac(text: &str) -> u128 {
    text.parse::<MacAddr>().unwrap().into()
}

fn ip(text: &str) -> u128 {
    text.parse::<Ipv4Addr>().unwrap().to_bits().into()
}

fn sole_port(verdict: &Verdict) -> PortNo {
    let [output] = &verdict.outputs[..] else { panic!("not one output: {verdict:?}") };
    output.port
}

fn dropped(verdict: &Verdict) -> (DropReason, u8) {
    assert_eq!(verdict.outputs, []);
    let drop = verdict.drop.expect("a reason");
    (drop.reason, drop.table)
}

fn assert_answers_for_worker2(verdict: &Verdict) {
    assert_eq!(sole_port(verdict), GATEWAY);
    let key = key_of(verdict);
    assert_eq!(key.get(Field::EthDst), mac(GATEWAY_MAC));
    assert_eq!(key.get(Field::EthSrc), mac(VIRTUAL_MAC));
    assert_eq!(key.get(Field::ArpOp), 2);
    assert_eq!(key.get(Field::ArpSpa), ip("10.222.2.1"));
    assert_eq!(key.get(Field::ArpSha), mac(VIRTUAL_MAC));
    assert_eq!(key.get(Field::ArpTpa), ip("10.222.1.1"));
    assert_eq!(key.get(Field::ArpTha), mac(GATEWAY_MAC));
}

const ASK_WORKER2: &str = "arp,in_port=antrea-gw0,dl_src=4e:99:08:c1:53:be,arp_op=1,arp_spa=10.222.1.1,\
     arp_tpa=10.222.2.1,arp_sha=4e:99:08:c1:53:be,arp_tha=00:00:00:00:00:00";

#[test]
fn answers_the_gateways_arp_request_for_worker2_with_the_virtual_mac() {
    let verdict = Worker1::new().send(&format!("{ASK_WORKER2},dl_dst=ff:ff:ff:ff:ff:ff"));
    assert_answers_for_worker2(&verdict);
}

#[test]
fn answers_the_kernels_unicast_recheck_too() {
    let verdict = Worker1::new().send(&format!("{ASK_WORKER2},dl_dst={VIRTUAL_MAC}"));
    assert_answers_for_worker2(&verdict);
}

#[test]
fn drops_arp_with_a_neighbours_address_in_the_guard() {
    let verdict = Worker1::new().send(
        "arp,in_port=frontend-a3ba2f,dl_src=be:2c:bf:e4:ec:c5,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,\
         arp_spa=10.222.1.47,arp_tpa=10.222.1.1,arp_sha=be:2c:bf:e4:ec:c5",
    );
    assert_eq!(dropped(&verdict), (DropReason::FlowDrop, 10));
}

#[test]
fn drops_ip_with_a_neighbours_address_in_the_guard_and_counts_it_there() {
    let mut worker1 = Worker1::new();
    let verdict = worker1.send(
        "tcp,in_port=frontend-a3ba2f,dl_src=be:2c:bf:e4:ec:c5,dl_dst=4e:99:08:c1:53:be,nw_src=10.222.1.47,\
         nw_dst=10.222.2.34,nw_ttl=64,tp_src=40000,tp_dst=80,tcp_flags=syn",
    );
    assert_eq!(dropped(&verdict), (DropReason::FlowDrop, 10));
    let default = worker1.pipeline.table(10).find(|entry| entry.flow.priority == 0).unwrap();
    assert_eq!(default.counters.packets(), 1);
}

#[test]
fn sends_the_frontends_service_call_to_the_gateway() {
    let verdict = Worker1::new().send(
        "tcp,in_port=frontend-a3ba2f,dl_src=be:2c:bf:e4:ec:c5,dl_dst=4e:99:08:c1:53:be,nw_src=10.222.1.48,\
         nw_dst=10.104.65.133,nw_ttl=64,tp_src=40000,tp_dst=80,tcp_flags=syn",
    );
    assert_eq!(sole_port(&verdict), GATEWAY);
    assert_eq!(key_of(&verdict).get(Field::EthDst), mac(GATEWAY_MAC));
}

#[test]
fn sends_from_the_gateway_to_worker2_through_the_tunnel() {
    let verdict = Worker1::new().send(
        "tcp,in_port=antrea-gw0,dl_src=4e:99:08:c1:53:be,dl_dst=aa:bb:cc:dd:ee:ff,nw_src=10.222.1.48,\
         nw_dst=10.222.2.34,nw_ttl=64,tp_src=40000,tp_dst=80,tcp_flags=syn",
    );
    assert_eq!(sole_port(&verdict), TUNNEL);
    assert_eq!(verdict.outputs[0].tunnel.dst, Ipv4Addr::new(10, 79, 1, 202));
    let key = key_of(&verdict);
    assert_eq!(key.get(Field::NwTtl), 63);
    assert_eq!(key.get(Field::EthSrc), mac(GATEWAY_MAC));
    assert_eq!(key.get(Field::EthDst), mac(VIRTUAL_MAC));
}

#[test]
fn delivers_from_the_tunnel_to_the_pod() {
    let verdict = Worker1::without_policies().send(
        "icmp,in_port=antrea-tun0,tun_dst=10.79.1.201,tun_src=10.79.1.202,dl_src=02:d8:4e:3f:92:1d,\
         dl_dst=aa:bb:cc:dd:ee:ff,nw_src=10.222.2.34,nw_dst=10.222.1.48,nw_ttl=63,icmp_type=8,icmp_code=0",
    );
    assert_eq!(sole_port(&verdict), FRONTEND);
    let key = key_of(&verdict);
    assert_eq!(key.get(Field::EthDst), mac("be:2c:bf:e4:ec:c5"));
    assert_eq!(key.get(Field::EthSrc), mac(GATEWAY_MAC));
    assert_eq!(key.get(Field::NwTtl), 62);
}

#[test]
fn a_tunnelled_frame_that_is_not_ip_ends_in_table_30() {
    let verdict = Worker1::new().send("arp,in_port=antrea-tun0,tun_dst=10.79.1.201,arp_op=1");
    assert_eq!(dropped(&verdict), (DropReason::NoFlow, 30));
}

const FRONTEND_TO_BACKEND1: &str = "in_port=frontend-a3ba2f,dl_src=be:2c:bf:e4:ec:c5,\
     dl_dst=f2:32:d8:07:e2:a6,nw_src=10.222.1.48,nw_dst=10.222.1.47,nw_ttl=64,tp_src=40000";

#[test]
fn lets_the_frontend_reach_backend1_on_port_80_by_conjunctions() {
    struct Conjunctions(Vec<(u8, u32)>);
    impl Observer for Conjunctions {
        fn matched(&mut self, table: u8, _: &Entry, conjunction: Option<u32>, _: &Key) {
            self.0.extend(conjunction.map(|id| (table, id)));
        }
    }
    let mut worker1 = Worker1::new();
    let key = worker1.key(&format!("tcp,{FRONTEND_TO_BACKEND1},tp_dst=80,tcp_flags=syn"));
    let packet = Packet { in_port: FRONTEND, frame: packet::compose(&key), tunnel: TunnelKey::default() };
    let mut seen = Conjunctions(Vec::new());
    let verdict = worker1.pipeline.process(&mut worker1.state, packet, worker1.now, &mut seen);
    assert_eq!(seen.0, [(50, 1), (90, 3)]);
    assert_eq!(sole_port(&verdict), BACKEND1);
    let by_id = |entry: &&std::sync::Arc<Entry>| entry.flow.matching.exact(Field::ConjId) == Some(1);
    assert_eq!(worker1.pipeline.table(50).find(by_id).unwrap().counters.packets(), 1);
    let part = |entry: &&std::sync::Arc<Entry>| entry.flow.priority == 200;
    assert!(worker1.pipeline.table(50).filter(part).all(|entry| entry.counters.packets() == 0));
}

#[test]
fn keeps_the_frontend_from_backend1_on_other_ports() {
    let verdict = Worker1::new().send(&format!("tcp,{FRONTEND_TO_BACKEND1},tp_dst=22,tcp_flags=syn"));
    assert_eq!(dropped(&verdict), (DropReason::FlowDrop, 60));
}

#[test]
fn delivers_from_pod_to_pod_on_the_node() {
    let verdict = Worker1::without_policies().send(&format!("udp,{FRONTEND_TO_BACKEND1},tp_dst=5000"));
    assert_eq!(sole_port(&verdict), BACKEND1);
    assert_eq!(key_of(&verdict).get(Field::NwTtl), 64);
}

/// The article's service call after the host's DNAT: the reply of the endpoint must go back to the
/// host, which alone knows the connection's first destination.
#[test]
fn sends_an_endpoints_reply_of_a_service_call_back_to_the_host() {
    let mut worker1 = Worker1::without_policies();
    let call = "tcp,in_port=antrea-gw0,dl_src=4e:99:08:c1:53:be,dl_dst=f2:32:d8:07:e2:a6,nw_src=10.222.1.48,\
         nw_dst=10.222.1.47,nw_ttl=63,tp_src=40000,tp_dst=80,tcp_flags=syn";
    assert_eq!(sole_port(&worker1.send(call)), BACKEND1);
    let reply = "tcp,in_port=backend1-bab86f,dl_src=f2:32:d8:07:e2:a6,dl_dst=be:2c:bf:e4:ec:c5,\
         nw_src=10.222.1.47,nw_dst=10.222.1.48,nw_ttl=64,tp_src=80,tp_dst=40000,tcp_flags=syn|ack";
    let verdict = worker1.send(reply);
    assert_eq!(sole_port(&verdict), GATEWAY);
    assert_eq!(key_of(&verdict).get(Field::EthDst), mac(GATEWAY_MAC));
    let [connection] = &worker1.state.conntrack.connections(Some(65520), worker1.now)[..] else { panic!() };
    assert_eq!((connection.mark, connection.replied), (0x20, true));
}

#[test]
fn drops_a_lone_syn_ack_as_invalid() {
    let verdict = Worker1::new().send(
        "tcp,in_port=backend1-bab86f,dl_src=f2:32:d8:07:e2:a6,dl_dst=4e:99:08:c1:53:be,nw_src=10.222.1.47,\
         nw_dst=10.222.2.99,nw_ttl=64,tp_src=80,tp_dst=40000,tcp_flags=syn|ack",
    );
    assert_eq!(dropped(&verdict), (DropReason::FlowDrop, 31));
}

#[test]
fn forwards_the_guarded_arp_of_pods_as_a_learning_switch_but_never_to_the_tunnel() {
    let verdict = Worker1::new().send(
        "arp,in_port=frontend-a3ba2f,dl_src=be:2c:bf:e4:ec:c5,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,\
         arp_spa=10.222.1.48,arp_tpa=10.222.1.47,arp_sha=be:2c:bf:e4:ec:c5",
    );
    let ports: Vec<u32> = verdict.outputs.iter().map(|output| output.port.0).collect();
    assert_eq!(ports, [2, 3, 4, 48]);
}
