//! What no switch would take: fields matched or written without their prerequisites, and action
//! lists that contradict themselves.
//!
//! The same checks serve text and wire. Source: ovs-fields(7), "Prerequisites"; ovs-actions(7);
//! the checks of Open vSwitch 3.1, from which one thing differs: a match on a field without its
//! prerequisite is refused here, where `ovs-ofctl` leaves the field out with a warning.
//!
//! As in Open vSwitch, `mod_nw_src`, `mod_nw_dst`, `mod_nw_tos`, `mod_tp_*`, `dec_ttl`, `strip_vlan` and `fin_timeout` are taken
//! without a match on the protocol: they do nothing to packets of others.

use crate::action::{Action, Ct, CtZone, FieldWrite, Subfield};
use crate::field::{Field, Prereq};
use crate::flow::Flow;
use crate::matching::Match;
use crate::port::PortNo;

/// One reason why a switch would refuse a flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// A field is matched that the packets need not have.
    #[error("a match on {field} needs {} matched too", needs(.field.info().prereq))]
    MatchPrerequisite {
        /// The field.
        field: Field,
    },
    /// An address of the connection's first packet is matched, but not its IP version.
    #[error("a match on {field} needs {needs} matched too")]
    ConnectionFamily {
        /// The field.
        field: Field,
        /// The protocol.
        needs: &'static str,
    },
    /// arp_op is matched with a value that no ARP packet shows (they show 0 to 255).
    #[error("arp_op is 0 to 255, not {value}")]
    ArpOp {
        /// The value.
        value: u128,
    },
    /// Tables are numbered 0 to 254.
    #[error("there is no table 255")]
    NoSuchTable,
    /// One of the actions is wrong.
    #[error("{name}: {error}")]
    Action {
        /// Its place in the flow's list, from 0; of nested actions, the outermost one's place.
        index: usize,
        /// Its word.
        name: &'static str,
        /// What is wrong with it.
        error: ActionError,
    },
}

