//! The control socket: what the command line asks a running bridge.
//!
//! A Unix stream socket, `BRIDGE.ctl` in the bridge's runtime directory, mode 0600. One JSON object
//! a line: a [`Request`] goes in, one [`Reply`] comes back, as often as the client likes, in order.
//! Field names and their meaning are kept from version to version; new ones may come.

mod client;
mod ports;
mod protocol;
mod rows;
mod server;

pub use crate::socket::ServerError;
pub use client::{Client, ClientError};
pub use ports::{PortTextError, add_port};
pub use protocol::{
    AttachmentRequest, ConnectionRow, EndpointRow, FdbRow, FlowRow, MAX_REQUEST, PortRequest, PortRow, Reply,
    Request, StatusRow, TrafficRow,
};
pub use server::Server;
