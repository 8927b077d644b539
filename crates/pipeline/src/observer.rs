//! Watching a packet's way through the tables.

use crate::conntrack::{Outcome, Request};
use crate::table::Entry;
use crate::verdict::Drop;
use footbridge_openflow::{Action, Key, PortNo};

/// Told of each step of a packet's way, in order. Every method does nothing by default.
///
/// A clone and the copy that goes on below `ct(table=)` are told of between [`Observer::enter`]
/// and [`Observer::leave`]; so are the actions of a flow that a lookup found.
pub trait Observer {
    /// The packet is looked up in a table, with this key: `resubmit` may have given it another
    /// in_port.
    fn lookup(&mut self, _table: u8, _key: &Key) {}
    /// A flow took the packet; `conjunction` is the id that it was found by. Its actions follow.
    fn matched(&mut self, _table: u8, _entry: &Entry, _conjunction: Option<u32>, _key: &Key) {}
    /// No flow of the table takes the packet.
    fn missed(&mut self, _table: u8, _key: &Key) {}
    /// An action is carried out, with the fields before and after it. For those that start
    /// something (`resubmit`, `clone`, `output`), this comes before what they start.
    fn action(&mut self, _action: &Action, _before: &Key, _after: &Key) {}
    /// A list of actions begins.
    fn enter(&mut self, _list: List) {}
    /// A list of actions has ended; those of the list that started it follow.
    fn leave(&mut self, _list: List) {}
    /// The packet's way has ended, its action set carried out, with these fields; or that of a copy,
    /// which a list of this kind began.
    fn ended(&mut self, _copy: Option<List>, _key: &Key) {}
    /// The tracker answered.
    fn tracked(&mut self, _request: &Request, _outcome: &Outcome) {}
    /// NORMAL or a flood chose these ports.
    fn chosen(&mut self, _choice: Choice) {}
    /// The packet leaves by a port.
    fn output(&mut self, _port: PortNo, _key: &Key) {}
    /// The packet goes to the controllers.
    fn packet_in(&mut self, _controller: u16, _reason: u8) {}
    /// The packet, or a copy, goes nowhere: the last one told is the verdict's, if it has one.
    fn dropped(&mut self, _drop: Drop) {}
}

/// Why a list of actions is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// A flow of this table took the packet.
    Flow(u8),
    /// `clone(...)`.
    Clone,
    /// The copy that `ct(table=)` made.
    Tracked,
    /// The action set.
    ActionSet,
    /// A controller handed the packet in with them.
    PacketOut,
}

/// How NORMAL and floods chose ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The destination was learned on this port.
    Learned(PortNo),
    /// All ports that there are to flood to.
    Flood,
}

/// The observer that does not look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
