//! The agent: a datapath, a bridge, its sockets and the loop that programs them, together; or the loop
//! alone, with an Open vSwitch.

mod ovs;

use crate::bridge::NodeBridge;
use crate::bridge::ovs::OvsAddress;
use crate::config::{GATEWAY_PORT, NodeConfig};
use crate::host::GATEWAY_NAME_MAX;
use crate::pods::server::{CniServer, SOCKET};
use crate::pods::service::{Service, ServiceError};
use crate::reconcile::{PassError, Reconciler};
use crate::source::{ApiError, ClusterFrom};
use crate::store::{Store, StoreError};
use footbridge_datapath::{Datapath, DatapathChoice, OptionMap};
use footbridge_openflow::wire::{TlvMapping, TlvTable};
use footbridge_switch::Bridge;
use footbridge_switch::control::{Server, ServerError};
use footbridge_switch::openflow::{OpenFlow, OpenFlowConfig, OpenFlowError};
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// What the agent is run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    /// The node's part.
    pub node: NodeConfig,
    /// Where the cluster is read.
    pub cluster: ClusterFrom,
    /// Sockets, `agent.pid` and `ready`; made with mode 0700.
    pub run_dir: PathBuf,
    /// What survives the agent.
    pub state_dir: PathBuf,
    /// Program this bridge of Open vSwitch in place of one of our own; `node.bridge` is its name.
    pub ovs: Option<OvsAddress>,
    /// What our own bridge runs on.
    pub datapath: DatapathChoice,
    /// Where a datapath in the kernel is pinned.
    pub pins: PathBuf,
}

