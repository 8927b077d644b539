//! A controller that we did not write: os-ken's `simple_switch_13`, a learning switch, on `footbridge switch`.
//!
//! ```text
//!    host 1            host 2            host 3        10.0.0.1/24, .2, .3: a namespace each
//!     eth0              eth0              eth0
//!       │                 │                 │
//!     eth1              eth2              eth3          devices in the switch's namespace
//!  ┌────1─────────────────2─────────────────3────┐
//!  │              footbridge switch              │
//!  └──────────────────────┬──────────────────────┘
//!                  127.0.0.1:6653                       OpenFlow 1.3, in the same namespace
//!                       os-ken
//! ```
//!
//! The app sends what matches nothing to itself, floods it, learns from it where MAC addresses are, and
//! adds a flow for each pair of addresses that it knows. Needs root, ovs-ofctl and python3-venv with a
//! package registry; says `skipped: NAME: why` where it lacks something.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail by panicking")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const HOSTS: [u32; 3] = [1, 2, 3];
/// A flow for each host to each other one.
const PAIRS: usize = HOSTS.len() * (HOSTS.len() - 1);
const CONFORMANCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/os-ken");

#[test]
fn simple_switch_13_learns_three_hosts_and_then_hears_no_more_of_them() {
    const NAME: &str = "simple_switch_13_learns_three_hosts_and_then_hears_no_more_of_them";
    let python = match os_ken() {
        Ok(python) => python,
        Err(why) => return println!("skipped: {NAME}: {why}"),
    };
    let bed = Bed::new(&python);
    bed.wait_until("the app's table-miss flow", |bed| {
        bed.flows() == [("priority=0".to_owned(), "CONTROLLER:65535".to_owned())]
    });

    for from in HOSTS {
        for to in HOSTS.into_iter().filter(|to| *to != from) {
            bed.ping(from, to);
        }
    }
    let learned = bed.flows();
    for from in HOSTS {
        for to in HOSTS.into_iter().filter(|to| *to != from) {
            let matching = format!(
                "priority=1,in_port={from},dl_src=02:00:00:00:00:0{from},dl_dst=02:00:00:00:00:0{to}"
            );
            let actions = format!("output:{to}");
            assert!(learned.contains(&(matching, actions)), "{from} to {to} was not learned: {learned:?}");
        }
    }
    assert_eq!(learned.len(), 1 + PAIRS, "nothing else was: {learned:?}");

    let packet_ins = bed.packet_ins();
    // An ARP request and its reply for each two hosts, and the first packet of each to each.
    assert!(packet_ins > PAIRS, "{packet_ins} packet-ins");
    for from in HOSTS {
        for to in HOSTS.into_iter().filter(|to| *to != from) {
            bed.ping(from, to);
        }
    }
    assert_eq!(bed.packet_ins(), packet_ins, "what the flows say needs no controller");
    assert_eq!(bed.flows(), learned);
}

/// os-ken's Python, or why there is none here.
fn os_ken() -> Result<PathBuf, String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root for network namespaces".into());
    }
    for program in ["ovs-ofctl", "setpriv", "unshare", "nsenter", "ip", "ping"] {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
            .any(|dir| dir.join(program).is_file());
        if !found {
            return Err(format!("{program} is not installed"));
        }
    }
    let venv = Path::new(CONFORMANCE).join("venv");
    let made = Command::new(&venv).output().map_err(|error| format!("{}: {error}", venv.display()))?;
    if !made.status.success() {
        return Err(format!("no environment for os-ken: {}", String::from_utf8_lossy(&made.stderr)));
    }
    Ok(Path::new(String::from_utf8_lossy(&made.stdout).trim()).join("bin/python"))
}

/// The hosts, the switch and the controller. All of it are processes that die with this one, and
/// namespaces that go with their last process: nothing is left behind, even by a crash.
struct Bed {
    directory: tempfile::TempDir,
    /// The controller and the switch.
    running: Vec<Process>,
    hosts: Vec<Namespace>,
    _switch: Namespace,
}

