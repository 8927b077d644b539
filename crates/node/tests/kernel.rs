//! The agent against a real kernel, in a network namespace of its own: routes come, change, heal.
//!
//! Needs root; says `skipped` where it lacks privileges.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use footbridge_node::ClusterFrom;
use footbridge_node::agent::{self, AgentConfig};
use footbridge_node::config::{EncapMode, NodeConfig};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const ARTICLE: &str = include_str!("../../footbridge/labs/article.yaml");

/// Run a claim in a thread with a network namespace of its own, which ends with the thread.
fn in_namespace(name: &str, claim: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: {name}: needs root for a network namespace");
        return;
    }
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        claim();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// `(destination, next hop, onlink)` of each route over the gateway that has a next hop.
fn routes() -> Vec<(String, String, bool)> {
    let listed = run("ip -j route show dev antrea-gw0 2>/dev/null || echo '[]'");
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let text = |route: &serde_json::Value, key: &str| Some(route[key].as_str()?.to_owned());
    let routes = listed.as_array().unwrap().iter();
    routes
        .filter_map(|route| {
            let onlink = route["flags"].as_array().is_some_and(|f| f.iter().any(|f| f == "onlink"));
            Some((text(route, "dst")?, text(route, "gateway")?, onlink))
        })
        .collect()
}

fn route(subnet: u8) -> (String, String, bool) {
    (format!("10.222.{subnet}.0/24"), format!("10.222.{subnet}.1"), true)
}

/// Wait until it holds; how long that took.
async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(15), "not within 15 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

/// Run worker1's agent in this thread while `story` goes on.
fn with_agent<F: Future<Output = ()>>(directory: &Path, story: impl FnOnce() -> F) {
    run("ip link add ens160 type veth peer name underlay && ip addr add 10.79.1.201/24 dev ens160 && \
         ip link set ens160 up && ip link set underlay up && ip link set lo up && \
         ip link add frontend-a3ba2f type veth peer name pod");
    run_agent(directory, NodeConfig::new("worker1"), story);
}

