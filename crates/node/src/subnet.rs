//! IPv4 subnets: what a node's pod CIDR is.

use core::fmt;
use core::str::FromStr;
use std::net::Ipv4Addr;

/// An IPv4 subnet without host bits, of 1 to 30 prefix bits: room for a network address, a
/// broadcast address, a gateway, and at least one pod.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subnet {
    network: u32,
    prefix: u8,
}

/// Why a text or a pair is no [`Subnet`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not `a.b.c.d/n`.
    #[error("'{0}' is not an IPv4 subnet in the form a.b.c.d/n")]
    Syntax(String),
    /// No room for pods, or not a subnet of anything.
    #[error("'{0}' has no room for pods: the prefix length of a pod subnet is 1 to 30")]
    Prefix(String),
    /// Bits are set behind the prefix.
    #[error("'{text}' has host bits set; the subnet is {subnet}")]
    HostBits {
        /// What was given.
        text: String,
        /// What it lies in.
        subnet: Subnet,
    },
}

impl Subnet {
    /// The subnet of `prefix` bits that `address` lies in; `prefix` is 1 to 30.
    pub fn containing(address: Ipv4Addr, prefix: u8) -> Option<Subnet> {
        (1..=30)
            .contains(&prefix)
            .then(|| Subnet { network: u32::from(address) & (u32::MAX << (32 - u32::from(prefix))), prefix })
    }

    /// A subnet written down in the program: a network address without host bits, and 1 to 30.
    pub(crate) const fn constant(network: Ipv4Addr, prefix: u8) -> Subnet {
        Subnet { network: network.to_bits(), prefix }
    }

    /// 10.96.0.0/12, where Kubernetes puts ClusterIPs unless told otherwise.
    pub const DEFAULT_SERVICE_CIDR: Subnet = Subnet::constant(Ipv4Addr::new(10, 96, 0, 0), 12);

    /// The lowest address.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network)
    }

    /// The gateway's address: the first after the network's.
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network + 1)
    }

    /// The highest address.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(self.network | !self.mask())
    }

    /// Prefix length.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The netmask, in host order.
    pub fn mask(self) -> u32 {
        u32::MAX << (32 - u32::from(self.prefix))
    }

    /// Whether `address` lies in the subnet (network and broadcast address included).
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & self.mask() == self.network
    }

    /// Whether some address lies in both.
    pub fn overlaps(self, other: Subnet) -> bool {
        self.contains(other.network()) || other.contains(self.network())
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || SubnetError::Syntax(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(syntax)?;
        let address: Ipv4Addr = address.parse().map_err(|_| syntax())?;
        let prefix: u8 = prefix.parse().map_err(|_| syntax())?;
        if prefix > 32 {
            return Err(syntax());
        }
        let subnet =
            Subnet::containing(address, prefix).ok_or_else(|| SubnetError::Prefix(text.to_owned()))?;
        if subnet.network() != address {
            return Err(SubnetError::HostBits { text: text.to_owned(), subnet });
        }
        Ok(subnet)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_knows_its_gateway_and_its_ends() {
        let subnet: Subnet = "172.20.4.0/22".parse().unwrap();
        assert_eq!(subnet.gateway(), Ipv4Addr::new(172, 20, 4, 1));
        assert_eq!(subnet.broadcast(), Ipv4Addr::new(172, 20, 7, 255));
        assert!(subnet.contains(Ipv4Addr::new(172, 20, 6, 9)));
        assert!(!subnet.contains(Ipv4Addr::new(172, 20, 8, 0)));
        assert_eq!(subnet.to_string(), "172.20.4.0/22");
    }

    #[test]
    fn refuses_what_is_no_pod_subnet() {
        let error = |text: &str| text.parse::<Subnet>().unwrap_err().to_string();
        assert!(error("10.0.0.1/24").contains("the subnet is 10.0.0.0/24"));
        assert!(error("10.0.0.0/31").contains("1 to 30"));
        assert!(error("10.0.0.0/0").contains("1 to 30"));
        assert!(error("10.0.0.0/33").contains("a.b.c.d/n"));
        assert!(error("fd00::/64").contains("a.b.c.d/n"));
    }

    #[test]
    fn overlap_is_containment_either_way() {
        let parse = |text: &str| text.parse::<Subnet>().unwrap();
        assert!(parse("10.0.0.0/16").overlaps(parse("10.0.4.0/24")));
        assert!(parse("10.0.4.0/24").overlaps(parse("10.0.0.0/16")));
        assert!(!parse("10.0.4.0/24").overlaps(parse("10.0.5.0/24")));
    }
}
