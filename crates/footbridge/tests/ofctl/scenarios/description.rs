//! What a bridge says of itself.

use crate::scenario::Step::Ofctl;
use crate::scenario::{ALL, Scenario};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "show", versions: ALL, steps: &[Ofctl("show br0"), Ofctl("-m show br0")] },
    Scenario { name: "dump_desc", versions: ALL, steps: &[Ofctl("dump-desc br0")] },
    Scenario {
        name: "dump_ports",
        versions: ALL,
        steps: &[
            Ofctl("dump-ports br0"),
            Ofctl("dump-ports br0 1"),
            Ofctl("dump-ports br0 p2"),
            Ofctl("dump-ports br0 9"),
            Ofctl("dump-ports br0 nobody"),
            Ofctl("dump-ports br0 ANY"),
        ],
    },
    Scenario {
        name: "dump_ports_desc",
        versions: ALL,
        steps: &[
            Ofctl("dump-ports-desc br0"),
            Ofctl("dump-ports-desc br0 1"),
            Ofctl("dump-ports-desc br0 p2"),
            Ofctl("dump-ports-desc br0 9"),
            Ofctl("dump-ports-desc br0 ANY"),
        ],
    },
    Scenario { name: "dump_tables_of_an_empty_bridge", versions: ALL, steps: &[Ofctl("dump-tables br0")] },
    Scenario {
        name: "dump_tables_with_flows",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 table=0,priority=1,actions=drop"),
            Ofctl("add-flow br0 table=0,priority=2,tcp,actions=drop"),
            Ofctl("add-flow br0 table=7,actions=drop"),
            Ofctl("dump-tables br0"),
        ],
    },
    Scenario {
        name: "an_empty_bridge_has_no_flows",
        versions: ALL,
        steps: &[
            Ofctl("dump-flows br0"),
            Ofctl("--no-stats dump-flows br0"),
            Ofctl("--names dump-flows br0"),
            Ofctl("dump-aggregate br0"),
        ],
    },
    Scenario {
        name: "is_there",
        versions: ALL,
        steps: &[Ofctl("probe br0"), Ofctl("ping br0 100"), Ofctl("benchmark br0 1000 20")],
    },
];
