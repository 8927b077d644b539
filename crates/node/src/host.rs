//! What of the Linux host should be so, what is, and the steps between: plain values.
//!
//! # Contract
//!
//! [`Desired::of`] follows from the node's state; [`diff`] compares it with what was read back
//! ([`Actual`]) and returns the steps that are missing, in the order in which they must be taken.
//! Steps that need a device which is only just made come with the next diff, so the caller reads and
//! diffs until nothing is left. What a hand or another program took away comes back by the same way.
//! The kernel's side, reading and applying, is [`kernel`].
//!
//! # The rules
//!
//! * The gateway has the node's first pod address. It is one end of a veth pair, whose other end,
//!   `<gateway>-p`, is the bridge's; or a device that the bridge itself makes ([`Wiring`]).
//! * A bridge-side device has no address and no IPv6, and the host's stack takes nothing that
//!   arrives on it ([`firewall`]); it goes up only when that is in place. A bridge in the kernel takes
//!   frames from the host's stack by itself.
//! * A device that can't be a pod's ([`refused`]) is left as it is, whatever an annotation says.
//! * The subnet of a peer behind a tunnel is routed via the peer's gateway, `onlink` on our gateway. No
//!   neighbour entry is ever written: the kernel asks and the bridge answers.
//! * That of a peer on the uplink's segment without a tunnel is routed via the peer's address. Such routes
//!   bear a protocol number of ours ([`kernel::ROUTE_PROTOCOL`]), by which they are known.
//! * What pods send out of the cluster gets the node's address, unless that is switched off ([`firewall`]).

pub mod firewall;
pub mod kernel;

use crate::config::GLOBAL_VIRTUAL_MAC;
use crate::state::{NodeState, Peer, Way};
use crate::subnet::Subnet;
use firewall::{Firewall, Masquerade};
use footbridge_openflow::MacAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The MTU of an uplink that isn't found: Ethernet's.
const DEFAULT_UPLINK_MTU: u32 = 1500;

/// The longest gateway name: its peer's must fit IFNAMSIZ.
pub const GATEWAY_NAME_MAX: usize = 13;

/// The device that is the bridge's end of the gateway's veth pair.
pub fn gateway_peer_name(gateway: &str) -> String {
    format!("{gateway}-p")
}

/// How the bridge is wired to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wiring {
    /// What the gateway's device is.
    pub gateway: GatewayKind,
    /// Whether the host's stack sees the frames that the bridge reads, and has to be kept from them.
    pub guards: bool,
}

/// What the gateway's device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayKind {
    /// One end of a veth pair that we make.
    VethPair,
    /// A device that the bridge makes with its port.
    BridgePort {
        /// The bridge has it: a device of that name is then its, else somebody's.
        made: bool,
    },
}

impl Wiring {
    /// To our own bridge, whose datapath reads packet sockets.
    pub const OWN: Wiring = Wiring { gateway: GatewayKind::VethPair, guards: true };
}

/// The host as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The gateway's device.
    pub gateway: String,
    /// Its MAC address.
    pub gateway_mac: MacAddr,
    /// This node's pod subnet; the gateway has its first address.
    pub subnet: Subnet,
    /// The gateway's MTU.
    pub mtu: u32,
    /// Devices on the bridge's side: the gateway's peer, if it has one, and the pods' host interfaces.
    pub bridge_sides: BTreeSet<String>,
    /// This node's address on the underlay, where it is known.
    pub node_address: Option<Ipv4Addr>,
    /// Peers' subnets, and how they are routed.
    pub peers: BTreeMap<Subnet, Hop>,
    /// The tunnels' UDP port, if there are tunnels.
    pub tunnel_port: Option<u16>,
    /// What of the pods' packets gets the node's address.
    pub masquerade: Option<Masquerade>,
    /// How the bridge is wired to the host.
    pub wiring: Wiring,
}

/// Where a peer's subnet is routed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hop {
    /// To the gateway, and so into the bridge.
    Gateway,
    /// To this address, over this device.
    Node(Ipv4Addr, String),
}

