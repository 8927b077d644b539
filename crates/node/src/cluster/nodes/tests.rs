#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use super::*;
use serde_json::{Value, json};

/// A Node object that was created `age` seconds after the first, with a subnet and an InternalIP.
fn node(name: &str, age: u32, subnet: &str, address: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "uid": format!("uid-of-{name}"),
            "creationTimestamp": format!("2026-01-01T00:00:{age:02}Z"),
        },
        "spec": {"podCIDR": subnet, "podCIDRs": [subnet]},
        "status": {"addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]},
    })
}

fn cluster(objects: &[Value]) -> Cluster {
    let read = |object: &Value| {
        let object: v1::Node = serde_json::from_value(object.clone()).unwrap();
        (object.metadata.name.clone().unwrap(), NodeObject::of(&object))
    };
    Cluster::of_nodes(&objects.iter().map(read).collect(), "own")
}

/// Who is there, and who is left out and why.
fn names(cluster: &Cluster) -> (Vec<&str>, Vec<String>) {
    let out = cluster.left_out.iter().map(|(name, why)| format!("{name}: {why}"));
    (cluster.nodes.keys().map(String::as_str).collect(), out.collect())
}

/// `own` and the peer `good`, with another Node; what that is left out for.
fn left_out(bad: Value) -> String {
    let good = [node("own", 5, "10.0.1.0/24", "192.0.2.1"), node("good", 6, "10.0.2.0/24", "192.0.2.2")];
    let name = bad["metadata"]["name"].as_str().unwrap().to_owned();
    let cluster = cluster(&[&good[..], &[bad]].concat());
    let (there, out) = names(&cluster);
    assert_eq!(there, ["good", "own"]);
    out.first().unwrap().strip_prefix(&format!("{name}: ")).unwrap().to_owned()
}

#[test]
fn a_bad_node_is_left_out_and_the_others_go_on() {
    let bad = |subnet, address| left_out(node("bad", 9, subnet, address));
    assert_eq!(
        bad("10.0.2.128/25", "192.0.2.9"),
        "its pod subnet 10.0.2.128/25 overlaps 10.0.2.0/24 of node good, which was there before it"
    );
    assert!(bad("10.0.0.0/16", "192.0.2.9").contains("overlaps 10.0.2.0/24 of node good"));
    assert!(bad("10.0.1.0/24", "192.0.2.9").contains("overlaps 10.0.1.0/24 of node own"));
    assert!(bad("192.0.2.0/24", "10.9.9.9").contains("holds the address 192.0.2.1 of node own"));
    assert_eq!(bad("10.0.9.0/24", "192.0.2.1"), "its address 192.0.2.1 is this node's own");
    assert!(bad("10.0.9.0/24", "10.0.9.7").contains("10.0.9.7 is in the pod subnet 10.0.9.0/24 of node bad"));
    assert!(
        bad("10.0.9.0/24", "10.0.2.7").contains("10.0.2.7 is in the pod subnet 10.0.2.0/24 of node good")
    );
    assert!(bad("10.0.9.0/24", "127.0.0.1").contains("127.0.0.1 is no host's address"));
    assert!(bad("10.0.9.0/24", "worker").contains("'worker' is not an IPv4 address"));
    assert!(bad("0.0.0.0/1", "192.0.2.9").contains("overlaps addresses that are no host's"));
    assert!(bad("10.0.9.1/24", "192.0.2.9").contains("host bits"));
    assert!(bad("10.0.9.0/31", "192.0.2.9").contains("no room for pods"));
}

#[test]
fn a_node_older_than_this_one_still_yields_to_it() {
    let reason = left_out(node("bad", 0, "10.0.1.0/24", "192.0.2.9"));
    assert!(reason.contains("overlaps 10.0.1.0/24 of node own"), "{reason}");
}

#[test]
fn of_two_peers_the_older_is_kept_whatever_their_names_and_then_the_other_takes_its_place() {
    let own = node("own", 0, "10.0.1.0/24", "192.0.2.1");
    let (old, new) = (node("z", 1, "10.0.2.0/24", "192.0.2.2"), node("a", 2, "10.0.2.0/24", "192.0.2.3"));
    assert_eq!(names(&cluster(&[own.clone(), new.clone(), old.clone()])).0, ["own", "z"]);
    // Another node's creation and this one's deletion, in either order, end the same.
    assert_eq!(cluster(&[own.clone(), new.clone()]).nodes["a"].address, Some(Ipv4Addr::new(192, 0, 2, 3)));
    assert!(cluster(&[own, new]).left_out.is_empty());
}

