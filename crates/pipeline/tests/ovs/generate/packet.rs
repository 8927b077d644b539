//! Packets, by their fields and as frames.

use super::{MACS, Palette, UNDERLAY};
use crate::instance::{GENEVE, VXLAN};
use crate::random::Random;
use footbridge_openflow::{Field, Field::*, Key};
use footbridge_pipeline::packet;

/// A packet that comes in.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) in_port: u32,
    /// Its fields, those that only `ofproto/trace` can set too.
    pub(crate) key: Key,
    /// The frame, which may say other things than the fields.
    pub(crate) frame: Vec<u8>,
    /// Whether what is sent is to be compared now, not with what the next frame makes.
    pub(crate) last: bool,
}

/// Packets of all kinds.
pub(crate) fn packets(random: &mut Random, palette: Palette, count: u64) -> Vec<Input> {
    (0..count)
        .map(|_| {
            let mut key = ethernet(random);
            let in_port = 1 + random.below(3) as u32;
            key.set(InPortOxm, in_port.into());
            if palette.metadata {
                metadata(random, &mut key, palette);
            }
            let mut frame = packet::compose(&key);
            if palette.odd_frames && random.one_in(2) {
                distort(random, &mut frame);
            }
            Input { in_port, key, frame, last: true }
        })
        .collect()
}

/// Packets of which some come out of tunnels.
pub(crate) fn tunnelled(random: &mut Random, palette: Palette, count: u64) -> Vec<Input> {
    let mut inputs = packets(random, palette, count);
    for input in &mut inputs {
        if random.one_in(2) {
            continue;
        }
        input.in_port = random.pick(&[VXLAN, GENEVE]);
        let key = &mut input.key;
        key.set(InPortOxm, input.in_port.into());
        key.set(TunId, random.below(4).into());
        if random.one_in(4) {
            key.set(TunIpv6Src, (0xfd00 << 112) | random.below(3) as u128);
            key.set(TunIpv6Dst, (0xfd00 << 112) | random.below(3) as u128 | 4);
        } else {
            key.set(TunSrc, random.pick(&UNDERLAY).into());
            key.set(TunDst, random.pick(&UNDERLAY).into());
        }
        if input.in_port == GENEVE && random.one_in(2) {
            key.set(TunMetadata0, random.below(4).into());
        }
        if input.in_port == VXLAN && random.one_in(3) {
            key.set(TunGbpId, random.below(4).into());
            key.set(TunGbpFlags, random.pick(&[0, 0x08, 0x40]));
        }
        if random.one_in(4) {
            key.set(TunFlags, 1);
        }
    }
    inputs
}

/// IPv4 packets with TTLs around the limits.
pub(crate) fn counting(random: &mut Random, _: Palette, count: u64) -> Vec<Input> {
    (0..count)
        .map(|at| {
            let mut key = Key::default();
            let in_port = 1 + random.below(3) as u32;
            for (field, value) in [(InPortOxm, in_port.into()), (EthType, 0x0800), (NwProto, 17)] {
                key.set(field, value);
            }
            key.set(NwTtl, u128::from(random.pick(&[60, 120]) + at % 12));
            let frame = packet::compose(&key);
            Input { in_port, key, frame, last: true }
        })
        .collect()
}

fn ethernet(random: &mut Random) -> Key {
    let mut key = Key::default();
    key.set(EthSrc, random.pick(&MACS[..2]).into());
    key.set(EthDst, random.pick(&MACS).into());
    if random.one_in(3) {
        let (pcp, vid) = (random.pick(&[0, 0, 3, 7]), random.pick(&[0u128, 5, 5, 6]));
        key.set(VlanTci, 0x1000 | (pcp << 13) | vid);
    }
    match random.below(12) {
        0..=4 => ipv4(random, &mut key),
        5..=8 => ipv6(random, &mut key),
        9 | 10 => arp(random, &mut key),
        _ => key.set(EthType, random.pick(&[0x88cc, 0x0700, 0x22f0])),
    }
    key
}

fn arp(random: &mut Random, key: &mut Key) {
    key.set(EthType, random.pick(&[0x0806, 0x0806, 0x8035]));
    key.set(ArpOp, random.pick(&[1, 1, 2, 3]));
    for field in [ArpSpa, ArpTpa] {
        key.set(field, ipv4_address(random));
    }
    for field in [ArpSha, ArpTha] {
        key.set(field, random.pick(&MACS).into());
    }
}

fn ipv4_address(random: &mut Random) -> u128 {
    u128::from(0x0a00_0000 | random.pick(&[0u64, 1, 1, 2, 2, 3, 0x1_0001, 0x100]))
}

