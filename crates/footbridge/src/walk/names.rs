//! Fields' values and changes, in the names that people use.

use footbridge_node::config::GLOBAL_VIRTUAL_MAC;
use footbridge_node::tables::{MEANINGS, OUT_PORT};
use footbridge_openflow::field::Format;
use footbridge_openflow::{Field, Key, MacAddr, Match, PortNames, PortNo};
use footbridge_verify::Node;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Whose the addresses are, and what registers mean, on a bridge that is a node's.
#[derive(Debug, Default)]
pub(crate) struct People {
    macs: BTreeMap<MacAddr, String>,
    addresses: BTreeMap<Ipv4Addr, String>,
    /// Whether registers mean what they mean on our nodes.
    registers: bool,
}

/// A field that an action changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// The field.
    pub(crate) field: &'static str,
    /// Its value before.
    pub(crate) old: String,
    /// And after.
    pub(crate) new: String,
    /// What the new value is in people's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) means: Option<String>,
}

impl People {
    /// As a node's tables say; nobody is known by name where they say nothing.
    pub(crate) fn of(node: Option<&Node>, names: &PortNames, registers: bool) -> People {
        let Some(node) = node else { return People { registers, ..People::default() } };
        let mut people = People { registers, ..People::default() };
        for owner in &node.owners {
            let name = port_name(owner.port, names);
            people.macs.insert(owner.mac, name.clone());
            people.addresses.insert(owner.address, name);
        }
        for peer in &node.peers {
            let subnet = format!("{}/{}", peer.network, u32::from(peer.mask).count_ones());
            people.addresses.insert(peer.gateway(), format!("the gateway of {subnet}"));
            people.addresses.insert(peer.tunnel, format!("the node of {subnet}"));
        }
        people.macs.insert(GLOBAL_VIRTUAL_MAC, "the global virtual MAC".to_owned());
        people.macs.insert(MacAddr([0xff; 6]), "everyone".to_owned());
        people
    }

    /// Who or what a value is.
    pub(crate) fn name(&self, field: Field, old: u128, new: u128, names: &PortNames) -> Option<String> {
        match field.info().format {
            Format::Ethernet => self.macs.get(&MacAddr::from(new)).cloned(),
            Format::Ipv4 => self.addresses.get(&Ipv4Addr::from(new as u32)).cloned(),
            _ if field == Field::ArpOp => match new {
                1 => Some("request".to_owned()),
                2 => Some("reply".to_owned()),
                _ => None,
            },
            _ if self.registers && field == OUT_PORT => names.name(PortNo(new as u32)).map(str::to_owned),
            _ if self.registers => {
                let meant = MEANINGS.iter().filter(|meaning| meaning.bits.field == field);
                let changed = meant.filter(|meaning| (old ^ new) & meaning.bits.mask() != 0);
                let words: Vec<String> = changed
                    .map(|meaning| {
                        let value = ((new & meaning.bits.mask()) >> meaning.bits.offset) as u32;
                        let named = meaning.values.iter().find(|(of, _)| *of == value);
                        let value =
                            named.map_or_else(|| format!("{value:#x}"), |(_, word)| (*word).to_owned());
                        format!("{} {value}", meaning.says)
                    })
                    .collect();
                (!words.is_empty()).then(|| words.join(", "))
            }
            _ => None,
        }
    }

    /// The fields that differ. Of fields that share bits the one that the packet has is named.
    pub(crate) fn changes(&self, before: &Key, after: &Key, names: &PortNames) -> Vec<Change> {
        let mut named: Vec<(usize, usize)> = Vec::new();
        let mut changes = Vec::new();
        for field in Field::all().filter(|field| is_named(*field) && after.has(field.info().prereq)) {
            let (old, new) = (before.get(field), after.get(field));
            let location = field.info().location;
            let start = usize::from(location.word) * 64 + usize::from(location.shift);
            let bits = (start, start + field.width() as usize);
            if old == new || named.iter().any(|other| other.0 < bits.1 && bits.0 < other.1) {
                continue;
            }
            named.push(bits);
            changes.push(Change {
                field: field.name(),
                old: value_text(field, old, names),
                new: value_text(field, new, names),
                means: self.name(field, old, new, names),
            });
        }
        changes
    }
}

