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

/// Changes beside the guard's and the responder's matches, each refuted by its claim and seen on the evaluator.
#[test]
fn what_is_sent_wrongly_is_noticed() {
    let out = "output:NXM_NX_REG1[]";
    let changes = [
        // A forged copy beside what is switched.
        ("arp actions=NORMAL", "arp actions=NORMAL,load:0xade0101->NXM_OF_ARP_SPA[],NORMAL", Claim::Switched),
        ("arp actions=NORMAL", "arp actions=load:0->NXM_OF_IN_PORT[],output:3", Claim::AnswersNoOther),
        // Twice, by two flows' or one's doing; changed; not at all.
        (out, "output:NXM_NX_REG1[],output:NXM_NX_REG1[]", Claim::Once),
        (out, "mod_nw_dst:9.9.9.9,output:NXM_NX_REG1[]", Claim::Delivered),
        (out, "push_vlan:0x8100,output:NXM_NX_REG1[]", Claim::Delivered),
        (out, "drop", Claim::Delivered),
        // An answer with a tag that the question did not have.
        ("IN_PORT", "push_vlan:0x8100,IN_PORT", Claim::Answered),
    ];
    for (from, to, claim) in changes {
        let text = WORKER1.replace(from, to);
        assert_ne!(text, WORKER1, "{to}");
        let report = ask(&bridge(&flows(&text)).unwrap()).unwrap();
        let verdict = report.claims.iter().find(|(of, _)| *of == claim).map(|(_, verdict)| verdict);
        let Some(Verdict::Refuted(examples, _)) = verdict else { panic!("{to}: {verdict:?}") };
        assert!(examples.iter().all(|example| example.confirmed), "{to}: {examples:?}");
    }
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
