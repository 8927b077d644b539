//! Step 6: a node comes, goes, and comes back under its name as another.

use super::cast::Cast;
use super::look;
use super::stream::{self, Stream};
use crate::lab::plan::{GATEWAY, NodePlan, PodPlan, UPLINK};
use crate::lab::record::BridgeKind;
use crate::lab::report::Report;
use crate::lab::{Lab, LabError, web};
use footbridge_node::cluster::Pod;
use footbridge_node::subnet::Subnet;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// Within this, every other node has to follow the cluster file.
const LIMIT: Duration = Duration::from_secs(1);
/// How long it is looked at before it counts as never.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pod of the new node, where no other has that name.
const POD: &str = "visitor";

/// A node that comes and goes.
struct Newcomer {
    name: String,
    address: Ipv4Addr,
    subnet: Subnet,
}

pub(crate) async fn run(lab: &mut Lab, cast: &Cast, report: &mut Report) -> Result<(), LabError> {
    let others: Vec<NodePlan> = lab.plan.nodes.values().cloned().collect();
    let name = newcomers_name(lab);
    report.step(6, &format!("{name} joins, leaves, and comes back as another"));
    let base = fs::read_to_string(&lab.record.cluster)
        .map_err(|e| LabError::io(format!("read {}", lab.record.cluster.display()), e))?;
    let (Some(first), Some(second)) = (newcomer(lab, &name, 1), newcomer(lab, &name, 2)) else {
        report.not_applicable("no address or subnet is free for another node");
        return Ok(());
    };
    report.expect(&format!(
        "its route and its flows on all others within {} s, nothing stale, nobody disturbed",
        LIMIT.as_secs()
    ));
    let before = snapshot(lab, &others).await?;
    let stream = match (&cast.client, &cast.remote) {
        (Some(client), Some(remote)) => Some(Stream::start(client, remote).await?),
        _ => None,
    };

    join(lab, cast, &others, &base, &first, report).await?;
    leave(lab, &others, &base, &first, report).await?;
    let after = snapshot(lab, &others).await?;
    let (missing, extra) = (minus(&before, &after), minus(&after, &before));
    report.check(
        missing.is_empty() && extra.is_empty(),
        "flows and routes are as before it came",
        &[missing, extra].concat().join("\n"),
    );
    join(lab, cast, &others, &base, &second, report).await?;
    let stale = stale(lab, &others, &first).await?;
    report.check(stale.is_empty(), "nothing of its first life came back", &stale.join("\n"));

    match stream {
        Some(stream) => {
            let (sent, back) = stream.stop().await;
            undisturbed(lab, sent, back, report);
        }
        None => report.line("   no two pods on different nodes to send traffic between"),
    }
    leave(lab, &others, &base, &second, report).await
}

