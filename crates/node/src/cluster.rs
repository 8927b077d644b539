//! The cluster: nodes, pods and services, as validated values.
//!
//! # Contract
//!
//! [`Cluster::parse`] reads ordinary Kubernetes v1 objects from YAML; what comes back has unique
//! names, addresses and subnets, pods inside their nodes' subnets, and annotations that mean
//! something. All problems of a text are reported together, each with its line. The order of the
//! objects in the text does not matter. Nothing here panics on any input or does I/O beyond
//! [`Cluster::load`] reading its file.
//!
//! [`Cluster::of_nodes`] makes one of an API server's Node objects, and leaves the bad ones out.
//!
//! # Limits
//!
//! IPv4 only. Pods on the host's network and pods that have finished are left out. NetworkPolicy
//! objects are counted in [`Cluster::unenforced_policies`], to be reported, and not enforced.

mod load;
mod nodes;
mod problem;
mod validate;

pub use nodes::{LeftOut, NodeObject, left_out_news};
pub use problem::{ClusterError, Problem, ProblemKind};

use crate::subnet::Subnet;
use core::fmt;
use footbridge_openflow::MacAddr;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

/// A validated cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cluster {
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// Pods by namespace and name.
    pub pods: BTreeMap<ObjectName, Pod>,
    /// Services by namespace and name.
    pub services: BTreeMap<ObjectName, Service>,
    /// NetworkPolicy objects seen; they are not enforced.
    pub unenforced_policies: Vec<ObjectName>,
    /// Nodes of an API server that can't be used, and why. None of a file: one with such nodes is refused.
    pub left_out: BTreeMap<String, LeftOut>,
}

/// A namespaced object's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// The namespace.
    pub namespace: String,
    /// The name within it.
    pub name: String,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// metadata.name
    pub name: String,
    /// metadata.uid; empty where the object has none.
    pub uid: String,
    /// spec.podCIDRs' first IPv4 subnet, else spec.podCIDR; None until the node has one.
    pub subnet: Option<Subnet>,
    /// The first IPv4 InternalIP of status.addresses, else the first ExternalIP; None until then.
    pub address: Option<Ipv4Addr>,
    /// footbridge.io/gateway-mac
    pub gateway_mac: Option<MacAddr>,
}

/// A pod with an address on the pod network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Namespace and name.
    pub name: ObjectName,
    /// metadata.uid; empty where the object has none.
    pub uid: String,
    /// spec.nodeName
    pub node: String,
    /// status.podIP
    pub address: Ipv4Addr,
    /// metadata.labels
    pub labels: BTreeMap<String, String>,
    /// Named container ports.
    pub ports: BTreeMap<String, u16>,
    /// Whether it serves: no Ready condition, or one that is True.
    pub ready: bool,
    /// footbridge.io/interface
    pub interface: Option<String>,
    /// footbridge.io/mac
    pub mac: Option<MacAddr>,
    /// footbridge.io/ofport, 3 to 0xfeff.
    pub ofport: Option<u16>,
}

/// A service with a ClusterIP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// spec.clusterIP
    pub cluster_ip: Ipv4Addr,
    /// spec.selector: labels that its endpoints have. Empty selects nothing.
    pub selector: BTreeMap<String, String>,
    /// spec.ports
    pub ports: Vec<ServicePort>,
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The port at the ClusterIP.
    pub port: u16,
    /// The port at the endpoints.
    pub target: TargetPort,
}

/// A transport protocol of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// RFC 9293
    Tcp,
    /// RFC 768
    Udp,
    /// RFC 9260
    Sctp,
}

/// Where a service's port leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// The same number on every endpoint.
    Number(u16),
    /// Each endpoint's container port of that name.
    Name(String),
}

impl Cluster {
    /// Read and validate a file.
    ///
    /// # Errors
    /// The file can't be read, or all that is wrong with its contents.
    pub fn load(path: &Path) -> Result<Cluster, ClusterError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ClusterError::Read { path: path.to_owned(), source })?;
        Cluster::parse(&path.display().to_string(), &text)
    }

    /// Read and validate a text; `file` is what errors call it.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(file: &str, text: &str) -> Result<Cluster, ClusterError> {
        let (objects, mut problems) = load::objects(text);
        let cluster = validate::cluster(objects, &mut problems);
        if problems.is_empty() {
            return Ok(cluster);
        }
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Err(ClusterError::Invalid { file: file.to_owned(), problems })
    }

    /// The pods of a node, by name.
    pub fn pods_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.pods.values().filter(move |pod| pod.node == node)
    }

    /// Where a port of a service leads: the addresses of the ready pods that its selector picks,
    /// by pod name. A pod without a container port of the target's name is left out.
    pub fn endpoints<'a>(
        &'a self,
        service: &'a Service,
        port: &'a ServicePort,
    ) -> impl Iterator<Item = (&'a Pod, SocketAddrV4)> {
        self.pods.values().filter(|pod| pod.ready && service.selects(pod)).filter_map(|pod| {
            let number = match &port.target {
                TargetPort::Number(number) => *number,
                TargetPort::Name(name) => *pod.ports.get(name)?,
            };
            Some((pod, SocketAddrV4::new(pod.address, number)))
        })
    }
}

impl Service {
    /// Whether the pod is one of the service's endpoints.
    pub fn selects(&self, pod: &Pod) -> bool {
        !self.selector.is_empty()
            && self.name.namespace == pod.name.namespace
            && self.selector.iter().all(|(label, value)| pod.labels.get(label) == Some(value))
    }
}

impl Protocol {
    /// The lower-case name, as nftables and `nc` write it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests;
