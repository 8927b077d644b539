//! What the fuzz targets check, without cargo-fuzz: each input of the corpora, and each of many made
//! from them with fixed seeds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use footbridge_properties::mutate::{Random, mutated};
use footbridge_properties::{TARGETS, Target, corpus};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Inputs made from each target's corpus: fewer where reading one takes a millisecond.
fn mutations(target: &Target) -> u64 {
    if target.name == "cluster" { 5_000 } else { 100_000 }
}

/// The longest of them, in bytes.
const LONGEST: usize = 2048;

fn inputs(target: &Target) -> Vec<Vec<u8>> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name).with_extension("txt");
    let file = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    corpus::read(&file, target.input).unwrap_or_else(|line| panic!("{}:{line}: no input", path.display()))
}

/// Check an input; name it where a property fails.
fn check(target: &Target, input: &[u8], what: &dyn std::fmt::Display) {
    if catch_unwind(AssertUnwindSafe(|| (target.check)(input))).is_err() {
        panic!("{} {what}:\n{}", target.name, corpus::line(input, target.input).unwrap_or_default());
    }
}

fn check_all(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let inputs = inputs(target);
    assert!(!inputs.is_empty());
    for (i, input) in inputs.iter().enumerate() {
        check(target, input, &format_args!("corpus, input {i}"));
    }
    for seed in 0..mutations(target) {
        let mut random = Random::new(seed);
        let [base, other] = [(); 2].map(|()| &inputs[random.below(inputs.len())]);
        let input = mutated(&mut random, base, other, target.input, LONGEST);
        check(target, &input, &format_args!("seed {seed}"));
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $( #[test] fn $name() { check_all(stringify!($name)); } )*

        #[test]
        fn every_target_has_a_test() {
            assert_eq!([$(stringify!($name)),*], *TARGETS.iter().map(|target| target.name).collect::<Vec<_>>());
        }
    };
}

targets!(message flow_mod stream flows ports packet filter frame tunnel cluster cni);
