//! What a program is made from, and what has to be known of it as a whole before code is written.

use super::block::{Block, Op, Use};
use super::conjunction::ConjunctionPlan;
use super::ct::CT_WORDS;
use super::layout;
use footbridge_openflow::Field;
use footbridge_pipeline::evaluate::MAX_DEPTH;
use std::collections::{BTreeMap, BTreeSet};

/// One shape of a table: its flows have this mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShapePlan {
    /// Key words and the bits of each that are compared; none for the shape that takes every packet.
    pub(crate) mask: Vec<(u8, u64)>,
    /// The lowest and the highest priority of its flows.
    pub(crate) priorities: (u16, u16),
    pub(crate) source: Source,
}

/// Where a shape's flows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// In maps with these descriptors: one leads from the masked key to the number of a cell, which the other
    /// has. Where shapes share them, the shape's number stands before the key.
    Map { keys: i32, cells: i32, number: Option<u64> },
    /// It has no others than these: masked key words, and the flow ([`layout::flow_value`]).
    Compares(Vec<(Vec<u64>, u64)>),
}

/// One table.
#[derive(Debug, Clone, Default)]
pub(crate) struct TablePlan {
    /// By falling highest priority.
    pub(crate) shapes: Vec<ShapePlan>,
    pub(crate) conjunctions: Option<ConjunctionPlan>,
    /// The blocks of its flows, each with its number.
    pub(crate) blocks: BTreeMap<u16, Block>,
}

/// Everything a program is made from.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) tables: BTreeMap<u8, TablePlan>,
    /// Whether packets that no flow takes are for the controllers.
    pub(crate) tells_misses: bool,
}

/// As many branches as one way through the program can have: the verifier keeps the other side of each for
/// later, and has room for 8192 (Linux, BPF_COMPLEXITY_LIMIT_JMP_SEQ).
const BRANCHES: usize = 7000;

/// How a packet gets from one piece of code to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// By jumps, all of them forward.
    Jumps,
    /// By the number of the next piece, which a loop goes to, or by a jump forward: see `control.rs`.
    Steps,
    /// By the number of the next piece only: a way that is a table long, for programs of very many branches.
    ShortSteps,
}

impl Plan {
    /// The tables that packets can come to, and how they get from one to another. Where that is by jumps,
    /// each table stands before those that it leads to.
    pub(super) fn order(&self) -> (Vec<u8>, Control) {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![0];
        while let Some(table) = waiting.pop() {
            if self.tables.contains_key(&table) && reached.insert(table) {
                waiting.extend(self.successors(table));
            }
        }
        let blocks = || reached.iter().flat_map(|table| self.blocks_of(*table));
        let (sets, clones) = (blocks().any(Block::writes_set), blocks().any(|block| block.clones() > 0));
        let (tracked, ends_tracked) =
            (blocks().any(|block| block.tracked() > 0), blocks().any(Block::ends_tracked));
        let returns = blocks().any(|block| block.returns() > 0 || block.set_resubmits())
            || (sets && (clones || ends_tracked))
            || tracked;
        match self.forward_order(&reached) {
            _ if self.branches() > BRANCHES => (reached.into_iter().collect(), Control::ShortSteps),
            Some(order) if !returns => (order, Control::Jumps),
            _ => (reached.into_iter().collect(), Control::Steps),
        }
    }

    /// The tables so that all jumps go forward. None where that can't be, or where packets could come to more
    /// nested look-ups than are allowed.
    fn forward_order(&self, reached: &BTreeSet<u8>) -> Option<Vec<u8>> {
        let mut left = reached.clone();
        let mut order = Vec::new();
        while !left.is_empty() {
            let led_to: BTreeSet<u8> = left.iter().flat_map(|table| self.successors(*table)).collect();
            let first = left.iter().copied().find(|table| !led_to.contains(table))?;
            left.remove(&first);
            order.push(first);
        }
        let leads_down = |table: &&u8| self.successors(**table).iter().any(|next| next <= *table);
        (order.iter().filter(leads_down).count() < MAX_DEPTH).then_some(order)
    }

    /// At least as many branches as a way through all tables has.
    fn branches(&self) -> usize {
        let of_op = |op: &Op| match op {
            Op::Write { needs: None, .. } | Op::Resubmit { .. } | Op::CtClear => 0,
            Op::Ct(_) => 128,
            _ => 8,
        };
        let of_shape = |shapes: &[ShapePlan], index: usize| {
            let shape = &shapes[index];
            let alone = shapes[..index].iter().all(|other| other.priorities.0 > shape.priorities.1);
            let found = match &shape.source {
                Source::Map { .. } => 3,
                Source::Compares(keys) => keys.len(),
            };
            found + if alone { 1 } else { 8 }
        };
        let of_table = |table: &TablePlan| {
            let shapes: usize = (0..table.shapes.len()).map(|index| of_shape(&table.shapes, index)).sum();
            let ops = |block: &Block| block.all_ops().into_iter().map(of_op).sum::<usize>();
            shapes + table.blocks.values().map(ops).max().unwrap_or(0) + 16
        };
        self.tables.values().map(of_table).sum()
    }

    fn successors(&self, table: u8) -> BTreeSet<u8> {
        self.blocks_of(table).flat_map(Block::successors).collect()
    }

    fn blocks_of(&self, table: u8) -> impl Iterator<Item = &Block> {
        self.tables.get(&table).into_iter().flat_map(|table| table.blocks.values())
    }

