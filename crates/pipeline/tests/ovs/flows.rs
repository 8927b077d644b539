//! Putting one and the same flows into Open vSwitch and into a pipeline.

use crate::instance::Ovs;
use footbridge_openflow::PortNames;
use footbridge_openflow::text::parse_flow;
use footbridge_pipeline::{Pipeline, Time};

/// A flow, and the OpenFlow version that carries it to Open vSwitch as it is written.
#[derive(Clone, PartialEq)]
pub(crate) struct FlowText {
    pub(crate) text: String,
    pub(crate) old: bool,
}

/// Whether Open vSwitch and we took a flow.
pub(crate) struct Taken {
    pub(crate) flow: String,
    pub(crate) by_ovs: Result<(), String>,
    pub(crate) by_us: Result<(), String>,
}

/// Replace all flows. Gives the pipeline, and what became of each flow.
pub(crate) fn install(ovs: &Ovs, flows: &[FlowText]) -> Result<(Pipeline, Vec<Taken>), String> {
    let mut pipeline = Pipeline::new();
    let by_us: Vec<Result<(), String>> = flows.iter().map(|flow| insert(&mut pipeline, &flow.text)).collect();
    let by_ovs =
        if all_at_once(ovs, flows).is_ok() { vec![Ok(()); flows.len()] } else { one_by_one(ovs, flows)? };
    let taken = flows.iter().zip(by_ovs).zip(by_us);
    let taken: Vec<Taken> =
        taken.map(|((flow, by_ovs), by_us)| Taken { flow: flow.text.clone(), by_ovs, by_us }).collect();
    Ok((pipeline, taken))
}

fn insert(pipeline: &mut Pipeline, flow: &str) -> Result<(), String> {
    let flow = parse_flow(flow, &PortNames::none()).map_err(|e| e.to_string())?;
    pipeline.insert(flow, Time::default()).map(drop).map_err(|e| e.to_string())
}

fn all_at_once(ovs: &Ovs, flows: &[FlowText]) -> Result<(), String> {
    let lines = |old: bool| {
        let flows = flows.iter().filter(|flow| flow.old == old);
        flows.fold(String::new(), |text, flow| text + &flow.text + "\n")
    };
    // A delete that stands in the file spares a process.
    ovs.ofctl("OpenFlow13", "add-flows", &format!("delete\n{}", lines(false)))?;
    let old = lines(true);
    if old.is_empty() { Ok(()) } else { ovs.ofctl("OpenFlow10", "add-flows", &old) }
}

/// Whether Open vSwitch takes a flow in any version, and whether we do.
pub(crate) fn offer(ovs: &Ovs, flow: &FlowText) -> Taken {
    let mut by_ovs = Err(String::new());
    // OpenFlow 1.0 has no instructions, and loses them without a word.
    let instructions = ["goto_table", "write_actions", "write_metadata", "clear_actions"];
    let old = !instructions.iter().any(|word| flow.text.contains(word));
    let versions: &[&str] =
        if old { &["OpenFlow10", "OpenFlow13", "OpenFlow15"] } else { &["OpenFlow13", "OpenFlow15"] };
    for version in versions {
        by_ovs = by_ovs
            .or_else(|said: String| ovs.ofctl(version, "add-flows", &flow.text).map_err(|why| said + &why));
    }
    let by_us = insert(&mut Pipeline::new(), &flow.text);
    Taken { flow: flow.text.clone(), by_ovs, by_us }
}

fn one_by_one(ovs: &Ovs, flows: &[FlowText]) -> Result<Vec<Result<(), String>>, String> {
    ovs.ofctl("OpenFlow13", "add-flows", "delete\n")?;
    let version = |flow: &FlowText| if flow.old { "OpenFlow10" } else { "OpenFlow13" };
    Ok(flows.iter().map(|flow| ovs.ofctl(version(flow), "add-flows", &flow.text)).collect())
}
