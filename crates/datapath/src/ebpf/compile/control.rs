//! How code goes on elsewhere, and comes back.
//!
//! # Jumps
//!
//! Where every look-up is the last thing that a list of actions does, and no table leads back to an earlier
//! one, a look-up is a jump forward: the program has no loop (what each kernel makes of it is then the
//! same), and the end of a list is the end of the packet.
//!
//! # Steps
//!
//! Otherwise the program is a function that `bpf_loop` (Linux 5.17) calls until the packet is over. It is
//! verified once. A word of the scratch says which piece of code is next: a table, or where a list of
//! actions goes on that was left for a look-up. Before it is left, a *frame* is put on a stack of frames: the
//! piece of code, the flow's slot, and how many look-ups are nested. The end of a list takes one off. Tables
//! that stand behind in the program are jumped to, here too.
//!
//! # Limits
//!
//! Those of the evaluator: [`MAX_DEPTH`], [`MAX_RESUBMITS`], [`MAX_OUTPUTS`]. What a packet sent before it
//! came to one stays sent. Besides, [`FRAMES`] lists can be left at once, and [`COPIES`] copies made of a
//! packet at once: those beyond are too deep.

use super::block::Miss;
use super::ct::layout::{MEMO, VALID};
use super::layout::{
    self, COPIED, DEEPENS, DEPTH, ENDED, ENDED_NO_FLOW, FOUND_SLOT, FRAMED, LOOKED_UP, LOOKUPS, MISS_IS_TOLD,
    NESTED, NEXT, SENT, SWAPPED, TRACKED_COPIED, TRACKED_FRAMED, key_word, word,
};
use super::plan::Control;
use super::{Program, TC_ACT_SHOT};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R6, R7, R8, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::Field;
use footbridge_pipeline::DropReason;
use footbridge_pipeline::evaluate::{MAX_DEPTH, MAX_OUTPUTS, MAX_RESUBMITS};

/// How many lists can be left at once.
pub(crate) const FRAMES: u32 = 512;
/// A frame: the next piece of code, the flow's slot, the depth, each of 32 bits.
pub(crate) const FRAME: usize = 16;
const FRAME_NEXT: i16 = 0;
const FRAME_SLOT: i16 = 4;
const FRAME_DEPTH: i16 = 8;
/// How many copies there can be of a packet at once.
pub(crate) const COPIES: u32 = 16;
const _: () = assert!(FRAMES.is_power_of_two() && COPIES.is_power_of_two());
/// As many steps as any packet can take: each look-up, and each list that is come back to.
const STEPS: u64 = 4 * MAX_RESUBMITS as u64;

/// What the steps share, on the stack of the program: the packet, the counters of its port, the scratch, and
/// what the program returns.
const CONTEXT: i16 = -64;
const PACKET: i16 = 0;
const COUNTERS: i16 = 8;
const SCRATCH: i16 = 16;
const RESULT: i16 = 24;
/// On a step's stack: where that is, and a 32-bit key.
const AROUND: i16 = -40;
const KEY: i16 = -4;

/// Where code begins that can be a step's.
#[derive(Debug, Clone, Copy)]
enum Piece {
    Table(u8),
    /// Where a list that was left goes on.
    Resumption(usize),
}

impl Piece {
    fn number(self) -> i32 {
        match self {
            Piece::Table(table) => table.into(),
            Piece::Resumption(number) => 256 + number as i32,
        }
    }
}

