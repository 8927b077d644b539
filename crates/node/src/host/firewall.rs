//! nftables: what stands between the bridge and the host's stack, as values and as the JSON of
//! libnftables-json(5).
//!
//! * Table `netdev footbridge`: for each bridge-side device a chain `guard-<device>` at its ingress
//!   hook that drops all. It is behind the packet taps, so packet sockets and captures see every frame
//!   and the host's stack none. It stays when the agent ends: the bridge fails closed.
//! * Table `inet footbridge`: no tunnel packet from the gateway is taken in by this node or sent on to
//!   another, so that a pod can't talk to the tunnel's socket.
//! * In each base chain at the forward hook whose policy is drop: what comes from and goes to the
//!   gateway is accepted first.
//!
//! A rule is known by its comment, which says all that the rule says; so what other versions of nft
//! print differently makes no difference.

use super::{Desired, Link};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The name of both our tables.
const TABLE: &str = "footbridge";
const GUARD: &str = "guard-";

/// Before every filter of others (NF_IP_PRI_RAW).
const TUNNEL_PRIORITY: i32 = -300;

/// What nftables has of what matters here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Firewall {
    /// Devices whose ingress is dropped.
    pub guards: BTreeSet<String>,
    /// The comments in table `inet footbridge`; None where the table is not.
    pub tunnel_rules: Option<BTreeSet<String>>,
    /// Base chains at the forward hook with policy drop, and the comments of our rules there.
    pub forward: BTreeMap<Chain, BTreeSet<String>>,
}

/// A chain of nftables.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chain {
    /// `ip`, `inet` …
    pub family: String,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
}

/// What to change, all in one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Devices to guard.
    pub guard: Vec<String>,
    /// Devices that are gone and whose guards can go.
    pub unguard: Vec<String>,
    /// Make table `inet footbridge` anew, for this gateway and port.
    pub tunnel: Option<(String, u16)>,
    /// Accept from and to the gateway in these chains: each with the comments that are missing.
    pub accept: Vec<(Chain, Rule)>,
}

/// A rule of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    comment: String,
    expressions: Vec<Value>,
}

