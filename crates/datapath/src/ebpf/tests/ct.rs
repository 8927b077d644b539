//! The tracker in the kernel beside the evaluator's: each has a table of its own, and outputs, drops and
//! connections have to agree after every packet. Time passes by making the kernel's connections older, and the
//! evaluator's clock later.

use super::bed::Bed;
use super::differential::{Random, compare_counters, seen, spoil, state};
use crate::clock;
use footbridge_openflow::{Field, Key, PortNo};
use footbridge_pipeline::conntrack::state::{EST, INV, NEW, REL, RPL, TRK};
use footbridge_pipeline::conntrack::{Connection, Conntrack, Limits, Outcome, Progress, Request};
use footbridge_pipeline::packet::{Frame, compose};
use footbridge_pipeline::{Observer, Packet, State, Time, TunnelKey};
use std::collections::HashSet;
use std::time::Duration;

const PORTS: u32 = 4;
const FIRST_SEED: u64 = 0xc0_0001;
/// How many pipelines, unless the environment's FOOTBRIDGE_PIPELINES says otherwise.
const PIPELINES: u64 = 60;
const PACKETS: usize = 250;

/// What the tracker said, written to where it is seen: state, mark and zone, and the label's ends.
const SHOW: &str = "move:NXM_NX_CT_STATE[0..7]->NXM_OF_ETH_SRC[0..7],move:NXM_NX_CT_MARK[]->NXM_OF_ETH_SRC[8..39],\
                    move:NXM_NX_CT_ZONE[0..7]->NXM_OF_ETH_SRC[40..47],\
                    move:NXM_NX_CT_LABEL[0..7]->NXM_OF_ETH_DST[0..7],move:NXM_NX_CT_LABEL[120..127]->NXM_OF_ETH_DST[8..15]";
/// The original tuple, but for IP addresses, of packets that have one.
const SHOW_TUPLE: &str = "move:NXM_NX_CT_TP_SRC[]->NXM_OF_ETH_DST[16..31],move:NXM_NX_CT_TP_DST[]->NXM_OF_ETH_DST[32..47],\
                          move:NXM_NX_CT_NW_PROTO[]->NXM_OF_ETH_SRC[32..39]";

/// The two trackers.
struct Both {
    bed: Bed,
    state: State,
    /// How much later it is for the evaluator than for the kernel.
    skew: Duration,
    seen: Coverage,
}

/// What came up, so that a test that agrees on nothing does not pass.
#[derive(Default)]
struct Coverage {
    states: HashSet<u8>,
    progress: HashSet<(u8, Progress)>,
}

impl Observer for Coverage {
    fn tracked(&mut self, _: &Request, outcome: &Outcome) {
        self.states.insert(outcome.state);
    }
}

impl Both {
    fn new(test: &str, limits: Limits) -> Option<Both> {
        let bed = Bed::with_limits(test, PORTS, limits)?;
        let state = State { conntrack: Conntrack::with_limits(limits), ..state() };
        Some(Both { bed, state, skew: Duration::ZERO, seen: Coverage::default() })
    }

    fn now(&self) -> Time {
        clock::now().after(self.skew)
    }

    /// Send a packet through both, and compare.
    fn agree(&mut self, in_port: u32, frame: &[u8], what: &dyn Fn() -> String) {
        let in_port = PortNo(in_port);
        let packet = Packet { in_port, frame: frame.to_vec(), tunnel: TunnelKey::default() };
        let found = self.bed.run(in_port, frame);
        let now = self.now();
        let mut expected = seen(self.bed.pipeline.process(&mut self.state, packet, now, &mut self.seen));
        expected.outputs.truncate(8);
        assert_eq!(found, expected, "the program (left) and the evaluator; {frame:02x?}; {}", what());
        let (kernel, evaluator) = self.connections();
        self.seen.progress.extend(kernel.iter().map(|c| (c.original.proto, c.progress)));
        assert_eq!(
            kernel,
            evaluator,
            "the kernel's table (left) and the evaluator's; {frame:02x?}; {}",
            what()
        );
    }

