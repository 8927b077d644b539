//! A real API server in tests, and nodes whose agents follow it.
//!
//! The control plane is in a network namespace of its own, which is the nodes' underlay too; each node is a
//! namespace on it with an agent process. Nothing of the host changes; all is gone when [`Underlay`] is dropped.

#![allow(clippy::unwrap_used, reason = "a test that can't look has failed")]

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/kubernetes");

/// Where the API server is, for nodes.
const SERVER: &str = "10.79.1.254";

/// Why agents and an API server can't run here, if they can't.
pub(crate) fn lacking() -> Option<String> {
    if !geteuid().is_root() {
        return Some("needs root".into());
    }
    let check = Command::new(env!("CARGO_BIN_EXE_footbridge")).arg("check").output().unwrap();
    if !check.status.success() {
        return Some(format!("footbridge check says:\n{}", text(&check.stdout)));
    }
    let programs = PathBuf::from(run(&format!("{SCRIPTS}/build --where")).trim());
    (!programs.join("kube-scheduler").exists())
        .then(|| "Kubernetes is not built here: scripts/kubernetes/build".to_owned())
}

/// A control plane on a network to which nodes can be attached.
pub(crate) struct Underlay {
    name: String,
    programs: PathBuf,
    directory: tempfile::TempDir,
}

impl Underlay {
    /// One of the test's name; `options` are for scripts/kubernetes/control-plane.
    pub(crate) fn new(test: &str, options: &[&str]) -> Underlay {
        let sum = test.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let name = format!("t{}-{:04x}", std::process::id(), sum & 0xffff);
        let programs = run(&format!("{SCRIPTS}/build --where"));
        let underlay = Underlay {
            name: name.clone(),
            programs: programs.trim().into(),
            directory: tempfile::tempdir().unwrap(),
        };
        run(&format!(
            "ip netns add {name} && ip -n {name} link add underlay type bridge && \
             ip -n {name} addr add {SERVER}/24 dev underlay && ip -n {name} link set underlay up && \
             ip -n {name} link set lo up"
        ));
        let up = Command::new(format!("{SCRIPTS}/control-plane"))
            .args(["up", &name, "--netns", &name, "--address", SERVER])
            .args(options)
            .output()
            .unwrap();
        succeeded("control-plane up", &up);
        underlay
    }

    /// The control plane's name, which all that belongs to it has in its own.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Run `control-plane stop` or `start`: the API server alone.
    pub(crate) fn api_server(&self, command: &str) {
        run(&format!("{SCRIPTS}/control-plane {command} {}", self.name));
    }

    /// A kubeconfig of the control plane: `admin` or `agent`.
    pub(crate) fn kubeconfig(&self, of: &str) -> String {
        format!("/run/footbridge-kubernetes/{}/{of}.kubeconfig", self.name)
    }

