//! Actions, as `ovs-ofctl dump-flows` prints them.

use super::print_value::{self, AltHex, Ipv6Text, PortText, SubfieldText};
use crate::action::{Action, Controller, Ct, CtNat, CtZone, FieldWrite, NatKind, NatSelection};
use crate::port::{PortNames, PortNo};
use core::fmt::{self, Display, Write};
use std::net::IpAddr;

/// Prints a list of actions; an empty one is `drop`.
pub(super) struct ActionsText<'a> {
    pub(super) actions: &'a [Action],
    pub(super) names: &'a PortNames,
}

impl Display for ActionsText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actions.is_empty() {
            return f.write_str("drop");
        }
        for (i, action) in self.actions.iter().enumerate() {
            if i > 0 {
                f.write_char(',')?;
            }
            ActionText { action, names: self.names }.fmt(f)?;
        }
        Ok(())
    }
}

/// Prints one action.
pub(super) struct ActionText<'a> {
    pub(super) action: &'a Action,
    pub(super) names: &'a PortNames,
}

impl Display for ActionText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names;
        let port = |port: &PortNo| PortText(*port, names);
        match self.action {
            Action::Output { port: PortNo::CONTROLLER, .. } => f.write_str("CONTROLLER:65535"),
            Action::Output { port: p, .. } if p.0 < 0xff00 => write!(f, "output:{}", port(p)),
            Action::Output { port: p, .. } => port(p).fmt(f),
            Action::OutputTruncated { port: p, max_len } => {
                write!(f, "output(port={},max_len={max_len})", port(p))
            }
            Action::OutputReg { src } => write!(f, "output:{}", SubfieldText(*src)),
            Action::Controller(controller) => self::controller(f, controller),
            Action::Enqueue { port: p, queue } => write!(f, "enqueue:{}:{queue}", port(p)),
            Action::Group(group) => write!(f, "group:{group}"),
            Action::Move { src, dst } => write!(f, "move:{}->{}", SubfieldText(*src), SubfieldText(*dst)),
            Action::Load { value, dst } => write!(f, "load:{}->{}", AltHex(*value), SubfieldText(*dst)),
            Action::SetField(set) => {
                let FieldWrite { field, value, mask } = set.write();
                f.write_str("set_field:")?;
                print_value::field_value(f, field, value, mask, names)?;
                write!(f, "->{field}")
            }
            Action::ModDlSrc(mac) => write!(f, "mod_dl_src:{mac}"),
            Action::ModDlDst(mac) => write!(f, "mod_dl_dst:{mac}"),
            Action::ModNwSrc(ip) => write!(f, "mod_nw_src:{ip}"),
            Action::ModNwDst(ip) => write!(f, "mod_nw_dst:{ip}"),
            Action::ModNwTos(tos) => write!(f, "mod_nw_tos:{tos}"),
            Action::ModNwEcn(ecn) => write!(f, "mod_nw_ecn:{ecn}"),
            Action::ModNwTtl(ttl) => write!(f, "mod_nw_ttl:{ttl}"),
            Action::ModTpSrc(port) => write!(f, "mod_tp_src:{port}"),
            Action::ModTpDst(port) => write!(f, "mod_tp_dst:{port}"),
            Action::ModVlanVid(vid) => write!(f, "mod_vlan_vid:{vid}"),
            Action::ModVlanPcp(pcp) => write!(f, "mod_vlan_pcp:{pcp}"),
            Action::StripVlan => f.write_str("strip_vlan"),
            Action::PushVlan(tpid) => write!(f, "push_vlan:{}", AltHex((*tpid).into())),
            Action::DecTtl(ids) if ids[..] == [0] => f.write_str("dec_ttl"),
            Action::DecTtl(ids) => {
                f.write_str("dec_ttl(")?;
                separated(f, ids, ',', |f, id| write!(f, "{id}"))?;
                f.write_char(')')
            }
            Action::SetTunnel { id, wide } => {
                let wide = if *wide || *id > u32::MAX.into() { "64" } else { "" };
                write!(f, "set_tunnel{wide}:{}", AltHex((*id).into()))
            }
            Action::SetQueue(queue) => write!(f, "set_queue:{queue}"),
            Action::PopQueue => f.write_str("pop_queue"),
            Action::Push(field) => write!(f, "push:{}", SubfieldText(*field)),
            Action::Pop(field) => write!(f, "pop:{}", SubfieldText(*field)),
            Action::Resubmit { port: Some(p), table: None, with_ct_orig: false } => {
                write!(f, "resubmit:{}", port(p))
            }
            Action::Resubmit { port: p, table, with_ct_orig } => {
                f.write_str("resubmit(")?;
                if let Some(p) = p {
                    port(p).fmt(f)?;
                }
                f.write_char(',')?;
                if let Some(table) = table {
                    write!(f, "{table}")?;
                }
                f.write_str(if *with_ct_orig { ",ct)" } else { ")" })
            }
            Action::Ct(action) => ct(f, action, names),
            Action::CtClear => f.write_str("ct_clear"),
            Action::Conjunction { id, clause, n_clauses } => {
                write!(f, "conjunction({id},{clause}/{n_clauses})")
            }
            Action::Clone(actions) => write!(f, "clone({})", ActionsText { actions, names }),
            Action::Note(bytes) => {
                f.write_str("note:")?;
                hex_bytes(f, bytes)
            }
            Action::FinTimeout { idle, hard } => {
                let mut items = Items::open(f, "fin_timeout")?;
                if *idle != 0 {
                    items.item(|f| write!(f, "idle_timeout={idle}"))?;
                }
                if *hard != 0 {
                    items.item(|f| write!(f, "hard_timeout={hard}"))?;
                }
                items.close()
            }
            Action::CheckPktLarger { len, dst } => {
                write!(f, "check_pkt_larger({len})->{}", SubfieldText(*dst))
            }
            Action::Exit => f.write_str("exit"),
            Action::Meter(meter) => write!(f, "meter:{meter}"),
            Action::ClearActions => f.write_str("clear_actions"),
            Action::WriteActions(actions) => write!(f, "write_actions({})", ActionsText { actions, names }),
            Action::WriteMetadata { value, mask } => {
                write!(f, "write_metadata:{}", AltHex((*value).into()))?;
                if *mask == u64::MAX { Ok(()) } else { write!(f, "/{}", AltHex((*mask).into())) }
            }
            Action::GotoTable(table) => write!(f, "goto_table:{table}"),
        }
    }
}

