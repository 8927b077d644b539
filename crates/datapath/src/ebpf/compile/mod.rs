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
//! | a block | an action list; ends with a jump to a later table, or the packet | `action.rs` |
//! | output | writes changed words to the frame, finds the port's device | `output.rs` |
//! | NORMAL, floods | learned addresses; a copy to each port | `normal.rs` |
//!
//! R6 is the packet, R7 the counters of the port it came in on, R9 the scratch, all the way; R8 is the
//! flow found, then its arguments.
//!
//! # Limits
//!
//! Tables must not lead back to one another: the jumps all go forward, in an order of the tables that
//! [`Plan::generate`] finds. The host is little-endian.

mod action;
pub(super) mod block;
pub(super) mod conjunction;
pub(super) mod layout;
mod normal;
mod output;
mod parse;
mod table;

pub(super) use output::TC_ACT_SHOT;
#[cfg(test)]
pub(super) use output::record;
pub(super) use parse::SKB_CB;

use super::asm::{Asm, AsmError, Code, Label};
use block::{Block, Op};
use conjunction::ConjunctionPlan;
use footbridge_openflow::Field;
use footbridge_openflow::PortNo;
use footbridge_pipeline::evaluate::MAX_DEPTH;
use std::collections::{BTreeMap, BTreeSet};

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
    /// A field that an action reads or writes, there or without a match on the protocol.
    #[error("actions on {0} in a flow of this match")]
    Field(&'static str),
    /// A match.
    #[error("a match on {0} beside this dl_type")]
    Match(&'static str),
}

/// Why no program was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A flow.
    #[error(transparent)]
    Flow(#[from] Unsupported),
    /// Tables that lead back to one another.
    #[error("the ebpf datapath can't do tables that lead back to each other yet: {}", list(.0))]
    Loop(Vec<u8>),
    /// Packets that could come to more nested lookups than the evaluator allows.
    #[error(
        "the ebpf datapath can't do {0} tables that lead to lower ones yet: packets might come to the limit"
    )]
    Deep(usize),
    /// A program that can't be put together.
    #[error("the ebpf datapath can't do so many flow shapes and action lists: {0}")]
    Size(#[from] AsmError),
}

fn list(tables: &[u8]) -> String {
    tables.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

/// One shape of a table: its flows have this mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShapePlan {
    /// Key words and the bits of each that are compared; none for the shape that takes every packet.
    pub(super) mask: Vec<(u8, u64)>,
    /// The lowest and the highest priority of its flows.
    pub(super) priorities: (u16, u16),
    pub(super) source: Source,
}

/// Where a shape's flows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// In the map with this descriptor.
    Map(i32),
    /// It has the one flow, this one ([`layout::flow_value`]).
    One(u64),
}

/// One table.
#[derive(Debug, Clone, Default)]
pub(super) struct TablePlan {
    /// By falling highest priority.
    pub(super) shapes: Vec<ShapePlan>,
    pub(super) conjunctions: Option<ConjunctionPlan>,
    /// The blocks of its flows, each with its number.
    pub(super) blocks: BTreeMap<u16, Block>,
}

/// Everything a program is made from.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) tables: BTreeMap<u8, TablePlan>,
}

/// The descriptors of the maps that every program uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapFds {
    pub(super) scratch: i32,
    pub(super) port_counters: i32,
    pub(super) flow_counters: i32,
    pub(super) arguments: i32,
    pub(super) out_ports: i32,
    pub(super) fdb: i32,
    pub(super) flood: i32,
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

/// A program under way, and what its parts share.
struct Program<'p> {
    asm: Asm,
    plan: &'p Plan,
    maps: MapFds,
    outputs: Outputs,
    /// The key words that matches and actions use.
    words: BTreeSet<u8>,
    /// The packet words that actions write.
    written: BTreeSet<u8>,
    /// Where each table's code will be.
    tables: BTreeMap<u8, Label>,
    /// No flow took the packet.
    no_flow: Label,
    /// The flow that took the packet says no more.
    flow_drop: Label,
    /// The packet is over: drop what is left of it.
    end: Label,
    /// The function that readies the frame for a port.
    prepare: Label,
    /// NORMAL, flooding, and flooding's step: functions, which are there where some block calls them.
    normal: Label,
    flood: Label,
    flood_one: Label,
    /// The functions that look for the conjunctions of a table.
    conjunctions: Vec<(u8, Label)>,
}