/// The node registers; the others follow; then its machine and its pod come up.
async fn join(
    lab: &mut Lab,
    cast: &Cast,
    others: &[NodePlan],
    base: &str,
    new: &Newcomer,
    report: &mut Report,
) -> Result<(), LabError> {
    let text = format!("{}\n{}", base.trim_end(), objects(lab, cast, new)?);
    lab.write_cluster(&text)?;
    let began = Instant::now();
    let mut missing = Vec::new();
    while began.elapsed() < PATIENCE {
        missing = missing_of(lab, others, new).await?;
        if missing.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = began.elapsed();
    report.check(
        missing.is_empty() && took <= LIMIT,
        &format!(
            "{} with {} at {}: on all others after {} ms",
            new.name,
            new.subnet,
            new.address,
            took.as_millis()
        ),
        &missing.join("\n"),
    );
    lab.grow(&text).await?;
    let Some(visitor) = lab.plan.pods.values().find(|pod| pod.node == new.name).cloned() else {
        return Ok(());
    };
    if let Some(client) = &cast.client {
        open_tunnels(lab, client, &visitor, report).await?;
        let reached = stream::reaches(client, &visitor).await?;
        report.check(
            reached,
            &format!("{} and {} on {} reach each other", client.name, visitor.name, new.name),
            "datagrams were lost",
        );
        if let Some(port) = visitor.ports.first() {
            let url = format!("{}:{port}", visitor.address);
            let answer = match look::run(lab, &client.name, &["curl", "-sS", "--max-time", "3", &url]).await {
                Err(LabError::Command { stderr, .. }) => stderr,
                other => other?,
            };
            let expected = web::greeting(&visitor.hostname, visitor.address, visitor.subnet.prefix());
            report.check(answer == expected, &format!("curl {url}: {}", expected.trim_end()), &answer);
        }
    }
    Ok(())
}

/// Whether traffic between the others noticed. What Open vSwitch can't: keep every packet into a tunnel
/// while flows and the host's routes, of which it keeps a copy, change at the same time. One in some
/// thousands is then lost (with flows and routes written by ovs-ofctl and ip, too).
fn undisturbed(lab: &Lab, sent: u64, back: u64, report: &mut Report) {
    let lost = sent.saturating_sub(back);
    let allowed = match lab.record.bridge {
        BridgeKind::Footbridge => 0,
        BridgeKind::OpenVswitch => sent / 100,
    };
    if allowed > 0 {
        report.line(&format!(
            "   Open vSwitch may lose a packet into a tunnel while flows and routes change: {lost} of {sent}"
        ));
    }
    let claim = match allowed {
        0 => format!("meanwhile, of {sent} datagrams between the others' pods {sent} came back"),
        _ => format!("meanwhile, of {sent} datagrams between the others' pods 99 % came back, or more"),
    };
    report.check(sent > 0 && lost <= allowed, &claim, &format!("{back} of {sent}"));
}

/// What Open vSwitch can't: keep a packet while it asks for the MAC address of a tunnel's next hop.
async fn open_tunnels(
    lab: &Lab,
    client: &PodPlan,
    visitor: &PodPlan,
    report: &mut Report,
) -> Result<(), LabError> {
    match lab.record.bridge {
        BridgeKind::Footbridge => {}
        BridgeKind::OpenVswitch => {
            let lost = match stream::lost_before_the_first(client, visitor).await? {
                Some(0) => "none was lost".to_owned(),
                Some(1) => "the first datagram was lost".to_owned(),
                Some(lost) => format!("the first {lost} datagrams were lost"),
                None => "none ever came back".to_owned(),
            };
            report.line(&format!(
                "   Open vSwitch drops packets while it asks for a new tunnel's next hop: on the way to {} {lost}",
                visitor.name
            ));
        }
    }
    Ok(())
}

/// The node is deleted; the others follow; then its machine goes.
async fn leave(
    lab: &mut Lab,
    others: &[NodePlan],
    base: &str,
    old: &Newcomer,
    report: &mut Report,
) -> Result<(), LabError> {
    lab.write_cluster(base)?;
    let began = Instant::now();
    let mut left = Vec::new();
    while began.elapsed() < PATIENCE {
        left = stale(lab, others, old).await?;
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = began.elapsed();
    report.check(
        left.is_empty() && took <= LIMIT,
        &format!("{} removed: gone from all others after {} ms", old.name, took.as_millis()),
        &left.join("\n"),
    );
    lab.shrink(base).await
}

/// What the others lack of the new node.
async fn missing_of(lab: &Lab, others: &[NodePlan], new: &Newcomer) -> Result<Vec<String>, LabError> {
    let mut missing = Vec::new();
    let (subnet, gateway) = (new.subnet.to_string(), new.subnet.gateway());
    let (via, dev) = match lab.tunnels() {
        true => (gateway, GATEWAY),
        false => (new.address, UPLINK),
    };
    let tunnel = format!("load:{:#x}->NXM_NX_TUN_IPV4_DST[]", u32::from(new.address));
    for node in others {
        let routes = look::routes(lab, &node.name).await?;
        let routed = |r: &look::Route| {
            r.dst == subnet && r.gateway.as_deref() == Some(&via.to_string()) && r.dev == dev
        };
        if !routes.iter().any(routed) {
            missing.push(format!("{}: no route to {subnet}", node.name));
        }
        let flows = look::flows(lab, &node.name, "").await?;
        let answers = |f: &look::Flow| f.table == 20 && f.matching.contains(&format!("arp_tpa={gateway},"));
        if lab.tunnels() && !flows.iter().any(answers) {
            missing.push(format!("{}: no flow that answers for {gateway}", node.name));
        }
        if !flows.iter().any(|f| {
            f.table == 70
                && f.matching.contains(&format!("nw_dst={subnet}"))
                && f.actions.contains(&tunnel) == lab.tunnels()
        }) {
            missing.push(format!("{}: no flow to {subnet} by {}", node.name, new.address));
        }
    }
    Ok(missing)
}

/// What the others still have of the old node: routes, flows, neighbours.
async fn stale(lab: &Lab, others: &[NodePlan], old: &Newcomer) -> Result<Vec<String>, LabError> {
    let mut stale = Vec::new();
    let (subnet, gateway) = (old.subnet.to_string(), old.subnet.gateway().to_string());
    let tunnel = format!("load:{:#x}->NXM_NX_TUN_IPV4_DST[]", u32::from(old.address));
    for node in others {
        let routes = look::routes(lab, &node.name).await?;
        let of_routes = routes
            .iter()
            .filter(|r| r.dst == subnet || r.gateway.as_ref() == Some(&gateway))
            .map(|r| format!("{r:?}"));
        let flows = look::flows(lab, &node.name, "").await?;
        let of_flows = flows
            .iter()
            .filter(|f| {
                [&subnet, &format!("={gateway},"), &tunnel].iter().any(|part| f.text.contains(part.as_str()))
            })
            .map(|f| f.text.clone());
        let neighbours = look::neighbours(lab, &node.name, GATEWAY).await?;
        let of_neighbours =
            neighbours.iter().filter(|n| n.dst == gateway && n.lladdr.is_some()).map(|n| format!("{n:?}"));
        stale.extend(
            of_routes.chain(of_flows).chain(of_neighbours).map(|what| format!("{}: {what}", node.name)),
        );
    }
    Ok(stale)
}

async fn snapshot(lab: &Lab, nodes: &[NodePlan]) -> Result<BTreeSet<String>, LabError> {
    let mut all = BTreeSet::new();
    for node in nodes {
        let flows = look::flows(lab, &node.name, "").await?;
        all.extend(flows.iter().map(|flow| format!("{}: {}", node.name, flow.text)));
        let routes = look::routes(lab, &node.name).await?;
        all.extend(routes.iter().map(|route| format!("{}: {route:?}", node.name)));
    }
    Ok(all)
}

fn minus(a: &BTreeSet<String>, b: &BTreeSet<String>) -> Vec<String> {
    a.difference(b).cloned().collect()
}

/// `worker3` in the article; a name that no node has.
fn newcomers_name(lab: &Lab) -> String {
    let taken = |name: &String| lab.plan.nodes.contains_key(name) || lab.plan.pods.contains_key(name);
    (lab.plan.nodes.len()..).map(|n| format!("worker{n}")).find(|name| !taken(name)).unwrap_or_default()
}

/// [`POD`] or, where the namespace or the lab has that already, with a number.
fn visitors_name(lab: &Lab, namespace: &str) -> String {
    let taken = |name: &String| {
        let in_namespace =
            |pod: &Pod| pod.name.namespace.as_str() == namespace && pod.name.name.as_str() == name;
        lab.plan.nodes.contains_key(name)
            || lab.plan.pods.contains_key(name)
            || lab.cluster.pods.values().any(in_namespace)
    };
    let numbered = (2..).map(|n: u32| format!("{POD}{n}"));
    std::iter::once(POD.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

/// The n-th free address and pod subnet behind those in use.
fn newcomer(lab: &Lab, name: &str, nth: u32) -> Option<Newcomer> {
    let nodes = &lab.plan.nodes;
    let last = nodes.values().map(|n| u32::from(n.address)).max()?;
    let address = Ipv4Addr::from(last.checked_add(nth)?);
    let beyond = nodes.values().map(|n| u32::from(n.subnet.broadcast())).max()?;
    let mut free = 0;
    for step in 0..64_u32 {
        let candidate = Subnet::containing(Ipv4Addr::from(beyond.checked_add(1 + step * 256)?), 24)?;
        let taken = candidate.overlaps(lab.record.service_cidr)
            || candidate.overlaps(lab.plan.underlay)
            || nodes.values().any(|n| n.subnet.overlaps(candidate));
        free += u32::from(!taken);
        if free == nth {
            let fits = lab.plan.underlay.contains(address) && address != lab.plan.underlay.broadcast();
            return fits.then(|| Newcomer { name: name.to_owned(), address, subnet: candidate });
        }
    }
    None
}

/// The node and its pod as YAML documents (JSON is YAML). The pod has what the service's endpoints
/// have, so that it becomes one of them.
fn objects(lab: &Lab, cast: &Cast, new: &Newcomer) -> Result<String, LabError> {
    let model = cast
        .service
        .as_ref()
        .and_then(|s| s.endpoints.first())
        .and_then(|(endpoint, _)| lab.cluster.pods.values().find(|p| p.address == endpoint.address));
    let labels = model.map(|pod| pod.labels.clone()).unwrap_or_default();
    let namespace = model.map_or("default", |pod| pod.name.namespace.as_str());
    let ports: Vec<_> = model
        .iter()
        .flat_map(|pod| &pod.ports)
        .map(|(name, port)| json!({"name": name, "containerPort": port}))
        .collect();
    let pod_address = Ipv4Addr::from(u32::from(new.subnet.network()) + 10);
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": new.name, "uid": format!("lab-{}", new.address)},
        "spec": {"podCIDR": new.subnet.to_string()},
        "status": {"addresses": [{"type": "InternalIP", "address": new.address.to_string()}]},
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": visitors_name(lab, namespace), "namespace": namespace, "labels": labels},
        "spec": {"nodeName": new.name, "containers": [{"name": "main", "ports": ports}]},
        "status": {"podIP": pod_address.to_string()},
    });
    let text = |value| serde_json::to_string_pretty(&value).map_err(|e| LabError::io("write JSON", e.into()));
    Ok(format!("---\n{}\n---\n{}\n", text(node)?, text(pod)?))
}
