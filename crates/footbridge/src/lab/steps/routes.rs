//! Step 1: a route for each peer.

use super::cast::Cast;
use super::look;
use crate::lab::plan::GATEWAY;
use crate::lab::report::Report;
use crate::lab::{Lab, LabError};

pub(crate) async fn run(lab: &Lab, cast: &Cast, report: &mut Report) -> Result<(), LabError> {
    let here = &cast.here;
    report.step(1, &format!("{here} has an onlink route for each peer's pods"));
    let peers: Vec<_> = lab.plan.nodes.values().filter(|n| n.name != *here).collect();
    if peers.is_empty() {
        report.not_applicable("there is only one node");
        return Ok(());
    }
    let text = look::run(lab, here, &["ip", "route"]).await?;
    let routes = look::routes(lab, here).await?;
    for peer in peers {
        report.expect(&format!("{} via {} dev {GATEWAY} onlink", peer.subnet, peer.subnet.gateway()));
    }
    report.saw(&format!("{here}# ip route"), &text);
    for peer in lab.plan.nodes.values().filter(|n| n.name != *here) {
        let (subnet, gateway) = (peer.subnet.to_string(), peer.subnet.gateway().to_string());
        let found: Vec<_> = routes.iter().filter(|r| r.dst == subnet).collect();
        let holds = matches!(found.as_slice(), [route]
            if route.gateway.as_ref() == Some(&gateway) && route.dev == GATEWAY && route.flags.iter().any(|f| f == "onlink"));
        report.check(holds, &format!("one route to the pods of {}", peer.name), &format!("{found:?}"));
    }
    let own = lab.plan.nodes.get(here).map(|n| n.subnet.to_string());
    let connected =
        routes.iter().any(|r| Some(&r.dst) == own.as_ref() && r.dev == GATEWAY && r.gateway.is_none());
    report.check(connected, "its own pods are behind the gateway", "no such route");
    Ok(())
}
