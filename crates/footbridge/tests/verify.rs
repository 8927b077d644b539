//! `footbridge verify` on the article's nodes, against kept texts in `tests/data/verify`;
//! `UPDATE_GOLDENS=1` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that can't look has failed")]

use footbridge_node::cluster::Cluster;
use footbridge_node::tables::{self, Round};
use footbridge_node::underlay::Underlay;
use footbridge_node::{NodeConfig, NodeState, PortAssignments};
use footbridge_openflow::PortNames;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ARTICLE: &str = "../../labs/article.yaml";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn verify(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_footbridge"));
    command.current_dir(data()).arg("verify").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Verify prints the kept text and exits so.
fn prints(name: &str, status: i32, arguments: &[&str]) {
    let output = verify(arguments);
    assert_eq!(output.status.code(), Some(status), "{name}: {}", text(&output.stderr));
    let golden = data().join("verify").join(name);
    let printed = text(&output.stdout);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&golden, &printed).unwrap();
    }
    assert_eq!(printed, fs::read_to_string(&golden).unwrap(), "{name}");
}

/// A dump of worker1 with one text in place of another.
fn changed(dir: &Path, from: &str, to: &str) -> String {
    let dump = fs::read_to_string(data().join("worker1.flows")).unwrap();
    assert!(dump.contains(from), "{from}");
    let path = dir.join("changed.flows");
    fs::write(&path, dump.replacen(from, to, 1)).unwrap();
    path.to_str().unwrap().to_owned()
}

const WORKER1: [&str; 4] = ["--flows", "worker1.flows", "--ports", "worker1.ports"];

#[test]
fn worker1_holds() {
    prints("worker1.txt", 0, &WORKER1);
}

#[test]
fn the_cluster_says_the_same_of_worker1() {
    let cluster = ["--cluster", ARTICLE, "--node", "worker1"];
    prints("worker1-cluster.txt", 0, &[&WORKER1[..], &cluster].concat());
}

#[test]
fn ones_own_properties_are_asked_too() {
    prints("own.txt", 1, &[&WORKER1[..], &["--properties", "verify/own.properties"]].concat());
}

#[test]
fn a_responder_that_answers_for_more_is_shown_with_a_packet() {
    let dir = tempfile::tempdir().unwrap();
    let changed = changed(dir.path(), "arp_tpa=10.222.0.1,", "arp_tpa=10.222.0.0/31,");
    prints("wide-responder.txt", 1, &["--flows", &changed, "--ports", "worker1.ports"]);
}

#[test]
fn a_guard_without_its_default_is_shown_with_a_packet() {
    let dir = tempfile::tempdir().unwrap();
    let default = " cookie=0x1000000000000, table=10, priority=0 actions=drop\n";
    let changed = changed(dir.path(), default, "");
    prints("no-default.txt", 1, &["--flows", &changed, "--ports", "worker1.ports"]);
}

#[test]
fn json_holds_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let changed = changed(dir.path(), "arp_tpa=10.222.0.1,", "arp_tpa=10.222.0.0/31,");
    let output = verify(&["--json", "--flows", &changed, "--ports", "worker1.ports"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["holds"], false);
    let claims = report["claims"].as_array().unwrap();
    let claim = claims.iter().find(|claim| claim["claim"] == "answers-no-other").unwrap();
    let example = &claim["counterexamples"][0];
    assert_eq!(example["confirmed"], true);
    assert!(example["packet"].as_str().unwrap().contains("arp_tpa=10.222.0.0"));
    assert_eq!(example["walk"]["outputs"], serde_json::json!(["antrea-gw0"]));
}

#[test]
fn a_changed_tunnel_is_one_region() {
    let dir = tempfile::tempdir().unwrap();
    let changed = changed(dir.path(), "arp_tpa=10.222.2.1,arp_op=1", "arp_tpa=10.222.2.2,arp_op=1");
    prints("diff.txt", 1, &["--diff", "worker1.flows", &changed, "--ports", "worker1.ports"]);
    let same = verify(&["--diff", "worker1.flows", "worker1.flows", "--ports", "worker1.ports"]);
    assert_eq!(same.status.code(), Some(0));
    assert_eq!(text(&same.stdout), "every packet is treated alike\n");
}

