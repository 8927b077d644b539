//! A running bridge: ports, flow tables, a datapath, and the socket by which it is asked.
//!
//! # Contract
//!
//! * [`Bridge`] is the one holder of a bridge's flows and ports. A [bundle](Bridge::bundle) is
//!   atomic: for packets (each sees all of it or nothing) and in failure (a refused one changes
//!   nothing).
//! * Flow changes mean what they mean in Open vSwitch: see [`FlowMod`].
//! * [`client`] programs a bridge of somebody else's over OpenFlow.
//! * [`control`] serves what the command line prints, over a Unix socket of JSON lines.
//! * Every call is safe from any thread.
//!
//! * [`openflow`] serves OpenFlow clients: tools on `BRIDGE.mgmt`, controllers by TCP.

mod bridge;
pub mod client;
pub mod control;
mod events;
mod flow_mod;
mod journal;
pub mod openflow;
mod saved;
pub mod socket;

pub use bridge::{Bridge, BundleError, ChangeError, FlowReport, PortReport, TableReport};
pub use events::{FlowChange, FlowEvent, Listener, Origin};
pub use flow_mod::{FilterError, FlowFilter, FlowMod, FlowModError, Ready};
pub use saved::SavedError;
