//! Who is called what.

use super::{End, World};
use crate::walk::port_name;
use footbridge_openflow::PortNo;
use std::net::Ipv4Addr;

impl World {
    /// The node and port of a pod or of a node's own host.
    pub(super) fn find(&self, name: &str) -> Result<(String, PortNo), String> {
        if let Some(node) = self.nodes.get(name) {
            return Ok((name.to_owned(), node.gateway));
        }
        let address: Option<Ipv4Addr> = name.parse().ok();
        let called = |end: &End, port: &str| {
            end.name == name || port == name || Some(end.address) == address || is_pod_of(name, port)
        };
        let mut found: Vec<(String, PortNo)> = Vec::new();
        for (node, view) in &self.nodes {
            let ports =
                view.ends.iter().filter(|(port, end)| called(end, &port_name(**port, view.bridge.names())));
            found.extend(ports.map(|(port, _)| (node.clone(), *port)));
        }
        match &found[..] {
            [one] => Ok(one.clone()),
            [] => {
                let known: Vec<String> = self
                    .nodes
                    .iter()
                    .flat_map(|(node, view)| {
                        [node.clone()].into_iter().chain(
                            view.ends
                                .iter()
                                .filter(|(port, _)| **port != view.gateway)
                                .map(|(_, end)| end.name.clone()),
                        )
                    })
                    .collect();
                Err(format!("nobody is called {name}: there are {}", known.join(", ")))
            }
            _ => Err(format!("{name} is not one: give its interface's name or its address")),
        }
    }

    /// An address: itself, a service's, a pod's or a node's gateway's.
    pub(super) fn address(&self, name: &str) -> Result<Ipv4Addr, String> {
        if let Ok(address) = name.parse() {
            return Ok(address);
        }
        if let Some(address) = self.services.get(name) {
            return Ok(*address);
        }
        let (node, port) = self.find(name).map_err(|error| match self.services.is_empty() {
            true => format!("{error}; services are known by --cluster"),
            false => {
                format!("{error}; services: {}", self.services.keys().cloned().collect::<Vec<_>>().join(", "))
            }
        })?;
        let end = self.nodes.get(&node).and_then(|view| view.ends.get(&port));
        end.map(|end| end.address).ok_or_else(|| format!("{name} has no known address"))
    }
}

/// Whether an interface is called as that of a pod of this name: its first eight characters and a hash.
fn is_pod_of(pod: &str, interface: &str) -> bool {
    let short: String = pod.chars().take(8).collect();
    interface.strip_prefix(&short).is_some_and(|rest| {
        rest.strip_prefix('-')
            .is_some_and(|hash| hash.len() == 6 && hash.bytes().all(|b| b.is_ascii_hexdigit()))
    })
}
