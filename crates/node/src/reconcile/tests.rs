#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use super::*;
use crate::host::Link as Device;
use footbridge_datapath::{
    Attachment, Change, Datapath, DropCounts, Error, FlowStatistics, Flows, Link, PacketInSink, PacketOut,
    PortSpec, PortStatus, TableStatistics, Traffic,
};
use footbridge_openflow::PortNo;
use footbridge_pipeline::conntrack::Connection;
use footbridge_pipeline::fdb::FdbEntry;
use footbridge_pipeline::{Entry, Pipeline};
use footbridge_switch::Bridge;
use rtnetlink::packet_core::NetlinkPayload;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn policies<const N: usize>(names: [&str; N]) -> BTreeSet<ObjectName> {
    let policy = |name: &str| ObjectName { namespace: "default".to_owned(), name: name.to_owned() };
    names.into_iter().map(policy).collect()
}

#[test]
fn a_policy_that_replaces_another_is_new() {
    assert_eq!(new_names(&policies(["a", "b"]), &policies(["b", "c"])), "default/c");
    assert_eq!(new_names(&policies(["a", "b"]), &policies(["b"])), "");
}

#[test]
fn an_overrun_may_hide_a_device() {
    assert_eq!(judge(&NetlinkPayload::Overrun(Vec::new())), Some(Event::Device));
}

#[test]
fn a_device_made_anew_under_its_name_is_another() {
    let state = state();
    let desired = Desired::of(&state, Wiring::OWN);
    let with_index = |index| {
        let device = Device { index, up: false, mac: None, mtu: 1450, veth_peer: None, in_bridge: false };
        Actual { links: [("frontend-a3ba2f".to_owned(), device)].into(), ..Actual::default() }
    };
    assert_eq!(bridge_sides(&desired, &with_index(7)), [("frontend-a3ba2f".to_owned(), 7)].into());
    assert_ne!(bridge_sides(&desired, &with_index(7)), bridge_sides(&desired, &with_index(8)));
}

#[tokio::test]
async fn a_port_that_cannot_be_had_keeps_no_other_from_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let state = state();
    let datapath = Fake { no_tunnels: true, ..Fake::default() };
    let bridge = Arc::new(Bridge::new("br-int", Box::new(datapath)).unwrap());
    let store = Store::open(directory.path()).unwrap();
    let own = NodeBridge::Own(Arc::clone(&bridge));
    let mut reconciler = Reconciler::new(state.config.clone(), own, store).unwrap();
    let desired = Desired::of(&state, Wiring::OWN);
    let error = reconciler.attach_ports(&state, &desired, &Actual::default()).await.unwrap_err();
    let refused =
        PassError::Bridge(BridgeError::Port { name: state.config.tunnel.clone(), source: no_tunnel() });
    assert_eq!(error.to_string(), refused.to_string());
    let attached: Vec<String> = bridge.ports().unwrap().into_iter().map(|port| port.name).collect();
    let others = ["antrea-gw0", "coredns--3e3abf", "antrea-o-830766", "backend1-bab86f", "frontend-a3ba2f"];
    assert_eq!(attached, others);
}

/// worker1 of the article's cluster.
fn state() -> NodeState {
    let cluster =
        Cluster::parse("article.yaml", include_str!("../../../footbridge/labs/article.yaml")).unwrap();
    let config = NodeConfig::new("worker1");
    let ports = PortAssignments::default().updated(cluster.pods_on("worker1")).unwrap();
    NodeState::derive(&cluster, &[], &config, &ports, Round::FIRST, &Underlay::default()).unwrap()
}

fn no_tunnel() -> Error {
    Error::NoSuchPort { number: TUNNEL_PORT }
}

/// A datapath that carries nothing, and refuses what it is told to.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) flows: Flows,
    pub(crate) ports: BTreeSet<PortNo>,
    pub(crate) no_tunnels: bool,
    pub(crate) stopped: Arc<AtomicBool>,
}

impl Fake {
    fn going(&self) -> Result<(), Error> {
        if self.stopped.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }
}

impl Datapath for Fake {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn outlives_its_process(&self) -> bool {
        false
    }

    fn detach(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn add_port(&mut self, port: &PortSpec) -> Result<(), Error> {
        self.going()?;
        if self.no_tunnels && matches!(port.attachment, Attachment::Tunnel { .. }) {
            return Err(no_tunnel());
        }
        self.ports.insert(port.number);
        Ok(())
    }

    fn del_port(&mut self, number: PortNo) -> Result<(), Error> {
        self.ports.remove(&number);
        self.going()
    }

    fn refresh_ports(&mut self) -> Result<(), Error> {
        self.going()
    }

    fn flows(&self) -> Flows {
        Arc::clone(&self.flows)
    }

    fn commit(&mut self, _: &Pipeline, _: &Change) -> Result<(), Error> {
        self.going()
    }

    fn set_packet_in_sink(&mut self, _: PacketInSink) -> Result<(), Error> {
        self.going()
    }

    fn punt_misses(&mut self, _: bool) -> Result<(), Error> {
        self.going()
    }

    fn packet_out(&mut self, _: PacketOut) -> Result<(), Error> {
        self.going()
    }

    fn flow_statistics(&self, _: &Entry) -> FlowStatistics {
        FlowStatistics { packets: 0, bytes: 0, last_used: None }
    }

    fn table_statistics(&self, _: &Pipeline) -> Vec<TableStatistics> {
        Vec::new()
    }

    fn ports(&self) -> Result<Vec<PortStatus>, Error> {
        self.going()?;
        let status = |number: &PortNo| PortStatus {
            number: *number,
            link: Link::Up,
            rx: Traffic::default(),
            tx: Traffic::default(),
            drops: DropCounts::default(),
        };
        Ok(self.ports.iter().map(status).collect())
    }

    fn fdb(&self) -> Result<Vec<FdbEntry>, Error> {
        self.going().map(|()| Vec::new())
    }

    fn connections(&self, _: Option<u16>) -> Result<Vec<Connection>, Error> {
        self.going().map(|()| Vec::new())
    }

    fn flush_connections(&mut self, _: Option<u16>) -> Result<usize, Error> {
        self.going().map(|()| 0)
    }

    fn restore_connections(&mut self, _: Vec<Connection>) -> Result<usize, Error> {
        self.going().map(|()| 0)
    }
}
