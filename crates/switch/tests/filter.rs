//! Filters of flows as text.

use footbridge_openflow::{Field, Match, PortNames, PortNo};
use footbridge_switch::FlowFilter;

fn names() -> PortNames {
    [(1, "eth0"), (2, "with space"), (3, "a,b=\"c\"")]
        .map(|(n, name)| (PortNo(n), name))
        .into_iter()
        .collect()
}

fn parse(text: &str) -> Option<FlowFilter> {
    FlowFilter::parse(text, &names()).ok()
}

#[test]
fn quoted_port_names_may_hold_spaces_commas_and_quotes() {
    let from = |number: u8| FlowFilter {
        matching: Match::any().with(Field::InPort, number),
        ..FlowFilter::default()
    };
    assert_eq!(parse("in_port=\"with space\""), Some(from(2)));
    assert_eq!(parse(r#"in_port="a,b=\"c\"""#), Some(from(3)));
    let to = |number| FlowFilter { out_port: Some(PortNo(number)), ..FlowFilter::default() };
    assert_eq!(parse("out_port=\"with space\""), Some(to(2)));
    assert_eq!(parse(r#"out_port="a,b=\"c\"""#), Some(to(3)));
}

#[test]
fn out_port_is_any_port_that_text_names() {
    let to = |port| FlowFilter { out_port: Some(port), ..FlowFilter::default() };
    assert_eq!(parse("out_port=eth0"), Some(to(PortNo(1))));
    assert_eq!(parse("out_port=7"), Some(to(PortNo(7))));
    assert_eq!(parse("out_port=LOCAL"), Some(to(PortNo::LOCAL)));
    assert_eq!(parse("out_port=65534"), Some(to(PortNo::LOCAL)));
    assert_eq!(parse("out_port=eth1"), None);
}

#[test]
fn a_word_of_a_flow_that_no_filter_asks_for_is_refused_not_ignored() {
    for text in
        ["priority=5", "idle_timeout=5", "n_packets=0", "send_flow_rem", "arp,priority=5", "actions=drop"]
    {
        assert_eq!(parse(text), None, "{text}");
    }
}
