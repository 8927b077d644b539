//! VLAN tags.
//!
//! The kernel holds a received frame's outer tag beside it, and so it does with one that is pushed; those
//! behind are bytes. Here the tags that are known are a list, the outermost last: that of the frame at first,
//! what actions make of it, and another list of those that the frame has in truth. An output takes off and
//! puts on what differs. The evaluator's `Frame` says what an action does: `vlan_tci` of the key is brought
//! into the list, which is *settled*, before a tag is pushed or popped and before an output; a tag that
//! `push_vlan` covered shows again when the one in front is popped.
//!
//! # Limits
//!
//! A packet can have [`TAGS`] tags in front of what is behind the one that it came with; more are `stack_full`.

use super::Program;
use super::layout::{
    FIRST_TAGS, FRAME_TAG_COUNT, L3, L4, LENGTH, TAG_COUNT, TAGS, TAGS_COVERED, TCI_SETTLED, frame_tag,
    key_word, tag, word,
};
use super::parse::{SKB_VLAN_PRESENT, VLAN_PRESENT};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R5, R6, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::Field;

/// The tag that actions put on a frame without one.
const ETH_TYPE_VLAN: u64 = 0x8100;
/// On the stack of `prepare`: how many tags the two lists have in common from the inside, whether the kernel
/// holds a tag beside the frame, how many bytes the frame grew.
const COMMON: i16 = -40;
const BESIDE: i16 = -48;
const GROWN: i16 = -56;
/// On the stack of a list's code: the type of the tag that is pushed.
const TYPE: i16 = -48;

