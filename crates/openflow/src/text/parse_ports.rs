//! A port, and lists of ports: `NUMBER NAME` lines, or what `ovs-ofctl show` and `dump-ports-desc` print.

use super::error::{Fail, ParseError};
use super::parse_value;
use super::span::Span;
use crate::port::{PortNames, PortNo};

/// Read a list of ports.
///
/// Two forms are told apart by themselves. In the first each line is a number and a name, which may be in quotes; empty
/// lines and comments (from `#` at a line's start) are skipped. The second is what `ovs-ofctl show`
/// and `ovs-ofctl dump-ports-desc` print: lines ` 1(name): addr:…` with others between.
///
/// # Errors
///
/// A line of neither form, or a number or name given twice; the error names the line.
pub fn parse_ports(text: &str) -> Result<PortNames, ParseError> {
    let described = text.lines().any(|line| description(Span::line(line)).is_some());
    let mut names = PortNames::none();
    for (i, line) in text.lines().enumerate() {
        let content = Span::line(line).trim();
        let entry = if described { description(content) } else { pair(content) };
        let add = |(number, name)| add(&mut names, number, name);
        entry.map_or(Ok(()), add).map_err(|fail| fail.in_line(line).at_line(i + 1))?;
    }
    Ok(names)
}

/// Read one port: a number, a reserved name in any case, or one of `names`, bare or quoted.
///
/// # Errors
///
/// The text is none of these.
pub fn parse_port(text: &str, names: &PortNames) -> Result<PortNo, ParseError> {
    parse_value::port(Span::line(text), names).map_err(|fail| fail.in_line(text))
}

/// `NUMBER(NAME): …`
fn description(line: Span<'_>) -> Option<(Span<'_>, Span<'_>)> {
    let (number, rest) = line.trim().split_once("(")?;
    let (name, _) = rest.split_once("): addr:")?;
    let is_port = parse_value::find_port(number, &PortNames::none()).is_some();
    is_port.then_some((number, name))
}

/// `NUMBER NAME`; None for an empty line or a comment.
fn pair(line: Span<'_>) -> Option<(Span<'_>, Span<'_>)> {
    if line.text.is_empty() || line.text.starts_with('#') {
        return None;
    }
    let (number, name) = line.split_at(line.text.find(char::is_whitespace).unwrap_or(line.text.len()));
    Some((number, name.trim()))
}

fn add(names: &mut PortNames, number: Span<'_>, name: Span<'_>) -> Result<(), Fail> {
    let port = parse_value::port(number, &PortNames::none())?;
    if !port.is_ordinary() && port != PortNo::LOCAL {
        return Err(number.unexpected(format!("a port's number, 1 to {}, or LOCAL", PortNo::MAX.0)));
    }
    let bare = match name.text.starts_with('"') {
        true => {
            parse_value::unquote(name.text).ok_or_else(|| name.unexpected("a name, bare or in quotes"))?
        }
        false => name.text.to_owned(),
    };
    if bare.is_empty() {
        return Err(name.unexpected("the port's name"));
    }
    if names.name(port).is_some() {
        return Err(number.unexpected("each port once"));
    }
    if names.number(&bare).is_some() {
        return Err(name.unexpected("each name once"));
    }
    names.insert(port, bare);
    Ok(())
}
