//! `monitor watch:`: changes of the tables as they happen.

use crate::scenario::Step::{File, Monitor, MonitorEnds, Ofctl};
use crate::scenario::{ALL, FROM_13, FROM_14, Scenario, Step, Version};

/// Changes of every kind, told in the version at hand.
macro_rules! watched {
    ($watch:literal) => {
        &[
            Ofctl("add-flow br0 cookie=1,table=1,priority=1,tcp,actions=1"),
            Ofctl("add-flow br0 cookie=2,table=2,priority=2,idle_timeout=600,in_port=2,actions=2"),
            Ofctl("add-flow br0 cookie=3,table=2,priority=2,arp,actions=CONTROLLER:30"),
            Monitor(concat!("monitor br0 65534 ", $watch)),
            Ofctl("add-flow br0 cookie=4,table=1,priority=4,importance=5,hard_timeout=600,tcp,tp_dst=80,actions=3,2"),
            Ofctl("add-flow br0 cookie=5,table=1,priority=4,tcp,tp_dst=80,actions=drop"),
            Ofctl("mod-flows br0 table=1,tcp,actions=2"),
            Ofctl("mod-flows br0 table=2,in_port=2,actions=2"),
            Ofctl("--strict del-flows br0 table=2,priority=2,arp"),
            Ofctl("del-flows br0 table=1"),
            Ofctl("del-flows br0"),
            MonitorEnds,
        ]
    };
}

const BUNDLE: &[Step] = &[
    Ofctl("add-flow br0 cookie=1,priority=1,tcp,actions=1"),
    Monitor("monitor br0 65534 watch:"),
    File(
        "commands",
        "add cookie=2,priority=2,udp,actions=output:2
modify tcp,actions=output:3
add cookie=3,priority=3,arp,actions=output:2
delete_strict priority=2,udp
",
    ),
    Ofctl("--bundle add-flows br0 commands"),
    File("failing", "add cookie=9,priority=9,icmp,actions=output:2\nadd table=254,actions=drop\n"),
    Ofctl("--bundle add-flows br0 failing"),
    MonitorEnds,
];

/// A version of Nicira's form and one of the standard's.
const TWO: &[Version] = &[Version::V10, Version::V14];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "everything", versions: ALL, steps: watched!("watch:") },
    Scenario { name: "without_the_initial_flows", versions: TWO, steps: watched!("watch:!initial") },
    Scenario { name: "without_adds", versions: TWO, steps: watched!("watch:!add") },
    Scenario { name: "without_deletions", versions: TWO, steps: watched!("watch:!delete") },
    Scenario { name: "without_modifications", versions: TWO, steps: watched!("watch:!modify") },
    Scenario { name: "without_actions", versions: TWO, steps: watched!("watch:!actions") },
    Scenario { name: "one_table", versions: TWO, steps: watched!("watch:table=1") },
    Scenario { name: "one_output", versions: ALL, steps: watched!("watch:out_port=2") },
    Scenario { name: "one_match", versions: TWO, steps: watched!("watch:tcp") },
    Scenario { name: "two_monitors", versions: TWO, steps: watched!("watch:table=1 watch:!initial,table=2") },
    Scenario { name: "one_group", versions: FROM_14, steps: watched!("watch:out_group=3") },
    Scenario { name: "of_a_bundle", versions: FROM_13, steps: BUNDLE },
    Scenario {
        name: "expiry",
        versions: ALL,
        steps: &[
            Monitor("monitor br0 65534 watch:"),
            Ofctl("add-flow br0 cookie=1,idle_timeout=1,udp,actions=1"),
            Ofctl("add-flow br0 cookie=2,hard_timeout=3,arp,actions=1"),
            Step::MonitorPrints("event=DELETED", 2),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "that_cannot_be",
        versions: ALL,
        steps: &[
            Monitor("monitor br0 65534 watch:!nonsense"),
            MonitorEnds,
            Monitor("monitor br0 65534 watch:table=300"),
            MonitorEnds,
        ],
    },
];
