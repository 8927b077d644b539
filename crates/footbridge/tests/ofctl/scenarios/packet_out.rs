//! packet-out: what comes out where.

use crate::scenario::Step::{Heard, Listen, Ofctl};
use crate::scenario::{ALL, Scenario};

/// A packet-out of a frame with actions.
macro_rules! send {
    ($frame:tt, $port:literal, $actions:literal) => {
        Ofctl(concat!(
            "packet-out br0 'in_port=",
            $port,
            " packet=",
            frame!($frame),
            " actions=",
            $actions,
            "'"
        ))
    };
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "to_a_port",
        versions: ALL,
        steps: &[Listen("p2"), send!(icmp, "1", "2"), Heard("p2", 1)],
    },
    Scenario {
        name: "in_the_older_form",
        versions: ALL,
        steps: &[
            Listen("p2"),
            Ofctl(concat!("packet-out br0 1 output:2 ", frame!(icmp))),
            Ofctl(concat!("packet-out br0 none output:2 ", frame!(icmp), " ", frame!(arp))),
            Heard("p2", 3),
        ],
    },
    Scenario {
        name: "from_nowhere_and_by_name",
        versions: ALL,
        steps: &[
            Listen("p2"),
            Listen("p3"),
            send!(icmp, "CONTROLLER", "2"),
            send!(icmp, "NONE", "p3"),
            send!(icmp, "LOCAL", "3"),
            send!(icmp, "p1", "p3"),
            Heard("p2", 1),
            Heard("p3", 3),
        ],
    },
    Scenario {
        name: "floods",
        versions: ALL,
        steps: &[
            Listen("p1"),
            Listen("p2"),
            Listen("p3"),
            send!(arp, "1", "FLOOD"),
            send!(arp, "1", "ALL"),
            send!(arp, "1", "IN_PORT"),
            send!(arp, "1", "1"),
            Heard("p1", 1),
            Heard("p2", 2),
            Heard("p3", 2),
        ],
    },
    Scenario {
        name: "changes_fields",
        versions: ALL,
        steps: &[
            Listen("p2"),
            send!(icmp, "1", "set_field:02:00:00:00:00:99->eth_src,load:0x63->NXM_OF_ETH_DST[0..7],2"),
            send!(vlan, "1", "strip_vlan,2"),
            send!(vlan, "1", "set_field:7->vlan_vid,2"),
            send!(
                icmp,
                "1",
                "push:NXM_OF_ETH_SRC[],push:NXM_OF_ETH_DST[],pop:NXM_OF_ETH_SRC[],pop:NXM_OF_ETH_DST[],2"
            ),
            send!(arp, "1", "load:2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],2"),
            Heard("p2", 5),
        ],
    },
    Scenario {
        name: "through_the_tables",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 table=0,priority=1,actions=drop"),
            Ofctl(
                "add-flow br0 table=0,priority=10,icmp,in_port=1,actions=load:2->NXM_NX_REG0[],resubmit(,5)",
            ),
            Ofctl("add-flow br0 table=5,reg0=2,actions=dec_ttl,output:NXM_NX_REG0[]"),
            Listen("p2"),
            send!(icmp, "1", "resubmit(,0)"),
            send!(icmp, "1", "resubmit(,0)"),
            send!(ttl_1, "1", "resubmit(,0)"),
            send!(arp, "1", "resubmit(,0)"),
            send!(icmp, "3", "resubmit(,0)"),
            send!(icmp, "1", "TABLE"),
            Heard("p2", 3),
            Ofctl("dump-flows br0"),
            Ofctl("dump-aggregate br0"),
            Ofctl("dump-aggregate br0 table=5"),
        ],
    },
    Scenario {
        name: "learned_addresses",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 actions=NORMAL"),
            Listen("p1"),
            Listen("p2"),
            Listen("p3"),
            send!(arp, "1", "NORMAL"),
            // Back to its sender.
            Ofctl(
                "packet-out br0 'in_port=2 packet=020000000101020000000202080600010800060400020200000002020a0000630200000001010a000001 actions=resubmit(,0)'",
            ),
            Heard("p1", 1),
            Heard("p2", 1),
            Heard("p3", 1),
        ],
    },
    Scenario {
        name: "with_metadata",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 reg0=5,metadata=6,actions=2"),
            Ofctl(concat!(
                "packet-out br0 'in_port=1,reg0=5,metadata=6 packet=",
                frame!(icmp),
                " actions=resubmit(,0)'"
            )),
            Ofctl("dump-flows br0"),
        ],
    },
    Scenario {
        name: "that_cannot_be",
        versions: ALL,
        steps: &[
            Ofctl("packet-out br0 'in_port=1 packet=0200 actions=2'"),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(icmp), " actions=foo'")),
            Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!(icmp), " actions=group:3'")),
            Ofctl(concat!("packet-out br0 'in_port=nobody packet=", frame!(icmp), " actions=2'")),
            Ofctl(concat!("packet-out br0 'in_port=65530 packet=", frame!(icmp), " actions=2'")),
            Ofctl(concat!("packet-out br0 'in_port=99 packet=", frame!(icmp), " actions=2'")),
            Ofctl(concat!("packet-out br0 'packet=", frame!(icmp), " actions=2'")),
            Ofctl("packet-out br0 'in_port=1 actions=2'"),
        ],
    },
    Scenario {
        name: "of_frames_of_all_lengths",
        versions: ALL,
        steps: &[
            Listen("p2"),
            Ofctl("packet-out br0 'in_port=1 packet=02000000010202000000010188b5 actions=2'"),
            Ofctl("packet-out br0 'in_port=1 packet=02000000010202000000010188b5ab actions=2'"),
            Heard("p2", 2),
        ],
    },
];
