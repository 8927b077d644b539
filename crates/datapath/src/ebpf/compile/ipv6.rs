//! IPv6: its header, extension headers, and neighbour discovery, read and written.
//!
//! Reads as `pipeline::packet::parse` does. Extension headers and options are followed by `bpf_loop`, to the
//! end of the packet if need be.

use super::Program;
use super::layout::{
    self, EXT_AT, EXT_END, EXT_FAILED, EXT_FRAG, EXT_PROTO, FRAGMENT_ID, FRAGMENT_PROTO, L3, L4, ND_FIRST,
    ND_OPTION, ND_SLL_AT, ND_TLL_AT, ND_TYPE, ND_WHOLE, PAYLOAD, ROUTED, TRANSPORT, key_word, word,
};
use super::output::Part;
use super::parse::{NETWORK, SKB_LEN};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::Field;

const HEADER: u64 = 40;
const HOP_BY_HOP: i32 = 0;
const ROUTING: i32 = 43;
const FRAGMENT: i32 = 44;
const AUTHENTICATION: i32 = 51;
const DESTINATION: i32 = 60;
/// As many headers of 8 bytes as a packet has room for; and as many options.
const HEADERS: u64 = 8192;
/// Neighbour discovery: the two messages with fields, the options with Ethernet addresses.
const SOLICITATION: i32 = 135;
const ADVERTISEMENT: i32 = 136;
const SOURCE_ADDRESS: i32 = 1;
const TARGET_ADDRESS: i32 = 2;

/// What the loops are told, on the stack: the packet and the scratch.
const CONTEXT: i16 = -64;

