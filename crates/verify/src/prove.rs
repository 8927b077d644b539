//! One bridge, explored once, and what is asked of it.

use crate::bdd::{Bdd, Level, Sets};
use crate::explore::{Event, Exploration, Note, TooMuch, What, explore, incoming};
use crate::image::Image;
use crate::program::{Program, Unfollowed};
use crate::replay::{Trace, Witness, replay};
use crate::report::Counterexample;
use crate::space::Space;
use footbridge_openflow::{Field, Match, PortNo};
use footbridge_pipeline::{FlowId, Pipeline, PortSet};

/// Why a bridge was not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A flow does what verify does not follow.
    #[error(transparent)]
    Unfollowed(#[from] Unfollowed),
    /// The sets of packets were too many or too large.
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
}

/// The sets and what they are of. Bridges that are compared share one.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) sets: Sets,
    pub(crate) space: Space,
}

impl World {
    pub(crate) fn new() -> World {
        World { sets: Sets::default(), space: Space::new() }
    }
}

/// A bridge and what happens to all packets on it.
pub(crate) struct Bridge<'p> {
    pub(crate) pipeline: &'p Pipeline,
    pub(crate) ports: &'p PortSet,
    pub(crate) program: Program<'p>,
    /// A packet as it comes in.
    pub(crate) came: Image,
    /// All that can come in.
    pub(crate) valid: Bdd,
    pub(crate) found: Exploration,
}

