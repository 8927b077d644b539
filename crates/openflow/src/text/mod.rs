//! The text form of flows, both ways: what `ovs-ofctl` reads and prints.
//!
//! # Contract
//!
//! * [`parse_flow`] reads a line of `ovs-ofctl dump-flows` or what `ovs-ofctl add-flow` takes;
//!   [`Flow::display`](crate::Flow::display) prints what `dump-flows --no-stats --names` of Open
//!   vSwitch 3.1 prints, byte for byte.
//! * Errors name the file, the line and the column of the offending token, and what was expected.
//! * Nothing panics, whatever the text.

mod error;
mod parse_action;
mod parse_flow;
mod parse_match;
mod parse_packet;
mod parse_ports;
mod parse_value;
mod print_action;
mod print_flow;
mod print_match;
mod print_value;
mod span;
mod words;

pub use error::{ParseError, Problem};
pub use parse_flow::{ParsedLine, parse_dump, parse_flow, parse_flow_with_stats};
pub use parse_packet::parse_packet;
pub use parse_ports::parse_ports;
pub use print_flow::display_actions;

#[cfg(test)]
mod tests;
