//! What `ofproto/trace` takes and prints.

use crate::datapath::{self, Datapath};
use footbridge_openflow::field::Format;
use footbridge_openflow::text::parse_packet;
use footbridge_openflow::{Field, Field::*, Key, MacAddr, PortNames};
use std::fmt::Write;

/// One pass of the packet, or of a copy that `ct()` made, through the tables.
#[derive(Debug)]
pub(crate) struct Pass {
    /// The fields it began with.
    pub(crate) first: Key,
    /// Those it ended with.
    pub(crate) last: Key,
    /// What the datapath is told to do with it; None where it was given up at a limit.
    pub(crate) actions: Option<Vec<Datapath>>,
}

/// The passes: the packet's own, then those of copies in the order in which they were made.
pub(crate) fn passes(text: &str) -> Result<Vec<Pass>, String> {
    let mut passes = Vec::new();
    let (mut first, mut last) = (None, None);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(flow) = line.strip_prefix("Flow: ") {
            first = Some(key(flow)?);
        } else if let Some(flow) = line.strip_prefix("Final flow: ") {
            let unchanged = flow == "unchanged";
            last = if unchanged { first.clone() } else { Some(key(flow)?) };
        } else if let Some(actions) = line.strip_prefix("Datapath actions: ") {
            let given_up = lines.next_if(|line| line.starts_with("Translation failed ("));
            let actions = if given_up.is_some() { None } else { Some(datapath::parse(actions)?) };
            match (first.take(), last.take()) {
                (Some(first), Some(last)) => passes.push(Pass { first, last, actions }),
                _ => return Err(format!("no flow before '{line}'")),
            }
        }
    }
    if passes.is_empty() { Err("no datapath actions".into()) } else { Ok(passes) }
}

/// Words that say nothing of what we have a field for: the datapath's own, the inner tags, and the
/// parts of the outer IP header that OpenFlow can't reach.
const NOT_OURS: &[&str] = &[
    "eth",
    "recirc_id",
    "dp_hash",
    "skb_priority",
    "vlan_tci1",
    "dl_vlan1",
    "dl_vlan_pcp1",
    "tun_tos",
    "tun_ttl",
    "tun_erspan_ver",
    "tun_erspan_idx",
    "gtpu_flags",
    "gtpu_msgtype",
];

/// The fields of a flow as it is printed.
fn key(flow: &str) -> Result<Key, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{error}\n{flow}");
    // What Open vSwitch keeps in the ports' place for IGMP and protocols that it does not read.
    let has_ports = ["tcp", "tcp6", "udp", "udp6", "sctp", "sctp6"];
    let has_ports = flow.split(',').any(|word| has_ports.contains(&word));
    let mut words = Vec::new();
    let mut options = Vec::new();
    for word in flow.split(',') {
        match word.split_once('=').unwrap_or((word, "")) {
            (name, _) if NOT_OURS.contains(&name) || name.starts_with("mpls") => {}
            ("tp_src" | "tp_dst", _) if !has_ports => {}
            // `oam|df|key`, of which OpenFlow knows the first.
            ("tun_flags", flags) => words.extend(flags.contains("oam").then_some("tun_flags=oam")),
            // Both link-layer addresses are printed of either message.
            ("nd_sll", mac) => options.push((Field::NdSll, mac)),
            ("nd_tll", mac) => options.push((Field::NdTll, mac)),
            _ => words.push(word),
        }
    }
    let mut key = parse_packet(&words.join(","), &PortNames::none()).map_err(|error| wrong(&error))?;
    for (field, mac) in options {
        let mac: MacAddr = mac.parse().map_err(|_| wrong(&mac))?;
        key.set(field, mac.into());
    }
    Ok(key)
}

/// A packet's fields as `ofproto/trace` takes them: what others depend on comes first.
pub(crate) fn fields(key: &Key) -> String {
    let mut text = format!("in_port={}", key.get(InPortOxm));
    let first = [EthType, VlanTci, CtState, NwProto, IpFrag];
    let shared = [IpDscp, NwEcn, VlanVid, VlanPcp, InPort, InPortOxm, PacketType, ActsetOutput, ConjId];
    let has = |field: &Field| {
        let row = field.info();
        key.get(*field) != 0
            && !first.contains(field)
            && !shared.contains(field)
            && !row.name.starts_with("xreg")
            && !row.name.starts_with("xxreg")
            && of_its_protocol(*field, key)
    };
    for field in first.into_iter().filter(|field| key.get(*field) != 0).chain(Field::all().filter(has)) {
        let value = key.get(field);
        // Writing to a String does not fail.
        let _ = match (field, field.info().format) {
            (NwTos, _) => write!(text, ",ip_dscp={},nw_ecn={}", value >> 2, value & 3),
            (_, Format::CtState) => write!(text, ",ct_state={}", states(value)),
            (TunFlags, _) => write!(text, ",tun_flags=oam"),
            (IpFrag, _) => write!(text, ",ip_frag={}", if value == 1 { "first" } else { "later" }),
            (_, Format::Ipv4) => write!(text, ",{field}={}", std::net::Ipv4Addr::from_bits(value as u32)),
            (_, Format::Ipv6) => write!(text, ",{field}={}", std::net::Ipv6Addr::from_bits(value)),
            (_, Format::Ethernet) => write!(text, ",{field}={}", MacAddr::from(value)),
            _ => write!(text, ",{field}={value:#x}"),
        };
    }
    text
}

/// Of fields that share bits, the one of the packet's protocol.
fn of_its_protocol(field: Field, key: &Key) -> bool {
    let (proto, v6) = (key.get(NwProto), key.get(EthType) == 0x86dd);
    match field {
        TcpSrc | TcpDst | TcpFlags => proto == 6,
        UdpSrc | UdpDst => proto == 17,
        SctpSrc | SctpDst => proto == 132,
        IcmpType | IcmpCode => proto == 1 && !v6,
        Icmpv6Type | Icmpv6Code => proto == 58 && v6,
        _ => true,
    }
}

fn states(bits: u128) -> String {
    let words = [(0x01, "new"), (0x02, "est"), (0x04, "rel"), (0x08, "rpl"), (0x10, "inv"), (0x20, "trk")];
    words.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, word)| *word).collect::<Vec<_>>().join("|")
}
