//! add-flow, add-flows, mod-flows, del-flows, with every kind of filter.

use crate::scenario::Step::{File, Ofctl, OfctlWithInput};
use crate::scenario::{ALL, FROM_13, Scenario, Step, Version};

/// Flows to modify and to delete.
const FLOWS: Step = File(
    "flows",
    "cookie=0x11,table=0,priority=10,tcp,tp_dst=80,actions=output:1
cookie=0x12,table=0,priority=20,tcp,tp_dst=80,actions=output:2
cookie=0x13,table=0,priority=10,tcp,actions=output:2
cookie=0x21,table=0,priority=10,udp,actions=output:1,output:3
cookie=0x22,table=1,priority=10,tcp,tp_dst=80,actions=output:3
cookie=0x23,table=1,priority=10,ip,nw_dst=10.0.0.0/8,actions=drop
cookie=0x31,table=2,priority=10,ip,nw_dst=10.1.0.0/16,actions=drop
cookie=0x32,table=2,priority=10,in_port=1,dl_vlan=5,actions=strip_vlan,output:2
cookie=0x33,table=2,priority=5,actions=resubmit(2,1)
",
);
const ADD: Step = Ofctl("add-flows br0 flows");
const DUMP: Step = Ofctl("dump-flows br0");

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "add_flow_replaces_the_same_match_at_the_same_priority",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 cookie=1,priority=5,tcp,actions=1"),
            Ofctl("add-flow br0 cookie=2,priority=5,tcp,actions=2"),
            Ofctl("add-flow br0 cookie=3,priority=6,tcp,actions=3"),
            Ofctl("add-flow br0 cookie=4,table=1,priority=5,tcp,actions=3"),
            Ofctl("add-flow br0 cookie=5,priority=5,tcp,tp_dst=0/0,actions=3"),
            DUMP,
        ],
    },
    Scenario {
        name: "add_flow_from_standard_input",
        versions: ALL,
        steps: &[
            OfctlWithInput(
                "add-flow br0 -",
                "priority=1,actions=drop\n# a comment\n\npriority=2,actions=NORMAL\n",
            ),
            OfctlWithInput("add-flows br0 -", "priority=3,actions=drop\n"),
            DUMP,
        ],
    },
    Scenario {
        name: "add_flows_with_command_words",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            File(
                "commands",
                "add cookie=1,table=0,priority=99,actions=drop
modify table=0,tcp,actions=output:3
modify_strict table=0,priority=20,tcp,tp_dst=80,actions=NORMAL
delete table=1
delete_strict table=2,priority=5
delete_strict table=2,priority=9,in_port=1
",
            ),
            Ofctl("add-flows br0 commands"),
            DUMP,
        ],
    },
    Scenario {
        name: "defaults_of_a_flow",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 actions=drop"),
            Ofctl("add-flow br0 table=255,priority=3,actions=drop"),
            Ofctl("add-flow br0 priority=0,actions="),
            Ofctl("add-flow br0 priority=65535,duration=5s,n_packets=7,n_bytes=8,actions=drop"),
            Ofctl("add-flow br0 priority=7"),
            DUMP,
        ],
    },
    Scenario {
        name: "port_names_in_flows",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 in_port=p1,actions=p2"),
            Ofctl("add-flow br0 in_port=\"p2\",actions=output:p3,in_port"),
            Ofctl("add-flow br0 in_port=LOCAL,actions=resubmit(p3,1)"),
            Ofctl("--no-names add-flow br0 in_port=3,actions=p2"),
            Ofctl("--no-names add-flow br0 in_port=3,actions=2"),
            Ofctl("--names dump-flows br0"),
            DUMP,
        ],
    },
    Scenario {
        name: "modify_changes_all_that_the_match_covers",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("mod-flows br0 tcp,actions=NORMAL"),
            DUMP,
            Ofctl("mod-flows br0 table=2,actions=drop"),
            DUMP,
            Ofctl("mod-flows br0 ip,nw_dst=10.1.0.0/16,actions=3"),
            DUMP,
        ],
    },
    Scenario {
        name: "modify_strict_changes_one",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("--strict mod-flows br0 priority=10,tcp,actions=NORMAL"),
            Ofctl("--strict mod-flows br0 table=1,priority=10,tcp,tp_dst=80,actions=NORMAL"),
            DUMP,
        ],
    },
    Scenario {
        name: "modify_without_a_match_adds",
        versions: ALL,
        steps: &[
            Ofctl("mod-flows br0 table=3,priority=9,cookie=5,idle_timeout=600,udp,actions=1"),
            Ofctl("--strict mod-flows br0 table=3,priority=8,cookie=6,udp,actions=1"),
            Ofctl("mod-flows br0 table=3,cookie=7/-1,arp,actions=1"),
            DUMP,
        ],
    },
    Scenario {
        name: "modify_keeps_counters_timeouts_and_flags",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 cookie=1,idle_timeout=600,hard_timeout=700,send_flow_rem,icmp,actions=2"),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(icmp), " actions=resubmit(,0)'")),
            Ofctl("mod-flows br0 idle_timeout=5,hard_timeout=6,icmp,actions=3"),
            DUMP,
            Ofctl("mod-flows br0 cookie=9,icmp,actions=2"),
            DUMP,
        ],
    },
    Scenario {
        name: "modify_by_cookie",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("mod-flows br0 cookie=0x10/0xf0,actions=NORMAL"),
            DUMP,
            Ofctl("mod-flows br0 cookie=0x22/-1,cookie=0x99,actions=drop"),
            DUMP,
            Ofctl("mod-flows br0 cookie=0x44/-1,actions=drop"),
            DUMP,
        ],
    },
    Scenario {
        name: "delete_all_that_the_match_covers",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("del-flows br0 tcp,tp_dst=80"),
            DUMP,
            Ofctl("del-flows br0 ip,nw_dst=10.1.0.0/16"),
            DUMP,
            Ofctl("del-flows br0 table=0"),
            DUMP,
            Ofctl("del-flows br0"),
            DUMP,
        ],
    },
    Scenario {
        name: "delete_strict_deletes_one",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("--strict del-flows br0 table=0,priority=10,tcp"),
            Ofctl("--strict del-flows br0 table=0,priority=11,udp"),
            Ofctl("--strict del-flows br0 table=2,priority=5"),
            DUMP,
            // Without a table it is any of one match and priority.
            Ofctl("--strict del-flows br0 priority=10,tcp,tp_dst=80"),
            DUMP,
        ],
    },
    Scenario {
        name: "delete_by_cookie",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("del-flows br0 cookie=0x11/-1"),
            DUMP,
            Ofctl("del-flows br0 cookie=0x20/0xf0,tcp"),
            DUMP,
            Ofctl("del-flows br0 cookie=0/0"),
            DUMP,
        ],
    },
    Scenario {
        name: "delete_by_output",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("del-flows br0 out_port=1"),
            DUMP,
            Ofctl("del-flows br0 table=0,out_port=p2,tcp"),
            DUMP,
            Ofctl("--strict del-flows br0 table=1,priority=10,tcp,tp_dst=80,out_port=2"),
            Ofctl("del-flows br0 out_port=9"),
            DUMP,
        ],
    },
    Scenario {
        name: "delete_by_group_finds_none",
        versions: FROM_13,
        steps: &[FLOWS, ADD, Ofctl("del-flows br0 out_group=1"), DUMP],
    },
    Scenario {
        name: "delete_from_standard_input",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            OfctlWithInput("del-flows br0 -", "table=0,udp\ntable=2\n"),
            OfctlWithInput("mod-flows br0 -", "table=0,tcp,actions=drop\n"),
            DUMP,
        ],
    },
    Scenario {
        name: "reset_counts",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 cookie=1,icmp,actions=2"),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(icmp), " actions=resubmit(,0)'")),
            DUMP,
            Ofctl("add-flow br0 cookie=2,icmp,actions=3"),
            DUMP,
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(icmp), " actions=resubmit(,0)'")),
            Ofctl("add-flow br0 cookie=3,reset_counts,icmp,actions=3"),
            DUMP,
        ],
    },
    Scenario {
        name: "check_overlap",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 priority=5,tcp,actions=1"),
            Ofctl("add-flow br0 priority=5,check_overlap,in_port=1,actions=1"),
            Ofctl("add-flow br0 priority=6,check_overlap,in_port=1,actions=1"),
            Ofctl("add-flow br0 table=1,priority=5,check_overlap,in_port=1,actions=1"),
            Ofctl("add-flow br0 priority=5,check_overlap,udp,actions=1"),
            Ofctl("add-flow br0 priority=5,check_overlap,tcp,tp_dst=80,actions=1"),
            Ofctl("add-flow br0 priority=5,check_overlap,tcp,actions=2"),
            Ofctl("mod-flows br0 priority=5,check_overlap,ip,actions=2"),
            DUMP,
        ],
    },
    Scenario {
        name: "conjunctions",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 priority=100,ip,nw_src=10.0.0.1,actions=conjunction(1234,1/2)"),
            Ofctl(
                "add-flow br0 priority=100,ip,nw_dst=10.0.0.2,actions=conjunction(1234,2/2),conjunction(5,1/3)",
            ),
            Ofctl("add-flow br0 priority=90,conj_id=1234,ip,actions=2"),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(icmp), " actions=resubmit(,0)'")),
            DUMP,
        ],
    },
    Scenario {
        name: "fin_timeout",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 idle_timeout=600,tcp,actions=fin_timeout(idle_timeout=5,hard_timeout=50),2"),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(syn), " actions=resubmit(,0)'")),
            DUMP,
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(fin), " actions=resubmit(,0)'")),
            Step::Differs {
                command: "dump-flows br0",
                why: "fin_timeout is kept and does nothing",
                ours: &["n_packets=2, n_bytes=108, idle_timeout=600, "],
            },
        ],
    },
    Scenario {
        name: "formats_that_cannot_say_it",
        versions: &[Version::V10],
        steps: &[
            Ofctl("-F openflow10 add-flow br0 reg0=1,actions=drop"),
            Ofctl("-F openflow10 add-flow br0 tcp,actions=1"),
            Ofctl("-F openflow10 add-flow br0 table=1,tcp,actions=1"),
            Ofctl("-F openflow10+table_id add-flow br0 table=1,tcp,actions=1"),
            Ofctl("-F nxm add-flow br0 reg0=1,actions=1"),
            Ofctl("-F nxm+table_id add-flow br0 table=2,reg0=1,actions=1"),
            Ofctl("-F openflow10 del-flows br0 tcp"),
            DUMP,
        ],
    },
];