impl<'p> Bridge<'p> {
    /// Send every packet through.
    pub(crate) fn explored(
        world: &mut World,
        pipeline: &'p Pipeline,
        ports: &'p PortSet,
    ) -> Result<Bridge<'p>, VerifyError> {
        let program = Program::of(pipeline)?;
        let used = tunnel_bits(&program);
        Bridge::sent_through(world, pipeline, ports, program, &used)
    }

    /// Send every packet through two bridges, to be compared.
    pub(crate) fn both_explored(
        world: &mut World,
        old: &'p Pipeline,
        new: &'p Pipeline,
        ports: &'p PortSet,
    ) -> Result<[Bridge<'p>; 2], VerifyError> {
        let programs = [Program::of(old)?, Program::of(new)?];
        let [mut used, other] = [&programs[0], &programs[1]].map(tunnel_bits);
        used.iter_mut().zip(other).for_each(|(word, other)| *word |= other);
        let [of_old, of_new] = programs;
        Ok([
            Bridge::sent_through(world, old, ports, of_old, &used)?,
            Bridge::sent_through(world, new, ports, of_new, &used)?,
        ])
    }

    fn sent_through(
        world: &mut World,
        pipeline: &'p Pipeline,
        ports: &'p PortSet,
        mut program: Program<'p>,
        used: &[u64],
    ) -> Result<Bridge<'p>, VerifyError> {
        let World { sets, space } = world;
        let came = incoming(used);
        let valid = space.valid(sets, ports, used);
        let found = explore(sets, space, &mut program, ports, came.clone(), valid)?;
        Ok(Bridge { pipeline, ports, program, came, valid, found })
    }

    /// The packets that `matching` takes as they come in.
    pub(crate) fn set(&self, world: &mut World, matching: &Match) -> Bdd {
        let World { sets, space } = world;
        let set = space.set(sets, matching);
        sets.and(set, self.valid)
    }

    /// The union of what happens in the events that `which` chooses.
    pub(crate) fn union(&self, world: &mut World, which: impl Fn(&Event) -> bool) -> Bdd {
        world.sets.union(self.found.events.iter().filter(|event| which(event)).map(|event| event.packets))
    }

    /// Of some packets those to which happens what `which` chooses.
    pub(crate) fn union_within(&self, world: &mut World, within: Bdd, which: impl Fn(&Event) -> bool) -> Bdd {
        let chosen = self.found.events.iter().filter(|event| which(event));
        let parts: Vec<Bdd> = chosen.map(|event| world.sets.and(event.packets, within)).collect();
        world.sets.union(parts)
    }

    /// The packets that a flow takes.
    pub(crate) fn hits(&mut self, world: &mut World, place: usize) -> Bdd {
        let World { sets, space } = world;
        let unit = self.program.flows[place].unit;
        match self.found.unit_hits.get(&unit).copied() {
            None => self.found.hits[place],
            Some(all) => {
                let takes = self.program.member_takes(sets, space, place);
                let share = sets.and(all, takes);
                sets.or(self.found.hits[place], share)
            }
        }
    }

    /// The places of the flows that take no packet.
    pub(crate) fn idle(&mut self, world: &mut World) -> Vec<usize> {
        // Where one flow of a unit takes a packet, the others mostly take the same with their own values.
        let examples: hashbrown::HashMap<usize, Vec<Level>> = (self.found.unit_hits.iter())
            .filter_map(|(unit, hits)| Some((*unit, world.sets.smallest(*hits)?)))
            .collect();
        let idle = |bridge: &mut Self, world: &mut World, place: usize| {
            let row = &bridge.program.flows[place];
            let (unit, matching) = (row.unit, &row.entry.flow.matching);
            let alike =
                examples.get(&unit).zip(bridge.found.unit_hits.get(&unit)).is_some_and(|(example, hits)| {
                    world.sets.contains(*hits, &world.space.with_match(example, matching))
                });
            !alike && bridge.hits(world, place).is_none()
        };
        (0..self.program.flows.len()).filter(|place| idle(self, world, *place)).collect()
    }

    /// The packets that come to a table.
    pub(crate) fn arrived(&self, table: u8) -> Bdd {
        self.found.arrived.get(&table).copied().unwrap_or(Bdd::NONE)
    }

    /// The smallest packet of a set, with what ct() has to answer on its way.
    pub(crate) fn witness(&mut self, world: &mut World, packets: Bdd) -> Option<Witness> {
        let World { sets, space } = world;
        let assigned = sets.smallest(packets)?;
        let assignment = space.assignment(&assigned);
        let variables = sets.variables().into_iter();
        let mut literals = variables.map(|level| (level, assigned.binary_search(&level).is_ok())).collect();
        let alone = sets.cube(&mut literals);
        // What the calls of its own way find, for others have other ways.
        let way = explore(sets, space, &mut self.program, self.ports, self.came.clone(), alone).ok()?;
        let answers =
            way.calls.iter().filter_map(|call| call.answer(assignment.answer(call.connection()))).collect();
        Some(Witness { key: assignment.key(), answers, table: None })
    }

    /// A counterexample from a set of packets that should be empty, seen on the evaluator. None if it is.
    pub(crate) fn refute(
        &mut self,
        world: &mut World,
        packets: Bdd,
        what: impl Into<String>,
        seen: impl Fn(&Trace, &Witness) -> bool,
    ) -> Option<Counterexample> {
        if packets.is_none() {
            return None;
        }
        let witness = self.witness(world, packets)?;
        let trace = replay(self.pipeline, self.ports, &witness);
        let confirmed = seen(&trace, &witness);
        let flows = trace.lookups.iter().filter_map(|(_, flow)| *flow).collect::<Vec<FlowId>>();
        let flows = flows.last().copied().into_iter().collect();
        Some(Counterexample { what: what.into(), witness: Some(witness), flows, confirmed })
    }

    /// The smallest of some packets, as one that is looked up in a table at once.
    pub(crate) fn looked_up(&self, world: &mut World, table: u8, packets: Bdd) -> Option<Witness> {
        let World { sets, space } = world;
        let assigned = sets.smallest(packets)?;
        Some(Witness { key: space.assignment(&assigned).key(), answers: Vec::new(), table: Some(table) })
    }

    /// What was allowed for beyond what can happen.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.found.notes.iter().map(|note| note.text().to_owned()).collect()
    }
}

impl Note {
    fn text(self) -> &'static str {
        match self {
            Note::Tracking => {
                "ct() is taken to answer anything consistent, whether or not the connections for it can come to be"
            }
            Note::Learning => "NORMAL is taken to send to any port that it could have learned, or to all",
        }
    }
}

/// The bits of tunnel headers that somebody looks at.
fn tunnel_bits(program: &Program<'_>) -> Vec<u64> {
    let mut used = *program.live.at(0);
    // Where a packet was tunnelled to is asked of it again when it goes to a tunnel.
    for field in [Field::TunDst, Field::TunIpv6Dst] {
        used.add(field, field.all_ones());
    }
    let words = usize::from(Field::Metadata.info().location.word);
    used.words()[..words].to_vec()
}

/// Whether packets leave in an event.
pub(crate) fn leaves(event: &Event) -> bool {
    match event.what {
        What::Sent(_) | What::Back | What::Normal | What::Controller(_) => true,
        What::Missed(_) | What::Lost(_) => false,
    }
}

/// The packets from a port.
pub(crate) fn from(port: PortNo) -> Match {
    Match::any().with(Field::InPortOxm, port.0)
}