    /// Both tables, in an order of their own, with as many seconds as each connection has left.
    fn connections(&self) -> (Vec<Connection>, Vec<Connection>) {
        let in_order = |mut connections: Vec<Connection>, now: Time| {
            for connection in &mut connections {
                // The packet came a moment later to one than to the other.
                connection.expires = Time(connection.expires.since(now).as_millis().div_ceil(500) as u64);
            }
            connections.sort_by_key(|c| {
                (c.zone, c.original.proto, c.original.src, c.original.dst, c.original.icmp_type)
            });
            connections
        };
        let (now, later) = (clock::now(), self.now());
        let kernel = self.bed.compiled.shared().connections.list(None, now).unwrap();
        (in_order(kernel, now), in_order(self.state.conntrack.connections(None, later), later))
    }

    /// Time passes: half seconds, so that the kernel's times stay what they are below 256 nanoseconds.
    fn wait(&mut self, halves: u64) {
        let time = Duration::from_millis(500 * halves);
        self.skew += time;
        self.bed.compiled.shared().connections.age(time).unwrap();
    }
}

/// A pipeline: table 0 tracks, table 1 looks at what came of it, and tracks again, table 2 shows it.
fn pipeline(random: &mut Random) -> Vec<String> {
    let mut flows = vec![
        format!("table=2,priority=1 actions={SHOW},output:2"),
        format!("table=2,priority=2,ct_state=+trk-inv-rel,ip actions={SHOW},{SHOW_TUPLE},output:3"),
        format!(
            "table=2,priority=2,ct_state=+trk-inv,ipv6 actions={SHOW},{SHOW_TUPLE},\
             move:NXM_NX_CT_IPV6_SRC[0..31]->NXM_NX_REG4[],move:NXM_NX_CT_IPV6_DST[0..31]->NXM_NX_REG5[],resubmit(,3)"
        ),
        "table=2,priority=3,ct_state=+trk+new,icmp actions=move:NXM_NX_CT_NW_SRC[0..31]->NXM_NX_REG4[],\
         move:NXM_NX_CT_NW_DST[0..31]->NXM_NX_REG5[],resubmit(,3)"
            .to_owned(),
        "table=3 actions=move:NXM_NX_REG4[]->NXM_OF_ETH_DST[0..31],move:NXM_NX_REG5[]->NXM_OF_ETH_SRC[0..31],output:4"
            .to_owned(),
    ];
    for table in 0..2 {
        for priority in 0..2 + random.below(4) {
            let family = random.pick(&["ip", "ipv6"]);
            let protocol = match (family, random.below(6)) {
                ("ip", 0) => "tcp",
                ("ip", 1) => "udp",
                ("ip", 2) => "icmp",
                (_, 0) => "tcp6",
                (_, 1) => "udp6",
                (_, 2) => "icmp6",
                _ => family,
            };
            let (matching, reads) = if table == 1 { tracked_match(random) } else { (String::new(), false) };
            // What is invalid can't be committed.
            let commits = !matching.contains("+inv");
            let port = if random.one_in(4) {
                format!(",in_port={}", 1 + random.below(PORTS as usize))
            } else {
                String::new()
            };
            let actions = actions(random, table, family == "ip", reads, commits);
            flows.push(format!(
                "table={table},priority={priority},{protocol}{port}{matching} actions={actions}"
            ));
        }
    }
    flows.push(format!("table=0,priority=0,ip actions={}", ct(random, 0, true)));
    flows.push(format!("table=0,priority=0,ipv6 actions={}", ct(random, 0, true)));
    flows
}

/// What the tracker has to have said; whether that is enough to read the original tuple.
fn tracked_match(random: &mut Random) -> (String, bool) {
    match random.below(12) {
        0 => (",ct_state=+new+trk".to_owned(), true),
        1 => (",ct_state=+est+trk".to_owned(), true),
        2 => (",ct_state=-new+trk".to_owned(), false),
        3 => (",ct_state=+inv+trk".to_owned(), false),
        4 => (",ct_state=+rel+trk".to_owned(), true),
        5 => (",ct_state=+rpl+trk".to_owned(), true),
        6 => (format!(",ct_mark={:#x}/0xf", random.below(3)), false),
        7 => (format!(",ct_zone={}", random.below(3)), false),
        8 => (format!(",ct_label={:#x}/0xff", random.below(3)), false),
        9 => (",ct_state=-trk".to_owned(), false),
        10 => (",ct_state=+new+trk,ct_mark=0".to_owned(), true),
        _ => (String::new(), false),
    }
}

