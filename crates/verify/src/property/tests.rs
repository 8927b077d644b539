//! How properties are read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

fn names() -> PortNames {
    [(1, "tun0"), (2, "gw0")].into_iter().map(|(number, name)| (PortNo(number), name)).collect()
}

fn error(text: &str) -> String {
    parse_properties(text, "own", &names()).unwrap_err().to_string()
}

#[test]
fn reads_what_its_page_says() {
    let text = "# nothing\n\nnever: in_port=gw0,arp => output tun0 or controller\n always:=> table 3\n\
                always: ip,nw_dst=10.0.0.0/8 given ct_state=+new,ct_mark=0 => drop or output 7\n";
    let read = parse_properties(text, "own", &names()).unwrap();
    assert_eq!(read.iter().map(|property| property.line).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(read[0].outcomes, [Outcome::OutputTo(PortNo(1)), Outcome::Controller]);
    assert_eq!((read[1].kind, &read[1].packets), (Kind::Always, &Match::any()));
    assert_eq!(read[2].outcomes, [Outcome::Drop, Outcome::OutputTo(PortNo(7))]);
    assert_ne!(read[2].given, Match::any());
}

#[test]
fn says_where_a_line_is_wrong() {
    assert_eq!(error("\nsometimes: ip => drop"), "own:2:1: expected 'never:' or 'always:'");
    assert_eq!(error("never: ip"), "own:1:8: expected '=>' and what happens");
    assert_eq!(
        error("never: ip,nw_sec=1 => drop"),
        "own:1:11: expected a protocol or a field, found 'nw_sec'; did you mean 'nw_src'?"
    );
    assert_eq!(error("never: ip => fall"), format!("own:1:14: {EXPECTED}"));
    assert_eq!(error("never: ip => output eth9"), "own:1:21: 'eth9' is no port of the bridge");
    assert_eq!(error("never: ip => table 300"), "own:1:20: expected a table's number, 0 to 255");
    assert_eq!(error("never: ip =>"), format!("own:1:13: {EXPECTED}"));
    assert_eq!(error("never: ip => drop and"), format!("own:1:14: {EXPECTED}"));
}