    /// What the control plane's processes are in.
    pub(crate) fn namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Run kubectl as administrator with `input`; what it printed. It has to succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let output = self.try_kubectl(arguments, input);
        succeeded(&format!("kubectl {arguments:?}"), &output);
        text(&output.stdout)
    }

    /// The same, which may fail.
    pub(crate) fn try_kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut kubectl = Command::new("ip")
            .args(["netns", "exec", &self.name])
            .arg(self.programs.join("kubectl"))
            .args(["--kubeconfig", &self.kubeconfig("admin")])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        kubectl.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        kubectl.wait_with_output().unwrap()
    }

    /// Apply the manifests of deploy/NAME.
    pub(crate) fn deploy(&self, name: &str) {
        let path = format!("{}/../../deploy/{name}", env!("CARGO_MANIFEST_DIR"));
        self.kubectl(&["apply", "-f", &path], "");
    }

    /// Create these Nodes.
    pub(crate) fn create(&self, nodes: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": nodes});
        self.kubectl(&["create", "-f", "-"], &list.to_string());
    }

    /// Delete these Nodes.
    pub(crate) fn delete(&self, nodes: &[&str]) {
        self.kubectl(&[&["delete", "node", "--wait=true"], nodes].concat(), "");
    }

    /// Put other addresses into a Node's status, as its kubelet would.
    pub(crate) fn set_addresses(&self, node: &str, addresses: Value) {
        let mut object: Value =
            serde_json::from_str(&self.kubectl(&["get", "node", node, "-o", "json"], "")).unwrap();
        object["status"]["addresses"] = addresses;
        let path = format!("/api/v1/nodes/{node}/status");
        self.kubectl(&["replace", "--raw", &path, "-f", "-"], &object.to_string());
    }

    /// A namespace on the network with this address on ens160, and nothing else yet.
    pub(crate) fn node(&self, node: &str, address: &str) -> TestNode<'_> {
        let namespace = format!("{}-{node}", self.name);
        let outer = format!("v{}", address.rsplit('.').next().unwrap());
        run(&format!(
            "ip netns add {namespace} && ip -n {namespace} link set lo up && \
             ip -n {namespace} link add ens160 type veth peer name {outer} netns {0} && \
             ip -n {0} link set {outer} master underlay up && \
             ip -n {namespace} addr add {address}/24 dev ens160 && ip -n {namespace} link set ens160 up && \
             ip -n {namespace} route add default via {SERVER}",
            self.name
        ));
        TestNode { underlay: self, node: node.to_owned(), namespace, agent: None }
    }
}

impl Drop for Underlay {
    fn drop(&mut self) {
        let _down = Command::new(format!("{SCRIPTS}/control-plane")).args(["down", &self.name]).status();
        let _deleted = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// A node's namespace, and its agent.
pub(crate) struct TestNode<'a> {
    underlay: &'a Underlay,
    node: String,
    /// The namespace's name.
    pub(crate) namespace: String,
    agent: Option<Child>,
}

impl TestNode<'_> {
    /// Run the agent against the API server.
    pub(crate) fn start_agent(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let agent = Command::new(env!("CARGO_BIN_EXE_footbridge"))
            .args(["agent", "--node", &self.node, "--netns", &self.namespace])
            .args(["--kubeconfig", &self.underlay.kubeconfig("agent")])
            .arg("--run-dir")
            .arg(self.path("run"))
            .arg("--state-dir")
            .arg(self.path("state"))
            .args(["--datapath", "userspace"])
            .stderr(log)
            .spawn()
            .unwrap();
        self.agent = Some(agent);
    }

    /// Its process, to send signals to.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.agent.as_ref().unwrap().id().try_into().unwrap())
    }

    fn path(&self, what: &str) -> PathBuf {
        self.underlay.directory.path().join(format!("{}.{what}", self.node))
    }

    /// What the agent logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Whether the agent has said that it is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.path("run").join("ready").exists()
    }

    /// What the host and the bridge have of peers; nothing before there is an agent.
    pub(crate) fn peers(&self) -> Peers {
        let look = |command: &str| text(&Command::new("sh").args(["-c", command]).output().unwrap().stdout);
        let (program, run_dir) = (env!("CARGO_BIN_EXE_footbridge"), self.path("run"));
        let flows = |table: &str| look(&format!("{program} flows {table} --run-dir {}", run_dir.display()));
        let routes = look(&format!("ip -n {} route show dev antrea-gw0", self.namespace));
        Peers {
            routes: routes.lines().filter_map(|line| Some(line.split_once(" via ")?.0.to_owned())).collect(),
            tunnels: flows("table=70").lines().filter_map(tunnel).collect(),
            answers: flows("table=20").lines().filter_map(|flow| between(flow, "arp_tpa=", ",")).collect(),
        }
    }

    /// Wait until it has these peers, a subnet and an address each, and nothing of others; how long that took.
    pub(crate) fn await_peers<S: AsRef<str>>(&self, peers: &[(S, S)]) -> Duration {
        let wanted = Peers::of(peers);
        let start = Instant::now();
        loop {
            let found = self.peers();
            if found == wanted {
                return start.elapsed();
            }
            let log = self.log();
            assert!(start.elapsed() < PATIENCE, "{found:#?}\nin place of {wanted:#?}\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Send packets from one of its addresses to another node's, a hundred a second, until told to end.
    pub(crate) fn start_pinging(&self, from: &str, to: &str) -> Pinging {
        let ping = Command::new("ip")
            .args(["netns", "exec", &self.namespace, "ping", "-q", "-i", "0.01", "-I", from, to])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Pinging(ping)
    }

    /// Wait until the log has this.
    pub(crate) fn await_log(&self, words: &str) {
        await_that(&format!("the agent says: {words}"), || self.log().contains(words));
    }
}

impl Drop for TestNode<'_> {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _killed = agent.kill();
            let _ended = agent.wait();
        }
        let _deleted = Command::new("ip").args(["netns", "del", &self.namespace]).status();
    }
}

