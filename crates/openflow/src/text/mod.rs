//! The text form of flows, both ways: what `ovs-ofctl` reads and prints.
//!
//! # Contract
//!
//! * [`parse_flow`] reads a line of `ovs-ofctl dump-flows` or what `ovs-ofctl add-flow` takes;
//!   [`Flow::display`](crate::Flow::display) prints what `dump-flows --no-stats --names` of Open
//!   vSwitch 3.1 prints, byte for byte.
//! * Errors name the file, the line and the column of the offending token, and what was expected.
//! * Nothing panics, whatever the text, and nesting is bounded.
//!
//! One room each: `parse_*` read a line's parts and `print_*` write them, over `span` (pieces that
//! know their place) and `words` (the tables of keywords). What no switch would take is told by
//! [`Flow::check`](crate::Flow::check), which `parse_flow` asks last.
//!
//! # Not supported
//!
//! * Actions: `learn`, `bundle`, `bundle_load`, `multipath`, `sample`, `encap`, `decap`,
//!   `delete_field`, `set_vlan_vid`, `set_vlan_pcp` (`mod_vlan_vid` and `mod_vlan_pcp` are), the MPLS
//!   and NSH actions, `debug_recirc`, `debug_slow`. They are refused by name.
//! * Fields: MPLS, NSH, ERSPAN and GTP-U; `tun_tos` and `tun_ttl`, which OpenFlow can't carry;
//!   `recirc_id` and `dp_hash`; `dl_vlan1` and on (the inner tags); `tun_metadata8` and on.
//! * Words of commands other than add: `out_port`, `out_group`, cookie masks, `add` or `delete` at
//!   the start of a line; table names.
//!
//! # Differences from ovs-ofctl, on purpose
//!
//! * Text is not sent anywhere, so nothing is translated on the way: Open vSwitch turns `load` into
//!   `set_field` for OpenFlow 1.5 and the other way round for 1.0, `strip_vlan` into `pop_vlan` for
//!   1.1 and later, and leaves out `ct_nw_proto=0` and an empty `write_actions`. `pop_vlan` is read
//!   and printed as `strip_vlan`.
//! * A match on a field without its prerequisite is refused; ovs-ofctl leaves it out with a warning.
//! * NXM and OXM names stand for fields in matches too; quoted port names may hold commas.

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
pub use parse_flow::{ParsedLine, parse_dump, parse_flow, parse_flow_with_stats, parse_match};
pub use parse_packet::parse_packet;
pub use parse_ports::{parse_port, parse_ports};
pub use print_flow::display_actions;

#[cfg(test)]
mod tests;
