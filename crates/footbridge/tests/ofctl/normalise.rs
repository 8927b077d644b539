//! What two switches print, made comparable: read as a tree, without what cannot be equal, sorted.
//!
//! Depth is by indentation; what follows a message's line, up to the next message, belongs to it. Siblings
//! are sorted, since no order is promised.

use regex::Regex;
use std::fmt::Write;
use std::path::Path;
use std::sync::LazyLock;

/// One thing that cannot be equal, or need not.
pub(crate) struct Rule {
    /// What is taken out.
    pub(crate) name: &'static str,
    /// Why it may differ.
    pub(crate) why: &'static str,
    /// What of a line.
    pattern: &'static str,
    change: Change,
    /// A line, and what is left of it.
    example: (&'static str, &'static str),
}

enum Change {
    /// This stands in its place.
    To(&'static str),
    /// The line is left out, with all that belongs to it.
    LeftOut,
}

/// All rules, in the order in which they are applied to a line.
pub(crate) static RULES: &[Rule] = &[
    Rule {
        name: "transaction id",
        why: "counts the messages of a connection, and its start is the client's choice",
        pattern: r" \(xid=0x[0-9a-f]+\)",
        change: Change::To(""),
        example: ("OFPST_FLOW reply (OF1.3) (xid=0x2):", "OFPST_FLOW reply (OF1.3):"),
    },
    Rule {
        name: "datapath id",
        why: "is each bridge's own",
        pattern: r"\bdpid:[0-9a-f]{16}",
        change: Change::To("dpid:…"),
        example: ("OFPT_FEATURES_REPLY: dpid:00009ae35d8f514f", "OFPT_FEATURES_REPLY: dpid:…"),
    },
    Rule {
        name: "identity",
        why: "says who made the switch",
        pattern: r"^(Manufacturer|Hardware|Software|Serial Num|DP Description): .*",
        change: Change::To("$1: …"),
        example: ("Software: 3.1.0", "Software: …"),
    },
    Rule {
        name: "LOCAL port",
        why: "Footbridge has none",
        pattern: r"^(LOCAL\(.*\): addr:|port LOCAL: )",
        change: Change::LeftOut,
        example: ("LOCAL(br0): addr:9a:e3:5d:8f:51:4f", ""),
    },
    Rule {
        name: "number of ports",
        why: "counts LOCAL, and the ports follow",
        pattern: r"^(OFPST_PORT reply.*): \d+ ports$",
        change: Change::To("$1: … ports"),
        example: ("OFPST_PORT reply: 4 ports", "OFPST_PORT reply: … ports"),
    },
    Rule {
        name: "table count",
        why: "Open vSwitch keeps the last table to itself",
        pattern: r"\bn_tables:\d+",
        change: Change::To("n_tables:…"),
        example: ("n_tables:254, n_buffers:0", "n_tables:…, n_buffers:0"),
    },
    Rule {
        name: "last table",
        why: "follows from the table count",
        pattern: r"^tables? (\d+)(\.\.\.\d+)?: ditto",
        change: Change::To("table $1 and on: ditto"),
        example: ("tables 1...253: ditto", "table 1 and on: ditto"),
    },
    Rule {
        name: "tunnel option space",
        why: "Footbridge has eight tun_metadata fields",
        pattern: r"^max option space=\d+ max fields=\d+",
        change: Change::To("max option space=… max fields=…"),
        example: ("max option space=256 max fields=64", "max option space=… max fields=…"),
    },
    Rule {
        name: "duration",
        why: "is a time that went by",
        pattern: r"\bduration(=?)[0-9.]+s",
        change: Change::To("duration$1…s"),
        example: ("cookie=0x0, duration=4.135s, table=0", "cookie=0x0, duration=…s, table=0"),
    },
    Rule {
        name: "idle age",
        why: "is a time that went by",
        pattern: r"\bidle_age=\d+",
        change: Change::To("idle_age=…"),
        example: ("n_bytes=0, idle_age=3, actions=drop", "n_bytes=0, idle_age=…, actions=drop"),
    },
    Rule {
        name: "hard age",
        why: "is a time that went by, and shown only where it is not the duration",
        pattern: r"\bhard_age=\d+, ",
        change: Change::To(""),
        example: ("idle_age=…, hard_age=3, priority=5", "idle_age=…, priority=5"),
    },
    Rule {
        name: "round-trip time",
        why: "is a time that went by",
        pattern: r"\btime=[0-9.]+ ms",
        change: Change::To("time=… ms"),
        example: ("64 bytes from br0: xid=00000002 time=0.1 ms", "64 bytes from br0: xid=00000002 time=… ms"),
    },
    Rule {
        name: "bandwidth",
        why: "is a time that went by",
        pattern: r"^Finished in .*",
        change: Change::To("Finished in …"),
        example: ("Finished in 0.1 ms (51724 packets/s) (931034 bytes/s)", "Finished in …"),
    },
    Rule {
        name: "time of a log line",
        why: "is when it was written",
        pattern: r"^[0-9-]{10}T[0-9:]{8}Z\|[0-9]{5}\|",
        change: Change::To(""),
        example: ("2026-11-25T01:09:31Z|00001|ofp_match|INFO|post:", "ofp_match|INFO|post:"),
    },
    Rule {
        name: "reason not to connect",
        why: "depends on how far a connection to nobody got",
        pattern: r"\S+: failed to (connect to|open) socket \(.*\)",
        change: Change::To("…: failed to … socket (…)"),
        example: (
            "ovs-ofctl: br0: failed to open socket (Broken pipe)",
            "ovs-ofctl: …: failed to … socket (…)",
        ),
    },
];

static PATTERNS: LazyLock<Vec<Regex>> =
    LazyLock::new(|| RULES.iter().map(|rule| Regex::new(rule.pattern).unwrap()).collect());

/// The first line of a message as ovs-ofctl prints it.
static MESSAGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(OFP|NX|ONF)(T|ST)_").unwrap());

/// A line and what belongs to it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    line: String,
    children: Vec<Node>,
}

