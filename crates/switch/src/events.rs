//! What a bridge tells of: flows that change, ports that come and go, packets for the controllers.

use footbridge_datapath::{FlowStatistics, PortSpec};
use footbridge_openflow::wire::{PortReason, RemovedReason};
use footbridge_pipeline::{Entry, PacketIn};
use std::sync::Arc;

/// Who asked for a change, so that they can be told of it otherwise than others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The connection, by a number that is the listener's own.
    pub connection: u64,
    /// The request's transaction id.
    pub xid: u32,
}

/// What happened to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowEvent {
    /// It is new, or has taken another's place.
    Added,
    /// It has other actions or another cookie.
    Modified,
    /// It is gone, and this passed it.
    Removed(RemovedReason, FlowStatistics),
}

/// One change of a flow.
#[derive(Debug, Clone)]
pub struct FlowChange {
    /// The flow as it is now, or as it was when it went.
    pub entry: Arc<Entry>,
    /// What happened.
    pub event: FlowEvent,
    /// The flow in whose place it is, where it is in one's.
    pub before: Option<Arc<Entry>>,
}

/// Who wants to know. Called in the middle of things, some of them in a packet's way: must neither wait
/// nor call the bridge.
pub trait Listener: Send + Sync {
    /// Flows have changed, together and in this order.
    fn flows_changed(&self, changes: &mut dyn Iterator<Item = FlowChange>, origin: Option<Origin>);

    /// A port has come, gone or changed.
    fn port_changed(&self, port: &PortSpec, reason: PortReason);

    /// A packet for the controllers. False where none takes it.
    fn packet_in(&self, packet: &PacketIn) -> bool;
}
