//! Looking at the running system.

use crate::lab::{Lab, LabError, blocking, programs};
use footbridge_switch::control::{Client, ConnectionRow, FlowRow, PortRow, Reply, Request};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A route, as `ip -j route` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Route {
    /// Destination, or `default`.
    pub(crate) dst: String,
    /// Next hop.
    pub(crate) gateway: Option<String>,
    /// Device.
    #[serde(default)]
    pub(crate) dev: String,
    /// `onlink` and others.
    #[serde(default)]
    pub(crate) flags: Vec<String>,
}

/// A neighbour, as `ip -j neigh` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Neighbour {
    /// Its address.
    pub(crate) dst: String,
    /// Its MAC, if it has answered.
    pub(crate) lladdr: Option<String>,
}

/// Output of a command in a node or pod.
pub(crate) async fn run(lab: &Lab, member: &str, command: &[&str]) -> Result<String, LabError> {
    programs::output(lab.command(member, command)).await
}

/// A node's main routing table.
pub(crate) async fn routes(lab: &Lab, node: &str) -> Result<Vec<Route>, LabError> {
    let json = run(lab, node, &["ip", "-j", "-4", "route"]).await?;
    serde_json::from_str(&json).map_err(|e| LabError::io("read what ip printed", e.into()))
}

/// The neighbours that a node knows on a device.
pub(crate) async fn neighbours(lab: &Lab, node: &str, device: &str) -> Result<Vec<Neighbour>, LabError> {
    let json = run(lab, node, &["ip", "-j", "-4", "neigh", "show", "dev", device]).await?;
    serde_json::from_str(&json).map_err(|e| LabError::io("read what ip printed", e.into()))
}

/// A node's flows with their counters; `text` is without them.
pub(crate) async fn flows(lab: &Lab, node: &str, filter: &str) -> Result<Vec<FlowRow>, LabError> {
    let request = Request::Flows { filter: filter.to_owned(), no_names: false, stats: false };
    match ask(lab, node, request).await? {
        Reply::Flows { flows } => Ok(flows),
        other => Err(unexpected(node, &other)),
    }
}

/// A node's ports.
pub(crate) async fn ports(lab: &Lab, node: &str) -> Result<Vec<PortRow>, LabError> {
    match ask(lab, node, Request::Ports {}).await? {
        Reply::Ports { ports } => Ok(ports),
        other => Err(unexpected(node, &other)),
    }
}

/// A node's tracked connections.
pub(crate) async fn connections(lab: &Lab, node: &str) -> Result<Vec<ConnectionRow>, LabError> {
    match ask(lab, node, Request::Conntrack { zone: None }).await? {
        Reply::Conntrack { connections } => Ok(connections),
        other => Err(unexpected(node, &other)),
    }
}

/// Packets by flow text.
pub(crate) fn counters(flows: &[FlowRow]) -> BTreeMap<String, u64> {
    flows.iter().map(|flow| (flow.text.clone(), flow.packets)).collect()
}

async fn ask(lab: &Lab, node: &str, request: Request) -> Result<Reply, LabError> {
    let socket = lab.places.node_run(node).join("br-int.ctl");
    let node = node.to_owned();
    blocking(move || {
        Client::connect(&socket)
            .and_then(|mut client| client.ask(&request))
            .map_err(|e| LabError::Control { node, why: e.to_string() })
    })
    .await
}

fn unexpected(node: &str, reply: &Reply) -> LabError {
    LabError::Control { node: node.to_owned(), why: format!("it answered something else: {reply:?}") }
}
