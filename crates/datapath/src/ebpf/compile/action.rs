//! A block: the steps of an action list. R8 points to the flow's arguments, the first of which is its
//! place in order.

use super::block::{Bits, Block, Constant, Op};
use super::layout::{
    self, ALL_LIST, ENDED, ENDED_LOST, FLOOD_LIST, FLOW_IS_CLOSING, FLOW_PACKETS, FOUND_SLOT, FRAMED,
    REASON_MASK, SENT, SET_FROM, VALUE, key_word, word,
};
use super::parse::VLAN_PRESENT;
use super::punt::Punt;
use super::{MAX_PORT, Outputs, Program};
use crate::ebpf::asm::Reg::{self, R0, R1, R2, R3, R6, R7, R8, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::action::Subfield;
use footbridge_openflow::field::Prereq;
use footbridge_openflow::{Field, PortNo};
use footbridge_pipeline::DropReason;
use footbridge_pipeline::conntrack::state;
use footbridge_pipeline::evaluate::TCP_FIN_OR_RST;

/// Of the ports' numbers from here on, OpenFlow 1.0's reserved ones.
const FIRST_RESERVED: i32 = 0xfff8;

/// What an action list is of.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    /// The table of its flow.
    table: u8,
    /// Where it ends.
    end: Label,
    /// Whether it is a flow's whole list, whose end may be the packet's.
    whole: bool,
}

