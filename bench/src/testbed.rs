//! What packets pass in a measurement: two pods, each in a network namespace, and what stands between them.
//!
//!       pod a                      the node (not for a wire)                  pod b
//!     ┌────────────────┐         ┌───────────────────────────┐         ┌────────────────┐
//!     │ eth0           ├─────────┤ pod-a     bridge    pod-b ├─────────┤ eth0           │
//!     │ 10.222.1.10/24 │         │                           │         │ 10.222.1.11/24 │
//!     └────────────────┘         └───────────────────────────┘         └────────────────┘
//!
//! Namespaces are named after this process, and go with the value.

use crate::switches::{Datapath, Port, Result, Switch};
use footbridge_node::state::{LocalPod, Peer, Way};
use footbridge_node::{NodeConfig, NodeState, Subnet, cluster::ObjectName, tables};
use footbridge_openflow::{MacAddr, PortNames, PortNo};
use nix::sched::{CloneFlags, setns};
use std::fmt::Write as _;
use std::fs::File;
use std::net::Ipv4Addr;
use std::process::Command;

/// A pod's place: its OpenFlow port's number, its device's name at the node, MAC and address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pod {
    pub(crate) device: &'static str,
    pub(crate) port: u32,
    pub(crate) mac: MacAddr,
    pub(crate) address: Ipv4Addr,
}

/// The pod that asks.
pub(crate) const CLIENT: Pod = Pod {
    device: "pod-a",
    port: 10,
    mac: MacAddr([2, 0, 0, 0, 0, 0x0a]),
    address: Ipv4Addr::new(10, 222, 1, 10),
};
/// The pod that answers.
pub(crate) const SERVER: Pod = Pod {
    device: "pod-b",
    port: 11,
    mac: MacAddr([2, 0, 0, 0, 0, 0x0b]),
    address: Ipv4Addr::new(10, 222, 1, 11),
};

/// The MTU of everything here, as a node's uplink has it.
const MTU: &str = "1500";

/// What stands between the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub(crate) enum Between {
    /// Nothing: one veth pair.
    Wire,
    /// The kernel's own bridge.
    LinuxBridge,
    /// Open vSwitch's datapath in user space.
    Ovs,
    /// The same with `userspace-tso-enable`.
    OvsTso,
    /// Footbridge, compiled into the kernel.
    Footbridge,
}

impl Between {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Between::Wire => "raw veth pair",
            Between::LinuxBridge => "Linux bridge",
            Between::Ovs => "Open vSwitch (netdev)",
            Between::OvsTso => "Open vSwitch (netdev, TSO)",
            Between::Footbridge => "Footbridge (eBPF)",
        }
    }
}

/// A network namespace, deleted when dropped.
#[derive(Debug)]
pub(crate) struct Namespace(String);

impl Namespace {
    /// `role` is short and the only one of its name in this process.
    pub(crate) fn create(role: &str) -> Result<Namespace> {
        let name = format!("fbb-{}-{role}", std::process::id());
        run("ip", &["netns", "add", &name])?;
        let namespace = Namespace(name);
        namespace.ip("link set lo up")?;
        // A pod's own router solicitations and the like would be packets that nobody measures.
        namespace.sysctl("net.ipv6.conf.all.disable_ipv6", "1")?;
        namespace.sysctl("net.ipv6.conf.default.disable_ipv6", "1")?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// `ip` in it, its words parted by spaces.
    pub(crate) fn ip(&self, words: &str) -> Result<()> {
        let arguments: Vec<&str> = ["-n", &self.0].into_iter().chain(words.split_whitespace()).collect();
        run("ip", &arguments).map(drop)
    }

    pub(crate) fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        self.exec("sysctl", &["-q", "-w", &format!("{name}={value}")]).map(drop)
    }

    /// A program in it, to its end; what it printed.
    pub(crate) fn exec(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run("ip", &[&["netns", "exec", &self.0, program], arguments].concat())
    }

    /// A command that will run in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    /// Bring the calling thread into it, for the rest of its life.
    pub(crate) fn enter(&self) -> Result<()> {
        let file = File::open(format!("/run/netns/{}", self.0))?;
        Ok(setns(file, CloneFlags::CLONE_NEWNET)?)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A namespace that stays is seen in `ip netns`; there is nobody to tell here.
        let _deleted = run("ip", &["netns", "del", &self.0]);
    }
}

/// Run a program to its end; what it printed.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{program} {}: {}", arguments.join(" "), why.trim()).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Two pods with something between them.
pub(crate) struct Testbed {
    pub(crate) between: Between,
    pub(crate) client: Namespace,
    pub(crate) server: Namespace,
    /// The switch's processes, where there are any.
    pub(crate) switch: Option<Switch>,
    _node: Option<Namespace>,
}

