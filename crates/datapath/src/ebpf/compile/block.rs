//! Action lists as blocks: what a list does, with its constants taken out, so that many flows share
//! one block's code and differ in their arguments only.

use super::layout::{ARP, IP, word};
use super::punt::Punt;
use super::{Unsupported, What};
use footbridge_openflow::action::{Controller, Ct, CtZone, Subfield};
use footbridge_openflow::field::{Location, Prereq};
use footbridge_openflow::{Action, Field, Flow, Match, PortNo};
use footbridge_pipeline::PacketIn;

/// How many constants of one flow can differ from those of the others of its block.
pub(crate) const ARGUMENTS: usize = 7;

/// What one action list does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Block {
    pub(crate) ops: Vec<Op>,
}

/// One step of a block.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// Some bits of a key word become a constant's.
    Write {
        /// The key word.
        word: u8,
        /// Which bits.
        mask: u64,
        /// The bits, in place.
        value: Constant,
        /// What the packet has to be, beyond what the flow's match says.
        needs: Option<Prereq>,
    },
    /// Some bits of a key word are copied.
    Move {
        /// From where.
        src: Bits,
        /// To where.
        dst: Bits,
        /// What the packet has to be.
        needs: Vec<Prereq>,
    },
    /// One less, or the list ends, and these are told.
    DecTtl(Vec<Punt>),
    /// To the controllers.
    Punt(Punt),
    /// At most so many bytes, to a port or those that a number stands for.
    Cut(Punt),
    /// To the port of this number.
    Output(Constant),
    /// Back to where it came from.
    OutputInPort,
    /// To where its destination was seen, as a learning switch does.
    Normal,
    /// To all ports but tunnels and the one it came in on.
    Flood,
    /// To all ports but the one it came in on.
    All,
    /// To the port whose number the bits say.
    OutputBits(Bits),
    /// The bits are put aside; are what was put aside last.
    Push(Bits),
    Pop(Bits),
    /// Look the packet up; then the list goes on.
    Resubmit {
        /// In this table.
        table: u8,
        /// As if it had come in by this port.
        in_port: Option<PortNo>,
        /// If no flow takes it there.
        miss: Miss,
    },
    /// The packet is as before when this list is done.
    Clone(Vec<Op>),
    /// A tag of this type, with VLAN and priority 0.
    PushVlan(u16),
    /// The outer tag is taken off, where there is one.
    PopVlan,
    /// The bits become 1 where the packet is longer than this, else 0.
    PktLarger {
        len: u16,
        dst: Bits,
    },
    /// What passes with FIN or RST cuts the flow's timeouts.
    FinTimeout,
    /// All lists are over.
    Exit,
    /// Something is added to the action set.
    WriteSet(SetPart),
    /// The action set is emptied.
    ClearSet,
    /// Through the tracker.
    Ct(Box<CtOp>),
    /// What the tracker said is forgotten.
    CtClear,
}

/// What becomes of a packet that no flow of a table takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Miss {
    /// It is for the controllers, while some want such packets: OpenFlow 1.0's, of tables that a packet is sent to.
    Told,
    /// It is dropped, as after `resubmit`.
    Dropped,
}

/// What `ct()` asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct CtOp {
    pub(crate) zone: Zone,
    pub(crate) commit: bool,
    pub(crate) force: bool,
    /// Where the packet goes on with what the tracker says of it.
    pub(crate) table: Option<u8>,
    /// Writes to ct_mark and ct_label, done on the packet's own before the tracker reads them there.
    pub(crate) exec: Vec<Op>,
    /// Which bits of ct_mark those write.
    pub(crate) mark: u32,
    /// Which bits of ct_label.
    pub(crate) label: u128,
}

/// Where a zone's number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Zone {
    Number(Constant),
    Bits(Bits),
}

/// What one `write_actions` adds to the action set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct SetPart {
    pub(crate) writes: Vec<SetWrite>,
    pub(crate) pop_vlan: bool,
    /// The tag's type.
    pub(crate) push_vlan: Option<u16>,
    pub(crate) dec_ttl: bool,
    pub(crate) last: Option<Final>,
}

/// As in [`Op::Write`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SetWrite {
    pub(crate) word: u8,
    pub(crate) mask: u64,
    pub(crate) value: Constant,
    pub(crate) needs: Option<Prereq>,
}

