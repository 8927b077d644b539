//! Watching a packet's way through the tables.

use crate::table::Entry;
use crate::verdict::Drop;
use footbridge_openflow::{Action, Key, PortNo};

/// Told of each step of a packet's way, in order. Every method does nothing by default.
pub trait Observer {
    /// The packet is looked up in a table.
    fn lookup(&mut self, _table: u8, _key: &Key) {}
    /// A flow took the packet; its actions follow.
    fn matched(&mut self, _table: u8, _entry: &Entry, _key: &Key) {}
    /// No flow of the table takes the packet.
    fn missed(&mut self, _table: u8, _key: &Key) {}
    /// An action was carried out, with the fields before and after it. For those that start
    /// something (`resubmit`, `clone`, `ct`), this comes before what they start.
    fn action(&mut self, _action: &Action, _before: &Key, _after: &Key) {}
    /// The packet leaves by a port.
    fn output(&mut self, _port: PortNo, _key: &Key) {}
    /// The packet, or a copy, goes nowhere.
    fn dropped(&mut self, _drop: Drop) {}
}

/// The observer that does not look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
