//! With plugins of others: host-local for addresses, portmap and bandwidth behind ours (Debian's
//! containernetworking-plugins).

use crate::node::{Container, Node, call};
use crate::{SUBNET, address, node};
use serde_json::{Value, json};
use std::path::Path;

/// Where Debian has plugins.
const PLUGINS: &str = "/usr/lib/cni";

/// A node for a test that needs others' plugins.
fn node_with_plugins(test: &str, subnet: &str, datapath: &'static str) -> Option<Node> {
    if !Path::new(PLUGINS).join("portmap").exists() {
        println!("skipped: {test}: needs {PLUGINS}/portmap (containernetworking-plugins)");
        return None;
    }
    node(test, subnet, datapath)
}

/// Call a plugin of the list as a runtime does.
fn of_the_list(node: &Node, plugin: &str, command: &str, container: &Container, config: &Value) -> Value {
    let mut config = config.clone();
    config["type"] = json!(plugin);
    let mut process = match plugin {
        "footbridge" => node.plugin(command, container),
        other => node.others_plugin(&Path::new(PLUGINS).join(other), command, container),
    };
    process.env("CNI_PATH", PLUGINS);
    let outcome = call(process, &config);
    assert!(outcome.success, "{command} of {plugin}: {}\n{}", outcome.printed, node.log());
    outcome.printed
}

/// ADD with a list of plugins: specification section 3, "Attaching a container".
fn add_list(node: &Node, plugins: &[&str], container: &Container, more: &Value) -> Value {
    let mut config = node.config("1.0.0", more);
    plugins.iter().fold(Value::Null, |_, plugin| {
        let result = of_the_list(node, plugin, "ADD", container, &config);
        config["prevResult"] = result.clone();
        result
    })
}

/// CHECK of a list, in its order, and DEL, from its end.
fn check_and_del_list(node: &Node, plugins: &[&str], container: &Container, more: &Value, result: &Value) {
    let mut config = node.config("1.0.0", more);
    config["prevResult"] = result.clone();
    // portmap 1.1.1 misses the IPv6 rules of pods that have IPv4 only.
    for plugin in plugins.iter().filter(|plugin| **plugin != "portmap") {
        of_the_list(node, plugin, "CHECK", container, &config);
    }
    for plugin in plugins.iter().rev() {
        of_the_list(node, plugin, "DEL", container, &config);
    }
}

#[test]
fn host_local_gives_addresses_of_the_nodes_subnet_and_gets_them_back() {
    for ipam in [json!({}), json!({"ipam": {"type": "host-local"}})] {
        let Some(node) = node_with_plugins("host-local", "10.222.1.0/29", "userspace") else { return };
        let more = match ipam.get("ipam") {
            // Elsewhere than other tests' and the machine's own.
            Some(_) => json!({"ipam": {"type": "host-local", "dataDir": node.path("host-local")}}),
            None => ipam,
        };
        let reservations = match more.get("ipam") {
            Some(_) => node.path("host-local/pods"),
            None => node.path("state/host-local/pods"),
        };
        let reserved = || {
            let names = std::fs::read_dir(&reservations).unwrap().map(|file| file.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().starts_with("10.")).count()
        };
        let containers: Vec<Container> = (0..5).map(|_| node.container()).collect();
        // host-local 1.1.1 is older than these commands, and so is not asked.
        for (command, keys) in [("STATUS", json!({})), ("GC", json!({"cni.dev/valid-attachments": []}))] {
            let mut plugin = node.plugin(command, &containers[0]);
            plugin.env("CNI_PATH", PLUGINS);
            let mut config = node.config("1.1.0", &more);
            config.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            let outcome = call(plugin, &config);
            assert!(outcome.success, "{command}: {}", outcome.printed);
        }
        let results: Vec<Value> =
            containers.iter().map(|container| add_list(&node, &["footbridge"], container, &more)).collect();
        assert_eq!(results[0]["ips"][0]["address"], "10.222.1.2/29", "the gateway's is spared");
        assert_eq!(results[0]["routes"], json!([{"dst": "0.0.0.0/0", "gw": "10.222.1.1"}]));
        assert_eq!(reserved(), 5);
        let late = node.container();
        let mut plugin = node.plugin("ADD", &late);
        plugin.env("CNI_PATH", PLUGINS);
        let full = call(plugin, &node.config("1.0.0", &more));
        assert_eq!(full.printed["code"], 101);
        assert!(full.printed["details"].as_str().unwrap().contains("no IP addresses available"), "{full:?}");
        assert_eq!(node.files("pods").len(), 5);
        check_and_del_list(&node, &["footbridge"], &containers[2], &more, &results[2]);
        assert_eq!(add_list(&node, &["footbridge"], &late, &more)["ips"][0]["address"], "10.222.1.4/29");
        for container in containers.iter().chain([&late]) {
            node.del(container);
        }
        assert_eq!(reserved(), 0);
        assert_eq!(node.files("pods"), [""; 0]);
    }
}

