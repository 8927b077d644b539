#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking")]

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn request(command: &str, config: &Value) -> Request {
    let variables = [
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c0ffee"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_NETNS", "/run/netns/a"),
        ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=frontend"),
    ];
    let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Request { environment, config: config.to_string() }
}

fn config() -> Value {
    json!({"cniVersion": "1.1.0", "name": "pods", "type": "footbridge"})
}

/// A configuration with one more key.
fn with(key: &str, value: Value) -> Value {
    let mut config = config();
    config[key] = value;
    config
}

fn code(request: &Request) -> u32 {
    Call::parse(request).unwrap_err().code()
}

#[test]
fn an_add_says_whose_container_it_is_and_what_is_asked_for() {
    let config = with("runtimeConfig", json!({"mac": "02:00:00:00:00:09"}));
    let Call::Add(target, config) = Call::parse(&request("ADD", &config)).unwrap() else { panic!() };
    assert_eq!(target.pod.to_string(), "default/frontend");
    assert_eq!(target.attachment.to_string(), "eth0 of container c0ffee");
    assert_eq!(target.environment.search_path.len(), 2);
    assert_eq!(config.mac.unwrap().to_string(), "02:00:00:00:00:09");
}

#[test]
fn a_container_without_a_pod_goes_by_its_id() {
    let mut request = request("ADD", &config());
    request.environment.remove("CNI_ARGS");
    let Call::Add(target, _) = Call::parse(&request).unwrap() else { panic!() };
    assert_eq!(target.pod.to_string(), "c0ffee");
}

#[test]
fn variables_that_are_missing_or_wrong_are_code_4() {
    for (name, values) in [
        ("CNI_COMMAND", &["", "add", "EXPLODE"][..]),
        ("CNI_CONTAINERID", &["", "-a", "a/b", "../../etc"]),
        ("CNI_IFNAME", &["", "a/b", "sixteen-letters-", ".", "..", "a b"]),
        ("CNI_NETNS", &[""]),
        ("CNI_ARGS", &["K8S_POD_NAME", "K8S_POD_NAME=a/b", "K8S_POD_NAMESPACE=.."]),
    ] {
        for value in values {
            let mut request = request("ADD", &config());
            request.environment.insert(name.to_owned(), (*value).to_owned());
            let error = Call::parse(&request).unwrap_err();
            assert_eq!(error.code(), 4, "{name}={value}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn a_del_needs_no_network_namespace() {
    let mut request = request("DEL", &config());
    request.environment.remove("CNI_NETNS");
    assert!(matches!(Call::parse(&request), Ok(Call::Del(Target { netns: None, .. }, _))));
}

#[test]
fn configurations_are_refused_by_the_specifications_codes() {
    let add = |config: Value| code(&request("ADD", &config));
    assert_eq!(add(with("cniVersion", json!("0.2.0"))), 1);
    assert_eq!(add(json!([])), 6);
    assert_eq!(code(&Request { config: "{".to_owned(), ..request("ADD", &config()) }), 6);
    assert_eq!(add(with("name", json!("a/b"))), 7);
    assert_eq!(add(with("name", json!(7))), 7);
    assert_eq!(add(with("type", json!(""))), 7);
    assert_eq!(add(with("runDir", json!("run"))), 7);
    assert_eq!(add(with("ipam", json!({"type": "../../bin/sh"}))), 7);
    assert_eq!(add(with("runtimeConfig", json!({"mac": "01:00:00:00:00:09"}))), 7);
    assert_eq!(add(with("args", json!({"cni": {"mac": "9"}}))), 7);
    assert_eq!(code(&request("CHECK", &config())), 7, "without prevResult");
    assert_eq!(code(&request("GC", &config())), 7, "without valid attachments, all would go");
    assert_eq!(code(&request("CHECK", &with("cniVersion", json!("0.3.1")))), 1);
}

#[test]
fn gc_reads_the_attachments_that_stay() {
    let attachments = json!([{"containerID": "c0ffee", "ifname": "eth0"}]);
    let Call::Gc(valid, ..) =
        Call::parse(&request("GC", &with("cni.dev/valid-attachments", attachments))).unwrap()
    else {
        panic!()
    };
    assert_eq!(valid[0].to_string(), "eth0 of container c0ffee");
    let wrong = json!([{"containerID": "", "ifname": "eth0"}]);
    assert_eq!(code(&request("GC", &with("cni.dev/valid-attachments", wrong))), 7);
}

#[test]
fn a_version_needs_nothing_but_the_version() {
    let request = Request { config: r#"{"cniVersion":"9.9.9"}"#.to_owned(), ..request("VERSION", &config()) };
    assert_eq!(Call::parse(&request).unwrap(), Call::Version("9.9.9".to_owned()));
}

proptest! {
    #[test]
    fn no_call_panics(command in "ADD|DEL|CHECK|GC|STATUS|VERSION|.*", id in ".*", ifname in ".*", arguments in ".*",
        config in r#"\{"cniVersion":"(1.1.0|0.4.0)","name":"[a-z.]*","type":"[a-z]*"(,"ipam":.{0,20})?\}|.*"#) {
        let variables = [("CNI_COMMAND", command), ("CNI_CONTAINERID", id), ("CNI_IFNAME", ifname),
            ("CNI_ARGS", arguments), ("CNI_NETNS", "/n".to_owned())];
        let environment = variables.map(|(name, value)| (name.to_owned(), value)).into();
        drop(Call::parse(&Request { environment, config }));
    }
}
