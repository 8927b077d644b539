//! Conjunctions: a flow with `conjunction(ID,K/N)` takes no packet itself. It says that the packet meets one
//! clause of a conjunction; where all N are met by flows of one priority, the table is looked up again with
//! ID in `conj_id` (the evaluator's `Pipeline::lookup`, ovs-fields(7), "conj_id").
//!
//! # How it works
//!
//! A table's conjunctions are numbered, by falling priority and then by rising id: the first complete one
//! that leads to a flow is the one that the evaluator takes. The clauses that a packet meets are bits, one
//! set of a bit for each conjunction for each clause. One map leads from the number of a shape of conjunctive
//! flows and a masked key to the bits of the flows of that key. A look-up's bits are the union over the shapes.
//!
//! The maps are written before a program uses them and never again: their values are wider than what is
//! read at once.

use super::Program;
use super::layout::{GATHERED, GATHERED_WORDS, SHAPE_KEY, key_word, word};
use super::plan::ShapePlan;
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R5, R7, R8, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::Field;

/// What a program has to know of one table's conjunctions.
#[derive(Debug, Clone)]
pub(crate) struct ConjunctionPlan {
    pub(crate) numbering: Numbering,
    /// The masks of the shapes of conjunctive flows, all as long: words 0 with mask 0 fill them up.
    pub(crate) masks: Vec<Vec<(u8, u64)>>,
    /// The map with this descriptor has the bits of each masked key, behind the shape's number.
    pub(crate) map: i32,
}

/// One conjunction of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Conjunction {
    /// Of the flows that it is made of.
    pub(crate) priority: std::cmp::Reverse<u16>,
    pub(crate) id: u32,
    pub(crate) n_clauses: u8,
}

/// A table's conjunctions in the order in which they are tried, and where their bits are: those of the first
/// clause come first, in as many words as there are conjunctions for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbering {
    conjunctions: Vec<Conjunction>,
    clauses: usize,
}

impl Numbering {
    /// Number them; None where they are too many for the scratch.
    pub(crate) fn of(conjunctions: impl Iterator<Item = Conjunction>) -> Option<Numbering> {
        let mut conjunctions: Vec<Conjunction> = conjunctions.collect();
        conjunctions.sort_unstable();
        conjunctions.dedup();
        let clauses = conjunctions.iter().map(|c| usize::from(c.n_clauses)).max().unwrap_or(0);
        let numbering = Numbering { conjunctions, clauses };
        (numbering.words() <= GATHERED_WORDS).then_some(numbering)
    }

    /// The conjunctions, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Conjunction> {
        self.conjunctions.iter()
    }

    /// How many words the bits of all clauses take.
    pub(crate) fn words(&self) -> usize {
        self.clauses * self.width()
    }

    /// Set the bit of a clause (from 1) of a conjunction.
    pub(crate) fn set(&self, bits: &mut [u64], conjunction: &Conjunction, clause: u8) {
        if let Ok(number) = self.conjunctions.binary_search(conjunction) {
            let at = usize::from(clause.saturating_sub(1)) * self.width() + number / 64;
            if let Some(word) = bits.get_mut(at) {
                *word |= 1 << (number % 64);
            }
        }
    }

    /// How many words the bits of one clause take.
    fn width(&self) -> usize {
        self.conjunctions.len().div_ceil(64)
    }

    /// The conjunctions of a word that have this clause (from 0).
    fn having(&self, word: usize, clause: usize) -> u64 {
        let of_word = self.conjunctions.iter().skip(64 * word).take(64).enumerate();
        of_word.filter(|(_, c)| usize::from(c.n_clauses) > clause).fold(0, |bits, (n, _)| bits | 1 << n)
    }

    fn highest(&self) -> u16 {
        self.conjunctions.first().map_or(0, |conjunction| conjunction.priority.0)
    }
}

/// In the place of a shape's number, before that of a conjunction: the value is then its id, and its
/// priority, each of 32 bits.
pub(crate) const IDS: u64 = i32::MAX as u64;

impl ConjunctionPlan {
    /// How many words the masked keys have.
    fn width(&self) -> usize {
        self.masks.first().map_or(0, Vec::len)
    }