/// A `ct()` of a flow in this table.
fn ct(random: &mut Random, table: usize, commits: bool) -> String {
    let zone = match random.below(4) {
        0 => "zone=NXM_NX_REG0[0..15]".to_owned(),
        zone => format!("zone={zone}"),
    };
    let mut arguments = vec![zone];
    if !random.one_in(6) {
        arguments.push(format!("table={}", table + 1 + random.below(2 - table)));
    }
    if commits && !random.one_in(3) {
        arguments.push("commit".to_owned());
        if random.one_in(4) {
            arguments.push("force".to_owned());
        }
        let writes = match random.below(6) {
            0 => format!("load:{:#x}->NXM_NX_CT_MARK[]", random.below(4)),
            1 => format!("load:{:#x}->NXM_NX_CT_MARK[4..7]", random.below(4)),
            2 => "set_field:0x3/0x7->ct_mark,move:NXM_NX_REG0[0..15]->NXM_NX_CT_MARK[16..31]".to_owned(),
            3 => format!(
                "load:{:#x}->NXM_NX_CT_LABEL[0..63],load:0x1->NXM_NX_CT_LABEL[127]",
                random.below(300)
            ),
            4 => "move:NXM_NX_REG0[]->NXM_NX_CT_LABEL[96..127],set_field:0x1->ct_mark".to_owned(),
            _ => String::new(),
        };
        if !writes.is_empty() {
            arguments.push(format!("exec({writes})"));
        }
    }
    format!("ct({})", arguments.join(","))
}

fn actions(random: &mut Random, table: usize, ipv4: bool, reads: bool, commits: bool) -> String {
    let mut list = Vec::new();
    for _ in 0..random.below(4) {
        list.push(match random.below(14) {
            0 => format!("load:{:#x}->NXM_NX_REG0[]", random.below(3)),
            1 => "output:1".to_owned(),
            2 => "ct_clear".to_owned(),
            3 => format!("clone({},output:3)", ct(random, table, commits)),
            4 if ipv4 => "mod_nw_src:10.0.0.9".to_owned(),
            5 if ipv4 => "move:NXM_OF_IP_SRC[]->NXM_NX_REG2[],move:NXM_OF_IP_DST[]->NXM_OF_IP_SRC[],\
                          move:NXM_NX_REG2[]->NXM_OF_IP_DST[]"
                .to_owned(),
            6 if table == 0 => "resubmit(,1)".to_owned(),
            7 => "dec_ttl".to_owned(),
            9 if random.one_in(3) => "exit".to_owned(),
            10 if reads && ipv4 => "move:NXM_NX_CT_NW_SRC[]->NXM_OF_IP_DST[]".to_owned(),
            11 if reads => "move:NXM_NX_CT_TP_SRC[]->NXM_NX_REG0[0..15]".to_owned(),
            12 => "push:NXM_NX_REG0[],pop:NXM_NX_REG3[]".to_owned(),
            _ => ct(random, table, commits),
        });
    }
    list.push(match random.below(5) {
        0 => "resubmit(,2)".to_owned(),
        1 => random.pick(&["goto_table:2", "write_actions(output:1),goto_table:2"]).to_owned(),
        2 if random.one_in(4) => format!("{},write_actions(output:4)", ct(random, table, commits)),
        _ => ct(random, table, commits),
    });
    list.join(",")
}

/// Some hosts and their packets.
struct Hosts {
    /// IP packets, to be quoted by errors.
    sent: Vec<Vec<u8>>,
}

impl Hosts {
    fn frame(&mut self, random: &mut Random) -> Vec<u8> {
        let mut frame = match random.below(10) {
            0 if !self.sent.is_empty() => self.error(random),
            1..=4 if !self.sent.is_empty() => self.answer(random),
            _ => packet(random),
        };
        self.sent.push(frame.clone());
        if self.sent.len() > 64 {
            self.sent.remove(0);
        }
        if random.one_in(6) {
            spoil(random, &mut frame);
        }
        frame
    }

