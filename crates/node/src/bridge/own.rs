//! Our own bridge, in this process.

use super::{BridgeError, Role, WantedPort, flows};
use crate::config::TunnelType;
use crate::host::{self, Actual};
use footbridge_datapath::{Attachment, Link, OptionMap, PortSpec, TunnelProtocol};
use footbridge_openflow::{Flow, PortNo};
use footbridge_switch::{Bridge, BundleError, FlowFilter};
use std::collections::{BTreeMap, BTreeSet};

/// New flows stand when old ones go: both in one bundle, which a packet sees whole.
pub(super) fn program(bridge: &Bridge, wanted: &[Flow]) -> Result<usize, BundleError> {
    let present = bridge.flows(&FlowFilter::default());
    let changes = flows::diff(wanted, present.iter().map(|report| report.flow()));
    if !changes.is_empty() {
        bridge.bundle(&changes)?;
    }
    Ok(changes.len())
}

/// Those of the flows that do not stand, and whether the port does.
pub(super) fn lacking(
    bridge: &Bridge,
    wanted: &[Flow],
    number: PortNo,
    name: &str,
) -> Result<(Vec<Flow>, bool), BridgeError> {
    let present = bridge.flows(&FlowFilter::default());
    let flows = flows::missing(wanted, present.iter().map(|report| report.flow()));
    let failed = |source| BridgeError::Port { name: name.to_owned(), source };
    let has_port =
        bridge.ports().map_err(failed)?.iter().any(|port| port.number == number && port.name == name);
    Ok((flows, has_port))
}

/// Ports as wanted. One that can't be had keeps no other from its place; the first such error is
/// returned.
pub(super) fn attach(
    bridge: &Bridge,
    wanted: &BTreeMap<PortNo, WantedPort>,
    actual: &Actual,
) -> Result<(), BridgeError> {
    let failed = |name: &str| {
        let name = name.to_owned();
        move |source| BridgeError::Port { name, source }
    };
    let wanted: BTreeMap<PortNo, PortSpec> = wanted.values().map(|port| (port.number, spec(port))).collect();
    let present = bridge.ports().map_err(failed("list"))?;
    let mut outcome = Ok(());
    let mut stale_link = false;
    let mut attached = BTreeSet::new();
    for port in &present {
        let as_wanted =
            wanted.get(&port.number).is_some_and(|w| w.name == port.name && w.attachment == port.attachment);
        if !as_wanted {
            outcome = outcome.and(bridge.del_port(port.number).map_err(failed(&port.name)));
            continue;
        }
        attached.insert(port.number);
        if let Attachment::Device { ifname } = &port.attachment {
            let up = actual.links.get(ifname).is_some_and(|link| link.up);
            stale_link |= up != (port.link == Link::Up);
        }
    }
    for port in wanted.values().filter(|port| !attached.contains(&port.number)) {
        match bridge.add_port(port.clone()) {
            Ok(()) => tracing::info!(port = port.name, number = port.number.0, "port added"),
            Err(error) => outcome = outcome.and(Err(failed(&port.name)(error))),
        }
    }
    if stale_link {
        outcome = outcome.and(bridge.refresh_ports().map_err(failed("refresh")));
    }
    outcome
}

fn spec(port: &WantedPort) -> PortSpec {
    let attachment = match &port.role {
        Role::Tunnel { kind, udp_port, local } => Attachment::Tunnel {
            protocol: match kind {
                TunnelType::Vxlan => TunnelProtocol::Vxlan,
                TunnelType::Geneve => TunnelProtocol::Geneve,
            },
            udp_port: *udp_port,
            vni: 0,
            local: *local,
            options: OptionMap::ANTREA,
        },
        Role::Gateway { .. } => Attachment::Device { ifname: host::gateway_peer_name(&port.name) },
        Role::Pod => Attachment::Device { ifname: port.name.clone() },
    };
    PortSpec { number: port.number, name: port.name.clone(), attachment }
}