/// What is wrong with an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// It touches a field that the packets need not have.
    #[error("{field} needs {} matched", needs(.field.info().prereq))]
    Prerequisite {
        /// The field.
        field: Field,
    },
    /// It writes a field that can only be read.
    #[error("{field} can't be written")]
    ReadOnly {
        /// The field.
        field: Field,
    },
    /// A value does not fit.
    #[error("{value:#x} does not fit into {bits} bits")]
    TooWide {
        /// The value.
        value: u128,
        /// The room there is.
        bits: u8,
    },
    /// No packet has the value there.
    #[error("{value:#x} is no value of {field}")]
    NoSuchValue {
        /// The field.
        field: Field,
        /// The value.
        value: u128,
    },
    /// The bits of a field are none, or beyond its width.
    #[error("{field} has no bits {offset} to {}", u16::from(*.offset) + u16::from(*.bits) - 1)]
    NoSuchBits {
        /// The field.
        field: Field,
        /// First bit.
        offset: u8,
        /// Number of bits.
        bits: u8,
    },
    /// Two bit ranges that must be of one width are not.
    #[error("{src} bits can't be put into {dst}")]
    Widths {
        /// Bits read.
        src: u8,
        /// Bits written.
        dst: u8,
    },
    /// A port that nothing can be sent to.
    #[error("nothing can be sent to port {}", port.0)]
    BadPort {
        /// The port.
        port: PortNo,
    },
    /// `goto_table` to this table or one before it.
    #[error("table {table} is not after table {from}")]
    Backwards {
        /// The flow's table.
        from: u8,
        /// Where it would go.
        table: u8,
    },
    /// There is no such table.
    #[error("there is no table {table}")]
    NoSuchTable {
        /// The table.
        table: u8,
    },
    /// `conjunction` beside anything but `conjunction` and `note`.
    #[error("no other action may stand beside conjunction, but note")]
    BesideConjunction,
    /// An impossible clause of a conjunction.
    #[error("{clause}/{n_clauses} is no clause (1 to 64, of at least 2)")]
    Clause {
        /// Which, from 1.
        clause: u8,
        /// Of how many.
        n_clauses: u8,
    },
    /// An instruction after one that has to follow it.
    #[error("it must stand before {before}")]
    Order {
        /// The word of the one before it.
        before: &'static str,
    },
    /// An instruction given twice.
    #[error("it may be given once")]
    Twice,
    /// An instruction within an action.
    #[error("it can't stand within {within}")]
    Nested {
        /// The word of the action around it.
        within: &'static str,
    },
    /// An action that an action set can't hold.
    #[error("{name} can't stand within write_actions")]
    NotInActionSet {
        /// The action's word.
        name: &'static str,
    },
    /// A connection's field written outside `ct(exec())`.
    #[error("{field} can be written only within ct(exec())")]
    OutsideCt {
        /// The field.
        field: Field,
    },
    /// Something else within `ct(exec())`.
    #[error("only ct_mark and ct_label can be written within ct(exec())")]
    WithinCt,
    /// `set_field` of vlan_vid that would take the tag away.
    #[error("vlan_vid has 4096 added to it, as a tag is present")]
    VlanNotPresent,
    /// `ct` of packets that need not be IP.
    #[error("ip or ipv6 must be matched")]
    NeedsIp,
    /// `ct(commit)` of a packet that is known to be invalid.
    #[error("an invalid packet (ct_state=+inv) can't be committed")]
    CommitInvalid,
    /// `ct(force)` without commit.
    #[error("force needs commit")]
    ForceWithoutCommit,
    /// `ct(nat(…))` or `ct(exec(…))` without commit.
    #[error("nat with arguments, and exec, need commit")]
    ChangeWithoutCommit,
    /// A connection helper of another protocol.
    #[error("alg needs {needs} matched")]
    Alg {
        /// The protocol.
        needs: &'static str,
    },
    /// `nat` to addresses of the other IP version.
    #[error("nat's addresses are not of the IP version matched")]
    NatFamily,
    /// `push_vlan` on a packet that has two tags already.
    #[error("a packet has at most two tags")]
    TooManyTags,
    /// Meters are numbered from 1 to 0xffff0000.
    #[error("there is no meter {meter}")]
    BadMeter {
        /// The meter.
        meter: u32,
    },
}

impl Flow {
    /// Every reason why a switch would refuse this flow; none if it is fine.
    pub fn check(&self) -> Vec<FlowError> {
        let mut errors = Vec::new();
        if self.table == u8::MAX {
            errors.push(FlowError::NoSuchTable);
        }
        check_match(&self.matching, &mut errors);
        check_actions(self, &mut errors);
        errors
    }
}

impl Prereq {
    /// Whether every packet that `matching` takes meets the prerequisite.
    pub fn holds(self, matching: &Match) -> bool {
        let eth_type = matching.exact(Field::EthType);
        let ip = matches!(eth_type, Some(0x0800 | 0x86dd));
        let protocol = |number: u128| ip && matching.exact(Field::NwProto) == Some(number);
        let set = |field: Field, bits: u128| {
            let (value, mask) = matching.get(field);
            value & mask & bits != 0
        };
        let with_ports = |number| protocol(number) && !set(Field::IpFrag, 2);
        let nd = |types: &[u128]| {
            Prereq::Icmpv6.holds(matching)
                && matching.exact(Field::Icmpv6Type).is_some_and(|t| types.contains(&t))
                && matching.exact(Field::Icmpv6Code).is_none_or(|code| code == 0)
        };
        match self {
            Prereq::None | Prereq::Ethernet => true,
            Prereq::Vlan => set(Field::VlanTci, 0x1000),
            Prereq::Arp => matches!(eth_type, Some(0x0806 | 0x8035)),
            Prereq::Ipv4 => eth_type == Some(0x0800),
            Prereq::Ipv6 => eth_type == Some(0x86dd),
            Prereq::Ip => ip,
            Prereq::Tcp => with_ports(6),
            Prereq::Udp => with_ports(17),
            Prereq::Sctp => with_ports(132),
            Prereq::Icmpv4 => eth_type == Some(0x0800) && protocol(1),
            Prereq::Icmpv6 => eth_type == Some(0x86dd) && protocol(58),
            Prereq::Nd => nd(&[135, 136]),
            Prereq::NdSolicit => nd(&[135]),
            Prereq::NdAdvert => nd(&[136]),
            Prereq::Ct => {
                let (invalid, compared) =
                    (set(Field::CtState, 0x10), matching.get(Field::CtState).1 & 0x10 != 0);
                set(Field::CtState, 0xcf) || (set(Field::CtState, 0x20) && compared && !invalid)
            }
        }
    }
}

