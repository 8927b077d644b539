//! mod-port, and who is told of a port's changes.

use crate::scenario::Step::{
    AddPort, DelPort, Device, Differs, Host, Monitor, MonitorEnds, MonitorPrints, Ofctl, Wait,
};
use crate::scenario::{ALL, Scenario, Version};

/// A setting that Footbridge's ports do not have.
macro_rules! refused {
    ($($setting:literal)*) => {
        &[$(Differs {
            command: concat!("mod-port br0 1 ", $setting),
            why: "ports have no settings",
            ours: &["OFPT_ERROR", "exit status 1"],
        }),*]
    };
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "settings_that_change_nothing",
        versions: ALL,
        steps: &[
            Ofctl("mod-port br0 1 up"),
            Ofctl("mod-port br0 p2 flood"),
            Ofctl("mod-port br0 2 receive"),
            Ofctl("mod-port br0 3 forward"),
            Ofctl("mod-port br0 3 packet-in"),
            Ofctl("dump-ports-desc br0"),
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
        name: "a_device_that_loses_its_carrier",
        versions: ALL,
        steps: &[
            Host("p3", "ip link set dev eth0 down"),
            Wait(1000),
            Ofctl("show br0"),
            Host("p3", "ip link set dev eth0 up"),
            Wait(1000),
            Ofctl("show br0"),
        ],
    },
    Scenario {
        name: "who_is_told_of_a_carrier",
        // In later versions Open vSwitch tells of one step more, on the way to LIVE.
        versions: &[Version::V10],
        steps: &[
            Monitor("monitor br0 65534"),
            Host("p3", "ip link set dev eth0 down"),
            MonitorPrints("OFPT_PORT_STATUS", 1),
            Host("p3", "ip link set dev eth0 up"),
            MonitorPrints("OFPT_PORT_STATUS", 2),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "a_device_that_is_set_down",
        versions: ALL,
        steps: &[
            Device("ip link set dev p3 down"),
            Wait(1000),
            Ofctl("show br0"),
            Device("ip link set dev p3 up"),
            Wait(1000),
            Ofctl("show br0"),
        ],
    },
    Scenario {
        name: "ports_that_come_and_go",
        versions: ALL,
        steps: &[
            Device("ip link add p4 address 02:00:00:00:00:04 type veth peer name p4-far"),
            Device("ip link set p4 up"),
            Device("ip link set p4-far up"),
            Ofctl("add-flow br0 priority=1,in_port=4,actions=1"),
            Ofctl("add-flow br0 priority=2,actions=4"),
            AddPort("p4", 4),
            Wait(1000),
            Ofctl("show br0"),
            Ofctl("dump-ports br0 p4"),
            Ofctl("--names dump-flows br0"),
            DelPort("p4"),
            Wait(1000),
            Ofctl("show br0"),
            Ofctl("dump-ports br0 4"),
            Ofctl("--names dump-flows br0"),
            Device("ip link del p4"),
        ],
    },
    Scenario {
        name: "who_is_told_of_ports_that_come_and_go",
        versions: &[Version::V10],
        steps: &[
            Device("ip link add p5 address 02:00:00:00:00:05 type veth peer name p5-far"),
            Device("ip link set p5 up"),
            Device("ip link set p5-far up"),
            Monitor("monitor br0 65534"),
            AddPort("p5", 5),
            MonitorPrints("OFPT_PORT_STATUS", 1),
            DelPort("p5"),
            MonitorPrints("OFPT_PORT_STATUS", 2),
            MonitorEnds,
            Device("ip link del p5"),
        ],
    },
    Scenario {
        name: "settings_that_footbridge_has_not",
        versions: ALL,
        steps: refused! { "down" "no-receive" "no-forward" "no-packet-in" },
    },
];
