//! The switches that are measured, each started for itself and ended when dropped.

use crate::null_server;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// How long a switch may take to start.
const START: Duration = Duration::from_secs(20);

/// A switch that runs.
pub(crate) struct Switch {
    pub(crate) name: &'static str,
    dir: tempfile::TempDir,
    children: Vec<Child>,
}

impl Switch {
    /// Open vSwitch with a bridge on its userspace datapath, without ports.
    pub(crate) fn ovs() -> Result<Switch> {
        let mut ovs = Switch { name: "Open vSwitch", dir: tempfile::tempdir()?, children: Vec::new() };
        let path = |name: &str| ovs.dir.path().join(name).display().to_string();
        let (db, socket, control) = (path("conf.db"), path("db.sock"), path("ovs-vswitchd.ctl"));
        ovs.run("ovsdb-tool", &["create", &db, SCHEMA])?;
        let remote = format!("--remote=punix:{socket}");
        ovs.spawn("ovsdb-server", &[&db, &remote, "--no-chdir"])?;
        ovs.wait_for("db.sock")?;
        let (database, ctl) = (format!("unix:{socket}"), format!("--unixctl={control}"));
        let vsctl = format!("--db={database}");
        ovs.run("ovs-vsctl", &[&vsctl, "--no-wait", "init"])?;
        ovs.spawn("ovs-vswitchd", &[&database, "--disable-system", &ctl])?;
        ovs.wait_for("ovs-vswitchd.ctl")?;
        let bridge =
            ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail_mode=secure"];
        ovs.run("ovs-vsctl", &[&[vsctl.as_str()], &bridge[..]].concat())?;
        ovs.wait_for("br0.mgmt")?;
        Ok(ovs)
    }

    /// Footbridge, without ports.
    pub(crate) fn footbridge() -> Result<Switch> {
        let mut switch = Switch { name: "Footbridge", dir: tempfile::tempdir()?, children: Vec::new() };
        let dir = switch.dir.path().display().to_string();
        let program = footbridge()?;
        let arguments = ["switch", "--bridge", "br0", "--run-dir", &dir, "--log", "warn"];
        switch.spawn(&program.display().to_string(), &arguments)?;
        switch.wait_for("br0.mgmt")?;
        Ok(switch)
    }

    /// A server that acknowledges everything at once, in a process of its own as the others are.
    pub(crate) fn null() -> Result<Switch> {
        let mut switch = Switch { name: "null server", dir: tempfile::tempdir()?, children: Vec::new() };
        let socket = switch.dir.path().join("br0.mgmt").display().to_string();
        let program = std::env::current_exe()?.display().to_string();
        switch.children.push(
            Command::new(program)
                .args(["flow-adds", "--serve-null", &socket])
                .stdin(Stdio::null())
                .spawn()?,
        );
        switch.wait_for("br0.mgmt")?;
        Ok(switch)
    }

    /// `ovs-ofctl` on the bridge; how long it took.
    pub(crate) fn ofctl(&self, arguments: &[&str]) -> Result<Duration> {
        let begun = Instant::now();
        self.run("ovs-ofctl", arguments)?;
        Ok(begun.elapsed())
    }

    /// What the switch's processes have taken of processors until now, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let ticks_per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100) as f64;
        let mut ticks = 0;
        for child in &self.children {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
            // Behind the name, which is in parentheses and may hold anything: state is the first field.
            let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
            let times: Vec<u64> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
            ticks += times.iter().sum::<u64>();
        }
        Ok(ticks as f64 / ticks_per_second)
    }

    /// What the switch's processes take of memory, in bytes: their proportional set sizes.
    pub(crate) fn memory(&self) -> Result<u64> {
        let mut sum = 0;
        for child in &self.children {
            let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id()))?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            let kilobytes = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
            sum += kilobytes.ok_or("smaps_rollup has no Pss")? * 1024;
        }
        Ok(sum)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, self.dir.path());
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let output = self.command(program, arguments).output().map_err(|e| format!("{program}: {e}"))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("{program} {arguments:?}: {why}").into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) -> Result<()> {
        let mut command = self.command(program, arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.children.push(command.spawn().map_err(|e| format!("{program}: {e}"))?);
        Ok(())
    }

    fn wait_for(&self, name: &str) -> Result<()> {
        let deadline = Instant::now() + START;
        while !self.dir.path().join(name).exists() {
            if Instant::now() > deadline {
                return Err(format!("{} did not start: no {name}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            // One that has ended already is waited for all the same.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

/// Keeps every processor from falling idle, with work that anything else interrupts: waking one up takes
/// longer than what is measured, on a virtual machine much longer, and by no means the same each time.
pub(crate) struct Awake(Vec<Child>);

impl Awake {
    pub(crate) fn begin() -> Result<Awake> {
        let processors = std::thread::available_parallelism()?.get();
        let mut awake = Awake(Vec::new());
        for _ in 0..processors {
            let spin = ["--idle", "0", "sh", "-c", "while :; do :; done"];
            awake.0.push(Command::new("chrt").args(spin).stdin(Stdio::null()).spawn()?);
        }
        Ok(awake)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

/// The program beside this one.
fn footbridge() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("footbridge");
    if path.exists() {
        return Ok(path);
    }
    Err(format!("{} is not there: cargo build --release", path.display()).into())
}

/// Run the null server in this process, for ever.
pub(crate) fn serve_null(socket: &Path) -> io::Result<()> {
    null_server::serve(socket)
}
