//! From bytes to [`Action`]s.

use super::super::Context;
use super::super::bytes::{Reader, U16, U32, all_zero};
use super::super::error::{ErrorCode, Refusal};
use super::super::matching::{port_from_16, port_from_32};
use super::super::oxm::{self, Header as FieldHeader};
use super::super::property;
use super::super::version::Version;
use super::{
    ALIGN, Byte, CopyField15, CopyFieldOnf, DlAddr, EXPERIMENTER, EXTENSION_HEADER, Enqueue, Extension,
    Header, Kind, MAX_DEPTH, NxCheckPktLarger, NxCntIds, NxConjunction, NxController, NxFinTimeout, NxLong,
    NxLongLong, NxOutputReg, NxOutputReg2, NxOutputTrunc, NxRegLoad, NxRegMove, NxResubmit, NxShort, NxStack,
    NxWriteMetadata, Output, Output10, Row, Short, Space, THIS_TABLE, VLAN_PRESENT, controller2, ct,
};
use crate::action::{Action, Controller, CtNat, Subfield};
use crate::addr::MacAddr;
use crate::field::{Field, ones};
use crate::port::PortNo;
use std::net::Ipv4Addr;

/// Where a list stands, which is what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a flow.
    Flow,
    /// In a packet-out, or clone().
    List,
    /// In ct(): writes to the connection, and nat.
    Ct,
    /// In write_actions().
    ActionSet,
}

fn refuse(code: ErrorCode) -> Refusal {
    Refusal::new(code, "an action")
}

/// The actions that fill `bytes`.
pub(crate) fn decode(bytes: &[u8], context: Context<'_>) -> Result<Vec<Action>, Refusal> {
    list(bytes, context, Place::List, 0)
}

/// Refuse actions of a request of 1.0 behind a write_metadata, which later versions carry out behind all actions.
/// Not in a switch's dump: Open vSwitch writes there what it would refuse.
pub(crate) fn check_order(actions: &[Action]) -> Result<(), Refusal> {
    match actions.iter().position(|action| matches!(action, Action::WriteMetadata { .. })) {
        Some(at) if at + 1 < actions.len() => Err(refuse(ErrorCode::BacUnsupportedOrder)),
        _ => Ok(()),
    }
}

/// The actions that fill `bytes`, in `place`.
pub(super) fn list(
    bytes: &[u8],
    context: Context<'_>,
    place: Place,
    depth: u8,
) -> Result<Vec<Action>, Refusal> {
    list_with_nat(bytes, context, place, depth, |_| Err(refuse(ErrorCode::BacBadSetArgument)))
}

/// How many actions there are in `bytes`, by their lengths.
fn count(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some(&[_, _, high, low]) = bytes.first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).max(ALIGN);
        let Some(rest) = bytes.get(length..) else { break };
        bytes = rest;
        count += 1;
    }
    count
}

/// The actions that fill `bytes`, but for nat, which is a part of ct(): it goes to `take_nat`.
pub(super) fn list_with_nat(
    bytes: &[u8],
    context: Context<'_>,
    place: Place,
    depth: u8,
    mut take_nat: impl FnMut(CtNat) -> Result<(), Refusal>,
) -> Result<Vec<Action>, Refusal> {
    if depth > MAX_DEPTH {
        return Err(refuse(ErrorCode::BacTooMany));
    }
    if !bytes.len().is_multiple_of(ALIGN) {
        return Err(Refusal::new(ErrorCode::BrcBadLen, "an action list"));
    }
    let mut reader = Reader::new(bytes, ErrorCode::BacBadLen, "an action list");
    // A list is kept for as long as its flow, and there may be a million: it has no room to spare.
    let mut actions = Vec::with_capacity(count(bytes));
    let (mut conjunctions, mut others) = (false, false);
    while !reader.is_empty() {
        let nx = reader.peek::<Header>()?.kind.get() == EXPERIMENTER;
        let (kind, mut body) = header(&mut reader, context.version)?;
        if kind == Kind::Nat {
            take_nat(ct::decode_nat(&mut body)?)?;
            others = true;
            continue;
        }
        one(kind, nx, &mut body, context, depth, &mut actions)?;
        if let Some(action) = actions.last() {
            check_place(action, place)?;
            conjunctions |= matches!(action, Action::Conjunction { .. });
            others |= !matches!(action, Action::Conjunction { .. } | Action::Note(_));
        }
    }
    if conjunctions && others {
        return Err(refuse(ErrorCode::NxbacBadConjunction));
    }
    Ok(actions)
}

