//! Timeouts, deletions, and who is told of them.

use crate::scenario::Step::{Monitor, MonitorEnds, MonitorPrints, Ofctl, Wait};
use crate::scenario::{ALL, Scenario, Step};

const DUMP: Step = Ofctl("dump-flows br0");
const PING: Step =
    Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(icmp), " actions=resubmit(,0)'"));

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "flows_expire_and_are_reported",
        versions: ALL,
        steps: &[
            Monitor("monitor br0 65534"),
            Ofctl("add-flow br0 cookie=1,table=1,priority=5,idle_timeout=1,send_flow_rem,tcp,actions=drop"),
            Ofctl("add-flow br0 cookie=2,table=2,hard_timeout=1,send_flow_rem,arp,actions=1"),
            Ofctl("add-flow br0 cookie=3,table=3,idle_timeout=1,hard_timeout=60,send_flow_rem,udp,actions=1"),
            Ofctl("add-flow br0 cookie=4,table=4,idle_timeout=1,actions=1"),
            Ofctl("add-flow br0 cookie=5,table=5,idle_timeout=60,hard_timeout=60,send_flow_rem,actions=1"),
            MonitorPrints("OFPT_FLOW_REMOVED", 3),
            MonitorEnds,
            Wait(1000),
            DUMP,
        ],
    },
    Scenario {
        name: "a_packet_puts_the_idle_timeout_off",
        versions: ALL,
        steps: &[
            Monitor("monitor br0 65534"),
            Ofctl("add-flow br0 cookie=1,idle_timeout=2,send_flow_rem,icmp,actions=2"),
            Wait(1300),
            PING,
            Wait(1300),
            DUMP,
            MonitorPrints("OFPT_FLOW_REMOVED", 1),
            MonitorEnds,
            DUMP,
        ],
    },
    Scenario {
        name: "deletions_are_reported",
        versions: ALL,
        steps: &[
            Monitor("monitor br0 65534"),
            Ofctl("add-flow br0 cookie=1,priority=5,send_flow_rem,icmp,actions=2"),
            Ofctl(
                "add-flow br0 cookie=2,table=1,priority=6,send_flow_rem,idle_timeout=30,hard_timeout=40,in_port=1,actions=2",
            ),
            Ofctl("add-flow br0 cookie=3,table=1,priority=7,in_port=1,actions=2"),
            PING,
            PING,
            Ofctl("del-flows br0 icmp"),
            Ofctl("del-flows br0"),
            MonitorPrints("OFPT_FLOW_REMOVED", 2),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "an_add_that_replaces_reports_nothing",
        versions: ALL,
        steps: &[
            Monitor("monitor br0 65534"),
            Ofctl("add-flow br0 cookie=1,priority=5,send_flow_rem,icmp,actions=2"),
            Ofctl("add-flow br0 cookie=2,priority=5,icmp,actions=3"),
            Ofctl("del-flows br0"),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "a_modify_does_not_put_the_hard_timeout_off",
        versions: ALL,
        steps: &[
            Monitor("monitor br0 65534"),
            Ofctl("add-flow br0 cookie=1,hard_timeout=2,send_flow_rem,icmp,actions=2"),
            Wait(1500),
            Ofctl("mod-flows br0 icmp,actions=3"),
            Wait(1200),
            DUMP,
            MonitorPrints("OFPT_FLOW_REMOVED", 1),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "deletions_of_a_bundle_are_reported",
        versions: crate::scenario::FROM_13,
        steps: &[
            Monitor("monitor br0 65534"),
            Ofctl("add-flow br0 cookie=1,priority=5,send_flow_rem,icmp,actions=2"),
            Ofctl("add-flow br0 cookie=2,priority=6,send_flow_rem,arp,actions=2"),
            Ofctl("--bundle del-flows br0"),
            MonitorPrints("OFPT_FLOW_REMOVED", 2),
            MonitorEnds,
        ],
    },
];
