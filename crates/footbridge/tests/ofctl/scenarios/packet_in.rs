//! Packets sent to the controller, as `ovs-ofctl monitor` shows them in each format.

use crate::scenario::Step::{Monitor, MonitorEnds, MonitorPrints, Ofctl};
use crate::scenario::{ALL, Scenario, Step};

/// A frame from port 1 through table 0.
macro_rules! send {
    ($frame:tt) => {
        Ofctl(concat!("packet-out br0 'in_port=1 packet=", frame!($frame), " actions=resubmit(,0)'"))
    };
}

/// The three formats, each with two actions to the controller.
macro_rules! format {
    ($options:literal) => {
        &[
            Ofctl("add-flow br0 cookie=7,table=0,icmp,actions=set_field:5->reg0,resubmit(,3)"),
            Ofctl("add-flow br0 cookie=8,table=0,arp,actions=controller(max_len=20)"),
            Ofctl("add-flow br0 cookie=9,table=0,udp,actions=CONTROLLER:65535,2"),
            Ofctl("add-flow br0 cookie=10,table=3,actions=set_field:0x55->metadata,controller(userdata=01.02.03)"),
            Monitor(concat!($options, " monitor br0 65534")),
            send!(icmp),
            send!(arp),
            send!(udp),
            MonitorPrints("PACKET_IN", 3),
            MonitorEnds,
        ]
    };
}

/// Nobody hears of it.
const NONE: &[Step] = &[
    Ofctl("add-flow br0 icmp,actions=controller(id=5)"),
    Ofctl("add-flow br0 udp,actions=CONTROLLER"),
    Monitor("monitor br0"),
    send!(icmp),
    send!(udp),
    MonitorEnds,
    Monitor("monitor br0 65534"),
    send!(icmp),
    MonitorEnds,
    Ofctl("dump-flows br0"),
];

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "format_by_default", versions: ALL, steps: format!("") },
    Scenario { name: "format_standard", versions: ALL, steps: format!("-P standard") },
    Scenario { name: "format_nxt_packet_in", versions: ALL, steps: format!("-P nxt_packet_in") },
    Scenario { name: "format_nxt_packet_in2", versions: ALL, steps: format!("-P nxt_packet_in2") },
    Scenario { name: "more_words", versions: ALL, steps: format!("-m -P nxt_packet_in2") },
    Scenario { name: "for_other_controllers_or_not_asked_for", versions: ALL, steps: NONE },
    Scenario {
        name: "reasons",
        versions: ALL,
        steps: &[
            Ofctl(
                "add-flow br0 icmp,actions=controller(reason=no_match),controller(reason=invalid_ttl),controller(reason=action)",
            ),
            Monitor("monitor br0 65534"),
            send!(icmp),
            MonitorPrints("PACKET_IN", 2),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "a_ttl_that_ran_out",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 icmp,actions=dec_ttl,2"),
            Monitor("monitor br0 65534"),
            send!(ttl_1),
            MonitorEnds,
            Monitor("monitor br0 65534 invalid_ttl"),
            send!(ttl_1),
            send!(icmp),
            MonitorPrints("PACKET_IN", 1),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "limited_by_the_length_asked_for",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 icmp,actions=CONTROLLER:65535"),
            Ofctl("add-flow br0 udp,actions=CONTROLLER:20"),
            Monitor("-m monitor br0 30"),
            send!(icmp),
            send!(udp),
            MonitorPrints("PACKET_IN", 2),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "from_a_real_port",
        versions: ALL,
        steps: &[
            Ofctl("add-flow br0 in_port=1,icmp,actions=CONTROLLER:14"),
            Monitor("monitor br0 65534"),
            Step::Host("p1", "ping -q -c 1 -W 0.2 -s 8 -e 1 10.0.0.2"),
            MonitorPrints("PACKET_IN", 1),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "in_the_middle_of_a_walk",
        versions: ALL,
        steps: &[
            Ofctl(
                "add-flow br0 vlan_tci=0x1000/0x1000,actions=controller,strip_vlan,controller,set_field:02:00:00:00:00:77->eth_src,controller,2",
            ),
            Monitor("monitor br0 65534"),
            send!(vlan),
            MonitorPrints("PACKET_IN", 3),
            MonitorEnds,
        ],
    },
    Scenario {
        name: "of_a_packet_out",
        versions: ALL,
        steps: &[
            Monitor("monitor br0 65534"),
            Ofctl(concat!("packet-out br0 'in_port=2 packet=", frame!(icmp), " actions=CONTROLLER'")),
            MonitorPrints("PACKET_IN", 1),
            MonitorEnds,
        ],
    },
];