/// Refuse what may not stand in ct() or in an action set, and writes to the connection elsewhere.
fn check_place(action: &Action, place: Place) -> Result<(), Refusal> {
    let written = match action {
        Action::SetField(set) => Some(set.field()),
        // Not pop and check_pkt_larger, which Open vSwitch lets write anywhere.
        Action::Load { dst, .. } | Action::Move { dst, .. } => Some(dst.field),
        _ => None,
    };
    let connection = written.is_some_and(|field| matches!(field, Field::CtMark | Field::CtLabel));
    match (place, action) {
        (Place::Ct, _) if connection => Ok(()),
        (Place::Ct, _) => Err(refuse(ErrorCode::BacBadArgument)),
        (Place::Flow | Place::List | Place::ActionSet, _) if connection => {
            Err(refuse(ErrorCode::BacBadSetArgument))
        }
        (Place::Flow, _) => Ok(()),
        // Nicira's form of an instruction.
        (Place::List, Action::WriteMetadata { .. }) => Err(refuse(ErrorCode::BicUnsupInst)),
        (Place::List, _) => Ok(()),
        (Place::ActionSet, Action::Controller(controller)) if !controller.is_output() => {
            Err(refuse(ErrorCode::BacBadType))
        }
        (
            Place::ActionSet,
            Action::OutputReg { .. }
            | Action::OutputTruncated { .. }
            | Action::Enqueue { .. }
            | Action::Push(_)
            | Action::Pop(_)
            | Action::PopQueue
            | Action::Note(_)
            | Action::FinTimeout { .. }
            | Action::Conjunction { .. }
            | Action::Exit
            | Action::Clone(_)
            | Action::CheckPktLarger { .. }
            | Action::WriteMetadata { .. }
            | Action::Meter(_),
        ) => Err(refuse(ErrorCode::BacBadType)),
        (Place::ActionSet, _) => Ok(()),
    }
}

/// The header's form, the bytes behind the header.
fn header<'a>(reader: &mut Reader<'a>, version: Version) -> Result<(Kind, Reader<'a>), Refusal> {
    let head: &Header = reader.peek()?;
    let (space, number, skip) = if head.kind.get() == EXPERIMENTER {
        let mut ahead = reader.clone();
        let _: &Header = ahead.take()?;
        let extension: &Extension = ahead.take()?;
        let space = [Space::Nx, Space::Onf]
            .into_iter()
            .find(|space| space.vendor() == Some(extension.vendor.get()))
            .ok_or_else(|| refuse(ErrorCode::BacBadVendor))?;
        (space, extension.subtype.get(), EXTENSION_HEADER)
    } else {
        (Space::Std, head.kind.get(), size_of::<Header>())
    };
    let row = Row::by_number(version, space, number).ok_or_else(|| {
        refuse(if space == Space::Std { ErrorCode::BacBadType } else { ErrorCode::BacBadVendorType })
    })?;
    let length = head.length.get();
    if !(row.min..=row.max).contains(&length) || !usize::from(length).is_multiple_of(ALIGN) {
        return Err(refuse(ErrorCode::BacBadLen));
    }
    let mut body = reader.sub(usize::from(length))?;
    body.bytes(skip)?;
    Ok((row.kind, body))
}

