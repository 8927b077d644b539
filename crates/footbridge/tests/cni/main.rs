//! The CNI plugin against a running agent and a real kernel: each node, and each container, is a network namespace.
//!
//! Needs root; says `skipped` where it lacks privileges.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

mod chained;
mod cnitool;
mod containerd;
mod crash;
mod node;
mod open_vswitch;
mod schema;

use node::{Container, Node, lacking, own_addresses};
use serde_json::{Value, json};

const SUBNET: &str = "10.222.1.0/24";

/// A node for a test; None, said, where it can't run.
fn node(test: &str, subnet: &str, datapath: &'static str) -> Option<Node> {
    if let Some(why) = lacking() {
        println!("skipped: {test}: {why}");
        return None;
    }
    Some(Node::new(test, subnet, datapath))
}

#[test]
fn pods_that_were_added_talk_to_each_other_and_the_gateway() {
    for datapath in ["userspace", "ebpf"] {
        let Some(node) = node("talk", SUBNET, datapath) else { return };
        let (a, b) = (node.container(), node.container());
        let (added, other) = (node.add(&a), node.add(&b));
        assert_eq!(added["ips"][0]["address"], "10.222.1.2/24");
        assert_eq!(added["ips"][0]["gateway"], "10.222.1.1");
        assert_eq!(added["interfaces"][1]["sandbox"], a.netns());
        assert_eq!(added["interfaces"][1]["mtu"], 1450, "the uplink's less 50");
        assert_eq!(added["routes"], json!([{"dst": "0.0.0.0/0", "gw": "10.222.1.1"}]));
        a.run(&format!("ping -c 1 -W 2 {}", address(&other)));
        a.run("ping -c 1 -W 2 10.222.1.1");
        b.run(&format!("ping -c 1 -W 2 -M do -s 1422 {}", address(&added)));
    }
}

#[test]
fn the_host_interface_is_named_by_pod_and_container() {
    let Some(node) = node("name", SUBNET, "userspace") else { return };
    let mut container = node.container();
    (container.pod, container.id) = ("frontend-84bcdf9-x".to_owned(), "c0ffee".to_owned());
    let result = node.add(&container);
    // printf container/c0ffee | sha1sum
    assert_eq!(result["interfaces"][0]["name"], "frontend-889ab5");
    assert!(node.devices().contains(&"frontend-889ab5".to_owned()));
    // A pod's name may have dots, as those of StatefulSets' and mirror pods have.
    for (pod, id) in [("web.example.org-0", "a.b_c-d"), ("x", "0")] {
        let mut container = node.container();
        (container.pod, container.id) = (pod.to_owned(), id.to_owned());
        let result = node.add(&container);
        assert!(node.check(&container, &result).success);
        container.run("ping -c 1 -W 2 10.222.1.1");
    }
}

#[test]
fn a_deleted_pod_leaves_nothing() {
    let Some(node) = node("del", SUBNET, "userspace") else { return };
    let (empty, devices) = (node.flows(), node.devices());
    let (a, b) = (node.container(), node.container());
    node.add(&a);
    node.add(&b);
    assert_eq!(node.pod_devices().len(), 2);
    assert_eq!(node.files("pods").len(), 2);
    // The second's namespace is gone already, as after a reboot.
    node.remove(&b);
    node.del(&a);
    node.del(&b);
    assert_eq!(node.flows(), empty);
    assert_eq!(node.devices(), devices);
    assert_eq!(node.files("pods"), [""; 0]);
    a.run("sh -c '! ip link show eth0 2>/dev/null'");
    node.del(&a);
}

