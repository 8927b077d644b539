//! Random small pipelines: what the sets say of every packet of a small space, against the evaluator on
//! each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::bdd::Level;
use crate::explore::{What, explore};
use crate::image::{Bit, Image};
use crate::prove::{Bridge, World};
use crate::replay::{Witness, replay};
use crate::space::{Answer, CT_WORDS, KEY_WORDS, MAX_CONNECTIONS, Var, bits};
use footbridge_openflow::text::{parse_flow, parse_packet};
use footbridge_openflow::{Field, Key, PortNames, PortNo};
use footbridge_pipeline::conntrack::state;
use footbridge_pipeline::{DropReason, Pipeline, PortKind, PortSet, Time, packet};
use std::collections::BTreeSet;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len() as u64) as usize]
    }
}

const TABLES: u64 = 4;

fn matching(random: &mut Random) -> String {
    let mut parts: Vec<String> = Vec::new();
    let protocol = random.pick(&["", "", "ip", "ip", "ip", "tcp", "udp", "arp", "arp"]);
    parts.extend((!protocol.is_empty()).then(|| protocol.to_owned()));
    let own: &[&str] = match protocol {
        "ip" => &[
            "nw_src=10.0.0.1",
            "nw_src=10.0.0.0/31",
            "nw_dst=10.0.0.2",
            "nw_dst=10.0.0.2/31",
            "nw_ttl=1",
            "nw_frag=no",
        ],
        "tcp" => &["tp_dst=0", "tp_dst=1", "nw_dst=10.0.0.3", "nw_src=10.0.0.2/31", "tp_dst=0/1"],
        "udp" => &["tp_dst=0", "tp_dst=1", "nw_dst=10.0.0.1"],
        "arp" => &[
            "arp_op=1",
            "arp_spa=10.0.0.1",
            "arp_tpa=10.0.0.2/31",
            "arp_tpa=10.0.0.3",
            "arp_sha=00:00:00:00:00:01",
        ],
        _ => &["dl_dst=00:00:00:00:00:02", "vlan_tci=0x1001", "vlan_tci=0x0000"],
    };
    let any = [
        "in_port=1",
        "in_port=2",
        "in_port=3",
        "reg0=0x1/0x1",
        "reg0=0",
        "reg0=0x2/0x3",
        "reg1=0x1",
        "reg1=0x2/0x2",
        "dl_src=00:00:00:00:00:01",
        "dl_dst=00:00:00:00:00:00/00:00:00:00:00:01",
        "metadata=0x1",
    ];
    let tracked = [
        "ct_state=+trk+new",
        "ct_state=+trk-new",
        "ct_state=+inv+trk",
        "ct_state=-trk",
        "ct_mark=0x1",
        "ct_mark=0x2/0x2",
        "ct_zone=1",
    ];
    for _ in 0..random.below(3) {
        let part = match random.below(4) {
            0 => random.pick(&tracked),
            1 => random.pick(own),
            _ => random.pick(&any),
        };
        parts.push(part.to_owned());
    }
    parts.sort();
    parts.dedup_by(|a, b| a.split('=').next() == b.split('=').next());
    parts.join(",")
}

