//! What a full table gives up: first what is past its time, which is looked for through the whole table. That takes
//! tens of milliseconds where the table is large; it is done every [`SWEEP_INTERVAL`] at most, and not at all while this
//! process does it more often; then the oldest connection without reply. One with a reply is never given up.
//!
//! Those without reply wait in a queue, by when they were committed. Whatever comes out of it that has got its
//! reply by then, or is gone, is passed over. When the queue itself is full it loses its first: a connection
//! that stayed without reply while as many later ones were committed as the table has room for goes by its
//! time-out only.

use super::super::Program;
use super::super::layout::NOW;
use super::layout::{BELOW_TIME, COMMITTED, CONNECTION, KEY, REPLIED, SWEPT_COUNT, UNREPLIED, WORD};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R5, R7, R8, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Size};
use crate::ebpf::load::BPF_EXIST;
use footbridge_pipeline::conntrack::rules::SWEEP_INTERVAL;

/// How many connections come out of the queue for one that is to be kept, at most.
const TRIES: u64 = 1024;

/// On the stack of `track`, for `sweep`: the scratch.
const SWEEP: i16 = -8;
/// On the stack of `evict`: what came out of the queue.
const OLDEST: i16 = -(UNREPLIED as i16);

impl Program<'_> {
    /// Put the connection just kept in the queue of those without reply.
    pub(super) fn enqueue(&mut self) {
        self.asm.map(R1, self.maps.tracker.unreplied);
        self.scratch(R2, CONNECTION);
        self.asm.set(R3, BPF_EXIST);
        self.asm.call(Helper::MapPushElem);
    }

    /// Have the table give something up, if it can.
    pub(super) fn make_room(&mut self) {
        let asm = &mut self.asm;
        let (evict, done) = (asm.label(), asm.label());
        asm.map_value(R3, self.maps.tracker.swept, 0);
        asm.load(Size::D, R1, R9, NOW);
        asm.load(Size::D, R0, R3, 0);
        asm.mov(R2, R1);
        asm.alu(Alu::Sub, R2, R0);
        asm.jump_if(Cmp::Gt, R0, R1, evict);
        asm.set(R4, SWEEP_INTERVAL.as_nanos() as u64);
        asm.jump_if(Cmp::Lt, R2, R4, evict);
        asm.mov(R2, R0);
        asm.compare_exchange(R3, 0, R1);
        // Another CPU looks through it.
        asm.jump_if(Cmp::Ne, R0, R2, evict);
        asm.store(Size::D, R10, SWEEP, R9);
        asm.store_imm(Size::D, R9, SWEPT_COUNT, 0);
        asm.map(R1, self.maps.tracker.connections);
        asm.function(R2, self.places.sweep);
        asm.mov(R3, R10);
        asm.alu_imm(Alu::Add, R3, i64::from(SWEEP).cast_unsigned(), R4);
        asm.set(R4, 0);
        asm.call(Helper::ForEachMapElem);
        asm.load(Size::D, R1, R9, SWEPT_COUNT);
        asm.jump_if_imm(Cmp::Ne, R1, 0, done);
        asm.bind(evict);
        asm.set(R1, TRIES);
        asm.function(R2, self.places.evict);
        asm.set(R3, 0);
        asm.set(R4, 0);
        asm.call(Helper::Loop);
        asm.bind(done);
    }

    /// `sweep(map, key, value, what make_room left on its stack)`: forget the connection if it is past its time.
    pub(super) fn sweep_function(&mut self) {
        let asm = &mut self.asm;
        let done = asm.label();
        asm.load(Size::D, R5, R3, WORD);
        asm.jump_if_imm(Cmp::Eq, R5, 0, done);
        asm.mov(R0, R5);
        asm.alu_imm(Alu::And, R0, !BELOW_TIME, R7);
        asm.load(Size::D, R9, R4, 0);
        asm.load(Size::D, R1, R9, NOW);
        asm.jump_if(Cmp::Gt, R0, R1, done);
        asm.mov(R0, R5);
        asm.set(R1, 0);
        asm.compare_exchange(R3, WORD, R1);
        asm.jump_if(Cmp::Ne, R0, R5, done);
        asm.load(Size::D, R1, R9, SWEPT_COUNT);
        asm.alu_imm(Alu::Add, R1, 1, R5);
        asm.store(Size::D, R9, SWEPT_COUNT, R1);
        asm.map(R1, self.maps.tracker.connections);
        asm.call(Helper::MapDeleteElem);
        asm.bind(done);
        asm.set(R0, 0);
        asm.exit();
    }

    /// `evict(index, 0)`: give up the first of the queue; 1 where that was done, or the queue is empty.
    pub(super) fn evict_function(&mut self) {
        let asm = &mut self.asm;
        let (next, done) = (asm.label(), asm.label());
        asm.map(R1, self.maps.tracker.unreplied);
        asm.mov(R2, R10);
        asm.alu_imm(Alu::Add, R2, i64::from(OLDEST).cast_unsigned(), R5);
        asm.call(Helper::MapPopElem);
        asm.jump_if_imm(Cmp::Ne, R0, 0, done);
        self.lookup_on_stack(self.maps.tracker.connections, OLDEST);
        let asm = &mut self.asm;
        asm.jump_if_imm(Cmp::Eq, R0, 0, next);
        asm.load(Size::D, R1, R0, COMMITTED);
        asm.load(Size::D, R2, R10, OLDEST + KEY as i16);
        asm.jump_if(Cmp::Ne, R1, R2, next);
        asm.mov(R7, R0);
        asm.load(Size::D, R8, R7, WORD);
        asm.jump_if_imm(Cmp::Set, R8, REPLIED as i32, next);
        asm.jump_if_imm(Cmp::Eq, R8, 0, next);
        asm.mov(R0, R8);
        asm.set(R1, 0);
        asm.compare_exchange(R7, WORD, R1);
        asm.jump_if(Cmp::Ne, R0, R8, next);
        asm.map(R1, self.maps.tracker.connections);
        asm.mov(R2, R10);
        asm.alu_imm(Alu::Add, R2, i64::from(OLDEST).cast_unsigned(), R5);
        asm.call(Helper::MapDeleteElem);
        asm.bind(done);
        asm.set(R0, 1);
        asm.exit();
        asm.bind(next);
        asm.set(R0, 0);
        asm.exit();
    }
}