/// What to write for a prerequisite.
fn needs(prereq: Prereq) -> &'static str {
    match prereq {
        Prereq::None | Prereq::Ethernet => "nothing",
        Prereq::Vlan => "a tag (vlan_tci=0x1000/0x1000)",
        Prereq::Arp => "arp or rarp",
        Prereq::Ipv4 => "ip",
        Prereq::Ipv6 => "ipv6",
        Prereq::Ip => "ip or ipv6",
        Prereq::Tcp => "tcp or tcp6, and no later fragments,",
        Prereq::Udp => "udp or udp6, and no later fragments,",
        Prereq::Sctp => "sctp or sctp6, and no later fragments,",
        Prereq::Icmpv4 => "icmp",
        Prereq::Icmpv6 => "icmp6",
        Prereq::Nd => "icmp6 with icmp_type 135 or 136 and icmp_code 0",
        Prereq::NdSolicit => "icmp6 with icmp_type 135 and icmp_code 0",
        Prereq::NdAdvert => "icmp6 with icmp_type 136 and icmp_code 0",
        Prereq::Ct => "ct_state with a flag that only valid connections have (as +est or -inv+trk)",
    }
}

/// Every bit that is matched must belong to a field whose prerequisite holds.
fn check_match(matching: &Match, errors: &mut Vec<FlowError>) {
    for field in Field::all() {
        let (_, mask) = matching.get(field);
        let allowed = |other: &Field| other.shares_bits(field) && other.info().prereq.holds(matching);
        if mask != 0 && !Field::all().any(|other| allowed(&other)) && !reported(field, errors) {
            errors.push(FlowError::MatchPrerequisite { field });
        }
    }
    let v4 = [Field::CtNwSrc, Field::CtNwDst].map(|field| (field, Prereq::Ipv4));
    let v6 = [Field::CtIpv6Src, Field::CtIpv6Dst].map(|field| (field, Prereq::Ipv6));
    for (field, family) in v4.into_iter().chain(v6) {
        if matching.get(field).1 != 0 && !family.holds(matching) {
            errors.push(FlowError::ConnectionFamily { field, needs: needs(family) });
        }
    }
    let (value, mask) = matching.get(Field::ArpOp);
    if value & mask > 0xff {
        errors.push(FlowError::ArpOp { value });
    }
}

/// Whether an error already tells of bits that `field` shares.
fn reported(field: Field, errors: &[FlowError]) -> bool {
    errors.iter().any(|e| matches!(e, FlowError::MatchPrerequisite { field: f } if f.shares_bits(field)))
}

fn check_actions(flow: &Flow, errors: &mut Vec<FlowError>) {
    let mut checker = Checker {
        table: flow.table,
        matching: flow.matching.clone(),
        tags: 0,
        within: None,
        errors: Vec::new(),
    };
    checker.tags = usize::from(Prereq::Vlan.holds(&flow.matching));
    checker.order(&flow.actions, errors);
    for (index, action) in flow.actions.iter().enumerate() {
        checker.action(action);
        let name = action.name();
        errors.extend(checker.errors.drain(..).map(|error| FlowError::Action { index, name, error }));
    }
}

/// Walks a list of actions, with what is known of the packet at each.
struct Checker {
    table: u8,
    matching: Match,
    tags: usize,
    /// The word of the action around this list.
    within: Option<&'static str>,
    errors: Vec<ActionError>,
}