/// What an action set does last.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Final {
    /// To a port, by number, or those that the number stands for.
    Output(Constant),
    Resubmit {
        table: u8,
        in_port: Option<PortNo>,
    },
}

/// What becomes of a key word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Read,
    Write,
}

impl Block {
    /// Every step, those of lists within it too.
    pub(crate) fn all_ops(&self) -> Vec<&Op> {
        let (mut all, mut waiting): (Vec<&Op>, Vec<&[Op]>) = (Vec::new(), vec![&self.ops]);
        while let Some(ops) = waiting.pop() {
            for op in ops {
                all.push(op);
                if let Op::Clone(list) = op {
                    waiting.push(list);
                }
            }
        }
        all
    }

    /// The bytes that its actions hand to controllers.
    pub(crate) fn userdata(&self) -> impl Iterator<Item = &[u8]> {
        self.all_ops().into_iter().filter_map(|op| match op {
            Op::Punt(punt) if !punt.userdata.is_empty() => Some(&punt.userdata[..]),
            _ => None,
        })
    }

    /// The tables that packets can come to from here.
    pub(crate) fn successors(&self) -> Vec<u8> {
        let table = |op: &Op| match op {
            Op::Resubmit { table, .. } => Some(*table),
            Op::Ct(ct) => ct.table,
            Op::WriteSet(SetPart { last: Some(Final::Resubmit { table, .. }), .. }) => Some(*table),
            _ => None,
        };
        self.all_ops().into_iter().filter_map(table).collect()
    }

    /// How many look-ups there are behind which the list goes on.
    pub(crate) fn returns(&self) -> usize {
        let all = self.all_ops().into_iter().filter(|op| matches!(op, Op::Resubmit { .. })).count();
        all - usize::from(matches!(self.ops.last(), Some(Op::Resubmit { .. })))
    }

    /// How many copies there are that the tracker tells something, but for one that is all that is left to be done.
    pub(crate) fn tracked(&self) -> usize {
        let tracked = |op: &Op| matches!(op, Op::Ct(ct) if ct.table.is_some());
        let all = self.all_ops().into_iter().filter(|op| tracked(op)).count();
        all - usize::from(self.ops.last().is_some_and(tracked))
    }

    /// Whether a copy that the tracker tells something is all that is left to be done.
    pub(crate) fn ends_tracked(&self) -> bool {
        matches!(self.ops.last(), Some(Op::Ct(ct)) if ct.table.is_some())
    }

    /// How often the packet is copied by `clone`.
    pub(crate) fn clones(&self) -> usize {
        self.all_ops().into_iter().filter(|op| matches!(op, Op::Clone(_))).count()
    }

    /// Whether it adds to the action set.
    pub(crate) fn writes_set(&self) -> bool {
        self.all_ops().into_iter().any(|op| matches!(op, Op::WriteSet(_)))
    }

    /// Whether the action set may say that the packet is looked up again.
    pub(crate) fn set_resubmits(&self) -> bool {
        let resubmits =
            |op: &Op| matches!(op, Op::WriteSet(SetPart { last: Some(Final::Resubmit { .. }), .. }));
        self.all_ops().into_iter().any(resubmits)
    }
}

impl Op {
    /// The key words that it uses. The one list of them: what it leaves out, the program does not know.
    pub(crate) fn words(&self, each: &mut dyn FnMut(Use, u8)) {
        let mut bits = |usage, bits: &Bits| {
            each(usage, bits.word);
            if bits.wide {
                each(usage, bits.word + 1);
            }
        };
        match self {
            Op::Write { word, .. } => each(Use::Write, *word),
            Op::Move { src, dst, .. } => {
                bits(Use::Read, src);
                bits(Use::Write, dst);
            }
            Op::Push(src) | Op::OutputBits(src) => bits(Use::Read, src),
            Op::Pop(dst) => bits(Use::Write, dst),
            Op::PushVlan(_) | Op::PopVlan => each(Use::Write, word(Field::VlanTci)),
            Op::PktLarger { dst, .. } => bits(Use::Write, dst),
            Op::DecTtl(_) => each(Use::Write, word(Field::NwTtl)),
            Op::FinTimeout => each(Use::Read, word(Field::TcpFlags)),
            // A gratuitous ARP counts for more.
            Op::Normal => ARP.iter().for_each(|word| each(Use::Read, word)),
            Op::WriteSet(part) => {
                part.writes.iter().for_each(|write| each(Use::Write, write.word));
                if part.dec_ttl {
                    each(Use::Write, word(Field::NwTtl));
                }
                if part.pop_vlan || part.push_vlan.is_some() {
                    each(Use::Write, word(Field::VlanTci));
                }
            }
            Op::Ct(ct) => {
                ct.exec.iter().for_each(|op| op.words(each));
                IP.iter().for_each(|word| each(Use::Read, word));
                if let Zone::Bits(field) = &ct.zone {
                    each(Use::Read, field.word);
                    each(Use::Read, field.word + u8::from(field.wide));
                }
            }
            Op::Output(_)
            | Op::OutputInPort
            | Op::Flood
            | Op::All
            | Op::Punt(_)
            | Op::Cut(_)
            | Op::Resubmit { .. }
            | Op::Clone(_)
            | Op::Exit
            | Op::ClearSet
            | Op::CtClear => {}
        }
    }

