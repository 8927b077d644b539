//! The two switches that are compared, each with namespaces, devices and a run directory of its own.
//!
//! ```text
//!     host of p1        host of p2        host of p3      10.0.0.1/24, .2, .3; a namespace each,
//!      eth0              eth0              eth0            with everybody's MAC address known
//!        │                 │                 │
//!       p1                p2                p3             veth devices in the bridge's namespace
//!  ┌─────1─────────────────2─────────────────3─────┐
//!  │        br0: Open vSwitch, or footbridge       │       RUN/br0.mgmt
//!  └────────────────────────────────────────────────┘
//! ```
//!
//! Names, numbers and MAC addresses are the same for both, so that what they print can be. All ends
//! when the switch is dropped; the processes end with this one, however it ends.

use crate::kernel::{Namespace, attach_host, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The schema of Open vSwitch's database.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// What both speak. Open vSwitch's 1.1 and 1.2 are off, since Footbridge has none.
const PROTOCOLS: &str = "protocols=OpenFlow10,OpenFlow13,OpenFlow14,OpenFlow15";
/// How long a switch may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bridge to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Its name.
    pub(crate) bridge: &'static str,
    /// Its ports: device, which is also the OpenFlow name, and number.
    pub(crate) ports: &'static [(&'static str, u32)],
}

/// Three ports.
pub(crate) const PLAIN: Plan = Plan { bridge: "br0", ports: &[("p1", 1), ("p2", 2), ("p3", 3)] };

/// Why the comparison can't be made here, if it can't.
pub(crate) fn lacking() -> Option<String> {
    for program in
        ["ovs-ofctl", "ovs-appctl", "ovs-vsctl", "ovs-vswitchd", "ovsdb-server", "tcpdump", "setpriv"]
    {
        if Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
        {
            return Some(format!("{program} is not installed"));
        }
    }
    (!Path::new(SCHEMA).exists()).then(|| format!("{SCHEMA} is not there"))
}

/// A switch that ovs-ofctl talks to.
pub(crate) trait Switch: Sync {
    /// Its surroundings.
    fn bed(&self) -> &Bed;
    /// Wait until the counters hold every packet that has been through.
    fn settle(&self);
    /// Attach a device of the bridge's namespace as a port, at run time.
    fn add_port(&self, device: &str, number: u32);
    /// Detach a port.
    fn del_port(&self, name: &str);
}

/// Namespaces, devices, the run directory, and the processes in it.
pub(crate) struct Bed {
    plan: Plan,
    // Before the namespaces, so that processes end first.
    processes: Vec<Process>,
    bridge: Namespace,
    hosts: Vec<Namespace>,
    dir: tempfile::TempDir,
}

/// A process; ended when dropped.
struct Process {
    child: Child,
    name: &'static str,
}

impl Bed {
    fn new(plan: Plan) -> Bed {
        let bridge = Namespace::new("br");
        let hosts = plan
            .ports
            .iter()
            .enumerate()
            .map(|(i, (device, _))| {
                let host = Namespace::new("host");
                attach_host(&bridge, device, &host, &format!("10.0.0.{}/24", i + 1));
                bridge.must(&format!("ip link set dev {device} address 02:00:00:00:00:{:02x}", i + 1));
                host.must(&format!("ip link set dev eth0 address 02:00:00:00:01:{:02x}", i + 1));
                for other in (1..=plan.ports.len()).filter(|other| *other != i + 1) {
                    let neighbour = format!("10.0.0.{other} lladdr 02:00:00:00:01:{other:02x}");
                    host.must(&format!("ip neigh replace {neighbour} dev eth0 nud permanent"));
                }
                host
            })
            .collect();
        Bed { plan, processes: Vec::new(), bridge, hosts, dir: tempfile::tempdir().unwrap() }
    }

    /// The run directory, where the switch's sockets are; also the directory that commands run in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file of the run directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The namespace in which the switch and its devices are.
    pub(crate) fn bridge(&self) -> &Namespace {
        &self.bridge
    }

