//! The walk through the article: six steps, each with what it expects and what it saw.
//!
//! A step looks at the running system only: at what iproute2, tcpdump and curl print, and at what the
//! bridges answer on their control sockets (Open vSwitch: over OpenFlow, and what its tools print). What
//! Open vSwitch can't is said where it matters, and all else is asked of it too. Who plays which part is chosen from the cluster file, so
//! that the steps run with any; a step that a cluster has no cast for says so and is not counted.

mod arp;
mod cast;
mod fourth_node;
mod look;
mod routes;
mod service;
mod spoof;
mod stream;
mod tables;

use super::record::BridgeKind;
use super::report::Report;
use super::{Lab, LabError};
use cast::Cast;

/// Take all steps. [`LabError::StepsFailed`] when one did not hold; other errors when one could not
/// be carried out.
pub(crate) async fn run(lab: &mut Lab) -> Result<(), LabError> {
    let mut report = Report::new();
    let cast = Cast::of(lab);
    let bridges = match lab.record.bridge {
        BridgeKind::Footbridge => "",
        BridgeKind::OpenVswitch => "; the bridges are Open vSwitch's, on its datapath in user space",
    };
    report.line(&format!(
        "lab {}: {} nodes, {} pods{bridges}",
        lab.record.name,
        lab.plan.nodes.len(),
        lab.plan.pods.len()
    ));
    routes::run(lab, &cast, &mut report).await?;
    tables::run(lab, &cast, &mut report).await?;
    let watch = arp::Watch::start(lab, &cast).await?;
    service::run(lab, &cast, &mut report).await?;
    watch.finish(lab, &cast, &mut report).await?;
    spoof::run(lab, &cast, &mut report).await?;
    fourth_node::run(lab, &cast, &mut report).await?;
    match report.failed() {
        [] => {
            report.line("\nevery step held");
            Ok(())
        }
        failed => Err(LabError::StepsFailed(failed.to_vec())),
    }
}
