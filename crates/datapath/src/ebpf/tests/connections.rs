//! The kernel's connections as this process sees them, and what becomes of them on several CPUs.

use super::bed::{Bed, context};
use crate::clock;
use footbridge_openflow::{Field, Key, PortNo};
use footbridge_pipeline::conntrack::tcp::TcpState;
use footbridge_pipeline::conntrack::{Connection, Limits, Progress};
use footbridge_pipeline::packet::compose;
use footbridge_pipeline::{Time, TunnelKey};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Each packet is tracked, and goes out of port 2 where its connection has a reply.
const FLOWS: [&str; 5] = [
    "table=0,ip actions=ct(commit,table=1,zone=7,exec(load:0x5->NXM_NX_CT_MARK[],load:0x9->NXM_NX_CT_LABEL[64..127]))",
    "table=0,ipv6 actions=ct(commit,table=1,zone=8)",
    "table=1,priority=1,ct_state=+est,ip actions=output:2",
    "table=1,priority=1,ct_state=+est,ipv6 actions=output:2",
    "table=1,priority=0 actions=drop",
];

const SYN: u128 = 0x02;
const SYN_ACK: u128 = 0x12;
const ACK: u128 = 0x10;
const FIN: u128 = 0x11;

fn packet(proto: u128, v6: bool, there: bool, port: u128, flags: u128) -> Vec<u8> {
    let mut key = Key::default();
    let (src, dst) = if v6 { (Field::Ipv6Src, Field::Ipv6Dst) } else { (Field::NwSrc, Field::NwDst) };
    let ends = if there { (0x0a00_0009, 0x0a00_0001) } else { (0x0a00_0001, 0x0a00_0009) };
    key.set(Field::EthType, if v6 { 0x86dd } else { 0x0800 });
    key.set(src, ends.0);
    key.set(dst, ends.1);
    key.set(Field::NwTtl, 64);
    key.set(Field::NwProto, proto);
    match proto {
        6 | 17 => {
            let ports = if there { (port, 80) } else { (80, port) };
            key.set(Field::TcpSrc, ports.0);
            key.set(Field::TcpDst, ports.1);
        }
        1 => key.set(Field::IcmpType, if there { 8 } else { 0 }),
        58 => key.set(Field::Icmpv6Type, if there { 128 } else { 129 }),
        _ => {}
    }
    if proto == 6 {
        key.set(Field::TcpFlags, flags);
    }
    compose(&key)
}

fn udp(there: bool, port: u128) -> Vec<u8> {
    packet(17, false, there, port, 0)
}

fn tcp(there: bool, port: u128, flags: u128) -> Vec<u8> {
    packet(6, false, there, port, flags)
}

impl Bed {
    fn tracking(test: &str, limits: Limits) -> Option<Bed> {
        let mut bed = Bed::with_limits(test, 4, limits)?;
        bed.flows(&FLOWS).unwrap();
        Some(bed)
    }

    /// Whether the packet was of a connection with a reply.
    fn is_established(&mut self, frame: &[u8]) -> bool {
        !self.run(PortNo(1), frame).outputs.is_empty()
    }

    fn connections(&self, zone: Option<u16>) -> Vec<Connection> {
        self.compiled.shared().connections.list(zone, clock::now()).unwrap()
    }
}

