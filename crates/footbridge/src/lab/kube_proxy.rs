//! kube-proxy's part on a lab's node: one nftables table that sends ClusterIPs to endpoints.
//!
//! DNAT in prerouting (pods) and output (the node itself), endpoints at random. The source stays,
//! because the pods' bridges know pods by it, but for two cases whose answer would miss the node: a
//! source that is no pod, and an endpoint that reached itself (hairpin).

use footbridge_node::cluster::{Cluster, Protocol};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The table's name, in the `ip` family.
pub(crate) const TABLE: &str = "lab-kube-proxy";

/// The whole table as `nft -f` takes it, in place of an older one in one transaction.
pub(crate) fn ruleset(cluster: &Cluster) -> String {
    let mut services = String::new();
    let mut refused = String::new();
    let mut endpoint_addresses: BTreeSet<Ipv4Addr> = BTreeSet::new();
    for service in cluster.services.values() {
        for port in &service.ports {
            let (ip, protocol, number) = (service.cluster_ip, port.protocol.name(), port.port);
            let at = format!("ip daddr {ip} {protocol} dport {number}");
            let endpoints: Vec<_> = cluster.endpoints(service, port).map(|(_, endpoint)| endpoint).collect();
            endpoint_addresses.extend(endpoints.iter().map(|e| *e.ip()));
            match endpoints.as_slice() {
                [] => {
                    let reset = if port.protocol == Protocol::Tcp { " with tcp reset" } else { "" };
                    refused += &format!("    {at} reject{reset}\n");
                }
                [only] => services += &format!("    {at} dnat to {only}\n"),
                several => {
                    let map: Vec<String> = several
                        .iter()
                        .enumerate()
                        .map(|(i, e)| format!("{i} : {} . {}", e.ip(), e.port()))
                        .collect();
                    services += &format!(
                        "    {at} dnat ip to numgen random mod {} map {{ {} }}\n",
                        several.len(),
                        map.join(", ")
                    );
                }
            }
        }
    }
    let hairpins: String = endpoint_addresses
        .iter()
        .map(|ip| format!("    ct status dnat ip saddr {ip} ip daddr {ip} masquerade\n"))
        .collect();
    let pods: Vec<String> = cluster.nodes.values().filter_map(|n| n.subnet).map(|s| s.to_string()).collect();
    let from_elsewhere = match pods.as_slice() {
        [] => String::new(),
        pods => format!("    ct status dnat ip saddr != {{ {} }} masquerade\n", pods.join(", ")),
    };
    format!(
        "table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{
  chain services {{
{services}  }}
  chain no-endpoints {{
{refused}  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat; policy accept;
    jump services
  }}
  chain output {{
    type nat hook output priority -100; policy accept;
    jump services
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
{from_elsewhere}{hairpins}  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    jump no-endpoints
  }}
  chain local-out {{
    type filter hook output priority filter; policy accept;
    jump no-endpoints
  }}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let cluster = Cluster::parse("test", text).unwrap();
        ruleset(&cluster).lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn endpoints_are_chosen_at_random() {
        let lines = lines(include_str!("../../labs/article.yaml"));
        let rule = "ip daddr 10.104.65.133 tcp dport 80 dnat ip to numgen random mod 2 \
                    map { 0 : 10.222.1.47 . 80, 1 : 10.222.2.34 . 80 }";
        assert!(lines.iter().any(|line| line == rule), "{lines:#?}");
    }

    #[test]
    fn only_two_kinds_of_callers_are_masqueraded() {
        let lines = lines(include_str!("../../labs/article.yaml"));
        let masquerading: Vec<&String> = lines.iter().filter(|line| line.ends_with("masquerade")).collect();
        assert_eq!(
            masquerading,
            [
                "ct status dnat ip saddr != { 10.222.0.0/24, 10.222.1.0/24, 10.222.2.0/24 } masquerade",
                "ct status dnat ip saddr 10.222.1.47 ip daddr 10.222.1.47 masquerade",
                "ct status dnat ip saddr 10.222.2.34 ip daddr 10.222.2.34 masquerade",
            ]
        );
    }

    #[test]
    fn a_service_without_endpoints_refuses() {
        let text = include_str!("../../labs/article.yaml")
            .replace("selector: {app: backend}", "selector: {app: none}");
        let lines = lines(&text);
        assert!(
            lines.contains(&"ip daddr 10.104.65.133 tcp dport 80 reject with tcp reset".to_owned()),
            "{lines:#?}"
        );
        assert!(!lines.iter().any(|line| line.contains("dnat to")), "{lines:#?}");
    }
}