/// nft printed something else than libnftables-json(5) says.
#[derive(Debug, thiserror::Error)]
#[error("nft's JSON is not as libnftables-json(5) says: {0}")]
pub struct ListError(#[from] serde_json::Error);

/// The change from `actual` to what is wanted; None when nothing is missing. Guards go to the
/// `present` devices; those of devices that are neither wanted nor there are removed. Where the bridge
/// needs no guards they would cut it off, so those of its devices are removed.
pub(super) fn diff(
    desired: &Desired,
    present: &BTreeSet<&String>,
    links: &BTreeMap<String, Link>,
    actual: &Firewall,
) -> Option<Change> {
    let guards = desired.wiring.guards;
    let gone = |name: &&String| match desired.bridge_sides.contains(*name) {
        true => !guards,
        false => !links.contains_key(*name),
    };
    let wanted: BTreeSet<String> =
        tunnel_rules(&desired.gateway, desired.tunnel_port).into_iter().map(|(_, r)| r.comment).collect();
    let change = Change {
        guard: present
            .iter()
            .filter(|n| guards && !actual.guards.contains(**n))
            .map(|n| (*n).clone())
            .collect(),
        unguard: actual.guards.iter().filter(gone).cloned().collect(),
        tunnel: (actual.tunnel_rules.as_ref() != Some(&wanted))
            .then(|| (desired.gateway.clone(), desired.tunnel_port)),
        accept: actual
            .forward
            .iter()
            .flat_map(|(chain, comments)| {
                let missing = accept_rules(&desired.gateway).into_iter();
                missing.filter(|r| !comments.contains(&r.comment)).map(|r| (chain.clone(), r))
            })
            .collect(),
    };
    (change != Change::default()).then_some(change)
}

impl Change {
    /// The change as commands for `nft -j -f -`.
    pub fn commands(&self) -> Value {
        let netdev = json!({"family": "netdev", "name": TABLE});
        let inet = json!({"family": "inet", "name": TABLE});
        let mut commands = vec![json!({"add": {"table": netdev}})];
        for device in &self.guard {
            commands.push(json!({"add": {"chain": {
                "family": "netdev", "table": TABLE, "name": format!("{GUARD}{device}"),
                "type": "filter", "hook": "ingress", "dev": device, "prio": 0, "policy": "drop",
            }}}));
        }
        for device in &self.unguard {
            let chain = json!({"family": "netdev", "table": TABLE, "name": format!("{GUARD}{device}")});
            commands.push(json!({"delete": {"chain": chain}}));
        }
        if let Some((gateway, port)) = &self.tunnel {
            commands.push(json!({"add": {"table": inet}}));
            commands.push(json!({"delete": {"table": inet}}));
            commands.push(json!({"add": {"table": inet}}));
            for (hook, rule) in tunnel_rules(gateway, *port) {
                commands.push(json!({"add": {"chain": {
                    "family": "inet", "table": TABLE, "name": hook,
                    "type": "filter", "hook": hook, "prio": TUNNEL_PRIORITY, "policy": "accept",
                }}}));
                commands.push(json!({"add": {"rule": {
                    "family": "inet", "table": TABLE, "chain": hook,
                    "comment": rule.comment, "expr": rule.expressions,
                }}}));
            }
        }
        for (chain, rule) in &self.accept {
            commands.push(json!({"insert": {"rule": {
                "family": chain.family, "table": chain.table, "chain": chain.name,
                "comment": rule.comment, "expr": rule.expressions,
            }}}));
        }
        json!({ "nftables": commands })
    }
}

impl Firewall {
    /// Read what `nft -j list ruleset` printed.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn parse(text: &str) -> Result<Firewall, ListError> {
        let root: Value = serde_json::from_str(text)?;
        let mut firewall = Firewall::default();
        let objects = root.get("nftables").and_then(Value::as_array).into_iter().flatten();
        for object in objects {
            let text_of = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).map(str::to_owned);
            if let Some(table) = object.get("table") {
                let ours = text_of(table, "name").as_deref() == Some(TABLE);
                if ours && text_of(table, "family").as_deref() == Some("inet") {
                    firewall.tunnel_rules.get_or_insert_default();
                }
            }
            if let Some(chain) = object.get("chain") {
                let (Some(family), Some(table), Some(name)) =
                    (text_of(chain, "family"), text_of(chain, "table"), text_of(chain, "name"))
                else {
                    continue;
                };
                if text_of(chain, "policy").as_deref() != Some("drop") {
                    continue;
                }
                match (text_of(chain, "hook").as_deref(), name.strip_prefix(GUARD)) {
                    (Some("ingress"), Some(device)) if family == "netdev" && table == TABLE => {
                        firewall.guards.insert(device.to_owned());
                    }
                    (Some("forward"), _) if table != TABLE && has_interfaces(&family) => {
                        firewall.forward.entry(Chain { family, table, name }).or_default();
                    }
                    _ => {}
                }
            }
            if let Some(rule) = object.get("rule") {
                let (Some(family), Some(table), Some(name), Some(comment)) = (
                    text_of(rule, "family"),
                    text_of(rule, "table"),
                    text_of(rule, "chain"),
                    text_of(rule, "comment"),
                ) else {
                    continue;
                };
                if family == "inet" && table == TABLE {
                    firewall.tunnel_rules.get_or_insert_default().insert(comment);
                } else if let Some(comments) = firewall.forward.get_mut(&Chain { family, table, name }) {
                    comments.insert(comment);
                }
            }
        }
        Ok(firewall)
    }
}

/// Families whose forward hook sees the pods' IPv4 packets.
fn has_interfaces(family: &str) -> bool {
    matches!(family, "ip" | "inet")
}

/// The hooks of table `inet footbridge` with their rules.
fn tunnel_rules(gateway: &str, port: u16) -> [(&'static str, Rule); 2] {
    let from_gateway = interface("iifname", "==", gateway);
    let to_tunnel = json!({"match": {"op": "==",
        "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": port}});
    let drop = json!({"drop": null});
    [
        (
            "input",
            Rule {
                comment: format!("no tunnel packet (udp {port}) from {gateway} to this node"),
                expressions: vec![from_gateway.clone(), to_tunnel.clone(), drop.clone()],
            },
        ),
        (
            "forward",
            Rule {
                comment: format!("no tunnel packet (udp {port}) from {gateway} to other nodes"),
                expressions: vec![from_gateway, interface("oifname", "!=", gateway), to_tunnel, drop],
            },
        ),
    ]
}

/// The rules ahead of a forward chain's policy.
fn accept_rules(gateway: &str) -> [Rule; 2] {
    let rule = |way: &str, key: &str| Rule {
        comment: format!("footbridge: forward what {way} {gateway}"),
        expressions: vec![interface(key, "==", gateway), json!({"accept": null})],
    };
    [rule("comes from", "iifname"), rule("goes to", "oifname")]
}

fn interface(key: &str, operator: &str, name: &str) -> Value {
    json!({"match": {"op": operator, "left": {"meta": {"key": key}}, "right": name}})
}
