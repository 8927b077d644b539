//! `ovs-ofctl` against `footbridge switch` and against Open vSwitch: the same commands give the same
//! output, sorted, in every version of OpenFlow that both speak.
//!
//! What is tried stands in tables (`scenarios`), and so does what may differ (`normalise::RULES`). Every
//! scenario also runs against two Open vSwitches, so that what is found to differ is Footbridge's.
//! Needs root, Open vSwitch and tcpdump; else each test says `skipped: NAME: why`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod controllers;
#[path = "../../../openflow/tests/common/mod.rs"]
mod generator;
#[path = "../../../datapath/tests/common/mod.rs"]
mod kernel;
mod normalise;
mod round_trip;
mod scenario;
mod scenarios;
mod switches;

use scenario::{Beside, Disagreement, Version, carry_out, compare, reset, run};
use scenarios::{GROUPS, Group};
use switches::{Ours, Ovs, PLAIN, Plan, Switch, wait_for_ports};

/// Whether the test can run here; where not, says why.
fn possible(test: &str) -> bool {
    if let Some(why) = switches::lacking() {
        println!("skipped: {test}: {why}");
        return false;
    }
    kernel::privileged(test)
}

/// A pair of switches: Open vSwitch and the one beside it.
struct Pair {
    ovs: Ovs,
    other: Box<dyn Switch>,
}

impl Pair {
    fn start(beside: Beside, plan: Plan) -> Pair {
        let ovs = Ovs::start(plan);
        let other: Box<dyn Switch> = match beside {
            Beside::OpenVswitch => Box::new(Ovs::start(plan)),
            Beside::Footbridge => Box::new(Ours::start(plan)),
        };
        wait_for_ports(&ovs);
        wait_for_ports(other.as_ref());
        Pair { ovs, other }
    }

    /// Do the same with both at once.
    fn both<R: Send>(&self, action: impl Fn(&dyn Switch) -> R + Sync) -> [R; 2] {
        std::thread::scope(|scope| {
            let theirs = scope.spawn(|| action(&self.ovs));
            let ours = action(self.other.as_ref());
            [theirs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), ours]
        })
    }
}

/// Carry out a group's scenarios in all their versions, those side by side, and collect what differs.
fn disagreements(group: &Group, beside: Beside) -> Vec<Disagreement> {
    std::thread::scope(|scope| {
        let of_version = |version| scope.spawn(move || disagreements_in(group, version, beside));
        let running =
            [Version::Default, Version::V10, Version::V13, Version::V14, Version::V15].map(of_version);
        let ended = running.map(|thread| thread.join().unwrap_or_else(|why| std::panic::resume_unwind(why)));
        ended.into_iter().flatten().collect()
    })
}

/// The same in one version, with a pair of switches of its own.
fn disagreements_in(group: &Group, version: Version, beside: Beside) -> Vec<Disagreement> {
    let mut found = Vec::new();
    let mut pair = None;
    for scenario in group.scenarios.iter().filter(|scenario| scenario.versions.contains(&version)) {
        let both = pair.get_or_insert_with(|| Pair::start(beside, PLAIN));
        let transcripts = both.both(|switch| {
            reset(switch);
            carry_out(scenario, version, switch)
        });
        let differing = compare(scenario, version, transcripts, beside);
        if !differing.is_empty() {
            // What is different now would be in the way of those behind it.
            pair = None;
        }
        found.extend(differing);
    }
    found
}

fn assert_agreement(found: &[Disagreement]) {
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(
        found.is_empty(),
        "{} differences (- Open vSwitch, + the other):\n{}",
        found.len(),
        shown.join("\n")
    );
}

