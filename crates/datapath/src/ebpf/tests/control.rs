//! Look-ups that come back, copies, action sets, and the limits of them.

use super::bed::Bed;
use crate::Change;
use footbridge_openflow::{Field, Key, PortNo};
use footbridge_pipeline::packet::compose;
use footbridge_pipeline::{DropReason, FlowId};

const FRAME: [u8; 60] = [2; 60];

/// Ports, and what was counted.
type Fate = (Vec<u32>, Vec<(DropReason, u64)>);

/// The ports that a packet of port 1 left by, and what was counted.
fn run(test: &str, flows: &[&str]) -> Option<Fate> {
    let mut bed = Bed::new(test, 4)?;
    bed.flows(flows).unwrap_or_else(|error| panic!("{error}"));
    let seen = bed.run(PortNo(1), &FRAME);
    Some((seen.outputs.iter().map(|(port, _)| *port).collect(), seen.drops))
}

#[test]
fn a_lookup_before_other_actions_comes_back() {
    let flows = [
        "table=0 actions=resubmit(,1),resubmit(,2),output:4",
        "table=1 actions=resubmit(,2),output:3",
        "table=2 actions=output:2",
    ];
    let Some(seen) = run("a_lookup_before_other_actions_comes_back", &flows) else { return };
    assert_eq!(seen, (vec![2, 3, 2, 4], vec![]));
}

#[test]
fn another_in_port_is_for_the_lookup_only() {
    let flows = [
        "table=0 actions=resubmit(3,1),output:3",
        "table=1,in_port=3 actions=output:3,output:1,resubmit(,2)",
        "table=2,in_port=1 actions=output:4",
    ];
    let Some(seen) = run("another_in_port_is_for_the_lookup_only", &flows) else { return };
    assert_eq!(seen, (vec![3, 4, 3], vec![(DropReason::BackToInPort, 1)]));
}

/// The evaluator takes back what was sent before a limit; a program in the kernel can't.
#[test]
fn tables_that_lead_back_to_each_other_end_at_the_depth() {
    let test = "tables_that_lead_back_to_each_other_end_at_the_depth";
    let flows = ["table=0 actions=resubmit(,1)", "table=1 actions=resubmit(,0)"];
    let Some(seen) = run(test, &flows) else { return };
    assert_eq!(seen, (vec![], vec![(DropReason::TooDeep, 1)]));
}

/// 2^13 look-ups, none nested in one of the same or a higher table.
#[test]
fn more_lookups_than_a_packet_may_cause_end_it() {
    let twice: Vec<String> =
        (0..13).map(|t| format!("table={t} actions=resubmit(,{0}),resubmit(,{0})", t + 1)).collect();
    let flows: Vec<&str> = twice.iter().map(String::as_str).collect();
    let Some(seen) = run("more_lookups_than_a_packet_may_cause_end_it", &flows) else { return };
    assert_eq!(seen, (vec![], vec![(DropReason::TooManyResubmits, 1)]));
}

/// 63 look-ups in the same table are allowed, and then the way back through all of them.
#[test]
fn comes_back_from_as_deep_as_is_allowed() {
    let count: Vec<String> = (0..64)
        .map(|n| match n {
            63 => format!("table=0,reg0={n} actions=output:2"),
            _ => format!(
                "table=0,reg0={n} actions=load:{}->NXM_NX_REG0[],resubmit(,0),load:9->NXM_NX_REG1[]",
                n + 1
            ),
        })
        .collect();
    let flows: Vec<&str> = count.iter().map(String::as_str).collect();
    let Some(seen) = run("comes_back_from_as_deep_as_is_allowed", &flows) else { return };
    assert_eq!(seen, (vec![2], vec![]));
}

#[test]
fn a_copy_leaves_the_packet_as_it_was() {
    let flows = [
        "table=0 actions=load:2->NXM_NX_REG0[],push:NXM_NX_REG0[],\
         clone(pop:NXM_NX_REG1[],load:3->NXM_NX_REG0[],push:NXM_NX_REG0[],mod_dl_dst:02:00:00:00:00:09,resubmit(,1)),\
         pop:NXM_NX_REG1[],resubmit(,1)",
        "table=1,reg0=3,reg1=2,dl_dst=02:00:00:00:00:09 actions=output:3",
        "table=1,reg0=2,reg1=2,dl_dst=02:02:02:02:02:02 actions=output:2",
    ];
    let Some(seen) = run("a_copy_leaves_the_packet_as_it_was", &flows) else { return };
    assert_eq!(seen, (vec![3, 2], vec![]));
}

/// A limit of the program's own: copies within copies.
#[test]
fn copies_within_copies_are_too_deep_beyond_sixteen() {
    let flows = ["table=0 actions=clone(resubmit(,0)),output:2"];
    let Some(seen) = run("copies_within_copies_are_too_deep_beyond_sixteen", &flows) else { return };
    assert_eq!(seen, (vec![], vec![(DropReason::TooDeep, 1)]));
}

