//! The agent on a real Open vSwitch, in a network namespace of its own: flows, ports and gateway come,
//! change and heal.
//!
//! Needs root and Open vSwitch; says `skipped` where it lacks them.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use footbridge_node::ClusterFrom;
use footbridge_node::agent::{self, AgentConfig};
use footbridge_node::config::NodeConfig;
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ARTICLE: &str = include_str!("../../footbridge/labs/article.yaml");
const TABLE_10: &str = include_str!("../../footbridge/labs/article-table-10.txt");
const TABLE_20: &str = include_str!("../../footbridge/labs/article-table-20.txt");
const PODS: [&str; 4] = ["coredns--3e3abf", "antrea-o-830766", "backend1-bab86f", "frontend-a3ba2f"];

/// Run a claim in a thread with a network namespace of its own, which ends with the thread.
fn in_namespace(name: &str, claim: impl FnOnce() + Send + 'static) {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: {name}: needs root for a network namespace");
        return;
    }
    for program in ["ovs-vswitchd", "ovsdb-server", "ovsdb-tool", "ovs-vsctl", "ovs-ofctl"] {
        if Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: {name}: {program} is not installed");
            return;
        }
    }
    if !Path::new("/dev/net/tun").exists() {
        println!("skipped: {name}: no /dev/net/tun, which Open vSwitch in user space needs");
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

/// A node with worker1's uplink and pods' devices, and an Open vSwitch in this thread's namespace.
struct Node {
    directory: tempfile::TempDir,
    database: Child,
    switch: Child,
}

impl Node {
    fn new() -> Node {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let run = |program: &str, args: &[&str]| {
            assert!(Command::new(program).args(args).status().unwrap().success(), "{program} {args:?}");
        };
        run("ovsdb-tool", &["create", &path("conf.db")]);
        let database = Command::new("ovsdb-server")
            .args([&path("conf.db"), &format!("--remote=punix:{}", path("db.sock"))])
            .args(["--unixctl", &path("ovsdb.ctl"), "-vconsole:off", "-vsyslog:off"])
            .spawn()
            .unwrap();
        let switch = switch(directory.path());
        let node = Node { directory, database, switch };
        block_on(wait_until("the database", || node.path("db.sock").exists()));
        node.sh("ovs-vsctl --retry --timeout=20 --no-wait init");
        node.sh(
            "ip link add ens160 type veth peer name underlay && ip addr add 10.79.1.201/24 dev ens160 && \
                 ip link set ens160 up && ip link set underlay up && ip link set lo up",
        );
        for (n, pod) in PODS.iter().enumerate() {
            node.sh(&format!("ip link add {pod} type veth peer name pod{n}"));
        }
        // Without fail_mode, as `add-br` leaves it.
        node.sh("ovs-vsctl add-br br-int -- set bridge br-int datapath_type=netdev");
        fs::write(node.path("cluster.yaml"), ARTICLE).unwrap();
        node
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// What a script prints, which has to succeed.
    fn sh(&self, script: &str) -> String {
        let output = Command::new("sh")
            .args(["-c", script])
            .env("OVS_RUNDIR", self.directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn table(&self, table: u8) -> String {
        self.sh(&format!("ovs-ofctl dump-flows br-int table={table} --no-stats --names"))
    }

    /// Names and numbers of the bridge's ports, LOCAL left out.
    fn ports(&self) -> Vec<(u32, String)> {
        let printed = self.sh("for port in $(ovs-vsctl list-ports br-int); do \
             echo $(ovs-vsctl --if-exists get interface $port ofport) $port; done");
        let mut ports: Vec<(u32, String)> = printed
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(number, name)| Some((number.parse().ok()?, name.to_owned())))
            .collect();
        ports.sort();
        ports
    }

    /// Packets that came in on frontend's port.
    fn packets_of_frontend(&self) -> u64 {
        let printed = self.sh("ovs-ofctl dump-flows br-int table=0,in_port=49");
        let count = printed.split_once("n_packets=").unwrap().1;
        count.split(',').next().unwrap().parse().unwrap()
    }

    /// Run worker1's agent in this thread while `story` goes on.
    fn with_agent<F: Future<Output = ()>>(&self, story: impl FnOnce() -> F) {
        let bridge = format!("unix:{}", self.path("br-int.mgmt").display());
        let config = AgentConfig {
            node: NodeConfig::new("worker1"),
            cluster: ClusterFrom::File(self.path("cluster.yaml")),
            run_dir: self.path("run"),
            state_dir: self.path("state"),
            ovs: Some(bridge.parse().unwrap()),
            datapath: footbridge_datapath::DatapathChoice::Userspace,
            pins: self.path("pins"),
        };
        block_on(async { agent::run(config, story()).await.unwrap() });
    }

    async fn ready(&self) {
        wait_until("ready", || self.path("run/ready").exists()).await;
    }

    /// What the agent notices without waiting for its next look at everything.
    fn nudge(&self) {
        self.sh("ip link add nudge type veth peer name nudged && ip link del nudge");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for daemon in [&mut self.switch, &mut self.database] {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn switch(directory: &Path) -> Child {
    Command::new("ovs-vswitchd")
        .arg(format!("unix:{}", directory.join("db.sock").display()))
        .args(["--unixctl", &directory.join("ctl").display().to_string()])
        .args(["--disable-system", "-vconsole:off", "-vsyslog:off"])
        .env("OVS_RUNDIR", directory)
        .spawn()
        .unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Wait until it holds.
async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("{:5} ms: {what}", start.elapsed().as_millis());
}

/// worker1's ports, and one that is not ours.
fn wanted_ports() -> Vec<(u32, String)> {
    let ports =
        [(1, "antrea-tun0"), (2, "antrea-gw0"), (3, PODS[0]), (4, PODS[1]), (48, PODS[2]), (49, PODS[3])];
    ports.into_iter().chain([(77, "foreign")]).map(|(number, name)| (number, name.to_owned())).collect()
}

#[test]
fn an_open_vswitch_gets_the_articles_flows_and_ports_and_they_heal() {
    in_namespace("an_open_vswitch_gets_the_articles_flows_and_ports_and_they_heal", || {
        let node = Node::new();
        node.sh("ovs-vsctl add-port br-int foreign -- set interface foreign type=internal ofport_request=77");
        // The name of one of ours is taken elsewhere, for a while: the others don't mind.
        node.sh("ovs-vsctl add-br br-ext -- set bridge br-ext datapath_type=netdev -- add-port br-ext antrea-tun0 -- set interface antrea-tun0 type=internal");
        // One that our flows have no words for.
        node.sh("ovs-ofctl add-flow br-int 'table=33,actions=sample(probability=1)'");
        node.with_agent(|| async {
            let others: Vec<_> = wanted_ports().split_off(1);
            wait_until("all ports but one", || node.ports() == others).await;
            assert!(!node.path("run/ready").exists());
            node.sh("ovs-vsctl del-br br-ext");
            node.ready().await;
            assert_eq!((node.table(10).as_str(), node.table(20).as_str()), (TABLE_10, TABLE_20));
            assert_eq!(node.table(33), "", "what is not ours is deleted");
            assert!(node.sh("ovs-ofctl dump-flows br-int").lines().all(|line| !line.contains("cookie=0x0,")));
            assert_eq!(node.ports(), wanted_ports());
            assert_eq!(node.sh("ovs-vsctl get-fail-mode br-int").trim(), "secure");
            let mapped = node.sh("ovs-ofctl dump-tlv-map br-int");
            assert!(mapped.contains("0x104") && mapped.contains("tun_metadata0"), "{mapped}");
            let routes = "10.222.0.0/24 via 10.222.0.1 onlink \n10.222.1.0/24 proto kernel scope link src 10.222.1.1 \n10.222.2.0/24 via 10.222.2.1 onlink \n";
            assert_eq!(node.sh("ip route show dev antrea-gw0"), routes);
            assert!(node.sh("ip link show antrea-gw0").contains("mtu 1450"));

            node.sh("ovs-ofctl del-flows br-int table=20 && ovs-ofctl add-flow br-int table=20,actions=NORMAL");
            node.nudge();
            wait_until("table 20 is as it was", || node.table(20) == TABLE_20).await;
            node.sh("ovs-vsctl del-port frontend-a3ba2f");
            wait_until("the pod's port is back", || node.ports() == wanted_ports()).await;
            node.sh("ovs-vsctl set interface antrea-tun0 options:remote_ip=192.0.2.1 ofport_request=5");
            node.nudge();
            let tunnel = || node.sh("ovs-vsctl get interface antrea-tun0 options");
            wait_until("the tunnel is as it was", || tunnel().contains("remote_ip=flow")).await;
            wait_until("and so is its number", || node.ports() == wanted_ports()).await;
            for taken in ["ovs-vsctl del-port antrea-gw0", "ip link del antrea-gw0"] {
                node.sh(taken);
                let back = || node.sh("ip route show dev antrea-gw0 2>/dev/null || true") == routes;
                wait_until(&format!("the gateway is back after {taken}"), back).await;
            }
            wait_until("with its number", || node.ports() == wanted_ports()).await;

            let moved = ARTICLE.replace("footbridge.io/ofport: \"49\"", "footbridge.io/ofport: \"50\"");
            assert_ne!(moved, ARTICLE);
            fs::write(node.path("cluster.yaml"), moved).unwrap();
            let has = |number: u32| node.ports().contains(&(number, PODS[3].to_owned()));
            wait_until("the port has its new number", || has(50)).await;
            let documents = ARTICLE.split("\n---\n").filter(|document| !document.contains("nodeName: worker1"));
            let gone = documents.collect::<Vec<_>>().join("\n---\n");
            assert_ne!(gone, ARTICLE);
            fs::write(node.path("cluster.yaml"), gone).unwrap();
            let left = [wanted_ports()[0].clone(), wanted_ports()[1].clone(), wanted_ports()[6].clone()];
            wait_until("pods that are gone have no ports", || node.ports() == left).await;
            fs::write(node.path("cluster.yaml"), ARTICLE).unwrap();
            wait_until("they are back", || node.ports() == wanted_ports()).await;
        });
        assert_eq!((node.table(10).as_str(), node.ports()), (TABLE_10, wanted_ports()), "all of it stays");
    });
}

#[test]
fn an_open_vswitch_that_restarts_gets_its_flows_and_its_gateway_again() {
    in_namespace("an_open_vswitch_that_restarts_gets_its_flows_and_its_gateway_again", || {
        let mut node = Node::new();
        let mut again = None;
        let (directory, pid) = (node.directory.path().to_owned(), node.switch.id());
        node.with_agent(|| async {
            node.ready().await;
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            let gateway = || node.sh("ip link show antrea-gw0");
            wait_until("its device has no carrier", || gateway().contains("NO-CARRIER")).await;
            let began = Instant::now();
            again = Some(switch(&directory));
            let flows =
                || node.sh("ovs-ofctl dump-flows br-int table=20 --no-stats --names 2>/dev/null || true");
            wait_until("table 20 is back", || flows() == TABLE_20).await;
            println!("flows were back {:?} after it was started again", began.elapsed());
            wait_until("the gateway has carrier", || gateway().contains("LOWER_UP")).await;
            assert!(gateway().contains("4e:99:08:c1:53:be"), "{}", gateway());
            assert!(node.sh("ip route").contains("10.222.2.0/24 via 10.222.2.1 dev antrea-gw0 onlink"));
        });
        let _ = node.switch.wait();
        node.switch = again.unwrap();
    });
}

#[test]
fn a_veth_pair_of_our_own_bridge_makes_room_for_the_gateway_and_a_strangers_device_is_left_alone() {
    let name =
        "a_veth_pair_of_our_own_bridge_makes_room_for_the_gateway_and_a_strangers_device_is_left_alone";
    in_namespace(name, || {
        let node = Node::new();
        node.sh("ip link add antrea-gw0 type veth peer name antrea-gw0-p");
        node.with_agent(|| async {
            node.ready().await;
            let link = node.sh("ip -d link");
            assert!(link.contains("tun type tap") && !link.contains("antrea-gw0-p"), "{link}");
        });
        node.sh("ovs-vsctl del-port antrea-gw0 && ovs-ofctl del-flows br-int");
        node.sh("ip link add antrea-gw0 type bridge && ip addr add 192.0.2.1/24 dev antrea-gw0");
        node.with_agent(|| async {
            wait_until("flows", || node.table(20).lines().count() == TABLE_20.lines().count()).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!node.path("run/ready").exists());
            assert!(node.sh("ip addr show antrea-gw0").contains("192.0.2.1/24"));
            assert!(!node.ports().iter().any(|(_, name)| name == "antrea-gw0"));
        });
    });
}

#[test]
fn a_pods_device_that_is_made_anew_is_read_again() {
    in_namespace("a_pods_device_that_is_made_anew_is_read_again", || {
        let node = Node::new();
        let speak = || {
            node.sh("ip link set pod3 up; ip addr replace 192.0.2.1/24 dev pod3; \
                     for n in 1 2 3; do ping -q -c 1 -W 0.1 -I pod3 192.0.2.$((n + 1)) || true; done");
            node.packets_of_frontend()
        };
        node.with_agent(|| async {
            node.ready().await;
            wait_until("frontend is heard", || speak() > 0).await;
            node.sh("ip link del frontend-a3ba2f && ip link add frontend-a3ba2f type veth peer name pod3");
            wait_until("its guard is there", || node.sh("ip link show frontend-a3ba2f").contains(",UP"))
                .await;
            // What was under way before is counted late.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let before = node.packets_of_frontend();
            wait_until("frontend is heard again", || speak() > before).await;
            node.sh("ip link del frontend-a3ba2f");
            let port = || node.ports().iter().any(|(_, name)| name == PODS[3]);
            wait_until("a port without its device is gone", || !port()).await;
            node.sh("ip link add frontend-a3ba2f type veth peer name pod3");
            wait_until("it is back", port).await;
            let before = node.packets_of_frontend();
            wait_until("frontend is heard once more", || speak() > before).await;
        });
    });
}
