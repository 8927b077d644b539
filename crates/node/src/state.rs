//! What one node knows: itself, its peers, its pods. A pure value, from which everything that
//! should exist follows.

use crate::cluster::{Cluster, LeftOut, Node, ObjectName, Pod};
use crate::config::{EncapMode, NodeConfig};
use crate::identity::{self, PortAssignments};
use crate::subnet::Subnet;
use crate::tables::Round;
use crate::underlay::{Clash, Underlay, Uplink, clash};
use footbridge_openflow::{MacAddr, PortNo};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Everything that this node's flows, routes and devices depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeState {
    /// The agent's configuration.
    pub config: NodeConfig,
    /// The agent's round, in the flows' cookies.
    pub round: Round,
    /// This node's address on the underlay; None until the cluster knows it.
    pub address: Option<Ipv4Addr>,
    /// The device to other nodes, where it was found.
    pub uplink: Option<Uplink>,
    /// This node's pod subnet.
    pub subnet: Subnet,
    /// The gateway's MAC address; its address is the subnet's first.
    pub gateway_mac: MacAddr,
    /// The other nodes that have a pod subnet and an address, by name.
    pub peers: Vec<Peer>,
    /// This node's pods, by port number.
    pub pods: Vec<LocalPod>,
    /// Nodes that lack something and so are no peers yet, by name.
    pub waiting: Vec<WaitingPeer>,
    /// Nodes whose pod subnets can't be routed to on this host, by name: no peers either.
    pub unusable: Vec<UnusablePeer>,
}

/// Another node. Its identity is all its fields: one re-created under the same name with another
/// subnet or address is another peer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Peer {
    /// The node's name.
    pub name: String,
    /// The Node object's UID: another one under the name is another node. Empty where it has none.
    pub uid: String,
    /// Its pod subnet, whose first address is its gateway's.
    pub subnet: Subnet,
    /// Its address on the underlay: where tunnels to it go.
    pub address: Ipv4Addr,
    /// How packets go to it.
    pub way: Way,
}

/// How packets go to a peer's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// In a tunnel to its address.
    Tunnel,
    /// Routed by the host: to its address, which is on the uplink's segment.
    Segment,
    /// Routed by the host as it routes everything: the network between the nodes knows pods' subnets.
    Network,
}

impl Way {
    /// To a peer of this address.
    fn to(address: Ipv4Addr, mode: EncapMode, uplink: Option<&Uplink>) -> Way {
        let near = uplink.is_some_and(|uplink| uplink.reaches(address));
        match (mode, near) {
            (EncapMode::Encap, _) | (EncapMode::Hybrid, false) => Way::Tunnel,
            (EncapMode::NoEncap | EncapMode::Hybrid, true) => Way::Segment,
            (EncapMode::NoEncap, false) => Way::Network,
        }
    }
}

/// A pod on this node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalPod {
    /// Its port's number.
    pub port: PortNo,
    /// Namespace and name.
    pub name: ObjectName,
    /// Its host interface, which is also the port's name.
    pub interface: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its address.
    pub address: Ipv4Addr,
}

/// A node that can't be reached yet, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[error("waiting for node {name}: it has no {missing} yet")]
pub struct WaitingPeer {
    /// The node's name.
    pub name: String,
    /// What it lacks.
    pub missing: Missing,
}

/// A node whose pods can't be reached, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[error(
    "node {name} is no peer: its pod subnet {subnet} can't be used, for {why}; give the node another subnet \
     (spec.podCIDR), or correct --service-cidr"
)]
pub struct UnusablePeer {
    /// The node's name.
    pub name: String,
    /// Its pod subnet.
    pub subnet: Subnet,
    /// What speaks against it.
    pub why: Clash,
}

/// What a node lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Missing {
    /// spec.podCIDR
    #[error("pod subnet (spec.podCIDR)")]
    Subnet,
    /// status.addresses
    #[error("address (status.addresses)")]
    Address,
    /// Both.
    #[error("pod subnet (spec.podCIDR) and no address (status.addresses)")]
    Both,
}

/// Why there is no state for this node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The cluster has no such node.
    #[error(
        "waiting for this node: the cluster has no node '{node}' (it has {known}); --node must be as in kubectl get nodes"
    )]
    UnknownNode {
        /// This node.
        node: String,
        /// Some of the nodes that there are.
        known: String,
    },
    /// This node has no pod subnet.
    #[error(
        "waiting for this node: '{0}' has no pod subnet (spec.podCIDR) yet; the controller manager gives it one when \
         run with --allocate-node-cidrs"
    )]
    NoSubnet(String),
    /// This node's Node object can't be used.
    #[error("waiting for this node: Node '{node}' can't be used: {why}")]
    LeftOut {
        /// This node.
        node: String,
        /// Why.
        why: LeftOut,
    },
    /// This node's pod subnet would cut the host off from something.
    #[error(
        "this node's pod subnet {subnet} can't be used, for {why}; give node {node} another subnet \
         (spec.podCIDR), or correct --service-cidr"
    )]
    Clash {
        /// This node.
        node: String,
        /// Its pod subnet.
        subnet: Subnet,
        /// What speaks against it.
        why: Clash,
    },
    /// The configured uplink is not there.
    #[error("waiting for the uplink: this host has no device {0} with an IPv4 address (--uplink)")]
    NoUplink(String),
    /// Two things on this node would be called or numbered alike.
    #[error("pod {pod}: {what} {value} is also that of {other}")]
    Collision {
        /// The later pod.
        pod: ObjectName,
        /// `interface` or `MAC address`.
        what: &'static str,
        /// The value both have.
        value: String,
        /// The other.
        other: String,
    },
    /// A pod has no port number assigned; [`PortAssignments::updated`] was not asked about it.
    #[error("pod {0} has no port number")]
    NoPort(ObjectName),
}

