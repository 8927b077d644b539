//! Every small way to take a flow's strength away.

use footbridge_openflow::field::Masking;
use footbridge_openflow::{Action, Field, Flow, PortNo};

/// A changed list of flows, and what was changed.
pub(crate) struct Mutant {
    pub(crate) what: String,
    pub(crate) flows: Vec<Flow>,
}

/// All mutants of the flows of some tables that a switch would still take.
pub(crate) fn mutants(flows: &[Flow], tables: &[u8]) -> Vec<Mutant> {
    let mut all = Vec::new();
    for (index, flow) in flows.iter().enumerate().filter(|(_, flow)| tables.contains(&flow.table)) {
        let mut removed = flows.to_vec();
        removed.remove(index);
        let name = format!("flow {}", index + 1);
        all.push(Mutant { what: format!("{name} removed"), flows: removed });
        for (what, changed) in changes(flow) {
            if !changed.check().is_empty() || changed == *flow {
                continue;
            }
            let mut flows = flows.to_vec();
            flows[index] = changed;
            all.push(Mutant { what: format!("{name}: {what}"), flows });
        }
    }
    all
}

fn changes(flow: &Flow) -> Vec<(String, Flow)> {
    let mut all = Vec::new();
    let mut add = |what: String, change: &dyn Fn(&mut Flow)| {
        let mut changed = flow.clone();
        change(&mut changed);
        all.push((what, changed));
    };
    let fields = Field::all().filter(|field| flow.matching.get(*field).1 != 0 && *field != Field::InPortOxm);
    for field in fields {
        let (value, mask) = flow.matching.get(field);
        add(format!("without {field}"), &|flow| flow.matching.set(field, 0, 0));
        let top = 1 << (field.width() - 1);
        for bit in [1, 2, top] {
            add(format!("{field} other by {bit:#x}"), &|flow| flow.matching.set(field, value ^ bit, mask));
        }
        if field.info().masking == Masking::Bitwise {
            for wider in [mask & !1, mask & !top, mask & !0xff, top] {
                add(format!("{field}/{wider:#x}"), &|flow| flow.matching.set(field, value & wider, wider));
            }
        }
    }
    // Priorities that bring it under or over its neighbours of the dump: 0, 190 and 200.
    let priorities: &[u16] = match flow.priority {
        0 => &[1, 195, 210],
        190 => &[0, 200, 210],
        _ => &[0],
    };
    for priority in priorities {
        add(format!("priority {priority}"), &|flow| flow.priority = *priority);
    }
    for index in 0..flow.actions.len() {
        add(format!("without action {}", index + 1), &|flow| drop(flow.actions.remove(index)));
        for (what, action) in others(&flow.actions[index]) {
            add(format!("action {}: {what}", index + 1), &|flow| flow.actions[index] = action.clone());
        }
    }
    let resubmit = |table| Action::Resubmit { port: None, table: Some(table), with_ct_orig: false };
    let other_port = if flow.matching.exact(Field::InPort) == Some(3) { 4 } else { 3 };
    for (what, action) in [
        ("NORMAL", Action::output(PortNo::NORMAL)),
        ("FLOOD", Action::output(PortNo::FLOOD)),
        ("IN_PORT", Action::output(PortNo::IN_PORT)),
        ("output", Action::output(PortNo(other_port))),
        ("resubmit(,20)", resubmit(20)),
        ("resubmit(,30)", resubmit(30)),
        ("resubmit(,40)", resubmit(40)),
    ] {
        add(format!("{what} instead"), &|flow| flow.actions = vec![action.clone()]);
        add(format!("{what} first"), &|flow| flow.actions.insert(0, action.clone()));
    }
    add("drop".into(), &|flow| flow.actions.clear());
    all
}

/// The action with another constant, or with another place.
fn others(action: &Action) -> Vec<(String, Action)> {
    match action {
        Action::Load { value, dst } => [1, 0x10]
            .into_iter()
            .filter(|bit| bit & dst.mask() & dst.field.known_bits() != 0)
            .map(|bit| (format!("load by {bit:#x}"), Action::Load { value: value ^ bit, dst: *dst }))
            .collect(),
        Action::ModDlSrc(mac) => {
            let mut other = *mac;
            other.0[5] ^= 1;
            vec![
                ("another MAC".into(), Action::ModDlSrc(other)),
                ("mod_dl_dst".into(), Action::ModDlDst(*mac)),
            ]
        }
        Action::Move { src, dst } => vec![("the other way".into(), Action::Move { src: *dst, dst: *src })],
        _ => Vec::new(),
    }
}
