//! NXM and OXM: how a field, and a field with a value, stand on the wire.
//!
//! OpenFlow 1.3.5 §7.2.3.2 and nicira-ext's "flexible match": a 32-bit header (class 16, number 7,
//! has-mask 1, length 8 bits), for the experimenter class 0xffff followed by the experimenter's id,
//! then the value, right-aligned in whole bytes, and as many bytes of mask where has-mask is set.
//! Numbers come from the field table and from nowhere else.
//!
//! Limits: values of `tun_metadata` fields are as long as the TLV table says; without a table (a
//! client's side) as long as their bits need.

use super::Context;
use super::ONF;
use super::bytes::{Reader, U16, U32, layout, put};
use super::error::{ErrorCode, Refusal};
use super::version::Version;
use crate::field::{FIELDS, Field, HeaderClass, ones};

const NXM_OF: u16 = 0x0000;
const NXM_NX: u16 = 0x0001;
const OXM_OF: u16 = 0x8000;
const PKT_REG: u16 = 0x8001;
const EXPERIMENTER: u16 = 0xffff;
/// A member class of the ONF's, which Ericsson has.
const ERICSSON: u16 = 0x1000;
/// NXM_NX_COOKIE: a pseudo-field of NXM flow mods and requests, not a packet's.
const COOKIE: (u16, u8) = (NXM_NX, 30);
/// Bytes of a `tun_metadata` field whose length nothing tells.
const TUN_METADATA_MAX: usize = 124;

layout! {
    /// The 32-bit header.
    struct Layout {
        class: U16,
        /// Number (7 bits), has-mask (1 bit).
        field: u8,
        /// Of what follows, an experimenter's id included.
        length: u8,
    }
}

/// Which of a field's two headers is preferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Nicira's, in OpenFlow 1.0 and in Nicira's actions.
    Nxm,
    /// The standard's, from OpenFlow 1.2 on.
    Oxm,
}

/// What a header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// A field of the table.
    Field(Field),
    /// NXM_NX_COOKIE.
    Cookie,
    /// None that we know.
    Unknown,
}

/// A header as read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) name: Name,
    pub(crate) has_mask: bool,
    /// Bytes of value and mask together.
    pub(crate) payload: usize,
}

/// A header with its value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: Name,
    pub(crate) value: u128,
    /// None where the entry has no mask.
    pub(crate) mask: Option<u128>,
}

/// Bytes of a value of `field`, other than `tun_metadata`.
fn fixed_bytes(field: Field) -> usize {
    match field {
        // One bit, in a 16-bit number.
        Field::TunFlags => 2,
        // 20 bits, in a 32-bit number.
        Field::Ipv6Label => 4,
        _ => usize::from(field.info().width).div_ceil(8),
    }
}

/// Which `tun_metadata` field this is.
pub(crate) fn tun_metadata_index(field: Field) -> Option<u16> {
    let (first, last) = (Field::TunMetadata0 as u16, Field::TunMetadata7 as u16);
    let number = field as u16;
    (first..=last).contains(&number).then(|| number - first)
}

/// Bits that the table of tunnel options gives `field`; any number where it says nothing of it.
pub(crate) fn mapped_width(field: Field, context: Context<'_>) -> Result<u16, Refusal> {
    let bytes = tun_metadata_index(field).map(|index| context.tun_metadata_bytes(index)).transpose()?;
    Ok(bytes.flatten().map_or(u16::MAX, |bytes| bytes as u16 * 8))
}

/// Bytes that `value` and `mask` need without leading zeros, in whole words of four.
fn needed_bytes(value: u128, mask: u128) -> usize {
    let bits = 128 - (value | mask).leading_zeros();
    (bits.div_ceil(32) as usize).max(1) * 4
}

