//! `ct()`: the tracker of `pipeline::conntrack` as functions of the program. What each packet does to its
//! connection, and how long that waits, is read from tables ([`layout::tables`]) that are made from the
//! evaluator's own rules; here is how a packet is recognised and where its connection is kept.
//!
//! | function | what it does |
//! | --- | --- |
//! | track | one `ct()`: recognise, find, advance, commit, and say what was found (`classify.rs`, here) |
//! | sweep | forgets one connection of a full table, if it is past its time (`full.rs`) |
//! | evict | gives up the oldest connection without reply (`full.rs`) |
//!
//! R6 is the packet, R9 the scratch; R7 is the packet's connection or 0, R8 the word of it that was read
//! last ([`layout::WORD`]).
//!
//! # Several CPUs
//!
//! A connection's word is changed by compare-and-exchange, so that it never mixes two packets' changes, and
//! an entry whose memory became another connection's in the meantime is not touched. Two packets of one
//! connection at the same moment take their steps one after the other; a third one's step may be lost, as
//! if the packet had come a moment before. Whoever takes a connection away has first set its word to 0: nobody
//! can take away another one that was put in its place.
//!
//! ct_mark and ct_label are plain stores. At worst, of two commits at the same moment that write different
//! bits, one is lost; and one that meets a connection in the moment when a full table gives it up, or when
//! it is flushed, writes to the connection that comes to be in its memory.

mod classify;
mod full;
pub(crate) mod layout;

use self::layout::{
    ADVANCE_INVALID, ADVANCE_REOPEN, ADVANCE_SHIFT, BELOW_TIME, CLASS, CLASS_ERROR, CLASS_INVALID, COMMIT,
    COMMITS, COMMITTED, CONNECTION, CONTINUES, DIRECTION, FAMILY, FLAGS, FORCE, FROM_HIGH, ICMP, KEY,
    KIND_OF_IPV6, LABEL, LABEL_MASK, MARK, MARK_MASK, MEMO, MEMO_DIRECTION, MEMO_NONE, MEMO_VALID,
    MEMO_VALID_NO, MEMO_VALID_YES, NEW, PROGRESS, PROGRESS_NONE, REPLIED, REPLY_SHIFT, RULES, STEP, VALID,
    WAITS_SHIFT, WORD, ZONE,
};
use super::Program;
use super::action::List;
use super::block::{CtOp, Zone};
use super::layout::{EXT_FRAG, NOW, VALUE_LOW, key_word, word};
use crate::ebpf::asm::Reg::{self, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use crate::ebpf::load::BPF_NOEXIST;
use footbridge_openflow::Field;
use footbridge_pipeline::conntrack::state;

/// What bpf_map_update_elem says of a key that is there and of a full map.
const EEXIST: i32 = 17;
const E2BIG: i32 = 7;
/// From [`KIND_OF_IPV6`] to where IPv6's ICMP types begin.
const ICMP_BY_FAMILY: u32 = 2;
/// ip_frag's bits.
const FRAG_FIRST: i32 = 1;
const FRAG_LATER: i32 = 3;

/// The descriptors of the tracker's maps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrackerFds {
    pub(crate) connections: i32,
    /// The queue of those without reply.
    pub(crate) unreplied: i32,
    pub(crate) fragments: i32,
    pub(crate) rules: i32,
    /// When the table was last looked through, nanoseconds of CLOCK_BOOTTIME.
    pub(crate) swept: i32,
}

/// The words that the tracker fills.
pub(super) const CT_WORDS: std::ops::RangeInclusive<u8> = 36..=44;
const ADDRESS_WORDS: [u8; 5] = [40, 41, 42, 43, 44];
const LABEL_WORDS: [(u8, i16); 2] = [(38, 0), (39, 8)];

