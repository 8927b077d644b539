//! One action at a time, on a set of packets: the evaluator's `actions`, `output` and `normal`.

use super::{Call, Explorer, Frame, List, MAX_ZONES, Note, Now, TooMuch, What};
use crate::bdd::Bdd;
use crate::image::{Bit, Image, equal_within, set_within};
use crate::live::TUPLE;
use crate::space::{CT_WORDS, FREE_STATES, MAX_CONNECTIONS, VLAN_PRESENT, Var};
use footbridge_openflow::action::{Ct, CtZone, Subfield};
use footbridge_openflow::field::Prereq;
use footbridge_openflow::{Action, Field, Match, PortNo};
use footbridge_pipeline::conntrack::state;
use footbridge_pipeline::evaluate::{RESERVED_MULTICAST, port_number};
use footbridge_pipeline::{DropReason, PortKind};

impl<'p> Explorer<'_, 'p> {
    /// Carry out what is to be done with some packets, until they wait for a table or are through.
    pub(super) fn carry_out(&mut self, now: Now<'p>) {
        let mut parts = vec![now];
        while let Some(mut now) = parts.pop() {
            while let Some(frame) = now.frames.last_mut() {
                let List(actions) = frame.list;
                let Some(action) = actions.get(frame.next) else {
                    end_list(&mut now);
                    continue;
                };
                frame.next += 1;
                match self.act(now, action, &mut parts) {
                    Some(then) => now = then,
                    None => break,
                }
            }
        }
    }

    /// One action; the packets after it, unless they wait for a table. Those for which it does something
    /// else are put in `parts`.
    fn act(&mut self, mut now: Now<'p>, action: &'p Action, parts: &mut Vec<Now<'p>>) -> Option<Now<'p>> {
        if let Some(write) = action.field_write() {
            now = self.where_it_has(now, &[write.field.info().prereq], parts)?;
            if write.field == Field::NwTtl {
                now.image.ttl_less = 0;
            }
            now.image.set(write.field, write.value, write.mask);
            let written = now.frames.last().and_then(|frame| Some((frame.unit?, frame.next - 1)));
            if let Some((unit, index)) = written {
                for (bit, to) in self.program.varying(self.sets, self.space, unit, index) {
                    now.image.set_bit_of(write.field, bit, to);
                }
            }
            return Some(now);
        }
        match action {
            Action::Move { src, dst } => {
                let prereqs = [src.field.info().prereq, dst.field.info().prereq];
                now = self.where_it_has(now, &prereqs, parts)?;
                if dst.field == Field::NwTtl {
                    now.image.ttl_less = 0;
                }
                let bits = now.image.read(*src);
                now.image.write(*dst, &bits);
            }
            Action::ModTpSrc(port) => return self.set_port(now, Field::TcpSrc, *port, parts),
            Action::ModTpDst(port) => return self.set_port(now, Field::TcpDst, *port, parts),
            Action::ModVlanVid(vid) => {
                now.image.set(Field::VlanTci, u128::from(*vid) | VLAN_PRESENT, 0x0fff | VLAN_PRESENT);
            }
            Action::ModVlanPcp(pcp) => {
                now.image.set(Field::VlanTci, u128::from(*pcp) << 13 | VLAN_PRESENT, 0xe000 | VLAN_PRESENT);
            }
            Action::StripVlan => {
                now = self.where_it_has(now, &[Prereq::Vlan], parts)?;
                let under = now.image.covered.pop().unwrap_or_else(|| vec![Bit::Known(false); 16]);
                now.image.write(Subfield::whole(Field::VlanTci), &under);
            }
            Action::PushVlan(_) => {
                let push = |now: &mut Now<'_>| {
                    now.image.set(Field::VlanTci, VLAN_PRESENT, Field::VlanTci.all_ones());
                };
                let mut untagged = Vec::new();
                let tagged = self.where_it_has(now, &[Prereq::Vlan], &mut untagged);
                untagged.iter_mut().for_each(push);
                parts.append(&mut untagged);
                now = tagged?;
                let tag = now.image.field(Field::VlanTci);
                now.image.covered.push(tag);
                push(&mut now);
            }
            Action::DecTtl(_) => return self.dec_ttl(now, parts),
            Action::Push(src) => {
                let bits = now.image.read(*src);
                now.image.stack.push(bits);
            }
            Action::Pop(dst) => {
                if let Some(mut bits) = now.image.stack.pop() {
                    if dst.field == Field::NwTtl {
                        now.image.ttl_less = 0;
                    }
                    bits.resize(usize::from(dst.bits), Bit::Known(false));
                    now.image.write(*dst, &bits);
                }
            }
            Action::CtClear => clear_ct(&mut now.image),
            Action::Output { port: PortNo::TABLE, .. } => {
                let from = now.frames.last().map_or(0, |frame| frame.table);
                self.enter_table(now, 0, None, from);
                return None;
            }
            Action::Output { port, .. }
            | Action::OutputTruncated { port, .. }
            | Action::Enqueue { port, .. } => {
                self.output(&now, *port, now.packets);
            }
            Action::OutputReg { src } => self.output_register(&now, *src),
            Action::Controller(controller) => {
                self.emit(&now, What::Controller(controller.id), now.packets);
            }
            Action::Resubmit { port, table, .. } => {
                let from = now.frames.last().map_or(0, |frame| frame.table);
                let port = port.filter(|port| *port != PortNo::IN_PORT);
                self.enter_table(now, table.unwrap_or(from), port, from);
                return None;
            }
            Action::GotoTable(table) => {
                let from = now.frames.last().map_or(0, |frame| frame.table);
                self.enter_table(now, *table, None, from);
                return None;
            }
            Action::Ct(ct) => {
                let (now, zone) = self.zone(now, ct.zone, parts)?;
                return self.track(now, ct, zone);
            }
            Action::Clone(actions) => {
                let (table, flow) = now.frames.last().map_or((0, None), |frame| (frame.table, frame.flow));
                now.frames.push(Frame {
                    list: List(actions),
                    next: 0,
                    table,
                    flow,
                    unit: None,
                    depth: now.trail.depth,
                    restore: Some(Box::new(now.image.clone())),
                    tracked: false,
                });
            }
            Action::Exit => {
                while now.frames.pop_if(|frame| !frame.tracked).is_some() {}
                end_list(&mut now);
            }
            // They do nothing to a packet, were done above, or are refused before.
            Action::SetQueue(_)
            | Action::PopQueue
            | Action::Note(_)
            | Action::FinTimeout { .. }
            | Action::Conjunction { .. }
            | Action::ClearActions
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
        Some(now)
    }

    /// The packets that have what the prerequisites ask for; the others go to `parts`, unchanged.
    fn where_it_has(
        &mut self,
        mut now: Now<'p>,
        prereqs: &[Prereq],
        parts: &mut Vec<Now<'p>>,
    ) -> Option<Now<'p>> {
        for prereq in prereqs {
            let has = now.image.has(self.sets, self.space, *prereq);
            let lack = self.sets.without(now.packets, has);
            if !lack.is_none() {
                now.packets = self.sets.and(now.packets, has);
                parts.push(Now { packets: lack, ..now.clone() });
            }
        }
        (!now.packets.is_none()).then_some(now)
    }

    fn set_port(
        &mut self,
        now: Now<'p>,
        field: Field,
        port: u16,
        parts: &mut Vec<Now<'p>>,
    ) -> Option<Now<'p>> {
        let mut ported = Bdd::NONE;
        for prereq in [Prereq::Tcp, Prereq::Udp, Prereq::Sctp] {
            let has = now.image.has(self.sets, self.space, prereq);
            ported = self.sets.or(ported, has);
        }
        let (with, lack) = (self.sets.and(now.packets, ported), self.sets.without(now.packets, ported));
        if !lack.is_none() {
            parts.push(Now { packets: lack, ..now.clone() });
        }
        let mut now = Now { packets: with, ..now };
        now.image.set(field, port.into(), field.all_ones());
        (!with.is_none()).then_some(now)
    }

    /// At a TTL of 1 or 0 this list of actions ends.
    fn dec_ttl(&mut self, mut now: Now<'p>, parts: &mut Vec<Now<'p>>) -> Option<Now<'p>> {
        now = self.where_it_has(now, &[Prereq::Ip], parts)?;
        let ttl = now.image.field(Field::NwTtl);
        if let Some(ttl) = Image::number(&ttl) {
            if ttl > 1 {
                now.image.set(Field::NwTtl, ttl - 1, Field::NwTtl.all_ones());
            } else {
                self.expire(&mut now);
            }
            return Some(now);
        }
        let less = u128::from(now.image.ttl_less);
        let mut low = Bdd::NONE;
        for value in 0..=(1 + less).min(255) {
            let is = now.image.is(self.sets, self.space, Field::NwTtl, value);
            low = self.sets.or(low, is);
        }
        let expired = self.sets.and(now.packets, low);
        if !expired.is_none() {
            let mut ending = Now { packets: expired, ..now.clone() };
            self.expire(&mut ending);
            parts.push(ending);
            now.packets = self.sets.without(now.packets, low);
        }
        if self.program.live.ttl_is_read {
            // Somebody looks: each value is a way of its own.
            for value in 2..256_u128 {
                let is = now.image.is(self.sets, self.space, Field::NwTtl, value);
                let packets = self.sets.and(now.packets, is);
                if !packets.is_none() {
                    let mut part = Now { packets, ..now.clone() };
                    part.image.set(Field::NwTtl, value - 1, Field::NwTtl.all_ones());
                    parts.push(part);
                }
            }
            return None;
        }
        now.image.ttl_less = now.image.ttl_less.saturating_add(1);
        (!now.packets.is_none()).then_some(now)
    }

    fn expire(&mut self, now: &mut Now<'p>) {
        self.emit(now, What::Lost(DropReason::TtlExpired), now.packets);
        if let Some(frame) = now.frames.last_mut() {
            frame.next = frame.list.0.len();
        }
    }

    /// `ct(...)`: the packet goes on untracked, a copy that knows what it is begins at the table.
    fn track(&mut self, mut now: Now<'p>, ct: &'p Ct, zone: u16) -> Option<Now<'p>> {
        let comparable = TUPLE.iter().all(|field| now.image.is_as_came(*field));
        let earlier = now.trail.calls.iter().rev().find(|call| call.zone == zone);
        let same = earlier.filter(|call| call.comparable && comparable).copied();
        let connection = match same {
            Some(call) => call.connection,
            None => now.trail.calls.iter().map(|call| call.connection + 1).max().unwrap_or(0),
        };
        if usize::from(connection) >= MAX_CONNECTIONS {
            self.too_much = Some(TooMuch::Connections);
            return None;
        }
        if same.is_none() {
            let consistent = self.space.consistent(self.sets, connection);
            now.packets = self.sets.and(now.packets, consistent);
        }
        let wide = |pair: (u32, u32)| (u128::from(pair.0), u128::from(pair.1));
        let mark_before = same.map_or((0, 0), |call| wide(call.mark));
        let label_before = same.map_or((0, 0), |call| call.label);
        let (writes, marked, labelled) = written(&now.image, ct);
        clear_ct(&mut now.image);
        let restore = now.image.clone();
        let tracked = &mut now.image;
        tracked.set(Field::CtState, state::TRK.into(), state::TRK.into());
        for flag in FREE_STATES {
            let bit = flag.trailing_zeros() as u8;
            let place = Field::CtState.info().location;
            let var = Var::of_connection(place.word, place.shift + bit, connection);
            tracked.set_bit_of(Field::CtState, bit, Bit::Of(var));
        }
        tracked.set(Field::CtZone, zone.into(), Field::CtZone.all_ones());
        let mut known = true;
        let mut put = |field: Field, before: (u128, u128), mask: u128| {
            let mut after = before;
            for bit in 0..field.info().width {
                let of = match (mask >> bit & 1, before.1 >> bit & 1) {
                    (1, _) => writes
                        .read(Subfield { field, offset: bit, bits: 1 })
                        .first()
                        .copied()
                        .unwrap_or(Bit::Known(false)),
                    (_, 1) => Bit::Known(before.0 >> bit & 1 == 1),
                    _ => {
                        let (word, place) = crate::image::place(field, bit);
                        Bit::Of(Var::of_connection(word, place, connection))
                    }
                };
                if mask >> bit & 1 == 1 {
                    known &= matches!(of, Bit::Known(_));
                    after.1 |= 1 << bit;
                    after.0 = (after.0 & !(1 << bit)) | u128::from(of == Bit::Known(true)) << bit;
                }
                tracked.set_bit_of(field, bit, of);
            }
            after
        };
        let mark = put(Field::CtMark, mark_before, marked);
        let label = put(Field::CtLabel, label_before, labelled);
        let narrow = |pair: (u128, u128)| (pair.0 as u32, pair.1 as u32);
        now.trail.calls.push(Call {
            zone,
            connection,
            comparable: comparable && known,
            mark: narrow(mark),
            label,
            mark_before: narrow(mark_before),
            label_before,
            continues: ct.table.is_some(),
        });
        if now.trail.calls.len() > self.found.calls.len() {
            self.found.calls.clone_from(&now.trail.calls);
        }
        self.found.connections = self.found.connections.max(connection + 1);
        self.found.notes.insert(Note::Tracking);
        let Some(table) = ct.table else {
            now.image = restore;
            return Some(now);
        };
        let (from, flow) = now.frames.last().map_or((0, None), |frame| (frame.table, frame.flow));
        now.frames.push(Frame {
            list: List(&[]),
            next: 0,
            table: from,
            flow,
            unit: None,
            depth: now.trail.depth,
            restore: Some(Box::new(restore)),
            tracked: true,
        });
        self.enter_table(now, table, None, from);
        None
    }

    /// The zone of a ct(). Where packets differ in it, those of one zone; the others come to the action again.
    fn zone(&mut self, mut now: Now<'p>, zone: CtZone, parts: &mut Vec<Now<'p>>) -> Option<(Now<'p>, u16)> {
        let part = match zone {
            CtZone::Number(zone) => return Some((now, zone)),
            CtZone::Field(part) => part,
        };
        let mut number = 0_u16;
        for (offset, bit) in now.image.read(part).into_iter().enumerate() {
            let is_set = match bit {
                Bit::Known(known) => known,
                Bit::Of(_) | Bit::In(_) => {
                    let set = set_within(self.sets, self.space, now.packets, bit);
                    let unset = self.sets.without(now.packets, set);
                    if !set.is_none() && !unset.is_none() {
                        let mut again = Now { packets: unset, ..now.clone() };
                        if let Some(frame) = again.frames.last_mut() {
                            frame.next -= 1;
                        }
                        parts.push(again);
                        self.zones_split += 1;
                        now.packets = set;
                    }
                    !set.is_none()
                }
            };
            number |= u16::from(is_set).checked_shl(offset as u32).unwrap_or(0);
        }
        if self.zones_split > MAX_ZONES {
            self.too_much = Some(TooMuch::Zones);
            return None;
        }
        Some((now, number))
    }

    /// Note that something happens to some of the packets.
    fn emit(&mut self, now: &Now<'p>, what: What, packets: Bdd) {
        if !packets.is_none() {
            let flow = now.frames.last().and_then(|frame| frame.flow);
            self.happens(what, flow, now.image.clone(), packets);
        }
    }

    fn output_register(&mut self, now: &Now<'p>, src: Subfield) {
        let bits = now.image.read(src);
        if let Some(number) = Image::number(&bits) {
            match u16::try_from(number) {
                Ok(number) => {
                    self.output(now, port_number(number.into()).unwrap_or(PortNo::NONE), now.packets);
                }
                Err(_) => self.emit(now, What::Lost(DropReason::NoSuchPort), now.packets),
            }
            return;
        }
        // The packet says where: each port that there is, and what is none.
        let reserved = [PortNo::IN_PORT, PortNo::NORMAL, PortNo::FLOOD, PortNo::ALL, PortNo::CONTROLLER];
        let fits = |port: &PortNo| src.bits >= 16 || (port.0 & 0xffff) >> src.bits == 0;
        let ports = self.ports.iter().map(|(port, _)| port).chain(reserved).filter(fits).collect();
        self.output_by_bits(now, &bits, ports, now.packets);
    }

    /// Some of the ports, by the highest of the bits that the packet chooses one by.
    fn output_by_bits(&mut self, now: &Now<'p>, bits: &[Bit], ports: Vec<PortNo>, packets: Bdd) {
        if packets.is_none() {
            return;
        }
        let Some((highest, rest)) = bits.split_last().filter(|_| !ports.is_empty()) else {
            return match ports.first() {
                Some(port) => self.output(now, *port, packets),
                None => self.emit(now, What::Lost(DropReason::NoSuchPort), packets),
            };
        };
        let set = set_within(self.sets, self.space, packets, *highest);
        let unset = self.sets.without(packets, set);
        let has = |port: &PortNo| rest.len() < 16 && port.0 >> rest.len() & 1 == 1;
        let (with, without) = ports.into_iter().partition(has);
        self.output_by_bits(now, rest, without, unset);
        self.output_by_bits(now, rest, with, set);
    }

    /// `output`: to a port, or to those that a reserved number stands for.
    fn output(&mut self, now: &Now<'p>, port: PortNo, packets: Bdd) {
        match port {
            _ if packets.is_none() => {}
            PortNo::IN_PORT => self.send_back(now, packets),
            PortNo::NORMAL => self.normal(now, packets),
            PortNo::FLOOD => self.flood(now, false, packets),
            PortNo::ALL => self.flood(now, true, packets),
            PortNo::CONTROLLER => self.emit(now, What::Controller(0), packets),
            port => {
                let back = self.from(now, port);
                let lost = self.sets.and(packets, back);
                self.emit(now, What::Lost(DropReason::BackToInPort), lost);
                let packets = self.sets.without(packets, back);
                self.send(now, What::Sent(port), port, packets);
            }
        }
    }

    /// The packets whose in_port is this now.
    fn from(&mut self, now: &Now<'p>, port: PortNo) -> Bdd {
        now.image.is(self.sets, self.space, Field::InPortOxm, port.0.into())
    }

    fn send_back(&mut self, now: &Now<'p>, packets: Bdd) {
        let mut left = packets;
        let ports: Vec<(PortNo, PortKind)> = self.ports.iter().collect();
        if now.image.is_as_came(Field::InPortOxm) {
            // All that come in are from ports that there are.
            for (port, _) in ports.into_iter().filter(|(_, kind)| *kind == PortKind::Tunnel) {
                let from = self.from(now, port);
                let here = self.sets.and(left, from);
                left = self.sets.without(left, from);
                self.send(now, What::Back, port, here);
            }
            self.emit(now, What::Back, left);
            return;
        }
        for (port, _) in ports {
            let from = self.from(now, port);
            let here = self.sets.and(left, from);
            left = self.sets.without(left, from);
            self.send(now, What::Sent(port), port, here);
        }
        self.emit(now, What::Lost(DropReason::NoSuchPort), left);
    }

    fn flood(&mut self, now: &Now<'p>, tunnels: bool, packets: Bdd) {
        let ports: Vec<PortNo> = (self.ports.iter())
            .filter(|(_, kind)| tunnels || *kind != PortKind::Tunnel)
            .map(|(port, _)| port)
            .collect();
        let mut nowhere = packets;
        for port in ports {
            let from = self.from(now, port);
            let others = self.sets.without(packets, from);
            nowhere = self.sets.and(nowhere, from);
            self.send(now, What::Sent(port), port, others);
        }
        self.emit(now, What::Lost(DropReason::NormalNoPort), nowhere);
    }

    /// To one port, if it is there, and for a tunnel if it is known where that goes.
    fn send(&mut self, now: &Now<'p>, what: What, port: PortNo, packets: Bdd) {
        match self.kind(port) {
            _ if packets.is_none() => {}
            None => self.emit(now, What::Lost(DropReason::NoSuchPort), packets),
            Some(PortKind::Ordinary) => self.emit(now, what, packets),
            Some(PortKind::Tunnel) => {
                // Of these packets, not of all: few of them have none.
                let none = |this: &mut Self, image: &Image, within: Bdd, field: Field| {
                    let zero = vec![Bit::Known(false); usize::from(field.info().width)];
                    equal_within(this.sets, this.space, within, &image.field(field), &zero)
                };
                let no_v4 = none(self, &now.image, packets, Field::TunDst);
                let lost = none(self, &now.image, no_v4, Field::TunIpv6Dst);
                self.emit(now, What::Lost(DropReason::NoTunnelDst), lost);
                let mut left = self.sets.without(packets, lost);
                // Back to where it came from, by the address that is in force.
                let came = self.came.clone();
                let by_v4 = self.sets.without(left, no_v4);
                let by_v6 = self.sets.without(no_v4, lost);
                let by_v6 = none(self, &came, by_v6, Field::TunDst);
                for (field, by) in [(Field::TunDst, by_v4), (Field::TunIpv6Dst, by_v6)] {
                    let (to, from) = (now.image.field(field), came.field(field));
                    let back = equal_within(self.sets, self.space, by, &to, &from);
                    self.emit(now, What::Lost(DropReason::TunnelToSelf), back);
                    left = self.sets.without(left, back);
                }
                self.emit(now, what, left);
            }
        }
    }

    fn normal(&mut self, now: &Now<'p>, packets: Bdd) {
        self.found.notes.insert(Note::Learning);
        let ports: Vec<(PortNo, PortKind)> = self.ports.iter().collect();
        let mut left = packets;
        if !now.image.is_as_came(Field::InPortOxm) {
            let mut known = Bdd::NONE;
            for port in ports.iter().map(|(port, _)| *port).chain([PortNo::NONE, PortNo::CONTROLLER]) {
                let from = self.from(now, port);
                known = self.sets.or(known, from);
            }
            let unknown = self.sets.without(left, known);
            self.emit(now, What::Lost(DropReason::UnknownInPort), unknown);
            left = self.sets.and(left, known);
        }
        let tagged = now.image.has(self.sets, self.space, Prereq::Vlan);
        for eth_type in [0x8100, 0x88a8] {
            let is = now.image.is(self.sets, self.space, Field::EthType, eth_type);
            let half = self.sets.and(left, is);
            let half = self.sets.without(half, tagged);
            self.emit(now, What::Lost(DropReason::PartialVlan), half);
            left = self.sets.without(left, half);
        }
        for (mac, mask) in RESERVED_MULTICAST {
            let matching = Match::any().with_masked(Field::EthDst, *mac, *mask);
            let reserved = now.image.set_of(self.sets, self.space, &matching);
            let lost = self.sets.and(left, reserved);
            self.emit(now, What::Lost(DropReason::ReservedMulticast), lost);
            left = self.sets.without(left, reserved);
        }
        // Where the only ordinary port is the one it came in on there is nowhere to go.
        let ordinary: Vec<PortNo> =
            ports.iter().filter(|(_, kind)| *kind == PortKind::Ordinary).map(|(port, _)| *port).collect();
        let alone = match ordinary[..] {
            [] => Bdd::ALL,
            [only] => self.from(now, only),
            _ => Bdd::NONE,
        };
        let lost = self.sets.and(left, alone);
        self.emit(now, What::Lost(DropReason::NormalNoPort), lost);
        left = self.sets.without(left, alone);
        // A tag that says nothing is taken off (`priority-tags=never`).
        let empty = now.image.is(self.sets, self.space, Field::VlanTci, VLAN_PRESENT);
        let untagged = self.sets.and(left, empty);
        if !untagged.is_none() {
            let mut bare = now.clone();
            let under = bare.image.covered.pop().unwrap_or_else(|| vec![Bit::Known(false); 16]);
            bare.image.write(Subfield::whole(Field::VlanTci), &under);
            self.switch(&bare, untagged);
        }
        left = self.sets.without(left, empty);
        self.switch(now, left);
    }

    fn switch(&mut self, now: &Now<'p>, packets: Bdd) {
        if now.image.is_as_came(Field::InPortOxm) {
            self.emit(now, What::Normal, packets);
        } else {
            self.flood(now, false, packets);
        }
    }
}

/// What `exec(...)` writes to mark and label: the packet with that, and which bits of each.
fn written(image: &Image, ct: &Ct) -> (Image, u128, u128) {
    let (mut writes, mut marked, mut labelled) = (image.clone(), 0, 0);
    for action in &ct.exec {
        let (field, mask) = match (action, action.field_write()) {
            (_, Some(write)) => {
                writes.set(write.field, write.value, write.mask);
                (write.field, write.mask)
            }
            (Action::Move { src, dst }, _) => {
                let bits = writes.read(*src);
                writes.write(*dst, &bits);
                (dst.field, dst.mask())
            }
            _ => continue,
        };
        *(if field == Field::CtLabel { &mut labelled } else { &mut marked }) |= mask;
    }
    (writes, marked, labelled)
}

/// A list has ended: the packet, if this was a copy, is put back, and the list around it goes on.
fn end_list(now: &mut Now<'_>) {
    if let Some(frame) = now.frames.pop() {
        now.trail.depth = frame.depth;
        if let Some(image) = frame.restore {
            now.image = *image;
        }
    }
}

fn clear_ct(image: &mut Image) {
    CT_WORDS.for_each(|word| image.set_word(word, u64::MAX, 0));
}