/// A dump that says nothing of who is where proves nothing of a node, and says so.
#[test]
fn what_is_no_nodes_bridge_is_asked_no_claims_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    fs::write(&empty, "").unwrap();
    let output = verify(&["--flows", empty.to_str().unwrap()]);
    let printed = text(&output.stdout);
    assert!(printed.contains("not asked no ARP enters with a sender that is not its port's"), "{printed}");
    assert!(!printed.contains("proved    no ARP"), "{printed}");
}

/// Files that would not be looked at are refused.
#[test]
fn nothing_that_was_given_is_passed_over() {
    let other = ["--ports", "worker2=worker1.ports"];
    for (arguments, said) in [
        ([&["--flows", "worker1=worker1.flows"], &other[..]].concat(), "no --flows is named so"),
        ([&WORKER1[..], &["--flows", "worker1.flows"]].concat(), "this node has another"),
        (
            vec!["--diff", "worker1.flows", "worker1.flows", "--properties", "verify/own.properties"],
            "cannot be used with",
        ),
    ] {
        let output = verify(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(said), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn what_can_not_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad");
    for (content, said) in [
        (
            "never: ip => fall\n",
            "bad:1:14: expected 'output', 'output PORT', 'controller', 'drop' or 'table N'",
        ),
        ("never: ipp => drop\n", "bad:1:8: expected a protocol or a field, found 'ipp'; did you mean 'ip'?"),
    ] {
        fs::write(&bad, content).unwrap();
        let output = verify(&[&WORKER1[..], &["--properties", bad.to_str().unwrap()]].concat());
        assert_eq!(output.status.code(), Some(2));
        let printed = text(&output.stderr).replace(dir.path().to_str().unwrap(), "").replace('/', "");
        assert_eq!(printed, format!("footbridge: {said}\n"));
    }
    fs::write(&bad, "priority=1 actions=drop\npriority=2,ip actions=check_pkt_larger(9)->NXM_NX_REG0[0]\n")
        .unwrap();
    let output = verify(&["--flows", bad.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).ends_with("bad:2: check_pkt_larger is not followed by verify\n"));
}

/// The nodes' dumps and ports as our agents would make them; the arguments that name them.
fn cluster_dumps(dir: &Path, change: impl Fn(&str, String) -> String) -> Vec<String> {
    let article = fs::read_to_string(data().join(ARTICLE)).unwrap();
    let cluster = Cluster::parse("article.yaml", &article).unwrap();
    let mut arguments = Vec::new();
    for node in cluster.nodes.keys() {
        let ports = PortAssignments::default().updated(cluster.pods_on(node)).unwrap();
        let state = NodeState::derive(
            &cluster,
            &[],
            &NodeConfig::new(node),
            &ports,
            Round::FIRST,
            &Underlay::default(),
        )
        .unwrap();
        let flows = tables::flows(&state);
        let dump: String =
            flows.iter().map(|flow| format!("{}\n", flow.display(&PortNames::none()))).collect();
        let pods = state.pods.iter().map(|pod| format!("{} {}\n", pod.port.0, pod.interface));
        let list = "1 antrea-tun0\n2 antrea-gw0\n".to_owned() + &pods.collect::<String>();
        let (flows, ports) = (dir.join(format!("{node}.flows")), dir.join(format!("{node}.ports")));
        fs::write(&flows, change(node, dump)).unwrap();
        fs::write(&ports, list).unwrap();
        arguments.extend(["--flows".to_owned(), format!("{node}={}", flows.display())]);
        arguments.extend(["--ports".to_owned(), format!("{node}={}", ports.display())]);
    }
    arguments
}

#[test]
fn the_pods_of_a_cluster_reach_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = cluster_dumps(dir.path(), |_, dump| dump);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for more in [&[][..], &["--cluster", ARTICLE]] {
        let output = verify(&[&arguments[..], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
        let printed = text(&output.stdout);
        assert_eq!(printed.matches("proved    each pod reaches each other pod").count(), 3, "{printed}");
    }
}

#[test]
fn a_tunnel_to_the_wrong_node_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    // worker1 sends worker2's packets to the master.
    let arguments = cluster_dumps(dir.path(), |node, dump| match node {
        "worker1" => {
            dump.replace("load:0xa4f01ca->NXM_NX_TUN_IPV4_DST[]", "load:0xa4f01c8->NXM_NX_TUN_IPV4_DST[]")
        }
        _ => dump,
    });
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = verify(&[&arguments[..], &["--cluster", ARTICLE]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("refuted   each pod reaches each other pod"));
}
