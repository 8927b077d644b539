//! `footbridge verify`: claims on a bridge's flows, proved or refuted over all packets, offline.

use crate::cli::walk::{named, read};
use crate::cli::{fail, print};
use crate::{verify, walk};
use clap::Args;
use footbridge_node::cluster::Cluster;
use footbridge_openflow::text::parse_ports;
use footbridge_openflow::{PortNames, PortNo};
use footbridge_verify::{Node, Peer, Questions, parse_properties};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Prove or refute, over all packets, what a node's bridge should do.
///
/// What does not hold is shown with the smallest packet for which it does not, walked. Exits with 0 if
/// all holds, 1 if something does not, 2 if the files could not be read.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The flows, as `ovs-ofctl dump-flows` prints them; of several nodes once for each, as NODE=FILE
    #[arg(long, value_name = "FILE", required_unless_present = "diff", conflicts_with = "diff")]
    flows: Vec<String>,
    /// The ports: lines `NUMBER NAME`, or what `ovs-ofctl show` or `dump-ports-desc` prints; of several nodes
    /// once for each, as NODE=FILE
    #[arg(long, value_name = "FILE")]
    ports: Vec<String>,
    /// Say which packets two dumps treat differently, by region with an example each
    #[arg(
        long, num_args = 2, value_names = ["OLD", "NEW"],
        conflicts_with_all = ["properties", "cluster", "node", "gateway"]
    )]
    diff: Vec<PathBuf>,
    /// The cluster's Nodes and Pods: who is where, rather than as the forwarding tables say
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,
    /// Which of the cluster's nodes the flows are of, where they are of one
    #[arg(long, value_name = "NAME", requires = "cluster")]
    node: Option<String>,
    /// Properties of your own: lines `never: MATCH => output PORT` and the like
    #[arg(long, value_name = "FILE")]
    properties: Option<PathBuf>,
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

/// One node's bridge.
struct Asked {
    /// Its name, where there are several or the cluster knows it.
    name: Option<String>,
    file: String,
    bridge: walk::Bridge,
    ports_given: bool,
    gateway: PortNo,
}

type Failure = Box<dyn Error>;

impl Arguments {
    /// Run it.
    pub(crate) fn run(self) -> ExitCode {
        let done = match &self.diff[..] {
            [old, new] => self.compare(old, new),
            _ => self.verify(),
        };
        match done {
            Ok((text, holds)) => {
                let printed = print(&text);
                if holds { printed } else { ExitCode::from(1) }
            }
            Err(error) => fail(&error, 2),
        }
    }

    fn verify(&self) -> Result<(String, bool), Failure> {
        let nodes = self.nodes()?;
        let cluster = self.cluster.as_deref().map(Cluster::load).transpose()?;
        let known = nodes.iter().map(|asked| self.known(asked, cluster.as_ref()));
        let known: Vec<Option<Node>> = known.collect::<Result<_, _>>()?;
        let elsewhere = self.elsewhere(&nodes, &known, cluster.as_ref());
        let (mut reports, mut holds) = (Vec::new(), true);
        for ((asked, node), elsewhere) in nodes.iter().zip(&known).zip(&elsewhere) {
            let bridge = &asked.bridge;
            let properties = match &self.properties {
                Some(path) => parse_properties(&read(path)?, &path.display().to_string(), bridge.names())?,
                None => Vec::new(),
            };
            let questions = Questions {
                layout: Some(&verify::layout(asked.gateway, verify::tunnel(bridge.names(), &self.tunnel))),
                node: node.as_ref().filter(|_| cluster.is_some()),
                elsewhere,
                properties: &properties,
                ports_given: asked.ports_given,
            };
            let report = footbridge_verify::verify(bridge.pipeline(), bridge.ports(), &questions)
                .map_err(|error| bridge.explain(&error, &asked.file))?;
            let report = verify::printed(&report, bridge);
            holds &= report.holds;
            reports.push((asked.name.clone().unwrap_or_default(), report));
        }
        let text = match (&reports[..], self.json) {
            ([(_, only)], true) => serde_json::to_string_pretty(only)? + "\n",
            ([(_, only)], false) => only.text(),
            (_, true) => {
                serde_json::to_string_pretty(&reports.into_iter().collect::<BTreeMap<_, _>>())? + "\n"
            }
            (_, false) => reports
                .iter()
                .map(|(name, report)| format!("{name}\n{}", report.text()))
                .collect::<Vec<_>>()
                .join("\n"),
        };
        Ok((text, holds))
    }