fn action(random: &mut Random, table: u64, depth: u32, loops: bool) -> String {
    let tables = if loops { TABLES } else { TABLES - 1 - table };
    let next = |random: &mut Random| {
        if loops { random.below(tables) } else { table + 1 + random.below(tables.max(1)) }
    };
    match random.below(40) {
        0 => "output:1".into(),
        1 => "output:2".into(),
        2 => "output:3".into(),
        3 => "output:4".into(),
        4 => "IN_PORT".into(),
        5 => "NORMAL".into(),
        6 => "FLOOD".into(),
        7 => "ALL".into(),
        8 => "CONTROLLER".into(),
        9 => format!("load:{}->NXM_NX_REG0[0..1]", random.below(4)),
        10 => format!("load:{}->NXM_NX_REG1[]", random.below(6)),
        11 => "move:NXM_OF_IP_SRC[0..1]->NXM_NX_REG1[0..1]".into(),
        12 => "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]".into(),
        13 => "mod_dl_dst:00:00:00:00:00:02".into(),
        14 => format!("mod_nw_dst:10.0.0.{}", random.below(4)),
        15 => "dec_ttl".into(),
        16 => "output:NXM_NX_REG1[]".into(),
        17 => format!("ct(table={},zone={})", next(random), 1 + random.below(2)),
        18 => format!(
            "ct(commit,table={},zone=1,exec(load:{}->NXM_NX_CT_MARK[0..1]))",
            next(random),
            random.below(4)
        ),
        19 => "ct(commit,zone=1,exec(load:1->NXM_NX_CT_MARK[0]))".into(),
        20 => "ct_clear".into(),
        21 if depth == 0 => format!("clone({})", actions(random, table, 1, loops)),
        22 => "exit".into(),
        23 => "push:NXM_NX_REG0[],pop:NXM_NX_REG1[]".into(),
        24 => "mod_vlan_vid:1".into(),
        25 => "strip_vlan".into(),
        26 => "push_vlan:0x8100".into(),
        27 => "load:2->NXM_OF_IN_PORT[]".into(),
        28 => format!("resubmit({},{})", 1 + random.below(3), next(random)),
        29 => "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]".into(),
        30 => "load:0x2->NXM_OF_ARP_OP[]".into(),
        31 => "load:0xa0000001->NXM_NX_TUN_IPV4_DST[]".into(),
        32 => "load:0->NXM_NX_IP_TTL[2..7]".into(),
        33 => "push:NXM_NX_REG1[0..7],pop:NXM_NX_IP_TTL[]".into(),
        34 => "dec_ttl,dec_ttl".into(),
        35 => format!("ct(table={},zone=NXM_NX_REG0[0..15])", next(random)),
        36 => format!("ct(commit,table={},zone=NXM_NX_REG1[0..15])", next(random)),
        _ => format!("resubmit(,{})", next(random)),
    }
}

fn actions(random: &mut Random, table: u64, depth: u32, loops: bool) -> String {
    let count = random.below(4);
    let list: Vec<String> = (0..count).map(|_| action(random, table, depth, loops)).collect();
    if list.is_empty() { if depth == 0 { "drop".into() } else { "output:1".into() } } else { list.join(",") }
}

fn pipeline(random: &mut Random, loops: bool) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for _ in 0..4 + random.below(18) {
        let table = random.below(TABLES);
        let priority = 1 + random.below(4);
        let (matching, actions) = match (table, random.below(4)) {
            (2, 0) => {
                let id = 1 + random.below(2);
                (matching(random), format!("conjunction({id},{}/2)", 1 + random.below(2)))
            }
            (2, 1) => (format!("conj_id={}", 1 + random.below(2)), actions(random, table, 0, loops)),
            _ => (matching(random), actions(random, table, 0, loops)),
        };
        let text = format!("table={table},priority={priority},{matching} actions={actions}");
        if let Ok(flow) = parse_flow(&text, &PortNames::none()) {
            let _ = pipeline.insert(flow, Time::default());
        }
    }
    pipeline
}

