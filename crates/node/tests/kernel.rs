//! The agent against a real kernel, in a network namespace of its own: routes come, change, heal.
//!
//! Needs root; says `skipped` where it lacks privileges.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use footbridge_node::ClusterFrom;
use footbridge_node::agent::{self, AgentConfig};
use footbridge_node::config::NodeConfig;
use nix::sched::{CloneFlags, unshare};
use std::fs;
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
    let config = AgentConfig {
        node: NodeConfig::new("worker1"),
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
