//! --bundle, and the bundle command: all or nothing.

use crate::scenario::Step::{File, Ofctl, OfctlWithInput};
use crate::scenario::{ALL, FROM_13, FROM_14, Scenario, Step, Version};

const DUMP: Step = Ofctl("dump-flows br0");

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a_bundle_of_adds",
        versions: ALL,
        steps: &[
            File(
                "flows",
                "priority=1,actions=drop\npriority=2,tcp,actions=1\ntable=3,priority=3,udp,actions=2\n",
            ),
            Ofctl("--bundle add-flows br0 flows"),
            Ofctl("--bundle add-flow br0 priority=9,arp,actions=NORMAL"),
            OfctlWithInput("--bundle add-flow br0 -", "priority=10,actions=drop\npriority=11,actions=drop\n"),
            DUMP,
            Ofctl("-O OpenFlow10 dump-flows br0"),
        ],
    },
    Scenario {
        name: "a_bundle_of_everything",
        versions: FROM_13,
        steps: &[
            Ofctl("add-flow br0 cookie=1,table=1,priority=1,tcp,actions=1"),
            Ofctl("add-flow br0 cookie=2,table=1,priority=2,tcp,tp_dst=80,actions=1"),
            Ofctl("add-flow br0 cookie=3,table=2,priority=3,udp,actions=1"),
            File(
                "commands",
                "add cookie=4,table=3,priority=4,actions=drop
modify table=1,tcp,actions=output:2
delete_strict table=1,priority=2,tcp,tp_dst=80
delete table=2
add cookie=5,table=2,priority=5,icmp,actions=output:3
",
            ),
            Ofctl("--bundle add-flows br0 commands"),
            DUMP,
            Ofctl("--bundle mod-flows br0 table=2,actions=NORMAL"),
            Ofctl("--bundle --strict del-flows br0 table=3,priority=4"),
            DUMP,
            Ofctl("--bundle del-flows br0 table=1"),
            Ofctl("--bundle del-flows br0 cookie=5/-1"),
            DUMP,
            Ofctl("--bundle del-flows br0"),
            DUMP,
        ],
    },
    Scenario {
        name: "a_bundle_that_fails_changes_nothing",
        versions: FROM_13,
        steps: &[
            Ofctl("add-flow br0 cookie=1,priority=5,tcp,actions=1"),
            Ofctl("add-flow br0 cookie=2,priority=6,udp,actions=1"),
            File(
                "overlap",
                "add priority=7,actions=drop
delete udp
modify tcp,actions=output:3
add priority=5,check_overlap,in_port=1,actions=1
add priority=8,actions=drop
",
            ),
            Ofctl("--bundle add-flows br0 overlap"),
            DUMP,
            File("table", "add priority=7,actions=drop\nadd table=254,priority=9,actions=drop\n"),
            Ofctl("--bundle add-flows br0 table"),
            DUMP,
            File("metadata", "delete\nadd priority=7,tun_metadata3=1,actions=drop\n"),
            Ofctl("--bundle add-flows br0 metadata"),
            DUMP,
        ],
    },
    Scenario {
        name: "changes_in_a_bundle_see_those_before",
        versions: FROM_13,
        steps: &[
            File(
                "commands",
                "add priority=5,tcp,actions=output:1
modify tcp,actions=output:2
add priority=6,tcp,tp_dst=80,actions=output:1
delete_strict priority=5,tcp
add priority=5,check_overlap,ip,actions=output:3
",
            ),
            Ofctl("--bundle add-flows br0 commands"),
            DUMP,
        ],
    },
    Scenario {
        name: "the_bundle_command",
        versions: FROM_14,
        steps: &[
            File(
                "bundle",
                concat!(
                    "flow add priority=5,icmp,actions=output:2
flow priority=6,tcp,actions=output:2
flow modify icmp,actions=output:3
packet-out in_port=1,packet=",
                    frame!(icmp),
                    ",actions=resubmit(,0)
flow delete tcp
"
                ),
            ),
            Ofctl("bundle br0 bundle"),
            DUMP,
        ],
    },
    Scenario {
        name: "a_packet_of_a_bundle_that_fails_is_not_sent",
        versions: FROM_14,
        steps: &[
            Step::Listen("p2"),
            File(
                "bundle",
                concat!(
                    "flow add priority=5,icmp,actions=output:2
packet-out in_port=1,packet=",
                    frame!(icmp),
                    ",actions=resubmit(,0)
flow add table=254,actions=drop
"
                ),
            ),
            Ofctl("bundle br0 bundle"),
            Step::Heard("p2", 0),
            DUMP,
        ],
    },
    Scenario {
        name: "a_bundle_resets_or_keeps_counters",
        versions: FROM_13,
        steps: &[
            Ofctl("add-flow br0 cookie=1,priority=1,icmp,actions=2"),
            Ofctl("add-flow br0 cookie=2,priority=2,arp,actions=2"),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(icmp), " actions=resubmit(,0)'")),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(arp), " actions=resubmit(,0)'")),
            File(
                "commands",
                "add cookie=3,priority=1,icmp,actions=output:3
add cookie=4,priority=2,reset_counts,arp,actions=output:3
",
            ),
            Ofctl("--bundle add-flows br0 commands"),
            DUMP,
        ],
    },
    Scenario {
        name: "bundles_of_the_version_offered_by_default",
        versions: &[Version::Default],
        steps: &[
            File("flows", "priority=1,actions=drop\npriority=2,tcp,actions=1\n"),
            Ofctl("--bundle add-flows br0 flows"),
            Ofctl("--bundle add-flow br0 arp,actions=mod_dl_src:02:00:00:00:00:01,IN_PORT"),
            Ofctl("--bundle replace-flows br0 flows"),
            Ofctl("--bundle del-flows br0 tcp"),
            DUMP,
        ],
    },
];