impl Program<'_> {
    /// The frame came in with the tag in R1, of the type in R2.
    pub(super) fn tag_arrived(&mut self) {
        if !self.survey.tags {
            return;
        }
        self.asm.mov(R4, R1);
        self.asm.alu_imm(Alu::Or, R4, VLAN_PRESENT, R5);
        self.asm.store(Size::W, R9, TCI_SETTLED, R4);
        self.asm.shl(R2, 16);
        self.asm.alu(Alu::Or, R2, R1);
        self.asm.store(Size::W, R9, tag(0), R2);
        self.asm.store(Size::W, R9, frame_tag(0), R2);
        for count in [TAG_COUNT, FRAME_TAG_COUNT, FIRST_TAGS] {
            self.asm.store_imm(Size::W, R9, count, 1);
        }
    }

    /// R3 is the address of the tag whose number is in R1, less [`tag`]'s own; to `full` where there is none.
    fn tag_at(&mut self, full: Label) {
        self.asm.jump_if_imm(Cmp::Ge, R1, TAGS, full);
        self.asm.mov(R3, R1);
        self.asm.shl(R3, 2);
        self.asm.alu(Alu::Add, R3, R9);
    }

    /// The function `settle(scratch)`: what the key says of the tag is in the list. Returns 0, or 1 where that
    /// is full.
    pub(super) fn settle_tags(&mut self) {
        let asm = &mut self.asm;
        asm.bind(self.places.settle);
        let (done, full, absent, remove) = (asm.label(), asm.label(), asm.label(), asm.label());
        asm.mov(R9, R1);
        asm.load(Size::W, R4, R9, TCI_SETTLED);
        asm.load(Size::H, R5, R9, key_word(word(Field::VlanTci)));
        asm.store(Size::W, R9, TCI_SETTLED, R5);
        asm.jump_if(Cmp::Eq, R4, R5, done);
        asm.mov(R2, R5);
        asm.alu_imm(Alu::And, R2, 0xffff & !VLAN_PRESENT, R3);
        asm.load(Size::W, R1, R9, TAG_COUNT);
        let (was, is) = (asm.label(), asm.label());
        asm.jump_if_imm(Cmp::Set, R4, VLAN_PRESENT as i32, was);
        asm.jump_if_imm(Cmp::Set, R5, VLAN_PRESENT as i32, absent);
        asm.jump(done);
        asm.bind(was);
        asm.jump_if_imm(Cmp::Set, R5, VLAN_PRESENT as i32, is);
        asm.jump(remove);
        asm.bind(is);
        asm.alu_imm(Alu::Sub, R1, 1, R3);
        self.tag_at(full);
        self.asm.store(Size::H, R3, tag(0), R2);
        self.asm.jump(done);
        self.asm.bind(absent);
        self.asm.alu_imm(Alu::Or, R2, ETH_TYPE_VLAN << 16, R3);
        self.add_tag(full);
        self.asm.jump(done);
        self.asm.bind(remove);
        self.asm.alu_imm(Alu::Sub, R1, 1, R3);
        self.asm.store(Size::W, R9, TAG_COUNT, R1);
        self.uncover();
        self.asm.bind(done);
        self.asm.set(R0, 0);
        self.asm.exit();
        self.asm.bind(full);
        self.asm.set(R0, 1);
        self.asm.exit();
    }

    /// The tag in R2 is in front of the R1 that there are.
    fn add_tag(&mut self, full: Label) {
        self.tag_at(full);
        self.asm.store(Size::W, R3, tag(0), R2);
        self.asm.alu_imm(Alu::Add, R1, 1, R3);
        self.asm.store(Size::W, R9, TAG_COUNT, R1);
    }

    /// One less is covered, if any is. R4 is how many there were.
    fn uncover(&mut self) {
        let none = self.asm.label();
        self.asm.load(Size::W, R4, R9, TAGS_COVERED);
        self.asm.jump_if_imm(Cmp::Eq, R4, 0, none);
        self.asm.mov(R5, R4);
        self.asm.alu_imm(Alu::Sub, R5, 1, R3);
        self.asm.store(Size::W, R9, TAGS_COVERED, R5);
        self.asm.bind(none);
    }

    fn settle_now(&mut self) {
        let settled = self.asm.label();
        self.asm.mov(R1, R9);
        self.asm.call_local(self.places.settle);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, settled);
        self.asm.jump(self.places.stack_full);
        self.asm.bind(settled);
    }

    /// R1 is what is now the tag.
    fn set_tci(&mut self) {
        self.asm.store(Size::H, R9, key_word(word(Field::VlanTci)), R1);
        self.asm.store(Size::W, R9, TCI_SETTLED, R1);
    }

    /// `push_vlan`: the tag's type is in R0.
    pub(super) fn push_vlan(&mut self, tpid: u16) {
        self.asm.set(R0, tpid.into());
        self.push_tag_of_type();
    }

    pub(super) fn push_tag_of_type(&mut self) {
        let (bare, full, done) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.store(Size::D, R10, TYPE, R0);
        self.settle_now();
        self.asm.load(Size::W, R1, R9, TCI_SETTLED);
        self.asm.alu_imm(Alu::And, R1, VLAN_PRESENT, R2);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, bare);
        self.add_to_word(TAGS_COVERED, 1);
        self.asm.bind(bare);
        self.asm.load(Size::D, R2, R10, TYPE);
        self.asm.shl(R2, 16);
        self.asm.load(Size::W, R1, R9, TAG_COUNT);
        self.add_tag(full);
        self.asm.set(R1, VLAN_PRESENT);
        self.set_tci();
        self.asm.jump(done);
        self.asm.bind(full);
        self.asm.jump(self.places.stack_full);
        self.asm.bind(done);
    }

    /// `strip_vlan`
    pub(super) fn pop_vlan(&mut self) {
        self.settle_now();
        self.pop_settled();
    }

    /// The same, of a list that is settled.
    pub(super) fn pop_settled(&mut self) {
        let (done, set, none) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R1, R9, TCI_SETTLED);
        self.asm.alu_imm(Alu::And, R1, VLAN_PRESENT, R2);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, done);
        self.asm.load(Size::W, R1, R9, TAG_COUNT);
        self.asm.alu_imm(Alu::Sub, R1, 1, R3);
        self.asm.store(Size::W, R9, TAG_COUNT, R1);
        self.uncover();
        self.asm.jump_if_imm(Cmp::Eq, R4, 0, none);
        self.asm.alu_imm(Alu::Sub, R1, 1, R3);
        self.tag_at(none);
        self.asm.load(Size::H, R1, R3, tag(0));
        self.asm.alu_imm(Alu::Or, R1, VLAN_PRESENT, R2);
        self.asm.jump(set);
        self.asm.bind(none);
        self.asm.set(R1, 0);
        self.asm.bind(set);
        self.set_tci();
        self.asm.bind(done);
    }

    /// R1 is the packet's length, with the tags that it has now.
    pub(super) fn current_length(&mut self) {
        if self.survey.tags {
            self.settle_now();
            self.asm.load(Size::W, R1, R9, TAG_COUNT);
            self.asm.load(Size::W, R2, R9, FIRST_TAGS);
            self.asm.alu(Alu::Sub, R1, R2);
            self.asm.shl(R1, 2);
            self.asm.load(Size::W, R2, R9, LENGTH);
            self.asm.alu(Alu::Add, R1, R2);
        } else {
            self.asm.load(Size::W, R1, R9, LENGTH);
        }
    }

    /// Bring the frame's tags up to date, and settle the list first; to `full` where that has no room.
    pub(super) fn flush_tags(&mut self, full: Label) {
        if !self.survey.tags {
            return;
        }
        let (same, differ) = (self.asm.label(), self.asm.label());
        self.asm.mov(R1, R9);
        self.asm.call_local(self.places.settle);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, full);
        self.asm.load(Size::W, R1, R9, TAG_COUNT);
        self.asm.load(Size::W, R2, R9, FRAME_TAG_COUNT);
        // R3 is how many are in common.
        self.asm.set(R3, 0);
        for number in 0..TAGS {
            self.asm.jump_if_imm(Cmp::Le, R1, number, differ);
            self.asm.jump_if_imm(Cmp::Le, R2, number, differ);
            self.asm.load(Size::W, R4, R9, tag(number));
            self.asm.load(Size::W, R5, R9, frame_tag(number));
            self.asm.jump_if(Cmp::Ne, R4, R5, differ);
            self.asm.alu_imm(Alu::Add, R3, 1, R4);
        }
        self.asm.bind(differ);
        self.asm.store(Size::D, R10, COMMON, R3);
        self.asm.mov(R4, R1);
        self.asm.alu(Alu::Xor, R4, R3);
        self.asm.alu(Alu::Xor, R3, R2);
        self.asm.alu(Alu::Or, R4, R3);
        self.asm.jump_if_imm(Cmp::Eq, R4, 0, same);
        self.asm.load(Size::W, R1, R6, SKB_VLAN_PRESENT);
        self.asm.store(Size::D, R10, BESIDE, R1);
        self.asm.store_imm(Size::D, R10, GROWN, 0);
        self.take_off();
        self.put_on();
        // Where headers are among the frame's bytes.
        self.asm.load(Size::D, R2, R10, GROWN);
        self.asm.load(Size::D, R1, R10, BESIDE);
        self.asm.shl(R1, 2);
        self.asm.alu(Alu::Add, R2, R1);
        self.asm.load(Size::W, R1, R6, SKB_VLAN_PRESENT);
        self.asm.shl(R1, 2);
        self.asm.alu(Alu::Sub, R2, R1);
        for header in [L3, L4] {
            let absent = self.asm.label();
            self.asm.load(Size::W, R1, R9, header);
            self.asm.jump_if_imm(Cmp::Eq, R1, 0, absent);
            self.asm.alu(Alu::Add, R1, R2);
            self.asm.store(Size::W, R9, header, R1);
            self.asm.bind(absent);
        }
        self.asm.bind(same);
    }

    fn grow(&mut self, bytes: i64) {
        self.asm.load(Size::D, R1, R10, GROWN);
        self.asm.alu_imm(Alu::Add, R1, bytes.cast_unsigned(), R2);
        self.asm.store(Size::D, R10, GROWN, R1);
        self.add_to_word(FRAME_TAG_COUNT, bytes / 4);
    }

    fn take_off(&mut self) {
        let done = self.asm.label();
        for _ in 0..TAGS {
            self.asm.load(Size::W, R1, R9, FRAME_TAG_COUNT);
            self.asm.load(Size::D, R2, R10, COMMON);
            self.asm.jump_if(Cmp::Le, R1, R2, done);
            self.asm.mov(R1, R6);
            self.asm.call(Helper::SkbVlanPop);
            self.grow(-4);
        }
        self.asm.bind(done);
    }

    fn put_on(&mut self) {
        let done = self.asm.label();
        for _ in 0..TAGS {
            self.asm.load(Size::W, R1, R9, FRAME_TAG_COUNT);
            self.asm.load(Size::W, R2, R9, TAG_COUNT);
            self.asm.jump_if(Cmp::Ge, R1, R2, done);
            self.tag_at(done);
            self.asm.load(Size::W, R2, R3, tag(0));
            self.asm.store(Size::W, R3, frame_tag(0), R2);
            self.asm.mov(R3, R2);
            self.asm.alu_imm(Alu::And, R3, 0xffff, R4);
            self.asm.shr(R2, 16);
            self.asm.big_endian(R2, 16);
            self.asm.mov(R1, R6);
            self.asm.call(Helper::SkbVlanPush);
            self.grow(4);
        }
        self.asm.bind(done);
    }
}