/// Reasons of `controller()`, by number.
pub(super) const REASONS: &[&str] =
    &["no_match", "action", "invalid_ttl", "action_set", "group", "packet_out"];

fn controller(f: &mut fmt::Formatter<'_>, action: &Controller) -> fmt::Result {
    let Controller { max_len, reason, id, userdata, pause, meter } = action;
    if action.is_output() {
        return write!(f, "CONTROLLER:{max_len}");
    }
    let mut items = Items::open(f, "controller")?;
    if *reason != Controller::REASON_ACTION {
        match REASONS.get(usize::from(*reason)) {
            Some(word) => items.item(|f| write!(f, "reason={word}"))?,
            None => items.item(|f| write!(f, "reason={reason}"))?,
        }
    }
    if *max_len != u16::MAX {
        items.item(|f| write!(f, "max_len={max_len}"))?;
    }
    if *id != 0 {
        items.item(|f| write!(f, "id={id}"))?;
    }
    if !userdata.is_empty() {
        items.item(|f| {
            f.write_str("userdata=")?;
            hex_bytes(f, userdata)
        })?;
    }
    if *pause {
        items.item(|f| f.write_str("pause"))?;
    }
    if let Some(meter) = meter {
        items.item(|f| write!(f, "meter_id={meter}"))?;
    }
    items.close()
}