#[test]
fn check_sees_what_is_not_as_it_was_added() {
    let Some(node) = node("check", SUBNET, "userspace") else { return };
    let container = node.container();
    let result = node.add(&container);
    let check = || {
        let outcome = node.check(&container, &result);
        (!outcome.success).then(|| {
            assert_eq!(outcome.printed["code"], 103, "{}", outcome.printed);
            outcome.printed["details"].as_str().unwrap().to_owned()
        })
    };
    let found = |what: &str| {
        let found = check();
        assert!(found.as_ref().is_some_and(|details| details.contains(what)), "{what}: {found:?}");
    };
    assert_eq!(check(), None);

    container.run("ip addr del 10.222.1.2/24 dev eth0");
    found("address");
    container.run("ip addr add 10.222.1.2/24 dev eth0");
    found("default route");
    container.run("ip route add default via 10.222.1.1");
    assert_eq!(check(), None);
    node.ofctl(&[
        "--strict",
        "del-flows",
        "br-int",
        "table=70,priority=200,ip,dl_dst=aa:bb:cc:dd:ee:ff,nw_dst=10.222.1.2",
    ]);
    found("table=70");
    assert_eq!(check(), None, "the agent has put it back");
    container.run("ip link set eth0 mtu 1300");
    assert_eq!(check(), None, "a chained plugin may make it smaller");
    container.run("ip link set eth0 mtu 1500");
    found("MTU");
    container.run("ip link set eth0 mtu 1450");
    container.run("ip link set eth0 address 02:00:00:00:00:09");
    found("MAC address");

    let mut other = result.clone();
    other["ips"][0]["address"] = json!("10.222.1.77/24");
    let outcome = node.check(&container, &other);
    assert_eq!(outcome.printed["code"], 103);
    let stranger = Container { id: "c0ffee".to_owned(), ..container.clone() };
    assert_eq!(node.check(&stranger, &result).printed["code"], 103);
}

#[test]
fn an_add_said_again_answers_the_same() {
    let Some(node) = node("again", SUBNET, "userspace") else { return };
    let container = node.container();
    let first = node.add(&container);
    assert_eq!(node.add(&container), first);
    let twin = node.container();
    let twice = std::thread::scope(|scope| {
        [(); 2].map(|()| scope.spawn(|| node.add(&twin))).map(|call| call.join().unwrap())
    });
    assert_eq!(twice[0], twice[1], "and at the same time");
    // In a namespace that was made anew it is attached anew.
    node.remove(&container);
    node::shell(&format!("ip netns add {}", container.namespace));
    let again = node.add(&container);
    assert!(node.check(&container, &again).success);
    assert_eq!(node.pod_devices().len(), 2);
}

#[test]
fn an_add_that_fails_leaves_nothing() {
    let Some(node) = node("fail", SUBNET, "userspace") else { return };
    let container = node.container();
    container.run("ip link add eth0 type bridge");
    let outcome = node.call("ADD", &container, &node.config("1.1.0", &own_addresses()));
    assert_eq!(outcome.printed["code"], 102, "{}", outcome.printed);
    assert_eq!(node.files("pods"), [""; 0]);
    assert_eq!(node.pod_devices(), [""; 0]);
    container.run("ip link del eth0");
    node.add(&container);
}

#[test]
fn the_last_address_is_given_and_then_given_again_when_it_is_free() {
    let Some(node) = node("full", "10.222.1.0/29", "userspace") else { return };
    let containers: Vec<Container> = (0..5).map(|_| node.container()).collect();
    containers.iter().for_each(|container| drop(node.add(container)));
    let late = node.container();
    let outcome = node.call("ADD", &late, &node.config("1.1.0", &own_addresses()));
    assert_eq!(outcome.printed["code"], 100);
    let details = outcome.printed["details"].as_str().unwrap();
    assert_eq!(details, "no address is left for a pod in 10.222.1.0/29: 5 are in use");
    node.del(&containers[3]);
    assert_eq!(node.add(&late)["ips"][0]["address"], "10.222.1.5/29");
}

#[test]
fn a_del_without_an_agent_succeeds_and_is_finished_by_the_next() {
    let Some(mut node) = node("down", SUBNET, "userspace") else { return };
    let container = node.container();
    let empty = node.flows();
    let result = node.add(&container);
    node.kill_agent();
    let down = node.call("ADD", &node.container(), &node.config("1.1.0", &own_addresses()));
    assert_eq!(down.printed["code"], 11, "{}", down.printed);
    assert_eq!(node.call("STATUS", &container, &node.config("1.1.0", &json!({}))).printed["code"], 50);
    assert_eq!(node.check(&container, &result).printed["code"], 11);
    node.del(&container);
    assert_eq!(node.files("deletions").len(), 1);
    node.start_agent();
    node.wait_ready();
    node.wait("the pod is gone", || node.files("pods").is_empty() && node.files("deletions").is_empty());
    assert_eq!(node.flows(), empty.iter().map(|flow| next_round(flow)).collect::<Vec<_>>());
    assert_eq!(node.pod_devices(), [""; 0]);
}

