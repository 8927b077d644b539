//! nftables: what stands between the bridge and the host's stack, as values and as the JSON of
//! libnftables-json(5).
//!
//! * Table `netdev footbridge`: for each bridge-side device a chain `guard-<device>` at its ingress
//!   hook that drops all. It is behind the packet taps, so packet sockets and captures see every frame
//!   and the host's stack none. It stays when the agent ends: the bridge fails closed.
//! * Table `inet footbridge`: no tunnel packet from the gateway is taken in by this node or sent on to
//!   another, so that a pod can't talk to the tunnel's socket.
//! * Table `ip footbridge`: what this node's pods send that leaves by another device than the gateway, so out
//!   of the cluster, gets the node's address. Its set `direct` has the pods and addresses of nodes to which
//!   there is no tunnel: they see a pod's own address, and their answers come back the way the question went.
//!   A node behind a tunnel would send its answer to a pod through that, past this host, which then
//!   would have seen one direction only; so towards it, as towards everybody else, the pod is masqueraded.
//! * In each base chain at the forward hook whose policy is drop: what comes from and goes to the
//!   gateway is accepted first.
//!
//! A rule is known by its comment, which says all that the rule says; so what other versions of nft
//! print differently makes no difference.

use super::{Desired, Link};
use crate::state::{NodeState, Way};
use crate::subnet::Subnet;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The name of our tables, of whatever family.
const TABLE: &str = "footbridge";
/// The set of the addresses that are not masqueraded to.
const DIRECT: &str = "direct";
const GUARD: &str = "guard-";

/// Where source addresses are translated (NF_IP_PRI_NAT_SRC).
const MASQUERADE_PRIORITY: i32 = 100;

/// Before every filter of others (NF_IP_PRI_RAW).
const TUNNEL_PRIORITY: i32 = -300;

/// What nftables has of what matters here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Firewall {
    /// Devices whose ingress is dropped.
    pub guards: BTreeSet<String>,
    /// The comments in table `inet footbridge`; None where the table is not.
    pub tunnel_rules: Option<BTreeSet<String>>,
    /// What is in table `ip footbridge`; None where the table is not.
    pub masquerade: Option<MasqueradeTable>,
    /// Base chains at the forward hook with policy drop, and the comments of our rules there.
    pub forward: BTreeMap<Chain, BTreeSet<String>>,
}

/// What of the pods' packets gets the node's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masquerade {
    /// This node's pods.
    pub pods: Subnet,
    /// The way to the other pods.
    pub gateway: String,
    /// Addresses that see the pods' own.
    pub direct: Ranges,
}

/// Addresses from the first to the last of each pair, by rising first; no two pairs touch.
pub type Ranges = Vec<(u32, u32)>;