/// The host as it was read back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Actual {
    /// Devices by name.
    pub links: BTreeMap<String, Link>,
    /// IPv4 addresses by device.
    pub addresses: BTreeMap<String, BTreeSet<(Ipv4Addr, u8)>>,
    /// Devices with an IPv6 address of global scope.
    pub global_ipv6: BTreeSet<String>,
    /// Routes of the main table that lead over the gateway, and ours over other devices.
    pub routes: BTreeSet<Route>,
    /// The gateway's neighbours that have a MAC address.
    pub neighbours: BTreeSet<Neighbour>,
    /// The settings looked at, by path under /proc/sys; one that the kernel lacks is not here.
    pub sysctls: BTreeMap<String, String>,
    /// What nftables has.
    pub firewall: Firewall,
    /// Devices (by number, which is not reused) whose offloads were switched off.
    pub plain: BTreeSet<u32>,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Administratively up.
    pub up: bool,
    /// Its MAC address; None for devices without one of 6 bytes.
    pub mac: Option<MacAddr>,
    /// Its MTU.
    pub mtu: u32,
    /// A veth's other end's number, in whatever namespace that is.
    pub veth_peer: Option<u32>,
    /// A bridge in the kernel has it, which takes its frames from the host's stack.
    pub in_bridge: bool,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Where to.
    pub subnet: Subnet,
    /// Over which device.
    pub over: Over,
    /// The next hop; None for the gateway's own subnet.
    pub via: Option<Ipv4Addr>,
    /// `onlink`
    pub onlink: bool,
    /// The metric.
    pub metric: u32,
}

/// The device of a route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Over {
    /// The gateway.
    Gateway,
    /// Another, and the route is of ours.
    Device(String),
}

/// A neighbour at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// Its address.
    pub address: Ipv4Addr,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Written by hand, never asked about again (NUD_PERMANENT or NUD_NOARP).
    pub fixed: bool,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the gateway's veth pair.
    CreateGateway {
        /// The host's end.
        name: String,
        /// The bridge's end.
        peer: String,
        /// The host's end's MAC address.
        mac: MacAddr,
        /// Of both ends.
        mtu: u32,
    },
    /// Take a device away.
    DeleteLink(String),
    /// Change what nftables has.
    Firewall(firewall::Change),
    /// Write a setting.
    SetSysctl {
        /// Path under /proc/sys.
        key: String,
        /// New value.
        value: &'static str,
    },
    /// Switch a device's offloads off.
    DisableOffloads(String),
    /// Set a device's MAC address.
    SetMac(String, MacAddr),
    /// Set a device's MTU.
    SetMtu(String, u32),
    /// Take an address off a device.
    DelAddress(String, Ipv4Addr, u8),
    /// Give a device an address.
    AddAddress(String, Ipv4Addr, u8),
    /// Bring a device up.
    SetUp(String),
    /// Make or replace a route.
    PutRoute(Route),
    /// Take a route away.
    DelRoute(Route),
    /// Forget a neighbour at the gateway.
    DelNeighbour(Ipv4Addr),
}

/// The gateway's device is not as it can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// A device of its name is there that is none of ours.
    #[error("device {0} is there and is none of ours: remove or rename it, or choose another --gateway")]
    Taken(String),
    /// The bridge should have made it.
    #[error("the bridge has made no device {0} for its port")]
    Absent(String),
}

/// Why a device that a pod's annotation names, or that has a derived name, is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Of another kind.
    #[error("it is no veth device")]
    NotVeth,
    /// The node's traffic goes through it.
    #[error("it has this node's address {0}")]
    Uplink(Ipv4Addr),
    /// Somebody uses it: a pod's host interface is made without addresses.
    #[error("it has an address, so something else uses it")]
    InUse,
}

impl Desired {
    /// What the state asks for, with a bridge that is wired so.
    pub fn of(state: &NodeState, wiring: Wiring) -> Desired {
        let mut bridge_sides: BTreeSet<String> = state.pods.iter().map(|pod| pod.interface.clone()).collect();
        match wiring.gateway {
            GatewayKind::VethPair => drop(bridge_sides.insert(gateway_peer_name(&state.config.gateway))),
            GatewayKind::BridgePort { .. } => {}
        }
        Desired {
            gateway: state.config.gateway.clone(),
            gateway_mac: state.gateway_mac,
            subnet: state.subnet,
            mtu: state.config.pod_mtu(state.uplink.as_ref().map_or(DEFAULT_UPLINK_MTU, |uplink| uplink.mtu)),
            bridge_sides,
            node_address: state.address,
            peers: state.peers.iter().filter_map(|peer| Some((peer.subnet, hop(peer, state)?))).collect(),
            tunnel_port: state.config.encap.tunnels().then(|| state.config.udp_port()),
            masquerade: state.config.masquerade.then(|| Masquerade::of(state)),
            wiring,
        }
    }

    /// The settings: path under /proc/sys, and value.
    pub fn sysctls(&self) -> Vec<(String, &'static str)> {
        let gateway = |name: &str| format!("net/ipv4/conf/{}/{name}", self.gateway);
        let mut settings = vec![
            ("net/ipv4/ip_forward".to_owned(), "1"),
            // Pod to service to local pod leaves by the interface it came in on.
            ("net/ipv4/conf/all/send_redirects".to_owned(), "0"),
            (gateway("send_redirects"), "0"),
            // The host asks with the gateway's own address, or the guard drops the question.
            (gateway("arp_announce"), "1"),
            (gateway("rp_filter"), "2"),
        ];
        settings.extend(self.bridge_sides.iter().map(|device| (disable_ipv6(device), "1")));
        settings
    }

