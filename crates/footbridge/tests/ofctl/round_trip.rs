//! Flows told to both switches by ovs-ofctl come back as the same text: the article's bridge, the manuals'
//! examples, and generated ones.

use crate::generator::{Dialect, Random, is_readable_everywhere};
use crate::normalise::{difference, normalise};
use crate::scenario::{ALL, FROM_13, Version, run};
use crate::switches::{PLAIN, Plan, Switch};
use crate::{Beside, Pair};
use footbridge_openflow::{Action, Flow, PortNames};
use footbridge_pipeline::refusal;
use std::fs;

const WORKER1: &str = include_str!("../data/worker1.flows");

/// The article's worker1.
const WORKER1_PLAN: Plan = Plan {
    bridge: "br-int",
    ports: &[
        ("antrea-tun0", 1),
        ("antrea-gw0", 2),
        ("coredns--3e3abf", 3),
        ("antrea-o-830766", 4),
        ("backend1-bab86f", 48),
        ("frontend-a3ba2f", 49),
    ],
};

/// One of the manuals' files: a flow a line, and those that Footbridge does not take behind `! WHY: `.
const EXAMPLES: [(&str, &str); 2] = [
    ("ovs-actions(7)", include_str!("../data/examples/ovs-actions.flows")),
    ("ovs-fields(7)", include_str!("../data/examples/ovs-fields.flows")),
];

/// The flows' lines, sorted. Not what ovs-ofctl logs besides, with the time and no more often than so often: that
/// an action is deprecated.
fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().filter(|line| !line.contains("|ofp_actions|INFO|")).collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// What both dump, and how it differs.
fn compare_dumps(pair: &Pair, command: &str, version: Version) -> (String, Option<String>) {
    let [theirs, ours] = pair.both(|switch| sorted(&run(switch.bed(), version, command, None)));
    let difference = difference(&theirs, &ours);
    (theirs, difference)
}

