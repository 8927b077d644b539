//! mod-port, and who is told of it.

use crate::scenario::Step::{Heard, Listen, Monitor, MonitorEnds, MonitorPrints, Ofctl};
use crate::scenario::{ALL, Scenario, Version};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "every_setting",
        versions: ALL,
        steps: &[
            Ofctl("mod-port br0 1 no-flood"),
            Ofctl("mod-port br0 p2 no-receive"),
            Ofctl("mod-port br0 3 no-forward"),
            Ofctl("show br0"),
            Ofctl("mod-port br0 1 no-packet-in"),
            Ofctl("mod-port br0 2 no-receive-stp"),
            Ofctl("mod-port br0 3 no-stp"),
            Ofctl("dump-ports-desc br0"),
            Ofctl("mod-port br0 1 flood"),
            Ofctl("mod-port br0 1 packet-in"),
            Ofctl("mod-port br0 p2 receive"),
            Ofctl("mod-port br0 2 receive-stp"),
            Ofctl("mod-port br0 3 forward"),
            Ofctl("mod-port br0 3 stp"),
            Ofctl("dump-ports-desc br0"),
        ],
    },
    Scenario {
        name: "down_and_up",
        versions: ALL,
        steps: &[
            Monitor("monitor br0 65534"),
            Ofctl("mod-port br0 p3 down"),
            MonitorPrints("OFPT_PORT_STATUS", 2),
            Ofctl("show br0"),
            Ofctl("mod-port br0 p3 up"),
            MonitorPrints("OFPT_PORT_STATUS", 4),
            Ofctl("show br0"),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "a_setting_is_reported",
        versions: ALL,
        steps: &[
            Monitor("monitor br0 65534"),
            Ofctl("mod-port br0 p1 no-forward"),
            MonitorPrints("OFPT_PORT_STATUS", 1),
            Ofctl("mod-port br0 p1 forward"),
            MonitorPrints("OFPT_PORT_STATUS", 2),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "ports_that_are_not_there",
        versions: ALL,
        steps: &[
            Ofctl("mod-port br0 9 down"),
            Ofctl("mod-port br0 nobody down"),
            Ofctl("mod-port br0 p1 sideways"),
            Ofctl("--no-names mod-port br0 p1 up"),
        ],
    },
    Scenario {
        name: "no_forward_keeps_packets_in",
        versions: ALL,
        steps: &[
            Ofctl("mod-port br0 2 no-forward"),
            Listen("p2"),
            Listen("p3"),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(icmp), " actions=2,3'")),
            Heard("p2", 0),
            Heard("p3", 1),
            Ofctl("mod-port br0 2 forward"),
        ],
    },
    Scenario {
        name: "no_flood_is_left_out_of_floods",
        versions: &[Version::V10],
        steps: &[
            Ofctl("mod-port br0 2 no-flood"),
            Listen("p2"),
            Listen("p3"),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(arp), " actions=FLOOD'")),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(arp), " actions=ALL'")),
            Heard("p2", 1),
            Heard("p3", 2),
            Ofctl("mod-port br0 2 flood"),
        ],
    },
    Scenario {
        name: "no_receive_takes_no_packets",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 icmp,actions=drop"),
            Ofctl("mod-port br0 1 no-receive"),
            crate::scenario::Step::Host("p1", "ping -q -c 1 -W 0.2 10.0.0.2"),
            Ofctl("dump-flows br0"),
            Ofctl("mod-port br0 1 receive"),
            crate::scenario::Step::Host("p1", "ping -q -c 1 -W 0.2 10.0.0.2"),
            Ofctl("dump-flows br0"),
        ],
    },
];
