//! dump-flows with all its options, and dump-aggregate.

use crate::scenario::Step::{File, Ofctl};
use crate::scenario::{ALL, FROM_13, FROM_14, Scenario, Step};

/// Flows of several tables, priorities, cookies, protocols and outputs.
const FLOWS: Step = File(
    "flows",
    "cookie=0x1020000000000,table=0,priority=200,in_port=p1,actions=load:0x1->NXM_NX_REG0[0..15],resubmit(,10)
     cookie=0x1020000000000,table=0,priority=190,in_port=p2,actions=load:0x2->NXM_NX_REG0[0..15],resubmit(,10)
     cookie=0x1000000000000,table=0,priority=0,actions=drop
     cookie=0x2000000000000,table=10,priority=200,ip,in_port=1,actions=resubmit(,20)
     cookie=0x2000000000000,table=10,priority=200,arp,in_port=1,arp_spa=10.0.0.1,arp_sha=02:00:00:00:01:01,actions=resubmit(,20)
     cookie=0x3,table=20,priority=200,arp,arp_tpa=10.0.0.254,arp_op=1,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:aa:bb:cc:dd:ee:ff,load:0x2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],load:0xaabbccddeeff->NXM_NX_ARP_SHA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],load:0xa0000fe->NXM_OF_ARP_SPA[],IN_PORT
     cookie=0x3,table=20,priority=190,tcp,nw_dst=10.0.0.0/24,tp_dst=80,actions=output:2
     cookie=0x4,table=20,priority=190,tcp6,ipv6_dst=fd00::/64,tp_src=0x8000/0xff00,actions=output:3
     cookie=0x4,table=20,priority=180,udp,actions=output:2,output:3
     cookie=0x5,table=20,priority=170,dl_vlan=5,dl_vlan_pcp=3,actions=strip_vlan,output:1
     cookie=0x5,table=20,priority=160,reg0=0x1/0xffff,metadata=0x5,actions=output:NXM_NX_REG1[]
     cookie=0x6,table=30,priority=100,ip,ct_state=-trk,actions=ct(table=31,zone=65520)
     cookie=0x6,table=31,priority=100,ip,ct_state=+new+trk,actions=ct(commit,zone=65520,exec(load:0x20->NXM_NX_CT_MARK[])),output:2
     cookie=0x6,table=31,priority=90,ip,ct_state=+est+trk,ct_mark=0x20,actions=NORMAL
     cookie=0x7,table=40,priority=1,idle_timeout=600,hard_timeout=900,actions=CONTROLLER:128
",
);

