//! Text: flows as lines and as whole dumps, lists of ports, descriptions of packets.
//!
//! What is read, printed and read again is the same, with and without port names.
//!
//! # Exceptions
//!
//! * `hard_age` is printed only where it differs from the duration, as Open vSwitch prints it.

use crate::frame;
use crate::memory::Limit;
use crate::wire;
use footbridge_openflow::text::{
    ParseError, parse_dump, parse_flow, parse_flow_with_stats, parse_packet, parse_ports,
};
use footbridge_openflow::{PortNames, PortNo};

/// An action takes two bytes of text (`1,`) and its place in a list that grows by doubling.
const FLOWS: Limit = Limit { base: 32 << 10, per_byte: 64 };
/// A port takes four bytes of text (`1 a` and a line feed) and its place in two maps.
const PORTS: Limit = Limit { base: 8 << 10, per_byte: 256 };
const PACKET: Limit = Limit { base: 32 << 10, per_byte: 64 };

/// Names of every kind: plain, in need of quotes, and nasty.
pub(crate) fn names() -> PortNames {
    [
        (1, "eth0"),
        (2, "antrea-gw0"),
        (3, "0start"),
        (4, "with space"),
        (5, "a\"b\\c"),
        (6, "comma,equals="),
        (7, "é"),
    ]
    .into_iter()
    .map(|(number, name)| (PortNo(number), name))
    .collect()
}

/// Flows, as one dump and line by line.
pub(crate) fn flows(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let names = names();
    for line in text.lines() {
        flow(line, &names);
    }
    match FLOWS.of(text.len(), || parse_dump(text, "file", &names)) {
        Ok(flows) => {
            let printed: Vec<String> = flows
                .iter()
                .map(|line| line.flow.display_with_stats(&line.stats, &names).to_string())
                .collect();
            let again = parse_dump(&printed.join("\n"), "file", &names);
            let same = again.as_ref().is_ok_and(|again| {
                again.len() == flows.len() && again.iter().zip(&flows).all(|(a, b)| a.flow == b.flow)
            });
            assert!(same, "{printed:#?}\nis read as\n{again:#?}");
        }
        Err(error) => {
            let line = error.line.and_then(|line| text.lines().nth(line.checked_sub(1)?));
            match line {
                Some(line) => is_about(&error, line),
                None => panic!("the error is in no line of the text: {error}"),
            }
        }
    }
}

fn flow(line: &str, names: &PortNames) {
    let (flow, stats) = match FLOWS.of(line.len(), || parse_flow_with_stats(line, names)) {
        Ok(read) => read,
        Err(error) => return is_about(&error, line),
    };
    for names in [names, &PortNames::none()] {
        let printed = flow.display(names).to_string();
        let again = parse_flow(&printed, names);
        assert!(again.as_ref() == Ok(&flow), "{line}\nis printed as\n{printed}\nwhich is read as\n{again:?}");
    }
    wire::carries(&flow);
    let mut shown = stats;
    shown.hard_age = stats.hard_age.filter(|age| u64::from(*age) != stats.duration.as_secs());
    let printed = flow.display_with_stats(&stats, names).to_string();
    let again = parse_flow_with_stats(&printed, names);
    assert!(again == Ok((flow, shown)), "{line}\nis printed as\n{printed}\nwhich is read as\n{again:?}");
}

/// The error is short, and in a place of the line.
fn is_about(error: &ParseError, line: &str) {
    let columns = line.chars().count() + 1;
    assert!((1..=columns).contains(&error.column), "{line}: {error}");
    let said = error.to_string();
    assert!(said.len() < 1000, "{} bytes of an error: {said}", said.len());
}

/// A list of ports.
pub(crate) fn ports(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match PORTS.of(text.len(), || parse_ports(text)) {
        Ok(names) => {
            let pairs: String = names.iter().map(|(port, name)| format!("{} {name}\n", port.0)).collect();
            let described: String =
                names.iter().map(|(port, name)| format!(" {}({name}): addr:\n", port.0)).collect();
            let same = [&pairs, &described].iter().any(|text| parse_ports(text).as_ref() == Ok(&names));
            assert!(same, "{names:?} is printed neither as\n{pairs}nor as\n{described}");
        }
        Err(error) => {
            assert!(error.line.is_some_and(|line| (1..=text.lines().count()).contains(&line)), "{error}");
            let said = error.to_string();
            assert!(said.len() < 1000, "{} bytes of an error: {said}", said.len());
        }
    }
}

/// A packet as ofproto/trace describes it.
pub(crate) fn packet(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    match PACKET.of(text.len(), || parse_packet(text, &names())) {
        Ok(key) => {
            frame::settles(&key);
            frame::walks(&key);
        }
        Err(error) => is_about(&error, text),
    }
}
