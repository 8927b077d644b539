//! Generated pipelines and packets: the program does what the evaluator does, to the byte and to the
//! count. A disagreement prints the seed, the flows and the frame.

use super::bed::{Bed, Seen};
use crate::ebpf::compile::record::RECORDS;
use crate::{Change, PacketOut, TableStatistics};
use footbridge_openflow::{Field, Key, PortNo};
use footbridge_pipeline::packet::compose;
use footbridge_pipeline::{
    DropReason, FlowId, Packet, Pipeline, PortKind, State, TunnelKey, Unobserved, Verdict,
};

const PORTS: u32 = 4;
/// Where the seeds begin; each pipeline has its own.
const FIRST_SEED: u64 = 0x5eed_0001;
/// How many, unless the environment's FOOTBRIDGE_PIPELINES says otherwise.
const PIPELINES: u64 = 120;
const PACKETS: usize = 250;

/// SplitMix64: numbers from a seed, the same everywhere.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(super) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const MACS: &[&str] = &["02:00:00:00:00:01", "02:00:00:00:00:02", "aa:bb:cc:dd:ee:ff", "ff:ff:ff:ff:ff:ff"];
const IPS: &[&str] = &["10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.7.9"];
const MASKS: &[&str] = &["", "", "/24", "/16", "/255.0.255.0"];

const IP6S: &[&str] = &["fc00::1", "fc00::2", "fc00:0:0:1::1", "fe80::9"];

/// What a flow takes of IPv6.
fn matching_ipv6(random: &mut Random) -> Vec<String> {
    let kinds = [
        "ipv6",
        "ipv6,ipv6_label=0x5/0xf",
        "ipv6,nw_ttl=64",
        "ipv6,nw_tos=4",
        "ipv6,ip_frag=later",
        "ipv6,nw_proto=44",
        "tcp6",
        "tcp6,tp_dst=80",
        "udp6,tp_src=80",
        "icmp6",
        "icmp6,icmp_type=135,icmp_code=0",
        "icmp6,icmp_type=136,icmp_code=0,nd_target=fc00::2",
        "icmp6,icmp_type=135,icmp_code=0,nd_sll=02:00:00:00:00:01",
    ];
    let mut terms = vec![random.pick(&kinds).to_owned()];
    for field in ["ipv6_src", "ipv6_dst"] {
        if random.one_in(4) {
            terms.push(format!(
                "{field}={}{}",
                random.pick(IP6S),
                random.pick(&["", "/64", "/48", "/ffff::ff"])
            ));
        }
    }
    terms
}

/// Actions in a flow of IPv6.
fn action_ipv6(random: &mut Random, matching: &str) -> String {
    let mut list = vec![
        format!("set_field:{}->ipv6_dst", random.pick(IP6S)),
        format!("set_field:{}->ipv6_src", random.pick(IP6S)),
        "load:0x77->NXM_NX_IPV6_DST[60..70]".to_owned(),
        "move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[]".to_owned(),
        "move:NXM_NX_IPV6_SRC[32..127]->NXM_NX_XXREG0[0..95]".to_owned(),
        "set_field:0x54321->ipv6_label".to_owned(),
        "mod_nw_tos:8".to_owned(),
        "mod_nw_ttl:9".to_owned(),
        "dec_ttl".to_owned(),
        "dec_ttl".to_owned(),
    ];
    if matching.starts_with("tcp6") {
        list.push("mod_tp_dst:81".to_owned());
    } else if matching.starts_with("udp6") {
        list.push("load:0x50->NXM_OF_UDP_SRC[]".to_owned());
    } else if matching.starts_with("icmp6") {
        list.push("set_field:1->icmpv6_code".to_owned());
    }
    if matching.contains("icmp_code=0") {
        list.push("set_field:fc00::9->nd_target".to_owned());
        list.push("set_field:7->nd_reserved".to_owned());
        let own = if matching.contains("=135") { "nd_sll" } else { "nd_tll" };
        list.push(format!("set_field:02:00:00:00:00:08->{own}"));
        list.push("move:NXM_OF_ETH_SRC[]->NXM_NX_OWN[]".replace("OWN", &own.to_uppercase()));
        list.push("set_field:2->nd_options_type".to_owned());
    }
    let at = random.below(list.len());
    list.swap_remove(at)
}

