//! Names and addresses that nobody gave: a pod's interface, MAC address and port number, the
//! gateway's MAC address. All are functions of the object's identity, so that they survive restarts;
//! a pod's differ for one re-created under the same name.

use crate::cluster::{Node, Pod};
use crate::config::GATEWAY_PORT;
use footbridge_openflow::{MacAddr, PortNo};
use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use std::collections::{BTreeMap, BTreeSet};

/// The name of a pod's host interface: `footbridge.io/interface`, else the first 8 characters of
/// its name, `-`, and the first 6 hex digits of the SHA-1 of `container/<container id>`.
///
/// The id of a pod's sandbox container is known to the CNI plugin, not to the API. Here stands for
/// it the pod's UID, or `namespace/name` where a file gives none.
pub fn interface_name(pod: &Pod) -> String {
    if let Some(name) = &pod.interface {
        return name.clone();
    }
    container_interface(&pod.name.name, &pod_identity(pod))
}

/// The name of the host interface of a pod's container: the first 8 characters of the pod's name, `-`, and the first 6
/// hex digits of the SHA-1 of `container/<container id>`.
pub fn container_interface(pod: &str, container: &str) -> String {
    let prefix: String = pod.chars().take(8).collect();
    let [a, b, c, ..] = digest("container", container);
    format!("{prefix}-{a:02x}{b:02x}{c:02x}")
}

/// The MAC address of a container's interface, of `<container id>/<interface>`. Not of the pod's UID: while a pod's
/// container is replaced by another the two have it in common.
pub fn container_mac(container: &str) -> MacAddr {
    derived_mac("mac", container)
}

/// A pod's MAC address: `footbridge.io/mac`, else one derived from its identity.
pub fn pod_mac(pod: &Pod) -> MacAddr {
    pod.mac.unwrap_or_else(|| derived_mac("mac", &pod_identity(pod)))
}

/// A node's gateway's MAC address: `footbridge.io/gateway-mac`, else one derived from the node's name, and
/// not from its UID: when a Node object is deleted and made again, its pods still have the address in their
/// neighbour tables.
pub fn gateway_mac(node: &Node) -> MacAddr {
    node.gateway_mac.unwrap_or_else(|| derived_mac("gateway", &node.name))
}

/// What makes a pod this pod: its UID, or its name where there is none.
fn pod_identity(pod: &Pod) -> String {
    if pod.uid.is_empty() { pod.name.to_string() } else { pod.uid.clone() }
}

fn digest(purpose: &str, identity: &str) -> [u8; 20] {
    Sha1::digest(format!("{purpose}/{identity}")).into()
}

/// Locally administered and unicast (IEEE 802-2014 §8.4), and never the global virtual MAC, whose
/// first byte is not 02.
fn derived_mac(purpose: &str, identity: &str) -> MacAddr {
    let [a, b, c, d, e, ..] = digest(purpose, identity);
    MacAddr([0x02, a, b, c, d, e])
}

/// Port numbers of this node's pods: given once, kept over restarts, and not given to another pod
/// while there are numbers that nobody had.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PortAssignments {
    /// By pod identity (namespace, name and UID).
    ports: BTreeMap<String, u16>,
    /// The number given last; the search for a free one starts behind it.
    last: u16,
}

/// All port numbers of the bridge are in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no port number is left for pod {pod}: all of 3 to {} are in use", PortNo::MAX.0)]
pub struct PortsExhausted {
    /// Who would have needed one.
    pub pod: String,
}