    /// The routes to peers, and to this node's own pods.
    fn routes(&self) -> BTreeSet<Route> {
        let peer = |(subnet, hop): (&Subnet, &Hop)| match hop {
            Hop::Gateway => {
                let via = Some(subnet.gateway());
                Route { subnet: *subnet, over: Over::Gateway, via, onlink: true, metric: 0 }
            }
            Hop::Node(address, device) => {
                let over = Over::Device(device.clone());
                Route { subnet: *subnet, over, via: Some(*address), onlink: false, metric: 0 }
            }
        };
        let own = Route { subnet: self.subnet, over: Over::Gateway, via: None, onlink: false, metric: 0 };
        self.peers.iter().map(peer).chain([own]).collect()
    }
}

/// Where a peer's subnet is routed; nowhere by us if others do it.
fn hop(peer: &Peer, state: &NodeState) -> Option<Hop> {
    match peer.way {
        Way::Tunnel => Some(Hop::Gateway),
        Way::Segment => Some(Hop::Node(peer.address, state.uplink.as_ref()?.device.clone())),
        Way::Network => None,
    }
}

/// The pods' devices that are the host's own: nothing is done to them, and they become no ports.
///
/// A device that has our guard is ours, and an address that turns up on it is taken off.
pub fn refused(desired: &Desired, actual: &Actual) -> BTreeMap<String, Refusal> {
    let peer = gateway_peer_name(&desired.gateway);
    let pods = desired.bridge_sides.iter().filter(|name| **name != peer);
    let why = |name: &String| {
        let link = actual.links.get(name)?;
        let addresses = || actual.addresses.get(name).into_iter().flatten().map(|(address, _)| *address);
        let uplink = addresses().find(|address| Some(*address) == desired.node_address);
        // A link-local address comes by itself (RFC 3927, RFC 4862).
        let used = addresses().any(|a| !a.is_link_local()) || actual.global_ipv6.contains(name);
        match (link.veth_peer, uplink) {
            (None, _) => Some(Refusal::NotVeth),
            (_, Some(address)) => Some(Refusal::Uplink(address)),
            _ => (used && !actual.firewall.guards.contains(name)).then_some(Refusal::InUse),
        }
    };
    pods.filter_map(|name| Some((name.clone(), why(name)?))).collect()
}

/// What has to be done, in this order, to come nearer to `desired`; nothing when it is reached.
///
/// # Errors
/// The gateway's name belongs to a device that is not ours to remove, or the bridge has not made it.
pub fn diff(desired: &Desired, actual: &Actual) -> Result<Vec<Step>, GatewayError> {
    let mut steps = Vec::new();
    let gateway_there = gateway_steps(desired, actual, &mut steps)?;
    if steps.iter().any(|step| matches!(step, Step::DeleteLink(_))) {
        // A veth takes its other end along, whichever that is: look again before the rest.
        return Ok(steps);
    }
    let refused = refused(desired, actual);
    let present: BTreeSet<&String> = desired
        .bridge_sides
        .iter()
        .filter(|name| actual.links.contains_key(*name) && !refused.contains_key(*name))
        .collect();
    let guarded = |name: &String, link: &Link| match desired.wiring.guards {
        true => actual.firewall.guards.contains(name),
        false => link.in_bridge,
    };
    if let Some(change) = firewall::diff(desired, &present, &actual.links, &actual.firewall) {
        steps.push(Step::Firewall(change));
    }
    let untouched: BTreeSet<String> = refused.keys().map(|name| disable_ipv6(name)).collect();
    for (key, value) in desired.sysctls() {
        if !untouched.contains(&key) && actual.sysctls.get(&key).is_some_and(|is| is != value) {
            steps.push(Step::SetSysctl { key, value });
        }
    }
    for name in &present {
        for (address, prefix) in actual.addresses.get(*name).into_iter().flatten() {
            steps.push(Step::DelAddress((*name).clone(), *address, *prefix));
        }
        let Some(link) = actual.links.get(*name) else { continue };
        if **name == gateway_peer_name(&desired.gateway) && link.mtu != desired.mtu {
            steps.push(Step::SetMtu((*name).clone(), desired.mtu));
        }
        // Until it was seen that the host's stack gets nothing of it, the device stays down.
        if !link.up && guarded(name, link) {
            steps.push(Step::SetUp((*name).clone()));
        }
    }
    if gateway_there {
        gateway_settings(desired, actual, &mut steps);
        network_steps(desired, actual, &mut steps);
    }
    Ok(steps)
}

