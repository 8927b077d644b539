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
    /// The tunnels' encapsulation.
    pub tunnel_type: TunnelType,
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
            tunnel_type: TunnelType::Vxlan,
            service_cidr: Subnet::DEFAULT_SERVICE_CIDR,
        }
    }
}
