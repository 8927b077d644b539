//! Action lists as blocks: what a list does, with its constants taken out, so that many flows share
//! one block's code and differ in their arguments only.

use super::layout::{ARP, ETHERNET, IPV4, is_packet_word, word};
use super::{Unsupported, What};
use footbridge_openflow::action::Subfield;
use footbridge_openflow::field::{Location, Prereq};
use footbridge_openflow::{Action, Field, Flow, Match, PortNo};

/// How many constants of one flow can differ from those of the others of its block.
pub(crate) const ARGUMENTS: usize = 7;

/// What one action list does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Block {
    pub(crate) ops: Vec<Op>,
    /// The table that the packet goes on in, when the list is done.
    pub(crate) next: Option<u8>,
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
        needs: Option<Need>,
    },
    /// Some bits of a key word are copied.
    Move {
        /// From where.
        src: Bits,
        /// To where.
        dst: Bits,
        /// What the packet has to be.
        needs: Vec<Need>,
    },
    /// One less, or the list ends.
    DecTtl,
    /// To the port of this number.
    Output(Constant),
    /// Back to where it came from.
    OutputInPort,
    /// To where its destination was seen, as a learning switch does.
    Normal,
    /// To all ports but the one it came in on.
    Flood,
    /// To the port whose number the bits say, 16 at most.
    OutputBits(Bits),
}

/// A constant of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    /// Each flow's own, at this place of its arguments.
    Argument(u8),
    /// The same for all flows of the block.
    Inline(u64),
}

/// Some bits of one key word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bits {
    pub(crate) word: u8,
    pub(crate) shift: u8,
    /// 1 to 64
    pub(crate) count: u8,
}

impl Bits {
    /// The bits as a mask, right-aligned.
    pub(crate) fn ones(self) -> u64 {
        u64::MAX >> (64 - u32::from(self.count))
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

/// What a packet has to be for a field to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    /// Of Ethernet type 0x0806 or 0x8035.
    Arp,
    /// Of Ethernet type 0x0800.
    Ipv4,
    /// IPv4, of this protocol, and no later fragment.
    Transport(u8),
}

/// A flow's block, and its arguments.
pub(crate) fn of_flow(flow: &Flow) -> Result<(Block, Vec<u64>), Unsupported> {
    let refused = |what| Unsupported { table: flow.table, priority: flow.priority, what };
    check_match(&flow.matching).map_err(refused)?;
    let mut list = List { known: Known::of(&flow.matching), block: Block::default(), arguments: Vec::new() };
    let last = flow.actions.len().saturating_sub(1);
    for (index, action) in flow.actions.iter().enumerate() {
        list.add(flow.table, action, index == last).map_err(refused)?;
    }
    Ok((list.block, list.arguments))
}

/// Whether the program knows the fields that the match asks for.
fn check_match(matching: &Match) -> Result<(), What> {
    let known = Known::of(matching);
    for term in matching.terms() {
        let supported = match term.word {
            word if !is_packet_word(word) || ETHERNET.has(word) => true,
            word if ARP.has(word) => known.arp,
            word if IPV4.has(word) => known.ipv4,
            _ => false,
        };
        if !supported {
            return Err(What::Match(field_in(term.word, term.mask)));
        }
    }
    Ok(())
}

/// A field of those bits, for a message.
fn field_in(word: u8, mask: u64) -> &'static str {
    let of_word = |field: &Field| {
        let Location { word: first, shift } = field.info().location;
        let wide = field.width() > 64 && word == first + 1;
        let bits = if field.width() >= 64 { u64::MAX } else { ((1 << field.width()) - 1) << shift };
        wide || (word == first && mask & bits != 0)
    };
    Field::all().find(of_word).map_or("an unknown field", Field::name)
}

/// What the flow's match says of every packet that it takes.
#[derive(Debug, Clone, Copy)]
struct Known {
    arp: bool,
    ipv4: bool,
    /// Its IP protocol.
    proto: Option<u128>,
}

impl Known {
    fn of(matching: &Match) -> Known {
        let eth_type = matching.exact(Field::EthType);
        let arp = matches!(eth_type, Some(0x0806 | 0x8035));
        Known { arp, ipv4: eth_type == Some(0x0800), proto: matching.exact(Field::NwProto) }
    }
}

struct List {
    known: Known,
    block: Block,
    arguments: Vec<u64>,
}

