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
//! The OpenFlow server (`BRIDGE.mgmt`) will be a module beside [`control`].

mod bridge;
pub mod client;
pub mod control;
mod flow_mod;
mod saved;

pub use bridge::{Bridge, BundleError, FlowReport, PortReport};
pub use flow_mod::{FilterError, FlowFilter, FlowMod, FlowModError};
pub use saved::SavedError;
