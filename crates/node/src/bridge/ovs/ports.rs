//! What the ports of an Open vSwitch should be, and the commands of ovs-vsctl that are missing. Pure.

use super::OvsError;
use super::database::{Port, Snapshot};
use crate::bridge::{Role, WantedPort};
use crate::config::{GATEWAY_PORT, TunnelType};
use crate::host::Link;
use std::collections::{BTreeMap, BTreeSet};

/// One command of ovs-vsctl, word by word.
pub(super) type Command = Vec<String>;

/// The key of a port's external_ids that makes it ours; its value is the port's role.
pub(super) const PORT_MARK: &str = "footbridge";
/// The key of an interface's external_ids with the number of the device that it was made of.
pub(super) const INTERFACE_MARK: &str = "footbridge-ifindex";
/// The type of an interface whose device Open vSwitch makes.
pub(super) const INTERNAL: &str = "internal";

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Changes {
    /// Ports to remove, some to be made anew.
    pub(super) remove: Vec<Command>,
    /// Ports to make and to set.
    pub(super) make: Vec<Make>,
}

/// One port to make or to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Make {
    /// The port.
    pub(super) name: String,
    /// It is not there yet.
    pub(super) new: bool,
    /// How.
    pub(super) commands: Vec<Command>,
}

/// The columns of an interface that are ours to say.
struct Interface {
    kind: &'static str,
    options: BTreeMap<&'static str, String>,
    mtu: Option<u32>,
}

/// Whether a port can be there now: a pod's needs its device.
fn can_be(port: &WantedPort, links: &BTreeMap<String, Link>) -> bool {
    match port.role {
        Role::Pod => links.contains_key(&port.name),
        Role::Tunnel { .. } | Role::Gateway { .. } => true,
    }
}

/// The changes from `snapshot` to the wanted ports.
pub(super) fn diff<'a>(
    bridge: &str,
    wanted: impl Iterator<Item = &'a WantedPort>,
    snapshot: &Snapshot,
    links: &BTreeMap<String, Link>,
) -> Changes {
    let mut changes = Changes::default();
    let wanted: Vec<&WantedPort> = wanted.filter(|port| can_be(port, links)).collect();
    let names: BTreeSet<&str> = wanted.iter().map(|port| port.name.as_str()).collect();
    for (name, _) in snapshot.ports.iter().filter(|(name, port)| port.ours && !names.contains(name.as_str()))
    {
        changes.remove.push(remove(bridge, name));
    }
    for port in wanted {
        let device = match port.role {
            Role::Pod => links.get(&port.name).map(|link| link.index),
            Role::Tunnel { .. } | Role::Gateway { .. } => None,
        };
        let present = match snapshot.ports.get(&port.name) {
            // Open vSwitch still reads the device that had the name before.
            Some(present) if device.is_some() && present.device != device => {
                changes.remove.push(remove(bridge, &port.name));
                None
            }
            present => present,
        };
        if present.is_none_or(|present| !is_as_wanted(present, port)) {
            let mut commands = vec![words(&["--may-exist", "add-port", bridge, &port.name])];
            commands.extend(settings(port, device));
            changes.make.push(Make { name: port.name.clone(), new: present.is_none(), commands });
        }
    }
    changes
}

/// The gateway's port, as far as it has to be there for the host: its MTU comes with the others'.
pub(super) fn make_gateway(bridge: &str, name: &str) -> [Command; 3] {
    let number = format!("ofport_request={}", GATEWAY_PORT.0);
    let kind = type_is(INTERNAL);
    [
        words(&["--may-exist", "add-port", bridge, name]),
        words(&["set", "Port", name, &mark(&Role::Gateway { mtu: 0 })]),
        words(&["set", "Interface", name, &kind, &number]),
    ]
}

/// Take the port away, if it is there.
pub(super) fn remove(bridge: &str, name: &str) -> Command {
    words(&["--if-exists", "del-port", bridge, name])
}

