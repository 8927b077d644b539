//! The end of a packet's way: what differs from the frame is written to it, checksums by difference,
//! and the port's device is found.

#[cfg(test)]
use super::Outputs;
use super::Program;
use super::action::HIGHEST_PORT;
use super::layout::{
    self, DROPS, FIRST_TAGS, FRAME_TAG_COUNT, L3, L4, L4_PROTO, LENGTH, TX_BYTES, TX_ERRORS, TX_PACKETS,
    frame_word, key_word, word,
};
#[cfg(test)]
use super::parse::{SKB_VLAN_PRESENT, SKB_VLAN_PROTO, SKB_VLAN_TCI};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use crate::ebpf::asm::{Alu, Asm, Cmp, Helper, Label, Size};
use footbridge_openflow::Field;
use footbridge_pipeline::DropReason;
#[cfg(test)]
use record::{RECORDED_BYTES, RECORDS};

/// Drop the packet, of what a TC program can return (linux/pkt_cls.h).
pub(crate) const TC_ACT_SHOT: u64 = 2;
/// The addresses are of the pseudo-header that the checksum covers (linux/bpf.h).
const BPF_F_PSEUDO_HDR: u64 = 0x10;
/// A checksum of 0 says that there is none.
const BPF_F_MARK_MANGLED_0: u64 = 0x20;

/// A frame of this length fits every device: the least MTU of IPv4 (RFC 791), and the Ethernet header.
const ALWAYS_FITS: i32 = 68 + 14;

/// On the stack of `prepare`: the output port's value while the frame is written.
const KEPT: i16 = -64;

/// One field of a header, as it is written to the frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The key word, and the field's lowest bit and number of bytes in it.
    pub(super) word: u8,
    pub(super) shift: u32,
    pub(super) bytes: u64,
    /// Where it is, from the header's beginning.
    pub(super) at: u64,
}

