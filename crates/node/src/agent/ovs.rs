//! The agent of a node whose bridge is an Open vSwitch's: the loop and its marks, and nothing that any
//! packet would miss.

use super::{AgentConfig, AgentError, Cni, Marks, make_run_dir};
use crate::bridge::NodeBridge;
use crate::bridge::ovs::{OpenVswitch, OvsAddress};
use crate::reconcile::Reconciler;
use crate::store::Store;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::future::Future;
use std::path::Path;

/// Keep the bridge and the host as the cluster wants them until `cancel` is done; both then stay so.
pub(super) async fn run(
    config: AgentConfig,
    address: OvsAddress,
    cancel: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    make_run_dir(&config)?;
    let _lock = lock(&config.run_dir)?;
    let source = config.cluster.open(&config.node.node).await?;
    let store = Store::open(&config.state_dir)?;
    let marks = Marks::put(&config.run_dir)?;
    let bridge = NodeBridge::OpenVswitch(Box::new(OpenVswitch::at(address)));
    let mut reconciler = Reconciler::new(config.node.clone(), bridge, store)?;
    let cni = Cni::start(&config, &reconciler)?;
    let node = config.node.node.as_str();
    tokio::select! {
        () = cancel => {}
        () = reconciler.run(source, || marks.announce(node)) => {}
    }
    cni.end().await;
    tracing::info!(node, "ending; Open vSwitch goes on with what it has");
    Ok(())
}

/// Take the run directory for as long as the lock is held: one agent at a time.
fn lock(run_dir: &Path) -> Result<Flock<File>, AgentError> {
    let failed = |source| AgentError::RunDir { path: run_dir.to_owned(), source };
    let directory = File::open(run_dir).map_err(failed)?;
    Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        Errno::EWOULDBLOCK => AgentError::InUse(run_dir.to_owned()),
        errno => failed(errno.into()),
    })
}
