//! Claims on a bridge's flows, proved or refuted over all packets; no I/O.
//!
//! # Contract
//!
//! * [`verify`] sends every packet that can come in through the tables at once, as sets, and asks
//!   what came of them. What it proves holds for each packet; what it refutes it shows with the smallest packet
//!   that it found, taken through the evaluator: nothing is shown that the evaluator was not seen to do,
//!   unless it is marked so.
//! * The steps are the evaluator's own: priorities, conjunctions, resubmits that return, clones,
//!   the limits. Where more is allowed for than can happen, the report's notes say it.
//! * A flow that can't be followed is refused by name ([`VerifyError`]), never passed over.
//!
//! # How it works
//!
//! | module | what |
//! | --- | --- |
//! | [`bdd`] | sets of packets |
//! | `space` | the bits they range over; what a frame can be, and what ct() can answer |
//! | `image` | the packet on its way, in terms of the packet that came in |
//! | `live` | which bits anybody still looks at |
//! | `program` | a pipeline that is looked up by sets |
//! | `explore` | all packets through the tables |
//! | [`node`] | who is where, as the tables themselves say |
//! | `claims`, `general`, [`property`] | what is asked |
//! | [`diff`](mod@diff) | two bridges, compared |
//! | [`replay`] | a counterexample on the evaluator |
//!
//! # Limits
//!
//! `write_actions`, `check_pkt_larger`, `resubmit(,N,ct)` and matches on a connection's original addresses are not
//! followed; a ct() with a zone from a field is, as long as there are not too many.

pub mod bdd;
mod claims;
pub mod diff;
mod explore;
mod general;
mod image;
mod live;
pub mod node;
mod program;
pub mod property;
mod prove;
pub mod replay;
pub mod report;
mod space;

pub use diff::{Region, diff};
pub use explore::TooMuch;
pub use node::{Layout, Node, Owner, Peer};
pub use program::Unfollowed;
pub use property::{Property, PropertyError, parse_properties};
pub use prove::VerifyError;
pub use replay::{Trace, Witness};
pub use report::{Claim, Counterexample, Report, Verdict};
pub use space::Answer;

use footbridge_pipeline::{Pipeline, PortSet};
use prove::{Bridge, World};

/// What to ask of a bridge.
#[derive(Debug, Clone, Copy)]
pub struct Questions<'a> {
    /// Its tables and ports by their offices, if it is a node's bridge.
    pub layout: Option<&'a Layout>,
    /// Who is where; without it, what the bridge's own forwarding tables say.
    pub node: Option<&'a Node>,
    /// Pods on other nodes, each as a peer of its one address: whether they and those here reach each other
    /// is asked if there are any.
    pub elsewhere: &'a [Peer],
    /// What else to ask.
    pub properties: &'a [Property],
    /// Whether the ports are known, rather than taken from the flows.
    pub ports_given: bool,
}

/// Whether all flows can be followed.
///
/// # Errors
/// The first that can't.
pub fn check(pipeline: &Pipeline) -> Result<(), Unfollowed> {
    pipeline.entries().try_for_each(|entry| program::follow(entry))
}

/// Prove or refute every claim on a bridge.
///
/// # Errors
/// A flow can't be followed, or the sets of packets grew too large.
pub fn verify(
    pipeline: &Pipeline,
    ports: &PortSet,
    questions: &Questions<'_>,
) -> Result<Report, VerifyError> {
    let mut world = World::new();
    let mut bridge = Bridge::explored(&mut world, pipeline, ports)?;
    let mut notes = bridge.notes();
    let mut claims = Vec::new();
    match questions.layout {
        None => {}
        Some(layout) => match questions.node.cloned().or_else(|| Node::of(pipeline, layout)) {
            None => notes.push(format!(
                "tables {} and {} do not say who is where, so they are not those of a node's bridge: only what \
                 holds of every bridge was asked",
                layout.l3, layout.l2
            )),
            Some(node) => {
                notes.push(format!(
                    "{} ports with addresses and {} peers, as {}",
                    node.owners.len(),
                    node.peers.len(),
                    match questions.node {
                        Some(_) => "the cluster says".to_owned(),
                        None => format!("tables {} and {} say", layout.l3, layout.l2),
                    }
                ));
                claims = claims::of_node(&mut bridge, &mut world, layout, &node);
                let reachable = match questions.elsewhere {
                    [] => Verdict::NotAsked("no pods of other nodes were given".to_owned()),
                    elsewhere => claims::reachable(&mut bridge, &mut world, layout, &node, elsewhere),
                };
                claims.push((Claim::Reachable, reachable));
            }
        },
    }
    claims.extend(general::of_bridge(&mut bridge, &mut world, questions.ports_given, &mut notes));
    let properties = questions.properties.iter();
    let properties =
        properties.map(|asked| (asked.text.clone(), property::ask(&mut bridge, &mut world, asked))).collect();
    if world.sets.exhausted() {
        return Err(TooMuch::Nodes.into());
    }
    if questions.layout.is_some() {
        let asked: Vec<Claim> = claims.iter().map(|(claim, _)| *claim).collect();
        let others = Claim::ALL.iter().filter(|claim| !asked.contains(claim));
        claims.extend(
            others.map(|claim| {
                (*claim, Verdict::NotAsked("these are no tables of a node's bridge".to_owned()))
            }),
        );
    }
    claims.sort_by_key(|(claim, _)| *claim);
    Ok(Report { claims, properties, notes })
}