/// IPv4 and IPv6, both orders of ends, ICMP: what is listed can be flushed and put back, and is the same.
#[test]
fn connections_are_listed_flushed_and_put_back() {
    let Some(mut bed) = Bed::tracking("connections_are_listed_flushed_and_put_back", Limits::default())
    else {
        return;
    };
    let begun = clock::now();
    for frame in [
        udp(true, 5000),
        tcp(false, 5001, SYN),
        packet(1, false, true, 0, 0),
        packet(17, true, true, 5000, 0),
        packet(17, true, true, 5000, 0),
        packet(58, true, true, 0, 0),
    ] {
        bed.run(PortNo(1), &frame);
    }
    assert!(bed.is_established(&udp(false, 5000)));
    assert!(bed.is_established(&packet(58, true, false, 0, 0)));
    let listed = bed.connections(None);
    let what: Vec<_> =
        listed.iter().map(|c| (c.zone, c.original.proto, c.original.src.port, c.replied)).collect();
    assert_eq!(
        what,
        [(7, 17, 5000, true), (7, 6, 80, false), (7, 1, 0, false), (8, 17, 5000, false), (8, 58, 0, true)]
    );
    assert_eq!((listed[0].mark, listed[0].label), (5, 9 << 64));
    assert_eq!((listed[2].original.icmp_type, listed[4].original.icmp_type), (8, 128));
    assert_eq!(listed[1].progress, Progress::Tcp(TcpState::SynSent));
    let left = listed[0].expires.since(begun);
    assert!((Duration::from_secs(120)..Duration::from_secs(150)).contains(&left), "{left:?}");

    let connections = &bed.compiled.shared().connections;
    assert_eq!(bed.connections(Some(8)), listed[3..]);
    assert_eq!(connections.flush(Some(8), clock::now()).unwrap(), 2);
    assert_eq!(bed.connections(None), listed[..3]);
    assert_eq!(connections.flush(None, clock::now()).unwrap(), 3);
    assert!(!bed.is_established(&udp(false, 5000)), "it begins anew, from there");
    connections.flush(None, clock::now()).unwrap();
    let mut saved = listed.clone();
    saved.push(Connection { zone: 9, expires: Time(1), ..listed[0].clone() });
    connections.restore(&saved, clock::now()).unwrap();
    assert_eq!(bed.connections(None), listed);
    assert!(bed.is_established(&udp(true, 5000)));
}

#[test]
fn a_flood_of_new_connections_pushes_out_none_with_a_reply() {
    let test = "a_flood_of_new_connections_pushes_out_none_with_a_reply";
    let Some(mut bed) = Bed::tracking(test, Limits { connections: 64, fragments: 64 }) else { return };
    for port in 1..=8 {
        bed.run(PortNo(1), &udp(true, port));
        assert!(bed.is_established(&udp(false, port)));
    }
    for port in 100..2000 {
        bed.run(PortNo(1), &tcp(true, port, SYN));
    }
    assert!((1..=8).all(|port| bed.is_established(&udp(true, port))));
    let connections = bed.connections(None);
    assert_eq!(connections.len(), 64);
    // The latest of the others are there.
    assert!(connections[8..].iter().all(|connection| connection.original.src.port >= 2000 - 56));
}

/// One that was saved without a reply can be given up like those that packets committed.
#[test]
fn a_full_table_of_replied_connections_takes_no_new_one() {
    let test = "a_full_table_of_replied_connections_takes_no_new_one";
    let Some(mut bed) = Bed::tracking(test, Limits { connections: 4, fragments: 64 }) else { return };
    for port in 1..=4 {
        bed.run(PortNo(1), &udp(true, port));
        assert!(bed.is_established(&udp(false, port)));
    }
    let full = bed.connections(None);
    assert!(!bed.is_established(&udp(true, 5)) && !bed.is_established(&udp(false, 5)), "nobody knows it");
    assert_eq!(bed.connections(None).len(), 4);
    let shared = bed.compiled.shared();
    shared.connections.flush(None, clock::now()).unwrap();
    let unreplied: Vec<Connection> =
        full.into_iter().map(|connection| Connection { replied: false, ..connection }).collect();
    shared.connections.restore(&unreplied, clock::now()).unwrap();
    bed.run(PortNo(1), &udp(true, 5));
    let ports: Vec<u16> =
        bed.connections(None).iter().map(|connection| connection.original.src.port).collect();
    assert_eq!(ports, [2, 3, 4, 5]);
}

#[test]
fn what_is_past_its_time_is_swept_and_nothing_else() {
    let Some(mut bed) = Bed::tracking("what_is_past_its_time_is_swept_and_nothing_else", Limits::default())
    else {
        return;
    };
    bed.run(PortNo(1), &udp(true, 1));
    bed.run(PortNo(1), &tcp(true, 1, SYN));
    let shared = bed.compiled.shared();
    shared.connections.age(Duration::from_secs(31)).unwrap();
    assert_eq!(bed.connections(None).len(), 1, "those past their time are not listed");
    assert_eq!(shared.connections.table.elements(|_| true).unwrap().len(), 2);
    shared.connections.sweep(clock::now()).unwrap();
    assert_eq!(shared.connections.table.elements(|_| true).unwrap().len(), 1);
    assert_eq!(bed.connections(None)[0].original.proto, 6);
}

