//! The switches that are measured, each started for itself and ended when dropped.

use crate::null_server;
use crate::testbed::Namespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// How long a switch may take to start.
const START: Duration = Duration::from_secs(20);

/// A port that a switch starts with: its name, which is its device's, and its number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port<'a> {
    pub(crate) name: &'a str,
    pub(crate) number: u32,
}

/// What Footbridge runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Datapath {
    Userspace,
    Ebpf,
}

/// A switch that runs.
pub(crate) struct Switch {
    pub(crate) name: &'static str,
    dir: tempfile::TempDir,
    children: Vec<Child>,
    /// The network namespace of its processes, where it is not this process's.
    namespace: Option<String>,
}

impl Switch {
    fn new(name: &'static str, namespace: Option<&Namespace>) -> Result<Switch> {
        let namespace = namespace.map(|namespace| namespace.name().to_owned());
        Ok(Switch { name, dir: tempfile::tempdir()?, children: Vec::new(), namespace })
    }

    /// Open vSwitch with a bridge on its userspace datapath, without ports.
    pub(crate) fn ovs() -> Result<Switch> {
        Switch::ovs_in(None, &[], false)
    }

    /// The same with ports, in a namespace; `tso` has it take superframes as they are.
    pub(crate) fn ovs_in(namespace: Option<&Namespace>, ports: &[Port<'_>], tso: bool) -> Result<Switch> {
        let mut ovs = Switch::new("Open vSwitch", namespace)?;
        let path = |name: &str| ovs.dir.path().join(name).display().to_string();
        let (db, socket, control) = (path("conf.db"), path("db.sock"), path("ovs-vswitchd.ctl"));
        ovs.run("ovsdb-tool", &["create", &db, SCHEMA])?;
        let remote = format!("--remote=punix:{socket}");
        ovs.spawn("ovsdb-server", &[&db, &remote, "--no-chdir"])?;
        ovs.wait_for("db.sock")?;
        let (database, ctl) = (format!("unix:{socket}"), format!("--unixctl={control}"));
        let vsctl = format!("--db={database}");
        ovs.run("ovs-vsctl", &[&vsctl, "--no-wait", "init"])?;
        let tso = format!("other_config:userspace-tso-enable={tso}");
        ovs.run("ovs-vsctl", &[&vsctl, "--no-wait", "set", "Open_vSwitch", ".", &tso])?;
        ovs.spawn("ovs-vswitchd", &[&database, "--disable-system", &ctl])?;
        ovs.wait_for("ovs-vswitchd.ctl")?;
        let bridge =
            ["add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "fail_mode=secure"];
        ovs.run("ovs-vsctl", &[&[vsctl.as_str()], &bridge[..]].concat())?;
        ovs.wait_for("br0.mgmt")?;
        for Port { name, number } in ports {
            let number = format!("ofport_request={number}");
            ovs.run(
                "ovs-vsctl",
                &[&vsctl, "add-port", "br0", name, "--", "set", "interface", name, &number],
            )?;
        }
        Ok(ovs)
    }

    /// Footbridge, without ports.
    pub(crate) fn footbridge() -> Result<Switch> {
        Switch::footbridge_in(None, &[], Datapath::Userspace)
    }

    /// The same with ports, in a namespace, on a datapath.
    pub(crate) fn footbridge_in(
        namespace: Option<&Namespace>,
        ports: &[Port<'_>],
        datapath: Datapath,
    ) -> Result<Switch> {
        let ports = ports.iter().map(|Port { name, number }| format!("{name}={number}")).collect();
        Switch::footbridge_with(namespace, ports, datapath)
    }

    /// The same with ports as the command line takes them.
    pub(crate) fn footbridge_with(
        namespace: Option<&Namespace>,
        ports: Vec<String>,
        datapath: Datapath,
    ) -> Result<Switch> {
        let mut switch = Switch::new("Footbridge", namespace)?;
        let dir = switch.dir.path().display().to_string();
        let program = footbridge()?;
        let pins = format!("/sys/fs/bpf/footbridge-bench/{}-{}", std::process::id(), switch.pins_name());
        let datapath = match datapath {
            Datapath::Userspace => "userspace",
            Datapath::Ebpf => "ebpf",
        };
        let mut arguments = vec!["switch", "--bridge", "br0", "--run-dir", &dir, "--log", "warn"];
        arguments.extend(["--datapath", datapath, "--pins", &pins]);
        arguments.extend(ports.iter().flat_map(|port| ["--port", port.as_str()]));
        switch.spawn(&program.display().to_string(), &arguments)?;
        switch.wait_for("br0.mgmt")?;
        Ok(switch)
    }

    fn pins_name(&self) -> String {
        self.dir.path().file_name().map_or_else(String::new, |name| name.to_string_lossy().replace('.', ""))
    }

    /// Fill the bridge, in one bundle.
    pub(crate) fn add_flows(&self, text: &str) -> Result<()> {
        let file = self.dir.path().join("flows");
        std::fs::write(&file, text)?;
        // Antrea's mapping, which a node's classifier names.
        self.ofctl(&["add-tlv-map", "br0", "{class=0x0104,type=0x80,len=4}->tun_metadata0"])?;
        self.ofctl(&["-O", "OpenFlow14", "--bundle", "add-flows", "br0", &file.display().to_string()])
            .map(drop)
    }

    /// A server that acknowledges everything at once, in a process of its own as the others are.
    pub(crate) fn null() -> Result<Switch> {
        let mut switch = Switch::new("null server", None)?;
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
        self.children.iter().map(cpu_of).sum()
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
        let mut command = match &self.namespace {
            None => Command::new(program),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, program]);
                command
            }
        };
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
            // Asked rather than killed, so that nothing of it stays in the kernel; one that has ended
            // already is waited for all the same.
            let _asked = kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM);
            let _status = child.wait();
        }
    }
}

/// Keeps every processor from falling idle, with work that anything else interrupts: waking one up takes
/// longer than what is measured, on a virtual machine much longer, and by no means the same each time.
pub(crate) struct Awake(Vec<Child>);

impl Awake {
    /// The processor time that keeping awake has taken, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        self.0.iter().map(cpu_of).sum()
    }

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

/// What a process has taken of processors until now, in seconds.
fn cpu_of(child: &Child) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    // Behind the name, which is in parentheses and may hold anything: state is the first field.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let times: Vec<u64> = fields.skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    Ok(times.iter().sum::<u64>() as f64 / ticks_per_second()?)
}

/// What all processors have been busy with until now, in seconds, interrupts included.
pub(crate) fn machine_cpu() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq, proc(5).
    let busy: u64 = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at)).sum();
    Ok(busy as f64 / ticks_per_second()?)
}

fn ticks_per_second() -> Result<f64> {
    Ok(nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100) as f64)
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
