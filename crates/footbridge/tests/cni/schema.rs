//! What the plugin prints, against the specification's schemas (CNI 1.1.0, section 5, and its history of 0.3.0 to 1.0.0),
//! written here as JSON Schemas (draft 2020-12) that allow nothing that a version does not know.

use crate::node::{Node, call, own_addresses};
use crate::{SUBNET, node};
use serde_json::{Value, json};

const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// "Add Success" of a version.
fn result_schema(version: &str) -> Value {
    let string = json!({"type": "string", "minLength": 1});
    let address = json!({"type": "string", "pattern": r"^[0-9.]+$|^[0-9a-f:.]+$"});
    let subnet = json!({"type": "string", "pattern": r"^[0-9a-f:.]+/[0-9]{1,3}$"});
    let mut interface = json!({
        "name": string, "sandbox": string, "mac": {"type": "string", "pattern": "^([0-9a-f]{2}:){5}[0-9a-f]{2}$"},
    });
    let mut ip =
        json!({"address": subnet, "gateway": address, "interface": {"type": "integer", "minimum": 0}});
    let mut route = json!({"dst": subnet, "gw": address});
    let mut ip_needs = vec!["address"];
    if version < "1.0.0" {
        ip["version"] = json!({"enum": ["4", "6"]});
        ip_needs.push("version");
    }
    if version >= "1.1.0" {
        let number = json!({"type": "integer", "minimum": 0});
        interface["mtu"] = number.clone();
        interface["socketPath"] = string.clone();
        interface["pciID"] = string.clone();
        for key in ["mtu", "advmss", "priority", "table", "scope"] {
            route[key] = number.clone();
        }
    }
    let strings = json!({"type": "array", "items": string});
    let dns = json!({"nameservers": strings, "domain": string, "search": strings, "options": strings});
    let list = |properties: Value, required: &[&str]| json!({"type": "array", "items": object(properties, required)});
    object(
        json!({
            "cniVersion": {"const": version},
            "interfaces": list(interface, &["name"]),
            "ips": list(ip, &ip_needs),
            "routes": list(route, &["dst"]),
            "dns": object(dns, &[]),
        }),
        &["cniVersion", "interfaces", "ips"],
    )
}

/// "Error".
fn error_schema() -> Value {
    let string = json!({"type": "string", "minLength": 1});
    let version = json!({"enum": VERSIONS});
    let code = json!({"type": "integer", "minimum": 1});
    object(
        json!({"cniVersion": version, "code": code, "msg": string, "details": string}),
        &["cniVersion", "code", "msg"],
    )
}

/// "Version Success".
fn version_schema() -> Value {
    let versions = json!({"type": "array", "items": {"type": "string"}, "contains": {"const": "1.1.0"}});
    object(
        json!({"cniVersion": {"type": "string"}, "supportedVersions": versions}),
        &["cniVersion", "supportedVersions"],
    )
}

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn assert_valid(printed: &Value, schema: &Value) {
    let validator = jsonschema::validator_for(schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(printed).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}\nin {printed:#}");
}

#[test]
fn results_are_in_the_schema_of_each_version() {
    let Some(node) = node("schema", SUBNET, "userspace") else { return };
    for version in VERSIONS {
        let container = node.container();
        let dns = json!({"nameservers": ["10.96.0.10"], "search": ["default.svc.cluster.local"]});
        let mut config = node.config(version, &own_addresses());
        config["dns"] = dns.clone();
        let added = node.call("ADD", &container, &config);
        assert!(added.success, "{}", added.printed);
        assert_valid(&added.printed, &result_schema(version));
        assert_eq!(added.printed["dns"], dns);
        config["prevResult"] = added.printed;
        let checked = node.call("CHECK", &container, &config);
        match version {
            "0.3.0" | "0.3.1" => assert_eq!(checked.printed["code"], 1, "CHECK came with 0.4.0"),
            _ => assert!(checked.success, "{version}: {}", checked.printed),
        }
        assert!(node.call("DEL", &container, &config).success);
    }
}

#[test]
fn a_result_comes_behind_that_of_the_plugin_before() {
    let Some(node) = node("chain", SUBNET, "userspace") else { return };
    let before = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": "/run/netns/x"}],
        "ips": [{"address": "127.0.0.1/8", "interface": 0}],
        "dns": {},
    });
    let mut config = node.config("1.0.0", &own_addresses());
    config["prevResult"] = before.clone();
    let added = node.call("ADD", &node.container(), &config);
    assert!(added.success, "{}", added.printed);
    assert_valid(&added.printed, &result_schema("1.0.0"));
    assert_eq!(added.printed["interfaces"][0], before["interfaces"][0]);
    assert_eq!(added.printed["ips"][0], before["ips"][0]);
    assert_eq!(added.printed["ips"][1]["interface"], 2, "the pod's own end");
}

#[test]
fn errors_are_in_the_schema_and_go_by_the_specifications_codes() {
    let Some(node) = node("errors", SUBNET, "userspace") else { return };
    let container = node.container();
    let config = |node: &Node| node.config("1.1.0", &own_addresses());
    let with = |variable: &str, value: &str| {
        let mut plugin = node.plugin("ADD", &container);
        plugin.env(variable, value);
        call(plugin, &config(&node))
    };
    let mut unspoken = config(&node);
    unspoken["cniVersion"] = json!("0.2.0");
    for (code, outcome) in [
        (1, node.call("ADD", &container, &unspoken)),
        (3, with("CNI_NETNS", "/run/netns/that-is-not-there")),
        (4, with("CNI_NETNS", "")),
        (4, with("CNI_NETNS", "/etc/passwd")),
        (4, with("CNI_NETNS", &format!("/run/netns/{}", node.name))),
        (4, with("CNI_IFNAME", "much-too-long-for-linux")),
        (4, with("CNI_CONTAINERID", "../..")),
        (4, with("CNI_COMMAND", "EXPLODE")),
        (6, node.call("ADD", &container, &json!([]))),
        (7, node.call("CHECK", &container, &config(&node))),
        (7, node.call("GC", &container, &config(&node))),
    ] {
        assert!(!outcome.success);
        assert_eq!(outcome.printed["code"], code, "{}", outcome.printed);
        assert_valid(&outcome.printed, &error_schema());
    }
    assert_eq!(node.files("pods"), [""; 0]);
}

#[test]
fn a_version_is_answered_whatever_the_configuration_says() {
    for config in [json!({"cniVersion": "0.4.0"}), json!({"cniVersion": "9.0.0", "name": "n"})] {
        let mut plugin = std::process::Command::new(crate::node::PROGRAM);
        plugin.env_clear().env("CNI_COMMAND", "VERSION");
        let outcome = call(plugin, &config);
        assert!(outcome.success);
        assert_valid(&outcome.printed, &version_schema());
        assert_eq!(outcome.printed["cniVersion"], config["cniVersion"]);
    }
}
