//! A packet's story across nodes: pod, bridge, host, tunnel, the other bridge, pod, and the answer back.
//!
//! # Contract
//!
//! * A [`World`] is what is known of some nodes: their flows, ports, connections and learned addresses, and their hosts'
//!   routes, neighbours and service addresses; from a lab's running nodes (`lab`) or from dumps (`dumps`).
//! * `tell` takes a packet through it. No packet is sent; the bridges are the evaluator's own, with the nodes' connections
//!   for a tracker. The same world gives the same story: of a service's endpoints the lowest address is taken, or the one
//!   asked for.
//! * What is not known ends the story, and is asked for by name.
//!
//! # Limits
//!
//! IPv4. Of a host, the main routing table and kube-proxy's translation are followed; its firewall is taken to let pods'
//! packets pass, and a receiver to answer. Beyond the nodes that are given nothing is.

mod dumps;
pub(crate) mod host;
mod lab;
mod markdown;
mod packets;
mod tell;
mod text;
mod world;

pub(crate) use dumps::{Files, of_dumps};
pub(crate) use lab::of_lab;
pub(crate) use markdown::Page;
pub(crate) use tell::{Ends, Flow, tell};
pub(crate) use text::Told;

use crate::walk::{self, Walk};
use footbridge_openflow::{MacAddr, PortNo};
use footbridge_pipeline::{Conntrack, Fdb};
use host::{Nat, Neighbours, Routes};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Everything that is known.
#[derive(Default)]
pub(crate) struct World {
    /// The nodes, by name.
    pub(crate) nodes: BTreeMap<String, NodeView>,
    /// Services, by name: their addresses.
    pub(crate) services: BTreeMap<String, Ipv4Addr>,
    /// Where services' addresses are.
    pub(crate) service_cidr: Option<footbridge_node::Subnet>,
}

/// What is known of a node.
pub(crate) struct NodeView {
    pub(crate) bridge: walk::Bridge,
    /// Where its tunnel ends, where known.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) gateway: PortNo,
    pub(crate) tunnel: PortNo,
    /// Who is behind each port; the gateway is the host.
    pub(crate) ends: BTreeMap<PortNo, End>,
    /// None where nobody gave them.
    pub(crate) routes: Option<Routes>,
    pub(crate) neighbours: Neighbours,
    pub(crate) nat: Nat,
    pub(crate) conntrack: Conntrack,
    pub(crate) fdb: Fdb,
    /// The host's own translations: the answer's ends as they come, and what they become.
    pub(crate) translated: BTreeMap<host::Tuple, host::Tuple>,
}

/// Who is behind a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) name: String,
    pub(crate) mac: MacAddr,
    pub(crate) address: Ipv4Addr,
}

/// A story.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Story {
    /// Its parts, in order.
    pub(crate) parts: Vec<Part>,
    /// How it ends.
    pub(crate) end: String,
    /// Whether the packet, and its answer where it has one, got where they were to go.
    pub(crate) arrived: bool,
}

/// What happens at one place.
#[derive(Debug, Serialize)]
pub(crate) struct Part {
    /// The node.
    pub(crate) node: String,
    /// Where there.
    pub(crate) place: Place,
    /// The packet, in a phrase.
    pub(crate) packet: String,
    /// What happens, in words.
    pub(crate) says: Vec<String>,
    /// A bridge's part: the packet's way through its tables.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) walk: Option<Walk>,
}

/// A place of a story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// A pod.
    Pod(String),
    /// The node's bridge.
    Bridge,
    /// The node's own stack, behind the gateway.
    Host,
    /// Between two nodes.
    Wire,
}
