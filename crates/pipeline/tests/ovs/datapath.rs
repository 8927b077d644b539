//! Open vSwitch's datapath actions, as `ofproto/trace` prints them: read, and carried out on a
//! packet's fields.

use crate::trace::Pass;
use footbridge_openflow::{Field, Field::*, Key};
use std::collections::VecDeque;

/// One datapath action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datapath {
    /// To the datapath's port of this number.
    Output(u32),
    /// To the controllers.
    Controller {
        id: u16,
        reason: u8,
        cookie: u64,
    },
    /// Bits of fields: value and mask.
    Set(Vec<(Field, u128, u128)>),
    /// The whole tunnel header.
    SetTunnel(Vec<(Field, u128, u128)>),
    /// The queue.
    SetPriority(u32),
    PushVlan {
        tci: u16,
    },
    PopVlan,
    Track(Track),
    /// What the packet is tracked as is forgotten.
    Untrack,
    /// On with the next pass.
    Recirculate,
    Clone(Vec<Datapath>),
    /// The next output sends only so many bytes.
    Cut(u32),
    /// Different actions for packets longer than so many bytes.
    ByLength {
        len: u16,
        longer: Vec<Datapath>,
        others: Vec<Datapath>,
    },
}

/// `ct(...)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Track {
    pub(crate) zone: u16,
    pub(crate) commit: bool,
    pub(crate) force: bool,
    pub(crate) mark: (u32, u32),
    pub(crate) label: (u128, u128),
}

/// What becomes of a packet, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// It leaves by a port, with these fields and in this queue.
    Output { port: u32, key: Box<Key>, queue: u32 },
    /// The controllers see it.
    Controller { id: u16, reason: u8, cookie: u64 },
    /// The tracker is asked.
    Track(Track),
    /// Its way, or that of a copy that the tracker made, has ended, with these fields.
    End(Box<Key>),
    /// It was given up at a limit.
    GivenUp,
}

/// Carry out the passes of a packet; `len` is its frame's, `port` names OpenFlow's ports.
pub(crate) fn carry_out(
    passes: Vec<Pass>,
    len: usize,
    port: &dyn Fn(u32) -> Option<u32>,
) -> Result<Vec<Event>, String> {
    let mut passes: VecDeque<Pass> = passes.into();
    let mut numbered: Vec<Option<Pass>> = passes.drain(..).map(Some).collect();
    let children = children(&numbered);
    let mut run = Run { passes: &mut numbered, children: &children, len, port, events: Vec::new() };
    run.pass(0)?;
    Ok(run.events)
}

/// Which passes each begins: they are printed in the order in which they were begun, breadth first.
fn children(passes: &[Option<Pass>]) -> Vec<VecDeque<usize>> {
    let mut next = 1;
    let count = |pass: &Pass| pass.actions.iter().flatten().map(recirculations).sum::<usize>();
    passes
        .iter()
        .map(|pass| {
            let own = next..next + pass.as_ref().map_or(0, count);
            next = own.end;
            own.collect()
        })
        .collect()
}

fn recirculations(action: &Datapath) -> usize {
    let of = |actions: &[Datapath]| actions.iter().map(recirculations).sum::<usize>();
    match action {
        Datapath::Recirculate => 1,
        Datapath::Clone(actions) => of(actions),
        Datapath::ByLength { longer, others, .. } => of(longer) + of(others),
        _ => 0,
    }
}

struct Run<'a> {
    passes: &'a mut [Option<Pass>],
    children: &'a [VecDeque<usize>],
    len: usize,
    port: &'a dyn Fn(u32) -> Option<u32>,
    events: Vec<Event>,
}

/// The packet as the datapath has it.
#[derive(Clone)]
struct Packet {
    key: Key,
    queue: u32,
    /// The tags covered by one that was pushed.
    covered: Vec<u16>,
}

