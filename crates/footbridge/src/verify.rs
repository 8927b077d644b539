//! What `verify` is told of a node, and how its report is printed.

use crate::walk::{self, CtAnswer, Walk};
use footbridge_node::cluster::Cluster;
use footbridge_node::config::{GATEWAY_PORT, GLOBAL_VIRTUAL_MAC, TUNNEL_PORT};
use footbridge_node::state::NodeState;
use footbridge_node::tables::{self, Round, TableId};
use footbridge_node::{NodeConfig, Subnet, identity};
use footbridge_openflow::action::Subfield;
use footbridge_openflow::{MacAddr, Match, PortNames, PortNo};
use footbridge_pipeline::FlowId;
use footbridge_verify::{Counterexample, Layout, Node, Owner, Peer, Region, Report, Verdict, Witness};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// The gateway's port on our nodes.
pub(crate) const GATEWAY: &str = "antrea-gw0";

/// The tables of our nodes, with these two ports.
pub(crate) fn layout(gateway: PortNo, tunnel: PortNo) -> Layout {
    // A node without pods or peers has nothing but the skeleton, misses included.
    let skeleton = tables::flows(&NodeState {
        config: NodeConfig::new(""),
        round: Round::FIRST,
        address: None,
        uplink: None,
        subnet: Subnet::DEFAULT_SERVICE_CIDR,
        gateway_mac: MacAddr::default(),
        peers: Vec::new(),
        pods: Vec::new(),
        waiting: Vec::new(),
        unusable: Vec::new(),
    });
    let miss = |table: TableId| {
        let of_table = skeleton
            .iter()
            .find(|flow| flow.table == table.number() && flow.priority == 0 && flow.matching == Match::any());
        (table.number(), of_table.map(|flow| flow.actions.clone()))
    };
    Layout {
        classifier: TableId::Classifier.number(),
        guard: TableId::SpoofGuard.number(),
        responder: TableId::ARPResponder.number(),
        conntrack: TableId::Conntrack.number(),
        l3: TableId::L3Forwarding.number(),
        l2: TableId::L2ForwardingCalc.number(),
        policies: [
            TableId::EgressRule,
            TableId::EgressDefault,
            TableId::IngressRule,
            TableId::IngressDefault,
        ]
        .map(TableId::number)
        .to_vec(),
        misses: TableId::ALL.iter().copied().map(miss).collect(),
        out_port: Subfield::whole(tables::OUT_PORT),
        gateway,
        tunnel,
        virtual_mac: GLOBAL_VIRTUAL_MAC,
    }
}

/// The port of a name, or the number that it has on our nodes.
pub(crate) fn gateway(names: &PortNames, name: &str) -> PortNo {
    names.number(name).unwrap_or(GATEWAY_PORT)
}

/// The port of a name, or the number that it has on our nodes.
pub(crate) fn tunnel(names: &PortNames, name: &str) -> PortNo {
    names.number(name).unwrap_or(TUNNEL_PORT)
}

/// Who is where on a node, as the cluster says.
///
/// # Errors
/// What the cluster or the ports lack.
pub(crate) fn node_of(
    cluster: &Cluster,
    node: &str,
    names: &PortNames,
    gateway: PortNo,
) -> Result<Node, String> {
    let this = cluster.nodes.get(node).ok_or_else(|| format!("the cluster has no node '{node}'"))?;
    let subnet = this.subnet.ok_or_else(|| format!("node {node} has no pod subnet (spec.podCIDR)"))?;
    let mut owners =
        vec![Owner { port: gateway, mac: identity::gateway_mac(this), address: subnet.gateway() }];
    for pod in cluster.pods_on(node) {
        let interface = identity::interface_name(pod);
        let port = names
            .number(&interface)
            .ok_or_else(|| format!("pod {}: the bridge has no port '{interface}'", pod.name))?;
        owners.push(Owner { port, mac: identity::pod_mac(pod), address: pod.address });
    }
    let others = cluster.nodes.values().filter(|other| other.name != node);
    let peers = others.filter_map(|other| {
        let (subnet, tunnel) = (other.subnet?, other.address?);
        Some(Peer { network: subnet.network(), mask: subnet.mask().into(), tunnel })
    });
    let mut node = Node { owners, peers: peers.collect() };
    node.owners.sort_unstable();
    node.peers.sort_unstable();
    Ok(node)
}

/// The pods of a cluster's other nodes, each as a peer of one address; nodes without an address are left out.
pub(crate) fn elsewhere(cluster: &Cluster, node: &str) -> Vec<Peer> {
    let others = cluster.nodes.values().filter(|other| other.name != node);
    others
        .filter_map(|other| Some((other, other.address?)))
        .flat_map(|(other, tunnel)| {
            cluster.pods_on(&other.name).map(move |pod| one_address(pod.address, tunnel))
        })
        .collect()
}

