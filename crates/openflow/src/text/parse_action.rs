//! Actions and instructions.

use super::error::{Fail, nearest};
use super::parse_value::{self, integer, number, port, subfield};
use super::print_action::{ALGS, REASONS};
use super::span::{Item, Items, Joint, Span, pieces};
use crate::action::{Action, Controller, Ct, CtNat, CtZone, NatKind, NatSelection};
use crate::port::{PortNames, PortNo};
use std::net::IpAddr;

/// How deep actions may stand within actions.
const MAX_DEPTH: usize = 32;

/// The one action that goes on behind its parentheses: `check_pkt_larger(N)->FIELD[BIT]`.
const CHECK_PKT_LARGER: &str = "check_pkt_larger";

/// The words of actions, each with how it is read.
const ACTIONS: &[(&str, Read)] = &[
    ("output", output),
    ("enqueue", enqueue),
    ("controller", controller),
    ("group", |i, _| Ok(Action::Group(integer(i.required("a group")?)?))),
    ("move", |i, _| {
        let (src, dst) = arrow(i)?;
        let (from, to) = (subfield(src)?, subfield(dst)?);
        if from.bits != to.bits {
            return Err(dst.unexpected(format!("{} bits, as many as are moved", from.bits)));
        }
        Ok(Action::Move { src: from, dst: to })
    }),
    ("load", |i, _| {
        let (value, dst) = arrow(i)?;
        let dst = subfield(dst)?;
        Ok(Action::Load { value: number(value, dst.bits.into())?, dst })
    }),
    ("set_field", |i, names| {
        let (value, field) = arrow(i)?;
        let field = parse_value::field(field)?;
        let (value, mask) = parse_value::field_value(field, value, names)?;
        Ok(Action::set_field(field, value, mask))
    }),
    ("mod_dl_src", |i, _| Ok(Action::ModDlSrc(parse_value::mac(i.required("a MAC address")?)?))),
    ("mod_dl_dst", |i, _| Ok(Action::ModDlDst(parse_value::mac(i.required("a MAC address")?)?))),
    ("mod_nw_src", |i, _| Ok(Action::ModNwSrc(parse_value::ipv4(i.required("an address")?)?))),
    ("mod_nw_dst", |i, _| Ok(Action::ModNwDst(parse_value::ipv4(i.required("an address")?)?))),
    ("mod_nw_tos", |i, _| {
        let text = i.required("a number")?;
        let tos: u8 = integer(text)?;
        if tos & 3 != 0 {
            return Err(text.unexpected("a multiple of 4, for mod_nw_tos sets the DSCP in place"));
        }
        Ok(Action::ModNwTos(tos))
    }),
    ("mod_nw_ecn", |i, _| Ok(Action::ModNwEcn(small(i, 2)?))),
    ("mod_nw_ttl", |i, _| Ok(Action::ModNwTtl(small(i, 8)?))),
    ("set_nw_ttl", |i, _| Ok(Action::ModNwTtl(small(i, 8)?))),
    ("mod_tp_src", |i, _| Ok(Action::ModTpSrc(integer(i.required("a port")?)?))),
    ("mod_tp_dst", |i, _| Ok(Action::ModTpDst(integer(i.required("a port")?)?))),
    ("mod_vlan_vid", |i, _| {
        let vid = number(i.required("a VLAN")?, 12)?;
        Ok(Action::ModVlanVid(vid as u16))
    }),
    ("mod_vlan_pcp", |i, _| Ok(Action::ModVlanPcp(small(i, 3)?))),
    ("strip_vlan", |i, _| alone(i, Action::StripVlan)),
    ("pop_vlan", |i, _| alone(i, Action::StripVlan)),
    ("push_vlan", |i, _| {
        let text = i.required("0x8100 or 0x88a8")?;
        match integer(text)? {
            tpid @ (0x8100 | 0x88a8) => Ok(Action::PushVlan(tpid)),
            _ => Err(text.unexpected("0x8100 or 0x88a8")),
        }
    }),
    ("dec_ttl", |i, _| match i.value.text {
        "" => Ok(Action::DecTtl(vec![0])),
        _ => pieces(i.value)?
            .into_iter()
            .map(|t| integer(t.trim()))
            .collect::<Result<_, _>>()
            .map(Action::DecTtl),
    }),
    ("set_tunnel", |i, _| {
        let id = integer(i.required("a number")?)?;
        Ok(Action::SetTunnel { id, wide: u32::try_from(id).is_err() })
    }),
    ("set_tunnel64", |i, _| Ok(Action::SetTunnel { id: integer(i.required("a number")?)?, wide: true })),
    ("set_queue", |i, _| Ok(Action::SetQueue(integer(i.required("a queue")?)?))),
    ("pop_queue", |i, _| alone(i, Action::PopQueue)),
    ("push", |i, _| Ok(Action::Push(subfield(i.required("a field")?)?))),
    ("pop", |i, _| Ok(Action::Pop(subfield(i.required("a field")?)?))),
    ("resubmit", resubmit),
    ("ct_clear", |i, _| alone(i, Action::CtClear)),
    ("conjunction", conjunction),
    ("note", |i, _| Ok(Action::Note(hex_bytes(i.value)?))),
    ("fin_timeout", fin_timeout),
    (CHECK_PKT_LARGER, |i, _| {
        let Some(dst) = i.tail.strip_prefix("->") else {
            return Err(i.tail.unexpected("'->' and a bit of a field"));
        };
        Ok(Action::CheckPktLarger { len: integer(i.value)?, dst: subfield(dst)? })
    }),
    ("exit", |i, _| alone(i, Action::Exit)),
    ("meter", |i, _| Ok(Action::Meter(integer(i.required("a meter")?)?))),
    ("clear_actions", |i, _| alone(i, Action::ClearActions)),
    ("write_metadata", |i, _| {
        let text = i.required("a number")?;
        let (value, mask) = match text.split_once("/") {
            Some((value, mask)) => (integer(value)?, integer(mask)?),
            None => (integer(text)?, u64::MAX),
        };
        Ok(Action::WriteMetadata { value, mask })
    }),
    ("goto_table", |i, _| Ok(Action::GotoTable(integer(i.required("a table")?)?))),
];

