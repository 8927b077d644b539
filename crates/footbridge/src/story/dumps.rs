//! A world as dumps tell it: files for each node, as ovs-ofctl and iproute2 print them.

use super::host::{Nat, Neighbours, Routes, parse_neighbours};
use super::{End, NodeView, World};
use crate::verify;
use crate::walk::{self, port_name};
use footbridge_node::cluster::Cluster;
use footbridge_node::identity;
use footbridge_openflow::PortNo;
use footbridge_pipeline::{Conntrack, Fdb};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// What is given of one node beside its bridge.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// `ip route`
    pub(crate) routes: Option<String>,
    /// `ip neigh`
    pub(crate) neighbours: Option<String>,
}

/// The world of these nodes' dumps.
///
/// # Errors
/// A text that can't be read, with the node.
pub(crate) fn of_dumps(
    bridges: BTreeMap<String, (walk::Bridge, Files)>,
    gateway: &str,
    tunnel: &str,
    cluster: Option<&Cluster>,
) -> Result<World, String> {
    let mut world =
        World { service_cidr: Some(footbridge_node::Subnet::DEFAULT_SERVICE_CIDR), ..World::default() };
    let mut known = Vec::new();
    for (name, (bridge, files)) in bridges {
        let gateway = verify::gateway(bridge.names(), gateway);
        let wrong = |what: &str, error: &dyn std::fmt::Display| format!("{name}: {what}, {error}");
        let routes = files.routes.as_deref().map(Routes::parse).transpose();
        let neighbours = files.neighbours.as_deref().map(parse_neighbours).transpose();
        known.push(bridge.node().cloned().unwrap_or_default());
        let view = NodeView {
            address: None,
            gateway,
            tunnel: verify::tunnel(bridge.names(), tunnel),
            ends: ends(&bridge, gateway, &name),
            routes: routes.map_err(|error| wrong("--routes", &error))?,
            neighbours: neighbours
                .map_err(|error| wrong("--neighbours", &error))?
                .unwrap_or_else(Neighbours::new),
            nat: cluster.map(Nat::of).unwrap_or_default(),
            conntrack: Conntrack::default(),
            fdb: Fdb::default(),
            translated: BTreeMap::new(),
            bridge,
        };
        world.nodes.insert(name, view);
    }
    let said = verify::addresses_by_dumps(&known);
    for ((name, view), said) in world.nodes.iter_mut().zip(said) {
        let node = cluster.and_then(|cluster| cluster.nodes.get(name));
        view.address = node.and_then(|node| node.address).or(said);
    }
    if let Some(cluster) = cluster {
        name_by(&mut world, cluster);
    }
    Ok(world)
}

/// Who is behind a bridge's ports, as its own tables say; called by their ports, and behind the gateway the host.
pub(super) fn ends(bridge: &walk::Bridge, gateway: PortNo, node: &str) -> BTreeMap<PortNo, End> {
    let owners = bridge.node().map(|node| &node.owners[..]).unwrap_or_default();
    owners
        .iter()
        .map(|owner| {
            let name = match owner.port == gateway {
                true => format!("{node}'s host"),
                false => port_name(owner.port, bridge.names()),
            };
            (owner.port, End { name, mac: owner.mac, address: owner.address })
        })
        .collect()
}

/// Call pods and services as the cluster does.
pub(super) fn name_by(world: &mut World, cluster: &Cluster) {
    let interfaces: BTreeMap<String, &str> =
        cluster.pods.values().map(|pod| (identity::interface_name(pod), &pod.name.name[..])).collect();
    for view in world.nodes.values_mut() {
        let names = view.bridge.names().clone();
        for (port, end) in &mut view.ends {
            if let Some(name) = interfaces.get(&port_name(*port, &names)) {
                end.name = (*name).to_owned();
            }
        }
    }
    let services = cluster.services.values();
    let named = services.flat_map(|service| {
        let (short, long) = (service.name.name.clone(), service.name.to_string());
        [short, long].map(|name| (name, service.cluster_ip))
    });
    world.services = named.collect::<BTreeMap<String, Ipv4Addr>>();
}