/// Some of the packets of the small space.
fn packets(random: &mut Random) -> Vec<Key> {
    let mut keys = Vec::new();
    for _ in 0..24 {
        let (a, b, port) = (random.below(4), random.below(4), 1 + random.below(4));
        let ether =
            format!("dl_src=00:00:00:00:00:0{},dl_dst=00:00:00:00:00:0{}", random.below(2), random.below(4));
        let vlan = random.pick(&["", "", ",vlan_tci=0x1001"]);
        let fields = match random.below(4) {
            0 => format!(
                "arp,arp_op={},arp_spa=10.0.0.{a},arp_tpa=10.0.0.{b},arp_sha=00:00:00:00:00:01",
                random.below(3)
            ),
            1 => format!(
                "tcp,nw_src=10.0.0.{a},nw_dst=10.0.0.{b},nw_ttl={},tp_dst={}",
                random.below(4),
                random.below(3)
            ),
            2 => format!(
                "udp,nw_src=10.0.0.{a},nw_dst=10.0.0.{b},nw_ttl={},tp_dst={}",
                random.below(4),
                random.below(2)
            ),
            _ => "dl_type=0x88cc".to_owned(),
        };
        let tunnel = if port == 4 { ",tun_dst=160.0.0.1" } else { "" };
        let text = format!("in_port={},{ether},{fields}{vlan}{tunnel}", if port == 4 { 9 } else { port });
        keys.push(parse_packet(&text, &PortNames::none()).unwrap());
    }
    keys
}

/// A packet and answers as an assignment.
fn assigned(world: &World, key: &Key, answers: &[Answer]) -> Vec<Level> {
    let mut levels: Vec<Level> = Vec::new();
    for (word, value) in key.words().iter().enumerate() {
        levels.extend(bits(*value).map(|bit| world.space.level(Var::new(word as u8, bit))));
    }
    for (number, answer) in answers.iter().enumerate() {
        let mut of = Key::default();
        of.set(Field::CtState, answer.state.into());
        of.set(Field::CtMark, answer.mark.into());
        for word in CT_WORDS {
            let value = of.words()[usize::from(word)];
            levels.extend(
                bits(value).map(|bit| world.space.level(Var::of_connection(word, bit, number as u8))),
            );
        }
    }
    levels.sort_unstable();
    levels
}

fn bit_at(world: &World, bit: Bit, assigned: &[Level]) -> bool {
    match bit {
        Bit::Known(value) => value,
        Bit::Of(var) => assigned.binary_search(&world.space.level(var)).is_ok(),
        Bit::In(set) => world.sets.contains(set, assigned),
    }
}

/// The frame's addresses as an image says that they leave.
fn leaving(world: &World, image: &Image, assigned: &[Level]) -> Vec<u128> {
    SHOWN
        .iter()
        .map(|field| {
            let bits = image.field(*field);
            bits.iter().rev().fold(0, |number, bit| number << 1 | u128::from(bit_at(world, *bit, assigned)))
        })
        .collect()
}

const SHOWN: [Field; 9] = [
    Field::EthSrc,
    Field::EthDst,
    Field::VlanTci,
    Field::NwSrc,
    Field::NwDst,
    Field::ArpOp,
    Field::ArpSpa,
    Field::ArpTpa,
    Field::TunDst,
];

