//! Packets for the controllers are what the evaluator's are.

use super::bed::Bed;
use footbridge_openflow::{Field, PortNo};
use footbridge_pipeline::packet::is_packet_field;
use footbridge_pipeline::{DropReason, Packet, PacketIn, PortKind, State, TunnelKey, Unobserved};

/// A UDP datagram over IPv4, of this TTL.
fn udp(ttl: u8) -> Vec<u8> {
    let mut frame = vec![0; 60];
    frame[..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
    frame[14..34].copy_from_slice(&[0x45, 0, 0, 46, 0, 0, 0, 0, ttl, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    let sum: u32 = frame[14..34].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame[34..42].copy_from_slice(&[0, 80, 0, 81, 0, 26, 0, 0]);
    frame
}

/// The packet-in with a key that has only what is known beside the frame.
fn told(packet: &PacketIn) -> PacketIn {
    let mut told = packet.clone();
    Field::all().filter(|field| is_packet_field(*field)).for_each(|field| told.key.set(field, 0));
    told
}

/// Run packets of several kinds through the pipelines, and compare what the controllers are sent.
fn compare(bed: &mut Bed, misses: bool, pipelines: &[&[&str]]) {
    bed.compiled.tell_misses(misses).unwrap();
    for flows in pipelines {
        bed.flows(flows).unwrap_or_else(|error| panic!("{error}; {flows:?}"));
        let mut state = State { punt_misses: misses, ..State::default() };
        (1..=3).for_each(|port| state.ports.insert(PortNo(port), PortKind::Ordinary));
        for frame in [udp(64), udp(1), [udp(64), vec![7; 3000]].concat()] {
            let packet = Packet { in_port: PortNo(1), frame: frame.clone(), tunnel: TunnelKey::default() };
            let verdict = bed.pipeline.process(&mut state, packet, crate::clock::now(), &mut Unobserved);
            let seen = bed.run(PortNo(1), &frame);
            let found: Vec<_> = bed.packet_ins.iter().map(told).collect();
            let expected: Vec<_> = verdict.packet_ins.iter().map(told).collect();
            assert_eq!(found, expected, "the program (left) and the evaluator; {flows:?}");
            let reasons = verdict.lost.iter().chain(&verdict.drop).map(|drop| drop.reason);
            let untaken = expected.iter().map(|_| DropReason::NoController);
            let mut drops: Vec<DropReason> = reasons.chain(untaken).collect();
            drops.sort_unstable();
            let counted = seen.drops.iter().flat_map(|(reason, count)| vec![*reason; *count as usize]);
            assert_eq!(counted.collect::<Vec<_>>(), drops, "{flows:?}");
        }
    }
}

#[test]
fn packets_for_the_controllers_are_the_evaluators() {
    let Some(mut bed) = Bed::new("packets_for_the_controllers_are_the_evaluators", 3) else { return };
    let pipelines: [&[&str]; 8] = [
        &["cookie=7,priority=0 actions=CONTROLLER"],
        &["cookie=7,priority=1 actions=CONTROLLER:20,output:2"],
        &["priority=0 actions=controller(userdata=01.02.03,id=5,reason=no_match)"],
        &[
            "cookie=1 actions=load:5->NXM_NX_REG0[],set_field:0x55->metadata,resubmit(,3)",
            "cookie=2,table=3 actions=controller(userdata=00),mod_dl_src:02:00:00:00:00:77,controller,output:2",
        ],
        &["cookie=9,ip actions=dec_ttl(0,7),output:2"],
        &["cookie=9,ip actions=dec_ttl,CONTROLLER"],
        &["udp actions=mod_nw_dst:10.0.0.9,mod_tp_dst:99,controller,mod_nw_src:10.0.0.8,CONTROLLER"],
        &["actions=output:77,load:0x7->NXM_NX_TUN_IPV4_DST[],load:3->NXM_NX_PKT_MARK[],CONTROLLER"],
    ];
    compare(&mut bed, false, &pipelines);
}

#[test]
fn packets_that_no_flow_takes_are_for_the_controllers_where_those_want_them() {
    let test = "packets_that_no_flow_takes_are_for_the_controllers_where_those_want_them";
    let Some(mut bed) = Bed::new(test, 3) else { return };
    let pipelines: [&[&str]; 8] = [
        &["arp actions=output:2"],
        &["udp actions=goto_table:7"],
        &["udp actions=goto_table:7", "table=7,arp actions=drop"],
        &["udp actions=resubmit(,7)"],
        &["udp actions=resubmit(,7),load:1->NXM_NX_REG0[],goto_table:8"],
        &["in_port=1 actions=load:1->NXM_OF_IN_PORT[],TABLE,output:2", "arp actions=drop"],
        &["udp actions=output:2,goto_table:9", "table=9,arp actions=drop"],
        &["udp actions=mod_nw_dst:10.0.0.9,ct(table=3)", "table=3,arp actions=drop"],
    ];
    compare(&mut bed, true, &pipelines);
    compare(&mut bed, false, &pipelines);
}

/// What nobody reads fills the ring; the rest is lost, and counted.
#[test]
fn a_full_ring_loses_packets_and_counts_them() {
    let Some(mut bed) = Bed::new("a_full_ring_loses_packets_and_counts_them", 2) else { return };
    bed.flows(&["actions=CONTROLLER,output:2"]).unwrap();
    let room = super::super::punts::RING as usize / 2048;
    let mut lost = 0;
    for _ in 0..room + 10 {
        let seen = bed.run_unread(PortNo(1), &TunnelKey::default(), &udp(64));
        assert_eq!(seen.outputs.len(), 1);
        lost += seen
            .drops
            .iter()
            .map(|(reason, count)| {
                assert_eq!(*reason, DropReason::Congestion);
                count
            })
            .sum::<u64>();
    }
    let read = bed.read_ring();
    assert!(lost >= 10, "{lost}");
    assert_eq!((lost + read) as usize, room + 10);
    assert_eq!(bed.run(PortNo(1), &udp(64)).drops, [(DropReason::NoController, 1)], "there is room again");
}
