//! What a cluster means as namespaces, devices and addresses. Pure.
//!
//! A node becomes a namespace with an uplink on the underlay, a pod a namespace with a veth pair to
//! its node. Names are unique across nodes and pods, because `lab exec` takes either.

use super::LabError;
use super::netns::Namespace;
use footbridge_node::cluster::{Cluster, Pod};
use footbridge_node::identity;
use footbridge_node::subnet::Subnet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The node's device on the underlay.
pub(crate) const UPLINK: &str = "ens160";
/// The gateway's device on each node.
pub(crate) const GATEWAY: &str = "antrea-gw0";
/// The pod's device.
pub(crate) const POD_DEVICE: &str = "eth0";
/// The bridge in the underlay's namespace.
pub(crate) const UNDERLAY_BRIDGE: &str = "underlay";
/// MTU of the underlay.
pub(crate) const UNDERLAY_MTU: u32 = 1500;
/// MTU of pods: the underlay's less the tunnel's 50 bytes.
pub(crate) const POD_MTU: u32 = UNDERLAY_MTU - 50;
/// Prefix length of the underlay.
const UNDERLAY_PREFIX: u8 = 24;

/// Everything the lab makes for one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The lab's name.
    pub(crate) lab: String,
    /// The underlay's subnet; its first address is the default gateway of all nodes.
    pub(crate) underlay: Subnet,
    /// Nodes by name.
    pub(crate) nodes: BTreeMap<String, NodePlan>,
    /// Pods by the name the lab calls them.
    pub(crate) pods: BTreeMap<String, PodPlan>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodePlan {
    /// Its name.
    pub(crate) name: String,
    /// Its network namespace.
    pub(crate) namespace: Namespace,
    /// Its address on the underlay.
    pub(crate) address: Ipv4Addr,
    /// Its pods' subnet.
    pub(crate) subnet: Subnet,
    /// The underlay's end of its uplink.
    pub(crate) port: String,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodPlan {
    /// What the lab calls it: its name, or `NAMESPACE.NAME` when another thing has that name.
    pub(crate) name: String,
    /// Its host name.
    pub(crate) hostname: String,
    /// Its network namespace.
    pub(crate) namespace: Namespace,
    /// The node it is on.
    pub(crate) node: String,
    /// The host end of its veth pair.
    pub(crate) interface: String,
    /// Its MAC.
    pub(crate) mac: [u8; 6],
    /// Its address.
    pub(crate) address: Ipv4Addr,
    /// The subnet of its node.
    pub(crate) subnet: Subnet,
    /// TCP ports that services lead to: its web server answers there.
    pub(crate) ports: Vec<u16>,
}

impl Plan {
    /// What the lab called `lab` makes for the cluster.
    ///
    /// # Errors
    /// What the lab can't do: a node that lacks its subnet or address, nodes that are not in one /24,
    /// a name it needs itself.
    pub(crate) fn of(lab: &str, cluster: &Cluster) -> Result<Plan, LabError> {
        let mut nodes = BTreeMap::new();
        for node in cluster.nodes.values() {
            let name = node.name.clone();
            let (Some(subnet), Some(address)) = (node.subnet, node.address) else {
                return Err(LabError::Plan(format!(
                    "node {name} has no spec.podCIDR or no InternalIP; a lab's node needs both"
                )));
            };
            if name == "underlay" {
                return Err(LabError::Plan(
                    "a node can't be called underlay: the lab calls its underlay so".into(),
                ));
            }
            let namespace = namespace(lab, &name);
            let port = format!("uplink-{}", address.octets()[3]);
            nodes.insert(name.clone(), NodePlan { name, namespace, address, subnet, port });
        }
        let underlay = underlay(&nodes)?;
        let counts = pod_name_counts(cluster);
        let mut pods = BTreeMap::new();
        for pod in cluster.pods.values() {
            let Some(node) = nodes.get(&pod.node) else {
                return Err(LabError::Plan(format!(
                    "pod {} is on node {}, which is not in the file",
                    pod.name, pod.node
                )));
            };
            let unique = counts.get(pod.name.name.as_str()) == Some(&1)
                && !nodes.contains_key(&pod.name.name)
                && pod.name.name != "underlay";
            let name = match unique {
                true => pod.name.name.clone(),
                false => format!("{}.{}", pod.name.namespace, pod.name.name),
            };
            let plan = PodPlan {
                namespace: namespace(lab, &name),
                name: name.clone(),
                hostname: pod.name.name.clone(),
                node: node.name.clone(),
                interface: identity::interface_name(pod),
                mac: identity::pod_mac(pod).0,
                address: pod.address,
                subnet: node.subnet,
                ports: served_ports(cluster, pod),
            };
            pods.insert(name, plan);
        }
        Ok(Plan { lab: lab.to_owned(), underlay, nodes, pods })
    }

    /// The underlay's namespace.
    pub(crate) fn underlay_namespace(&self) -> Namespace {
        namespace(&self.lab, "underlay")
    }

    /// The pods of a node.
    pub(crate) fn pods_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a PodPlan> {
        self.pods.values().filter(move |pod| pod.node == node)
    }

    /// The pod's `/etc/hosts`: itself and the services.
    pub(crate) fn pod_hosts(&self, pod: &PodPlan, cluster: &Cluster) -> String {
        let mut text = format!("127.0.0.1\tlocalhost\n{}\t{}\n", pod.address, pod.hostname);
        for service in cluster.services.values() {
            let (name, namespace) = (&service.name.name, &service.name.namespace);
            text += &format!("{}\t{name} {name}.{namespace} {name}.{namespace}.svc\n", service.cluster_ip);
        }
        text
    }

    /// A node's `/etc/hosts`: the nodes.
    pub(crate) fn node_hosts(&self) -> String {
        let mut text = String::from("127.0.0.1\tlocalhost\n");
        for node in self.nodes.values() {
            text += &format!("{}\t{}\n", node.address, node.name);
        }
        text
    }
}

/// Refuse a cluster with a service outside the subnet: the agents would take its address for a host's.
pub(crate) fn require_services_inside(cluster: &Cluster, service_cidr: Subnet) -> Result<(), LabError> {
    let outside = cluster.services.values().find(|service| !service_cidr.contains(service.cluster_ip));
    outside.map_or(Ok(()), |service| {
        Err(LabError::ServiceOutside {
            name: service.name.to_string(),
            cluster_ip: service.cluster_ip,
            service_cidr,
        })
    })
}

fn namespace(lab: &str, member: &str) -> Namespace {
    Namespace::named(format!("fb-{lab}-{member}"))
}

fn underlay(nodes: &BTreeMap<String, NodePlan>) -> Result<Subnet, LabError> {
    let first = nodes.values().next().ok_or_else(|| LabError::Plan("the file has no node".into()))?;
    let subnet = Subnet::containing(first.address, UNDERLAY_PREFIX)
        .ok_or_else(|| LabError::Plan(format!("{} lies in no /{UNDERLAY_PREFIX}", first.address)))?;
    for node in nodes.values() {
        if !subnet.contains(node.address) || node.address == subnet.gateway() {
            return Err(LabError::Plan(format!(
                "node {} has address {}: a lab's nodes are in one subnet, here {subnet}, whose first address is the default gateway",
                node.name, node.address
            )));
        }
    }
    Ok(subnet)
}

fn pod_name_counts(cluster: &Cluster) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for pod in cluster.pods.values() {
        *counts.entry(pod.name.name.as_str()).or_default() += 1;
    }
    counts
}