/// Bits of a field as Nicira packs them: offset (10 bits), number less one (6 bits).
pub(super) fn ofs_nbits(field: Field, packed: u16, context: Context<'_>) -> Result<Subfield, Refusal> {
    subfield(field, packed >> 6, (packed & 0x3f) + 1, context)
}

/// Bits of a field, within it; of a `tun_metadata` field, within the option it is mapped to.
fn subfield(field: Field, offset: u16, bits: u16, context: Context<'_>) -> Result<Subfield, Refusal> {
    let width = oxm::mapped_width(field, context)?.min(u16::from(field.subfield_width()));
    if bits == 0 || offset.checked_add(bits).is_none_or(|end| end > width) {
        return Err(refuse(ErrorCode::BacBadSetLen));
    }
    Ok(Subfield { field, offset: offset as u8, bits: bits as u8 })
}

fn writable(dst: Subfield) -> Result<Subfield, Refusal> {
    if dst.field.info().writable { Ok(dst) } else { Err(refuse(ErrorCode::BacBadSetArgument)) }
}

fn zeros(reader: &Reader<'_>, code: ErrorCode) -> Result<(), Refusal> {
    if all_zero(reader.rest()) { Ok(()) } else { Err(refuse(code)) }
}

/// An ordinary port's number, or one of the reserved ones that something can be sent to.
fn out_port(port: PortNo) -> Result<PortNo, Refusal> {
    match port {
        PortNo(0..0xff00) => Ok(port),
        PortNo::IN_PORT | PortNo::TABLE | PortNo::NORMAL | PortNo::FLOOD | PortNo::ALL => Ok(port),
        PortNo::CONTROLLER | PortNo::LOCAL => Ok(port),
        _ => Err(refuse(ErrorCode::BacBadOutPort)),
    }
}

fn output(port: PortNo, max_len: u16) -> Result<Action, Refusal> {
    match out_port(port)? {
        PortNo::CONTROLLER => Ok(Action::controller(Controller::output(max_len))),
        port => Ok(Action::Output { port, max_len }),
    }
}

/// An action of one number: two or four bytes behind either header.
fn long(kind_is_nx: bool, body: &mut Reader<'_>) -> Result<u32, Refusal> {
    Ok(if kind_is_nx { body.take::<NxLong>()?.value.get() } else { body.take::<U32>()?.get() })
}