impl Program<'_> {
    pub(super) fn steps(&self) -> bool {
        self.survey.control != Control::Jumps
    }

    /// From the start of the program to its first table.
    pub(super) fn begin(&mut self) {
        if self.steps() {
            self.loop_over_steps();
        } else {
            self.go_to_table(0, None, Miss::Told);
        }
    }

    fn loop_over_steps(&mut self) {
        for (at, register) in [(PACKET, R6), (COUNTERS, R7), (SCRATCH, R9)] {
            self.asm.store(Size::D, R10, CONTEXT + at, register);
        }
        self.asm.store_imm(Size::D, R10, CONTEXT + RESULT, TC_ACT_SHOT as i32);
        self.asm.store_imm(Size::W, R9, NEXT, 0);
        if self.survey.notes_look_ups {
            self.asm.store_imm(Size::W, R9, LOOKED_UP, MISS_IS_TOLD);
        }
        self.asm.set(R1, STEPS);
        self.asm.function(R2, self.places.step);
        self.asm.mov(R3, R10);
        self.asm.alu_imm(Alu::Add, R3, i64::from(CONTEXT).cast_unsigned(), R4);
        self.asm.set(R4, 0);
        self.asm.call(Helper::Loop);
        self.asm.load(Size::D, R0, R10, CONTEXT + RESULT);
        self.end_run();

        self.asm.bind(self.places.step);
        self.asm.store(Size::D, R10, AROUND, R2);
        for (at, register) in [(PACKET, R6), (COUNTERS, R7), (SCRATCH, R9)] {
            self.asm.load(Size::D, register, R2, at);
        }
        self.asm.load(Size::W, R1, R9, NEXT);
        let mut pieces: Vec<(i32, Label)> = Vec::new();
        for (table, label) in &self.tables {
            pieces.extend(label.map(|label| (Piece::Table(*table).number(), label)));
        }
        let resumptions = self.resumptions.iter().enumerate();
        pieces.extend(resumptions.map(|(number, label)| (Piece::Resumption(number).number(), *label)));
        pieces.push((self.over(), self.places.finish));
        self.dispatch_exactly(&pieces);
    }

    /// The number of the piece of code that ends the packet.
    fn over(&self) -> i32 {
        Piece::Resumption(self.resumptions.len()).number()
    }

    /// Jump to the piece whose number is in R1; a number that is none of them is a table without flows.
    fn dispatch_exactly(&mut self, pieces: &[(i32, Label)]) {
        match pieces {
            [] => {}
            [(number, label)] => {
                let other = self.asm.label();
                self.asm.jump_if_imm(Cmp::Ne, R1, *number, other);
                self.asm.jump(*label);
                self.asm.bind(other);
                self.asm.jump(self.places.nowhere);
            }
            _ => {
                let (lower, upper) = pieces.split_at(pieces.len() / 2);
                let right = self.asm.label();
                let first = upper.first().map_or(0, |(number, _)| *number);
                self.asm.jump_if_imm(Cmp::Ge, R1, first, right);
                self.dispatch_exactly(lower);
                self.asm.bind(right);
                self.dispatch_exactly(upper);
            }
        }
    }

    /// Look the packet up in a table; `from` is that of the action that says so.
    pub(super) fn go_to_table(&mut self, number: u8, from: Option<u8>, miss: Miss) {
        if self.survey.notes_look_ups {
            let told = if miss == Miss::Told { MISS_IS_TOLD } else { 0 };
            self.asm.store_imm(Size::W, R9, LOOKED_UP, i32::from(number) | told);
        }
        if self.steps() {
            let deepens = from.is_some_and(|from| number <= from);
            self.asm.store_imm(Size::W, R9, DEEPENS, deepens.into());
        }
        match self.tables.get(&number).copied() {
            Some(Some(label)) if self.survey.control != Control::ShortSteps => self.asm.jump(label),
            Some(_) => self.step_to(Piece::Table(number).number()),
            None => {
                self.asm.store_imm(Size::W, R9, NEXT, number.into());
                self.asm.jump(self.places.nowhere);
            }
        }
    }

    /// The same, of the table whose number is in R1; `from` is in R2.
    pub(super) fn go_to_table_in_register(&mut self) {
        if self.survey.notes_look_ups {
            self.asm.store(Size::W, R9, LOOKED_UP, R1);
        }
        let (deepens, go) = (self.asm.label(), self.asm.label());
        self.asm.store(Size::W, R9, NEXT, R1);
        self.asm.jump_if(Cmp::Le, R1, R2, deepens);
        self.asm.store_imm(Size::W, R9, DEEPENS, 0);
        self.asm.jump(go);
        self.asm.bind(deepens);
        self.asm.store_imm(Size::W, R9, DEEPENS, 1);
        self.asm.bind(go);
        self.asm.jump(self.places.again);
    }

    fn step_to(&mut self, piece: i32) {
        self.asm.store_imm(Size::W, R9, NEXT, piece);
        self.asm.jump(self.places.again);
    }

    /// A look-up in a table begins: stop at the limits.
    pub(super) fn count_lookup(&mut self) {
        if !self.steps() {
            return;
        }
        let limits = [
            (DEPTH, MAX_DEPTH, self.places.too_deep),
            (LOOKUPS, MAX_RESUBMITS + 1, self.places.too_many),
            (SENT, MAX_OUTPUTS, self.places.finish),
        ];
        for (word, limit, reached) in limits {
            let within = self.asm.label();
            self.asm.load(Size::W, R1, R9, word);
            self.asm.jump_if_imm(Cmp::Lt, R1, limit as i32, within);
            self.asm.jump(reached);
            self.asm.bind(within);
        }
        self.asm.load(Size::W, R1, R9, LOOKUPS);
        self.asm.alu_imm(Alu::Add, R1, 1, R2);
        self.asm.store(Size::W, R9, LOOKUPS, R1);
    }

    /// A look-up found the flow whose slot is in R1.
    pub(super) fn count_depth(&mut self) {
        if self.steps() || self.survey.closes {
            self.asm.store(Size::W, R9, FOUND_SLOT, R1);
        }
        if !self.steps() {
            return;
        }
        self.asm.load(Size::W, R1, R9, DEPTH);
        self.asm.load(Size::W, R2, R9, DEEPENS);
        self.asm.alu(Alu::Add, R1, R2);
        self.asm.store(Size::W, R9, DEPTH, R1);
    }

    /// After a look-up: in_port is again what it was before.
    pub(super) fn restore_in_port(&mut self) {
        if !self.survey.swaps_in_port {
            return;
        }
        let done = self.asm.label();
        let in_port = key_word(word(Field::InPortOxm)) + 4;
        self.asm.load(Size::D, R1, R9, SWAPPED);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, done);
        self.asm.store(Size::W, R9, in_port, R1);
        self.asm.store_imm(Size::D, R9, SWAPPED, 0);
        self.asm.bind(done);
    }

    /// For the next look-up in_port is what R1 says.
    pub(super) fn swap_in_port(&mut self) {
        let in_port = key_word(word(Field::InPortOxm)) + 4;
        self.asm.load(Size::W, R2, R9, in_port);
        self.asm.alu_imm(Alu::Or, R2, 1 << 32, R3);
        self.asm.store(Size::D, R9, SWAPPED, R2);
        self.asm.store(Size::W, R9, in_port, R1);
    }

    /// Leave the list: it goes on where [`Program::come_back`] is called with what this returns.
    pub(super) fn leave_list(&mut self) -> usize {
        let number = self.resumed;
        self.resumed += 1;
        self.push_frame(Piece::Resumption(number).number());
        number
    }

    /// A list that was left goes on here.
    pub(super) fn come_back(&mut self, number: usize) {
        if let Some(label) = self.resumptions.get(number).copied() {
            self.asm.bind(label);
        }
        let there = self.asm.label();
        self.asm.load(Size::W, R1, R9, FOUND_SLOT);
        self.asm.store(Size::W, R10, KEY, R1);
        self.lookup_on_stack(self.maps.arguments, KEY);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, there);
        self.asm.jump(self.places.end);
        self.asm.bind(there);
        self.asm.mov(R8, R0);
    }

    fn push_frame(&mut self, piece: i32) {
        self.element(self.maps.frames, FRAMED, FRAMES, self.places.too_deep);
        self.asm.store_imm(Size::W, R0, FRAME_NEXT, piece);
        for (word, at) in [(FOUND_SLOT, FRAME_SLOT), (DEPTH, FRAME_DEPTH)] {
            self.asm.load(Size::W, R1, R9, word);
            self.asm.store(Size::W, R0, at, R1);
        }
        self.add_to_word(FRAMED, 1);
    }

    /// R0 is the run's element of the map whose number a word of the scratch says: to `none` where it has none.
    pub(super) fn element(&mut self, map: i32, number: i16, of_each_run: u32, none: Label) {
        let (within, there) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R1, R9, number);
        self.asm.jump_if_imm(Cmp::Lt, R1, of_each_run.cast_signed(), within);
        self.asm.jump(none);
        self.asm.bind(within);
        self.asm.load(Size::W, R2, R9, NESTED);
        self.asm.shl(R2, of_each_run.ilog2());
        self.asm.alu(Alu::Add, R1, R2);
        self.asm.store(Size::W, R10, KEY, R1);
        self.lookup_on_stack(map, KEY);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, there);
        self.asm.jump(none);
        self.asm.bind(there);
    }

    pub(super) fn add_to_word(&mut self, word: i16, amount: i64) {
        self.asm.load(Size::W, R1, R9, word);
        self.asm.alu_imm(Alu::Add, R1, amount.cast_unsigned(), R2);
        self.asm.store(Size::W, R9, word, R1);
    }

    /// A copy of the packet is worked on from here on.
    pub(super) fn copy_packet(&mut self) {
        self.element(self.maps.copies, COPIED, COPIES, self.places.too_deep);
        for (at, word) in (0..).step_by(8).zip(self.copied_words()) {
            self.asm.load(Size::D, R1, R9, word);
            self.asm.store(Size::D, R0, at, R1);
        }
        self.add_to_word(COPIED, 1);
    }

    /// The packet is again what it was before the copy.
    pub(super) fn put_packet_back(&mut self) {
        self.add_to_word(COPIED, -1);
        self.element(self.maps.copies, COPIED, COPIES, self.places.too_deep);
        for (at, word) in (0..).step_by(8).zip(self.copied_words()) {
            self.asm.load(Size::D, R1, R0, at);
            self.asm.store(Size::D, R9, word, R1);
        }
    }

    /// The 64-bit words of the scratch that are the packet's: what actions change of it.
    fn copied_words(&self) -> Vec<i16> {
        let mut words: Vec<i16> = self.survey.assigned.iter().map(|word| key_word(*word)).collect();
        words.push(layout::PUSHED_TOP);
        if self.survey.tracks {
            words.extend((MEMO..VALID).step_by(8));
        }
        if self.survey.tracked_copies {
            words.push(layout::TRACKED_FRAMED);
        }
        if self.survey.tags {
            // The frame's own tags stay what they are.
            words.extend([layout::TAG_COUNT, layout::TCI_SETTLED, layout::tag(0), layout::tag(2)]);
        }
        if self.survey.sets {
            words.extend(self.set_state());
        }
        words
    }

    /// A copy of the packet goes on in a table with what the tracker said, unless nothing is left to be done behind
    /// it; `last` says that nothing is in this list, which is of the table `from`.
    pub(super) fn go_on_tracked(&mut self, table: u8, from: u8, last: bool) {
        if last && !self.survey.sets {
            if self.steps() {
                let left = self.asm.label();
                self.asm.load(Size::W, R1, R9, FRAMED);
                self.asm.jump_if_imm(Cmp::Ne, R1, 0, left);
                self.go_to_table(table, Some(from), Miss::Dropped);
                self.asm.bind(left);
            } else {
                self.go_to_table(table, Some(from), Miss::Dropped);
                return;
            }
        }
        self.copy_packet();
        let behind = self.leave_list();
        for (now, before) in [(FRAMED, TRACKED_FRAMED), (COPIED, TRACKED_COPIED)] {
            self.asm.load(Size::W, R1, R9, now);
            self.asm.store(Size::W, R9, before, R1);
        }
        let conclusion = self.survey.sets.then(|| self.leave_list());
        self.go_to_table(table, Some(from), Miss::Dropped);
        if let Some(conclusion) = conclusion {
            self.come_back(conclusion);
            self.asm.store_imm(Size::W, R9, layout::SET_FROM, table.into());
            self.asm.jump(self.places.conclude);
        }
        self.come_back(behind);
        self.put_packet_back();
        // The packet itself goes on untracked.
        self.clear_connection();
    }

    /// All lists are over, but for those that a copy came from to which the tracker said something.
    pub(super) fn exit(&mut self) {
        if self.survey.tracked_copies {
            let of_packet = self.asm.label();
            self.asm.load(Size::W, R1, R9, TRACKED_FRAMED);
            self.asm.jump_if_imm(Cmp::Eq, R1, 0, of_packet);
            self.asm.store(Size::W, R9, FRAMED, R1);
            self.asm.load(Size::W, R1, R9, TRACKED_COPIED);
            self.asm.store(Size::W, R9, COPIED, R1);
            self.return_to_list();
            self.asm.bind(of_packet);
        }
        self.asm.jump(self.places.finish);
    }

    /// Where lists and packets end.
    pub(super) fn ends(&mut self) {
        self.asm.bind(self.places.nowhere);
        self.count_lookup();
        self.restore_in_port();
        self.count_miss_of_next();
        self.asm.bind(self.places.no_flow);
        self.asm.store_imm(Size::W, R9, ENDED, ENDED_NO_FLOW);
        if self.survey.tells_misses {
            self.tell_miss();
        }
        self.asm.bind(self.places.list_end);
        self.end_list();
        self.asm.bind(self.places.conclude);
        if self.survey.sets {
            self.carry_out_set();
        }
        self.asm.bind(self.places.finish);
        self.count_end();
        let reached = [
            (self.places.too_deep, DropReason::TooDeep),
            (self.places.too_many, DropReason::TooManyResubmits),
            (self.places.stack_full, DropReason::StackFull),
        ];
        for (place, reason) in reached {
            self.asm.bind(place);
            self.count_drop(reason);
            self.asm.jump(self.places.end);
        }
        self.asm.bind(self.places.end);
        self.asm.set(R0, TC_ACT_SHOT);
        self.asm.bind(self.places.leave);
        if self.steps() {
            self.asm.load(Size::D, R1, R10, AROUND);
            self.asm.store(Size::D, R1, RESULT, R0);
            self.asm.set(R0, 1);
            self.asm.exit();
        } else {
            self.end_run();
        }
        self.asm.bind(self.places.again);
        self.asm.set(R0, 0);
        self.asm.exit();
    }

    /// Count the packet at the table in NEXT, which has no flows.
    fn count_miss_of_next(&mut self) {
        self.asm.load(Size::W, R1, R9, NEXT);
        self.asm.alu_imm(Alu::And, R1, 0xff, R2);
        self.asm.shl(R1, layout::TABLE_BYTES.ilog2());
        self.asm.alu(Alu::Add, R1, R9);
        self.increment(R1, layout::TABLES + layout::TABLE_MISSES);
    }

    /// Back to the list that was left last; after the first one, the action set is next.
    fn end_list(&mut self) {
        if !self.steps() {
            self.asm.jump(if self.survey.sets { self.places.conclude } else { self.places.finish });
            return;
        }
        let outermost = self.asm.label();
        self.asm.load(Size::W, R1, R9, FRAMED);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, outermost);
        self.return_to_list();
        self.asm.bind(outermost);
        if self.survey.sets {
            let piece = self.over();
            self.asm.store_imm(Size::W, R9, layout::SET_FROM, 0);
            self.push_frame(piece);
            self.asm.jump(self.places.conclude);
        } else {
            self.asm.jump(self.places.finish);
        }
    }

    /// Go on where the last frame says.
    pub(super) fn return_to_list(&mut self) {
        self.add_to_word(FRAMED, -1);
        self.element(self.maps.frames, FRAMED, FRAMES, self.places.too_deep);
        for (at, word) in [(FRAME_NEXT, NEXT), (FRAME_SLOT, FOUND_SLOT), (FRAME_DEPTH, DEPTH)] {
            self.asm.load(Size::W, R1, R0, at);
            self.asm.store(Size::W, R9, word, R1);
        }
        self.asm.jump(self.places.again);
    }

    /// Where nothing was sent, count why; what was lost is counted already.
    fn count_end(&mut self) {
        let no_flow = self.asm.label();
        for word in [SENT, ENDED] {
            let so_far = self.asm.label();
            self.asm.load(Size::W, R1, R9, word);
            if word == SENT {
                self.asm.jump_if_imm(Cmp::Eq, R1, 0, so_far);
            } else {
                self.asm.jump_if_imm(Cmp::Eq, R1, ENDED_NO_FLOW, no_flow);
                self.asm.jump_if_imm(Cmp::Eq, R1, 0, so_far);
            }
            self.asm.jump(self.places.end);
            self.asm.bind(so_far);
        }
        self.count_drop(DropReason::FlowDrop);
        self.asm.jump(self.places.end);
        self.asm.bind(no_flow);
        self.count_drop(DropReason::NoFlow);
        self.asm.jump(self.places.end);
    }
}
