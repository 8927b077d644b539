//! Flows: matches with actions, at priorities that leave nothing open.

use super::Generator;
use crate::flows::FlowText;
use footbridge_openflow::{Action, Field, Flow, Match, PortNames, PortNo};

/// Flows of all kinds.
pub(crate) fn plain(generator: &mut Generator<'_>) -> Vec<FlowText> {
    let mut flows: Vec<(Flow, bool)> = Vec::new();
    for table in 0..generator.palette.tables {
        for _ in 0..2 + generator.random.below(6) {
            let matching = generator.matching();
            add(generator, &mut flows, table, matching);
        }
    }
    flows.iter().map(text).collect()
}

/// Flows with conjunctions among them.
pub(crate) fn conjunctive(generator: &mut Generator<'_>) -> Vec<FlowText> {
    let mut flows: Vec<(Flow, bool)> = Vec::new();
    for table in 0..generator.palette.tables {
        for id in 1..=1 + generator.random.below(3) as u32 {
            conjunction(generator, &mut flows, table, u32::from(table) * 10 + id);
        }
        for _ in 0..1 + generator.random.below(3) {
            let matching = generator.matching();
            // Behind a conjunctive flow of the same match, Open vSwitch's second lookup does not see it.
            if !flows.iter().any(|(flow, _)| flow.table == table && flow.matching == matching) {
                add(generator, &mut flows, table, matching);
            }
        }
    }
    flows.iter().map(text).collect()
}

/// One conjunction: the flows of its clauses, at one priority, and the flow of its id.
fn conjunction(generator: &mut Generator<'_>, flows: &mut Vec<(Flow, bool)>, table: u8, id: u32) {
    let n_clauses = 2 + generator.random.below(2) as u8;
    let priority = 100 * id as u16 % 1000 + 50;
    let mut taken: Vec<Match> = Vec::new();
    for clause in 1..=n_clauses {
        for _ in 0..1 + generator.random.below(3) {
            let matching = generator.matching();
            if matching == Match::any() || taken.contains(&matching) {
                continue;
            }
            taken.push(matching.clone());
            let mut actions = vec![Action::Conjunction { id, clause, n_clauses }];
            if generator.random.one_in(4) {
                // Of another conjunction too, which never comes true.
                actions.push(Action::Conjunction { id: id + 1000, clause: 1, n_clauses: 3 });
            }
            flows.push((Flow::new(table, priority, 0, matching, actions), false));
        }
    }
    let matching = Match::any().with(Field::ConjId, id);
    let (mut actions, old) = generator.actions(table, &matching);
    actions.insert(0, Action::output(PortNo(5)));
    let priority = generator.random.pick(&[priority, priority + 7, 5]);
    flows.push((Flow::new(table, priority, u64::from(id), matching, actions), old));
}

/// A flow at a priority at which it overlaps with no other.
fn add(generator: &mut Generator<'_>, flows: &mut Vec<(Flow, bool)>, table: u8, matching: Match) {
    let (actions, old) = generator.actions(table, &matching);
    let mut priority = generator.random.pick(&[0, 10, 10, 20, 20, 30, 100, 151, 65535]);
    while flows.iter().any(|(flow, _)| {
        flow.table == table && flow.priority == priority && flow.matching.overlaps(&matching)
    }) {
        priority = if priority == u16::MAX { 40 } else { priority + 1 };
    }
    let cookie = flows.len() as u64 + 1;
    flows.push((Flow::new(table, priority, cookie, matching, actions), old));
}

/// Flows that come near the limits of 64 nested and 4096 looked-up tables. The TTL counts how often.
pub(crate) fn limits(generator: &mut Generator<'_>) -> Vec<FlowText> {
    let random = &mut *generator.random;
    let new = |text: String| FlowText { text, old: false };
    let again =
        random.pick(&["dec_ttl,resubmit(,0)", "dec_ttl,resubmit(,0),output:4", "resubmit(,1),resubmit(,0)"]);
    let mut flows = match random.below(3) {
        // As deep as the TTL is high.
        0 => vec![
            new(format!("priority=1,ip actions=output:2,{again}")),
            new("table=1,ip actions=dec_ttl".into()),
        ],
        // Down and up again, which is half as deep.
        1 => vec![
            new("priority=1,ip actions=resubmit(,1),output:3".into()),
            new("table=1,priority=1,ip actions=dec_ttl,output:2,resubmit(,0)".into()),
        ],
        // Twice or more into each next table.
        _ => {
            let (tables, times) = random.pick(&[(10, 2), (11, 2), (12, 2), (6, 4), (5, 5), (4, 8), (3, 16)]);
            let more = random.below(4) as usize;
            let mut flows: Vec<FlowText> = (0..tables)
                .map(|table| {
                    let next = format!("resubmit(,{})", table + 1);
                    let times = times + if table == 1 { more } else { 0 };
                    new(format!("table={table},priority=1 actions={}", vec![next; times].join(",")))
                })
                .collect();
            flows.push(new(format!("table={tables},ip,nw_ttl=64 actions=drop")));
            flows.push(new("priority=2,ip,nw_ttl=66 actions=output:2,resubmit(,1),resubmit(,1)".into()));
            flows
        }
    };
    flows.push(new("priority=0 actions=output:5".into()));
    flows
}

fn text((flow, old): &(Flow, bool)) -> FlowText {
    FlowText { text: flow.display(&PortNames::none()).to_string(), old: *old }
}