fn ipv6_address(random: &mut Random) -> u128 {
    (random.pick(&[0xfd00_u128, 0xfd00, 0xfe80]) << 112) | u128::from(random.below(4))
}

fn ip(random: &mut Random, key: &mut Key) {
    key.set(NwTtl, random.pick(&[0, 1, 2, 64, 64, 64, 255]));
    key.set(NwTos, random.pick(&[0, 0, 1, 3, 0x48, 0xb8, 0xff]));
}

fn ipv4(random: &mut Random, key: &mut Key) {
    key.set(EthType, 0x0800);
    key.set(NwSrc, ipv4_address(random));
    key.set(NwDst, ipv4_address(random));
    ip(random, key);
    let proto = random.pick(&[6, 6, 17, 17, 132, 1, 1, 47, 2]);
    key.set(NwProto, proto);
    fragment(random, key);
    match proto {
        6 | 17 | 132 => ports(random, key),
        1 => {
            key.set(IcmpType, random.pick(&[8, 8, 0, 3, 13]));
            key.set(IcmpCode, random.pick(&[0, 0, 1]));
        }
        _ => {}
    }
    forget_behind_fragments(key);
}

fn ipv6(random: &mut Random, key: &mut Key) {
    key.set(EthType, 0x86dd);
    key.set(Ipv6Src, ipv6_address(random));
    key.set(Ipv6Dst, ipv6_address(random));
    key.set(Ipv6Label, random.pick(&[0, 0, 5, 0xfffff]));
    ip(random, key);
    let proto = random.pick(&[6, 6, 17, 17, 132, 58, 58, 58, 47]);
    key.set(NwProto, proto);
    if proto != 58 {
        fragment(random, key);
    }
    match proto {
        6 | 17 | 132 => ports(random, key),
        58 => {
            let kind = random.pick(&[128, 129, 1, 135, 135, 136]);
            key.set(Icmpv6Type, kind);
            if matches!(kind, 135 | 136) {
                let address = if kind == 135 { NdSll } else { NdTll };
                key.set(NdTarget, ipv6_address(random));
                key.set(address, random.pick(&MACS).into());
                key.set(NdOptionsType, kind - 134);
                key.set(NdReserved, random.pick(&[0, 0xe000_0000]));
            }
        }
        _ => {}
    }
    forget_behind_fragments(key);
}

/// Of later TCP and ICMP fragments Open vSwitch writes what would be the checksum and the type.
fn fragment(random: &mut Random, key: &mut Key) {
    let later = key.get(EthType) == 0x86dd || !matches!(key.get(NwProto), 1 | 6);
    key.set(IpFrag, random.pick(&[0, 0, 0, 1, if later { 3 } else { 1 }]));
}

/// A later fragment has no ports; its protocol in IPv6 is the fragment header's number.
fn forget_behind_fragments(key: &mut Key) {
    if key.get(IpFrag) & 2 == 0 {
        return;
    }
    if key.get(EthType) == 0x86dd {
        key.set(NwProto, 44);
    }
    for field in [TcpSrc, TcpDst, TcpFlags, IcmpType, IcmpCode] {
        key.set(field, 0);
    }
}

fn ports(random: &mut Random, key: &mut Key) {
    key.set(TcpSrc, random.pick(&[9, 53, 4000]));
    key.set(TcpDst, random.pick(&[9, 53, 80]));
    if key.get(NwProto) == 6 {
        key.set(TcpFlags, random.pick(&[0x02, 0x12, 0x10, 0x11, 0x18, 0x04, 0x1c2]));
    }
}

fn metadata(random: &mut Random, key: &mut Key, palette: Palette) {
    for field in [Reg0, Reg1, Reg2, Reg3, Reg4, Reg7, Reg8, Reg15] {
        if random.one_in(3) {
            key.set(field, if random.one_in(4) { random.bits(32) } else { random.below(8).into() });
        }
    }
    for (field, width) in [(Metadata, 64), (PktMark, 32), (TunId, 64)] {
        if random.one_in(3) {
            let wide = random.one_in(3);
            key.set(field, if wide { random.bits(width) } else { random.below(8).into() });
        }
    }
    // Where ct() is, the trace of the copy that it makes keeps what the packet came with.
    if !palette.tracking && random.one_in(2) {
        connection(random, key);
    }
}