/// Registers have a name for each width: the narrowest is used.
fn is_named(field: Field) -> bool {
    !field.name().starts_with('x')
}

/// A port as a walk calls it.
pub(crate) fn port_name(port: PortNo, names: &PortNames) -> String {
    match port {
        PortNo::LOCAL => "LOCAL".to_owned(),
        port => names.name(port).map_or_else(|| port.0.to_string(), str::to_owned),
    }
}

/// A field's value as it stands in flow text.
pub(crate) fn value_text(field: Field, value: u128, names: &PortNames) -> String {
    match field.info().format {
        Format::Decimal => value.to_string(),
        Format::Hex => format!("{value:#x}"),
        Format::Ethernet => MacAddr::from(value).to_string(),
        Format::Ipv4 => Ipv4Addr::from(value as u32).to_string(),
        Format::Ipv6 => Ipv6Addr::from(value).to_string(),
        Format::Port
        | Format::CtState
        | Format::TunFlags
        | Format::Frag
        | Format::TcpFlags
        | Format::PacketType => {
            let text = Match::any().with(field, value).display(names).to_string();
            text.rsplit_once('=').map_or_else(|| format!("{value:#x}"), |(_, value)| value.to_owned())
        }
    }
}

/// A packet in the words of flow text: what is 0, and what is known about it rather than in it, but for the
/// tunnel, is left out.
pub(crate) fn packet_text(key: &Key, names: &PortNames) -> String {
    let mut matching = Match::any();
    for field in Field::all().filter(|field| is_named(*field) && key.has(field.info().prereq)) {
        let value = key.get(field);
        let is_told = footbridge_pipeline::packet::is_packet_field(field)
            || matches!(field, Field::TunId | Field::TunDst | Field::TunIpv6Dst);
        if value != 0 && is_told {
            matching.set(field, value, field.all_ones());
        }
    }
    matching.display(names).to_string()
}

/// A packet in a phrase, as tcpdump would have it.
pub(crate) fn summary(key: &Key) -> String {
    let v4 = |field| Ipv4Addr::from(key.get(field) as u32);
    let mac = |field| MacAddr::from(key.get(field));
    match key.get(Field::EthType) {
        0x0806 => match key.get(Field::ArpOp) {
            1 => format!("ARP request who-has {} tell {}", v4(Field::ArpTpa), v4(Field::ArpSpa)),
            2 => format!("ARP reply {} is-at {}", v4(Field::ArpSpa), mac(Field::ArpSha)),
            other => format!("ARP operation {other}"),
        },
        0x0800 => ip_summary(key, v4(Field::NwSrc).to_string(), v4(Field::NwDst).to_string(), ":"),
        0x86dd => {
            let v6 = |field| Ipv6Addr::from(key.get(field));
            ip_summary(key, v6(Field::Ipv6Src).to_string(), v6(Field::Ipv6Dst).to_string(), ".")
        }
        other => format!("Ethernet type {other:#06x} from {} to {}", mac(Field::EthSrc), mac(Field::EthDst)),
    }
}

fn ip_summary(key: &Key, src: String, dst: String, joint: &str) -> String {
    let number = |field| key.get(field);
    let (src_port, dst_port) = (number(Field::TcpSrc), number(Field::TcpDst));
    let ttl = number(Field::NwTtl);
    let with_ports =
        |name: &str| format!("{name} {src}{joint}{src_port} > {dst}{joint}{dst_port}, ttl {ttl}");
    match number(Field::NwProto) {
        6 => with_ports("TCP"),
        17 => with_ports("UDP"),
        132 => with_ports("SCTP"),
        1 | 58 => {
            format!(
                "ICMP type {} code {} {src} > {dst}, ttl {ttl}",
                number(Field::IcmpType),
                number(Field::IcmpCode)
            )
        }
        other => format!("IP protocol {other} {src} > {dst}, ttl {ttl}"),
    }
}