fn ct(f: &mut fmt::Formatter<'_>, action: &Ct, names: &PortNames) -> fmt::Result {
    let Ct { commit, force, table, zone, nat, alg, exec } = action;
    let mut items = Items::open(f, "ct")?;
    if *commit {
        items.item(|f| f.write_str("commit"))?;
    }
    if *force {
        items.item(|f| f.write_str("force"))?;
    }
    if let Some(table) = table {
        items.item(|f| write!(f, "table={table}"))?;
    }
    match zone {
        CtZone::Number(0) => {}
        CtZone::Number(zone) => items.item(|f| write!(f, "zone={zone}"))?,
        CtZone::Field(field) => items.item(|f| write!(f, "zone={}", SubfieldText(*field)))?,
    }
    if let Some(nat) = nat {
        items.item(|f| self::nat(f, nat))?;
    }
    if !exec.is_empty() {
        items.item(|f| write!(f, "exec({})", ActionsText { actions: exec, names }))?;
    }
    match alg {
        None | Some(0) => {}
        Some(port) => match ALGS.iter().find(|(_, p)| p == port) {
            Some((name, _)) => items.item(|f| write!(f, "alg={name}"))?,
            None => items.item(|f| write!(f, "alg={port}"))?,
        },
    }
    items.close()
}

/// Connection helpers of `ct(alg=)`, by the port they serve.
pub(super) const ALGS: &[(&str, u16)] = &[("ftp", 21), ("tftp", 69)];

fn nat(f: &mut fmt::Formatter<'_>, action: &CtNat) -> fmt::Result {
    let CtNat { kind, addresses, ports, persistent, selection } = action;
    let Some(kind) = kind else { return f.write_str("nat") };
    let mut items = Items::open(f, "nat")?;
    items.item(|f| {
        f.write_str(match kind {
            NatKind::Source => "src",
            NatKind::Destination => "dst",
        })?;
        let Some((first, last)) = addresses else { return Ok(()) };
        let bracketed = |f: &mut fmt::Formatter<'_>, ip: &IpAddr| match ip {
            IpAddr::V6(ip) if ports.is_some() => write!(f, "[{}]", Ipv6Text(*ip)),
            IpAddr::V6(ip) => write!(f, "{}", Ipv6Text(*ip)),
            IpAddr::V4(ip) => write!(f, "{ip}"),
        };
        f.write_char('=')?;
        bracketed(f, first)?;
        if last != first {
            f.write_char('-')?;
            bracketed(f, last)?;
        }
        if let Some((first, last)) = ports {
            write!(f, ":{first}")?;
            if last != first {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    })?;
    if *persistent {
        items.item(|f| f.write_str("persistent"))?;
    }
    match selection {
        NatSelection::Unspecified => {}
        NatSelection::Hash => items.item(|f| f.write_str("hash"))?,
        NatSelection::Random => items.item(|f| f.write_str("random"))?,
    }
    items.close()
}

/// Bytes in hexadecimal with dots between.
fn hex_bytes(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    separated(f, bytes, '.', |f, byte| write!(f, "{byte:02x}"))
}

fn separated<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    separator: char,
    print: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_char(separator)?;
        }
        print(f, item)?;
    }
    Ok(())
}

/// `NAME(ITEM,…)` while it is written.
struct Items<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    first: bool,
}

impl<'a, 'b> Items<'a, 'b> {
    fn open(f: &'a mut fmt::Formatter<'b>, name: &str) -> Result<Items<'a, 'b>, fmt::Error> {
        write!(f, "{name}(")?;
        Ok(Items { f, first: true })
    }

    fn item(&mut self, print: impl FnOnce(&mut fmt::Formatter<'_>) -> fmt::Result) -> fmt::Result {
        if !core::mem::replace(&mut self.first, false) {
            self.f.write_char(',')?;
        }
        print(self.f)
    }

    fn close(self) -> fmt::Result {
        self.f.write_char(')')
    }
}