impl Plan {
    /// The program: eBPF instructions for the TC hook.
    pub(super) fn generate(&self, maps: MapFds, outputs: Outputs) -> Result<Code, CompileError> {
        let order = self.order()?;
        let mut asm = Asm::default();
        let tables = order.iter().map(|table| (*table, asm.label())).collect();
        let (no_flow, flow_drop, end, prepare) = (asm.label(), asm.label(), asm.label(), asm.label());
        let (normal, flood, flood_one) = (asm.label(), asm.label(), asm.label());
        let (words, written) = (self.words(), self.written());
        let mut program = Program {
            asm,
            plan: self,
            maps,
            outputs,
            words,
            written,
            tables,
            no_flow,
            flow_drop,
            end,
            prepare,
            normal,
            flood,
            flood_one,
            conjunctions: Vec::new(),
        };
        program.start();
        program.go_to_table(0);
        for table in order {
            program.table(table);
        }
        program.finish();
        Ok(program.asm.finish()?)
    }

    /// The tables that packets can come to, each before those that it leads to.
    fn order(&self) -> Result<Vec<u8>, CompileError> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![0];
        while let Some(table) = waiting.pop() {
            if self.tables.contains_key(&table) && reached.insert(table) {
                waiting.extend(self.successors(table));
            }
        }
        let mut order = Vec::new();
        while !reached.is_empty() {
            let led_to: BTreeSet<u8> = reached.iter().flat_map(|table| self.successors(*table)).collect();
            let Some(first) = reached.iter().copied().find(|table| !led_to.contains(table)) else {
                return Err(CompileError::Loop(reached.into_iter().collect()));
            };
            reached.remove(&first);
            order.push(first);
        }
        let leads_down = |table: &&u8| self.successors(**table).iter().any(|next| next <= *table);
        match order.iter().filter(leads_down).count() {
            tables if tables >= MAX_DEPTH => Err(CompileError::Deep(tables)),
            _ => Ok(order),
        }
    }

    fn successors(&self, table: u8) -> BTreeSet<u8> {
        let blocks = self.tables.get(&table).map(|table| table.blocks.values());
        blocks.into_iter().flatten().filter_map(|block| block.next).collect()
    }

    /// The key words that the program has to know.
    fn words(&self) -> BTreeSet<u8> {
        let mut words = BTreeSet::from([layout::word(Field::InPortOxm), layout::word(Field::EthType)]);
        for table in self.tables.values() {
            words.extend(table.shapes.iter().flat_map(|shape| &shape.mask).map(|(word, _)| *word));
            words.extend(table.conjunctions.iter().flat_map(ConjunctionPlan::words));
            for op in table.blocks.values().flat_map(|block| &block.ops) {
                match op {
                    Op::Write { word, .. } => drop(words.insert(*word)),
                    Op::Move { src, dst, .. } => words.extend([src.word, dst.word]),
                    Op::DecTtl => drop(words.insert(layout::word(Field::NwTtl))),
                    Op::OutputBits(bits) => drop(words.insert(bits.word)),
                    // A gratuitous ARP counts for more.
                    Op::Normal => words.extend(layout::ARP.iter()),
                    Op::Output(_) | Op::OutputInPort | Op::Flood => {}
                }
            }
        }
        let is_ip = |word: &u8| layout::IPV4.has(*word);
        if words.iter().any(is_ip) {
            words.extend(layout::IPV4.iter());
        }
        if words.iter().any(|word| layout::ARP.has(*word)) {
            words.extend(layout::ARP.iter());
        }
        words.extend(layout::ETHERNET.iter());
        words
    }

    /// The packet words that its actions change.
    fn written(&self) -> BTreeSet<u8> {
        let ops = self.tables.values().flat_map(|table| table.blocks.values()).flat_map(|block| &block.ops);
        let word = |op: &Op| match op {
            Op::Write { word, .. } => Some(*word),
            Op::Move { dst, .. } => Some(dst.word),
            Op::DecTtl => Some(layout::word(Field::NwTtl)),
            Op::Output(_) | Op::OutputInPort | Op::OutputBits(_) | Op::Normal | Op::Flood => None,
        };
        let mut written: BTreeSet<u8> =
            ops.filter_map(word).filter(|word| layout::is_packet_word(*word)).collect();
        // A header is written together.
        for header in [layout::ETHERNET, layout::ARP] {
            if header.iter().any(|word| written.contains(&word)) {
                written.extend(header.iter());
            }
        }
        written
    }
}

/// The highest port number that the output map has.
pub(super) const MAX_PORT: u32 = PortNo::MAX.0;