#[test]
fn the_next_agent_knows_the_pods_and_their_ports() {
    for datapath in ["userspace", "ebpf"] {
        let Some(mut node) = node("next", SUBNET, datapath) else { return };
        let (gone, container) = (node.container(), node.container());
        node.add(&gone);
        let result = node.add(&container);
        node.del(&gone);
        let (flows, ports) = (node.flows(), node.footbridge(&["ports"]));
        assert!(ports.contains("pod-1-"), "{ports}");
        node.kill_agent();
        node.start_agent();
        node.wait_ready();
        let expected: Vec<String> = flows.iter().map(|flow| next_round(flow)).collect();
        assert_eq!(sorted(node.flows()), sorted(expected));
        assert_eq!(node.footbridge(&["ports"]), ports, "port 3 stays free, 4 stays the pod's");
        assert!(node.check(&container, &result).success);
        container.run("ping -c 1 -W 2 10.222.1.1");
    }
}

#[test]
fn status_is_well_when_a_pod_can_be_added() {
    let Some(node) = node("status", SUBNET, "userspace") else { return };
    let outcome = node.call("STATUS", &node.container(), &node.config("1.1.0", &json!({})));
    assert!(outcome.success, "{}", outcome.printed);
    assert_eq!(outcome.printed, Value::Null);
}

#[test]
fn gc_removes_what_is_no_valid_attachment_of_its_network() {
    let Some(node) = node("gc", SUBNET, "userspace") else { return };
    let (stays, goes, other) = (node.container(), node.container(), node.container());
    let result = node.add(&stays);
    node.add(&goes);
    let mut config = node.config("1.1.0", &own_addresses());
    config["name"] = json!("other");
    assert!(node.call("ADD", &other, &config).success);
    let mut config = node.config("1.1.0", &own_addresses());
    config["cni.dev/valid-attachments"] = json!([{"containerID": stays.id, "ifname": "eth0"}]);
    let outcome = node.call("GC", &goes, &config);
    assert!(outcome.success, "{}", outcome.printed);
    assert_eq!(node.files("pods").len(), 2);
    assert!(node.check(&stays, &result).success);
    goes.run("sh -c '! ip link show eth0 2>/dev/null'");
    other.run("ip link show eth0");
}

/// The pod's address in a result.
fn address(result: &Value) -> String {
    result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned()
}

