//! A real Open vSwitch for tests: one bridge without devices, in a directory of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct OpenVswitch {
    dir: tempfile::TempDir,
    daemons: Vec<Child>,
}

impl OpenVswitch {
    /// Start it; None, with a word why, where it is not installed.
    pub(crate) fn start(test: &str) -> Option<OpenVswitch> {
        for program in ["ovs-ofctl", "ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl"] {
            if Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err() {
                println!("skipped: {test}: {program} is not installed");
                return None;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let mut ovs = OpenVswitch { dir, daemons: Vec::new() };
        let (database, socket) = (ovs.path("conf.db"), ovs.path("db.sock"));
        let schema = "/usr/share/openvswitch/vswitch.ovsschema";
        ovs.run("ovsdb-tool", &["create", &database, schema]).expect("a database");
        let remote = format!("--remote=punix:{socket}");
        ovs.spawn("ovsdb-server", &[&database, &remote, "--unixctl", &ovs.path("db.ctl")]);
        ovs.wait_for("db.sock");
        let db = format!("unix:{socket}");
        let vsctl_db = format!("--db={db}");
        ovs.run("ovs-vsctl", &[&vsctl_db, "--retry", "--timeout=20", "--no-wait", "init"])
            .expect("a database made ready");
        let control = ovs.path("ctl");
        ovs.spawn("ovs-vswitchd", &[&db, "--disable-system", "--enable-dummy", "--unixctl", &control]);
        let versions = "protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15";
        let bridge = ["set", "bridge", "br0", "datapath_type=dummy", "fail-mode=secure", versions];
        let mut add = vec![vsctl_db.as_str(), "add-br", "br0", "--"];
        add.extend(bridge);
        ovs.run("ovs-vsctl", &add).expect("a bridge");
        ovs.wait_for("br0.mgmt");
        Some(ovs)
    }

    /// A file of its run directory.
    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.dir.path());
        }
        command.args(args).stdin(Stdio::null());
        command
    }

    fn spawn(&mut self, program: &str, args: &[&str]) {
        let child = self.command(program, args).stderr(Stdio::null()).spawn().unwrap();
        self.daemons.push(child);
    }

    /// What a program prints, or says why not.
    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Result<String, String> {
        let output = self.command(program, args).output().unwrap();
        if output.status.success() {
            Ok(String::from_utf8(output.stdout).unwrap())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    fn wait_for(&self, name: &str) {
        let path = PathBuf::from(self.path(name));
        let end = Instant::now() + Duration::from_secs(20);
        while !path.exists() {
            assert!(Instant::now() < end, "{name} did not appear");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for OpenVswitch {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
