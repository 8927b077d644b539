//! From an API server's Nodes to a [`Cluster`].
//!
//! A cluster file with anything wrong in it is refused whole, since its author is there to mend it. Of an API
//! server's Nodes the bad ones are left out, each with the reason, and the others go on: who may write one Node
//! must not be able to take the network of all away.
//!
//! Of Nodes that can't all be right the one that was created first is kept (this node always is: its pods are
//! here), so that what works goes on working, and all nodes' agents come to the same result whatever order
//! the events came in.

use super::problem::ProblemKind;
use super::{Cluster, Node, validate};
use crate::subnet::Subnet;
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// What is kept of a Node object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeObject {
    /// metadata.creationTimestamp, in seconds; an API server always sets it.
    created: Option<Time>,
    /// The node, or all that is wrong with the object by itself.
    node: Result<Node, Vec<ProblemKind>>,
}

/// Why a Node object is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeftOut {
    /// Something is wrong with the object by itself.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<ProblemKind>),
    /// Its pods would have addresses that are others'.
    #[error("its pod subnet {subnet} overlaps {other_subnet} of node {other}, which was there before it")]
    SubnetTaken {
        /// Its subnet.
        subnet: Subnet,
        /// Whose it is.
        other: String,
        /// That node's subnet.
        other_subnet: Subnet,
    },
    /// Packets to another node would go to its pods.
    #[error("its pod subnet {subnet} holds the address {address} of node {other}, which was there before it")]
    HoldsNode {
        /// Its subnet.
        subnet: Subnet,
        /// An address in it.
        address: Ipv4Addr,
        /// Whose that is.
        other: String,
    },
    /// Packets to it would go to pods, of itself or of another node.
    #[error("its address {address} is in the pod subnet {subnet} of node {other}")]
    AmongPods {
        /// Its address.
        address: Ipv4Addr,
        /// What it lies in.
        subnet: Subnet,
        /// Whose that is.
        other: String,
    },
    /// Packets to it would come back to this node.
    #[error("its address {0} is this node's own")]
    OwnAddress(Ipv4Addr),
}

impl NodeObject {
    /// What matters of `object`. Equal values mean the same to the network, so that an object of which only
    /// something else changed, as a heartbeat does, can be told.
    pub fn of(object: &v1::Node) -> NodeObject {
        NodeObject { created: object.metadata.creation_timestamp.clone(), node: validate::node(object) }
    }
}

impl Cluster {
    /// The cluster of an API server's Nodes, by name, as the node `own` is to see it.
    pub fn of_nodes(objects: &BTreeMap<String, NodeObject>, own: &str) -> Cluster {
        let mut cluster = Cluster::default();
        let mut kept = Kept::default();
        let mut by_age: Vec<(&String, &NodeObject)> = objects.iter().collect();
        by_age.sort_by_key(|(name, object)| (*name != own, &object.created, *name));
        for (name, object) in by_age {
            let node = object.node.as_ref().map_err(|problems| LeftOut::Invalid(problems.clone()));
            match node.and_then(|node| kept.add(node).map(|()| node.clone())) {
                Ok(node) => drop(cluster.nodes.insert(name.clone(), node)),
                Err(why) => drop(cluster.left_out.insert(name.clone(), why)),
            }
            if name == own {
                kept.own = cluster.nodes.get(own).and_then(|node| node.address);
            }
        }
        cluster
    }
}

/// The subnets, none of which overlap, and the addresses of the nodes that are kept.
#[derive(Default)]
struct Kept<'a> {
    own: Option<Ipv4Addr>,
    /// By network address.
    subnets: BTreeMap<Ipv4Addr, (Subnet, &'a str)>,
    addresses: BTreeMap<Ipv4Addr, &'a str>,
}

impl<'a> Kept<'a> {
    fn add(&mut self, node: &'a Node) -> Result<(), LeftOut> {
        if let Some(subnet) = node.subnet {
            if let Some((other_subnet, other)) = self.overlapping(subnet) {
                let other = other.to_owned();
                return Err(LeftOut::SubnetTaken { subnet, other, other_subnet });
            }
            let mut inside = self.addresses.range(subnet.network()..=subnet.broadcast());
            if let Some((address, other)) = inside.next() {
                return Err(LeftOut::HoldsNode { subnet, address: *address, other: (*other).to_owned() });
            }
        }
        if let Some(address) = node.address {
            if self.own == Some(address) {
                return Err(LeftOut::OwnAddress(address));
            }
            let itself = node.subnet.map(|subnet| (subnet, node.name.as_str()));
            let around = itself.into_iter().chain(self.before(address));
            if let Some((subnet, other)) = around.into_iter().find(|(subnet, _)| subnet.contains(address)) {
                return Err(LeftOut::AmongPods { address, subnet, other: other.to_owned() });
            }
        }
        self.subnets.extend(node.subnet.map(|subnet| (subnet.network(), (subnet, node.name.as_str()))));
        self.addresses.extend(node.address.map(|address| (address, node.name.as_str())));
        Ok(())
    }

    /// One that overlaps: it begins in `subnet`, or is the last that begins before it.
    fn overlapping(&self, subnet: Subnet) -> Option<(Subnet, &'a str)> {
        self.before(subnet.broadcast()).filter(|(other, _)| other.overlaps(subnet))
    }

    /// The last that begins at or before `address`.
    fn before(&self, address: Ipv4Addr) -> Option<(Subnet, &'a str)> {
        self.subnets.range(..=address).next_back().map(|(_, kept)| *kept)
    }
}

/// What there is to say of the nodes left out, compared with what was said of those left out before: new
/// troubles, and nodes whose trouble is over.
pub fn left_out_news(
    before: &BTreeMap<String, LeftOut>,
    now: &Cluster,
) -> (BTreeMap<String, LeftOut>, BTreeSet<String>) {
    let new = |(name, why): &(&String, &LeftOut)| before.get(*name) != Some(*why);
    let troubles = now.left_out.iter().filter(new).map(|(name, why)| (name.clone(), why.clone())).collect();
    let mended = before.keys().filter(|name| now.nodes.contains_key(*name)).cloned().collect();
    (troubles, mended)
}

#[cfg(test)]
mod tests;
