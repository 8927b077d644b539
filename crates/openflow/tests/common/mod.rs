//! Random flows, each from one number, so that a failure names what to run again.

#![allow(dead_code, reason = "each test uses its part")]

use footbridge_openflow::action::{Action, Controller, Ct, CtNat, CtZone, NatKind, NatSelection, Subfield};
use footbridge_openflow::field::{Field, Format, Masking};
use footbridge_openflow::flow::FlowFlags;
use footbridge_openflow::{Flow, MacAddr, Match, PortNames, PortNo};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What flows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Everything the crate can say.
    Any,
    /// What Open vSwitch keeps as written when told by OpenFlow 1.0.
    OpenFlow10,
    /// What Open vSwitch keeps as written when told by OpenFlow 1.5.
    OpenFlow15,
}

/// Whether Open vSwitch can read in every version what it writes of the flow. It writes a PCP matched
/// without the present bit, and loads of a part of these fields, as something that it refuses to read.
pub(crate) fn is_readable_everywhere(flow: &Flow) -> bool {
    let (value, mask) = flow.matching.get(Field::VlanTci);
    let text = flow.display(&PortNames::none()).to_string();
    let unreadable = ["->OXM_OF_VLAN_VID[", "->NXM_OF_IP_TOS[", "->NXM_OF_ARP_OP["];
    (mask & 0xe000 == 0 || value & 0x1000 != 0) && !unreadable.iter().any(|part| text.contains(part))
}

