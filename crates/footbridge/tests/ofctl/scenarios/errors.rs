//! What is refused, and with which words.

use crate::scenario::Step::{Differs, Ofctl};
use crate::scenario::{ALL, FROM_13, Scenario, Step};

const DUMP: Step = Ofctl("dump-flows br0");

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "flows_that_the_switch_refuses",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 table=254,actions=drop"),
            Ofctl("mod-flows br0 table=254,actions=drop"),
            Ofctl("del-flows br0 table=254"),
            Ofctl("add-flow br0 actions=group:5"),
            Ofctl("add-flow br0 actions=clone(group:5)"),
            Ofctl("add-flow br0 tun_metadata0=1,actions=1"),
            Ofctl("add-flow br0 actions=load:1->NXM_NX_TUN_METADATA0[]"),
            Ofctl("add-flow br0 actions=move:NXM_NX_TUN_METADATA1[0..15]->NXM_NX_REG0[0..15]"),
            DUMP,
        ],
    },
    Scenario {
        name: "instructions_that_the_switch_refuses",
        versions: FROM_13,
        steps: &[
            Ofctl("add-flow br0 actions=meter:1,1"),
            Ofctl("add-flow br0 actions=goto_table:0"),
            Ofctl("add-flow br0 actions=write_actions(group:7)"),
            Ofctl("add-flow br0 table=253,actions=goto_table:254"),
            DUMP,
        ],
    },
    Scenario {
        name: "flows_that_the_client_refuses",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 actions=foo"),
            Ofctl("add-flow br0 nosuchfield=1,actions=drop"),
            Ofctl("add-flow br0 tcp,nw_dst=1,actions=drop"),
            Ofctl("add-flow br0 actions=output:none"),
            Ofctl("add-flow br0 in_port=nobody,actions=drop"),
            Ofctl("add-flow br0 'actions=conjunction(1,1/2),1'"),
            Ofctl("add-flow br0 table=1,actions=goto_table:1"),
            Ofctl("add-flow br0 actions=mod_nw_src:1.1.1.1"),
            // To Open vSwitch this is another flow than the one without the address, though it prints the same.
            Ofctl("add-flow br0 table=1,nw_dst=10.0.0.1,actions=drop"),
            Ofctl("add-flow br0 ip,tcp,actions=drop"),
            Ofctl("add-flow br0 actions=set_field:1->eth_type"),
            DUMP,
        ],
    },
    Scenario {
        name: "what_open_vswitch_takes_without_a_use",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 priority=1,actions=resubmit(,254)"),
            Ofctl("add-flow br0 priority=2,actions=output:999"),
            Ofctl("add-flow br0 priority=3,in_port=999,actions=1"),
            Ofctl("add-flow br0 priority=4,actions=note:01.02.03"),
            Ofctl("add-flow br0 priority=5,actions=LOCAL"),
            Ofctl("add-flow br0 priority=6,actions=enqueue:1:7"),
            Ofctl("add-flow br0 priority=7,actions=set_queue:3,1,pop_queue"),
            Ofctl("add-flow br0 priority=8,actions=TABLE"),
            DUMP,
        ],
    },
    Scenario {
        name: "a_part_of_a_conjunction_that_matches_a_conjunctions_id",
        versions: ALL,
        steps: &[Differs {
            command: "add-flow br0 conj_id=1,actions=conjunction(1,1/2)",
            why: "no packet takes it: the search for a conjunction's id passes over conjunctions",
            ours: &["NXBAC_BAD_CONJUNCTION", "exit status 1"],
        }],
    },
    Scenario {
        name: "actions_that_footbridge_refuses",
        versions: ALL,
        steps: &[
            Differs {
                command: "add-flow br0 'priority=1,actions=learn(table=1,NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])'",
                why: "learn is not supported",
                ours: &["OFPT_ERROR", "OFPBAC_BAD_VENDOR_TYPE", "exit status 1"],
            },
            Differs {
                command: "add-flow br0 'priority=2,ip,actions=ct(commit,nat(src=1.2.3.4))'",
                why: "ct(nat) is not supported",
                ours: &["OFPT_ERROR", "exit status 1"],
            },
            Differs {
                command: "add-flow br0 'priority=3,tcp,actions=ct(commit,alg=ftp)'",
                why: "ct has no helpers",
                ours: &["OFPT_ERROR", "exit status 1"],
            },
            Differs {
                command: "add-flow br0 'priority=4,actions=controller(pause)'",
                why: "continuations are not supported",
                ours: &["OFPT_ERROR", "exit status 1"],
            },
            Differs {
                command: "add-flow br0 'priority=5,actions=bundle(eth_src,0,hrw,ofport,members:1,2)'",
                why: "bundle, a choice of ports, is not supported",
                ours: &["OFPT_ERROR", "OFPBAC_BAD_VENDOR_TYPE", "exit status 1"],
            },
            Differs {
                command: "add-flow br0 'priority=6,actions=multipath(eth_src,50,modulo_n,1,0,NXM_NX_REG0[])'",
                why: "multipath is not supported",
                ours: &["OFPT_ERROR", "OFPBAC_BAD_VENDOR_TYPE", "exit status 1"],
            },
            Differs {
                command: "add-flow br0 'priority=7,actions=push_mpls:0x8847'",
                why: "MPLS is not supported",
                ours: &["OFPT_ERROR", "exit status 1"],
            },
            Differs {
                command: "add-flow br0 'priority=8,actions=sample(probability=1,collector_set_id=1)'",
                why: "sample is not supported",
                ours: &["OFPT_ERROR", "OFPBAC_BAD_VENDOR_TYPE", "exit status 1"],
            },
            Differs { command: "--no-stats dump-flows br0", why: "they are not there", ours: &[] },
        ],
    },
    Scenario {
        name: "matches_that_footbridge_refuses",
        versions: FROM_13,
        steps: &[
            Differs {
                command: "add-flow br0 mpls,mpls_label=5,actions=drop",
                why: "MPLS is not supported",
                ours: &["OFPT_ERROR", "OFPBMC_BAD_FIELD", "exit status 1"],
            },
            Differs {
                command: "add-flow br0 dl_type=0x894f,nsh_spi=5,actions=drop",
                why: "NSH is not supported",
                ours: &["OFPT_ERROR", "exit status 1"],
            },
        ],
    },
];
