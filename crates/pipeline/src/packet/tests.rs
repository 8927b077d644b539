use super::checksum;
use super::frame::Frame;
use super::*;
use proptest::prelude::*;

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

fn frame(parts: &[&[u8]]) -> Vec<u8> {
    [&MACS[..]].into_iter().chain(parts.iter().copied()).flatten().copied().collect()
}

fn read(bytes: &[u8]) -> Key {
    parse(bytes, PortNo(7), &TunnelKey::default())
}

/// A 20-byte IPv4 header without options.
fn ipv4(total: u16, fragment: u16, proto: u8) -> Vec<u8> {
    let ([a, b], [c, d]) = (total.to_be_bytes(), fragment.to_be_bytes());
    vec![0x45, 0, a, b, 0, 9, c, d, 64, proto, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
}

const UDP: [u8; 8] = [0x10, 0, 0, 53, 0, 8, 0, 0];

#[test]
fn reads_the_ethernet_type_behind_one_tag_of_either_kind() {
    for tpid in [[0x81, 0], [0x88, 0xa8]] {
        let key = read(&frame(&[&tpid, &[0x60, 5], &[8, 0], &ipv4(28, 0, 17), &UDP]));
        assert_eq!(key.get(Field::VlanTci), 0x7005);
        assert_eq!(key.get(Field::EthType), 0x0800);
        assert_eq!(key.get(Field::UdpDst), 53);
    }
}

#[test]
fn reads_only_one_tag() {
    let key = read(&frame(&[&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0], &ipv4(28, 0, 17), &UDP]));
    assert_eq!((key.get(Field::VlanTci), key.get(Field::EthType)), (0x1005, 0x8100));
    assert_eq!(key.get(Field::NwProto), 0);
}

#[test]
fn a_tag_cut_off_is_no_tag() {
    let key = read(&frame(&[&[0x81, 0, 0, 5]]));
    assert_eq!((key.get(Field::VlanTci), key.get(Field::EthType)), (0, 0x8100));
}

