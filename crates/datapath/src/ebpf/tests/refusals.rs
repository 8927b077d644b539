//! What can't be compiled is refused by name, and what was in force stays.

use super::bed::Bed;
use crate::Change;
use footbridge_openflow::PortNo;

#[test]
fn names_what_it_cannot_do() {
    let Some(mut bed) = Bed::new("names_what_it_cannot_do", 2) else { return };
    for (flow, named) in [
        ("actions=write_actions(mod_tp_dst:5)", "within write_actions"),
        ("actions=write_actions(output:TABLE)", "CONTROLLER and TABLE within write_actions"),
    ] {
        let refused = bed.flows(&[flow]).map_err(|error| error.to_string());
        let error = refused.expect_err(flow);
        assert!(error.starts_with("table 0, priority 32768: the ebpf datapath can't do "), "{error}");
        assert!(error.contains(named), "{flow}: {error}");
    }
}

/// To a lower table, and from there to a higher one, is no loop.
#[test]
fn compiles_a_way_back_to_a_lower_table() {
    let Some(mut bed) = Bed::new("compiles_a_way_back_to_a_lower_table", 2) else { return };
    bed.flows(&["table=0 actions=resubmit(,9)", "table=9 actions=resubmit(,3)", "table=3 actions=output:2"])
        .unwrap();
    assert_eq!(bed.run(PortNo(1), &[0; 60]).outputs, [(2, vec![0; 60])]);
}

#[test]
fn a_refused_flow_leaves_the_others_in_force() {
    let Some(mut bed) = Bed::new("a_refused_flow_leaves_the_others_in_force", 2) else { return };
    bed.flows(&["actions=output:2"]).unwrap();
    let refused = bed.insert("priority=65535 actions=write_actions(output:TABLE)");
    assert!(bed.commit(&Change { added: vec![refused], removed: vec![] }).is_err());
    bed.pipeline.remove(refused);
    assert_eq!(bed.run(PortNo(1), &[0; 60]).outputs, [(2, vec![0; 60])]);
}
