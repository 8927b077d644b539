//! A table: one look-up a shape, by falling highest priority, until no shape that is left can beat the
//! flow found; then the jump to the flow's block.

use super::Program;
use super::layout::{
    ENDED, FLOW_BYTES, FLOW_LAST_USED, FLOW_PACKETS, LENGTH, NOW, SHAPE_KEY, TABLE_MATCHES, TABLE_MISSES,
    VALUE, flow_value, key_word, table_counters,
};
use super::plan::{ShapePlan, Source};
use crate::ebpf::asm::Reg::{self, R0, R1, R2, R3, R8, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};

/// On the stack: a 32-bit key; the flow that the present shape found; the block found; the place in order
/// of the best flow so far.
const KEY: i16 = -4;
const FOUND: i16 = -16;
const BLOCK: i16 = -24;
const PLACE: i16 = -32;

impl Program<'_> {
    /// The table's code, and its blocks'.
    pub(super) fn table(&mut self, number: u8) {
        let (Some(place), Some(table)) = (self.tables.get_mut(&number), self.plan.tables.get(&number)) else {
            return;
        };
        let Some(label) = place.take() else { return };
        self.asm.bind(label);
        // What is far away is jumped to from here.
        let (missed, broken) = (self.asm.label(), self.asm.label());
        self.count_lookup();
        self.best_flow(&table.shapes);
        if let Some(conjunctions) = &table.conjunctions {
            self.look_for_conjunctions(number, conjunctions);
        }
        self.restore_in_port();
        self.asm.jump_if_imm(Cmp::Eq, R8, 0, missed);
        self.increment(R9, table_counters(number) + TABLE_MATCHES);
        self.count_hit(broken);
        self.asm.load(Size::W, R1, R10, BLOCK);
        let labels: Vec<(u16, Label)> = table.blocks.keys().map(|id| (*id, self.asm.label())).collect();
        self.dispatch(&labels);
        self.asm.bind(missed);
        self.increment(R9, table_counters(number) + TABLE_MISSES);
        self.asm.jump(self.places.no_flow);
        self.asm.bind(broken);
        self.asm.jump(self.places.end);
        for ((_, label), block) in labels.into_iter().zip(table.blocks.values()) {
            self.asm.bind(label);
            self.block(number, block);
        }
    }

    /// R8 becomes the best flow of the shapes that takes the packet, 0 for none.
    pub(super) fn best_flow(&mut self, shapes: &[ShapePlan]) {
        let found = self.asm.label();
        self.asm.set(R8, 0);
        for (index, shape) in shapes.iter().enumerate() {
            let before = &shapes[..index];
            if !before.is_empty() {
                self.stop_where_beaten(before, shape, found);
            }
            self.shape(before, shape);
        }
        self.asm.bind(found);
    }

    /// Have done where the flow found so far beats all that this and later shapes have.
    fn stop_where_beaten(&mut self, before: &[ShapePlan], shape: &ShapePlan, hit: Label) {
        let (_, highest) = shape.priorities;
        if before.iter().all(|other| other.priorities.0 > highest) {
            self.asm.jump_if_imm(Cmp::Ne, R8, 0, hit);
        } else {
            self.asm.mov(R1, R8);
            self.asm.shr(R1, 48);
            self.asm.jump_if_imm(Cmp::Gt, R1, highest.into(), hit);
        }
    }

    /// Look the packet up in one shape; R8 becomes its flow where that is better.
    fn shape(&mut self, before: &[ShapePlan], shape: &ShapePlan) {
        let next = self.asm.label();
        match &shape.source {
            Source::Compares(keys) => self.compare(&shape.mask, keys, next),
            Source::Map { keys, cells, number } => {
                self.look_up_masked(*keys, *number, &shape.mask);
                self.asm.jump_if_imm(Cmp::Eq, R0, 0, next);
                self.asm.load(Size::W, R1, R0, 0);
                self.asm.store(Size::W, R10, KEY, R1);
                self.lookup_on_stack(*cells, KEY);
                self.asm.jump_if_imm(Cmp::Eq, R0, 0, next);
                self.asm.load(Size::D, R1, R0, 0);
                // A key without a flow.
                self.asm.jump_if_imm(Cmp::Eq, R1, 0, next);
            }
        }
        if before.iter().all(|other| other.priorities.0 > shape.priorities.1) {
            // Any flow found before would have ended the look-up.
            self.asm.mov(R8, R1);
        } else {
            self.better_of_two();
        }
        self.asm.bind(next);
    }

    /// R1 is the flow whose key the packet has; to `none` where there is none.
    fn compare(&mut self, mask: &[(u8, u64)], keys: &[(Vec<u64>, u64)], none: Label) {
        let found = self.asm.label();
        for (key, flow) in keys {
            let other = self.asm.label();
            // R3 are the bits that differ: one branch a key, for the verifier's sake.
            self.asm.set(R3, 0);
            for ((word, mask), value) in mask.iter().zip(key) {
                self.masked(R1, *word, *mask);
                self.asm.alu_imm(Alu::Xor, R1, *value, R2);
                self.asm.alu(Alu::Or, R3, R1);
            }
            if !key.is_empty() {
                self.asm.jump_if_imm(Cmp::Ne, R3, 0, other);
            }
            self.asm.set(R1, *flow);
            self.asm.jump(found);
            self.asm.bind(other);
        }
        self.asm.jump(none);
        self.asm.bind(found);
        // By way of memory: a flow that the verifier knows the number of it would follow up by itself.
        self.asm.store(Size::D, R9, VALUE, R1);
        self.asm.load(Size::D, R1, R9, VALUE);
    }

    fn masked(&mut self, dst: Reg, word: u8, mask: u64) {
        self.asm.load(Size::D, dst, R9, key_word(word));
        if mask != u64::MAX {
            self.asm.alu_imm(Alu::And, dst, mask, R2);
        }
    }

    /// R0 is the value in the map at the key words that the mask leaves, behind a number if there is one; or 0.
    pub(super) fn look_up_masked(&mut self, map: i32, number: Option<u64>, mask: &[(u8, u64)]) {
        let mut at = SHAPE_KEY;
        if let Some(number) = number {
            self.asm.set(R1, number);
            self.asm.store(Size::D, R9, at, R1);
            at += 8;
        }
        for (offset, (word, mask)) in (at..).step_by(8).zip(mask) {
            self.masked(R1, *word, *mask);
            self.asm.store(Size::D, R9, offset, R1);
        }
        self.look_up_key(map);
    }

    /// R0 is the value in the map at the key in the scratch, or 0.
    pub(super) fn look_up_key(&mut self, map: i32) {
        self.asm.mov(R2, R9);
        self.asm.alu_imm(Alu::Add, R2, i64::from(SHAPE_KEY).cast_unsigned(), R3);
        self.asm.map(R1, map);
        self.asm.call(Helper::MapLookupElem);
    }

    /// R8 becomes the better of the flow in R8, if any, and that in R1: of higher priority, or older.
    fn better_of_two(&mut self) {
        let asm = &mut self.asm;
        let (take, keep) = (asm.label(), asm.label());
        asm.jump_if_imm(Cmp::Eq, R8, 0, take);
        asm.mov(R2, R1);
        asm.shr(R2, 48);
        asm.mov(R3, R8);
        asm.shr(R3, 48);
        asm.jump_if(Cmp::Gt, R2, R3, take);
        asm.jump_if(Cmp::Lt, R2, R3, keep);
        asm.store(Size::D, R10, FOUND, R1);
        self.place(R8, keep);
        self.asm.store(Size::D, R10, PLACE, R1);
        self.asm.load(Size::D, R1, R10, FOUND);
        self.place(R1, keep);
        self.asm.load(Size::D, R2, R10, PLACE);
        self.asm.jump_if(Cmp::Gt, R1, R2, keep);
        self.asm.load(Size::D, R1, R10, FOUND);
        self.asm.bind(take);
        self.asm.mov(R8, R1);
        self.asm.bind(keep);
    }

    /// R1 is the place in order of a flow.
    fn place(&mut self, flow: Reg, missing: Label) {
        self.asm.store(Size::W, R10, KEY, flow);
        self.lookup_on_stack(self.maps.arguments, KEY);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, missing);
        self.asm.load(Size::D, R1, R0, 0);
    }

    /// The flow in R8 has the packet: count it. R8 becomes its arguments, and the stack holds its block.
    fn count_hit(&mut self, broken: Label) {
        self.asm.store_imm(Size::W, R9, ENDED, 0);
        self.asm.store(Size::W, R10, KEY, R8);
        self.asm.load(Size::W, R1, R10, KEY);
        self.count_depth();
        let asm = &mut self.asm;
        asm.shr(R8, 32);
        asm.alu_imm(Alu::And, R8, 0xffff, R1);
        asm.store(Size::W, R10, BLOCK, R8);
        self.lookup_on_stack(self.maps.flow_counters, KEY);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, broken);
        self.asm.load(Size::W, R1, R9, LENGTH);
        self.add(R0, FLOW_BYTES, R1);
        self.increment(R0, FLOW_PACKETS);
        self.asm.load(Size::D, R1, R9, NOW);
        self.asm.store(Size::D, R0, FLOW_LAST_USED, R1);
        self.lookup_on_stack(self.maps.arguments, KEY);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, broken);
        self.asm.mov(R8, R0);
    }

    /// Jump to the block whose number is in R1, by halving.
    fn dispatch(&mut self, blocks: &[(u16, Label)]) {
        match blocks {
            [] => {}
            [(_, label)] => self.asm.jump(*label),
            _ => {
                let (lower, upper) = blocks.split_at(blocks.len() / 2);
                let right = self.asm.label();
                let first = upper.first().map_or(0, |(id, _)| i32::from(*id));
                self.asm.jump_if_imm(Cmp::Ge, R1, first, right);
                self.dispatch(lower);
                self.asm.bind(right);
                self.dispatch(upper);
            }
        }
    }
}

/// A flow in the program is never the value that stands for none: its slot is not 0.
const _: () = assert!(flow_value(0, 0, 1) != 0);