/// The words of actions that hold actions: read by [`nested`].
const NESTING: &[&str] = &["ct", "clone", "write_actions"];

/// Words that Open vSwitch has and this crate has not.
const UNSUPPORTED: &[&str] = &[
    "learn",
    "bundle",
    "bundle_load",
    "multipath",
    "sample",
    "encap",
    "decap",
    "set_vlan_vid",
    "set_vlan_pcp",
    "set_mpls_label",
    "set_mpls_tc",
    "set_mpls_ttl",
    "dec_mpls_ttl",
    "push_mpls",
    "pop_mpls",
    "dec_nsh_ttl",
    "delete_field",
    "debug_recirc",
    "debug_slow",
    "apply_actions",
];

type Read = for<'a> fn(&Item<'a>, &PortNames) -> Result<Action, Fail>;

/// A list of actions, with the byte offset of each.
pub(super) fn actions(list: Span<'_>, names: &PortNames) -> Result<(Vec<Action>, Vec<usize>), Fail> {
    let reader = Reader { names, depth: 0 };
    reader.list(list)
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    names: &'a PortNames,
    depth: usize,
}

impl Reader<'_> {
    fn list(self, list: Span<'_>) -> Result<(Vec<Action>, Vec<usize>), Fail> {
        if self.depth > MAX_DEPTH {
            return Err(list.unexpected(format!("at most {MAX_DEPTH} levels of nested actions")));
        }
        let (mut actions, mut places, mut drop) = (Vec::new(), Vec::new(), None);
        let mut items = Items::of(list);
        while let Some(item) = items.next_with_tail()? {
            if item.key.text.eq_ignore_ascii_case("drop") {
                drop = Some(item.whole);
                continue;
            }
            places.push(item.key.at);
            actions.push(self.action(&item)?);
        }
        match drop {
            Some(drop) if !actions.is_empty() => Err(drop.unexpected("no drop beside other actions")),
            _ => Ok((actions, places)),
        }
    }

    fn action(self, item: &Item<'_>) -> Result<Action, Fail> {
        let word = item.key.text.to_ascii_lowercase();
        if !item.tail.text.is_empty() && word != CHECK_PKT_LARGER {
            return Err(item.tail.unexpected("nothing behind this ')'"));
        }
        if let Some((_, read)) = ACTIONS.iter().find(|(name, _)| *name == word) {
            return read(item, self.names);
        }
        if NESTING.contains(&word.as_str()) {
            return self.nested(&word, item);
        }
        if UNSUPPORTED.contains(&word.as_str()) {
            return Err(item.key.unsupported());
        }
        if let (Joint::None, Some(port)) = (item.joint, parse_value::find_port(item.key, self.names)) {
            return Ok(send(port));
        }
        let known = ACTIONS.iter().map(|(name, _)| *name).chain(NESTING.iter().copied()).chain(["drop"]);
        Err(item.key.misspelt("an action", nearest(&word, known)))
    }

    fn nested(self, word: &str, item: &Item<'_>) -> Result<Action, Fail> {
        let inner = Reader { depth: self.depth + 1, ..self };
        match word {
            "ct" => inner.ct(item.value),
            "clone" => Ok(Action::Clone(inner.list(item.value)?.0)),
            _ => Ok(Action::WriteActions(inner.list(item.value)?.0)),
        }
    }

    fn ct(self, arguments: Span<'_>) -> Result<Action, Fail> {
        let mut ct = Ct {
            commit: false,
            force: false,
            table: None,
            zone: CtZone::Number(0),
            nat: None,
            alg: None,
            exec: Vec::new(),
        };
        let (mut items, mut force) = (Items::of(arguments), None);
        while let Some(item) = items.next()? {
            match item.key.text {
                "commit" => ct.commit = true,
                "force" => force = Some(item.whole),
                "table" => {
                    let text = item.required("a table")?;
                    match integer(text)? {
                        u8::MAX => return Err(text.unexpected("a table, 0 to 254")),
                        table => ct.table = Some(table),
                    }
                }
                "zone" => {
                    let text = item.required("a zone")?;
                    ct.zone = if text.text.starts_with(|c: char| c.is_ascii_digit()) {
                        CtZone::Number(integer(text)?)
                    } else {
                        let field = subfield(text)?;
                        if field.bits != 16 {
                            return Err(text.unexpected("a zone's 16 bits"));
                        }
                        CtZone::Field(field)
                    }
                }
                "nat" => ct.nat = Some(nat(item.value)?),
                "alg" => {
                    let text = item.required("ftp or tftp")?;
                    let known = ALGS.iter().find(|(name, _)| *name == text.text);
                    ct.alg = Some(known.ok_or_else(|| text.unexpected("ftp or tftp"))?.1);
                }
                "exec" => ct.exec = self.list(item.value)?.0,
                word => {
                    let known = ["commit", "force", "table", "zone", "nat", "alg", "exec"];
                    return Err(item.key.misspelt("an argument of ct", nearest(word, known.into_iter())));
                }
            }
        }
        if let (Some(force), false) = (force, ct.commit) {
            return Err(force.unexpected("commit beside force"));
        }
        ct.force = force.is_some();
        Ok(Action::Ct(Box::new(ct)))
    }
}