impl Run<'_> {
    fn pass(&mut self, number: usize) -> Result<(), String> {
        let pass = self.passes.get_mut(number).and_then(Option::take).ok_or("a pass is missing")?;
        let Some(actions) = &pass.actions else {
            self.events.push(Event::GivenUp);
            return Ok(());
        };
        let mut key = pass.first.clone();
        // A tunnel's header does not go along from one tunnel to another.
        clear_tunnel(&mut key);
        let mut packet = Packet { key, queue: 0, covered: Vec::new() };
        let mut children = self.children.get(number).cloned().unwrap_or_default();
        self.actions(actions, &mut packet, &mut children)?;
        self.events.push(Event::End(Box::new(pass.last)));
        Ok(())
    }

    fn actions(
        &mut self,
        actions: &[Datapath],
        packet: &mut Packet,
        children: &mut VecDeque<usize>,
    ) -> Result<(), String> {
        for action in actions {
            match action {
                Datapath::Output(number) => {
                    let port = (self.port)(*number).ok_or_else(|| format!("no port {number}"))?;
                    let key = Box::new(packet.key.clone());
                    self.events.push(Event::Output { port, key, queue: packet.queue });
                }
                Datapath::Controller { id, reason, cookie } => {
                    self.events.push(Event::Controller { id: *id, reason: *reason, cookie: *cookie });
                }
                Datapath::Set(writes) => write(&mut packet.key, writes),
                Datapath::SetTunnel(writes) => {
                    clear_tunnel(&mut packet.key);
                    write(&mut packet.key, writes);
                }
                Datapath::SetPriority(queue) => packet.queue = *queue,
                Datapath::PushVlan { tci } => {
                    let outer = packet.key.get(VlanTci) as u16;
                    packet.covered.extend((outer & 0x1000 != 0).then_some(outer));
                    packet.key.set(VlanTci, (tci | 0x1000).into());
                }
                Datapath::PopVlan => {
                    let uncovered = packet.covered.pop().unwrap_or(0);
                    packet.key.set(VlanTci, uncovered.into());
                }
                Datapath::Track(track) => self.events.push(Event::Track(*track)),
                Datapath::Recirculate => {
                    let child = children.pop_front().ok_or("a pass is missing")?;
                    self.pass(child)?;
                }
                Datapath::Clone(actions) => self.actions(actions, &mut packet.clone(), children)?,
                Datapath::ByLength { len, longer, others } => {
                    let is_longer = self.len > usize::from(*len);
                    let (taken, left) = if is_longer { (longer, others) } else { (others, longer) };
                    let skipped = left.iter().map(recirculations).sum();
                    let (before, after) = if is_longer { (0, skipped) } else { (skipped, 0) };
                    children.drain(..before);
                    self.actions(taken, packet, children)?;
                    children.drain(..after);
                }
                Datapath::Cut(_) | Datapath::Untrack => {}
            }
        }
        Ok(())
    }
}

fn write(key: &mut Key, writes: &[(Field, u128, u128)]) {
    for (field, value, mask) in writes {
        key.set_masked(*field, *value, *mask);
    }
}

pub(crate) fn clear_tunnel(key: &mut Key) {
    for field in Field::all().filter(|field| field.name().starts_with("tun_")) {
        key.set(field, 0);
    }
}

/// Read a list of datapath actions.
pub(crate) fn parse(text: &str) -> Result<Vec<Datapath>, String> {
    if text == "drop" {
        return Ok(Vec::new());
    }
    items(text).into_iter().map(action).collect()
}

/// The items between commas, outside parentheses and braces.
fn items(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'{' => depth += 1,
            b')' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items.retain(|item| !item.is_empty());
    items
}

/// `name(inside)`.
fn call(item: &str) -> Option<(&str, &str)> {
    item.strip_suffix(')')?.split_once('(')
}

