//! The difference between the flows that are wanted and those that stand.

use footbridge_openflow::{Flow, Match};
use footbridge_switch::{FlowFilter, FlowMod};
use std::collections::HashMap;

/// The changes that turn `present` into `desired`: additions first, in the order of `desired`.
pub(super) fn diff<'a>(desired: &'a [Flow], present: impl Iterator<Item = &'a Flow>) -> Vec<FlowMod> {
    type Place<'a> = (u8, u16, &'a Match);
    fn place(flow: &Flow) -> Place<'_> {
        (flow.table, flow.priority, &flow.matching)
    }
    let mut left: HashMap<Place<'_>, &Flow> = present.map(|flow| (place(flow), flow)).collect();
    let mut changes = Vec::new();
    for flow in desired {
        if left.remove(&place(flow)) != Some(flow) {
            changes.push(FlowMod::Add(flow.clone()));
        }
    }
    let mut stale: Vec<Place<'_>> = left.into_keys().collect();
    stale.sort();
    changes.extend(stale.into_iter().map(|(table, priority, matching)| FlowMod::DeleteStrict {
        filter: FlowFilter { matching: matching.clone(), ..FlowFilter::table(table) },
        priority,
    }));
    changes
}

/// Those of `wanted` that do not stand in `present`.
pub(super) fn missing<'a>(wanted: &'a [Flow], present: impl Iterator<Item = &'a Flow>) -> Vec<Flow> {
    let added = |change| match change {
        FlowMod::Add(flow) => Some(flow),
        _ => None,
    };
    diff(wanted, present).into_iter().filter_map(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use footbridge_openflow::Field;

    fn flow(port: u32, cookie: u64) -> Flow {
        Flow::new(0, 1, cookie, Match::any().with(Field::InPort, port), Vec::new())
    }

    #[test]
    fn what_stands_is_left_alone_what_differs_replaced_what_is_stale_deleted() {
        let present = [flow(1, 1), flow(2, 1), flow(3, 1)];
        let wanted = [flow(1, 1), flow(2, 2), flow(4, 2)];
        let changes = diff(&wanted, present.iter());
        let filter = FlowFilter { matching: flow(3, 0).matching, ..FlowFilter::table(0) };
        let gone = FlowMod::DeleteStrict { filter, priority: 1 };
        assert_eq!(changes, [FlowMod::Add(flow(2, 2)), FlowMod::Add(flow(4, 2)), gone]);
        assert_eq!(diff(&present, present.iter()), []);
    }
}