/// Append one action. The forms that flows have most are written to their place at once; to copy them there
/// would take longer than to decode them.
#[allow(clippy::too_many_lines, reason = "one arm a form of the table")]
fn one(
    kind: Kind,
    nx: bool,
    body: &mut Reader<'_>,
    context: Context<'_>,
    depth: u8,
    out: &mut Vec<Action>,
) -> Result<(), Refusal> {
    let argument = || refuse(ErrorCode::BacBadArgument);
    let byte = |body: &mut Reader<'_>| body.take::<Byte>().map(|l| l.value);
    let short = |body: &mut Reader<'_>| body.take::<Short>().map(|l| l.value.get());
    let action = match kind {
        Kind::Output10 => {
            let layout: &Output10 = body.take()?;
            output(port_from_16(layout.port.get()), layout.max_len.get())?
        }
        Kind::Output => {
            let layout: &Output = body.take()?;
            output(port_from_32(layout.port.get(), ErrorCode::BacBadOutPort)?, layout.max_len.get())?
        }
        Kind::SetVlanVid10 => match short(body)? {
            vid @ 0..=0xfff => Action::ModVlanVid(vid),
            _ => return Err(argument()),
        },
        Kind::SetVlanVid => match short(body)? {
            vid @ 0..=0xfff => whole(Field::VlanVid, u128::from(vid) | VLAN_PRESENT),
            _ => return Err(argument()),
        },
        Kind::SetVlanPcp10 => match byte(body)? {
            pcp @ 0..=7 => Action::ModVlanPcp(pcp),
            _ => return Err(argument()),
        },
        Kind::SetVlanPcp => match byte(body)? {
            pcp @ 0..=7 => whole(Field::VlanPcp, pcp.into()),
            _ => return Err(argument()),
        },
        Kind::StripVlan => Action::StripVlan,
        Kind::PushVlan => match short(body)? {
            tpid @ (0x8100 | 0x88a8) => Action::PushVlan(tpid),
            _ => return Err(argument()),
        },
        Kind::SetDlSrc => Action::ModDlSrc(MacAddr(body.take::<DlAddr>()?.addr)),
        Kind::SetDlDst => Action::ModDlDst(MacAddr(body.take::<DlAddr>()?.addr)),
        Kind::SetNwSrc => Action::ModNwSrc(Ipv4Addr::from(body.take::<U32>()?.get())),
        Kind::SetNwDst => Action::ModNwDst(Ipv4Addr::from(body.take::<U32>()?.get())),
        Kind::SetNwTos => match byte(body)? {
            tos if tos & 3 == 0 => Action::ModNwTos(tos),
            _ => return Err(argument()),
        },
        Kind::SetNwEcn => match byte(body)? {
            ecn @ 0..=3 => Action::ModNwEcn(ecn),
            _ => return Err(argument()),
        },
        Kind::SetTpSrc => Action::ModTpSrc(short(body)?),
        Kind::SetTpDst => Action::ModTpDst(short(body)?),
        Kind::Enqueue => {
            let layout: &Enqueue = body.take()?;
            let port = port_from_16(layout.port.get());
            if port.0 >= 0xff00 && !matches!(port, PortNo::IN_PORT | PortNo::LOCAL) {
                return Err(refuse(ErrorCode::BacBadOutPort));
            }
            Action::Enqueue { port, queue: layout.queue.get() }
        }
        Kind::SetQueue => Action::SetQueue(long(nx, body)?),
        Kind::Group => Action::Group(long(nx, body)?),
        Kind::SetNwTtl => Action::ModNwTtl(byte(body)?),
        Kind::DecNwTtl => Action::DecTtl(vec![0]),
        Kind::DecTtlCntIds => {
            let layout: &NxCntIds = body.take()?;
            if !all_zero(&layout.zeros) {
                return Err(refuse(ErrorCode::NxbrcMustBeZero));
            }
            let ids = (0..layout.count.get()).map(|_| body.take().map(|id: &U16| id.get()));
            Action::DecTtl(ids.collect::<Result<_, _>>()?)
        }
        Kind::SetField => return set_field(body, context, out),
        Kind::RegLoad => {
            let layout: &NxRegLoad = body.take()?;
            let field = oxm::field_of_short(layout.dst.get(), context)?;
            let dst = writable(ofs_nbits(field, layout.ofs_nbits.get(), context)?)?;
            let value = u128::from(layout.value.get());
            if value & !ones(u32::from(dst.bits)) != 0 {
                return Err(argument());
            }
            out.push(Action::Load { value, dst });
            return Ok(());
        }
        Kind::RegLoad2 => {
            let (field, value, mask) = oxm::Entry::decode_action(body, context)?;
            zeros(body, ErrorCode::BacBadSetArgument)?;
            writable(Subfield::whole(field))?;
            let all = field.all_ones();
            // As of set_field, which it is written as again. Open vSwitch takes such a value here, and then
            // prints a flow that it would not take.
            if !field.takes(value) {
                return Err(refuse(ErrorCode::BacBadSetArgument));
            }
            Action::set_field(field, value, mask.map_or(all, |mask| mask & all))
        }
        Kind::CopyField => {
            let layout: &CopyField15 = body.take()?;
            return copy(body, context, (layout.n_bits, layout.src_ofs, layout.dst_ofs), out);
        }
        Kind::CopyFieldOnf => {
            let layout: &CopyFieldOnf = body.take()?;
            return copy(body, context, (layout.n_bits, layout.src_ofs, layout.dst_ofs), out);
        }
        Kind::RegMove => {
            let layout: &NxRegMove = body.take()?;
            return copy(body, context, (layout.n_bits, layout.src_ofs, layout.dst_ofs), out);
        }
        Kind::Meter => Action::Meter(long(nx, body)?),
        Kind::Resubmit => resubmit(body.take::<NxShort>()?.value.get(), THIS_TABLE, false),
        Kind::ResubmitTable | Kind::ResubmitTableCt => {
            let layout: &NxResubmit = body.take()?;
            if !all_zero(&layout.pad) {
                return Err(argument());
            }
            resubmit(layout.port.get(), layout.table, kind == Kind::ResubmitTableCt)
        }
        Kind::SetTunnel => Action::SetTunnel { id: body.take::<NxLong>()?.value.get().into(), wide: false },
        Kind::SetTunnel64 => Action::SetTunnel { id: body.take::<NxLongLong>()?.value.get(), wide: true },
        Kind::PopQueue => Action::PopQueue,
        Kind::Note => Action::Note(body.rest().to_vec()),
        Kind::OutputReg => {
            let layout: &NxOutputReg = body.take()?;
            if !all_zero(&layout.zero) {
                return Err(argument());
            }
            let field = oxm::field_of_short(layout.src.get(), context)?;
            Action::OutputReg { src: ofs_nbits(field, layout.ofs_nbits.get(), context)? }
        }
        Kind::OutputReg2 => {
            let layout: &NxOutputReg2 = body.take()?;
            let field = FieldHeader::decode_field(body, context)?;
            zeros(body, ErrorCode::NxbrcMustBeZero)?;
            Action::OutputReg { src: ofs_nbits(field, layout.ofs_nbits.get(), context)? }
        }
        Kind::Exit => Action::Exit,
        Kind::FinTimeout => {
            let layout: &NxFinTimeout = body.take()?;
            Action::FinTimeout { idle: layout.idle.get(), hard: layout.hard.get() }
        }
        Kind::Controller => {
            let layout: &NxController = body.take()?;
            Action::controller(Controller {
                max_len: layout.max_len.get(),
                reason: layout.reason,
                id: layout.id.get(),
                userdata: Vec::new(),
                pause: false,
                meter: None,
            })
        }
        Kind::Controller2 => Action::controller(controller(body)?),
        Kind::WriteMetadata => {
            let layout: &NxWriteMetadata = body.take()?;
            if !all_zero(&layout.zeros) {
                return Err(refuse(ErrorCode::NxbrcMustBeZero));
            }
            Action::WriteMetadata { value: layout.metadata.get(), mask: layout.mask.get() }
        }
        Kind::StackPush => Action::Push(stack(body, context)?),
        Kind::StackPop => Action::Pop(writable(stack(body, context)?)?),
        Kind::Conjunction => {
            let layout: &NxConjunction = body.take()?;
            if !(2..=64).contains(&layout.n_clauses) || layout.clause >= layout.n_clauses {
                return Err(refuse(ErrorCode::NxbacBadConjunction));
            }
            Action::Conjunction {
                id: layout.id.get(),
                clause: layout.clause + 1,
                n_clauses: layout.n_clauses,
            }
        }
        Kind::Ct => Action::Ct(Box::new(ct::decode(body, context, depth)?)),
        // Stands in ct() only, and is taken there.
        Kind::Nat => return Err(refuse(ErrorCode::BacBadSetArgument)),
        Kind::OutputTrunc => {
            let layout: &NxOutputTrunc = body.take()?;
            // An Ethernet header is the least that can be kept.
            if layout.max_len.get() < 14 {
                return Err(argument());
            }
            Action::OutputTruncated {
                port: out_port(port_from_16(layout.port.get()))?,
                max_len: layout.max_len.get(),
            }
        }
        Kind::Clone => {
            body.bytes(6)?;
            Action::Clone(list(body.rest(), context, Place::List, depth + 1)?)
        }
        Kind::CtClear => Action::CtClear,
        Kind::CheckPktLarger => {
            let layout: &NxCheckPktLarger = body.take()?;
            let field = FieldHeader::decode_field(body, context)?;
            zeros(body, ErrorCode::NxbrcMustBeZero)?;
            let dst = writable(subfield(field, layout.offset.get(), 1, context)?)?;
            Action::CheckPktLarger { len: layout.pkt_len.get(), dst }
        }
    };
    out.push(action);
    Ok(())
}