    /// The host behind a port.
    pub(crate) fn host(&self, port: &str) -> &Namespace {
        let index = self.plan.ports.iter().position(|(device, _)| *device == port);
        &self.hosts[index.unwrap_or_else(|| panic!("no port {port}"))]
    }

    /// Make a controller's socket known by the only name under which Open vSwitch connects to one.
    fn link_controller(&self, socket: &Path) -> String {
        let link = self.path(&format!("{}.controller", self.plan.bridge));
        std::os::unix::fs::symlink(socket, &link).unwrap();
        link.display().to_string()
    }

    /// A client of Open vSwitch's, to be run against this switch.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
            command.env(variable, self.dir());
        }
        command.current_dir(self.dir()).stdin(Stdio::null());
        command
    }

    /// Run what has to succeed; its output.
    fn must(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{program} {arguments:?}: {stdout}{stderr}");
        stdout.into_owned()
    }

    /// Start a process in the bridge's namespace. It is killed when the thread that starts it ends.
    fn start(&mut self, name: &'static str, program: &str, arguments: &[&str]) {
        let inside = format!("/run/netns/{}", self.bridge.name());
        let log = fs::File::create(self.path(&format!("{name}.log"))).unwrap();
        let child = self
            .command("nsenter")
            .arg(format!("--net={inside}"))
            .args(["setpriv", "--pdeathsig", "KILL", program])
            .args(arguments)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.processes.push(Process { child, name });
    }

    fn wait_for(&mut self, file: &str) {
        let path = self.path(file);
        let end = std::time::Instant::now() + PATIENCE;
        while !path.exists() {
            let log =
                |process: &Process| fs::read_to_string(self.path(&format!("{}.log", process.name))).unwrap();
            for process in &self.processes {
                assert!(std::time::Instant::now() < end, "{file} did not appear: {}", log(process));
            }
            if let Some(ended) =
                self.processes.iter_mut().find_map(|p| p.child.try_wait().unwrap().map(|s| (s, p.name)))
            {
                let (status, name) = ended;
                let said = fs::read_to_string(self.path(&format!("{name}.log"))).unwrap();
                panic!("{name} ended before {file} was there: {status}\n{said}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let end = std::time::Instant::now() + PATIENCE;
        while let Ok(None) = self.child.try_wait() {
            if std::time::Instant::now() > end {
                let _ = self.child.kill();
                let _ = self.child.wait();
                assert!(std::thread::panicking(), "SIGTERM does not end {}", self.name);
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Open vSwitch, with its userspace datapath on real devices.
pub(crate) struct Ovs(Bed);

impl Ovs {
    pub(crate) fn start(plan: Plan) -> Ovs {
        Ovs::start_with(plan, None)
    }

    /// With a controller to connect to.
    pub(crate) fn start_with(plan: Plan, controller: Option<&Path>) -> Ovs {
        let mut bed = Bed::new(plan);
        let path = |bed: &Bed, name: &str| bed.path(name).display().to_string();
        let (database, socket) = (path(&bed, "conf.db"), format!("unix:{}", path(&bed, "db.sock")));
        bed.must("ovsdb-tool", &["create", &database, SCHEMA]);
        let control = format!("--unixctl={}", path(&bed, "db.ctl"));
        bed.start("ovsdb-server", "ovsdb-server", &[&database, &format!("--remote=p{socket}"), &control]);
        bed.wait_for("db.sock");
        let vsctl = format!("--db={socket}");
        bed.must("ovs-vsctl", &[&vsctl, "--retry", "--timeout=20", "--no-wait", "init"]);
        let control = format!("--unixctl={}", path(&bed, "vswitchd.ctl"));
        bed.start("ovs-vswitchd", "ovs-vswitchd", &[&socket, "--disable-system", &control]);
        bed.wait_for("vswitchd.ctl");
        let bridge = plan.bridge;
        let mut words = vec![vsctl, "add-br".into(), bridge.into(), "--".into()];
        let settings = ["set", "bridge", bridge, "datapath_type=netdev", "fail-mode=secure", PROTOCOLS];
        words.extend(settings.map(String::from));
        for (device, number) in plan.ports {
            words.extend(
                ["--", "add-port", bridge, device, "--", "set", "interface", device].map(String::from),
            );
            words.push(format!("ofport_request={number}"));
        }
        if let Some(path) = controller {
            words.extend(["--", "set-controller", bridge].map(String::from));
            words.push(format!("unix:{}", bed.link_controller(path)));
        }
        bed.must("ovs-vsctl", &words.iter().map(String::as_str).collect::<Vec<_>>());
        bed.wait_for(&format!("{bridge}.mgmt"));
        Ovs(bed)
    }

    fn vsctl(&self, words: &[&str]) {
        let db = format!("--db=unix:{}", self.0.path("db.sock").display());
        self.0.must("ovs-vsctl", &[&[db.as_str()], words].concat());
    }

    fn appctl(&self, command: &str) -> String {
        self.0.must("ovs-appctl", &["--target", &self.0.path("vswitchd.ctl").display().to_string(), command])
    }
}

impl Switch for Ovs {
    fn bed(&self) -> &Bed {
        &self.0
    }

    fn settle(&self) {
        // Its flows' counters are those of its datapath's cache, from time to time, and when a cached
        // flow goes.
        self.appctl("revalidator/purge");
    }

    fn add_port(&self, device: &str, number: u32) {
        let request = format!("ofport_request={number}");
        let bridge = self.0.plan.bridge;
        self.vsctl(&["add-port", bridge, device, "--", "set", "interface", device, &request]);
    }

    fn del_port(&self, name: &str) {
        self.vsctl(&["del-port", self.0.plan.bridge, name]);
    }
}

/// `footbridge switch`.
pub(crate) struct Ours(Bed);

impl Ours {
    pub(crate) fn start(plan: Plan) -> Ours {
        Ours::start_with(plan, None)
    }

    /// With a controller to connect to.
    pub(crate) fn start_with(plan: Plan, controller: Option<&Path>) -> Ours {
        let mut bed = Bed::new(plan);
        let mut words = vec!["switch".into(), "--bridge".into(), plan.bridge.into(), "--run-dir".into()];
        words.push(bed.dir().display().to_string());
        for (device, number) in plan.ports {
            words.extend(["--port".into(), format!("{device}={number}")]);
        }
        if let Some(path) = controller {
            words.extend(["--controller".into(), format!("unix:{}", bed.link_controller(path))]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        bed.start("footbridge", env!("CARGO_BIN_EXE_footbridge"), &words);
        bed.wait_for(&format!("{}.mgmt", plan.bridge));
        Ours(bed)
    }

    fn port(&self, words: &[&str]) {
        let dir = self.0.dir().display().to_string();
        let of_bridge = ["--bridge", self.0.plan.bridge, "--run-dir", &dir];
        self.0.must(env!("CARGO_BIN_EXE_footbridge"), &[&["port"], words, &of_bridge].concat());
    }
}

impl Switch for Ours {
    fn bed(&self) -> &Bed {
        &self.0
    }

    fn settle(&self) {}

    fn add_port(&self, device: &str, number: u32) {
        self.port(&["add", &format!("{device}={number}")]);
    }

    fn del_port(&self, name: &str) {
        self.port(&["del", name]);
    }
}

/// Wait until Open vSwitch's ports are there: it makes them a moment after its socket.
pub(crate) fn wait_for_ports(switch: &dyn Switch) {
    let bed = switch.bed();
    eventually("the ports are there", PATIENCE, || {
        let shown = bed.command("ovs-ofctl").args(["dump-ports-desc", bed.plan.bridge]).output().unwrap();
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        bed.plan.ports.iter().all(|(device, number)| shown.contains(&format!(" {number}({device}): ")))
    });
}
