//! What Footbridge has none of: groups, meters, queues, IPFIX.

use crate::scenario::Step::{Differs, Ofctl};
use crate::scenario::{ALL, FROM_13, FROM_14, Scenario};

const NO_GROUPS: &str = "there are no groups";
const NO_METERS: &str = "there are no meters";
const NO_IPFIX: &str = "there is no IPFIX, configured or not";

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "groups_are_none",
        versions: ALL,
        steps: &[
            Ofctl("dump-groups br0"),
            Ofctl("dump-groups br0 1"),
            Ofctl("dump-group-stats br0"),
            Ofctl("dump-group-stats br0 1"),
            Ofctl("del-groups br0"),
            Ofctl("del-groups br0 group_id=1"),
            Ofctl("mod-group br0 group_id=1,type=all,bucket=output:1"),
        ],
    },
    Scenario {
        name: "groups_are_refused",
        versions: ALL,
        steps: &[
            Differs {
                command: "add-group br0 group_id=1,type=all,bucket=output:1",
                why: NO_GROUPS,
                ours: &["OFPT_ERROR", "exit status 1"],
            },
            Differs { command: "dump-group-features br0", why: NO_GROUPS, ours: &["Types:  0x0"] },
            Differs { command: "dump-groups br0", why: NO_GROUPS, ours: &["GROUP_DESC reply"] },
        ],
    },
    Scenario {
        name: "groups_are_refused_in_a_bundle",
        versions: FROM_14,
        steps: &[
            crate::scenario::Step::File(
                "bundle",
                "flow add priority=1,actions=drop\ngroup add group_id=1,type=all,bucket=output:1\n",
            ),
            Differs {
                command: "bundle br0 bundle",
                why: NO_GROUPS,
                ours: &["OFPBFC_MSG_UNSUP", "exit status 1"],
            },
            Differs { command: "--no-stats dump-flows br0", why: NO_GROUPS, ours: &[] },
        ],
    },
    Scenario {
        name: "meters_are_none",
        versions: ALL,
        steps: &[
            Ofctl("dump-meters br0"),
            Ofctl("dump-meters br0 meter=1"),
            Ofctl("meter-stats br0"),
            Ofctl("meter-stats br0 meter=1"),
            Ofctl("del-meters br0"),
            Ofctl("mod-meter br0 meter=1,kbps,band=type=drop,rate=1"),
        ],
    },
    Scenario {
        name: "meters_are_refused",
        versions: FROM_13,
        steps: &[
            Differs {
                command: "add-meter br0 meter=1,kbps,band=type=drop,rate=1",
                why: NO_METERS,
                ours: &["OFPT_ERROR", "exit status 1"],
            },
            Differs {
                command: "meter-features br0",
                why: NO_METERS,
                ours: &["OFPST_METER_FEATURES reply", "max_meter:0"],
            },
            Differs { command: "dump-meters br0", why: NO_METERS, ours: &["OFPST_METER_CONFIG reply"] },
        ],
    },
    Scenario {
        name: "queues_are_none",
        versions: ALL,
        steps: &[
            Ofctl("queue-stats br0"),
            Ofctl("queue-stats br0 1"),
            Ofctl("queue-stats br0 1 1"),
            Ofctl("queue-stats br0 9"),
            Ofctl("queue-get-config br0 1"),
            Ofctl("queue-get-config br0 9"),
        ],
    },
    Scenario { name: "queues_of_all_ports", versions: FROM_13, steps: &[Ofctl("queue-get-config br0")] },
    Scenario {
        name: "ipfix_is_none",
        versions: ALL,
        steps: &[
            Differs { command: "dump-ipfix-bridge br0", why: NO_IPFIX, ours: &["OFPBRC_BAD_SUBTYPE"] },
            Differs { command: "dump-ipfix-flow br0", why: NO_IPFIX, ours: &["OFPBRC_BAD_SUBTYPE"] },
        ],
    },
    Scenario {
        name: "connections_can_be_flushed",
        versions: ALL,
        steps: &[
            Ofctl("ct-flush-zone br0 3"),
            Ofctl("ct-flush br0"),
            Ofctl("ct-flush br0 zone=5"),
            Differs {
                command: "ct-flush br0 zone=5 ct_nw_src=10.0.0.1,ct_nw_dst=10.0.0.2,ct_nw_proto=6,ct_tp_src=1,ct_tp_dst=2",
                why: "single connections can't be flushed",
                ours: &["OFPT_ERROR", "exit status 1"],
            },
        ],
    },
];
