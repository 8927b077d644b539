//! NXAST_CT and the NXAST_NAT inside it.
//!
//! nicira-ext: the actions of exec() and nat() follow as a nested list.

use super::super::Context;
use super::super::bytes::{Reader, U16, U32, layout, put};
use super::super::error::{EncodeError, ErrorCode, Refusal};
use super::super::oxm;
use super::Kind;
use super::decode::{self, Place};
use super::encode::{Encoder, ofs_nbits};
use crate::action::{Ct, CtNat, CtZone, NatKind, NatSelection};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const COMMIT: u16 = 1;
const FORCE: u16 = 2;
/// recirc_table of a ct() without table=.
const NO_TABLE: u8 = 0xff;

const NAT_SRC: u16 = 1 << 0;
const NAT_DST: u16 = 1 << 1;
const NAT_PERSISTENT: u16 = 1 << 2;
const NAT_HASH: u16 = 1 << 3;
const NAT_RANDOM: u16 = 1 << 4;
const NAT_FLAGS: u16 = 0x1f;

const IPV4_MIN: u16 = 1 << 0;
const IPV4_MAX: u16 = 1 << 1;
const IPV6_MIN: u16 = 1 << 2;
const IPV6_MAX: u16 = 1 << 3;
const PORT_MIN: u16 = 1 << 4;
const PORT_MAX: u16 = 1 << 5;

layout! {
    /// nx_action_conntrack, behind the extension's header
    struct Layout {
        flags: U16,
        /// The zone's field as a header; 0 where the zone is a number.
        zone_src: U32,
        /// Offset and number of bits, or the number.
        zone: U16,
        recirc_table: u8,
        pad: [u8; 3],
        alg: U16,
    }

    /// nx_action_nat, behind the extension's header
    struct NatLayout {
        pad: [u8; 2],
        flags: U16,
        range_present: U16,
    }
}

fn argument() -> Refusal {
    Refusal::new(ErrorCode::BacBadArgument, "ct()")
}

pub(super) fn decode(body: &mut Reader<'_>, context: Context<'_>, depth: u8) -> Result<Ct, Refusal> {
    let layout: &Layout = body.take()?;
    let flags = layout.flags.get();
    let (commit, force) = (flags & COMMIT != 0, flags & FORCE != 0);
    if force && !commit {
        return Err(argument());
    }
    let zone = match layout.zone_src.get() {
        0 => CtZone::Number(layout.zone.get()),
        header => {
            let field = oxm::field_of_short(header, context)?;
            match decode::ofs_nbits(field, layout.zone.get(), context)? {
                source if source.bits == 16 => CtZone::Field(source),
                _ => return Err(Refusal::new(ErrorCode::BacBadSetLen, "ct(zone=)")),
            }
        }
    };
    let mut nat = None;
    let exec = decode::list_with_nat(body.rest(), context, Place::Ct, depth + 1, |found| {
        if nat.replace(found).is_some() { Err(argument()) } else { Ok(()) }
    })?;
    // Without commit only the bare nat has anything to do.
    if !commit && (!exec.is_empty() || nat.as_ref().is_some_and(|n| *n != CtNat::default())) {
        return Err(argument());
    }
    Ok(Ct {
        commit,
        force,
        table: (layout.recirc_table != NO_TABLE).then_some(layout.recirc_table),
        zone,
        nat,
        alg: Some(layout.alg.get()).filter(|port| *port != 0),
        exec,
    })
}

/// Read the first and last of a range, as far as `present` says they are there.
fn range<T, L>(
    body: &mut Reader<'_>,
    present: u16,
    (first, last): (u16, u16),
    value: impl Fn(&L) -> T,
) -> Result<Option<(T, T)>, Refusal>
where
    T: PartialOrd + Copy,
    L: zerocopy::FromBytes + zerocopy::KnownLayout + zerocopy::Immutable + zerocopy::Unaligned + 'static,
{
    if present & first == 0 {
        return if present & last == 0 { Ok(None) } else { Err(argument()) };
    }
    let low = value(body.take::<L>().map_err(|_| argument())?);
    let high = if present & last == 0 { low } else { value(body.take::<L>().map_err(|_| argument())?) };
    if high < low { Err(argument()) } else { Ok(Some((low, high))) }
}