impl NodeState {
    /// This node's state in `cluster`, with the pods that it has besides the cluster's, on a host with these networks of
    /// its own.
    ///
    /// # Errors
    /// The node is not there, or has no subnet yet or one that can't be used, or its pods' names collide.
    pub fn derive(
        cluster: &Cluster,
        local: &[Pod],
        config: &NodeConfig,
        ports: &PortAssignments,
        round: Round,
        underlay: &Underlay,
    ) -> Result<NodeState, StateError> {
        if let Some(why) = cluster.left_out.get(&config.node) {
            return Err(StateError::LeftOut { node: config.node.clone(), why: why.clone() });
        }
        let node = cluster.nodes.get(&config.node).ok_or_else(|| StateError::UnknownNode {
            node: config.node.clone(),
            known: some_names(cluster),
        })?;
        let subnet = node.subnet.ok_or_else(|| StateError::NoSubnet(config.node.clone()))?;
        let nodes: BTreeMap<Ipv4Addr, &str> = cluster.nodes.values().filter_map(addressed).collect();
        let clash = |subnet| clash(subnet, config.service_cidr, &nodes, underlay);
        if let Some(why) = clash(subnet) {
            return Err(StateError::Clash { node: config.node.clone(), subnet, why });
        }
        let uplink = underlay.uplink(config.uplink.as_deref(), node.address);
        if let (Some(named), None) = (&config.uplink, &uplink) {
            return Err(StateError::NoUplink(named.clone()));
        }
        let gateway_mac = identity::gateway_mac(node);
        let mut pods = Vec::new();
        for pod in cluster.pods_on(&config.node).chain(local) {
            pods.push(LocalPod {
                port: ports.get(pod).ok_or_else(|| StateError::NoPort(pod.name.clone()))?,
                name: pod.name.clone(),
                interface: identity::interface_name(pod),
                mac: identity::pod_mac(pod),
                address: pod.address,
            });
        }
        refuse_collisions(config, gateway_mac, &pods)?;
        pods.sort();
        let mut peers = Vec::new();
        let (mut waiting, mut unusable) = (Vec::new(), Vec::new());
        for other in cluster.nodes.values().filter(|other| other.name != config.node) {
            let missing = match (other.subnet, other.address) {
                (Some(subnet), Some(address)) => {
                    let (name, uid) = (other.name.clone(), other.uid.clone());
                    match clash(subnet) {
                        None => {
                            let way = Way::to(address, config.encap, uplink.as_ref());
                            peers.push(Peer { name, uid, subnet, address, way });
                        }
                        Some(why) => unusable.push(UnusablePeer { name, subnet, why }),
                    }
                    continue;
                }
                (None, Some(_)) => Missing::Subnet,
                (Some(_), None) => Missing::Address,
                (None, None) => Missing::Both,
            };
            waiting.push(WaitingPeer { name: other.name.clone(), missing });
        }
        Ok(NodeState {
            config: config.clone(),
            round,
            address: node.address,
            uplink,
            subnet,
            gateway_mac,
            peers,
            pods,
            waiting,
            unusable,
        })
    }
}

/// A node by its address.
fn addressed(node: &Node) -> Option<(Ipv4Addr, &str)> {
    Some((node.address?, &node.name))
}

/// The first few node names, for a message.
fn some_names(cluster: &Cluster) -> String {
    const SHOWN: usize = 5;
    let names: Vec<&str> = cluster.nodes.keys().take(SHOWN).map(String::as_str).collect();
    match (names.is_empty(), cluster.nodes.len().checked_sub(SHOWN)) {
        (true, _) => "none".to_owned(),
        (false, Some(more)) if more > 0 => format!("{} and {more} more", names.join(", ")),
        _ => names.join(", "),
    }
}

/// The cluster's validation sees annotations only; here are the names and addresses that were
/// derived, and the configured names.
fn refuse_collisions(config: &NodeConfig, gateway_mac: MacAddr, pods: &[LocalPod]) -> Result<(), StateError> {
    let mut interfaces = std::collections::BTreeMap::from([
        (config.gateway.clone(), "the gateway".to_owned()),
        (crate::host::gateway_peer_name(&config.gateway), "the gateway's end at the bridge".to_owned()),
        (config.tunnel.clone(), "the tunnel port".to_owned()),
        ("lo".to_owned(), "the loopback device".to_owned()),
    ]);
    let mut macs = std::collections::BTreeMap::from([(gateway_mac, "the gateway".to_owned())]);
    for pod in pods {
        let collision =
            |what, value, other| StateError::Collision { pod: pod.name.clone(), what, value, other };
        let name = format!("pod {}", pod.name);
        if let Some(other) = interfaces.insert(pod.interface.clone(), name.clone()) {
            return Err(collision("interface", pod.interface.clone(), other));
        }
        if let Some(other) = macs.insert(pod.mac, name) {
            return Err(collision("MAC address", pod.mac.to_string(), other));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
