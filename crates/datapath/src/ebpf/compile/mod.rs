//! Flow tables to instructions.
//!
//! [`block::of_flow`] makes a flow's block and arguments, and refuses what the program can't do. A [`Plan`] has
//! each table's shapes and blocks; [`Plan::generate`] writes the program, given the maps.
//!
//! # The program
//!
//! | part | what it does | file |
//! | --- | --- | --- |
//! | start | finds the scratch, counts the packet in, reads the frame into key words | `parse.rs` |
//! | a table | looks the key up in each shape, by falling highest priority; then jumps to the block | `table.rs` |
//! | conjunctions | gathers the clauses that the packet meets, and looks up by the id of those complete | `conjunction.rs` |
//! | a block | an action list | `action.rs` |
//! | control | how code goes on elsewhere and comes back; copies for `clone` | `control.rs` |
//! | `push`, `pop`, wide moves | 128-bit values | `stack.rs` |
//! | IPv6 | its headers, neighbour discovery | `ipv6.rs` |
//! | SCTP | ports, with their checksum | `sctp.rs` |
//! | tags | put on and taken off | `vlan.rs` |
//! | action sets | what is to be done at the end | `action_set.rs` |
//! | output | writes changed words to the frame, finds the port's device | `output.rs` |
//! | NORMAL, floods | learned addresses; a copy to each port | `normal.rs` |
//! | packets for the controllers | a record in a ring | `punt.rs` |
//! | `ct()` | the tracker of connections | `ct.rs` |
//! | tunnels | the header of what comes and of what goes | `tunnel.rs` |
//!
//! R6 is the packet, R7 the counters of the port it came in on, R9 the scratch, all the way; R8 is the
//! flow found, then its arguments.
//!
//! # Limits
//!
//! The host is little-endian.

mod action;
mod action_set;
pub(super) mod block;
pub(super) mod conjunction;
pub(super) mod control;
pub(super) mod ct;
mod ipv6;
pub(super) mod layout;
mod normal;
mod output;
mod parse;
pub(super) mod plan;
pub(super) mod punt;
mod sctp;
pub(super) mod stack;
mod table;
pub(super) mod tunnel;
mod vlan;

pub(super) use output::TC_ACT_SHOT;
#[cfg(test)]
pub(super) use output::record;
pub(super) use parse::SKB_CB;

use super::asm::{Asm, AsmError, Code, Label};
use footbridge_openflow::PortNo;
use plan::{Plan, Survey};
use std::collections::BTreeMap;

/// Why a flow can't be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table {table}, priority {priority}: the ebpf datapath can't do {what} yet")]
pub struct Unsupported {
    /// The flow's table.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// What it is.
    pub what: What,
}

/// What can't be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum What {
    /// An action.
    #[error("the action {0}")]
    Action(&'static str),
}

/// Why no program was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A flow.
    #[error(transparent)]
    Flow(#[from] Unsupported),
    /// A program that can't be put together.
    #[error("the ebpf datapath can't do so many flow shapes and action lists: {0}")]
    Size(#[from] AsmError),
}

/// The descriptors of the maps that every program uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapFds {
    pub(super) scratch: i32,
    pub(super) nesting: i32,
    pub(super) port_counters: i32,
    pub(super) flow_counters: i32,
    pub(super) arguments: i32,
    pub(super) out_ports: i32,
    pub(super) fdb: i32,
    pub(super) flood: i32,
    pub(super) tunnels: i32,
    pub(super) punts: i32,
    pub(super) frames: i32,
    pub(super) copies: i32,
    pub(super) pushed: i32,
    pub(super) tracker: ct::TrackerFds,
}

/// What an output does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outputs {
    /// The frame goes to the port's device.
    Redirect,
    /// The frame goes to a record in the map with this descriptor, for BPF_PROG_TEST_RUN, in which no
    /// redirect can be seen. See [`record`].
    #[cfg(test)]
    Record(i32),
}

/// A structure of labels.
macro_rules! labels {
    ($(#[$about:meta])* struct $name:ident { $($(#[$doc:meta])* $label:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        struct $name { $($(#[$doc])* $label: Label,)* }

        impl $name {
            fn new(asm: &mut Asm) -> $name {
                $name { $($label: asm.label(),)* }
            }
        }
    };
}

/// A program under way, and what its parts share.
struct Program<'p> {
    asm: Asm,
    plan: &'p Plan,
    survey: &'p Survey,
    maps: MapFds,
    outputs: Outputs,
    /// Where each table's code will be; those that are behind this code are None.
    tables: BTreeMap<u8, Option<Label>>,
    /// Where code goes on that was left to be come back to, by number; and how many are in place.
    resumptions: Vec<Label>,
    resumed: usize,
    places: Places,
    /// The functions that look for the conjunctions of a table.
    conjunctions: Vec<(u8, Label)>,
}

labels! {
    /// Places that code in many files goes to.
    struct Places {
        /// No flow took the packet.
        no_flow,
        /// A list of actions is done: back to the one that it was called from.
        list_end,
        /// The packet's action set is carried out, then as at `list_end`.
        conclude,
        /// The packet's way is over: count why, where nothing was sent.
        finish,
        /// The packet is over: drop what is left of it.
        end,
        /// The program returns R0.
        leave,
        /// Some other piece of code is next.
        again,
        /// A look-up in a table without flows.
        nowhere,
        /// A limit is reached, and the packet given up.
        too_deep,
        too_many,
        stack_full,
        /// The function that goes to the next piece of code.
        step,
        /// The function that readies the frame for a port.
        prepare,
        /// NORMAL, flooding, and flooding's step: functions, which are there where some block calls them.
        normal,
        flood,
        flood_one,
        /// The function that writes packets for the controllers.
        punt,
        /// The function that brings `vlan_tci` into the list of tags.
        settle,
        /// The functions that pass one IPv6 extension header, and one option of neighbour discovery.
        extension,
        option,
        /// The function that goes on with SCTP's checksum.
        crc,
        /// The functions of the tracker of connections.
        track,
        quoted_extension,
        sweep,
        evict,
    }
}

impl Plan {
    /// The program: eBPF instructions for the TC hook.
    pub(super) fn generate(&self, maps: MapFds, outputs: Outputs) -> Result<Code, CompileError> {
        let survey = self.survey();
        let mut asm = Asm::default();
        let tables = survey.order.iter().map(|table| (*table, Some(asm.label()))).collect();
        let resumptions = (0..survey.returns).map(|_| asm.label()).collect();
        let places = Places::new(&mut asm);
        let mut program = Program {
            asm,
            plan: self,
            survey: &survey,
            maps,
            outputs,
            tables,
            resumptions,
            resumed: 0,
            places,
            conjunctions: Vec::new(),
        };
        program.start();
        program.begin();
        for table in &survey.order {
            program.table(*table);
        }
        program.finish();
        Ok(program.asm.finish()?)
    }
}

/// The highest port number that the output map has.
pub(super) const MAX_PORT: u32 = PortNo::MAX.0;
