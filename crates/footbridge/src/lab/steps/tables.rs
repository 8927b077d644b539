//! Step 2: tables 10 and 20, line by line.
//!
//! What they should hold is written here once more, as text, from the cluster file; for the article's
//! lab also as the article prints it, which is kept as files.

use super::cast::Cast;
use super::look;
use crate::lab::frames::mac_text;
use crate::lab::plan::GATEWAY;
use crate::lab::report::Report;
use crate::lab::{Lab, LabError};
use footbridge_node::cluster::Cluster;

/// What the article prints of worker1, by table.
const ARTICLE: [(u8, &str); 2] = [
    (10, include_str!("../../../labs/article-table-10.txt")),
    (20, include_str!("../../../labs/article-table-20.txt")),
];

pub(crate) async fn run(lab: &Lab, cast: &Cast, report: &mut Report) -> Result<(), LabError> {
    let here = &cast.here;
    report.step(2, &format!("tables 10 (SpoofGuard) and 20 (ARPResponder) of {here}"));
    let is_article = lab.tunnels()
        && Cluster::parse("article", crate::lab::FILES[0].1).is_ok_and(|article| article == lab.cluster);
    for (table, expected) in [(10, spoof_guard(lab, cast).await?), (20, arp_responder(lab, cast))] {
        let (command, text) = look::printed_table(lab, here, table, false).await?;
        report.verbatim(&format!("{here}# {command}"), &text);
        let claim = format!("table {table} is what the cluster file says, line by line");
        report.check(text == expected, &claim, &difference(&expected, &text));
        if let Some((_, printed)) = ARTICLE.iter().find(|(number, _)| is_article && *number == table) {
            let claim = format!("table {table} is what the article prints, byte for byte");
            report.check(text == *printed, &claim, &difference(printed, &text));
        }
    }
    Ok(())
}

async fn spoof_guard(lab: &Lab, cast: &Cast) -> Result<String, LabError> {
    let ports = look::ports(lab, &cast.here).await?;
    let number = |interface: &str| ports.iter().find(|p| p.name == interface).map_or(u32::MAX, |p| p.number);
    let mut pods: Vec<_> = lab.plan.pods_on(&cast.here).collect();
    pods.sort_by_key(|pod| number(&pod.interface));
    let (agent, pod_cookie) = ("cookie=0x1000000000000", "cookie=0x1030000000000");
    let gateway = quoted(GATEWAY);
    let mac = mac_text(cast.gateway_mac);
    let mut text = format!(
        " {agent}, table=10, priority=200,ip,in_port={gateway} actions=resubmit(,30)\n \
           {agent}, table=10, priority=200,arp,in_port={gateway},arp_spa={},arp_sha={mac} actions=resubmit(,20)\n",
        cast.gateway
    );
    for pod in &pods {
        text += &format!(
            " {pod_cookie}, table=10, priority=200,arp,in_port={},arp_spa={},arp_sha={} actions=resubmit(,20)\n",
            quoted(&pod.interface),
            pod.address,
            mac_text(pod.mac)
        );
    }
    for pod in &pods {
        text += &format!(
            " {pod_cookie}, table=10, priority=200,ip,in_port={},dl_src={},nw_src={} actions=resubmit(,30)\n",
            quoted(&pod.interface),
            mac_text(pod.mac),
            pod.address
        );
    }
    Ok(text + &format!(" {agent}, table=10, priority=0 actions=drop\n"))
}

fn arp_responder(lab: &Lab, cast: &Cast) -> String {
    let mut text = String::new();
    // Without a tunnel to it, nobody asks the bridge for a peer's gateway.
    for peer in lab.plan.nodes.values().filter(|n| lab.tunnels() && n.name != cast.here) {
        let gateway = peer.subnet.gateway();
        text += &format!(
            " cookie=0x1020000000000, table=20, priority=200,arp,arp_tpa={gateway},arp_op=1 \
             actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:aa:bb:cc:dd:ee:ff,load:0x2->NXM_OF_ARP_OP[],\
             move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],load:0xaabbccddeeff->NXM_NX_ARP_SHA[],\
             move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],load:{:#x}->NXM_OF_ARP_SPA[],IN_PORT\n",
            u32::from(gateway)
        );
    }
    text + " cookie=0x1000000000000, table=20, priority=190,arp actions=NORMAL\n \
             cookie=0x1000000000000, table=20, priority=0 actions=drop\n"
}

/// A port's name as ovs-ofctl prints it: in quotes, unless it is a plain word.
fn quoted(name: &str) -> String {
    match name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        true => name.to_owned(),
        false => format!("\"{name}\""),
    }
}

fn difference(expected: &str, seen: &str) -> String {
    let missing = expected
        .lines()
        .filter(|line| !seen.lines().any(|l| l == *line))
        .map(|line| format!("missing {line}"));
    let extra = seen
        .lines()
        .filter(|line| !expected.lines().any(|l| l == *line))
        .map(|line| format!("extra   {line}"));
    let lines: Vec<String> = missing.chain(extra).collect();
    if lines.is_empty() { "the same lines in another order".into() } else { lines.join("\n") }
}