/// Output to a port; to the controllers, as Open vSwitch does, the whole packet.
fn send(port: PortNo) -> Action {
    match port {
        PortNo::CONTROLLER => Action::controller(Controller::output(u16::MAX)),
        port => Action::output(port),
    }
}

fn output(item: &Item<'_>, names: &PortNames) -> Result<Action, Fail> {
    let text = item.required("a port")?;
    if item.joint == Joint::Parentheses {
        let (mut to, mut max_len) = (None, None);
        let mut items = Items::of(text);
        while let Some(item) = items.next()? {
            match item.key.text {
                "port" => to = Some(port(item.required("a port")?, names)?),
                "max_len" => {
                    let text = item.required("a length")?;
                    match integer(text)? {
                        0..14_u32 => return Err(text.unexpected("at least 14 bytes")),
                        length => max_len = Some(length),
                    }
                }
                _ => return Err(item.key.unexpected("port= or max_len=")),
            }
        }
        return match (to, max_len) {
            (Some(port), Some(max_len)) => Ok(Action::OutputTruncated { port, max_len }),
            _ => Err(text.unexpected("port=PORT,max_len=BYTES")),
        };
    }
    if let Some(port) = parse_value::find_port(text, names) {
        return Ok(send(port));
    }
    match subfield(text) {
        Ok(src) => Ok(Action::OutputReg { src }),
        Err(fail) if text.text.contains('[') => Err(fail),
        Err(_) => port(text, names).map(Action::output),
    }
}

