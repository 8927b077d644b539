//! What a Kubernetes node wants of its pod network, as plain values; and the loop that makes the
//! world so.
//!
//! The functional core: [`cluster`] reads Kubernetes objects, [`state`] is what one node knows of
//! them, [`tables`] the flows that follow.

pub mod cluster;
pub mod config;
pub mod host;
pub mod identity;
pub mod state;
pub mod subnet;
pub mod tables;

pub use cluster::{Cluster, ClusterError};
pub use config::{NodeConfig, TunnelType};
pub use identity::PortAssignments;
pub use state::NodeState;
pub use subnet::Subnet;
