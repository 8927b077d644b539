//! Frames in and out of a bridge.
//!
//! A [`Datapath`] has the bridge's ports, runs every frame that comes in on one through the
//! pipeline, and sends what comes out. [`userspace`] does it with packet sockets and the pipeline's
//! own evaluator; [`ebpf`] has the pipeline compiled into the kernel. Both are behind the same trait and
//! under the same test suite (`tests/suite`).
//!
//! # Contract
//!
//! * The [`Flows`] are shared: their holder changes them under the write lock, and calls
//!   [`Datapath::commit`] before letting go; so a packet sees all changes made together, or none.
//! * A port's trouble stays its own. A device that goes away leaves its port in place, down, until it
//!   is back; other ports don't notice.
//! * No frame is lost without being counted, under a [`DropReason`].
//! * Nothing here panics on what comes in from a device or a socket.

mod choice;
pub mod clock;
pub mod device;
pub mod ebpf;
mod error;
mod frame;
mod netlink;
pub mod offload;
mod port;
mod sys;
pub mod tunnel;
pub mod userspace;

pub use choice::DatapathChoice;
pub use error::Error;
pub use port::{Attachment, DropCounts, Link, PortSpec, PortStatus, Traffic};
pub use tunnel::{OptionMap, TunnelProtocol};

use footbridge_openflow::{Action, Match, PortNo};
use footbridge_pipeline::conntrack::Connection;
use footbridge_pipeline::fdb::FdbEntry;
use footbridge_pipeline::{Entry, FlowId, PacketIn, Pipeline, Time};
use std::ops::Add;
use std::sync::{Arc, RwLock};

/// The flows of a bridge, which it changes and its datapath carries out.
pub type Flows = Arc<RwLock<Pipeline>>;

/// Where packets for the controllers go. Called in a packet's way, so it must not wait; false where
/// nobody takes the packet.
pub type PacketInSink = Box<dyn Fn(PacketIn) -> bool + Send>;

/// A packet that a controller hands in, and what is to be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketOut {
    /// Where it claims to come from.
    pub in_port: PortNo,
    /// What other pipeline fields (registers, tunnel) start as.
    pub metadata: Match,
    /// What to do.
    pub actions: Vec<Action>,
    /// The frame, from the destination MAC on.
    pub frame: Vec<u8>,
}

/// How the flows differ from what was committed last: what a compiling datapath has to carry over.
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

/// What passed a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableStatistics {
    /// How often packets were looked up in it.
    pub lookups: u64,
    /// How often a flow took them.
    pub matches: u64,
}

impl TableStatistics {
    /// What the evaluator counted, by table.
    fn of_evaluator(flows: &Pipeline) -> Vec<TableStatistics> {
        let of_table = |table| {
            let counters = flows.counters(table);
            TableStatistics { lookups: counters.lookups(), matches: counters.matches() }
        };
        (0..=u8::MAX).map(of_table).collect()
    }
}

impl Add for TableStatistics {
    type Output = TableStatistics;

    fn add(self, other: TableStatistics) -> TableStatistics {
        let TableStatistics { lookups, matches } = other;
        TableStatistics { lookups: self.lookups + lookups, matches: self.matches + matches }
    }
}

/// What a bridge runs on.
///
/// Calls return when what they ask for is in force for every later packet.
pub trait Datapath: Send {
    /// Which one it is: `userspace` or `ebpf`.
    fn kind(&self) -> &'static str;

    /// Whether packets go on when the process ends.
    fn outlives_its_process(&self) -> bool;

    /// Take away what would go on when the process ends: the last call.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped, or something can't be taken away.
    fn detach(&mut self) -> Result<(), Error>;

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

    /// The flows, at first none. Whoever changes them does so under the write lock, and commits the
    /// changes before letting go.
    fn flows(&self) -> Flows;

    /// Put the flows, as they are under the caller's write lock, in force. `changed` says how they
    /// differ from what was committed last.
    ///
    /// # Errors
    ///
    /// When the datapath can't carry them: the caller then takes its changes back.
    fn commit(&mut self, flows: &Pipeline, changed: &Change) -> Result<(), Error>;

    /// Have packets for the controllers sent to `sink`; before, they are dropped and counted.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    fn set_packet_in_sink(&mut self, sink: PacketInSink) -> Result<(), Error>;

    /// Whether packets that no flow takes go to the controllers, as OpenFlow 1.0 has it. At first not.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    fn punt_misses(&mut self, punt: bool) -> Result<(), Error>;

    /// Carry out a controller's actions on its packet.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    fn packet_out(&mut self, packet: PacketOut) -> Result<(), Error>;

    /// What passed a flow of the pipeline in force.
    fn flow_statistics(&self, flow: &Entry) -> FlowStatistics;

    /// What passed the tables of the pipeline in force: 256, by number.
    fn table_statistics(&self, flows: &Pipeline) -> Vec<TableStatistics>;

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

    /// Put back connections that [`Datapath::connections`] gave before a restart; how many were. Those past their
    /// time are left out, those there already stay as they are. None is put back where newer ones outlived the
    /// process.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    fn restore_connections(&mut self, connections: Vec<Connection>) -> Result<usize, Error>;
}
