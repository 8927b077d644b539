//! `push`, `pop`, and moves of fields that are wider than a word: values of up to 128 bits.
//!
//! A value that is pushed is a node of its own, with the number of the one before it; it is never changed,
//! so that a copy of a packet has to keep the number of its last one only. Nodes are numbered from 1.

use super::Program;
use super::block::Bits;
use super::layout::{PUSHED_COUNT, PUSHED_TOP, VALUE, key_word};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R9};
use crate::ebpf::asm::{Alu, Cmp, Size};

/// How many values a packet can push, those popped again included.
pub(crate) const PUSHES: u32 = 1024;
/// A node: the value's higher and lower half, and the number of the one before.
pub(crate) const NODE: usize = 24;
const NODE_BEFORE: i16 = 16;
const _: () = assert!(PUSHES.is_power_of_two());

impl Program<'_> {
    pub(super) fn push(&mut self, bits: Bits) {
        self.read_value(bits);
        self.add_to_word(PUSHED_COUNT, 1);
        self.element(self.maps.pushed, PUSHED_COUNT, PUSHES, self.places.stack_full);
        for (at, word) in [(0, VALUE), (8, VALUE + 8), (NODE_BEFORE, PUSHED_TOP)] {
            self.asm.load(Size::D, R1, R9, word);
            self.asm.store(Size::D, R0, at, R1);
        }
        self.asm.load(Size::W, R1, R9, PUSHED_COUNT);
        self.asm.store(Size::D, R9, PUSHED_TOP, R1);
    }

    /// From an empty stack nothing is popped.
    pub(super) fn pop(&mut self, bits: Bits) {
        let empty = self.asm.label();
        self.asm.load(Size::D, R1, R9, PUSHED_TOP);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, empty);
        self.element(self.maps.pushed, PUSHED_TOP, PUSHES, empty);
        for (at, word) in [(0, VALUE), (8, VALUE + 8), (NODE_BEFORE, PUSHED_TOP)] {
            self.asm.load(Size::D, R1, R0, at);
            self.asm.store(Size::D, R9, word, R1);
        }
        self.write_value(bits);
        self.asm.bind(empty);
    }

    /// The bits, right-aligned, to VALUE: the higher half first.
    pub(super) fn read_value(&mut self, bits: Bits) {
        if !bits.wide {
            self.bits(R1, bits);
            self.asm.store_imm(Size::D, R9, VALUE, 0);
            self.asm.store(Size::D, R9, VALUE + 8, R1);
            return;
        }
        let (shift, count) = (u32::from(bits.shift), u32::from(bits.count));
        self.asm.load(Size::D, R1, R9, key_word(bits.word));
        self.asm.load(Size::D, R2, R9, key_word(bits.word) + 8);
        if shift >= 64 {
            self.asm.mov(R2, R1);
            self.asm.shr(R2, shift - 64);
            self.asm.set(R1, 0);
        } else if shift > 0 {
            self.asm.mov(R3, R1);
            self.asm.shl(R3, 64 - shift);
            self.asm.shr(R2, shift);
            self.asm.alu(Alu::Or, R2, R3);
            self.asm.shr(R1, shift);
        }
        let (high, low) = halves(ones(count));
        self.asm.alu_imm(Alu::And, R1, high, R3);
        self.asm.alu_imm(Alu::And, R2, low, R3);
        self.asm.store(Size::D, R9, VALUE, R1);
        self.asm.store(Size::D, R9, VALUE + 8, R2);
    }

    /// The bits become the lowest ones of VALUE.
    pub(super) fn write_value(&mut self, bits: Bits) {
        if !bits.wide {
            self.asm.load(Size::D, R1, R9, VALUE + 8);
            self.write_bits(bits);
            return;
        }
        let shift = u32::from(bits.shift);
        self.asm.load(Size::D, R1, R9, VALUE);
        self.asm.load(Size::D, R2, R9, VALUE + 8);
        if shift >= 64 {
            self.asm.mov(R1, R2);
            self.asm.shl(R1, shift - 64);
            self.asm.set(R2, 0);
        } else if shift > 0 {
            self.asm.mov(R3, R2);
            self.asm.shr(R3, 64 - shift);
            self.asm.shl(R1, shift);
            self.asm.alu(Alu::Or, R1, R3);
            self.asm.shl(R2, shift);
        }
        let (high, low) = halves(ones(u32::from(bits.count)) << shift);
        for (word, value, mask) in [(bits.word, R1, high), (bits.word + 1, R2, low)] {
            if mask == 0 {
                continue;
            }
            self.asm.alu_imm(Alu::And, value, mask, R3);
            self.asm.load(Size::D, R3, R9, key_word(word));
            self.asm.alu_imm(Alu::And, R3, !mask, R4);
            self.asm.alu(Alu::Or, R3, value);
            self.asm.store(Size::D, R9, key_word(word), R3);
        }
    }
}

fn ones(count: u32) -> u128 {
    u128::MAX >> (128 - count)
}

fn halves(value: u128) -> (u64, u64) {
    ((value >> 64) as u64, value as u64)
}