/// A bridge without flows drops.
pub(super) fn fail_secure(bridge: &str) -> Command {
    words(&["set-fail-mode", bridge, "secure"])
}

/// Whether Open vSwitch could make the ports as they are wanted.
pub(super) fn verify<'a>(
    wanted: impl Iterator<Item = &'a WantedPort>,
    snapshot: &Snapshot,
    links: &BTreeMap<String, Link>,
) -> Result<(), OvsError> {
    for port in wanted.filter(|port| can_be(port, links)) {
        let failed = |why: &str| OvsError::Port { name: port.name.clone(), why: why.to_owned() };
        let present = snapshot.ports.get(&port.name).ok_or_else(|| failed("it is not in its bridge"))?;
        if let Some(error) = &present.error {
            return Err(failed(error));
        }
        let number = i64::from(port.number.0);
        if present.number != Some(number) {
            let has = |(_, other): &(&String, &Port)| other.number == Some(number);
            let holder = snapshot.ports.iter().find(has);
            let holder = holder.map_or("Open vSwitch gives it another".to_owned(), |(name, _)| {
                format!("{name} has it (ovs-vsctl set interface {name} ofport_request=ANOTHER)")
            });
            return Err(OvsError::Number { name: port.name.clone(), number: port.number, holder });
        }
    }
    Ok(())
}

fn is_as_wanted(present: &Port, wanted: &WantedPort) -> bool {
    let Interface { kind, options, mtu } = interface(wanted);
    let same_options = present.options.len() == options.len()
        && options.iter().all(|(key, value)| present.options.get(*key) == Some(value));
    present.ours
        && present.kind == kind
        && same_options
        && present.number_requested == Some(i64::from(wanted.number.0))
        && present.mtu_requested == mtu.map(i64::from)
}

fn interface(port: &WantedPort) -> Interface {
    let plain = |kind, mtu| Interface { kind, options: BTreeMap::new(), mtu };
    match &port.role {
        Role::Pod => plain("", None),
        // Else Open vSwitch gives it the smallest of its bridge's, whenever that changes.
        Role::Gateway { mtu } => plain(INTERNAL, Some(*mtu)),
        Role::Tunnel { kind, udp_port, local } => Interface {
            kind: match kind {
                TunnelType::Vxlan => "vxlan",
                TunnelType::Geneve => "geneve",
            },
            options: [
                // VNI 0, sent and accepted; the destination is each packet's own.
                ("key", Some("0".to_owned())),
                ("remote_ip", Some("flow".to_owned())),
                ("local_ip", local.map(|address| address.to_string())),
                ("dst_port", Some(udp_port.to_string())),
            ]
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect(),
            mtu: None,
        },
    }
}

/// The commands that make a port's columns what they should be.
fn settings(port: &WantedPort, device: Option<u32>) -> Vec<Command> {
    let Interface { kind, options, mtu } = interface(port);
    let name = port.name.as_str();
    let mut set = words(&["set", "Interface", name, &type_is(kind)]);
    set.push(format!("ofport_request={}", port.number.0));
    set.extend(mtu.map(|mtu| format!("mtu_request={mtu}")));
    set.extend(device.map(|device| format!("external_ids:{INTERFACE_MARK}={device}")));
    set.extend(options.iter().map(|(key, value)| format!("options:{key}={value}")));
    vec![
        words(&["set", "Port", name, &mark(&port.role)]),
        words(&["clear", "Interface", name, "options", "mtu_request"]),
        set,
    ]
}

/// In quotes, for it may be empty.
fn type_is(kind: &str) -> String {
    format!("type=\"{kind}\"")
}

fn mark(role: &Role) -> String {
    let role = match role {
        Role::Tunnel { .. } => "tunnel",
        Role::Gateway { .. } => "gateway",
        Role::Pod => "pod",
    };
    format!("external_ids:{PORT_MARK}={role}")
}

fn words(words: &[&str]) -> Command {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests;
