//! From pod to pod, on one node and over a tunnel to another.

use crate::Measuring;
use crate::figure::{Better, Figure};
use crate::load;
use crate::switches::{Awake, Datapath, Result, Switch, machine_cpu};
use crate::testbed::{Between, CLIENT, Namespace, Pod, SERVER, Testbed, node_pipeline, wire};
use footbridge_node::Subnet;
use footbridge_node::state::{Peer, Way};
use std::net::Ipv4Addr;

const PEERS: [Between; 5] =
    [Between::Wire, Between::LinuxBridge, Between::Ovs, Between::OvsTso, Between::Footbridge];
/// What a datagram holds besides headers: with them the smallest Ethernet frame.
const SMALL: usize = 18;

/// All figures of pods on one node.
pub(crate) fn measure(how: &Measuring) -> Result<Vec<(&'static str, Vec<Figure>)>> {
    let awake = Awake::begin()?;
    let beds = PEERS
        .iter()
        .filter(|between| how.wants(between.name()))
        .map(|between| Testbed::lay(*between, 10))
        .collect::<Result<Vec<_>>>()?;
    let places: Vec<_> =
        beds.iter().map(|bed| (bed.between.name(), &bed.client, &bed.server, SERVER.address)).collect();
    Ok(vec![("pod-to-pod", between(&places, how, &awake)?), ("node-to-node", tunnels(how, &awake)?)])
}

type Place<'a> = (&'static str, &'a Namespace, &'a Namespace, Ipv4Addr);

