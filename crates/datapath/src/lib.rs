//! Frames in and out of a bridge.
//!
//! A [`Datapath`] has the bridge's ports, runs every frame that comes in on one through the
//! pipeline, and sends what comes out. [`userspace`] does it with packet sockets and the pipeline's
//! own evaluator. A datapath compiled into the kernel will be the module `ebpf`, behind the same
//! trait and under the same test suite (`tests/suite`).
//!
//! # Contract
//!
//! * The caller holds the [`Pipeline`] and hands over each new one whole: a packet sees the old one or
//!   the new one, never a mix.
//! * A port's trouble stays its own. A device that goes away leaves its port in place, down, until it
//!   is back; other ports don't notice.
//! * No frame is lost without being counted, under a [`DropReason`].
//! * Nothing here panics on what comes in from a device or a socket.

pub mod clock;
mod error;
mod frame;
pub mod offload;
mod port;
mod sys;
pub mod tunnel;
pub mod userspace;

pub use error::Error;
pub use port::{Attachment, DropCounts, Link, PortSpec, PortStatus, Traffic};
pub use tunnel::{OptionMap, TunnelProtocol};

use footbridge_openflow::PortNo;
use footbridge_pipeline::conntrack::Connection;
use footbridge_pipeline::fdb::FdbEntry;
use footbridge_pipeline::{Entry, FlowId, Pipeline, Time};
use std::sync::Arc;

/// How one pipeline differs from the last: what a compiling datapath has to carry over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Flows that are new, replacements included.
    pub added: Vec<FlowId>,
    /// Flows that are gone, replaced ones included.
    pub removed: Vec<FlowId>,
}

/// What passed a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowStatistics {
    /// Packets.
    pub packets: u64,
    /// Their bytes, Ethernet header included.
    pub bytes: u64,
    /// When the last one passed; None where none did.
    pub last_used: Option<Time>,
}

/// What a bridge runs on.
///
/// Calls return when what they ask for is in force for every later packet.
pub trait Datapath: Send {
    /// Which one it is: `userspace`, later `ebpf`.
    fn kind(&self) -> &'static str;

    /// Attach a port.
    ///
    /// A device that isn't there, or is down, is no error: the port waits for it.
    ///
    /// # Errors
    ///
    /// When the number is taken, or the tunnel's socket can't be had.
    fn add_port(&mut self, port: &PortSpec) -> Result<(), Error>;

    /// Detach a port.
    ///
    /// # Errors
    ///
    /// When there is no such port.
    fn del_port(&mut self, number: PortNo) -> Result<(), Error>;

    /// Look at every port's device again: attach what has come back, let go what is gone. A datapath
    /// does so by itself within a second of losing a device; this makes it at once.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    fn refresh_ports(&mut self) -> Result<(), Error>;

    /// Put `pipeline` in force. `changed` says how it differs from the last one.
    ///
    /// # Errors
    ///
    /// When the datapath can't carry it; the last one then stays in force.
    fn commit(&mut self, pipeline: &Arc<Pipeline>, changed: &Change) -> Result<(), Error>;

    /// What passed a flow of the pipeline in force.
    fn flow_statistics(&self, flow: &Entry) -> FlowStatistics;

    /// Every port's state and counters, by rising number.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    fn ports(&self) -> Result<Vec<PortStatus>, Error>;

    /// The MAC addresses that NORMAL learned, the longest unseen first.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    fn fdb(&self) -> Result<Vec<FdbEntry>, Error>;

    /// The tracked connections, of one zone or of all.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    fn connections(&self, zone: Option<u16>) -> Result<Vec<Connection>, Error>;

    /// Forget the connections of one zone or of all; how many there were.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    fn flush_connections(&mut self, zone: Option<u16>) -> Result<usize, Error>;

    /// Put back connections that [`Datapath::connections`] gave before a restart. Those past their
    /// time are left out, those there already stay as they are.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    fn restore_connections(&mut self, connections: Vec<Connection>) -> Result<(), Error>;
}
