//! The OpenFlow machine of Footbridge as a value, without I/O: a [`Pipeline`] of flow tables takes
//! a [`Packet`] and gives a [`Verdict`].
//!
//! # Contract
//!
//! * [`Pipeline::process`] is the project's definition of correct. Compiled programs are checked
//!   against it; a walk is the same evaluator with an [`Observer`] attached.
//! * Everything that changes while packets pass is in [`State`] (MAC table, connections, ports) and
//!   in the entries' counters. Time comes in with each call; nothing here reads a clock.
//! * No input makes anything here panic: not a frame, not a flow, not a port number.
//! * A verdict without output names a [`DropReason`] and the table where the packet ended.
//!
//! # Where what is
//!
//! | module | what |
//! | --- | --- |
//! | [`packet`] | frames to [`Key`](footbridge_openflow::Key)s, changed fields back into frames |
//! | [`table`] | flow tables: lookup by shape, conjunctions, dump order |
//! | [`refusal`] | which flows cannot be installed, and why |
//! | [`evaluate`] | the actions |
//! | [`fdb`] | MAC learning for NORMAL |
//! | [`conntrack`] | the connection tracker |
//! | [`drop_reason`] | the one list of reasons for a packet to go nowhere |

pub mod conntrack;
pub mod drop_reason;
pub mod evaluate;
pub mod fdb;
pub mod observer;
pub mod packet;
pub mod ports;
pub mod refusal;
pub mod table;
pub mod time;
pub mod verdict;

pub use conntrack::Conntrack;
pub use drop_reason::DropReason;
pub use evaluate::State;
pub use fdb::Fdb;
pub use observer::{Observer, Unobserved};
pub use packet::{Packet, TunnelKey};
pub use ports::{PortKind, PortSet};
pub use refusal::Refusal;
pub use table::{
    Displaced, Entry, FlowCounters, FlowId, Inserted, Pipeline, Prepared, TableCounters,
    complete_conjunctions,
};
pub use time::Time;
pub use verdict::{Drop, Output, PacketIn, Verdict};