    /// What the other end of a connection says next, or the same end, after the last packet or one a little before.
    fn answer(&self, random: &mut Random) -> Vec<u8> {
        let last = self.sent.len() - 1;
        let before = Frame::new(self.sent[last.saturating_sub(random.below(3))].clone());
        let mut key = before.key().clone();
        if !random.one_in(4) {
            for (one, other) in [
                (Field::NwSrc, Field::NwDst),
                (Field::Ipv6Src, Field::Ipv6Dst),
                (Field::TcpSrc, Field::TcpDst),
            ] {
                if one == Field::TcpSrc && matches!(key.get(Field::NwProto), 1 | 58) {
                    // Type and code are there.
                    continue;
                }
                let (a, b) = (key.get(one), key.get(other));
                key.set(one, b);
                key.set(other, a);
            }
        }
        match (key.get(Field::NwProto), key.get(Field::TcpFlags)) {
            (6, 0x02) => key.set(Field::TcpFlags, [0x12, 0x12, 0x02, 0x04][random.below(4)]),
            (6, 0x12) => key.set(Field::TcpFlags, [0x10, 0x10, 0x12, 0x04][random.below(4)]),
            (6, 0x11) => key.set(Field::TcpFlags, [0x10, 0x11, 0x11, 0x02][random.below(4)]),
            (6, _) => key.set(Field::TcpFlags, [0x10, 0x11, 0x11, 0x18][random.below(4)]),
            (1, _) => key.set(Field::IcmpType, [0, 0, 8][random.below(3)]),
            (58, _) => key.set(Field::Icmpv6Type, [129, 129, 128][random.below(3)]),
            _ => {}
        }
        compose(&key)
    }

    /// An ICMP error about a packet sent before, more often than not to who sent it.
    fn error(&self, random: &mut Random) -> Vec<u8> {
        let quoted = &self.sent[random.below(self.sent.len())];
        let v6 = quoted[12..14] == [0x86, 0xdd];
        let mut key = base(random, v6);
        let sender = if v6 {
            u128::from_be_bytes(quoted[22..38].try_into().unwrap())
        } else {
            u32::from_be_bytes(quoted[26..30].try_into().unwrap()).into()
        };
        if !random.one_in(6) {
            key.set(if v6 { Field::Ipv6Dst } else { Field::NwDst }, sender);
        }
        key.set(Field::NwProto, if v6 { 58 } else { 1 });
        let kind = if v6 { [1, 2, 3, 4, 5][random.below(5)] } else { [3, 4, 5, 11, 12, 6][random.below(6)] };
        key.set(if v6 { Field::Icmpv6Type } else { Field::IcmpType }, kind);
        let mut frame = compose(&key);
        frame.truncate(if v6 { 54 } else { 34 } + 8);
        let most = [0, 20, 27, 28, 40, 44, 48, 64, 200][random.below(9)];
        let least = if random.one_in(3) { 0 } else { 56 };
        frame.extend(quoted[14..].iter().take(most.max(least)));
        fit(&mut frame);
        frame
    }
}

/// The IP header says how long the packet is now.
fn fit(frame: &mut [u8]) {
    let (at, length) = if frame[12] == 0x86 { (18, frame.len() - 54) } else { (16, frame.len() - 14) };
    frame[at..at + 2].copy_from_slice(&(length as u16).to_be_bytes());
}

fn base(random: &mut Random, v6: bool) -> Key {
    let mut key = Key::default();
    key.set(Field::EthDst, 0x0200_0000_0001);
    key.set(Field::EthSrc, 0x0200_0000_0002);
    key.set(Field::NwTtl, 64);
    if v6 {
        let host =
            |random: &mut Random| [0xfd00 << 112 | 1, 0xfd00 << 112 | 2, 0xfd01 << 112 | 1][random.below(3)];
        key.set(Field::EthType, 0x86dd);
        key.set(Field::Ipv6Src, host(random));
        key.set(Field::Ipv6Dst, host(random));
    } else {
        let host = |random: &mut Random| 0x0a00_0001 + random.below(3) as u128;
        key.set(Field::EthType, 0x0800);
        key.set(Field::NwSrc, host(random));
        key.set(Field::NwDst, host(random));
    }
    key
}

