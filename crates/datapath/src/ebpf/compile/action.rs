//! A block: the steps of an action list. R8 points to the flow's arguments, the first of which is its
//! place in order.

use super::block::{Bits, Block, Constant, Need, Op};
use super::layout::{self, ALL_LIST, FLOOD_LIST, LOST, SENT, key_word, word};
use super::punt::Punt;
use super::{MAX_PORT, Outputs, Program};
use crate::ebpf::asm::Reg::{self, R0, R1, R2, R3, R6, R7, R8, R9};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::{Field, PortNo};
use footbridge_pipeline::DropReason;

/// Of the ports' numbers from here on, OpenFlow 1.0's reserved ones.
const FIRST_RESERVED: i32 = 0xfff8;

impl Program<'_> {
    /// The block's code, to its end.
    pub(super) fn block(&mut self, block: &Block) {
        let last = block.ops.len().saturating_sub(1);
        for (index, op) in block.ops.iter().enumerate() {
            self.op(op, index == last && block.next.is_none());
        }
        match block.next {
            Some(table) => self.go_to_table(table),
            None => self.asm.jump(self.flow_drop),
        }
    }

    fn op(&mut self, op: &Op, last: bool) {
        match op {
            Op::Write { word, mask, value, needs } => {
                let skip = self.asm.label();
                if let Some(needs) = needs {
                    self.require(*needs, skip);
                }
                self.write(*word, *mask, *value);
                self.asm.bind(skip);
            }
            Op::Move { src, dst, needs } => {
                let skip = self.asm.label();
                needs.iter().for_each(|needs| self.require(*needs, skip));
                self.copy(*src, *dst);
                self.asm.bind(skip);
            }
            Op::DecTtl(told) => self.dec_ttl(told),
            Op::Punt(punt) => self.punt(punt),
            Op::Output(port) => {
                self.constant(R3, *port);
                let done = self.asm.label();
                self.refuse_in_port(done);
                self.output(last, done);
                self.asm.bind(done);
            }
            Op::OutputInPort => {
                let done = self.asm.label();
                self.in_port(R3);
                self.output(last, done);
                self.asm.bind(done);
            }
            Op::Normal => self.by_function(self.normal),
            Op::Flood => {
                self.asm.set(R3, FLOOD_LIST);
                self.by_function(self.flood);
            }
            Op::All => {
                self.asm.set(R3, ALL_LIST);
                self.by_function(self.flood);
            }
            Op::OutputBits(bits) => {
                let (done, in_port, chosen) = (self.asm.label(), self.asm.label(), self.asm.label());
                self.bits(R3, *bits);
                self.asm.jump_if_imm(Cmp::Eq, R3, FIRST_RESERVED, in_port);
                self.refuse_in_port(done);
                self.asm.jump(chosen);
                self.asm.bind(in_port);
                self.in_port(R3);
                self.asm.bind(chosen);
                self.output(last, done);
                self.asm.bind(done);
            }
        }
    }

    /// `dst` is the constant.
    pub(super) fn constant(&mut self, dst: Reg, constant: Constant) {
        match constant {
            Constant::Inline(value) => self.asm.set(dst, value),
            Constant::Argument(index) => self.asm.load(Size::D, dst, R8, 8 * (i16::from(index) + 1)),
        }
    }

    fn write(&mut self, word: u8, mask: u64, value: Constant) {
        let at = key_word(word);
        self.constant(R1, value);
        match mask {
            u64::MAX => self.asm.store(Size::D, R9, at, R1),
            0xffff_ffff => self.asm.store(Size::W, R9, at, R1),
            0xffff => self.asm.store(Size::H, R9, at, R1),
            0xffff_ffff_0000_0000 => {
                self.asm.shr(R1, 32);
                self.asm.store(Size::W, R9, at + 4, R1);
            }
            _ => {
                self.asm.load(Size::D, R2, R9, at);
                self.asm.alu_imm(Alu::And, R2, !mask, R3);
                self.asm.alu(Alu::Or, R2, R1);
                self.asm.store(Size::D, R9, at, R2);
            }
        }
    }

    /// `dst` are the bits, right-aligned.
    fn bits(&mut self, dst: Reg, bits: Bits) {
        self.asm.load(Size::D, dst, R9, key_word(bits.word));
        self.asm.shl(dst, 64 - u32::from(bits.shift) - u32::from(bits.count));
        self.asm.shr(dst, 64 - u32::from(bits.count));
    }

    fn copy(&mut self, src: Bits, dst: Bits) {
        self.bits(R1, src);
        self.asm.shl(R1, dst.shift.into());
        self.asm.load(Size::D, R2, R9, key_word(dst.word));
        self.asm.alu_imm(Alu::And, R2, !(dst.ones() << dst.shift), R3);
        self.asm.alu(Alu::Or, R2, R1);
        self.asm.store(Size::D, R9, key_word(dst.word), R2);
    }

    /// Go to `skip` where the packet is not what a field needs.
    fn require(&mut self, needs: Need, skip: Label) {
        self.asm.load(Size::H, R1, R9, key_word(word(Field::EthType)));
        match needs {
            Need::Arp => {
                let is = self.asm.label();
                self.asm.jump_if_imm(Cmp::Eq, R1, 0x0806, is);
                self.asm.jump_if_imm(Cmp::Ne, R1, 0x8035, skip);
                self.asm.bind(is);
            }
            Need::Ipv4 => self.asm.jump_if_imm(Cmp::Ne, R1, 0x0800, skip),
            Need::Transport(proto) => {
                self.asm.jump_if_imm(Cmp::Ne, R1, 0x0800, skip);
                self.asm.load(Size::W, R1, R9, key_word(word(Field::NwProto)));
                self.asm.mov(R2, R1);
                self.asm.shr(R2, 24);
                self.asm.jump_if_imm(Cmp::Ne, R2, proto.into(), skip);
                // ip_frag's bit of later fragments.
                self.asm.jump_if_imm(Cmp::Set, R1, 2, skip);
            }
        }
    }

    fn dec_ttl(&mut self, told: &[Punt]) {
        let alive = self.asm.label();
        let at = key_word(word(Field::NwTtl)) + 2;
        self.asm.load(Size::B, R1, R9, at);
        self.asm.jump_if_imm(Cmp::Gt, R1, 1, alive);
        told.iter().for_each(|punt| self.punt(punt));
        self.count_drop(DropReason::TtlExpired);
        self.asm.jump(self.end);
        self.asm.bind(alive);
        self.asm.alu_imm(Alu::Sub, R1, 1, R2);
        self.asm.store(Size::B, R9, at, R1);
    }

    fn in_port(&mut self, dst: Reg) {
        self.asm.load(Size::W, dst, R9, key_word(word(Field::InPortOxm)) + 4);
    }

    /// Where the port in R3 is the one that the packet came in on, nothing is sent.
    fn refuse_in_port(&mut self, done: Label) {
        let other = self.asm.label();
        self.in_port(R1);
        self.asm.jump_if(Cmp::Ne, R1, R3, other);
        self.count_drop(DropReason::BackToInPort);
        self.asm.store_imm(Size::W, R9, LOST, 1);
        self.asm.jump(done);
        self.asm.bind(other);
    }

    /// Send the packet to the port whose number is in R3. The last output of a packet needs no copy.
    fn output(&mut self, last: bool, done: Label) {
        let (lost, sent) = (self.asm.label(), self.asm.label());
        self.asm.mov(R1, R6);
        self.asm.mov(R2, R9);
        self.asm.call_local(self.prepare);
        self.asm.jump_if_imm(Cmp::SignedLt, R0, 0, lost);
        match (self.outputs, last) {
            (Outputs::Redirect, true) => {
                self.asm.jump_if_imm(Cmp::Eq, R0, 0, self.end);
                self.asm.mov(R1, R0);
                self.asm.set(R2, 0);
                self.asm.call(Helper::Redirect);
                self.asm.exit();
            }
            (Outputs::Redirect, false) => {
                self.asm.jump_if_imm(Cmp::Eq, R0, 0, sent);
                self.asm.mov(R1, R6);
                self.asm.mov(R2, R0);
                self.asm.set(R3, 0);
                self.asm.call(Helper::CloneRedirect);
            }
            #[cfg(test)]
            (Outputs::Record(_), _) => {}
        }
        self.asm.bind(sent);
        self.asm.store_imm(Size::W, R9, SENT, 1);
        self.asm.jump(done);
        self.asm.bind(lost);
        self.count_lost();
    }

    /// Have a function of the program send the packet; R3 is its own argument.
    fn by_function(&mut self, function: Label) {
        let (lost, done) = (self.asm.label(), self.asm.label());
        self.asm.mov(R1, R6);
        self.asm.mov(R2, R9);
        self.asm.call_local(function);
        self.asm.jump_if_imm(Cmp::SignedLt, R0, 0, lost);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, done);
        self.asm.store_imm(Size::W, R9, SENT, 1);
        self.asm.jump(done);
        self.asm.bind(lost);
        self.count_lost();
        self.asm.bind(done);
    }

    /// An output came to nothing, for the reason in R0.
    pub(super) fn count_lost(&mut self) {
        // R0 is the reason's number, from -1 down.
        self.asm.set(R1, 0);
        self.asm.alu(Alu::Sub, R1, R0);
        self.asm.alu_imm(Alu::And, R1, 31, R2);
        self.asm.shl(R1, 3);
        self.asm.alu(Alu::Add, R1, R7);
        self.increment(R1, layout::DROPS - 8);
        self.asm.store_imm(Size::W, R9, LOST, 1);
    }
}

/// What an output's number is at most, for the map of ports.
pub(super) const HIGHEST_PORT: i32 = MAX_PORT.cast_signed();
const _: () = assert!(PortNo::MAX.0 < FIRST_RESERVED.cast_unsigned());
