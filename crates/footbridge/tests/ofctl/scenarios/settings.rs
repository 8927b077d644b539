//! Fragments, table settings, table features.

use crate::scenario::Step::{Differs, Ofctl};
use crate::scenario::{ALL, FROM_13, FROM_14, Scenario, Version};

/// Ours is what the codec describes.
const SMALL: &str = "the features name what Footbridge has, in one message where Open vSwitch sends twenty";

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "fragments",
        versions: ALL,
        steps: &[
            Ofctl("get-frags br0"),
            Ofctl("set-frags br0 drop"),
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
        name: "table_settings_of_other_versions",
        versions: ALL,
        steps: &[Ofctl("mod-table br0 1 drop"), Ofctl("mod-table br0 1 controller"), Ofctl("mod-table br0 1 nonsense")],
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
            ours: &["OFPST_TABLE_FEATURES reply", "table 0"],
        }],
    },
    Scenario {
        name: "eviction",
        versions: FROM_14,
        steps: &[
            Ofctl("mod-table br0 1 noevict"),
            Ofctl("mod-table br0 1 novacancy"),
            Ofctl("dump-tables br0"),
        ],
    },
];
