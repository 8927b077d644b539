//! From Kubernetes objects to a [`Cluster`], collecting every problem on the way.
//!
//! Each object is first turned into a value by itself; what depends on other objects (names,
//! addresses, subnets taken twice, a pod's node) is judged when all are there, so that their order
//! in the file means nothing. Of two that collide, the one that stands later is blamed.

use super::load::{Body, Object};
use super::problem::{Problem, ProblemKind};
use super::{Cluster, Node, ObjectName, Pod, Protocol, Service, ServicePort, TargetPort};
use crate::config::{GATEWAY_PORT, GLOBAL_VIRTUAL_MAC};
use crate::subnet::Subnet;
use footbridge_openflow::{MacAddr, PortNo};
use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};

const GATEWAY_MAC: &str = "footbridge.io/gateway-mac";
const INTERFACE: &str = "footbridge.io/interface";
const MAC: &str = "footbridge.io/mac";
const OFPORT: &str = "footbridge.io/ofport";

/// IFNAMSIZ less the terminating zero.
const INTERFACE_NAME_MAX: usize = 15;

/// Build the cluster; problems are added to `problems`.
pub(super) fn cluster(objects: Vec<Object>, problems: &mut Vec<Problem>) -> Cluster {
    let mut seen = Seen::default();
    for object in objects {
        let mut at = At { line: object.line, column: object.column, object: None, problems };
        match object.body {
            Body::Node(node) => {
                if let Some(node) = parse_node(&node, &mut at) {
                    seen.add_node(node, at);
                }
            }
            Body::Pod(pod) => {
                if let Some(pod) = parse_pod(&pod, &mut at) {
                    seen.add_pod(pod, at);
                }
            }
            Body::Service(service) => {
                if let Some(service) = parse_service(&service, &mut at) {
                    seen.add_service(service, at);
                }
            }
            Body::NetworkPolicy { namespace, name } => match name {
                Some(name) => seen.cluster.unenforced_policies.push(ObjectName {
                    namespace: namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
                    name,
                }),
                None => at.blame(ProblemKind::NoName),
            },
        }
    }
    seen.check_subnets(problems);
    seen.check_pods(problems);
    seen.cluster.unenforced_policies.sort();
    seen.cluster
}

/// One node by itself; or all that is wrong with it.
pub(super) fn node(object: &v1::Node) -> Result<Node, Vec<ProblemKind>> {
    let mut problems = Vec::new();
    let node = parse_node(object, &mut At { line: 1, column: 1, object: None, problems: &mut problems });
    match node {
        Some(node) if problems.is_empty() => Ok(node),
        _ => Err(problems.into_iter().map(|problem| problem.kind).collect()),
    }
}

const DEFAULT_NAMESPACE: &str = "default";

/// What Kubernetes lets an object be called.
struct NameForm {
    fits: fn(&str) -> bool,
    allowed: &'static str,
}

/// RFC 1123 §2.1, as Kubernetes reads it.
const LABEL: NameForm = NameForm {
    fits: |name| name.len() <= 63 && is_label(name),
    allowed: "1 to 63 of a-z, 0-9 and '-', with '-' at neither end",
};

/// Labels with dots between.
const SUBDOMAIN: NameForm = NameForm {
    fits: |name| name.len() <= 253 && name.split('.').all(is_label),
    allowed: "up to 253 of a-z, 0-9, '-' and '.', with '-' and '.' at neither end and next to no '.'",
};

fn is_label(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(good) && !text.starts_with('-') && !text.ends_with('-')
}

/// Where an object stands and what it is called, to blame it.
struct At<'a> {
    line: u64,
    column: u64,
    object: Option<String>,
    problems: &'a mut Vec<Problem>,
}

impl At<'_> {
    fn blame(&mut self, kind: ProblemKind) {
        let object = self.object.clone();
        self.problems.push(Problem { line: self.line, column: self.column, object, kind });
    }

    /// Whether a name, which becomes part of paths and of hosts files, has its form.
    fn name(&mut self, what: &'static str, name: &str, form: &NameForm) -> bool {
        let good = (form.fits)(name);
        if !good {
            self.blame(ProblemKind::BadName { what, name: name.to_owned(), allowed: form.allowed });
        }
        good
    }

    fn annotation(&mut self, annotation: &'static str, why: impl ToString) {
        self.blame(ProblemKind::Annotation { annotation, why: why.to_string() });
    }

    fn mac(&mut self, metadata: &ObjectMeta, annotation: &'static str) -> Option<MacAddr> {
        let text = annotation_of(metadata, annotation)?;
        let mac: MacAddr = text.parse().map_err(|error| self.annotation(annotation, error)).ok()?;
        if mac.is_multicast() || mac == MacAddr::default() {
            self.annotation(annotation, format_args!("{mac} is no unicast address"));
            return None;
        }
        if mac == GLOBAL_VIRTUAL_MAC {
            self.blame(ProblemKind::VirtualMac(mac));
            return None;
        }
        Some(mac)
    }
}