    /// The key words that the action set changes.
    pub(crate) fn set_words(&self) -> Vec<u8> {
        match self {
            Op::WriteSet(part) => part.writes.iter().map(|write| write.word).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether in_port may become another for good.
    pub(crate) fn writes_in_port(&self) -> bool {
        let Location { word, shift } = Field::InPortOxm.info().location;
        let in_port = |bits: &Bits| bits.word == word && bits.shift + bits.count > shift;
        match self {
            Op::Write { word: written, mask, .. } => *written == word && mask >> shift != 0,
            Op::Move { dst, .. } | Op::Pop(dst) => in_port(dst),
            Op::WriteSet(part) => part.writes.iter().any(|w| w.word == word && w.mask >> shift != 0),
            _ => false,
        }
    }

    /// Whether a packet may leave with other tags than it came with. NORMAL takes off those that say nothing.
    pub(crate) fn changes_tags(&self) -> bool {
        let Location { word, .. } = Field::VlanTci.info().location;
        match self {
            Op::PushVlan(_) | Op::PopVlan | Op::Normal | Op::OutputBits(_) => true,
            Op::Write { word: written, mask, .. } => *written == word && mask & 0xffff != 0,
            Op::Move { dst, .. } | Op::Pop(dst) | Op::PktLarger { dst, .. } => {
                dst.word == word && dst.shift < 16
            }
            // Outputs of a set may be NORMAL.
            Op::WriteSet(_) => true,
            _ => false,
        }
    }

    /// Whether a look-up is made as if the packet had come in elsewhere.
    pub(crate) fn swaps_in_port(&self) -> bool {
        let last = match self {
            Op::WriteSet(SetPart { last: Some(Final::Resubmit { in_port, .. }), .. }) => in_port,
            Op::Resubmit { in_port, .. } => in_port,
            _ => &None,
        };
        last.is_some()
    }
}

/// A constant of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    /// Each flow's own, at this place of its arguments.
    Argument(u8),
    /// The same for all flows of the block.
    Inline(u64),
}

/// Some bits of one key word, or of two that are one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bits {
    /// The word, of two the one with the higher bits.
    pub(crate) word: u8,
    pub(crate) shift: u8,
    /// 1 to 64, of two words 1 to 128
    pub(crate) count: u8,
    /// In two words.
    pub(crate) wide: bool,
    /// Those that actions see, right-aligned; of two words all.
    pub(crate) known: u64,
}

impl Bits {
    /// A part of a field.
    pub(crate) fn of(part: Subfield) -> Bits {
        let Location { word, shift } = part.field.info().location;
        let wide = part.field.width() > 64;
        let known =
            if wide { u128::from(u64::MAX) } else { (part.field.known_bits() & part.mask()) >> part.offset };
        Bits { word, shift: shift + part.offset, count: part.bits, wide, known: known as u64 }
    }

    /// The bits of one word as a mask, right-aligned.
    pub(crate) fn ones(self) -> u64 {
        u64::MAX >> (64 - u32::from(self.count.min(64)))
    }
}

/// The conjunctions that a flow is part of: id, clause from 1, number of clauses. A flow that has any does
/// nothing else.
pub(crate) fn clauses(flow: &Flow) -> impl Iterator<Item = (u32, u8, u8)> {
    flow.actions.iter().filter_map(|action| match action {
        Action::Conjunction { id, clause, n_clauses } => Some((*id, *clause, *n_clauses)),
        _ => None,
    })
}

/// Whether the flow is part of conjunctions.
pub(crate) fn is_conjunctive(flow: &Flow) -> bool {
    clauses(flow).next().is_some()
}