/// As if it had gone through ct() before.
fn connection(random: &mut Random, key: &mut Key) {
    let state = random.pick(&[0x21, 0x22, 0x2a, 0x24, 0x2c, 0x30]);
    key.set(CtState, state);
    key.set(CtZone, random.below(3).into());
    key.set(CtMark, random.below(4).into());
    key.set(CtLabel, if random.one_in(3) { random.bits(128) } else { random.below(4).into() });
    let original: &[(Field, Field)] = match key.get(EthType) {
        0x0800 => &[(CtNwSrc, NwSrc), (CtNwDst, NwDst)],
        0x86dd => &[(CtIpv6Src, Ipv6Src), (CtIpv6Dst, Ipv6Dst)],
        _ => return,
    };
    if matches!(state, 0x30 | 0x24) {
        // Without an original direction.
        return;
    }
    for (field, of) in original {
        let value = if random.one_in(3) { key.get(*of) ^ 3 } else { key.get(*of) };
        key.set(*field, value);
    }
    key.set(CtNwProto, key.get(NwProto));
    if matches!(key.get(NwProto), 6 | 17) {
        key.set(CtTpSrc, key.get(TcpSrc));
        key.set(CtTpDst, random.pick(&[9, 53, 80]));
    }
}

/// Make a frame lie, end early, or hold what `compose` does not make.
fn distort(random: &mut Random, frame: &mut Vec<u8>) {
    distort_once(random, frame);
    // Of packets of protocol 0, and ARP of operation 0, Open vSwitch writes no header.
    for at in [14, 18] {
        match frame.get_mut(at - 2..) {
            Some([8, 0, header @ ..]) if header.len() > 9 => header[9] = header[9].max(1),
            Some([8, 6, header @ ..]) if header.len() > 7 => header[7] = header[7].max(1),
            _ => {}
        }
    }
}

fn distort_once(random: &mut Random, frame: &mut Vec<u8>) {
    let behind_addresses = |random: &mut Random, frame: &[u8]| {
        let headers = (frame.len() as u64).min(90) - 12;
        12 + random.below(headers) as usize
    };
    let ip = if frame.len() > 34 && frame[12..15] == [8, 0, 0x45] { Some(14) } else { None };
    match (random.below(9), ip) {
        (0 | 1, _) => {
            let at = behind_addresses(random, frame);
            frame[at] ^= 1 << random.below(8);
        }
        (2, _) => {
            let at = behind_addresses(random, frame);
            frame[at] = random.next() as u8;
        }
        (3, _) => frame.truncate(14 + random.below(60) as usize),
        // Behind the packet, padding; as much as Ethernet's minimum, and more.
        (4, _) => frame.resize(frame.len() + random.below(30) as usize, 0xaa),
        // A second tag, outside.
        (5, _) => {
            let tag = random.pick(&[[0x81, 0x00, 0x60, 0x05], [0x88, 0xa8, 0x00, 0x07]]);
            frame.splice(12..12, tag);
        }
        // IP options.
        (6, Some(at)) => {
            frame[at] = 0x46;
            let total = u16::from_be_bytes([frame[at + 2], frame[at + 3]]) + 4;
            frame[at + 2..at + 4].copy_from_slice(&total.to_be_bytes());
            frame.splice(at + 20..at + 20, [1, 1, 1, 0]);
        }
        // IPv6 extension headers: options for every hop, a route, options for the destination.
        (6, None) if frame.len() > 54 && frame[12..15] == [0x86, 0xdd, 0x60] => {
            let next = frame[20];
            let header = random.pick(&[
                (0, [next, 0, 1, 4, 0, 0, 0, 0]),
                (43, [next, 0, 0, 0, 0, 0, 0, 0]),
                (43, [next, 0, 4, 1, 0, 0, 0, 0]),
                (60, [next, 0, 1, 4, 0, 0, 0, 0]),
            ]);
            frame[20] = header.0;
            let payload = u16::from_be_bytes([frame[18], frame[19]]) + 8;
            frame[18..20].copy_from_slice(&payload.to_be_bytes());
            frame.splice(54..54, header.1);
        }
        // 802.3: a length for a type, with and without SNAP.
        (7, _) => {
            let llc: &[u8] = random.pick(&[
                &[0x00, 0x26, 0x42, 0x42, 0x03, 0, 0, 0],
                &[0x00, 0x40, 0xaa, 0xaa, 0x03, 0, 0, 0],
                &[0x00, 0x40, 0xaa, 0xaa, 0x03, 0, 0, 1],
            ]);
            frame.splice(12..12, llc.iter().copied());
        }
        // UDP without checksum, and with a wrong one.
        (_, Some(at)) if frame.len() > 42 && frame[at + 9] == 17 => {
            let sum = if random.one_in(2) { [0, 0] } else { [0x12, 0x34] };
            frame[at + 26..at + 28].copy_from_slice(&sum);
        }
        _ => frame.extend([0; 6]),
    }
}