/// Table `ip footbridge`, as nft lists it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MasqueradeTable {
    /// The comments of its rules.
    pub rules: BTreeSet<String>,
    /// The addresses in its set.
    pub direct: Ranges,
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
    /// Make table `inet footbridge` anew, for this gateway and port; without a port it is empty.
    pub tunnel: Option<(String, Option<u16>)>,
    /// Make table `ip footbridge` anew, or take it away.
    pub masquerade: Option<Option<Masquerade>>,
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
        masquerade: (actual.masquerade != desired.masquerade.as_ref().map(Masquerade::table))
            .then(|| desired.masquerade.clone()),
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
        if let Some(masquerade) = &self.masquerade {
            let table = json!({"family": "ip", "name": TABLE});
            commands.push(json!({"add": {"table": table}}));
            commands.push(json!({"delete": {"table": table}}));
            commands.extend(masquerade.iter().flat_map(Masquerade::commands));
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

impl Masquerade {
    /// What a node's state asks for.
    pub fn of(state: &NodeState) -> Masquerade {
        let direct = state.peers.iter().filter(|peer| peer.way != Way::Tunnel);
        let ranges = direct.flat_map(|peer| {
            let (first, last) = (peer.subnet.network(), peer.subnet.broadcast());
            [(first.into(), last.into()), (peer.address.into(), peer.address.into())]
        });
        let (pods, gateway) = (state.subnet, state.config.gateway.clone());
        Masquerade { pods, gateway, direct: merged(ranges.collect()) }
    }

    /// The table as nft then lists it.
    pub fn table(&self) -> MasqueradeTable {
        MasqueradeTable { rules: [self.rule().comment].into(), direct: self.direct.clone() }
    }

    fn rule(&self) -> Rule {
        let address = |field: &str| json!({"payload": {"protocol": "ip", "field": field}});
        let pods = json!({"prefix": {"addr": self.pods.network(), "len": self.pods.prefix()}});
        Rule {
            comment: format!("masquerade {} out of the cluster, not over {}", self.pods, self.gateway),
            expressions: vec![
                json!({"match": {"op": "==", "left": address("saddr"), "right": pods}}),
                interface("oifname", "!=", &self.gateway),
                json!({"match": {"op": "!=", "left": address("daddr"), "right": format!("@{DIRECT}")}}),
                json!({"masquerade": {"flags": "fully-random"}}),
            ],
        }
    }

    fn commands(&self) -> Vec<Value> {
        let Rule { comment, expressions } = self.rule();
        let mut commands = vec![
            json!({"add": {"table": {"family": "ip", "name": TABLE}}}),
            json!({"add": {"set": {
                "family": "ip", "table": TABLE, "name": DIRECT, "type": "ipv4_addr", "flags": ["interval"],
            }}}),
        ];
        let element = |(first, last): &(u32, u32)| match (Ipv4Addr::from(*first), Ipv4Addr::from(*last)) {
            (first, last) if first == last => json!(first),
            (first, last) => json!({"range": [first, last]}),
        };
        if !self.direct.is_empty() {
            let elements: Vec<Value> = self.direct.iter().map(element).collect();
            commands.push(json!({"add": {"element": {
                "family": "ip", "table": TABLE, "name": DIRECT, "elem": elements,
            }}}));
        }
        commands.push(json!({"add": {"chain": {
            "family": "ip", "table": TABLE, "name": "postrouting",
            "type": "nat", "hook": "postrouting", "prio": MASQUERADE_PRIORITY, "policy": "accept",
        }}}));
        commands.push(json!({"add": {"rule": {
            "family": "ip", "table": TABLE, "chain": "postrouting", "comment": comment, "expr": expressions,
        }}}));
        commands
    }
}

/// The same addresses in as few ranges as can be.
fn merged(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut merged: Ranges = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

/// The elements of a set of addresses, in whatever form nft lists them; what is none is left out.
fn ranges_of(elements: &Value) -> Ranges {
    let address = |value: &Value| value.as_str()?.parse::<Ipv4Addr>().ok().map(u32::from);
    let range = |element: &Value| {
        if let Some(prefix) = element.get("prefix") {
            let host_bits = 32_u64.checked_sub(prefix.get("len")?.as_u64()?)?;
            let hosts = u32::try_from((1_u64 << host_bits) - 1).ok()?;
            let first = address(prefix.get("addr")?)?;
            return Some((first, first | hosts));
        }
        match element.get("range").and_then(Value::as_array).map(Vec::as_slice) {
            Some([first, last]) => Some((address(first)?, address(last)?)),
            _ => address(element).map(|address| (address, address)),
        }
    };
    merged(elements.as_array().into_iter().flatten().filter_map(range).collect())
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
                match text_of(table, "family").as_deref() {
                    Some("inet") if ours => drop(firewall.tunnel_rules.get_or_insert_default()),
                    Some("ip") if ours => drop(firewall.masquerade.get_or_insert_default()),
                    _ => {}
                }
            }
            if let Some(set) = object.get("set") {
                let named = |key: &str, name: &str| text_of(set, key).as_deref() == Some(name);
                if named("family", "ip") && named("table", TABLE) && named("name", DIRECT) {
                    let elements = set.get("elem").unwrap_or(&Value::Null);
                    firewall.masquerade.get_or_insert_default().direct = ranges_of(elements);
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
                } else if family == "ip" && table == TABLE {
                    firewall.masquerade.get_or_insert_default().rules.insert(comment);
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

/// The hooks of table `inet footbridge` with their rules: none where there are no tunnels.
fn tunnel_rules(gateway: &str, port: Option<u16>) -> Vec<(&'static str, Rule)> {
    let Some(port) = port else { return Vec::new() };
    let from_gateway = interface("iifname", "==", gateway);
    let to_tunnel = json!({"match": {"op": "==",
        "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": port}});
    let drop = json!({"drop": null});
    vec![
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
