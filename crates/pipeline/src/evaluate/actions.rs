//! One action at a time.

use super::{Level, Live, Run, TCP_FIN_OR_RST, port_number};
use crate::conntrack::{Outcome, Request};
use crate::drop_reason::DropReason;
use crate::observer::List;
use crate::table::Entry;
use crate::verdict::PacketIn;
use footbridge_openflow::action::{Controller, Ct, CtZone, Subfield};
use footbridge_openflow::field::Prereq;
use footbridge_openflow::{Action, Field, Key, Match, PortNo};
use std::borrow::Cow;
use std::net::IpAddr;

/// The present bit of vlan_tci.
const VLAN_PRESENT: u128 = 0x1000;

impl<'p> Run<'p, '_> {
    pub(super) fn act(&mut self, action: Cow<'p, Action>) {
        let before = self.packet.key.clone();
        self.rewrite(&action);
        self.around.observer.action(&action, &before, &self.packet.key);
        match &*action {
            Action::Output { port, .. } => self.output_to(*port, None),
            Action::OutputTruncated { port, max_len } => self.output_to(*port, Some(*max_len)),
            Action::OutputReg { src } => match u16::try_from(self.packet.key.read(*src)) {
                Ok(number) => self.output_to(port_number(number.into()).unwrap_or(PortNo::NONE), None),
                Err(_) => self.lose(DropReason::NoSuchPort),
            },
            Action::Enqueue { port, queue } => {
                let chosen = self.packet.queue.replace(*queue);
                self.output_to(*port, None);
                self.packet.queue = chosen;
            }
            Action::Controller(controller) => self.packet_in(controller),
            Action::DecTtl(controllers) => {
                if before.has(Prereq::Ip) && before.get(Field::NwTtl) <= 1 {
                    self.ttl_expired(controllers);
                }
            }
            Action::SetQueue(queue) => self.packet.queue = Some(*queue),
            Action::PopQueue => self.packet.queue = None,
            Action::Resubmit { port, table, with_ct_orig } => {
                let table = table.unwrap_or_else(|| self.levels.last().map_or(0, |level| level.table));
                let port = port.filter(|port| *port != PortNo::IN_PORT);
                self.enter_table(table, port, *with_ct_orig);
            }
            Action::GotoTable(table) => self.enter_first(*table),
            Action::Ct(ct) => self.track(ct),
            Action::Clone(_) => self.clone_packet(action),
            Action::FinTimeout { .. } => {
                let key = &self.packet.key;
                if key.has(Prereq::Tcp)
                    && key.get(Field::TcpFlags) & u128::from(TCP_FIN_OR_RST) != 0
                    && let Some(entry) = self.levels.last().and_then(|level| level.entry)
                {
                    entry.counters.close();
                }
            }
            Action::Exit => self.exit = true,
            Action::ClearActions => self.packet.action_set.clear(),
            Action::WriteActions(actions) => self.packet.action_set.extend(actions.iter().cloned()),
            // Those that only write fields are done by now; these others do nothing to a packet. Groups and
            // meters are refused when a flow is added.
            Action::Move { .. }
            | Action::Load { .. }
            | Action::SetField(_)
            | Action::ModDlSrc(_)
            | Action::ModDlDst(_)
            | Action::ModNwSrc(_)
            | Action::ModNwDst(_)
            | Action::ModNwTos(_)
            | Action::ModNwEcn(_)
            | Action::ModNwTtl(_)
            | Action::ModTpSrc(_)
            | Action::ModTpDst(_)
            | Action::ModVlanVid(_)
            | Action::ModVlanPcp(_)
            | Action::StripVlan
            | Action::PushVlan(_)
            | Action::SetTunnel { .. }
            | Action::Push(_)
            | Action::Pop(_)
            | Action::CtClear
            | Action::CheckPktLarger { .. }
            | Action::WriteMetadata { .. }
            | Action::Conjunction { .. }
            | Action::Note(_)
            | Action::Group(_)
            | Action::Meter(_) => {}
        }
    }

    /// What the action changes in the packet's fields.
    fn rewrite(&mut self, action: &Action) {
        let Live { frame, key, stack, .. } = &mut self.packet;
        if let Some(write) = action.field_write() {
            // A field that the packet does not have is not written.
            if key.has(write.field.info().prereq) {
                key.set_masked(write.field, write.value, write.mask);
            }
            return;
        }
        match action {
            Action::Move { src, dst }
                if key.has(src.field.info().prereq) && key.has(dst.field.info().prereq) =>
            {
                key.write(*dst, key.read(*src));
            }
            Action::ModTpSrc(port) => set_port(key, Field::TcpSrc, *port),
            Action::ModTpDst(port) => set_port(key, Field::TcpDst, *port),
            Action::ModVlanVid(vid) => {
                key.set_masked(Field::VlanTci, u128::from(*vid) | VLAN_PRESENT, 0x0fff | VLAN_PRESENT);
            }
            Action::ModVlanPcp(pcp) => {
                key.set_masked(
                    Field::VlanTci,
                    (u128::from(*pcp) << 13) | VLAN_PRESENT,
                    0xe000 | VLAN_PRESENT,
                );
            }
            Action::StripVlan => frame.pop_vlan(key),
            Action::PushVlan(tpid) => frame.push_vlan(*tpid, key),
            Action::DecTtl(_) => {
                let ttl = key.get(Field::NwTtl);
                if key.has(Prereq::Ip) && ttl > 1 {
                    key.set(Field::NwTtl, ttl - 1);
                }
            }
            Action::Push(src) => stack.push(key.read(*src), src.bits),
            // From an empty stack there is nothing to pop, and nothing else happens.
            Action::Pop(dst) => {
                if let Some(value) = stack.pop() {
                    key.write(*dst, value);
                }
            }
            Action::CtClear => clear_ct(key),
            Action::CheckPktLarger { len, dst } => {
                frame.write(key);
                let larger = frame.bytes().len() > usize::from(*len);
                key.write(*dst, larger.into());
            }
            Action::ClearActions => key.set(Field::ActsetOutput, PortNo::UNSET.0.into()),
            Action::WriteActions(actions) => {
                let output = actions.iter().rev().find_map(|action| match action {
                    Action::Output { port, .. } => Some(port),
                    _ => None,
                });
                if let Some(port) = output {
                    key.set(Field::ActsetOutput, port.0.into());
                }
            }
            _ => {}
        }
    }

    /// End this list of actions, and no other; tell the controllers that want to know.
    fn ttl_expired(&mut self, controllers: &[u16]) {
        if let Some(level) = self.levels.last_mut() {
            level.next = level.actions.len();
        }
        let (table, entry) = self.acting();
        for id in controllers {
            let reason = PacketIn::INVALID_TTL;
            self.send_packet_in(
                &Controller { reason, id: *id, ..Controller::output(u16::MAX) },
                table,
                entry,
            );
        }
        self.lose(DropReason::TtlExpired);
    }

    /// `controller(...)`, or a plain output to the controllers, whose reason is how it came to be.
    fn packet_in(&mut self, controller: &Controller) {
        let (table, entry) = self.acting();
        let in_action_set = self.levels.last().is_some_and(|level| matches!(level.list, List::ActionSet));
        let reason = match controller.is_output() {
            true if self.of_packet_out => PacketIn::PACKET_OUT,
            true if in_action_set => PacketIn::ACTION_SET,
            _ => controller.reason,
        };
        self.send_packet_in(&Controller { reason, ..controller.clone() }, table, entry);
    }

    /// To the controllers as `output:CONTROLLER` sends it.
    pub(super) fn output_to_controller(&mut self, max_len: u16) {
        self.packet_in(&Controller::output(max_len));
    }

    /// The table and the flow whose action this is.
    fn acting(&self) -> (u8, Option<&'p Entry>) {
        (self.acting_table(), self.levels.last().and_then(|level| level.entry))
    }

    pub(super) fn send_packet_in(&mut self, controller: &Controller, table: u8, entry: Option<&Entry>) {
        let Live { frame, key, .. } = &mut self.packet;
        frame.write(key);
        let bytes = frame.bytes();
        self.around.observer.packet_in(controller.id, controller.reason);
        self.verdict.packet_ins.push(PacketIn {
            reason: controller.reason,
            table,
            cookie: entry.map_or(u64::MAX, |entry| entry.flow.cookie),
            table_miss: entry.is_some_and(|entry| {
                controller.is_output() && entry.flow.priority == 0 && entry.flow.matching == Match::any()
            }),
            controller: controller.id,
            in_port: port_number(key.get(Field::InPortOxm)).unwrap_or(PortNo::NONE),
            frame: bytes.to_vec(),
            key: key.clone(),
            userdata: controller.userdata.clone(),
        });
    }

    fn clone_packet(&mut self, action: Cow<'p, Action>) {
        let actions = match action {
            Cow::Borrowed(Action::Clone(actions)) => Cow::Borrowed(&actions[..]),
            Cow::Owned(Action::Clone(actions)) => Cow::Owned(actions),
            _ => return,
        };
        let (table, entry) =
            self.levels.last().map_or((self.table, None), |level| (level.table, level.entry));
        self.around.observer.enter(List::Clone);
        let restore = Some(Box::new(self.packet.clone()));
        self.push(Level { restore, ..Level::bare(List::Clone, actions, table, entry) });
    }

    /// `ct(...)`: the packet itself goes on untracked; a copy that knows what it is begins at the
    /// table named.
    fn track(&mut self, ct: &Ct) {
        let request = self.ct_request(ct);
        let Live { frame, key, memo, .. } = &mut self.packet;
        frame.write(key);
        let outcome = self.around.tracker.track(frame, memo, &request, self.around.now);
        self.around.observer.tracked(&request, &outcome);
        clear_ct(key);
        let Some(table) = ct.table else { return };
        let restore = Some(Box::new(self.packet.clone()));
        set_ct(&mut self.packet.key, &outcome);
        let (from, entry) = self.levels.last().map_or((self.table, None), |level| (level.table, level.entry));
        self.around.observer.enter(List::Tracked);
        self.push(Level { restore, ..Level::bare(List::Tracked, Cow::Borrowed(&[]), from, entry) });
        self.enter_table(table, None, false);
    }

    fn ct_request(&self, ct: &Ct) -> Request {
        let zone = match ct.zone {
            CtZone::Number(zone) => zone,
            CtZone::Field(subfield) => self.packet.key.read(subfield) as u16,
        };
        // Carried out on the packet's fields in turn: what one writes the next can read.
        let (mut key, mut marked, mut labelled) = (self.packet.key.clone(), 0, 0);
        for action in &ct.exec {
            let (field, mask) = match (action, action.field_write()) {
                (_, Some(write)) => {
                    key.set_masked(write.field, write.value, write.mask);
                    (write.field, write.mask)
                }
                (Action::Move { src, dst }, _) => {
                    key.write(*dst, key.read(*src));
                    (dst.field, dst.mask())
                }
                _ => continue,
            };
            *(if field == Field::CtLabel { &mut labelled } else { &mut marked }) |= mask;
        }
        let mark = ((key.get(Field::CtMark) & marked) as u32, marked as u32);
        let label = (key.get(Field::CtLabel) & labelled, labelled);
        Request { zone, commit: ct.commit, force: ct.force, mark, label, continues: ct.table.is_some() }
    }
}