impl Program<'_> {
    /// The last parts of the program: where packets end, and the function that readies frames.
    pub(super) fn finish(&mut self) {
        self.ends();
        self.find_conjunctions();
        self.normal();
        self.punts();
        self.asm.bind(self.places.prepare);
        self.prepare();
        self.settle_tags();
        self.ipv6_functions();
        self.crc();
        self.tracker();
    }

    /// `prepare(packet, scratch, port)`: bring the frame up to date. Returns the device's index; 0 where
    /// the frame is lost and counted at that port; below 0, -1 for the first drop reason, -2 for the
    /// second, and so on, where there is no such port.
    fn prepare(&mut self) {
        let asm = &mut self.asm;
        let (nowhere, unsent, fits, down) = (asm.label(), asm.label(), asm.label(), asm.label());
        asm.mov(R6, R1);
        asm.mov(R9, R2);
        asm.mov(R7, R3);
        asm.jump_if_imm(Cmp::Gt, R7, HIGHEST_PORT, nowhere);
        asm.store(Size::W, R10, -4, R7);
        self.lookup_on_stack(self.maps.out_ports, -4);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, nowhere);
        self.asm.load(Size::D, R8, R0, 0);
        self.asm.jump_if_imm(Cmp::Eq, R8, 0, nowhere);
        self.tunnel_header(nowhere);
        let full = self.asm.label();
        self.asm.store(Size::D, R10, KEPT, R8);
        self.flush_tags(full);
        self.flush();
        self.asm.load(Size::D, R8, R10, KEPT);
        #[cfg(test)]
        if let Outputs::Record(map) = self.outputs {
            self.record(map);
        }
        self.asm.mov(R1, R8);
        self.asm.shr(R1, 32);
        self.asm.alu_imm(Alu::And, R1, 0xffff, R2);
        self.asm.store(Size::W, R10, -4, R1);
        self.lookup_on_stack(self.maps.port_counters, -4);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, nowhere);
        self.asm.shl(R8, 32);
        self.asm.shr(R8, 32);
        self.asm.jump_if_imm(Cmp::Eq, R8, 0, down);
        self.frame_length();
        self.asm.jump_if_imm(Cmp::Le, R1, ALWAYS_FITS, fits);
        // Superframes the kernel cuts up; what else is too long it would drop unseen.
        self.asm.mov(R7, R0);
        self.asm.store_imm(Size::W, R10, -4, 0);
        self.asm.mov(R1, R6);
        self.asm.mov(R2, R8);
        self.asm.mov(R3, R10);
        self.asm.alu_imm(Alu::Add, R3, (-4i64).cast_unsigned(), R4);
        self.asm.set(R4, 0);
        self.asm.set(R5, 0);
        self.asm.call(Helper::CheckMtu);
        self.asm.mov(R1, R0);
        self.asm.mov(R0, R7);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, fits);
        self.increment(R0, DROPS + 8 * i16::from(DropReason::TooBig as u8));
        self.asm.jump(unsent);
        self.asm.bind(down);
        self.increment(R0, DROPS + 8 * i16::from(DropReason::PortDown as u8));
        self.asm.bind(unsent);
        self.increment(R0, TX_ERRORS);
        self.asm.set(R0, 0);
        self.asm.exit();
        self.asm.bind(fits);
        self.frame_length();
        self.add(R0, TX_BYTES, R1);
        self.increment(R0, TX_PACKETS);
        self.asm.mov(R0, R8);
        self.asm.exit();
        self.asm.bind(nowhere);
        self.asm.set(R0, (-1 - i64::from(DropReason::NoSuchPort as u8)).cast_unsigned());
        self.asm.exit();
        self.asm.bind(full);
        self.asm.set(R0, (-1 - i64::from(DropReason::StackFull as u8)).cast_unsigned());
        self.asm.exit();
    }

    /// R1 is the frame's length, with its tags.
    fn frame_length(&mut self) {
        self.asm.load(Size::W, R1, R9, LENGTH);
        if self.survey.tags {
            self.asm.load(Size::W, R2, R9, FRAME_TAG_COUNT);
            self.asm.load(Size::W, R3, R9, FIRST_TAGS);
            self.asm.alu(Alu::Sub, R2, R3);
            self.asm.shl(R2, 2);
            self.asm.alu(Alu::Add, R1, R2);
        }
    }

    /// Write the words that differ from the frame.
    pub(super) fn flush(&mut self) {
        let asm = &mut self.asm;
        let (done, ipv4, ipv6, carried) = (asm.label(), asm.label(), asm.label(), asm.label());
        if self.writes(Field::EthDst) {
            self.flush_ethernet();
        }
        let (arp, ip) = (self.writes(Field::ArpOp), self.writes_ip());
        if arp || ip {
            self.asm.load(Size::W, R1, R9, L3);
            self.asm.jump_if_imm(Cmp::Eq, R1, 0, done);
            self.asm.load(Size::H, R1, R9, key_word(word(Field::EthType)));
        }
        if ip {
            self.asm.jump_if_imm(Cmp::Eq, R1, 0x0800, ipv4);
            self.asm.jump_if_imm(Cmp::Eq, R1, 0x86dd, ipv6);
        }
        if arp {
            if !ip {
                self.asm.jump_if_imm(Cmp::Eq, R1, 0x0800, done);
                self.asm.jump_if_imm(Cmp::Eq, R1, 0x86dd, done);
            }
            self.flush_arp();
        }
        if ip {
            self.asm.jump(done);
            self.asm.bind(ipv4);
            self.flush_ipv4();
            self.asm.jump(carried);
            self.asm.bind(ipv6);
            self.flush_ipv6();
            self.asm.bind(carried);
            self.flush_transport();
        }
        self.asm.bind(done);
    }

    fn writes(&self, field: Field) -> bool {
        self.survey.written.contains(&word(field))
    }

    fn writes_ip(&self) -> bool {
        [layout::IPV4, layout::IPV6, layout::IP, layout::ND]
            .iter()
            .any(|header| header.meet(&self.survey.written))
    }

    /// R1 is what differs between a key word and the frame's.
    pub(super) fn difference(asm: &mut Asm, number: u8) {
        asm.load(Size::D, R1, R9, key_word(number));
        asm.load(Size::D, R2, R9, frame_word(number));
        asm.alu(Alu::Xor, R1, R2);
    }

    /// The frame has the key word now.
    pub(super) fn settle(asm: &mut Asm, number: u8) {
        asm.load(Size::D, R1, R9, key_word(number));
        asm.store(Size::D, R9, frame_word(number), R1);
    }

    /// Write bytes from the stack to the frame, at the offset in R2.
    pub(super) fn store_bytes(asm: &mut Asm, from: i16, bytes: u64) {
        asm.mov(R1, R6);
        asm.mov(R3, R10);
        asm.alu_imm(Alu::Add, R3, i64::from(from).cast_unsigned(), R4);
        asm.set(R4, bytes);
        asm.set(R5, 0);
        asm.call(Helper::SkbStoreBytes);
    }

    fn flush_ethernet(&mut self) {
        let asm = &mut self.asm;
        let same = asm.label();
        let (dst, src) = (word(Field::EthDst), word(Field::EthSrc));
        Self::difference(asm, dst);
        asm.mov(R3, R1);
        Self::difference(asm, src);
        asm.alu(Alu::Or, R1, R3);
        asm.shr(R1, 16);
        asm.jump_if_imm(Cmp::Eq, R1, 0, same);
        asm.load(Size::D, R1, R9, key_word(dst));
        asm.load(Size::D, R2, R9, key_word(src));
        asm.alu_imm(Alu::And, R1, !0xffff, R3);
        asm.mov(R3, R2);
        asm.shr(R3, 48);
        asm.alu(Alu::Or, R1, R3);
        asm.big_endian(R1, 64);
        asm.store(Size::D, R10, -24, R1);
        asm.shr(R2, 16);
        asm.big_endian(R2, 32);
        asm.store(Size::W, R10, -16, R2);
        asm.set(R2, 0);
        Self::store_bytes(asm, -24, 12);
        Self::settle(asm, dst);
        Self::settle(asm, src);
        asm.bind(same);
    }

    fn flush_arp(&mut self) {
        let asm = &mut self.asm;
        let (sha, spa, tha) = (word(Field::ArpSha), word(Field::ArpSpa), word(Field::ArpTha));
        let (same_op, same) = (asm.label(), asm.label());
        // The operation by itself: one that is too large for the field stays in the frame.
        Self::difference(asm, sha);
        asm.mov(R3, R1);
        asm.alu_imm(Alu::And, R1, 0xffff, R2);
        asm.shr(R3, 16);
        asm.store(Size::D, R10, -32, R3);
        asm.jump_if_imm(Cmp::Eq, R1, 0, same_op);
        asm.load(Size::H, R1, R9, key_word(sha));
        asm.big_endian(R1, 16);
        asm.store(Size::H, R10, -16, R1);
        asm.load(Size::W, R2, R9, L3);
        asm.alu_imm(Alu::Add, R2, 6, R3);
        Self::store_bytes(asm, -16, 2);
        asm.bind(same_op);
        Self::difference(asm, spa);
        asm.load(Size::D, R3, R10, -32);
        asm.alu(Alu::Or, R3, R1);
        Self::difference(asm, tha);
        asm.alu(Alu::Or, R3, R1);
        asm.jump_if_imm(Cmp::Eq, R3, 0, same);
        // Sender's MAC, sender's IP, target's MAC, target's IP: 6, 4, 6 and 4 bytes.
        asm.load(Size::D, R1, R9, key_word(sha));
        asm.alu_imm(Alu::And, R1, !0xffff, R3);
        asm.load(Size::D, R2, R9, key_word(spa));
        asm.mov(R3, R2);
        asm.shr(R3, 48);
        asm.alu(Alu::Or, R1, R3);
        asm.big_endian(R1, 64);
        asm.store(Size::D, R10, -32, R1);
        asm.mov(R1, R2);
        asm.shr(R1, 32);
        asm.shl(R1, 48);
        asm.load(Size::D, R3, R9, key_word(tha));
        asm.shr(R3, 16);
        asm.alu(Alu::Or, R1, R3);
        asm.big_endian(R1, 64);
        asm.store(Size::D, R10, -24, R1);
        asm.big_endian(R2, 32);
        asm.store(Size::W, R10, -16, R2);
        asm.load(Size::W, R2, R9, L3);
        asm.alu_imm(Alu::Add, R2, 8, R3);
        Self::store_bytes(asm, -32, 20);
        asm.bind(same);
        for number in [sha, spa, tha] {
            Self::settle(asm, number);
        }
    }

    fn flush_ipv4(&mut self) {
        let addresses =
            [(32, 12), (0, 16)].map(|(shift, at)| Part { word: word(Field::NwSrc), shift, bytes: 4, at });
        let bytes =
            [(8, 1), (16, 8)].map(|(shift, at)| Part { word: word(Field::NwProto), shift, bytes: 1, at });
        for part in addresses.iter().chain(&bytes) {
            if !self.survey.written.contains(&part.word) {
                continue;
            }
            let same = self.asm.label();
            self.changed(part, same);
            if part.bytes == 4 {
                self.replace_address_checksum();
            }
            self.replace_l3_checksum(part);
            Self::store_part(&mut self.asm, part, L3);
            self.asm.bind(same);
        }
        for number in [word(Field::NwSrc), word(Field::NwProto)] {
            if self.survey.written.contains(&number) {
                Self::settle(&mut self.asm, number);
            }
        }
    }

    /// On the stack, in network byte order: at -16 what the frame has, at -24 what it shall have, each 32
    /// bits with the part at the end. Goes to `same` where they are equal.
    pub(super) fn changed(&mut self, part: &Part, same: Label) {
        let asm = &mut self.asm;
        let left = 64 - part.shift - 8 * part.bytes as u32;
        for (offset, register) in [(key_word(part.word), R1), (frame_word(part.word), R2)] {
            asm.load(Size::D, register, R9, offset);
            asm.shl(register, left);
            asm.shr(register, 64 - 8 * part.bytes as u32);
        }
        asm.jump_if(Cmp::Eq, R1, R2, same);
        asm.store(Size::D, R10, -24, R1);
        asm.store(Size::D, R10, -16, R2);
    }

    /// R3 and R4 are the 16- or 32-bit words, in network byte order, that a checksum takes for the part. A
    /// byte stands in the half of its word that its place in the header says.
    fn words_for_checksum(&mut self, part: &Part) {
        let asm = &mut self.asm;
        asm.load(Size::D, R3, R10, -16);
        asm.load(Size::D, R4, R10, -24);
        for register in [R3, R4] {
            if part.bytes == 1 && part.at.is_multiple_of(2) {
                asm.shl(register, 8);
            }
            asm.big_endian(register, if part.bytes == 4 { 32 } else { 16 });
        }
    }

    fn replace_l3_checksum(&mut self, part: &Part) {
        self.words_for_checksum(part);
        let asm = &mut self.asm;
        asm.mov(R1, R6);
        asm.load(Size::W, R2, R9, L3);
        asm.alu_imm(Alu::Add, R2, 10, R5);
        asm.set(R5, part.bytes.max(2));
        asm.call(Helper::L3CsumReplace);
    }

    /// The checksum over the addresses, for what [`Program::changed`] found of one.
    pub(super) fn replace_address_checksum(&mut self) {
        self.replace_l4_checksum(4 | BPF_F_PSEUDO_HDR);
    }

    /// The checksum of an ICMP message, for what [`Program::changed`] found.
    pub(super) fn replace_message_checksum(&mut self, part: &Part) {
        self.words_for_checksum(part);
        self.asm.mov(R1, R6);
        self.asm.load(Size::W, R2, R9, L4);
        self.asm.alu_imm(Alu::Add, R2, 2, R5);
        self.asm.set(R5, part.bytes.max(2));
        self.asm.call(Helper::L4CsumReplace);
    }

    /// The checksum of TCP, UDP or ICMPv6, where the packet is one, for what [`Program::changed`] found.
    fn replace_l4_checksum(&mut self, flags: u64) {
        let asm = &mut self.asm;
        let (tcp, udp, replace, done) = (asm.label(), asm.label(), asm.label(), asm.label());
        asm.load(Size::W, R2, R9, L4);
        asm.jump_if_imm(Cmp::Eq, R2, 0, done);
        asm.load(Size::W, R1, R9, L4_PROTO);
        asm.set(R5, flags);
        asm.jump_if_imm(Cmp::Eq, R1, 6, tcp);
        asm.jump_if_imm(Cmp::Eq, R1, 17, udp);
        asm.jump_if_imm(Cmp::Ne, R1, 58, done);
        asm.alu_imm(Alu::Add, R2, 2, R3);
        asm.jump(replace);
        asm.bind(udp);
        asm.alu_imm(Alu::Add, R2, 6, R3);
        asm.set(R5, flags | BPF_F_MARK_MANGLED_0);
        asm.jump(replace);
        asm.bind(tcp);
        asm.alu_imm(Alu::Add, R2, 16, R3);
        asm.bind(replace);
        asm.load(Size::D, R3, R10, -16);
        asm.load(Size::D, R4, R10, -24);
        for register in [R3, R4] {
            asm.big_endian(register, if flags & 0xf == 4 { 32 } else { 16 });
        }
        asm.mov(R1, R6);
        asm.call(Helper::L4CsumReplace);
        asm.bind(done);
    }

    fn flush_transport(&mut self) {
        let number = word(Field::TcpSrc);
        if !self.survey.written.contains(&number) {
            return;
        }
        let (done, icmp) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::W, R1, R9, L4);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, done);
        self.asm.load(Size::W, R1, R9, L4_PROTO);
        self.asm.jump_if_imm(Cmp::Eq, R1, 1, icmp);
        self.asm.jump_if_imm(Cmp::Eq, R1, 58, icmp);
        let others = self.asm.label();
        self.asm.jump_if_imm(Cmp::Ne, R1, 132, others);
        self.flush_sctp(done);
        self.asm.bind(others);
        for (shift, at) in [(48, 0), (32, 2)] {
            let (part, same) = (Part { word: number, shift, bytes: 2, at }, self.asm.label());
            self.changed(&part, same);
            self.replace_l4_checksum(part.bytes);
            Self::store_part(&mut self.asm, &part, L4);
            self.asm.bind(same);
        }
        Self::settle(&mut self.asm, number);
        self.asm.jump(done);
        self.asm.bind(icmp);
        let (part, same) = (Part { word: number, shift: 0, bytes: 2, at: 0 }, self.asm.label());
        self.changed(&part, same);
        self.replace_message_checksum(&part);
        Self::store_part(&mut self.asm, &part, L4);
        self.asm.bind(same);
        Self::settle(&mut self.asm, number);
        self.flush_discovery();
        self.asm.bind(done);
    }

    /// As [`Program::store_part`], as many bytes behind the header's beginning as R8 says.
    pub(super) fn store_part_behind(&mut self, part: &Part, header: i16) {
        Self::part_in_order(&mut self.asm, part);
        self.asm.load(Size::W, R2, R9, header);
        self.asm.alu(Alu::Add, R2, R8);
        self.asm.alu_imm(Alu::Add, R2, part.at, R3);
        Self::store_bytes(&mut self.asm, -32, part.bytes);
    }

    /// Write the part that [`Program::changed`] left on the stack, in a header.
    pub(super) fn store_part(asm: &mut Asm, part: &Part, header: i16) {
        Self::part_in_order(asm, part);
        asm.load(Size::W, R2, R9, header);
        asm.alu_imm(Alu::Add, R2, part.at, R3);
        Self::store_bytes(asm, -32, part.bytes);
    }

    /// The part in network order, at -32 of the stack.
    fn part_in_order(asm: &mut Asm, part: &Part) {
        asm.load(Size::D, R1, R10, -24);
        match part.bytes {
            1 => {}
            2 => asm.big_endian(R1, 16),
            _ => asm.big_endian(R1, 32),
        }
        asm.store(Size::D, R10, -32, R1);
    }

    /// Append the frame to the record of a test run; returns 1.
    #[cfg(test)]
    fn record(&mut self, map: i32) {
        let (full, short) = (self.asm.label(), self.asm.label());
        self.asm.store_imm(Size::W, R10, -4, 0);
        self.lookup_on_stack(map, -4);
        let asm = &mut self.asm;
        asm.jump_if_imm(Cmp::Eq, R0, 0, full);
        asm.load(Size::W, R1, R0, 0);
        asm.jump_if_imm(Cmp::Ge, R1, RECORDS as i32, full);
        asm.mov(R2, R1);
        asm.alu_imm(Alu::Add, R2, 1, R3);
        asm.store(Size::W, R0, 0, R2);
        asm.mov(R2, R1);
        asm.mov(R3, R1);
        asm.shl(R1, 9);
        asm.shl(R2, 4);
        asm.shl(R3, 3);
        asm.alu(Alu::Add, R1, R2);
        asm.alu(Alu::Add, R1, R3);
        asm.alu(Alu::Add, R0, R1);
        asm.load(Size::D, R1, R9, key_word(word(Field::TunDst)));
        asm.store(Size::D, R0, 24, R1);
        asm.load(Size::W, R4, R6, 0);
        asm.store(Size::W, R0, 8, R7);
        asm.store(Size::W, R0, 12, R4);
        for (at, field) in [(16, SKB_VLAN_PRESENT), (18, SKB_VLAN_PROTO), (20, SKB_VLAN_TCI)] {
            asm.load(Size::W, R1, R6, field);
            asm.store(Size::H, R0, at, R1);
        }
        asm.jump_if_imm(Cmp::Le, R4, RECORDED_BYTES as i32, short);
        asm.set(R4, RECORDED_BYTES as u64);
        asm.bind(short);
        // Linux 6.1 learns nothing of the length from a comparison with 0 by ==.
        asm.jump_if_imm(Cmp::Lt, R4, 1, full);
        asm.mov(R3, R0);
        asm.alu_imm(Alu::Add, R3, 32, R5);
        asm.set(R2, 0);
        asm.mov(R1, R6);
        asm.call(Helper::SkbLoadBytes);
        asm.bind(full);
        asm.set(R0, 1);
        asm.exit();
    }
}

/// The record of a test run: how many outputs (32 bits, then 32 unused), and that many of these: the
/// port and the length (32 bits each); whether the kernel holds a tag beside the frame, its type in network
/// order, its TCI (16 bits each, then 16 unused); the tunnel's destination and source; the frame's first bytes.
#[cfg(test)]
pub(crate) mod record {
    /// Its length.
    pub(crate) const RECORD: usize = 8 + RECORDS * (24 + RECORDED_BYTES);
    /// How many outputs it has room for.
    pub(crate) const RECORDS: usize = 8;
    /// How much of a frame it has room for.
    pub(crate) const RECORDED_BYTES: usize = 512;
}
