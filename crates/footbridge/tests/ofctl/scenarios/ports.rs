//! mod-port, and who is told of a port's changes.

use crate::scenario::Step::{Device, Differs, Host, Monitor, MonitorEnds, MonitorPrints, Ofctl, Wait};
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
        name: "settings_that_footbridge_has_not",
        versions: ALL,
        steps: refused! { "down" "no-receive" "no-forward" "no-packet-in" },
    },
];
