//! IPv6, and what it carries, beyond what generated frames come upon.

use super::bed::Bed;
use footbridge_openflow::{Field, Key, PortNo};
use footbridge_pipeline::packet::compose;

/// A solicitation with both addresses that a message can have.
fn solicitation() -> Key {
    let mut key = Key::default();
    key.set(Field::EthType, 0x86dd);
    key.set(Field::Ipv6Src, 0xfc00_0000_0000_0000_0000_0000_0000_0001);
    key.set(Field::Ipv6Dst, 0xfc00_0000_0000_0000_0000_0000_0000_0002);
    key.set(Field::NwProto, 58);
    key.set(Field::NwTtl, 255);
    key.set(Field::Icmpv6Type, 135);
    key.set(Field::NdTarget, 0xfc00_0000_0000_0000_0000_0000_0000_0003);
    key.set(Field::NdSll, 0x0200_0000_0001);
    key
}

/// Its own neighbour's answer, as ARP's is made in table 20: addresses, target and checksum are right.
#[test]
fn turns_a_solicitation_round_with_a_right_checksum() {
    let Some(mut bed) = Bed::new("turns_a_solicitation_round_with_a_right_checksum", 4) else { return };
    bed.flows(&["icmp6,icmp_type=135,icmp_code=0 actions=\
        move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[],set_field:fc00::3->ipv6_src,\
        set_field:02:00:00:00:00:02->nd_sll,set_field:fc00::9->nd_target,mod_nw_ttl:64,\
        set_field:0x12345->ipv6_label,output:2"])
        .unwrap();
    let mut expected = solicitation();
    expected.set(Field::Ipv6Dst, expected.get(Field::Ipv6Src));
    expected.set(Field::Ipv6Src, expected.get(Field::NdTarget));
    expected.set(Field::NdTarget, 0xfc00_0000_0000_0000_0000_0000_0000_0009);
    expected.set(Field::NdSll, 0x0200_0000_0002);
    expected.set(Field::NwTtl, 64);
    expected.set(Field::Ipv6Label, 0x12345);
    let frame = compose(&solicitation());
    assert_eq!(bed.run(PortNo(1), &frame).outputs, [(2, compose(&expected))]);
}

/// A hundred extension headers are followed.
#[test]
fn finds_the_transport_header_behind_many_extension_headers() {
    let test = "finds_the_transport_header_behind_many_extension_headers";
    let Some(mut bed) = Bed::new(test, 4) else { return };
    bed.flows(&["udp6,tp_dst=53 actions=output:2"]).unwrap();
    let mut key = solicitation();
    for field in [Field::Icmpv6Type, Field::NdTarget, Field::NdSll] {
        key.set(field, 0);
    }
    key.set(Field::NwProto, 17);
    key.set(Field::UdpDst, 53);
    let mut frame = compose(&key);
    for number in 0..100 {
        let next = if number == 0 { 17 } else { 60 };
        frame.splice(54..54, [next, 0, 0, 0, 0, 0, 0, 0]);
    }
    frame[20] = 60;
    let payload = (frame.len() - 54) as u16;
    frame[18..20].copy_from_slice(&payload.to_be_bytes());
    assert_eq!(bed.run(PortNo(1), &frame).outputs.len(), 1);
}

/// Where only fields of neighbour discovery were written, ports of other packets were compared with those of
/// some packet before, and checksums changed.
#[test]
fn checksums_of_ports_that_no_action_writes_stay() {
    let Some(mut bed) = Bed::new("checksums_of_ports_that_no_action_writes_stay", 4) else { return };
    bed.flows(&[
        "priority=9,icmp6,icmp_type=135,icmp_code=0 actions=set_field:fc00::9->nd_target,output:2",
        "priority=1,ip actions=mod_nw_dst:10.0.0.9,output:2",
    ])
    .unwrap();
    let mut key = Key::default();
    key.set(Field::EthType, 0x0800);
    key.set(Field::NwProto, 17);
    for port in [7, 900] {
        key.set(Field::UdpSrc, port);
        key.set(Field::NwDst, 0x0a00_0001);
        let frame = compose(&key);
        key.set(Field::NwDst, 0x0a00_0009);
        assert_eq!(bed.run(PortNo(1), &frame).outputs, [(2, compose(&key))]);
    }
}

/// SCTP's checksum is over the whole packet, of whatever length.
#[test]
fn writes_sctp_ports_with_a_right_checksum() {
    let Some(mut bed) = Bed::new("writes_sctp_ports_with_a_right_checksum", 4) else { return };
    bed.flows(&["sctp6 actions=mod_tp_src:77,mod_tp_dst:99,output:2"]).unwrap();
    let mut key = solicitation();
    for field in [Field::Icmpv6Type, Field::NdTarget, Field::NdSll] {
        key.set(field, 0);
    }
    key.set(Field::NwProto, 132);
    key.set(Field::SctpSrc, 2905);
    let frame = compose(&key);
    key.set(Field::SctpSrc, 77);
    key.set(Field::SctpDst, 99);
    assert_eq!(bed.run(PortNo(1), &frame).outputs, [(2, compose(&key))]);
}

/// Where the extensions end within one the hop limit is not known; what it was in the packet before must not matter.
#[test]
fn leaves_the_hop_limit_where_extension_headers_are_cut() {
    let Some(mut bed) = Bed::new("leaves_the_hop_limit_where_extension_headers_are_cut", 4) else { return };
    bed.flows(&["priority=1,icmp6 actions=dec_ttl,output:2", "priority=0,ipv6 actions=output:3"]).unwrap();
    let mut cut = compose(&solicitation());
    assert_eq!(bed.run(PortNo(1), &cut).outputs.len(), 1);
    // A fragment header, of which there are 3 bytes.
    (cut[18], cut[19], cut[20]) = (0, 3, 44);
    assert_eq!(bed.run(PortNo(1), &cut).outputs, [(3, cut)]);
}