fn whole(field: Field, value: u128) -> Action {
    Action::set_field(field, value, field.all_ones())
}

fn set_field(body: &mut Reader<'_>, context: Context<'_>, out: &mut Vec<Action>) -> Result<(), Refusal> {
    let argument = || refuse(ErrorCode::BacBadSetArgument);
    let (field, value, mask) = oxm::Entry::decode_action(body, context)?;
    if mask.is_some() && context.version != Version::V15 {
        return Err(refuse(ErrorCode::BacBadSetMask));
    }
    zeros(body, ErrorCode::BacBadSetArgument)?;
    let masked = mask.is_some();
    let mask = mask.unwrap_or(field.all_ones()) & field.all_ones();
    if field == Field::InPortOxm || !field.info().writable || !field.takes(value) {
        return Err(argument());
    }
    if field == Field::VlanVid && value & mask & VLAN_PRESENT == 0 {
        return Err(argument());
    }
    if masked && mask == field.all_ones() && oxm::is_odd_sized(field) {
        out.push(Action::Load { value: value & mask, dst: Subfield::whole(field) });
    } else {
        out.push(Action::set_field(field, value & mask, mask));
    }
    Ok(())
}

fn copy(
    body: &mut Reader<'_>,
    context: Context<'_>,
    (bits, src_offset, dst_offset): (U16, U16, U16),
    out: &mut Vec<Action>,
) -> Result<(), Refusal> {
    let src = FieldHeader::decode_field(body, context)?;
    let dst = FieldHeader::decode_field(body, context)?;
    zeros(body, ErrorCode::NxbrcMustBeZero)?;
    // OpenFlow 1.5 lets 0 stand for all bits of both; Open vSwitch refuses it, and so do we.
    let src = subfield(src, src_offset.get(), bits.get(), context)?;
    let dst = writable(subfield(dst, dst_offset.get(), bits.get(), context)?)?;
    out.push(Action::Move { src, dst });
    Ok(())
}

