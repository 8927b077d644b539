//! The networks that the host has beside the pods': which of them leads to the other nodes, and which
//! pod subnets would cut the host off from them. Pure.
//!
//! # Contract
//!
//! [`Underlay::of`] is what was read of the host's devices; [`clash`] says whether a pod subnet can be
//! routed to the gateway without taking from the host what it reaches otherwise. A subnet that lies
//! within a network of the host is none: the longer prefix wins in routing, and only the addresses that
//! are known to be nodes' are looked for in it.

use crate::host::Actual;
use crate::subnet::Subnet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The host's own networks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Underlay {
    /// Addresses with their prefix lengths, by device; the gateway's are not among them.
    pub networks: BTreeMap<String, BTreeSet<(Ipv4Addr, u8)>>,
    /// MTUs by device.
    pub mtus: BTreeMap<String, u32>,
}

/// The device to other nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// Its name.
    pub device: String,
    /// The address that other nodes know it by: where tunnels end.
    pub address: Ipv4Addr,
    /// The length of its subnet's prefix.
    pub prefix: u8,
    /// Its MTU.
    pub mtu: u32,
}

/// Why a pod subnet can't be used on this host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
pub enum Clash {
    #[error("it and the service CIDR {services} have addresses in common")]
    Services { services: Subnet },
    #[error("it has the address {address} of node {node} in it")]
    NodeAddress { node: String, address: Ipv4Addr },
    #[error("it has the address {address} of this host's device {device} in it")]
    HostAddress { device: String, address: Ipv4Addr },
}

impl Underlay {
    /// All devices' but the gateway's.
    pub fn of(actual: &Actual, gateway: &str) -> Underlay {
        let others = actual.addresses.iter().filter(|(device, _)| *device != gateway);
        Underlay {
            networks: others.map(|(device, found)| (device.clone(), found.clone())).collect(),
            mtus: actual.links.iter().map(|(device, link)| (device.clone(), link.mtu)).collect(),
        }
    }

    /// The device that is `named`, without that the one with the node's address. None where there is no
    /// such device, or it has no address.
    pub fn uplink(&self, named: Option<&str>, node: Option<Ipv4Addr>) -> Option<Uplink> {
        let has = |addresses: &BTreeSet<(Ipv4Addr, u8)>| {
            addresses.iter().copied().find(|(address, _)| Some(*address) == node)
        };
        let (device, (address, prefix)) = match named {
            Some(device) => {
                let addresses = self.networks.get(device)?;
                (device, has(addresses).or_else(|| addresses.first().copied())?)
            }
            None => self.networks.iter().find_map(|(device, all)| Some((device.as_str(), has(all)?)))?,
        };
        let mtu = self.mtus.get(device).copied()?;
        Some(Uplink { device: device.to_owned(), address, prefix, mtu })
    }
}

impl Uplink {
    /// Whether an address is on the same segment, so that packets can be sent to it without a router.
    pub fn reaches(&self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
        (u32::from(self.address) ^ u32::from(address)) & mask == 0
    }
}