/// Why the agent did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The gateway's name leaves no room for its peer's.
    #[error("gateway name '{0}' is too long: {GATEWAY_NAME_MAX} bytes at most, for '{0}-p' is a device too")]
    GatewayName(String),
    /// A file of the run directory.
    #[error("can't write {}: {source}", path.display())]
    RunDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The datapath or the bridge.
    #[error("can't start the bridge: {0}")]
    Bridge(#[from] footbridge_datapath::Error),
    /// The datapath, later.
    #[error("no packet passes any more: {0}")]
    Stopped(#[source] footbridge_datapath::Error),
    /// The control socket.
    #[error(transparent)]
    Control(#[from] ServerError),
    /// How to reach the API server.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The OpenFlow server.
    #[error(transparent)]
    OpenFlow(#[from] OpenFlowError),
    /// The CNI's part.
    #[error(transparent)]
    Cni(#[from] ServiceError),
    /// The loop.
    #[error(transparent)]
    Start(#[from] PassError),
    /// Another agent has the run directory.
    #[error("another agent is running in {}", .0.display())]
    InUse(PathBuf),
}

/// The name of the file that is there while the agent has reached everything once.
pub const READY: &str = "ready";
/// The name of the file, in the state directory, with the connections tracked when the agent ended.
const CONNECTIONS: &str = "connections";
/// The name of the file with the agent's process id.
pub const PID: &str = "agent.pid";

/// Run a node's agent until `cancel` is done.
///
/// Has to be called in the node's network namespace, on a current-thread tokio runtime with I/O and
/// time, so that every socket is opened there. When the first full pass is done `<run_dir>/ready`
/// appears. At the end devices, routes and guards stay: the bridge fails closed, and the next agent
/// finds them as they should be. An Open vSwitch goes on forwarding, and so does a datapath in the kernel.
///
/// # Errors
/// What kept it from starting, or that the datapath has stopped; other trouble is logged and retried.
pub async fn run(config: AgentConfig, cancel: impl Future<Output = ()>) -> Result<(), AgentError> {
    match config.ovs.clone() {
        None => {
            let (datapath, pins) = (config.datapath, config.pins.clone());
            run_on(config, move || datapath.start(&pins), cancel).await
        }
        Some(address) => ovs::run(config, address, cancel).await,
    }
}

async fn run_on(
    config: AgentConfig,
    datapath: impl FnOnce() -> Result<Box<dyn Datapath>, footbridge_datapath::Error>,
    cancel: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    make_run_dir(&config)?;
    let source = config.cluster.open(&config.node.node).await?;
    let store = Store::open(&config.state_dir)?;
    let bridge = Arc::new(Bridge::new(&config.node.bridge, datapath()?)?);
    let socket = config.run_dir.join(format!("{}.ctl", config.node.bridge));
    let server = Server::bind(&socket, Arc::clone(&bridge))?;
    // The run directory is this agent's from here on: before, the marks may be another's.
    let marks = Marks::put(&config.run_dir)?;
    let control = tokio::spawn(server.run());
    let openflow = OpenFlow::start(Arc::clone(&bridge), openflow(&config))?;
    let connections = store.path(CONNECTIONS);
    match bridge.restore_connections(&connections) {
        Ok(None) => {}
        Ok(Some(restored)) => tracing::info!(restored, "tracked connections put back"),
        // The network is worth more than its old connections.
        Err(error) => tracing::error!("tracked connections are lost: {error}"),
    }
    let own = NodeBridge::Own(Arc::clone(&bridge));
    let mut reconciler = Reconciler::new(config.node.clone(), own, store)?;
    let cni = Cni::start(&config, &reconciler)?;
    let node = config.node.node.as_str();
    let ended = tokio::select! {
        () = cancel => Ok(()),
        () = reconciler.run(source, || marks.announce(node)) => Ok(()),
        error = stopped(&bridge) => Err(error),
    };
    tracing::info!(node, "ending; devices, routes and guards stay");
    let ended = ended.and_then(|()| close(&bridge, &connections)).map_err(AgentError::Stopped);
    // The marks go before the socket: with that, the run directory is the next agent's.
    drop((marks, openflow));
    cni.end().await;
    control.abort();
    // It ends with the abort; only then is its socket gone.
    drop(control.await);
    ended
}

/// The CNI's part of an agent.
struct Cni {
    server: JoinHandle<()>,
    attendant: JoinHandle<()>,
}

impl Cni {
    /// Serve the plugin for the pods that the loop goes by.
    fn start(config: &AgentConfig, reconciler: &Reconciler) -> Result<Cni, AgentError> {
        let service = Arc::new(Service::new(reconciler.pods(), &config.state_dir)?);
        let server = CniServer::bind(&config.run_dir.join(SOCKET))?;
        let attendant = Arc::clone(&service);
        Ok(Cni {
            server: tokio::spawn(server.run(service)),
            attendant: tokio::spawn(async move { attendant.attend().await }),
        })
    }

    /// Its socket is gone when this returns. Calls under way are cut short: the next agent finishes them.
    async fn end(self) {
        for task in [self.server, self.attendant] {
            task.abort();
            drop(task.await);
        }
    }
}

/// OpenFlow for tools on the node: `<run_dir>/<bridge>.mgmt`, where `ovs-ofctl` looks with OVS_RUNDIR.
fn openflow(config: &AgentConfig) -> OpenFlowConfig {
    let bridge = &config.node.bridge;
    let socket = |kind: &str| Some(config.run_dir.join(format!("{bridge}.{kind}")));
    OpenFlowConfig {
        datapath_id: OpenFlowConfig::derived_id(&format!("{}/{bridge}", config.node.node)),
        socket: socket("mgmt"),
        snoop: socket("snoop"),
        // What the tunnel port maps, in every datapath.
        tlv: TlvTable(vec![TlvMapping {
            option_class: OptionMap::ANTREA.class,
            option_type: OptionMap::ANTREA.kind,
            option_len: 4,
            index: 0,
        }]),
        ..OpenFlowConfig::default()
    }
}

/// Refuse what can't be run, and make the run directory.
fn make_run_dir(config: &AgentConfig) -> Result<(), AgentError> {
    if config.node.gateway.len() > GATEWAY_NAME_MAX || config.node.gateway.is_empty() {
        return Err(AgentError::GatewayName(config.node.gateway.clone()));
    }
    let path = &config.run_dir;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| AgentError::RunDir { path: path.clone(), source })
}

/// How often the datapath is asked whether it is there.
const PULSE: Duration = Duration::from_secs(1);

/// Returns when the datapath has stopped: nothing but a new process brings it back.
async fn stopped(bridge: &Bridge) -> footbridge_datapath::Error {
    loop {
        if let Err(error) = bridge.ports() {
            return error;
        }
        tokio::time::sleep(PULSE).await;
    }
}

/// Take the ports off, then save the connections, so that none changes behind the saving. A bridge in the kernel
/// goes on, with both.
fn close(bridge: &Bridge, connections: &Path) -> Result<(), footbridge_datapath::Error> {
    if bridge.outlives_its_process() {
        return Ok(());
    }
    for port in bridge.ports()? {
        bridge.del_port(port.number)?;
    }
    match bridge.save_connections(connections) {
        Ok(saved) => tracing::info!(saved, "tracked connections saved"),
        Err(error) => tracing::error!("tracked connections are lost: {error}"),
    }
    Ok(())
}

/// The files by which others see the agent.
struct Marks {
    ready: Mark,
    /// Dropped with the others.
    _pid: Mark,
}

impl Marks {
    /// In a run directory that is this agent's.
    fn put(run_dir: &Path) -> Result<Marks, AgentError> {
        let ready = Mark { path: run_dir.join(READY) };
        ready.remove();
        let pid = Mark { path: run_dir.join(PID) };
        fs::write(&pid.path, format!("{}\n", std::process::id()))
            .map_err(|source| AgentError::RunDir { path: pid.path.clone(), source })?;
        Ok(Marks { ready, _pid: pid })
    }

    fn announce(&self, node: &str) {
        match fs::write(&self.ready.path, "") {
            Ok(()) => tracing::info!(node, gateway_port = GATEWAY_PORT.0, "ready"),
            Err(error) => {
                tracing::error!(%error, path = %self.ready.path.display(), "can't say that it is ready");
            }
        }
    }
}

/// A file that is there while the agent is.
struct Mark {
    path: PathBuf,
}

impl Mark {
    fn remove(&self) {
        remove(&self.path);
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.remove();
    }
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "can't be removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
