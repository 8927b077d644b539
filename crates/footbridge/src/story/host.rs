//! A node's own IP stack, as far as a packet between pods meets it: routes, neighbours, and kube-proxy's address
//! translation. Read from what iproute2 and nftables print, or from a cluster's Services.
//!
//! A route is the longest prefix of the main table (ip-route(8)); policy routing is not followed.

use footbridge_node::Subnet;
use footbridge_node::cluster::Cluster;
use footbridge_openflow::MacAddr;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The routes of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Routes(Vec<Route>);

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// As `ip route` prints it.
    pub(crate) text: String,
    network: u32,
    prefix: u32,
    via: Option<Ipv4Addr>,
    device: Option<String>,
    source: Option<Ipv4Addr>,
}

/// Where a host sends a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// To itself.
    Own,
    /// Out of a device, to this neighbour.
    Out { route: &'a Route, device: &'a str, neighbour: Ipv4Addr },
    /// A route says not to (`blackhole`, `unreachable`, `prohibit`).
    Refused(&'a Route),
    /// No route leads there.
    NoRoute,
}

/// A line that is no route or neighbour.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: expected {expected}, found '{found}'")]
pub(crate) struct HostError {
    line: usize,
    expected: &'static str,
    found: String,
}

impl Routes {
    /// Read what `ip route` prints.
    ///
    /// # Errors
    /// A line that is no IPv4 route.
    pub(crate) fn parse(text: &str) -> Result<Routes, HostError> {
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let routes =
            lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).map(|(at, line)| {
                let expected = "a route as `ip route` prints it";
                route(line).ok_or(HostError { line: at, expected, found: line.to_owned() })
            });
        Ok(Routes(routes.collect::<Result<_, _>>()?))
    }

    /// Where a packet to `address` goes.
    pub(crate) fn next(&self, address: Ipv4Addr) -> Next<'_> {
        if self.own().any(|own| own == address) {
            return Next::Own;
        }
        let bits = u32::from(address);
        let fits = |route: &&Route| {
            bits.checked_shr(32 - route.prefix).unwrap_or(0)
                == route.network.checked_shr(32 - route.prefix).unwrap_or(0)
        };
        match self.0.iter().filter(fits).max_by_key(|route| route.prefix) {
            None => Next::NoRoute,
            Some(route) => match &route.device {
                None => Next::Refused(route),
                Some(device) => Next::Out { route, device, neighbour: route.via.unwrap_or(address) },
            },
        }
    }

    /// The host's own addresses, as far as routes tell: those that they prefer as source.
    pub(crate) fn own(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.0.iter().filter_map(|route| route.source)
    }

    /// The address that the host has on a device.
    pub(crate) fn address_on(&self, device: &str) -> Option<Ipv4Addr> {
        self.0.iter().find(|route| route.device.as_deref() == Some(device) && route.source.is_some())?.source
    }
}

fn route(line: &str) -> Option<Route> {
    let mut words = line.split_whitespace().peekable();
    let refuses = |word: &&str| matches!(*word, "blackhole" | "unreachable" | "prohibit");
    let is_refusal = words.next_if(|word| refuses(word)).is_some();
    let _kind = words.next_if(|word| *word == "unicast");
    let destination = words.next()?;
    let (network, prefix) = match (destination, destination.split_once('/')) {
        ("default", _) => (Ipv4Addr::UNSPECIFIED, 0),
        (_, Some((network, prefix))) => (network.parse().ok()?, prefix.parse().ok().filter(|p| *p <= 32)?),
        (address, None) => (address.parse().ok()?, 32),
    };
    let words: Vec<&str> = words.collect();
    let after = |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1).copied());
    let device = after("dev").map(str::to_owned);
    (is_refusal || device.is_some()).then(|| Route {
        text: line.to_owned(),
        network: u32::from(network),
        prefix,
        via: after("via").and_then(|via| via.parse().ok()),
        device: device.filter(|_| !is_refusal),
        source: after("src").and_then(|source| source.parse().ok()),
    })
}

