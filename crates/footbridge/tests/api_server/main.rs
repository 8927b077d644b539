//! Agents that follow a real API server: every change of a Node, bad Nodes, the API server gone and back, rights.
//!
//! Needs root and a Kubernetes as scripts/kubernetes/build makes it; else every test says `skipped: NAME: why`.

mod churn;
mod cluster;

use cluster::{Underlay, await_that, lacking, node};
use nix::sys::signal::{Signal, kill};
use serde_json::json;
use std::time::Duration;

/// A test on a bare API server, with the agent's rights as deploy/rbac.yaml grants them.
macro_rules! api_server_tests {
    ($( $(#[$doc:meta])* fn $name:ident($cluster:ident) $body:block )*) => { $(
        $(#[$doc])*
        #[test]
        fn $name() {
            if let Some(why) = lacking() {
                println!("skipped: {}: {why}", stringify!($name));
                return;
            }
            let $cluster = Underlay::new(stringify!($name), &["--bare"]);
            $body
        }
    )* };
}

/// No peers.
const NOBODY: &[(&str, &str)] = &[];

/// What the issue means by "right within a second", on a machine that runs other tests meanwhile.
const SOON: Duration = Duration::from_secs(5);

api_server_tests! {
    /// The story of a node's peers, with kubectl.
    fn nodes_come_change_and_go_and_nothing_of_them_stays(cluster) {
        cluster.deploy("rbac.yaml");
        let mut worker1 = cluster.node("worker1", "10.79.1.201");
        worker1.start_agent();
        worker1.await_log("waiting for this node: the cluster has no node 'worker1'");
        let bare = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker1"}});
        cluster.create(&[bare]);
        worker1.await_log("'worker1' has no pod subnet (spec.podCIDR) yet");
        cluster.kubectl(&["patch", "node", "worker1", "-p", r#"{"spec": {"podCIDR": "10.222.1.0/24"}}"#], "");
        cluster.set_addresses("worker1", json!([{"type": "InternalIP", "address": "10.79.1.201"}]));
        await_that("ready", || worker1.is_ready());
        worker1.await_peers(NOBODY);

        let (two, three) = ("10.222.2.0/24", "10.222.3.0/24");
        cluster.create(&[node("worker2", two, "10.79.1.202"), node("worker3", three, "10.79.1.203")]);
        assert!(worker1.await_peers(&[(two, "10.79.1.202"), (three, "10.79.1.203")]) < SOON);
        // Its address changes.
        cluster.set_addresses("worker2", json!([{"type": "InternalIP", "address": "10.79.1.212"}]));
        assert!(worker1.await_peers(&[(two, "10.79.1.212"), (three, "10.79.1.203")]) < SOON);
        // It has no InternalIP any more, and then none at all.
        cluster.set_addresses("worker2", json!([{"type": "Hostname", "address": "worker2"},
            {"type": "ExternalIP", "address": "10.79.1.222"}]));
        assert!(worker1.await_peers(&[(two, "10.79.1.222"), (three, "10.79.1.203")]) < SOON);
        cluster.set_addresses("worker2", json!([]));
        assert!(worker1.await_peers(&[(three, "10.79.1.203")]) < SOON);
        worker1.await_log("waiting for node worker2: it has no address (status.addresses) yet");
        // Re-created under the same names with each other's subnets.
        cluster.delete(&["worker2", "worker3"]);
        cluster.create(&[node("worker2", three, "10.79.1.202"), node("worker3", two, "10.79.1.203")]);
        assert!(worker1.await_peers(&[(three, "10.79.1.202"), (two, "10.79.1.203")]) < SOON);
        // Another takes the subnet over before it is free, and has it when it is.
        cluster.create(&[node("worker9", two, "10.79.1.204")]);
        worker1.await_log("node worker9 is left out, its pods can't be reached: its pod subnet 10.222.2.0/24 overlaps");
        worker1.await_peers(&[(three, "10.79.1.202"), (two, "10.79.1.203")]);
        cluster.delete(&["worker3"]);
        assert!(worker1.await_peers(&[(three, "10.79.1.202"), (two, "10.79.1.204")]) < SOON);
        cluster.delete(&["worker2", "worker9"]);
        assert!(worker1.await_peers(NOBODY) < SOON);
    }

    fn bad_nodes_are_left_out_said_once_and_harm_nobody(cluster) {
        cluster.deploy("rbac.yaml");
        let mut worker1 = cluster.node("worker1", "10.79.1.201");
        let two = ("10.222.2.0/24", "10.79.1.202");
        cluster.create(&[node("worker1", "10.222.1.0/24", "10.79.1.201"), node("worker2", two.0, two.1)]);
        worker1.start_agent();
        worker1.await_peers(&[two]);
        cluster.create(&[
            node("bad-own-subnet", "10.222.1.128/25", "10.79.1.211"),
            node("bad-peers-subnet", "10.222.0.0/16", "10.79.1.212"),
            node("bad-own-address", "10.222.13.0/24", "10.79.1.201"),
            node("bad-underlay", "10.79.1.0/24", "10.9.9.9"),
            node("bad-loopback", "10.222.14.0/24", "127.0.0.1"),
            node("bad-tiny", "10.222.15.0/32", "10.79.1.215"),
        ]);
        let three = ("10.222.3.0/24", "10.79.1.203");
        cluster.create(&[node("worker3", three.0, three.1)]);
        assert!(worker1.await_peers(&[two, three]) < SOON);
        for bad in ["own-subnet", "peers-subnet", "own-address", "underlay", "loopback", "tiny"] {
            let said = format!("node bad-{bad} is left out");
            worker1.await_log(&said);
            assert_eq!(worker1.log().matches(&said).count(), 1, "{}", worker1.log());
        }
    }

    fn an_api_server_that_goes_and_comes_back_changes_nothing_and_is_followed_again(cluster) {
        cluster.deploy("rbac.yaml");
        let mut worker1 = cluster.node("worker1", "10.79.1.201");
        let (two, three) = (("10.222.2.0/24", "10.79.1.202"), ("10.222.3.0/24", "10.79.1.203"));
        cluster.create(&[node("worker1", "10.222.1.0/24", "10.79.1.201"), node("worker2", two.0, two.1)]);
        worker1.start_agent();
        worker1.await_peers(&[two]);
        cluster.api_server("stop");
        worker1.await_log("no word from the API server https://10.79.1.254:6443/, trying again: ");
        worker1.await_peers(&[two]);
        cluster.api_server("start");
        worker1.await_log("the cluster can be read again");
        cluster.create(&[node("worker3", three.0, three.1)]);
        worker1.await_peers(&[two, three]);

        // What happens while the agent does not look is too old to be told it: it lists anew.
        kill(worker1.pid(), Signal::SIGSTOP).unwrap();
        cluster.delete(&["worker2"]);
        cluster.api_server("stop");
        cluster.api_server("start");
        cluster.create(&[node("worker4", two.0, "10.79.1.204")]);
        kill(worker1.pid(), Signal::SIGCONT).unwrap();
        worker1.await_peers(&[(two.0, "10.79.1.204"), three]);
    }

    fn an_agent_without_rights_says_which_and_goes_on_when_it_has_them(cluster) {
        let mut worker1 = cluster.node("worker1", "10.79.1.201");
        cluster.create(&[node("worker1", "10.222.1.0/24", "10.79.1.201")]);
        worker1.start_agent();
        worker1.await_log(r#"User "system:serviceaccount:kube-system:footbridge" cannot list resource "nodes""#);
        assert!(!worker1.is_ready());
        cluster.deploy("rbac.yaml");
        await_that("ready", || worker1.is_ready());
    }

    fn the_agents_rights_are_to_read_nodes_and_nothing_else(cluster) {
        cluster.deploy("rbac.yaml");
        let user = "--as=system:serviceaccount:kube-system:footbridge";
        let may = |verb: &str, what: &str| {
            cluster.try_kubectl(&["auth", "can-i", verb, what, "--all-namespaces", user], "").status.success()
        };
        for verb in ["get", "list", "watch"] {
            assert!(may(verb, "nodes"), "{verb}");
            assert!(!may(verb, "pods") && !may(verb, "secrets") && !may(verb, "configmaps"), "{verb}");
        }
        for verb in ["create", "update", "patch", "delete"] {
            assert!(!may(verb, "nodes") && !may(verb, "nodes/status") && !may(verb, "pods"), "{verb}");
        }
    }

    /// A thousand nodes at random, while two that are none of them talk.
    fn a_thousand_changing_nodes_end_as_they_should_and_cost_bystanders_no_packet(cluster) {
        cluster.deploy("rbac.yaml");
        let (one, two) = (("10.222.1.0/24", "10.79.1.201"), ("10.222.2.0/24", "10.79.1.202"));
        cluster.create(&[node("worker1", one.0, one.1), node("worker2", two.0, two.1)]);
        let mut worker1 = cluster.node("worker1", one.1);
        let mut worker2 = cluster.node("worker2", two.1);
        worker1.start_agent();
        worker2.start_agent();
        worker1.await_peers(&[two]);
        worker2.await_peers(&[one]);
        let ping = worker1.start_pinging("10.222.1.1", "10.222.2.1");
        let left = churn::thousand_nodes(&cluster);
        let with = |peer: (&str, &str)| {
            let peer = (peer.0.to_owned(), peer.1.to_owned());
            left.iter().cloned().chain([peer]).collect::<Vec<_>>()
        };
        worker1.await_peers(&with(two));
        worker2.await_peers(&with(one));
        let (sent, received) = ping.end();
        assert!(sent > 500, "only {sent} packets were sent");
        assert_eq!(received, sent, "packets of bystanders were lost");
    }

    fn a_control_plane_that_is_taken_down_leaves_nothing(cluster) {
        let name = cluster.name().to_owned();
        assert!(!cluster::left_of(&name).is_empty(), "it is there");
        drop(cluster);
        assert_eq!(cluster::left_of(&name), [""; 0]);
    }
}
