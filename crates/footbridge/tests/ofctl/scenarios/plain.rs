//! ovs-ofctl without `-O`, with versions that the bridge does not speak, and with what is not there.

use crate::scenario::Step::{Monitor, MonitorEnds, Ofctl};
use crate::scenario::{Scenario, Version};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "the_articles_commands",
        versions: &[Version::Default],
        steps: &[
            Ofctl(
                "add-flow br0 table=20,priority=200,arp,arp_tpa=10.222.2.1,arp_op=1,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:aa:bb:cc:dd:ee:ff,load:0x2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],load:0xaabbccddeeff->NXM_NX_ARP_SHA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],load:0xade0201->NXM_OF_ARP_SPA[],IN_PORT",
            ),
            Ofctl("dump-flows br0 table=20 --no-stats --names"),
            Ofctl("show br0"),
            Ofctl("dump-flows br0"),
        ],
    },
    Scenario {
        name: "versions_that_are_not_spoken",
        versions: &[Version::Default],
        steps: &[
            Ofctl("-O OpenFlow11 show br0"),
            Ofctl("-O OpenFlow12 dump-flows br0"),
            Ofctl("-O OpenFlow11,OpenFlow13 dump-flows br0"),
            Ofctl("-O OpenFlow10,OpenFlow15 show br0"),
            Ofctl("-O OpenFlow13,OpenFlow14 dump-ports br0"),
        ],
    },
    Scenario {
        name: "by_the_sockets_name",
        versions: &[Version::Default],
        steps: &[Ofctl("dump-flows unix:br0.mgmt"), Ofctl("dump-flows nobody"), Ofctl("snoop nobody")],
    },
    Scenario {
        name: "snoop_without_a_controller",
        versions: &[Version::Default],
        steps: &[crate::scenario::Step::Differs {
            command: "--timeout=1 snoop br0",
            why: "it waits for a controller, as ovs-ofctl(8) has it, where Open vSwitch hangs up",
            ours: &["ended by signal Some(14)"],
        }],
    },
    Scenario {
        name: "a_monitor_that_asks_for_nothing",
        versions: &[Version::Default],
        steps: &[
            Monitor("monitor br0"),
            Ofctl("add-flow br0 actions=drop"),
            Ofctl("del-flows br0"),
            MonitorEnds,
        ],
    },
];
