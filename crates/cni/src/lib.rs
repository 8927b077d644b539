//! The Container Network Interface: what a runtime asks of a plugin and what it is answered, as values.
//!
//! # Contract
//!
//! The specification is CNI 1.1.0 (github.com/containernetworking/cni, SPEC.md); 1.0.0, 0.4.0, 0.3.1 and 0.3.0
//! are spoken too, each call in the version of its configuration.
//!
//! * A [`Call`] is read from a plugin's environment and standard input ([`Call::parse`]); what can't be a
//!   call is refused with the specification's error code, before anybody acts on it.
//! * An [`AddResult`] is read from and printed in the schema of any [`Version`].
//! * An [`Error`] is what a plugin prints when it fails.
//! * [`protocol`] is what the plugin and the node's agent say to each other.
//!
//! Nothing here does I/O or panics on any input.

mod attachment;
mod call;
mod config;
mod error;
pub mod protocol;
mod result;
mod version;

pub use attachment::{Attachment, ContainerId, InterfaceName, PodName};
pub use call::{Call, Command, Environment, MAX_CONFIG, Request, Target};
pub use config::{Ipam, NetworkConfig};
pub use error::{Code, Error};
pub use result::{AddResult, Cidr, Dns, Interface, IpConfig, Route};
pub use version::Version;
