//! The packet to walk: flow text as ofproto/trace takes it, or a frame in hex.
//!
//! A frame is its bytes from the destination MAC on, as `xxd -p` or `tcpdump -xx` print them: spaces, colons
//! and the offsets at the beginnings of lines (`0x0010:`) are passed over. Where it came in is not in it.

use super::Subject;
use footbridge_openflow::text::{ParseError, parse_packet, parse_port};
use footbridge_openflow::{PortNames, PortNo};
use footbridge_pipeline::{Packet, TunnelKey};

/// Why a text is no packet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// It is no packet in flow text.
    #[error("the packet: {0}")]
    Text(Box<ParseError>),
    /// It is no frame in hex.
    #[error("the packet: {0}")]
    Hex(String),
    /// No port of that name or number.
    #[error("--in-port {port}: {source}")]
    Port {
        /// What was given.
        port: String,
        /// Why it is none.
        source: Box<ParseError>,
    },
    /// A frame does not say where it came in.
    #[error("a frame does not say where it came in: give --in-port")]
    NoPort,
}

/// An Ethernet header's length: nothing shorter is a frame.
const HEADER: usize = 14;

/// Read a packet, in whichever of the two forms it is.
///
/// # Errors
/// It is of neither, or a frame without a port.
pub(crate) fn subject(
    text: &str,
    is_hex: bool,
    in_port: Option<PortNo>,
    names: &PortNames,
) -> Result<Subject, InputError> {
    match bytes(text) {
        Ok(frame) if is_hex || frame.len() >= HEADER => {
            let in_port = in_port.ok_or(InputError::NoPort)?;
            Ok(Subject::Frame(Box::new(Packet { in_port, frame, tunnel: TunnelKey::default() })))
        }
        Err(wrong) if is_hex => Err(InputError::Hex(wrong)),
        _ => {
            let mut key = parse_packet(text, names).map_err(|error| InputError::Text(Box::new(error)))?;
            if let Some(port) = in_port {
                key.set(footbridge_openflow::Field::InPortOxm, port.0.into());
            }
            Ok(Subject::Fields(Box::new(key)))
        }
    }
}

/// The port that `--in-port` says.
///
/// # Errors
/// There is none such.
pub(crate) fn port(text: &str, names: &PortNames) -> Result<PortNo, InputError> {
    parse_port(text, names)
        .map_err(|error| InputError::Port { port: text.to_owned(), source: Box::new(error) })
}

/// The bytes that a text of hexadecimal digits stands for.
fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut digits = String::new();
    for line in text.lines() {
        let line = line.trim();
        let data = match line.split_once(": ") {
            Some((offset, data)) if offset.starts_with("0x") => data,
            _ => line.strip_prefix("0x").unwrap_or(line),
        };
        digits.extend(data.chars().filter(|c| !c.is_whitespace() && !matches!(c, ':' | '-')));
    }
    if let Some(other) = digits.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Err(format!("'{other}' is no hexadecimal digit"));
    }
    if !digits.len().is_multiple_of(2) {
        return Err(format!("{} hexadecimal digits are no whole bytes", digits.len()));
    }
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2).unwrap_or_default(), 16);
    (0..digits.len()).step_by(2).map(byte).collect::<Result<_, _>>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_as_programs_print_it() {
        let plain = bytes("ffffffffffff4e9908c153be0806").unwrap();
        assert_eq!(plain.len(), HEADER);
        for printed in [
            "ff:ff:ff:ff:ff:ff 4e:99:08:c1:53:be 08:06",
            "0x0000:  ffff ffff ffff 4e99 08c1\n\t0x000a:  53be 0806",
            "0xffffffffffff4e9908c153be0806",
        ] {
            assert_eq!(bytes(printed).unwrap(), plain, "{printed}");
        }
        assert_eq!(bytes("fff").unwrap_err(), "3 hexadecimal digits are no whole bytes");
        assert_eq!(bytes("in_port=1").unwrap_err(), "'i' is no hexadecimal digit");
    }

    #[test]
    fn a_frame_is_known_by_itself_and_asks_where_it_came_in() {
        let names = PortNames::none();
        let frame = "ffffffffffff4e9908c153be0806";
        assert!(matches!(subject(frame, false, Some(PortNo(1)), &names), Ok(Subject::Frame(_))));
        assert!(matches!(subject(frame, false, None, &names), Err(InputError::NoPort)));
        assert!(matches!(subject("in_port=1,arp", false, None, &names), Ok(Subject::Fields(_))));
        assert!(matches!(subject("in_port=1,arp", true, None, &names), Err(InputError::Hex(_))));
    }
}
