//! The packets that pods and hosts make, by their fields.

use super::End;
use super::host::{Tuple, protocol_number};
use footbridge_openflow::{Field, Key, MacAddr};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Everyone.
pub(super) const BROADCAST: MacAddr = MacAddr([0xff; 6]);
/// What hosts and pods give their packets.
pub(super) const TTL: u128 = 64;
/// The Ethernet type of ARP.
pub(super) const ARP: u128 = 0x0806;
/// And of IPv4.
pub(super) const IPV4: u128 = 0x0800;
/// The flags of the segment that asks for a connection.
pub(super) const SYN: u128 = 0x02;
const SYN_ACK: u128 = 0x12;

/// What a receiver that listens sends back.
pub(super) fn answer(key: &Key) -> Option<Key> {
    let mut answer = Key::default();
    for (field, value) in [
        (Field::EthType, IPV4),
        (Field::NwTtl, TTL),
        (Field::NwProto, key.get(Field::NwProto)),
        (Field::NwSrc, key.get(Field::NwDst)),
        (Field::NwDst, key.get(Field::NwSrc)),
    ] {
        answer.set(field, value);
    }
    match key.get(Field::NwProto) {
        1 if key.get(Field::IcmpType) == 8 => answer.set(Field::IcmpType, 0),
        6 if key.get(Field::TcpFlags) == SYN => answer.set(Field::TcpFlags, SYN_ACK),
        17 | 132 => {}
        _ => return None,
    }
    if key.get(Field::NwProto) != 1 {
        answer.set(Field::TcpSrc, key.get(Field::TcpDst));
        answer.set(Field::TcpDst, key.get(Field::TcpSrc));
    }
    Some(answer)
}

/// Who asks everyone who has an address.
pub(super) fn arp_request(asker: &End, address: Ipv4Addr) -> Key {
    let mut key = Key::default();
    for (field, value) in [
        (Field::EthType, ARP),
        (Field::EthSrc, asker.mac.into()),
        (Field::EthDst, BROADCAST.into()),
        (Field::ArpOp, 1),
        (Field::ArpSha, asker.mac.into()),
        (Field::ArpSpa, u32::from(asker.address).into()),
        (Field::ArpTpa, u32::from(address).into()),
    ] {
        key.set(field, value);
    }
    key
}

/// A packet's ends, of those that kube-proxy translates.
pub(super) fn tuple(key: &Key) -> Option<Tuple> {
    let protocol = key.get(Field::NwProto) as u8;
    ["tcp", "udp", "sctp"].into_iter().any(|name| protocol_number(name) == Some(protocol)).then(|| {
        let end =
            |address, port| SocketAddrV4::new(Ipv4Addr::from(key.get(address) as u32), key.get(port) as u16);
        Tuple {
            protocol,
            source: end(Field::NwSrc, Field::TcpSrc),
            destination: end(Field::NwDst, Field::TcpDst),
        }
    })
}

/// Give a packet these ends.
pub(super) fn write(key: &mut Key, ends: Tuple) {
    for (address, port, end) in
        [(Field::NwSrc, Field::TcpSrc, ends.source), (Field::NwDst, Field::TcpDst, ends.destination)]
    {
        key.set(address, u32::from(*end.ip()).into());
        key.set(port, end.port().into());
    }
}