impl Testbed {
    /// Lay the bed; the node's pipeline has a responder for each of `peers` peers.
    pub(crate) fn lay(between: Between, peers: u32) -> Result<Testbed> {
        let role = |part: &str| format!("{between:?}-{peers}-{part}").to_lowercase();
        let client = Namespace::create(&role("a"))?;
        let server = Namespace::create(&role("b"))?;
        let node = match between {
            Between::Wire => None,
            _ => Some(Namespace::create(&role("n"))?),
        };
        match &node {
            None => wire(&client, "eth0", &server, "eth0")?,
            Some(node) => {
                wire(&client, "eth0", node, CLIENT.device)?;
                wire(&server, "eth0", node, SERVER.device)?;
            }
        }
        for (namespace, pod) in [(&client, CLIENT), (&server, SERVER)] {
            namespace.ip(&format!("link set eth0 address {} up", pod.mac))?;
            namespace.ip(&format!("addr add {}/24 dev eth0", pod.address))?;
        }
        let switch = match (&node, between) {
            (None, _) | (_, Between::Wire) => None,
            (Some(node), Between::LinuxBridge) => {
                node.ip("link add br0 type bridge")?;
                node.ip("link set br0 up")?;
                for device in [CLIENT.device, SERVER.device] {
                    node.ip(&format!("link set {device} master br0"))?;
                }
                None
            }
            (Some(node), Between::Ovs | Between::OvsTso) => {
                if between == Between::Ovs {
                    // Its packet sockets would send on what has no checksum yet.
                    for pod in [&client, &server] {
                        pod.exec("ethtool", &["-K", "eth0", "tx", "off"])?;
                    }
                }
                Some(Switch::ovs_in(Some(node), &ports(), between == Between::OvsTso)?)
            }
            (Some(node), Between::Footbridge) => {
                Some(Switch::footbridge_in(Some(node), &ports(), Datapath::Ebpf)?)
            }
        };
        let bed = Testbed { between, client, server, switch, _node: node };
        if let Some(switch) = &bed.switch {
            switch.add_flows(&pipeline(peers)?)?;
        }
        bed.wait_until_it_works()?;
        Ok(bed)
    }

    fn wait_until_it_works(&self) -> Result<()> {
        let arguments = ["-c", "1", "-W", "1", &SERVER.address.to_string()];
        for _ in 0..10 {
            if self.client.exec("ping", &arguments).is_ok() {
                return Ok(());
            }
        }
        self.client.exec("ping", &arguments).map(drop)
    }
}

/// A veth pair between two namespaces, both ends up.
pub(crate) fn wire(one: &Namespace, name: &str, other: &Namespace, peer: &str) -> Result<()> {
    one.ip(&format!(
        "link add {name} mtu {MTU} type veth peer name {peer} mtu {MTU} netns {}",
        other.name()
    ))?;
    one.ip(&format!("link set {name} up"))?;
    other.ip(&format!("link set {peer} up"))
}

fn ports() -> [Port<'static>; 2] {
    [CLIENT, SERVER].map(|pod| Port { name: pod.device, number: pod.port })
}

/// The subnet of the `index`th peer: a /24 from 32.0.0.0 on, which leaves room for a hundred thousand.
fn peer_subnet(index: u32) -> Result<Subnet> {
    Subnet::containing(Ipv4Addr::from(0x2000_0000 + (index << 8)), 24).ok_or_else(|| "no such subnet".into())
}

/// The gateways of the first `count` peers.
pub(crate) fn gateways(count: u32) -> Result<Vec<Ipv4Addr>> {
    (0..count).map(|index| Ok(peer_subnet(index)?.gateway())).collect()
}

/// The whole pipeline of a node with the two pods and `peers` peers, as flow text.
pub(crate) fn pipeline(peers: u32) -> Result<String> {
    node_pipeline(Ipv4Addr::new(10, 222, 1, 0), &[CLIENT, SERVER], &peers_of(peers)?)
}

fn peers_of(count: u32) -> Result<Vec<Peer>> {
    let peer = |index| {
        let address = Ipv4Addr::from(0x2800_0000 + index);
        Ok(Peer {
            name: format!("peer{index}"),
            uid: String::new(),
            subnet: peer_subnet(index)?,
            address,
            way: Way::Tunnel,
        })
    };
    (0..count).map(peer).collect()
}

/// The pipeline of a node with these pods and peers.
pub(crate) fn node_pipeline(subnet: Ipv4Addr, pods: &[Pod], peers: &[Peer]) -> Result<String> {
    let pods = pods.iter().map(|pod| LocalPod {
        port: PortNo(pod.port),
        name: ObjectName { namespace: "default".to_owned(), name: pod.device.to_owned() },
        interface: pod.device.to_owned(),
        mac: pod.mac,
        address: pod.address,
    });
    let state = NodeState {
        config: NodeConfig::new("node"),
        round: tables::Round::FIRST,
        address: Some(Ipv4Addr::new(10, 79, 1, 201)),
        uplink: None,
        subnet: Subnet::containing(subnet, 24).ok_or("no such subnet")?,
        gateway_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        peers: peers.to_vec(),
        pods: pods.collect(),
        waiting: Vec::new(),
        unusable: Vec::new(),
    };
    let names = PortNames::none();
    let mut text = String::new();
    for flow in tables::flows(&state) {
        writeln!(text, "{}", flow.display(&names))?;
    }
    Ok(text)
}
