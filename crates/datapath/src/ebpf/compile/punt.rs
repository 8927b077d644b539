//! Packets for user space: for the controllers, and frames that are sent cut. Each is a record in a ring buffer, which
//! user space reads (`ebpf::punts`).
//!
//! A record is what the flow's action says, then the key words of what is known about the packet, then the
//! frame as it is at that point. Where the ring is full the packet is lost, and counted as congestion.
//!
//! `output(port,max_len)` comes this way because the kernel has no helper that cuts a copy: to cut the packet itself
//! ends it as a superframe, for all later outputs.

use super::Program;
use super::block::Constant;
use super::layout::{LOOKED_UP, MISS_IS_TOLD, SENT, frame_word, key_word, word};
use super::parse::{SKB_LEN, SKB_VLAN_PRESENT, SKB_VLAN_PROTO, SKB_VLAN_TCI};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::action::Controller;
use footbridge_openflow::{Field, Flow, Match, PortNo};
use footbridge_pipeline::{DropReason, PacketIn};

/// A packet for user space, as an action asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Punt {
    /// What it is about: the second word of [`About`], and the first.
    pub(crate) detail: Constant,
    about: Constant,
    /// The action's own bytes.
    pub(crate) userdata: Vec<u8>,
    /// Whether the packet itself goes nowhere by it.
    only_told: bool,
}

/// What a record is about, in two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// A packet for the controllers.
    Told { controller: u16, reason: u8, table: u8, table_miss: bool, cookie: u64 },
    /// A frame of which at most so many bytes are sent to the port.
    Cut { port: PortNo, max_len: u32 },
}

impl About {
    /// Where the table is in the first word.
    const TABLE: u32 = 24;
    /// In the first word.
    const CUT: u64 = 1 << 40;

    fn words(self) -> [u64; 2] {
        match self {
            About::Told { controller, reason, table, table_miss, cookie } => {
                let (table_miss, table) = (u64::from(table_miss) << 32, u64::from(table) << About::TABLE);
                [table_miss | table | u64::from(reason) << 16 | u64::from(controller), cookie]
            }
            About::Cut { port, max_len } => [About::CUT, u64::from(max_len) << 32 | u64::from(port.0)],
        }
    }

    /// From the words.
    pub(crate) fn of([word, detail]: [u64; 2]) -> About {
        if word & About::CUT != 0 {
            return About::Cut { port: PortNo(detail as u32), max_len: (detail >> 32) as u32 };
        }
        let [c0, c1, reason, table, table_miss, ..] = word.to_le_bytes();
        let controller = u16::from_le_bytes([c0, c1]);
        About::Told { controller, reason, table, table_miss: table_miss != 0, cookie: detail }
    }
}

impl Punt {
    /// Of an action of the flow's.
    pub(crate) fn new(
        flow: &Flow,
        controller: &Controller,
        mut constant: impl FnMut(u64) -> Constant,
    ) -> Punt {
        let table_miss = controller.is_output() && flow.priority == 0 && flow.matching == Match::any();
        let Controller { id, reason, .. } = *controller;
        let (controller_id, table, cookie) = (id, flow.table, flow.cookie);
        let about = About::Told { controller: controller_id, reason, table, table_miss, cookie };
        let [about, detail] = about.words().map(&mut constant);
        let (userdata, only_told) = (controller.userdata.clone(), reason == PacketIn::INVALID_TTL);
        Punt { detail, about, userdata, only_told }
    }

    /// Of `output(port,max_len)`.
    pub(crate) fn cut(port: PortNo, max_len: u32, constant: impl FnMut(u64) -> Constant) -> Punt {
        let [about, detail] = About::Cut { port, max_len }.words().map(constant);
        Punt { detail, about, userdata: Vec::new(), only_told: false }
    }
}

/// By which a record names an action's own bytes; 0 for none.
pub(crate) fn userdata_name(userdata: &[u8]) -> u64 {
    if userdata.is_empty() {
        return 0;
    }
    // FNV-1a, and no hash of the standard library's: a build has to understand what another's program wrote.
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    userdata.iter().fold(0xcbf2_9ce4_8422_2325, step).max(1)
}

/// Offsets in a record: 64-bit words, then 32-bit ones, then the key words, then the frame.
pub(crate) const DETAIL: i16 = 0;
pub(crate) const ABOUT: i16 = 8;
pub(crate) const USERDATA: i16 = 16;
pub(crate) const FRAME_LENGTH: i16 = 24;
pub(crate) const VLAN_PRESENT: i16 = 28;
pub(crate) const VLAN_TCI: i16 = 32;
pub(crate) const VLAN_PROTO: i16 = 36;
/// The tunnel destination that the packet came with, 0 for none.
pub(crate) const ARRIVED_AT: i16 = 40;
pub(crate) const WORDS: i16 = 48;
pub(crate) const FRAME: i16 = WORDS + 8 * KNOWN_WORDS as i16;
/// How many words are about what is known of a packet: those before its own.
pub(crate) const KNOWN_WORDS: u8 = 45;

/// The lengths that a record can have; the verifier wants to know them beforehand. The longest holds any frame
/// that comes in.
const RECORDS: [i32; 2] = [2 << 10, 68 << 10];

/// On the stack, below what writing to the frame needs: what the record is to say.
const ARGUMENTS: i16 = -88;