pub(crate) fn the_articles_bridge(beside: Beside) {
    let pair = Pair::start(beside, WORKER1_PLAN);
    let mut differences = Vec::new();
    for told in ALL {
        pair.both(|switch| {
            let bed = switch.bed();
            fs::write(bed.path("worker1.flows"), WORKER1).unwrap();
            for command in [
                "del-flows br-int",
                "del-tlv-map br-int",
                "add-tlv-map br-int {class=0x104,type=0x80,len=4}->tun_metadata0",
                "add-flows br-int worker1.flows",
            ] {
                assert_eq!(run(bed, *told, command, None), "", "{command}");
            }
        });
        for dumped in ALL {
            let command = "--no-stats --names dump-flows br-int";
            let (theirs, difference) = compare_dumps(&pair, command, *dumped);
            assert_eq!(theirs.lines().count(), WORKER1.lines().count(), "all flows are there:\n{theirs}");
            if (*told, *dumped) == (Version::V10, Version::V10) {
                assert_eq!(theirs, sorted(WORKER1), "Open vSwitch prints the file");
            }
            differences
                .extend(difference.map(|lines| format!("told in {told:?}, dumped in {dumped:?}:\n{lines}")));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// An example of a manual.
struct Example {
    page: &'static str,
    /// Why Footbridge does not take it, if it doesn't.
    left_out: Option<&'static str>,
    flow: &'static str,
}

fn examples() -> impl Iterator<Item = Example> {
    let of_page = |(page, text): (&'static str, &'static str)| {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(move |line| {
            let (left_out, flow) = match line.strip_prefix("! ") {
                Some(rest) => rest.split_once(": ").map(|(why, flow)| (Some(why), flow)).expect("a reason"),
                None => (None, line),
            };
            Example { page, left_out, flow }
        })
    };
    EXAMPLES.into_iter().flat_map(of_page)
}

/// Add the examples one by one, each with a cookie and, unless it has one, a priority of its own. What
/// ovs-ofctl said of each and how it is dumped at the end, if it is there.
fn add_examples(switch: &dyn Switch, version: Version) -> Vec<(String, Option<String>)> {
    let bed = switch.bed();
    let map = "add-tlv-map br0 {class=0xffff,type=0,len=4}->tun_metadata0";
    run(bed, Version::V10, map, None);
    let add = |(i, example): (usize, Example)| {
        let command =
            format!("--no-names add-flow br0 'cookie={:#x},priority={},{}'", i + 1, 1000 + i, example.flow);
        normalise(&run(bed, version, &command, None), bed.dir())
    };
    let said: Vec<String> = examples().enumerate().map(add).collect();
    let dump = run(bed, version, "--no-stats dump-flows br0", None);
    let dumped = |i: usize| {
        let cookie = format!(" cookie={:#x},", i + 1);
        dump.lines().find(|line| line.starts_with(&cookie)).map(ToOwned::to_owned)
    };
    said.into_iter().enumerate().map(|(i, said)| (said, dumped(i))).collect()
}

pub(crate) fn the_manuals_examples(beside: Beside) {
    let mut wrong = Vec::new();
    let mut taken = vec![false; examples().count()];
    for version in ALL {
        let pair = Pair::start(beside, PLAIN);
        let [theirs, ours] = pair.both(|switch| add_examples(switch, *version));
        for (i, (example, (theirs, ours))) in examples().zip(theirs.into_iter().zip(ours)).enumerate() {
            let Example { page, left_out, flow } = example;
            taken[i] |= theirs.1.is_some();
            let found = match left_out {
                Some(why) if beside == Beside::Footbridge => {
                    ours.1.is_some().then(|| format!("is taken, although {why}\n"))
                }
                _ => {
                    let text = |(said, dumped): (String, Option<String>)| {
                        format!("{said}{}\n", dumped.unwrap_or_default())
                    };
                    difference(&text(theirs), &text(ours))
                }
            };
            wrong.extend(found.map(|what| format!("{page}, {version:?}: {flow}\n{what}")));
        }
    }
    for (example, _) in examples().zip(taken).filter(|(_, taken)| !taken) {
        wrong.push(format!("{}: Open vSwitch does not take {}", example.page, example.flow));
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether Open vSwitch can dump the flow in 1.0: there, its goto_table is a resubmit, which it refuses to read
/// behind a write_metadata.
fn is_readable_in_1_0(flow: &Flow) -> bool {
    let has = |wanted: fn(&Action) -> bool| flow.actions.iter().any(wanted);
    !(has(|action| matches!(action, Action::WriteMetadata { .. }))
        && has(|action| matches!(action, Action::GotoTable(_))))
}

/// Flows that Footbridge takes, each with a cookie and a priority of its own.
fn generate(set: &Set) -> Vec<Flow> {
    let mut random = Random::new(set.seed);
    let usable = |flow: &Flow| {
        refusal::check(flow).is_ok()
            && is_readable_everywhere(flow)
            && (is_readable_in_1_0(flow) || !set.dumped.contains(&Version::V10))
    };
    (1..=set.count)
        .map(|i| {
            let mut flow = random.flow(set.dialect);
            while !usable(&flow) {
                flow = random.flow(set.dialect);
            }
            (flow.cookie, flow.priority) = (i.into(), i);
            // It is to stay until it is dumped.
            flow.idle_timeout = if flow.idle_timeout == 0 { 0 } else { flow.idle_timeout.max(600) };
            flow.hard_timeout = if flow.hard_timeout == 0 { 0 } else { flow.hard_timeout.max(600) };
            flow
        })
        .collect()
}

/// Add flows, all that are not refused; which are, and what was said.
fn add_all(switch: &dyn Switch, version: Version, lines: &[String]) -> Vec<String> {
    let bed = switch.bed();
    let mut refused = Vec::new();
    let mut next = 0;
    loop {
        fs::write(bed.path("generated"), lines[next..].join("\n")).unwrap();
        let said = run(bed, version, "add-flows br0 generated", None);
        if said.is_empty() {
            return refused;
        }
        // It stops at the first that is refused: the switch's error follows the flows before it, ovs-ofctl's
        // own names the line and comes before anything is sent.
        let line = match said.split("generated:").nth(1).and_then(|rest| rest.split(':').next()) {
            Some(number) => next + number.parse::<usize>().expect("a line number") - 1,
            None => {
                let dump = run(bed, version, "--no-stats dump-flows br0", None);
                let cookies = dump.lines().filter_map(|line| {
                    let hex = line.trim().strip_prefix("cookie=0x")?.split(',').next()?;
                    usize::from_str_radix(hex, 16).ok()
                });
                // The cookies count from 1.
                cookies.max().unwrap_or(0).max(next)
            }
        };
        refused.push(format!("{}\n{}", lines[line], normalise(&said, bed.dir())));
        next = line + 1;
    }
}

/// A set of generated flows.
struct Set {
    told: Version,
    dumped: &'static [Version],
    dialect: Dialect,
    seed: u64,
    count: u16,
}

const SETS: [Set; 5] = {
    use Dialect::{OpenFlow10, OpenFlow15};
    [
        Set { told: Version::V10, dumped: ALL, dialect: OpenFlow10, seed: 101, count: 4000 },
        Set { told: Version::V13, dumped: ALL, dialect: OpenFlow15, seed: 102, count: 2000 },
        Set { told: Version::V13, dumped: FROM_13, dialect: OpenFlow15, seed: 103, count: 1000 },
        Set { told: Version::V14, dumped: ALL, dialect: OpenFlow15, seed: 104, count: 1000 },
        Set { told: Version::V15, dumped: ALL, dialect: OpenFlow15, seed: 105, count: 2500 },
    ]
};

pub(crate) fn generated_flows(beside: Beside) {
    assert!(SETS.iter().map(|set| u32::from(set.count)).sum::<u32>() >= 10_000);
    let pair = Pair::start(beside, PLAIN);
    let mut wrong = Vec::new();
    for set in &SETS {
        let Set { told, seed, count, .. } = *set;
        let count = usize::from(count);
        let names = PortNames::none();
        let lines: Vec<String> = generate(set).iter().map(|flow| flow.display(&names).to_string()).collect();
        let [theirs, ours] = pair.both(|switch| {
            run(switch.bed(), told, "del-flows br0", None);
            add_all(switch, told, &lines)
        });
        assert!(theirs.len() < count / 100, "Open vSwitch refuses {}: {}", theirs.len(), theirs.join("\n"));
        let found = difference(&theirs.join("\n"), &ours.join("\n"));
        wrong.extend(found.map(|what| format!("seed {seed}, told in {told:?}, refused:\n{what}")));
        for dumped in set.dumped {
            let (theirs, found) = compare_dumps(&pair, "--no-stats dump-flows br0", *dumped);
            let flows = theirs.lines().count();
            assert!(flows >= count * 99 / 100, "{dumped:?}, {flows} lines of {count} flows:\n{theirs}");
            wrong.extend(
                found.map(|what| format!("seed {seed}, told in {told:?}, dumped in {dumped:?}:\n{what}")),
            );
        }
    }
    let shown: Vec<&str> = wrong.iter().flat_map(|what| what.lines()).take(200).collect();
    assert!(wrong.is_empty(), "{} differences, of which:\n{}", wrong.len(), shown.join("\n"));
}