fn between(places: &[Place<'_>], how: &Measuring, awake: &Awake) -> Result<Vec<Figure>> {
    let mut tcp = Figure::new("TCP, one stream", "Gbit/s", Better::More);
    let mut small = Figure::new("UDP of 18 bytes, delivered", "per second", Better::More);
    let mut lost = Figure::new("UDP of 18 bytes, lost", "%", Better::Less);
    let mut cost = Figure::new("processors busy, of a datagram delivered", "µs", Better::Less);
    let mut trips = Figure::new("round trip, p50", "µs", Better::Less);
    let time = how.time();
    for round in 0..how.rounds {
        for (name, client, server, to) in places {
            tcp.note(name, load::tcp(client, server, *to, how.seconds)? / 1e9);
            let busy = || Ok::<f64, Box<dyn std::error::Error>>(machine_cpu()? - awake.cpu()?);
            let before = busy()?;
            let datagrams = load::datagrams(client, server, *to, SMALL, time)?;
            cost.note(name, (busy()? - before) * 1e6 / datagrams.received.max(1) as f64);
            small.note(name, datagrams.received as f64 / datagrams.took.as_secs_f64());
            lost.note(name, 100.0 * (1.0 - datagrams.received as f64 / datagrams.sent.max(1) as f64));
            trips.note(name, load::round_trips(client, server, *to, time)?.percentile(0.5));
            eprintln!("round {round}, pods, {name}");
        }
    }
    Ok(vec![tcp, small, lost, cost, trips])
}

/// The pod on the other node.
const FAR: Pod = Pod { address: Ipv4Addr::new(10, 222, 2, 11), ..SERVER };
const NEAR_SUBNET: Ipv4Addr = Ipv4Addr::new(10, 222, 1, 0);
const FAR_SUBNET: Ipv4Addr = Ipv4Addr::new(10, 222, 2, 0);
const NEAR_NODE: Ipv4Addr = Ipv4Addr::new(10, 79, 1, 201);
const FAR_NODE: Ipv4Addr = Ipv4Addr::new(10, 79, 1, 202);
/// A pod's: the uplink's less what VXLAN takes.
const POD_MTU: u32 = 1450;

/// Two nodes over a veth pair as their uplink, a pod on each.
struct Nodes {
    client: Namespace,
    server: Namespace,
    _nodes: [Namespace; 2],
    _switches: Vec<Switch>,
}

impl Nodes {
    fn lay(role: &str) -> Result<Nodes> {
        let namespace = |part: &str| Namespace::create(&format!("{role}-{part}"));
        let (client, server) = (namespace("a")?, namespace("b")?);
        let nodes = [namespace("n1")?, namespace("n2")?];
        let [near, far] = &nodes;
        wire(near, "ens160", far, "ens160")?;
        near.ip(&format!("addr add {NEAR_NODE}/24 dev ens160"))?;
        far.ip(&format!("addr add {FAR_NODE}/24 dev ens160"))?;
        for (namespace, node, pod) in [(&client, near, CLIENT), (&server, far, FAR)] {
            wire(namespace, "eth0", node, pod.device)?;
            namespace.ip(&format!("link set eth0 address {} mtu {POD_MTU} up", pod.mac))?;
            namespace.ip(&format!("addr add {}/24 dev eth0", pod.address))?;
        }
        Ok(Nodes { client, server, _nodes: nodes, _switches: Vec::new() })
    }

    /// The kernel's bridge and its VXLAN device: one segment over both nodes.
    fn kernel() -> Result<Nodes> {
        let nodes = Nodes::lay("kernel")?;
        for (node, peer, pod) in [(0, FAR_NODE, CLIENT), (1, NEAR_NODE, FAR)] {
            let node = nodes._nodes.get(node).ok_or("there are two nodes")?;
            node.ip(&format!("link add vxlan0 type vxlan id 1 remote {peer} dstport 4789 dev ens160"))?;
            node.ip("link add br0 type bridge")?;
            for device in ["vxlan0", pod.device] {
                node.ip(&format!("link set {device} master br0 up"))?;
            }
            node.ip("link set br0 up")?;
        }
        for (pod, other) in [(&nodes.client, FAR_SUBNET), (&nodes.server, NEAR_SUBNET)] {
            pod.ip(&format!("route add {other}/24 dev eth0"))?;
        }
        Ok(nodes)
    }

    fn footbridge() -> Result<Nodes> {
        let mut nodes = Nodes::lay("footbridge")?;
        let subnet = |network| Subnet::containing(network, 24).ok_or("no such subnet");
        let gateway_mac = "02:00:00:00:00:01";
        for (at, own, pod, other, peer) in
            [(0, NEAR_SUBNET, CLIENT, FAR_SUBNET, FAR_NODE), (1, FAR_SUBNET, FAR, NEAR_SUBNET, NEAR_NODE)]
        {
            let node = nodes._nodes.get(at).ok_or("there are two nodes")?;
            let ports = vec!["antrea-tun0=1,type=vxlan".to_owned(), format!("{}={}", pod.device, pod.port)];
            let switch = Switch::footbridge_with(Some(node), ports, Datapath::Ebpf)?;
            let peer = Peer {
                name: "peer".to_owned(),
                uid: String::new(),
                subnet: subnet(other)?,
                address: peer,
                way: Way::Tunnel,
            };
            switch.add_flows(&node_pipeline(own, &[pod], &[peer])?)?;
            nodes._switches.push(switch);
        }
        for (pod, own) in [(&nodes.client, NEAR_SUBNET), (&nodes.server, FAR_SUBNET)] {
            // The gateway's device is not here; its address is only a next hop.
            let gateway = subnet(own)?.gateway();
            pod.ip(&format!("neigh add {gateway} lladdr {gateway_mac} dev eth0"))?;
            pod.ip(&format!("route add default via {gateway}"))?;
        }
        Ok(nodes)
    }
}

fn tunnels(how: &Measuring, awake: &Awake) -> Result<Vec<Figure>> {
    let beds = [("kernel VXLAN and bridge", Nodes::kernel()?), ("Footbridge (eBPF)", Nodes::footbridge()?)];
    for (name, nodes) in &beds {
        let ping = ["-c", "3", "-W", "1", &FAR.address.to_string()];
        nodes.client.exec("ping", &ping).map_err(|error| format!("{name}: {error}"))?;
    }
    let places: Vec<_> = beds
        .iter()
        .filter(|(name, _)| how.wants(name))
        .map(|(name, nodes)| (*name, &nodes.client, &nodes.server, FAR.address))
        .collect();
    between(&places, how, awake)
}