impl Program<'_> {
    /// A new packet was never tracked.
    pub(super) fn forget_connection(&mut self) {
        if self.survey.tracks {
            self.asm.store_imm(Size::W, R9, MEMO_VALID, MEMO_NONE);
        }
    }

    /// Nothing is known any more of the packet's connection.
    pub(super) fn clear_connection(&mut self) {
        for number in CT_WORDS.filter(|word| self.survey.words.contains(word)) {
            self.asm.store_imm(Size::D, R9, key_word(number), 0);
        }
    }

    /// Take the packet through the tracker.
    pub(super) fn track(&mut self, ct: &CtOp, list: List) {
        match ct.zone {
            Zone::Number(zone) => self.constant(R1, zone),
            Zone::Bits(bits) => {
                self.read_value(bits);
                self.asm.load(Size::D, R1, R9, VALUE_LOW);
            }
        }
        self.asm.store(Size::D, R9, ZONE, R1);
        let flags = [(ct.commit, COMMIT), (ct.force, FORCE), (ct.table.is_some(), CONTINUES)];
        let flags = flags.iter().filter(|(set, _)| *set).fold(0, |all, (_, flag)| all | flag);
        self.asm.store_imm(Size::W, R9, FLAGS, flags.cast_signed());
        for op in &ct.exec {
            self.op(op, list, false);
        }
        if self.survey.marks {
            self.asm.store_imm(Size::W, R9, MARK_MASK, ct.mark.cast_signed());
        }
        if self.survey.labels {
            for (half, at) in [((ct.label >> 64) as u64, 0), (ct.label as u64, 8)] {
                self.asm.set(R1, half);
                self.asm.store(Size::D, R9, LABEL_MASK + at, R1);
            }
        }
        self.asm.mov(R1, R6);
        self.asm.mov(R2, R9);
        self.asm.call_local(self.places.track);
    }

    /// The functions.
    pub(super) fn tracker(&mut self) {
        self.asm.bind(self.places.track);
        self.track_function();
        self.asm.bind(self.places.quoted_extension);
        self.quoted_extension_function();
        self.asm.bind(self.places.sweep);
        self.sweep_function();
        self.asm.bind(self.places.evict);
        self.evict_function();
    }

    /// `track(packet, scratch)`: what `ct()` asks for is in the scratch, what is found goes to the key's words.
    fn track_function(&mut self) {
        let asm = &mut self.asm;
        let (invalid, error, done) = (asm.label(), asm.label(), asm.label());
        asm.mov(R6, R1);
        asm.mov(R9, R2);
        self.classify(invalid);
        self.find_connection();
        self.asm.load(Size::W, R1, R9, CLASS);
        self.asm.jump_if_imm(Cmp::Eq, R1, CLASS_ERROR, error);
        self.of_connection(invalid, done);
        self.asm.bind(error);
        self.about_connection(invalid, done);
        self.asm.bind(invalid);
        self.answer_invalid();
        self.asm.bind(done);
        self.remember_fragment();
        self.asm.set(R0, 0);
        self.asm.exit();
    }

    /// R0 is what a map has at the key in the scratch, or 0.
    fn look_up(&mut self, map: i32, key: i16) {
        self.asm.map(R1, map);
        self.scratch(R2, key);
        self.asm.call(Helper::MapLookupElem);
    }

    /// `dst` points to a place in the scratch.
    fn scratch(&mut self, dst: Reg, offset: i16) {
        self.asm.mov(dst, R9);
        self.asm.alu_imm(Alu::Add, dst, offset as u64, R0);
    }

    /// R7 is the connection, R8 its word; or R7 is 0. One past its time goes.
    fn find_connection(&mut self) {
        let asm = &mut self.asm;
        let (none, found) = (asm.label(), asm.label());
        self.look_up(self.maps.tracker.connections, CONNECTION);
        let asm = &mut self.asm;
        asm.mov(R7, R0);
        asm.jump_if_imm(Cmp::Eq, R7, 0, none);
        asm.load(Size::D, R8, R7, WORD);
        asm.mov(R1, R8);
        asm.alu_imm(Alu::And, R1, !BELOW_TIME, R2);
        asm.load(Size::D, R2, R9, NOW);
        asm.jump_if(Cmp::Gt, R1, R2, found);
        self.remove_connection();
        self.asm.bind(none);
        self.asm.bind(found);
    }

    /// Take the connection in R7 away, if its word is still that in R8; then R7 must not be used.
    fn remove_connection(&mut self) {
        let asm = &mut self.asm;
        let kept = asm.label();
        asm.jump_if_imm(Cmp::Eq, R8, 0, kept);
        asm.mov(R0, R8);
        asm.set(R1, 0);
        asm.compare_exchange(R7, WORD, R1);
        asm.jump_if(Cmp::Ne, R0, R8, kept);
        asm.map(R1, self.maps.tracker.connections);
        self.scratch(R2, CONNECTION);
        self.asm.call(Helper::MapDeleteElem);
        self.asm.bind(kept);
        self.asm.set(R7, 0);
    }

    /// R3 is the rule for the packet's step after the progress in R1, sent in reply where R2 is 1.
    fn rule(&mut self) {
        let asm = &mut self.asm;
        asm.shl(R2, REPLY_SHIFT);
        asm.alu(Alu::Or, R1, R2);
        self.rule_of();
    }

    /// R3 is the rule for a packet that may begin a connection.
    fn rule_of_none(&mut self) {
        self.asm.set(R1, PROGRESS_NONE as u64);
        self.rule_of();
    }

    fn rule_of(&mut self) {
        let asm = &mut self.asm;
        asm.load(Size::W, R3, R9, STEP);
        asm.alu(Alu::Or, R1, R3);
        asm.alu_imm(Alu::And, R1, RULES_BY_NUMBER - 1, R3);
        asm.shl(R1, 3);
        asm.map_value(R3, self.maps.tracker.rules, 0);
        asm.alu(Alu::Add, R3, R1);
        asm.load(Size::D, R3, R3, 0);
    }

    /// `dst` is 1 where the packet goes the other way than the connection whose word is in R8.
    fn is_reply(&mut self, dst: Reg, scratch: Reg) {
        let asm = &mut self.asm;
        asm.mov(dst, R8);
        asm.shr(dst, FROM_HIGH.trailing_zeros());
        asm.alu_imm(Alu::And, dst, 1, scratch);
        asm.load(Size::W, scratch, R9, DIRECTION);
        asm.alu(Alu::Xor, dst, scratch);
    }

    /// R4 is the word of a connection that the rule in R3 leads to, without the bits kept of the old one.
    fn next_word(&mut self) {
        let asm = &mut self.asm;
        asm.load(Size::D, R4, R9, NOW);
        asm.mov(R5, R3);
        asm.shr(R5, WAITS_SHIFT);
        asm.alu(Alu::Add, R4, R5);
        asm.alu_imm(Alu::And, R4, !BELOW_TIME, R5);
        asm.alu_imm(Alu::And, R3, PROGRESS, R5);
        asm.alu(Alu::Or, R4, R3);
    }

    /// A packet of a connection, or one that may begin it.
    fn of_connection(&mut self, invalid: Label, done: Label) {
        let asm = &mut self.asm;
        let (fresh, known, found, unfound) = (asm.label(), asm.label(), asm.label(), asm.label());
        self.passed(fresh);
        self.asm.jump(known);
        self.asm.bind(fresh);
        self.take_step();
        self.asm.bind(known);
        self.turn_round();
        for offset in (0..KEY as i16).step_by(8) {
            self.asm.load(Size::D, R1, R9, CONNECTION + offset);
            self.asm.store(Size::D, R9, MEMO + offset, R1);
        }
        self.asm.load(Size::W, R1, R9, DIRECTION);
        self.asm.store(Size::W, R9, MEMO_DIRECTION, R1);
        self.asm.load(Size::W, R1, R9, VALID);
        self.asm.store(Size::W, R9, MEMO_VALID, R1);
        self.asm.jump_if_imm(Cmp::Eq, R1, MEMO_VALID_NO, invalid);
        self.keep_connection(unfound);
        self.asm.jump_if_imm(Cmp::Ne, R7, 0, found);
        self.asm.bind(unfound);
        self.answer_new();
        self.asm.jump(done);
        self.asm.bind(found);
        self.answer_known();
        self.asm.jump(done);
    }

    /// Where the packet came through the tracker before, as the same one and in this zone, it counts no more:
    /// it is as valid as it was. Goes to `fresh` where not.
    fn passed(&mut self, fresh: Label) {
        let asm = &mut self.asm;
        asm.load(Size::W, R3, R9, MEMO_VALID);
        asm.jump_if_imm(Cmp::Eq, R3, MEMO_NONE, fresh);
        for offset in (0..KEY as i16).step_by(8) {
            asm.load(Size::D, R1, R9, CONNECTION + offset);
            asm.load(Size::D, R2, R9, MEMO + offset);
            asm.jump_if(Cmp::Ne, R1, R2, fresh);
        }
        asm.load(Size::W, R1, R9, DIRECTION);
        asm.load(Size::W, R2, R9, MEMO_DIRECTION);
        asm.jump_if(Cmp::Ne, R1, R2, fresh);
        asm.store(Size::W, R9, VALID, R3);
    }

    /// Have the connection take the packet's step.
    fn take_step(&mut self) {
        let asm = &mut self.asm;
        let (begin, begin_again, not_valid, valid, done) =
            (asm.label(), asm.label(), asm.label(), asm.label(), asm.label());
        asm.jump_if_imm(Cmp::Eq, R7, 0, begin);
        // A second time where another CPU came between.
        for _ in 0..2 {
            self.is_reply(R2, R3);
            let asm = &mut self.asm;
            asm.mov(R1, R8);
            asm.alu_imm(Alu::And, R1, PROGRESS, R3);
            self.rule();
            let asm = &mut self.asm;
            asm.mov(R4, R3);
            asm.shr(R4, ADVANCE_SHIFT);
            asm.alu_imm(Alu::And, R4, 3, R5);
            asm.jump_if_imm(Cmp::Eq, R4, ADVANCE_INVALID, not_valid);
            asm.jump_if_imm(Cmp::Eq, R4, ADVANCE_REOPEN, begin_again);
            self.next_word();
            let asm = &mut self.asm;
            asm.alu(Alu::Or, R4, R2);
            asm.mov(R1, R8);
            asm.alu_imm(Alu::And, R1, FROM_HIGH | REPLIED, R2);
            asm.alu(Alu::Or, R4, R1);
            asm.mov(R0, R8);
            asm.mov(R1, R8);
            asm.mov(R8, R4);
            asm.compare_exchange(R7, WORD, R4);
            asm.jump_if(Cmp::Eq, R0, R1, valid);
            asm.mov(R8, R0);
            // It is being taken away.
            asm.jump_if_imm(Cmp::Eq, R8, 0, begin);
        }
        self.asm.jump(valid);
        self.asm.bind(begin_again);
        self.remove_connection();
        self.asm.bind(begin);
        self.asm.set(R7, 0);
        self.rule_of_none();
        let asm = &mut self.asm;
        asm.shr(R3, ADVANCE_SHIFT);
        asm.alu_imm(Alu::And, R3, 3, R1);
        asm.jump_if_imm(Cmp::Eq, R3, 0, valid);
        asm.bind(not_valid);
        asm.store_imm(Size::W, R9, VALID, MEMO_VALID_NO);
        asm.jump(done);
        asm.bind(valid);
        asm.store_imm(Size::W, R9, VALID, MEMO_VALID_YES);
        asm.bind(done);
    }

    /// A forced commit against the connection ends it, and the packet is to begin another, if it can.
    fn turn_round(&mut self) {
        let asm = &mut self.asm;
        let done = asm.label();
        asm.load(Size::W, R1, R9, FLAGS);
        asm.jump_if_imm(Cmp::Eq, R7, 0, done);
        asm.alu_imm(Alu::And, R1, (COMMIT | FORCE).into(), R2);
        asm.jump_if_imm(Cmp::Ne, R1, (COMMIT | FORCE).cast_signed(), done);
        asm.load(Size::W, R1, R9, VALID);
        asm.jump_if_imm(Cmp::Ne, R1, MEMO_VALID_YES, done);
        self.is_reply(R2, R3);
        self.asm.jump_if_imm(Cmp::Eq, R2, 0, done);
        self.remove_connection();
        self.rule_of_none();
        let asm = &mut self.asm;
        asm.shr(R3, ADVANCE_SHIFT);
        asm.alu_imm(Alu::And, R3, 3, R1);
        asm.jump_if_imm(Cmp::Eq, R3, 0, done);
        asm.store_imm(Size::W, R9, VALID, MEMO_VALID_NO);
        asm.bind(done);
    }

    /// Keep the connection, where that is asked for. Goes to `unfound` where the packet is its first.
    fn keep_connection(&mut self, unfound: Label) {
        let asm = &mut self.asm;
        let (done, marked, kept) = (asm.label(), asm.label(), asm.label());
        asm.load(Size::W, R1, R9, FLAGS);
        asm.alu_imm(Alu::And, R1, COMMIT.into(), R2);
        asm.jump_if_imm(Cmp::Eq, R1, 0, done);
        asm.jump_if_imm(Cmp::Ne, R7, 0, marked);
        self.new_connection();
        self.insert_connection();
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, kept);
        let full = self.asm.label();
        self.asm.jump_if_imm(Cmp::Eq, R0, E2BIG, full);
        self.asm.jump_if_imm(Cmp::Ne, R0, EEXIST, unfound);
        // Another CPU's packet was first.
        self.look_up(self.maps.tracker.connections, CONNECTION);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, unfound);
        self.asm.mov(R7, R0);
        self.asm.load(Size::D, R8, R7, WORD);
        self.asm.jump(marked);

        self.asm.bind(full);
        self.make_room();
        self.insert_connection();
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, kept);
        self.asm.jump(unfound);

        self.asm.bind(kept);
        self.enqueue();
        self.asm.jump(unfound);
        self.asm.bind(marked);
        self.write_mark();
        self.asm.bind(done);
    }

    /// The connection that the packet begins, in the scratch.
    fn new_connection(&mut self) {
        self.rule_of_none();
        self.next_word();
        let asm = &mut self.asm;
        asm.load(Size::W, R1, R9, DIRECTION);
        asm.shl(R1, FROM_HIGH.trailing_zeros());
        asm.alu(Alu::Or, R4, R1);
        asm.store(Size::D, R9, NEW + WORD, R4);
        asm.load(Size::D, R1, R9, NOW);
        asm.store(Size::D, R9, NEW + COMMITTED, R1);
        asm.store(Size::D, R9, COMMITS, R1);
        self.asked_mark();
        self.asm.store(Size::D, R9, NEW + MARK, R2);
        for (number, at) in LABEL_WORDS {
            self.asked_label(number, at);
            self.asm.store(Size::D, R9, NEW + LABEL + at, R2);
        }
    }

    /// Put the connection in the scratch in the table, unless it is there; R0 is 0, or the number of an error.
    fn insert_connection(&mut self) {
        self.asm.map(R1, self.maps.tracker.connections);
        self.scratch(R2, CONNECTION);
        self.scratch(R3, NEW);
        self.asm.set(R4, BPF_NOEXIST);
        self.asm.call(Helper::MapUpdateElem);
        // Below Linux 6.4 the upper half of what it returns is anything.
        self.asm.set(R1, 0);
        self.asm.alu(Alu::Sub, R1, R0);
        self.asm.shl(R1, 32);
        self.asm.shr(R1, 32);
        self.asm.mov(R0, R1);
    }

    /// R2 is the mark that `ct()` writes.
    fn asked_mark(&mut self) {
        if !self.survey.marks {
            self.asm.set(R2, 0);
            return;
        }
        self.asm.load(Size::W, R2, R9, key_word(word(Field::CtMark)));
        self.asm.load(Size::W, R3, R9, MARK_MASK);
        self.asm.alu(Alu::And, R2, R3);
    }

    /// R2 is half of the label that `ct()` writes.
    fn asked_label(&mut self, number: u8, at: i16) {
        if !self.survey.labels {
            self.asm.set(R2, 0);
            return;
        }
        self.asm.load(Size::D, R2, R9, key_word(number));
        self.asm.load(Size::D, R3, R9, LABEL_MASK + at);
        self.asm.alu(Alu::And, R2, R3);
    }

    /// Write mark and label to the connection in R7.
    fn write_mark(&mut self) {
        if self.survey.marks {
            self.asked_mark();
            self.merge(Size::W, MARK, u64::from(u32::MAX));
        }
        if self.survey.labels {
            for (number, at) in LABEL_WORDS {
                self.asked_label(number, at);
                self.merge(Size::D, LABEL + at, u64::MAX);
            }
        }
    }

    /// Bits that are in R3 become those in R2.
    fn merge(&mut self, size: Size, at: i16, ones: u64) {
        let asm = &mut self.asm;
        let same = asm.label();
        asm.jump_if_imm(Cmp::Eq, R3, 0, same);
        asm.load(size, R1, R7, at);
        asm.alu_imm(Alu::Xor, R3, ones, R4);
        asm.alu(Alu::And, R1, R3);
        asm.alu(Alu::Or, R1, R2);
        asm.store(size, R7, at, R1);
        asm.bind(same);
    }

    /// An ICMP error about the connection in R7.
    fn about_connection(&mut self, invalid: Label, done: Label) {
        let asm = &mut self.asm;
        let (unforced, uncommitted) = (asm.label(), asm.label());
        asm.jump_if_imm(Cmp::Eq, R7, 0, invalid);
        asm.load(Size::W, R1, R9, FLAGS);
        asm.mov(R2, R1);
        asm.alu_imm(Alu::And, R2, COMMIT.into(), R3);
        asm.jump_if_imm(Cmp::Eq, R2, 0, uncommitted);
        asm.alu_imm(Alu::And, R1, FORCE.into(), R3);
        asm.jump_if_imm(Cmp::Eq, R1, 0, unforced);
        // It goes against the packet that it quotes.
        self.is_reply(R2, R3);
        self.asm.jump_if_imm(Cmp::Ne, R2, 0, unforced);
        // What is forced from the other end ends the connection, and an error begins none.
        self.remove_connection();
        self.asm.jump(invalid);
        self.asm.bind(unforced);
        self.write_mark();
        self.asm.bind(uncommitted);
        self.is_reply(R1, R2);
        let asm = &mut self.asm;
        asm.alu_imm(Alu::Xor, R1, 1, R2);
        asm.shl(R1, u32::from(state::RPL).trailing_zeros());
        asm.alu_imm(Alu::Or, R1, (state::TRK | state::REL).into(), R2);
        self.answer_of_entry();
        self.asm.jump(done);
    }

    /// The packet begins a connection.
    fn answer_new(&mut self) {
        self.asked_mark();
        self.asm.store(Size::D, R9, NEW + MARK, R2);
        for (number, at) in LABEL_WORDS {
            if self.survey.words.contains(&number) {
                self.asked_label(number, at);
                self.asm.store(Size::D, R9, key_word(number), R2);
            }
        }
        self.asm.load(Size::D, R2, R9, NEW + MARK);
        self.asm.load(Size::W, R3, R9, DIRECTION);
        self.asm.set(R1, (state::TRK | state::NEW).into());
        self.answer();
    }

    /// The packet is of the connection in R7.
    fn answer_known(&mut self) {
        self.is_reply(R1, R2);
        let asm = &mut self.asm;
        let replied = asm.label();
        asm.shl(R1, u32::from(state::RPL).trailing_zeros());
        asm.alu_imm(Alu::Or, R1, (state::TRK | state::EST).into(), R2);
        asm.jump_if_imm(Cmp::Set, R8, REPLIED as i32, replied);
        asm.alu_imm(Alu::Xor, R1, (state::EST | state::NEW).into(), R2);
        asm.bind(replied);
        self.answer_of_entry();
    }

    /// The state in R1, and the rest from the connection in R7.
    fn answer_of_entry(&mut self) {
        for (number, at) in LABEL_WORDS {
            if self.survey.words.contains(&number) {
                self.asm.load(Size::D, R2, R7, LABEL + at);
                self.asm.store(Size::D, R9, key_word(number), R2);
            }
        }
        let asm = &mut self.asm;
        asm.load(Size::W, R2, R7, MARK);
        asm.mov(R3, R8);
        asm.shr(R3, FROM_HIGH.trailing_zeros());
        asm.alu_imm(Alu::And, R3, 1, R4);
        self.answer();
    }

    /// The key's words: R1 is the state, R2 the mark, R3 whether the connection is from the high end; the label
    /// is there. Without `ct(table=)` they are cleared.
    fn answer(&mut self) {
        let (told, done) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R4, R9, FLAGS);
        self.asm.jump_if_imm(Cmp::Set, R4, CONTINUES.cast_signed(), told);
        self.clear_connection();
        self.asm.jump(done);
        self.asm.bind(told);
        if self.survey.words.contains(&word(Field::CtState)) {
            self.asm.shl(R1, 32);
            self.asm.alu(Alu::Or, R1, R2);
            self.asm.store(Size::D, R9, key_word(word(Field::CtState)), R1);
        }
        if ADDRESS_WORDS.iter().any(|word| self.survey.words.contains(word)) {
            self.answer_addresses();
        }
        if self.survey.words.contains(&word(Field::CtZone)) {
            self.answer_tuple();
        }
        self.asm.bind(done);
    }

    /// R3 says whether the connection is from the high end.
    fn answer_addresses(&mut self) {
        let (from_low, from_high, done) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.jump_if_imm(Cmp::Ne, R3, 0, from_high);
        self.asm.bind(from_low);
        self.answer_addresses_from(CONNECTION + 8, CONNECTION + 24);
        self.asm.jump(done);
        self.asm.bind(from_high);
        self.answer_addresses_from(CONNECTION + 24, CONNECTION + 8);
        self.asm.bind(done);
    }

    fn answer_addresses_from(&mut self, src: i16, dst: i16) {
        let [v4, v6 @ ..] = ADDRESS_WORDS;
        let (is_v6, done) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R1, R9, FAMILY);
        self.asm.jump_if_imm(Cmp::Ne, R1, 0, is_v6);
        if self.survey.words.contains(&v4) {
            self.asm.load(Size::D, R1, R9, src + 8);
            self.asm.shl(R1, 32);
            self.asm.load(Size::D, R2, R9, dst + 8);
            self.asm.alu(Alu::Or, R1, R2);
            self.asm.store(Size::D, R9, key_word(v4), R1);
        }
        for number in v6.iter().filter(|word| self.survey.words.contains(word)) {
            self.asm.store_imm(Size::D, R9, key_word(*number), 0);
        }
        self.asm.jump(done);
        self.asm.bind(is_v6);
        if self.survey.words.contains(&v4) {
            self.asm.store_imm(Size::D, R9, key_word(v4), 0);
        }
        for (number, at) in v6.into_iter().zip([src, src + 8, dst, dst + 8]) {
            if self.survey.words.contains(&number) {
                self.asm.load(Size::D, R1, R9, at);
                self.asm.store(Size::D, R9, key_word(number), R1);
            }
        }
        self.asm.bind(done);
    }

    /// Zone, protocol, and the ports of the connection's own direction, which R3 says.
    fn answer_tuple(&mut self) {
        let asm = &mut self.asm;
        let (store, ports, asked) = (asm.label(), asm.label(), asm.label());
        asm.load(Size::D, R4, R9, CONNECTION);
        asm.mov(R1, R4);
        asm.shr(R1, 48);
        asm.shl(R1, 48);
        asm.mov(R2, R4);
        asm.shr(R2, 40);
        asm.alu_imm(Alu::And, R2, 0xff, R5);
        asm.shl(R2, 32);
        asm.alu(Alu::Or, R1, R2);
        // Later fragments have no ports, not even their connection's.
        asm.load(Size::W, R2, R9, EXT_FRAG);
        asm.jump_if_imm(Cmp::Eq, R2, FRAG_LATER, store);
        asm.load(Size::B, R2, R9, CONNECTION + 4);
        asm.alu_imm(Alu::And, R2, (!KIND_OF_IPV6).into(), R5);
        asm.jump_if_imm(Cmp::Eq, R2, 0, ports);
        // ICMP's type and code stand in the ports' place.
        asm.jump_if_imm(Cmp::Eq, R3, 0, asked);
        asm.load(Size::W, R5, R9, FAMILY);
        asm.shl(R5, ICMP_BY_FAMILY);
        asm.alu(Alu::Or, R2, R5);
        asm.alu_imm(Alu::And, R2, 0x1ff, R5);
        asm.shl(R2, 1);
        asm.map_value(R5, self.maps.tracker.rules, ICMP);
        asm.alu(Alu::Add, R5, R2);
        asm.load(Size::B, R2, R5, 0);
        asm.bind(asked);
        asm.shl(R2, 16);
        asm.alu(Alu::Or, R1, R2);
        asm.jump(store);
        asm.bind(ports);
        asm.shl(R4, 32);
        asm.shr(R4, 32);
        let straight = asm.label();
        asm.jump_if_imm(Cmp::Eq, R3, 0, straight);
        asm.mov(R2, R4);
        asm.shr(R2, 16);
        asm.shl(R4, 16);
        asm.alu(Alu::Or, R4, R2);
        asm.shl(R4, 32);
        asm.shr(R4, 32);
        asm.bind(straight);
        asm.alu(Alu::Or, R1, R4);
        asm.bind(store);
        asm.store(Size::D, R9, key_word(word(Field::CtZone)), R1);
    }

    /// The packet is of no connection that can be.
    fn answer_invalid(&mut self) {
        self.asm.store_imm(Size::W, R9, CLASS, CLASS_INVALID);
        self.clear_connection();
        let told = self.asm.label();
        self.asm.load(Size::W, R1, R9, FLAGS);
        self.asm.alu_imm(Alu::And, R1, CONTINUES.into(), R2);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, told);
        if self.survey.words.contains(&word(Field::CtState)) {
            let bits = i32::from(state::TRK | state::INV);
            self.asm.store_imm(Size::W, R9, key_word(word(Field::CtState)) + 4, bits);
        }
        if self.survey.words.contains(&word(Field::CtZone)) {
            self.asm.load(Size::D, R1, R9, ZONE);
            self.asm.shl(R1, 48);
            self.asm.store(Size::D, R9, key_word(word(Field::CtZone)), R1);
        }
        self.asm.bind(told);
    }
}

/// How many rules there are.
const RULES_BY_NUMBER: u64 = 4 << layout::GROUP_SHIFT;
const _: () = assert!(8 * RULES_BY_NUMBER as usize == layout::SEGMENTS as usize && RULES < 1 << 15);
const _: () = assert!(CLASS_INVALID == 0);