/// The neighbours that a host knows, by device and address.
pub(crate) type Neighbours = BTreeMap<(String, Ipv4Addr), MacAddr>;

/// Read what `ip neigh` prints; those without a MAC address are not known.
///
/// # Errors
/// A line that is no neighbour.
pub(crate) fn parse_neighbours(text: &str) -> Result<Neighbours, HostError> {
    let mut neighbours = Neighbours::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after =
            |word: &str| words.iter().position(|w| *w == word).and_then(|at| words.get(at + 1).copied());
        let expected = "a neighbour as `ip neigh` prints it";
        let wrong = || HostError { line: at + 1, expected, found: line.to_owned() };
        let (Some(address), Some(device)) = (words.first(), after("dev")) else { return Err(wrong()) };
        if address.contains(':') {
            continue;
        }
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        if let Some(mac) = after("lladdr") {
            neighbours.insert((device.to_owned(), address), mac.parse().map_err(|_| wrong())?);
        }
    }
    Ok(neighbours)
}

/// What kube-proxy does on a host: services' addresses become endpoints'.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Nat {
    services: BTreeMap<(Ipv4Addr, u8, u16), Vec<SocketAddrV4>>,
    /// Sources that are not in these are replaced by the host's own address.
    pods: Vec<Subnet>,
}

impl Nat {
    /// As a cluster's Services say.
    pub(crate) fn of(cluster: &Cluster) -> Nat {
        let mut nat = Nat::default();
        for service in cluster.services.values() {
            for port in &service.ports {
                let mut endpoints: Vec<SocketAddrV4> =
                    cluster.endpoints(service, port).map(|(_, endpoint)| endpoint).collect();
                endpoints.sort_unstable();
                let protocol = protocol_number(port.protocol.name()).unwrap_or_default();
                nat.services.insert((service.cluster_ip, protocol, port.port), endpoints);
            }
        }
        nat.pods = cluster.nodes.values().filter_map(|node| node.subnet).collect();
        nat
    }

    /// As an nftables ruleset says, of the form that a lab's nodes have: `ip daddr A tcp dport P dnat …`. Rules of
    /// another form are passed over.
    pub(crate) fn of_nft(text: &str) -> Nat {
        let mut nat = Nat::default();
        for line in text.lines().map(str::trim) {
            if let Some((key, endpoints)) = dnat(line) {
                nat.services.insert(key, endpoints);
            }
            if let Some(list) =
                line.strip_prefix("ct status dnat ip saddr != ").and_then(|l| l.strip_suffix(" masquerade"))
            {
                let subnets = list.trim_matches(['{', '}', ' ']).split(',');
                nat.pods = subnets.filter_map(|subnet| subnet.trim().parse().ok()).collect();
            }
        }
        nat
    }

    /// Where a service's port leads, by rising address; None where it is no service's.
    pub(crate) fn endpoints(&self, address: Ipv4Addr, protocol: u8, port: u16) -> Option<&[SocketAddrV4]> {
        self.services.get(&(address, protocol, port)).map(Vec::as_slice)
    }

    /// Whether any service has the address.
    pub(crate) fn is_service(&self, address: Ipv4Addr) -> bool {
        self.services.keys().any(|(service, _, _)| *service == address)
    }

    /// Whether the answer would miss the host unless the source is made to be the host: it is no pod, or the
    /// endpoint itself.
    pub(crate) fn masquerades(&self, source: Ipv4Addr, endpoint: Ipv4Addr) -> bool {
        source == endpoint || (!self.pods.is_empty() && !self.pods.iter().any(|pods| pods.contains(source)))
    }
}

