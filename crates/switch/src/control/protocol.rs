//! Requests and replies, as JSON.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The longest request line, in bytes.
pub const MAX_REQUEST: usize = 64 << 10;

/// What a client asks: `{"request":"flows","filter":"table=10"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Whether the bridge runs, and on what.
    Status {},
    /// The flows, in the order of `ovs-ofctl dump-flows`.
    Flows {
        /// As `ovs-ofctl dump-flows` takes it; empty for all.
        #[serde(default)]
        filter: String,
        /// Print ports by number.
        #[serde(default)]
        no_names: bool,
        /// Print counters and ages.
        #[serde(default)]
        stats: bool,
    },
    /// The ports, with their counters.
    Ports {},
    /// The MAC addresses that NORMAL learned.
    Fdb {},
    /// The tracked connections.
    Conntrack {
        /// Of this zone; all without.
        #[serde(default)]
        zone: Option<u16>,
    },
    /// Forget tracked connections.
    FlushConntrack {
        /// Of this zone; all without.
        #[serde(default)]
        zone: Option<u16>,
    },
    /// Attach a port. On a node's bridge its agent takes away those that it does not want.
    AddPort {
        /// Which.
        port: PortRequest,
    },
    /// Detach a port.
    DelPort {
        /// Its name, or its number.
        port: String,
    },
}

/// A port to attach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortRequest {
    /// Its OpenFlow name.
    pub name: String,
    /// Its number; the lowest free one without.
    #[serde(default)]
    pub number: Option<u32>,
    /// What is behind it.
    pub attachment: AttachmentRequest,
}

/// What is behind a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AttachmentRequest {
    /// A network device.
    Device {
        /// The device's name.
        device: String,
    },
    /// A tunnel to many peers, each packet's destination in its tunnel key.
    Tunnel {
        /// `vxlan` or `geneve`.
        protocol: String,
        /// UDP port; the protocol's own without.
        #[serde(default)]
        udp_port: Option<u16>,
        /// Network identifier, 24 bits.
        #[serde(default)]
        vni: u32,
        /// The address to send from and receive on; any without.
        #[serde(default)]
        local: Option<Ipv4Addr>,
    },
}

/// What the bridge answers: `{"reply":"flows","flows":[…]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(StatusRow),
    /// To [`Request::Flows`].
    Flows {
        /// One row a flow.
        flows: Vec<FlowRow>,
    },
    /// To [`Request::Ports`].
    Ports {
        /// One row a port, by rising number.
        ports: Vec<PortRow>,
    },
    /// To [`Request::Fdb`].
    Fdb {
        /// One row an address.
        entries: Vec<FdbRow>,
    },
    /// To [`Request::Conntrack`].
    Conntrack {
        /// One row a connection.
        connections: Vec<ConnectionRow>,
    },
    /// To [`Request::FlushConntrack`].
    FlushConntrack {
        /// How many connections were forgotten.
        flushed: usize,
    },
    /// To [`Request::AddPort`].
    PortAdded {
        /// The port's number.
        number: u32,
    },
    /// To [`Request::DelPort`].
    PortDeleted {
        /// The number that the port had.
        number: u32,
    },
    /// The request was wrong, or could not be carried out.
    Error {
        /// What happened, for a person.
        message: String,
    },
}

/// The bridge as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRow {
    /// Its name.
    pub bridge: String,
    /// `userspace` or `ebpf`.
    pub datapath: String,
    /// The process that runs it.
    pub pid: u32,
    /// Number of flows.
    pub flows: usize,
    /// Number of ports.
    pub ports: usize,
}

/// One flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowRow {
    /// The line that `ovs-ofctl dump-flows` prints, with the options asked for.
    pub text: String,
    /// Its table.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// Its cookie, as `0x…`: JSON numbers are too small for it.
    pub cookie: String,
    /// Its match, in flow text.
    #[serde(rename = "match")]
    pub matching: String,
    /// Its actions, in flow text.
    pub actions: String,
    /// Packets that it took.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seconds since it was added or replaced.
    pub age: f64,
    /// Seconds since it last took a packet.
    pub idle: f64,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRow {
    /// Its number.
    pub number: u32,
    /// Its OpenFlow name.
    pub name: String,
    /// `device`, `vxlan` or `geneve`.
    pub kind: String,
    /// Its device, where it has one.
    pub device: Option<String>,
    /// `up`, `down` or `absent`.
    pub link: String,
    /// Received.
    pub rx: TrafficRow,
    /// Sent.
    pub tx: TrafficRow,
    /// Packets dropped, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// What passed a port in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficRow {
    /// Frames.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames lost.
    pub errors: u64,
}

/// One learned MAC address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FdbRow {
    /// The port it was seen on.
    pub port: u32,
    /// That port's name.
    pub name: Option<String>,
    /// The VLAN; 0 for none.
    pub vlan: u16,
    /// The address.
    pub mac: String,
    /// Seconds since it was last seen.
    pub age: u64,
}

/// One tracked connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// The line that `ovs-appctl dpctl/dump-conntrack` prints.
    pub text: String,
    /// The zone.
    pub zone: u16,
    /// The mark.
    pub mark: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// Where the committed direction comes from.
    pub source: EndpointRow,
    /// Where it goes to.
    pub destination: EndpointRow,
    /// Whether a reply was seen.
    pub replied: bool,
    /// Seconds until it goes, unless another packet comes.
    pub expires_in: u64,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRow {
    /// Its address.
    pub address: IpAddr,
    /// Its port, or the ICMP identifier.
    pub port: u16,
}
