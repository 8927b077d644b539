//! What the program says to wrong arguments and files, and with which exit status.

#![allow(clippy::unwrap_used, reason = "a test that can't look has failed")]

use std::process::Command;

fn footbridge(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_footbridge")).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_bridge_that_is_not_there_is_named() {
    let (status, said) = footbridge(&["flows", "--node", "worker1", "--name", "no-such-lab"]);
    assert_eq!(status, Some(1));
    let expected = "footbridge: no bridge is listening at /run/footbridge/no-such-lab/worker1/br-int.ctl: is the agent running?\n";
    assert_eq!(said, expected);
}

#[test]
fn a_lab_that_is_not_there_is_named() {
    for command in [&["status"][..], &["down"], &["exec", "worker1", "--", "true"]] {
        let (status, said) = footbridge(&[&["lab", "--name", "no-such-lab"], command].concat());
        assert_eq!(status, Some(1), "{command:?}");
        let expected =
            "footbridge: there is no lab no-such-lab; `footbridge lab --name no-such-lab up` makes it\n";
        assert_eq!(said, expected, "{command:?}");
    }
}

#[test]
fn a_labs_name_has_to_fit_into_other_names() {
    for name in ["", "-x", "Article", "a/b", "..", "a_b"] {
        let (status, said) = footbridge(&["lab", &format!("--name={name}"), "up"]);
        assert_eq!(status, Some(2), "{name}");
        assert!(said.contains("a lab's name is 1 to 40 of a-z, 0-9 and -"), "{name}: {said}");
    }
}

#[test]
fn the_agent_says_which_argument_is_wrong() {
    let (status, said) = footbridge(&["agent"]);
    assert_eq!(status, Some(1));
    assert!(said.starts_with("footbridge: which node is this? Say --node NAME"), "{said}");
    let agent = ["agent", "--node", "worker1", "--cluster", "cluster.yaml"];
    let with = |more: &[&str]| footbridge(&[&agent, more].concat());
    let (status, said) = with(&["--service-cidr", "10.96.0.1/12"]);
    assert_eq!(status, Some(2));
    assert!(said.contains("'10.96.0.1/12' has host bits set; the subnet is 10.96.0.0/12"), "{said}");
    let (status, said) = with(&["--tunnel-type", "gre"]);
    assert_eq!(status, Some(2));
    assert!(said.contains("[possible values: vxlan, geneve]"), "{said}");
    let (status, said) = with(&["--netns", "no-such-namespace"]);
    assert_eq!(status, Some(1));
    assert!(
        said.starts_with(
            "footbridge: cannot enter network namespace /run/netns/no-such-namespace: No such file"
        ),
        "{said}"
    );
    let (status, said) = with(&["--log", "footbridge=loud"]);
    assert_eq!(status, Some(1));
    assert!(said.starts_with("footbridge: --log footbridge=loud: "), "{said}");
}

#[test]
fn the_agents_file_is_refused_with_the_line_that_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.yaml");
    let path = path.to_str().unwrap();
    std::fs::write(path, "node: worker1\ngatewy: gw0\n").unwrap();
    let (status, said) = footbridge(&["agent", "--config", path]);
    assert_eq!(status, Some(1));
    assert!(said.starts_with(&format!("footbridge: {path}:2:1: ")) && said.contains("gatewy"), "{said}");
    let (status, said) = footbridge(&["agent", "--config", "/nowhere/agent.yaml"]);
    assert_eq!(status, Some(1));
    assert!(
        said.starts_with("footbridge: can't read the configuration /nowhere/agent.yaml: No such"),
        "{said}"
    );
}

#[test]
fn an_agent_without_privileges_says_that_it_needs_root() {
    let mut agent = Command::new(env!("CARGO_BIN_EXE_footbridge"));
    if nix::unistd::geteuid().is_root() {
        // Others may not run a program in a directory of root's, so it keeps its user and gives up the rest.
        agent = Command::new("setpriv");
        agent.args(["--bounding-set=-all", "--inh-caps=-all", env!("CARGO_BIN_EXE_footbridge")]);
    }
    let output = agent.args(["agent", "--node", "worker1", "--cluster", "cluster.yaml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    let expected =
        "footbridge: the agent needs root, or at least CAP_NET_ADMIN and CAP_NET_RAW: run it as root\n";
    assert_eq!(said, expected);
}
