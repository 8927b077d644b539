//! From [`Action`]s to bytes, in the form that Open vSwitch gives each in each version.

use super::super::Context;
use super::super::bytes::{U16, U32, U64, pad8, patch_u16, put};
use super::super::error::EncodeError;
use super::super::matching::port_to_16;
use super::super::oxm::{self, Dialect};
use super::super::property::{put_bytes, put_u16};
use super::super::version::Version;
use super::{
    Byte, CopyField15, DlAddr, EXPERIMENTER, Enqueue, Extension, Header, Kind, MAX_DEPTH, NxCheckPktLarger,
    NxCntIds, NxConjunction, NxController, NxFinTimeout, NxLong, NxLongLong, NxNone, NxOutputReg,
    NxOutputReg2, NxOutputTrunc, NxRegLoad, NxRegMove, NxResubmit, NxStack, NxWriteMetadata, Output,
    Output10, Row, Short, Space, THIS_TABLE, TPID_8021Q, VLAN_PRESENT, controller2,
};
use crate::action::{Action, Controller, FieldWrite, Subfield};
use crate::addr::MacAddr;
use crate::field::{Field, Prereq, ones};
use crate::matching::Match;
use crate::port::PortNo;

/// Append `actions` as one list. `matching` is the flow's match, on which some forms depend.
///
/// In OpenFlow 1.0, and only there, the list holds what are instructions elsewhere.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    actions: &[Action],
    context: Context<'_>,
    matching: &Match,
) -> Result<(), EncodeError> {
    Encoder::new(context, matching).list(out, actions)
}

/// What is known of the packet at this point of the list.
pub(super) struct Encoder<'a> {
    pub(super) context: Context<'a>,
    /// It has an 802.1Q tag.
    pub(super) has_tag: bool,
    /// The field its ports are in: which of TCP, UDP and SCTP it is.
    pub(super) protocol: Option<Prereq>,
    pub(super) depth: u8,
}

/// Offset (10 bits) and number of bits less one (6 bits).
pub(super) fn ofs_nbits(bits: Subfield) -> u16 {
    u16::from(bits.offset) << 6 | u16::from(bits.bits - 1)
}

/// The runs of ones in `mask`, each at most 64 bits long.
fn segments(mask: u128, width: u32) -> impl Iterator<Item = (u32, u32)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let rest = mask.checked_shr(start).unwrap_or(0);
        if start >= width || rest == 0 {
            return None;
        }
        let offset = start + rest.trailing_zeros();
        let bits = (mask >> offset).trailing_ones().min(64);
        start = offset + bits;
        Some((offset, bits))
    })
}