/// What a flow takes.
fn matching(random: &mut Random) -> String {
    let mut terms = Vec::new();
    match random.below(11) {
        8..=10 => terms = matching_ipv6(random),
        0 => {}
        1 | 2 => {
            terms.push("arp".to_owned());
            for field in ["arp_spa", "arp_tpa"] {
                if random.one_in(3) {
                    terms.push(format!("{field}={}{}", random.pick(IPS), random.pick(MASKS)));
                }
            }
            if random.one_in(3) {
                terms.push(format!("arp_op={}", 1 + random.below(2)));
            }
            if random.one_in(4) {
                terms.push(format!("arp_sha={}", random.pick(MACS)));
            }
        }
        3 | 4 => {
            terms.push("ip".to_owned());
            for (field, value) in [("nw_tos", "4"), ("nw_ttl", "64"), ("nw_ttl", "1"), ("ip_frag", "later")] {
                if random.one_in(6) && !terms.iter().any(|term| term.starts_with(field)) {
                    terms.push(format!("{field}={value}"));
                }
            }
        }
        5 => terms.push(format!("tcp,tp_dst={}", 80 + random.below(2))),
        6 => terms.push(format!("udp,tp_src={}", 80 + random.below(2))),
        _ => terms.push(
            random
                .pick(&[
                    "icmp",
                    "icmp,icmp_type=8",
                    "dl_type=0x88cc",
                    "tcp,tcp_flags=+syn",
                    "sctp",
                    "sctp,tp_dst=80",
                ])
                .to_owned(),
        ),
    }
    if terms.first().is_some_and(|term| is_ipv4(term)) {
        for field in ["nw_src", "nw_dst"] {
            if random.one_in(4) {
                terms.push(format!("{field}={}{}", random.pick(IPS), random.pick(MASKS)));
            }
        }
    }
    let others = [
        format!("in_port={}", 1 + random.below(PORTS as usize)),
        format!("dl_dst={}", random.pick(MACS)),
        "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00".to_owned(),
        format!("dl_src={}", random.pick(MACS)),
        format!("reg0={}/0xff", random.below(3)),
        format!("reg1={}", random.below(3)),
        "metadata=0x5".to_owned(),
        "vlan_tci=0x1000/0x1000".to_owned(),
        "dl_vlan=5".to_owned(),
    ];
    for other in others {
        if random.one_in(9) && !(other.starts_with("dl_dst") && terms.iter().any(|t| t.starts_with("dl_dst")))
        {
            terms.push(other);
        }
    }
    if terms.iter().any(|term| term == "dl_vlan=5") {
        terms.retain(|term| !term.starts_with("vlan_tci"));
    }
    terms.join(",")
}

/// What the lists of a pipeline's flows have besides simple actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// A last look-up in a later table.
    Forward,
    /// Look-ups in later tables anywhere, copies of packets, action sets, pushed values.
    Nested,
    /// Look-ups in any table, and no copies within them: those can be nested less deeply here.
    Looping,
}

/// Actions about how the packet goes on.
fn control(random: &mut Random, style: Style, table: usize, tables: usize) -> String {
    let later = table + 1 + random.below((tables - table).max(2) - 1);
    let next = if style == Style::Looping && random.one_in(3) { random.below(tables) } else { later };
    let inner = |random: &mut Random| match random.below(4) {
        0 => format!("load:{:#x}->NXM_NX_REG1[],output:NXM_NX_REG1[]", random.below(5)),
        1 => "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],IN_PORT".to_owned(),
        2 if style == Style::Nested => format!("pop:NXM_NX_REG2[],resubmit(,{later}),output:3"),
        _ => format!("push:NXM_NX_REG0[],pop:NXM_NX_REG1[],output:{}", 1 + random.below(4)),
    };
    match random.below(10) {
        0..=2 => format!("resubmit(,{next})"),
        3 => format!("resubmit({},{next})", 1 + random.below(5)),
        4 => format!("clone({})", inner(random)),
        5 if random.one_in(4) => "exit".to_owned(),
        6 => random
            .pick(&["push:NXM_NX_REG0[]", "push:NXM_NX_XXREG0[4..99]", "push:NXM_OF_ETH_SRC[]"])
            .to_owned(),
        7 => random
            .pick(&[
                "pop:NXM_NX_REG0[]",
                "pop:NXM_NX_XXREG0[3..98]",
                "pop:NXM_OF_ETH_DST[]",
                "pop:OXM_OF_METADATA[]",
            ])
            .to_owned(),
        8 => {
            let moves = [
                "move:NXM_NX_XXREG0[3..102]->NXM_NX_XXREG0[20..119]",
                "move:NXM_NX_REG0[]->NXM_NX_XXREG0[50..81]",
                "move:NXM_NX_XXREG0[40..103]->OXM_OF_METADATA[]",
                "load:0x3->NXM_OF_IN_PORT[]",
                "load:0xffff->NXM_OF_IN_PORT[]",
                "load:0x99->NXM_OF_IN_PORT[]",
                "output:NXM_OF_ETH_SRC[0..15]",
                "load:0xfffa->NXM_NX_REG1[],output:NXM_NX_REG1[0..15]",
                "set_queue:3",
                "enqueue:2:1",
                "output(port=2,max_len=20)",
                "output(port=3,max_len=64)",
                "output(port=4,max_len=9000)",
                "output(port=in_port,max_len=17)",
            ];
            random.pick(&moves).to_owned()
        }
        _ => random.pick(&["note:00", "fin_timeout(idle_timeout=5)"]).to_owned(),
    }
}

