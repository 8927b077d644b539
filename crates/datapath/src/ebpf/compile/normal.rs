//! NORMAL and flooding: what the evaluator's `normal` does, as two functions of the program.
//!
//! The learned addresses are in a map that the kernel keeps to its size by least recent use (the evaluator
//! gives up the oldest of the port that has most). They age by when they were seen.

#[cfg(test)]
use super::Outputs;
use super::action::HIGHEST_PORT;
use super::layout::{
    FDB_PORT, FDB_SEEN, FDB_VALUE, FLOOD_LIST, NOW, PORT_IS_TUNNEL_BIT, SENT, TAG_COUNT, TCI_SETTLED,
    key_word, word,
};
use super::parse::VLAN_PRESENT;
use super::{Program, SKB_CB};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use crate::ebpf::asm::{Alu, Cmp, Helper, Label, Size};
use footbridge_openflow::{Field, PortNo};
use footbridge_pipeline::DropReason;
use footbridge_pipeline::evaluate::RESERVED_MULTICAST;
use footbridge_pipeline::fdb::AGEING_TIME;

/// The bits of an address's word that are its key in the map: the address, and the VLAN's 12 bits.
const ADDRESS_AND_VLAN: u64 = 0xffff_ffff_ffff_0fff;

/// On the stack: a map's key and value; whether the packet comes from nowhere; its
/// tag, and what was known of tags, as they were; what the flood's function needs.
const KEY: i16 = -8;
const VALUE: i16 = -8 - FDB_VALUE as i16;
const NOWHERE: i16 = -40;
const TCI: i16 = -48;
const KEPT: i16 = -64;
const FLOOD: i16 = -64;
/// In there: the packet, the scratch, how many ports there were.
const FLOOD_PACKET: i16 = 0;
const FLOOD_SCRATCH: i16 = 8;
const FLOOD_SENT: i16 = 16;
/// And the list's place.
const FLOOD_BASE: i16 = 24;