impl Program<'_> {
    /// Write the packet for the controllers.
    pub(super) fn punt(&mut self, punt: &Punt) {
        let (lost, done) = (self.asm.label(), self.asm.label());
        self.constant(R3, punt.detail);
        self.constant(R4, punt.about);
        self.asm.set(R5, userdata_name(&punt.userdata));
        self.asm.mov(R1, R6);
        self.asm.mov(R2, R9);
        self.asm.call_local(self.places.punt);
        self.asm.jump_if_imm(Cmp::SignedLt, R0, 0, lost);
        if !punt.only_told {
            self.add_to_word(SENT, 1);
        }
        self.asm.jump(done);
        self.asm.bind(lost);
        self.count_lost();
        self.asm.bind(done);
    }

    /// Where the last look-up says so, the packet that no flow took is for the controllers.
    pub(super) fn tell_miss(&mut self) {
        let (untold, lost) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R4, R9, LOOKED_UP);
        self.asm.jump_if_imm(Cmp::Lt, R4, MISS_IS_TOLD, untold);
        self.asm.alu_imm(Alu::And, R4, 0xff, R1);
        self.asm.shl(R4, About::TABLE);
        // Of no flow; the reason and the controller are 0.
        const { assert!(PacketIn::NO_MATCH == 0) };
        self.asm.set(R3, u64::MAX);
        self.asm.set(R5, userdata_name(&[]));
        self.asm.mov(R1, R6);
        self.asm.mov(R2, R9);
        self.asm.call_local(self.places.punt);
        self.asm.jump_if_imm(Cmp::SignedLt, R0, 0, lost);
        self.add_to_word(SENT, 1);
        self.asm.jump(untold);
        self.asm.bind(lost);
        self.count_lost();
        self.asm.bind(untold);
    }

    /// `punt(packet, scratch, detail, about, userdata)`: R0 is 0, or below 0 the reason why not, as in
    /// `prepare`.
    pub(super) fn punts(&mut self) {
        self.asm.bind(self.places.punt);
        let (full, failed) = (self.asm.label(), self.asm.label());
        let arguments = (ARGUMENTS..).step_by(8).zip([R3, R4, R5]);
        arguments.for_each(|(at, register)| self.asm.store(Size::D, R10, at, register));
        self.asm.mov(R6, R1);
        self.asm.mov(R9, R2);
        let stack_full = self.asm.label();
        self.flush_tags(stack_full);
        self.flush();
        self.asm.load(Size::W, R7, R6, SKB_LEN);
        for length in RECORDS {
            let longer = self.asm.label();
            self.asm.jump_if_imm(Cmp::Gt, R7, length - i32::from(FRAME), longer);
            self.record_of(length, full, failed);
            self.asm.bind(longer);
        }
        self.asm.set(R0, (-1 - i64::from(DropReason::TooBig as u8)).cast_unsigned());
        self.asm.exit();
        self.asm.bind(stack_full);
        self.asm.set(R0, (-1 - i64::from(DropReason::StackFull as u8)).cast_unsigned());
        self.asm.exit();
        self.asm.bind(failed);
        self.asm.mov(R1, R8);
        self.asm.set(R2, 0);
        self.asm.call(Helper::RingbufDiscard);
        self.asm.bind(full);
        self.asm.set(R0, (-1 - i64::from(DropReason::Congestion as u8)).cast_unsigned());
        self.asm.exit();
    }

    /// A record of so many bytes.
    fn record_of(&mut self, length: i32, full: Label, failed: Label) {
        let asm = &mut self.asm;
        asm.map(R1, self.maps.punts);
        asm.set(R2, length as u64);
        asm.set(R3, 0);
        asm.call(Helper::RingbufReserve);
        asm.jump_if_imm(Cmp::Eq, R0, 0, full);
        asm.mov(R8, R0);
        for (to, from) in [DETAIL, ABOUT, USERDATA].into_iter().zip((ARGUMENTS..).step_by(8)) {
            asm.load(Size::D, R1, R10, from);
            asm.store(Size::D, R8, to, R1);
        }
        asm.store(Size::W, R8, FRAME_LENGTH, R7);
        for (to, from) in
            [(VLAN_PRESENT, SKB_VLAN_PRESENT), (VLAN_TCI, SKB_VLAN_TCI), (VLAN_PROTO, SKB_VLAN_PROTO)]
        {
            asm.load(Size::W, R1, R6, from);
            asm.store(Size::W, R8, to, R1);
        }
        asm.load(Size::W, R1, R9, frame_word(word(Field::TunDst)));
        asm.store(Size::W, R8, ARRIVED_AT, R1);
        for number in 0..KNOWN_WORDS {
            let to = WORDS + 8 * i16::from(number);
            if self.survey.words.contains(&number) {
                self.asm.load(Size::D, R1, R9, key_word(number));
                self.asm.store(Size::D, R8, to, R1);
            } else {
                self.asm.store_imm(Size::D, R8, to, 0);
            }
        }
        let asm = &mut self.asm;
        asm.mov(R1, R6);
        asm.set(R2, 0);
        asm.mov(R3, R8);
        asm.alu_imm(Alu::Add, R3, FRAME as u64, R4);
        // The verifier wants to see both bounds; that of Linux 6.1 learns nothing from what is not 0.
        asm.mov(R4, R7);
        asm.jump_if_imm(Cmp::Lt, R4, 1, failed);
        asm.jump_if_imm(Cmp::Gt, R4, length - i32::from(FRAME), failed);
        asm.call(Helper::SkbLoadBytes);
        asm.jump_if_imm(Cmp::Ne, R0, 0, failed);
        asm.mov(R1, R8);
        asm.set(R2, 0);
        asm.call(Helper::RingbufSubmit);
        asm.set(R0, 0);
        asm.exit();
    }
}

#[cfg(test)]
mod tests {
    use super::KNOWN_WORDS;
    use crate::ebpf::compile::layout::is_packet_word;

    #[test]
    fn the_words_before_a_packets_own_are_known() {
        assert!(!is_packet_word(KNOWN_WORDS - 1) && is_packet_word(KNOWN_WORDS));
    }
}
