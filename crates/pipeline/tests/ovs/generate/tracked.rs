//! Connections: flows around `ct()`, and the packets of a few connections.
//!
//! What Open vSwitch's own tracker does otherwise (docs/conformance.md) stays out: TCP connections are
//! committed with their first packet and go as TCP goes; checksums are right; no port is 0.

use super::{Generator, Input, Palette};
use crate::flows::FlowText;
use crate::random::Random;
use footbridge_openflow::{Field::*, Key};
use footbridge_pipeline::packet;

fn new(text: String) -> FlowText {
    FlowText { text, old: false }
}

/// What a packet is tracked as, told by the source address it leaves with.
fn telling(flows: &mut Vec<FlowText>, table: u8) {
    let states = ["+new", "+est-rpl", "+est+rpl", "+inv", "+rel-rpl", "+rel+rpl"];
    for family in ["ip", "ipv6"] {
        for (number, state) in states.into_iter().enumerate() {
            let show = "move:NXM_NX_CT_MARK[0..7]->NXM_OF_ETH_SRC[8..15],\
                 move:NXM_NX_CT_LABEL[0..7]->NXM_OF_ETH_SRC[16..23],\
                 move:NXM_NX_CT_ZONE[0..7]->NXM_OF_ETH_SRC[24..31]";
            let tuple = match (state, family) {
                ("+inv" | "+rel-rpl", _) => "",
                (_, "ip") => {
                    ",move:NXM_NX_CT_NW_SRC[0..7]->NXM_OF_ETH_DST[0..7],\
                     move:NXM_NX_CT_TP_DST[]->NXM_OF_ETH_DST[8..23]"
                }
                _ => {
                    ",move:NXM_NX_CT_IPV6_DST[0..7]->NXM_OF_ETH_DST[0..7],\
                     move:NXM_NX_CT_TP_SRC[]->NXM_OF_ETH_DST[8..23]"
                }
            };
            flows.push(new(format!(
                "table={table},priority={},ct_state={state}+trk,{family} \
                 actions=load:{number}->NXM_OF_ETH_SRC[0..7],{show}{tuple},output:5",
                10 + number
            )));
        }
    }
}

fn exec(random: &mut Random) -> &'static str {
    random.pick(&[
        "",
        "",
        ",exec(load:7->NXM_NX_CT_MARK[])",
        ",exec(set_field:3->ct_label)",
        ",exec(load:0x21->NXM_NX_CT_MARK[0..7],load:1->NXM_NX_CT_LABEL[3])",
        ",exec(move:NXM_NX_REG0[0..7]->NXM_NX_CT_MARK[0..7])",
    ])
}

/// ct() here and there, for connections whose states do not hang on their order.
pub(crate) fn sprinkled(generator: &mut Generator<'_>) -> Vec<FlowText> {
    let random = &mut *generator.random;
    let matches = [
        "udp",
        "icmp",
        "ip",
        "ip",
        "udp6",
        "icmp6",
        "ipv6",
        "ipv6",
        "ct_state=+new+trk,udp",
        "ct_state=+est+trk,ip",
        "ct_state=+rpl+trk,ip",
        "ct_state=+inv+trk,ip",
        "ct_state=-trk,ip",
        "ct_state=+trk-new,ipv6",
        "ct_state=+rel+trk,ip",
        "ct_mark=7,ct_state=+trk,ip",
        "ct_zone=5,ip",
        "ct_label=3,ip",
        "in_port=1,ip",
        "udp,tp_dst=53",
        "ct_state=+est+trk,ct_nw_proto=17,ct_tp_dst=53,ip",
    ];
    // A copy that ends a connection by force leaves it to the other copies of the packet, in Open vSwitch:
    // with force, there is one copy at a time.
    let forces = random.one_in(2);
    let mut flows = Vec::new();
    for table in 0..4u8 {
        let next = table + 1;
        for place in 0..3 + random.below(5) {
            let matching = random.pick(&matches);
            // What can't be tracked can't be committed.
            let commits = !matching.contains("+inv");
            let mut actions: Vec<String> = (0..1 + random.below(3))
                .map(|_| {
                    let zone = random.pick(&["5", "5", "6", "NXM_NX_REG5[0..15]"]);
                    match random.below(10) {
                        0..=2 => format!("ct(table={next},zone={zone})"),
                        kind @ 3..=5 if commits => {
                            let force = if forces && random.one_in(3) { "force," } else { "" };
                            let table = if kind == 5 { String::new() } else { format!("table={next},") };
                            format!("ct(commit,{force}{table}zone={zone}{})", exec(random))
                        }
                        3..=6 => format!("resubmit(,{next})"),
                        7 => "load:6->NXM_OF_ETH_SRC[0..7],output:4,load:9->NXM_NX_REG0[]".into(),
                        8 => "output:3,load:5->NXM_NX_REG5[]".into(),
                        _ => "ct_clear".into(),
                    }
                })
                .collect();
            if forces {
                let mut goes_on = false;
                actions.retain(|action| {
                    let again = action.starts_with("resubmit") || action.starts_with("ct(");
                    !(again && std::mem::replace(&mut goes_on, true))
                });
            }
            let actions = if actions.is_empty() { "drop".into() } else { actions.join(",") };
            flows.push(new(format!("table={table},priority={},{matching} actions={actions}", 100 - place)));
        }
    }
    telling(&mut flows, 4);
    flows
}