/// `name=value`, `name(value)` or a name alone.
fn pairs(inside: &str) -> Vec<(&str, &str)> {
    let pair = |item| match (call(item), item.split_once('=')) {
        (Some((name, value)), _) if !name.contains('=') => (name, value),
        (_, Some(pair)) => pair,
        _ => (item, ""),
    };
    items(inside).into_iter().map(pair).collect()
}

fn number(text: &str) -> Result<u128, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u128::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    parsed.ok_or_else(|| format!("'{text}' is no number"))
}

fn narrow<T: TryFrom<u128>>(text: &str) -> Result<T, String> {
    T::try_from(number(text)?).map_err(|_| format!("'{text}' is too large"))
}

fn action(item: &str) -> Result<Datapath, String> {
    if let Ok(port) = narrow(item) {
        return Ok(Datapath::Output(port));
    }
    let unknown = || format!("datapath action '{item}'");
    match (item, call(item)) {
        ("pop_vlan", _) => Ok(Datapath::PopVlan),
        ("ct_clear", _) => Ok(Datapath::Untrack),
        ("ct", _) => Ok(Datapath::Track(Track::default())),
        (_, Some(("recirc", _))) => Ok(Datapath::Recirculate),
        (_, Some(("clone", inside))) => Ok(Datapath::Clone(parse(inside)?)),
        (_, Some(("trunc", len))) => Ok(Datapath::Cut(narrow(len)?)),
        (_, Some(("ct", inside))) => track(inside).map(Datapath::Track),
        (_, Some(("push_vlan", inside))) => {
            let mut tci = 0;
            for (name, value) in pairs(inside) {
                match name {
                    "vid" => tci |= narrow::<u16>(value)?,
                    "pcp" => tci |= narrow::<u16>(value)? << 13,
                    "tpid" => {}
                    _ => return Err(unknown()),
                }
            }
            Ok(Datapath::PushVlan { tci })
        }
        (_, Some(("check_pkt_len", inside))) => {
            let (mut len, mut longer, mut others) = (0, Vec::new(), Vec::new());
            for (name, value) in pairs(inside) {
                match name {
                    "size" => len = narrow(value)?,
                    "gt" => longer = parse(value)?,
                    "le" => others = parse(value)?,
                    _ => return Err(unknown()),
                }
            }
            Ok(Datapath::ByLength { len, longer, others })
        }
        (_, Some(("userspace", inside))) => controller(inside),
        (_, Some(("set", inside))) => set(inside),
        _ => Err(unknown()),
    }
}

fn controller(inside: &str) -> Result<Datapath, String> {
    let (mut id, mut reason, mut cookie) = (0, 0, 0);
    let Some((_, inside)) = pairs(inside).into_iter().find(|(name, _)| *name == "controller") else {
        return Err(format!("userspace({inside})"));
    };
    for (name, value) in pairs(inside) {
        match name {
            "controller_id" => id = narrow(value)?,
            "reason" => reason = narrow(value)?,
            "rule_cookie" => cookie = narrow(value)?,
            _ => {}
        }
    }
    Ok(Datapath::Controller { id, reason, cookie })
}

fn track(inside: &str) -> Result<Track, String> {
    let mut track = Track::default();
    for (name, value) in pairs(inside) {
        match name {
            "commit" => track.commit = true,
            "force_commit" => (track.commit, track.force) = (true, true),
            "zone" => track.zone = narrow(value)?,
            "mark" => {
                let (value, mask) = masked(CtMark, value)?;
                track.mark = (value as u32, mask as u32);
            }
            "label" => track.label = masked(CtLabel, value)?,
            _ => return Err(format!("ct({inside})")),
        }
    }
    Ok(track)
}