impl Checker {
    /// Instructions stand in OpenFlow's order, once each; conjunctions alone.
    fn order(&self, actions: &[Action], errors: &mut Vec<FlowError>) {
        let conjunction = actions.iter().any(|a| matches!(a, Action::Conjunction { .. }));
        let mut last: Option<&Action> = None;
        for (index, action) in actions.iter().enumerate() {
            let mut refuse = |error| errors.push(FlowError::Action { index, name: action.name(), error });
            if conjunction && !matches!(action, Action::Conjunction { .. } | Action::Note(_)) {
                refuse(ActionError::BesideConjunction);
            }
            if let Some(before) = last {
                if action.instruction() < before.instruction() {
                    refuse(ActionError::Order { before: before.name() });
                } else if action.instruction() == before.instruction() && action.instruction() != APPLY {
                    refuse(ActionError::Twice);
                }
            }
            last = Some(action);
        }
    }

    fn action(&mut self, action: &Action) {
        if let Some(within) = self.within
            && action.instruction() != APPLY
        {
            self.errors.push(ActionError::Nested { within });
        } else if self.within == Some("write_actions") && !action.may_stand_in_action_set() {
            self.errors.push(ActionError::NotInActionSet { name: action.name() });
        }
        match action {
            Action::Output { port, .. }
            | Action::OutputTruncated { port, .. }
            | Action::Enqueue { port, .. } => {
                self.port(*port, action);
            }
            Action::OutputReg { src } | Action::Push(src) => self.read(*src),
            Action::Move { src, dst } => {
                self.read(*src);
                self.write(*dst);
                if src.bits != dst.bits {
                    self.errors.push(ActionError::Widths { src: src.bits, dst: dst.bits });
                }
            }
            Action::Load { value, dst } => {
                self.write(*dst);
                self.fits(*value, dst.bits);
                if dst.field == Field::VlanTci {
                    self.tci_written(value.checked_shl(dst.offset.into()).unwrap_or(0));
                }
                self.needs_tag(dst.field);
            }
            Action::SetField(set) => {
                let FieldWrite { field, value, mask } = set.write();
                self.write(Subfield::whole(field));
                self.fits(value | mask, field.info().width);
                // Of a value beyond the width it has been said that it is.
                if value & !field.all_ones() == 0 && !field.takes(value) {
                    self.errors.push(ActionError::NoSuchValue { field, value });
                }
                if field == Field::InPortOxm {
                    self.errors.push(ActionError::ReadOnly { field });
                }
                if field == Field::VlanVid && value & mask & 0x1000 == 0 {
                    self.errors.push(ActionError::VlanNotPresent);
                }
                if field == Field::VlanTci {
                    self.tci_written(value);
                }
                self.needs_tag(field);
            }
            Action::ModNwEcn(ecn) => {
                self.read(Subfield::whole(Field::NwEcn));
                self.fits((*ecn).into(), 2);
            }
            Action::ModNwTtl(_) => self.read(Subfield::whole(Field::NwTtl)),
            Action::ModVlanVid(vid) => {
                self.fits((*vid).into(), 12);
                self.tagged(self.tags.max(1));
            }
            Action::ModVlanPcp(pcp) => {
                self.fits((*pcp).into(), 3);
                self.tagged(self.tags.max(1));
            }
            Action::StripVlan => self.tagged(self.tags.saturating_sub(1)),
            Action::PushVlan(_) if self.tags >= 2 => self.errors.push(ActionError::TooManyTags),
            Action::PushVlan(_) => self.tagged(self.tags + 1),
            Action::Pop(dst) => self.write(*dst),
            Action::CheckPktLarger { dst, .. } => {
                self.bits(*dst);
                if dst.bits != 1 {
                    self.errors.push(ActionError::Widths { src: 1, dst: dst.bits });
                }
            }
            Action::Resubmit { with_ct_orig: true, .. } if !Prereq::Ct.holds(&self.matching) => {
                self.errors.push(ActionError::Prerequisite { field: Field::CtNwSrc });
            }
            Action::Ct(ct) => self.ct(ct),
            Action::Conjunction { clause, n_clauses, .. } => {
                if !(2..=64).contains(n_clauses) || !(1..=*n_clauses).contains(clause) {
                    self.errors.push(ActionError::Clause { clause: *clause, n_clauses: *n_clauses });
                }
            }
            Action::Clone(actions) | Action::WriteActions(actions) => {
                self.nested(actions, action.name());
            }
            Action::Meter(meter) if !(1..=0xffff_0000).contains(meter) => {
                self.errors.push(ActionError::BadMeter { meter: *meter });
            }
            Action::GotoTable(u8::MAX) => self.errors.push(ActionError::NoSuchTable { table: u8::MAX }),
            Action::GotoTable(table) if *table <= self.table => {
                self.errors.push(ActionError::Backwards { from: self.table, table: *table });
            }
            Action::Controller(_)
            | Action::Group(_)
            | Action::ModDlSrc(_)
            | Action::ModDlDst(_)
            | Action::ModNwSrc(_)
            | Action::ModNwDst(_)
            | Action::ModNwTos(_)
            | Action::ModTpSrc(_)
            | Action::ModTpDst(_)
            | Action::DecTtl(_)
            | Action::SetTunnel { .. }
            | Action::SetQueue(_)
            | Action::PopQueue
            | Action::Resubmit { .. }
            | Action::CtClear
            | Action::Note(_)
            | Action::FinTimeout { .. }
            | Action::Exit
            | Action::Meter(_)
            | Action::ClearActions
            | Action::WriteMetadata { .. }
            | Action::GotoTable(_) => {}
        }
    }

