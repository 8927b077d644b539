//! What is tried, as tables; one file a subject.

use crate::scenario::Scenario;

/// Frames of the host of p1, as hex digits, for `concat!`. They are for nobody that is there, so that none is
/// answered.
macro_rules! frame {
    // An ICMP echo request.
    (icmp) => {
        "02000000020202000000010108004500001c00000000400166df0a0000010a0000020800f7fd00010001"
    };
    // The same with a TTL of 1.
    (ttl_1) => {
        "02000000020202000000010108004500001c000000000101a5df0a0000010a0000020800f7fd00010001"
    };
    // The same in VLAN 5 with priority 3.
    (vlan) => {
        "0200000002020200000001018100600508004500001c00000000400166df0a0000010a0000020800f7fd00010001"
    };
    // A SYN to port 80.
    (syn) => {
        "02000000020202000000010108004500002800000000400666ce0a0000010a0000020fa0005000000001000000005002040087ef0000"
    };
    // A FIN of the same connection.
    (fin) => {
        "02000000020202000000010108004500002800000000400666ce0a0000010a0000020fa0005000000002000000005011040087df0000"
    };
    // A request to port 53.
    (udp) => {
        "02000000020202000000010108004500002000000000401166cb0a0000010a00000213880035000c135061626364"
    };
    // Who has 10.0.0.99?
    (arp) => {
        "ffffffffffff020000000101080600010800060400010200000001010a0000010000000000000a000063"
    };
}

mod absent;
mod bundles;
mod counters;
mod description;
mod dumps;
mod errors;
mod expiry;
mod flow_mods;
mod flow_monitor;
mod packet_in;
mod packet_out;
mod plain;
mod ports;
mod replace;
mod settings;
mod tlv;

/// A subject's scenarios.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) scenarios: &'static [Scenario],
}

/// All of them, each with its own test in `main.rs`.
pub(crate) const GROUPS: &[Group] = &[
    Group { name: "absent", scenarios: absent::SCENARIOS },
    Group { name: "bundles", scenarios: bundles::SCENARIOS },
    Group { name: "counters", scenarios: counters::SCENARIOS },
    Group { name: "description", scenarios: description::SCENARIOS },
    Group { name: "dumps", scenarios: dumps::SCENARIOS },
    Group { name: "errors", scenarios: errors::SCENARIOS },
    Group { name: "expiry", scenarios: expiry::SCENARIOS },
    Group { name: "flow_mods", scenarios: flow_mods::SCENARIOS },
    Group { name: "flow_monitor", scenarios: flow_monitor::SCENARIOS },
    Group { name: "packet_in", scenarios: packet_in::SCENARIOS },
    Group { name: "packet_out", scenarios: packet_out::SCENARIOS },
    Group { name: "plain", scenarios: plain::SCENARIOS },
    Group { name: "ports", scenarios: ports::SCENARIOS },
    Group { name: "replace", scenarios: replace::SCENARIOS },
    Group { name: "settings", scenarios: settings::SCENARIOS },
    Group { name: "tlv", scenarios: tlv::SCENARIOS },
];