impl Bed {
    fn new(python: &Path) -> Bed {
        let directory = tempfile::tempdir().unwrap();
        let switch = Namespace::new();
        switch.run("ip link set lo up");
        let hosts = HOSTS.map(|number| {
            let host = Namespace::new();
            let pid = host.holder.0.id();
            switch.run(&format!(
                "ip link add eth{number} type veth peer name eth0 address 02:00:00:00:00:0{number} netns {pid} && \
                 ip link set eth{number} up"
            ));
            host.run(&format!("ip addr add 10.0.0.{number}/24 dev eth0 && ip link set eth0 up"));
            host
        });
        let controller = switch
            .command(python)
            .args(["-W", "ignore"])
            .arg(Path::new(CONFORMANCE).join("controller.py"))
            .arg("simple_switch_13")
            .stderr(File::create(directory.path().join("controller.log")).unwrap())
            .spawn()
            .unwrap();
        let mut footbridge = switch.command(env!("CARGO_BIN_EXE_footbridge"));
        footbridge.args(["switch", "--bridge", "br0", "--controller", "tcp:127.0.0.1:6653", "--run-dir"]);
        footbridge.arg(directory.path());
        for number in HOSTS {
            footbridge.args(["--port", &format!("eth{number}={number}")]);
        }
        let footbridge =
            footbridge.stderr(File::create(directory.path().join("switch.log")).unwrap()).spawn().unwrap();
        let running = vec![Process(controller), Process(footbridge)];
        Bed { directory, running, hosts: hosts.into(), _switch: switch }
    }

    fn ping(&self, from: u32, to: u32) {
        let host = &self.hosts[from as usize - 1];
        let sent = host
            .command("ping")
            .args(["-n", "-c", "1", "-W", "5", &format!("10.0.0.{to}")])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&sent.stdout);
        assert!(sent.status.success(), "{from} does not reach {to}: {said}\n{}", self.logs());
    }

    /// Match and actions of each flow, sorted, as a client that we did not write reads them.
    fn flows(&self) -> Vec<(String, String)> {
        let socket = format!("unix:{}", self.directory.path().join("br0.mgmt").display());
        let dumped = Command::new("ovs-ofctl")
            .args(["-O", "OpenFlow13", "--no-stats", "--no-names", "dump-flows", &socket])
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&dumped.stdout).into_owned();
        let mut flows: Vec<(String, String)> = printed
            .lines()
            .filter_map(|line| {
                let (matching, actions) = line.trim().split_once(" actions=")?;
                Some((matching.to_owned(), actions.to_owned()))
            })
            .collect();
        flows.sort();
        flows
    }

    /// How many packets the app says that it was sent.
    fn packet_ins(&self) -> usize {
        let log = fs::read_to_string(self.directory.path().join("controller.log")).unwrap();
        log.lines().filter(|line| line.contains("packet in ")).count()
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&Bed) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(
                Instant::now() < deadline,
                "not within 30 s: {what}; flows {:?}\n{}",
                self.flows(),
                self.logs()
            );
            sleep(Duration::from_millis(50));
        }
    }

    fn logs(&self) -> String {
        ["controller.log", "switch.log"]
            .map(|name| {
                let log = fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
                format!("-- {name}\n{log}")
            })
            .join("\n")
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // The switch before the namespace that holds its devices.
        self.running.clear();
    }
}

/// A network namespace without a name, held by a process.
struct Namespace {
    holder: Process,
}

impl Namespace {
    /// A namespace whose devices send nothing by themselves: IPv6 is off.
    fn new() -> Namespace {
        let holder = dying_with_us(&["unshare", "--net", "sleep", "infinity"]).spawn().unwrap();
        let namespace = Namespace { holder: Process(holder) };
        let ours = fs::read_link("/proc/self/ns/net").unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while fs::read_link(namespace.path()).is_ok_and(|theirs| theirs == ours) {
            assert!(Instant::now() < deadline, "unshare made no namespace");
            sleep(Duration::from_millis(5));
        }
        namespace.run("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6");
        namespace
    }

    fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.0.id()).into()
    }

    /// A program in the namespace.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = dying_with_us(&["nsenter", &format!("--net={}", self.path().display()), "--"]);
        command.arg(program);
        command
    }

    fn run(&self, script: &str) {
        let output = self.command("sh").args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A command that the kernel kills when this test's thread ends, however it ends.
fn dying_with_us(words: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).args(words).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A child process, killed and reaped when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already where it ended by itself.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }
}