fn served_ports(cluster: &Cluster, pod: &Pod) -> Vec<u16> {
    let mut ports = BTreeSet::new();
    for service in cluster.services.values() {
        for port in service.ports.iter().filter(|p| p.protocol == footbridge_node::cluster::Protocol::Tcp) {
            ports.extend(
                cluster.endpoints(service, port).filter(|(p, _)| p.name == pod.name).map(|(_, at)| at.port()),
            );
        }
    }
    ports.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, LabError> {
        Plan::of("lab", &Cluster::parse("test", text).unwrap())
    }

    fn article() -> Plan {
        plan(include_str!("../../labs/article.yaml")).unwrap()
    }

    fn node(name: &str, cidr: &str, address: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\nspec: {{podCIDR: {cidr}}}\n\
             status: {{addresses: [{{type: InternalIP, address: {address}}}]}}\n---\n"
        )
    }

    fn pod(namespace: &str, name: &str, address: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
             spec: {{nodeName: a, containers: [{{name: main}}]}}\nstatus: {{podIP: {address}}}\n---\n"
        )
    }

    #[test]
    fn the_article_has_its_names_and_addresses() {
        let plan = article();
        assert_eq!(plan.nodes.keys().collect::<Vec<_>>(), ["master", "worker1", "worker2"]);
        let frontend = &plan.pods["frontend"];
        assert_eq!(frontend.namespace.name(), "fb-lab-frontend");
        assert_eq!(frontend.interface, "frontend-a3ba2f");
        assert_eq!(frontend.mac, [0xbe, 0x2c, 0xbf, 0xe4, 0xec, 0xc5]);
        assert_eq!(plan.underlay.gateway(), Ipv4Addr::new(10, 79, 1, 1));
    }

    #[test]
    fn only_endpoints_serve() {
        let plan = article();
        assert_eq!(plan.pods["backend1"].ports, [80]);
        assert!(plan.pods["frontend"].ports.is_empty());
    }

    #[test]
    fn pods_of_one_name_are_told_apart_by_their_namespace() {
        let text = node("a", "10.1.0.0/24", "10.9.0.2")
            + &pod("x", "web", "10.1.0.2")
            + &pod("y", "web", "10.1.0.3");
        let plan = plan(&text).unwrap();
        assert_eq!(plan.pods.keys().collect::<Vec<_>>(), ["x.web", "y.web"]);
        assert_eq!(plan.pods["x.web"].hostname, "web");
    }

    #[test]
    fn a_pod_called_like_a_node_is_called_by_its_namespace_too() {
        let plan = plan(&(node("a", "10.1.0.0/24", "10.9.0.2") + &pod("x", "a", "10.1.0.2"))).unwrap();
        assert_eq!(plan.pods.keys().collect::<Vec<_>>(), ["x.a"]);
    }

    #[test]
    fn refuses_a_node_at_the_underlays_own_address() {
        let error = plan(&node("a", "10.1.0.0/24", "10.9.0.1")).unwrap_err().to_string();
        assert!(error.contains("node a has address 10.9.0.1"), "{error}");
    }

    #[test]
    fn refuses_a_service_outside_the_service_cidr_and_names_the_argument() {
        let cluster = Cluster::parse("test", include_str!("../../labs/article.yaml")).unwrap();
        assert!(require_services_inside(&cluster, Subnet::DEFAULT_SERVICE_CIDR).is_ok());
        let error = require_services_inside(&cluster, "10.200.0.0/16".parse().unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "service default/backendsvc has ClusterIP 10.104.65.133, which is not in the service CIDR 10.200.0.0/16: \
             say where the cluster has its ClusterIPs with --service-cidr"
        );
    }

    #[test]
    fn pods_find_services_by_name() {
        let cluster = Cluster::parse("test", include_str!("../../labs/article.yaml")).unwrap();
        let plan = article();
        assert_eq!(
            plan.pod_hosts(&plan.pods["frontend"], &cluster),
            "127.0.0.1\tlocalhost\n10.222.1.48\tfrontend\n10.104.65.133\tbackendsvc backendsvc.default backendsvc.default.svc\n"
        );
    }
}
