//! What is claimed of every bridge, whatever it is for.

use crate::bdd::Bdd;
use crate::claims::verdict;
use crate::explore::What;
use crate::image::Image;
use crate::program::is_miss;
use crate::prove::{Bridge, World};
use crate::report::{Claim, Counterexample, Verdict};
use footbridge_openflow::Field;
use footbridge_pipeline::DropReason::{NoSuchPort, TooDeep, TooManyResubmits};
use footbridge_pipeline::complete_conjunctions;
use std::collections::BTreeSet;

/// How many counterexamples a claim has at most: the rest is counted.
const SHOWN: usize = 8;
/// How many flows are named that shadow one.
const SHADOWS: usize = 3;

/// Ask what is asked of every bridge. Notes are added to `notes`.
pub(crate) fn of_bridge(
    bridge: &mut Bridge<'_>,
    world: &mut World,
    ports_given: bool,
    notes: &mut Vec<String>,
) -> Vec<(Claim, Verdict)> {
    let loops = bridge.union(world, |event| matches!(event.what, What::Lost(TooDeep | TooManyResubmits)));
    let loops =
        bridge.refute(world, loops, "a packet is looked up until the bridge gives it up", |trace, _| {
            trace.lost.iter().any(|reason| matches!(reason, TooDeep | TooManyResubmits))
        });
    let ports = if ports_given {
        let lost = bridge.union(world, |event| event.what == What::Lost(NoSuchPort));
        verdict(bridge.refute(world, lost, "a packet is sent to a port that does not exist", |trace, _| {
            trace.lost.contains(&NoSuchPort)
        }))
    } else {
        Verdict::NotAsked("the bridge's ports were not given".to_owned())
    };
    vec![
        (Claim::NoLoop, verdict(loops)),
        (Claim::NoDeadFlow, dead_flows(bridge, world, notes)),
        (Claim::PortsExist, ports),
        (Claim::Unambiguous, unambiguous(bridge, world)),
    ]
}

fn dead_flows(bridge: &mut Bridge<'_>, world: &mut World, notes: &mut Vec<String>) -> Verdict {
    let (mut found, mut more) = (Vec::new(), 0);
    let tables: Vec<u8> = bridge.program.tables().collect();
    let idle: BTreeSet<usize> = bridge.idle(world).into_iter().collect();
    for table in tables {
        let order = bridge.program.order(table).to_vec();
        let flows = order.iter().map(|place| &bridge.program.flows[*place].entry.flow);
        let complete = complete_conjunctions(flows).into_iter().map(u128::from).collect::<Vec<_>>();
        let dead: Vec<usize> = order
            .iter()
            .copied()
            .filter(|place| idle.contains(place) && may_be_dead(bridge, *place))
            .collect();
        let (dead, lacking): (Vec<usize>, Vec<usize>) = dead.into_iter().partition(|place| {
            let id = bridge.program.flows[*place].entry.flow.matching.exact(Field::ConjId);
            id.is_none_or(|id| complete.contains(&id))
        });
        for place in lacking {
            let id = bridge.program.flows[place].entry.flow.matching.exact(Field::ConjId).unwrap_or(0);
            notes.push(format!(
                "table {table}: conjunction {id} lacks a clause, so that it never takes a packet: a policy without peers"
            ));
        }
        if dead.is_empty() {
            continue;
        }
        let mut covered = Bdd::NONE;
        for place in &order {
            let World { sets, space } = world;
            let takes = bridge.program.takes(sets, space, *place, &Image::default());
            if dead.contains(place) {
                if found.len() == SHOWN {
                    more += 1;
                } else {
                    let shadowed = sets.without(takes, covered).is_none();
                    found.push(dead_flow(bridge, world, table, *place, takes, shadowed));
                }
            }
            if !bridge.program.flows[*place].conjunctive {
                covered = world.sets.or(covered, takes);
            }
        }
    }
    match found.is_empty() {
        true => Verdict::Proved,
        false => Verdict::Refuted(found, more),
    }
}

/// Conjunctive flows take packets by their conjunction only, and a table's miss may be there for what does
/// not come.
fn may_be_dead(bridge: &Bridge<'_>, place: usize) -> bool {
    let row = &bridge.program.flows[place];
    let flow = &row.entry.flow;
    !row.conjunctive && !is_miss(&flow.matching, flow.priority)
}

fn dead_flow(
    bridge: &mut Bridge<'_>,
    world: &mut World,
    table: u8,
    place: usize,
    takes: Bdd,
    shadowed: bool,
) -> Counterexample {
    let own = bridge.program.flows[place].entry.id;
    if !shadowed {
        let what = match bridge.arrived(table).is_none() {
            true => format!("no packet comes to table {table}"),
            false => format!("no packet that comes to table {table} is such as this flow takes"),
        };
        return Counterexample { what, witness: None, flows: vec![own], confirmed: true };
    }
    let mut flows = vec![own];
    let mut left = takes;
    for other in bridge.program.order(table).to_vec() {
        if other == place || left.is_none() || flows.len() > SHADOWS {
            break;
        }
        let World { sets, space } = world;
        let over = bridge.program.takes(sets, space, other, &Image::default());
        if !bridge.program.flows[other].conjunctive && sets.overlap(left, over) {
            left = sets.without(left, over);
            flows.push(bridge.program.flows[other].entry.id);
        }
    }
    let witness = bridge.looked_up(world, table, takes);
    let confirmed = witness.as_ref().is_some_and(|witness| {
        let trace = crate::replay::replay(bridge.pipeline, bridge.ports, witness);
        !trace.took(own)
    });
    let what = "every packet that it would take is taken by flows before it".to_owned();
    Counterexample { what, witness, flows, confirmed }
}

/// OpenFlow leaves open which of two flows of one priority takes a packet that both would take.
fn unambiguous(bridge: &mut Bridge<'_>, world: &mut World) -> Verdict {
    let (mut found, mut more) = (Vec::new(), 0);
    for ((taker, rival), packets) in bridge.found.disputed.clone() {
        if found.len() == SHOWN {
            more += 1;
            continue;
        }
        let [taker, rival] = [taker, rival].map(|place| bridge.program.flows[place].entry);
        let what =
            format!("two flows of priority {} take a packet, and do different things", taker.flow.priority);
        let (id, table) = (taker.id, taker.flow.table);
        let seen = bridge.refute(world, packets, what, |trace, _| {
            let mut taken = trace.lookups.iter().zip(&trace.keys);
            taken.any(|(lookup, key)| *lookup == (table, Some(id)) && rival.flow.matching.matches(key))
        });
        if let Some(mut seen) = seen {
            seen.flows = vec![id, rival.id];
            found.push(seen);
        }
    }
    match found.is_empty() {
        true => Verdict::Proved,
        false => Verdict::Refuted(found, more),
    }
}
