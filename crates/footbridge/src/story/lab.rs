//! A world as a lab's running nodes tell it: their agents by the control socket, their hosts by iproute2 and nft.

use super::dumps::{ends, name_by};
use super::host::{Nat, Routes, parse_neighbours};
use super::{NodeView, World};
use crate::lab::kube_proxy;
use crate::lab::record::{BridgeKind, MemberKind, Places, Record};
use crate::verify;
use crate::walk;
use footbridge_node::cluster::Cluster;
use footbridge_openflow::{MacAddr, PortNo};
use footbridge_pipeline::conntrack::tcp::TcpState;
use footbridge_pipeline::conntrack::{Connection, Endpoint, Progress, Tuple};
use footbridge_pipeline::{Conntrack, Fdb, Time};
use footbridge_switch::control::{Client, ConnectionRow, FdbRow, Reply, Request};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

/// The nodes of a lab as they are now.
///
/// # Errors
/// There is no such lab, or a node of it does not answer; in words.
pub(crate) fn of_lab(name: &str, gateway: &str, tunnel: &str) -> Result<World, String> {
    let places = Places::of(name);
    let record = places.load().map_err(|error| error.to_string())?;
    if record.bridge == BridgeKind::OpenVswitch {
        return Err(
            "this lab's bridges are Open vSwitch's: walk on their dumps (--flows NODE=FILE ...)".to_owned()
        );
    }
    let cluster = Cluster::load(&record.cluster).map_err(|error| error.to_string())?;
    let mut world = World { service_cidr: Some(record.service_cidr), ..World::default() };
    let nodes = record.members.iter().filter(|(_, member)| member.kind == MemberKind::Node);
    for (node, member) in nodes {
        let view = view(&places, &record, node, gateway, tunnel)?;
        world.nodes.insert(node.clone(), NodeView { address: Some(member.address), ..view });
    }
    name_by(&mut world, &cluster);
    Ok(world)
}

fn view(
    places: &Places,
    record: &Record,
    node: &str,
    gateway: &str,
    tunnel: &str,
) -> Result<NodeView, String> {
    let namespace = record.members.get(node).map(|member| &member.namespace[..]).unwrap_or_default();
    let failed = |error: &dyn std::fmt::Display| format!("node {node}: {error}");
    let mut client = Client::connect(&places.node_run(node).join("br-int.ctl")).map_err(|e| failed(&e))?;
    let bridge = walk::Bridge::running(&mut client, &format!("node {node}"), gateway, tunnel)?;
    let mut ask = |request: &Request| client.ask(request).map_err(|error| failed(&error));
    let Reply::Conntrack { connections } = ask(&Request::Conntrack { zone: None })? else {
        return Err(failed(&"no connections"));
    };
    let Reply::Fdb { entries } = ask(&Request::Fdb {})? else { return Err(failed(&"no MAC addresses")) };
    let now = Time::default();
    let mut conntrack = Conntrack::default();
    conntrack.restore(connections.iter().filter_map(|row| connection(row, now)), now);
    let mut fdb = Fdb::default();
    entries.iter().for_each(|row| learn(&mut fdb, row, now));
    let run = |program: &str, arguments: &[&str]| inside(namespace, program, arguments);
    let routes = run("ip", &["-4", "route"])?;
    let neighbours = run("ip", &["-4", "neigh"])?;
    let nat = run("nft", &["list", "table", "ip", kube_proxy::TABLE])?;
    let gateway_port = verify::gateway(bridge.names(), gateway);
    Ok(NodeView {
        address: None,
        gateway: gateway_port,
        tunnel: verify::tunnel(bridge.names(), tunnel),
        ends: ends(&bridge, gateway_port, node),
        routes: Some(Routes::parse(&routes).map_err(|error| failed(&error))?),
        neighbours: parse_neighbours(&neighbours).map_err(|error| failed(&error))?,
        nat: Nat::of_nft(&nat),
        conntrack,
        fdb,
        translated: BTreeMap::new(),
        bridge,
    })
}

/// What a program prints inside a namespace.
fn inside(namespace: &str, program: &str, arguments: &[&str]) -> Result<String, String> {
    let command = ["netns", "exec", namespace, program];
    let output = Command::new("ip").args(command).args(arguments).output();
    let output = output.map_err(|error| format!("run {program} in {namespace}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("{program} {} in {namespace}: {}", arguments.join(" "), said.trim()))
        }
    }
}

/// A connection as the tracker has it. Its label is not told, and taken to be 0.
fn connection(row: &ConnectionRow, now: Time) -> Option<Connection> {
    let end =
        |end: footbridge_switch::control::EndpointRow| Endpoint { address: end.address, port: end.port };
    let word = |name: &str| {
        let rest = row.text.split_once(name)?.1;
        Some(&rest[..rest.find([',', ')']).unwrap_or(rest.len())])
    };
    let progress = match row.protocol {
        6 => Progress::Tcp(match word("state=")? {
            "SYN_SENT" => TcpState::SynSent,
            "SYN_RECV" => TcpState::SynRecv,
            "ESTABLISHED" => TcpState::Established,
            "FIN_WAIT_1" => TcpState::FinWait,
            "CLOSE_WAIT" => TcpState::CloseWait,
            "LAST_ACK" => TcpState::LastAck,
            "TIME_WAIT" => TcpState::TimeWait,
            "CLOSED" => TcpState::Close,
            _ => return None,
        }),
        _ if row.replied => Progress::Replied,
        _ => Progress::Unreplied,
    };
    let icmp_type = match row.protocol {
        1 | 58 => word("type=")?.parse().ok()?,
        _ => 0,
    };
    let original = Tuple { proto: row.protocol, icmp_type, src: end(row.source), dst: end(row.destination) };
    let expires = Time(now.0 + Duration::from_secs(row.expires_in.max(1)).as_nanos() as u64);
    Some(Connection {
        zone: row.zone,
        original,
        progress,
        replied: row.replied,
        mark: row.mark,
        label: 0,
        expires,
    })
}

fn learn(fdb: &mut Fdb, row: &FdbRow, now: Time) {
    if let Ok(mac) = row.mac.parse::<MacAddr>() {
        fdb.learn(mac, row.vlan, PortNo(row.port), now);
    }
}
