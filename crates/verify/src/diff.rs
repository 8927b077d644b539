//! Which packets two bridges treat differently.
//!
//! Told apart is what is seen from outside: where a packet goes, and how it looks then. Packets to which the
//! same happens on both bridges are one region; each has an example, and a match around it that lies
//! in the region as a whole.

use crate::bdd::{Bdd, Level};
use crate::explore::{Event, What};
use crate::image::differ_within;
use crate::prove::{Bridge, VerifyError, World, leaves};
use crate::replay::Witness;
use footbridge_openflow::{Field, Match};
use footbridge_pipeline::{Pipeline, PortSet};
use std::collections::{BTreeMap, BTreeSet};

/// How many regions are shown.
const SHOWN: usize = 32;

/// Packets that two bridges treat differently, each in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// A match of which all packets are in the region, if ct() answers as for the example.
    pub packets: Match,
    /// The smallest example, with the answers for the old bridge.
    pub old: Witness,
    /// The same packet, with the answers for the new one.
    pub new: Witness,
}

/// The regions that two bridges treat differently; and whether there are more than are shown.
///
/// # Errors
/// A flow can't be followed, or the sets of packets grew too large.
pub fn diff(old: &Pipeline, new: &Pipeline, ports: &PortSet) -> Result<(Vec<Region>, bool), VerifyError> {
    let mut world = World::new();
    let [mut old, mut new] = Bridge::both_explored(&mut world, old, new, ports)?;
    let (by_old, by_new) = (leaving(&mut world, &old), leaving(&mut world, &new));
    let whats: BTreeSet<What> = by_old.keys().chain(by_new.keys()).copied().collect();
    let of = |sets: &BTreeMap<What, Bdd>, what: &What| sets.get(what).copied().unwrap_or(Bdd::NONE);
    let mut left = Bdd::NONE;
    for what in &whats {
        let (old, new) = (of(&by_old, what), of(&by_new, what));
        let (gone, come) = (world.sets.without(old, new), world.sets.without(new, old));
        left = world.sets.union([left, gone, come]);
    }
    // Those that leave alike, and look otherwise.
    let mut others = changed(&mut world, &old, &new);
    let mut regions = Vec::new();
    loop {
        if left.is_none() {
            match others.pop() {
                Some(other) => left = other,
                None => return Ok((regions, false)),
            }
            continue;
        }
        if regions.len() == SHOWN {
            return Ok((regions, true));
        }
        let (Some(smallest), Some(of_old), Some(of_new)) =
            (world.sets.smallest(left), old.witness(&mut world, left), new.witness(&mut world, left))
        else {
            return Ok((regions, true));
        };
        let mut region = left;
        for sets in [&by_old, &by_new] {
            for what in &whats {
                let set = of(sets, what);
                region = match world.sets.contains(set, &smallest) {
                    true => world.sets.and(region, set),
                    false => world.sets.without(region, set),
                };
            }
        }
        let packets = around(&mut world, region, old.valid, &smallest);
        regions.push(Region { packets, old: of_old, new: of_new });
        left = world.sets.without(left, region);
        others = others.into_iter().map(|other| world.sets.without(other, region)).collect();
    }
}

/// The packets of each way to leave.
fn leaving(world: &mut World, bridge: &Bridge<'_>) -> BTreeMap<What, Bdd> {
    let mut by_what: BTreeMap<What, Bdd> = BTreeMap::new();
    for event in bridge.found.events.iter().filter(|event| leaves(event)) {
        let all = by_what.entry(event.what).or_insert(Bdd::NONE);
        *all = world.sets.or(*all, event.packets);
    }
    by_what
}

/// Sets of packets that leave both bridges alike and look different then.
fn changed(world: &mut World, old: &Bridge<'_>, new: &Bridge<'_>) -> Vec<Bdd> {
    let mut by_what: BTreeMap<What, Vec<&Event>> = BTreeMap::new();
    for event in new.found.events.iter().filter(|event| leaves(event)) {
        by_what.entry(event.what).or_default().push(event);
    }
    let mut found = Vec::new();
    for event in old.found.events.iter().filter(|event| leaves(event)) {
        for other in by_what.get(&event.what).into_iter().flatten() {
            let World { sets, space } = world;
            let both = sets.and(event.packets, other.packets);
            if both.is_none() || event.image == other.image {
                continue;
            }
            if event.image.ttl_less != other.image.ttl_less {
                found.push(both);
                continue;
            }
            let seen = Field::all().filter(|field| field.width() <= 64 || !field.name().starts_with('x'));
            for field in seen {
                let (a, b) = (event.image.field(field), other.image.field(field));
                if a != b {
                    found.push(differ_within(sets, space, both, &a, &b));
                }
            }
        }
    }
    found.retain(|set| !set.is_none());
    found
}

/// A match around an assignment whose packets are all in a set: literal after literal is let go, those that
/// flows look at last first; then those that only say of what kind a packet that can come in is.
fn around(world: &mut World, set: Bdd, valid: Bdd, assigned: &[Level]) -> Match {
    let mut literals: Vec<(Level, bool)> = (world.sets.variables().into_iter())
        .map(|level| (level, assigned.binary_search(&level).is_ok()))
        .collect();
    let invalid = world.sets.not(valid);
    let kinds = world.sets.or(set, invalid);
    for (within, kinds_only) in [(set, false), (kinds, true)] {
        for index in (0..literals.len()).rev() {
            if kinds_only && !world.space.says_kind(literals[index].0) {
                continue;
            }
            let dropped = literals.remove(index);
            let cube = world.sets.cube(&mut literals.clone());
            if !world.sets.without(cube, within).is_none() {
                literals.insert(index, dropped);
            }
        }
    }
    world.space.matching(&literals)
}