impl<'a> Encoder<'a> {
    pub(super) fn new(context: Context<'a>, matching: &Match) -> Encoder<'a> {
        Encoder {
            context,
            has_tag: Prereq::Vlan.holds(matching),
            // Of later fragments too, which have no ports.
            protocol: match matching.exact(Field::NwProto) {
                Some(6) => Some(Prereq::Tcp),
                Some(17) => Some(Prereq::Udp),
                Some(132) => Some(Prereq::Sctp),
                _ => None,
            },
            depth: 0,
        }
    }

    pub(super) fn list(&mut self, out: &mut Vec<u8>, actions: &[Action]) -> Result<(), EncodeError> {
        if self.depth > MAX_DEPTH {
            return Err(self.inexpressible("actions nested so deep"));
        }
        actions.iter().try_for_each(|action| self.one(out, action))
    }

    fn inexpressible(&self, what: &'static str) -> EncodeError {
        EncodeError::Inexpressible { version: self.context.version, what }
    }

    /// Write the form's header, what `body` appends, and padding.
    pub(super) fn form(
        &self,
        out: &mut Vec<u8>,
        kind: Kind,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), EncodeError> {
        let row = Row::by_kind(self.context.version, kind).ok_or_else(|| self.inexpressible("an action"))?;
        let start = out.len();
        let number = U16::new(row.number);
        match row.space.vendor() {
            None => put(out, Header { kind: number, length: U16::ZERO }),
            Some(vendor) => {
                put(out, Header { kind: U16::new(EXPERIMENTER), length: U16::ZERO });
                put(out, Extension { vendor: U32::new(vendor), subtype: number });
            }
        }
        body(out);
        pad8(out, start);
        let length = out.len() - start;
        if length > usize::from(u16::MAX) {
            return Err(EncodeError::TooLong { length });
        }
        patch_u16(out, start + 2, length);
        Ok(())
    }

    fn none(&self, out: &mut Vec<u8>, kind: Kind) -> Result<(), EncodeError> {
        self.form(out, kind, |_| {})
    }

    fn short(&self, out: &mut Vec<u8>, kind: Kind, value: u16) -> Result<(), EncodeError> {
        self.form(out, kind, |out| put(out, Short { value: U16::new(value), pad: [0; 2] }))
    }

    fn byte(&self, out: &mut Vec<u8>, kind: Kind, value: u8) -> Result<(), EncodeError> {
        self.form(out, kind, |out| put(out, Byte { value, pad: [0; 3] }))
    }

    /// Four bytes, behind whichever header the version has.
    fn long(&self, out: &mut Vec<u8>, kind: Kind, value: u32) -> Result<(), EncodeError> {
        let standard = Row::by_kind(self.context.version, kind).is_some_and(|row| row.space == Space::Std);
        self.form(out, kind, |out| {
            if standard {
                put(out, U32::new(value));
            } else {
                put(out, NxLong { pad: [0; 2], value: U32::new(value) });
            }
        })
    }

    fn address(&self, out: &mut Vec<u8>, kind: Kind, mac: MacAddr) -> Result<(), EncodeError> {
        self.form(out, kind, |out| put(out, DlAddr { addr: mac.0, pad: [0; 6] }))
    }

    fn port16(&self, port: PortNo) -> Result<u16, EncodeError> {
        port_to_16(port).ok_or_else(|| self.inexpressible("a port number above 0xfeff"))
    }

    /// The 32-bit header of a field, for Nicira's older actions.
    pub(super) fn short_header(&self, field: Field) -> Result<u32, EncodeError> {
        let mut bytes = Vec::new();
        oxm::put_field(&mut bytes, field, self.context, Dialect::Nxm);
        let header: [u8; 4] = bytes.try_into().map_err(|_| self.inexpressible("this field here"))?;
        Ok(u32::from_be_bytes(header))
    }

    fn named(&self, field: Field) -> Result<Field, EncodeError> {
        let row = field.info();
        if row.nxm.or(row.oxm).is_some() {
            Ok(field)
        } else {
            Err(self.inexpressible("a field without a number"))
        }
    }

    /// The tag and the protocol after `action`.
    fn learn(&mut self, action: &Action) {
        match action {
            Action::PushVlan(_) | Action::ModVlanVid(_) | Action::ModVlanPcp(_) => self.has_tag = true,
            Action::StripVlan => self.has_tag = false,
            Action::SetField(set) if set.field() == Field::VlanTci => {
                let FieldWrite { value, mask, .. } = set.write();
                if mask & VLAN_PRESENT != 0 {
                    self.has_tag = value & VLAN_PRESENT != 0;
                }
            }
            _ => {}
        }
    }

    pub(super) fn one(&mut self, out: &mut Vec<u8>, action: &Action) -> Result<(), EncodeError> {
        self.write(out, action)?;
        self.learn(action);
        Ok(())
    }

    #[allow(clippy::too_many_lines, reason = "one arm an action")]
    fn write(&mut self, out: &mut Vec<u8>, action: &Action) -> Result<(), EncodeError> {
        let version = self.context.version;
        let v10 = version == Version::V10;
        let whole = |field: Field, value: u128| (field, value, field.all_ones());
        match action {
            Action::Output { port, max_len } => self.output(out, *port, *max_len),
            Action::OutputTruncated { port, max_len } => {
                let port = U16::new(self.port16(*port)?);
                self.form(out, Kind::OutputTrunc, |out| {
                    put(out, NxOutputTrunc { port, max_len: U32::new(*max_len) });
                })
            }
            Action::OutputReg { src } => self.output_reg(out, *src),
            Action::Controller(controller) => self.controller(out, controller),
            Action::Enqueue { port, queue } if v10 => {
                let port = U16::new(self.port16(*port)?);
                self.form(out, Kind::Enqueue, |out| {
                    put(out, Enqueue { port, pad: [0; 6], queue: U32::new(*queue) });
                })
            }
            Action::Enqueue { port, queue } => {
                self.long(out, Kind::SetQueue, *queue)?;
                self.output(out, *port, u16::MAX)?;
                self.none(out, Kind::PopQueue)
            }
            Action::Group(group) => self.long(out, Kind::Group, *group),
            Action::Move { src, dst } => self.copy(out, *src, *dst),
            Action::Load { value, dst } => {
                let (value, mask) = ((value << dst.offset) & dst.mask(), dst.mask());
                if version == Version::V15 && mask == dst.field.all_ones() && oxm::is_odd_sized(dst.field) {
                    let (context, field) = (self.context, self.named(dst.field)?);
                    self.form(out, Kind::SetField, |out| {
                        oxm::put_entry_with_mask(out, field, value, mask, context, Dialect::Oxm);
                    })
                } else if version == Version::V15 {
                    self.set_field(out, dst.field, value, mask)
                } else {
                    self.load(out, dst.field, value, mask)
                }
            }
            Action::SetField(set) => {
                let FieldWrite { field, value, mask } = set.write();
                match version {
                    Version::V15 => self.set_field(out, field, value, mask),
                    Version::V10 => self.legacy(out, field, value, mask),
                    _ if mask == field.all_ones() => self.set_field(out, field, value, mask),
                    _ => self.load(out, field, value, mask),
                }
            }
            Action::ModDlSrc(mac) if v10 => self.address(out, Kind::SetDlSrc, *mac),
            Action::ModDlDst(mac) if v10 => self.address(out, Kind::SetDlDst, *mac),
            Action::ModNwSrc(ip) if v10 => self.long(out, Kind::SetNwSrc, (*ip).into()),
            Action::ModNwDst(ip) if v10 => self.long(out, Kind::SetNwDst, (*ip).into()),
            Action::ModNwTos(tos) if v10 => self.byte(out, Kind::SetNwTos, *tos & 0xfc),
            Action::ModNwEcn(ecn) if v10 => self.load(out, Field::NwEcn, (*ecn & 3).into(), 3),
            Action::ModNwTtl(ttl) if v10 => self.load(out, Field::NwTtl, (*ttl).into(), 0xff),
            Action::ModNwTtl(ttl) => self.byte(out, Kind::SetNwTtl, *ttl),
            Action::ModNwTos(tos) => self.set(out, whole(Field::IpDscp, (tos >> 2).into())),
            Action::ModDlSrc(_)
            | Action::ModDlDst(_)
            | Action::ModNwSrc(_)
            | Action::ModNwDst(_)
            | Action::ModNwEcn(_) => match action.field_write() {
                Some(write) => self.set_field(out, write.field, write.value, write.mask),
                None => Ok(()),
            },
            Action::ModTpSrc(port) => self.set_port(out, *port, Kind::SetTpSrc),
            Action::ModTpDst(port) => self.set_port(out, *port, Kind::SetTpDst),
            Action::ModVlanVid(vid) if v10 => self.short(out, Kind::SetVlanVid10, *vid),
            Action::ModVlanPcp(pcp) if v10 => self.byte(out, Kind::SetVlanPcp10, *pcp),
            Action::ModVlanVid(vid) => {
                self.tag_first(out)?;
                self.set(out, whole(Field::VlanVid, u128::from(*vid) | VLAN_PRESENT))
            }
            Action::ModVlanPcp(pcp) => {
                self.tag_first(out)?;
                self.set(out, whole(Field::VlanPcp, (*pcp).into()))
            }
            Action::StripVlan => self.none(out, Kind::StripVlan),
            // In 1.0 the set action that follows adds the tag.
            Action::PushVlan(_) if v10 => Ok(()),
            Action::PushVlan(tpid) => self.short(out, Kind::PushVlan, *tpid),
            Action::DecTtl(ids) if ids.as_slice() == [0] => self.none(out, Kind::DecNwTtl),
            Action::DecTtl(ids) => self.form(out, Kind::DecTtlCntIds, |out| {
                put(out, NxCntIds { count: U16::new(ids.len() as u16), zeros: [0; 4] });
                ids.iter().for_each(|id| put(out, U16::new(*id)));
            }),
            Action::SetTunnel { id, wide } if v10 => match u32::try_from(*id) {
                Ok(id) if !wide => self.long(out, Kind::SetTunnel, id),
                _ => self.form(out, Kind::SetTunnel64, |out| {
                    put(out, NxLongLong { pad: [0; 6], value: U64::new(*id) });
                }),
            },
            Action::SetTunnel { id, .. } => self.set(out, whole(Field::TunId, (*id).into())),
            Action::SetQueue(queue) => self.long(out, Kind::SetQueue, *queue),
            Action::PopQueue => self.none(out, Kind::PopQueue),
            Action::Push(bits) => self.stack(out, Kind::StackPush, *bits),
            Action::Pop(bits) => self.stack(out, Kind::StackPop, *bits),
            Action::Resubmit { port, table, with_ct_orig } => {
                let port = U16::new(self.port16(port.unwrap_or(PortNo::IN_PORT))?);
                let kind = if *with_ct_orig { Kind::ResubmitTableCt } else { Kind::ResubmitTable };
                self.form(out, kind, |out| {
                    put(out, NxResubmit { port, table: table.unwrap_or(THIS_TABLE), pad: [0; 3] });
                })
            }
            Action::Ct(ct) => self.ct(out, ct),
            Action::CtClear => self.none(out, Kind::CtClear),
            Action::Conjunction { id, clause, n_clauses } => self.form(out, Kind::Conjunction, |out| {
                let (clause, n_clauses) = (clause.wrapping_sub(1), *n_clauses);
                put(out, NxConjunction { clause, n_clauses, id: U32::new(*id) });
            }),
            Action::Clone(actions) => {
                let mut nested = Vec::new();
                let depth = self.depth + 1;
                Encoder { depth, ..*self }.list(&mut nested, actions)?;
                self.form(out, Kind::Clone, |out| {
                    put(out, NxNone { pad: [0; 6] });
                    out.extend_from_slice(&nested);
                })
            }
            Action::Note(bytes) => self.form(out, Kind::Note, |out| {
                out.extend_from_slice(bytes);
                // Six bytes of note at least.
                if bytes.len() < 6 {
                    out.resize(out.len() + 6 - bytes.len(), 0);
                }
            }),
            Action::FinTimeout { idle, hard } => self.form(out, Kind::FinTimeout, |out| {
                put(out, NxFinTimeout { idle: U16::new(*idle), hard: U16::new(*hard), pad: U16::ZERO });
            }),
            Action::CheckPktLarger { len, dst } => {
                let field = self.named(dst.field)?;
                let context = self.context;
                self.form(out, Kind::CheckPktLarger, |out| {
                    let start = out.len();
                    put(
                        out,
                        NxCheckPktLarger { pkt_len: U16::new(*len), offset: U16::new(dst.offset.into()) },
                    );
                    oxm::put_field(out, field, context, Dialect::Nxm);
                    out.resize(start + 14, 0);
                })
            }
            Action::Exit => self.none(out, Kind::Exit),
            Action::Meter(meter) if version == Version::V15 => self.long(out, Kind::Meter, *meter),
            Action::WriteMetadata { value, mask } => self.form(out, Kind::WriteMetadata, |out| {
                let (metadata, mask) = (U64::new(*value), U64::new(*mask));
                put(out, NxWriteMetadata { zeros: [0; 6], metadata, mask });
            }),
            Action::GotoTable(table) => {
                self.one(out, &Action::Resubmit { port: None, table: Some(*table), with_ct_orig: false })
            }
            // Instructions, which an action list has no form for.
            Action::Meter(_) | Action::ClearActions | Action::WriteActions(_) => Ok(()),
        }
    }

    /// Add a tag first, where the version's set actions do not and the packet may have none.
    fn tag_first(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.has_tag { Ok(()) } else { self.one(out, &Action::PushVlan(TPID_8021Q)) }
    }

    fn output(&self, out: &mut Vec<u8>, port: PortNo, max_len: u16) -> Result<(), EncodeError> {
        let max_len = U16::new(max_len);
        if self.context.version == Version::V10 {
            let port = U16::new(self.port16(port)?);
            self.form(out, Kind::Output10, |out| put(out, Output10 { port, max_len }))
        } else {
            self.form(out, Kind::Output, |out| {
                put(out, Output { port: U32::new(port.0), max_len, pad: [0; 6] })
            })
        }
    }

    fn output_reg(&self, out: &mut Vec<u8>, src: Subfield) -> Result<(), EncodeError> {
        let field = self.named(src.field)?;
        let (ofs_nbits, max_len) = (U16::new(ofs_nbits(src)), U16::new(u16::MAX));
        if oxm::has_short_header(field) {
            let src = U32::new(self.short_header(field)?);
            self.form(out, Kind::OutputReg, |out| {
                put(out, NxOutputReg { ofs_nbits, src, max_len, zero: [0; 6] })
            })
        } else {
            let context = self.context;
            self.form(out, Kind::OutputReg2, |out| {
                let start = out.len();
                put(out, NxOutputReg2 { ofs_nbits, max_len });
                oxm::put_field(out, field, context, Dialect::Nxm);
                out.resize(start + 14, 0);
            })
        }
    }

    fn controller(&self, out: &mut Vec<u8>, c: &Controller) -> Result<(), EncodeError> {
        if !c.userdata.is_empty() || c.pause || c.meter.is_some() {
            return self.form(out, Kind::Controller2, |out| {
                put(out, NxNone { pad: [0; 6] });
                if c.max_len != u16::MAX {
                    put_u16(out, controller2::MAX_LEN, c.max_len);
                }
                if c.id != 0 {
                    put_u16(out, controller2::CONTROLLER_ID, c.id);
                }
                if c.reason != Controller::REASON_ACTION {
                    put_bytes(out, controller2::REASON, &[c.reason]);
                }
                if !c.userdata.is_empty() {
                    put_bytes(out, controller2::USERDATA, &c.userdata);
                }
                if c.pause {
                    put_bytes(out, controller2::PAUSE, &[]);
                }
                if let Some(meter) = c.meter {
                    put_bytes(out, controller2::METER_ID, &meter.to_be_bytes());
                }
            });
        }
        if c.is_output() {
            return self.output(out, PortNo::CONTROLLER, c.max_len);
        }
        self.form(out, Kind::Controller, |out| {
            let (max_len, id) = (U16::new(c.max_len), U16::new(c.id));
            put(out, NxController { max_len, id, reason: c.reason, zero: 0 });
        })
    }

    fn copy(&self, out: &mut Vec<u8>, src: Subfield, dst: Subfield) -> Result<(), EncodeError> {
        let (context, source, destination) = (self.context, self.named(src.field)?, self.named(dst.field)?);
        let n_bits = U16::new(dst.bits.into());
        let (src_ofs, dst_ofs) = (U16::new(src.offset.into()), U16::new(dst.offset.into()));
        let (kind, dialect) = if context.version == Version::V15 {
            (Kind::CopyField, Dialect::Oxm)
        } else {
            (Kind::RegMove, Dialect::Nxm)
        };
        self.form(out, kind, |out| {
            if kind == Kind::CopyField {
                put(out, CopyField15 { n_bits, src_ofs, dst_ofs, pad: [0; 2] });
            } else {
                put(out, NxRegMove { n_bits, src_ofs, dst_ofs });
            }
            oxm::put_field(out, source, context, dialect);
            oxm::put_field(out, destination, context, dialect);
        })
    }

    fn stack(&self, out: &mut Vec<u8>, kind: Kind, bits: Subfield) -> Result<(), EncodeError> {
        let (context, field) = (self.context, self.named(bits.field)?);
        self.form(out, kind, |out| {
            let start = out.len();
            put(out, NxStack { offset: U16::new(bits.offset.into()) });
            oxm::put_field(out, field, context, Dialect::Nxm);
            put(out, U16::new(bits.bits.into()));
            out.resize(start + 14, 0);
        })
    }

    fn set(&self, out: &mut Vec<u8>, (field, value, mask): (Field, u128, u128)) -> Result<(), EncodeError> {
        self.set_field(out, field, value, mask)
    }

    fn set_field(&self, out: &mut Vec<u8>, field: Field, value: u128, mask: u128) -> Result<(), EncodeError> {
        let (context, field) = (self.context, self.named(field)?);
        self.form(out, Kind::SetField, |out| {
            oxm::put_entry(out, field, value & mask, mask, context, Dialect::Oxm);
        })
    }

    /// NXAST_REG_LOAD, once for each run of bits; NXAST_REG_LOAD2 where that cannot name the field.
    fn load(&self, out: &mut Vec<u8>, field: Field, value: u128, mask: u128) -> Result<(), EncodeError> {
        let (context, field) = (self.context, self.named(field)?);
        if !oxm::has_short_header(field) || oxm::tun_metadata_index(field).is_some() {
            return self.form(out, Kind::RegLoad2, |out| {
                oxm::put_entry(out, field, value & mask, mask, context, Dialect::Nxm);
            });
        }
        let dst = U32::new(self.short_header(field)?);
        let width = u32::from(field.subfield_width());
        for (offset, bits) in segments(mask & ones(width), width) {
            let part = Subfield { field, offset: offset as u8, bits: bits as u8 };
            let value = U64::new(((value >> offset) & ones(bits)) as u64);
            self.form(out, Kind::RegLoad, |out| {
                put(out, NxRegLoad { ofs_nbits: U16::new(ofs_nbits(part)), dst, value });
            })?;
        }
        Ok(())
    }

    /// A field of OpenFlow 1.0's own actions by them, which have no mask: Open vSwitch loses it too.
    /// Any other field by NXAST_REG_LOAD.
    fn legacy(
        &mut self,
        out: &mut Vec<u8>,
        field: Field,
        value: u128,
        mask: u128,
    ) -> Result<(), EncodeError> {
        let action = match field {
            Field::VlanTci if value & VLAN_PRESENT == 0 => Some(Action::StripVlan),
            Field::VlanTci => {
                self.one(out, &Action::ModVlanVid((value & 0xfff) as u16))?;
                Some(Action::ModVlanPcp((value >> 13) as u8))
            }
            Field::VlanVid => Some(Action::ModVlanVid((value & 0xfff) as u16)),
            Field::VlanPcp => Some(Action::ModVlanPcp(value as u8)),
            Field::EthSrc => Some(Action::ModDlSrc(value.into())),
            Field::EthDst => Some(Action::ModDlDst(value.into())),
            Field::NwSrc => Some(Action::ModNwSrc((value as u32).into())),
            Field::NwDst => Some(Action::ModNwDst((value as u32).into())),
            Field::NwTos => Some(Action::ModNwTos(value as u8)),
            Field::IpDscp => Some(Action::ModNwTos((value as u8) << 2)),
            Field::NwEcn => Some(Action::ModNwEcn(value as u8)),
            Field::TcpSrc | Field::UdpSrc => Some(Action::ModTpSrc(value as u16)),
            Field::TcpDst | Field::UdpDst => Some(Action::ModTpDst(value as u16)),
            _ => None,
        };
        match action {
            Some(action) => self.one(out, &action),
            None => self.load(out, field, value, mask),
        }
    }

    /// mod_tp_src and mod_tp_dst: a field of the protocol that the flow matches.
    fn set_port(&self, out: &mut Vec<u8>, port: u16, kind: Kind) -> Result<(), EncodeError> {
        let source = kind == Kind::SetTpSrc;
        let field = match (self.protocol, self.context.version) {
            (None, _) | (_, Version::V10) => return self.short(out, kind, port),
            (Some(Prereq::Tcp), _) if source => Field::TcpSrc,
            (Some(Prereq::Tcp), _) => Field::TcpDst,
            (Some(Prereq::Udp), _) if source => Field::UdpSrc,
            (Some(Prereq::Udp), _) => Field::UdpDst,
            (Some(_), _) if source => Field::SctpSrc,
            (Some(_), _) => Field::SctpDst,
        };
        self.set_field(out, field, port.into(), field.all_ones())
    }
}