impl List {
    fn add(&mut self, table: u8, action: &Action, last: bool) -> Result<(), What> {
        if let Some(write) = action.field_write() {
            return self.write(write.field, write.value, write.mask);
        }
        match action {
            Action::Output { port, .. } => self.output(*port),
            Action::OutputReg { src } => {
                let bits = bits_of(*src).filter(|bits| !is_packet_word(bits.word));
                let bits = bits.ok_or(What::Field(src.field.name()))?;
                self.block.ops.push(Op::OutputBits(bits));
                Ok(())
            }
            Action::Move { src, dst } => self.copy(*src, *dst),
            Action::ModTpSrc(port) => self.write_port(action, [Field::TcpSrc, Field::UdpSrc], *port),
            Action::ModTpDst(port) => self.write_port(action, [Field::TcpDst, Field::UdpDst], *port),
            Action::DecTtl(controllers) if controllers == &[0] && self.known.ipv4 => {
                self.block.ops.push(Op::DecTtl);
                Ok(())
            }
            Action::Resubmit { port: None | Some(PortNo::IN_PORT), table: next, with_ct_orig: false }
                if last =>
            {
                self.block.next = Some(next.unwrap_or(table));
                Ok(())
            }
            Action::Resubmit { with_ct_orig: false, port: None, .. } => {
                Err(What::Action("resubmit before other actions"))
            }
            Action::GotoTable(next) if last => {
                self.block.next = Some(*next);
                Ok(())
            }
            Action::Note(_) | Action::ClearActions | Action::Conjunction { .. } => Ok(()),
            other => Err(What::Action(other.name())),
        }
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
            // There are no tunnels, which alone tell them apart.
            PortNo::FLOOD | PortNo::ALL => Op::Flood,
            PortNo::CONTROLLER => return Err(What::Action("CONTROLLER")),
            _ => return Err(What::Action("output to a reserved port")),
        };
        self.block.ops.push(op);
        Ok(())
    }

    fn write(&mut self, field: Field, value: u128, mask: u128) -> Result<(), What> {
        if matches!(field, Field::InPort | Field::InPortOxm) {
            return Err(What::Field(field.name()));
        }
        let needs = self.need(field)?;
        // A match's terms are a field's words, masks and values.
        for term in Match::any().with_masked(field, value, mask).terms() {
            let value = self.constant(term.value);
            self.block.ops.push(Op::Write { word: term.word, mask: term.mask, value, needs });
        }
        Ok(())
    }

    /// Write a port of TCP or UDP, whichever the flow takes.
    fn write_port(&mut self, action: &Action, [tcp, udp]: [Field; 2], port: u16) -> Result<(), What> {
        match self.known.proto {
            Some(6) => self.write(tcp, port.into(), 0xffff),
            Some(17) => self.write(udp, port.into(), 0xffff),
            _ => Err(What::Action(action.name())),
        }
    }

    fn copy(&mut self, src: Subfield, dst: Subfield) -> Result<(), What> {
        if matches!(dst.field, Field::InPort | Field::InPortOxm) {
            return Err(What::Field(dst.field.name()));
        }
        let needs = [self.need(src.field)?, self.need(dst.field)?].into_iter().flatten().collect();
        let from = bits_of(src).ok_or(What::Field(src.field.name()))?;
        let to = bits_of(dst).ok_or(What::Field(dst.field.name()))?;
        self.block.ops.push(Op::Move { src: from, dst: to, needs });
        Ok(())
    }

    /// What has to be asked of a packet before the field is read or written by an action.
    fn need(&self, field: Field) -> Result<Option<Need>, What> {
        let word = word(field);
        if !is_packet_word(word) || matches!(field, Field::EthDst | Field::EthSrc) {
            return Ok(None);
        }
        let supported = ARP.has(word) || IPV4.has(word);
        let transport = |proto| Ok(self.known.ipv4.then_some(Need::Transport(proto)));
        match field.info().prereq {
            _ if !supported => Err(What::Field(field.name())),
            Prereq::Arp => Ok((!self.known.arp).then_some(Need::Arp)),
            Prereq::Ipv4 => Ok((!self.known.ipv4).then_some(Need::Ipv4)),
            // Without the Ethernet type it might be IPv6's.
            Prereq::Ip if self.known.ipv4 => Ok(None),
            Prereq::Tcp if self.known.ipv4 => transport(6),
            Prereq::Udp if self.known.ipv4 => transport(17),
            Prereq::Icmpv4 if self.known.ipv4 => transport(1),
            _ => Err(What::Field(field.name())),
        }
    }
}

/// The bits of a field's part; None where they are in two words.
fn bits_of(subfield: Subfield) -> Option<Bits> {
    let Location { word, shift } = subfield.field.info().location;
    if subfield.field.width() <= 64 {
        return Some(Bits { word, shift: shift + subfield.offset, count: subfield.bits });
    }
    match (subfield.offset, subfield.offset + subfield.bits) {
        (offset @ 64.., _) => Some(Bits { word, shift: offset - 64, count: subfield.bits }),
        (offset, ..=64) => Some(Bits { word: word + 1, shift: offset, count: subfield.bits }),
        _ => None,
    }
}
