//! replace-flows and diff-flows.

use crate::scenario::Step::{File, Ofctl};
use crate::scenario::{ALL, FROM_13, Scenario, Step};

const DUMP: Step = Ofctl("dump-flows br0");

const BEFORE: Step = File(
    "before",
    "cookie=1,priority=1,actions=drop
cookie=2,priority=2,tcp,actions=output:1
cookie=3,table=1,priority=3,udp,actions=output:2
cookie=4,table=1,priority=4,icmp,idle_timeout=600,actions=output:2
",
);

const AFTER: Step = File(
    "after",
    "cookie=1,priority=1,actions=drop
cookie=2,priority=2,tcp,actions=output:3
cookie=4,table=1,priority=4,icmp,idle_timeout=700,actions=output:2
cookie=5,table=2,priority=5,arp,actions=NORMAL
",
);

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "replace_flows",
        versions: ALL,
        steps: &[
            BEFORE,
            AFTER,
            Ofctl("add-flows br0 before"),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(icmp), " actions=resubmit(,1)'")),
            Ofctl("replace-flows br0 after"),
            DUMP,
            Ofctl("replace-flows br0 after"),
            DUMP,
        ],
    },
    Scenario {
        name: "replace_flows_in_a_bundle",
        versions: FROM_13,
        steps: &[
            BEFORE,
            AFTER,
            Ofctl("add-flows br0 before"),
            Ofctl("--bundle replace-flows br0 after"),
            DUMP,
            Ofctl("--bundle replace-flows br0 before"),
            DUMP,
        ],
    },
    Scenario {
        name: "replace_flows_anew",
        versions: FROM_13,
        steps: &[
            BEFORE,
            Ofctl("add-flows br0 before"),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(icmp), " actions=resubmit(,1)'")),
            Ofctl("--readd replace-flows br0 before"),
            DUMP,
            File("reset", "cookie=4,table=1,priority=4,reset_counts,icmp,actions=output:2\n"),
            Ofctl("--readd replace-flows br0 reset"),
            DUMP,
        ],
    },
    Scenario {
        name: "diff_flows",
        versions: ALL,
        steps: &[
            BEFORE,
            AFTER,
            Ofctl("diff-flows br0 before"),
            Ofctl("add-flows br0 before"),
            Ofctl("diff-flows br0 before"),
            Ofctl("diff-flows br0 after"),
            Ofctl("diff-flows after br0"),
            Ofctl("diff-flows before after"),
            Ofctl("diff-flows br0 br0"),
        ],
    },
    Scenario {
        name: "diff_flows_of_translated_actions",
        versions: ALL,
        steps: &[
            File("flows", "arp,actions=mod_dl_src:02:00:00:00:00:01,load:1->NXM_NX_REG0[],IN_PORT\n"),
            Ofctl("add-flows br0 flows"),
            Ofctl("diff-flows br0 flows"),
        ],
    },
];
