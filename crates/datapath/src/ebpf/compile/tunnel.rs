//! Tunnel ports: what the root program has read of a tunnel header goes to the key, and an output's header is
//! set from there.
//!
//! As in the userspace datapath, network identifier and source are the port's own; of the key, the
//! destination and `tun_metadata0` are used. IPv4 only.

use super::Program;
use super::layout::{
    FROM_TUNNEL, SKB_TUNNEL, SKB_TUNNEL_DST, SKB_TUNNEL_SRC, TUNNEL_IDENTITY, TUNNEL_KEY, TUNNEL_OPTION,
    TUNNEL_OPTIONS, frame_word, key_word, word,
};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R6, R8, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::Field;
use footbridge_pipeline::DropReason;

/// Offsets in `struct bpf_tunnel_key` (linux/bpf.h), and its length.
pub(crate) const KEY_ID: i16 = 0;
pub(crate) const KEY_REMOTE: i16 = 4;
const KEY_TTL: i16 = 21;
pub(crate) const KEY_LOCAL: i16 = 28;
pub(crate) const KEY_LENGTH: u64 = 44;

/// BPF_F_ZERO_CSUM_TX, BPF_F_DONT_FRAGMENT: the frame has its own checksums (RFC 7348 §5, RFC 8926 §3.3), and a tunnel
/// does not fragment.
const SET_FLAGS: u64 = 1 << 1 | 1 << 2;
const TTL: i32 = 64;

/// A Geneve option of 4 bytes: its header, and all of it.
const OPTION_HEADER: i16 = 4;
const OPTION: u64 = 8;
/// How much of the options is read, and how many are looked at.
const OPTIONS_READ: u64 = 64;
const OPTIONS_LOOKED_AT: usize = 8;