/// A packet of one of few connections.
fn packet(random: &mut Random) -> Vec<u8> {
    let v6 = random.one_in(3);
    let mut key = base(random, v6);
    let proto = [6, 6, 6, 17, 17, if v6 { 58 } else { 1 }, 132, 47, if v6 { 1 } else { 58 }][random.below(9)];
    key.set(Field::NwProto, proto);
    if matches!(proto, 6 | 17 | 132) {
        let port = |random: &mut Random| [80, 81, 81, 80, 80, 81, 0][random.below(7)];
        key.set(Field::TcpSrc, port(random));
        key.set(Field::TcpDst, port(random));
    }
    match proto {
        6 => {
            let flags = [0x02, 0x12, 0x10, 0x10, 0x18, 0x11, 0x04, 0x14, 0x22, 0x00, 0x3f, 0xc2];
            key.set(Field::TcpFlags, flags[random.below(flags.len())]);
        }
        1 => key.set(Field::IcmpType, [8, 8, 0, 0, 13, 14, 15, 16, 17, 3][random.below(10)]),
        58 => key.set(Field::Icmpv6Type, [128, 128, 129, 129, 1, 135, 200][random.below(7)]),
        _ => {}
    }
    if matches!(proto, 1 | 58) && random.one_in(8) {
        key.set(Field::IcmpCode, 1);
    }
    let fragment = if random.one_in(5) { [1, 3, 3][random.below(3)] } else { 0 };
    key.set(Field::IpFrag, fragment);
    let mut frame = compose(&key);
    let transport = if v6 { 54 } else { 34 };
    if matches!(proto, 1 | 58) && fragment == 0 {
        // Identifiers.
        frame[transport + 5] = random.below(2) as u8;
    }
    if fragment != 0 {
        let id = random.below(3) as u8;
        frame[if v6 { 61 } else { 19 }] = id;
        if v6 && fragment == 3 {
            // What the first fragments say.
            frame[54] = proto as u8;
        }
    }
    if random.one_in(20) {
        // Longer than it says, as UDP may not be.
        frame.extend([0; 9]);
    } else if random.one_in(20) && frame.len() > transport + 30 {
        frame.truncate(transport + 24);
        fit(&mut frame);
    }
    frame
}

fn pipelines() -> u64 {
    let asked = std::env::var("FOOTBRIDGE_PIPELINES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(PIPELINES)
}

/// Whether they ran, and what came up.
fn sequences(test: &str, limits: Limits, waits: &[u64], pipelines: u64) -> Option<Coverage> {
    let mut all = Coverage::default();
    for seed in FIRST_SEED..FIRST_SEED + pipelines {
        let mut both = Both::new(test, limits)?;
        let (mut random, mut hosts) = (Random(seed), Hosts { sent: Vec::new() });
        let flows = pipeline(&mut random);
        let what = || format!("seed {seed:#x}, flows:\n{}", flows.join("\n"));
        both.bed.flows(&flows).unwrap_or_else(|error| panic!("{error}; {}", what()));
        for packet in 0..PACKETS {
            if random.one_in(8) {
                both.wait(waits[random.below(waits.len())]);
            }
            let (port, frame) = (1 + random.below(PORTS as usize) as u32, hosts.frame(&mut random));
            both.agree(port, &frame, &|| format!("packet {packet}, {}", what()));
        }
        compare_counters(&both.bed, &what);
        all.states.extend(both.seen.states);
        all.progress.extend(both.seen.progress);
    }
    println!("{test}: seeds {FIRST_SEED:#x} and on: {} packets", pipelines as usize * PACKETS);
    Some(all)
}

#[test]
fn the_kernels_connections_agree_with_the_evaluators() {
    let waits = [1, 19, 59, 61, 119, 121, 239, 241, 1201, 864_001];
    let limits = Limits { connections: 4096, fragments: 4096 };
    let test = "the_kernels_connections_agree_with_the_evaluators";
    let Some(seen) = sequences(test, limits, &waits, pipelines()) else { return };
    for state in [NEW, EST, EST | RPL, REL, REL | RPL, INV] {
        assert!(seen.states.contains(&(TRK | state)), "no packet was {state:#x}");
    }
    let progress = Progress::ALL.iter().map(|progress| match progress {
        Progress::Tcp(_) => (6, *progress),
        Progress::Unreplied | Progress::Replied => (17, *progress),
    });
    for progress in progress.chain([1, 58, 132, 47].map(|proto| (proto, Progress::Replied))) {
        assert!(seen.progress.contains(&progress), "no connection came to {progress:?}");
    }
}

#[test]
fn full_tables_agree_with_the_evaluators() {
    let limits = Limits { connections: 5, fragments: 4096 };
    sequences("full_tables_agree_with_the_evaluators", limits, &[0, 1, 3, 21, 61], pipelines() / 2);
}