const ADD: Step = Ofctl("add-flows br0 flows");

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "output_options",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("dump-flows br0"),
            Ofctl("--no-stats dump-flows br0"),
            Ofctl("--stats dump-flows br0"),
            Ofctl("--names dump-flows br0"),
            Ofctl("--names --no-stats dump-flows br0"),
            Ofctl("--no-names dump-flows br0"),
            Ofctl("--color=always --no-stats dump-flows br0"),
            Ofctl("-m dump-flows br0"),
            Ofctl("--read-only dump-flows br0"),
        ],
    },
    Scenario {
        name: "order",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("--sort dump-flows br0"),
            Ofctl("--rsort dump-flows br0"),
            Ofctl("--sort=priority dump-flows br0"),
            Ofctl("--rsort=in_port dump-flows br0"),
            Ofctl("--sort=nw_dst --no-stats dump-flows br0"),
            Ofctl("--sort=nonsense dump-flows br0"),
        ],
    },
    Scenario {
        name: "filtered_by_table",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("dump-flows br0 table=20"),
            Ofctl("--no-stats dump-flows br0 table=0"),
            Ofctl("dump-flows br0 table=99"),
            Ofctl("dump-flows br0 table=255"),
            Ofctl("dump-flows br0 table=256"),
            Ofctl("dump-aggregate br0 table=20"),
        ],
    },
    Scenario {
        name: "filtered_by_match",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("dump-flows br0 in_port=1"),
            Ofctl("--names dump-flows br0 in_port=p1"),
            Ofctl("dump-flows br0 tcp"),
            Ofctl("dump-flows br0 ip"),
            Ofctl("dump-flows br0 tcp,nw_dst=10.0.0.0/24"),
            Ofctl("dump-flows br0 tcp,nw_dst=10.0.0.1"),
            Ofctl("dump-flows br0 dl_vlan=5"),
            Ofctl("dump-flows br0 table=20,arp,arp_tpa=10.0.0.254"),
            Ofctl("dump-flows br0 reg0=0x1/0xffff"),
            Ofctl("dump-flows br0 reg0=1"),
            Ofctl("dump-flows br0 ct_state=+trk"),
            Ofctl("dump-flows br0 metadata=5"),
            Ofctl("dump-flows br0 priority=5"),
        ],
    },
    Scenario {
        name: "filtered_by_cookie",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("dump-flows br0 cookie=3/-1"),
            Ofctl("dump-flows br0 cookie=0x1000000000000/0xffff000000000000"),
            Ofctl("dump-flows br0 cookie=0x1020000000000/-1,in_port=2"),
            Ofctl("dump-flows br0 cookie=0x77/-1"),
            Ofctl("dump-flows br0 cookie=3"),
            Ofctl("dump-aggregate br0 cookie=0x1000000000000/0xffff000000000000"),
        ],
    },
    Scenario {
        name: "filtered_by_output",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("dump-flows br0 out_port=2"),
            Ofctl("dump-flows br0 out_port=p3"),
            Ofctl("dump-flows br0 out_port=9"),
            Ofctl("dump-flows br0 out_port=CONTROLLER"),
            Ofctl("dump-flows br0 out_port=IN_PORT"),
            Ofctl("dump-flows br0 out_port=NORMAL"),
            Ofctl("dump-flows br0 table=20,out_port=2,tcp"),
            Ofctl("dump-aggregate br0 out_port=2"),
            Ofctl("dump-flows br0 out_port=nobody"),
        ],
    },
    Scenario {
        name: "filtered_by_group",
        versions: FROM_13,
        steps: &[FLOWS, ADD, Ofctl("dump-flows br0 out_group=1"), Ofctl("dump-aggregate br0 out_group=1")],
    },
    Scenario {
        name: "aggregates",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("dump-aggregate br0"),
            Ofctl("dump-aggregate br0 tcp"),
            Ofctl("dump-aggregate br0 in_port=1"),
            Ofctl("--names dump-aggregate br0 in_port=p2"),
            Ofctl("dump-aggregate br0 table=99"),
        ],
    },
    Scenario {
        name: "flow_formats",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("-F openflow10 dump-flows br0"),
            Ofctl("-F nxm dump-flows br0"),
            Ofctl("-F oxm dump-flows br0"),
            Ofctl("-F OpenFlow10-table_id --no-stats dump-flows br0 table=20"),
            Ofctl("-F NXM-table_id dump-aggregate br0"),
            Ofctl("-F openflow10 dump-flows br0 in_port=1"),
            Ofctl("-F openflow10 dump-aggregate br0"),
        ],
    },
    Scenario {
        name: "flags_importance_and_timeouts",
        versions: FROM_14,
        steps: &[
            Ofctl("add-flow br0 priority=1,importance=7,send_flow_rem,actions=drop"),
            Ofctl("add-flow br0 priority=2,importance=65535,idle_timeout=600,actions=1"),
            Ofctl("add-flow br0 priority=3,no_packet_counts,no_byte_counts,reset_counts,actions=1"),
            Ofctl("add-flow br0 priority=4,check_overlap,hard_timeout=600,actions=1"),
            Ofctl("dump-flows br0"),
            Ofctl("--no-stats dump-flows br0"),
            Ofctl("--names dump-flows br0"),
        ],
    },
    Scenario {
        name: "told_in_one_version_and_dumped_in_another",
        versions: ALL,
        steps: &[
            FLOWS,
            ADD,
            Ofctl("-O OpenFlow10 dump-flows br0"),
            Ofctl("-O OpenFlow13 dump-flows br0"),
            Ofctl("-O OpenFlow14 dump-flows br0"),
            Ofctl("-O OpenFlow15 dump-flows br0"),
        ],
    },
];
