//! Step 1: a route for each peer: into the bridge where there are tunnels, else to the node itself.

use super::cast::Cast;
use super::look;
use crate::lab::plan::{GATEWAY, NodePlan, UPLINK};
use crate::lab::report::Report;
use crate::lab::{Lab, LabError};
use std::net::Ipv4Addr;

pub(crate) async fn run(lab: &Lab, cast: &Cast, report: &mut Report) -> Result<(), LabError> {
    let here = &cast.here;
    let kind = if lab.tunnels() { "an onlink route" } else { "a route to the node" };
    report.step(1, &format!("{here} has {kind} for each peer's pods"));
    let peers: Vec<_> = lab.plan.nodes.values().filter(|n| n.name != *here).collect();
    if peers.is_empty() {
        report.not_applicable("there is only one node");
        return Ok(());
    }
    let text = look::run(lab, here, &["ip", "route"]).await?;
    let routes = look::routes(lab, here).await?;
    for peer in peers {
        let Hop { via, dev, onlink } = hop(lab, peer);
        report.expect(&format!("{} via {via} dev {dev}{}", peer.subnet, if onlink { " onlink" } else { "" }));
    }
    report.saw(&format!("{here}# ip route"), &text);
    for peer in lab.plan.nodes.values().filter(|n| n.name != *here) {
        let (subnet, hop) = (peer.subnet.to_string(), hop(lab, peer));
        let found: Vec<_> = routes.iter().filter(|r| r.dst == subnet).collect();
        let holds = matches!(found.as_slice(), [route]
            if route.gateway.as_ref() == Some(&hop.via.to_string())
                && route.dev == hop.dev
                && route.flags.iter().any(|f| f == "onlink") == hop.onlink);
        report.check(holds, &format!("one route to the pods of {}", peer.name), &format!("{found:?}"));
    }
    let own = lab.plan.nodes.get(here).map(|n| n.subnet.to_string());
    let connected =
        routes.iter().any(|r| Some(&r.dst) == own.as_ref() && r.dev == GATEWAY && r.gateway.is_none());
    report.check(connected, "its own pods are behind the gateway", "no such route");
    Ok(())
}

/// Where a peer's subnet is routed.
pub(crate) struct Hop {
    pub(crate) via: Ipv4Addr,
    pub(crate) dev: &'static str,
    pub(crate) onlink: bool,
}

/// Where it should be.
pub(crate) fn hop(lab: &Lab, peer: &NodePlan) -> Hop {
    match lab.tunnels() {
        true => Hop { via: peer.subnet.gateway(), dev: GATEWAY, onlink: true },
        false => Hop { via: peer.address, dev: UPLINK, onlink: false },
    }
}