#[test]
fn an_ipam_plugin_that_is_not_there_is_named() {
    let Some(node) = node("no-ipam", SUBNET, "userspace") else { return };
    let config = node.config("1.0.0", &json!({"ipam": {"type": "nowhere-local"}}));
    let outcome = node.call("ADD", &node.container(), &config);
    assert_eq!(outcome.printed["code"], 101);
    assert!(outcome.printed["details"].as_str().unwrap().contains("nowhere-local is in none of /nowhere"));
}

#[test]
fn a_host_port_leads_to_the_pod() {
    for datapath in ["userspace", "ebpf"] {
        let Some(node) = node_with_plugins("portmap", SUBNET, datapath) else { return };
        let container = node.container();
        let mapping = json!({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"});
        let more = json!({"runtimeConfig": {"portMappings": [mapping]}});
        let list = ["footbridge", "portmap"];
        let result = add_list(&node, &list, &container, &more);
        let server = container.serve(80, "hello");
        let client = node.neighbour("10.79.1.9/24");
        let fetch = "curl -s -m 5 http://10.79.1.201:8080/";
        assert_eq!(client.run(fetch), "hello");
        // From the node itself, from another pod and from the pod that serves.
        let other = node.container();
        node.add(&other);
        assert_eq!(node.run(fetch), "hello");
        assert_eq!(node.run("curl -s -m 5 http://127.0.0.1:8080/"), "hello");
        assert_eq!(other.run(fetch), "hello");
        assert_eq!(container.run(fetch), "hello");
        check_and_del_list(&node, &list, &container, &more, &result);
        client.run(&format!("sh -c '! {fetch}'"));
        drop(server);
    }
}

#[test]
fn bandwidth_limits_what_a_pod_receives() {
    for datapath in ["userspace", "ebpf"] {
        let Some(node) = node_with_plugins("bandwidth", SUBNET, datapath) else { return };
        let (container, other) = (node.container(), node.container());
        let more =
            json!({"runtimeConfig": {"bandwidth": {"ingressRate": 8_000_000, "ingressBurst": 800_000}}});
        let list = ["footbridge", "bandwidth"];
        let result = add_list(&node, &list, &container, &more);
        node.add(&other);
        let server = container.spawn("iperf3 -s");
        let pod = address(&result);
        let senders: [&dyn Fn(&str) -> String; 2] =
            [&|command| node.run(command), &|command| other.run(command)];
        for (sender, send) in senders.iter().enumerate() {
            container.wait_listening(5201);
            let said: Value =
                serde_json::from_str(&send(&format!("iperf3 -J -c {pod} -t 3 --connect-timeout 5000")))
                    .unwrap();
            let rate = said["end"]["sum_received"]["bits_per_second"].as_f64().unwrap();
            assert!(rate < 12e6, "sender {sender} on {datapath}: {rate} bits a second");
        }
        drop(server);
        check_and_del_list(&node, &list, &container, &more, &result);
    }
}
