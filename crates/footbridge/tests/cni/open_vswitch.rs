//! The plugin on nodes whose bridge is an Open vSwitch's: the lab's.

use crate::node::{Outcome, PROGRAM, call, lacking, shell};
use serde_json::{Value, json};
use std::process::Command;

/// A lab with Open vSwitch. Dropped, it is taken down.
struct Lab(String);

impl Drop for Lab {
    fn drop(&mut self) {
        shell(&format!("{PROGRAM} lab --name {} down", self.0));
    }
}

/// A network namespace.
struct Namespace(String);

impl Drop for Namespace {
    fn drop(&mut self) {
        shell(&format!("ip netns del {}", self.0));
    }
}

#[test]
fn a_pod_is_a_port_of_open_vswitchs_and_reaches_another_node() {
    let test = "a_pod_is_a_port_of_open_vswitchs_and_reaches_another_node";
    let without = !std::path::Path::new("/usr/sbin/ovs-vswitchd").exists();
    if let Some(why) = lacking().or(without.then(|| "needs ovs-vswitchd (openvswitch-switch)".to_owned())) {
        return println!("skipped: {test}: {why}");
    }
    let lab = Lab(format!("cni{}", std::process::id()));
    shell(&format!("{PROGRAM} lab --name {} --bridge ovs up", lab.0));
    let namespace = Namespace(format!("{}-pod", lab.0));
    shell(&format!("ip netns add {}", namespace.0));
    let ask = |command: &str, previous: &Value| -> Outcome {
        let config = json!({
            "cniVersion": "1.0.0", "name": "pods", "type": "footbridge", "ipam": {"type": "footbridge"},
            "runDir": format!("/run/footbridge/{}/worker1", lab.0),
            "stateDir": format!("/var/lib/footbridge/{}/worker1", lab.0), "prevResult": previous,
        });
        let mut plugin = Command::new(PROGRAM);
        plugin.env_clear().env("CNI_COMMAND", command).env("CNI_CONTAINERID", "c0ffee");
        plugin.env("CNI_IFNAME", "eth0").env("CNI_NETNS", format!("/run/netns/{}", namespace.0));
        call(plugin, &config)
    };
    let ports = || shell(&format!("{PROGRAM} lab --name {} exec worker1 -- ovs-ofctl show br-int", lab.0));
    let result = ask("ADD", &Value::Null).printed;
    assert_eq!(result["ips"][0]["address"], "10.222.1.4/24", "2 and 3 are those of pods of the cluster file");
    assert!(ports().contains("(c0ffee-889ab5)"), "{}", ports());
    // Of the first packets Open vSwitch in user space loses some, while it asks for the tunnel's next hop.
    shell(&format!("ip netns exec {} ping -c 5 -i 0.3 -W 1 10.222.2.34", namespace.0));
    let checked = ask("CHECK", &result);
    assert!(checked.success, "{}", checked.printed);
    assert!(ask("DEL", &Value::Null).success);
    assert!(!ports().contains("c0ffee"), "{}", ports());
}