    /// A list within an action; what it changes is forgotten after it.
    fn nested(&mut self, actions: &[Action], within: &'static str) {
        let mut inner = Checker {
            table: self.table,
            matching: self.matching.clone(),
            tags: self.tags,
            within: Some(within),
            errors: Vec::new(),
        };
        actions.iter().for_each(|action| inner.action(action));
        self.errors.append(&mut inner.errors);
    }

    fn ct(&mut self, ct: &Ct) {
        let (state, compared) = self.matching.get(Field::CtState);
        let protocol = self.matching.exact(Field::NwProto);
        if !Prereq::Ip.holds(&self.matching) {
            self.errors.push(ActionError::NeedsIp);
        }
        if ct.commit && state & compared & 0x10 != 0 {
            self.errors.push(ActionError::CommitInvalid);
        }
        if ct.force && !ct.commit {
            self.errors.push(ActionError::ForceWithoutCommit);
        }
        let changes = !ct.exec.is_empty() || ct.nat.as_ref().is_some_and(|nat| nat.kind.is_some());
        if changes && !ct.commit {
            self.errors.push(ActionError::ChangeWithoutCommit);
        }
        if let CtZone::Field(field) = ct.zone {
            self.read(field);
            if field.bits != 16 {
                self.errors.push(ActionError::Widths { src: field.bits, dst: 16 });
            }
        }
        if ct.table == Some(u8::MAX) {
            self.errors.push(ActionError::NoSuchTable { table: u8::MAX });
        }
        match ct.alg {
            Some(21) if protocol != Some(6) => self.errors.push(ActionError::Alg { needs: "tcp" }),
            Some(69) if protocol != Some(17) => self.errors.push(ActionError::Alg { needs: "udp" }),
            _ => {}
        }
        if let Some((first, _)) = ct.nat.as_ref().and_then(|nat| nat.addresses) {
            let family = if first.is_ipv4() { Prereq::Ipv4 } else { Prereq::Ipv6 };
            if !family.holds(&self.matching) {
                self.errors.push(ActionError::NatFamily);
            }
        }
        for action in &ct.exec {
            let destination = match action {
                Action::Load { dst, .. } | Action::Move { dst, .. } => Some(dst.field),
                Action::SetField(set) => Some(set.field()),
                _ => None,
            };
            if !matches!(destination, Some(Field::CtMark | Field::CtLabel)) {
                self.errors.push(ActionError::WithinCt);
            }
        }
        self.nested(&ct.exec, "ct");
    }