/// A flow's block, and its arguments.
pub(crate) fn of_flow(flow: &Flow) -> Result<(Block, Vec<u64>), Unsupported> {
    let refused = |what| Unsupported { table: flow.table, priority: flow.priority, what };
    let mut list = List { known: Known::of(&flow.matching), ops: Vec::new(), arguments: Vec::new() };
    let ops = list.of_actions(flow, &flow.actions).map_err(refused)?;
    Ok((Block { ops }, list.arguments))
}

/// What the flow's match says of every packet that it takes.
#[derive(Debug, Clone, Copy)]
struct Known {
    eth_type: Option<u128>,
    /// Its IP protocol.
    proto: Option<u128>,
}

impl Known {
    fn of(matching: &Match) -> Known {
        Known { eth_type: matching.exact(Field::EthType), proto: matching.exact(Field::NwProto) }
    }

    fn ip(self) -> bool {
        matches!(self.eth_type, Some(0x0800 | 0x86dd))
    }

    /// Whether all packets are so, whatever actions do.
    fn says(self, prereq: Prereq) -> bool {
        match prereq {
            Prereq::None | Prereq::Ethernet => true,
            Prereq::Arp => matches!(self.eth_type, Some(0x0806 | 0x8035)),
            Prereq::Ipv4 => self.eth_type == Some(0x0800),
            Prereq::Ipv6 => self.eth_type == Some(0x86dd),
            Prereq::Ip => self.ip(),
            // A later fragment has none; types, tags and connections come and go.
            Prereq::Tcp
            | Prereq::Udp
            | Prereq::Sctp
            | Prereq::Icmpv4
            | Prereq::Icmpv6
            | Prereq::Nd
            | Prereq::NdSolicit
            | Prereq::NdAdvert
            | Prereq::Vlan
            | Prereq::Ct => false,
        }
    }
}

/// What `mod_vlan_vid` and `mod_vlan_pcp` write to vlan_tci: a tag is there then.
fn tag_write(action: &Action) -> Option<(u128, u128)> {
    const PRESENT: u128 = 0x1000;
    match action {
        Action::ModVlanVid(vid) => Some((u128::from(*vid) | PRESENT, 0x0fff | PRESENT)),
        Action::ModVlanPcp(pcp) => Some((u128::from(*pcp) << 13 | PRESENT, 0xe000 | PRESENT)),
        _ => None,
    }
}

struct List {
    known: Known,
    ops: Vec<Op>,
    arguments: Vec<u64>,
}

impl List {
    /// The steps of an action list.
    fn of_actions(&mut self, flow: &Flow, actions: &[Action]) -> Result<Vec<Op>, What> {
        let outer = std::mem::take(&mut self.ops);
        actions.iter().try_for_each(|action| self.add(flow, action))?;
        Ok(std::mem::replace(&mut self.ops, outer))
    }

