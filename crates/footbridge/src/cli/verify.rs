//! `footbridge verify`: claims on a bridge's flows, proved or refuted over all packets, offline.

use crate::cli::{fail, print};
use crate::{verify, walk};
use clap::Args;
use footbridge_node::cluster::Cluster;
use footbridge_openflow::PortNames;
use footbridge_openflow::text::parse_ports;
use footbridge_verify::Questions;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Prove or refute, over all packets, what a node's bridge should do.
///
/// What does not hold is shown with the smallest packet for which it does not, walked. Exits with 0 if
/// all holds, 1 if something does not, 2 if the files could not be read.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The flows, as `ovs-ofctl dump-flows` prints them
    #[arg(long, value_name = "FILE")]
    flows: PathBuf,
    /// The ports: lines `NUMBER NAME`, or what `ovs-ofctl show` or `dump-ports-desc` prints
    #[arg(long, value_name = "FILE")]
    ports: Option<PathBuf>,
    /// The cluster's Nodes and Pods: who is where, rather than as the forwarding tables say
    #[arg(long, value_name = "FILE", requires = "node")]
    cluster: Option<PathBuf>,
    /// Which of the cluster's nodes the flows are of
    #[arg(long, value_name = "NAME", requires = "cluster")]
    node: Option<String>,
    /// Which port is the gateway
    #[arg(long, value_name = "NAME", default_value = "antrea-gw0")]
    gateway: String,
    /// Which port is the tunnel, to which NORMAL never sends
    #[arg(long, value_name = "NAME", default_value = "antrea-tun0")]
    tunnel: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Run it.
    pub(crate) fn run(self) -> ExitCode {
        match self.verify() {
            Ok((text, holds)) => {
                let printed = print(&text);
                if holds { printed } else { ExitCode::from(1) }
            }
            Err(error) => fail(&error, 2),
        }
    }

    fn verify(&self) -> Result<(String, bool), Box<dyn Error>> {
        let bridge = self.bridge(&self.flows)?;
        let (names, gateway) = (bridge.names(), verify::gateway(bridge.names(), &self.gateway));
        let node = match (&self.cluster, &self.node) {
            (Some(cluster), Some(node)) => {
                Some(verify::node_of(&Cluster::load(cluster)?, node, names, gateway)?)
            }
            _ => None,
        };
        let layout = verify::layout(gateway, verify::tunnel(names, &self.tunnel));
        let questions =
            Questions { layout: Some(&layout), node: node.as_ref(), ports_given: self.ports.is_some() };
        let report = footbridge_verify::verify(bridge.pipeline(), bridge.ports(), &questions)
            .map_err(|error| bridge.explain(&error, &self.flows.display().to_string()))?;
        let printed = verify::printed(&report, &bridge);
        let text = match self.json {
            true => serde_json::to_string_pretty(&printed)? + "\n",
            false => printed.text(),
        };
        Ok((text, printed.holds))
    }

    fn bridge(&self, flows: &Path) -> Result<walk::Bridge, Box<dyn Error>> {
        let names = match &self.ports {
            Some(path) => parse_ports(&read(path)?).map_err(|e| e.in_file(&path.display().to_string()))?,
            None => PortNames::none(),
        };
        let bridge = walk::Bridge::read(&read(flows)?, &flows.display().to_string(), names, &self.tunnel)?;
        Ok(match self.ports {
            Some(_) => bridge,
            None => bridge.with_ports_of_flows(verify::tunnel(&PortNames::none(), &self.tunnel)),
        })
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}
