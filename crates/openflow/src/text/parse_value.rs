//! Values: numbers, addresses, flags and ports, with their masks.

use super::error::{Fail, nearest};
use super::span::Span;
use super::words::{FRAGMENTS, RESERVED_PORTS, flag_names};
use crate::action::Subfield;
use crate::addr::MacAddr;
use crate::field::{Field, Format, Masking, ones};
use crate::port::{PortNames, PortNo};
use std::net::{Ipv4Addr, Ipv6Addr};

/// `VALUE` or `VALUE/MASK` of a field; `*` is everything.
///
/// Values come back within the mask, and masks within the field.
pub(super) fn field_value(field: Field, text: Span<'_>, names: &PortNames) -> Result<(u128, u128), Fail> {
    if text.text.is_empty() {
        return Err(text.unexpected(format!("a value for {field}")));
    }
    if text.text == "*" {
        return Ok((0, 0));
    }
    let (value, mask) = match field.info().format {
        Format::Decimal | Format::Hex => {
            masked(text, |t| number(t, field.width()), |t| number(t, field.width()))?
        }
        Format::Ethernet => masked(text, |t| mac(t).map(u128::from), |t| mac(t).map(u128::from))?,
        Format::Ipv4 => masked(
            text,
            |t| ipv4(t).map(|a| u32::from(a).into()),
            |t| prefix_or(t, 32, |t| ipv4(t).map(|a| u32::from(a).into())),
        )?,
        Format::Ipv6 => {
            masked(text, |t| ipv6(t).map(u128::from), |t| prefix_or(t, 128, |t| ipv6(t).map(u128::from)))?
        }
        Format::Port => {
            let port = port(text, names)?;
            (u128::from(port.0) & field.all_ones(), None)
        }
        Format::CtState | Format::TcpFlags | Format::TunFlags => flags(field, text)?,
        Format::Frag => fragment(text)?,
        Format::PacketType => packet_type(text)?,
    };
    let mask = mask.unwrap_or(field.all_ones());
    if field.info().masking == Masking::Exact && mask != field.all_ones() && mask != 0 {
        let (_, mask) = text.split_once("/").unwrap_or((text, text));
        return Err(mask.unexpected(format!("no mask, for {field} is matched whole")));
    }
    Ok((value & mask, mask))
}

/// The mask of a value that leaves nothing of the field open.
pub(super) fn whole(field: Field) -> u128 {
    match flag_names(field).len() as u32 {
        0 => field.all_ones(),
        flags => ones(flags),
    }
}

/// A number of at most `bits` bits: decimal, `0x` hexadecimal or, from a leading 0, octal.
pub(super) fn number(text: Span<'_>, bits: u32) -> Result<u128, Fail> {
    let t = text.text;
    let (digits, radix) = match t.strip_prefix("0x").or_else(|| t.strip_prefix("0X")) {
        Some(hex) => (hex, 16),
        None if t.len() > 1 && t.starts_with('0') => (&t[1..], 8),
        None => (t, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(text.unexpected("a number"));
    }
    match u128::from_str_radix(digits, radix) {
        Ok(n) if n <= ones(bits) => Ok(n),
        _ => Err(text.unexpected(format!("a number of at most {bits} bits"))),
    }
}

/// A number of a type with at most 64 bits.
pub(super) fn integer<T: TryFrom<u128>>(text: Span<'_>) -> Result<T, Fail> {
    let bits = 8 * size_of::<T>() as u32;
    let n = number(text, bits)?;
    T::try_from(n).map_err(|_| text.unexpected(format!("a number of at most {bits} bits")))
}

/// A MAC address.
pub(super) fn mac(text: Span<'_>) -> Result<MacAddr, Fail> {
    text.text
        .parse()
        .map_err(|_| text.unexpected("a MAC address (six hexadecimal bytes with colons between)"))
}

/// An IPv4 address.
pub(super) fn ipv4(text: Span<'_>) -> Result<Ipv4Addr, Fail> {
    text.text.parse().map_err(|_| text.unexpected("an IPv4 address"))
}

/// An IPv6 address.
pub(super) fn ipv6(text: Span<'_>) -> Result<Ipv6Addr, Fail> {
    text.text.parse().map_err(|_| text.unexpected("an IPv6 address"))
}

/// A port: a number, a reserved name in any case, or a name of `names`, bare or quoted.
pub(super) fn port(text: Span<'_>, names: &PortNames) -> Result<PortNo, Fail> {
    find_port(text, names).ok_or_else(|| {
        let what = if names.iter().next().is_none() { "a port number" } else { "a port's number or name" };
        text.unexpected(what)
    })
}

/// The port that `text` names, if it names one.
pub(super) fn find_port(text: Span<'_>, names: &PortNames) -> Option<PortNo> {
    let t = text.text;
    if !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()) {
        return match t.parse::<u32>().ok()? {
            n @ 0..=0xfeff => Some(PortNo(n)),
            n @ 0xff00..=0xffff => Some(PortNo(0xffff_0000 | n)),
            n @ 0xffff_ff00.. => Some(PortNo(n)),
            _ => None,
        };
    }
    if let Some((_, port)) = RESERVED_PORTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(t)) {
        return Some(*port);
    }
    if t.starts_with('"') { names.number(&unquote(t)?) } else { names.number(t) }
}

/// The name within quotes; JSON's escapes.
pub(super) fn unquote(text: &str) -> Option<String> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let mut name = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            name.push(c);
            continue;
        }
        name.push(match chars.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let digits: String = chars.by_ref().take(4).collect();
                char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
            }
            other => other,
        });
    }
    Some(name)
}