#[test]
fn an_action_set_is_done_last_and_exit_leaves_it_undone() {
    let test = "an_action_set_is_done_last_and_exit_leaves_it_undone";
    let flows = [
        "table=0 actions=output:2,write_actions(output:4,set_field:7->reg0),goto_table:1",
        "table=1 actions=write_actions(resubmit(,2)),goto_table:2",
        "table=2,reg0=7 actions=output:2",
        "table=2 actions=output:3",
    ];
    let Some(seen) = run(test, &flows) else { return };
    assert_eq!(seen, (vec![2, 3, 4], vec![]));
    let flows = ["table=0 actions=resubmit(,1),write_actions(output:4)", "table=1 actions=output:3,exit"];
    let Some(seen) = run(test, &flows) else { return };
    assert_eq!(seen, (vec![3], vec![]));
}

/// Runs of the program within one another each have a scratch of their own, and their end is noted, however they
/// end. (No device here runs one within another: what is counted is set.)
#[test]
fn a_run_within_a_run_has_a_scratch_of_its_own() {
    const FIRST: [u8; 4] = [0; 4];
    let test = "a_run_within_a_run_has_a_scratch_of_its_own";
    for flows in [
        &["actions=load:1->NXM_NX_REG0[],output:2,resubmit(,1)", "table=1,reg0=1 actions=output:3"][..],
        &[
            "actions=load:1->NXM_NX_REG0[],push:NXM_NX_REG0[],resubmit(,1),clone(pop:NXM_NX_REG1[],output:3)",
            "table=1,reg0=1 actions=output:2",
        ],
        &["actions=output:2,output:3"],
    ] {
        let Some(mut bed) = Bed::new(test, 4) else { return };
        bed.flows(flows).unwrap();
        let shared = bed.compiled.shared();
        let runs = |count: u64| {
            let value = shared.nesting.get(&FIRST).unwrap().unwrap();
            let of_each_cpu = count.to_ne_bytes().repeat(value.len() / 8);
            shared.nesting.put(&FIRST, &of_each_cpu).unwrap();
            of_each_cpu
        };
        for within in [0, 1, 2] {
            shared.scratch.clear(&FIRST).unwrap();
            let before = runs(within);
            let ports: Vec<u32> = bed.run(PortNo(1), &FRAME).outputs.iter().map(|(port, _)| *port).collect();
            assert_eq!(ports, [2, 3]);
            assert_eq!(shared.nesting.get(&FIRST).unwrap().unwrap(), before);
            let scratch = shared.scratch.get(&FIRST).unwrap().unwrap();
            assert_eq!(scratch.iter().any(|byte| *byte != 0), within == 0);
        }
        let before = runs(3);
        assert_eq!(bed.run(PortNo(1), &FRAME).drops, [(DropReason::TooDeep, 1)]);
        assert_eq!(shared.nesting.get(&FIRST).unwrap().unwrap(), before);
    }
}

/// A FIN or RST of TCP cuts the timeouts of the flow whose `fin_timeout` it passes, and no other.
#[test]
fn a_fin_cuts_the_timeouts_of_the_flow_that_it_passes() {
    let Some(mut bed) = Bed::new("a_fin_cuts_the_timeouts_of_the_flow_that_it_passes", 4) else { return };
    let lists = [
        "fin_timeout(idle_timeout=5,hard_timeout=9)",
        "fin_timeout(idle_timeout=5,hard_timeout=9),resubmit(,1),output:2",
    ];
    for list in lists {
        let added: Vec<FlowId> = [
            format!("idle_timeout=60,tcp,tp_dst=80 actions={list}"),
            format!("idle_timeout=60,tcp,tp_dst=81 actions={list}"),
            "table=1,idle_timeout=60 actions=drop".to_owned(),
        ]
        .iter()
        .map(|flow| bed.insert(flow))
        .collect();
        bed.commit(&Change { added: added.clone(), removed: vec![] }).unwrap();
        let timeouts = |bed: &Bed| -> Vec<(u16, u16)> {
            let entries = added.iter().map(|id| bed.pipeline.get(*id).unwrap());
            entries
                .inspect(|entry| {
                    let _ = bed.compiled.statistics(entry);
                })
                .map(|entry| entry.timeouts())
                .collect()
        };
        bed.run(PortNo(1), &tcp(80, 0x10));
        bed.run(PortNo(1), &tcp(81, 0x02));
        assert_eq!(timeouts(&bed), [(60, 0), (60, 0), (60, 0)], "{list}");
        bed.run(PortNo(1), &tcp(80, 0x11));
        bed.run(PortNo(1), &tcp(80, 0x10));
        assert_eq!(timeouts(&bed), [(5, 9), (60, 0), (60, 0)], "{list}");
        let first = bed.pipeline.get(added[0]).unwrap();
        assert_eq!(bed.compiled.statistics(first).packets, 3, "{list}");
        bed.flows::<&str>(&[]).unwrap();
    }
}

/// A TCP segment over IPv4.
fn tcp(port: u16, flags: u8) -> Vec<u8> {
    let mut key = Key::default();
    for (field, value) in [
        (Field::EthType, 0x0800),
        (Field::NwProto, 6),
        (Field::NwTtl, 64),
        (Field::TcpDst, port.into()),
        (Field::TcpFlags, flags.into()),
    ] {
        key.set(field, value);
    }
    compose(&key)
}