fn set(inside: &str) -> Result<Datapath, String> {
    let (header, inside) = call(inside).ok_or_else(|| format!("set({inside})"))?;
    if header == "skb_priority" {
        return Ok(Datapath::SetPriority(narrow(inside)?));
    }
    if header == "skb_mark" {
        let (value, mask) = masked(PktMark, inside)?;
        return Ok(Datapath::Set(vec![(PktMark, value, mask)]));
    }
    let mut writes = Vec::new();
    for (name, value) in pairs(inside) {
        match (header, name) {
            ("tunnel", "tos" | "ttl" | "tp_src" | "tp_dst") => {}
            ("tunnel", "flags") if value.contains("oam") => writes.push((TunFlags, 1, 1)),
            ("tunnel", "flags") => {}
            ("tunnel", "vxlan") => {
                let inner = call(value).map_or(value, |(_, inside)| inside);
                for (name, value) in pairs(inner) {
                    let field = if name == "id" { TunGbpId } else { TunGbpFlags };
                    writes.push((field, number(value)?, field.all_ones()));
                }
            }
            ("tunnel", "geneve") => {
                // {class=0x104,type=0x80,len=4,0x5}
                let option = value.trim_matches(['{', '}']).rsplit(',').next().unwrap_or_default();
                writes.push((TunMetadata0, number(option)?, TunMetadata0.all_ones()));
            }
            _ => {
                let field = field(header, name).ok_or_else(|| format!("set({header}({name}))"))?;
                let (value, mask) = masked(field, value)?;
                writes.push((field, value, mask));
            }
        }
    }
    Ok(if header == "tunnel" { Datapath::SetTunnel(writes) } else { Datapath::Set(writes) })
}

fn field(header: &str, name: &str) -> Option<Field> {
    Some(match (header, name) {
        ("tunnel", "tun_id") => TunId,
        ("tunnel", "src") => TunSrc,
        ("tunnel", "dst") => TunDst,
        ("tunnel", "ipv6_src") => TunIpv6Src,
        ("tunnel", "ipv6_dst") => TunIpv6Dst,
        ("eth", "src") => EthSrc,
        ("eth", "dst") => EthDst,
        ("ipv4", "src") => NwSrc,
        ("ipv4", "dst") => NwDst,
        ("ipv4", "tos") | ("ipv6", "tclass") => NwTos,
        ("ipv4", "ttl") | ("ipv6", "hlimit") => NwTtl,
        ("ipv6", "src") => Ipv6Src,
        ("ipv6", "dst") => Ipv6Dst,
        ("ipv6", "label") => Ipv6Label,
        ("tcp" | "udp" | "sctp", "src") => TcpSrc,
        ("tcp" | "udp" | "sctp", "dst") => TcpDst,
        ("icmp" | "icmpv6", "type") => IcmpType,
        ("icmp" | "icmpv6", "code") => IcmpCode,
        ("arp", "sip") => ArpSpa,
        ("arp", "tip") => ArpTpa,
        ("arp", "op") => ArpOp,
        ("arp", "sha") => ArpSha,
        ("arp", "tha") => ArpTha,
        ("nd", "target") => NdTarget,
        ("nd", "sll") => NdSll,
        ("nd", "tll") => NdTll,
        ("nd_ext", "nd_reserved") => NdReserved,
        ("nd_ext", "nd_options_type") => NdOptionsType,
        _ => return None,
    })
}

/// `value` or `value/mask` of a field.
fn masked(field: Field, text: &str) -> Result<(u128, u128), String> {
    let (value, mask) = match text.split_once('/') {
        Some((value, mask)) => (value, scalar(mask)?),
        None => (text, field.all_ones()),
    };
    Ok((scalar(value)?, mask))
}

fn scalar(text: &str) -> Result<u128, String> {
    if let Ok(address) = text.parse::<std::net::Ipv4Addr>() {
        return Ok(address.to_bits().into());
    }
    if let Ok(address) = text.parse::<std::net::Ipv6Addr>() {
        return Ok(address.to_bits());
    }
    if text.len() == 17 && text.as_bytes()[2] == b':' {
        let digits: String = text.split(':').collect();
        return u128::from_str_radix(&digits, 16).map_err(|_| format!("'{text}' is no address"));
    }
    number(text)
}
