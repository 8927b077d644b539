//! The OpenFlow language, without I/O: fields, matches, actions, flows, their text, and their messages.
//!
//! # Contract
//!
//! * [`field`] holds the one declarative table of fields; everything else reads it.
//! * Text is Open vSwitch's, both ways: what parses prints back as `ovs-ofctl dump-flows` prints it.
//! * Nothing here panics on any input, and nothing does I/O.

pub mod action;
pub mod addr;
pub mod check;
pub mod field;
pub mod flow;
pub mod key;
pub mod matching;
pub mod port;
pub mod text;
pub mod wire;

pub use action::{Action, Subfield};
pub use addr::MacAddr;
pub use field::Field;
pub use flow::{Flow, FlowStats};
pub use key::Key;
pub use matching::Match;
pub use port::{PortNames, PortNo};