impl PortAssignments {
    /// The assignments for exactly `pods`: annotated numbers as annotated, others as they were,
    /// new ones free.
    ///
    /// # Errors
    /// No number is left.
    pub fn updated<'a>(
        &self,
        pods: impl IntoIterator<Item = &'a Pod>,
    ) -> Result<PortAssignments, PortsExhausted> {
        let mut next = PortAssignments { ports: BTreeMap::new(), last: self.last };
        let mut used = BTreeSet::new();
        let mut unannotated = Vec::new();
        for pod in pods {
            match pod.ofport {
                Some(port) => {
                    used.insert(port);
                    next.ports.insert(key(pod), port);
                }
                None => unannotated.push(pod),
            }
        }
        let mut new = Vec::new();
        for pod in unannotated {
            match self.ports.get(&key(pod)) {
                Some(port) if used.insert(*port) => drop(next.ports.insert(key(pod), *port)),
                _ => new.push(pod),
            }
        }
        for pod in new {
            let port =
                free_port(next.last, &used).ok_or_else(|| PortsExhausted { pod: pod.name.to_string() })?;
            used.insert(port);
            next.last = port;
            next.ports.insert(key(pod), port);
        }
        Ok(next)
    }

    /// Whether each of these is in `other`, too.
    pub fn is_part_of(&self, other: &PortAssignments) -> bool {
        self.ports.iter().all(|(pod, port)| other.ports.get(pod) == Some(port))
    }

    /// A pod's port.
    pub fn get(&self, pod: &Pod) -> Option<PortNo> {
        self.ports.get(&key(pod)).map(|port| PortNo(u32::from(*port)))
    }
}

fn key(pod: &Pod) -> String {
    format!("{} {}", pod.name, pod.uid)
}

/// The first free number behind `last`, once round.
fn free_port(last: u16, used: &BTreeSet<u16>) -> Option<u16> {
    let first = u16::try_from(GATEWAY_PORT.0).unwrap_or(u16::MAX) + 1;
    let end = u16::try_from(PortNo::MAX.0).unwrap_or(u16::MAX);
    let start = last.max(first - 1) + 1;
    (start..=end).chain(first..start).find(|port| !used.contains(port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::ObjectName;
    use std::net::Ipv4Addr;

    fn pod(name: &str, ofport: Option<u16>) -> Pod {
        Pod {
            name: ObjectName { namespace: "default".to_owned(), name: name.to_owned() },
            uid: format!("uid-of-{name}"),
            node: "n".to_owned(),
            address: Ipv4Addr::new(10, 0, 0, 9),
            labels: BTreeMap::new(),
            ports: BTreeMap::new(),
            ready: true,
            interface: None,
            mac: None,
            ofport,
        }
    }

    #[test]
    fn an_interface_name_fits_linux_and_depends_on_the_identity() {
        let name = interface_name(&pod("a-very-long-name", None));
        assert!(name.starts_with("a-very-l-"));
        assert_eq!(name.len(), 15);
        let mut again = pod("a-very-long-name", None);
        again.uid = "another".to_owned();
        assert_ne!(interface_name(&again), name);
    }

    #[test]
    fn derived_macs_are_unicast_local_and_stable() {
        let mac = pod_mac(&pod("web", None));
        assert_eq!(mac.0[0] & 3, 2);
        assert_eq!(mac, pod_mac(&pod("web", None)));
        assert_ne!(mac, pod_mac(&pod("web2", None)));
    }

    #[test]
    fn ports_start_at_3_are_kept_and_not_reused_while_others_are_free() {
        let (a, b, c) = (pod("a", None), pod("b", None), pod("c", None));
        let first = PortAssignments::default().updated([&a, &b]).unwrap();
        assert_eq!((first.get(&a), first.get(&b)), (Some(PortNo(3)), Some(PortNo(4))));
        let second = first.updated([&b]).unwrap();
        assert_eq!((second.get(&a), second.get(&b)), (None, Some(PortNo(4))));
        let third = second.updated([&b, &c]).unwrap();
        assert_eq!(third.get(&c), Some(PortNo(5)), "3 was another's a moment ago");
        assert!(second.is_part_of(&first) && !third.is_part_of(&first));
    }

    #[test]
    fn an_annotated_port_pushes_out_a_chosen_one() {
        let a = pod("a", None);
        let first = PortAssignments::default().updated([&a]).unwrap();
        let fixed = pod("fixed", Some(3));
        let second = first.updated([&a, &fixed]).unwrap();
        assert_eq!(second.get(&fixed), Some(PortNo(3)));
        assert_eq!(second.get(&a), Some(PortNo(4)));
    }

    #[test]
    fn numbers_are_reused_when_all_others_are_taken_and_then_run_out() {
        let used: BTreeSet<u16> = (3..=0xfeff).filter(|n| *n != 7).collect();
        assert_eq!(free_port(0xfeff, &used), Some(7));
        assert_eq!(free_port(6, &used), Some(7));
        assert_eq!(free_port(9, &(3..=0xfeff).collect()), None);
    }
}
