use super::*;

/// A `struct tpacket_auxdata`: status, len, snaplen, mac, net, vlan_tci, vlan_tpid.
fn auxdata(status: u32, tci: u16, tpid: u16) -> Vec<u8> {
    let mut bytes = status.to_ne_bytes().to_vec();
    bytes.extend([0; 12]);
    bytes.extend(tci.to_ne_bytes());
    bytes.extend(tpid.to_ne_bytes());
    bytes
}

#[test]
fn reads_the_tag_that_the_kernel_kept_aside() {
    let (valid, with_tpid) = (libc::TP_STATUS_VLAN_VALID, libc::TP_STATUS_VLAN_TPID_VALID);
    let parse = |status, tpid| Auxdata::parse(&auxdata(status, 0x2005, tpid)).unwrap().vlan;
    assert_eq!(parse(0, 0), None);
    assert_eq!(parse(valid, 0), Some((0x8100, 0x2005)));
    assert_eq!(parse(valid | with_tpid, 0x88a8), Some((0x88a8, 0x2005)));
    assert_eq!(Auxdata::parse(&[0; 19]), None);
}

#[test]
fn puts_a_tag_back_behind_the_addresses() {
    let received: Vec<u8> = (0..16).collect();
    let restored = restore(&received, Auxdata { vlan: Some((0x88a8, 0x0007)), partial_checksum: false });
    assert_eq!(restored[..12], received[..12]);
    assert_eq!(restored[12..16], [0x88, 0xa8, 0x00, 0x07]);
    assert_eq!(restored[16..], received[12..]);
}

/// An IPv4 UDP datagram from 10.0.0.1:1 to 10.0.0.2:2 with `payload`, checksum field 0.
fn udp4(payload: &[u8]) -> Vec<u8> {
    let length = |header: usize| ((header + payload.len()) as u16).to_be_bytes();
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend(length(28));
    frame.extend([0, 0, 0, 0, 64, UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2]);
    frame.extend(length(8));
    frame.extend([0, 0]);
    frame.extend(payload);
    frame
}

/// Sums to all ones over pseudo-header and datagram, which is how a receiver checks it.
fn verifies(frame: &[u8], ip_at: usize) -> bool {
    let ip = &frame[ip_at..];
    let segment = &ip[20..];
    fold(u64::from(UDP) + segment.len() as u64 + add(&ip[12..20]) + add(segment)) == 0
}

#[test]
fn completes_a_partial_checksum_of_odd_and_even_length() {
    for payload in [&b""[..], b"x", b"footbridge"] {
        let mut frame = udp4(payload);
        // What the kernel leaves there is a sum of the pseudo-header, to be overwritten.
        frame[40..42].copy_from_slice(&[0x14, 0x1c]);
        let whole = restore(&frame, Auxdata { vlan: None, partial_checksum: true });
        assert!(verifies(&whole, 14), "{payload:?}");
    }
}

#[test]
fn completes_a_checksum_behind_a_tag_that_was_put_back() {
    let auxdata = Auxdata { vlan: Some((0x8100, 5)), partial_checksum: true };
    assert!(verifies(&restore(&udp4(b"abc"), auxdata), 18));
}

#[test]
fn a_udp_checksum_of_zero_goes_as_all_ones() {
    // A payload that makes the sum come out as 0.
    let plain = restore(&udp4(&[0, 0]), Auxdata { vlan: None, partial_checksum: true });
    let checksum = [plain[40], plain[41]];
    let whole = restore(&udp4(&checksum), Auxdata { vlan: None, partial_checksum: true });
    assert_eq!(whole[40..42], [0xff, 0xff]);
}

#[test]
fn leaves_a_fragment_and_a_frame_that_lies_about_its_length_alone() {
    let auxdata = Auxdata { vlan: None, partial_checksum: true };
    let mut fragment = udp4(b"abc");
    fragment[20] = 0x20;
    assert_eq!(restore(&fragment, auxdata), fragment);
    let mut liar = udp4(b"abc");
    liar[16] = 0xff;
    assert_eq!(restore(&liar, auxdata), liar);
}

proptest::proptest! {
    #[test]
    fn never_panics(frame: Vec<u8>, vlan: Option<(u16, u16)>, partial_checksum: bool, kind in 0..3usize) {
        let mut frame = frame;
        // Often enough something that looks like IP.
        if let (Some(place), Some(kind)) = (frame.get_mut(12..14), [[8, 0], [0x86, 0xdd]].get(kind)) {
            place.copy_from_slice(kind);
        }
        let restored = restore(&frame, Auxdata { vlan, partial_checksum });
        let tag = if vlan.is_some() && frame.len() >= 12 { 4 } else { 0 };
        proptest::prop_assert_eq!(restored.len(), frame.len() + tag);
    }
}
