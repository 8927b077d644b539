#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use super::*;
use footbridge_cni::{ContainerId, InterfaceName};
use std::path::PathBuf;

fn attachment(container: &str, ifname: &str) -> Attachment {
    Attachment {
        container: ContainerId::try_from(container.to_owned()).unwrap(),
        ifname: InterfaceName::try_from(ifname.to_owned()).unwrap(),
    }
}

fn network() -> Network {
    Network {
        subnet: "10.222.1.0/29".parse().unwrap(),
        mtu: 1450,
        plain_frames: true,
        taken: [Ipv4Addr::new(10, 222, 1, 2)].into(),
        reserved_macs: [MacAddr([2, 0, 0, 0, 0, 1])].into(),
    }
}

/// Begin a pod with an address of ours.
fn begin(pods: &Pods, attachment: &Attachment, mac: Option<MacAddr>) -> Result<Record, BeginError> {
    let pod = PodName { namespace: "default".to_owned(), name: "frontend-7d4b".to_owned() };
    let netns = PathBuf::from("/run/netns/a");
    let new =
        NewRecord { attachment, network: "pods", pod: &pod, netns: &netns, mac, addressing: Addressing::Own };
    pods.begin(new, &network())
}

/// Bring a pod to the end of its ADD.
fn add(pods: &Pods, attachment: &Attachment) -> Record {
    let record = Record { phase: Phase::Added, ..begin(pods, attachment, None).unwrap() };
    pods.put(record.clone()).unwrap();
    pods.wire(attachment);
    record
}

#[test]
fn a_containers_interfaces_have_names_and_macs_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let pods = Pods::open(directory.path()).unwrap();
    let first = begin(&pods, &attachment("c0ffee", "eth0"), None).unwrap();
    let second = begin(&pods, &attachment("c0ffee", "net1"), None).unwrap();
    assert_eq!(first.interface, "frontend-889ab5");
    assert_ne!(first.interface, second.interface);
    assert_ne!(first.mac, second.mac);
    assert!(first.interface.len() <= 15 && second.interface.len() <= 15);
}

#[test]
fn an_address_or_mac_of_others_is_not_given() {
    let directory = tempfile::tempdir().unwrap();
    let pods = Pods::open(directory.path()).unwrap();
    let first = begin(&pods, &attachment("a", "eth0"), None).unwrap();
    assert_eq!(first.ipv4(), Some(Ipv4Addr::new(10, 222, 1, 3)), "2 is taken");
    let mac = begin(&pods, &attachment("b", "eth0"), Some(first.mac)).unwrap_err();
    assert!(mac.to_string().contains("default/frontend-7d4b"), "{mac}");
    let reserved = begin(&pods, &attachment("b", "eth0"), Some(MacAddr([2, 0, 0, 0, 0, 1])));
    assert!(reserved.unwrap_err().to_string().contains("this node"));
    let other = begin(&pods, &attachment("b", "eth0"), None).unwrap();
    let stolen = pods.address(other, first.address.unwrap()).unwrap_err();
    assert!(matches!(stolen, BeginError::Address { .. }), "an IPAM plugin gave it twice: {stolen}");
}

#[test]
fn the_next_agent_wants_what_was_added_and_only_that() {
    let directory = tempfile::tempdir().unwrap();
    let pods = Pods::open(directory.path()).unwrap();
    let added = add(&pods, &attachment("a", "eth0"));
    begin(&pods, &attachment("b", "eth0"), None).unwrap();
    let leaving = add(&pods, &attachment("c", "eth0"));
    pods.put(Record { phase: Phase::Deleting, ..leaving }).unwrap();
    let rebooted = add(&pods, &attachment("d", "eth0"));
    pods.put(Record { boot: "another".to_owned(), ..rebooted }).unwrap();

    let next = Pods::open(directory.path()).unwrap();
    let wanted: Vec<String> = next.wanted("w").pods.into_iter().map(|pod| pod.uid).collect();
    assert_eq!(wanted, ["a/eth0"]);
    assert_eq!(next.get(&added.attachment), Some(added));
    // The others still hold their addresses, until they are taken away.
    assert!(matches!(begin(&next, &attachment("e", "eth0"), None), Err(BeginError::Full { used: 5, .. })));
    next.forget(&attachment("b", "eth0")).unwrap();
    assert_eq!(
        begin(&next, &attachment("e", "eth0"), None).unwrap().ipv4(),
        Some(Ipv4Addr::new(10, 222, 1, 4))
    );
}

#[test]
fn what_was_being_written_when_its_writer_was_killed_is_no_pod() {
    let directory = tempfile::tempdir().unwrap();
    let pods = Pods::open(directory.path()).unwrap();
    add(&pods, &attachment("a", "eth0"));
    let half = directory.path().join("pods/b@eth0.17.new");
    std::fs::write(&half, "{").unwrap();
    assert_eq!(Pods::open(directory.path()).unwrap().all().len(), 1);
    assert!(!half.exists());
    let damaged = directory.path().join("pods/b@eth0.json");
    std::fs::write(&damaged, "{").unwrap();
    let error = Pods::open(directory.path()).err().unwrap().to_string();
    assert!(error.contains("b@eth0.json is damaged"), "{error}");
}

#[tokio::test]
async fn who_waits_hears_of_the_pass_that_had_his_pod() {
    let directory = tempfile::tempdir().unwrap();
    let pods = Pods::open(directory.path()).unwrap();
    let soon = Duration::from_millis(20);
    assert_eq!(pods.network(), Err("the agent is starting".to_owned()));
    pods.passed(pods.wanted("w").generation, Some(network()), Ok(()));
    assert_eq!(pods.network(), Ok(network()));
    let a = attachment("a", "eth0");
    begin(&pods, &a, None).unwrap();
    let before = pods.wanted("w").generation;
    let generation = pods.wire(&a);
    assert_eq!(pods.wire(&a), generation, "nothing has changed");
    pods.passed(before, Some(network()), Ok(()));
    assert!(pods.reached(generation, soon).await.is_err(), "that pass was without it");
    pods.passed(generation, Some(network()), Err("no tunnel".to_owned()));
    assert_eq!(pods.tried(generation, soon).await, Ok(()));
    assert_eq!(pods.reached(generation, soon).await, Err("no tunnel".to_owned()));
    pods.passed(generation, Some(network()), Ok(()));
    assert_eq!(pods.reached(generation, soon).await, Ok(()));
    let gone = pods.unwire(&a);
    pods.passed(gone, Some(network()), Err("no bridge".to_owned()));
    assert!(pods.gone(gone, soon).await.is_err());
    pods.programmed(gone);
    assert_eq!(pods.gone(gone, soon).await, Ok(()), "whatever else went wrong");
}
