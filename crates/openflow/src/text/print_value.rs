//! Values, as `match_format` and `set_field` of Open vSwitch print them.

use super::words::{FRAGMENTS, RESERVED_PORTS, flag_names};
use crate::action::Subfield;
use crate::addr::MacAddr;
use crate::field::{Field, Format, ones};
use crate::port::{PortNames, PortNo};
use core::fmt::{self, Display, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

/// C's `%#x`: `0x` before every number but 0.
pub(super) struct AltHex(pub(super) u128);

impl fmt::Display for AltHex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 { f.write_str("0") } else { write!(f, "{:#x}", self.0) }
    }
}

/// `FIELD[]`, `FIELD[BIT]` or `FIELD[START..END]`.
pub(super) struct SubfieldText(pub(super) Subfield);

impl fmt::Display for SubfieldText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subfield { field, offset, bits } = self.0;
        f.write_str(field.header_name())?;
        match bits {
            _ if self.0 == Subfield::whole(field) => f.write_str("[]"),
            1 => write!(f, "[{offset}]"),
            _ => write!(f, "[{offset}..{}]", u16::from(offset) + u16::from(bits) - 1),
        }
    }
}

/// A port: its reserved name, its name, or its number.
pub(super) struct PortText<'a>(pub(super) PortNo, pub(super) &'a PortNames);

impl fmt::Display for PortText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = RESERVED_PORTS.iter().find(|(_, port)| *port == self.0) {
            return f.write_str(name);
        }
        match self.1.name(self.0) {
            Some(name) => name_text(f, name),
            None => write!(f, "{}", self.0.0),
        }
    }
}

/// A name, in quotes unless it is a letter followed by letters and digits.
fn name_text(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric())
    {
        return f.write_str(name);
    }
    f.write_char('"')?;
    for c in name.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if u32::from(c) < 32 => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// The port number that 16 bits stand for: OpenFlow 1.0's reserved numbers are the highest.
pub(super) fn port_of_16_bits(bits: u128) -> PortNo {
    let bits = (bits & 0xffff) as u32;
    PortNo(if bits >= 0xff00 { 0xffff_0000 | bits } else { bits })
}

/// A field's value and mask in the field's own format, as after `set_field:`.
pub(super) fn field_value(
    f: &mut fmt::Formatter<'_>,
    field: Field,
    value: u128,
    mask: u128,
    names: &PortNames,
) -> fmt::Result {
    if mask == 0 {
        return f.write_str("ANY");
    }
    let exact = mask == field.all_ones();
    match field.info().format {
        Format::Decimal => {
            write!(f, "{value}")?;
            if exact { Ok(()) } else { write!(f, "/{mask:#x}") }
        }
        Format::Hex => {
            AltHex(value).fmt(f)?;
            if exact { Ok(()) } else { write!(f, "/{mask:#x}") }
        }
        Format::Ethernet => mac(f, value, mask),
        Format::Ipv4 => ipv4(f, value, mask),
        Format::Ipv6 => ipv6(f, value, mask),
        Format::Port if field == Field::InPort => PortText(port_of_16_bits(value), names).fmt(f),
        Format::Port => PortText(PortNo(value as u32), names).fmt(f),
        Format::CtState | Format::TcpFlags | Format::TunFlags => flags(f, field, value, mask),
        Format::Frag => {
            let known = FRAGMENTS.iter().find(|w| (u128::from(w.value), u128::from(w.mask)) == (value, mask));
            f.write_str(known.map_or("<error>", |w| w.name))
        }
        Format::PacketType => write!(f, "({},{})", value >> 16, AltHex(value & 0xffff)),
    }
}

/// `MAC` or `MAC/MASK`.
pub(super) fn mac(f: &mut fmt::Formatter<'_>, value: u128, mask: u128) -> fmt::Result {
    write!(f, "{}", MacAddr::from(value))?;
    if mask == ones(48) { Ok(()) } else { write!(f, "/{}", MacAddr::from(mask)) }
}

/// `IP`, `IP/LENGTH` or `IP/MASK`.
pub(super) fn ipv4(f: &mut fmt::Formatter<'_>, value: u128, mask: u128) -> fmt::Result {
    write!(f, "{}", Ipv4Addr::from(value as u32))?;
    match prefix_length(mask, 32) {
        Some(32) => Ok(()),
        Some(length) => write!(f, "/{length}"),
        None => write!(f, "/{}", Ipv4Addr::from(mask as u32)),
    }
}

/// `IP`, `IP/LENGTH` or `IP/MASK`, with IPv6 addresses.
pub(super) fn ipv6(f: &mut fmt::Formatter<'_>, value: u128, mask: u128) -> fmt::Result {
    Ipv6Text(Ipv6Addr::from(value)).fmt(f)?;
    match prefix_length(mask, 128) {
        Some(128) => Ok(()),
        Some(length) => write!(f, "/{length}"),
        None => write!(f, "/{}", Ipv6Text(Ipv6Addr::from(mask))),
    }
}

/// An address as C's inet_ntop writes it: like Rust, but with a dotted quad at the end also of the
/// old IPv4-compatible addresses.
pub(super) struct Ipv6Text(pub(super) Ipv6Addr);

impl fmt::Display for Ipv6Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.segments() {
            [0, 0, 0, 0, 0, 0, high, low] if high != 0 => {
                write!(f, "::{}", Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
            }
            _ => self.0.fmt(f),
        }
    }
}

/// `a|b` where every bit is compared, else `+a-b`.
pub(super) fn flags(f: &mut fmt::Formatter<'_>, field: Field, value: u128, mask: u128) -> fmt::Result {
    let names = flag_names(field);
    let all = ones(names.len() as u32);
    if mask & all == all {
        let mut set = names.iter().enumerate().filter(|(i, _)| value >> i & 1 == 1).map(|(_, name)| name);
        f.write_str(set.next().copied().unwrap_or("0"))?;
        return set.try_for_each(|name| write!(f, "|{name}"));
    }
    if mask & all == 0 {
        return f.write_str("0/0");
    }
    signed_flags(f, field, value, mask)
}

/// `+a-b`, also where every bit is compared.
pub(super) fn signed_flags(f: &mut fmt::Formatter<'_>, field: Field, value: u128, mask: u128) -> fmt::Result {
    for (i, name) in flag_names(field).iter().enumerate().filter(|(i, _)| mask >> i & 1 == 1) {
        write!(f, "{}{name}", if value >> i & 1 == 1 { '+' } else { '-' })?;
    }
    Ok(())
}

/// The length of the prefix that `mask` is, if it is one.
fn prefix_length(mask: u128, width: u32) -> Option<u32> {
    let length = mask.count_ones();
    (length <= width && mask == ones(width) & !ones(width - length)).then_some(length)
}