/// Set a port of whichever protocol with ports the packet is.
fn set_port(key: &mut Key, field: Field, port: u16) {
    if [Prereq::Tcp, Prereq::Udp, Prereq::Sctp].into_iter().any(|prereq| key.has(prereq)) {
        key.set(field, port.into());
    }
}

const CT_FIELDS: [Field; 11] = [
    Field::CtState,
    Field::CtZone,
    Field::CtMark,
    Field::CtLabel,
    Field::CtNwSrc,
    Field::CtNwDst,
    Field::CtIpv6Src,
    Field::CtIpv6Dst,
    Field::CtNwProto,
    Field::CtTpSrc,
    Field::CtTpDst,
];

fn clear_ct(key: &mut Key) {
    for field in CT_FIELDS {
        key.set(field, 0);
    }
}

fn set_ct(key: &mut Key, outcome: &Outcome) {
    key.set(Field::CtState, outcome.state.into());
    key.set(Field::CtZone, outcome.zone.into());
    key.set(Field::CtMark, outcome.mark.into());
    key.set(Field::CtLabel, outcome.label);
    let Some(original) = outcome.original else { return };
    match (original.src.address, original.dst.address) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            key.set(Field::CtNwSrc, src.to_bits().into());
            key.set(Field::CtNwDst, dst.to_bits().into());
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            key.set(Field::CtIpv6Src, src.to_bits());
            key.set(Field::CtIpv6Dst, dst.to_bits());
        }
        _ => {}
    }
    key.set(Field::CtNwProto, original.proto.into());
    if key.get(Field::IpFrag) & 2 != 0 {
        // Later fragments have no ports, not even their connection's.
        return;
    }
    // ICMP's type and code stand in the ports' place (ovs-fields(7), "ct_tp_src").
    let icmp = matches!(original.proto, 1 | 58);
    let ports = if icmp { (original.icmp_type.into(), 0) } else { (original.src.port, original.dst.port) };
    key.set(Field::CtTpSrc, ports.0.into());
    key.set(Field::CtTpDst, ports.1.into());
}

