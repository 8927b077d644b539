//! One pod of the CNI, as it is kept on disk.

use crate::cluster::{ObjectName, Pod};
use crate::subnet::Subnet;
use footbridge_cni::{
    AddResult, Attachment, Cidr, Dns, Environment, Interface, IpConfig, PodName, Route, Version,
};
use footbridge_openflow::MacAddr;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// A pod's attachment to this node's network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Which container's interface.
    pub attachment: Attachment,
    /// The network's name in the CNI.
    pub network: String,
    /// Whose container it is.
    pub pod: PodName,
    /// The path of the network namespace, as the runtime knows it.
    pub netns: PathBuf,
    /// The device on the host, and the port's name.
    pub interface: String,
    /// The MAC address of the pod's end.
    #[serde(with = "mac_text")]
    pub mac: MacAddr,
    /// The pod's address; None until it has one.
    pub address: Option<PodAddress>,
    /// The MTU of both ends.
    pub mtu: u32,
    /// Where the address comes from, and goes back to.
    pub addressing: Addressing,
    /// Which start of the machine it was made in.
    pub boot: String,
    /// How far it is.
    pub phase: Phase,
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// An ADD is under way; where it is not, it never ended and is taken back.
    Adding,
    /// ADD has succeeded.
    Added,
    /// All of it is to go.
    Deleting,
}

/// Who gives addresses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addressing {
    /// We do: the record is the reservation.
    Own,
    /// Another plugin.
    Delegated {
        /// The program's name.
        plugin: String,
        /// The network's configuration, as it is told.
        config: Map<String, Value>,
        /// What of the environment it is told.
        environment: Environment,
    },
}

/// A pod's address and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Its subnet's length.
    pub prefix: u8,
    /// The node's gateway.
    pub gateway: Ipv4Addr,
    /// The pod's routes.
    pub routes: Vec<Route>,
}

impl PodAddress {
    /// An address of the node's subnet, with the gateway for all else.
    pub fn in_subnet(address: Ipv4Addr, subnet: Subnet) -> PodAddress {
        let gateway = subnet.gateway();
        PodAddress { address, prefix: subnet.prefix(), gateway, routes: vec![default_route(gateway)] }
    }
}

/// `0.0.0.0/0` via the gateway.
pub(super) fn default_route(gateway: Ipv4Addr) -> Route {
    let everything = Cidr { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 0 };
    Route { dst: everything, gw: Some(IpAddr::V4(gateway)), more: Map::new() }
}

/// What tells an attachment from every other: the [`Pod::uid`] of its pod.
pub(super) fn uid(attachment: &Attachment) -> String {
    format!("{}/{}", attachment.container, attachment.ifname)
}

impl Record {
    /// The pod's address.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.address.as_ref().map(|address| address.address)
    }

    /// Whether its ADD has succeeded, in this start of the machine; no device outlives one.
    pub(super) fn stands(&self, boot: &str) -> bool {
        self.phase == Phase::Added && self.boot == boot
    }

    /// What tells it from every other.
    pub fn uid(&self) -> String {
        uid(&self.attachment)
    }

    /// The pod as the cluster would describe it; None while it has no address.
    pub(super) fn pod(&self, node: &str) -> Option<Pod> {
        Some(Pod {
            name: ObjectName { namespace: self.pod.namespace.clone(), name: self.pod.name.clone() },
            uid: self.uid(),
            node: node.to_owned(),
            address: self.ipv4()?,
            labels: BTreeMap::new(),
            ports: BTreeMap::new(),
            ready: true,
            interface: Some(self.interface.clone()),
            mac: Some(self.mac),
            ofport: None,
        })
    }

    /// What the runtime is told of it.
    pub(super) fn result(&self, dns: Dns) -> AddResult {
        let host = Interface { name: self.interface.clone(), mtu: Some(self.mtu), ..Interface::default() };
        let container = Interface {
            name: self.attachment.ifname.to_string(),
            mac: self.mac.to_string(),
            mtu: Some(self.mtu),
            sandbox: self.netns.display().to_string(),
            ..Interface::default()
        };
        let ip = |address: &PodAddress| IpConfig {
            address: Cidr { address: IpAddr::V4(address.address), prefix: address.prefix },
            gateway: Some(IpAddr::V4(address.gateway)),
            interface: Some(1),
        };
        let routes = self.address.as_ref().map(|address| address.routes.clone()).unwrap_or_default();
        AddResult {
            interfaces: vec![host, container],
            ips: self.address.iter().map(ip).collect(),
            routes,
            dns,
        }
    }

    /// The same, printed for a plugin that is called in turn.
    pub(super) fn printed(&self, version: Version) -> Value {
        self.result(Dns::default()).print(version)
    }
}

/// MAC addresses as everyone writes them.
mod mac_text {
    use footbridge_openflow::MacAddr;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(mac: &MacAddr, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(mac)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<MacAddr, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}