impl Program<'_> {
    /// The tunnel fields of a packet that has come in, of which the words are 0 so far.
    pub(super) fn tunnel_fields(&mut self) {
        let plain = self.asm.label();
        let addresses = word(Field::TunDst);
        self.asm.store_imm(Size::D, R9, frame_word(addresses), 0);
        self.asm.load(Size::W, R1, R6, SKB_TUNNEL);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, plain);
        self.asm.alu_imm(Alu::And, R1, u64::from(FROM_TUNNEL - 1), R2);
        self.asm.store(Size::D, R9, key_word(word(Field::TunId)), R1);
        self.asm.load(Size::W, R1, R6, SKB_TUNNEL_SRC);
        self.asm.store(Size::W, R9, key_word(addresses) + 4, R1);
        self.asm.load(Size::W, R1, R6, SKB_TUNNEL_DST);
        self.asm.store(Size::W, R9, key_word(addresses), R1);
        self.asm.store(Size::W, R9, frame_word(addresses), R1);
        if self.survey.words.contains(&metadata()) {
            self.read_options(plain);
        }
        self.asm.bind(plain);
    }

    /// `tun_metadata0` from the first Geneve option that the port maps.
    fn read_options(&mut self, done: Label) {
        self.asm.load(Size::W, R1, R6, super::SKB_CB + 4);
        self.asm.store(Size::W, R10, -4, R1);
        self.lookup_on_stack(self.maps.tunnels, -4);
        let asm = &mut self.asm;
        asm.jump_if_imm(Cmp::Eq, R0, 0, done);
        asm.load(Size::D, R8, R0, TUNNEL_OPTION);
        asm.jump_if_imm(Cmp::Eq, R8, 0, done);
        asm.mov(R1, R6);
        asm.mov(R2, R9);
        asm.alu_imm(Alu::Add, R2, TUNNEL_OPTIONS as u64, R3);
        asm.set(R3, OPTIONS_READ);
        asm.call(Helper::SkbGetTunnelOpt);
        // R0 is how long the options are; R4 is where the next one begins.
        asm.jump_if_imm(Cmp::SignedLt, R0, OPTION as i32, done);
        asm.set(R4, 0);
        for _ in 0..OPTIONS_LOOKED_AT {
            let other = self.asm.label();
            let asm = &mut self.asm;
            asm.jump_if_imm(Cmp::Gt, R4, (OPTIONS_READ - OPTION) as i32, done);
            asm.mov(R2, R4);
            asm.alu_imm(Alu::Add, R2, OPTION, R3);
            asm.jump_if(Cmp::Gt, R2, R0, done);
            asm.mov(R3, R9);
            asm.alu(Alu::Add, R3, R4);
            asm.load(Size::W, R1, R3, TUNNEL_OPTIONS);
            // The reserved bits of the length are no part of it.
            asm.alu_imm(Alu::And, R1, 0x1fff_ffff, R2);
            asm.jump_if(Cmp::Ne, R1, R8, other);
            asm.load(Size::W, R1, R3, TUNNEL_OPTIONS + OPTION_HEADER);
            asm.big_endian(R1, 32);
            asm.store(Size::W, R9, key_word(metadata()), R1);
            asm.jump(done);
            asm.bind(other);
            asm.shr(R1, 24);
            asm.shl(R1, 2);
            asm.alu(Alu::Add, R4, R1);
            asm.alu_imm(Alu::Add, R4, OPTION_HEADER as u64, R2);
        }
    }

    /// Of an output to the port of the value in R8, where that is a tunnel: set the header. Goes to the labels
    /// where that is not to be.
    pub(super) fn tunnel_header(&mut self, nowhere: Label) {
        let (plain, set) = (self.asm.label(), self.asm.label());
        let (no_destination, to_self, refused) = (self.asm.label(), self.asm.label(), self.asm.label());
        let addresses = word(Field::TunDst);
        self.asm.mov(R1, R8);
        self.asm.shr(R1, super::layout::PORT_IS_TUNNEL_BIT);
        self.asm.alu_imm(Alu::And, R1, 1, R2);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, plain);
        self.asm.load(Size::W, R1, R9, key_word(addresses));
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, no_destination);
        self.asm.load(Size::W, R2, R9, frame_word(addresses));
        self.asm.jump_if(Cmp::Eq, R1, R2, to_self);
        self.asm.mov(R1, R8);
        self.asm.shr(R1, 32);
        self.asm.alu_imm(Alu::And, R1, 0xffff, R2);
        self.asm.store(Size::W, R10, -4, R1);
        self.lookup_on_stack(self.maps.tunnels, -4);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, nowhere);
        let asm = &mut self.asm;
        for offset in (0..KEY_LENGTH as i16).step_by(4) {
            asm.store_imm(Size::W, R9, TUNNEL_KEY + offset, 0);
        }
        asm.load(Size::D, R1, R0, TUNNEL_IDENTITY);
        asm.store(Size::W, R9, TUNNEL_KEY + KEY_ID, R1);
        asm.shr(R1, 32);
        asm.store(Size::W, R9, TUNNEL_KEY + KEY_LOCAL, R1);
        asm.load(Size::W, R1, R9, key_word(addresses));
        asm.store(Size::W, R9, TUNNEL_KEY + KEY_REMOTE, R1);
        asm.store_imm(Size::B, R9, TUNNEL_KEY + KEY_TTL, TTL);
        asm.load(Size::D, R1, R0, TUNNEL_OPTION);
        asm.store(Size::D, R10, -16, R1);
        asm.mov(R1, R6);
        asm.mov(R2, R9);
        asm.alu_imm(Alu::Add, R2, TUNNEL_KEY as u64, R3);
        asm.set(R3, KEY_LENGTH);
        asm.set(R4, SET_FLAGS);
        asm.call(Helper::SkbSetTunnelKey);
        asm.jump_if_imm(Cmp::Ne, R0, 0, refused);
        if self.survey.words.contains(&metadata()) {
            self.write_option(set, refused);
        }
        self.asm.jump(set);
        for (label, reason) in [
            (no_destination, DropReason::NoTunnelDst),
            (to_self, DropReason::TunnelToSelf),
            (refused, DropReason::SendError),
        ] {
            self.asm.bind(label);
            self.asm.set(R0, (-1 - i64::from(reason as u8)).cast_unsigned());
            self.asm.exit();
        }
        self.asm.bind(set);
        self.asm.bind(plain);
    }

    /// `tun_metadata0` as the Geneve option that the port maps, whose header is on the stack. 0 is what flows
    /// read where there is no option, so it needs none.
    fn write_option(&mut self, done: Label, refused: Label) {
        let asm = &mut self.asm;
        asm.load(Size::D, R1, R10, -16);
        asm.jump_if_imm(Cmp::Eq, R1, 0, done);
        asm.load(Size::W, R2, R9, key_word(metadata()));
        asm.jump_if_imm(Cmp::Eq, R2, 0, done);
        asm.big_endian(R2, 32);
        asm.store(Size::W, R10, -16, R1);
        asm.store(Size::W, R10, -12, R2);
        asm.mov(R1, R6);
        asm.mov(R2, R10);
        asm.alu_imm(Alu::Add, R2, (-16i64).cast_unsigned(), R3);
        asm.set(R3, OPTION);
        asm.call(Helper::SkbSetTunnelOpt);
        asm.jump_if_imm(Cmp::Ne, R0, 0, refused);
    }
}

/// The word with the low bits of `tun_metadata0`.
fn metadata() -> u8 {
    word(Field::TunMetadata0) + 1
}