/// A firewall that keeps state: what is new is committed, what is of a connection passes.
pub(crate) fn firewall(generator: &mut Generator<'_>) -> Vec<FlowText> {
    let random = &mut *generator.random;
    let mut flows = Vec::new();
    for family in ["ip", "ipv6"] {
        let zone = random.pick(&["1", "7", "NXM_NX_REG3[0..15]"]);
        let clear = if random.one_in(4) { "ct_clear," } else { "" };
        let force = if random.one_in(4) { "force," } else { "" };
        let again = if random.one_in(3) { ",table=2" } else { "" };
        let exec = exec(random);
        flows.push(new(format!(
            "priority=1,{family} actions=load:4->NXM_NX_REG3[],{clear}ct(table=1,zone={zone})"
        )));
        flows.push(new(format!(
            "table=1,priority=9,ct_state=+new+trk,{family} \
             actions=ct(commit,{force}zone={zone}{again}{exec}),resubmit(,2)"
        )));
        flows.push(new(format!("table=1,priority=1,{family} actions=resubmit(,2)")));
    }
    telling(&mut flows, 2);
    flows
}

/// One end of a connection, or the other, speaks.
#[derive(Clone, Copy)]
struct Connection {
    v6: bool,
    proto: u128,
    hosts: (u128, u128),
    ports: (u128, u128),
}

impl Connection {
    fn any(random: &mut Random, protos: &[u128]) -> Connection {
        let proto = random.pick(protos);
        Connection {
            v6: random.one_in(3),
            proto,
            hosts: random.pick(&[(1, 2), (1, 2), (1, 3)]),
            ports: (random.pick(&[9, 10]), random.pick(&[53, 80])),
        }
    }

    fn key(&self, forward: bool) -> Key {
        let mut key = Key::default();
        let swap = |(a, b)| if forward { (a, b) } else { (b, a) };
        let ((src, dst), (sport, dport)) = (swap(self.hosts), swap(self.ports));
        let (src_field, dst_field, prefix) =
            if self.v6 { (Ipv6Src, Ipv6Dst, 0xfd00 << 112) } else { (NwSrc, NwDst, 0x0a00_0000) };
        let proto = if self.v6 && self.proto == 1 { 58 } else { self.proto };
        let values = [
            (InPortOxm, if forward { 1 } else { 2 }),
            (EthSrc, 0x0200_0000_0000 | src),
            (EthDst, 0x0200_0000_0000 | dst),
            (EthType, if self.v6 { 0x86dd } else { 0x0800 }),
            (src_field, prefix | src),
            (dst_field, prefix | dst),
            (NwTtl, 64),
            (NwProto, proto),
        ];
        values.into_iter().for_each(|(field, value)| key.set(field, value));
        if matches!(proto, 6 | 17) {
            key.set(TcpSrc, sport);
            key.set(TcpDst, dport);
        }
        key
    }
}

fn input(key: Key, frame: Vec<u8>) -> Input {
    Input { in_port: key.get(InPortOxm) as u32, key, frame, last: true }
}

