#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use super::*;
use crate::reconcile::tests::Fake;
use std::sync::atomic::{AtomicBool, Ordering};

/// An agent without a cluster file, which so leaves the host alone.
fn idle_agent(directory: &Path) -> AgentConfig {
    AgentConfig {
        node: NodeConfig::new("worker1"),
        cluster: ClusterFrom::File(directory.join("cluster.yaml")),
        run_dir: directory.join("run"),
        state_dir: directory.join("state"),
        ovs: None,
        datapath: DatapathChoice::Userspace,
        pins: directory.join("pins"),
    }
}

/// It, on a datapath that goes on until `stopped`.
async fn run_idle(
    directory: &Path,
    stopped: &Arc<AtomicBool>,
    cancel: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    let datapath = Fake { stopped: Arc::clone(stopped), ..Fake::default() };
    run_on(idle_agent(directory), || Ok(Box::new(datapath)), cancel).await
}

#[tokio::test]
async fn a_stopped_datapath_ends_the_agent() {
    let directory = tempfile::tempdir().unwrap();
    let stopped = Arc::new(AtomicBool::new(false));
    let stop = async {
        fs::write(directory.path().join("run").join(READY), "").unwrap();
        stopped.store(true, Ordering::Relaxed);
        std::future::pending().await
    };
    let error = run_idle(directory.path(), &stopped, stop).await.unwrap_err();
    assert_eq!(error.to_string(), "no packet passes any more: the datapath has stopped: restart the bridge");
    assert_eq!(fs::read_dir(directory.path().join("run")).unwrap().count(), 0, "marks and socket are gone");
}

#[tokio::test]
async fn a_stopped_datapath_does_not_disturb_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let stopped = Arc::new(AtomicBool::new(false));
    let cancel = async { stopped.store(true, Ordering::Relaxed) };
    let result = run_idle(directory.path(), &stopped, cancel).await;
    assert!(matches!(result, Err(AgentError::Stopped(_))), "{result:?}");
    assert_eq!(fs::read_dir(directory.path().join("run")).unwrap().count(), 0, "marks and socket are gone");
}

#[tokio::test]
async fn a_refused_second_agent_leaves_the_firsts_marks() {
    let directory = tempfile::tempdir().unwrap();
    let going = Arc::new(AtomicBool::new(false));
    let second = async {
        let marks = [READY, PID].map(|mark| directory.path().join("run").join(mark));
        fs::write(&marks[0], "").unwrap();
        let refused = run_idle(directory.path(), &going, std::future::pending()).await;
        assert!(matches!(refused, Err(AgentError::Control(ServerError::InUse { .. }))), "{refused:?}");
        assert!(marks.iter().all(|mark| mark.exists()));
    };
    run_idle(directory.path(), &going, second).await.unwrap();
}

#[tokio::test]
async fn a_second_agent_of_an_open_vswitch_is_refused_and_leaves_the_firsts_marks() {
    let directory = tempfile::tempdir().unwrap();
    let address: OvsAddress = "unix:/nowhere/br-int.mgmt".parse().unwrap();
    let agent = || AgentConfig { ovs: Some(address.clone()), ..idle_agent(directory.path()) };
    let second = async {
        let refused = run(agent(), std::future::pending()).await;
        assert!(matches!(refused, Err(AgentError::InUse(_))), "{refused:?}");
        assert!(directory.path().join("run").join(PID).exists());
    };
    run(agent(), second).await.unwrap();
    assert_eq!(fs::read_dir(directory.path().join("run")).unwrap().count(), 0, "the marks are gone");
}