/// Run `each` on every CPU at once, told its number, until one of them or `meanwhile` is done.
fn on_all_cpus(each: impl Fn(usize) + Sync, meanwhile: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for cpu in 0..cpus {
            let (each, over) = (&each, &over);
            scope.spawn(move || {
                // A run of the program has a CPU for itself, as packets have.
                let mut only = CpuSet::new();
                only.set(cpu).unwrap();
                sched_setaffinity(Pid::from_raw(0), &only).unwrap();
                while !over.load(Ordering::Relaxed) {
                    each(cpu);
                }
            });
        }
        meanwhile();
        over.store(true, Ordering::Relaxed);
    });
}

/// Packets of a few connections on all CPUs, while they are flushed and listed: there is one entry a connection, and
/// none that makes no sense.
#[test]
fn connections_stay_whole_on_several_cpus() {
    let test = "connections_stay_whole_on_several_cpus";
    let Some(bed) = Bed::tracking(test, Limits { connections: 6, fragments: 64 }) else { return };
    let (program, _record) = bed.recording();
    let context = context(PortNo(1), &TunnelKey::default());
    let frames: Vec<Vec<u8>> = [SYN, SYN_ACK, ACK, FIN]
        .into_iter()
        .flat_map(|flags| (1..=9).flat_map(move |port| [tcp(true, port, flags), tcp(false, port, flags)]))
        .collect();
    let shared = bed.compiled.shared();
    on_all_cpus(
        |cpu| {
            for step in 0..frames.len() {
                program.run(&frames[(step * (5 + 2 * cpu)) % frames.len()], &context, 20).unwrap();
            }
        },
        || {
            for round in 0..300 {
                let mut listed = shared.connections.list(None, clock::now()).unwrap();
                assert!(listed.len() <= 6 + 2, "{}", listed.len());
                for connection in &listed {
                    let ends = [connection.original.src.port, connection.original.dst.port];
                    assert!(
                        ends.contains(&80) && matches!(connection.progress, Progress::Tcp(_)),
                        "{connection:?}"
                    );
                    assert_eq!((connection.zone, connection.mark, connection.label), (7, 5, 9 << 64));
                }
                listed
                    .sort_by_key(|connection| connection.original.src.port.max(connection.original.dst.port));
                let both = listed.windows(2).find(|pair| pair[0].original.reversed() == pair[1].original);
                assert_eq!(both, None, "one connection, twice");
                if round % 7 == 0 {
                    shared.connections.flush(None, clock::now()).unwrap();
                }
            }
        },
    );
}

/// An established connection is so for every packet, on whichever CPU.
#[test]
fn an_established_connection_is_so_on_every_cpu() {
    let test = "an_established_connection_is_so_on_every_cpu";
    let Some(mut bed) = Bed::tracking(test, Limits::default()) else { return };
    for (there, flags) in [(true, SYN), (false, SYN_ACK), (true, ACK)] {
        bed.run(PortNo(1), &tcp(there, 1, flags));
    }
    let (program, _record) = bed.recording();
    let context = context(PortNo(1), &TunnelKey::default());
    let established =
        bed.pipeline.entries().find(|flow| flow.flow.table == 1 && flow.flow.priority == 1).unwrap();
    let dropped =
        bed.pipeline.entries().find(|flow| flow.flow.table == 1 && flow.flow.priority == 0).unwrap();
    let hits = || [established, dropped].map(|flow| bed.compiled.statistics(flow).packets);
    let before = hits();
    on_all_cpus(
        |cpu| assert!(program.run(&tcp(cpu % 2 == 0, 1, ACK), &context, 1000).is_ok()),
        || std::thread::sleep(Duration::from_millis(300)),
    );
    let after = hits();
    assert!(after[0] - before[0] > 10_000 && after[1] == before[1], "{before:?} {after:?}");
    assert_eq!(bed.connections(None)[0].progress, Progress::Tcp(TcpState::Established));
}