fn enqueue(item: &Item<'_>, names: &PortNames) -> Result<Action, Fail> {
    let text = item.required("PORT:QUEUE")?;
    let cut = text.text.rfind([':', ',']).ok_or_else(|| text.unexpected("PORT:QUEUE"))?;
    let (to, queue) = text.split_at(cut);
    Ok(Action::Enqueue { port: port(to, names)?, queue: integer(queue.split_at(1).1)? })
}

fn controller(item: &Item<'_>, _: &PortNames) -> Result<Action, Fail> {
    if item.joint != Joint::Parentheses {
        let max_len = if item.value.text.is_empty() { u16::MAX } else { integer(item.value)? };
        return Ok(Action::controller(Controller::output(max_len)));
    }
    let mut action = Controller::output(u16::MAX);
    if item.value.text.bytes().all(|b| b.is_ascii_digit()) && !item.value.text.is_empty() {
        action.max_len = integer(item.value)?;
        return Ok(Action::controller(action));
    }
    let mut items = Items::of(item.value);
    while let Some(item) = items.next()? {
        match item.key.text {
            "reason" => {
                let known = REASONS.iter().position(|r| *r == item.value.text);
                let reason = known.and_then(|i| u8::try_from(i).ok());
                action.reason = match reason {
                    Some(reason) => reason,
                    None => number(item.value, 8)
                        .map_err(|_| item.value.unexpected(format!("a reason ({})", REASONS.join(", "))))?
                        as u8,
                };
            }
            "max_len" => action.max_len = integer(item.required("a length")?)?,
            "id" => action.id = integer(item.required("a number")?)?,
            "userdata" => action.userdata = hex_bytes(item.value)?,
            "pause" => action.pause = true,
            "meter_id" => action.meter = Some(integer(item.required("a meter")?)?),
            _ => return Err(item.key.unexpected("reason=, max_len=, id=, userdata=, pause or meter_id=")),
        }
    }
    Ok(Action::controller(action))
}

fn resubmit(item: &Item<'_>, names: &PortNames) -> Result<Action, Fail> {
    let parts = pieces(item.value)?;
    let part = |i: usize| parts.get(i).copied().map(Span::trim).filter(|t| !t.text.is_empty());
    let to = match part(0).map(|t| port(t, names)).transpose()? {
        Some(PortNo::IN_PORT) => None,
        to => to,
    };
    let table = match part(1).map(integer::<u8>).transpose()? {
        Some(u8::MAX) => None,
        table => table,
    };
    let with_ct_orig = match part(2) {
        None => false,
        Some(Span { text: "ct", .. }) => true,
        Some(other) => return Err(other.unexpected("ct")),
    };
    if let Some(extra) = part(3) {
        return Err(extra.unexpected("resubmit([PORT],[TABLE][,ct])"));
    }
    if to.is_none() && table.is_none() {
        return Err(item.value.unexpected("a port or a table for resubmit"));
    }
    Ok(Action::Resubmit { port: to, table, with_ct_orig })
}

fn conjunction(item: &Item<'_>, _: &PortNames) -> Result<Action, Fail> {
    let syntax = || item.value.unexpected("conjunction(ID,K/N)");
    let (id, clauses) = item.value.split_once(",").ok_or_else(syntax)?;
    let (clause, n_clauses) = clauses.split_once("/").ok_or_else(syntax)?;
    let (k, n): (u8, u8) = (integer(clause.trim())?, integer(n_clauses.trim())?);
    if !(2..=64).contains(&n) {
        return Err(n_clauses.unexpected("2 to 64 clauses"));
    }
    if !(1..=n).contains(&k) {
        return Err(clause.unexpected(format!("a clause, 1 to {n}")));
    }
    Ok(Action::Conjunction { id: integer(id.trim())?, clause: k, n_clauses: n })
}