    fn add(&mut self, flow: &Flow, action: &Action) -> Result<(), What> {
        if let Some(write) = action.field_write() {
            return self.write(write.field, write.value, write.mask);
        }
        match action {
            Action::Output { port: PortNo::CONTROLLER, .. } => {
                self.punt(flow, &Controller::output(u16::MAX));
                Ok(())
            }
            Action::Controller(controller) => {
                self.punt(flow, controller);
                Ok(())
            }
            Action::Output { port, .. } => self.output(*port),
            Action::OutputTruncated { port: PortNo::CONTROLLER, .. } => {
                self.punt(flow, &Controller::output(u16::MAX));
                Ok(())
            }
            // As in Open vSwitch, these leave packets whole.
            Action::OutputTruncated { port: port @ (PortNo::NORMAL | PortNo::TABLE), .. } => {
                self.output(*port)
            }
            Action::OutputTruncated { port, max_len } => {
                let cut = Punt::cut(*port, *max_len, |constant| self.constant(constant));
                self.step(Op::Cut(cut))
            }
            // A port has no queues.
            Action::Enqueue { port, .. } => self.output(*port),
            Action::SetQueue(_) | Action::PopQueue => Ok(()),
            Action::OutputReg { src } => self.step(Op::OutputBits(Bits::of(*src))),
            Action::Push(src) => self.step(Op::Push(Bits::of(*src))),
            Action::Pop(dst) => self.step(Op::Pop(Bits::of(*dst))),
            Action::Move { src, dst } => self.copy(*src, *dst),
            Action::ModTpSrc(port) => self.write_port([Field::TcpSrc, Field::UdpSrc, Field::SctpSrc], *port),
            Action::ModTpDst(port) => self.write_port([Field::TcpDst, Field::UdpDst, Field::SctpDst], *port),
            Action::DecTtl(controllers) => {
                let told = controllers.iter().map(|id| {
                    let reason = PacketIn::INVALID_TTL;
                    let told = Controller { reason, id: *id, ..Controller::output(u16::MAX) };
                    Punt::new(flow, &told, |constant| self.constant(constant))
                });
                let told = told.collect();
                self.ops.push(Op::DecTtl(told));
                Ok(())
            }
            Action::Resubmit { port, table: next, with_ct_orig: false } => {
                let in_port = port.filter(|port| *port != PortNo::IN_PORT);
                let table = next.unwrap_or(flow.table);
                self.ops.push(Op::Resubmit { table, in_port, miss: Miss::Dropped });
                Ok(())
            }
            Action::GotoTable(next) => {
                self.ops.push(Op::Resubmit { table: *next, in_port: None, miss: Miss::Told });
                Ok(())
            }
            Action::Clone(actions) => {
                let ops = self.of_actions(flow, actions)?;
                self.ops.push(Op::Clone(ops));
                Ok(())
            }
            Action::PushVlan(tpid @ (0x8100 | 0x88a8)) => {
                self.ops.push(Op::PushVlan(*tpid));
                Ok(())
            }
            Action::StripVlan => {
                self.ops.push(Op::PopVlan);
                Ok(())
            }
            Action::ModVlanVid(_) | Action::ModVlanPcp(_) => {
                let (value, mask) = tag_write(action).ok_or(What::Action(action.name()))?;
                self.write(Field::VlanTci, value, mask)
            }
            Action::CheckPktLarger { len, dst } => {
                self.ops.push(Op::PktLarger { len: *len, dst: Bits::of(*dst) });
                Ok(())
            }
            Action::FinTimeout { .. } => self.step(Op::FinTimeout),
            Action::Exit => {
                self.ops.push(Op::Exit);
                Ok(())
            }
            Action::ClearActions => {
                self.ops.push(Op::ClearSet);
                Ok(())
            }
            Action::WriteActions(set) => {
                let part = self.set_part(flow.table, set)?;
                self.ops.push(Op::WriteSet(part));
                Ok(())
            }
            Action::Ct(ct) => self.track(ct),
            Action::CtClear => self.step(Op::CtClear),
            Action::Note(_) | Action::Conjunction { .. } => Ok(()),
            other => Err(What::Action(other.name())),
        }
    }

    fn step(&mut self, op: Op) -> Result<(), What> {
        self.ops.push(op);
        Ok(())
    }

    fn set_part(&mut self, table: u8, set: &[Action]) -> Result<SetPart, What> {
        let mut part = SetPart::default();
        for action in set {
            match action {
                Action::DecTtl(controllers) if controllers == &[0] => part.dec_ttl = true,
                Action::SetQueue(_) => {}
                Action::StripVlan => part.pop_vlan = true,
                Action::PushVlan(tpid @ (0x8100 | 0x88a8)) => part.push_vlan = Some(*tpid),
                Action::Output { port: PortNo::CONTROLLER | PortNo::TABLE, .. } => {
                    return Err(What::Action("CONTROLLER and TABLE within write_actions"));
                }
                Action::Output { port, .. } => {
                    part.last = Some(Final::Output(self.constant(port.0.into())));
                }
                Action::Resubmit { port, table: next, with_ct_orig: false } => {
                    let in_port = port.filter(|port| *port != PortNo::IN_PORT);
                    let table = next.unwrap_or(table);
                    if !matches!(part.last, Some(Final::Output(_))) {
                        part.last = Some(Final::Resubmit { table, in_port });
                    }
                }
                action => {
                    let write = action.field_write().map(|write| (write.field, write.value, write.mask));
                    let tag = || tag_write(action).map(|(value, mask)| (Field::VlanTci, value, mask));
                    // Whether there is a tag is known at the end only.
                    let write = write.or_else(tag).filter(|(field, ..)| *field != Field::VlanPcp);
                    let write = write.ok_or(What::Action("within write_actions: a move, vlan_pcp, ports"))?;
                    let (field, value, mask) = write;
                    let needs = self.need(field);
                    for term in Match::any().with_masked(field, value, mask).terms() {
                        let value = self.constant(term.value);
                        part.writes.push(SetWrite { word: term.word, mask: term.mask, value, needs });
                    }
                }
            }
        }
        Ok(part)
    }