fn class_of(header: crate::field::Header, version: Version) -> (u16, u8, Option<u32>) {
    let (class, experimenter) = match header.class {
        HeaderClass::NxmOf => (NXM_OF, None),
        HeaderClass::NxmNx => (NXM_NX, None),
        HeaderClass::OxmOf => (OXM_OF, None),
        HeaderClass::PktReg => (PKT_REG, None),
        // OpenFlow 1.5 took ONF's two extensions over, numbers and all.
        HeaderClass::OnfEt if version == Version::V15 => (OXM_OF, None),
        HeaderClass::OnfEt => (EXPERIMENTER, Some(ONF)),
        HeaderClass::EricEt => (ERICSSON, None),
    };
    (class, header.number, experimenter)
}

/// The header that names `field`; None where the table has none.
fn chosen(field: Field, dialect: Dialect) -> Option<crate::field::Header> {
    let row = field.info();
    match dialect {
        Dialect::Nxm => row.nxm.or(row.oxm),
        Dialect::Oxm => row.oxm.or(row.nxm),
    }
}

/// Whether a 32-bit header can name `field` in Nicira's older actions.
pub(crate) fn has_short_header(field: Field) -> bool {
    chosen(field, Dialect::Nxm).is_some_and(|h| class_of(h, Version::V10).2.is_none())
}

const CLASSES: usize = 6;
const NUMBERS: usize = 128;

/// Fields by class and number.
static BY_NUMBER: [[Option<Field>; NUMBERS]; CLASSES] = by_number();

const fn by_number() -> [[Option<Field>; NUMBERS]; CLASSES] {
    let mut index = [[None; NUMBERS]; CLASSES];
    let mut i = 0;
    while i < FIELDS.len() {
        let row = &FIELDS[i];
        if let Some(header) = row.nxm {
            index[header.class as usize][header.number as usize] = Some(row.field);
        }
        if let Some(header) = row.oxm {
            index[header.class as usize][header.number as usize] = Some(row.field);
            // As OpenFlow 1.5 numbers it.
            if matches!(header.class, HeaderClass::OnfEt) {
                index[HeaderClass::OxmOf as usize][header.number as usize] = Some(row.field);
            }
        }
        i += 1;
    }
    index
}

fn lookup(class: u16, experimenter: Option<u32>, number: u8) -> Name {
    let class = match (class, experimenter) {
        (NXM_OF, None) => HeaderClass::NxmOf,
        (NXM_NX, None) if (class, number) == COOKIE => return Name::Cookie,
        (NXM_NX, None) => HeaderClass::NxmNx,
        (OXM_OF, None) => HeaderClass::OxmOf,
        (PKT_REG, None) => HeaderClass::PktReg,
        (_, Some(ONF)) => HeaderClass::OnfEt,
        (ERICSSON, None) => HeaderClass::EricEt,
        _ => return Name::Unknown,
    };
    BY_NUMBER[class as usize][usize::from(number) % NUMBERS].map_or(Name::Unknown, Name::Field)
}

impl Header {
    /// Read a header (not the value). Unknown fields are not refused here.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Header, Refusal> {
        let layout: &Layout = reader.take()?;
        let class = layout.class.get();
        let length = usize::from(layout.length);
        let (experimenter, payload) = if class == EXPERIMENTER {
            let id: &U32 = reader.take()?;
            let payload = length
                .checked_sub(4)
                .ok_or_else(|| Refusal::new(ErrorCode::BmcBadLen, "an experimenter's OXM header"))?;
            (Some(id.get()), payload)
        } else {
            (None, length)
        };
        Ok(Header {
            name: lookup(class, experimenter, layout.field >> 1),
            has_mask: layout.field & 1 == 1,
            payload,
        })
    }

    /// Read a header that an action names a field by.
    pub(crate) fn decode_field(reader: &mut Reader<'_>, context: Context<'_>) -> Result<Field, Refusal> {
        let header = Header::decode(reader)?;
        action_field(header, context)
    }
}