impl Program<'_> {
    /// `normal(packet, scratch)`, and `flood(packet, scratch, list)`: return 0 where the packet was sent, or
    /// below 0 the reason why not, as `prepare` does.
    pub(super) fn normal(&mut self) {
        self.asm.bind(self.places.normal);
        self.asm.mov(R6, R1);
        self.asm.mov(R9, R2);
        let (arrived, unlearned) = (self.asm.label(), self.asm.label());
        let src = key_word(word(Field::EthSrc));
        let dst = key_word(word(Field::EthDst));
        self.asm.load(Size::W, R7, R9, key_word(word(Field::InPortOxm)) + 4);
        let from_nowhere = self.survey.writes_in_port.then(|| self.check_in_port());
        self.partial_vlan(arrived);
        self.asm.bind(arrived);
        if let Some(from_nowhere) = from_nowhere {
            self.asm.load(Size::D, R1, R10, NOWHERE);
            self.asm.jump_if_imm(Cmp::Ne, R1, 0, from_nowhere);
        }
        self.reserved(dst);
        // Group addresses are not learned: the lowest bit of the first byte.
        self.asm.load(Size::D, R1, R9, src);
        self.asm.shr(R1, 56);
        self.asm.jump_if_imm(Cmp::Set, R1, 1, unlearned);
        self.learn(src, unlearned);
        self.asm.bind(unlearned);
        if let Some(from_nowhere) = from_nowhere {
            self.asm.bind(from_nowhere);
        }
        self.look_up_address(dst, src);
        self.asm.mov(R8, R0);
        self.take_empty_tag_off();
        self.forward();
        self.flood();
    }

    /// A tag that says nothing, VLAN 0 and priority 0, does not leave with the packet (Open vSwitch's
    /// `priority-tags=never`). The stack has what was before.
    fn take_empty_tag_off(&mut self) {
        let (done, settled) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::H, R1, R9, key_word(word(Field::VlanTci)));
        self.asm.store(Size::D, R10, TCI, R1);
        self.asm.jump_if_imm(Cmp::Ne, R1, VLAN_PRESENT as i32, done);
        for (at, kept) in [(TAG_COUNT, KEPT), (TCI_SETTLED, KEPT + 8)] {
            self.asm.load(Size::D, R1, R9, at);
            self.asm.store(Size::D, R10, kept, R1);
        }
        self.asm.mov(R1, R9);
        self.asm.call_local(self.places.settle);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, settled);
        self.fail(DropReason::StackFull);
        self.asm.bind(settled);
        self.pop_settled();
        self.asm.bind(done);
    }

    /// Return R0, with the packet as it was before [`Program::take_empty_tag_off`].
    fn return_with_tag(&mut self) {
        let same = self.asm.label();
        self.asm.load(Size::D, R1, R10, TCI);
        self.asm.jump_if_imm(Cmp::Ne, R1, VLAN_PRESENT as i32, same);
        self.asm.store(Size::H, R9, key_word(word(Field::VlanTci)), R1);
        for (at, kept) in [(TAG_COUNT, KEPT), (TCI_SETTLED, KEPT + 8)] {
            self.asm.load(Size::D, R1, R10, kept);
            self.asm.store(Size::D, R9, at, R1);
        }
        self.asm.bind(same);
        self.asm.exit();
    }

    /// An action may have said that the packet came in by the port in R7: one that is not there is an error.
    /// The label is for those that a controller made, which come from nowhere.
    fn check_in_port(&mut self) -> Label {
        let (nowhere, unknown, known) = (self.asm.label(), self.asm.label(), self.asm.label());
        self.asm.store_imm(Size::D, R10, NOWHERE, 0);
        for port in [PortNo::NONE, PortNo::CONTROLLER] {
            self.asm.set(R1, port.0.into());
            self.asm.jump_if(Cmp::Eq, R7, R1, nowhere);
            self.asm.jump_if_imm(Cmp::Eq, R7, (port.0 & 0xffff).cast_signed(), nowhere);
        }
        self.asm.jump_if_imm(Cmp::Gt, R7, HIGHEST_PORT, unknown);
        self.asm.store(Size::W, R10, KEY, R7);
        self.lookup_on_stack(self.maps.out_ports, KEY);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, unknown);
        self.asm.load(Size::D, R1, R0, 0);
        self.asm.jump_if_imm(Cmp::Ne, R1, 0, known);
        self.asm.bind(unknown);
        self.fail(DropReason::UnknownInPort);
        self.asm.bind(nowhere);
        self.asm.store_imm(Size::D, R10, NOWHERE, 1);
        self.asm.bind(known);
        self.asm.label()
    }

    fn fail(&mut self, reason: DropReason) {
        self.asm.set(R0, (-1 - i64::from(reason as u8)).cast_unsigned());
        self.asm.exit();
    }

    /// A frame that ends within its tag goes nowhere.
    fn partial_vlan(&mut self, whole: Label) {
        let vlan = self.asm.label();
        self.asm.load(Size::H, R1, R9, key_word(word(Field::EthType)));
        self.asm.load(Size::H, R2, R9, key_word(word(Field::VlanTci)));
        self.asm.jump_if_imm(Cmp::Set, R2, 0x1000, whole);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0x8100, vlan);
        self.asm.jump_if_imm(Cmp::Ne, R1, 0x88a8, whole);
        self.asm.bind(vlan);
        self.fail(DropReason::PartialVlan);
    }

    fn reserved(&mut self, dst: i16) {
        let (ordinary, reserved) = (self.asm.label(), self.asm.label());
        self.asm.load(Size::D, R1, R9, dst);
        self.asm.shr(R1, 16);
        for (value, mask) in RESERVED_MULTICAST {
            self.asm.set(R2, *mask);
            self.asm.alu(Alu::And, R2, R1);
            self.asm.set(R3, *value);
            self.asm.jump_if(Cmp::Eq, R2, R3, reserved);
        }
        self.asm.jump(ordinary);
        self.asm.bind(reserved);
        self.fail(DropReason::ReservedMulticast);
        self.asm.bind(ordinary);
    }

    /// R0 is what is known of the address in a word, or 0.
    fn look_up_address(&mut self, offset: i16, tag: i16) {
        self.asm.load(Size::D, R1, R9, offset);
        self.asm.alu_imm(Alu::And, R1, !0xffff, R2);
        self.asm.load(Size::H, R2, R9, tag);
        self.asm.alu_imm(Alu::And, R2, ADDRESS_AND_VLAN & 0xffff, R3);
        self.asm.alu(Alu::Or, R1, R2);
        self.asm.store(Size::D, R10, KEY, R1);
        self.lookup_on_stack(self.maps.fdb, KEY);
    }

    /// Go to `aged` where what R0 points to was seen too long ago.
    fn unless_aged(&mut self, aged: Label) {
        self.asm.load(Size::D, R1, R9, NOW);
        self.asm.load(Size::D, R2, R0, FDB_SEEN);
        self.asm.alu(Alu::Sub, R1, R2);
        self.asm.set(R2, AGEING_TIME.as_nanos() as u64);
        let fresh = self.asm.label();
        // Another CPU may have seen it since this packet came in.
        self.asm.jump_if_imm(Cmp::SignedLt, R1, 0, fresh);
        self.asm.jump_if(Cmp::Ge, R1, R2, aged);
        self.asm.bind(fresh);
    }

    /// The packet's source is behind the port in R7.
    fn learn(&mut self, src: i16, done: Label) {
        let new = self.asm.label();
        self.look_up_address(src, src);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, new);
        self.asm.load(Size::D, R1, R9, NOW);
        self.asm.store(Size::D, R0, FDB_SEEN, R1);
        self.asm.store(Size::W, R0, FDB_PORT, R7);
        self.asm.jump(done);

        self.asm.bind(new);
        self.asm.load(Size::D, R1, R9, NOW);
        self.asm.store(Size::D, R10, VALUE + FDB_SEEN, R1);
        self.asm.store(Size::D, R10, VALUE + FDB_PORT, R7);
        self.asm.map(R1, self.maps.fdb);
        self.asm.mov(R2, R10);
        self.asm.alu_imm(Alu::Add, R2, i64::from(KEY).cast_unsigned(), R5);
        self.asm.mov(R3, R10);
        self.asm.alu_imm(Alu::Add, R3, i64::from(VALUE).cast_unsigned(), R5);
        self.asm.set(R4, 0);
        self.asm.call(Helper::MapUpdateElem);
    }

    /// To where the destination was seen, which R8 points to, or everywhere.
    fn forward(&mut self) {
        let (flood, elsewhere) = (self.asm.label(), self.asm.label());
        self.asm.jump_if_imm(Cmp::Eq, R8, 0, flood);
        self.asm.mov(R0, R8);
        self.unless_aged(flood);
        self.asm.load(Size::W, R3, R8, FDB_PORT);
        self.asm.jump_if(Cmp::Ne, R3, R7, elsewhere);
        self.asm.set(R0, (-1 - i64::from(DropReason::NormalInPort as u8)).cast_unsigned());
        self.return_with_tag();
        self.asm.bind(elsewhere);
        self.lose_to_tunnel();
        self.send_copy();
        self.return_with_tag();
        self.asm.bind(flood);
        self.asm.mov(R1, R6);
        self.asm.mov(R2, R9);
        self.asm.set(R3, FLOOD_LIST);
        self.asm.call_local(self.places.flood);
        self.return_with_tag();
    }

    /// Where the port in R3 is a tunnel, the packet goes nowhere.
    fn lose_to_tunnel(&mut self) {
        let ordinary = self.asm.label();
        self.asm.store(Size::D, R10, KEY, R3);
        self.lookup_on_stack(self.maps.out_ports, KEY);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, ordinary);
        self.asm.load(Size::D, R1, R0, 0);
        self.asm.shr(R1, PORT_IS_TUNNEL_BIT);
        self.asm.jump_if_imm(Cmp::Eq, R1, 0, ordinary);
        self.asm.set(R0, (-1 - i64::from(DropReason::NormalTunnel as u8)).cast_unsigned());
        self.return_with_tag();
        self.asm.bind(ordinary);
        self.asm.load(Size::D, R3, R10, KEY);
    }

    /// Send a copy to the port in R3: R0 is 0, or below 0 the reason why not.
    fn send_copy(&mut self) {
        let done = self.asm.label();
        self.asm.mov(R1, R6);
        self.asm.mov(R2, R9);
        self.asm.call_local(self.places.prepare);
        self.asm.jump_if_imm(Cmp::SignedLt, R0, 0, done);
        match self.outputs {
            super::Outputs::Redirect => {
                let unsent = self.asm.label();
                self.asm.jump_if_imm(Cmp::Eq, R0, 0, unsent);
                self.asm.mov(R1, R6);
                self.asm.mov(R2, R0);
                self.asm.set(R3, 0);
                self.asm.call(Helper::CloneRedirect);
                self.asm.bind(unsent);
            }
            #[cfg(test)]
            Outputs::Record(_) => {}
        }
        self.add_to_word(SENT, 1);
        self.asm.set(R0, 0);
        self.asm.bind(done);
    }

    fn flood(&mut self) {
        self.asm.bind(self.places.flood);
        let (some, known) = (self.asm.label(), self.asm.label());
        self.asm.store(Size::D, R10, FLOOD + FLOOD_PACKET, R1);
        self.asm.store(Size::D, R10, FLOOD + FLOOD_SCRATCH, R2);
        self.asm.store_imm(Size::D, R10, FLOOD + FLOOD_SENT, 0);
        self.asm.store(Size::D, R10, FLOOD + FLOOD_BASE, R3);
        self.asm.store(Size::W, R10, KEY, R3);
        self.lookup_on_stack(self.maps.flood, KEY);
        self.asm.jump_if_imm(Cmp::Ne, R0, 0, known);
        self.fail(DropReason::NormalNoPort);
        self.asm.bind(known);
        self.asm.load(Size::W, R1, R0, 0);
        self.asm.function(R2, self.places.flood_one);
        self.asm.mov(R3, R10);
        self.asm.alu_imm(Alu::Add, R3, i64::from(FLOOD).cast_unsigned(), R4);
        self.asm.set(R4, 0);
        self.asm.call(Helper::Loop);
        self.asm.load(Size::D, R1, R10, FLOOD + FLOOD_SENT);
        self.asm.jump_if_imm(Cmp::Ne, R1, 0, some);
        self.fail(DropReason::NormalNoPort);
        self.asm.bind(some);
        self.asm.set(R0, 0);
        self.asm.exit();
        self.flood_one();
    }

    /// `flood_one(index, what the flood left on its stack)`: a copy to one port, unless it came from there.
    fn flood_one(&mut self) {
        self.asm.bind(self.places.flood_one);
        let done = self.asm.label();
        self.asm.mov(R8, R2);
        self.asm.load(Size::D, R6, R8, FLOOD_PACKET);
        self.asm.load(Size::D, R9, R8, FLOOD_SCRATCH);
        // The first element is how many there are.
        self.asm.alu_imm(Alu::Add, R1, 1, R2);
        self.asm.load(Size::D, R2, R8, FLOOD_BASE);
        self.asm.alu(Alu::Add, R1, R2);
        self.asm.store(Size::W, R10, KEY, R1);
        self.lookup_on_stack(self.maps.flood, KEY);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, done);
        self.asm.load(Size::W, R3, R0, 0);
        self.asm.load(Size::W, R1, R9, key_word(word(Field::InPortOxm)) + 4);
        self.asm.jump_if(Cmp::Eq, R1, R3, done);
        self.asm.store_imm(Size::D, R8, FLOOD_SENT, 1);
        self.send_copy();
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, done);
        self.asm.mov(R8, R0);
        self.asm.load(Size::W, R1, R6, SKB_CB + 4);
        self.asm.store(Size::W, R10, KEY, R1);
        self.lookup_on_stack(self.maps.port_counters, KEY);
        self.asm.jump_if_imm(Cmp::Eq, R0, 0, done);
        self.asm.mov(R7, R0);
        self.asm.mov(R0, R8);
        self.count_lost();
        self.asm.bind(done);
        self.asm.set(R0, 0);
        self.asm.exit();
    }
}