/// Run an agent in this thread while `story` goes on.
fn run_agent<F: Future<Output = ()>>(directory: &Path, node: NodeConfig, story: impl FnOnce() -> F) {
    let config = AgentConfig {
        node,
        cluster: ClusterFrom::File(directory.join("cluster.yaml")),
        run_dir: directory.join("run"),
        state_dir: directory.join("state"),
        ovs: None,
        datapath: footbridge_datapath::DatapathChoice::Userspace,
        pins: directory.join("pins"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { agent::run(config, story()).await.unwrap() });
}

#[test]
fn routes_appear_change_and_heal_and_a_bad_file_touches_nothing() {
    in_namespace("routes_appear_change_and_heal_and_a_bad_file_touches_nothing", || {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cluster.yaml");
        fs::write(&file, ARTICLE).unwrap();
        let ready = directory.path().join("run/ready");
        with_agent(directory.path(), || async {
            wait_until("ready", || ready.exists()).await;
            assert_eq!(routes(), [route(0), route(2)]);
            let printed = run("ip route");
            assert!(printed.contains("10.222.2.0/24 via 10.222.2.1 dev antrea-gw0 onlink"), "{printed}");
            let gateway = run("ip -j addr show antrea-gw0");
            assert!(gateway.contains("10.222.1.1") && gateway.contains("4e:99:08:c1:53:be"), "{gateway}");
            assert!(gateway.contains("\"mtu\":1450"), "{gateway}");
            assert_eq!(run("cat /proc/sys/net/ipv4/ip_forward").trim(), "1");
            assert_eq!(run("cat /proc/sys/net/ipv4/conf/antrea-gw0/arp_announce").trim(), "1");
            assert_eq!(run("cat /proc/sys/net/ipv6/conf/antrea-gw0-p/disable_ipv6").trim(), "1");
            assert!(run("ip link show frontend-a3ba2f").contains("UP"));
            let rules = run("nft -j list ruleset");
            assert!(rules.contains("guard-frontend-a3ba2f") && rules.contains("guard-antrea-gw0-p"));

            run("ip route del 10.222.2.0/24");
            wait_until("the deleted route is back", || routes() == [route(0), route(2)]).await;
            run(
                "ip route replace 10.222.2.0/24 via 10.222.2.1 dev antrea-gw0 onlink metric 7; ip route del 10.222.2.0/24 metric 0",
            );
            wait_until("the changed route is as it was", || routes() == [route(0), route(2)]).await;
            run("ip neigh replace 10.222.2.1 lladdr 02:00:00:00:00:01 dev antrea-gw0 nud permanent");
            wait_until("the neighbour is gone", || !run("ip neigh").contains("10.222.2.1")).await;
            run("ip link del antrea-gw0");
            wait_until("the gateway is back", || routes() == [route(0), route(2)]).await;
            run("ip link set antrea-gw0 down");
            wait_until("the gateway is up", || routes() == [route(0), route(2)]).await;
            run("ip addr del 10.222.1.1/24 dev antrea-gw0");
            wait_until("the address is back", || run("ip addr").contains("10.222.1.1/24")).await;

            fs::write(&file, ARTICLE.replace("10.222.2.", "10.222.7.").replace("10.79.1.202", "10.79.1.209"))
                .unwrap();
            let took = wait_until("the peer's new subnet", || routes() == [route(0), route(7)]).await;
            println!("a re-created peer's route took {took:?}");

            fs::write(&file, "kind: Nonsense").unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(routes(), [route(0), route(7)]);
            fs::remove_file(&file).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(routes(), [route(0), route(7)]);
            fs::write(directory.path().join("new"), ARTICLE).unwrap();
            fs::rename(directory.path().join("new"), &file).unwrap();
            wait_until("the file that was renamed here", || routes() == [route(0), route(2)]).await;
        });
        assert!(!ready.exists());
        assert_eq!(fs::read_to_string(directory.path().join("state/round")).unwrap().trim(), "1");
        assert!(run("nft -j list ruleset").contains("guard-frontend-a3ba2f"), "fails closed");
    });
}

#[test]
fn a_forward_policy_of_drop_lets_the_gateway_pass() {
    in_namespace("a_forward_policy_of_drop_lets_the_gateway_pass", || {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cluster.yaml"), ARTICLE).unwrap();
        run(
            "nft add table ip filter && nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
        );
        let ready = directory.path().join("run/ready");
        with_agent(directory.path(), || async {
            wait_until("ready", || ready.exists()).await;
            let chain = run("nft list chain ip filter FORWARD");
            assert_eq!(chain.matches("antrea-gw0\" accept").count(), 2, "{chain}");
        });
    });
}

#[test]
fn a_host_device_that_a_pods_annotation_names_keeps_its_address_and_the_others_go_on() {
    let name = "a_host_device_that_a_pods_annotation_names_keeps_its_address_and_the_others_go_on";
    in_namespace(name, || {
        let directory = tempfile::tempdir().unwrap();
        assert!(ARTICLE.contains("footbridge.io/interface: backend1-bab86f"));
        let cluster = ARTICLE.replace("interface: backend1-bab86f", "interface: eth9");
        fs::write(directory.path().join("cluster.yaml"), cluster).unwrap();
        run(
            "ip link add eth9 type veth peer name far && ip addr add 192.0.2.9/24 dev eth9 && ip link set eth9 up",
        );
        let ready = directory.path().join("run/ready");
        with_agent(directory.path(), || async {
            wait_until("ready", || ready.exists()).await;
            assert!(run("ip addr show eth9").contains("192.0.2.9/24"));
            assert_eq!(run("cat /proc/sys/net/ipv6/conf/eth9/disable_ipv6").trim(), "0");
            let rules = run("nft -j list ruleset");
            assert!(!rules.contains("guard-eth9") && rules.contains("guard-frontend-a3ba2f"), "{rules}");
            assert!(run("ip link show frontend-a3ba2f").contains("UP"));
            assert!(!run("ip -d link show eth9").contains("promiscuity 1"), "eth9 is a port");
        });
    });
}

/// A named network namespace, which goes when dropped.
struct Namespace(String);

impl Namespace {
    fn new(what: &str) -> Namespace {
        let name = format!("fb-kernel-{}-{what}", std::process::id());
        run(&format!("ip netns add {name} && ip -n {name} link set lo up"));
        Namespace(name)
    }

    /// Do something inside, on a thread that ends with it.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(&self.0)).unwrap();
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            thread.join().unwrap()
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Whom worker1's frontend seems to be at some addresses of the network around worker1, in an order of theirs.
struct Outside {
    pod: Namespace,
    _network: Namespace,
}

/// The gateway of the nodes' network, worker2's own address, and its pod's.
const ASKED: [&str; 3] = ["10.79.1.1", "10.79.1.202", "10.222.2.34"];

impl Outside {
    /// The nodes' network, and the pod; each address answers with the sender's.
    fn around_worker1(test: &str) -> Outside {
        let (pod, network) = (Namespace::new(&format!("{test}-pod")), Namespace::new(&format!("{test}-net")));
        let (pod_name, net) = (&pod.0, &network.0);
        run(&format!(
            "ip link set lo up && ip link add ens160 type veth peer name underlay netns {net} && \
             ip addr add 10.79.1.201/24 dev ens160 && ip link set ens160 up && ip route add default via 10.79.1.1 && \
             ip -n {net} addr add 10.79.1.1/24 dev underlay && ip -n {net} addr add 10.79.1.202/24 dev underlay && \
             ip -n {net} link set underlay up && ip -n {net} addr add 10.222.2.34/32 dev lo && \
             ip -n {net} route add 10.222.1.0/24 via 10.79.1.201 && \
             ip link add frontend-a3ba2f type veth peer name eth0 netns {pod_name} && \
             ip -n {pod_name} link set eth0 address be:2c:bf:e4:ec:c5 && \
             ip -n {pod_name} addr add 10.222.1.48/24 dev eth0 && ip -n {pod_name} link set eth0 up && \
             ip -n {pod_name} route add default via 10.222.1.1 && \
             ip netns exec {pod_name} ethtool -K eth0 tx off >/dev/null"
        ));
        // As a cautious administrator has it.
        run(
            "nft 'add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
        );
        for address in ASKED {
            let socket = network.inside(|| UdpSocket::bind((address, 9000)).unwrap());
            std::thread::spawn(move || {
                let mut buffer = [0; 16];
                while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(from.ip().to_string().as_bytes(), from);
                }
            });
        }
        Outside { pod, _network: network }
    }

    /// Whom the pod seems to be at each of [`ASKED`]; None where there is no answer.
    fn seen(&self) -> Vec<Option<String>> {
        self.pod.inside(|| ASKED.map(seen_at).to_vec())
    }
}

fn seen_at(address: &str) -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect((address, 9000)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut buffer = [0; 16];
    // Neighbours are asked for first.
    (0..10).find_map(|_| {
        socket.send(b"who am I?").ok()?;
        let length = socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    })
}

/// Whom the pod seems to be with this configuration, where the forward policy is drop.
fn seen_with(test: &str, config: NodeConfig) -> Vec<Option<String>> {
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("run/ready");
    fs::write(directory.path().join("cluster.yaml"), ARTICLE).unwrap();
    let outside = Outside::around_worker1(test);
    let seen = std::sync::Mutex::new(Vec::new());
    run_agent(directory.path(), config, || async {
        wait_until("ready", || ready.exists()).await;
        // The agent runs on this thread.
        let asked = std::thread::scope(|scope| {
            let asked = scope.spawn(|| outside.seen());
            asked.join().unwrap()
        });
        *seen.lock().unwrap() = asked;
    });
    seen.into_inner().unwrap()
}

const NODE: &str = "10.79.1.201";
const POD: &str = "10.222.1.48";

fn all<const N: usize>(seen: [&str; N]) -> Vec<Option<String>> {
    seen.into_iter().map(|address| Some(address.to_owned())).collect()
}

#[test]
fn without_tunnels_pods_and_nodes_see_a_pods_address_and_others_the_nodes() {
    in_namespace("without_tunnels_pods_and_nodes_see_a_pods_address_and_others_the_nodes", || {
        let config = NodeConfig { encap: EncapMode::NoEncap, ..NodeConfig::new("worker1") };
        assert_eq!(seen_with("plain", config), all([NODE, POD, POD]));
    });
}

#[test]
fn without_masquerading_everybody_sees_a_pods_address() {
    in_namespace("without_masquerading_everybody_sees_a_pods_address", || {
        let node = NodeConfig::new("worker1");
        let config = NodeConfig { encap: EncapMode::Hybrid, masquerade: false, ..node };
        assert_eq!(seen_with("bare", config), all([POD, POD, POD]));
    });
}

#[test]
fn with_tunnels_whoever_is_no_pod_sees_the_nodes_address() {
    in_namespace("with_tunnels_whoever_is_no_pod_sees_the_nodes_address", || {
        let seen = seen_with("tunnels", NodeConfig::new("worker1"));
        // Nobody takes packets out of the tunnel here.
        assert_eq!(seen, [all([NODE, NODE]), vec![None]].concat());
    });
}

#[test]
fn peers_routes_follow_the_mode() {
    in_namespace("peers_routes_follow_the_mode", || {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cluster.yaml"), ARTICLE).unwrap();
        let ready = directory.path().join("run/ready");
        let peers = || run("ip route show 10.222.2.0/24").trim().to_owned();
        run("ip link set lo up && ip link add ens160 type veth peer name underlay && \
             ip addr add 10.79.1.201/24 dev ens160 && ip link set ens160 up && ip link set underlay up");
        let direct = "10.222.2.0/24 via 10.79.1.202 dev ens160 proto 102";
        let tunnelled = "10.222.2.0/24 via 10.222.2.1 dev antrea-gw0 onlink";
        for (encap, expected) in
            [(EncapMode::Hybrid, direct), (EncapMode::Encap, tunnelled), (EncapMode::NoEncap, direct)]
        {
            run_agent(directory.path(), NodeConfig { encap, ..NodeConfig::new("worker1") }, || async {
                wait_until("ready", || ready.exists()).await;
                assert_eq!(peers(), expected, "{encap:?}");
                run("ip route del 10.222.2.0/24");
                wait_until("the route is back", || peers() == expected).await;
            });
        }
        let article = ARTICLE.replace("10.79.1.202", "10.79.9.202");
        fs::write(directory.path().join("cluster.yaml"), article).unwrap();
        let config = NodeConfig { encap: EncapMode::Hybrid, ..NodeConfig::new("worker1") };
        run_agent(directory.path(), config, || async {
            wait_until("ready", || ready.exists()).await;
            assert_eq!(peers(), tunnelled, "a node elsewhere");
        });
    });
}
