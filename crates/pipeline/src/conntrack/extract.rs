//! What a frame is to the tracker: of which connection, and which step of it.

use super::rules::{Icmp, Step, has_ports};
use super::tcp::Segment;
use super::{Endpoint, Tuple};
use crate::packet::{Fragment, Frame, Transport};
use footbridge_openflow::Field;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A packet of a connection; of a later fragment the step is not known.
    Flow { tuple: Tuple, step: Option<Step> },
    /// An ICMP error about a packet of this tuple.
    Error { quoted: Tuple },
    /// Nothing that can be tracked.
    Invalid,
}

/// A frame as the tracker sees it.
pub(super) struct Seen {
    pub(super) class: Class,
    /// The fragment it is, and its addresses.
    pub(super) fragment: Option<(Fragment, IpAddr, IpAddr)>,
}

/// Read a frame.
pub(super) fn classify(frame: &Frame) -> Seen {
    let Some((src, dst)) = addresses(frame) else { return Seen { class: Class::Invalid, fragment: None } };
    let fragment = frame.layers().fragment.map(|fragment| (fragment, src, dst));
    let later = fragment.is_some_and(|(fragment, ..)| fragment.later);
    let class = if later { Class::Invalid } else { whole(frame, src, dst).unwrap_or(Class::Invalid) };
    Seen { class, fragment }
}

fn addresses(frame: &Frame) -> Option<(IpAddr, IpAddr)> {
    let key = frame.key();
    let v4 = |field| IpAddr::V4(Ipv4Addr::from_bits(key.get(field) as u32));
    let v6 = |field| IpAddr::V6(Ipv6Addr::from_bits(key.get(field)));
    match frame.layers().network? {
        crate::packet::Network::Ipv4(_) => Some((v4(Field::NwSrc), v4(Field::NwDst))),
        crate::packet::Network::Ipv6(_) => Some((v6(Field::Ipv6Src), v6(Field::Ipv6Dst))),
        crate::packet::Network::Arp(_) => None,
    }
}

fn whole(frame: &Frame, src: IpAddr, dst: IpAddr) -> Option<Class> {
    let (key, layers) = (frame.key(), frame.layers());
    let proto = key.get(Field::NwProto) as u8;
    let ends = |sport: u16, dport: u16| {
        (Endpoint { address: src, port: sport }, Endpoint { address: dst, port: dport })
    };
    let flow = |(src, dst), icmp_type, step| {
        Some(Class::Flow { tuple: Tuple { proto, icmp_type, src, dst }, step: Some(step) })
    };
    let ports = ends(key.get(Field::TcpSrc) as u16, key.get(Field::TcpDst) as u16);
    let Some((transport, at)) = layers.transport else {
        // A protocol that has no ports here is tracked by its addresses; one that has and could not
        // be read is broken.
        return if has_ports(proto) || proto == 0 { None } else { flow(ends(0, 0), 0, Step::Datagram) };
    };
    let rest = frame.bytes().get(at..layers.end)?;
    // Port 0 is none (RFC 6335 §6).
    let has_port_0 = ports.0.port == 0 || ports.1.port == 0;
    match transport {
        Transport::Tcp | Transport::Udp if has_port_0 => None,
        Transport::Tcp => flow(ports, 0, Step::Tcp(Segment::of(key.get(Field::TcpFlags) as u16)?)),
        Transport::Udp => {
            let length = usize::from(word(rest, 4)?);
            // A first fragment's length is that of the whole datagram.
            let fits = layers.fragment.is_some() || length <= rest.len();
            if length < 8 || !fits { None } else { flow(ports, 0, Step::Datagram) }
        }
        Transport::Sctp => flow(ports, 0, Step::Datagram),
        Transport::Icmp | Transport::Icmpv6 => {
            let v6 = transport == Transport::Icmpv6;
            // ICMP in the other version of IP is none.
            if v6 != src.is_ipv6() {
                return None;
            }
            if Icmp::of(v6, rest[0]) == Icmp::Error {
                // It goes to whoever sent the packet that it quotes.
                let quoted = quoted(v6, rest.get(8..)?).filter(|quoted| quoted.src.address == dst)?;
                return Some(Class::Error { quoted });
            }
            let step = icmp_step(v6, rest)?;
            let id = word(rest, 4)?;
            flow(ends(id, id), rest[0], step)
        }
    }
}

/// The tuple of the packet that an ICMP error quotes: its IP header and at least 8 bytes more.
fn quoted(v6: bool, packet: &[u8]) -> Option<Tuple> {
    let (proto, src, dst, payload) = if v6 {
        let header = packet.get(..40)?;
        let address = |at: usize| -> Option<IpAddr> {
            let bytes: [u8; 16] = header.get(at..at + 16)?.try_into().ok()?;
            Some(IpAddr::V6(bytes.into()))
        };
        let (proto, at) = quoted_extensions(packet, header[6])?;
        (proto, address(8)?, address(24)?, packet.get(at..)?)
    } else {
        let header = packet.get(..20)?;
        let len = usize::from(header[0] & 0x0f) * 4;
        // Of a later fragment the ports are not there.
        if len < 20 || word(header, 6)? & 0x1fff != 0 {
            return None;
        }
        let address = |at: usize| -> Option<IpAddr> {
            let bytes: [u8; 4] = header.get(at..at + 4)?.try_into().ok()?;
            Some(IpAddr::V4(bytes.into()))
        };
        (header[9], address(12)?, address(16)?, packet.get(len..)?)
    };
    let ends = |sport: u16, dport: u16| {
        (Endpoint { address: src, port: sport }, Endpoint { address: dst, port: dport })
    };
    let is_icmp = proto == if v6 { 58 } else { 1 };
    let ((src, dst), icmp_type) = if is_icmp {
        let (id, kind) = (word(payload, 4)?, *payload.first()?);
        icmp_step(v6, payload)?;
        (ends(id, id), kind)
    } else if has_ports(proto) {
        (ends(word(payload, 0)?, word(payload, 2)?), 0)
    } else {
        (ends(0, 0), 0)
    };
    Some(Tuple { proto, icmp_type, src, dst })
}

fn quoted_extensions(packet: &[u8], first: u8) -> Option<(u8, usize)> {
    let (mut proto, mut at) = (first, 40);
    loop {
        let len = match proto {
            0 | 43 | 60 => (usize::from(*packet.get(at + 1)?) + 1) * 8,
            51 => (usize::from(*packet.get(at + 1)?) + 2) * 4,
            44 if word(packet, at + 2)? & 0xfff8 == 0 => 8,
            44 => return None,
            _ => return Some((proto, at)),
        };
        proto = *packet.get(at)?;
        at += len;
    }
}

/// The step that an ICMP message is, if it is one of those that ask and answer.
fn icmp_step(v6: bool, message: &[u8]) -> Option<Step> {
    let [kind, code] = *message.first_chunk()?;
    match Icmp::of(v6, kind) {
        _ if code != 0 => None,
        Icmp::Request { .. } => Some(Step::Datagram),
        Icmp::Reply { .. } => Some(Step::Reply),
        Icmp::Error | Icmp::Other => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_be_bytes)
}
