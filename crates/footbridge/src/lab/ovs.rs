//! A lab's node with Open vSwitch: a database and a switch of its own, in the node's run directory.
//!
//! ```text
//!        antrea-gw0   pods' devices
//!            │             │
//!      ┌─────2─────────3, 4, …─────┐         ┌────────────────────────┐
//!      │          br-int           1 tunnel ⇢│ br-phy: node's address │── ens160 ── underlay
//!      └───────────────────────────┘         └────────────────────────┘
//! ```
//!
//! Both bridges are on Open vSwitch's datapath in user space. It sends tunnel packets where its own
//! routes lead: to a bridge of its own that has the node's address, so the uplink is a port of one.
//! Programming `br-int` is left to the agent.

use super::plan::{NodePlan, UPLINK};
use super::programs;
use super::{Lab, LabError};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The bridge that the agent programs.
pub(crate) const BRIDGE: &str = "br-int";
/// The bridge that has the uplink, and the node's address.
pub(crate) const UPLINK_BRIDGE: &str = "br-phy";

/// How long the database server may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

impl Lab {
    /// Start a node's Open vSwitch and make its bridges; the device that is to have the node's address.
    pub(super) async fn start_open_vswitch(&mut self, node: &NodePlan) -> Result<&'static str, LabError> {
        let run = self.places.node_run(&node.name);
        DirBuilder::new()
            .mode(0o700)
            .create(&run)
            .map_err(|e| LabError::io(format!("make {}", run.display()), e))?;
        let path = |name: &str| run.join(name).display().to_string();
        let (database, socket) = (path("conf.db"), path("db.sock"));
        self.on(node, &["ovsdb-tool", "create", &database]).await?;
        let log = ["--pidfile", "-vconsole:info", "-vsyslog:off"];
        let remote = format!("--remote=punix:{socket}");
        self.start_daemon(&node.name, "ovsdb-server", &[&log[..], &[&remote, &database]].concat())?;
        wait_for(socket.as_ref()).await?;
        // The socket is there before anybody listens on it.
        self.on(node, &["ovs-vsctl", "--retry", "--timeout=20", "--no-wait", "init"]).await?;
        let database = format!("unix:{socket}");
        let only_user_space = "--disable-system";
        self.start_daemon(&node.name, "ovs-vswitchd", &[&log[..], &[only_user_space, &database]].concat())?;
        self.on(node, &["nft", &uplink_guard()]).await?;
        let user_space = "datapath_type=netdev";
        let bridges = [
            &["ovs-vsctl", "--timeout=20"][..],
            &["--", "add-br", UPLINK_BRIDGE, "--", "set", "Bridge", UPLINK_BRIDGE, user_space],
            &["--", "add-port", UPLINK_BRIDGE, UPLINK],
            &["--", "add-br", BRIDGE, "--", "set", "Bridge", BRIDGE, user_space, "fail_mode=secure"],
        ];
        self.on(node, &bridges.concat()).await?;
        Ok(UPLINK_BRIDGE)
    }

    async fn on(&self, node: &NodePlan, command: &[&str]) -> Result<(), LabError> {
        programs::output(self.command(&node.name, command)).await.map(drop)
    }
}

/// What keeps the host's stack from what comes in on the uplink: else it would answer too.
fn uplink_guard() -> String {
    format!(
        "table netdev lab-uplink {{ chain guard {{ \
         type filter hook ingress device {UPLINK} priority 0; policy drop; }}; }}"
    )
}

async fn wait_for(socket: &Path) -> Result<(), LabError> {
    let deadline = Instant::now() + PATIENCE;
    while !socket.exists() {
        if Instant::now() > deadline {
            let late =
                io::Error::new(io::ErrorKind::TimedOut, format!("not within {} s", PATIENCE.as_secs()));
            return Err(LabError::io(format!("find {}", socket.display()), late));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
