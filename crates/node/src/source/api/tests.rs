#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use super::*;
use serde_json::json;

fn node(name: &str, uid: &str, subnet: &str, address: &str) -> v1::Node {
    serde_json::from_value(json!({
        "metadata": {"name": name, "uid": uid, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"podCIDR": subnet},
        "status": {"addresses": [{"type": "InternalIP", "address": address}]},
    }))
    .unwrap()
}

fn a() -> v1::Node {
    node("a", "1", "10.0.1.0/24", "192.0.2.1")
}

fn b() -> v1::Node {
    node("b", "2", "10.0.2.0/24", "192.0.2.2")
}

/// Nodes a and b, listed and read.
fn listed() -> Nodes {
    let mut nodes = Nodes::default();
    for event in [Event::Init, Event::InitApply(a()), Event::InitApply(b()), Event::InitDone] {
        assert!(nodes.news().is_none(), "a list that is not whole is none");
        nodes.apply(event);
    }
    assert_eq!(nodes.news().unwrap().keys().collect::<Vec<_>>(), ["a", "b"]);
    assert!(nodes.news().is_none(), "read once");
    nodes
}

/// Whether the event is news for them.
fn is_news(event: Event<v1::Node>) -> bool {
    let mut nodes = listed();
    nodes.apply(event);
    nodes.news().is_some()
}

#[test]
fn an_empty_list_is_news_too() {
    let mut nodes = Nodes::default();
    nodes.apply(Event::Init);
    nodes.apply(Event::InitDone);
    assert!(nodes.news().unwrap().is_empty());
}

#[test]
fn a_heartbeat_is_no_news_and_every_part_of_a_nodes_identity_is() {
    let mut heartbeat = b();
    heartbeat.metadata.resource_version = Some("77".into());
    heartbeat.status.as_mut().unwrap().phase = Some("Running".into());
    assert!(!is_news(Event::Apply(heartbeat)));
    assert!(is_news(Event::Apply(node("b", "3", "10.0.2.0/24", "192.0.2.2"))), "re-created");
    assert!(is_news(Event::Apply(node("b", "2", "10.0.3.0/24", "192.0.2.2"))), "another subnet");
    assert!(is_news(Event::Apply(node("b", "2", "10.0.2.0/24", "192.0.2.3"))), "another address");
    assert!(is_news(Event::Apply(node("c", "2", "10.0.3.0/24", "192.0.2.3"))), "another node");
    assert!(is_news(Event::Delete(b())));
    assert!(!is_news(Event::Delete(node("c", "3", "10.0.3.0/24", "192.0.2.3"))), "nobody knew it");
}

#[test]
fn what_a_new_list_lacks_is_gone_and_one_that_says_the_same_is_no_news() {
    let mut nodes = listed();
    for event in [Event::Init, Event::InitApply(b()), Event::InitApply(a()), Event::InitDone] {
        nodes.apply(event);
    }
    assert!(nodes.news().is_none());
    // Given up half way, and begun again.
    for event in [Event::Init, Event::InitApply(b()), Event::Init, Event::InitApply(a()), Event::InitDone] {
        nodes.apply(event);
    }
    assert_eq!(nodes.news().unwrap().keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_deleted_node_and_its_heir_are_right_in_any_order() {
    let heir = node("heir", "9", "10.0.2.0/24", "192.0.2.9");
    for events in [[Event::Delete(b()), Event::Apply(heir.clone())], [Event::Apply(heir), Event::Delete(b())]]
    {
        let mut nodes = listed();
        events.into_iter().for_each(|event| nodes.apply(event));
        let cluster = Cluster::of_nodes(nodes.news().unwrap(), "a");
        assert_eq!(cluster.nodes.keys().collect::<Vec<_>>(), ["a", "heir"]);
        assert!(cluster.left_out.is_empty());
    }
}

#[test]
fn subnets_that_two_nodes_swap_are_theirs_afterwards() {
    let mut nodes = listed();
    nodes.apply(Event::Apply(node("a", "1", "10.0.2.0/24", "192.0.2.1")));
    nodes.apply(Event::Apply(node("b", "2", "10.0.1.0/24", "192.0.2.2")));
    let cluster = Cluster::of_nodes(nodes.news().unwrap(), "a");
    let subnet = |name: &str| cluster.nodes[name].subnet.unwrap().to_string();
    assert_eq!((subnet("a"), subnet("b")), ("10.0.2.0/24".into(), "10.0.1.0/24".into()));
}

#[test]
fn waits_grow_while_it_fails_and_begin_anew_when_it_went_well_for_a_while() {
    let mut waits = Waits { back_off: BackOff::new(BACK_OFF.0, BACK_OFF.1), last: None };
    let start = Instant::now();
    assert!(waits.after(start) < BACK_OFF.0 * 2);
    for _ in 0..10 {
        waits.after(start);
        // As for each event, of which there is one before a list is asked for.
        waits.reset();
    }
    assert!(waits.after(start) >= BACK_OFF.1);
    assert!(waits.after(start + GOES_WELL * 2) < BACK_OFF.0 * 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_and_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    // Nobody listens at port 1.
    let text = "{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],
                 clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {}}]}";
    std::fs::write(&path, text).unwrap();
    let mut source = ApiSource::from_kubeconfig(&path, "a").await.unwrap();
    assert!(source.read().unwrap().is_none(), "nothing is known yet");
    tokio::time::timeout(Duration::from_secs(10), source.changed()).await.unwrap();
    let error = source.read().unwrap_err().to_string();
    assert!(error.starts_with("no word from the API server http://127.0.0.1:1/, trying again: "), "{error}");
    assert!(error.contains("refused"), "{error}");
    // And tried again, without being asked for it over and over.
    let start = Instant::now();
    tokio::time::timeout(Duration::from_secs(10), source.changed()).await.unwrap();
    assert!(start.elapsed() >= BACK_OFF.0 / 2, "{:?}", start.elapsed());
    source.read().unwrap_err();
}

#[tokio::test]
async fn a_kubeconfig_that_is_not_there_or_is_none_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    let error = async || ApiSource::from_kubeconfig(&path, "a").await.err().unwrap().to_string();
    let text = error().await;
    assert!(text.starts_with(&format!("can't use the kubeconfig {}", path.display())), "{text}");
    assert!(text.contains("No such file"), "{text}");
    std::fs::write(&path, "{}").unwrap();
    assert!(error().await.contains("current context"));
}
