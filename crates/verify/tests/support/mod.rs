//! The article's worker1, and what is known of its tables.

#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod mutate;

use footbridge_openflow::action::Subfield;
use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{Action, Field, Flow, MacAddr, PortNames, PortNo};
use footbridge_pipeline::{Pipeline, PortKind, PortSet, Time};
use footbridge_verify::{Layout, Questions, Report, VerifyError, verify};

pub(crate) const WORKER1: &str = include_str!("../../../pipeline/tests/data/worker1.flows");
pub(crate) const PORTS: [(u32, &str); 6] = [
    (1, "antrea-tun0"),
    (2, "antrea-gw0"),
    (3, "coredns--3e3abf"),
    (4, "antrea-o-830766"),
    (48, "backend1-bab86f"),
    (49, "frontend-a3ba2f"),
];

pub(crate) fn names() -> PortNames {
    PORTS.into_iter().map(|(number, name)| (PortNo(number), name)).collect()
}

pub(crate) fn ports() -> PortSet {
    let kind = |number| if number == 1 { PortKind::Tunnel } else { PortKind::Ordinary };
    PORTS.into_iter().map(|(number, _)| (PortNo(number), kind(number))).collect()
}

pub(crate) fn flows(text: &str) -> Vec<Flow> {
    text.lines().map(|line| parse_flow(line, &names()).unwrap()).collect()
}

/// The bridge, or None if it would not take one of the flows.
pub(crate) fn bridge(flows: &[Flow]) -> Option<Pipeline> {
    let mut pipeline = Pipeline::new();
    for flow in flows {
        pipeline.insert(flow.clone(), Time::default()).ok()?;
    }
    Some(pipeline)
}

pub(crate) fn layout() -> Layout {
    let to = |table| Some(vec![Action::Resubmit { port: None, table: Some(table), with_ct_orig: false }]);
    let drop = Some(Vec::new());
    Layout {
        classifier: 0,
        guard: 10,
        responder: 20,
        conntrack: 30,
        l3: 70,
        l2: 80,
        policies: vec![50, 60, 90, 100],
        misses: vec![
            (0, drop.clone()),
            (10, drop.clone()),
            (20, drop.clone()),
            (30, None),
            (31, to(40)),
            (40, to(50)),
            (50, to(60)),
            (60, to(70)),
            (70, to(80)),
            (80, to(90)),
            (90, to(100)),
            (100, to(105)),
            (105, to(110)),
            (110, drop),
        ],
        out_port: Subfield::whole(Field::Reg1),
        gateway: PortNo(2),
        tunnel: PortNo(1),
        virtual_mac: MacAddr([0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]),
    }
}

pub(crate) fn ask(pipeline: &Pipeline) -> Result<Report, VerifyError> {
    let layout = layout();
    verify(
        pipeline,
        &ports(),
        &Questions { layout: Some(&layout), node: None, elsewhere: &[], properties: &[], ports_given: true },
    )
}