/// Actions on tags. The program knows four of a packet's: they are put on in the first table only.
fn tag(random: &mut Random, style: Style, table: usize) -> String {
    let push = ["push_vlan:0x8100", "push_vlan:0x88a8", "push_vlan:0x8100,mod_vlan_vid:7"];
    let others = [
        "strip_vlan",
        "strip_vlan",
        "mod_vlan_vid:6",
        "mod_vlan_pcp:3",
        "mod_vlan_pcp:2,set_field:0x1009->vlan_vid",
        "load:0->NXM_OF_VLAN_TCI[]",
        "load:0x3005->NXM_OF_VLAN_TCI[]",
        "mod_vlan_vid:6,set_field:5->vlan_pcp",
        "move:NXM_NX_REG0[0..12]->NXM_OF_VLAN_TCI[0..12]",
        "check_pkt_larger(60)->NXM_NX_REG1[0]",
    ];
    if table == 0 && style != Style::Looping && random.one_in(3) {
        random.pick(&push).to_owned()
    } else {
        random.pick(&others).to_owned()
    }
}

/// What stands last in a list: instructions.
fn instructions(random: &mut Random) -> Vec<String> {
    let mut list = Vec::new();
    if random.one_in(8) {
        list.push("clear_actions".to_owned());
    }
    if random.one_in(4) {
        let set = [
            "output:1",
            "output:2,set_field:2->reg1",
            "mod_dl_src:02:00:00:00:00:07,NORMAL",
            "load:3->NXM_NX_REG0[0..7],IN_PORT",
            "set_field:6->metadata,load:1->NXM_NX_REG0[]",
            "strip_vlan,mod_vlan_pcp:1,output:4",
            "push_vlan:0x8100,output:4",
            "resubmit(,3)",
            "resubmit(4,2),mod_dl_dst:02:00:00:00:00:09",
        ];
        list.push(format!("write_actions({})", random.pick(&set)));
    }
    list
}

fn is_ipv6(matching: &str) -> bool {
    ["ipv6", "tcp6", "udp6", "icmp6"].iter().any(|ipv6| matching.starts_with(ipv6))
}

fn is_ipv4(matching: &str) -> bool {
    let first = matching.split(',').next().unwrap_or_default();
    ["ip", "tcp", "udp", "icmp", "sctp"].contains(&first)
}

