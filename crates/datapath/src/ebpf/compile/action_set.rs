//! Action sets: what `write_actions` collects, to be done when the packet's way is over.
//!
//! The evaluator keeps a list of actions, and puts it in order at the end: one tag popped, one
//! pushed, one decrement of the TTL, the fields in the order written, then one action that sends the packet somewhere, without which nothing is
//! done. Writes of constants one over the other are one write, so that here the set is a mask and a value for
//! each key word, the steps before them, and the last action in one word: its rank in bits 63..56, the table of a
//! resubmit in 47..40, whether that has a port in 32, and the port in 31..0.

use super::Program;
use super::block::{Final, SetPart};
use super::layout::{SET_FROM, SET_LAST, SET_STEPS, key_word, set_mask, set_value, word};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R8, R9};
use crate::ebpf::asm::{Alu, Cmp, Size};
use footbridge_openflow::{Field, PortNo};

/// In SET_STEPS: flags, and the type of a tag that is pushed.
const DEC_TTL: u64 = 1;
const POP_VLAN: u64 = 2;
const PUSH_VLAN: u32 = 16;

const RANK: u32 = 56;
const RESUBMIT: u64 = 1;
const OUTPUT: u64 = 2;
const TABLE: u32 = 40;
const HAS_PORT: u64 = 1 << 32;

