//! Looking at the running system: at our bridges over their control sockets, at Open vSwitch over
//! OpenFlow and by its own tools.

use crate::lab::ovs::BRIDGE;
use crate::lab::record::BridgeKind;
use crate::lab::{Lab, LabError, blocking, programs};
use footbridge_openflow::text::display_actions;
use footbridge_openflow::wire::stats::FlowEntry;
use footbridge_openflow::{PortNames, PortNo};
use footbridge_switch::FlowFilter;
use footbridge_switch::client::{self, ClientError, PATIENCE};
use footbridge_switch::control::{self, ConnectionRow, FlowRow, PortRow, Reply, Request};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A flow and its counter.
#[derive(Debug, Clone)]
pub(crate) struct Flow {
    /// As it is printed, without its counters.
    pub(crate) text: String,
    /// Its table.
    pub(crate) table: u8,
    /// Its priority.
    pub(crate) priority: u16,
    /// Its match, as text.
    pub(crate) matching: String,
    /// Its actions, as text.
    pub(crate) actions: String,
    /// Packets that it took.
    pub(crate) packets: u64,
}

/// A port.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    /// Its number.
    pub(crate) number: u32,
    /// Its OpenFlow name.
    pub(crate) name: String,
}

/// A tracked connection.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// As `ovs-appctl dpctl/dump-conntrack` prints it.
    pub(crate) text: String,
    /// Its mark.
    pub(crate) mark: u32,
}

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

/// A node's flows that `filter` takes, with their counters.
pub(crate) async fn flows(lab: &Lab, node: &str, filter: &str) -> Result<Vec<Flow>, LabError> {
    match lab.record.bridge {
        BridgeKind::Footbridge => {
            let request = Request::Flows { filter: filter.to_owned(), no_names: false, stats: false };
            match ask(lab, node, request).await? {
                Reply::Flows { flows } => Ok(flows.into_iter().map(Flow::from).collect()),
                other => Err(unexpected(node, &other)),
            }
        }
        BridgeKind::OpenVswitch => {
            let failed = |error: ClientError| unanswered(node, &error);
            let mut client = openflow(lab, node).await.map_err(failed)?;
            let names = port_names(&mut client).await.map_err(failed)?;
            let filter = FlowFilter::parse(filter, &names).map_err(|error| unanswered(node, &error))?;
            let flows = client.flows(&filter).await.map_err(failed)?;
            Ok(flows.iter().map(|entry| Flow::of(entry, &names)).collect())
        }
    }
}

/// A node's ports.
pub(crate) async fn ports(lab: &Lab, node: &str) -> Result<Vec<Port>, LabError> {
    match lab.record.bridge {
        BridgeKind::Footbridge => match ask(lab, node, Request::Ports {}).await? {
            Reply::Ports { ports } => Ok(ports.into_iter().map(Port::from).collect()),
            other => Err(unexpected(node, &other)),
        },
        BridgeKind::OpenVswitch => {
            let names = async { port_names(&mut openflow(lab, node).await?).await };
            let names = names.await.map_err(|error| unanswered(node, &error))?;
            Ok(names.iter().map(|(PortNo(number), name)| Port { number, name: name.to_owned() }).collect())
        }
    }
}

/// A node's tracked connections.
pub(crate) async fn connections(lab: &Lab, node: &str) -> Result<Vec<Connection>, LabError> {
    match lab.record.bridge {
        BridgeKind::Footbridge => match ask(lab, node, Request::Conntrack { zone: None }).await? {
            Reply::Conntrack { connections } => Ok(connections.into_iter().map(Connection::from).collect()),
            other => Err(unexpected(node, &other)),
        },
        BridgeKind::OpenVswitch => {
            let text = run(lab, node, CONNECTIONS_OF_OPEN_VSWITCH).await?;
            Ok(text.lines().map(Connection::parse).collect())
        }
    }
}

const CONNECTIONS_OF_OPEN_VSWITCH: &[&str] = &["ovs-appctl", "dpctl/dump-conntrack"];

/// What a user types for a node's connections.
pub(crate) fn connections_command(lab: &Lab) -> String {
    match lab.record.bridge {
        BridgeKind::Footbridge => "footbridge conntrack".to_owned(),
        BridgeKind::OpenVswitch => CONNECTIONS_OF_OPEN_VSWITCH.join(" "),
    }
}