#[test]
fn reads_the_type_in_snap_and_none_in_other_802_3_frames() {
    let snap = read(&frame(&[&[0, 40, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &ipv4(28, 0, 17), &UDP]));
    assert_eq!((snap.get(Field::EthType), snap.get(Field::UdpDst)), (0x0800, 53));
    let llc = read(&frame(&[&[0, 40, 0x42, 0x42, 3, 0, 0, 0, 8, 0]]));
    assert_eq!(llc.get(Field::EthType), 0x05ff);
}

#[test]
fn reads_arp_only_of_ethernet_and_ipv4_and_opcodes_of_one_byte() {
    let arp = |start: [u8; 8]| {
        read(&frame(&[&[8, 6], &start, &[2, 2, 2, 2, 2, 2, 10, 0, 0, 1], &[0; 6], &[10, 0, 0, 2]]))
    };
    let good = arp([0, 1, 8, 0, 6, 4, 0, 1]);
    assert_eq!((good.get(Field::ArpOp), good.get(Field::ArpTpa)), (1, 0x0a00_0002));
    let wide = arp([0, 1, 8, 0, 6, 4, 1, 1]);
    assert_eq!((wide.get(Field::ArpOp), wide.get(Field::ArpTpa)), (0, 0x0a00_0002));
    let lengths = arp([0, 1, 8, 0, 8, 4, 0, 1]);
    assert_eq!((lengths.get(Field::ArpOp), lengths.get(Field::ArpTpa)), (0, 0));
}

#[test]
fn later_fragments_have_no_ports() {
    let first = read(&frame(&[&[8, 0], &ipv4(28, 0x2000, 17), &UDP]));
    assert_eq!((first.get(Field::IpFrag), first.get(Field::UdpDst)), (1, 53));
    let later = read(&frame(&[&[8, 0], &ipv4(28, 0x2001, 17), &UDP]));
    assert_eq!((later.get(Field::IpFrag), later.get(Field::UdpDst), later.get(Field::NwProto)), (3, 0, 17));
}

#[test]
fn an_ip_header_that_lies_about_lengths_reads_as_nothing() {
    let too_long = read(&frame(&[&[8, 0], &ipv4(29, 0, 17), &UDP]));
    assert_eq!((too_long.get(Field::NwSrc), too_long.get(Field::EthType)), (0, 0x0800));
    let mut short_header = ipv4(28, 0, 17);
    short_header[0] = 0x44;
    assert_eq!(read(&frame(&[&[8, 0], &short_header, &UDP])).get(Field::NwSrc), 0);
}

#[test]
fn padding_is_not_payload() {
    let key = read(&frame(&[&[8, 0], &ipv4(24, 0, 17), &UDP, &[0; 30]]));
    assert_eq!((key.get(Field::NwProto), key.get(Field::UdpDst)), (17, 0));
}

#[test]
fn finds_tcp_behind_ip_options_and_ipv6_extension_headers() {
    let tcp = [0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0];
    let mut options = ipv4(44, 0, 6);
    options[0] = 0x46;
    let key = read(&frame(&[&[8, 0], &options, &[1, 1, 1, 0], &tcp]));
    assert_eq!((key.get(Field::TcpDst), key.get(Field::TcpFlags)), (2, 0x12));
    let mut v6 = vec![0x60, 0, 0, 0, 0, 44, 0, 64];
    v6.extend([1; 32]);
    let extensions = [60, 0, 1, 4, 0, 0, 0, 0, 44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 1, 0, 0, 0, 9];
    let key = read(&frame(&[&[0x86, 0xdd], &v6, &extensions, &tcp]));
    assert_eq!((key.get(Field::NwProto), key.get(Field::TcpDst), key.get(Field::IpFrag)), (6, 2, 1));
}

/// A valid frame: kind, tag or none, ports or type and code, payload.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![
        Just((4, 6)),
        Just((4, 17)),
        Just((4, 132)),
        Just((4, 1)),
        Just((4, 50)),
        Just((6, 6)),
        Just((6, 17)),
        Just((6, 58)),
        Just((6, 132)),
        Just((0, 0))
    ];
    (kinds, any::<Option<u16>>(), any::<[u32; 6]>(), 0u8..4, any::<u128>()).prop_map(
        |((version, proto), tag, words, frag, wide)| {
            let mut key = Key::default();
            let mut set = |field: Field, value: u128| key.set(field, value);
            set(Field::EthSrc, wide >> 7);
            set(Field::EthDst, wide >> 60);
            if let Some(tag) = tag {
                set(Field::VlanTci, u128::from(tag | 0x1000));
            }
            set(Field::EthType, [0x0806, 0x0800, 0x86dd][(version / 2_usize).saturating_sub(1)]);
            if version == 0 {
                set(Field::ArpOp, u128::from(words[0] & 0xff));
                set(Field::ArpSpa, words[1].into());
                set(Field::ArpSha, wide);
            } else {
                let (src, dst) = if version == 4 {
                    (Field::NwSrc, Field::NwDst)
                } else {
                    (Field::Ipv6Src, Field::Ipv6Dst)
                };
                set(src, wide & src.all_ones());
                set(dst, u128::from(words[2]));
                set(Field::NwProto, proto);
                set(Field::NwTtl, u128::from(words[3] & 0xff));
                set(Field::NwTos, u128::from(words[3] >> 8 & 0xff));
                // Neighbour discovery now and then.
                let (first, second) =
                    if proto == 58 && words[4] & 1 == 1 { (135, 0) } else { (words[4], words[5]) };
                set(if proto == 1 || proto == 58 { Field::IcmpType } else { Field::TcpSrc }, first.into());
                set(if proto == 1 || proto == 58 { Field::IcmpCode } else { Field::TcpDst }, second.into());
                set(Field::TcpFlags, if proto == 6 { u128::from(words[0] & 0xfff) } else { 0 });
                set(Field::IpFrag, if frag == 1 { 1 } else { 0 });
                if first == 135 && second == 0 && proto == 58 {
                    set(Field::NdTarget, wide);
                    set(Field::NdSll, wide | 1);
                    set(Field::NdOptionsType, 1);
                }
            }
            compose(&key)
        },
    )
}

