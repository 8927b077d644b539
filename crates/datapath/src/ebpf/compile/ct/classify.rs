//! What a packet is to the tracker: as `pipeline::conntrack::extract` says, and, of fragments, as was said
//! of the first one.

use super::super::Program;
use super::super::layout::{
    EXT_FRAG, FRAGMENT_ID, FRAGMENT_PROTO, L3, L4, NOW, PAYLOAD, TRANSPORT, key_word, word,
};
use super::layout::{
    CLASS, CLASS_ERROR, CLASS_FLOW, CLASS_INVALID, CONNECTION, DIRECTION, FAMILY, FRAGMENT_CLASS,
    FRAGMENT_CONNECTION, FRAGMENT_DIRECTION, FRAGMENT_EXPIRES, FRAGMENT_KEY, GROUP_SHIFT, HAS_PORTS, ICMP,
    ICMP_ERROR, ICMP_REPLY, KEY, KIND_OF_IPV6, NEW_FRAGMENT, PROTOCOLS, QUOTED, QUOTED_AT, QUOTED_FAILED,
    QUOTED_LENGTH, QUOTED_PROTO, QUOTED_REST, SEGMENT_NONE, SEGMENTS, STEP, STEP_DATAGRAM, STEP_REPLY,
    STEP_SHIFT, STEP_UNKNOWN, ZONE,
};
use super::{FRAG_FIRST, FRAG_LATER, ICMP_BY_FAMILY};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::Field;
use footbridge_pipeline::conntrack::rules::FRAGMENT_LIFETIME;

/// IP headers without options and extensions, and what an ICMP message has before the packet that it quotes.
const IPV4_HEADER: u64 = 20;
const IPV6_HEADER: u64 = 40;
const ICMP_HEADER: u64 = 8;
const UDP_HEADER: i32 = 8;

const PROTO_ICMP: i32 = 1;
const PROTO_TCP: i32 = 6;
const PROTO_ICMPV6: i32 = 58;
const PROTO_SCTP: i32 = 132;
/// IPv6's extension headers: those whose length is in units of 8 bytes, fragments, authentication.
const EXTENSIONS: [i32; 3] = [0, 43, 60];
const FRAGMENT: i32 = 44;
const AUTHENTICATION: i32 = 51;