    fn port(&mut self, port: PortNo, action: &Action) {
        let special: &[PortNo] = match action {
            Action::Enqueue { .. } | Action::OutputTruncated { .. } => &[PortNo::IN_PORT, PortNo::LOCAL],
            _ => &[
                PortNo::IN_PORT,
                PortNo::TABLE,
                PortNo::NORMAL,
                PortNo::FLOOD,
                PortNo::ALL,
                PortNo::CONTROLLER,
                PortNo::LOCAL,
            ],
        };
        if port.0 >= 0xff00 && !special.contains(&port) {
            self.errors.push(ActionError::BadPort { port });
        }
    }

    fn bits(&mut self, part: Subfield) {
        let Subfield { field, offset, bits } = part;
        if bits == 0 || offset.checked_add(bits).is_none_or(|end| end > field.subfield_width()) {
            self.errors.push(ActionError::NoSuchBits { field, offset, bits: bits.max(1) });
        }
    }

    fn read(&mut self, part: Subfield) {
        self.bits(part);
        if !part.field.info().prereq.holds(&self.matching) {
            self.errors.push(ActionError::Prerequisite { field: part.field });
        }
    }

    fn write(&mut self, part: Subfield) {
        self.read(part);
        let field = part.field;
        if !field.info().writable {
            self.errors.push(ActionError::ReadOnly { field });
        }
        if matches!(field, Field::CtMark | Field::CtLabel) && self.within != Some("ct") {
            self.errors.push(ActionError::OutsideCt { field });
        }
    }

    /// A match on vlan_vid needs no tag, a write does.
    fn needs_tag(&mut self, written: Field) {
        if written == Field::VlanVid && self.tags == 0 {
            self.errors.push(ActionError::Prerequisite { field: Field::VlanPcp });
        }
    }

    fn fits(&mut self, value: u128, bits: u8) {
        if value & !crate::field::ones(bits.into()) != 0 {
            self.errors.push(ActionError::TooWide { value, bits });
        }
    }

    /// vlan_tci was written, which adds a tag or takes it away.
    fn tci_written(&mut self, tci: u128) {
        self.tagged(if tci & 0x1000 != 0 { self.tags.max(1) } else { 0 });
    }

    /// The packet has `tags` tags from here on.
    fn tagged(&mut self, tags: usize) {
        self.tags = tags;
        let present = if tags > 0 { 0x1000 } else { 0 };
        self.matching.set(Field::VlanTci, present, 0x1000);
    }
}

/// [`Action::instruction`] of everything that is an action rather than an instruction.
const APPLY: u8 = 1;

impl Action {
    /// The place of the OpenFlow 1.1 instruction that this is part of, among instructions.
    fn instruction(&self) -> u8 {
        match self {
            Action::Meter(_) => 0,
            Action::ClearActions => 2,
            Action::WriteActions(_) => 3,
            Action::WriteMetadata { .. } => 4,
            Action::GotoTable(_) => 5,
            _ => APPLY,
        }
    }

    /// Whether the action can be part of an action set.
    fn may_stand_in_action_set(&self) -> bool {
        match self {
            Action::Output { .. }
            | Action::Group(_)
            | Action::Move { .. }
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
            | Action::DecTtl(_)
            | Action::SetTunnel { .. }
            | Action::SetQueue(_)
            | Action::Resubmit { .. }
            | Action::Ct(_)
            | Action::CtClear => true,
            Action::Controller(to) => to.is_output(),
            Action::OutputTruncated { .. }
            | Action::OutputReg { .. }
            | Action::Enqueue { .. }
            | Action::PopQueue
            | Action::Push(_)
            | Action::Pop(_)
            | Action::Conjunction { .. }
            | Action::Clone(_)
            | Action::Note(_)
            | Action::FinTimeout { .. }
            | Action::CheckPktLarger { .. }
            | Action::Exit
            | Action::Meter(_)
            | Action::ClearActions
            | Action::WriteActions(_)
            | Action::WriteMetadata { .. }
            | Action::GotoTable(_) => false,
        }
    }
}

#[cfg(test)]
mod tests;
