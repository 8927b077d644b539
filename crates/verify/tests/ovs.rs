//! Counterexamples on a real Open vSwitch: `ofproto/trace` takes them through the flows that were claimed.
//!
//! The bridge is the article's worker1 with other port numbers: those of the harness's dummy ports.
//! Without Open vSwitch the test is skipped.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../pipeline/tests/ovs/control.rs"]
mod control;
#[allow(dead_code, reason = "its own tests use all of it")]
#[path = "../../pipeline/tests/ovs/instance.rs"]
mod instance;
mod support;

use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{Flow, PortNames, PortNo};
use footbridge_pipeline::conntrack::state;
use footbridge_pipeline::{Pipeline, PortKind, PortSet};
use footbridge_verify::replay::replay;
use footbridge_verify::{Answer, Claim, Layout, Questions, Verdict, Witness, verify};
use instance::Ovs;
use support::mutate::mutants;
use support::{WORKER1, bridge, layout};

/// Names in the dump, and the harness's numbers.
const PORTS: [(&str, u32); 6] = [
    ("antrea-tun0", instance::VXLAN),
    ("antrea-gw0", 2),
    ("coredns--3e3abf", 3),
    ("antrea-o-830766", 4),
    ("backend1-bab86f", 5),
    ("frontend-a3ba2f", 1),
];

/// worker1's flows with the harness's numbers.
fn renumbered() -> Vec<Flow> {
    let numbers =
        [("load:0x1->NXM_NX_REG1[]", 7), ("load:0x30->NXM_NX_REG1[]", 5), ("load:0x31->NXM_NX_REG1[]", 1)];
    let mut text = WORKER1.to_owned();
    for (load, number) in numbers {
        text = text.replace(load, &format!("load:{number:#X}->NXM_NX_REG1[]"));
    }
    let text = text.replace("0X", "0x").replace("reg1=0x30", "reg1=0x5").replace("reg1=0x31", "reg1=0x1");
    let names: PortNames = PORTS.into_iter().map(|(name, number)| (PortNo(number), name)).collect();
    text.lines().map(|line| parse_flow(line, &names).unwrap()).collect()
}

/// The tables and priorities that a packet went by; sorted, for `ofproto/trace` tells of what is tracked when the rest is
/// through.
type Way = Vec<(u8, Option<u16>)>;

fn ours(pipeline: &Pipeline, ports: &PortSet, witness: &Witness) -> Way {
    let trace = replay(pipeline, ports, witness);
    let priority = |id| pipeline.get(id).map(|entry| entry.flow.priority);
    let mut way: Way = trace.lookups.iter().map(|(table, flow)| (*table, flow.and_then(priority))).collect();
    way.sort_unstable();
    way
}

fn theirs(printed: &str) -> Way {
    let mut way: Way = printed
        .lines()
        .filter_map(|line| {
            let (table, rest) = line.trim_start().split_once(". ")?;
            let table = table.parse().ok()?;
            let priority = rest.split_once("priority ").map(|(_, rest)| {
                rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().unwrap()
            });
            Some((table, priority.or((!rest.starts_with("No match")).then_some(0x8000))))
        })
        .collect();
    way.sort_unstable();
    way
}

/// An answer as `--ct-next` takes it; None where it has a mark, which that can't say.
fn flags(answer: &Answer) -> Option<String> {
    let names = [
        (state::TRK, "trk"),
        (state::NEW, "new"),
        (state::EST, "est"),
        (state::REL, "rel"),
        (state::RPL, "rpl"),
        (state::INV, "inv"),
    ];
    let set = names.iter().filter(|(flag, _)| answer.state & flag != 0).map(|(_, name)| *name);
    (answer.mark == 0 && answer.label == 0).then(|| set.collect::<Vec<_>>().join(","))
}

#[test]
fn counterexamples_go_the_same_way_on_open_vswitch() {
    const NAME: &str = "counterexamples_go_the_same_way_on_open_vswitch";
    let mut ovs = match Ovs::start(true) {
        Ok(ovs) => ovs,
        Err(why) => return println!("skipped: {NAME}: {why}"),
    };
    let kind = |number| if number == instance::VXLAN { PortKind::Tunnel } else { PortKind::Ordinary };
    let ports: PortSet = PORTS.into_iter().map(|(_, number)| (PortNo(number), kind(number))).collect();
    let layout = Layout { tunnel: PortNo(instance::VXLAN), ..layout() };
    let (mut traced, mut differ) = (0, Vec::new());
    // Every fifth mutant: all of them are asked in the test of worker1.
    for mutant in mutants(&renumbered(), &[10, 20]).into_iter().step_by(5) {
        let Some(pipeline) = bridge(&mutant.flows) else { continue };
        let questions = Questions {
            layout: Some(&layout),
            node: None,
            elsewhere: &[],
            properties: &[],
            ports_given: true,
        };
        let report = verify(&pipeline, &ports, &questions).unwrap();
        let ambiguous = |(claim, verdict): &(Claim, Verdict)| {
            *claim == Claim::Unambiguous && matches!(verdict, Verdict::Refuted(..))
        };
        // Which of two flows of one priority takes a packet is open: there is nothing to compare.
        if report.claims.iter().any(ambiguous) {
            continue;
        }
        let text: String =
            mutant.flows.iter().map(|flow| format!("{}\n", flow.display(&PortNames::none()))).collect();
        if let Err(why) = ovs.ofctl("OpenFlow13", "replace-flows", &text) {
            differ.push(format!("{}: Open vSwitch refuses it: {why}", mutant.what));
            continue;
        }
        for (claim, verdict) in &report.claims {
            let Verdict::Refuted(examples, _) = verdict else { continue };
            for witness in examples.iter().filter_map(|example| example.witness.as_ref()) {
                let answers: Option<Vec<String>> = witness.answers.iter().map(flags).collect();
                // Those that are looked up in one table at once can't come in.
                let Some(answers) = answers.filter(|_| witness.table.is_none()) else {
                    continue;
                };
                let packet = witness.packet(&PortNames::none());
                let mut arguments: Vec<&str> =
                    answers.iter().flat_map(|answer| ["--ct-next", answer]).collect();
                arguments.extend(["br0", &packet]);
                let printed = ovs.call("ofproto/trace", &arguments).unwrap();
                traced += 1;
                let (ours, theirs) = (ours(&pipeline, &ports, witness), theirs(&printed));
                if ours != theirs {
                    differ.push(format!(
                        "{}: {}: {packet}\nours {ours:?}\ntheirs {theirs:?}\n{printed}",
                        mutant.what,
                        claim.name()
                    ));
                }
            }
        }
    }
    println!("{NAME}: {traced} counterexamples");
    assert!(
        differ.is_empty(),
        "{} of {traced} differ:\n{}",
        differ.len(),
        differ[..differ.len().min(3)].join("\n")
    );
    assert!(traced > 100, "{traced}");
}