/// What is left of an output when all rules have been applied, one thing a line, sorted. `dir` is the
/// switch's own directory, whose name is left out.
pub(crate) fn normalise(output: &str, dir: &Path) -> String {
    let output = output.replace(&dir.display().to_string(), "RUN");
    let mut in_message = false;
    let mut lines = Vec::new();
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        let depth = line.len() - line.trim_start().len();
        in_message |= MESSAGE.is_match(line);
        let depth = if in_message && !MESSAGE.is_match(line) { depth + 1 } else { depth };
        lines.push((depth, line.trim()));
    }
    let mut rest = lines.as_slice();
    let mut printed = String::new();
    print(&siblings(&mut rest, 0), 0, &mut printed);
    printed
}

/// The nodes at the front that are indented at least so far.
fn siblings(lines: &mut &[(usize, &str)], at_least: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    while let Some(((depth, line), rest)) = lines.split_first() {
        if *depth < at_least {
            break;
        }
        *lines = rest;
        let children = siblings(lines, depth + 1);
        nodes.extend(apply(line).map(|line| Node { line, children }));
    }
    nodes.sort();
    nodes
}

/// A line when all rules have been applied; None where it is left out.
fn apply(line: &str) -> Option<String> {
    let mut line = line.to_owned();
    for (rule, pattern) in RULES.iter().zip(PATTERNS.iter()) {
        match rule.change {
            Change::To(with) => line = pattern.replace_all(&line, with).into_owned(),
            Change::LeftOut if pattern.is_match(&line) => return None,
            Change::LeftOut => {}
        }
    }
    Some(line)
}

fn print(nodes: &[Node], depth: usize, into: &mut String) {
    for node in nodes {
        writeln!(into, "{:indent$}{}", "", node.line, indent = 2 * depth).unwrap();
        print(&node.children, depth + 1, into);
    }
}

/// Where two normalised outputs differ: `-` has only the first, `+` only the second.
pub(crate) fn difference(theirs: &str, ours: &str) -> Option<String> {
    if theirs == ours {
        return None;
    }
    let mut printed = String::new();
    for change in similar::TextDiff::from_lines(theirs, ours).iter_all_changes() {
        match change.tag() {
            similar::ChangeTag::Equal => {}
            tag => write!(printed, "{tag} {change}").unwrap(),
        }
    }
    Some(printed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_does_what_it_says() {
        for rule in RULES {
            let (line, left) = rule.example;
            assert_ne!(line, left, "{}: {}", rule.name, rule.why);
            assert_eq!(apply(line).unwrap_or_default(), left, "{}: {}", rule.name, rule.why);
        }
    }

    #[test]
    fn what_belongs_to_a_line_stays_with_it() {
        let printed = "OFPST_PORT_DESC reply (xid=0x2):
 2(p2): addr:02
     config:     0
 LOCAL(br0): addr:03
     config:     PORT_DOWN
 1(p1): addr:01
     state:      LIVE
     config:     NO_FLOOD
";
        let expected = "OFPST_PORT_DESC reply:
  1(p1): addr:01
    config:     NO_FLOOD
    state:      LIVE
  2(p2): addr:02
    config:     0
";
        assert_eq!(normalise(printed, Path::new("/run")), expected);
    }

    #[test]
    fn flows_are_compared_whatever_their_order() {
        let one = "NXST_FLOW reply (xid=0x4):\n priority=1 actions=drop\n priority=2 actions=output:1\n";
        let other = "NXST_FLOW reply (xid=0x9):\n priority=2 actions=output:1\n priority=1 actions=drop\n";
        let changed = other.replace("output:1", "output:2");
        let compare =
            |a, b: &str| difference(&normalise(a, Path::new("/run")), &normalise(b, Path::new("/run")));
        assert_eq!(compare(one, other), None);
        let found = "-   priority=2 actions=output:1\n+   priority=2 actions=output:2\n";
        assert_eq!(compare(one, &changed).as_deref(), Some(found));
    }
}
