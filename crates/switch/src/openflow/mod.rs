//! A bridge for OpenFlow clients: `ovs-ofctl` and its like on a Unix socket, controllers by TCP.
//!
//! OpenFlow 1.0 with Nicira's extensions, 1.3, 1.4 and 1.5: the messages are
//! [`footbridge_openflow::wire`]'s; what they mean here, and who is told what, is this module's.
//!
//! # Contract
//!
//! * A message that can't be decoded or carried out is answered with its OFPT_ERROR, and the connection
//!   goes on. A stream that is no OpenFlow ends.
//! * Messages of a connection are carried out and answered in order; a barrier has nothing to wait for.
//! * A client that doesn't read is not read from: replies and events that wait for it are bounded.
//!   Packets for controllers are dropped then (and counted), flow monitors paused (NXT_FLOW_MONITOR_PAUSED),
//!   and one that has left too many events unread is hung up on.
//! * Connections, half messages and bundles are bounded in number and size: [`limit`].
//! * Everything runs on one thread, in the network namespace in which [`OpenFlow::start`] was called.
//!   No client can make it panic or wait.
//!
//! # Where what is
//!
//! | module | what |
//! | --- | --- |
//! | [`endpoint`] | `tcp:127.0.0.1:6653`, `unix:/run/…` |
//! | `service` | the thread: listening, dialling controllers, new connections |
//! | `connection` | bytes in and out of one connection |
//! | `session` | one connection's messages: what each does and is answered with |
//! | `convert` | flow mods and filters of the wire as the bridge's; the one table of errors |
//! | `bundle`, `monitor`, `settings`, `describe`, `statistics` | parts of the session |
//! | `hub` | what connections share, and who of them is told of an event |
//! | `queue` | events that wait for one connection |

mod bundle;
mod connection;
mod convert;
mod describe;
pub mod endpoint;
mod hub;
mod monitor;
mod queue;
mod service;
mod session;
mod settings;
mod statistics;

pub use endpoint::{Endpoint, EndpointError};
pub use service::{OpenFlow, OpenFlowConfig, OpenFlowError};

/// What clients can make the server hold.
pub mod limit {
    use std::time::Duration;

    /// Connections at a time; one more is hung up on.
    pub const CONNECTIONS: usize = 4096;
    /// Bytes of the messages in all bundles of one connection.
    pub const BUNDLE_BYTES: usize = 320 << 20;
    /// Bytes of the messages in all bundles of all connections.
    pub const ALL_BUNDLES_BYTES: usize = 512 << 20;
    /// Bundles of one connection that are open at a time.
    pub const BUNDLES: usize = 64;
    /// Flow monitors of one connection.
    pub const MONITORS: usize = 1024;
    /// Bytes of replies and events that wait to be written, beyond which no message is taken up.
    pub const OUTPUT: usize = 256 << 10;
    /// Packets that wait for one connection; further ones are dropped.
    pub const PACKET_INS: usize = 1024;
    /// Changes of flows that wait for one connection before its monitors are paused.
    pub const UPDATES: usize = 8192;
    /// Events that wait for one connection before it is hung up on.
    pub const EVENTS: usize = 256 << 10;
    /// How long a client may take over its hello, and over reading anything of what waits for it.
    pub const PATIENCE: Duration = Duration::from_secs(60);
    /// How long a controller may be silent before it is asked for an echo, and again before it counts
    /// as gone. Clients that connect to us are not asked.
    pub const PROBE: Duration = Duration::from_secs(5);
}
