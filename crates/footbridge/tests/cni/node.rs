//! A node in network namespaces: an uplink, an agent, and containers that the plugin attaches.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// This program.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_footbridge");

/// Why nodes can't run here, if they can't.
pub(crate) fn lacking() -> Option<String> {
    (!nix::unistd::geteuid().is_root()).then(|| "needs root".to_owned())
}

/// A node. Dropped, it leaves nothing.
pub(crate) struct Node {
    pub(crate) name: String,
    datapath: &'static str,
    directory: tempfile::TempDir,
    agent: Option<Child>,
    containers: AtomicU32,
}

/// What a call of the plugin came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Exit status 0.
    pub(crate) success: bool,
    /// What it printed; null where it printed nothing.
    pub(crate) printed: Value,
}

/// One of a node's containers: a network namespace.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) pod: String,
    pub(crate) namespace: String,
}

impl Node {
    /// A node with that pod subnet, its agent ready.
    pub(crate) fn new(test: &str, subnet: &str, datapath: &'static str) -> Node {
        static NODES: AtomicU32 = AtomicU32::new(0);
        let name = format!("fbc{}-{}", std::process::id(), NODES.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::Builder::new().prefix(&format!("fb-cni-{test}-")).tempdir().unwrap();
        let cluster = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker1"},
            "spec": {"podCIDR": subnet},
            "status": {"addresses": [{"type": "InternalIP", "address": "10.79.1.201"}]},
        });
        fs::write(directory.path().join("cluster.yaml"), cluster.to_string()).unwrap();
        let mut node = Node { name, datapath, directory, agent: None, containers: AtomicU32::new(0) };
        let n = &node.name;
        shell(&format!(
            "ip netns add {n} && ip -n {n} link add ens160 type veth peer name underlay && \
             ip -n {n} addr add 10.79.1.201/24 dev ens160 && ip -n {n} link set ens160 up && \
             ip -n {n} link set underlay up && ip -n {n} link set lo up"
        ));
        node.start_agent();
        node.wait_ready();
        node
    }

    /// Start an agent; it may take a while until it is ready.
    pub(crate) fn start_agent(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let agent = Command::new(PROGRAM)
            .args(["agent", "--node", "worker1", "--netns", &self.name, "--datapath", self.datapath])
            .arg("--cluster")
            .arg(self.path("cluster.yaml"))
            .arg("--run-dir")
            .arg(self.path("run"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .arg("--pins")
            .arg(self.pins())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(agent);
    }

    pub(crate) fn wait_ready(&self) {
        let pid = self.agent.as_ref().unwrap().id().to_string();
        let ready = || {
            let is = fs::read_to_string(self.path("run/agent.pid")).unwrap_or_default();
            is.trim() == pid && self.path("run/ready").exists()
        };
        self.wait("the agent is ready", ready);
    }

    /// Kill the agent as the kernel does it.
    pub(crate) fn kill_agent(&mut self) {
        self.end_agent(Signal::SIGKILL);
    }

    /// Ask the agent to end.
    pub(crate) fn stop_agent(&mut self) {
        self.end_agent(Signal::SIGTERM);
    }

    fn end_agent(&mut self, signal: Signal) {
        if let Some(mut agent) = self.agent.take() {
            kill(Pid::from_raw(agent.id().try_into().unwrap()), signal).unwrap();
            agent.wait().unwrap();
        }
    }

    /// A container with a network namespace of its own, attached to nothing.
    pub(crate) fn container(&self) -> Container {
        let number = self.containers.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("{}-{number}", self.name);
        shell(&format!("ip netns add {namespace} && ip -n {namespace} link set lo up"));
        Container {
            id: format!("{:08x}{number:056x}", std::process::id()),
            pod: format!("pod-{number}"),
            namespace,
        }
    }

    pub(crate) fn remove(&self, container: &Container) {
        shell(&format!("ip netns del {}", container.namespace));
    }

    /// The network's configuration, with more keys.
    pub(crate) fn config(&self, version: &str, more: &Value) -> Value {
        let mut config = json!({
            "cniVersion": version, "name": "pods", "type": "footbridge",
            "runDir": self.path("run"), "stateDir": self.path("state"),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config
    }

    /// The plugin's process for a call.
    pub(crate) fn plugin(&self, command: &str, container: &Container) -> Command {
        let mut plugin = Command::new(PROGRAM);
        plugin
            .env_clear()
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &container.id)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_NETNS", container.netns())
            .env("CNI_PATH", "/nowhere")
            .env(
                "CNI_ARGS",
                format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={}", container.pod),
            );
        plugin
    }

    /// Another's plugin for a call, in the node's namespace, where it works.
    pub(crate) fn others_plugin(&self, program: &Path, command: &str, container: &Container) -> Command {
        let ours = self.plugin(command, container);
        let mut plugin = Command::new("ip");
        plugin.args(["netns", "exec", &self.name]).arg(program);
        plugin.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        plugin
    }

    /// Another machine on the node's segment.
    pub(crate) fn neighbour(&self, address: &str) -> Container {
        let (neighbour, n) = (self.container(), &self.name);
        let namespace = &neighbour.namespace;
        shell(&format!(
            "ip -n {n} link set underlay netns {namespace} && ip -n {namespace} addr add {address} dev underlay && \
             ip -n {namespace} link set underlay up"
        ));
        neighbour
    }

    /// What ARP comes to the gateway, from now on.
    pub(crate) fn capture_arp(&self) -> Capture {
        let path = self.path("capture");
        let command = ["netns", "exec", &self.name, "tcpdump", "-nli", "antrea-gw0", "arp"];
        let stderr = File::create(self.path("tcpdump")).unwrap();
        let process = Command::new("ip")
            .args(command)
            .stdin(Stdio::null())
            .stdout(File::create(&path).unwrap())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let listening = || fs::read_to_string(self.path("tcpdump")).unwrap().contains("listening on");
        let capture = Capture { _process: Running(process), path };
        self.wait("tcpdump listens", listening);
        capture
    }

    /// One call of the plugin.
    pub(crate) fn call(&self, command: &str, container: &Container, config: &Value) -> Outcome {
        call(self.plugin(command, container), config)
    }

    /// Begin a call of the plugin.
    pub(crate) fn start_call(&self, command: &str, container: &Container, config: &Value) -> Child {
        start(self.plugin(command, container), config)
    }

    /// How many descriptors the agent has open.
    pub(crate) fn agents_descriptors(&self) -> usize {
        let pid = self.agent.as_ref().unwrap().id();
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
    }

    /// An ADD that has to succeed.
    pub(crate) fn add(&self, container: &Container) -> Value {
        let outcome = self.call("ADD", container, &self.config("1.1.0", &own_addresses()));
        assert!(outcome.success, "ADD: {}\n{}", outcome.printed, self.log());
        outcome.printed
    }

    /// A DEL that has to succeed.
    pub(crate) fn del(&self, container: &Container) {
        let outcome = self.call("DEL", container, &self.config("1.1.0", &own_addresses()));
        assert!(outcome.success, "DEL: {}\n{}", outcome.printed, self.log());
        assert_eq!(outcome.printed, Value::Null);
    }

    /// CHECK with that result.
    pub(crate) fn check(&self, container: &Container, result: &Value) -> Outcome {
        let mut config = self.config("1.1.0", &own_addresses());
        config["prevResult"] = result.clone();
        self.call("CHECK", container, &config)
    }

    /// The bridge's flows, as `footbridge flows` prints them.
    pub(crate) fn flows(&self) -> Vec<String> {
        let output = self.footbridge(&["flows"]);
        output.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// `ovs-ofctl` with the node's bridge.
    pub(crate) fn ofctl(&self, arguments: &[&str]) {
        let mut ofctl = Command::new("ovs-ofctl");
        let output = ofctl.args(arguments).env("OVS_RUNDIR", self.path("run")).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A command of this program that asks the agent.
    pub(crate) fn footbridge(&self, arguments: &[&str]) -> String {
        let output =
            Command::new(PROGRAM).args(arguments).arg("--run-dir").arg(self.path("run")).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A shell command in the node's namespace, which has to succeed.
    pub(crate) fn run(&self, command: &str) -> String {
        shell(&format!("ip netns exec {} {command}", self.name))
    }

    /// A command that runs in the node's namespace until it is dropped.
    pub(crate) fn spawn(&self, command: &str) -> Running {
        spawn(&self.name, command)
    }

    /// The node's devices.
    pub(crate) fn devices(&self) -> Vec<String> {
        let listed: Value = serde_json::from_str(&self.run("ip -j link show")).unwrap();
        let names = listed.as_array().unwrap().iter();
        names.map(|link| link["ifname"].as_str().unwrap().to_owned()).collect()
    }

    /// The pods' devices among them.
    pub(crate) fn pod_devices(&self) -> Vec<String> {
        let mut devices = self.devices();
        devices.retain(|name| name.starts_with("pod-"));
        devices.sort();
        devices
    }

    /// The files that stand for pods, or for DELs that were left.
    pub(crate) fn files(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path("state").join(directory)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn pins(&self) -> PathBuf {
        Path::new("/sys/fs/bpf/footbridge").join(&self.name)
    }

    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    pub(crate) fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Container {
    /// The path of its network namespace.
    pub(crate) fn netns(&self) -> String {
        format!("/run/netns/{}", self.namespace)
    }

    /// A shell command inside, which has to succeed.
    pub(crate) fn run(&self, command: &str) -> String {
        shell(&format!("ip netns exec {} {command}", self.namespace))
    }

    /// A command that runs inside until it is dropped.
    pub(crate) fn spawn(&self, command: &str) -> Running {
        spawn(&self.namespace, command)
    }

    /// A web server inside that says `body` to everyone.
    pub(crate) fn serve(&self, port: u16, body: &str) -> Running {
        let server =
            self.spawn(&format!("{PROGRAM} lab-web --netns {} --port {port} {body}", self.namespace));
        self.wait_listening(port);
        server
    }

    /// Wait until somebody listens on a TCP port inside.
    pub(crate) fn wait_listening(&self, port: u16) {
        let start = Instant::now();
        while self.run(&format!("ss -Htln sport = :{port}")).is_empty() {
            assert!(start.elapsed() < Duration::from_secs(30), "nobody listens on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn spawn(namespace: &str, command: &str) -> Running {
    let mut process = Command::new("ip");
    process.args(["netns", "exec", namespace]).args(command.split_whitespace());
    Running(process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// A process that ends when it is dropped.
pub(crate) struct Running(Child);

/// A file system that is mounted until it is dropped.
pub(crate) struct Mounted(String);

impl Mounted {
    /// One of memory, of that size.
    pub(crate) fn tmpfs(path: &str, size: &str) -> Mounted {
        shell(&format!("mount -t tmpfs -o size={size} none {path}"));
        Mounted(path.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        shell(&format!("umount -l {}", self.0));
    }
}

/// A capture that goes on until it is dropped.
pub(crate) struct Capture {
    _process: Running,
    path: PathBuf,
}

impl Capture {
    /// What tcpdump has printed.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop_agent();
        let names = Command::new("ip").args(["netns", "list"]).output().unwrap();
        let names = String::from_utf8_lossy(&names.stdout).into_owned();
        let ours = |name: &&str| *name == self.name || name.starts_with(&format!("{}-", self.name));
        for name in names.lines().filter_map(|line| line.split_whitespace().next()).filter(ours) {
            drop(Command::new("ip").args(["netns", "del", name]).status());
        }
        drop(fs::remove_dir_all(self.pins()));
    }
}

/// Addresses by our own allocator, whatever plugins are installed.
pub(crate) fn own_addresses() -> Value {
    json!({"ipam": {"type": "footbridge"}})
}

/// Run the plugin with a configuration.
pub(crate) fn call(plugin: Command, config: &Value) -> Outcome {
    Outcome::of(start(plugin, config)).unwrap()
}

fn start(mut plugin: Command, config: &Value) -> Child {
    let mut child =
        plugin.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(config.to_string().as_bytes()).unwrap();
    child
}

impl Outcome {
    /// What a call comes to; None where it was killed.
    pub(crate) fn of(call: Child) -> Option<Outcome> {
        let output = call.wait_with_output().unwrap();
        let success = output.status.code()? == 0;
        let text = String::from_utf8_lossy(&output.stdout);
        let printed = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(Outcome { success, printed })
    }
}

pub(crate) fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
