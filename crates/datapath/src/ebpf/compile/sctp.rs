//! Ports of SCTP, whose checksum is a CRC32c over the whole packet (RFC 9260, appendix A).
//!
//! As in the evaluator, the checksum changes by the difference of what it should have been and should be. A
//! CRC is linear, so that is the CRC, begun at 0, of the bits that differ with zeros behind them, as long as
//! the packet: a step for each byte.

use super::Program;
use super::layout::{L4, PAYLOAD, TRANSPORT, word};
use super::output::Part;
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R8, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::Field;

/// CRC32c's polynomial, reflected.
const POLYNOMIAL: u64 = 0x82f6_3b78;
/// Where the checksum is in the header.
const CHECKSUM: u64 = 8;
/// On the stack of `prepare`, and of the loop: the CRC so far.
const CRC: i16 = -48;

impl Program<'_> {
    /// Write what differs of the ports, and the checksum.
    pub(super) fn flush_sctp(&mut self, done: Label) {
        let ports = Part { word: word(Field::SctpSrc), shift: 32, bytes: 4, at: 0 };
        let same = self.asm.label();
        self.changed(&ports, same);
        Self::store_part(&mut self.asm, &ports, L4);
        // The first byte's lowest bit goes first.
        self.asm.load(Size::D, R1, R10, -16);
        self.asm.load(Size::D, R2, R10, -24);
        self.asm.alu(Alu::Xor, R1, R2);
        self.asm.big_endian(R1, 32);
        self.asm.store(Size::D, R10, CRC, R1);
        self.asm.load(Size::D, R1, R9, PAYLOAD);
        self.asm.function(R2, self.places.crc);
        self.asm.mov(R3, R10);
        self.asm.alu_imm(Alu::Add, R3, i64::from(CRC).cast_unsigned(), R4);
        self.asm.set(R4, 0);
        self.asm.call(Helper::Loop);
        self.asm.load(Size::W, R8, R9, L4);
        self.asm.alu_imm(Alu::Add, R8, CHECKSUM, R1);
        self.read(TRANSPORT, 4);
        self.asm.load(Size::W, R1, R9, TRANSPORT);
        self.asm.load(Size::D, R2, R10, CRC);
        self.asm.alu(Alu::Xor, R1, R2);
        self.asm.store(Size::D, R10, -32, R1);
        self.asm.mov(R2, R8);
        Self::store_bytes(&mut self.asm, -32, 4);
        self.asm.bind(same);
        Self::settle(&mut self.asm, word(Field::SctpSrc));
        self.asm.jump(done);
    }

    /// `crc(index, CRC)`: one byte of 0.
    pub(super) fn crc(&mut self) {
        self.asm.bind(self.places.crc);
        self.asm.load(Size::D, R1, R2, 0);
        for _ in 0..8 {
            let even = self.asm.label();
            self.asm.mov(R3, R1);
            self.asm.shr(R1, 1);
            self.asm.alu_imm(Alu::And, R3, 1, R4);
            self.asm.jump_if_imm(Cmp::Eq, R3, 0, even);
            self.asm.alu_imm(Alu::Xor, R1, POLYNOMIAL, R4);
            self.asm.bind(even);
        }
        self.asm.store(Size::D, R2, 0, R1);
        self.asm.set(R0, 0);
        self.asm.exit();
    }
}