#[test]
fn two_peers_may_have_one_address_as_after_a_host_was_renamed() {
    let cluster = cluster(&[
        node("own", 0, "10.0.1.0/24", "192.0.2.1"),
        node("old-name", 1, "10.0.2.0/24", "192.0.2.2"),
        node("new-name", 2, "10.0.3.0/24", "192.0.2.2"),
    ]);
    assert_eq!(names(&cluster), (vec!["new-name", "old-name", "own"], vec![]));
}

#[test]
fn a_node_is_known_by_the_first_internal_ipv4_address_else_the_first_external_one() {
    let with = |addresses: &[(&str, &str)]| {
        let mut object = node("own", 0, "10.0.1.0/24", "192.0.2.1");
        object["status"]["addresses"] =
            addresses.iter().map(|(kind, address)| json!({"type": kind, "address": address})).collect();
        cluster(&[object]).nodes["own"].address.map(|address| address.to_string())
    };
    let internal = ("InternalIP", "192.0.2.1");
    let external = ("ExternalIP", "203.0.113.1");
    assert_eq!(with(&[external, ("InternalIP", "2001:db8::1"), internal]).unwrap(), "192.0.2.1");
    assert_eq!(with(&[("Hostname", "own"), external]).unwrap(), "203.0.113.1");
    assert_eq!(with(&[("Hostname", "own"), ("InternalIP", "2001:db8::1")]), None);
}

#[test]
fn the_ipv4_subnet_of_a_dual_stack_node_is_taken_wherever_it_stands() {
    let mut object = node("own", 0, "fd00:1::/64", "192.0.2.1");
    object["spec"]["podCIDRs"] = json!(["fd00:1::/64", "10.0.1.0/24"]);
    assert_eq!(cluster(&[object]).nodes["own"].subnet.unwrap().to_string(), "10.0.1.0/24");
}

#[test]
fn a_trouble_is_news_once_and_its_end_too() {
    let own = node("own", 0, "10.0.1.0/24", "192.0.2.1");
    let bad = cluster(&[own.clone(), node("bad", 1, "10.0.1.0/24", "192.0.2.2")]);
    let good = cluster(&[own.clone(), node("bad", 1, "10.0.2.0/24", "192.0.2.2")]);
    let gone = cluster(&[own]);
    let (none, told) = (BTreeMap::new(), bad.left_out.clone());
    assert_eq!(left_out_news(&none, &bad), (told.clone(), BTreeSet::new()));
    assert_eq!(left_out_news(&told, &bad), (none.clone(), BTreeSet::new()));
    assert_eq!(left_out_news(&told, &good), (none.clone(), BTreeSet::from(["bad".to_owned()])));
    assert_eq!(left_out_news(&told, &gone), (none, BTreeSet::new()));
}

proptest::proptest! {
    #[test]
    fn those_who_are_kept_never_collide_and_this_node_is_always_among_them(
        peers in proptest::collection::vec((0..8u32, 0..16u8, 8..30u8, 0..16u8), 0..20),
    ) {
        let mut objects = vec![node("own", 4, "10.0.1.0/24", "192.0.2.1")];
        for (index, (age, third, prefix, address)) in peers.into_iter().enumerate() {
            let subnet = Subnet::containing(Ipv4Addr::new(10, 0, third, 0), prefix).unwrap();
            objects.push(node(&format!("n{index}"), age, &subnet.to_string(), &format!("10.0.{address}.9")));
        }
        let cluster = cluster(&objects);
        proptest::prop_assert!(cluster.nodes.contains_key("own"));
        proptest::prop_assert_eq!(cluster.nodes.len() + cluster.left_out.len(), objects.len());
        for a in cluster.nodes.values() {
            for b in cluster.nodes.values() {
                let (subnet, other) = (a.subnet.unwrap(), b.subnet.unwrap());
                proptest::prop_assert!(a.name == b.name || !subnet.overlaps(other));
                proptest::prop_assert!(!subnet.contains(b.address.unwrap()));
            }
        }
    }
}