/// What the sets say of one packet, and what the evaluator does.
fn compare(world: &mut World, bridge: &mut Bridge<'_>, key: &Key, answers: &[Answer]) -> Result<(), String> {
    let assigned = assigned(world, key, answers);
    if !world.sets.contains(bridge.valid, &assigned) {
        return Err("not a valid packet".into());
    }
    let variables = world.sets.variables();
    let mut literals =
        variables.iter().map(|level| (*level, assigned.binary_search(level).is_ok())).collect();
    let alone = world.sets.cube(&mut literals);
    let World { sets, space } = world;
    let way = explore(sets, space, &mut bridge.program, bridge.ports, bridge.came.clone(), alone)
        .map_err(|e| e.to_string())?;
    let answered = way.calls.iter().filter_map(|call| call.answer(answers[usize::from(call.connection())]));
    let witness = Witness { key: key.clone(), answers: answered.collect(), table: None };
    let trace = replay(bridge.pipeline, bridge.ports, &witness);
    let taken: BTreeSet<u64> = trace.lookups.iter().filter_map(|(_, flow)| flow.map(|flow| flow.0)).collect();
    let mut said: BTreeSet<u64> = BTreeSet::new();
    for place in 0..bridge.program.flows.len() {
        let hits = bridge.hits(world, place);
        if world.sets.contains(hits, &assigned) {
            said.insert(bridge.program.flows[place].entry.id.0);
        }
    }
    let of = |ids: &BTreeSet<u64>| {
        bridge
            .pipeline
            .entries()
            .filter(|entry| ids.contains(&entry.id.0))
            .map(|entry| entry.flow.display(&PortNames::none()).to_string())
            .collect::<Vec<_>>()
            .join("\n")
    };
    if taken != said {
        return Err(format!("flows: evaluator\n{}\nsets\n{}", of(&taken), of(&said)));
    }
    let missed: BTreeSet<u8> =
        trace.lookups.iter().filter(|(_, flow)| flow.is_none()).map(|(t, _)| *t).collect();
    let in_port = PortNo(key.get(Field::InPortOxm) as u32);
    let ordinary: Vec<PortNo> = bridge
        .ports
        .iter()
        .filter(|(port, kind)| *kind == PortKind::Ordinary && *port != in_port)
        .map(|(port, _)| port)
        .collect();
    let (mut out, mut lost, mut miss, mut told) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), false);
    for event in bridge.found.events.iter().filter(|event| world.sets.contains(event.packets, &assigned)) {
        let frame = leaving(world, &event.image, &assigned);
        match event.what {
            What::Sent(port) => _ = out.insert((port, frame)),
            What::Back => _ = out.insert((in_port, frame)),
            What::Normal => out.extend(ordinary.iter().map(|port| (*port, frame.clone()))),
            What::Controller(_) => told = true,
            What::Missed(table) => _ = miss.insert(table),
            What::Lost(reason) => _ = lost.insert(reason),
        }
    }
    let given_up = |lost: &BTreeSet<DropReason>| {
        lost.contains(&DropReason::TooDeep) || lost.contains(&DropReason::TooManyResubmits)
    };
    let really_lost: BTreeSet<DropReason> = trace.lost.iter().copied().collect();
    let really_out: BTreeSet<(PortNo, Vec<u128>)> = trace
        .outputs
        .iter()
        .map(|(port, key)| (*port, SHOWN.iter().map(|field| key.get(*field)).collect()))
        .collect();
    if given_up(&really_lost) != given_up(&lost) {
        return Err(format!("given up: evaluator {really_lost:?}, sets {lost:?}"));
    }
    if really_out != out || trace.controllers.is_empty() == told {
        return Err(format!("outputs: evaluator {really_out:?}, sets {out:?}"));
    }
    if !given_up(&lost) {
        if missed != miss {
            return Err(format!("missed: evaluator {missed:?}, sets {miss:?}"));
        }
        // The evaluator's last word is told of too, where nothing was sent: FlowDrop and NoFlow.
        let told: BTreeSet<DropReason> = really_lost
            .into_iter()
            .filter(|reason| !matches!(reason, DropReason::FlowDrop | DropReason::NoFlow))
            .collect();
        if told != lost {
            return Err(format!("lost: evaluator {told:?}, sets {lost:?}"));
        }
    }
    Ok(())
}

fn ports() -> PortSet {
    let ordinary = [1, 2, 3].map(|port| (PortNo(port), PortKind::Ordinary));
    ordinary.into_iter().chain([(PortNo(9), PortKind::Tunnel)]).collect()
}