impl Program<'_> {
    /// Say in the scratch what the packet is, or go to `invalid`.
    pub(super) fn classify(&mut self, invalid: Label) {
        let asm = &mut self.asm;
        let (ip, ipv6, later, ends, keyed) =
            (asm.label(), asm.label(), asm.label(), asm.label(), asm.label());
        asm.store_imm(Size::W, R9, FAMILY, 0);
        asm.load(Size::H, R1, R9, key_word(word(Field::EthType)));
        asm.jump_if_imm(Cmp::Eq, R1, 0x0800, ip);
        asm.jump_if_imm(Cmp::Eq, R1, 0x86dd, ipv6);
        asm.jump(invalid);
        asm.bind(ipv6);
        asm.store_imm(Size::W, R9, FAMILY, KIND_OF_IPV6.into());
        asm.bind(ip);
        asm.load(Size::W, R1, R9, L3);
        asm.jump_if_imm(Cmp::Eq, R1, 0, invalid);
        asm.load(Size::W, R1, R9, EXT_FRAG);
        asm.jump_if_imm(Cmp::Eq, R1, FRAG_LATER, later);
        asm.store_imm(Size::W, R9, CLASS, CLASS_FLOW);
        asm.store_imm(Size::W, R9, STEP, STEP_DATAGRAM);
        self.own_addresses(CONNECTION + 8);
        self.transport_of(invalid, ends);
        self.asm.bind(ends);
        self.key_of_ends();
        self.asm.jump(keyed);
        self.asm.bind(later);
        self.later_fragment(invalid);
        self.asm.bind(keyed);
        self.step_in_group();
    }

    /// The packet's source and destination, of two words each, to the scratch.
    fn own_addresses(&mut self, to: i16) {
        let (ipv6, done) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R1, R9, FAMILY);
        self.asm.jump_if_imm(Cmp::Ne, R1, 0, ipv6);
        for (at, half) in [(0, 4), (16, 0)] {
            self.asm.store_imm(Size::D, R9, to + at, 0);
            self.asm.load(Size::W, R1, R9, key_word(word(Field::NwSrc)) + half);
            self.asm.store(Size::D, R9, to + at + 8, R1);
        }
        self.asm.jump(done);
        self.asm.bind(ipv6);
        for (at, field) in [(0, Field::Ipv6Src), (16, Field::Ipv6Dst)] {
            for half in [0, 8] {
                self.asm.load(Size::D, R1, R9, key_word(word(field)) + half);
                self.asm.store(Size::D, R9, to + at + half, R1);
            }
        }
        self.asm.bind(done);
    }

    /// R4 is what the rules say of the protocol in R2.
    fn protocol_rule(&mut self) {
        self.asm.alu_imm(Alu::And, R2, 0xff, R4);
        self.asm.map_value(R4, self.maps.tracker.rules, PROTOCOLS);
        self.asm.alu(Alu::Add, R4, R2);
        self.asm.load(Size::B, R4, R4, 0);
    }

    /// From the transport header to the step, and the ends as [`Program::key_of_ends`] takes them.
    fn transport_of(&mut self, invalid: Label, ends: Label) {
        let asm = &mut self.asm;
        let (portless, icmp, tcp, ports) = (asm.label(), asm.label(), asm.label(), asm.label());
        asm.load(Size::B, R2, R9, key_word(word(Field::NwProto)) + 3);
        asm.load(Size::W, R1, R9, L4);
        asm.jump_if_imm(Cmp::Eq, R1, 0, portless);
        asm.load(Size::D, R3, R9, key_word(word(Field::TcpSrc)));
        for proto in [PROTO_ICMP, PROTO_ICMPV6] {
            asm.jump_if_imm(Cmp::Eq, R2, proto, icmp);
        }
        // SCTP's ports are taken as they are.
        asm.jump_if_imm(Cmp::Eq, R2, PROTO_SCTP, ports);
        // Port 0 is none (RFC 6335 §6).
        for shift in [48, 32] {
            asm.mov(R4, R3);
            asm.shr(R4, shift);
            asm.alu_imm(Alu::And, R4, 0xffff, R5);
            asm.jump_if_imm(Cmp::Eq, R4, 0, invalid);
        }
        asm.jump_if_imm(Cmp::Eq, R2, PROTO_TCP, tcp);
        self.number(Size::H, R4, TRANSPORT + 4);
        let asm = &mut self.asm;
        asm.jump_if_imm(Cmp::Lt, R4, UDP_HEADER, invalid);
        // A first fragment's length is that of the whole datagram.
        asm.load(Size::W, R1, R9, EXT_FRAG);
        asm.jump_if_imm(Cmp::Ne, R1, 0, ports);
        asm.load(Size::D, R5, R9, PAYLOAD);
        asm.jump_if(Cmp::Gt, R4, R5, invalid);
        asm.jump(ports);

        asm.bind(tcp);
        asm.mov(R4, R3);
        asm.shr(R4, 16);
        asm.alu_imm(Alu::And, R4, 0x3f, R5);
        asm.map_value(R5, self.maps.tracker.rules, SEGMENTS);
        asm.alu(Alu::Add, R5, R4);
        asm.load(Size::B, R4, R5, 0);
        asm.jump_if_imm(Cmp::Eq, R4, SEGMENT_NONE.into(), invalid);
        asm.store(Size::W, R9, STEP, R4);
        asm.bind(ports);
        asm.shr(R3, 32);
        asm.set(R4, 0);
        asm.set(R5, 0);
        asm.jump(ends);

        asm.bind(portless);
        self.protocol_rule();
        let asm = &mut self.asm;
        asm.jump_if_imm(Cmp::Set, R4, HAS_PORTS.into(), invalid);
        for register in [R3, R4, R5] {
            asm.set(register, 0);
        }
        asm.jump(ends);
        asm.bind(icmp);
        self.icmp_message(invalid, ends);
    }

    /// ICMP, by the protocol in R2: R3 has type and code.
    fn icmp_message(&mut self, invalid: Label, ends: Label) {
        let asm = &mut self.asm;
        let (ipv6, family, error) = (asm.label(), asm.label(), asm.label());
        // That of the other version of IP is none.
        asm.load(Size::W, R1, R9, FAMILY);
        asm.jump_if_imm(Cmp::Ne, R1, 0, ipv6);
        asm.jump_if_imm(Cmp::Ne, R2, PROTO_ICMP, invalid);
        asm.jump(family);
        asm.bind(ipv6);
        asm.jump_if_imm(Cmp::Ne, R2, PROTO_ICMPV6, invalid);
        asm.bind(family);
        asm.mov(R1, R3);
        asm.shr(R1, 8);
        asm.alu_imm(Alu::And, R1, 0xff, R4);
        asm.alu_imm(Alu::And, R3, 0xff, R4);
        self.icmp_rule(invalid, Some(error));
        self.number(Size::H, R1, TRANSPORT + 4);
        self.identifier();
        self.asm.jump(ends);
        self.asm.bind(error);
        self.quoted(invalid, ends);
    }

    /// Of the ICMP type in R1 and the code in R3: R4 is the type of the request, and R5 whether it is a reply.
    fn icmp_rule(&mut self, invalid: Label, error: Option<Label>) {
        let asm = &mut self.asm;
        let (done, reply) = (asm.label(), asm.label());
        asm.load(Size::W, R4, R9, FAMILY);
        asm.shl(R4, ICMP_BY_FAMILY);
        asm.alu(Alu::Or, R4, R1);
        asm.alu_imm(Alu::And, R4, 0x1ff, R5);
        asm.shl(R4, 1);
        asm.map_value(R5, self.maps.tracker.rules, ICMP);
        asm.alu(Alu::Add, R5, R4);
        asm.load(Size::H, R4, R5, 0);
        asm.mov(R5, R4);
        asm.shr(R5, 8);
        asm.jump_if_imm(Cmp::Eq, R5, 0, invalid);
        asm.jump_if_imm(Cmp::Eq, R5, ICMP_ERROR, error.unwrap_or(invalid));
        asm.jump_if_imm(Cmp::Ne, R3, 0, invalid);
        asm.jump_if_imm(Cmp::Eq, R5, ICMP_REPLY, reply);
        asm.mov(R4, R1);
        asm.set(R5, 0);
        asm.jump(done);
        asm.bind(reply);
        asm.alu_imm(Alu::And, R4, 0xff, R5);
        asm.set(R5, 1);
        asm.store_imm(Size::W, R9, STEP, STEP_REPLY);
        asm.bind(done);
    }

    /// R3 is the identifier in R1, in both ports' place.
    fn identifier(&mut self) {
        self.asm.mov(R3, R1);
        self.asm.shl(R3, 16);
        self.asm.alu(Alu::Or, R3, R1);
    }

    /// An ICMP error: the ends are those of the packet that it quotes, of which the IP header and at least 8
    /// bytes more should be there.
    fn quoted(&mut self, invalid: Label, ends: Label) {
        let asm = &mut self.asm;
        let (icmp, other, portless, ipv6, addressed) =
            (asm.label(), asm.label(), asm.label(), asm.label(), asm.label());
        asm.store_imm(Size::W, R9, CLASS, CLASS_ERROR);
        asm.load(Size::D, R1, R9, PAYLOAD);
        asm.alu_imm(Alu::Sub, R1, ICMP_HEADER, R2);
        asm.store(Size::W, R9, QUOTED_LENGTH, R1);
        asm.load(Size::W, R8, R9, L4);
        asm.alu_imm(Alu::Add, R8, ICMP_HEADER, R1);
        asm.load(Size::W, R1, R9, FAMILY);
        asm.jump_if_imm(Cmp::Ne, R1, 0, ipv6);
        self.quoted_ipv4(invalid);
        self.asm.jump(addressed);
        self.asm.bind(ipv6);
        self.quoted_ipv6(invalid);
        self.asm.bind(addressed);
        // R5 is how much there is from the payload on, R8 where that is in the frame.
        let asm = &mut self.asm;
        asm.load(Size::W, R1, R9, QUOTED_AT);
        asm.load(Size::W, R5, R9, QUOTED_LENGTH);
        asm.jump_if(Cmp::Lt, R5, R1, invalid);
        asm.alu(Alu::Sub, R5, R1);
        asm.load(Size::W, R8, R9, L4);
        asm.alu_imm(Alu::Add, R8, ICMP_HEADER, R2);
        asm.alu(Alu::Add, R8, R1);
        asm.load(Size::W, R2, R9, QUOTED_PROTO);
        asm.load(Size::W, R1, R9, FAMILY);
        let v4 = asm.label();
        asm.jump_if_imm(Cmp::Eq, R1, 0, v4);
        asm.jump_if_imm(Cmp::Eq, R2, PROTO_ICMPV6, icmp);
        asm.jump(other);
        asm.bind(v4);
        asm.jump_if_imm(Cmp::Eq, R2, PROTO_ICMP, icmp);
        asm.bind(other);
        self.protocol_rule();
        let asm = &mut self.asm;
        let has_ports = asm.label();
        asm.jump_if_imm(Cmp::Set, R4, HAS_PORTS.into(), has_ports);
        asm.jump(portless);
        asm.bind(has_ports);
        asm.jump_if_imm(Cmp::Lt, R5, 4, invalid);
        self.read(QUOTED_REST, 4);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, invalid);
        self.number(Size::W, R3, QUOTED_REST);
        let asm = &mut self.asm;
        asm.load(Size::W, R2, R9, QUOTED_PROTO);
        asm.set(R4, 0);
        asm.set(R5, 0);
        asm.jump(ends);

        asm.bind(icmp);
        asm.jump_if_imm(Cmp::Lt, R5, 6, invalid);
        self.read(QUOTED_REST, 6);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, invalid);
        self.asm.load(Size::B, R1, R9, QUOTED_REST);
        self.asm.load(Size::B, R3, R9, QUOTED_REST + 1);
        self.icmp_rule(invalid, None);
        self.number(Size::H, R1, QUOTED_REST + 4);
        self.identifier();
        self.asm.load(Size::W, R2, R9, QUOTED_PROTO);
        self.asm.jump(ends);

        self.asm.bind(portless);
        for register in [R3, R4, R5] {
            self.asm.set(register, 0);
        }
        self.asm.jump(ends);
    }

    /// The header at the offset in R8: protocol, addresses, and where the payload begins.
    fn quoted_ipv4(&mut self, invalid: Label) {
        self.asm.load(Size::W, R1, R9, QUOTED_LENGTH);
        self.asm.jump_if_imm(Cmp::Lt, R1, IPV4_HEADER as i32, invalid);
        self.read(QUOTED, IPV4_HEADER);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, invalid);
        let asm = &mut self.asm;
        asm.load(Size::B, R1, R9, QUOTED);
        asm.alu_imm(Alu::And, R1, 0x0f, R2);
        asm.shl(R1, 2);
        asm.jump_if_imm(Cmp::Lt, R1, IPV4_HEADER as i32, invalid);
        asm.store(Size::W, R9, QUOTED_AT, R1);
        // Of a later fragment the ports are not there.
        self.number(Size::H, R2, QUOTED + 6);
        self.asm.alu_imm(Alu::And, R2, 0x1fff, R3);
        self.asm.jump_if_imm(Cmp::Ne, R2, 0, invalid);
        // It goes to whoever sent the packet.
        self.number(Size::W, R2, QUOTED + 12);
        let asm = &mut self.asm;
        asm.load(Size::D, R3, R9, CONNECTION + 32);
        asm.jump_if(Cmp::Ne, R2, R3, invalid);
        asm.store(Size::D, R9, CONNECTION + 16, R2);
        self.number(Size::W, R2, QUOTED + 16);
        self.asm.store(Size::D, R9, CONNECTION + 32, R2);
        self.asm.load(Size::B, R2, R9, QUOTED + 9);
        self.asm.store(Size::W, R9, QUOTED_PROTO, R2);
    }

    fn quoted_ipv6(&mut self, invalid: Label) {
        self.asm.load(Size::W, R1, R9, QUOTED_LENGTH);
        self.asm.jump_if_imm(Cmp::Lt, R1, IPV6_HEADER as i32, invalid);
        self.read(QUOTED, IPV6_HEADER);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, invalid);
        // It goes to whoever sent the packet.
        for half in [0, 8] {
            self.number(Size::D, R2, QUOTED + 8 + half);
            self.asm.load(Size::D, R3, R9, CONNECTION + 24 + half);
            self.asm.jump_if(Cmp::Ne, R2, R3, invalid);
            self.asm.store(Size::D, R9, CONNECTION + 8 + half, R2);
        }
        for half in [0, 8] {
            self.number(Size::D, R2, QUOTED + 24 + half);
            self.asm.store(Size::D, R9, CONNECTION + 24 + half, R2);
        }
        self.asm.load(Size::B, R2, R9, QUOTED + 6);
        self.asm.store(Size::W, R9, QUOTED_PROTO, R2);
        self.asm.store_imm(Size::W, R9, QUOTED_AT, IPV6_HEADER as i32);
        self.asm.store_imm(Size::W, R9, QUOTED_FAILED, 0);
        self.run_loop(self.places.quoted_extension);
        self.asm.load(Size::W, R1, R9, QUOTED_FAILED);
        self.asm.jump_if_imm(Cmp::Ne, R1, 0, invalid);
    }

    /// `quoted_extension(index, context)`: pass one extension header of the quoted packet, where the next one is one.
    pub(super) fn quoted_extension_function(&mut self) {
        let asm = &mut self.asm;
        let (is, fragment, auth, failed, pass) =
            (asm.label(), asm.label(), asm.label(), asm.label(), asm.label());
        asm.load(Size::D, R6, R2, 0);
        asm.load(Size::D, R9, R2, 8);
        asm.load(Size::W, R1, R9, QUOTED_PROTO);
        for proto in EXTENSIONS.iter().chain(&[FRAGMENT, AUTHENTICATION]) {
            asm.jump_if_imm(Cmp::Eq, R1, *proto, is);
        }
        asm.set(R0, 1);
        asm.exit();
        asm.bind(is);
        // R7 is how much there is of it, R8 where it is in the frame.
        asm.load(Size::W, R2, R9, QUOTED_AT);
        asm.load(Size::W, R7, R9, QUOTED_LENGTH);
        asm.jump_if(Cmp::Lt, R7, R2, failed);
        asm.alu(Alu::Sub, R7, R2);
        asm.load(Size::W, R8, R9, L4);
        asm.alu_imm(Alu::Add, R8, ICMP_HEADER, R3);
        asm.alu(Alu::Add, R8, R2);
        asm.jump_if_imm(Cmp::Lt, R7, 2, failed);
        self.read(QUOTED_REST, 2);
        let asm = &mut self.asm;
        asm.jump_if_imm(Cmp::Ne, R0, 0, failed);
        // R2 becomes the header's length.
        asm.load(Size::W, R1, R9, QUOTED_PROTO);
        asm.load(Size::B, R2, R9, QUOTED_REST + 1);
        asm.jump_if_imm(Cmp::Eq, R1, FRAGMENT, fragment);
        asm.jump_if_imm(Cmp::Eq, R1, AUTHENTICATION, auth);
        asm.alu_imm(Alu::Add, R2, 1, R3);
        asm.shl(R2, 3);
        asm.jump(pass);
        asm.bind(auth);
        asm.alu_imm(Alu::Add, R2, 2, R3);
        asm.shl(R2, 2);
        asm.jump(pass);
        asm.bind(fragment);
        asm.jump_if_imm(Cmp::Lt, R7, 4, failed);
        self.read(QUOTED_REST, 4);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, failed);
        self.number(Size::H, R1, QUOTED_REST + 2);
        let asm = &mut self.asm;
        asm.alu_imm(Alu::And, R1, 0xfff8, R3);
        asm.jump_if_imm(Cmp::Ne, R1, 0, failed);
        asm.set(R2, 8);
        asm.bind(pass);
        asm.load(Size::B, R1, R9, QUOTED_REST);
        asm.store(Size::W, R9, QUOTED_PROTO, R1);
        asm.load(Size::W, R1, R9, QUOTED_AT);
        asm.alu(Alu::Add, R1, R2);
        asm.store(Size::W, R9, QUOTED_AT, R1);
        asm.set(R0, 0);
        asm.exit();
        asm.bind(failed);
        asm.store_imm(Size::W, R9, QUOTED_FAILED, 1);
        asm.set(R0, 1);
        asm.exit();
    }

    /// The connection's key, and the direction. Source and destination address are in the key as if the source were
    /// the low end; R2 is the protocol, R3 source and destination port, R4 the type of ICMP requests or 0, R5
    /// whether it is a reply of ICMP.
    fn key_of_ends(&mut self) {
        let asm = &mut self.asm;
        let (icmp, straight, swapped, store) = (asm.label(), asm.label(), asm.label(), asm.label());
        // The first word but for the ports.
        asm.shl(R2, 8);
        asm.alu(Alu::Or, R2, R4);
        asm.load(Size::W, R1, R9, FAMILY);
        asm.alu(Alu::Or, R2, R1);
        asm.load(Size::H, R1, R9, ZONE);
        asm.shl(R1, 16);
        asm.alu(Alu::Or, R2, R1);
        asm.shl(R2, 32);
        // Two hosts may ask each other with one ICMP identifier: there the asking end is the low one.
        asm.jump_if_imm(Cmp::Ne, R4, 0, icmp);
        for half in [8, 16] {
            asm.load(Size::D, R0, R9, CONNECTION + half);
            asm.load(Size::D, R1, R9, CONNECTION + half + 16);
            asm.jump_if(Cmp::Lt, R1, R0, swapped);
            asm.jump_if(Cmp::Gt, R1, R0, straight);
        }
        asm.mov(R4, R3);
        asm.shr(R4, 16);
        asm.mov(R5, R3);
        asm.alu_imm(Alu::And, R5, 0xffff, R1);
        asm.jump_if(Cmp::Lt, R5, R4, swapped);
        asm.jump(straight);
        asm.bind(icmp);
        asm.jump_if_imm(Cmp::Eq, R5, 0, straight);
        asm.bind(swapped);
        for half in [8, 16] {
            asm.load(Size::D, R0, R9, CONNECTION + half);
            asm.load(Size::D, R1, R9, CONNECTION + half + 16);
            asm.store(Size::D, R9, CONNECTION + half, R1);
            asm.store(Size::D, R9, CONNECTION + half + 16, R0);
        }
        asm.mov(R4, R3);
        asm.shr(R4, 16);
        asm.alu_imm(Alu::And, R3, 0xffff, R5);
        asm.shl(R3, 16);
        asm.alu(Alu::Or, R3, R4);
        asm.store_imm(Size::W, R9, DIRECTION, 1);
        asm.jump(store);
        asm.bind(straight);
        asm.store_imm(Size::W, R9, DIRECTION, 0);
        asm.bind(store);
        asm.alu(Alu::Or, R2, R3);
        asm.store(Size::D, R9, CONNECTION, R2);
    }

    /// Have the step's number, with the protocol's group, be where its rules begin.
    fn step_in_group(&mut self) {
        self.asm.load(Size::B, R2, R9, CONNECTION + 5);
        self.protocol_rule();
        let asm = &mut self.asm;
        asm.alu_imm(Alu::And, R4, 3, R5);
        asm.shl(R4, GROUP_SHIFT);
        asm.load(Size::W, R1, R9, STEP);
        asm.shl(R1, STEP_SHIFT);
        asm.alu(Alu::Or, R1, R4);
        asm.store(Size::W, R9, STEP, R1);
    }

    /// The key of the packet's datagram.
    fn fragment_key(&mut self) {
        let asm = &mut self.asm;
        asm.load(Size::H, R1, R9, ZONE);
        asm.shl(R1, 8);
        asm.load(Size::W, R2, R9, FRAGMENT_PROTO);
        asm.alu(Alu::Or, R1, R2);
        asm.shl(R1, 8);
        asm.load(Size::W, R2, R9, FAMILY);
        asm.alu(Alu::Or, R1, R2);
        asm.shl(R1, 32);
        asm.load(Size::W, R2, R9, FRAGMENT_ID);
        asm.alu(Alu::Or, R1, R2);
        asm.store(Size::D, R9, FRAGMENT_KEY, R1);
        self.own_addresses(FRAGMENT_KEY + 8);
    }

    /// A later fragment is what its first one was, if that came.
    fn later_fragment(&mut self, invalid: Label) {
        self.fragment_key();
        self.look_up(self.maps.tracker.fragments, FRAGMENT_KEY);
        let asm = &mut self.asm;
        asm.jump_if_imm(Cmp::Eq, R0, 0, invalid);
        asm.load(Size::D, R1, R0, FRAGMENT_EXPIRES);
        asm.load(Size::D, R2, R9, NOW);
        asm.jump_if(Cmp::Le, R1, R2, invalid);
        asm.load(Size::W, R1, R0, FRAGMENT_CLASS);
        asm.jump_if_imm(Cmp::Eq, R1, CLASS_INVALID, invalid);
        asm.store(Size::W, R9, CLASS, R1);
        asm.load(Size::W, R1, R0, FRAGMENT_DIRECTION);
        asm.store(Size::W, R9, DIRECTION, R1);
        for offset in (0..KEY as i16).step_by(8) {
            asm.load(Size::D, R1, R0, FRAGMENT_CONNECTION + offset);
            asm.store(Size::D, R9, CONNECTION + offset, R1);
        }
        asm.store_imm(Size::W, R9, STEP, STEP_UNKNOWN);
    }

    /// A first fragment says what the later ones are.
    pub(super) fn remember_fragment(&mut self) {
        let done = self.asm.label();
        self.asm.load(Size::W, R1, R9, EXT_FRAG);
        self.asm.jump_if_imm(Cmp::Ne, R1, FRAG_FIRST, done);
        self.fragment_key();
        let asm = &mut self.asm;
        asm.load(Size::D, R1, R9, NOW);
        asm.alu_imm(Alu::Add, R1, FRAGMENT_LIFETIME.as_nanos() as u64, R2);
        asm.store(Size::D, R9, NEW_FRAGMENT + FRAGMENT_EXPIRES, R1);
        asm.load(Size::W, R1, R9, CLASS);
        asm.store(Size::W, R9, NEW_FRAGMENT + FRAGMENT_CLASS, R1);
        asm.load(Size::W, R1, R9, DIRECTION);
        asm.store(Size::W, R9, NEW_FRAGMENT + FRAGMENT_DIRECTION, R1);
        for offset in (0..KEY as i16).step_by(8) {
            asm.load(Size::D, R1, R9, CONNECTION + offset);
            asm.store(Size::D, R9, NEW_FRAGMENT + FRAGMENT_CONNECTION + offset, R1);
        }
        asm.map(R1, self.maps.tracker.fragments);
        self.scratch(R2, FRAGMENT_KEY);
        self.scratch(R3, NEW_FRAGMENT);
        self.asm.set(R4, 0);
        self.asm.call(Helper::MapUpdateElem);
        self.asm.bind(done);
    }
}