impl Program<'_> {
    /// The code of a block of the table's, to its end.
    pub(super) fn block(&mut self, table: u8, block: &Block) {
        self.list(&block.ops, List { table, end: self.places.list_end, whole: true });
    }

    fn list(&mut self, ops: &[Op], list: List) {
        let last = ops.len().saturating_sub(1);
        for (index, op) in ops.iter().enumerate() {
            self.op(op, list, index == last && list.whole);
        }
        self.asm.jump(list.end);
    }

    pub(super) fn op(&mut self, op: &Op, list: List, last: bool) {
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
            Op::Push(bits) => self.push(*bits),
            Op::Pop(bits) => self.pop(*bits),
            Op::DecTtl(told) => self.dec_ttl(list.end, Some(told)),
            Op::Punt(punt) => self.punt(punt),
            Op::Cut(punt) => {
                let done = self.asm.label();
                // The port is in the lower half.
                self.constant(R3, punt.detail);
                self.asm.shl(R3, 32);
                self.asm.shr(R3, 32);
                self.refuse_in_port(done);
                self.punt(punt);
                self.asm.bind(done);
            }
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
            Op::Normal => self.by_function(self.places.normal),
            Op::Flood => self.flood_to(FLOOD_LIST),
            Op::All => self.flood_to(ALL_LIST),
            Op::OutputBits(bits) => {
                let done = self.asm.label();
                self.output_bits(*bits, last, done);
                self.asm.bind(done);
            }
            Op::Resubmit { table, in_port, miss } => {
                let frame = (!last).then(|| self.leave_list());
                if let Some(port) = in_port {
                    self.asm.set(R1, u64::from(port.0));
                    self.swap_in_port();
                }
                self.go_to_table(*table, Some(list.table), *miss);
                if let Some(frame) = frame {
                    self.come_back(frame);
                }
            }
            Op::Clone(ops) => self.clone_packet(ops, list.table),
            Op::PushVlan(tpid) => self.push_vlan(*tpid),
            Op::PopVlan => self.pop_vlan(),
            Op::PktLarger { len, dst } => {
                let smaller = self.asm.label();
                self.current_length();
                self.asm.store_imm(Size::D, R9, VALUE, 0);
                self.asm.store_imm(Size::D, R9, VALUE + 8, 0);
                self.asm.jump_if_imm(Cmp::Le, R1, (*len).into(), smaller);
                self.asm.store_imm(Size::D, R9, VALUE + 8, 1);
                self.asm.bind(smaller);
                self.write_value(*dst);
            }
            Op::Ct(ct) => {
                self.track(ct, list);
                if let Some(table) = ct.table {
                    self.go_on_tracked(table, list.table, last);
                }
            }
            Op::CtClear => self.clear_connection(),
            Op::FinTimeout => self.fin_timeout(),
            Op::Exit => self.exit(),
            Op::WriteSet(part) => self.write_set(part),
            Op::ClearSet => self.clear_set(),
        }
    }

    fn clone_packet(&mut self, ops: &[Op], table: u8) {
        let end = self.asm.label();
        self.copy_packet();
        self.list(ops, List { table, end, whole: false });
        self.asm.bind(end);
        if self.survey.sets {
            self.asm.store_imm(Size::W, R9, SET_FROM, table.into());
            let frame = self.leave_list();
            self.asm.jump(self.places.conclude);
            self.come_back(frame);
        }
        self.put_packet_back();
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

    /// `dst` are the bits of one word, right-aligned.
    pub(super) fn bits(&mut self, dst: Reg, bits: Bits) {
        self.asm.load(Size::D, dst, R9, key_word(bits.word));
        self.asm.shl(dst, 64 - u32::from(bits.shift) - u32::from(bits.count));
        self.asm.shr(dst, 64 - u32::from(bits.count));
        if bits.known != bits.ones() {
            self.asm.alu_imm(Alu::And, dst, bits.known, R0);
        }
    }

    /// The bits of one word become the lowest ones of R1.
    pub(super) fn write_bits(&mut self, bits: Bits) {
        self.asm.alu_imm(Alu::And, R1, bits.known, R2);
        self.asm.shl(R1, bits.shift.into());
        self.asm.load(Size::D, R2, R9, key_word(bits.word));
        self.asm.alu_imm(Alu::And, R2, !(bits.known << bits.shift), R3);
        self.asm.alu(Alu::Or, R2, R1);
        self.asm.store(Size::D, R9, key_word(bits.word), R2);
    }

    fn copy(&mut self, src: Bits, dst: Bits) {
        if src.wide || dst.wide {
            self.read_value(src);
            self.write_value(dst);
        } else {
            self.bits(R1, src);
            self.write_bits(dst);
        }
    }

    /// Go to `skip` where the packet does not have the fields with this prerequisite (the evaluator's `has`).
    pub(super) fn require(&mut self, prereq: Prereq, skip: Label) {
        match prereq {
            Prereq::None | Prereq::Ethernet => {}
            Prereq::Vlan => {
                let is = self.asm.label();
                self.asm.load(Size::H, R1, R9, key_word(word(Field::VlanTci)));
                self.asm.jump_if_imm(Cmp::Set, R1, VLAN_PRESENT as i32, is);
                self.asm.jump(skip);
                self.asm.bind(is);
            }
            Prereq::Arp => self.require_type(&[0x0806, 0x8035], skip),
            Prereq::Ipv4 => self.require_type(&[0x0800], skip),
            Prereq::Ipv6 => self.require_type(&[0x86dd], skip),
            Prereq::Ip => self.require_type(&[0x0800, 0x86dd], skip),
            Prereq::Tcp => self.require_transport(&[0x0800, 0x86dd], 6, skip),
            Prereq::Udp => self.require_transport(&[0x0800, 0x86dd], 17, skip),
            Prereq::Sctp => self.require_transport(&[0x0800, 0x86dd], 132, skip),
            Prereq::Icmpv4 => self.require_transport(&[0x0800], 1, skip),
            Prereq::Icmpv6 => self.require_transport(&[0x86dd], 58, skip),
            Prereq::Nd => self.require_message(&[135, 136], skip),
            Prereq::NdSolicit => self.require_message(&[135], skip),
            Prereq::NdAdvert => self.require_message(&[136], skip),
            Prereq::Ct => {
                let is = self.asm.label();
                let valid = state::NEW | state::EST | state::RPL;
                self.asm.load(Size::W, R1, R9, key_word(word(Field::CtState)) + 4);
                self.asm.jump_if_imm(Cmp::Set, R1, valid.into(), is);
                self.asm.jump(skip);
                self.asm.bind(is);
            }
        }
    }

    fn require_type(&mut self, types: &[i32], skip: Label) {
        self.asm.load(Size::H, R1, R9, key_word(word(Field::EthType)));
        self.require_one_of(types, skip);
    }

    /// R1 has to be one of these.
    fn require_one_of(&mut self, values: &[i32], skip: Label) {
        let is = self.asm.label();
        values.iter().for_each(|value| self.asm.jump_if_imm(Cmp::Eq, R1, *value, is));
        self.asm.jump(skip);
        self.asm.bind(is);
    }

    fn require_transport(&mut self, types: &[i32], proto: i32, skip: Label) {
        self.require_type(types, skip);
        self.asm.load(Size::W, R1, R9, key_word(word(Field::NwProto)));
        self.asm.mov(R2, R1);
        self.asm.shr(R2, 24);
        self.asm.jump_if_imm(Cmp::Ne, R2, proto, skip);
        // ip_frag's bit of later fragments.
        self.asm.jump_if_imm(Cmp::Set, R1, 2, skip);
    }

    /// ICMPv6 of one of these types, and code 0.
    fn require_message(&mut self, types: &[i32], skip: Label) {
        self.require(Prereq::Icmpv6, skip);
        self.asm.load(Size::H, R1, R9, key_word(word(Field::Icmpv6Type)));
        let values: Vec<i32> = types.iter().map(|kind| kind << 8).collect();
        self.require_one_of(&values, skip);
    }

    /// One less, or word of it to those told and to where the list ends. None of an action set, which tells nobody.
    pub(super) fn dec_ttl(&mut self, list_end: Label, told: Option<&[Punt]>) {
        let (alive, none) = (self.asm.label(), self.asm.label());
        self.require(Prereq::Ip, none);
        let at = key_word(word(Field::NwTtl)) + 2;
        self.asm.load(Size::B, R1, R9, at);
        self.asm.jump_if_imm(Cmp::Gt, R1, 1, alive);
        match told {
            Some(told) => told.iter().for_each(|punt| self.punt(punt)),
            None => self.count_drop(DropReason::NoController),
        }
        self.lose(DropReason::TtlExpired);
        self.asm.jump(list_end);
        self.asm.bind(alive);
        self.asm.alu_imm(Alu::Sub, R1, 1, R2);
        self.asm.store(Size::B, R9, at, R1);
        self.asm.bind(none);
    }

    /// Note at the flow that a FIN or RST passed: user space cuts its timeouts.
    fn fin_timeout(&mut self) {
        /// On the stack: a 32-bit key.
        const KEY: i16 = -4;
        let other = self.asm.label();
        self.require(Prereq::Tcp, other);
        self.bits(R1, Bits::of(Subfield::whole(Field::TcpFlags)));
        self.asm.alu_imm(Alu::And, R1, TCP_FIN_OR_RST.into(), R2);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, other);
        self.asm.load(Size::W, R1, R9, FOUND_SLOT);
        self.asm.store(Size::W, R10, KEY, R1);
        self.lookup_on_stack(self.maps.flow_counters, KEY);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, other);
        self.asm.load(Size::D, R1, R0, FLOW_PACKETS);
        self.asm.alu_imm(Alu::Or, R1, FLOW_IS_CLOSING, R2);
        self.asm.store(Size::D, R0, FLOW_PACKETS, R1);
        self.asm.bind(other);
    }

    fn in_port(&mut self, dst: Reg) {
        self.asm.load(Size::W, dst, R9, key_word(word(Field::InPortOxm)) + 4);
    }

    /// Where the port in R3 is the one that the packet came in on, nothing is sent.
    fn refuse_in_port(&mut self, done: Label) {
        let other = self.asm.label();
        self.in_port(R1);
        self.asm.jump_if(Cmp::Ne, R1, R3, other);
        self.lose(DropReason::BackToInPort);
        self.asm.jump(done);
        self.asm.bind(other);
    }

    /// Something came to nothing.
    fn lose(&mut self, reason: DropReason) {
        self.count_drop(reason);
        self.asm.store_imm(Size::W, R9, ENDED, ENDED_LOST);
    }

    /// Send the packet to the port whose number the bits are.
    fn output_bits(&mut self, bits: Bits, last: bool, done: Label) {
        let too_high = self.asm.label();
        self.read_value(bits);
        self.asm.load(Size::D, R3, R9, VALUE + 8);
        self.asm.load(Size::D, R1, R9, VALUE);
        self.asm.jump_if_imm(Cmp::Ne, R1, 0, too_high);
        self.asm.jump_if_imm(Cmp::Gt, R3, 0xffff, too_high);
        self.output_by_number(last, done);
        self.asm.bind(too_high);
        self.lose(DropReason::NoSuchPort);
        self.asm.jump(done);
    }

    /// Send the packet to the port in R3, or to those that the number stands for, of 16 bits or 32.
    pub(super) fn output_by_number(&mut self, last: bool, done: Label) {
        let (ordinary, in_port, normal, flood) =
            (self.asm.label(), self.asm.label(), self.asm.label(), self.asm.label());
        let all = self.asm.label();
        self.asm.jump_if_imm(Cmp::Lt, R3, FIRST_RESERVED, ordinary);
        self.asm.mov(R1, R3);
        self.asm.alu_imm(Alu::And, R1, 0xffff, R2);
        for (port, place) in
            [(PortNo::IN_PORT, in_port), (PortNo::NORMAL, normal), (PortNo::FLOOD, flood), (PortNo::ALL, all)]
        {
            self.asm.jump_if_imm(Cmp::Eq, R1, (port.0 & 0xffff).cast_signed(), place);
        }
        self.asm.bind(ordinary);
        self.refuse_in_port(done);
        self.output(last, done);
        self.asm.bind(in_port);
        self.in_port(R3);
        self.output(last, done);
        self.asm.bind(normal);
        self.by_function(self.places.normal);
        self.asm.jump(done);
        self.asm.bind(flood);
        self.flood_to(FLOOD_LIST);
        self.asm.jump(done);
        self.asm.bind(all);
        self.flood_to(ALL_LIST);
        self.asm.jump(done);
    }

    /// Send the packet to the port whose number is in R3. The last output of a packet needs no copy.
    fn output(&mut self, last: bool, done: Label) {
        let (lost, sent, copy) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.mov(R1, R6);
        self.asm.mov(R2, R9);
        self.asm.call_local(self.places.prepare);
        self.asm.jump_if_imm(Cmp::SignedLt, R0, 0, lost);
        match self.outputs {
            Outputs::Redirect => {
                if last && !self.survey.sets {
                    if self.steps() {
                        self.asm.load(Size::W, R1, R9, FRAMED);
                        self.asm.jump_if_imm(Cmp::Ne, R1, 0, copy);
                    }
                    let there = self.asm.label();
                    self.asm.jump_if_imm(Cmp::Ne, R0, 0, there);
                    self.asm.jump(self.places.end);
                    self.asm.bind(there);
                    self.asm.mov(R1, R0);
                    self.asm.set(R2, 0);
                    self.asm.call(Helper::Redirect);
                    self.asm.jump(self.places.leave);
                    self.asm.bind(copy);
                }
                self.asm.jump_if_imm(Cmp::Eq, R0, 0, sent);
                self.asm.mov(R1, R6);
                self.asm.mov(R2, R0);
                self.asm.set(R3, 0);
                self.asm.call(Helper::CloneRedirect);
            }
            #[cfg(test)]
            Outputs::Record(_) => {}
        }
        self.asm.bind(sent);
        self.add_to_word(SENT, 1);
        self.asm.jump(done);
        self.asm.bind(lost);
        self.count_lost();
        self.asm.jump(done);
    }

    /// Send the packet to a list of ports.
    fn flood_to(&mut self, list: u64) {
        self.asm.set(R3, list);
        self.by_function(self.places.flood);
    }

    /// Have a function of the program send the packet; R3 is its own argument.
    fn by_function(&mut self, function: Label) {
        let done = self.asm.label();
        self.asm.mov(R1, R6);
        self.asm.mov(R2, R9);
        self.asm.call_local(function);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, done);
        self.count_lost();
        self.asm.bind(done);
    }

    /// An output came to nothing, for the reason in R0.
    pub(super) fn count_lost(&mut self) {
        // R0 is the reason's number, from -1 down.
        self.asm.set(R1, 0);
        self.asm.alu(Alu::Sub, R1, R0);
        self.asm.alu_imm(Alu::And, R1, REASON_MASK, R2);
        self.asm.shl(R1, 3);
        self.asm.alu(Alu::Add, R1, R7);
        self.increment(R1, layout::DROPS - 8);
        self.asm.store_imm(Size::W, R9, ENDED, ENDED_LOST);
    }
}

/// What an output's number is at most, for the map of ports.
pub(super) const HIGHEST_PORT: i32 = MAX_PORT.cast_signed();
const _: () = assert!(PortNo::MAX.0 < FIRST_RESERVED.cast_unsigned());
