//! Step 5: a pod that lies about who it is.

use super::cast::Cast;
use super::look;
use crate::lab::capture::Capture;
use crate::lab::frames::{Arp, BROADCAST, REQUEST, Udp};
use crate::lab::plan::{GATEWAY, POD_DEVICE, PodPlan};
use crate::lab::report::Report;
use crate::lab::{Lab, LabError};
use footbridge_node::pods::announce;
use std::net::Ipv4Addr;

/// What the frames carry, to be recognised wherever they come out.
const MARKER: &[u8] = b"footbridge-lab-spoof";
/// Pods speak by themselves now and then (IPv6's MLD and router solicitations end in the same drop):
/// the count has to be exact in one of so many rounds, and never too low.
const ROUNDS: usize = 5;

pub(crate) async fn run(lab: &Lab, cast: &Cast, report: &mut Report) -> Result<(), LabError> {
    let Some(client) = &cast.client else {
        report.step(5, "spoofed packets");
        report.not_applicable("there is no pod");
        return Ok(());
    };
    let here = &cast.here;
    report.step(5, &format!("{} lies about its addresses, and table 10 of {here} drops it", client.name));
    let neighbour = lab.plan.pods_on(here).find(|pod| pod.name != client.name);
    let (lies, shown) = lies(cast, client, neighbour);
    for line in &shown {
        report.line(&format!("   sent: {line}"));
    }
    report.expect(&format!(
        "n_packets of table 10's drop rises by {}, and nothing comes out anywhere",
        lies.len()
    ));
    let mut captures = vec![Capture::start(lab, here, GATEWAY, "arp or udp").await?];
    if let Some(pod) = neighbour {
        captures.push(Capture::start(lab, &pod.name, POD_DEVICE, "arp or udp").await?);
    }
    if let Some(node) = lab.plan.nodes.get(here) {
        captures.push(Capture::start(lab, "underlay", &node.port, "arp or udp").await?);
    }
    let sent = lies.len() as u64;
    let mut rises = Vec::new();
    for _ in 0..ROUNDS {
        let before = quiet_count(lab, here).await?;
        let frames = lies.clone();
        client.namespace.run("send spoofed frames", move || announce::send(POD_DEVICE, &frames)).await?;
        tokio::time::sleep(look::settling(lab)).await;
        let after = drop_flow(lab, here).await?;
        rises.push(after.packets - before);
        if rises.last().is_some_and(|rise| *rise <= sent) {
            break;
        }
    }
    let (command, stats) = look::printed_table(lab, here, 10, true).await?;
    let default = stats.lines().find(|line| line.contains("priority=0 ")).unwrap_or_default();
    report.saw(&format!("{here}# {command} | grep priority=0"), default);
    let detail = format!("it rose by {rises:?}");
    report.check(rises.last() == Some(&sent), &format!("the drop counted {sent} packets more"), &detail);

    let before = drop_flow(lab, here).await?.packets;
    let honest = truth(cast, client);
    client.namespace.run("send an honest ARP request", move || announce::send(POD_DEVICE, &[honest])).await?;
    tokio::time::sleep(look::settling(lab)).await;
    let mut escaped = Vec::new();
    let mut honest_seen = false;
    for capture in captures {
        let (frames, file) = capture.stop().await?;
        let is_marked = |frame: &&Vec<u8>| frame.windows(MARKER.len()).any(|w| w == MARKER);
        if frames.iter().any(|f| is_marked(&f)) {
            escaped.push(file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default());
        }
        honest_seen |= frames
            .iter()
            .filter_map(|f| Arp::parse(f))
            .any(|a| a.sender == client.address && a.operation == REQUEST);
    }
    report.check(
        escaped.is_empty(),
        "none came out: not at the gateway, not at a neighbour, not on the underlay",
        &escaped.join("\n"),
    );
    let after = drop_flow(lab, here).await?.packets;
    report.check(
        honest_seen,
        "an honest ARP request of the same pod passes",
        &format!("the drop rose by {}", after - before),
    );
    Ok(())
}

/// The spoofed frames, and what they are in words.
fn lies(cast: &Cast, client: &PodPlan, neighbour: Option<&PodPlan>) -> (Vec<Vec<u8>>, Vec<String>) {
    let (other, other_mac, who) = match neighbour {
        Some(pod) => (pod.address, pod.mac, pod.name.as_str()),
        None => (cast.gateway, cast.gateway_mac, "the gateway"),
    };
    let arp = |eth_src, sender_mac, sender| {
        let arp = Arp {
            eth_src,
            eth_dst: BROADCAST,
            operation: REQUEST,
            sender_mac,
            sender,
            target_mac: [0; 6],
            target: cast.gateway,
        };
        let mut frame = arp.frame();
        frame.extend(MARKER);
        frame
    };
    let far = cast.remote.as_ref().map_or(cast.gateway, |pod| pod.address);
    let ip = |eth_src, source: Ipv4Addr| {
        Udp { eth_src, eth_dst: cast.gateway_mac, source, destination: far, port: 9, payload: MARKER }.frame()
    };
    let frames = vec![
        arp(client.mac, client.mac, other),
        arp(client.mac, other_mac, other),
        arp(client.mac, client.mac, cast.gateway),
        ip(client.mac, other),
        ip(other_mac, client.address),
    ];
    let words = vec![
        format!("ARP with its own MAC and {who}'s address {other}"),
        format!("ARP with {who}'s MAC and address"),
        format!("ARP that claims the gateway's address {}", cast.gateway),
        format!("IP from {who}'s address {other} to {far}"),
        format!("IP from its own address, but {who}'s MAC"),
    ];
    (frames, words)
}

fn truth(cast: &Cast, client: &PodPlan) -> Vec<u8> {
    let arp = Arp {
        eth_src: client.mac,
        eth_dst: BROADCAST,
        operation: REQUEST,
        sender_mac: client.mac,
        sender: client.address,
        target_mac: [0; 6],
        target: cast.gateway,
    };
    arp.frame()
}

/// The count of table 10's drop, once it has stood still for a moment.
async fn quiet_count(lab: &Lab, node: &str) -> Result<u64, LabError> {
    let mut count = drop_flow(lab, node).await?.packets;
    for _ in 0..20 {
        tokio::time::sleep(look::settling(lab)).await;
        let now = drop_flow(lab, node).await?.packets;
        if now == count {
            break;
        }
        count = now;
    }
    Ok(count)
}

async fn drop_flow(lab: &Lab, node: &str) -> Result<look::Flow, LabError> {
    let flows = look::flows(lab, node, "table=10").await?;
    flows.into_iter().find(|flow| flow.priority == 0).ok_or_else(|| LabError::Control {
        node: node.to_owned(),
        why: "its table 10 has no default flow".into(),
    })
}