fn disable_ipv6(device: &str) -> String {
    format!("net/ipv6/conf/{device}/disable_ipv6")
}

/// Make the pair, or make it anew; whether the gateway is there already.
fn gateway_steps(desired: &Desired, actual: &Actual, steps: &mut Vec<Step>) -> Result<bool, GatewayError> {
    let name = &desired.gateway;
    let peer = gateway_peer_name(name);
    let (here, there) = (actual.links.get(name), actual.links.get(&peer));
    let pair = matches!((here, there), (Some(here), Some(there))
        if here.veth_peer == Some(there.index) && there.veth_peer == Some(here.index));
    match (desired.wiring.gateway, here) {
        (GatewayKind::VethPair, _) if pair => return Ok(true),
        (GatewayKind::VethPair, _) => {}
        // Of a bridge of our own that was here before.
        (GatewayKind::BridgePort { .. }, _) if pair => {
            steps.push(Step::DeleteLink(name.clone()));
            return Ok(false);
        }
        (GatewayKind::BridgePort { made: true }, Some(_)) => return Ok(true),
        (GatewayKind::BridgePort { made: false }, Some(_)) => return Err(GatewayError::Taken(name.clone())),
        (GatewayKind::BridgePort { .. }, None) => return Err(GatewayError::Absent(name.clone())),
    }
    // One end alone, or two that don't belong together.
    for (name, link) in [(name, here), (&peer, there)] {
        match link {
            Some(Link { veth_peer: None, .. }) => return Err(GatewayError::Taken(name.clone())),
            Some(_) => steps.push(Step::DeleteLink(name.clone())),
            None => {}
        }
    }
    steps.push(Step::CreateGateway { name: name.clone(), peer, mac: desired.gateway_mac, mtu: desired.mtu });
    Ok(false)
}

fn gateway_settings(desired: &Desired, actual: &Actual, steps: &mut Vec<Step>) {
    let name = &desired.gateway;
    let Some(link) = actual.links.get(name) else { return };
    if link.mac != Some(desired.gateway_mac) {
        steps.push(Step::SetMac(name.clone(), desired.gateway_mac));
    }
    if link.mtu != desired.mtu {
        steps.push(Step::SetMtu(name.clone(), desired.mtu));
    }
    // The kernel finishes by itself what it puts into a bridge's own device.
    let is_veth = desired.wiring.gateway == GatewayKind::VethPair;
    if is_veth && !actual.plain.contains(&link.index) {
        steps.push(Step::DisableOffloads(name.clone()));
    }
    let wanted = (desired.subnet.gateway(), desired.subnet.prefix());
    let has = actual.addresses.get(name).cloned().unwrap_or_default();
    for (address, prefix) in has.iter().filter(|address| **address != wanted) {
        steps.push(Step::DelAddress(name.clone(), *address, *prefix));
    }
    if !has.contains(&wanted) {
        steps.push(Step::AddAddress(name.clone(), wanted.0, wanted.1));
    }
    if !link.up {
        steps.push(Step::SetUp(name.clone()));
    }
}

fn network_steps(desired: &Desired, actual: &Actual, steps: &mut Vec<Step>) {
    // The kernel makes the own subnet's route itself when the gateway has its address and is up.
    let settled = !steps.iter().any(|step| matches!(step, Step::AddAddress(..) | Step::SetUp(_)));
    let wanted = desired.routes();
    for route in wanted.difference(&actual.routes) {
        if route.via.is_some() || settled {
            steps.push(Step::PutRoute(route.clone()));
        }
    }
    // A route that stands where a wanted one goes, with another metric or next hop; and routes to
    // what is no peer any more, which `onlink`, or our mark, tells from an administrator's own.
    for route in actual.routes.difference(&wanted) {
        let peer = desired.peers.contains_key(&route.subnet);
        let replaced = peer && route.metric == 0;
        let ours = route.onlink || route.over != Over::Gateway;
        if (ours || peer) && !replaced {
            steps.push(Step::DelRoute(route.clone()));
        }
    }
    let asked = desired.peers.iter().filter(|(_, hop)| **hop == Hop::Gateway);
    let gateways: BTreeSet<Ipv4Addr> = asked.map(|(subnet, _)| subnet.gateway()).collect();
    for neighbour in &actual.neighbours {
        let of_a_peer = gateways.contains(&neighbour.address);
        let is_virtual = neighbour.mac == GLOBAL_VIRTUAL_MAC;
        let wrong = if of_a_peer { neighbour.fixed || !is_virtual } else { is_virtual };
        if wrong {
            steps.push(Step::DelNeighbour(neighbour.address));
        }
    }
}

#[cfg(test)]
mod tests;