pub(super) fn decode_nat(body: &mut Reader<'_>) -> Result<CtNat, Refusal> {
    let layout: &NatLayout = body.take()?;
    let (flags, present) = (layout.flags.get(), layout.range_present.get());
    let both = |pair: u16| flags & pair == pair;
    if flags & !NAT_FLAGS != 0 || both(NAT_SRC | NAT_DST) || both(NAT_HASH | NAT_RANDOM) {
        return Err(argument());
    }
    let four = range(body, present, (IPV4_MIN, IPV4_MAX), |l: &[u8; 4]| IpAddr::V4(Ipv4Addr::from(*l)))?;
    let six = range(body, present, (IPV6_MIN, IPV6_MAX), |l: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(*l)))?;
    let ports = range(body, present, (PORT_MIN, PORT_MAX), |l: &U16| l.get())?;
    let addresses = match (four, six) {
        (Some(_), Some(_)) => return Err(argument()),
        (one, other) => one.or(other),
    };
    let unspecified = addresses.is_some_and(|(low, _)| low.is_unspecified());
    if unspecified || ports.is_some_and(|(low, _)| low == 0) || (ports.is_some() && addresses.is_none()) {
        return Err(argument());
    }
    Ok(CtNat {
        kind: match flags & (NAT_SRC | NAT_DST) {
            NAT_SRC => Some(NatKind::Source),
            NAT_DST => Some(NatKind::Destination),
            _ => None,
        },
        addresses,
        ports,
        persistent: flags & NAT_PERSISTENT != 0,
        selection: match flags & (NAT_HASH | NAT_RANDOM) {
            NAT_HASH => NatSelection::Hash,
            NAT_RANDOM => NatSelection::Random,
            _ => NatSelection::Unspecified,
        },
    })
}

impl Encoder<'_> {
    pub(super) fn ct(&mut self, out: &mut Vec<u8>, ct: &Ct) -> Result<(), EncodeError> {
        let context = self.context;
        let (zone_src, zone) = match ct.zone {
            CtZone::Number(zone) => (0, zone),
            CtZone::Field(source) => (self.short_header(source.field)?, ofs_nbits(source)),
        };
        // What exec() writes is not the packet's, so that it changes nothing of what is known of it.
        let mut nested = Vec::new();
        if let Some(nat) = &ct.nat {
            self.nat(&mut nested, nat)?;
        }
        let mut inner = Encoder { context, has_tag: false, protocol: None, depth: self.depth + 1 };
        inner.list(&mut nested, &ct.exec)?;
        self.form(out, Kind::Ct, |out| {
            put(
                out,
                Layout {
                    flags: U16::new(if ct.commit { COMMIT } else { 0 } | if ct.force { FORCE } else { 0 }),
                    zone_src: U32::new(zone_src),
                    zone: U16::new(zone),
                    recirc_table: ct.table.unwrap_or(NO_TABLE),
                    pad: [0; 3],
                    alg: U16::new(ct.alg.unwrap_or(0)),
                },
            );
            out.extend_from_slice(&nested);
        })
    }

    fn nat(&self, out: &mut Vec<u8>, nat: &CtNat) -> Result<(), EncodeError> {
        let mut flags = match nat.kind {
            Some(NatKind::Source) => NAT_SRC,
            Some(NatKind::Destination) => NAT_DST,
            None => 0,
        };
        flags |= match nat.selection {
            NatSelection::Unspecified => 0,
            NatSelection::Hash => NAT_HASH,
            NatSelection::Random => NAT_RANDOM,
        };
        if nat.persistent {
            flags |= NAT_PERSISTENT;
        }
        let mut present = 0;
        let mut ranges = Vec::new();
        if let Some((low, high)) = nat.addresses {
            let bits = if low.is_ipv4() { (IPV4_MIN, IPV4_MAX) } else { (IPV6_MIN, IPV6_MAX) };
            present |= bits.0;
            let mut address = |address: IpAddr| match address {
                IpAddr::V4(a) => ranges.extend_from_slice(&a.octets()),
                IpAddr::V6(a) => ranges.extend_from_slice(&a.octets()),
            };
            address(low);
            if high != low {
                present |= bits.1;
                address(high);
            }
        }
        if let Some((low, high)) = nat.ports {
            present |= PORT_MIN;
            ranges.extend_from_slice(&low.to_be_bytes());
            if high != low {
                present |= PORT_MAX;
                ranges.extend_from_slice(&high.to_be_bytes());
            }
        }
        self.form(out, Kind::Nat, |out| {
            put(out, NatLayout { pad: [0; 2], flags: U16::new(flags), range_present: U16::new(present) });
            out.extend_from_slice(&ranges);
        })
    }
}
