//! Counters after real traffic.

use crate::scenario::Step::{Host, Ofctl};
use crate::scenario::{ALL, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "of_flows_tables_and_ports",
    versions: ALL,
    steps: &[
        Ofctl("dump-ports br0"),
        Ofctl("add-flow br0 table=0,priority=10,icmp,actions=resubmit(,5)"),
        Ofctl("add-flow br0 table=5,priority=10,in_port=1,actions=2"),
        Ofctl("add-flow br0 table=5,priority=10,in_port=2,actions=1"),
        Host("p1", "ping -q -c 5 -i 0.02 -W 1 10.0.0.2"),
        Host("p3", "ping -q -c 2 -i 0.02 -W 0.1 10.0.0.2"),
        Ofctl("dump-flows br0"),
        Ofctl("--names dump-flows br0 table=5"),
        Ofctl("dump-aggregate br0"),
        Ofctl("dump-aggregate br0 table=0"),
        Ofctl("dump-aggregate br0 in_port=1"),
        Ofctl("dump-tables br0"),
        Ofctl("dump-ports br0"),
        Ofctl("dump-ports br0 2"),
    ],
}];