fn annotation_of<'a>(metadata: &'a ObjectMeta, annotation: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(annotation).map(String::as_str)
}

fn parse_node(node: &v1::Node, at: &mut At<'_>) -> Option<Node> {
    let Some(name) = node.metadata.name.clone().filter(|name| !name.is_empty()) else {
        at.blame(ProblemKind::NoName);
        return None;
    };
    at.object = Some(format!("Node {}", name.escape_debug()));
    at.name("metadata.name", &name, &SUBDOMAIN).then_some(())?;
    let spec = node.spec.as_ref();
    let cidrs = spec.and_then(|s| s.pod_cidrs.as_deref()).unwrap_or_default();
    let cidrs = cidrs.iter().chain(spec.and_then(|s| s.pod_cidr.as_ref()));
    // A dual-stack node has an IPv6 subnet too, which this milestone leaves alone.
    let ipv4 = cidrs.map(String::as_str).find(|text| !text.is_empty() && !text.contains(':'));
    let subnet =
        ipv4.and_then(|text| text.parse().map_err(|error| at.blame(ProblemKind::Subnet(error))).ok());
    if let Some(subnet) =
        subnet.filter(|subnet: &Subnet| NOBODYS.iter().any(|nobodys| subnet.overlaps(*nobodys)))
    {
        at.blame(ProblemKind::NobodysSubnet(subnet));
    }
    let addresses = node.status.as_ref().and_then(|s| s.addresses.as_deref()).unwrap_or_default();
    let of_type = |wanted: &'static str| addresses.iter().filter(move |a| a.type_ == wanted);
    let mut address = None;
    for v1::NodeAddress { address: text, .. } in of_type("InternalIP").chain(of_type("ExternalIP")) {
        match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(found)) if is_nobodys(found) => at.blame(ProblemKind::NobodysAddress(found)),
            Ok(IpAddr::V4(found)) => address = address.or(Some(found)),
            Ok(IpAddr::V6(_)) => {}
            Err(_) => at.blame(ProblemKind::Address(text.to_owned())),
        }
    }
    let gateway_mac = at.mac(&node.metadata, GATEWAY_MAC);
    Some(Node { name, uid: node.metadata.uid.clone().unwrap_or_default(), subnet, address, gateway_mac })
}

/// Where no host has its address (RFC 6890): "this network", loopback, and multicast and reserved together.
const NOBODYS: [Subnet; 3] = [
    Subnet::constant(Ipv4Addr::new(0, 0, 0, 0), 8),
    Subnet::constant(Ipv4Addr::new(127, 0, 0, 0), 8),
    Subnet::constant(Ipv4Addr::new(224, 0, 0, 0), 3),
];

fn is_nobodys(address: Ipv4Addr) -> bool {
    NOBODYS.iter().any(|subnet| subnet.contains(address))
}

/// None also for the pods that have no place on the pod network: not scheduled, without an
/// address yet, on the host's network, or finished.
fn parse_pod(pod: &v1::Pod, at: &mut At<'_>) -> Option<Pod> {
    let name = object_name("Pod", &pod.metadata, at)?;
    let spec = pod.spec.as_ref()?;
    let status = pod.status.as_ref()?;
    let node = spec.node_name.clone().filter(|node| !node.is_empty())?;
    let finished = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if spec.host_network == Some(true) || finished {
        return None;
    }
    let text = status.pod_ip.as_deref().filter(|text| !text.is_empty())?;
    let Ok(address) = text.parse::<Ipv4Addr>() else {
        at.blame(ProblemKind::Address(text.to_owned()));
        return None;
    };
    let interface = annotation_of(&pod.metadata, INTERFACE).map(str::to_owned);
    if let Some(why) = interface.as_deref().and_then(refuse_interface) {
        at.annotation(INTERFACE, why);
    }
    let ofport = annotation_of(&pod.metadata, OFPORT).and_then(|text| {
        let number =
            text.parse().ok().filter(|n| (GATEWAY_PORT.0 + 1..=PortNo::MAX.0).contains(&u32::from(*n)));
        if number.is_none() {
            at.annotation(OFPORT, format_args!("'{text}' is no port number from 3 to {}", PortNo::MAX.0));
        }
        number
    });
    let named = |c: &v1::Container| -> Vec<(String, u16)> {
        let ports = c.ports.iter().flatten();
        ports.filter_map(|p| Some((p.name.clone()?, u16::try_from(p.container_port).ok()?))).collect()
    };
    let conditions = status.conditions.iter().flatten();
    let mac = at.mac(&pod.metadata, MAC);
    Some(Pod {
        name,
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        node,
        address,
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        ports: spec.containers.iter().flat_map(named).collect(),
        ready: conditions.filter(|c| c.type_ == "Ready").all(|c| c.status == "True"),
        interface,
        mac,
        ofport,
    })
}