    fn compare(&self, old: &Path, new: &Path) -> Result<(String, bool), Failure> {
        let ports = match &self.ports[..] {
            [] => None,
            [ports] => Some(Path::new(ports)),
            _ => return Err("--diff takes one --ports".into()),
        };
        let (old, new) = (self.bridge(old, ports)?, self.bridge(new, ports)?);
        let mut all = old.ports().clone();
        new.ports().iter().for_each(|(port, kind)| all.insert(port, kind));
        for (bridge, file) in [&old, &new].into_iter().zip(&self.diff) {
            footbridge_verify::check(bridge.pipeline())
                .map_err(|error| bridge.explain(&error.into(), &file.display().to_string()))?;
        }
        let found = footbridge_verify::diff(old.pipeline(), new.pipeline(), &all)?;
        let printed = verify::printed_diff(&found, &old, &new);
        let text = match self.json {
            true => serde_json::to_string_pretty(&printed)? + "\n",
            false => printed.text(),
        };
        Ok((text, printed.is_empty()))
    }

    /// The dumps that are named, with their ports.
    fn nodes(&self) -> Result<Vec<Asked>, Failure> {
        let ports: BTreeMap<Option<&str>, &Path> = self.ports.iter().map(|text| named(text)).collect();
        let flows: Vec<Option<&str>> = self.flows.iter().map(|text| named(text).0).collect();
        for (text, name) in self.ports.iter().map(|text| (text, named(text).0)) {
            if !flows.contains(&name) {
                return Err(format!("--ports {text}: no --flows is named so").into());
            }
        }
        for lists in [(&self.flows, "--flows"), (&self.ports, "--ports")] {
            let mut seen = BTreeSet::new();
            if let Some(twice) = lists.0.iter().find(|text| !seen.insert(named(text).0)) {
                return Err(format!("{} {twice}: this node has another", lists.1).into());
            }
        }
        let several = self.flows.len() > 1;
        let mut nodes = Vec::new();
        for (name, file) in self.flows.iter().map(|text| named(text)) {
            if several && name.is_none() {
                return Err(format!("--flows {}: of several nodes each is NODE=FILE", file.display()).into());
            }
            let ports = ports.get(&name).copied();
            let bridge = self.bridge(file, ports)?;
            nodes.push(Asked {
                name: name.map(str::to_owned).or_else(|| self.node.clone()),
                file: file.display().to_string(),
                gateway: verify::gateway(bridge.names(), &self.gateway),
                bridge,
                ports_given: ports.is_some(),
            });
        }
        Ok(nodes)
    }

    /// Who is where on a node: as the cluster says, or the dump.
    fn known(&self, asked: &Asked, cluster: Option<&Cluster>) -> Result<Option<Node>, Failure> {
        let names = asked.bridge.names();
        let Some(cluster) = cluster else {
            let layout = verify::layout(asked.gateway, verify::tunnel(names, &self.tunnel));
            return Ok(Node::of(asked.bridge.pipeline(), &layout));
        };
        let name = asked.name.as_deref().ok_or("--cluster needs --node, or --flows NODE=FILE")?;
        Ok(Some(verify::node_of(cluster, name, names, asked.gateway)?))
    }

    /// What is elsewhere, for each of the nodes.
    fn elsewhere(
        &self,
        nodes: &[Asked],
        known: &[Option<Node>],
        cluster: Option<&Cluster>,
    ) -> Vec<Vec<Peer>> {
        match cluster {
            Some(cluster) => nodes
                .iter()
                .map(|asked| verify::elsewhere(cluster, asked.name.as_deref().unwrap_or_default()))
                .collect(),
            None => {
                let known: Vec<Node> = known.iter().map(|node| node.clone().unwrap_or_default()).collect();
                let gateways: Vec<PortNo> = nodes.iter().map(|asked| asked.gateway).collect();
                verify::elsewhere_by_dumps(&known, &gateways)
            }
        }
    }

    fn bridge(&self, flows: &Path, ports: Option<&Path>) -> Result<walk::Bridge, Failure> {
        let names = match ports {
            Some(path) => parse_ports(&read(path)?).map_err(|e| e.in_file(&path.display().to_string()))?,
            None => PortNames::none(),
        };
        let bridge = walk::Bridge::read(&read(flows)?, &flows.display().to_string(), names, &self.tunnel)?;
        Ok(match ports {
            Some(_) => bridge,
            None => bridge.with_ports_of_flows(verify::tunnel(&PortNames::none(), &self.tunnel)),
        })
    }
}