    /// The key words that are looked at.
    pub(super) fn words(&self) -> impl Iterator<Item = u8> {
        let of_shapes = self.masks.iter().flatten().map(|(word, _)| *word);
        of_shapes.chain([word(Field::ConjId)])
    }
}

/// What a look-up keeps on its stack for [`Program::try_conjunction`]: the scratch, the best flow without
/// conjunctions, then the one to take.
const CONTEXT: i16 = -48;
const SCRATCH: i16 = 0;
const PLAIN: i16 = 8;
const CHOSEN: i16 = 16;

impl Program<'_> {
    /// R8, the best flow without conjunctions or 0, becomes the flow of a complete conjunction of higher
    /// priority, where there is one.
    pub(super) fn look_for_conjunctions(&mut self, table: u8, plan: &ConjunctionPlan) {
        let (look, done) = (self.asm.label(), self.asm.label());
        self.asm.jump_if_imm(Cmp::Eq, R8, 0, look);
        self.asm.mov(R1, R8);
        self.asm.shr(R1, 48);
        self.asm.jump_if_imm(Cmp::Ge, R1, plan.numbering.highest().into(), done);
        self.asm.bind(look);
        let function = self.asm.label();
        self.conjunctions.push((table, function));
        self.asm.mov(R1, R9);
        self.asm.mov(R2, R8);
        self.asm.call_local(function);
        self.asm.mov(R8, R0);
        self.asm.bind(done);
    }

    /// The functions that [`Program::look_for_conjunctions`] calls.
    pub(super) fn find_conjunctions(&mut self) {
        for (number, label) in std::mem::take(&mut self.conjunctions) {
            let Some(table) = self.plan.tables.get(&number) else { continue };
            if let Some(plan) = &table.conjunctions {
                self.find_conjunction(label, plan, &table.shapes);
            }
        }
    }

    /// `find(scratch, the best flow without conjunctions)`: the flow to take.
    fn find_conjunction(&mut self, label: Label, plan: &ConjunctionPlan, shapes: &[ShapePlan]) {
        self.asm.bind(label);
        let (gather, attempt) = (self.asm.label(), self.asm.label());
        let some = self.asm.label();
        self.asm.mov(R9, R1);
        self.asm.mov(R8, R2);
        let gathered = (GATHERED..).step_by(8).take(plan.numbering.words());
        gathered.for_each(|at| self.asm.store_imm(Size::D, R9, at, 0));
        for (number, mask) in (0..).zip(&plan.masks) {
            let next = self.asm.label();
            self.look_up_masked(plan.map, Some(number), mask);
            self.asm.jump_if_imm(Cmp::Eq, R0, 0, next);
            self.asm.mov(R1, R9);
            self.asm.mov(R2, R0);
            self.asm.call_local(gather);
            self.asm.bind(next);
        }
        self.complete(&plan.numbering);
        self.asm.jump_if_imm(Cmp::Ne, R7, 0, some);
        self.asm.mov(R0, R8);
        self.asm.exit();

        self.asm.bind(some);
        self.asm.store(Size::D, R10, CONTEXT + SCRATCH, R9);
        self.asm.store(Size::D, R10, CONTEXT + PLAIN, R8);
        self.asm.store(Size::D, R10, CONTEXT + CHOSEN, R8);
        self.asm.set(R1, plan.numbering.conjunctions.len() as u64);
        self.asm.function(R2, attempt);
        self.asm.mov(R3, R10);
        self.asm.alu_imm(Alu::Add, R3, i64::from(CONTEXT).cast_unsigned(), R4);
        self.asm.set(R4, 0);
        self.asm.call(Helper::Loop);
        self.asm.store_imm(Size::W, R9, key_word(word(Field::ConjId)), 0);
        self.asm.load(Size::D, R0, R10, CONTEXT + CHOSEN);
        self.asm.exit();

        self.gather(gather, plan.numbering.words());
        self.try_conjunction(attempt, plan, shapes);
    }

    /// `gather(scratch, bits)`: add the bits.
    fn gather(&mut self, label: Label, words: usize) {
        self.asm.bind(label);
        for (to, from) in (GATHERED..).step_by(8).zip((0..).step_by(8)).take(words) {
            self.asm.load(Size::D, R3, R1, to);
            self.asm.load(Size::D, R4, R2, from);
            self.asm.alu(Alu::Or, R3, R4);
            self.asm.store(Size::D, R1, to, R3);
        }
        self.asm.set(R0, 0);
        self.asm.exit();
    }

    /// The words of the first clause become those of the conjunctions that are complete; R7 is not 0 where
    /// any is.
    fn complete(&mut self, numbering: &Numbering) {
        let width = numbering.width();
        self.asm.set(R7, 0);
        for word in 0..width {
            self.asm.load(Size::D, R1, R9, gathered(word));
            for clause in 1..numbering.clauses {
                self.asm.load(Size::D, R2, R9, gathered(clause * width + word));
                let others = !numbering.having(word, clause);
                self.asm.alu_imm(Alu::Or, R2, others, R3);
                self.asm.alu(Alu::And, R1, R2);
            }
            self.asm.store(Size::D, R9, gathered(word), R1);
            self.asm.alu(Alu::Or, R7, R1);
        }
    }

    /// `try_conjunction(index, context)`: look up with the id of the first complete conjunction, and take it
    /// off; returns 1 when there is nothing left to do.
    fn try_conjunction(&mut self, label: Label, plan: &ConjunctionPlan, shapes: &[ShapePlan]) {
        self.asm.bind(label);
        let (end, any, next) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.mov(R7, R2);
        self.asm.load(Size::D, R9, R7, SCRATCH);
        self.first_complete(&plan.numbering, end);
        self.asm.store(Size::D, R9, SHAPE_KEY + 8, R1);
        self.asm.store_imm(Size::D, R9, SHAPE_KEY, IDS as i32);
        for at in (SHAPE_KEY + 16..).step_by(8).take(plan.width().saturating_sub(1)) {
            self.asm.store_imm(Size::D, R9, at, 0);
        }
        self.look_up_key(plan.map);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, end);
        // Between equals the flow without conjunctions wins.
        self.asm.load(Size::W, R2, R0, 4);
        self.asm.load(Size::D, R1, R7, PLAIN);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, any);
        self.asm.shr(R1, 48);
        self.asm.jump_if(Cmp::Le, R2, R1, end);
        self.asm.bind(any);
        self.asm.load(Size::W, R1, R0, 0);
        self.asm.store(Size::W, R9, key_word(word(Field::ConjId)), R1);
        self.best_flow(shapes);
        self.asm.jump_if_imm(Cmp::Eq, R8, 0, next);
        self.asm.store(Size::D, R7, CHOSEN, R8);
        self.asm.bind(end);
        self.asm.set(R0, 1);
        self.asm.exit();
        self.asm.bind(next);
        self.asm.set(R0, 0);
        self.asm.exit();
    }

    /// R1 is the number of the first complete conjunction, which is taken off; to `none` where there is none.
    fn first_complete(&mut self, numbering: &Numbering, none: Label) {
        let found = self.asm.label();
        for word in 0..numbering.width() {
            let next = self.asm.label();
            self.asm.load(Size::D, R2, R9, gathered(word));
            self.asm.jump_if_imm(Cmp::Eq, R2, 0, next);
            self.asm.mov(R3, R2);
            self.asm.alu_imm(Alu::Sub, R3, 1, R4);
            self.asm.mov(R4, R2);
            self.asm.alu(Alu::And, R4, R3);
            self.asm.store(Size::D, R9, gathered(word), R4);
            self.asm.set(R1, 64 * word as u64);
            self.asm.jump(found);
            self.asm.bind(next);
        }
        self.asm.jump(none);
        self.asm.bind(found);
        // How many zeros there are below the lowest bit: R3 has a one for each, above the bits that the
        // subtraction left alone.
        self.asm.alu(Alu::Xor, R3, R2);
        self.asm.shr(R3, 1);
        for shift in [32, 16, 8, 4, 2, 1] {
            let less = self.asm.label();
            self.asm.mov(R5, R3);
            self.asm.shr(R5, shift - 1);
            self.asm.jump_if_imm(Cmp::Eq, R5, 0, less);
            self.asm.alu_imm(Alu::Add, R1, shift.into(), R4);
            self.asm.shr(R3, shift);
            self.asm.bind(less);
        }
    }
}

/// Where a word of the bits is.
fn gathered(word: usize) -> i16 {
    GATHERED + 8 * word as i16
}
const _: () = assert!(GATHERED as usize + 8 * GATHERED_WORDS < i16::MAX as usize);
