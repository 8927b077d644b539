//! What counts as the same message.
//!
//! Open vSwitch writes an action in the form that the version has for it, so that what was read as
//! `mod_dl_src` may come back as `set_field`. Two lists are the same here when each run of actions
//! that write constants has the same bits at its end, and all else is equal.

use footbridge_openflow::wire::stats::{FlowUpdate, ReplyBody, StatsRequest};
use footbridge_openflow::wire::{Message, Version};
use footbridge_openflow::{Action, Field, Match};

/// What of a message comes back: the message without its actions, and what each of its lists of them
/// does, in the order they stand in it.
pub(super) fn essence(message: &Message, version: Version) -> (Message, Vec<Vec<Step>>) {
    let mut message = message.clone();
    if let Message::PacketIn(packet) = &mut message
        && version < Version::V14
        && packet.reason > INVALID_TTL
    {
        packet.reason = ACTION;
    }
    if version != Version::V10 {
        matches(&mut message).into_iter().for_each(say_in_oxm);
    }
    let effects = lists(&mut message).into_iter().map(|list| steps(&std::mem::take(list), version)).collect();
    (message, effects)
}

/// OXM has no mask for the PCP, and knows it of tagged packets only.
fn say_in_oxm(matching: &mut Match) {
    const PCP: u128 = 0xe000;
    let (value, mask) = matching.get(Field::VlanTci);
    let mask = match mask & PCP {
        0 => mask,
        _ if value & PRESENT != 0 => mask | PCP,
        _ => mask & !PCP,
    };
    matching.set(Field::VlanTci, value & mask, mask);
}

/// The matches in a message.
fn matches(message: &mut Message) -> Vec<&mut Match> {
    match message {
        Message::FlowMod(flow_mod) => vec![&mut flow_mod.matching],
        Message::FlowRemoved(removed) => vec![&mut removed.matching],
        Message::PacketIn(packet) => vec![&mut packet.metadata],
        Message::PacketOut(packet) => vec![&mut packet.metadata],
        Message::StatsRequest(StatsRequest::Flow(request) | StatsRequest::Aggregate(request)) => {
            vec![&mut request.matching]
        }
        Message::StatsRequest(StatsRequest::FlowMonitor(requests)) => {
            requests.iter_mut().map(|request| &mut request.matching).collect()
        }
        Message::StatsReply(reply) => match &mut reply.body {
            ReplyBody::Flow(_, entries) => entries.iter_mut().map(|entry| &mut entry.flow.matching).collect(),
            ReplyBody::FlowMonitor(updates) => updates
                .iter_mut()
                .filter_map(|update| match update {
                    FlowUpdate::Full { matching, .. } => Some(matching),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// OFPR_ACTION
const ACTION: u8 = 1;
/// OFPR_INVALID_TTL, the last reason of a packet-in before 1.4.
const INVALID_TTL: u8 = 2;

fn lists(message: &mut Message) -> Vec<&mut Vec<Action>> {
    match message {
        Message::FlowMod(flow_mod) => vec![&mut flow_mod.actions],
        Message::PacketOut(packet) => vec![&mut packet.actions],
        Message::StatsReply(reply) => match &mut reply.body {
            ReplyBody::Flow(_, entries) => entries.iter_mut().map(|entry| &mut entry.flow.actions).collect(),
            ReplyBody::FlowMonitor(updates) => updates
                .iter_mut()
                .filter_map(|update| match update {
                    FlowUpdate::Full { actions, .. } => Some(actions),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// One thing that a list does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Bits of the packet become these. A match is the form of them that doesn't depend on which
    /// fields name them.
    Write(Match),
    /// A list inside another, under its action with that list left out.
    Nested(Action, Vec<Step>),
    /// Anything else.
    Other(Action),
}

fn steps(actions: &[Action], version: Version) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for action in actions {
        let step = step(action, version);
        match (steps.last_mut(), step) {
            // It writes no bit at all, and may be left out.
            (_, Step::Write(bits)) if bits == Match::any() => {}
            (Some(Step::Write(before)), Step::Write(bits)) => {
                for field in Field::all() {
                    let ((old, old_mask), (value, mask)) = (before.get(field), bits.get(field));
                    if mask != 0 {
                        before.set(field, old & !mask | value, old_mask | mask);
                    }
                }
            }
            (_, step) => steps.push(step),
        }
    }
    steps
}

fn step(action: &Action, version: Version) -> Step {
    if let Action::SetField(set) = action {
        let set = set.write();
        assert!(
            set.value & !set.mask == 0 && set.mask & !set.field.all_ones() == 0,
            "{action:?} writes beyond its mask or field"
        );
    }
    let write = |field, value: u128, mask: u128| Step::Write(Match::any().with_masked(field, value, mask));
    match action {
        Action::Clone(list) => Step::Nested(Action::Clone(Vec::new()), steps(list, version)),
        Action::WriteActions(list) => Step::Nested(Action::WriteActions(Vec::new()), steps(list, version)),
        Action::Ct(ct) => {
            let mut bare = ct.clone();
            let exec = std::mem::take(&mut bare.exec);
            Step::Nested(Action::Ct(bare), steps(&exec, version))
        }
        // Of whichever protocol: their ports are the same bits.
        Action::ModTpSrc(port) => write(Field::TcpSrc, (*port).into(), 0xffff),
        Action::ModTpDst(port) => write(Field::TcpDst, (*port).into(), 0xffff),
        // Instructions, which stay what they are.
        Action::WriteMetadata { .. } => Step::Other(action.clone()),
        Action::SetField(set) if version == Version::V10 => legacy(action, set.field(), set.write().value),
        Action::ModVlanVid(vid) => write(Field::VlanTci, u128::from(*vid) | PRESENT, 0xfff | PRESENT),
        Action::ModVlanPcp(pcp) => write(Field::VlanTci, u128::from(*pcp) << 13 | PRESENT, 0xe000 | PRESENT),
        _ => match action.field_write() {
            Some(bits) => write(bits.field, bits.value, bits.mask),
            None => Step::Other(action.clone()),
        },
    }
}

/// The present bit of a tag.
const PRESENT: u128 = 0x1000;

/// A field that OpenFlow 1.0 has an action for is written by it, without a mask: Open vSwitch loses
/// that too.
fn legacy(action: &Action, field: Field, value: u128) -> Step {
    let whole = |field: Field, value| Step::Write(Match::any().with(field, value));
    match field {
        Field::VlanTci if value & PRESENT == 0 => Step::Other(Action::StripVlan),
        Field::VlanTci => whole(field, value),
        Field::VlanVid => step(&Action::ModVlanVid(value as u16 & 0xfff), Version::V10),
        Field::VlanPcp => step(&Action::ModVlanPcp(value as u8), Version::V10),
        Field::NwTos => whole(Field::IpDscp, value >> 2),
        Field::EthSrc | Field::EthDst | Field::NwSrc | Field::NwDst | Field::IpDscp | Field::NwEcn => {
            whole(field, value)
        }
        Field::TcpSrc | Field::UdpSrc | Field::TcpDst | Field::UdpDst => whole(field, value),
        _ => match action.field_write() {
            Some(bits) => Step::Write(Match::any().with_masked(bits.field, bits.value, bits.mask)),
            None => Step::Other(action.clone()),
        },
    }
}
