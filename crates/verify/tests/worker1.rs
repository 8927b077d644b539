//! The article's worker1: its bridge holds, and does not with any flow of its guard or responder
//! removed or changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use footbridge_verify::{Claim, Verdict};
use support::mutate::mutants;
use support::{WORKER1, ask, bridge, flows};

#[test]
fn the_articles_worker1_holds() {
    let pipeline = bridge(&flows(WORKER1)).unwrap();
    let report = ask(&pipeline).unwrap();
    for (claim, verdict) in &report.claims {
        if *claim == Claim::Reachable {
            assert!(matches!(verdict, Verdict::NotAsked(_)));
        } else {
            assert_eq!(*verdict, Verdict::Proved, "{}", claim.sentence());
        }
    }
    assert_eq!(report.claims.len(), 17);
}

/// Every mutant is refuted, and each counterexample was seen on the evaluator.
#[test]
fn no_flow_of_guard_or_responder_can_be_weakened_unnoticed() {
    let flows = flows(WORKER1);
    let (mut asked, mut unnoticed, mut unseen) = (0, Vec::new(), Vec::new());
    for mutant in mutants(&flows, &[10, 20]) {
        let Some(pipeline) = bridge(&mutant.flows) else { continue };
        asked += 1;
        let report = ask(&pipeline).unwrap();
        if report.holds() {
            unnoticed.push(mutant.what.clone());
        }
        let mut shown = false;
        for (claim, verdict) in &report.claims {
            let Verdict::Refuted(examples, _) = verdict else { continue };
            shown |= examples.iter().any(|example| example.witness.is_some());
            let wrong = examples.iter().filter(|example| !example.confirmed);
            unseen
                .extend(wrong.map(|example| format!("{}: {}: {}", mutant.what, claim.name(), example.what)));
        }
        if !shown && !report.holds() {
            unseen.push(format!("{}: refuted without a packet", mutant.what));
        }
    }
    println!("{asked} mutants");
    assert!(asked > 400, "{asked}");
    assert!(unnoticed.is_empty(), "not noticed:\n{}", unnoticed.join("\n"));
    assert!(unseen.is_empty(), "not seen on the evaluator:\n{}", unseen.join("\n"));
}