/// A valid frame with some bytes changed, and cut or lengthened.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    (
        valid(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(mut bytes, changes, cut)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let len = cut.index(bytes.len() * 2);
            bytes.truncate(len.max(1));
            bytes
        })
}

fn packet_fields() -> impl Strategy<Value = Vec<(Field, u128)>> {
    let fields: Vec<Field> = Field::all().filter(|f| is_packet_field(*f) && f.info().writable).collect();
    prop::collection::vec((prop::sample::select(fields), any::<u128>()), 1..8)
}

fn transport_valid(bytes: &[u8]) -> Option<bool> {
    let (key, layers) = super::parse::parse(bytes);
    if key.get(Field::IpFrag) != 0 {
        return None;
    }
    let (transport, at) = layers.transport?;
    let body = &bytes[at..layers.end];
    let pseudo = match layers.network? {
        Network::Ipv4(at) => &bytes[at + 12..at + 20],
        Network::Ipv6(at) => &bytes[at + 8..at + 40],
        Network::Arp(_) => return None,
    };
    let proto = key.get(Field::NwProto) as u16;
    let with_pseudo = || {
        let header = checksum::add(checksum::sum(pseudo), checksum::add(proto, body.len() as u16));
        checksum::add(header, checksum::sum(body)) == 0xffff
    };
    Some(match transport {
        Transport::Icmp => checksum::sum(body) == 0xffff,
        Transport::Sctp => checksum::crc32c(&[&body[..8], &[0; 4], &body[12..]]).to_le_bytes() == body[8..12],
        Transport::Tcp | Transport::Udp | Transport::Icmpv6 => with_pseudo(),
    })
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
    }

    #[test]
    fn reading_a_damaged_frame_never_panics(bytes in mutated()) {
        read(&bytes);
    }

    #[test]
    fn a_frame_written_with_its_own_fields_is_unchanged(bytes in mutated()) {
        let mut frame = Frame::new(bytes.clone());
        let key = frame.key().clone();
        frame.write(&key);
        prop_assert_eq!(frame.bytes(), &bytes[..]);
    }

    #[test]
    fn writing_never_panics_and_keeps_the_length(bytes in mutated(), writes in packet_fields()) {
        let mut frame = Frame::new(bytes.clone());
        let mut key = frame.key().clone();
        for (field, value) in writes {
            key.set(field, value);
        }
        frame.write(&key);
        let tags = frame.bytes().len().abs_diff(bytes.len());
        prop_assert!(tags == 0 || tags == 4);
    }

    #[test]
    fn what_is_written_is_read_back(bytes in valid(), macs in any::<u128>(), words in any::<[u32; 4]>()) {
        let mut frame = Frame::new(bytes);
        let mut key = frame.key().clone();
        key.set(Field::EthSrc, macs);
        key.set(Field::EthDst, macs >> 30);
        let mut fields = match key.get(Field::EthType) {
            0x0800 => vec![Field::NwSrc, Field::NwDst, Field::NwTtl, Field::NwTos],
            0x86dd => vec![Field::Ipv6Src, Field::Ipv6Dst, Field::NwTtl, Field::NwTos, Field::Ipv6Label],
            _ => vec![Field::ArpSpa, Field::ArpTpa, Field::ArpSha, Field::ArpTha],
        };
        match key.get(Field::NwProto) {
            6 | 17 | 132 => fields.extend([Field::TcpSrc, Field::TcpDst]),
            58 if key.get(Field::NdTarget) != 0 => fields.extend([Field::NdTarget, Field::NdSll]),
            _ => {}
        }
        for (field, word) in fields.into_iter().zip(words.into_iter().cycle()) {
            key.set(field, u128::from(word) * 0x1_0001_0001);
        }
        key.set(Field::VlanTci, u128::from(words[0] | 0x1000));
        frame.write(&key);
        prop_assert_eq!(&super::parse::parse(frame.bytes()).0, &key);
    }

    #[test]
    fn checksums_that_were_right_stay_right(bytes in valid(), writes in packet_fields()) {
        let before = transport_valid(&bytes);
        let mut frame = Frame::new(bytes);
        let mut key = frame.key().clone();
        // A type that makes it neighbour discovery, or no longer so, is another message.
        let kept = [Field::IcmpType, Field::IcmpCode, Field::VlanTci];
        for (field, value) in writes {
            key.set(field, value);
        }
        for field in kept {
            key.set(field, frame.key().get(field));
        }
        frame.write(&key);
        prop_assert_ne!(before, Some(false));
        prop_assert_eq!(transport_valid(frame.bytes()), before);
        if let (_, super::parse::Layers { network: Some(Network::Ipv4(at)), .. }) = super::parse::parse(frame.bytes()) {
            prop_assert_eq!(checksum::sum(&frame.bytes()[at..at + 20]), 0xffff);
        }
    }
}