/// What a flow with this match does, in a table of this number.
fn actions(random: &mut Random, style: Style, table: usize, tables: usize, matching: &str) -> String {
    let arp = matching.starts_with("arp");
    let ip = is_ipv4(matching);
    let mut list = Vec::new();
    for _ in 0..random.below(6) {
        let port = 1 + random.below(PORTS as usize + 1);
        list.push(match random.below(16) {
            14 => "NORMAL".to_owned(),
            15 => random.pick(&["FLOOD", "ALL", "NORMAL"]).to_owned(),
            0..=5 if is_ipv6(matching) && random.one_in(2) => action_ipv6(random, matching),
            0 if random.one_in(2) => tag(random, style, table),
            0 => format!("mod_dl_src:{}", random.pick(MACS)),
            1 => format!("mod_dl_dst:{}", random.pick(MACS)),
            2 => "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]".to_owned(),
            3 => format!("load:{:#x}->NXM_NX_REG0[]", random.below(3)),
            4 => format!("load:{:#x}->NXM_NX_REG1[0..7]", random.below(3)),
            5 => format!("move:NXM_NX_REG{}[0..15]->NXM_NX_REG1[16..31]", random.below(2)),
            6 => format!("set_field:{}->metadata", random.below(6)),
            7 => format!("output:{port}"),
            8 => "IN_PORT".to_owned(),
            9 => "output:NXM_NX_REG1[]".to_owned(),
            10 if arp => format!("load:{:#x}->NXM_OF_ARP_OP[]", 1 + random.below(3)),
            11 if arp => {
                "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],load:0xaabbccddeeff->NXM_NX_ARP_SHA[]".to_owned()
            }
            12 if arp => {
                "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],load:0xade0201->NXM_OF_ARP_SPA[]".to_owned()
            }
            10 if ip => format!("mod_nw_dst:{}", random.pick(IPS)),
            11 if ip => format!("mod_nw_src:{}", random.pick(IPS)),
            12 if ip => random.pick(&["dec_ttl", "mod_nw_ttl:9", "mod_nw_tos:8"]).to_owned(),
            13 if matching.starts_with("tcp") => format!("mod_tp_dst:{}", 79 + random.below(3)),
            13 if matching.starts_with("sctp") => random
                .pick(&[
                    "mod_tp_dst:81",
                    "set_field:7->sctp_src",
                    "move:OXM_OF_SCTP_SRC[]->OXM_OF_SCTP_DST[]",
                ])
                .to_owned(),
            13 if matching.starts_with("udp") => {
                format!("load:{:#x}->NXM_OF_UDP_SRC[]", 79 + random.below(3))
            }
            _ => format!("load:{:#x}->NXM_NX_REG0[8..15]", random.below(256)),
        });
        if style != Style::Forward && random.one_in(2) {
            list.push(control(random, style, table, tables));
        }
    }
    if style != Style::Forward {
        list.extend(instructions(random));
    }
    if table + 1 < tables && !random.one_in(3) {
        let next = table + 1 + random.below(tables - table - 1);
        let set =
            list.last().is_some_and(|last| last.starts_with("write_actions") || last == "clear_actions");
        let spelled = if set { "goto_table:N" } else { random.pick(&["resubmit(,N)", "goto_table:N"]) };
        list.push(spelled.replace('N', &next.to_string()));
    }
    if list.is_empty() { "drop".to_owned() } else { list.join(",") }
}

fn flow(random: &mut Random, style: Style, tables: usize) -> String {
    loop {
        let table = random.below(tables);
        let matching = matching(random);
        let actions = actions(random, style, table, tables, &matching);
        let comma = if matching.is_empty() { "" } else { "," };
        let priority = random.below(5);
        let flow = format!("table={table},priority={priority}{comma}{matching} actions={actions}");
        // Flow text lets a packet have two tags.
        let matched = matching.contains("vlan");
        if usize::from(matched) + actions.matches("push_vlan").count() <= 2 {
            return flow;
        }
    }
}

/// Flows that are part of conjunctions, and one by the id of each, of priorities of their own: their order
/// among equals is OpenFlow's to leave open.
fn conjunctive(random: &mut Random, tables: usize) -> Vec<String> {
    let table = random.below(tables);
    let mut flows: Vec<String> = (0..3 + random.below(9))
        .map(|_| {
            let (matching, priority) = (matching(random), random.below(5));
            let comma = if matching.is_empty() { "" } else { "," };
            let parts: Vec<String> = (0..1 + random.below(3))
                .map(|_| {
                    let n = [2, 2, 2, 3, 64][random.below(5)];
                    format!("conjunction({},{}/{n})", random.below(4), 1 + random.below(n.min(3)))
                })
                .collect();
            format!("table={table},priority={priority}{comma}{matching} actions={}", parts.join(","))
        })
        .collect();
    for id in 0..3 {
        let flow = flow(random, Style::Forward, 1).replacen("table=0", &format!("table={table}"), 1);
        if !random.one_in(3) {
            flows.push(flow.replacen(" actions", &format!(",conj_id={id} actions"), 1));
        }
    }
    flows
}