impl Program<'_> {
    /// The 64-bit words of the scratch that are the set.
    pub(super) fn set_state(&self) -> Vec<i16> {
        let fields = self.survey.set_words.iter().flat_map(|word| [set_mask(*word), set_value(*word)]);
        fields.chain([SET_STEPS, SET_LAST, key_word(word(Field::ActsetOutput))]).collect()
    }

    /// No packet has one at first, nor after `clear_actions`.
    pub(super) fn clear_set(&mut self) {
        if !self.survey.sets {
            return;
        }
        self.empty_set();
        self.asm.store_imm(Size::W, R9, key_word(word(Field::ActsetOutput)), PortNo::UNSET.0.cast_signed());
    }

    fn empty_set(&mut self) {
        let fields = self.survey.set_words.iter().flat_map(|word| [set_mask(*word), set_value(*word)]);
        let words: Vec<i16> = fields.chain([SET_STEPS, SET_LAST]).collect();
        words.into_iter().for_each(|at| self.asm.store_imm(Size::D, R9, at, 0));
    }

    /// `write_actions(...)`
    pub(super) fn write_set(&mut self, part: &SetPart) {
        for write in &part.writes {
            let skip = self.asm.label();
            if let Some(needs) = write.needs {
                self.require(needs, skip);
            }
            self.asm.load(Size::D, R1, R9, set_mask(write.word));
            self.asm.alu_imm(Alu::Or, R1, write.mask, R2);
            self.asm.store(Size::D, R9, set_mask(write.word), R1);
            self.constant(R1, write.value);
            self.asm.load(Size::D, R2, R9, set_value(write.word));
            self.asm.alu_imm(Alu::And, R2, !write.mask, R3);
            self.asm.alu(Alu::Or, R2, R1);
            self.asm.store(Size::D, R9, set_value(write.word), R2);
            self.asm.bind(skip);
        }
        let flags = (u64::from(part.dec_ttl) * DEC_TTL) | (u64::from(part.pop_vlan) * POP_VLAN);
        if flags != 0 || part.push_vlan.is_some() {
            self.asm.load(Size::D, R1, R9, SET_STEPS);
            if let Some(tpid) = part.push_vlan {
                self.asm.alu_imm(Alu::And, R1, DEC_TTL | POP_VLAN, R2);
                self.asm.alu_imm(Alu::Or, R1, u64::from(tpid) << PUSH_VLAN, R2);
            }
            self.asm.alu_imm(Alu::Or, R1, flags, R2);
            self.asm.store(Size::D, R9, SET_STEPS, R1);
        }
        match part.last {
            None => {}
            Some(Final::Output(port)) => {
                self.constant(R1, port);
                self.asm.store(Size::W, R9, key_word(word(Field::ActsetOutput)), R1);
                self.asm.alu_imm(Alu::Or, R1, OUTPUT << RANK, R2);
                self.asm.store(Size::D, R9, SET_LAST, R1);
            }
            Some(Final::Resubmit { table, in_port }) => {
                let done = self.asm.label();
                self.asm.load(Size::D, R1, R9, SET_LAST);
                self.asm.shr(R1, RANK);
                self.asm.jump_if_imm(Cmp::Gt, R1, RESUBMIT as i32, done);
                let port = in_port.map_or(0, |port| HAS_PORT | u64::from(port.0));
                self.asm.set(R1, RESUBMIT << RANK | u64::from(table) << TABLE | port);
                self.asm.store(Size::D, R9, SET_LAST, R1);
                self.asm.bind(done);
            }
        }
    }

    /// Carry the set out; then as at the end of a list.
    pub(super) fn carry_out_set(&mut self) {
        let (some, resubmit, in_port) = (self.asm.label(), self.asm.label(), self.asm.label());
        let (alive, over) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::D, R8, R9, SET_LAST);
        self.asm.jump_if_imm(Cmp::Ne, R8, 0, some);
        self.asm.jump(over);
        self.asm.bind(some);
        let (no_pop, no_push) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::D, R1, R9, SET_STEPS);
        self.asm.alu_imm(Alu::And, R1, POP_VLAN, R2);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, no_pop);
        self.pop_vlan();
        self.asm.bind(no_pop);
        self.asm.load(Size::D, R0, R9, SET_STEPS);
        self.asm.shr(R0, PUSH_VLAN);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, no_push);
        self.push_tag_of_type();
        self.asm.bind(no_push);
        self.asm.load(Size::D, R1, R9, SET_STEPS);
        self.asm.alu_imm(Alu::And, R1, DEC_TTL, R2);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, alive);
        self.dec_ttl(over, None);
        self.asm.bind(alive);
        let words: Vec<u8> = self.survey.set_words.iter().copied().collect();
        for number in words {
            let same = self.asm.label();
            self.asm.load(Size::D, R1, R9, set_mask(number));
            self.asm.jump_if_imm(Cmp::Eq, R1, 0, same);
            self.asm.load(Size::D, R2, R9, key_word(number));
            self.asm.mov(R3, R2);
            self.asm.alu(Alu::And, R3, R1);
            self.asm.alu(Alu::Xor, R2, R3);
            self.asm.load(Size::D, R3, R9, set_value(number));
            self.asm.alu(Alu::Or, R2, R3);
            self.asm.store(Size::D, R9, key_word(number), R2);
            self.asm.bind(same);
        }
        // What a resubmit writes to it is left undone.
        self.empty_set();
        self.asm.mov(R1, R8);
        self.asm.shr(R1, RANK);
        self.asm.jump_if_imm(Cmp::Eq, R1, RESUBMIT as i32, resubmit);
        self.asm.mov(R3, R8);
        self.asm.shl(R3, 32);
        self.asm.shr(R3, 32);
        self.output_by_number(false, over);
        self.asm.bind(resubmit);
        if self.survey.swaps_in_port {
            self.asm.mov(R1, R8);
            self.asm.alu_imm(Alu::And, R1, HAS_PORT, R2);
            self.asm.jump_if_imm(Cmp::Eq, R1, 0, in_port);
            self.asm.mov(R1, R8);
            self.swap_in_port();
            self.asm.bind(in_port);
        }
        if self.steps() {
            self.asm.mov(R1, R8);
            self.asm.shr(R1, TABLE);
            self.asm.alu_imm(Alu::And, R1, 0xff, R2);
            self.asm.load(Size::W, R2, R9, SET_FROM);
            self.go_to_table_in_register();
        }
        self.asm.bind(over);
        if self.steps() {
            self.return_to_list();
        } else {
            self.asm.jump(self.places.finish);
        }
    }
}