/// The field of a header in an action: known, of the right length, and mapped.
fn action_field(header: Header, context: Context<'_>) -> Result<Field, Refusal> {
    let Name::Field(field) = header.name else {
        return Err(Refusal::new(ErrorCode::BacBadSetType, "an action's field header"));
    };
    match tun_metadata_index(field) {
        Some(index) => {
            context.tun_metadata_bytes(index)?;
        }
        None if header.payload != fixed_bytes(field) << u8::from(header.has_mask) => {
            return Err(Refusal::new(ErrorCode::BacBadSetLen, "an action's field header"));
        }
        None => {}
    }
    Ok(field)
}

/// The field that a 32-bit header, as in NXAST_REG_LOAD, names.
pub(crate) fn field_of_short(header: u32, context: Context<'_>) -> Result<Field, Refusal> {
    let bytes = header.to_be_bytes();
    let mut reader = Reader::new(&bytes, ErrorCode::BacBadSetType, "an action's field header");
    Header::decode_field(&mut reader, context)
}

/// Write the header of `field`, for a payload of `bytes` bytes of value (twice that with a mask).
fn put_header(
    out: &mut Vec<u8>,
    field: Field,
    context: Context<'_>,
    dialect: Dialect,
    bytes: usize,
    masked: bool,
) {
    let Some(header) = chosen(field, dialect) else { return };
    let (class, number, experimenter) = class_of(header, context.version);
    let payload = if masked { 2 * bytes } else { bytes } + if experimenter.is_some() { 4 } else { 0 };
    put(
        out,
        Layout {
            class: U16::new(class),
            field: number << 1 | u8::from(masked),
            length: u8::try_from(payload).unwrap_or(u8::MAX),
        },
    );
    if let Some(id) = experimenter {
        put(out, U32::new(id));
    }
}

/// Write the header by which an action names `field`.
pub(crate) fn put_field(out: &mut Vec<u8>, field: Field, context: Context<'_>, dialect: Dialect) {
    let bytes = match tun_metadata_index(field) {
        Some(index) => context.tun_metadata_bytes(index).ok().flatten().unwrap_or(TUN_METADATA_MAX),
        None => fixed_bytes(field),
    };
    put_header(out, field, context, dialect, bytes, false);
}

/// Write `field` with a value. A mask of all the field's bits is left out.
pub(crate) fn put_entry(
    out: &mut Vec<u8>,
    field: Field,
    value: u128,
    mask: u128,
    context: Context<'_>,
    dialect: Dialect,
) {
    let mapped = tun_metadata_index(field).map(|index| context.tun_metadata_bytes(index).ok().flatten());
    let bytes = match mapped {
        Some(Some(bytes)) => bytes,
        Some(None) => needed_bytes(value, if mask == field.all_ones() { 0 } else { mask }),
        None => fixed_bytes(field),
    };
    let all = match mapped {
        Some(Some(bytes)) => ones(8 * bytes as u32),
        _ => field.all_ones(),
    };
    // The reserved 15 bits of tun_flags are free, so that its mask is never all ones.
    let whole = field != Field::TunFlags && mask & all == all;
    put_masked(out, field, (value, (!whole).then_some(mask)), bytes, context, dialect);
}

/// Write an entry of a field of fixed size with its mask, whatever that is.
pub(crate) fn put_entry_with_mask(
    out: &mut Vec<u8>,
    field: Field,
    value: u128,
    mask: u128,
    context: Context<'_>,
    dialect: Dialect,
) {
    put_masked(out, field, (value, Some(mask)), fixed_bytes(field), context, dialect);
}

fn put_masked(
    out: &mut Vec<u8>,
    field: Field,
    (value, mask): (u128, Option<u128>),
    bytes: usize,
    context: Context<'_>,
    dialect: Dialect,
) {
    put_header(out, field, context, dialect, bytes, mask.is_some());
    put_number(out, value, bytes);
    if let Some(mask) = mask {
        put_number(out, mask, bytes);
    }
}

/// Whether the field has fewer bits than its bytes on the wire. Then all its bits are another mask than none: in
/// 1.5 it tells Nicira's load, which Open vSwitch remembers, from a set_field.
pub(crate) fn is_odd_sized(field: Field) -> bool {
    tun_metadata_index(field).is_none() && !field.width().is_multiple_of(8)
}