/// What a user types for a table of a node, and what is then printed.
pub(crate) async fn printed_table(
    lab: &Lab,
    node: &str,
    table: u8,
    stats: bool,
) -> Result<(String, String), LabError> {
    let filter = format!("table={table}");
    let command: &[&str] = match (lab.record.bridge, stats) {
        (BridgeKind::Footbridge, false) => &["footbridge", "flows", &filter],
        (BridgeKind::Footbridge, true) => &["footbridge", "flows", &filter, "--stats"],
        (BridgeKind::OpenVswitch, false) => {
            &["ovs-ofctl", "dump-flows", BRIDGE, &filter, "--no-stats", "--names"]
        }
        (BridgeKind::OpenVswitch, true) => &["ovs-ofctl", "dump-flows", BRIDGE, &filter, "--names"],
    };
    Ok((command.join(" "), run(lab, node, command).await?))
}

/// How long until a packet that was sent is through, and in the flows' counters: Open vSwitch collects
/// these from its datapath every half second.
pub(crate) fn settling(lab: &Lab) -> Duration {
    match lab.record.bridge {
        BridgeKind::Footbridge => Duration::from_millis(200),
        BridgeKind::OpenVswitch => Duration::from_secs(1),
    }
}

/// Packets by flow text.
pub(crate) fn counters(flows: &[Flow]) -> BTreeMap<String, u64> {
    flows.iter().map(|flow| (flow.text.clone(), flow.packets)).collect()
}

impl Flow {
    fn of(entry: &FlowEntry, names: &PortNames) -> Flow {
        let flow = &entry.flow;
        Flow {
            text: flow.display(names).to_string(),
            table: flow.table,
            priority: flow.priority,
            matching: flow.matching.display(names).to_string(),
            actions: display_actions(&flow.actions, names).to_string(),
            packets: entry.stats.n_packets,
        }
    }
}

impl From<FlowRow> for Flow {
    fn from(FlowRow { text, table, priority, matching, actions, packets, .. }: FlowRow) -> Flow {
        Flow { text, table, priority, matching, actions, packets }
    }
}

impl From<PortRow> for Port {
    fn from(PortRow { number, name, .. }: PortRow) -> Port {
        Port { number, name }
    }
}

impl From<ConnectionRow> for Connection {
    fn from(ConnectionRow { text, mark, .. }: ConnectionRow) -> Connection {
        Connection { text, mark }
    }
}

impl Connection {
    /// One line; a mark of 0 is not printed.
    fn parse(line: &str) -> Connection {
        let mark = line.split(',').find_map(|word| word.strip_prefix("mark=")?.parse().ok());
        Connection { text: line.to_owned(), mark: mark.unwrap_or(0) }
    }
}

async fn openflow(lab: &Lab, node: &str) -> Result<client::Client, ClientError> {
    client::Client::connect(&lab.places.open_vswitch(node).openflow(), PATIENCE).await
}

async fn port_names(client: &mut client::Client) -> Result<PortNames, ClientError> {
    Ok(client.ports().await?.into_iter().map(|port| (port.number, port.name)).collect())
}

async fn ask(lab: &Lab, node: &str, request: Request) -> Result<Reply, LabError> {
    let socket = lab.places.node_run(node).join("br-int.ctl");
    let node = node.to_owned();
    blocking(move || {
        control::Client::connect(&socket)
            .and_then(|mut client| client.ask(&request))
            .map_err(|error| unanswered(&node, &error))
    })
    .await
}

fn unanswered(node: &str, why: &dyn std::fmt::Display) -> LabError {
    LabError::Control { node: node.to_owned(), why: why.to_string() }
}

fn unexpected(node: &str, reply: &Reply) -> LabError {
    unanswered(node, &format_args!("it answered something else: {reply:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connections_mark_is_read_and_0_where_none_is_printed() {
        let line = "tcp,orig=(src=10.222.1.48,dst=10.222.2.34,sport=1,dport=80),reply=(src=10.222.2.34,dst=10.222.1.48,sport=80,dport=1),zone=65520,mark=32,protoinfo=(state=TIME_WAIT)";
        assert_eq!(Connection::parse(line).mark, 0x20);
        assert_eq!(Connection::parse(&line.replace(",mark=32", "")).mark, 0);
    }
}
