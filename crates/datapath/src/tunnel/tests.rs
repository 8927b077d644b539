use super::*;

const MAP: OptionMap = OptionMap::ANTREA;
const FRAME: [u8; 14] = [0xee; 14];

fn datagram(header: &[u8]) -> Vec<u8> {
    [header, &FRAME].concat()
}

#[test]
fn vxlan_is_laid_out_as_rfc_7348_section_5_draws_it() {
    let header = TunnelHeader { vni: 0x12_3456, metadata: None };
    assert_eq!(encode(TunnelProtocol::Vxlan, &header, MAP), [8, 0, 0, 0, 0x12, 0x34, 0x56, 0]);
}

#[test]
fn geneve_is_laid_out_as_rfc_8926_section_3_draws_it() {
    let header = TunnelHeader { vni: 0x12_3456, metadata: Some(0xcafe_1234) };
    assert_eq!(
        encode(TunnelProtocol::Geneve, &header, MAP),
        [
            2, 0x40, 0x65, 0x58, 0x12, 0x34, 0x56, 0, // two words of options, one critical
            0x01, 0x04, 0x80, 1, 0xca, 0xfe, 0x12, 0x34,
        ]
    );
}

#[test]
fn what_is_sent_is_read_back() {
    for protocol in [TunnelProtocol::Vxlan, TunnelProtocol::Geneve] {
        for metadata in [None, Some(7)] {
            let metadata = metadata.filter(|_| protocol == TunnelProtocol::Geneve);
            let header = TunnelHeader { vni: 77, metadata };
            let sent = encode(protocol, &header, MAP);
            assert_eq!(decode(protocol, &datagram(&sent), MAP), Ok((header, sent.len())));
        }
    }
}

#[test]
fn vxlan_ignores_reserved_bits_and_needs_the_i_flag() {
    let read = |first| decode(TunnelProtocol::Vxlan, &datagram(&[first, 1, 2, 3, 0, 0, 9, 4]), MAP);
    assert_eq!(read(0xff), Ok((TunnelHeader { vni: 9, metadata: None }, 8)));
    assert_eq!(read(0xf7), Err(TunnelHeaderError::NoVni));
}

#[test]
fn geneve_refuses_what_rfc_8926_says_to_drop() {
    let read = |bytes: &[u8]| decode(TunnelProtocol::Geneve, &datagram(bytes), MAP).map(|(header, _)| header);
    assert_eq!(read(&[0x40, 0, 0x65, 0x58, 0, 0, 0, 0]), Err(TunnelHeaderError::Version(1)));
    assert_eq!(read(&[0, 0x80, 0x65, 0x58, 0, 0, 0, 0]), Err(TunnelHeaderError::Control));
    assert_eq!(read(&[0, 0, 0x08, 0x00, 0, 0, 0, 0]), Err(TunnelHeaderError::NotEthernet(0x0800)));
    let unknown = |kind| [1, 0, 0x65, 0x58, 0, 0, 0, 0, 0xff, 0xff, kind, 0];
    assert_eq!(read(&unknown(0x01)), Ok(TunnelHeader::default()));
    let critical = TunnelHeaderError::CriticalOption { class: 0xffff, kind: 0x81 };
    assert_eq!(read(&unknown(0x81)), Err(critical));
}

#[test]
fn refuses_every_truncation() {
    let header = TunnelHeader { vni: 1, metadata: Some(5) };
    for protocol in [TunnelProtocol::Vxlan, TunnelProtocol::Geneve] {
        let whole = datagram(&encode(protocol, &header, MAP));
        for length in 0..whole.len() {
            let cut = decode(protocol, &whole[..length], MAP);
            assert_eq!(cut, Err(TunnelHeaderError::Truncated), "{protocol:?}, {length} bytes");
        }
    }
}

#[test]
fn refuses_an_option_longer_than_the_options() {
    let bytes = datagram(&[1, 0, 0x65, 0x58, 0, 0, 0, 0, 0xff, 0xff, 0x01, 0x1f]);
    assert_eq!(decode(TunnelProtocol::Geneve, &bytes, MAP), Err(TunnelHeaderError::Truncated));
}

proptest::proptest! {
    #[test]
    fn never_panics_and_finds_the_frame_inside_the_datagram(bytes: Vec<u8>) {
        for protocol in [TunnelProtocol::Vxlan, TunnelProtocol::Geneve] {
            if let Ok((_, at)) = decode(protocol, &bytes, MAP) {
                proptest::prop_assert!(at + 14 <= bytes.len());
            }
        }
    }
}