/// Why the name can't be an interface's here: Linux takes more (dev_valid_name in net/core/dev.c),
/// but nftables' chains and OpenFlow's text name the interface too.
fn refuse_interface(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > INTERFACE_NAME_MAX {
        return Some(format!("'{name}' is no interface name: those have 1 to {INTERFACE_NAME_MAX} bytes"));
    }
    let bad = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-');
    if name == "." || name == ".." || name.contains(bad) {
        let name = name.escape_debug();
        return Some(format!("'{name}' is no interface name: letters, digits, '.', '_' and '-' make one"));
    }
    None
}

/// None also for services without a ClusterIP: headless ones and external names.
fn parse_service(service: &v1::Service, at: &mut At<'_>) -> Option<Service> {
    let name = object_name("Service", &service.metadata, at)?;
    let spec = service.spec.as_ref()?;
    let external = spec.type_.as_deref() == Some("ExternalName");
    let text = spec.cluster_ip.as_deref().filter(|text| !external && !text.is_empty() && *text != "None")?;
    let Ok(cluster_ip) = text.parse::<Ipv4Addr>() else {
        at.blame(ProblemKind::Address(text.to_owned()));
        return None;
    };
    let mut ports = Vec::new();
    for port in spec.ports.iter().flatten() {
        let number = |n: i32| u16::try_from(n).ok().filter(|n| *n != 0);
        let Some(outer) = number(port.port) else {
            at.blame(ProblemKind::Service(format!("port {} is not 1 to 65535", port.port)));
            continue;
        };
        let target = match &port.target_port {
            None | Some(IntOrString::Int(0)) => TargetPort::Number(outer),
            Some(IntOrString::Int(n)) => match number(*n) {
                Some(n) => TargetPort::Number(n),
                None => {
                    at.blame(ProblemKind::Service(format!("targetPort {n} is not 1 to 65535")));
                    continue;
                }
            },
            Some(IntOrString::String(name)) => TargetPort::Name(name.clone()),
        };
        let protocol = match port.protocol.as_deref() {
            None | Some("TCP") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            Some(other) => {
                at.blame(ProblemKind::Service(format!("protocol '{other}' is not TCP, UDP or SCTP")));
                continue;
            }
        };
        ports.push(ServicePort { name: port.name.clone(), protocol, port: outer, target });
    }
    Some(Service { name, cluster_ip, selector: spec.selector.clone().unwrap_or_default(), ports })
}

fn object_name(kind: &str, metadata: &ObjectMeta, at: &mut At<'_>) -> Option<ObjectName> {
    let Some(name) = metadata.name.clone().filter(|name| !name.is_empty()) else {
        at.blame(ProblemKind::NoName);
        return None;
    };
    let namespace = metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let name = ObjectName { namespace, name };
    at.object = Some(format!("{kind} {name}").escape_debug().to_string());
    let form = if kind == "Service" { &LABEL } else { &SUBDOMAIN };
    let good = at.name("metadata.name", &name.name, form);
    (at.name("metadata.namespace", &name.namespace, &LABEL) && good).then_some(name)
}

/// The objects so far, and who has which name and address.
#[derive(Default)]
struct Seen {
    cluster: Cluster,
    places: HashMap<String, (u64, u64)>,
    addresses: HashMap<Ipv4Addr, (String, u64)>,
}

impl Seen {
    /// Whether the object's name is new; if not, it is blamed.
    fn name(&mut self, at: &mut At<'_>) -> bool {
        let title = at.object.clone().unwrap_or_default();
        match self.places.get(&title) {
            Some((first_line, _)) => {
                at.blame(ProblemKind::DefinedTwice { first_line: *first_line });
                false
            }
            None => {
                self.places.insert(title, (at.line, at.column));
                true
            }
        }
    }

    fn address(&mut self, address: Ipv4Addr, at: &mut At<'_>) {
        let title = at.object.clone().unwrap_or_default();
        match self.addresses.get(&address) {
            Some((other, line)) => {
                at.blame(ProblemKind::AddressTaken { address, other: other.clone(), other_line: *line });
            }
            None => drop(self.addresses.insert(address, (title, at.line))),
        }
    }