fn frame(random: &mut Random) -> Vec<u8> {
    let mut key = Key::default();
    let mac = |random: &mut Random| match random.below(4) {
        0 => 0xaabb_ccdd_eeff,
        1 => 0xffff_ffff_ffff,
        n => 0x0200_0000_0000 | (n as u128 - 1),
    };
    let ip = |random: &mut Random| {
        [0x0a00_0001, 0x0a00_0002, 0x0a00_0101, 0xc0a8_0709, 0x0a63_0001][random.below(5)]
    };
    let (dst, src, sha) = (mac(random), mac(random), mac(random));
    key.set(Field::EthDst, dst);
    key.set(Field::EthSrc, src);
    if random.one_in(5) {
        key.set(Field::VlanTci, 0x1000 | [5, 6, 0x2005, 0, 0x6000][random.below(5)]);
    }
    let types = [0x0800, 0x0800, 0x0800, 0x0806, 0x0806, 0x8035, 0x88cc, 0x86dd, 0x86dd, 0x86dd, 0x0100];
    let eth_type = types[random.below(types.len())];
    key.set(Field::EthType, eth_type);
    if matches!(eth_type, 0x0806 | 0x8035) {
        key.set(Field::ArpOp, [1, 1, 2, 300][random.below(4)]);
        key.set(Field::ArpSha, sha);
        let (spa, tpa) = (ip(random), ip(random));
        key.set(Field::ArpSpa, spa);
        key.set(Field::ArpTpa, tpa);
        key.set(Field::ArpTha, if random.one_in(2) { 0 } else { dst });
    } else {
        let (from, to) = (ip(random), ip(random));
        key.set(Field::NwSrc, from);
        key.set(Field::NwDst, to);
        key.set(Field::NwProto, [6, 17, 1, 132, 47, 6, 17][random.below(7)]);
        key.set(Field::NwTtl, [0, 1, 2, 64, 255][random.below(5)]);
        key.set(Field::NwTos, [0, 4, 7][random.below(3)]);
        key.set(Field::IpFrag, if random.one_in(6) { [1, 3][random.below(2)] } else { 0 });
        key.set(Field::TcpSrc, 79 + random.below(3) as u128);
        key.set(Field::TcpDst, 79 + random.below(3) as u128);
        key.set(Field::TcpFlags, [2, 0x10, 0x11][random.below(3)]);
        if eth_type == 0x86dd {
            ipv6(random, &mut key, sha);
        }
        if key.get(Field::NwProto) == 1 {
            key.set(Field::TcpSrc, 0);
            key.set(Field::TcpDst, 0);
            key.set(Field::TcpFlags, 0);
            key.set(Field::IcmpType, [0, 8][random.below(2)]);
        }
    }
    let mut frame = compose(&key);
    if eth_type == 0x86dd {
        extend(random, &mut frame);
    }
    if frame[12..14] == [0x81, 0] && random.one_in(3) {
        // Another tag in front, or another type of it.
        match random.below(3) {
            0 => drop(frame.splice(12..12, [0x88, 0xa8, 0, 9])),
            1 => drop(frame.splice(12..12, [0x81, 0, 0xf0, 5])),
            _ => frame[12..14].copy_from_slice(&[0x88, 0xa8]),
        }
    }
    spoil(random, &mut frame);
    frame
}

/// The fields that an IPv6 packet has besides.
fn ipv6(random: &mut Random, key: &mut Key, mac: u128) {
    let addresses =
        IP6S.iter().map(|text| text.parse::<std::net::Ipv6Addr>().unwrap().to_bits()).collect::<Vec<_>>();
    let mut ip = || addresses[random.below(addresses.len())];
    let (src, dst, target) = (ip(), ip(), ip());
    key.set(Field::Ipv6Src, src);
    key.set(Field::Ipv6Dst, dst);
    key.set(Field::Ipv6Label, [0, 5, 0xfffff][random.below(3)]);
    if random.one_in(2) {
        key.set(Field::NwProto, 58);
        for field in [Field::TcpSrc, Field::TcpDst, Field::TcpFlags] {
            key.set(field, 0);
        }
        key.set(Field::Icmpv6Type, [128, 135, 136, 135, 136][random.below(5)]);
        key.set(Field::NdTarget, target);
        key.set(Field::NdReserved, random.below(3) as u128);
        for field in [Field::NdSll, Field::NdTll] {
            if random.one_in(2) {
                key.set(field, mac);
            }
        }
    }
}