    /// Every step of every block.
    fn ops(&self) -> impl Iterator<Item = &Op> {
        self.tables.values().flat_map(|table| table.blocks.values()).flat_map(Block::all_ops)
    }

    /// How packets get from one piece of code to the next, and what the code has to know of packets.
    pub(super) fn survey(&self) -> Survey {
        let (order, control) = self.order();
        let returns = order.iter().flat_map(|table| self.blocks_of(*table));
        let sets = self.ops().any(|op| matches!(op, Op::WriteSet(_)));
        // A copy that the tracker told something is come back from, and from its action set.
        let tracked = |block: &Block| match control {
            Control::Jumps => 0,
            Control::Steps | Control::ShortSteps => {
                (block.tracked() + usize::from(block.ends_tracked())) * if sets { 2 } else { 1 }
            }
        };
        let clones = |block: &Block| if sets { block.clones() } else { 0 };
        let returns = returns.map(|block| block.returns() + clones(block) + tracked(block)).sum();
        let tracks = || self.ops().filter_map(|op| if let Op::Ct(ct) = op { Some(ct) } else { None });
        let mut survey = Survey {
            order,
            control,
            returns,
            words: [Field::InPortOxm, Field::EthType, Field::TunId, Field::TunDst]
                .into_iter()
                .map(layout::word)
                .collect(),
            assigned: BTreeSet::new(),
            written: BTreeSet::new(),
            set_words: self.ops().flat_map(Op::set_words).collect(),
            sets,
            writes_in_port: self.ops().any(Op::writes_in_port),
            tags: self.ops().any(Op::changes_tags),
            swaps_in_port: self.ops().any(Op::swaps_in_port),
            closes: self.ops().any(|op| matches!(op, Op::FinTimeout)),
            tells_misses: self.tells_misses,
            notes_look_ups: self.tells_misses,
            tracks: tracks().next().is_some(),
            tracked_copies: control != Control::Jumps && tracks().any(|ct| ct.table.is_some()),
            marks: tracks().any(|ct| ct.mark != 0),
            labels: tracks().any(|ct| ct.label != 0),
        };
        for table in self.tables.values() {
            survey.words.extend(table.shapes.iter().flat_map(|shape| &shape.mask).map(|(word, _)| *word));
            survey.words.extend(table.conjunctions.iter().flat_map(ConjunctionPlan::words));
        }
        for op in self.ops() {
            op.words(&mut |usage, word| {
                survey.words.insert(word);
                if usage == Use::Write {
                    survey.assigned.insert(word);
                }
            });
        }
        survey.complete();
        survey
    }
}

/// What is to be known of all flows before code is written.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The tables that packets can come to, in the order of their code.
    pub(crate) order: Vec<u8>,
    pub(crate) control: Control,
    /// How often code is left to be come back to.
    pub(crate) returns: usize,
    /// The key words that matches and actions use.
    pub(crate) words: BTreeSet<u8>,
    /// The key words that actions change.
    pub(crate) assigned: BTreeSet<u8>,
    /// The packet words among them, and those that are written to the frame together with them.
    pub(crate) written: BTreeSet<u8>,
    /// The key words that action sets change.
    pub(crate) set_words: BTreeSet<u8>,
    /// Whether there are action sets.
    pub(crate) sets: bool,
    /// Whether an action changes in_port.
    pub(crate) writes_in_port: bool,
    /// Whether a packet may leave with other tags.
    pub(crate) tags: bool,
    /// Whether a look-up is made with another in_port.
    pub(crate) swaps_in_port: bool,
    /// Whether there is `fin_timeout`.
    pub(crate) closes: bool,
    /// Whether packets that no flow takes are for the controllers.
    pub(crate) tells_misses: bool,
    /// Whether it has to be known which table was looked up last.
    pub(crate) notes_look_ups: bool,
    /// Whether there is `ct()`.
    pub(crate) tracks: bool,
    /// Whether lists go on behind `ct(table=)`.
    pub(crate) tracked_copies: bool,
    /// Whether some `ct()` writes ct_mark; ct_label.
    pub(crate) marks: bool,
    pub(crate) labels: bool,
}

impl Survey {
    /// Headers are read and written whole.
    fn complete(&mut self) {
        if layout::ND.meet(&self.words) {
            self.words.extend(layout::IP.iter());
        }
        // The headers that have the others' words.
        let ip = [layout::IPV4, layout::IPV6, layout::IP];
        if ip.iter().any(|header| header.meet(&self.words)) {
            ip.iter().for_each(|header| self.words.extend(header.iter()));
        }
        for header in [layout::ARP, layout::ND] {
            if header.meet(&self.words) {
                self.words.extend(header.iter());
            }
        }
        self.words.extend(layout::ETHERNET.iter());
        if self.tracks {
            // The tracker writes those that some match or action reads.
            self.assigned.extend(CT_WORDS.filter(|word| self.words.contains(word)));
        }
        self.written = self.assigned.iter().copied().filter(|word| layout::is_packet_word(*word)).collect();
        if layout::ND.meet(&self.written) {
            self.written.insert(layout::word(Field::Icmpv6Type));
        }
        for header in [layout::ETHERNET, layout::ARP] {
            if header.meet(&self.written) {
                self.written.extend(header.iter());
            }
        }
    }
}
