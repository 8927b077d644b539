//! The one loop: what is wanted is compared with what is, and the difference made.
//!
//! # Contract
//!
//! Level-triggered: an event only says "look again". What is wanted follows from the cluster and the
//! state directory, what is from the bridge and the kernel; so a missed event, a restart, a node
//! re-created under its name, a route or a flow deleted by hand all heal by the same path.
//!
//! * Flows first, then the host, then ports; so no port ever opens on a bridge without flows, and
//!   pods are announced (by whoever makes them) after their flows stand. The one exception is a
//!   gateway whose device the bridge makes: the host needs it, and its bridge drops everything until
//!   it has flows.
//! * A cluster that can't be read or has errors changes nothing: the network goes on as it was.
//! * Errors are retried with back-off, and each said once until it goes away or changes.

use crate::back_off::BackOff;
use crate::bridge::{BridgeError, NodeBridge, Role, WantedPort};
use crate::cluster::{self, Cluster, LeftOut, ObjectName, Pod};
use crate::config::{GATEWAY_PORT, GLOBAL_VIRTUAL_MAC, NodeConfig, TUNNEL_PORT};
use crate::host::kernel::{HostError, Kernel};
use crate::host::{self, Actual, Desired, Refusal, Wiring};
use crate::identity::{PortAssignments, PortsExhausted};
use crate::pods::{Network, Pods, Question, Wanted};
use crate::source::ClusterSource;
use crate::state::{NodeState, StateError};
use crate::store::{Store, StoreError};
use crate::tables::{self, Round};
use crate::underlay::Underlay;
use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_route::RouteNetlinkMessage;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often everything is compared without an event: some things change without one.
const RESYNC: Duration = Duration::from_secs(10);

/// Events come in crowds, our own changes' among them: how long to gather them.
const GATHER: Duration = Duration::from_millis(2);

/// The first and the longest wait after an error.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));

/// How often a pass reads back what it changed before it gives up until the next event.
const MAX_READ_BACKS: usize = 6;