/// UDP, ICMP and other protocols, and ICMP errors about them.
pub(crate) fn exchanges(random: &mut Random, _: Palette, count: u64) -> Vec<Input> {
    (0..count)
        .map(|_| {
            let connection = Connection::any(random, &[17, 17, 1, 1, 47]);
            let forward = random.one_in(2);
            let mut key = connection.key(forward);
            if matches!(connection.proto, 1) {
                let kinds: &[u128] =
                    if connection.v6 { &[128, 128, 129, 135] } else { &[8, 8, 0, 13, 14, 17] };
                key.set(IcmpType, random.pick(kinds));
                key.set(IcmpCode, random.pick(&[0, 0, 0, 0, 1]));
            }
            let mut frame = packet::compose(&key);
            if random.one_in(5) {
                frame = error_about(random, &frame, connection.v6);
                key.set(InPortOxm, if forward { 2 } else { 1 });
            }
            input(key, frame)
        })
        .collect()
}

/// An ICMP error about a packet: from the packet's destination, or from a router on the way, to its
/// source, or to somebody else.
fn error_about(random: &mut Random, about: &[u8], v6: bool) -> Vec<u8> {
    let packet = &about[14..];
    let quoted = &packet[..packet.len().min(random.pick(&[48, 60, 88]))];
    let stray = random.one_in(6);
    let mut frame = [&about[6..12], &about[..6], &about[12..14]].concat();
    let (mut src, mut dst) = if v6 {
        (packet[24..40].to_vec(), packet[8..24].to_vec())
    } else {
        (packet[16..20].to_vec(), packet[12..16].to_vec())
    };
    if random.one_in(3) {
        *src.last_mut().unwrap() = 0xfe;
    }
    if stray {
        *dst.last_mut().unwrap() = 0xfd;
    }
    let kind: u8 = if v6 { random.pick(&[1, 2, 3, 4]) } else { random.pick(&[3, 11, 12, 5]) };
    let mut message = [&[kind, 0, 0, 0, 0, 0, 0, 0], quoted].concat();
    if v6 {
        let pseudo = [&src[..], &dst[..], &(message.len() as u32).to_be_bytes()[..], &[0, 0, 0, 58]].concat();
        let sum = checksum(&[&pseudo, &message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        frame.extend([0x60, 0, 0, 0]);
        frame.extend((message.len() as u16).to_be_bytes());
        frame.extend([58, 64]);
        frame.extend(src);
        frame.extend(dst);
    } else {
        let sum = checksum(&[&message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        let mut header = vec![0x45, 0];
        header.extend((20 + message.len() as u16).to_be_bytes());
        header.extend([0, 0, 0, 0, 64, 1, 0, 0]);
        header.extend(src);
        header.extend(dst);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        frame.extend(header);
    }
    frame.extend(message);
    frame
}

/// The Internet checksum (RFC 1071) of parts of even length but the last.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u64 = words.map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

const FIN: u128 = 0x01;
const SYN: u128 = 0x02;
const RST: u128 = 0x04;
const PSH: u128 = 0x08;
const ACK: u128 = 0x10;

/// How TCP connections go: who speaks (true: the one who began), and with which flags.
const CONVERSATIONS: &[&[(bool, u128)]] = &[
    // Whole.
    &[
        (true, SYN),
        (false, SYN | ACK),
        (true, ACK),
        (true, PSH | ACK),
        (false, PSH | ACK),
        (true, FIN | ACK),
        (false, ACK),
        (false, FIN | ACK),
        (true, ACK),
    ],
    // A SYN and its answer come twice; both sides close at once.
    &[
        (true, SYN),
        (true, SYN),
        (false, SYN | ACK),
        (false, SYN | ACK),
        (true, ACK),
        (false, FIN | ACK),
        (true, FIN | ACK),
        (false, ACK),
        (true, ACK),
    ],
    // Refused, and tried again.
    &[(true, SYN), (false, RST | ACK), (true, SYN), (false, SYN | ACK), (true, ACK)],
    // Reset.
    &[(true, SYN), (false, SYN | ACK), (true, ACK), (true, RST), (true, SYN)],
    // Picked up in its middle.
    &[
        (true, PSH | ACK),
        (false, ACK),
        (true, PSH | ACK),
        (false, PSH | ACK),
        (true, FIN | ACK),
        (false, FIN | ACK),
    ],
    // No connection: an answer to nothing, flags that no TCP sends.
    &[(false, SYN | ACK), (true, SYN | FIN), (true, 0), (true, SYN | RST), (true, PSH), (true, FIN)],
];

/// A few TCP connections, their segments mixed.
pub(crate) fn conversations(random: &mut Random, _: Palette, count: u64) -> Vec<Input> {
    let mut under_way: Vec<(Connection, &[(bool, u128)])> = Vec::new();
    let mut inputs = Vec::new();
    let mut port = 1000;
    while inputs.len() < count as usize {
        if under_way.len() < 3 {
            let connection = Connection { ports: (port, 80), ..Connection::any(random, &[6]) };
            port += 1;
            under_way.push((connection, random.pick(CONVERSATIONS)));
        }
        let at = random.below(under_way.len() as u64) as usize;
        let (connection, segments) = under_way[at];
        let Some(((forward, flags), rest)) = segments.split_first() else {
            under_way.remove(at);
            continue;
        };
        under_way[at].1 = rest;
        let mut key = connection.key(*forward);
        key.set(TcpFlags, *flags);
        let frame = packet::compose(&key);
        inputs.push(input(key, frame));
    }
    inputs
}

/// Flows for datagrams in fragments: ct() comes last, for Open vSwitch holds fragments there until all
/// have come.
pub(crate) fn reassembling(generator: &mut Generator<'_>) -> Vec<FlowText> {
    let random = &mut *generator.random;
    let mut flows = Vec::new();
    for family in ["ip", "ipv6"] {
        let commit = if random.one_in(2) { "commit," } else { "" };
        let exec = if commit.is_empty() { "" } else { exec(random) };
        flows.push(new(format!("priority=1,{family} actions=ct({commit}table=1,zone=3{exec})")));
        flows.push(new(format!("table=1,priority=1,{family} actions=ct(commit,table=2,zone=3)")));
    }
    telling(&mut flows, 1);
    telling(&mut flows, 2);
    flows
}

/// UDP datagrams in two or three fragments, one after the other, mixed with whole ones.
pub(crate) fn fragmented(random: &mut Random, _: Palette, count: u64) -> Vec<Input> {
    let mut inputs = Vec::new();
    while inputs.len() < count as usize {
        // Open vSwitch remembers datagrams for a while after they were whole: no two are alike.
        let hosts = (random.bits(16) | 1, random.bits(16) | 1);
        let connection = Connection { hosts, ..Connection::any(random, &[17]) };
        let id = random.next() as u16;
        let key = connection.key(random.one_in(2));
        if random.one_in(4) {
            inputs.push(input(key.clone(), packet::compose(&key)));
            continue;
        }
        let frames = fragments(random, &connection, &key, id);
        let last = frames.len() - 1;
        for (at, frame) in frames.into_iter().enumerate() {
            inputs.push(Input { last: at == last, ..input(key.clone(), frame) });
        }
    }
    inputs
}

fn fragments(random: &mut Random, connection: &Connection, key: &Key, id: u16) -> Vec<Vec<u8>> {
    // Of no more than 400 bytes Open vSwitch takes the last alone.
    let piece = if connection.v6 { 1280 } else { random.pick(&[1200, 1304]) };
    let length = piece * random.pick(&[1, 2]) + random.pick(&[8, 120, 555]);
    let whole = packet::compose(key);
    let headers = if connection.v6 { 54 } else { 34 };
    let addresses = if connection.v6 { &whole[22..54] } else { &whole[26..34] };
    let mut datagram = whole[headers..headers + 4].to_vec();
    datagram.extend((length as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.resize(length, 0x5a);
    let pseudo = [addresses, &[0, 17], &(length as u16).to_be_bytes()].concat();
    let sum = match checksum(&[&pseudo, &datagram]) {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    let pieces: Vec<&[u8]> = datagram.chunks(piece).collect();
    let last = pieces.len() - 1;
    pieces
        .into_iter()
        .enumerate()
        .map(|(at, part)| {
            let mut frame = whole[..headers].to_vec();
            let offset = (at * piece / 8) as u16;
            if connection.v6 {
                frame[18..20].copy_from_slice(&(8 + part.len() as u16).to_be_bytes());
                frame[20] = 44;
                frame.extend([17, 0]);
                frame.extend((offset << 3 | u16::from(at < last)).to_be_bytes());
                frame.extend(u32::from(id).to_be_bytes());
            } else {
                let more = if at < last { 0x2000 } else { 0 };
                frame[16..18].copy_from_slice(&(20 + part.len() as u16).to_be_bytes());
                frame[18..20].copy_from_slice(&id.to_be_bytes());
                frame[20..22].copy_from_slice(&(offset | more).to_be_bytes());
                frame[24..26].copy_from_slice(&[0, 0]);
                let sum = checksum(&[&frame[14..34]]);
                frame[24..26].copy_from_slice(&sum.to_be_bytes());
            }
            frame.extend(part);
            frame
        })
        .collect()
}
