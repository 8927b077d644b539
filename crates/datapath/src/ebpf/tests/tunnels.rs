//! Tunnels: what the program makes of header and destination is what the evaluator makes of them.

use super::bed::{Bed, Seen};
use footbridge_openflow::PortNo;
use footbridge_pipeline::{DropReason, Packet, PortKind, State, TunnelKey, Unobserved, Verdict};

/// Ports 1 to 3, and 4, the tunnel.
const PORTS: u32 = 4;
const PEER: &str = "load:0xc0000202->NXM_NX_TUN_IPV4_DST[]";

/// Flows about tunnels, and packets from each port with each of some headers.
#[test]
fn tunnel_fields_are_as_in_the_evaluator() {
    let Some(mut bed) = Bed::new("tunnel_fields_are_as_in_the_evaluator", PORTS) else { return };
    bed.make_tunnel(PORTS);
    let pipelines: [&[&str]; 9] = [
        &["actions=output:4"],
        &[&format!("actions={PEER},output:4,output:2")],
        &["tun_src=192.0.2.9,tun_dst=192.0.2.1 actions=output:1,output:4", "priority=1 actions=output:3"],
        &["tun_id=0x7 actions=output:1,IN_PORT", "tun_id=0 actions=output:3"],
        &[&format!("actions={PEER},FLOOD,ALL,NORMAL")],
        &["in_port=4 actions=NORMAL", "in_port=1 actions=load:0x1->NXM_NX_TUN_IPV4_DST[],NORMAL"],
        &["actions=move:NXM_NX_TUN_IPV4_SRC[]->NXM_NX_TUN_IPV4_DST[],load:7->NXM_NX_REG0[],IN_PORT,output:4"],
        &["actions=output:NXM_NX_REG0[],load:4->NXM_NX_REG0[],output:NXM_NX_REG0[]"],
        &[&format!("in_port=4 actions={PEER},IN_PORT"), &format!("actions={PEER},ALL")],
    ];
    let none = TunnelKey::default();
    let from =
        |id: u64, src: [u8; 4], dst: [u8; 4]| TunnelKey { id, src: src.into(), dst: dst.into(), ..none };
    let headers = [
        none,
        from(0, [192, 0, 2, 9], [192, 0, 2, 1]),
        from(7, [192, 0, 2, 2], [192, 0, 2, 1]),
        from(0xff_ffff, [192, 0, 2, 9], [192, 0, 2, 2]),
    ];
    for flows in pipelines {
        bed.flows(flows).unwrap_or_else(|error| panic!("{error}; {flows:?}"));
        let fdb = &bed.compiled.shared().fdb;
        fdb.keys().unwrap().iter().for_each(|key| fdb.remove(key).unwrap());
        let mut state = state();
        for (in_port, tunnel) in (1..=PORTS).flat_map(|port| headers.map(|header| (port, header))) {
            let mut frame = vec![0; 60];
            let addresses = [2, 0, 0, 0, 0, 5 - in_port as u8, 2, 0, 0, 0, 0, in_port as u8, 0x88, 0xb5];
            frame[..14].copy_from_slice(&addresses);
            let in_port = PortNo(in_port);
            let packet = Packet { in_port, frame: frame.clone(), tunnel };
            let verdict = bed.pipeline.process(&mut state, packet, crate::clock::now(), &mut Unobserved);
            let mut found = bed.run_from(in_port, &tunnel, &frame);
            found.drops.sort_unstable();
            let addresses = bed.tunnel_addresses().into_iter().zip(&found.outputs);
            let addresses = addresses.filter(|(_, output)| output.0 == PORTS).map(|(addresses, _)| addresses);
            let addresses: Vec<_> = addresses.collect();
            assert_eq!(
                (found, addresses),
                expected(&verdict),
                "the program (left) and the evaluator; in_port {}, {tunnel:?}; {flows:?}",
                in_port.0
            );
        }
    }
}

fn state() -> State {
    let mut state = State::default();
    for port in 1..=PORTS {
        let kind = if port == PORTS { PortKind::Tunnel } else { PortKind::Ordinary };
        state.ports.insert(PortNo(port), kind);
    }
    state
}

/// The evaluator's verdict in the record's form, and the addresses of what goes to the tunnel.
fn expected(verdict: &Verdict) -> (Seen, Vec<(u32, u32)>) {
    let outputs = verdict.outputs.iter().map(|output| (output.port.0, output.frame.clone())).collect();
    let to_tunnel = verdict.outputs.iter().filter(|output| output.port.0 == PORTS);
    let addresses = to_tunnel.map(|output| (output.tunnel.src.to_bits(), output.tunnel.dst.to_bits()));
    let reasons = || verdict.lost.iter().chain(&verdict.drop).map(|drop| drop.reason);
    let count = |reason: DropReason| reasons().filter(|other| *other == reason).count() as u64;
    let drops = DropReason::all().map(|reason| (reason, count(reason))).filter(|(_, n)| *n > 0).collect();
    (Seen { outputs, drops }, addresses.collect())
}

/// Programs that read and write Geneve's options are taken by the verifier.
#[test]
fn programs_with_tunnel_metadata_load() {
    let Some(mut bed) = Bed::new("programs_with_tunnel_metadata_load", PORTS) else { return };
    bed.make_tunnel(PORTS);
    let write = format!("load:0x5->NXM_NX_TUN_METADATA0[0..31],{PEER},output:4");
    bed.flows(&["tun_metadata0=0x5 actions=output:2", &format!("priority=1 actions={write}")]).unwrap();
    let seen = bed.run(PortNo(1), &[0; 60]);
    assert_eq!(seen.outputs, [(4, vec![0; 60])]);
}