fn one_address(address: Ipv4Addr, tunnel: Ipv4Addr) -> Peer {
    Peer { network: address, mask: Ipv4Addr::BROADCAST, tunnel }
}

/// For each of some nodes its address, as the others' bridges say: the one that most of them send its pods' packets to.
pub(crate) fn addresses_by_dumps(nodes: &[Node]) -> Vec<Option<Ipv4Addr>> {
    let contains =
        |peer: &Peer, address: Ipv4Addr| u32::from(address) & u32::from(peer.mask) == u32::from(peer.network);
    let address_of = |index: usize| {
        let others = nodes.iter().enumerate().filter(|(other, _)| *other != index);
        let peers = others.flat_map(|(_, node)| &node.peers);
        let said = peers.filter(|peer| nodes[index].owners.iter().any(|owner| contains(peer, owner.address)));
        let mut votes: BTreeMap<Ipv4Addr, usize> = BTreeMap::new();
        said.for_each(|peer| *votes.entry(peer.tunnel).or_default() += 1);
        votes.into_iter().max_by_key(|(_, count)| *count).map(|(address, _)| address)
    };
    (0..nodes.len()).map(address_of).collect()
}

/// For each of some nodes what is elsewhere, as their own bridges say.
pub(crate) fn elsewhere_by_dumps(nodes: &[Node], gateways: &[PortNo]) -> Vec<Vec<Peer>> {
    let pods = |index: usize| {
        nodes[index].owners.iter().filter(move |owner| gateways.get(index) != Some(&owner.port))
    };
    let addresses = addresses_by_dumps(nodes);
    let of_others = |own: usize| {
        let others = (0..nodes.len()).filter(|other| *other != own);
        others
            .flat_map(|other| {
                // Nobody sends there: no packet's tunnel is this one.
                let tunnel = addresses[other].unwrap_or(Ipv4Addr::UNSPECIFIED);
                pods(other).map(move |owner| one_address(owner.address, tunnel))
            })
            .collect()
    };
    (0..nodes.len()).map(of_others).collect()
}