/// A source of random flows (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    fn field(&mut self) -> Field {
        Field::all().nth(self.below(Field::all().count() as u64) as usize).unwrap()
    }

    fn bits(&mut self, n: u32) -> u128 {
        let all = if n >= 128 { u128::MAX } else { (1 << n) - 1 };
        let wide = (u128::from(self.next()) << 64) | u128::from(self.next());
        match self.below(5) {
            0 => 0,
            1 => all,
            2 => u128::from(self.below(200)) & all,
            _ => wide & all,
        }
    }

    /// A valid flow.
    pub(crate) fn flow(&mut self, dialect: Dialect) -> Flow {
        loop {
            let flow = self.unchecked_flow(dialect);
            if flow.check().is_empty() {
                return flow;
            }
        }
    }

    /// A flow whose match is valid, whatever its actions.
    pub(crate) fn unchecked_flow(&mut self, dialect: Dialect) -> Flow {
        let matching = self.matching(dialect);
        let mut flow =
            Flow::new(self.below(200) as u8, self.next() as u16, self.next(), matching, Vec::new());
        flow.actions = self.actions(dialect, &flow);
        if self.one_in(4) {
            flow.idle_timeout = self.next() as u16;
            flow.hard_timeout = self.next() as u16;
        }
        if dialect != Dialect::OpenFlow10 && self.one_in(4) {
            flow.importance = self.next() as u16;
        }
        if dialect != Dialect::OpenFlow10 && self.one_in(4) {
            flow.flags = FlowFlags {
                send_flow_rem: self.one_in(2),
                check_overlap: dialect == Dialect::Any && self.one_in(2),
                reset_counts: self.one_in(2),
                no_packet_counts: self.one_in(2),
                no_byte_counts: self.one_in(2),
            };
        }
        flow
    }

    /// A valid match.
    pub(crate) fn matching(&mut self, dialect: Dialect) -> Match {
        let ether = self.pick(&[0, 0x0800, 0x0800, 0x0800, 0x86dd, 0x86dd, 0x0806, 0x8035, 0x88cc, 0x0801]);
        let mut matching = Match::any();
        if ether != 0 {
            matching.set(Field::EthType, ether, Field::EthType.all_ones());
        }
        if (ether == 0x0800 || ether == 0x86dd) && !self.one_in(4) {
            let protocol = self.pick(&[1, 6, 17, 58, 132, 47]);
            matching.set(Field::NwProto, protocol, Field::NwProto.all_ones());
            if protocol == 58 && ether == 0x86dd && self.one_in(2) {
                matching = matching.with(Field::Icmpv6Type, 135 + u128::from(self.below(2)));
                matching = matching.with(Field::Icmpv6Code, 0_u8);
            }
        }
        if self.one_in(3) {
            self.vlan(&mut matching, dialect);
        }
        if self.one_in(4) {
            let mask = self.pick(&[0x21, 0x22, 0x3f, 0x31, 0xff]);
            let value = (self.bits(8) | 0x20) & mask & !0x10;
            matching.set(Field::CtState, value, mask);
        }
        for _ in 0..self.below(5) {
            let field = self.field();
            let settled = [
                Field::EthType,
                Field::NwProto,
                Field::CtState,
                Field::VlanTci,
                Field::VlanVid,
                Field::VlanPcp,
                Field::InPortOxm,
                Field::NwTos,
                Field::PacketType,
                Field::SkbPriority,
                Field::ActsetOutput,
            ];
            let tunnel_option = field.name().starts_with("tun_metadata");
            let free = Field::all().all(|f| !f.shares_bits(field) || matching.get(f).1 == 0);
            let family = match field {
                Field::CtNwSrc | Field::CtNwDst => Some(0x0800),
                Field::CtIpv6Src | Field::CtIpv6Dst => Some(0x86dd),
                _ => None,
            };
            if settled.contains(&field)
                || family.is_some_and(|family| family != ether)
                || (tunnel_option && dialect != Dialect::Any)
                || !free
                || !field.info().prereq.holds(&matching)
            {
                continue;
            }
            let (value, mask) = self.value(field);
            matching.set(field, value, mask);
        }
        // Bits that ovs-ofctl prints only beside others.
        if matching.get(Field::CtNwProto).1 == 0 {
            matching.set(Field::CtTpSrc, 0, 0);
            matching.set(Field::CtTpDst, 0, 0);
        }
        matching
    }

    fn vlan(&mut self, matching: &mut Match, dialect: Dialect) {
        let tci = self.bits(16);
        // OpenFlow 1.2 and later have no vlan_tci.
        let kinds = if dialect == Dialect::OpenFlow15 { 3 } else { 5 };
        let (value, mask) = match self.below(kinds) {
            0 => (tci | 0x1000, 0x1fff),
            1 => (tci | 0x1000, 0xf000),
            2 if dialect == Dialect::OpenFlow15 => (tci | 0x1000, 0xffff),
            2 => (0, 0xffff),
            3 => (tci, self.bits(16)),
            _ => (tci | 0x1000, 0xffff),
        };
        matching.set(Field::VlanTci, value & mask, mask);
    }

    /// A value and a mask that text has words for.
    fn value(&mut self, field: Field) -> (u128, u128) {
        let info = field.info();
        let all = field.all_ones();
        let mut value = self.bits(field.width());
        match info.format {
            Format::Port => (u128::from(self.below(0xff00)), all),
            Format::Frag => self.pick(&[(0, 3), (1, 3), (3, 3), (1, 1), (0, 2)]),
            _ => {
                if field == Field::ArpOp {
                    value &= 0xff;
                } else if field == Field::CtNwProto {
                    // ovs-ofctl does not send 0.
                    value |= 1;
                }
                let mask = match info.masking {
                    Masking::Exact => all,
                    Masking::Bitwise if field == Field::TunGbpFlags => all,
                    Masking::Bitwise => match (self.below(4), info.format) {
                        // Open vSwitch can't read one that begins with a decimal digit.
                        (0, Format::Ipv6) => self.bits(128) | (0xf << 124),
                        (0, _) => self.bits(field.width()),
                        (1, Format::Ipv4 | Format::Ipv6) => {
                            all & !(all >> self.below(u64::from(field.width())))
                        }
                        _ => all,
                    },
                };
                (value & mask, mask)
            }
        }
    }

    fn actions(&mut self, dialect: Dialect, flow: &Flow) -> Vec<Action> {
        if self.one_in(12) {
            return (0..=self.below(3)).map(|_| self.conjunction()).collect();
        }
        let mut actions: Vec<Action> = (0..self.below(6)).map(|_| self.action(dialect, flow, 0)).collect();
        if dialect != Dialect::OpenFlow10 {
            if dialect == Dialect::Any && self.one_in(8) {
                actions.insert(0, Action::Meter(1 + self.below(100) as u32));
            }
            if self.one_in(8) {
                actions.push(Action::ClearActions);
            }
            if self.one_in(8) {
                let set = (0..=self.below(3)).map(|_| self.action(dialect, flow, 1)).collect();
                actions.push(Action::WriteActions(set));
            }
            if self.one_in(8) {
                let mask = if self.one_in(2) { u64::MAX } else { self.next() };
                actions.push(Action::WriteMetadata { value: self.next() & mask, mask });
            }
            if self.one_in(4) && flow.table < 250 {
                actions.push(Action::GotoTable(flow.table + 1 + self.below(4) as u8));
            }
        }
        actions
    }

    fn conjunction(&mut self) -> Action {
        let n_clauses = 2 + self.below(63) as u8;
        let clause = 1 + self.below(u64::from(n_clauses)) as u8;
        Action::Conjunction { id: self.next() as u32, clause, n_clauses }
    }

    fn port(&mut self) -> PortNo {
        PortNo(1 + self.below(0xfefe) as u32)
    }

    fn mac(&mut self) -> MacAddr {
        MacAddr::from(self.bits(48))
    }

    /// A range of a field that NXM can name, at most 64 bits wide.
    fn part(&mut self, of_width: Option<u8>, written: bool) -> Subfield {
        loop {
            let field = self.field();
            let info = field.info();
            let usable = info.nxm.is_some() && (!written || info.writable);
            let unsure = field.name().starts_with("tun_metadata")
                || field.name().starts_with("nd_o")
                || field.name().starts_with("nd_r")
                || field == Field::ConjId
                || field == Field::InPort;
            let width = of_width.unwrap_or(1 + self.below(u64::from(info.width.min(64))) as u8);
            if !usable || unsure || width > info.width {
                continue;
            }
            let start = self.below(u64::from(info.width - width) + 1) as u8;
            return Subfield::range(field, start, start + width - 1).unwrap();
        }
    }

    fn action(&mut self, dialect: Dialect, flow: &Flow, depth: u32) -> Action {
        let common = 13;
        let kinds = match dialect {
            Dialect::OpenFlow10 => common + 12,
            Dialect::OpenFlow15 => common,
            Dialect::Any => common + 12,
        };
        let newer = dialect != Dialect::OpenFlow10;
        if newer && self.one_in(4) {
            return self.newer_action(dialect);
        }
        match self.below(kinds) {
            0 => Action::output(self.port()),
            1 => Action::output(self.pick(&[
                PortNo::LOCAL,
                PortNo::IN_PORT,
                PortNo::NORMAL,
                PortNo::FLOOD,
                PortNo::ALL,
            ])),
            2 => Action::OutputReg { src: self.part(Some(16), false) },
            3 => self.controller(),
            4 => Action::OutputTruncated { port: self.port(), max_len: 14 + self.below(2000) as u32 },
            5 => {
                let src = self.part(None, false);
                Action::Move { src, dst: self.part(Some(src.bits), true) }
            }
            6 => self.resubmit(),
            7 => self.ct(dialect, flow),
            8 => Action::CtClear,
            9 => Action::Push(self.part(None, false)),
            10 => Action::Pop(self.part(None, true)),
            11 => {
                let dst = self.part(Some(1), true);
                Action::CheckPktLarger { len: self.next() as u16, dst }
            }
            12 if depth < 2 => {
                Action::Clone((0..=self.below(2)).map(|_| self.action(dialect, flow, depth + 1)).collect())
            }
            12 => Action::SetQueue(self.next() as u32),
            13 => {
                let dst = self.part(None, true);
                Action::Load { value: self.bits(dst.bits.into()), dst }
            }
            14 => Action::ModDlSrc(self.mac()),
            15 => Action::ModDlDst(self.mac()),
            16 => Action::ModNwSrc(Ipv4Addr::from(self.next() as u32)),
            17 => Action::ModNwDst(Ipv4Addr::from(self.next() as u32)),
            18 => Action::ModNwTos(self.next() as u8 & 0xfc),
            19 => Action::ModTpSrc(self.next() as u16),
            20 => Action::ModTpDst(self.next() as u16),
            21 => self.pick(&[
                Action::ModVlanVid as fn(u16) -> Action,
                (|v| Action::ModVlanPcp((v & 7) as u8)) as fn(u16) -> Action,
                (|_| Action::StripVlan) as fn(u16) -> Action,
            ])(self.next() as u16 & 0xfff),
            22 if self.one_in(2) => Action::DecTtl(vec![0]),
            22 => Action::DecTtl((0..=self.below(3)).map(|_| self.next() as u16).collect()),
            23 => self.odd_action(),
            _ if dialect == Dialect::Any && self.one_in(2) => match self.below(3) {
                0 => Action::ModNwEcn(self.below(4) as u8),
                1 => Action::ModNwTtl(self.next() as u8),
                _ => Action::Note((0..self.below(20)).map(|_| self.next() as u8).collect()),
            },
            _ => self.odd_action(),
        }
    }

    fn odd_action(&mut self) -> Action {
        match self.below(6) {
            0 => {
                let wide = self.one_in(2);
                let id = if wide { self.next() } else { self.below(1 << 32) };
                Action::SetTunnel { id, wide }
            }
            1 => Action::Enqueue { port: self.port(), queue: self.next() as u32 },
            2 => Action::PopQueue,
            3 => Action::Exit,
            4 => Action::FinTimeout { idle: self.below(3) as u16 * 10, hard: self.next() as u16 },
            // Padded to what the wire has room for.
            _ => Action::Note((0..6 + 8 * self.below(3)).map(|_| self.next() as u8).collect()),
        }
    }

    fn newer_action(&mut self, dialect: Dialect) -> Action {
        match self.below(4) {
            0 => Action::PushVlan(self.pick(&[0x8100, 0x88a8])),
            1 if dialect == Dialect::Any => Action::Group(self.next() as u32 & 0xffff),
            _ => loop {
                let field = self.field();
                let unsure = field.name().starts_with("tun_metadata") || field == Field::ConjId;
                let odd = [Field::InPort, Field::InPortOxm, Field::TunFlags, Field::NwTos, Field::NdReserved];
                if !field.info().writable || unsure || odd.contains(&field) {
                    continue;
                }
                let (value, mask) = self.value(field);
                if mask != 0 {
                    return Action::set_field(field, value, mask);
                }
            },
        }
    }

    fn resubmit(&mut self) -> Action {
        let port = self.one_in(2).then(|| self.port());
        let table = (port.is_none() || self.one_in(2)).then(|| self.below(255) as u8);
        Action::Resubmit { port, table, with_ct_orig: table.is_some() && self.one_in(4) }
    }

    fn controller(&mut self) -> Action {
        let simple = self.one_in(2);
        Action::controller(Controller {
            max_len: if self.one_in(2) { u16::MAX } else { self.next() as u16 },
            reason: if simple { 1 } else { self.below(6) as u8 },
            id: if simple { 0 } else { self.next() as u16 },
            userdata: if simple {
                Vec::new()
            } else {
                (0..self.below(9)).map(|_| self.next() as u8).collect()
            },
            pause: !simple && self.one_in(2),
            meter: None,
        })
    }

    fn ct(&mut self, dialect: Dialect, flow: &Flow) -> Action {
        let commit = self.one_in(2);
        let mark = |random: &mut Random| match dialect {
            Dialect::OpenFlow15 => Action::set_field(Field::CtMark, random.bits(32), 0xffff_ffff),
            _ => {
                let (start, end) = random.pick(&[(0, 31), (0, 15), (7, 7), (4, 8)]);
                let dst = Subfield::range(Field::CtMark, start, end).unwrap();
                Action::Load { value: random.bits(dst.bits.into()), dst }
            }
        };
        Action::Ct(Box::new(Ct {
            commit,
            force: commit && self.one_in(2),
            table: self.one_in(2).then(|| self.below(255) as u8),
            zone: match self.below(3) {
                0 => CtZone::Number(0),
                1 => CtZone::Number(self.next() as u16),
                _ => CtZone::Field(self.part(Some(16), false)),
            },
            nat: self.one_in(3).then(|| self.nat(flow)),
            alg: match flow.matching.exact(Field::NwProto) {
                Some(6) if self.one_in(4) => Some(21),
                Some(17) if self.one_in(4) => Some(69),
                _ => None,
            },
            exec: if self.one_in(3) { (0..self.below(3)).map(|_| mark(self)).collect() } else { Vec::new() },
        }))
    }

    fn nat(&mut self, flow: &Flow) -> CtNat {
        if self.one_in(4) {
            return CtNat::default();
        }
        let v6 = flow.matching.exact(Field::EthType) == Some(0x86dd);
        let (low, high) = (self.next() as u32 | 1, self.next() as u32 | 1);
        let address = |n: u32| match v6 {
            true => IpAddr::V6(Ipv6Addr::from((0xfd00_u128 << 112) | u128::from(n))),
            false => IpAddr::V4(Ipv4Addr::from(n)),
        };
        let addresses = (!self.one_in(3)).then(|| {
            (address(low.min(high)), address(if self.one_in(2) { low.min(high) } else { low.max(high) }))
        });
        let (from, to) = (1 + self.below(30_000) as u16, 30_001 + self.below(30_000) as u16);
        CtNat {
            kind: Some(if self.one_in(2) { NatKind::Source } else { NatKind::Destination }),
            addresses,
            ports: (addresses.is_some() && self.one_in(2))
                .then(|| (from, if self.one_in(2) { from } else { to })),
            persistent: addresses.is_some() && self.one_in(3),
            selection: match (addresses.is_some(), self.below(3)) {
                (true, 0) => NatSelection::Hash,
                (true, 1) => NatSelection::Random,
                _ => NatSelection::Unspecified,
            },
        }
    }
}