fn dnat(line: &str) -> Option<((Ipv4Addr, u8, u16), Vec<SocketAddrV4>)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let ["ip", "daddr", address, protocol, "dport", port, verdict, rest @ ..] = &words[..] else {
        return None;
    };
    let key = (address.parse().ok()?, protocol_number(protocol)?, port.parse().ok()?);
    let mut endpoints: Vec<SocketAddrV4> = match (*verdict, rest) {
        ("dnat", ["to", only]) => vec![only.parse().ok()?],
        ("dnat", _) => rest
            .windows(3)
            .filter_map(|three| match three {
                [ip, ".", port] => {
                    Some(SocketAddrV4::new(ip.parse().ok()?, port.trim_end_matches(',').parse().ok()?))
                }
                _ => None,
            })
            .collect(),
        ("reject", _) => Vec::new(),
        _ => return None,
    };
    endpoints.sort_unstable();
    Some((key, endpoints))
}

/// The ends of a packet: protocol, source, destination. Ports are 0 where there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tuple {
    pub(crate) protocol: u8,
    pub(crate) source: SocketAddrV4,
    pub(crate) destination: SocketAddrV4,
}

impl Tuple {
    /// The answer's.
    pub(crate) fn reversed(self) -> Tuple {
        Tuple { source: self.destination, destination: self.source, ..self }
    }
}

/// An IP protocol's number, by its name.
pub(crate) fn protocol_number(name: &str) -> Option<u8> {
    match name {
        "tcp" => Some(6),
        "udp" => Some(17),
        "sctp" => Some(132),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "default via 10.79.1.1 dev ens160 proto static
10.79.1.0/24 dev ens160 proto kernel scope link src 10.79.1.201
10.222.0.0/24 via 10.222.0.1 dev antrea-gw0 onlink
10.222.1.0/24 dev antrea-gw0 proto kernel scope link src 10.222.1.1
10.222.2.0/24 via 10.222.2.1 dev antrea-gw0 onlink
172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1 linkdown
blackhole 10.9.0.0/16
";

    fn next(address: [u8; 4]) -> String {
        match Routes::parse(ROUTES).unwrap().next(address.into()) {
            Next::Own => "own".to_owned(),
            Next::Out { device, neighbour, .. } => format!("{device} {neighbour}"),
            Next::Refused(route) => route.text.clone(),
            Next::NoRoute => "none".to_owned(),
        }
    }

    #[test]
    fn the_longest_prefix_of_the_articles_routes_wins() {
        assert_eq!(next([10, 222, 2, 34]), "antrea-gw0 10.222.2.1");
        assert_eq!(next([10, 222, 1, 48]), "antrea-gw0 10.222.1.48");
        assert_eq!(next([8, 8, 8, 8]), "ens160 10.79.1.1");
        assert_eq!(next([10, 222, 1, 1]), "own");
        assert_eq!(next([10, 9, 1, 1]), "blackhole 10.9.0.0/16");
        assert_eq!(Routes::default().next([1, 1, 1, 1].into()), Next::NoRoute);
        assert!(Routes::parse("10.0.0.0/40 dev x\n").is_err());
    }

    #[test]
    fn neighbours_are_those_with_an_address() {
        let text = "10.222.2.1 dev antrea-gw0 lladdr aa:bb:cc:dd:ee:ff STALE\n10.222.0.1 dev antrea-gw0 FAILED\n\
                    fe80::1 dev antrea-gw0 lladdr aa:bb:cc:dd:ee:ff router STALE\n";
        let neighbours = parse_neighbours(text).unwrap();
        assert_eq!(neighbours.len(), 1);
        assert!(parse_neighbours("what is this\n").is_err());
    }

    #[test]
    fn a_labs_rules_and_its_cluster_say_the_same() {
        let cluster = Cluster::parse("article", include_str!("../../labs/article.yaml")).unwrap();
        let nat = Nat::of(&cluster);
        assert_eq!(Nat::of_nft(&crate::lab::kube_proxy::ruleset(&cluster)), nat);
        let endpoints = nat.endpoints([10, 104, 65, 133].into(), 6, 80).unwrap();
        assert_eq!(endpoints.first().unwrap().to_string(), "10.222.1.47:80");
        let (frontend, backend) = ([10, 222, 1, 48].into(), [10, 222, 1, 47].into());
        assert!(!nat.masquerades(frontend, backend));
        assert!(nat.masquerades(backend, backend) && nat.masquerades([10, 79, 1, 201].into(), backend));
    }
}
