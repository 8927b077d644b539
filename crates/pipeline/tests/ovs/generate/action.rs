//! Actions of all kinds.

use super::{Generator, MACS, UNDERLAY};
use crate::instance::{GENEVE, VXLAN};
use footbridge_openflow::action::{Controller, Ct, CtZone};
use footbridge_openflow::field::{Masking, Prereq};
use footbridge_openflow::{Action, Field, Field::*, MacAddr, Match, PortNo, Subfield};
use std::net::Ipv4Addr;

/// Where a list of actions stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) table: u8,
    pub(super) matching: &'a Match,
    /// How many actions are around it.
    pub(super) depth: u32,
    /// The flow goes by OpenFlow 1.0. Its own actions alone mean the same there, and they alone are
    /// taken without a match on the protocol; from 1.1 on `mod_vlan_*` is two actions, of which the
    /// first does another thing where there is a tag already.
    pub(super) old: bool,
    /// Whether the list is of an action set.
    pub(super) in_set: bool,
}

impl Generator<'_> {
    /// A list of actions, and whether it is to go by OpenFlow 1.0.
    pub(super) fn actions(&mut self, table: u8, matching: &Match) -> (Vec<Action>, bool) {
        let place = Place { table, matching, depth: 0, old: self.random.one_in(5), in_set: false };
        let count = self.random.pick(&[0, 1, 1, 2, 2, 3, 4, 6]);
        let mut actions: Vec<Action> = (0..count).flat_map(|_| self.action(place)).collect();
        if self.random.one_in(2) {
            actions.push(self.resubmit(place));
        }
        self.keep_apart(place, &mut actions);
        if place.old {
            return (actions, true);
        }
        let ends = self.palette.lengths && matches!(actions.last(), Some(Action::Resubmit { .. }));
        let goes_on = table + 1 < self.palette.tables && !ends;
        match self.random.below(8) {
            0 if self.sets => actions.push(Action::WriteActions(self.action_set(place))),
            1 if self.sets => actions.push(Action::ClearActions),
            2 => {
                let mask = self.random.pick(&[u64::MAX, 0xf, 0xff00]);
                actions.push(Action::WriteMetadata { value: self.random.below(16) & mask, mask });
            }
            _ => {}
        }
        if goes_on && self.random.one_in(4) {
            actions.push(Action::GotoTable(self.later_table(table)));
        }
        (actions, false)
    }

    /// Keep only what Open vSwitch does as it says (docs/conformance.md).
    fn keep_apart(&self, place: Place<'_>, actions: &mut Vec<Action>) {
        // Of tags it keeps two, and loses them all when the outer one's present bit is cleared or
        // NORMAL takes it off: pushes stand once, in the first table, of cases without these.
        let mut tags = 0;
        actions.retain(|action| {
            tags += u32::from(matches!(action, Action::PushVlan(_)));
            !matches!(action, Action::PushVlan(_)) || (place.table == 0 && tags == 1)
        });
        // It knows whether there is a tag left to strip.
        let writes_tag = |action: &Action| action.field_write().is_some_and(|write| write.field == VlanTci);
        let mut stripped = actions.iter().any(writes_tag);
        actions.retain(|action| {
            let again = *action == Action::StripVlan && std::mem::replace(&mut stripped, true);
            place.old || !again
        });
        // What check_pkt_larger writes it forgets where the list ends.
        let mut left = actions.len();
        actions.retain(|action| {
            left -= 1;
            !self.palette.lengths
                || left == 0
                || !matches!(action, Action::Resubmit { .. } | Action::Clone(_))
        });
    }

    fn later_table(&mut self, table: u8) -> u8 {
        table + 1 + self.random.below(u64::from(self.palette.tables - table - 1)) as u8
    }

    fn action(&mut self, place: Place<'_>) -> Vec<Action> {
        let one = match self.random.below(44) {
            0..=5 => Action::output(self.port()),
            6 | 7 => self.choosing_port(),
            8 => return self.output_by_register(),
            9 => self.controller(),
            10..=12 => self.move_bits(place),
            13..=15 => self.load(place),
            16..=20 => self.set_field(place),
            21..=24 => self.openflow10_write(place),
            25 if place.old || Prereq::Ip.holds(place.matching) => {
                Action::DecTtl(self.random.pick(&[&[0][..], &[1, 2]]).to_vec())
            }
            26 | 27 => self.tag(place),
            // Both ways behind check_pkt_larger pop from one stack.
            28 | 29 if !self.palette.lengths => Action::Push(self.subfield(None, place, false)),
            30 | 31 if !self.palette.lengths => Action::Pop(self.subfield(None, place, true)),
            32..=35 => self.resubmit(place),
            36 | 37 if place.depth < 2 => {
                let inner = Place { depth: place.depth + 1, ..place };
                let count = 1 + self.random.below(3);
                Action::Clone((0..count).flat_map(|_| self.action(inner)).collect())
            }
            38 => self.random.pick(&[Action::SetQueue as fn(u32) -> Action, |_| Action::PopQueue])(5),
            39..=41 if self.tracks(place) => self.track(place),
            39 | 40 if self.palette.lengths => self.by_length(),
            41 if self.palette.tunnels => return self.tunnel(),
            42 => self.rare(place),
            _ => Action::output(self.port()),
        };
        vec![one]
    }

    /// One of the ports, the one that is not there, or back.
    fn port(&mut self) -> PortNo {
        let port = self.random.pick(&[1, 2, 3, 4, 5, 2, 3, 4, 9, PortNo::IN_PORT.0]);
        let tunnel = self.palette.tunnels && self.random.one_in(3);
        PortNo(if tunnel { self.random.pick(&[VXLAN, GENEVE]) } else { port })
    }

    fn choosing_port(&mut self) -> Action {
        // Into tunnels NORMAL and FLOOD do not go with us.
        let chosen: &[PortNo] = match (self.palette.tunnels, self.pushes) {
            (true, _) => &[PortNo::ALL],
            (_, true) => &[PortNo::FLOOD, PortNo::ALL],
            // It cuts before it takes off the tag that NORMAL leaves out.
            _ if self.palette.lengths => &[PortNo::FLOOD, PortNo::ALL],
            _ => &[PortNo::NORMAL, PortNo::FLOOD, PortNo::ALL, PortNo::NORMAL],
        };
        Action::output(self.random.pick(chosen))
    }

    fn output_by_register(&mut self) -> Vec<Action> {
        let register = self.random.pick(&[Reg2, Reg3, Xreg1, InPort]);
        let output = Action::OutputReg { src: Subfield::whole(register) };
        if register == InPort || self.random.one_in(3) {
            return vec![output];
        }
        let flood = if self.palette.tunnels { 0xfffc } else { 0xfffb };
        let value = self.random.pick(&[1, 2, 3, 4, 9, 0xfff8, flood, 0x1_0002]);
        vec![Action::Load { value, dst: Subfield::whole(register) }, output]
    }

    fn controller(&mut self) -> Action {
        let simple = Controller::output(self.random.pick(&[128, u16::MAX]));
        Action::controller(match self.random.below(3) {
            0 => Controller { id: 3, reason: 0, ..simple },
            1 => Controller { userdata: vec![1, 2, 3], ..simple },
            _ => simple,
        })
    }

    /// A field that packets of this match have; those of the packet more often than registers.
    fn field(&mut self, place: Place<'_>, written: bool) -> Field {
        let is_rarp = place.matching.exact(EthType) == Some(0x8035);
        let all: Vec<Field> = Field::all()
            .filter(|field| self.is_used(*field, written) && field.info().prereq.holds(place.matching))
            .filter(|field| !(place.old && written) || field.info().prereq == Prereq::None)
            // Of RARP packets Open vSwitch writes no fields.
            .filter(|field| !written || field.info().prereq != Prereq::Arp || !is_rarp)
            .filter(|field| *field != VlanVid || !written || Prereq::Vlan.holds(place.matching))
            .collect();
        let of_packet: Vec<Field> =
            all.iter().copied().filter(|field| field.info().prereq != Prereq::None).collect();
        if of_packet.is_empty() || self.random.one_in(2) {
            self.random.pick(&all)
        } else {
            self.random.pick(&of_packet)
        }
    }

    fn is_used(&self, field: Field, written: bool) -> bool {
        let tags = matches!(field, VlanTci | VlanVid | VlanPcp);
        match field {
            InPortOxm | SkbPriority | PacketType | ConjId | ActsetOutput => false,
            CtMark | CtLabel => !written,
            VlanTci if written => self.palette.tags && !self.pushes,
            InPort => !self.palette.tunnels,
            // Of these Open vSwitch writes all but 0 and 255: see `set_field`.
            ArpOp => !written,
            // Out of a tunnel without such an option, Open vSwitch has no such field to read.
            _ if field.name().starts_with("tun_metadata") => false,
            // Where it goes to is always somewhere.
            TunDst | TunIpv6Dst if written => false,
            _ if field.name().starts_with("tun_") && field != TunId => self.palette.tunnels && written,
            _ => (!written || field.info().writable) && (!tags || !written || self.palette.tags),
        }
    }

    /// Some bits of a field, as many as given, or up to 64.
    fn subfield(&mut self, bits: Option<u8>, place: Place<'_>, written: bool) -> Subfield {
        loop {
            let field = self.field(place, written);
            let width = field.subfield_width();
            let whole = self.random.one_in(2);
            let bits = bits.unwrap_or(match whole {
                true => width.min(64),
                false => 1 + self.random.below(u64::from(width.min(64))) as u8,
            });
            if bits <= width {
                let start = self.random.below(u64::from(width - bits) + 1) as u8;
                if let Some(subfield) = Subfield::range(field, start, start + bits - 1) {
                    return subfield;
                }
            }
        }
    }

    fn move_bits(&mut self, place: Place<'_>) -> Action {
        let src = self.subfield(None, place, false);
        Action::Move { src, dst: self.subfield(Some(src.bits), place, true) }
    }

    fn load(&mut self, place: Place<'_>) -> Action {
        let dst = self.subfield(None, place, true);
        let value = self.written(dst.field) >> dst.offset;
        Action::Load { value: value & (u128::MAX >> (128 - u32::from(dst.bits))), dst }
    }

    fn set_field(&mut self, place: Place<'_>) -> Action {
        if place.matching.exact(EthType) == Some(0x0806) && !place.old && self.random.one_in(6) {
            return Action::set_field(ArpOp, self.random.pick(&[1, 2, 3]), 0xffff);
        }
        let field = loop {
            let field = self.field(place, true);
            // These have no text of their own here.
            if !matches!(field, InPort | NwTos) {
                break field;
            }
        };
        let tagged = if field == VlanVid { 0x1000 } else { 0 };
        let maskable =
            field.info().masking == Masking::Bitwise && field != VlanVid && !field.name().starts_with("tun_");
        let mask = match maskable && self.random.one_in(3) {
            // The highest bits are among them: Open vSwitch can't read an IPv6 mask that begins with a digit.
            true => self.random.bits(field.width()) | 1 | (0xf << field.width().saturating_sub(4)),
            false => u128::MAX,
        } & field.all_ones();
        Action::set_field(field, (self.written(field) | tagged) & mask, mask)
    }

    /// The actions that OpenFlow 1.0 has a word for.
    fn openflow10_write(&mut self, place: Place<'_>) -> Action {
        let mac = MacAddr::from(u128::from(self.random.pick(&MACS)));
        let address = Ipv4Addr::from_bits(0x0a00_0000 | self.random.below(4) as u32);
        let is_ip = Prereq::Ip.holds(place.matching);
        let is_v4 = Prereq::Ipv4.holds(place.matching);
        let has_ports = [Prereq::Tcp, Prereq::Udp, Prereq::Sctp].iter().any(|p| p.holds(place.matching));
        match self.random.below(12) {
            0 | 1 => Action::ModDlSrc(mac),
            2 | 3 => Action::ModDlDst(mac),
            4 if is_v4 => Action::ModNwSrc(address),
            5 if is_v4 => Action::ModNwDst(address),
            6 if is_ip => Action::ModNwTos(self.random.below(64) as u8 * 4),
            7 if is_ip => Action::ModNwEcn(self.random.below(4) as u8),
            8 if is_ip => Action::ModNwTtl(self.random.pick(&[0, 1, 2, 64])),
            9 if has_ports => Action::ModTpSrc(self.random.pick(&[9, 53, 0xffff])),
            10 if has_ports => Action::ModTpDst(self.random.pick(&[9, 53, 0])),
            _ => Action::SetTunnel { id: self.random.below(4), wide: self.random.one_in(2) },
        }
    }

    fn tag(&mut self, place: Place<'_>) -> Action {
        if !self.palette.tags {
            return Action::output(self.port());
        }
        match self.random.below(4) {
            0 | 1 if place.old || (place.depth == 0 && Prereq::Vlan.holds(place.matching)) => {
                Action::StripVlan
            }
            2 if place.old => Action::ModVlanVid(self.random.pick(&[0, 5, 6, 0xfff])),
            _ if place.old => Action::ModVlanPcp(self.random.below(8) as u8),
            _ if !self.pushes || place.depth > 0 => Action::output(self.port()),
            _ => Action::PushVlan(self.random.pick(&[0x8100, 0x88a8])),
        }
    }

    fn resubmit(&mut self, place: Place<'_>) -> Action {
        let tables = u64::from(self.palette.tables);
        let table = if self.palette.loops && self.random.one_in(3) {
            self.random.below(tables) as u8
        } else if place.table + 1 < self.palette.tables {
            self.later_table(place.table)
        } else {
            // A table without flows.
            self.palette.tables
        };
        let port = self.random.pick(&[None, None, None, Some(PortNo(2)), Some(PortNo::IN_PORT)]);
        let with_ct_orig =
            Prereq::Ct.holds(place.matching) && Prereq::Ip.holds(place.matching) && self.random.one_in(2);
        // Without a table, the present one: only where it does not take the packet again and again.
        let names_port = port.is_some_and(|port| port != PortNo::IN_PORT);
        let table = (!self.palette.loops || !names_port || self.random.one_in(2)).then_some(table);
        Action::Resubmit { port, table, with_ct_orig: with_ct_orig && table.is_some() }
    }

    /// Whether ct() may stand here.
    fn tracks(&self, place: Place<'_>) -> bool {
        self.palette.tracking && self.sets == place.in_set && Prereq::Ip.holds(place.matching)
    }

    fn track(&mut self, place: Place<'_>) -> Action {
        if self.random.one_in(4) {
            return Action::CtClear;
        }
        let commit = self.random.one_in(2);
        let zone = match self.random.below(3) {
            0 => CtZone::Field(Subfield { field: Reg4, offset: 0, bits: 16 }),
            _ => CtZone::Number(self.random.below(3) as u16),
        };
        let exec = if commit { self.exec() } else { Vec::new() };
        // On in the last table, and not from there: Open vSwitch traces a loop for ever.
        let last = self.palette.tables - 1;
        let table = (place.table < last && self.random.one_in(2)).then_some(last);
        let force = commit && self.random.one_in(4);
        Action::Ct(Box::new(Ct { commit, force, table, zone, nat: None, alg: None, exec }))
    }

    fn exec(&mut self) -> Vec<Action> {
        let mut exec = Vec::new();
        for _ in 0..self.random.below(3) {
            let field = self.random.pick(&[CtMark, CtLabel]);
            let dst = Subfield { field, offset: self.random.pick(&[0, 7, 16]), bits: 16 };
            exec.push(match self.random.below(3) {
                0 => Action::Move { src: Subfield { field: Reg1, offset: 3, bits: 16 }, dst },
                1 => Action::Load { value: self.random.bits(16), dst },
                _ => Action::set_field(field, self.random.below(8).into(), field.all_ones()),
            });
        }
        exec
    }

    fn by_length(&mut self) -> Action {
        if self.random.one_in(2) {
            let max_len = self.random.pick(&[14, 20, 60, 90, 1500]);
            return Action::OutputTruncated { port: PortNo(self.random.pick(&[2, 3, 4, 5])), max_len };
        }
        let dst = Subfield { field: Reg0, offset: self.random.pick(&[0, 3]), bits: 1 };
        Action::CheckPktLarger { len: self.random.pick(&[60, 90, 96, 98, 110]), dst }
    }

    /// Into a tunnel, with what it needs.
    fn tunnel(&mut self) -> Vec<Action> {
        let set = |field: Field, value: u128| Action::set_field(field, value, field.all_ones());
        let mut actions = vec![set(TunDst, self.random.pick(&UNDERLAY).into())];
        if self.random.one_in(4) {
            actions = vec![set(TunDst, 0), set(TunIpv6Dst, (0xfd00 << 112) | 9)];
        }
        if self.random.one_in(2) {
            actions.push(Action::SetTunnel { id: self.random.below(1 << 24), wide: true });
        }
        if self.random.one_in(3) {
            actions.push(set(TunSrc, self.random.pick(&UNDERLAY).into()));
        }
        let port = self.random.pick(&[VXLAN, GENEVE]);
        if port == GENEVE && self.random.one_in(2) {
            actions.push(set(TunMetadata0, self.random.below(8).into()));
        }
        actions.push(Action::output(PortNo(port)));
        actions
    }

    fn rare(&mut self, place: Place<'_>) -> Action {
        match self.random.below(5) {
            0 => Action::Exit,
            1 if place.old || Prereq::Tcp.holds(place.matching) => Action::FinTimeout { idle: 10, hard: 20 },
            2 if place.old => Action::Enqueue { port: PortNo(self.random.pick(&[2, 3])), queue: 6 },
            _ => Action::Note(vec![1, 2]),
        }
    }

    fn action_set(&mut self, place: Place<'_>) -> Vec<Action> {
        let inner = Place { depth: 2, in_set: true, ..place };
        let count = 1 + self.random.below(4);
        let mut set: Vec<Action> = (0..count).flat_map(|_| self.action(inner)).collect();
        if self.random.one_in(2) {
            set.push(Action::output(self.port()));
        }
        set.retain(|action| match action {
            Action::Output { port, .. } => !matches!(*port, PortNo::NORMAL | PortNo::FLOOD | PortNo::ALL),
            Action::Resubmit { .. } | Action::SetField(_) | Action::Load { .. } | Action::Move { .. } => true,
            Action::StripVlan | Action::DecTtl(_) | Action::SetTunnel { .. } | Action::SetQueue(_) => true,
            Action::ModDlSrc(_) | Action::ModDlDst(_) | Action::ModNwSrc(_) | Action::ModNwDst(_) => true,
            Action::ModNwTos(_) | Action::ModNwEcn(_) | Action::ModNwTtl(_) => true,
            Action::ModTpSrc(_) | Action::ModTpDst(_) | Action::Ct(_) | Action::CtClear => true,
            _ => false,
        });
        set
    }
}