/// A flow as the agent's next start writes it.
fn next_round(flow: &str) -> String {
    flow.replace("cookie=0x1", "cookie=0x2")
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn install_puts_program_and_configuration_in_place_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let (programs, lists) = (directory.path().join("bin"), directory.path().join("net.d"));
    let install = |more: &[&str]| {
        let mut command = std::process::Command::new(node::PROGRAM);
        command.arg("install").arg("--bin-dir").arg(&programs).arg("--conf-dir").arg(&lists).args(more);
        command.output().unwrap()
    };
    for _ in 0..2 {
        assert!(install(&[]).status.success());
        for (directory, file) in [(&programs, "footbridge"), (&lists, "10-footbridge.conflist")] {
            let files: Vec<_> =
                std::fs::read_dir(directory).unwrap().map(|f| f.unwrap().file_name()).collect();
            assert_eq!(files, [file]);
        }
    }
    // What was installed is the plugin.
    let mut plugin = std::process::Command::new(programs.join("footbridge"));
    plugin.env_clear().env("CNI_COMMAND", "VERSION");
    let outcome = node::call(plugin, &json!({"cniVersion": "1.0.0"}));
    let versions = json!(["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    assert_eq!(outcome.printed, json!({"cniVersion": "1.0.0", "supportedVersions": versions}));
    // A configuration that is none replaces nothing.
    let list = std::fs::read(lists.join("10-footbridge.conflist")).unwrap();
    let wrong = directory.path().join("wrong");
    std::fs::write(&wrong, "{}").unwrap();
    assert!(!install(&["--config", wrong.to_str().unwrap()]).status.success());
    assert_eq!(std::fs::read(lists.join("10-footbridge.conflist")).unwrap(), list);
}

#[test]
fn pods_of_before_the_machine_was_started_again_are_taken_away() {
    let Some(mut node) = node("reboot", SUBNET, "userspace") else { return };
    let container = node.container();
    node.add(&container);
    node.stop_agent();
    // As a reboot leaves it: namespaces and devices are gone, the state directory is not.
    node.remove(&container);
    let file = node.path("state/pods").join(&node.files("pods")[0]);
    let record = std::fs::read_to_string(&file).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    std::fs::write(&file, record.replace(boot.trim(), "another")).unwrap();
    node.start_agent();
    node.wait_ready();
    node.wait("the pod is gone", || node.files("pods").is_empty());
    assert!(!node.flows().iter().any(|flow| flow.contains("pod-")));
}

#[test]
fn a_pod_is_announced_behind_its_guard() {
    let Some(node) = node("announce", SUBNET, "userspace") else { return };
    let container = node.container();
    let capture = node.capture_arp();
    let result = node.add(&container);
    // What comes to the gateway has passed table 10: the pod's flows stood before it spoke.
    let line = format!("Request who-has {0} tell {0}", address(&result));
    node.wait(&line, || capture.text().contains(&line));
}

#[test]
fn trouble_elsewhere_keeps_no_pod_from_its_network() {
    let Some(mut node) = node("trouble", SUBNET, "userspace") else { return };
    let goes = node.container();
    node.add(&goes);
    node.stop_agent();
    // Somebody has the tunnels' port, so that the loop never comes to an end without an error.
    let _other = node.spawn("nc -u -l -k 4789");
    node.wait("the port is taken", || !node.run("ss -Huln sport = :4789").is_empty());
    node.start_agent();
    let status = || node.call("STATUS", &goes, &node.config("1.1.0", &own_addresses())).printed;
    node.wait("the agent says what is wrong", || status()["code"] == 51);
    assert!(status()["details"].as_str().unwrap().contains("4789"), "{}", status());
    let comes = node.container();
    node.add(&comes);
    comes.run("ping -c 1 -W 2 10.222.1.1");
    node.del(&goes);
    assert_eq!(node.files("pods").len(), 1);
}

#[test]
fn the_socket_is_roots_and_what_is_no_call_harms_nobody() {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    let Some(node) = node("socket", SUBNET, "userspace") else { return };
    let mode = |name: &str| std::fs::metadata(node.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("run"), mode("run/cni.sock")), (0o700, 0o600));
    let tell = |bytes: &[u8]| {
        let mut stream = std::os::unix::net::UnixStream::connect(node.path("run/cni.sock")).unwrap();
        // It may hang up before all is written.
        drop(stream.write_all(bytes));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(answer.get(4..).unwrap_or_default()).into_owned()
    };
    let framed = |text: &str| [&u32::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat();
    assert!(tell(&framed("{}")).contains("no request"));
    let add = json!({"environment": {"CNI_COMMAND": "ADD"}, "config": "{}"});
    assert!(tell(&framed(&add.to_string())).contains("CNI_CONTAINERID"), "the agent reads the call again");
    let whole =
        json!({"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "a", "CNI_IFNAME": "eth0", "CNI_NETNS": "/x"});
    let add = json!({"environment": whole, "config": node.config("1.0.0", &own_addresses()).to_string()});
    assert!(tell(&framed(&add.to_string())).contains("no descriptor came"));
    assert_eq!(tell(&[0xff; 64]), "", "too long to be one");
    assert_eq!(tell(&[0, 0, 1, 0, b'{']), "", "cut short");
    assert_eq!(tell(&[]), "");
    node.add(&node.container());
}

#[test]
fn a_full_disk_keeps_no_pod_from_going() {
    let Some(mut node) = node("full-disk", SUBNET, "userspace") else { return };
    node.stop_agent();
    let state = node.path("state").display().to_string();
    let disk = node::Mounted::tmpfs(&state, "1m");
    node.start_agent();
    node.wait_ready();
    let (goes, late) = (node.container(), node.container());
    node.add(&goes);
    node::shell(&format!("cat /dev/zero > {state}/fill 2>/dev/null || true"));
    let outcome = node.call("ADD", &late, &node.config("1.1.0", &own_addresses()));
    assert_eq!(outcome.printed["code"], 104, "{}", outcome.printed);
    late.run("sh -c '! ip link show eth0 2>/dev/null'");
    node.del(&goes);
    assert_eq!(node.files("pods"), [""; 0]);
    assert_eq!(node.pod_devices(), [""; 0]);
    node::shell(&format!("rm {state}/fill"));
    node.add(&late);
    node.stop_agent();
    drop(disk);
}

#[test]
fn a_pod_with_the_address_of_one_before_is_reached_at_once() {
    for datapath in ["userspace", "ebpf"] {
        // Room for one pod.
        let Some(node) = node("heir", "10.222.1.0/30", datapath) else { return };
        for _ in 0..3 {
            let container = node.container();
            assert_eq!(address(&node.add(&container)), "10.222.1.2");
            // Whoever knows the MAC address of the one before hears by the announcement of the new one.
            node.run("ping -c 1 -W 1 10.222.1.2");
            node.del(&container);
        }
    }
}