fn resubmit(port: u16, table: u8, with_ct_orig: bool) -> Action {
    let port = port_from_16(port);
    Action::Resubmit {
        port: (port != PortNo::IN_PORT).then_some(port),
        table: (table != THIS_TABLE).then_some(table),
        with_ct_orig,
    }
}

fn stack(body: &mut Reader<'_>, context: Context<'_>) -> Result<Subfield, Refusal> {
    let layout: &NxStack = body.take()?;
    let field = FieldHeader::decode_field(body, context)?;
    let bits: &super::U16 = body.take()?;
    zeros(body, ErrorCode::NxbrcMustBeZero)?;
    subfield(field, layout.offset.get(), bits.get(), context)
}

fn controller(body: &mut Reader<'_>) -> Result<Controller, Refusal> {
    if !all_zero(body.bytes(6)?) {
        return Err(refuse(ErrorCode::NxbrcMustBeZero));
    }
    let mut controller = Controller::output(u16::MAX);
    for item in property::Properties::new(body.rest()) {
        let property = item?;
        match property.kind {
            controller2::MAX_LEN => controller.max_len = property.u16()?,
            controller2::CONTROLLER_ID => controller.id = property.u16()?,
            controller2::REASON => controller.reason = property.u8()?,
            controller2::USERDATA => controller.userdata = property.payload.to_vec(),
            controller2::PAUSE => controller.pause = true,
            controller2::METER_ID => controller.meter = Some(property.u32()?),
            _ => return Err(refuse(ErrorCode::BpcBadType)),
        }
    }
    Ok(controller)
}