/// What speaks against routing `subnet` to the gateway, where `nodes` have these addresses.
pub fn clash(
    subnet: Subnet,
    services: Subnet,
    nodes: &BTreeMap<Ipv4Addr, &str>,
    underlay: &Underlay,
) -> Option<Clash> {
    if subnet.overlaps(services) {
        return Some(Clash::Services { services });
    }
    if let Some((address, node)) = nodes.range(subnet.network()..=subnet.broadcast()).next() {
        return Some(Clash::NodeAddress { node: (*node).to_owned(), address: *address });
    }
    underlay.networks.iter().find_map(|(device, addresses)| {
        let (address, _) = addresses.iter().find(|(address, _)| subnet.contains(*address))?;
        Some(Clash::HostAddress { device: device.clone(), address: *address })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Link;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    fn host() -> Underlay {
        let addresses = [
            ("ens160", [10, 79, 1, 201], 24),
            ("eth1", [10, 0, 0, 5], 9),
            ("antrea-gw0", [10, 222, 1, 1], 24),
        ];
        let mut host = Actual::default();
        for (index, (device, address, prefix)) in (1..).zip(addresses) {
            host.addresses.insert(device.to_owned(), [(Ipv4Addr::from(address), prefix)].into());
            let link =
                Link { index, up: true, mac: None, mtu: 1500 + index, veth_peer: None, in_bridge: false };
            host.links.insert(device.to_owned(), link);
        }
        Underlay::of(&host, "antrea-gw0")
    }

    fn of(text: &str) -> Option<String> {
        let nodes = BTreeMap::from([(Ipv4Addr::new(10, 79, 2, 9), "worker2")]);
        clash(subnet(text), Subnet::DEFAULT_SERVICE_CIDR, &nodes, &host()).map(|clash| clash.to_string())
    }

    #[test]
    fn a_subnet_beside_all_others_and_the_gateways_own_are_good() {
        assert_eq!(of("10.222.1.0/24"), None);
        assert_eq!(of("192.168.0.0/16"), None);
    }

    #[test]
    fn a_subnet_in_a_wide_network_of_the_host_is_good_unless_a_known_address_is_in_it() {
        assert_eq!(of("10.3.0.0/24"), None);
        let taken = "it has the address 10.79.2.9 of node worker2 in it";
        assert_eq!(of("10.79.2.0/24").as_deref(), Some(taken));
        let taken = "it has the address 10.0.0.5 of this host's device eth1 in it";
        assert_eq!(of("10.0.0.0/24").as_deref(), Some(taken));
    }

    #[test]
    fn a_subnet_that_covers_the_hosts_network_is_refused() {
        let host = "it has the address 10.79.1.201 of this host's device ens160 in it";
        assert_eq!(of("10.79.1.0/24").as_deref(), Some(host));
        let node = "it has the address 10.79.2.9 of node worker2 in it";
        assert_eq!(of("10.79.0.0/16").as_deref(), Some(node));
    }

    #[test]
    fn a_subnet_and_the_service_cidr_have_nothing_in_common() {
        let wide = Some("it and the service CIDR 10.96.0.0/12 have addresses in common");
        assert_eq!(of("10.96.5.0/24").as_deref(), wide);
        assert_eq!(of("10.0.0.0/8").as_deref(), wide);
    }

    #[test]
    fn the_uplink_has_the_nodes_address_or_the_name_that_it_was_given() {
        let address = Ipv4Addr::new(10, 79, 1, 201);
        let node = Some(address);
        let ens160 = Uplink { device: "ens160".to_owned(), address, prefix: 24, mtu: 1501 };
        assert_eq!(host().uplink(None, node), Some(ens160.clone()));
        assert_eq!(host().uplink(Some("ens160"), None), Some(ens160));
        assert_eq!(host().uplink(Some("eth1"), node).unwrap().address, Ipv4Addr::new(10, 0, 0, 5));
        assert_eq!(host().uplink(Some("eth2"), node), None);
        assert_eq!(host().uplink(None, Some(Ipv4Addr::new(10, 79, 1, 9))), None);
    }

    #[test]
    fn the_uplinks_segment_ends_with_its_subnet() {
        let uplink = host().uplink(Some("ens160"), None).unwrap();
        assert!(
            uplink.reaches(Ipv4Addr::new(10, 79, 1, 254)) && !uplink.reaches(Ipv4Addr::new(10, 79, 2, 1))
        );
        let alone = Uplink { prefix: 32, ..uplink.clone() };
        assert!(!alone.reaches(Ipv4Addr::new(10, 79, 1, 200)));
        assert!(Uplink { prefix: 0, ..uplink }.reaches(Ipv4Addr::new(192, 0, 2, 1)));
    }
}
