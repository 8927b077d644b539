//! Pipelines as large as a bridge may have them load, and do what they say. How long that takes is printed.

use super::bed::Bed;
use crate::Change;
use footbridge_openflow::PortNo;
use std::time::Instant;

/// Tables of five shapes each; the packet goes through all of them, and out of port 2. `back` is what the
/// table in the middle does besides.
fn chain(tables: usize, back: &str) -> Vec<String> {
    let mut flows = Vec::new();
    for table in 0..tables {
        let next = match table + 1 {
            next if next == tables => "output:2".to_owned(),
            next if next == tables / 2 => format!("{back}resubmit(,{next})"),
            next => format!("resubmit(,{next})"),
        };
        for (priority, matching) in [
            (50, "arp,arp_tpa=10.0.0.0/24"),
            (40, "tcp,tp_dst=80"),
            (30, "ip,nw_src=10.0.0.0/16"),
            (20, "in_port=3,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"),
            (10, "reg5=0/0xff"),
        ] {
            let register = table % 8;
            flows.push(format!(
                "table={table},priority={priority},{matching} \
                 actions=load:{priority}->NXM_NX_REG{register}[8..15],{next}"
            ));
        }
    }
    flows
}

fn loads(test: &str, flows: &[String], outputs: &[u32]) {
    let Some(mut bed) = Bed::new(test, 4) else { return };
    let begun = Instant::now();
    bed.flows(flows).unwrap_or_else(|error| panic!("{error}"));
    println!("{test}: {} flows loaded in {:?}", flows.len(), begun.elapsed());
    let ports: Vec<u32> = bed.run(PortNo(1), &[0; 60]).outputs.iter().map(|(port, _)| *port).collect();
    assert_eq!(ports, outputs);
}

#[test]
fn loads_pipelines_of_15_60_and_250_tables() {
    for tables in [15, 60, 250] {
        loads(&format!("loads_pipelines_of_15_60_and_250_tables: {tables} tables"), &chain(tables, ""), &[2]);
    }
}

/// The table in the middle first goes on at the last but one, and then from there.
#[test]
fn loads_pipelines_that_come_back_from_lookups() {
    for tables in [15, 60, 250] {
        let test = format!("loads_pipelines_that_come_back_from_lookups: {tables} tables");
        loads(&test, &chain(tables, &format!("resubmit(,{}),", tables - 1)), &[2, 2]);
    }
}

/// A table in the middle leads back to the first, once.
#[test]
fn loads_pipelines_that_lead_back() {
    for tables in [15, 60, 250] {
        let mut flows = chain(tables, "");
        let middle = tables / 2;
        flows.push(format!(
            "table={middle},priority=60,reg9=0 actions=load:1->NXM_NX_REG9[],output:3,resubmit(,0)"
        ));
        loads(&format!("loads_pipelines_that_lead_back: {tables} tables"), &flows, &[3, 2]);
    }
}

#[test]
fn loads_64_masks_in_a_table() {
    // The masks of one and two bytes' boundaries: prefixes of two addresses.
    let flow = |n: u32| {
        let (src, dst) = (8 + n % 8, 8 + n / 8);
        format!(
            "priority={},ip,nw_src=10.0.0.0/{src},nw_dst=10.0.0.0/{dst} actions=output:{}",
            n % 7,
            1 + n % 4
        )
    };
    let mut flows: Vec<String> = (0..64).map(flow).collect();
    flows.push("priority=0 actions=output:2".to_owned());
    loads("loads_64_masks_in_a_table", &flows, &[2]);
    let in_sixteen = |table: u32| {
        let next = if table == 15 { "output:3".to_owned() } else { format!("resubmit(,{})", table + 1) };
        let mut of_table: Vec<String> = (0..64).map(|n| format!("table={table},{}", flow(n))).collect();
        of_table.push(format!("table={table},priority=0 actions={next}"));
        of_table
    };
    let flows: Vec<String> = (0..16).flat_map(in_sixteen).collect();
    loads("loads_64_masks_in_a_table: in 16 tables", &flows, &[3]);
}

/// A list of actions for each flow.
#[test]
fn loads_a_thousand_action_lists_in_a_table() {
    let list = |n: u32| {
        (0..10).map(move |bit| {
            format!("load:{}->NXM_NX_REG{}[0..15]", bit, if n >> bit & 1 == 1 { 0 } else { 1 })
        })
    };
    let flow = |n: u32| {
        let actions: Vec<String> = list(n).collect();
        format!("dl_type=0x88cc,metadata={n} actions={},output:2", actions.join(","))
    };
    let mut flows: Vec<String> = (0..1000).map(flow).collect();
    flows.push("priority=1 actions=output:4".to_owned());
    loads("loads_a_thousand_action_lists_in_a_table", &flows, &[4]);
}

/// Shapes share maps then; a change of one flow is one write there too.
#[test]
fn loads_more_shapes_than_a_program_can_have_maps() {
    let test = "loads_more_shapes_than_a_program_can_have_maps";
    let mut flows = Vec::new();
    for table in 0..60 {
        let next = if table == 59 { "output:2".to_owned() } else { format!("resubmit(,{})", table + 1) };
        for n in 0..3 {
            flows.push(format!("table={table},priority=9,ip,nw_src=10.0.{n}.0/24 actions=drop"));
            flows.push(format!("table={table},priority=8,dl_type={:#x} actions={next}", 0x88cc + n));
            flows.push(format!("table={table},priority=7,metadata={n}/0xff,reg0=5 actions=output:4"));
        }
    }
    let Some(mut bed) = Bed::new(test, 4) else { return };
    let begun = Instant::now();
    bed.flows(&flows).unwrap_or_else(|error| panic!("{error}"));
    println!("{test}: {} flows loaded in {:?}", flows.len(), begun.elapsed());
    let frame = |last: u8| [&[2; 12][..], &[0x88, last], &[0; 46]].concat();
    assert_eq!(bed.run(PortNo(1), &frame(0xcd)).outputs, [(2, frame(0xcd))]);
    let programs = bed.compiled.programs_made();
    let added = bed.insert("table=59,priority=8,dl_type=0x88c0 actions=output:2");
    bed.commit(&Change { added: vec![added], removed: vec![] }).unwrap();
    assert_eq!(bed.compiled.programs_made(), programs);
    assert!(bed.run(PortNo(1), &frame(0xc0)).outputs.is_empty());
}