fn fin_timeout(item: &Item<'_>, _: &PortNames) -> Result<Action, Fail> {
    let (mut idle, mut hard) = (0, 0);
    let mut items = Items::of(item.value);
    while let Some(item) = items.next()? {
        match item.key.text {
            "idle_timeout" => idle = integer(item.required("seconds")?)?,
            "hard_timeout" => hard = integer(item.required("seconds")?)?,
            _ => return Err(item.key.unexpected("idle_timeout= or hard_timeout=")),
        }
    }
    Ok(Action::FinTimeout { idle, hard })
}

fn nat(arguments: Span<'_>) -> Result<CtNat, Fail> {
    let mut nat = CtNat::default();
    let mut items = Items::of(arguments);
    while let Some(item) = items.next()? {
        match item.key.text {
            "src" | "dst" if nat.kind.is_some() => {
                return Err(item.whole.unexpected("only one of src and dst"));
            }
            "src" | "dst" => {
                let source = item.key.text == "src";
                nat.kind = Some(if source { NatKind::Source } else { NatKind::Destination });
                if !item.value.text.is_empty() {
                    (nat.addresses, nat.ports) = nat_range(item.value)?;
                }
            }
            "persistent" => nat.persistent = true,
            "hash" | "random" if nat.selection != NatSelection::Unspecified => {
                return Err(item.whole.unexpected("only one of hash and random"));
            }
            "hash" => nat.selection = NatSelection::Hash,
            "random" => nat.selection = NatSelection::Random,
            _ => return Err(item.key.unexpected("src, dst, persistent, hash or random")),
        }
    }
    if nat.kind.is_none() && nat != CtNat::default() {
        return Err(arguments.unexpected("src or dst beside the other arguments of nat"));
    }
    Ok(nat)
}

type Range<T> = Option<(T, T)>;

/// `IP[-IP][:PORT[-PORT]]`; IPv6 addresses stand in brackets where ports follow.
fn nat_range(text: Span<'_>) -> Result<(Range<IpAddr>, Range<u16>), Fail> {
    let address = |t: Span<'_>| {
        let bare = t.text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(t.text);
        bare.parse::<IpAddr>().map_err(|_| t.unexpected("an IP address"))
    };
    let bracketed = text.text.rfind("]:").map(|i| i + 1);
    let plain = || text.text.find(':').filter(|i| text.text.rfind(':') == Some(*i));
    let (hosts, ports) = match bracketed.or_else(plain) {
        Some(i) => {
            let (hosts, ports) = text.split_at(i);
            (hosts, Some(ports.split_at(1).1))
        }
        None => (text, None),
    };
    let (first, last) = hosts.split_once("-").unwrap_or((hosts, hosts));
    let (low, high) = (address(first)?, address(last)?);
    if low.is_ipv4() != high.is_ipv4() || low > high {
        return Err(last.unexpected(format!("an address from {low} upward")));
    }
    let Some(ports) = ports else { return Ok((Some((low, high)), None)) };
    let (first, last) = ports.split_once("-").unwrap_or((ports, ports));
    let (from, to): (u16, u16) = (integer(first)?, integer(last)?);
    if from > to || from == 0 {
        return Err(ports.unexpected("a range of ports from 1 upward"));
    }
    Ok((Some((low, high)), Some((from, to))))
}

/// `VALUE->FIELD`, apart.
fn arrow<'a>(item: &Item<'a>) -> Result<(Span<'a>, Span<'a>), Fail> {
    item.value.split_once("->").ok_or_else(|| item.value.unexpected("VALUE->FIELD"))
}

/// An action without arguments.
fn alone(item: &Item<'_>, action: Action) -> Result<Action, Fail> {
    if item.joint == Joint::None || item.value.text.is_empty() {
        Ok(action)
    } else {
        Err(item.value.unexpected(format!("nothing after '{}'", item.key.text)))
    }
}

/// A number of at most 8 bits.
fn small(item: &Item<'_>, bits: u32) -> Result<u8, Fail> {
    number(item.required("a number")?, bits).map(|n| n as u8)
}

/// Bytes in hexadecimal, with or without dots between.
fn hex_bytes(text: Span<'_>) -> Result<Vec<u8>, Fail> {
    let digits: Option<Vec<u8>> =
        text.text.chars().filter(|c| *c != '.').map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    match digits {
        Some(digits) if digits.len().is_multiple_of(2) => {
            Ok(digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect())
        }
        _ => Err(text.unexpected("pairs of hexadecimal digits")),
    }
}