    fn constant(&mut self, value: u64) -> Constant {
        if self.arguments.len() == ARGUMENTS {
            return Constant::Inline(value);
        }
        self.arguments.push(value);
        Constant::Argument((self.arguments.len() - 1) as u8)
    }

    fn output(&mut self, port: PortNo) -> Result<(), What> {
        let op = match port {
            PortNo::IN_PORT => Op::OutputInPort,
            port if port.is_ordinary() => Op::Output(self.constant(port.0.into())),
            PortNo::NORMAL => Op::Normal,
            PortNo::FLOOD => Op::Flood,
            PortNo::ALL => Op::All,
            PortNo::TABLE => Op::Resubmit { table: 0, in_port: None, miss: Miss::Told },
            // Of these there are none.
            reserved => Op::Output(self.constant(reserved.0.into())),
        };
        self.step(op)
    }

    fn punt(&mut self, flow: &Flow, controller: &Controller) {
        let punt = Punt::new(flow, controller, |constant| self.constant(constant));
        self.ops.push(Op::Punt(punt));
    }

    fn write(&mut self, field: Field, value: u128, mask: u128) -> Result<(), What> {
        let needs = self.need(field);
        // A match's terms are a field's words, masks and values.
        for term in Match::any().with_masked(field, value, mask).terms() {
            let value = self.constant(term.value);
            self.ops.push(Op::Write { word: term.word, mask: term.mask, value, needs });
        }
        Ok(())
    }

    /// Write a port of TCP, UDP or SCTP, whichever the packet is.
    fn write_port(&mut self, fields: [Field; 3], port: u16) -> Result<(), What> {
        let location = fields[0].info().location;
        let value = self.constant(u64::from(port) << location.shift);
        for (field, proto) in fields.into_iter().zip([6, 17, 132]) {
            if self.known.proto.is_none_or(|known| known == proto) {
                let (word, mask) = (location.word, 0xffff << location.shift);
                self.ops.push(Op::Write { word, mask, value, needs: self.need(field) });
            }
        }
        Ok(())
    }

    fn copy(&mut self, src: Subfield, dst: Subfield) -> Result<(), What> {
        let needs = [self.need(src.field), self.need(dst.field)].into_iter().flatten().collect();
        self.ops.push(Op::Move { src: Bits::of(src), dst: Bits::of(dst), needs });
        Ok(())
    }

    fn track(&mut self, ct: &Ct) -> Result<(), What> {
        if ct.nat.is_some() || ct.alg.is_some() {
            return Err(What::Action("ct(nat) or ct(alg=)"));
        }
        let zone = match ct.zone {
            CtZone::Number(zone) => Zone::Number(self.constant(zone.into())),
            CtZone::Field(field) => Zone::Bits(Bits::of(field)),
        };
        let outer = std::mem::take(&mut self.ops);
        let written = ct.exec.iter().map(|action| self.exec(action)).collect::<Result<Vec<_>, _>>();
        let exec = std::mem::replace(&mut self.ops, outer);
        let (mut mark, mut label) = (0, 0);
        for (field, mask) in written? {
            *(if field == Field::CtLabel { &mut label } else { &mut mark }) |= mask;
        }
        let Ct { commit, force, table, .. } = *ct;
        self.step(Op::Ct(Box::new(CtOp { zone, commit, force, table, exec, mark: mark as u32, label })))
    }

    /// One of the writes in `ct(exec())`, which are done whatever the packet is: the field, and which of its bits.
    fn exec(&mut self, action: &Action) -> Result<(Field, u128), What> {
        if let Action::Move { src, dst } = action {
            self.ops.push(Op::Move { src: Bits::of(*src), dst: Bits::of(*dst), needs: vec![] });
            return Ok((dst.field, dst.mask()));
        }
        let write = action.field_write().ok_or(What::Action(action.name()))?;
        self.write(write.field, write.value, write.mask)?;
        Ok((write.field, write.mask))
    }

    /// What has to be asked of a packet before the field is read or written by an action.
    fn need(&self, field: Field) -> Option<Prereq> {
        Some(field.info().prereq).filter(|prereq| !self.known.says(*prereq))
    }
}
