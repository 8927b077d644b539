//! Frames made from keys, for walks that start from fields rather than from a frame.

use super::checksum;
use super::parse::{
    ETH_TYPE_ARP, ETH_TYPE_IPV4, ETH_TYPE_IPV6, ETH_TYPE_RARP, ETH_TYPE_VLAN, FRAG_ANY, FRAG_LATER,
    IPPROTO_FRAGMENT, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP, ND_OPT_SLL,
    ND_OPT_TLL, VLAN_PRESENT,
};
use footbridge_openflow::{Field, Key, MacAddr};

/// Payload bytes behind the last header that the key describes.
const PAYLOAD: usize = 64;

/// A frame with the fields of `key`: its lengths and checksums are right, its payload is zeros.
///
/// Reading it gives the packet fields of `key` back where they make a packet: fields of layers that
/// the lower layers do not announce are lost.
pub fn compose(key: &Key) -> Vec<u8> {
    let number = |field| key.get(field);
    let mut frame = Vec::with_capacity(160);
    frame.extend(MacAddr::from(number(Field::EthDst)).0);
    frame.extend(MacAddr::from(number(Field::EthSrc)).0);
    let tci = number(Field::VlanTci) as u16;
    if tci & VLAN_PRESENT != 0 {
        frame.extend(ETH_TYPE_VLAN.to_be_bytes());
        frame.extend((tci & !VLAN_PRESENT).to_be_bytes());
    }
    let eth_type = number(Field::EthType) as u16;
    frame.extend(eth_type.to_be_bytes());
    match eth_type {
        ETH_TYPE_IPV4 => frame.extend(ipv4(key)),
        ETH_TYPE_IPV6 => frame.extend(ipv6(key)),
        ETH_TYPE_ARP | ETH_TYPE_RARP => {
            frame.extend([0, 1, 8, 0, 6, 4]);
            frame.extend((number(Field::ArpOp) as u16).to_be_bytes());
            for (mac, ip) in [(Field::ArpSha, Field::ArpSpa), (Field::ArpTha, Field::ArpTpa)] {
                frame.extend(MacAddr::from(number(mac)).0);
                frame.extend((number(ip) as u32).to_be_bytes());
            }
        }
        _ => frame.resize(frame.len() + PAYLOAD, 0),
    }
    frame
}

fn ipv4(key: &Key) -> Vec<u8> {
    let proto = key.get(Field::NwProto) as u8;
    let addresses: [[u8; 4]; 2] = [Field::NwSrc, Field::NwDst].map(|f| (key.get(f) as u32).to_be_bytes());
    let body = transport(key, proto, &addresses.concat());
    let fragment: u16 = match key.get(Field::IpFrag) {
        0 => 0,
        FRAG_ANY => 0x2000,
        _ => 0x0064,
    };
    let mut header = vec![0x45, key.get(Field::NwTos) as u8];
    header.extend(((20 + body.len()) as u16).to_be_bytes());
    header.extend([0, 0]);
    header.extend(fragment.to_be_bytes());
    header.extend([key.get(Field::NwTtl) as u8, proto, 0, 0]);
    header.extend(addresses.concat());
    let sum = !checksum::sum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header.extend(body);
    header
}

fn ipv6(key: &Key) -> Vec<u8> {
    let proto = key.get(Field::NwProto) as u8;
    let addresses: [[u8; 16]; 2] = [Field::Ipv6Src, Field::Ipv6Dst].map(|f| key.get(f).to_be_bytes());
    let frag = key.get(Field::IpFrag);
    let (next, mut body) = if frag == 0 {
        (proto, transport(key, proto, &addresses.concat()))
    } else {
        let later = frag & FRAG_LATER != 0;
        let inner = if later { 0 } else { proto };
        let mut fragment = vec![if later { IPPROTO_UDP } else { inner }, 0];
        fragment.extend(if later { 0x0321_u16 } else { 1 }.to_be_bytes());
        fragment.extend([0; 4]);
        fragment.extend(transport(key, inner, &addresses.concat()));
        (IPPROTO_FRAGMENT, fragment)
    };
    let first = (6u32 << 28) | ((key.get(Field::NwTos) as u32) << 20) | key.get(Field::Ipv6Label) as u32;
    let mut header = first.to_be_bytes().to_vec();
    header.extend((body.len() as u16).to_be_bytes());
    header.extend([next, key.get(Field::NwTtl) as u8]);
    header.extend(addresses.concat());
    header.append(&mut body);
    header
}