macro_rules! groups {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                if possible(stringify!($name)) {
                    let group = GROUPS.iter().find(|group| group.name == stringify!($name)).unwrap();
                    assert_agreement(&disagreements(group, Beside::Footbridge));
                }
            }
        )*

        #[test]
        fn every_group_has_a_test() {
            let tested = [$(stringify!($name)),*];
            let groups: Vec<&str> = GROUPS.iter().map(|group| group.name).collect();
            assert_eq!(groups, tested);
        }

        /// The same with a second Open vSwitch in Footbridge's place: what is left out of the outputs is
        /// enough to make equals equal.
        mod open_vswitch_agrees_with_itself {
            use super::*;
            $(
                #[test]
                fn $name() {
                    if possible(concat!("open_vswitch_agrees_with_itself::", stringify!($name))) {
                        let group = GROUPS.iter().find(|group| group.name == stringify!($name)).unwrap();
                        assert_agreement(&disagreements(group, Beside::OpenVswitch));
                    }
                }
            )*
        }
    };
}

groups! {
    absent bundles counters description dumps errors expiry flow_mods flow_monitor packet_in packet_out plain
    ports replace settings tlv
}

macro_rules! round_trips {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                if possible(stringify!($name)) {
                    round_trip::$name(Beside::Footbridge);
                }
            }
        )*

        mod open_vswitch_agrees_with_itself_on {
            use super::*;
            $(
                #[test]
                fn $name() {
                    if possible(concat!("open_vswitch_agrees_with_itself_on::", stringify!($name))) {
                        round_trip::$name(Beside::OpenVswitch);
                    }
                }
            )*
        }
    };
}

round_trips! { the_articles_bridge the_manuals_examples generated_flows }

/// Two Open vSwitches that are told different things are found to differ, at the steps where they do.
#[test]
fn a_difference_is_found() {
    use scenario::Step::{File, MonitorEnds, Ofctl};
    use scenario::{Scenario, Step};
    /// The same but for a cookie.
    const fn steps(add: &'static str) -> [Step; 5] {
        [
            File("flows", "table=1,tcp,actions=output:2\n"),
            Ofctl("add-flows br0 flows"),
            Step::Monitor("monitor br0 65534 watch:"),
            Ofctl(add),
            MonitorEnds,
        ]
    }
    const ONE: [Step; 5] = steps("add-flow br0 cookie=1,udp,actions=output:3");
    const OTHER: [Step; 5] = steps("add-flow br0 cookie=2,udp,actions=output:3");
    if !possible("a_difference_is_found") {
        return;
    }
    let pair = Pair::start(Beside::OpenVswitch, PLAIN);
    let named = |steps: &'static [Step]| Scenario { name: "told_otherwise", versions: scenario::ALL, steps };
    let (one, other) = (named(&ONE), named(&OTHER));
    for version in scenario::ALL {
        pair.both(scenario::reset);
        let theirs = carry_out(&one, *version, &pair.ovs);
        let ours = carry_out(&other, *version, pair.other.as_ref());
        let found = compare(&one, *version, [theirs, ours], Beside::OpenVswitch);
        let [found] = &found[..] else { panic!("{} found", found.len()) };
        assert!(matches!(found.step, MonitorEnds) && found.what.contains("cookie=0x2"), "{found}");
    }
}

/// The age of a flow's actions is told where they are younger than the flow; which the tables leave out.
#[test]
fn ages_are_told() {
    if !possible("ages_are_told") {
        return;
    }
    let pair = Pair::start(Beside::Footbridge, PLAIN);
    pair.both(|switch| run(switch.bed(), Version::V10, "add-flow br0 icmp,actions=1", None));
    std::thread::sleep(std::time::Duration::from_millis(2300));
    pair.both(|switch| run(switch.bed(), Version::V10, "mod-flows br0 icmp,actions=2", None));
    let printed = pair.both(|switch| run(switch.bed(), Version::V10, "dump-flows br0", None));
    for line in printed {
        assert!(line.contains("n_bytes=0, idle_age=2, hard_age=0, icmp actions=output:2"), "{line}");
    }
}

#[test]
fn snoop_shows_what_a_controller_is_told() {
    if possible("snoop_shows_what_a_controller_is_told") {
        controllers::snoop_shows_what_a_controller_is_told();
    }
}

#[test]
fn a_detached_monitor_writes_to_its_file() {
    if possible("a_detached_monitor_writes_to_its_file") {
        controllers::a_detached_monitor_writes_to_its_file();
    }
}
