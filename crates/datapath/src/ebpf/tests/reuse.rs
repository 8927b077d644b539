//! Flows that come and go while packets are looked up.

use super::bed::{Bed, context};
use crate::Change;
use footbridge_openflow::PortNo;
use footbridge_pipeline::TunnelKey;
use std::sync::atomic::{AtomicBool, Ordering};

/// Each flow takes one address and writes its own number: a packet that comes out with another's was handled by
/// half of one flow and half of another, or by one whose place in the kernel's memory it found.
#[test]
fn no_packet_meets_half_a_flow_or_another_key_s() {
    let Some(mut bed) = Bed::new("no_packet_meets_half_a_flow_or_another_key_s", 4) else { return };
    let line = |n: u8| {
        format!("priority=5,dl_dst=02:00:00:00:00:{n:02x} actions=mod_dl_src:02:00:00:00:01:{n:02x},output:2")
    };
    bed.flows(&(0..200).map(line).collect::<Vec<_>>()).unwrap();
    let mut seen = (0, 0);
    for _ in 0..6 {
        let (recording, record) = bed.recording();
        let over = AtomicBool::new(false);
        let programs = bed.compiled.programs_made();
        std::thread::scope(|scope| {
            let packets = scope.spawn(|| {
                let (mut sent, mut dropped) = (0, 0);
                while !over.load(Ordering::Relaxed) {
                    for n in 100..104 {
                        let frame = [&[2, 0, 0, 0, 0, n][..], &[2; 6], &[0x88, 0xcc], &[0; 46]].concat();
                        record.clear(&0u32.to_ne_bytes()).unwrap();
                        recording.run(&frame, &context(PortNo(1), &TunnelKey::default()), 1).unwrap();
                        let found = record.get(&0u32.to_ne_bytes()).unwrap().unwrap();
                        if found[0] == 0 {
                            dropped += 1;
                        } else {
                            let src = &found[8 + 24 + 6..8 + 24 + 12];
                            assert_eq!(src, [2, 0, 0, 0, 1, n], "a packet for {n}");
                            sent += 1;
                        }
                    }
                }
                (sent, dropped)
            });
            for round in 0..400u32 {
                let n = 100 + (round % 4) as u8;
                let flow =
                    footbridge_openflow::text::parse_flow(&line(n), &footbridge_openflow::PortNames::none());
                let flow = flow.unwrap();
                let standing = bed.pipeline.get_strict(0, 5, &flow.matching).map(|entry| entry.id);
                let change = match standing {
                    Some(id) => {
                        bed.pipeline.remove(id);
                        Change { added: vec![], removed: vec![id] }
                    }
                    None => Change { added: vec![bed.insert(&line(n))], removed: vec![] },
                };
                bed.compiled.commit(&bed.pipeline, &change).unwrap();
            }
            over.store(true, Ordering::Relaxed);
            let (sent, dropped) = packets.join().unwrap();
            seen = (seen.0 + sent, seen.1 + dropped);
        });
        assert_eq!(bed.compiled.programs_made(), programs, "each change is one write");
        // Slots have rested then.
        std::thread::sleep(std::time::Duration::from_millis(120));
    }
    println!("{} packets sent, {} dropped", seen.0, seen.1);
    assert!(seen.0 > 100 && seen.1 > 100, "{seen:?}");
}

/// More keys come and go than a map has room for.
#[test]
fn keys_that_come_and_go_do_not_fill_a_map() {
    let Some(mut bed) = Bed::new("keys_that_come_and_go_do_not_fill_a_map", 4) else { return };
    let line = |n: u32| format!("dl_dst=02:00:00:00:{:02x}:{:02x} actions=output:2", n >> 8, n & 0xff);
    bed.flows(&(0..4).map(line).collect::<Vec<_>>()).unwrap();
    let programs = bed.compiled.programs_made();
    for n in 4..2600 {
        let id = bed.insert(&line(n));
        bed.compiled.commit(&bed.pipeline, &Change { added: vec![id], removed: vec![] }).unwrap();
        bed.pipeline.remove(id);
        bed.compiled.commit(&bed.pipeline, &Change { added: vec![], removed: vec![id] }).unwrap();
    }
    let made = bed.compiled.programs_made() - programs;
    assert!((1..20).contains(&made), "{made} programs");
    let id = bed.insert(&line(5));
    bed.commit(&Change { added: vec![id], removed: vec![] }).unwrap();
    let frame = [&[2, 0, 0, 0, 0, 5][..], &[2; 6], &[0x88, 0xcc], &[0; 46]].concat();
    assert_eq!(bed.run(PortNo(1), &frame).outputs.len(), 1);
}
