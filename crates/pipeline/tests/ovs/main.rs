//! The evaluator against Open vSwitch: generated pipelines and packets through both.
//!
//! Each packet is compared in up to two ways: what `ofproto/trace` says of it (the fields it ends
//! with, the ports it goes to and in which order, what the controllers and the tracker are asked), and
//! what Open vSwitch's ports send, byte for byte. docs/conformance.md says what is generated and lists
//! what differs by intent.
//!
//! Open vSwitch runs with its dummy datapath and dummy ports, in a directory of its own; where it is
//! not installed the tests are skipped. `OVS_SEED` sets the first seed, `OVS_PIPELINES` how many pipelines
//! each test tries, or `OVS_TIMES` how many times its own number. A case that fails is made small before it
//! is printed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod compare;
mod control;
mod datapath;
mod flows;
mod generate;
mod instance;
mod kinds;
mod random;
mod shrink;
mod trace;

use compare::Tally;
use flows::Taken;
use generate::{Case, Generator, Palette};
use instance::Ovs;
use kinds::Kind;
use random::Random;

/// How many disagreements a test prints before it gives up.
const ENOUGH: usize = 5;

#[test]
fn agrees_on_packets_of_all_kinds() {
    agrees(&kinds::PACKETS);
}

#[test]
fn agrees_on_frames_that_lie() {
    agrees(&kinds::ODD_FRAMES);
}

#[test]
fn agrees_on_packets_that_bring_metadata() {
    agrees(&kinds::METADATA);
}

#[test]
fn agrees_on_what_ct_is_asked() {
    agrees(&kinds::TRACKER);
}

#[test]
fn agrees_on_tunnels() {
    agrees(&kinds::TUNNELS);
}

#[test]
fn agrees_on_loops() {
    agrees(&kinds::LOOPS);
}

#[test]
fn agrees_where_a_packet_is_given_up() {
    agrees(&kinds::LIMITS);
}

#[test]
fn agrees_on_conjunctions() {
    agrees(&kinds::CONJUNCTIONS);
}

#[test]
fn agrees_on_lengths() {
    agrees(&kinds::LENGTHS);
}

#[test]
fn agrees_on_what_is_tracked() {
    agrees(&kinds::TRACKED);
}

#[test]
fn agrees_on_tcp_connections() {
    agrees(&kinds::TCP);
}

#[test]
fn agrees_on_fragments_that_come_in_order() {
    agrees(&kinds::FRAGMENTS);
}

fn agrees(kind: &Kind) {
    let mut ovs = match Ovs::start(kind.palette.tunnels) {
        Ok(ovs) => ovs,
        Err(why) => return println!("skipped: {}: {why}", kind.name),
    };
    let (first, count) = seeds(kind.pipelines);
    let (mut tally, mut failures) = (Tally::default(), Vec::new());
    for seed in first..first + count {
        let case = generate(kind, seed);
        let found = match compare::check(&mut ovs, &case, kind.compared, &mut tally) {
            Ok(found) => found,
            Err(error) => panic!("seed {seed}: {error}\n{}", listed(&case)),
        };
        if let Some(found) = found {
            // Fragments Open vSwitch takes once.
            let (case, found) = match case.inputs.iter().all(|input| input.last) {
                true => shrink::shrink(&mut ovs, case, kind.compared, found).expect(kind.name),
                false => (case, found),
            };
            failures.push(format!("seed {seed}: {}\n{}", found.what, listed(&case)));
            if failures.len() == ENOUGH {
                break;
            }
        }
    }
    let Tally { packets, outputs, flows, refused } = tally;
    let last = first + count - 1;
    println!(
        "{}: seeds {first} to {last}: {packets} packets, {flows} flows, {refused} of them refused by both, {outputs} frames compared",
        kind.name
    );
    assert!(failures.is_empty(), "{} disagreements:\n{}", failures.len(), failures.join("\n"));
}

fn listed(case: &Case) -> String {
    case.flows.iter().fold("flows:\n".to_owned(), |text, flow| text + &flow.text + "\n")
}

fn generate(kind: &Kind, seed: u64) -> Case {
    let mut random = Random::new(kind.name, seed);
    let inputs = (kind.packets)(&mut random, kind.palette, kind.per_pipeline);
    let keys = inputs.iter().map(|input| input.key.clone()).collect();
    let mut generator = Generator::new(&mut random, kind.palette, keys);
    let flows = (kind.flows)(&mut generator);
    Case { flows, inputs }
}

#[test]
fn refuses_what_open_vswitch_refuses() {
    const NAME: &str = "refuses_what_open_vswitch_refuses";
    let ovs = match Ovs::start(false) {
        Ok(ovs) => ovs,
        Err(why) => return println!("skipped: {NAME}: {why}"),
    };
    let (first, count) = seeds(15);
    let (mut flows, mut refused, mut differ) = (0, 0, Vec::new());
    for seed in first..first + count {
        let mut random = Random::new(NAME, seed);
        let palette = Palette { tracking: true, lengths: true, metadata: true, ..Palette::PLAIN };
        let keys = generate::packets(&mut random, palette, 24).into_iter().map(|input| input.key).collect();
        for flow in generate::mistaken(&mut Generator::new(&mut random, palette, keys), 20) {
            let Taken { flow, by_ovs, by_us } = flows::offer(&ovs, &flow);
            flows += 1;
            refused += u64::from(by_ovs.is_err());
            if by_ovs.is_ok() != by_us.is_ok() {
                differ.push(format!("{flow}\n  ours: {by_us:?}\n  theirs: {by_ovs:?}"));
            }
        }
    }
    println!("{NAME}: seeds {first} to {}: {flows} flows, {refused} of them refused", first + count - 1);
    assert!(differ.is_empty(), "{} disagreements:\n{}", differ.len(), differ.join("\n"));
}

/// The first seed and how many, where a test has `usual` pipelines.
fn seeds(usual: u64) -> (u64, u64) {
    let set = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let count = set("OVS_PIPELINES").unwrap_or(usual * set("OVS_TIMES").unwrap_or(1));
    (set("OVS_SEED").unwrap_or(1), count)
}