/// Whether there is an original tuple to look the packet up by.
pub(super) fn has_original_tuple(key: &Key) -> bool {
    key.get(Field::CtNwProto) != 0 && key.has(Prereq::Ip)
}

/// The packet with the connection's original tuple in the place of its own addresses and ports.
pub(super) fn with_original_tuple(key: &Key) -> Key {
    let mut swapped = key.clone();
    let pairs = [
        (Field::NwProto, Field::CtNwProto),
        (Field::TcpSrc, Field::CtTpSrc),
        (Field::TcpDst, Field::CtTpDst),
    ];
    let v4 = [(Field::NwSrc, Field::CtNwSrc), (Field::NwDst, Field::CtNwDst)];
    let v6 = [(Field::Ipv6Src, Field::CtIpv6Src), (Field::Ipv6Dst, Field::CtIpv6Dst)];
    let addresses = if key.has(Prereq::Ipv4) { v4 } else { v6 };
    for (own, original) in pairs.into_iter().chain(addresses) {
        swapped.set(own, key.get(original));
        swapped.set(original, key.get(own));
    }
    swapped
}

/// The action set as a list: one pop and push of a tag, one TTL, then fields in the order
/// written, then the last of the most important kind of those that send the packet somewhere.
/// Without one of these nothing is done (OpenFlow 1.5.1 §5.6; ovs-actions(7), "write_actions").
pub(super) fn in_set_order(set: Vec<Action>) -> Vec<Action> {
    #[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
    enum Place {
        Strip,
        Push,
        Ttl,
        Field,
        Ct,
        CtClear,
        Resubmit,
        Output,
    }
    let place = |action: &Action| match action {
        Action::StripVlan => Place::Strip,
        Action::PushVlan(_) => Place::Push,
        Action::DecTtl(_) => Place::Ttl,
        Action::Ct(_) => Place::Ct,
        Action::CtClear => Place::CtClear,
        Action::Resubmit { .. } => Place::Resubmit,
        Action::Output { .. } => Place::Output,
        _ => Place::Field,
    };
    let Some(last) = set.iter().map(place).max().filter(|place| *place > Place::Field) else {
        return Vec::new();
    };
    let mut ordered = Vec::with_capacity(set.len());
    for slot in [Place::Strip, Place::Push, Place::Ttl] {
        ordered.extend(set.iter().rev().find(|action| place(action) == slot).cloned());
    }
    ordered.extend(set.iter().filter(|action| place(action) == Place::Field).cloned());
    ordered.extend(set.iter().rev().find(|action| place(action) == last).cloned());
    ordered
}

/// Whether an action may stand in `write_actions(...)`.
pub(crate) fn belongs_in_action_set(action: &Action) -> bool {
    action.field_write().is_some_and(|write| {
        write.field != Field::Metadata || !matches!(action, Action::WriteMetadata { .. })
    }) || matches!(
        action,
        Action::StripVlan
            | Action::PushVlan(_)
            | Action::DecTtl(_)
            | Action::Ct(_)
            | Action::CtClear
            | Action::Resubmit { .. }
            | Action::Output { .. }
            | Action::Move { .. }
            | Action::ModTpSrc(_)
            | Action::ModTpDst(_)
            | Action::ModVlanVid(_)
            | Action::ModVlanPcp(_)
            | Action::SetQueue(_)
    )
}

/// Whether an action may stand in `ct(exec(...))`.
pub(crate) fn belongs_in_ct_exec(action: &Action) -> bool {
    let target = match action {
        Action::Load { dst: Subfield { field, .. }, .. }
        | Action::Move { dst: Subfield { field, .. }, .. } => *field,
        Action::SetField(set) => set.field(),
        _ => return false,
    };
    matches!(target, Field::CtMark | Field::CtLabel)
}
