//! What the agent is told rather than finds out.

use crate::subnet::Subnet;
use footbridge_openflow::{MacAddr, PortNo};

/// The destination MAC of everything that crosses a tunnel, and the answer to ARP for any peer's
/// gateway: "global virtual MAC".
pub const GLOBAL_VIRTUAL_MAC: MacAddr = MacAddr([0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);

/// The tunnel port's number, on every node.
pub const TUNNEL_PORT: PortNo = PortNo(1);

/// The gateway port's number, on every node.
pub const GATEWAY_PORT: PortNo = PortNo(2);

/// The tunnels' encapsulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TunnelType {
    /// RFC 7348.
    Vxlan,
    /// RFC 8926.
    Geneve,
}

impl TunnelType {
    /// The protocol's UDP port (IANA).
    pub const fn udp_port(self) -> u16 {
        match self {
            TunnelType::Vxlan => 4789,
            TunnelType::Geneve => 6081,
        }
    }

    /// Bytes that IPv4, UDP, the tunnel's header and the inner Ethernet header take of the uplink's
    /// MTU.
    pub const OVERHEAD: u32 = 50;
}

/// How packets go to other nodes' pods; the modes and their names are Antrea's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EncapMode {
    /// Through a tunnel, to every node.
    #[default]
    Encap,
    /// As they are: the host routes them to the other node's address, or, where that is not in the uplink's
    /// subnet, the network between the nodes does.
    NoEncap,
    /// As they are to nodes in the uplink's subnet, through a tunnel to the others.
    Hybrid,
}

impl EncapMode {
    /// The word on the command line, in files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            EncapMode::Encap => "encap",
            EncapMode::NoEncap => "noencap",
            EncapMode::Hybrid => "hybrid",
        }
    }

    /// Whether there are tunnels.
    pub const fn tunnels(self) -> bool {
        match self {
            EncapMode::Encap | EncapMode::Hybrid => true,
            EncapMode::NoEncap => false,
        }
    }
}

/// The node agent's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Which of the cluster's nodes this is.
    pub node: String,
    /// The bridge.
    pub bridge: String,
    /// The gateway's device and its OpenFlow name.
    pub gateway: String,
    /// The tunnel port's OpenFlow name.
    pub tunnel: String,
    /// How packets go to other nodes.
    pub encap: EncapMode,
    /// The tunnels' encapsulation.
    pub tunnel_type: TunnelType,
    /// Their UDP port; None for the protocol's own.
    pub tunnel_udp_port: Option<u16>,
    /// The pods' MTU; None for what the uplink's leaves.
    pub mtu: Option<u32>,
    /// The device to other nodes; None for the one that has this node's address.
    pub uplink: Option<String>,
    /// Whether what pods send out of the cluster gets the node's address.
    pub masquerade: bool,
    /// ClusterIPs are in here: traffic to them goes to the host for DNAT.
    pub service_cidr: Subnet,
}

impl NodeConfig {
    /// The defaults of a node called `node`.
    pub fn new(node: impl Into<String>) -> NodeConfig {
        NodeConfig {
            node: node.into(),
            bridge: "br-int".to_owned(),
            gateway: "antrea-gw0".to_owned(),
            tunnel: "antrea-tun0".to_owned(),
            encap: EncapMode::default(),
            tunnel_type: TunnelType::Vxlan,
            tunnel_udp_port: None,
            mtu: None,
            uplink: None,
            masquerade: true,
            service_cidr: Subnet::DEFAULT_SERVICE_CIDR,
        }
    }

    /// The tunnels' UDP port.
    pub fn udp_port(&self) -> u16 {
        self.tunnel_udp_port.unwrap_or(self.tunnel_type.udp_port())
    }

    /// The pods' MTU over an uplink of this one.
    pub fn pod_mtu(&self, uplink: u32) -> u32 {
        let overhead = if self.encap.tunnels() { TunnelType::OVERHEAD } else { 0 };
        self.mtu.unwrap_or(uplink.saturating_sub(overhead))
    }
}