/// A report, ready to be printed in either form.
#[derive(Debug, Serialize)]
pub(crate) struct Printed {
    /// Whether nothing was refuted.
    pub(crate) holds: bool,
    claims: Vec<Claimed>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Claimed {
    claim: String,
    says: String,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    counterexamples: Vec<Shown>,
    #[serde(skip_serializing_if = "is_zero")]
    more: usize,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A counterexample.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    what: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    flows: Vec<Named>,
    #[serde(flatten)]
    example: Option<Example>,
    confirmed: bool,
}

/// A packet and its way.
#[derive(Debug, Serialize)]
pub(crate) struct Example {
    /// As `walk` takes it.
    packet: String,
    /// What ct() answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ct_next: Vec<String>,
    /// The table that it is looked up in at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    walk: Option<Walk>,
}

/// A flow and its place.
#[derive(Debug, Serialize)]
struct Named {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    flow: String,
}

/// Make a report ready to be printed.
pub(crate) fn printed(report: &Report, bridge: &walk::Bridge) -> Printed {
    let claims = report.claims.iter().map(|(claim, verdict)| (claim.name(), claim.sentence(), verdict));
    let properties = report.properties.iter().map(|(text, verdict)| ("property", text.as_str(), verdict));
    let claims = claims.chain(properties).map(|(claim, says, verdict)| {
        let (word, why, examples, more): (_, _, &[Counterexample], _) = match verdict {
            Verdict::Proved => ("proved", None, &[], 0),
            Verdict::NotAsked(why) => ("not asked", Some(why.clone()), &[], 0),
            Verdict::Refuted(examples, more) => ("refuted", None, examples, *more),
        };
        Claimed {
            claim: claim.to_owned(),
            says: says.to_owned(),
            verdict: word,
            why,
            counterexamples: examples.iter().map(|example| shown(example, bridge)).collect(),
            more,
        }
    });
    Printed { holds: report.holds(), claims: claims.collect(), notes: report.notes.clone() }
}

fn shown(example: &Counterexample, bridge: &walk::Bridge) -> Shown {
    Shown {
        what: example.what.clone(),
        flows: example.flows.iter().filter_map(|flow| named(*flow, bridge)).collect(),
        example: example.witness.as_ref().map(|witness| walked(witness, bridge)),
        confirmed: example.confirmed,
    }
}

fn named(flow: FlowId, bridge: &walk::Bridge) -> Option<Named> {
    let entry = bridge.pipeline().get(flow)?;
    let flow_text = entry.flow.display(bridge.names()).to_string().trim_start().to_owned();
    Some(Named { line: bridge.line_of(flow), flow: flow_text })
}

/// A packet's way, as `walk` tells it.
pub(crate) fn walked(witness: &Witness, bridge: &walk::Bridge) -> Example {
    let answers: Vec<CtAnswer> = witness.answers.iter().map(CtAnswer::from).collect();
    Example {
        packet: witness.packet(bridge.names()),
        ct_next: answers.iter().map(ToString::to_string).collect(),
        table: witness.table,
        walk: witness.table.is_none().then(|| bridge.walk(&witness.key, &answers)),
    }
}

impl Printed {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for claim in &self.claims {
            let _ = writeln!(text, "{:<9} {}", claim.verdict, claim.says);
            if let Some(why) = &claim.why {
                let _ = writeln!(text, "          {why}");
            }
            for example in &claim.counterexamples {
                example.write(&mut text);
            }
            if claim.more > 0 {
                let _ = writeln!(text, "          … and {} more", claim.more);
            }
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        let count = |verdict| self.claims.iter().filter(|claim| claim.verdict == verdict).count();
        let _ = write!(text, "{} proved, {} refuted", count("proved"), count("refuted"));
        match count("not asked") {
            0 => text.push('\n'),
            some => {
                let _ = writeln!(text, ", {some} not asked");
            }
        }
        text
    }
}

impl Shown {
    fn write(&self, text: &mut String) {
        let _ = writeln!(text, "          {}", self.what);
        if !self.confirmed {
            let _ = writeln!(
                text,
                "          (the evaluator was not seen to do it: more was allowed for than can happen)"
            );
        }
        // A walk names the flows by itself.
        if self.example.as_ref().is_none_or(|example| example.walk.is_none()) {
            for Named { line, flow } in &self.flows {
                match line {
                    Some(line) => _ = writeln!(text, "          line {line}: {flow}"),
                    None => _ = writeln!(text, "          {flow}"),
                }
            }
        }
        if let Some(example) = &self.example {
            example.write(text);
        }
    }
}

/// What two bridges treat differently, ready to be printed.
#[derive(Debug, Serialize)]
pub(crate) struct PrintedDiff {
    regions: Vec<PrintedRegion>,
    /// Whether there are more.
    more: bool,
}

#[derive(Debug, Serialize)]
struct PrintedRegion {
    /// All of these packets are treated like the example.
    packets: String,
    old: Example,
    new: Example,
}

/// Make a comparison ready to be printed.
pub(crate) fn printed_diff(
    (regions, more): &(Vec<Region>, bool),
    old: &walk::Bridge,
    new: &walk::Bridge,
) -> PrintedDiff {
    let printed = regions.iter().map(|region| PrintedRegion {
        packets: region.packets.display(old.names()).to_string(),
        old: walked(&region.old, old),
        new: walked(&region.new, new),
    });
    PrintedDiff { regions: printed.collect(), more: *more }
}

impl PrintedDiff {
    /// Whether the bridges treat all packets alike.
    pub(crate) fn is_empty(&self) -> bool {
        self.regions.is_empty()
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for region in &self.regions {
            let packets = if region.packets.is_empty() { "every packet" } else { &region.packets };
            let _ = writeln!(text, "differently: {packets}\n  for example: {}", region.old.packet);
            for answer in &region.old.ct_next {
                let _ = writeln!(text, "  --ct-next {answer}");
            }
            let path = |example: &Example| example.walk.iter().flat_map(Walk::path).collect::<Vec<_>>();
            let (old, new) = (path(&region.old), path(&region.new));
            // From where they part.
            let common = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
            let common = common.min(old.len().min(new.len()).saturating_sub(1));
            for (name, path) in [("old", &old), ("new", &new)] {
                for step in path.iter().skip(common) {
                    let _ = writeln!(text, "  {name}  {step}");
                }
            }
        }
        let _ = match (self.regions.len(), self.more) {
            (0, _) => writeln!(text, "every packet is treated alike"),
            (regions, false) => writeln!(text, "{regions} regions are treated differently"),
            (regions, true) => writeln!(text, "{regions} regions are treated differently, and more"),
        };
        text
    }
}

impl Example {
    /// For people, under what it is an example of.
    pub(crate) fn write(&self, text: &mut String) {
        match self.table {
            Some(table) => {
                _ = writeln!(text, "          a packet looked up in table {table}: {}", self.packet)
            }
            None => _ = writeln!(text, "          packet: {}", self.packet),
        }
        for answer in &self.ct_next {
            let _ = writeln!(text, "          --ct-next {answer}");
        }
        for line in self.walk.iter().map(ToString::to_string).collect::<String>().lines() {
            let _ = writeln!(text, "            {line}");
        }
    }
}
