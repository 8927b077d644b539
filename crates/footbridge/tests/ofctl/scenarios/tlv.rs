//! The mapping of tunnel options to tun_metadata.

use crate::scenario::Step::Ofctl;
use crate::scenario::{ALL, Scenario, Step};

const DUMP: Step = Ofctl("dump-tlv-map br0");

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "an_empty_map", versions: ALL, steps: &[DUMP] },
    Scenario {
        name: "mappings_and_flows_that_use_them",
        versions: ALL,
        steps: &[
            Ofctl("add-tlv-map br0 '{class=0x104,type=0x80,len=4}->tun_metadata0'"),
            Ofctl(
                "add-tlv-map br0 '{class=0xffff,type=1,len=8}->tun_metadata1,{class=0xffff,type=2,len=124}->tun_metadata7'",
            ),
            DUMP,
            Ofctl("add-flow br0 tun_metadata0=1234,actions=controller"),
            Ofctl(
                "add-flow br0 tun_metadata0=0x5/0xf,actions=move:NXM_NX_TUN_METADATA0[28..31]->NXM_NX_REG9[28..31],2",
            ),
            Ofctl("add-flow br0 tun_metadata1=0xaabb,actions=load:7->NXM_NX_TUN_METADATA1[0..31],2"),
            Ofctl("add-flow br0 'priority=3,actions=set_field:0x9->tun_metadata0,2'"),
            Ofctl("dump-flows br0"),
            Ofctl("dump-flows br0 tun_metadata0=1234"),
        ],
    },
    Scenario {
        name: "a_mapping_goes",
        versions: ALL,
        steps: &[
            Ofctl(
                "add-tlv-map br0 '{class=1,type=1,len=4}->tun_metadata0,{class=1,type=2,len=4}->tun_metadata1'",
            ),
            Ofctl("del-tlv-map br0 '{class=1,type=1,len=4}->tun_metadata0'"),
            DUMP,
            Ofctl("add-flow br0 tun_metadata0=1,actions=2"),
            Ofctl("add-flow br0 tun_metadata1=1,actions=2"),
            Ofctl("del-flows br0"),
            // Open vSwitch lets go of a flow's options a moment later.
            Step::Wait(1000),
            Ofctl("del-tlv-map br0"),
            DUMP,
        ],
    },
    Scenario {
        name: "a_mapping_in_use_stays",
        versions: ALL,
        steps: &[
            Ofctl(
                "add-tlv-map br0 '{class=1,type=1,len=4}->tun_metadata0,{class=1,type=2,len=4}->tun_metadata1'",
            ),
            Ofctl("add-flow br0 tun_metadata0=1,actions=2"),
            Ofctl("add-flow br0 actions=move:NXM_NX_TUN_METADATA1[0..15]->NXM_NX_REG0[0..15],2"),
            Ofctl("del-tlv-map br0 '{class=1,type=1,len=4}->tun_metadata0'"),
            Ofctl("del-tlv-map br0 '{class=1,type=2,len=4}->tun_metadata1'"),
            Ofctl("del-tlv-map br0"),
            DUMP,
            Ofctl("dump-flows br0"),
        ],
    },
    Scenario {
        name: "mappings_that_cannot_be",
        versions: ALL,
        steps: &[
            Ofctl("add-tlv-map br0 '{class=1,type=1,len=4}->tun_metadata0'"),
            Ofctl("add-tlv-map br0 '{class=1,type=1,len=4}->tun_metadata0'"),
            Ofctl("add-tlv-map br0 '{class=1,type=1,len=4}->tun_metadata2'"),
            Ofctl("add-tlv-map br0 '{class=2,type=1,len=4}->tun_metadata0'"),
            Ofctl("add-tlv-map br0 '{class=3,type=1,len=3}->tun_metadata3'"),
            Ofctl("add-tlv-map br0 '{class=3,type=1,len=128}->tun_metadata3'"),
            Ofctl("add-tlv-map br0 '{class=3,type=1,len=4}->tun_metadata64'"),
            Ofctl(
                "add-tlv-map br0 '{class=4,type=1,len=124}->tun_metadata4,{class=4,type=2,len=124}->tun_metadata5,{class=4,type=3,len=124}->tun_metadata6'",
            ),
            Ofctl(
                "add-tlv-map br0 '{class=5,type=1,len=4}->tun_metadata1,{class=5,type=1,len=4}->tun_metadata2'",
            ),
            Ofctl("del-tlv-map br0 '{class=9,type=9,len=4}->tun_metadata9'"),
            DUMP,
        ],
    },
];