    fn add_node(&mut self, node: Node, mut at: At<'_>) {
        if self.name(&mut at) {
            if let Some(address) = node.address {
                self.address(address, &mut at);
            }
            self.cluster.nodes.insert(node.name.clone(), node);
        }
    }

    fn add_pod(&mut self, pod: Pod, mut at: At<'_>) {
        if self.name(&mut at) {
            self.address(pod.address, &mut at);
            self.cluster.pods.insert(pod.name.clone(), pod);
        }
    }

    fn add_service(&mut self, service: Service, mut at: At<'_>) {
        if self.name(&mut at) {
            self.address(service.cluster_ip, &mut at);
            self.cluster.services.insert(service.name.clone(), service);
        }
    }

    fn place(&self, title: &str) -> (u64, u64) {
        self.places.get(title).copied().unwrap_or((1, 1))
    }

    /// Subnets sorted by network: an overlap is always with a neighbour in that order, or with the
    /// widest before it.
    fn check_subnets(&self, problems: &mut Vec<Problem>) {
        let mut subnets: Vec<(Subnet, &str)> =
            self.cluster.nodes.values().filter_map(|n| Some((n.subnet?, n.name.as_str()))).collect();
        subnets.sort_by_key(|(subnet, name)| (subnet.network(), subnet.prefix(), *name));
        let mut widest: Option<(Subnet, &str)> = None;
        for (subnet, name) in subnets {
            match widest {
                Some((other_subnet, other)) if other_subnet.overlaps(subnet) => {
                    let mut pair = [(subnet, name), (other_subnet, other)];
                    pair.sort_by_key(|(_, name)| self.place(&format!("Node {name}")));
                    let [(first_subnet, first), (second_subnet, second)] = pair;
                    let (line, column) = self.place(&format!("Node {second}"));
                    let (other_line, _) = self.place(&format!("Node {first}"));
                    let kind = ProblemKind::SubnetsOverlap {
                        subnet: second_subnet,
                        other: first.to_owned(),
                        other_subnet: first_subnet,
                        other_line,
                    };
                    problems.push(Problem { line, column, object: Some(format!("Node {second}")), kind });
                }
                _ => widest = Some((subnet, name)),
            }
        }
    }

    fn check_pods(&self, problems: &mut Vec<Problem>) {
        let mut taken: BTreeMap<(&str, &'static str, String), (String, u64)> = BTreeMap::new();
        for node in self.cluster.nodes.values() {
            if let Some(mac) = node.gateway_mac {
                let title = format!("the gateway of node {}", node.name);
                let (line, _) = self.place(&format!("Node {}", node.name));
                taken.insert((&node.name, "MAC address", mac.to_string()), (title, line));
            }
        }
        // By line, so that the later of two is blamed.
        let mut pods: Vec<(u64, u64, String, &Pod)> = self
            .cluster
            .pods
            .values()
            .map(|pod| {
                let title = format!("Pod {}", pod.name);
                let (line, column) = self.place(&title);
                (line, column, title, pod)
            })
            .collect();
        pods.sort_by_key(|(line, column, ..)| (*line, *column));
        for (line, column, title, pod) in pods {
            let mut blame = |kind| problems.push(Problem { line, column, object: Some(title.clone()), kind });
            match self.cluster.nodes.get(&pod.node) {
                None => blame(ProblemKind::UnknownNode(pod.node.clone())),
                Some(Node { subnet: Some(subnet), .. }) => {
                    if let Some(kind) = misplaced(pod, *subnet) {
                        blame(kind);
                    }
                }
                Some(_) => {}
            }
            let claims = [
                ("interface", pod.interface.clone()),
                ("MAC address", pod.mac.map(|mac| mac.to_string())),
                ("port", pod.ofport.map(|port| port.to_string())),
            ];
            for (what, value) in claims {
                let Some(value) = value else { continue };
                let key = (pod.node.as_str(), what, value.clone());
                match taken.get(&key) {
                    Some((other, other_line)) => blame(ProblemKind::TakenOnNode {
                        what,
                        value,
                        other: other.clone(),
                        other_line: *other_line,
                    }),
                    None => drop(taken.insert(key, (title.clone(), line))),
                }
            }
        }
    }
}

/// What is wrong with the pod's address in its node's subnet.
fn misplaced(pod: &Pod, subnet: Subnet) -> Option<ProblemKind> {
    let address = pod.address;
    let reserved = |what| Some(ProblemKind::ReservedAddress { address, what, subnet });
    if !subnet.contains(address) {
        Some(ProblemKind::OutsideSubnet { address, node: pod.node.clone(), subnet })
    } else if address == subnet.network() {
        reserved("network")
    } else if address == subnet.gateway() {
        reserved("gateway")
    } else if address == subnet.broadcast() {
        reserved("broadcast")
    } else {
        None
    }
}