/// `FIELD`, `FIELD[]`, `FIELD[BIT]` or `FIELD[START..END]`.
pub(super) fn subfield(text: Span<'_>) -> Result<Subfield, Fail> {
    let (name, range) = match text.split_once("[") {
        Some((name, range)) => {
            let range = range.strip_suffix("]").ok_or_else(|| range.unexpected("a ']' at the end"))?;
            (name, Some(range))
        }
        None => (text, None),
    };
    let field = field(name)?;
    let Some(range) = range.filter(|r| !r.text.is_empty()) else {
        return Ok(Subfield::whole(field));
    };
    let (start, end) = range.split_once("..").unwrap_or((range, range));
    let bit = |t: Span<'_>| {
        let within = |n: &u128| *n < u128::from(field.subfield_width());
        number(t, 16)
            .ok()
            .filter(within)
            .and_then(|n| u8::try_from(n).ok())
            .ok_or_else(|| t.unexpected(format!("a bit of {field}, 0 to {}", field.subfield_width() - 1)))
    };
    let (first, last) = (bit(start)?, bit(end)?);
    Subfield::range(field, first, last)
        .ok_or_else(|| range.unexpected("a range of bits that begins before it ends"))
}

/// A field's name.
pub(super) fn field(name: Span<'_>) -> Result<Field, Fail> {
    Field::by_name(name.text).ok_or_else(|| {
        let known = Field::all().flat_map(|f| [f.name(), f.header_name()]);
        name.misspelt("a field", nearest(name.text, known))
    })
}

/// `VALUE` or `VALUE/MASK`.
fn masked(
    text: Span<'_>,
    value: impl Fn(Span<'_>) -> Result<u128, Fail>,
    mask: impl Fn(Span<'_>) -> Result<u128, Fail>,
) -> Result<(u128, Option<u128>), Fail> {
    match text.split_once("/") {
        Some((v, m)) => Ok((value(v)?, Some(mask(m)?))),
        None => Ok((value(text)?, None)),
    }
}

/// The mask of an address of `width` bits: a prefix length, or written like an address.
fn prefix_or(
    text: Span<'_>,
    width: u32,
    address: impl Fn(Span<'_>) -> Result<u128, Fail>,
) -> Result<u128, Fail> {
    if !text.text.bytes().all(|b| b.is_ascii_digit()) || text.text.is_empty() {
        return address(text)
            .map_err(|_| text.unexpected(format!("a prefix length, 0 to {width}, or a mask")));
    }
    match text.text.parse::<u32>() {
        Ok(length) if length <= width => Ok(ones(width) & !ones(width - length)),
        _ => Err(text.unexpected(format!("a prefix length, 0 to {width}"))),
    }
}

/// `+a-b`, `a|b`, `NUMBER` or `NUMBER/MASK`.
fn flags(field: Field, text: Span<'_>) -> Result<(u128, Option<u128>), Fail> {
    let names = flag_names(field);
    let all = ones(names.len() as u32);
    let bit = |word: Span<'_>| match names.iter().position(|n| *n == word.text) {
        Some(i) => Ok(1_u128 << i),
        None => {
            let expected = format!("a flag of {field} ({})", names.join(", "));
            Err(word.misspelt(expected, nearest(word.text, names.iter().copied())))
        }
    };
    if text.text.starts_with(['+', '-']) {
        let (mut value, mut mask, mut rest) = (0, 0, text);
        while let Some(sign) = rest.text.chars().next() {
            let after = rest.split_at(1).1;
            let (word, next) = after.split_at(after.text.find(['+', '-']).unwrap_or(after.text.len()));
            let flag = bit(word)?;
            if mask & flag != 0 {
                return Err(word.unexpected("each flag only once"));
            }
            mask |= flag;
            if sign == '+' {
                value |= flag;
            }
            rest = next;
        }
        return Ok((value, Some(mask)));
    }
    let limited = |t: Span<'_>| {
        number(t, 64).and_then(|n| {
            if n & !all == 0 {
                Ok(n)
            } else {
                Err(t.unexpected(format!("flags of {field}, at most {all:#x}")))
            }
        })
    };
    if let Some((value, mask)) = text.split_once("/") {
        return Ok((limited(value)?, Some(limited(mask)?)));
    }
    let (mut value, mut rest) = (0, Some(text));
    while let Some(list) = rest {
        let (word, next) = match list.split_once("|") {
            Some((word, next)) => (word, Some(next)),
            None => (list, None),
        };
        let is_number = word.text.starts_with(|c: char| c.is_ascii_digit());
        value |= if is_number { limited(word)? } else { bit(word)? };
        rest = next;
    }
    Ok((value, Some(all)))
}

fn fragment(text: Span<'_>) -> Result<(u128, Option<u128>), Fail> {
    let known = || FRAGMENTS.iter().map(|f| f.name);
    match FRAGMENTS.iter().find(|f| f.name.eq_ignore_ascii_case(text.text)) {
        Some(f) => Ok((f.value.into(), Some(f.mask.into()))),
        None => Err(text.misspelt("no, yes, first, later or not_later", nearest(text.text, known()))),
    }
}

/// `(NAMESPACE,TYPE)`
fn packet_type(text: Span<'_>) -> Result<(u128, Option<u128>), Fail> {
    let inner = text.strip_prefix("(").and_then(|t| t.strip_suffix(")")).and_then(|t| t.split_once(","));
    let Some((namespace, ns_type)) = inner else {
        return Err(text.unexpected("(NAMESPACE,TYPE)"));
    };
    Ok(((number(namespace, 16)? << 16) | number(ns_type, 16)?, None))
}