/// A ping that goes on.
pub(crate) struct Pinging(Child);

impl Pinging {
    /// End it: how many packets were sent, and how many answered.
    pub(crate) fn end(self) -> (u32, u32) {
        // An answer that is under way still counts.
        std::thread::sleep(Duration::from_secs(1));
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        let printed = text(&self.0.wait_with_output().unwrap().stdout);
        let line = printed.lines().find(|line| line.contains("packets transmitted")).unwrap();
        let mut numbers = line.split(", ").map(|part| part.split(' ').next().unwrap().parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    }
}

/// What there is of a control plane: namespaces, files, mounts, processes.
pub(crate) fn left_of(name: &str) -> Vec<String> {
    let names_it = |text: &str| text.contains(name);
    let entries = |directory: &str| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>()
    };
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let commands = entries("/proc").into_iter().filter_map(|process| {
        let command = text(&fs::read(format!("{process}/cmdline")).ok()?).replace('\0', " ");
        Some(format!("process {command}"))
    });
    let places = ["/run/netns", "/run/footbridge-kubernetes"].into_iter().flat_map(entries);
    let mounts = mounts.lines().map(|line| format!("mount {line}"));
    places.chain(mounts).chain(commands).filter(|line| names_it(line)).collect()
}

/// Peers as routes, table 70's flows and table 20's show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peers {
    /// Subnets.
    routes: BTreeSet<String>,
    /// The tunnel's end for each subnet.
    tunnels: BTreeMap<String, String>,
    /// Whom ARP requests are answered for.
    answers: BTreeSet<String>,
}

impl Peers {
    /// Of peers with these subnets, all /24, and addresses.
    pub(crate) fn of<S: AsRef<str>>(peers: &[(S, S)]) -> Peers {
        let gateway = |subnet: &str| subnet.replace(".0/24", ".1");
        Peers {
            routes: peers.iter().map(|(subnet, _)| subnet.as_ref().to_owned()).collect(),
            tunnels: peers.iter().map(|(a, b)| (a.as_ref().to_owned(), b.as_ref().to_owned())).collect(),
            answers: peers.iter().map(|(subnet, _)| gateway(subnet.as_ref())).collect(),
        }
    }
}

/// The subnet that a flow sends to a tunnel, and the tunnel's end.
fn tunnel(flow: &str) -> Option<(String, String)> {
    let end = between(flow, "load:0x", "->NXM_NX_TUN_IPV4_DST[]")?;
    // Of several loads the last is meant.
    let end = u32::from_str_radix(end.rsplit("load:0x").next()?, 16).ok()?;
    Some((between(flow, "nw_dst=", " ")?, Ipv4Addr::from(end).to_string()))
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    Some(text.split_once(before)?.1.split_once(after)?.0.to_owned())
}

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Wait until it holds.
pub(crate) fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A Node object with this subnet and InternalIP.
pub(crate) fn node(name: &str, subnet: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "spec": {"podCIDR": subnet, "podCIDRs": [subnet]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    })
}

/// Run a shell command that has to succeed; what it printed.
fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    succeeded(command, &output);
    text(&output.stdout)
}

fn succeeded(what: &str, output: &Output) {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{stdout}\n{stderr}", output.status);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