#[test]
fn a_udp_checksum_of_zero_stays_zero() {
    let mut frame = Frame::new(frame(&[&[8, 0], &ipv4(28, 0, 17), &UDP]));
    let mut key = frame.key().clone();
    key.set(Field::NwDst, 0x0b00_0001);
    key.set(Field::UdpDst, 99);
    frame.write(&key);
    assert_eq!(frame.bytes()[40..42], [0, 0]);
}

#[test]
fn a_udp_checksum_never_becomes_zero() {
    // The checksum moves by the change of one word: choose the word that would bring it to 0.
    for port in 0..=u16::MAX {
        let mut bytes = frame(&[&[8, 0], &ipv4(28, 0, 17), &UDP]);
        bytes[40..42].copy_from_slice(&[0x12, 0x34]);
        let mut frame = Frame::new(bytes);
        let mut key = frame.key().clone();
        key.set(Field::UdpDst, port.into());
        frame.write(&key);
        assert_ne!(frame.bytes()[40..42], [0, 0], "port {port}");
    }
}

#[test]
fn a_wrong_checksum_stays_wrong() {
    let mut key = Key::default();
    for (field, value) in
        [(Field::EthType, 0x0800), (Field::NwProto, 132), (Field::NwTtl, 64), (Field::SctpSrc, 5)]
    {
        key.set(field, value);
    }
    for proto in [6, 17, 132] {
        key.set(Field::NwProto, proto);
        let mut bytes = compose(&key);
        *bytes.last_mut().unwrap() ^= 0x5a;
        let mut frame = Frame::new(bytes);
        let mut key = frame.key().clone();
        key.set(Field::SctpDst, 1234);
        frame.write(&key);
        assert_eq!(transport_valid(frame.bytes()), Some(false));
        // Undo the damage: then it is right, so it was wrong by as much as before.
        let mut bytes = frame.bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 0x5a;
        assert_eq!(transport_valid(&bytes), Some(true));
    }
}

#[test]
fn tags_are_put_on_and_taken_off() {
    let plain = frame(&[&[8, 0], &ipv4(28, 0, 17), &UDP]);
    let mut frame = Frame::new(plain.clone());
    let mut key = frame.key().clone();
    frame.push_vlan(0x8100, &mut key);
    key.set(Field::VlanVid, 0x1007);
    frame.push_vlan(0x88a8, &mut key);
    assert_eq!(frame.bytes()[12..20], [0x88, 0xa8, 0, 0, 0x81, 0, 0, 7]);
    key.set(Field::UdpDst, 99);
    frame.write(&key);
    assert_eq!(frame.bytes()[44..46], [0, 99]);
    frame.pop_vlan(&mut key);
    assert_eq!(key.get(Field::VlanTci), 0x1007);
    frame.pop_vlan(&mut key);
    assert_eq!((key.get(Field::VlanTci), frame.bytes().len()), (0, plain.len()));
}

#[test]
fn crc32c_is_that_of_rfc_3720() {
    assert_eq!(checksum::crc32c(&[b"123456789"]), 0xe306_9283);
}