/// Put extension headers in, now and then.
fn extend(random: &mut Random, frame: &mut Vec<u8>) {
    let at = if frame[12..14] == [0x86, 0xdd] { 14 } else { 18 };
    for _ in 0..random.below(3) {
        let next = frame[at + 6];
        let header: &[u8] = match random.below(6) {
            0 => &[next, 0, 1, 4, 0, 0, 0, 0],
            1 => &[next, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            2 => &[next, 0, 0, 0, 0, 0, 0, 0],
            3 => &[next, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            // An atomic fragment, and the first of some.
            4 => &[next, 0, 0, 0, 0, 0, 0, 7],
            _ => &[next, 0, 0, 1, 0, 0, 0, 7],
        };
        let kind = [60, 43, 43, 51, 44, 44][match header {
            [_, 0, 1, ..] => 0,
            [_, 1, 0, 1, ..] => 1,
            [_, 0, 0, 0, .., 0] => 2,
            [_, 1, 0, 0, ..] => 3,
            _ => 4,
        }];
        let length = u16::from_be_bytes([frame[at + 4], frame[at + 5]]) + header.len() as u16;
        frame[at + 4..at + 6].copy_from_slice(&length.to_be_bytes());
        frame[at + 6] = kind;
        frame.splice(at + 40..at + 40, header.iter().copied());
    }
}

/// One frame in four is not as it should be.
pub(super) fn spoil(random: &mut Random, frame: &mut Vec<u8>) {
    let at = random.below(frame.len());
    match random.below(16) {
        0 => frame.truncate(at.max(shortest(frame))),
        1 => frame[at] ^= 1 << random.below(8),
        2 if frame.len() > 34 => frame[14 + random.below(20)] = random.next() as u8,
        3 => frame.extend([0; 7]),
        _ => {}
    }
}

/// BPF_PROG_TEST_RUN takes no frame whose IP header is cut.
fn shortest(frame: &[u8]) -> usize {
    match frame[12..14] {
        [0x08, 0x00] => 34,
        [0x86, 0xdd] => 54,
        _ => 15,
    }
}

/// The evaluator's verdict in the record's form.
pub(super) fn seen(verdict: Verdict) -> Seen {
    let untaken = verdict.packet_ins.iter().map(|_| DropReason::NoController);
    let reasons: Vec<DropReason> =
        verdict.lost.iter().chain(&verdict.drop).map(|drop| drop.reason).chain(untaken).collect();
    let count = |reason: DropReason| reasons.iter().filter(|other| **other == reason).count() as u64;
    Seen {
        outputs: verdict.outputs.into_iter().map(|output| (output.port.0, output.frame)).collect(),
        drops: DropReason::all().map(|reason| (reason, count(reason))).filter(|(_, n)| *n > 0).collect(),
    }
}

/// Run a packet through both; false where the record has no room for what comes out.
fn agree(bed: &mut Bed, state: &mut State, random: &mut Random, what: &dyn Fn() -> String) {
    let (in_port, frame) = (PortNo(1 + random.below(PORTS as usize) as u32), frame(random));
    let packet = Packet { in_port, frame: frame.clone(), tunnel: TunnelKey::default() };
    let mut expected = seen(bed.pipeline.process(state, packet, crate::clock::now(), &mut Unobserved));
    let mut found = bed.run(in_port, &frame);
    if bed.cut.is_empty() {
        expected.outputs.truncate(RECORDS);
    } else {
        // They leave by user space, some time.
        if expected.outputs.len() > RECORDS {
            return;
        }
        for PacketOut { in_port, metadata, actions, frame } in std::mem::take(&mut bed.cut) {
            let packet = Packet { in_port, frame, tunnel: TunnelKey::default() };
            let now = crate::clock::now();
            let cut = Pipeline::new().execute(state, packet, &metadata, &actions, now, &mut Unobserved);
            let cut = seen(cut);
            found.outputs.extend(cut.outputs);
            if !cut.drops.is_empty() {
                // To the program it is sent: how the packet ends otherwise is another matter then.
                found.drops.clone_from(&expected.drops);
            }
        }
        found.outputs.sort_unstable();
        expected.outputs.sort_unstable();
    }
    let limits = [DropReason::TooDeep, DropReason::TooManyResubmits, DropReason::StackFull];
    if let Some((reason, _)) = expected.drops.iter().find(|(reason, _)| limits.contains(reason)) {
        // What the packet did before it came to the limit the evaluator takes back.
        assert!(found.drops.contains(&(*reason, 1)), "{found:?} and {expected:?}; {}", what());
        return;
    }
    assert_eq!(
        found,
        expected,
        "the program (left) and the evaluator; in_port {}, {frame:02x?}; {}",
        in_port.0,
        what()
    );
}

pub(super) fn state() -> State {
    let mut state = State::default();
    (1..=PORTS).for_each(|port| state.ports.insert(PortNo(port), PortKind::Ordinary));
    state
}

/// What each flow and each table counted is what it counted in the evaluator.
pub(super) fn compare_counters(bed: &Bed, what: &dyn Fn() -> String) {
    for entry in bed.pipeline.entries() {
        let both = bed.compiled.statistics(entry);
        // The evaluator's own count is in it.
        let program = (both.packets - entry.counters.packets(), both.bytes - entry.counters.bytes());
        assert_eq!(
            program,
            (entry.counters.packets(), entry.counters.bytes()),
            "{:?}; {}",
            entry.flow,
            what()
        );
    }
    let expected = TableStatistics::of_evaluator(&bed.pipeline);
    assert_eq!(bed.compiled.table_statistics().unwrap(), expected, "{}", what());
}

#[test]
fn programs_agree_with_the_evaluator() {
    let asked = std::env::var("FOOTBRIDGE_PIPELINES").ok().and_then(|text| text.parse().ok());
    let pipelines: u64 = asked.unwrap_or(PIPELINES);
    for seed in FIRST_SEED..FIRST_SEED + pipelines {
        let Some(mut bed) = Bed::new("programs_agree_with_the_evaluator", PORTS) else { return };
        let (mut random, mut state) = (Random(seed), state());
        let tables = 1 + random.below(5);
        let style = [Style::Forward, Style::Nested, Style::Looping][random.below(3)];
        let mut flows: Vec<String> =
            (0..1 + random.below(30)).map(|_| flow(&mut random, style, tables)).collect();
        if random.one_in(3) {
            flows.extend(conjunctive(&mut random, tables));
        }
        state.punt_misses = random.one_in(3);
        let misses = if state.punt_misses { " (misses are told)" } else { "" };
        let what = || format!("seed {seed:#x}{misses}, flows:\n{}", flows.join("\n"));
        bed.compiled.tell_misses(state.punt_misses).unwrap_or_else(|error| panic!("{error}; {}", what()));
        bed.flows(&flows).unwrap_or_else(|error| panic!("{error}; {}", what()));
        for _ in 0..PACKETS {
            agree(&mut bed, &mut state, &mut random, &what);
        }
        compare_counters(&bed, &what);
    }
    println!("seeds {FIRST_SEED:#x} and on: {} packets", pipelines as usize * PACKETS);
}

/// Flows are added and taken away one by one, as one write each where that does.
#[test]
fn programs_agree_after_changes_one_by_one() {
    let mut written = 0;
    for seed in FIRST_SEED..FIRST_SEED + PIPELINES / 12 {
        let Some(mut bed) = Bed::new("programs_agree_after_changes_one_by_one", PORTS) else { return };
        let (mut random, mut state) = (Random(seed), state());
        let mut pool: Vec<String> = (0..12).map(|_| flow(&mut random, Style::Nested, 3)).collect();
        pool.extend(conjunctive(&mut random, 3));
        pool.extend((0..12).map(|n| {
            format!(
                "table=0,priority={},ip,nw_dst=10.0.{}.{} actions=output:{}",
                n % 5,
                n % 2,
                n % 3,
                1 + n % 4
            )
        }));
        let mut standing: Vec<FlowId> = Vec::new();
        for step in 0..60 {
            let line = &pool[random.below(pool.len())];
            let what = || format!("seed {seed:#x}, step {step}: {line}");
            let change = if standing.is_empty() || !random.one_in(3) {
                let flow =
                    footbridge_openflow::text::parse_flow(line, &footbridge_openflow::PortNames::none())
                        .unwrap();
                let old =
                    bed.pipeline.get_strict(flow.table, flow.priority, &flow.matching).map(|entry| entry.id);
                standing.retain(|id| Some(*id) != old);
                let new = bed.insert(line);
                standing.push(new);
                Change { added: vec![new], removed: old.into_iter().collect() }
            } else {
                let gone = standing.remove(random.below(standing.len()));
                bed.pipeline.remove(gone);
                Change { added: vec![], removed: vec![gone] }
            };
            let before = bed.compiled.programs_made();
            bed.commit(&change).unwrap_or_else(|error| panic!("{error}; {}", what()));
            written += usize::from(bed.compiled.programs_made() == before);
            for _ in 0..8 {
                agree(&mut bed, &mut state, &mut random, &what);
            }
        }
    }
    assert!(written > 50, "{written} changes were one write");
}

/// More conjunctions than one word has bits for; the first complete one leads to no flow, the second does.
#[test]
fn finds_the_first_of_many_conjunctions_that_leads_to_a_flow() {
    let test = "finds_the_first_of_many_conjunctions_that_leads_to_a_flow";
    let Some(mut bed) = Bed::new(test, PORTS) else { return };
    let parts = |ids: std::ops::Range<u32>, clause: u8| {
        ids.map(|id| format!("conjunction({id},{clause}/2)")).collect::<Vec<_>>().join(",")
    };
    bed.flows(&[
        format!("priority=50,in_port=1 actions={}", parts(0..150, 1)),
        format!("priority=50,dl_type=0x88cc actions={}", parts(130..150, 2)),
        "priority=7,conj_id=131 actions=output:2".to_owned(),
        "priority=9,conj_id=140 actions=output:3".to_owned(),
    ])
    .unwrap();
    let frame = [&[2; 12][..], &[0x88, 0xcc], &[0; 46]].concat();
    assert_eq!(bed.run(PortNo(1), &frame).outputs, [(2, frame.clone())]);
    assert_eq!(bed.run(PortNo(2), &frame).drops, [(DropReason::NoFlow, 1)]);
}

/// The shape looked up first has a flow of high priority, and one of low priority that takes the packet: it
/// must not keep the flow between them, of another shape, from being looked up.
#[test]
fn a_low_flow_of_a_high_shape_does_not_win_over_a_flow_between() {
    let test = "a_low_flow_of_a_high_shape_does_not_win_over_a_flow_between";
    let Some(mut bed) = Bed::new(test, PORTS) else { return };
    let flows = ["priority=3,dl_type=0x1234 actions=drop", "priority=0,dl_type=0x88cc actions=output:2"];
    bed.flows(&[flows[0], flows[1], "priority=1 actions=output:3"]).unwrap();
    let frame = [&[2; 12][..], &[0x88, 0xcc], &[0; 46]].concat();
    assert_eq!(bed.run(PortNo(1), &frame), Seen { outputs: vec![(3, frame.clone())], drops: vec![] });
}

/// Conjunctive flows of a shape lent it their priority: it was looked up before better ones, and ended the
/// look-up.
#[test]
fn conjunctive_flows_do_not_put_a_shape_before_better_ones() {
    let test = "conjunctive_flows_do_not_put_a_shape_before_better_ones";
    let Some(mut bed) = Bed::new(test, PORTS) else { return };
    bed.flows(&[
        "priority=9,dl_type=0x1234 actions=conjunction(1,1/2)",
        "priority=2,dl_type=0x88cc actions=output:2",
        "priority=1,in_port=2 actions=drop",
        "priority=3,dl_dst=02:02:02:02:02:02 actions=output:3",
    ])
    .unwrap();
    let frame = [&[2; 12][..], &[0x88, 0xcc], &[0; 46]].concat();
    assert_eq!(bed.run(PortNo(1), &frame).outputs, [(3, frame.clone())]);
}

/// An output that was lost is counted, and so is the look-up behind it that finds no flow.
#[test]
fn a_miss_behind_a_lost_output_is_counted_too() {
    let Some(mut bed) = Bed::new("a_miss_behind_a_lost_output_is_counted_too", PORTS) else { return };
    bed.flows(&["actions=output:77,resubmit(,1)"]).unwrap();
    let drops = vec![(DropReason::NoFlow, 1), (DropReason::NoSuchPort, 1)];
    assert_eq!(bed.run(PortNo(1), &[2; 60]), Seen { outputs: vec![], drops });
}