/// Write NXM_NX_COOKIE.
pub(crate) fn put_cookie(out: &mut Vec<u8>, value: u64, mask: u64) {
    let masked = mask != u64::MAX;
    put(
        out,
        Layout {
            class: U16::new(COOKIE.0),
            field: COOKIE.1 << 1 | u8::from(masked),
            length: if masked { 16 } else { 8 },
        },
    );
    out.extend_from_slice(&(value & mask).to_be_bytes());
    if masked {
        out.extend_from_slice(&mask.to_be_bytes());
    }
}

/// Write the lowest `bytes` bytes of a number, with zeros before them where there are more than 16.
fn put_number(out: &mut Vec<u8>, number: u128, bytes: usize) {
    let digits = number.to_be_bytes();
    let keep = bytes.min(digits.len());
    out.resize(out.len() + bytes - keep, 0);
    out.extend_from_slice(&digits[digits.len() - keep..]);
}

/// A number of any length; None where it has more than 128 bits.
fn number(bytes: &[u8]) -> Option<u128> {
    let (zeros, digits) = bytes.split_at(bytes.len().saturating_sub(16));
    zeros.iter().all(|b| *b == 0).then(|| digits.iter().fold(0, |n, b| n << 8 | u128::from(*b)))
}

impl Entry {
    /// Read a header and its value.
    ///
    /// A known field's length, value and mask are checked; an unknown field is skipped over and
    /// given back as such.
    pub(crate) fn decode(reader: &mut Reader<'_>, context: Context<'_>) -> Result<Entry, Refusal> {
        const WHAT: &str = "an OXM entry";
        let header = Header::decode(reader)?;
        let payload = reader.bytes(header.payload)?;
        let bytes = if header.has_mask { payload.len() / 2 } else { payload.len() };
        // All bits that a `tun_metadata` field is mapped to.
        let mut mapped = None;
        let expected = match header.name {
            Name::Unknown => return Ok(Entry { name: Name::Unknown, value: 0, mask: None }),
            Name::Cookie => 8,
            Name::Field(field) => match tun_metadata_index(field) {
                // Clients leave leading zeros out; what matters is that the field is mapped.
                Some(index) => {
                    mapped = context.tun_metadata_bytes(index)?.map(|bytes| ones(8 * bytes as u32));
                    bytes
                }
                None => fixed_bytes(field),
            },
        };
        if bytes != expected || bytes == 0 || (header.has_mask && payload.len() % 2 != 0) {
            return Err(Refusal::new(ErrorCode::BmcBadLen, WHAT));
        }
        let (value, mask) = payload.split_at(bytes);
        if header.has_mask && value.iter().zip(mask).any(|(v, m)| v & !m != 0) {
            return Err(Refusal::new(ErrorCode::BmcBadWildcards, WHAT));
        }
        let bad_value = || Refusal::new(ErrorCode::BmcBadValue, WHAT);
        let value = number(value).ok_or_else(bad_value)?;
        let mask = header.has_mask.then(|| number(mask).ok_or_else(bad_value)).transpose()?;
        if mapped.is_some_and(|all| (value | mask.unwrap_or(0)) & !all != 0) {
            return Err(bad_value());
        }
        // A mask of all the bits there are says no more than none.
        let mask = mask.filter(|mask| mapped != Some(*mask));
        Ok(Entry { name: header.name, value, mask })
    }

    /// Read a field with its value, in an action.
    pub(crate) fn decode_action(
        reader: &mut Reader<'_>,
        context: Context<'_>,
    ) -> Result<(Field, u128, Option<u128>), Refusal> {
        action_field(Header::decode(&mut reader.clone())?, context)?;
        let entry = Entry::decode(reader, context)?;
        match entry.name {
            Name::Field(field) => Ok((field, entry.value, entry.mask)),
            Name::Cookie | Name::Unknown => Err(Refusal::new(ErrorCode::BacBadSetType, "an action's field")),
        }
    }
}
