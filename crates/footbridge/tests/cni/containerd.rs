//! containerd, which drives the plugin as Kubernetes' nodes do, by the CNI project's own library.

use crate::node::shell;
use crate::{SUBNET, node};
use std::process::Command;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cni/containerd.sh");

#[test]
fn a_container_of_containerds_is_on_the_pod_network_while_it_runs() {
    let programs = ["containerd", "ctr", "runc", "busybox"];
    let lacks = |program: &&&str| !Command::new("which").arg(program).output().unwrap().status.success();
    if let Some(missing) = programs.iter().find(lacks) {
        return println!(
            "skipped: a_container_of_containerds_is_on_the_pod_network_while_it_runs: needs {missing}"
        );
    }
    for datapath in ["userspace", "ebpf"] {
        let Some(node) = node("containerd", SUBNET, datapath) else { return };
        shell("mkdir -p /etc/cni /opt/cni /var/lib/cni");
        let work = node.path("containerd");
        std::fs::create_dir(&work).unwrap();
        // `ip netns exec` would mount /sys anew, without the control groups that runc needs.
        let said = shell(&format!(
            "nsenter --net=/run/netns/{} unshare --mount bash {SCRIPT} {} {} {} {}",
            node.name,
            crate::node::PROGRAM,
            node.path("run").display(),
            node.path("state").display(),
            work.display()
        ));
        assert!(said.contains("inet 10.222.1.2/24") && said.contains("default via 10.222.1.1"), "{said}");
        assert!(said.contains(" 0% packet loss"), "{said}");
        assert_eq!(node.files("pods"), [""; 0], "ctr has said DEL");
    }
}
