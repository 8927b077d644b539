use super::*;
use crate::port::{PortNames, PortNo};

const WORKER1: &str = include_str!("../../tests/data/worker1.flows");

fn worker1_ports() -> PortNames {
    [
        (1, "antrea-tun0"),
        (2, "antrea-gw0"),
        (3, "coredns--3e3abf"),
        (4, "antrea-o-830766"),
        (48, "backend1-bab86f"),
        (49, "frontend-a3ba2f"),
    ]
    .into_iter()
    .map(|(number, name)| (PortNo(number), name))
    .collect()
}

#[test]
fn prints_every_line_of_worker1_as_it_was() {
    let names = worker1_ports();
    let flows = parse_dump(WORKER1, "worker1.flows", &names).unwrap();
    assert_eq!(flows.len(), WORKER1.lines().count());
    for (parsed, line) in flows.iter().zip(WORKER1.lines()) {
        assert_eq!(parsed.flow.display(&names).to_string(), line);
    }
}

#[test]
fn names_file_line_and_column_of_a_mistake() {
    let text = "\n priority=200,ip actions=outptu:1\n";
    let error = parse_dump(text, "worker1.flows", &PortNames::none()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "worker1.flows:2:26: expected an action, found 'outptu'; did you mean 'output'?"
    );
}
