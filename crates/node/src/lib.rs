//! What a Kubernetes node wants of its pod network, as plain values; and the loop that makes the
//! world so.
//!
//! # The functional core
//!
//! [`cluster`] reads Kubernetes objects; [`state`] is what one node knows of them; from it follow
//! the flows ([`tables`]) and the host's devices, routes and settings ([`host`]). All of that is
//! pure: equal inputs give equal outputs, and nothing panics on any input.
//!
//! # The thin shell
//!
//! [`source`] watches the cluster, [`pods`] has the CNI's pods, [`store`] keeps what survives, [`host::kernel`] speaks to Linux,
//! [`bridge`] to our own bridge or to Open vSwitch, [`reconcile`] is the one loop, and [`agent`] puts it
//! all together.
//!
//! # Limits
//!
//! IPv4; the userspace datapath; network policies are reported and not enforced.

pub mod agent;
mod back_off;
pub mod bridge;
pub mod cluster;
pub mod config;
pub mod host;
pub mod identity;
pub mod pods;
pub mod reconcile;
pub mod source;
pub mod state;
pub mod store;
pub mod subnet;
pub mod tables;
pub mod underlay;

pub use agent::AgentConfig;
pub use cluster::{Cluster, ClusterError};
pub use config::{EncapMode, NodeConfig, TunnelType};
pub use identity::PortAssignments;
pub use source::ClusterFrom;
pub use state::NodeState;
pub use subnet::Subnet;
