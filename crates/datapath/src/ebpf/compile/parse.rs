//! The start of a program: the packet counted in, the frame read into key words.
//!
//! Reads as `pipeline::packet::parse` does: a layer that is absent, truncated or lies about its length
//! is none, and its words stay 0. The kernel holds the outer tag of a received frame beside it; of a
//! frame that has it in its bytes, it is read there.

use super::layout::{
    self, CLEARED_END, EXT_FRAG, EXT_PROTO, FRAGMENT_ID, FRAGMENT_PROTO, L3, L4, L4_PROTO, LENGTH, NESTED,
    NOW, PAYLOAD, RAW, RUNS, TRANSPORT, frame_word, key_word, word,
};
use super::{Program, layout::is_packet_word};
use crate::ebpf::asm::Reg::{self, R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::{Field, PortNo};
use footbridge_pipeline::DropReason;

/// Offsets in `struct __sk_buff` (linux/bpf.h).
pub(super) const SKB_LEN: i16 = 0;
pub(super) const SKB_VLAN_PRESENT: i16 = 20;
pub(super) const SKB_VLAN_TCI: i16 = 24;
pub(super) const SKB_VLAN_PROTO: i16 = 28;
/// The root program says there which port this is (`cb[0]`), and which counters are its (`cb[1]`).
pub(crate) const SKB_CB: i16 = 48;

/// The bit of vlan_tci that tells a tag from none.
pub(super) const VLAN_PRESENT: u64 = 0x1000;
const VLAN_HEADER: u64 = 4;
const ETHERNET_HEADER: u64 = 14;
/// On the program's stack: where it is counted how many runs there are.
const NESTING: i16 = -72;
/// Where the network header is read to.
pub(super) const NETWORK: i16 = RAW;

impl Program<'_> {
    /// The prologue. Leaves R6, R7 and R9 as all code expects them.
    pub(super) fn start(&mut self) {
        let asm = &mut self.asm;
        let (counted, ready) = (asm.label(), asm.label());
        asm.mov(R6, R1);
        asm.load(Size::W, R1, R6, SKB_CB + 4);
        asm.store(Size::W, R10, -4, R1);
        self.lookup_on_stack(self.maps.port_counters, -4);
        let asm = &mut self.asm;
        asm.jump_if_imm(Cmp::Ne, R0, 0, counted);
        self.drop_now();
        self.asm.bind(counted);
        self.asm.mov(R7, R0);
        self.begin_run(ready);
        self.asm.mov(R9, R0);
        self.clear();
        self.tunnel_fields();
        self.count_in();
        self.ethernet();
    }

    /// R0 is the scratch of this run, and its end is noted by [`Program::end_run`].
    fn begin_run(&mut self, ready: Label) {
        let (known, free) = (self.asm.label(), self.asm.label());
        self.asm.store_imm(Size::W, R10, -4, 0);
        self.lookup_on_stack(self.maps.nesting, -4);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, known);
        self.drop_now();
        self.asm.bind(known);
        self.asm.store(Size::D, R10, NESTING, R0);
        self.asm.load(Size::W, R8, R0, 0);
        self.asm.jump_if_imm(Cmp::Lt, R8, RUNS as i32, free);
        self.count_drop(DropReason::TooDeep);
        self.drop_now();
        self.asm.bind(free);
        self.asm.mov(R1, R8);
        self.asm.alu_imm(Alu::Add, R1, 1, R2);
        self.asm.store(Size::W, R0, 0, R1);
        self.asm.store(Size::W, R10, -4, R8);
        self.lookup_on_stack(self.maps.scratch, -4);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, ready);
        self.asm.set(R0, super::output::TC_ACT_SHOT);
        self.end_run();
        self.asm.bind(ready);
        self.asm.store(Size::W, R0, NESTED, R8);
    }

    /// Return R0 from the program.
    pub(super) fn end_run(&mut self) {
        self.asm.load(Size::D, R1, R10, NESTING);
        self.asm.load(Size::W, R2, R1, 0);
        self.asm.alu_imm(Alu::Sub, R2, 1, R3);
        self.asm.store(Size::W, R1, 0, R2);
        self.asm.exit();
    }

    /// Zero what this program uses of the scratch.
    fn clear(&mut self) {
        for number in &self.survey.words {
            self.asm.store_imm(Size::D, R9, key_word(*number), 0);
        }
        for offset in (L3..CLEARED_END).step_by(8) {
            self.asm.store_imm(Size::D, R9, offset, 0);
        }
        self.clear_set();
        self.forget_connection();
        self.asm.load(Size::W, R1, R6, SKB_CB);
        self.asm.store(Size::W, R9, key_word(word(Field::InPortOxm)) + 4, R1);
        let unset = word(Field::ActsetOutput);
        if self.survey.words.contains(&unset) {
            self.asm.store_imm(Size::W, R9, key_word(unset), PortNo::UNSET.0.cast_signed());
        }
    }

    fn count_in(&mut self) {
        let asm = &mut self.asm;
        let untagged = asm.label();
        asm.call(Helper::KtimeGetBootNs);
        asm.store(Size::D, R9, NOW, R0);
        asm.load(Size::W, R1, R6, SKB_LEN);
        asm.load(Size::W, R2, R6, SKB_VLAN_PRESENT);
        asm.jump_if_imm(Cmp::Eq, R2, 0, untagged);
        asm.alu_imm(Alu::Add, R1, VLAN_HEADER, R3);
        asm.bind(untagged);
        asm.store(Size::W, R9, LENGTH, R1);
        self.add(R7, layout::RX_BYTES, R1);
        self.increment(R7, layout::RX_PACKETS);
    }

    /// `*(base + offset) += amount`, of a number that only this CPU writes; R2 is lost.
    pub(super) fn add(&mut self, base: Reg, offset: i16, amount: Reg) {
        self.asm.load(Size::D, R2, base, offset);
        self.asm.alu(Alu::Add, R2, amount);
        self.asm.store(Size::D, base, offset, R2);
    }

    /// The same, by 1.
    pub(super) fn increment(&mut self, base: Reg, offset: i16) {
        self.asm.load(Size::D, R2, base, offset);
        self.asm.alu_imm(Alu::Add, R2, 1, R3);
        self.asm.store(Size::D, base, offset, R2);
    }

    /// Read `bytes` bytes at the frame's offset in R8 to the scratch; R0 is not 0 where the frame is shorter.
    pub(super) fn read(&mut self, to: i16, bytes: u64) {
        let asm = &mut self.asm;
        asm.mov(R1, R6);
        asm.mov(R2, R8);
        asm.mov(R3, R9);
        asm.alu_imm(Alu::Add, R3, to as u64, R4);
        asm.set(R4, bytes);
        asm.call(Helper::SkbLoadBytes);
    }

    /// `dst` is the big-endian number at an offset of the scratch.
    pub(super) fn number(&mut self, size: Size, dst: Reg, offset: i16) {
        self.asm.load(size, dst, R9, offset);
        match size {
            Size::B => {}
            Size::H => self.asm.big_endian(dst, 16),
            Size::W => self.asm.big_endian(dst, 32),
            Size::D => self.asm.big_endian(dst, 64),
        }
    }

    /// Store a key word, and keep what the frame has where actions may write it.
    pub(super) fn put(&mut self, number: u8, value: Reg) {
        if !self.survey.words.contains(&number) {
            return;
        }
        self.asm.store(Size::D, R9, key_word(number), value);
        if self.survey.written.contains(&number) && is_packet_word(number) {
            self.asm.store(Size::D, R9, frame_word(number), value);
        }
    }

    fn ethernet(&mut self) {
        let (dst, src) = (word(Field::EthDst), word(Field::EthSrc));
        let asm = &mut self.asm;
        let (whole, untagged, tagged, typed, known) =
            (asm.label(), asm.label(), asm.label(), asm.label(), asm.label());
        asm.set(R8, 0);
        self.read(NETWORK, ETHERNET_HEADER);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, whole);
        self.count_drop(DropReason::Malformed);
        self.asm.set(R0, super::output::TC_ACT_SHOT);
        self.end_run();
        self.asm.bind(whole);
        // The MAC addresses stand above 16 other bits in their words: the type, and the tag.
        self.number(Size::D, R1, NETWORK);
        self.asm.alu_imm(Alu::And, R1, !0xffff, R2);
        self.put(dst, R1);
        self.number(Size::D, R1, NETWORK + 6);
        self.asm.alu_imm(Alu::And, R1, !0xffff, R2);
        self.put(src, R1);
        self.number(Size::H, R3, NETWORK + 12);
        self.asm.set(R8, ETHERNET_HEADER);

        let asm = &mut self.asm;
        asm.load(Size::W, R1, R6, SKB_VLAN_PRESENT);
        asm.jump_if_imm(Cmp::Eq, R1, 0, untagged);
        asm.load(Size::W, R1, R6, SKB_VLAN_TCI);
        asm.load(Size::W, R2, R6, SKB_VLAN_PROTO);
        asm.big_endian(R2, 16);
        self.tag_arrived();
        let asm = &mut self.asm;
        asm.alu_imm(Alu::Or, R1, VLAN_PRESENT, R2);
        asm.store(Size::H, R9, key_word(src), R1);
        asm.jump(typed);
        asm.bind(untagged);
        asm.jump_if_imm(Cmp::Eq, R3, 0x8100, tagged);
        asm.jump_if_imm(Cmp::Ne, R3, 0x88a8, typed);
        asm.bind(tagged);
        self.read(TRANSPORT, VLAN_HEADER);
        self.number(Size::H, R3, NETWORK + 12);
        // A tag without the type behind it is none.
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, typed);
        self.number(Size::H, R1, TRANSPORT);
        self.asm.mov(R2, R3);
        self.tag_arrived();
        self.asm.alu_imm(Alu::Or, R1, VLAN_PRESENT, R2);
        self.asm.store(Size::H, R9, key_word(src), R1);
        self.number(Size::H, R3, TRANSPORT + 2);
        self.asm.alu_imm(Alu::Add, R8, VLAN_HEADER, R2);
        self.asm.bind(typed);
        self.asm.jump_if_imm(Cmp::Ge, R3, 0x600, known);
        self.snap();
        self.asm.bind(known);
        self.asm.store(Size::H, R9, key_word(dst), R3);
        self.network();
    }

    /// An 802.3 frame: R3 is the type in its SNAP header, or 0x5ff.
    fn snap(&mut self) {
        let asm = &mut self.asm;
        let (none, done) = (asm.label(), asm.label());
        self.read(TRANSPORT, 8);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, none);
        self.number(Size::W, R1, TRANSPORT);
        self.asm.set(R2, 0xaaaa_0300);
        self.asm.jump_if(Cmp::Ne, R1, R2, none);
        self.number(Size::W, R3, TRANSPORT + 4);
        self.asm.jump_if_imm(Cmp::Gt, R3, 0xffff, none);
        self.asm.jump_if_imm(Cmp::Lt, R3, 0x600, none);
        self.asm.alu_imm(Alu::Add, R8, 8, R2);
        self.asm.jump(done);
        self.asm.bind(none);
        self.asm.set(R3, 0x5ff);
        self.asm.bind(done);
    }

    /// The network header at the offset in R8, of the type in R3.
    fn network(&mut self) {
        let (arp, ip) = (
            self.survey.words.contains(&word(Field::ArpOp)),
            self.survey.words.contains(&word(Field::NwProto)),
        );
        let asm = &mut self.asm;
        let (done, is_arp, not_arp) = (asm.label(), asm.label(), asm.label());
        if arp {
            asm.jump_if_imm(Cmp::Eq, R3, 0x0806, is_arp);
            asm.jump_if_imm(Cmp::Ne, R3, 0x8035, not_arp);
            asm.bind(is_arp);
            self.arp(done);
            self.asm.jump(done);
            self.asm.bind(not_arp);
        }
        if ip {
            let not_ipv4 = self.asm.label();
            self.asm.jump_if_imm(Cmp::Ne, R3, 0x0800, not_ipv4);
            self.ipv4(done);
            self.asm.jump(done);
            self.asm.bind(not_ipv4);
            self.asm.jump_if_imm(Cmp::Ne, R3, 0x86dd, done);
            self.ipv6(done);
        }
        self.asm.bind(done);
    }

    fn arp(&mut self, done: Label) {
        self.read(NETWORK, 28);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, done);
        // Ethernet and IPv4 addresses, of 6 and 4 bytes.
        self.number(Size::W, R1, NETWORK);
        self.asm.jump_if_imm(Cmp::Ne, R1, 0x0001_0800, done);
        self.number(Size::H, R1, NETWORK + 4);
        self.asm.jump_if_imm(Cmp::Ne, R1, 0x0604, done);
        self.asm.store(Size::W, R9, L3, R8);
        // The operation, of 8 bits or none, below the sender's hardware address.
        let small = self.asm.label();
        self.number(Size::D, R1, NETWORK + 6);
        self.asm.mov(R2, R1);
        self.asm.shr(R2, 48);
        self.asm.jump_if_imm(Cmp::Le, R2, 0xff, small);
        self.asm.set(R2, 0);
        self.asm.bind(small);
        self.asm.shl(R1, 16);
        self.asm.alu(Alu::Or, R1, R2);
        self.put(word(Field::ArpSha), R1);
        self.number(Size::W, R1, NETWORK + 14);
        self.asm.shl(R1, 32);
        self.number(Size::W, R2, NETWORK + 24);
        self.asm.alu(Alu::Or, R1, R2);
        self.put(word(Field::ArpSpa), R1);
        self.number(Size::D, R1, NETWORK + 16);
        self.asm.shl(R1, 16);
        self.put(word(Field::ArpTha), R1);
    }

    fn ipv4(&mut self, done: Label) {
        self.read(NETWORK, 20);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, done);
        // R1 is the header's length, R2 the datagram's, R3 what the frame has.
        self.asm.load(Size::B, R1, R9, NETWORK);
        self.asm.alu_imm(Alu::And, R1, 0x0f, R4);
        self.asm.shl(R1, 2);
        self.asm.jump_if_imm(Cmp::Lt, R1, 20, done);
        self.number(Size::H, R2, NETWORK + 2);
        self.asm.jump_if(Cmp::Gt, R1, R2, done);
        self.asm.load(Size::W, R3, R6, SKB_LEN);
        self.asm.alu(Alu::Sub, R3, R8);
        self.asm.jump_if(Cmp::Gt, R2, R3, done);
        self.asm.alu(Alu::Sub, R3, R2);
        self.asm.jump_if_imm(Cmp::Gt, R3, 0xffff, done);
        self.asm.store(Size::W, R9, L3, R8);
        self.asm.alu(Alu::Sub, R2, R1);
        self.asm.store(Size::D, R9, PAYLOAD, R2);
        self.asm.alu(Alu::Add, R8, R1);
        self.number(Size::D, R1, NETWORK + 12);
        self.put(word(Field::NwSrc), R1);
        // R4 are the bits of ip_frag.
        let whole = self.asm.label();
        self.number(Size::H, R5, NETWORK + 6);
        self.asm.set(R4, 0);
        self.asm.mov(R1, R5);
        self.asm.alu_imm(Alu::And, R1, 0x3fff, R2);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, whole);
        self.asm.set(R4, 1);
        self.asm.alu_imm(Alu::And, R5, 0x1fff, R2);
        self.asm.jump_if_imm(Cmp::Eq, R5, 0, whole);
        self.asm.set(R4, 3);
        self.asm.bind(whole);
        if self.survey.tracks {
            self.asm.store(Size::W, R9, EXT_FRAG, R4);
            self.number(Size::H, R1, NETWORK + 4);
            self.asm.store(Size::W, R9, FRAGMENT_ID, R1);
            self.asm.load(Size::B, R1, R9, NETWORK + 9);
            self.asm.store(Size::W, R9, FRAGMENT_PROTO, R1);
        }
        self.asm.load(Size::B, R1, R9, NETWORK + 9);
        for offset in [8, 1] {
            self.asm.shl(R1, 8);
            self.asm.load(Size::B, R2, R9, NETWORK + offset);
            self.asm.alu(Alu::Or, R1, R2);
        }
        self.asm.shl(R1, 8);
        self.asm.alu(Alu::Or, R1, R4);
        self.put(word(Field::NwProto), R1);
        self.asm.jump_if_imm(Cmp::Eq, R4, 3, done);
        self.asm.load(Size::B, R1, R9, NETWORK + 9);
        self.asm.store(Size::W, R9, EXT_PROTO, R1);
        self.transport(done);
    }

    /// The transport header at the offset in R8.
    pub(super) fn transport(&mut self, done: Label) {
        let asm = &mut self.asm;
        let (tcp, udp, sctp, icmp, read) = (asm.label(), asm.label(), asm.label(), asm.label(), asm.label());
        asm.load(Size::D, R5, R9, PAYLOAD);
        asm.load(Size::W, R4, R9, EXT_PROTO);
        asm.jump_if_imm(Cmp::Eq, R4, 6, tcp);
        asm.jump_if_imm(Cmp::Eq, R4, 17, udp);
        asm.jump_if_imm(Cmp::Eq, R4, 132, sctp);
        asm.jump_if_imm(Cmp::Eq, R4, 1, icmp);
        asm.jump_if_imm(Cmp::Eq, R4, 58, icmp);
        asm.jump(done);

        asm.bind(icmp);
        asm.jump_if_imm(Cmp::Lt, R5, 8, done);
        // The tracker wants what is behind type and ports, too: the identifier, UDP's length.
        self.read(TRANSPORT, 8);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, done);
        self.number(Size::H, R1, TRANSPORT);
        self.asm.jump(read);

        self.asm.bind(tcp);
        self.asm.jump_if_imm(Cmp::Lt, R5, 20, done);
        self.read(TRANSPORT, 14);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, done);
        self.asm.load(Size::D, R5, R9, PAYLOAD);
        self.asm.load(Size::B, R1, R9, TRANSPORT + 12);
        self.asm.shr(R1, 4);
        self.asm.shl(R1, 2);
        self.asm.jump_if_imm(Cmp::Lt, R1, 20, done);
        self.asm.jump_if(Cmp::Gt, R1, R5, done);
        self.number(Size::H, R2, TRANSPORT + 12);
        self.asm.alu_imm(Alu::And, R2, 0x0fff, R3);
        self.asm.shl(R2, 16);
        self.number(Size::W, R1, TRANSPORT);
        self.asm.shl(R1, 32);
        self.asm.alu(Alu::Or, R1, R2);
        self.asm.jump(read);

        self.asm.bind(sctp);
        self.asm.jump_if_imm(Cmp::Lt, R5, 12, done);
        self.asm.bind(udp);
        self.asm.jump_if_imm(Cmp::Lt, R5, 8, done);
        self.read(TRANSPORT, 8);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, done);
        self.number(Size::W, R1, TRANSPORT);
        self.asm.shl(R1, 32);

        self.asm.bind(read);
        self.put(word(Field::TcpSrc), R1);
        self.asm.store(Size::W, R9, L4, R8);
        self.asm.load(Size::W, R4, R9, EXT_PROTO);
        self.asm.store(Size::W, R9, L4_PROTO, R4);
        self.asm.jump_if_imm(Cmp::Ne, R4, 58, done);
        self.neighbour_discovery(done);
    }

    /// A packet that never was: nothing to count.
    pub(super) fn drop_now(&mut self) {
        self.asm.set(R0, super::output::TC_ACT_SHOT);
        self.asm.exit();
    }

    /// Count a drop of the port that the packet came in on; R2 and R3 are lost.
    pub(super) fn count_drop(&mut self, reason: DropReason) {
        self.increment(R7, layout::DROPS + 8 * i16::from(reason as u8));
    }

    /// R0 is the value in the map at the 32-bit key on the stack, or 0.
    pub(super) fn lookup_on_stack(&mut self, map: i32, offset: i16) {
        let asm = &mut self.asm;
        asm.mov(R2, R10);
        asm.alu_imm(Alu::Add, R2, i64::from(offset).cast_unsigned(), R3);
        asm.map(R1, map);
        asm.call(Helper::MapLookupElem);
    }
}
