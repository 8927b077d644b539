//! Ports as a datapath sees them.

use crate::tunnel::{OptionMap, TunnelProtocol};
use footbridge_openflow::PortNo;
use footbridge_pipeline::{DropReason, PortKind};
use std::net::Ipv4Addr;

/// One port to attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// Its number in OpenFlow.
    pub number: PortNo,
    /// Its name in OpenFlow, whatever its device is called.
    pub name: String,
    /// What is behind it.
    pub attachment: Attachment,
}

/// What is behind a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attachment {
    /// A network device, by its name in the datapath's network namespace.
    Device {
        /// The device's name.
        ifname: String,
    },
    /// A tunnel to many peers, each packet's destination in its tunnel key.
    Tunnel {
        /// The encapsulation.
        protocol: TunnelProtocol,
        /// UDP port, here and at the peers.
        udp_port: u16,
        /// The one network identifier sent and accepted, 24 bits.
        vni: u32,
        /// The address to send from and receive on; None for any.
        local: Option<Ipv4Addr>,
        /// The Geneve option that stands for `tun_metadata0`.
        options: OptionMap,
    },
}

impl Attachment {
    /// A tunnel as the node uses it: the protocol's own port, VNI 0, any address.
    pub fn tunnel(protocol: TunnelProtocol) -> Attachment {
        Attachment::Tunnel {
            protocol,
            udp_port: protocol.default_port(),
            vni: 0,
            local: None,
            options: OptionMap::ANTREA,
        }
    }

    /// How the pipeline treats the port.
    pub fn kind(&self) -> PortKind {
        match self {
            Attachment::Device { .. } => PortKind::Ordinary,
            Attachment::Tunnel { .. } => PortKind::Tunnel,
        }
    }
}

/// Whether frames can pass a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// They can.
    Up,
    /// The device is there and administratively down.
    Down,
    /// There is no device of that name, or it can't be opened.
    Absent,
}

impl Link {
    /// `up`, `down` or `absent`.
    pub fn name(self) -> &'static str {
        match self {
            Link::Up => "up",
            Link::Down => "down",
            Link::Absent => "absent",
        }
    }
}

/// What passed a port in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Frames.
    pub packets: u64,
    /// Their bytes, without tunnel headers.
    pub bytes: u64,
    /// Frames lost: sent and not taken by the device, or overflowing before they were read.
    pub errors: u64,
}

impl Traffic {
    pub(crate) fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// How many packets were dropped, by reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DropCounts(Vec<(DropReason, u64)>);

impl DropCounts {
    /// Count one.
    pub fn count(&mut self, reason: DropReason) {
        self.add(reason, 1);
    }

    /// Count some.
    pub(crate) fn add(&mut self, reason: DropReason, packets: u64) {
        if packets == 0 {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += packets,
            None => self.0.push((reason, packets)),
        }
    }

    /// How many there were for `reason`.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
    }

    /// The reasons that occurred, in the order of [`DropReason::all`].
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::all().map(|reason| (reason, self.of(reason))).filter(|(_, count)| *count > 0)
    }

    /// All together.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

/// One port's state and counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortStatus {
    /// Its number.
    pub number: PortNo,
    /// Whether frames can pass.
    pub link: Link,
    /// Received from the device or the tunnel.
    pub rx: Traffic,
    /// Sent to it.
    pub tx: Traffic,
    /// Packets dropped: those that came in here and that the flows dropped, and those that were to
    /// leave here and could not.
    pub drops: DropCounts,
}