impl Program<'_> {
    /// The header at the offset in R8.
    pub(super) fn ipv6(&mut self, done: Label) {
        self.read(NETWORK, HEADER);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, done);
        // R2 is the payload's length, R3 what the frame has of it.
        self.number(Size::H, R2, NETWORK + 4);
        self.asm.load(Size::W, R3, R6, SKB_LEN);
        self.asm.alu(Alu::Sub, R3, R8);
        self.asm.alu_imm(Alu::Sub, R3, HEADER, R4);
        self.asm.jump_if(Cmp::Gt, R2, R3, done);
        self.asm.alu(Alu::Sub, R3, R2);
        self.asm.jump_if_imm(Cmp::Gt, R3, 0xffff, done);
        self.asm.store(Size::W, R9, L3, R8);
        self.asm.alu_imm(Alu::Add, R8, HEADER, R4);
        self.asm.store(Size::W, R9, EXT_AT, R8);
        self.asm.alu(Alu::Add, R2, R8);
        self.asm.store(Size::W, R9, EXT_END, R2);
        for (field, at) in [(Field::Ipv6Src, 8), (Field::Ipv6Dst, 24)] {
            for half in 0..2 {
                self.number(Size::D, R1, NETWORK + at + 8 * half);
                self.put(word(field) + half as u8, R1);
            }
        }
        // Where its extensions are cut, the rest is not known, and stays as it is.
        self.asm.set(R1, 0);
        self.put(word(Field::NwProto), R1);
        self.asm.load(Size::B, R1, R9, NETWORK + 6);
        self.asm.store(Size::W, R9, EXT_PROTO, R1);
        self.run_loop(self.places.extension);
        self.asm.load(Size::W, R1, R9, EXT_FAILED);
        self.asm.jump_if_imm(Cmp::Ne, R1, 0, done);
        // Label, protocol, hop limit, traffic class, fragment.
        self.number(Size::W, R1, NETWORK);
        self.asm.mov(R2, R1);
        self.asm.alu_imm(Alu::And, R1, 0x000f_ffff, R3);
        self.asm.shr(R2, 20);
        self.asm.alu_imm(Alu::And, R2, 0xff, R3);
        self.asm.load(Size::W, R3, R9, EXT_PROTO);
        self.asm.load(Size::B, R4, R9, NETWORK + 7);
        self.asm.load(Size::W, R5, R9, EXT_FRAG);
        for (part, bits) in [(R3, 8), (R4, 8), (R2, 8), (R5, 8)] {
            self.asm.shl(R1, bits);
            self.asm.alu(Alu::Or, R1, part);
        }
        self.put(word(Field::NwProto), R1);
        self.asm.jump_if_imm(Cmp::Eq, R5, 3, done);
        self.asm.load(Size::W, R8, R9, EXT_AT);
        self.asm.load(Size::W, R5, R9, EXT_END);
        // A header may end where the packet does, not behind.
        self.asm.jump_if(Cmp::Gt, R8, R5, done);
        self.asm.alu(Alu::Sub, R5, R8);
        self.asm.store(Size::D, R9, PAYLOAD, R5);
        self.transport(done);
    }

    /// Call the function until it returns 1.
    pub(super) fn run_loop(&mut self, function: Label) {
        self.asm.store(Size::D, R10, CONTEXT, R6);
        self.asm.store(Size::D, R10, CONTEXT + 8, R9);
        self.asm.set(R1, HEADERS);
        self.asm.function(R2, function);
        self.asm.mov(R3, R10);
        self.asm.alu_imm(Alu::Add, R3, i64::from(CONTEXT).cast_unsigned(), R4);
        self.asm.set(R4, 0);
        self.asm.call(Helper::Loop);
    }

    /// The functions of the loops.
    pub(super) fn ipv6_functions(&mut self) {
        self.extension();
        self.option();
    }

    fn return_constant(&mut self, value: u64) {
        self.asm.set(R0, value);
        self.asm.exit();
    }

    /// R8 is what the packet has from the offset in a word on, of which 8 bytes are read; to `less` where it has
    /// no 8 bytes.
    fn next_eight(&mut self, at: i16, less: Label) {
        self.asm.load(Size::D, R6, R2, 0);
        self.asm.load(Size::D, R9, R2, 8);
        self.asm.load(Size::W, R8, R9, at);
        self.asm.load(Size::W, R7, R9, EXT_END);
        self.asm.jump_if(Cmp::Gt, R8, R7, less);
        self.asm.alu(Alu::Sub, R7, R8);
        self.asm.jump_if_imm(Cmp::Lt, R7, 8, less);
        self.read(TRANSPORT, 8);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, less);
        self.asm.mov(R8, R7);
    }

    /// `extension(index, context)`: pass one extension header, where the next one is one.
    fn extension(&mut self) {
        self.asm.bind(self.places.extension);
        let asm = &mut self.asm;
        let (is, failed, auth, sized, unrouted) =
            (asm.label(), asm.label(), asm.label(), asm.label(), asm.label());
        let (fragment, later) = (asm.label(), asm.label());
        asm.load(Size::D, R9, R2, 8);
        asm.load(Size::W, R1, R9, EXT_PROTO);
        for header in [HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION] {
            asm.jump_if_imm(Cmp::Eq, R1, header, is);
        }
        self.return_constant(1);
        self.asm.bind(is);
        self.next_eight(EXT_AT, failed);
        // R2 becomes the header's length.
        self.asm.load(Size::W, R1, R9, EXT_PROTO);
        self.asm.load(Size::B, R2, R9, TRANSPORT + 1);
        self.asm.jump_if_imm(Cmp::Eq, R1, FRAGMENT, fragment);
        self.asm.jump_if_imm(Cmp::Eq, R1, AUTHENTICATION, auth);
        self.asm.alu_imm(Alu::Add, R2, 1, R3);
        self.asm.shl(R2, 3);
        self.asm.jump(sized);
        self.asm.bind(auth);
        self.asm.alu_imm(Alu::Add, R2, 2, R3);
        self.asm.shl(R2, 2);
        self.asm.bind(sized);
        self.asm.jump_if(Cmp::Gt, R2, R8, failed);
        self.asm.jump_if_imm(Cmp::Ne, R1, ROUTING, unrouted);
        self.asm.load(Size::B, R1, R9, TRANSPORT + 3);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, unrouted);
        self.asm.store_imm(Size::W, R9, ROUTED, 1);
        self.asm.bind(unrouted);
        self.advance();
        self.asm.bind(failed);
        self.asm.store_imm(Size::W, R9, EXT_FAILED, 1);
        self.return_constant(1);

        self.asm.bind(fragment);
        let atomic = self.asm.label();
        self.asm.set(R2, 8);
        self.number(Size::H, R1, TRANSPORT + 2);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, atomic);
        self.asm.store_imm(Size::W, R9, EXT_FRAG, 1);
        if self.survey.tracks {
            self.number(Size::W, R3, TRANSPORT + 4);
            self.asm.store(Size::W, R9, FRAGMENT_ID, R3);
            self.asm.load(Size::B, R3, R9, TRANSPORT);
            self.asm.store(Size::W, R9, FRAGMENT_PROTO, R3);
        }
        self.asm.alu_imm(Alu::And, R1, 0xfff8, R3);
        self.asm.jump_if_imm(Cmp::Ne, R1, 0, later);
        self.asm.bind(atomic);
        self.advance();
        self.asm.bind(later);
        // What follows is the middle of something: the protocol stays that of fragments.
        self.asm.store_imm(Size::W, R9, EXT_FRAG, 3);
        self.return_constant(1);
    }

    /// Go on behind a header of as many bytes as R2 says.
    fn advance(&mut self) {
        self.asm.load(Size::B, R1, R9, TRANSPORT);
        self.asm.store(Size::W, R9, EXT_PROTO, R1);
        self.asm.load(Size::W, R1, R9, EXT_AT);
        self.asm.alu(Alu::Add, R1, R2);
        self.asm.store(Size::W, R9, EXT_AT, R1);
        self.return_constant(0);
    }

    /// An ICMPv6 message that was read: more of it, where it is of neighbour discovery.
    pub(super) fn neighbour_discovery(&mut self, done: Label) {
        if !layout::ND.iter().any(|number| self.survey.words.contains(&number)) {
            return;
        }
        let (is, whole) = (self.asm.label(), self.asm.label());
        // Type and code.
        self.asm.load(Size::H, R1, R9, key_word(word(Field::IcmpType)));
        self.asm.jump_if_imm(Cmp::Eq, R1, SOLICITATION << 8, is);
        self.asm.jump_if_imm(Cmp::Ne, R1, ADVERTISEMENT << 8, done);
        self.asm.bind(is);
        self.asm.alu_imm(Alu::Add, R8, 4, R1);
        self.read(NETWORK, 4);
        self.number(Size::W, R1, NETWORK);
        self.asm.shl(R1, 32);
        self.put(word(Field::NdReserved), R1);
        self.asm.load(Size::D, R2, R9, PAYLOAD);
        self.asm.jump_if_imm(Cmp::Lt, R2, 24, done);
        self.asm.load(Size::W, R1, R9, L4);
        self.asm.alu(Alu::Add, R2, R1);
        self.asm.store(Size::W, R9, EXT_END, R2);
        self.asm.alu_imm(Alu::Add, R1, 24, R3);
        self.asm.store(Size::W, R9, EXT_AT, R1);
        self.asm.alu_imm(Alu::Add, R8, 4, R1);
        self.read(NETWORK, 16);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, done);
        self.asm.store_imm(Size::W, R9, EXT_FAILED, 0);
        self.run_loop(self.places.option);
        // The same option twice: target and addresses read 0.
        self.asm.load(Size::D, R1, R9, key_word(word(Field::NdReserved)));
        self.asm.load(Size::W, R2, R9, ND_TYPE);
        self.asm.alu(Alu::Or, R1, R2);
        self.put(word(Field::NdOptionsType), R1);
        self.asm.load(Size::W, R1, R9, EXT_FAILED);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, whole);
        for at in [ND_SLL_AT, ND_TLL_AT, ND_OPTION] {
            self.asm.store_imm(Size::W, R9, at, 0);
        }
        self.asm.jump(done);
        self.asm.bind(whole);
        self.asm.store_imm(Size::W, R9, ND_WHOLE, 1);
        for half in 0..2 {
            self.number(Size::D, R1, NETWORK + 8 * half);
            self.put(word(Field::NdTarget) + half as u8, R1);
        }
        for (at, field) in [(ND_FIRST, Field::NdSll), (ND_FIRST + 8, Field::NdTll)] {
            self.asm.load(Size::D, R1, R9, at);
            self.put(word(field), R1);
        }
    }

    /// `option(index, context)`: pass one option. Where the two addresses are is from the transport header on.
    fn option(&mut self) {
        self.asm.bind(self.places.option);
        let asm = &mut self.asm;
        let (over, other, target, twice, next) =
            (asm.label(), asm.label(), asm.label(), asm.label(), asm.label());
        self.next_eight(EXT_AT, over);
        self.asm.load(Size::B, R7, R9, TRANSPORT + 1);
        self.asm.shl(R7, 3);
        self.asm.jump_if_imm(Cmp::Eq, R7, 0, over);
        self.asm.jump_if(Cmp::Gt, R7, R8, over);
        self.asm.jump_if_imm(Cmp::Ne, R7, 8, other);
        // R2 is the address, above 16 bits of 0; R3 where it is.
        self.number(Size::D, R2, TRANSPORT);
        self.asm.shl(R2, 16);
        self.asm.load(Size::W, R3, R9, EXT_AT);
        self.asm.load(Size::W, R4, R9, L4);
        self.asm.alu(Alu::Sub, R3, R4);
        self.asm.alu_imm(Alu::Add, R3, 2, R4);
        self.asm.load(Size::B, R1, R9, TRANSPORT);
        self.asm.jump_if_imm(Cmp::Eq, R1, TARGET_ADDRESS, target);
        self.asm.jump_if_imm(Cmp::Ne, R1, SOURCE_ADDRESS, other);
        for (at, value) in [(ND_SLL_AT, ND_FIRST), (ND_TLL_AT, ND_FIRST + 8)] {
            let (new, known) = (self.asm.label(), self.asm.label());
            self.asm.load(Size::D, R4, R9, value);
            self.asm.jump_if_imm(Cmp::Ne, R4, 0, twice);
            self.asm.store(Size::D, R9, value, R2);
            self.asm.store(Size::W, R9, at, R3);
            self.asm.load(Size::W, R4, R9, ND_OPTION);
            self.asm.jump_if_imm(Cmp::Eq, R4, 0, new);
            self.asm.jump(known);
            self.asm.bind(new);
            self.asm.alu_imm(Alu::Sub, R3, 2, R4);
            self.asm.store(Size::W, R9, ND_OPTION, R3);
            self.asm.store(Size::W, R9, ND_TYPE, R1);
            self.asm.bind(known);
            if at == ND_SLL_AT {
                self.asm.jump(next);
                self.asm.bind(target);
            }
        }
        self.asm.bind(next);
        self.asm.bind(other);
        self.asm.load(Size::W, R1, R9, EXT_AT);
        self.asm.alu(Alu::Add, R1, R7);
        self.asm.store(Size::W, R9, EXT_AT, R1);
        self.return_constant(0);
        self.asm.bind(twice);
        self.asm.store_imm(Size::W, R9, EXT_FAILED, 1);
        self.asm.bind(over);
        self.return_constant(1);
    }

    /// Write what differs of the header.
    pub(super) fn flush_ipv6(&mut self) {
        let rest = word(Field::NwProto);
        if self.survey.written.contains(&rest) {
            self.flush_class_and_label(rest);
            let (hops, same) = (Part { word: rest, shift: 16, bytes: 1, at: 7 }, self.asm.label());
            self.changed(&hops, same);
            Self::store_part(&mut self.asm, &hops, L3);
            self.asm.bind(same);
            Self::settle(&mut self.asm, rest);
        }
        for (field, at) in [(Field::Ipv6Src, 8), (Field::Ipv6Dst, 24)] {
            for half in 0..2 {
                let number = word(field) + half as u8;
                if !self.survey.written.contains(&number) {
                    continue;
                }
                for (shift, within) in [(32, 0), (0, 4)] {
                    let part = Part { word: number, shift, bytes: 4, at: at + 8 * half + within };
                    let (same, unsummed) = (self.asm.label(), self.asm.label());
                    self.changed(&part, same);
                    if field == Field::Ipv6Dst {
                        // The checksum is over the last destination of a route.
                        self.asm.load(Size::W, R1, R9, ROUTED);
                        self.asm.jump_if_imm(Cmp::Ne, R1, 0, unsummed);
                    }
                    self.replace_address_checksum();
                    self.asm.bind(unsummed);
                    Self::store_part(&mut self.asm, &part, L3);
                    self.asm.bind(same);
                }
                Self::settle(&mut self.asm, number);
            }
        }
    }

    fn flush_class_and_label(&mut self, rest: u8) {
        let same = self.asm.label();
        Self::difference(&mut self.asm, rest);
        self.asm.alu_imm(Alu::And, R1, 0x000f_ffff_0000_ff00, R2);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, same);
        // The version stays what it is.
        self.asm.load(Size::W, R8, R9, L3);
        self.read(TRANSPORT, 1);
        self.asm.load(Size::B, R1, R9, TRANSPORT);
        self.asm.shr(R1, 4);
        self.asm.shl(R1, 28);
        self.asm.load(Size::D, R2, R9, key_word(rest));
        self.asm.mov(R3, R2);
        self.asm.shr(R3, 32);
        self.asm.alu(Alu::Or, R1, R3);
        self.asm.shr(R2, 8);
        self.asm.alu_imm(Alu::And, R2, 0xff, R3);
        self.asm.shl(R2, 20);
        self.asm.alu(Alu::Or, R1, R2);
        self.asm.store(Size::D, R10, -24, R1);
        let word = Part { word: rest, shift: 0, bytes: 4, at: 0 };
        Self::store_part(&mut self.asm, &word, L3);
        self.asm.bind(same);
    }

    /// Write what differs of neighbour discovery.
    pub(super) fn flush_discovery(&mut self) {
        if !layout::ND.iter().any(|number| self.survey.written.contains(&number)) {
            return;
        }
        let (done, same_type) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R1, R9, ND_WHOLE);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, done);
        let (reserved, target) = (word(Field::NdReserved), word(Field::NdTarget));
        let halves = [(32, 0), (0, 4)];
        let target = (0..2).flat_map(|half| {
            halves.map(|(shift, at)| Part {
                word: target + half,
                shift,
                bytes: 4,
                at: 8 + 8 * u64::from(half) + at,
            })
        });
        let fixed = std::iter::once(Part { word: reserved, shift: 32, bytes: 4, at: 4 }).chain(target);
        for part in fixed.filter(|part| self.survey.written.contains(&part.word)).collect::<Vec<_>>() {
            let same = self.asm.label();
            self.changed(&part, same);
            self.replace_message_checksum(&part);
            Self::store_part(&mut self.asm, &part, L4);
            self.asm.bind(same);
        }
        if self.survey.written.contains(&reserved) {
            let part = Part { word: reserved, shift: 0, bytes: 1, at: 0 };
            self.asm.load(Size::W, R8, R9, ND_OPTION);
            self.asm.jump_if_imm(Cmp::Eq, R8, 0, same_type);
            self.changed(&part, same_type);
            self.replace_message_checksum(&part);
            self.store_part_behind(&part, L4);
            self.change_roles();
            self.asm.bind(same_type);
        }
        for (field, at) in [(Field::NdSll, ND_SLL_AT), (Field::NdTll, ND_TLL_AT)] {
            let absent = self.asm.label();
            if !self.survey.written.contains(&word(field)) {
                continue;
            }
            self.asm.load(Size::W, R8, R9, at);
            self.asm.jump_if_imm(Cmp::Eq, R8, 0, absent);
            for (shift, bytes, at) in [(32, 4, 0), (16, 2, 4)] {
                let (part, same) = (Part { word: word(field), shift, bytes, at }, self.asm.label());
                self.changed(&part, same);
                self.replace_message_checksum(&part);
                self.store_part_behind(&part, L4);
                self.asm.bind(same);
            }
            self.asm.bind(absent);
        }
        for number in
            layout::ND.iter().filter(|number| self.survey.written.contains(number)).collect::<Vec<_>>()
        {
            Self::settle(&mut self.asm, number);
        }
        self.asm.bind(done);
    }

    /// The first option's type is another now, and so is what its address is.
    fn change_roles(&mut self) {
        let (source, done) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::B, R1, R9, key_word(word(Field::NdOptionsType)));
        self.asm.alu_imm(Alu::Add, R8, 2, R2);
        self.asm.jump_if_imm(Cmp::Eq, R1, SOURCE_ADDRESS, source);
        self.asm.jump_if_imm(Cmp::Ne, R1, TARGET_ADDRESS, done);
        self.asm.store(Size::W, R9, ND_TLL_AT, R8);
        self.asm.store_imm(Size::W, R9, ND_SLL_AT, 0);
        self.asm.jump(done);
        self.asm.bind(source);
        self.asm.store(Size::W, R9, ND_SLL_AT, R8);
        self.asm.store_imm(Size::W, R9, ND_TLL_AT, 0);
        self.asm.bind(done);
    }
}