fn transport(key: &Key, proto: u8, addresses: &[u8]) -> Vec<u8> {
    if key.get(Field::IpFrag) & FRAG_LATER != 0 {
        return vec![0; PAYLOAD];
    }
    let port = |field| (key.get(field) as u16).to_be_bytes();
    let mut body = Vec::with_capacity(PAYLOAD + 20);
    let sum_at = match proto {
        IPPROTO_TCP => {
            body.extend([port(Field::TcpSrc), port(Field::TcpDst)].concat());
            body.extend([0; 8]);
            body.extend((0x5000 | key.get(Field::TcpFlags) as u16).to_be_bytes());
            body.extend([0; 6]);
            16
        }
        IPPROTO_UDP => {
            body.extend([port(Field::UdpSrc), port(Field::UdpDst)].concat());
            body.extend(((8 + PAYLOAD) as u16).to_be_bytes());
            body.extend([0; 2]);
            6
        }
        IPPROTO_SCTP => {
            body.extend([port(Field::SctpSrc), port(Field::SctpDst)].concat());
            body.extend([0; 8]);
            body.resize(body.len() + PAYLOAD, 0);
            let crc = checksum::crc32c(&[&body]).to_le_bytes();
            body[8..12].copy_from_slice(&crc);
            return body;
        }
        IPPROTO_ICMP => {
            body.extend([key.get(Field::IcmpType) as u8, key.get(Field::IcmpCode) as u8]);
            body.extend([0; 6]);
            2
        }
        IPPROTO_ICMPV6 => {
            let (kind, code) = (key.get(Field::Icmpv6Type) as u8, key.get(Field::Icmpv6Code) as u8);
            body.extend([kind, code, 0, 0]);
            if matches!(kind, 135 | 136) && code == 0 {
                body.extend((key.get(Field::NdReserved) as u32).to_be_bytes());
                body.extend(key.get(Field::NdTarget).to_be_bytes());
                for (field, option) in [(Field::NdSll, ND_OPT_SLL), (Field::NdTll, ND_OPT_TLL)] {
                    let mac = key.get(field);
                    if mac != 0 || key.get(Field::NdOptionsType) as u8 == option {
                        body.extend([option, 1]);
                        body.extend(MacAddr::from(mac).0);
                    }
                }
                finish(&mut body, 2, proto, Some(addresses));
                return body;
            }
            body.extend([0; 4]);
            2
        }
        _ => {
            body.resize(PAYLOAD, 0);
            return body;
        }
    };
    body.resize(body.len() + PAYLOAD, 0);
    finish(&mut body, sum_at, proto, (proto != IPPROTO_ICMP).then_some(addresses));
    body
}

/// Put the checksum in, with the pseudo-header's addresses where it has one.
fn finish(body: &mut [u8], sum_at: usize, proto: u8, addresses: Option<&[u8]>) {
    let mut sum = checksum::sum(body);
    if let Some(addresses) = addresses {
        sum = checksum::add(sum, checksum::sum(addresses));
        sum = checksum::add(sum, checksum::add(proto.into(), body.len() as u16));
    }
    let sum = if sum == 0xffff && proto == IPPROTO_UDP { sum } else { !sum };
    body[sum_at..sum_at + 2].copy_from_slice(&sum.to_be_bytes());
}
