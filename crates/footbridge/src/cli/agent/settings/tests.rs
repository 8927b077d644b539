#![allow(clippy::unwrap_used, reason = "a test that can't look has failed")]

use super::*;
use clap::{CommandFactory, Parser};
use std::collections::BTreeSet;

#[derive(Debug, Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

fn wrong(text: &str) -> String {
    Settings::parse("agent.yaml", text).unwrap_err().to_string()
}

fn flags() -> BTreeSet<String> {
    let command = Flags::command();
    let flags = command.get_arguments().filter_map(|argument| argument.get_long());
    flags.map(str::to_owned).collect()
}

#[test]
fn every_flag_is_a_key_of_the_file_and_every_key_a_flag() {
    let refused = wrong("no-such-key: 1\n");
    let (_, keys) = refused.split_once("expected one of ").unwrap();
    let keys: BTreeSet<String> = keys.split(", ").map(str::to_owned).collect();
    assert_eq!(keys, flags());
}

#[test]
fn every_key_is_described() {
    let page = include_str!("../../../../../../docs/configuration.md");
    let (_, table) = page.split_once("| key and flag |").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let described: BTreeSet<String> = rows.map(|(key, _)| key.to_owned()).collect();
    assert_eq!(described, flags());
}

#[test]
fn the_file_of_the_documentation_is_good() {
    let page = include_str!("../../../../../../docs/configuration.md");
    let (_, file) = page.split_once("```yaml\n").unwrap();
    let (file, _) = file.split_once("```").unwrap();
    Settings::parse("agent.yaml", file).unwrap();
}

#[test]
fn a_wrong_key_or_value_is_named_with_its_line() {
    let refused = wrong("node: worker1\nmetric: 127.0.0.1:1\n");
    assert!(refused.starts_with("agent.yaml:2:1: ") && refused.contains("metric"), "{refused}");
    let refused = wrong("node: worker1\n\nservice-cidr: 10.96.0.1/12\n");
    let expected = "agent.yaml:3:15: '10.96.0.1/12' has host bits set; the subnet is 10.96.0.0/12";
    assert_eq!(refused, expected);
    let refused = wrong("tunnel-type: gre\n");
    assert_eq!(refused, "agent.yaml:1:14: 'gre' is none of vxlan, geneve");
    let refused = wrong("node: a\nnode: b\n");
    assert!(refused.starts_with("agent.yaml:2:"), "{refused}");
    let refused = wrong("node: [a\n");
    assert!(refused.starts_with("agent.yaml:"), "{refused}");
}

#[test]
fn a_clusters_place_among_the_flags_wins_over_any_in_the_file() {
    let file = || Settings::parse("agent.yaml", "cluster: cluster.yaml\n").unwrap();
    let flags = Flags::try_parse_from(["agent", "--in-cluster"]).unwrap();
    let all = flags.settings.or(file());
    assert_eq!((all.cluster, all.in_cluster), (None, Some(true)));
    let flags = Flags::try_parse_from(["agent", "--kubeconfig", "kubeconfig"]).unwrap();
    let all = flags.settings.or(file());
    assert_eq!((all.cluster, all.kubeconfig), (None, Some("kubeconfig".into())));
}

#[test]
fn an_empty_file_says_nothing() {
    for text in ["", "# nothing\n", "{}\n", "---\n"] {
        assert!(Settings::parse("agent.yaml", text).unwrap().node.is_none(), "{text:?}");
    }
}

#[test]
fn a_flag_wins_over_the_file() {
    let file = Settings::parse("agent.yaml", "node: of-the-file\ngateway: gw0\nlog-format: json\n").unwrap();
    let flags = Flags::try_parse_from(["agent", "--node", "of-the-flag", "--bridge", "br0"]).unwrap();
    let all = flags.settings.or(file);
    assert_eq!((all.node.as_deref(), all.gateway.as_deref()), (Some("of-the-flag"), Some("gw0")));
    assert_eq!(all.bridge, Some(WhichBridge::Own("br0".to_owned())));
    assert_eq!(all.log_format, Some(LogFormat::Json));
}
