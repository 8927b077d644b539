//! Which bits of a packet somebody still looks at, from each table on.
//!
//! Packets that differ in other bits only are one to what follows; telling them apart would make the
//! same work over and over. Too many live bits cost time, too few would be wrong: a bit is live
//! unless it is overwritten, whatever the packet, before anything reads it.

use crate::space::{CT_WORDS, KEY_WORDS};
use footbridge_openflow::action::{Ct, CtZone, Subfield};
use footbridge_openflow::field::Prereq;
use footbridge_openflow::{Action, Field, Match, PortNo};
use footbridge_pipeline::Pipeline;

/// Bits of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Live([u64; KEY_WORDS]);

impl Live {
    pub(crate) const NONE: Live = Live([0; KEY_WORDS]);

    pub(crate) fn word(&self, number: u8) -> u64 {
        self.0.get(usize::from(number)).copied().unwrap_or(0)
    }

    pub(crate) fn words(&self) -> &[u64; KEY_WORDS] {
        &self.0
    }

    /// All other bits.
    pub(crate) fn inverted(&self) -> Live {
        Live(self.0.map(|word| !word))
    }

    pub(crate) fn with(mut self, other: &Live) -> Live {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
        self
    }

    pub(crate) fn add(&mut self, field: Field, mask: u128) {
        each_word(field, mask, |word, bits| self.0[word] |= bits);
    }

    fn remove(&mut self, field: Field, mask: u128) {
        each_word(field, mask, |word, bits| self.0[word] &= !bits);
    }

    pub(crate) fn has(&self, field: Field, mask: u128) -> bool {
        let mut any = false;
        each_word(field, mask, |word, bits| any |= self.0[word] & bits != 0);
        any
    }

    fn add_match(&mut self, matching: &Match) {
        for term in matching.terms() {
            if let Some(word) = self.0.get_mut(usize::from(term.word)) {
                *word |= term.mask;
            }
        }
    }

    fn add_prereq(&mut self, prereq: Prereq) {
        let fields: &[Field] = match prereq {
            Prereq::None | Prereq::Ethernet => &[],
            Prereq::Vlan => &[Field::VlanTci],
            Prereq::Arp | Prereq::Ipv4 | Prereq::Ipv6 | Prereq::Ip => &[Field::EthType],
            Prereq::Tcp | Prereq::Udp | Prereq::Sctp | Prereq::Icmpv4 | Prereq::Icmpv6 => {
                &[Field::EthType, Field::NwProto, Field::IpFrag]
            }
            Prereq::Nd | Prereq::NdSolicit | Prereq::NdAdvert => {
                &[Field::EthType, Field::NwProto, Field::IpFrag, Field::Icmpv6Type, Field::Icmpv6Code]
            }
            Prereq::Ct => &[Field::CtState],
        };
        fields.iter().for_each(|field| self.add(*field, field.all_ones()));
    }

    fn remove_tracking(&mut self) {
        CT_WORDS.for_each(|word| self.0[usize::from(word)] = 0);
    }
}

fn each_word(field: Field, mask: u128, mut each: impl FnMut(usize, u64)) {
    let row = field.info();
    let (word, mask) = (usize::from(row.location.word), mask & field.all_ones());
    match row.width > 64 {
        true => {
            each(word, (mask >> 64) as u64);
            each(word + 1, mask as u64);
        }
        false => each(word, (mask as u64) << row.location.shift),
    }
}

/// What of a packet is seen where it leaves: the frame, but for nw_ttl, whose decrements are counted,
/// and the tunnel's id and addresses.
pub(crate) fn seen_at_output() -> Live {
    let mut live = Live::NONE;
    for field in Field::all() {
        let in_frame = footbridge_pipeline::packet::is_packet_field(field);
        if in_frame || matches!(field, Field::TunId | Field::TunSrc | Field::TunDst | Field::TunIpv6Dst) {
            live.add(field, field.all_ones());
        }
    }
    live.remove(Field::NwTtl, Field::NwTtl.all_ones());
    live
}

/// The live bits of all tables.
#[derive(Debug)]
pub(crate) struct Liveness {
    tables: Vec<Live>,
    /// What outputs look at.
    seen: Live,
    /// Whether anything but dec_ttl looks at nw_ttl; asked of [`Liveness::of`] only.
    pub(crate) ttl_is_read: bool,
}

impl Liveness {
    /// What somebody looks at in tables, actions and outputs.
    pub(crate) fn of(pipeline: &Pipeline) -> Liveness {
        let mut seen = seen_at_output();
        for field in [Field::InPortOxm, Field::TunDst, Field::TunIpv6Dst] {
            seen.add(field, field.all_ones());
        }
        let mut liveness = Liveness::with(pipeline, seen);
        liveness.ttl_is_read = pipeline.entries().any(|entry| {
            entry.flow.matching.get(Field::NwTtl).1 != 0 || entry.flow.actions.iter().any(reads_ttl)
        });
        liveness
    }

    /// What decides the packet's way: what is only carried to the outputs is left out.
    pub(crate) fn of_ways(pipeline: &Pipeline) -> Liveness {
        Liveness::with(pipeline, Live::NONE)
    }

    fn with(pipeline: &Pipeline, seen: Live) -> Liveness {
        let mut liveness = Liveness { tables: vec![Live::NONE; 256], seen, ttl_is_read: false };
        let numbers: Vec<u8> = pipeline.tables().collect();
        loop {
            let mut stable = true;
            for number in numbers.iter().rev().copied() {
                let mut live = liveness.tables[usize::from(number)];
                for entry in pipeline.table(number) {
                    let after = liveness.before(&entry.flow.actions, number, Live::NONE);
                    live = live.with(&after);
                    live.add_match(&entry.flow.matching);
                }
                stable &= live == liveness.tables[usize::from(number)];
                liveness.tables[usize::from(number)] = live;
            }
            if stable {
                break;
            }
        }
        liveness
    }

