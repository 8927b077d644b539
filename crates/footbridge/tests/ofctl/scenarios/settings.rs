//! Fragments, table settings, table features.

use crate::scenario::Step::{Differs, Ofctl};
use crate::scenario::{ALL, FROM_13, FROM_14, Scenario, Version};

const NO_EVICTION: &str = "no flow is ever evicted";
const SMALL: &str = "the features name what Footbridge has, in one message where Open vSwitch sends twenty";

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "fragments",
        versions: ALL,
        steps: &[
            Ofctl("get-frags br0"),
            Ofctl("set-frags br0 nx-match"),
            Ofctl("get-frags br0"),
            Ofctl("set-frags br0 reassemble"),
            Ofctl("get-frags br0"),
            Ofctl("show br0"),
            Ofctl("set-frags br0 normal"),
            Ofctl("get-frags br0"),
            Ofctl("set-frags br0 nonsense"),
        ],
    },
    Scenario {
        name: "dropping_fragments",
        versions: ALL,
        steps: &[
            Differs {
                command: "set-frags br0 drop",
                why: "fragments are not dropped",
                ours: &["setting fragment handling mode failed", "exit status 1"],
            },
            Differs { command: "get-frags br0", why: "fragments are not dropped", ours: &["normal"] },
        ],
    },
    Scenario {
        name: "table_settings_of_other_versions",
        versions: ALL,
        steps: &[
            Ofctl("mod-table br0 1 drop"),
            Ofctl("mod-table br0 1 controller"),
            Ofctl("mod-table br0 1 nonsense"),
        ],
    },
    Scenario {
        name: "table_description",
        versions: &[Version::V10, Version::V13],
        steps: &[Ofctl("dump-table-desc br0")],
    },
    Scenario {
        name: "table_features",
        versions: FROM_13,
        steps: &[Differs {
            command: "dump-table-features br0",
            why: SMALL,
            ours: &["instructions: apply_actions clear_actions write_actions write_metadata goto_table"],
        }],
    },
    Scenario {
        name: "eviction",
        versions: FROM_14,
        steps: &[
            Ofctl("mod-table br0 1 noevict"),
            Ofctl("mod-table br0 1 novacancy"),
            Ofctl("dump-tables br0"),
            Differs {
                command: "dump-table-desc br0",
                why: NO_EVICTION,
                ours: &["eviction=off", "vacancy=off"],
            },
            Differs { command: "mod-table br0 1 evict", why: NO_EVICTION, ours: &["OFPTMFC_BAD_CONFIG"] },
            Differs {
                command: "mod-table br0 1 vacancy:20,80",
                why: NO_EVICTION,
                ours: &["OFPTMFC_BAD_CONFIG"],
            },
        ],
    },
    Scenario {
        name: "table_names",
        versions: FROM_13,
        steps: &[Differs {
            command: "mod-table br0 1 name:first",
            why: "tables have no names",
            ours: &["OFPT_ERROR", "exit status 1"],
        }],
    },
];