fn disagreements(loops: bool, seeds: std::ops::Range<u64>) -> Vec<String> {
    let ports = ports();
    let mut found = Vec::new();
    let mut asked = 0;
    for seed in seeds.clone() {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        (0..8).for_each(|_| _ = random.below(2));
        let pipeline = pipeline(&mut random, loops);
        let mut world = World::new();
        let mut bridge = match Bridge::explored(&mut world, &pipeline, &ports) {
            Ok(bridge) => bridge,
            Err(error) => {
                assert!(error.to_string().contains("connections"), "seed {seed}: {error}");
                continue;
            }
        };
        for key in packets(&mut random) {
            let answers: Vec<Answer> = (0..MAX_CONNECTIONS)
                .map(|_| {
                    let state = [state::NEW, state::EST, state::EST | state::RPL, state::INV]
                        [random.below(4) as usize];
                    let mark = if state == state::INV { 0 } else { random.below(4) as u32 };
                    Answer { state: state | state::TRK, mark, label: 0 }
                })
                .collect();
            asked += 1;
            if let Err(what) = compare(&mut world, &mut bridge, &key, &answers) {
                let flows: Vec<String> = pipeline
                    .entries()
                    .map(|entry| entry.flow.display(&PortNames::none()).to_string())
                    .collect();
                found.push(format!("seed {seed}: {key:?}\n{what}\nflows:\n{}", flows.join("\n")));
                break;
            }
        }
        if found.len() >= 3 {
            break;
        }
    }
    println!("seeds {seeds:?}, loops {loops}: {asked} packets");
    found
}

#[test]
fn sets_agree_with_the_evaluator() {
    let found = disagreements(false, 1..300);
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

#[test]
fn sets_agree_with_the_evaluator_on_loops() {
    let found = disagreements(true, 10000..10100);
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

/// Sets and evaluator agree on one packet.
fn agree(flows: &[&str], packet: &str) {
    let ports = ports();
    let mut pipeline = Pipeline::new();
    for flow in flows {
        pipeline.insert(parse_flow(flow, &PortNames::none()).unwrap(), Time::default()).unwrap();
    }
    let mut world = World::new();
    let mut bridge = Bridge::explored(&mut world, &pipeline, &ports).unwrap();
    let key = parse_packet(packet, &PortNames::none()).unwrap();
    let answer = Answer { state: state::TRK | state::NEW, mark: 0, label: 0 };
    assert_eq!(compare(&mut world, &mut bridge, &key, &[answer; MAX_CONNECTIONS]), Ok(()));
}

#[test]
fn normal_takes_off_a_tag_that_says_nothing() {
    agree(&["actions=NORMAL"], "in_port=1,dl_type=0x88cc,vlan_tci=0x1000");
    agree(&["actions=push_vlan:0x8100,NORMAL"], "in_port=1,dl_type=0x88cc,vlan_tci=0x1001");
}

#[test]
fn a_ttl_of_which_some_is_written_counts_on_from_there() {
    let written = "ip actions=dec_ttl,load:0->NXM_NX_IP_TTL[0..3],dec_ttl,output:2";
    let popped = "icmp actions=dec_ttl,dec_ttl,push:NXM_OF_ICMP_TYPE[],pop:NXM_NX_IP_TTL[],dec_ttl,output:2";
    for ttl in [1, 2, 3, 15, 16, 17, 18, 255] {
        agree(&[written], &format!("in_port=1,ip,nw_ttl={ttl}"));
        agree(&[popped], &format!("in_port=1,icmp,nw_ttl={ttl},icmp_type={}", ttl % 4));
    }
}

#[test]
fn a_tunnel_does_not_send_back_to_where_a_packet_was_tunnelled_to() {
    let flow = "ip actions=load:0xa0000001->NXM_NX_TUN_IPV4_DST[],IN_PORT";
    agree(&[flow], "in_port=9,ip,tun_dst=160.0.0.1");
    agree(&[flow], "in_port=9,ip,tun_dst=160.0.0.2");
}

/// Answers for connections, and the packet's fields, are told apart from each other.
#[test]
fn the_variables_are_all_different() {
    let world = World::new();
    let mut seen = BTreeSet::new();
    for field in Field::all().filter(|field| packet::is_packet_field(*field)) {
        let location = field.info().location;
        assert!(usize::from(location.word) < KEY_WORDS);
        seen.insert(world.space.level(Var::new(location.word, location.shift)));
    }
    for number in 0..MAX_CONNECTIONS as u8 {
        for word in CT_WORDS {
            let level = world.space.level(Var::of_connection(word, 0, number));
            assert!(level == Level::MAX || seen.insert(level), "word {word} of {number}");
        }
    }
}
