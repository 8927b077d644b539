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
    },
    Rule {
        name: "datapath id",
        why: "is each bridge's own",
        pattern: r"\bdpid:[0-9a-f]{16}",
        change: Change::To("dpid:…"),
    },
    Rule {
        name: "identity",
        why: "says who made the switch",
        pattern: r"^(Manufacturer|Hardware|Software|Serial Num|DP Description): .*",
        change: Change::To("$1: …"),
    },
    Rule {
        name: "LOCAL port",
        why: "Footbridge has none",
        pattern: r"^(LOCAL\(.*\): addr:|port LOCAL: )",
        change: Change::LeftOut,
    },
    Rule {
        name: "number of ports",
        why: "counts LOCAL, and the ports follow",
        pattern: r"^(OFPST_PORT reply.*): \d+ ports$",
        change: Change::To("$1: … ports"),
    },
    Rule {
        name: "table count",
        why: "Open vSwitch keeps the last table to itself",
        pattern: r"\bn_tables:\d+",
        change: Change::To("n_tables:…"),
    },
    Rule {
        name: "last table",
        why: "follows from the table count",
        pattern: r"^tables? (\d+)(\.\.\.\d+)?: ditto",
        change: Change::To("table $1 and on: ditto"),
    },
    Rule {
        name: "tunnel option space",
        why: "Footbridge has eight tun_metadata fields",
        pattern: r"^max option space=\d+ max fields=\d+",
        change: Change::To("max option space=… max fields=…"),
    },
    Rule {
        name: "duration",
        why: "is a time that went by",
        pattern: r"\bduration(=?)[0-9.]+s",
        change: Change::To("duration$1…s"),
    },
    Rule {
        name: "idle age",
        why: "is a time that went by",
        pattern: r"\bidle_age=\d+",
        change: Change::To("idle_age=…"),
    },
    Rule {
        name: "hard age",
        why: "is a time that went by, and shown only where it is not the duration",
        pattern: r"\bhard_age=\d+, ",
        change: Change::To(""),
    },
    Rule {
        name: "round-trip time",
        why: "is a time that went by",
        pattern: r"\btime=[0-9.]+ ms",
        change: Change::To("time=… ms"),
    },
    Rule {
        name: "bandwidth",
        why: "is a time that went by",
        pattern: r"^Finished in .*",
        change: Change::To("Finished in …"),
    },
    Rule {
        name: "time of a log line",
        why: "is when it was written",
        pattern: r"^[0-9-]{10}T[0-9:]{8}Z\|[0-9]{5}\|",
        change: Change::To(""),
    },
    Rule {
        name: "reason not to connect",
        why: "depends on how far a connection to nobody got",
        pattern: r"\S+: failed to (connect to|open) socket \(.*\)",
        change: Change::To("…: failed to … socket (…)"),
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
