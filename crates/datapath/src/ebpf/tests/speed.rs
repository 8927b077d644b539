//! How long the ARP path takes: a measurement, not a claim. Run it with
//! `cargo test --release -p footbridge-datapath --lib ebpf::tests::speed -- --ignored --nocapture`.
//!
//! A test run gives each repetition the frame as the one before left it; so a program in front writes the
//! request anew, and what that takes alone is taken off.

use super::bed::{Bed, context};
use crate::ebpf::asm::Reg::{R0, R1, R2, R3, R4, R5, R6, R10};
use crate::ebpf::asm::{Alu, Asm, Helper, Size};
use crate::ebpf::load::{Map, MapKind, Program};
use footbridge_openflow::PortNo;

const REPEAT: u32 = 1_000_000;

/// A request for `target` by the gateway.
fn request(sender: u8, target: [u8; 4]) -> Vec<u8> {
    let mac = [0x4e, 0x99, 0x08, 0xc1, 0x53, 0xbe];
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    [&[0xff; 6][..], &mac, &[8, 6], &head, &mac, &[10, 222, 1, sender], &[0; 6], &target].concat()
}

/// The article's classifier, guard and responder, for this many peers.
fn flows(peers: u32) -> Vec<String> {
    let mut flows = vec![
        "table=0,priority=200,in_port=2 actions=load:0x1->NXM_NX_REG0[0..15],resubmit(,10)".to_owned(),
        "table=0,priority=190,in_port=3 actions=load:0x2->NXM_NX_REG0[0..15],resubmit(,10)".to_owned(),
        "table=0,priority=0 actions=drop".to_owned(),
        "table=10,priority=200,ip,in_port=2 actions=resubmit(,30)".to_owned(),
        "table=10,priority=200,arp,in_port=2,arp_spa=10.222.1.1,arp_sha=4e:99:08:c1:53:be actions=resubmit(,20)"
            .to_owned(),
        "table=10,priority=0 actions=drop".to_owned(),
        "table=20,priority=0 actions=drop".to_owned(),
    ];
    flows.extend((0..peers).map(|peer| {
        let address = 0x0ade_0001 + (peer << 8);
        let text = std::net::Ipv4Addr::from_bits(address);
        format!(
            "table=20,priority=200,arp,arp_tpa={text},arp_op=1 actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],\
             mod_dl_src:aa:bb:cc:dd:ee:ff,load:0x2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],\
             load:0xaabbccddeeff->NXM_NX_ARP_SHA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],\
             load:{address:#x}->NXM_OF_ARP_SPA[],IN_PORT"
        )
    }));
    flows
}

/// A program that writes the frame, and goes on in the one at 0.
fn writing(frame: &[u8], programs: &Map) -> Program {
    let mut asm = Asm::default();
    asm.mov(R6, R1);
    for (offset, word) in (-48..).step_by(8).zip(frame.chunks(8)) {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        asm.set(R1, u64::from_ne_bytes(bytes));
        asm.store(Size::D, R10, offset, R1);
    }
    asm.mov(R1, R6);
    asm.set(R2, 0);
    asm.mov(R3, R10);
    asm.alu_imm(Alu::Add, R3, (-48i64).cast_unsigned(), R4);
    asm.set(R4, frame.len() as u64);
    asm.set(R5, 0);
    asm.call(Helper::SkbStoreBytes);
    asm.mov(R1, R6);
    asm.map(R2, programs.fd());
    asm.set(R3, 0);
    asm.call(Helper::TailCall);
    asm.set(R0, 0);
    asm.exit();
    Program::load("fb_writing", &asm.finish().unwrap()).unwrap()
}

#[test]
#[ignore = "a measurement"]
fn arp_path() {
    for peers in [10, 5_000] {
        let Some(mut bed) = Bed::new("arp_path", 6) else { return };
        bed.flows(&flows(peers)).unwrap();
        let nothing = Map::new(MapKind::ProgArray, "fb_nothing", 4, 4, 1).unwrap();
        for (what, frame) in
            [("answered", request(1, [10, 222, 2, 1])), ("spoofed", request(7, [10, 222, 2, 1]))]
        {
            let outputs = bed.run(PortNo(2), &frame).outputs.len();
            assert_eq!(outputs, usize::from(what == "answered"));
            let run = |programs: &Map| {
                let program = writing(&frame, programs);
                (0..5).map(|_| program.run(&frame, &context(PortNo(2)), REPEAT).unwrap().1).min().unwrap()
            };
            let (without, with) = (run(&nothing), run(&bed.compiled.shared().programs));
            println!(
                "{peers} responder flows, {what}: {} ns a packet ({with} less {without})",
                with - without
            );
        }
    }
}
