//! Who plays which part in the steps.

use crate::lab::Lab;
use crate::lab::plan::PodPlan;
use footbridge_node::cluster::{Cluster, Protocol, Service};
use footbridge_node::identity;
use std::net::{Ipv4Addr, SocketAddrV4};

/// The parts. In the article: worker1, its frontend pod, backendsvc.
pub(crate) struct Cast {
    /// The node that most is looked at.
    pub(crate) here: String,
    /// Its gateway's address.
    pub(crate) gateway: Ipv4Addr,
    /// Its gateway's MAC.
    pub(crate) gateway_mac: [u8; 6],
    /// A pod on it.
    pub(crate) client: Option<PodPlan>,
    /// A service whose endpoints the client calls.
    pub(crate) service: Option<Called>,
    /// A pod on another node; an endpoint of the service, if there is one.
    pub(crate) remote: Option<PodPlan>,
}

/// A service and where it leads.
pub(crate) struct Called {
    /// What pods call it.
    pub(crate) name: String,
    /// Its address and port.
    pub(crate) at: SocketAddrV4,
    /// Its endpoints and their ports.
    pub(crate) endpoints: Vec<(PodPlan, u16)>,
}

impl Called {
    /// What curl is given inside a pod.
    pub(crate) fn url(&self) -> String {
        match self.at.port() {
            80 => self.name.clone(),
            port => format!("{}:{port}", self.name),
        }
    }
}

impl Cast {
    /// The best cast that the cluster has: a TCP service with endpoints on two nodes, called by a pod
    /// that is none of them, on a node that has one.
    pub(crate) fn of(lab: &Lab) -> Cast {
        let mut services: Vec<(Called, &Service)> =
            lab.cluster.services.values().filter_map(|s| Some((called(lab, s)?, s))).collect();
        services.sort_by_key(|(called, _)| std::cmp::Reverse(nodes(called).len()));
        let best = services.into_iter().next();
        let client = client(lab, best.as_ref());
        let here = client
            .as_ref()
            .map(|pod| pod.node.clone())
            .or_else(|| lab.plan.nodes.keys().next().cloned())
            .unwrap_or_default();
        let service = best.map(|(called, _)| called);
        let remote = service
            .iter()
            .flat_map(|s| s.endpoints.iter().map(|(pod, _)| pod))
            .chain(lab.plan.pods.values())
            .find(|pod| pod.node != here)
            .cloned();
        let gateway = lab.plan.nodes.get(&here).map_or(Ipv4Addr::UNSPECIFIED, |n| n.subnet.gateway());
        let gateway_mac = gateway_mac(&lab.cluster, &here);
        Cast { here, gateway, gateway_mac, client, service, remote }
    }
}

/// The MAC of a node's gateway.
pub(crate) fn gateway_mac(cluster: &Cluster, node: &str) -> [u8; 6] {
    cluster.nodes.get(node).map_or([0; 6], |node| identity::gateway_mac(node).0)
}

fn called(lab: &Lab, service: &Service) -> Option<Called> {
    let port = service.ports.iter().find(|p| p.protocol == Protocol::Tcp)?;
    let endpoints: Vec<(PodPlan, u16)> = lab
        .cluster
        .endpoints(service, port)
        .filter_map(|(_, at)| {
            Some((lab.plan.pods.values().find(|p| p.address == *at.ip())?.clone(), at.port()))
        })
        .collect();
    let called = Called {
        name: service.name.name.clone(),
        at: SocketAddrV4::new(service.cluster_ip, port.port),
        endpoints,
    };
    (!called.endpoints.is_empty()).then_some(called)
}

fn nodes(called: &Called) -> std::collections::BTreeSet<&str> {
    called.endpoints.iter().map(|(pod, _)| pod.node.as_str()).collect()
}

fn client(lab: &Lab, service: Option<&(Called, &Service)>) -> Option<PodPlan> {
    let pods = lab.plan.pods.values();
    match service {
        None => pods.min_by_key(|pod| pod.ports.len()).cloned(),
        Some((called, service)) => {
            let is_endpoint = |pod: &PodPlan| called.endpoints.iter().any(|(e, _)| e.name == pod.name);
            let neighbours = |pod: &PodPlan| {
                lab.cluster
                    .pods
                    .values()
                    .any(|p| p.address == pod.address && p.name.namespace == service.name.namespace)
            };
            pods.max_by_key(|pod| {
                (!is_endpoint(pod), neighbours(pod), nodes(called).contains(pod.node.as_str()))
            })
            .cloned()
        }
    }
}
