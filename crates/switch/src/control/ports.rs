//! Ports as a person writes them, and attaching and detaching them by request.
//!
//! `NAME[=NUMBER][,device=DEVICE]` is a device, called like the port unless it says otherwise;
//! `NAME[=NUMBER],type=vxlan|geneve[,udp=PORT][,vni=NUMBER][,local=ADDRESS]` a tunnel to many peers.

use super::protocol::{AttachmentRequest, PortRequest};
use crate::Bridge;
use core::str::FromStr;
use footbridge_datapath::{Attachment, Error, OptionMap, PortSpec, TunnelProtocol};
use footbridge_openflow::PortNo;
use std::collections::BTreeSet;

/// Text that is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("port '{text}': {expected}")]
pub struct PortTextError {
    /// The text.
    pub text: String,
    /// What should stand there.
    pub expected: &'static str,
}

/// A device's longest name; a port's is not longer, or 1.0's clients could not tell it.
const NAME_MAX: usize = 15;

impl FromStr for PortRequest {
    type Err = PortTextError;

    fn from_str(text: &str) -> Result<PortRequest, PortTextError> {
        let wrong = |expected| PortTextError { text: text.to_owned(), expected };
        let mut words = text.split(',');
        let first = words.next().unwrap_or_default();
        let (name, number) = match first.split_once('=') {
            Some((name, number)) => {
                let number = number.parse().map_err(|_| wrong("a port's number is from 1 to 65279"))?;
                (name, Some(number))
            }
            None => (first, None),
        };
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(wrong("a port's name has 1 to 15 bytes: NAME[=NUMBER][,device=DEVICE]"));
        }
        let (mut device, mut protocol, mut udp_port, mut vni, mut local) = (None, None, None, None, None);
        for word in words {
            match word.split_once('=') {
                Some(("device", value)) => device = Some(value.to_owned()),
                Some(("type", value @ ("vxlan" | "geneve"))) => protocol = Some(value.to_owned()),
                Some(("type", _)) => return Err(wrong("type is vxlan or geneve")),
                Some(("udp", value)) => {
                    udp_port = Some(value.parse().map_err(|_| wrong("udp is a UDP port's number"))?);
                }
                Some(("vni", value)) => {
                    let number: Option<u32> = value.parse().ok().filter(|vni| *vni < 1 << 24);
                    vni = Some(number.ok_or_else(|| wrong("vni is a number of 24 bits"))?);
                }
                Some(("local", value)) => {
                    local = Some(value.parse().map_err(|_| wrong("local is an IPv4 address"))?);
                }
                _ => return Err(wrong("after the name come device=, or type=, udp=, vni=, local=")),
            }
        }
        let attachment = match (protocol, device) {
            (Some(_), Some(_)) => return Err(wrong("a tunnel has no device")),
            (Some(protocol), None) => {
                AttachmentRequest::Tunnel { protocol, udp_port, vni: vni.unwrap_or(0), local }
            }
            (None, _) if udp_port.is_some() || vni.is_some() || local.is_some() => {
                return Err(wrong("udp=, vni= and local= are a tunnel's: it needs type="));
            }
            (None, device) => AttachmentRequest::Device { device: device.unwrap_or_else(|| name.to_owned()) },
        };
        Ok(PortRequest { name: name.to_owned(), number, attachment })
    }
}

/// Attach a port; its number.
///
/// # Errors
///
/// When the number or the name is taken, none is free, or the datapath can't have it.
pub fn add_port(bridge: &Bridge, request: PortRequest) -> Result<PortNo, Error> {
    let PortRequest { name, number, attachment } = request;
    let number = match number {
        Some(number) => PortNo(number),
        None => {
            let taken: BTreeSet<PortNo> = bridge.port_specs().iter().map(|port| port.number).collect();
            let free = (1..=PortNo::MAX.0).map(PortNo).find(|number| !taken.contains(number));
            free.unwrap_or(PortNo::NONE)
        }
    };
    let attachment = match attachment {
        AttachmentRequest::Device { device } => Attachment::Device { ifname: device },
        AttachmentRequest::Tunnel { protocol, udp_port, vni, local } => {
            let protocol = if protocol == "geneve" { TunnelProtocol::Geneve } else { TunnelProtocol::Vxlan };
            let udp_port = udp_port.unwrap_or(protocol.default_port());
            Attachment::Tunnel { protocol, udp_port, vni, local, options: OptionMap::ANTREA }
        }
    };
    bridge.add_port(PortSpec { number, name, attachment })?;
    Ok(number)
}

/// Detach the port of this name or number; its number. None where there is no such port.
pub(super) fn del_port(bridge: &Bridge, port: &str) -> Result<Option<PortNo>, Error> {
    let names = bridge.port_names();
    let Some(number) = names.number(port).or_else(|| port.parse().ok().map(PortNo)) else { return Ok(None) };
    bridge.del_port(number).map(|()| Some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> PortRequest {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_is_the_device_of_its_name_unless_it_says_otherwise() {
        let device = |device: &str| AttachmentRequest::Device { device: device.to_owned() };
        assert_eq!(
            parse("eth1=7"),
            PortRequest { name: "eth1".to_owned(), number: Some(7), attachment: device("eth1") }
        );
        assert_eq!(
            parse("gw,device=gw-p"),
            PortRequest { name: "gw".to_owned(), number: None, attachment: device("gw-p") }
        );
    }

    #[test]
    fn a_tunnel_says_its_type() {
        let local = Some("10.0.0.1".parse().unwrap());
        let attachment =
            AttachmentRequest::Tunnel { protocol: "geneve".to_owned(), udp_port: Some(7000), vni: 5, local };
        assert_eq!(parse("tun0=1,type=geneve,udp=7000,vni=5,local=10.0.0.1").attachment, attachment);
    }

    #[test]
    fn names_what_is_wrong() {
        for text in [
            "",
            "=1",
            "eth1=x",
            "eth1=70000000000",
            "a_name_much_too_long",
            "eth1,colour=red",
            "t,type=gre",
            "t,type=vxlan,device=eth0",
            "t,vni=1",
            "t,type=vxlan,vni=16777216",
            "t,type=vxlan,local=::1",
        ] {
            assert_eq!(text.parse::<PortRequest>().unwrap_err().text, text);
        }
    }
}