    /// What is live when a packet is looked up in a table.
    pub(crate) fn at(&self, table: u8) -> &Live {
        &self.tables[usize::from(table)]
    }

    /// What is live before a list of actions of a flow in `table`, if `after` is behind it.
    pub(crate) fn before(&self, actions: &[Action], table: u8, after: Live) -> Live {
        actions.iter().rev().fold(after, |live, action| self.before_one(action, table, live))
    }

    fn before_one(&self, action: &Action, table: u8, mut live: Live) -> Live {
        if let Some(write) = action.field_write() {
            let prereq = write.field.info().prereq;
            match prereq {
                Prereq::None | Prereq::Ethernet => live.remove(write.field, write.mask),
                // Not written where the packet lacks it.
                _ if live.has(write.field, write.mask) => live.add_prereq(prereq),
                _ => {}
            }
            return live;
        }
        match action {
            Action::Move { src, dst } => {
                if live.has(dst.field, dst.mask()) {
                    let (from, to) = (src.field.info().prereq, dst.field.info().prereq);
                    if [from, to].iter().all(|prereq| matches!(prereq, Prereq::None | Prereq::Ethernet)) {
                        live.remove(dst.field, dst.mask() & dst.field.known_bits());
                    }
                    live.add_prereq(from);
                    live.add_prereq(to);
                    live.add(src.field, src.mask());
                }
            }
            Action::Push(src) => live.add(src.field, src.mask()),
            Action::Pop(_) | Action::Note(_) | Action::SetQueue(_) | Action::PopQueue => {}
            Action::OutputReg { src } => {
                live = live.with(&self.seen);
                live.add(src.field, src.mask());
            }
            Action::Output { port, .. } | Action::OutputTruncated { port, .. } | Action::Enqueue { port, .. } => {
                live = live.with(&self.seen);
                if *port == PortNo::TABLE {
                    live = live.with(self.at(0));
                }
            }
            Action::Controller(_) => live = live.with(&self.seen),
            Action::Resubmit { table: to, .. } => live = live.with(self.at(to.unwrap_or(table))),
            Action::GotoTable(to) => live = live.with(self.at(*to)),
            Action::Ct(ct) => live = self.before_ct(ct, live),
            Action::CtClear => live.remove_tracking(),
            Action::Clone(actions) => live = live.with(&self.before(actions, table, Live::NONE)),
            Action::DecTtl(_) => {
                live.add(Field::NwTtl, Field::NwTtl.all_ones());
                live.add_prereq(Prereq::Ip);
            }
            Action::ModTpSrc(_) | Action::ModTpDst(_) => live.add_prereq(Prereq::Tcp),
            Action::ModVlanVid(_) | Action::ModVlanPcp(_) | Action::StripVlan | Action::PushVlan(_) => {
                live.add_prereq(Prereq::Vlan);
            }
            Action::FinTimeout { .. }
            | Action::Exit
            | Action::Conjunction { .. }
            | Action::ClearActions
            // Refused, or done above.
            | Action::CheckPktLarger { .. }
            | Action::WriteActions(_)
            | Action::Group(_)
            | Action::Meter(_)
            | Action::Load { .. }
            | Action::SetField { .. }
            | Action::ModDlSrc(_)
            | Action::ModDlDst(_)
            | Action::ModNwSrc(_)
            | Action::ModNwDst(_)
            | Action::ModNwTos(_)
            | Action::ModNwEcn(_)
            | Action::ModNwTtl(_)
            | Action::SetTunnel { .. }
            | Action::WriteMetadata { .. } => {}
        }
        live
    }

    fn before_ct(&self, ct: &Ct, mut live: Live) -> Live {
        live = live.with(&ct.table.map_or(Live::NONE, |table| *self.at(table)));
        live.remove_tracking();
        let read = |live: &mut Live, part: Subfield| live.add(part.field, part.mask());
        for action in &ct.exec {
            if let Action::Move { src, .. } = action {
                read(&mut live, *src);
            }
        }
        if let CtZone::Field(part) = ct.zone {
            read(&mut live, part);
        }
        // Whether it is the connection that an earlier ct() found.
        TUPLE.iter().for_each(|field| live.add(*field, field.all_ones()));
        live
    }
}

/// The fields by which ct() knows a connection.
pub(crate) const TUPLE: [Field; 8] = [
    Field::NwSrc,
    Field::NwDst,
    Field::Ipv6Src,
    Field::Ipv6Dst,
    Field::TcpSrc,
    Field::TcpDst,
    Field::IcmpType,
    Field::IcmpCode,
];

/// Whether the action reads the TTL, or leaves some of it as it is: then it is not enough to know by how much it is
/// less.
fn reads_ttl(action: &Action) -> bool {
    let is = |part: &Subfield| part.field == Field::NwTtl;
    let keeps = |mask: u128| mask & Field::NwTtl.all_ones() != Field::NwTtl.all_ones();
    if let Some(write) = action.field_write() {
        return write.field == Field::NwTtl && keeps(write.mask);
    }
    match action {
        Action::Move { src, dst } => is(src) || is(dst) && keeps(dst.mask()),
        Action::Pop(dst) => is(dst) && keeps(dst.mask()),
        Action::Push(src) | Action::OutputReg { src } => is(src),
        Action::Clone(actions) => actions.iter().any(reads_ttl),
        Action::Ct(ct) => {
            ct.exec.iter().any(reads_ttl) || matches!(&ct.zone, CtZone::Field(part) if is(part))
        }
        _ => false,
    }
}