/// Why a pass did not reach what is wanted.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// There is no state for this node.
    #[error(transparent)]
    State(#[from] StateError),
    /// Too many pods.
    #[error(transparent)]
    Ports(#[from] PortsExhausted),
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The kernel.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The bridge.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// What was changed is undone by somebody at once.
    #[error("the host does not stay as it is made; still to do after {MAX_READ_BACKS} times: {0}")]
    Unstable(String),
}

/// One node's loop, and what it remembers.
pub struct Reconciler {
    config: NodeConfig,
    bridge: NodeBridge,
    store: Store,
    kernel: Kernel,
    /// The bridge's devices, with their indices, when the kernel's firewall was last read.
    bridge_sides: BTreeMap<String, u32>,
    ports: PortAssignments,
    round: Round,
    round_stored: bool,
    cluster: Option<Cluster>,
    pods: Arc<Pods>,
    /// What the CNI's pods have to know, once it is known.
    network: Option<Network>,
    said: Said,
}

/// What was said already, so that it is said once.
#[derive(Default)]
struct Said {
    error: Option<String>,
    cluster: Option<String>,
    waiting: BTreeSet<String>,
    unusable: BTreeSet<String>,
    unenforced: BTreeSet<ObjectName>,
    left_out: BTreeMap<String, LeftOut>,
    absent: BTreeSet<String>,
    refused: BTreeSet<String>,
}

impl Reconciler {
    /// A loop for `bridge`, in the calling thread's network namespace, within a tokio runtime.
    ///
    /// # Errors
    /// The state directory or the kernel.
    pub fn new(config: NodeConfig, bridge: NodeBridge, store: Store) -> Result<Reconciler, PassError> {
        let ports = store.ports()?;
        let round = store.round()?.map_or(Round::FIRST, Round::next);
        let pods = Pods::open(store.directory())?;
        let kernel = Kernel::open()?;
        Ok(Reconciler {
            config,
            bridge,
            store,
            kernel,
            bridge_sides: BTreeMap::new(),
            ports,
            round,
            round_stored: false,
            cluster: None,
            pods: Arc::new(pods),
            network: None,
            said: Said::default(),
        })
    }

    /// The CNI's pods, which the loop goes by.
    pub fn pods(&self) -> Arc<Pods> {
        Arc::clone(&self.pods)
    }

    /// Make the world as `source` wants it, until dropped. `ready` is called after the first pass
    /// that reached everything.
    pub async fn run(&mut self, mut source: impl ClusterSource, ready: impl FnOnce()) {
        let mut ready = Some(ready);
        let mut events = Events::listen();
        let mut back_off = BackOff::new(BACK_OFF.0, BACK_OFF.1);
        loop {
            self.read_cluster(&mut source);
            let wanted = self.pods.wanted(&self.config.node);
            let passed = self.pass(&wanted).await;
            self.tell_pods(&wanted, &passed);
            let pause = match passed {
                Ok(true) => {
                    back_off.succeeded();
                    if self.said.error.take().is_some() {
                        tracing::info!("all is as it should be again");
                    }
                    if let Some(ready) = ready.take() {
                        ready();
                    }
                    RESYNC
                }
                Ok(false) => RESYNC,
                Err(error) => {
                    self.say_error(&error);
                    self.distrust();
                    back_off.failed()
                }
            };
            tokio::select! {
                () = source.changed() => {}
                () = self.pods.changed() => {}
                // One that comes back only to go again is not to keep us busy.
                () = self.bridge.lost() => tokio::time::sleep(BACK_OFF.0).await,
                what = events.next() => {
                    tokio::time::sleep(GATHER).await;
                    let others = events.drain();
                    if what == Event::Device || others.contains(&Event::Device) {
                        self.distrust();
                    }
                }
                () = tokio::time::sleep(pause) => self.distrust(),
            }
        }
    }

    /// Read again what says nothing when it changes.
    fn distrust(&mut self) {
        self.kernel.distrust_firewall();
        self.bridge.distrust();
    }

    fn read_cluster(&mut self, source: &mut impl ClusterSource) {
        match source.read() {
            Ok(None) => {}
            Ok(Some(cluster)) => {
                if self.said.cluster.take().is_some() {
                    tracing::info!("the cluster can be read again");
                }
                let policies = cluster.unenforced_policies.iter().cloned().collect();
                let new = new_names(&self.said.unenforced, &policies);
                if !new.is_empty() {
                    tracing::warn!(policies = new, "NetworkPolicy objects are not enforced");
                }
                self.said.unenforced = policies;
                self.say_left_out(&cluster);
                self.cluster = Some(cluster);
            }
            Err(error) => {
                let text = error.to_string();
                if self.said.cluster.as_ref() != Some(&text) {
                    tracing::error!("the cluster stays as it was:\n{text}");
                    self.said.cluster = Some(text);
                }
            }
        }
    }

    /// One comparison of everything; whether there was a cluster to compare with.
    async fn pass(&mut self, wanted: &Wanted) -> Result<bool, PassError> {
        let local = wanted.pods.as_slice();
        let Some(cluster) = &self.cluster else { return Ok(false) };
        let ports = self.ports.updated(cluster.pods_on(&self.config.node).chain(local))?;
        let underlay = Underlay::of(&self.kernel.read_devices().await?, &self.config.gateway);
        let state = NodeState::derive(cluster, local, &self.config, &ports, self.round, &underlay)?;
        let mut unsaved = None;
        if ports != self.ports {
            match self.store.save_ports(&ports) {
                Ok(()) => self.ports = ports,
                // A full disk keeps no pod from going: its number is given up later.
                Err(error) if ports.is_part_of(&self.ports) => unsaved = Some(error),
                Err(error) => return Err(error.into()),
            }
        }
        self.say_waiting(&state);
        let wiring = self.bridge.prepare(&self.config.gateway).await?;
        self.answer_questions(&state, local).await;
        let changes = self.bridge.program(&tables::flows(&state)).await?;
        if changes > 0 {
            tracing::info!(changes, "flows changed");
        }
        self.pods.programmed(wanted.generation);
        let (desired, actual) = self.shape_host(&state, wiring).await?;
        self.network = Some(self.network_of(&state, &desired, local));
        self.attach_ports(&state, &desired, &actual).await?;
        if !self.round_stored {
            self.store.save_round(self.round)?;
            self.round_stored = true;
        }
        match unsaved {
            None => Ok(true),
            Some(error) => Err(error.into()),
        }
    }

    /// What the CNI's pods have to know of their node.
    fn network_of(&self, state: &NodeState, desired: &Desired, local: &[Pod]) -> Network {
        let own: BTreeSet<&str> = local.iter().filter_map(|pod| pod.interface.as_deref()).collect();
        let others = || state.pods.iter().filter(|pod| !own.contains(pod.interface.as_str()));
        let macs = others().map(|pod| pod.mac);
        Network {
            subnet: state.subnet,
            mtu: desired.mtu,
            plain_frames: self.bridge.needs_plain_frames(desired.wiring),
            taken: others().map(|pod| pod.address).collect(),
            reserved_macs: macs.chain([state.gateway_mac, GLOBAL_VIRTUAL_MAC]).collect(),
        }
    }

    /// Let those who wait for pods know how far the bridge has followed.
    fn tell_pods(&self, wanted: &Wanted, passed: &Result<bool, PassError>) {
        let outcome = match passed {
            Ok(true) => Ok(()),
            Ok(false) => Err("waiting for the cluster".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        self.pods.passed(wanted.generation, self.network.clone(), outcome);
    }

    /// Say what pods lack, before the rest of this pass puts it there.
    async fn answer_questions(&mut self, state: &NodeState, local: &[Pod]) {
        for question in self.pods.questions() {
            let lacking = self.lacking(state, local, &question).await;
            question.answer(lacking.map_err(|error| error.to_string()));
        }
    }

    /// What of a pod's flows and port the bridge has not.
    async fn lacking(
        &mut self,
        state: &NodeState,
        local: &[Pod],
        question: &Question,
    ) -> Result<Vec<String>, BridgeError> {
        let pod = local.iter().find(|pod| pod.uid == question.uid);
        let pod =
            pod.and_then(|pod| state.pods.iter().find(|p| Some(&p.interface) == pod.interface.as_ref()));
        let Some(pod) = pod else { return Ok(vec!["the pod".to_owned()]) };
        let flows = tables::flows_of(state, pod);
        self.bridge.lacking(&flows, pod.port, &pod.interface).await
    }

    /// Diff and apply until nothing is left to do.
    async fn shape_host(
        &mut self,
        state: &NodeState,
        wiring: Wiring,
    ) -> Result<(Desired, Actual), PassError> {
        let mut left = Vec::new();
        for _ in 0..MAX_READ_BACKS {
            let mut actual = self.kernel.read_devices().await?;
            let desired = Desired::of(state, wiring);
            // A guard goes with its device: of one that came since, the last reading says nothing.
            let bridge_sides = bridge_sides(&desired, &actual);
            if bridge_sides != self.bridge_sides {
                self.kernel.distrust_firewall();
                self.bridge_sides = bridge_sides;
            }
            self.kernel.read_rest(&mut actual, &desired).await?;
            left = host::diff(&desired, &actual).map_err(HostError::from)?;
            if left.is_empty() {
                return Ok((desired, actual));
            }
            tracing::info!(steps = left.len(), first = ?left.first(), "host changed");
            self.kernel.apply(&left, &actual, &desired).await?;
        }
        left.truncate(3);
        Err(PassError::Unstable(format!("{left:?}")))
    }

    /// Ports as wanted, but for those of devices that are the host's own.
    async fn attach_ports(
        &mut self,
        state: &NodeState,
        desired: &Desired,
        actual: &Actual,
    ) -> Result<(), PassError> {
        let refused = host::refused(desired, actual);
        self.say_refused(state, &refused);
        let wanted: BTreeMap<_, _> = ports(state, desired)
            .into_iter()
            .filter(|port| !refused.contains_key(&port.name))
            .map(|port| (port.number, port))
            .collect();
        let outcome = self.bridge.attach(&wanted, actual).await;
        self.say_absent(wanted.values(), actual);
        Ok(outcome?)
    }

    fn say_absent<'a>(&mut self, ports: impl Iterator<Item = &'a WantedPort>, actual: &Actual) {
        let absent: BTreeSet<String> = ports
            .filter(|port| port.role == Role::Pod && !actual.links.contains_key(&port.name))
            .map(|port| port.name.clone())
            .collect();
        for device in absent.difference(&self.said.absent) {
            tracing::warn!(device, "port's device is not there: the port is down until it is");
        }
        for device in self.said.absent.difference(&absent) {
            tracing::info!(device, "port's device is there");
        }
        self.said.absent = absent;
    }

    fn say_refused(&mut self, state: &NodeState, refused: &BTreeMap<String, Refusal>) {
        let line = |(device, why): (&String, &Refusal)| {
            let pod = state.pods.iter().find(|pod| pod.interface == *device)?;
            Some(format!(
                "pod {}: device {device} is left alone, the pod has no network: {why}; \
                 name the pod's own host interface in footbridge.io/interface",
                pod.name
            ))
        };
        let refused: BTreeSet<String> = refused.iter().filter_map(line).collect();
        for line in refused.difference(&self.said.refused) {
            tracing::error!("{line}");
        }
        self.said.refused = refused;
    }

    /// What becomes of this node itself is said by the pass.
    fn say_left_out(&mut self, cluster: &Cluster) {
        let (troubles, mended) = cluster::left_out_news(&self.said.left_out, cluster);
        for (node, why) in troubles.iter().filter(|(name, _)| **name != self.config.node) {
            tracing::error!(
                "node {node} is left out, its pods can't be reached: {why}; mend its Node object"
            );
        }
        for node in mended {
            tracing::info!("node {node} is not left out any more");
        }
        self.said.left_out = cluster.left_out.clone();
    }

    fn say_waiting(&mut self, state: &NodeState) {
        let waiting: BTreeSet<String> = state.waiting.iter().map(ToString::to_string).collect();
        for peer in waiting.difference(&self.said.waiting) {
            tracing::warn!("{peer}");
        }
        self.said.waiting = waiting;
        let unusable: BTreeSet<String> = state.unusable.iter().map(ToString::to_string).collect();
        for peer in unusable.difference(&self.said.unusable) {
            tracing::error!("{peer}");
        }
        self.said.unusable = unusable;
    }

    fn say_error(&mut self, error: &PassError) {
        let text = error.to_string();
        if self.said.error.as_ref() != Some(&text) {
            match error {
                PassError::State(
                    StateError::UnknownNode { .. } | StateError::NoSubnet(_) | StateError::LeftOut { .. },
                ) => {
                    tracing::warn!("{text}");
                }
                _ => tracing::error!("{text}; trying again"),
            }
            self.said.error = Some(text);
        }
    }
}

/// The ports of the bridge.
fn ports(state: &NodeState, desired: &Desired) -> Vec<WantedPort> {
    let port = |number, name: &str, role| WantedPort { number, name: name.to_owned(), role };
    let config = &state.config;
    let mut ports = vec![port(GATEWAY_PORT, &config.gateway, Role::Gateway { mtu: desired.mtu })];
    if config.encap.tunnels() {
        let local = state.uplink.as_ref().map(|uplink| uplink.address);
        let tunnel = Role::Tunnel { kind: config.tunnel_type, udp_port: config.udp_port(), local };
        ports.push(port(TUNNEL_PORT, &config.tunnel, tunnel));
    }
    ports.extend(state.pods.iter().map(|pod| port(pod.port, &pod.interface, Role::Pod)));
    ports
}

/// Those of `now` that weren't there `before`, to be said.
fn new_names(before: &BTreeSet<ObjectName>, now: &BTreeSet<ObjectName>) -> String {
    let names: Vec<String> = now.difference(before).map(ToString::to_string).collect();
    names.join(", ")
}

/// The bridge's devices as the kernel knows them: one that was made anew has its name, not its index.
fn bridge_sides(desired: &Desired, actual: &Actual) -> BTreeMap<String, u32> {
    let index = |name: &String| Some((name.clone(), actual.links.get(name)?.index));
    desired.bridge_sides.iter().filter_map(index).collect()
}

/// What the kernel says of changes.
struct Events {
    messages: Option<Messages>,
}

type Messages = mpsc::UnboundedReceiver<Event>;

/// What kind of thing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    /// A device came, went or changed, and guards may have gone with it; or the kernel had more to say
    /// than there was room for, and that may have been among it.
    Device,
    /// An address, a route or a neighbour.
    Other,
}

impl Events {
    /// Listen in the calling thread's network namespace. Where that fails the resync timer does.
    fn listen() -> Events {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv4Route,
            MulticastGroup::Neigh,
        ];
        let (connection, _, mut messages) = match rtnetlink::new_multicast_connection(&groups) {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, "no notifications from the kernel; looking every {RESYNC:?}");
                return Events { messages: None };
            }
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(connection);
        tokio::spawn(async move {
            while let Some((message, _)) = messages.next().await {
                if judge(&message.payload).is_some_and(|event| sender.send(event).is_err()) {
                    return;
                }
            }
        });
        Events { messages: Some(receiver) }
    }

    async fn next(&mut self) -> Event {
        match &mut self.messages {
            Some(messages) => match messages.recv().await {
                Some(event) => event,
                None => {
                    self.messages = None;
                    std::future::pending().await
                }
            },
            None => std::future::pending().await,
        }
    }

    /// Take all that came meanwhile.
    fn drain(&mut self) -> Vec<Event> {
        let messages = self.messages.as_mut();
        messages.map_or_else(Vec::new, |messages| std::iter::from_fn(|| messages.try_recv().ok()).collect())
    }
}

/// Whether a message is worth looking for. Neighbours come and go with every packet: only an entry
/// made by hand is.
fn judge(payload: &rtnetlink::packet_core::NetlinkPayload<RouteNetlinkMessage>) -> Option<Event> {
    use rtnetlink::packet_core::NetlinkPayload;
    use rtnetlink::packet_route::neighbour::NeighbourState;
    match payload {
        NetlinkPayload::InnerMessage(message) => match message {
            RouteNetlinkMessage::NewLink(_) | RouteNetlinkMessage::DelLink(_) => Some(Event::Device),
            RouteNetlinkMessage::NewNeighbour(neighbour) => {
                let fixed = [NeighbourState::Permanent, NeighbourState::Noarp, NeighbourState::Stale];
                fixed.contains(&neighbour.header.state).then_some(Event::Other)
            }
            RouteNetlinkMessage::DelNeighbour(_) => None,
            _ => Some(Event::Other),
        },
        NetlinkPayload::Overrun(_) => Some(Event::Device),
        _ => Some(Event::Other),
    }
}

#[cfg(test)]
pub(crate) mod tests;
