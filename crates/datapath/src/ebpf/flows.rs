//! The flows in force: the maps and the program, kept in step with the pipeline.
//!
//! Each flow has a *slot*, the place of its arguments and counters. A shape's map leads from masked key
//! to the best flow of that key ([`flow_value`]), by way of a cell ([`shapes::KeyMap`]); those that it beats
//! wait here.
//!
//! Conjunctive flows are in no map of these: see [`conjunction`].
//!
//! A change of one flow, of a shape and a block that the program knows, is one write. Anything else makes
//! a new program, with new maps for the shapes that change, so that the old one never sees part of it.

mod conjunction;
mod shapes;
mod slots;

use super::EbpfError;
use super::compile::block::{Block, is_conjunctive, of_flow};
use super::compile::control::{COPIES, FRAME, FRAMES};
use super::compile::layout::{self, PORTS, RUNS, flow_value};
use super::compile::plan::{Plan, TablePlan};
use super::compile::stack::{NODE, PUSHES};
use super::compile::{MAX_PORT, MapFds, Outputs};
use super::connections::Connections;
use super::load::{LoadError, Map, MapKind, Program};
use super::pins::Pins;
use super::punts::{Controllers, RING};
use crate::{Change, FlowStatistics, TableStatistics};
use conjunction::Conjunctions;
use footbridge_openflow::{Flow, Match};
use footbridge_pipeline::conntrack::Limits;
use footbridge_pipeline::{Entry, FlowId, Pipeline, fdb};
use shapes::{Best, Shape, Table};
use slots::Slots;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// How many slots there are at first.
const SLOTS: u32 = 1024;

/// The maps that ports and programs share.
pub(super) struct Shared {
    /// The program in force, at 0.
    pub(super) programs: Map,
    /// By slot: what passed a port.
    pub(super) port_counters: Map,
    /// By number: the port's device.
    pub(super) out_ports: Map,
    /// The lists of ports that are flooded to ([`layout::FLOOD_LIST`]).
    pub(super) flood: Map,
    /// By slot: what the program has to know of tunnel ports.
    pub(super) tunnels: Map,
    /// The addresses that NORMAL learned.
    pub(super) fdb: Map,
    pub(super) scratch: Map,
    /// How many runs of the program there are on a CPU.
    pub(super) nesting: Map,
    /// What a packet leaves behind on its way: lists of actions to come back to, copies, pushed values.
    frames: Map,
    copies: Map,
    pushed: Map,
    /// The packets for the controllers, until they are read.
    pub(super) punts: Map,
    pub(super) controllers: Arc<Controllers>,
    /// What `ct()` knows.
    pub(super) connections: Connections,
    /// Where what outlives the process is.
    pub(super) pins: Option<Pins>,
}

impl Shared {
    /// The maps: those that a process before left, or new ones. Pinned are those that ports have to do with, and
    /// state; the others a program holds by itself.
    fn open(pins: Option<Pins>, limits: Limits) -> Result<Shared, LoadError> {
        let map = |kind, name, key_size, value_size, entries| {
            Map::open(pins.as_ref(), kind, name, key_size, value_size, entries)
        };
        let programs = ("programs", pins.as_ref().map_or(0, Pins::format));
        Ok(Shared {
            programs: map(MapKind::ProgArray, programs, 4, 4, 1)?,
            port_counters: map(MapKind::PerCpuArray, ("ports", 1), 4, layout::PORT_COUNTERS, PORTS)?,
            out_ports: map(MapKind::Array, ("outputs", 1), 4, 8, MAX_PORT + 1)?,
            flood: map(MapKind::Array, ("flood", 1), 4, 4, layout::FLOOD_LISTS)?,
            tunnels: map(MapKind::Array, ("tunnels", 1), 4, layout::TUNNEL_VALUE, PORTS)?,
            fdb: map(MapKind::LruHash, ("fdb", 1), 8, layout::FDB_VALUE, fdb::LIMIT as u32)?,
            punts: map(MapKind::RingBuffer, ("punts", 1), 0, 0, RING)?,
            controllers: Arc::default(),
            scratch: Map::new(MapKind::PerCpuArray, "fb_scratch", 4, layout::SCRATCH, RUNS)?,
            nesting: Map::new(MapKind::PerCpuArray, "fb_nesting", 4, 8, 1)?,
            frames: Map::new(MapKind::PerCpuArray, "fb_frames", 4, FRAME, RUNS * FRAMES)?,
            copies: Map::new(MapKind::PerCpuArray, "fb_copies", 4, layout::COPY, RUNS * COPIES)?,
            pushed: Map::new(MapKind::PerCpuArray, "fb_pushed", 4, NODE, RUNS * PUSHES)?,
            connections: Connections::open(pins.as_ref(), limits)?,
            pins,
        })
    }

    /// Whether root programs lead to a program.
    pub(super) fn has_program(&self) -> bool {
        self.programs.get(&0u32.to_ne_bytes()).is_ok_and(|program| program.is_some())
    }
}

/// The flows in force.
pub(super) struct Compiled {
    shared: Arc<Shared>,
    slots: Slots,
    blocks: Blocks,
    flows: HashMap<FlowId, Installed>,
    tables: BTreeMap<u8, Table>,
    /// How many programs were put in force.
    programs: u64,
    /// The program in force, if any, is that of a process before.
    inherited: bool,
    /// Whether packets that no flow takes are for the controllers.
    tells_misses: bool,
}

/// A flow in force.
struct Installed {
    entry: Arc<Entry>,
    block: u16,
    slot: u32,
    /// What passed the flows whose place it took, or it in another slot.
    before: FlowStatistics,
}

/// The blocks, each with a number of its own.
#[derive(Default)]
struct Blocks {
    numbers: HashMap<Block, u16>,
    blocks: Vec<Block>,
    /// Numbers of blocks that are gone.
    free: Vec<u16>,
}

type Mask = Vec<(u8, u64)>;

/// Which maps a change is about.
#[derive(Default)]
struct Touched {
    shapes: HashSet<(u8, Mask)>,
    /// The tables whose conjunctive flows change.
    conjunctions: HashSet<u8>,
}

impl Touched {
    fn by<'a>(flows: impl Iterator<Item = &'a Flow>) -> Touched {
        let mut touched = Touched::default();
        for flow in flows {
            if is_conjunctive(flow) {
                touched.conjunctions.insert(flow.table);
            } else {
                touched.shapes.insert((flow.table, mask_of(&flow.matching)));
            }
        }
        touched
    }
}

/// A flow that is to be put in force.
struct New {
    entry: Arc<Entry>,
    block: u16,
    arguments: Vec<u64>,
}

impl Compiled {
    /// No flows: where a process before left a program, that goes on until some are committed; else one that
    /// drops every packet.
    pub(super) fn start(pins: Option<Pins>, limits: Limits) -> Result<Compiled, EbpfError> {
        let shared = Arc::new(Shared::open(pins, limits)?);
        let slots = Slots::new(SLOTS)?;
        let (blocks, flows, tables) = (Blocks::default(), HashMap::new(), BTreeMap::new());
        let links_are_left = shared.pins.as_ref().is_some_and(|pins| !pins.holds().is_empty());
        let inherited = shared.has_program() || links_are_left;
        let (programs, tells_misses) = (1, false);
        let compiled = Compiled { shared, slots, blocks, flows, tables, programs, inherited, tells_misses };
        if !inherited {
            compiled.replace_program(&compiled.slots, &compiled.tables)?;
        }
        Ok(compiled)
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// What passed a flow, whether the kernel's program or the evaluator carried it out. The flow is told where its
    /// `fin_timeout` saw a FIN.
    pub(super) fn statistics(&self, entry: &Entry) -> FlowStatistics {
        let counters = &entry.counters;
        let here = FlowStatistics {
            packets: counters.packets(),
            bytes: counters.bytes(),
            last_used: counters.last_used(),
        };
        let Some(installed) = self.flows.get(&entry.id) else { return here };
        sum(here, self.slots.statistics(installed))
    }

    /// Whether packets that no flow takes are for the controllers: from the next program on, which is made at once
    /// where one of this process is in force.
    pub(super) fn tell_misses(&mut self, tell: bool) -> Result<(), EbpfError> {
        let before = std::mem::replace(&mut self.tells_misses, tell);
        if tell == before || self.inherited {
            return Ok(());
        }
        let replaced = self.replace_program(&self.slots, &self.tables);
        match replaced {
            Ok(()) => self.programs += 1,
            Err(_) => self.tells_misses = before,
        }
        replaced
    }

    /// What passed the tables in the kernel, by number.
    pub(super) fn table_statistics(&self) -> Result<Vec<TableStatistics>, LoadError> {
        let mut tables = vec![TableStatistics::default(); 256];
        for run in 0..RUNS {
            let sums = self.shared.scratch.sums(&run.to_ne_bytes(), layout::SCRATCH / 8)?;
            for (number, table) in (0..=u8::MAX).zip(&mut tables) {
                let at = |offset: i16| {
                    let index = (layout::table_counters(number) + offset) as usize / 8;
                    sums.get(index).copied().unwrap_or_default()
                };
                let (missed, matched) = (at(layout::TABLE_MISSES), at(layout::TABLE_MATCHES));
                table.lookups += missed + matched;
                table.matches += matched;
            }
        }
        Ok(tables)
    }

    /// Whether no program of this process is in force, since there is one of a process before.
    pub(super) fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// How many programs were put in force so far: changes that were one write made none.
    #[cfg(test)]
    pub(super) fn programs_made(&self) -> u64 {
        self.programs
    }

    /// Put a change of the flows in force.
    pub(super) fn commit(&mut self, pipeline: &Pipeline, change: &Change) -> Result<(), EbpfError> {
        let mut added = Vec::new();
        // A flow can come and go within one change.
        for entry in change.added.iter().filter_map(|id| pipeline.get(*id)) {
            let (block, arguments) = of_flow(&entry.flow).map_err(super::compile::CompileError::from)?;
            block.userdata().try_for_each(|userdata| self.shared.controllers.know(userdata))?;
            let block = self.blocks.number(block)?;
            added.push(New { entry: Arc::clone(entry), block, arguments });
        }
        let removed: Vec<Arc<Entry>> = change
            .removed
            .iter()
            .filter(|id| pipeline.get(**id).is_none())
            .filter_map(|id| self.flows.get(id))
            .map(|installed| Arc::clone(&installed.entry))
            .collect();
        if added.is_empty() && removed.is_empty() && !self.inherited {
            return Ok(());
        }
        if self.is_one_write(&added, &removed) {
            return self.write_one(pipeline, added, &removed);
        }
        self.rebuild(pipeline, added, &removed)
    }

    /// Whether the change touches one key of one shape, and the program knows what it leads to.
    fn is_one_write(&self, added: &[New], removed: &[Arc<Entry>]) -> bool {
        let mut touched = added.iter().map(|new| &new.entry).chain(removed).map(|entry| &entry.flow);
        let Some(first) = touched.next() else { return false };
        let alike = |flow: &Flow| flow.table == first.table && flow.matching == first.matching;
        if is_conjunctive(first) || !touched.all(|flow| alike(flow) && !is_conjunctive(flow)) {
            return false;
        }
        let Some(table) = self.tables.get(&first.table) else { return false };
        let Some(shape) = table.shape(&first.matching) else { return false };
        let Best::Mapped(map, _) = &shape.best else { return false };
        let room = map.has_room() || shape.cells.contains_key(&key_of(&first.matching));
        let (lowest, highest) = shape.priorities;
        let fits = |new: &New| {
            table.blocks.contains(&new.block) && (lowest..=highest).contains(&new.entry.flow.priority)
        };
        room && self.slots.has(added.len()) && added.iter().all(fits)
    }

    fn write_one(
        &mut self,
        pipeline: &Pipeline,
        added: Vec<New>,
        removed: &[Arc<Entry>],
    ) -> Result<(), EbpfError> {
        let first = added.first().map(|new| &new.entry).or(removed.first());
        let Some(first) = first.map(Arc::clone) else { return Ok(()) };
        let fresh = self.install(pipeline, added, removed)?;
        let written = self.write_best(&first.flow, &fresh, removed);
        self.settle(written, fresh, removed)
    }

    /// Have the map lead to the best flow of the key.
    fn write_best(
        &mut self,
        flow: &Flow,
        fresh: &[(FlowId, Installed)],
        removed: &[Arc<Entry>],
    ) -> Result<(), EbpfError> {
        let key = key_of(&flow.matching);
        let shapes = self.tables.get_mut(&flow.table).and_then(|table| table.shape_mut(&flow.matching));
        let Some(shape) = shapes else { return Ok(()) };
        let Best::Mapped(map, number) = &shape.best else { return Ok(()) };
        let mut ids = shape.flows.get(&key).cloned().unwrap_or_default();
        ids.retain(|id| removed.iter().all(|entry| entry.id != *id));
        ids.extend(fresh.iter().map(|(id, _)| *id));
        let find = |id: &FlowId| {
            let fresh = fresh.iter().find(|(new, _)| new == id).map(|(_, installed)| installed);
            fresh.or_else(|| self.flows.get(id))
        };
        ids.sort_by_key(|id| std::cmp::Reverse(find(id).map_or(0, |found| found.entry.flow.priority)));
        let best = ids.first().and_then(find).map(Installed::value);
        match (shape.cells.get(&key), best) {
            (Some(cell), best) => map.set(*cell, best.unwrap_or_default())?,
            (None, Some(best)) => drop(shape.cells.insert(key.clone(), map.insert(*number, &key, best)?)),
            (None, None) => {}
        }
        if ids.is_empty() {
            shape.flows.remove(&key);
        } else {
            shape.flows.insert(key, ids);
        }
        Ok(())
    }

    /// Make a new program, and put it in force.
    fn rebuild(
        &mut self,
        pipeline: &Pipeline,
        added: Vec<New>,
        removed: &[Arc<Entry>],
    ) -> Result<(), EbpfError> {
        if !self.slots.has(added.len()) {
            self.grow(pipeline, added.len())?;
        }
        let touched = Touched::by(added.iter().map(|new| &new.entry).chain(removed).map(|entry| &entry.flow));
        let fresh = self.install(pipeline, added, removed)?;
        let built = self.tables_of(pipeline, &fresh, &touched);
        let written = built.and_then(|tables| {
            self.replace_program(&self.slots, &tables)?;
            self.tables = tables;
            self.programs += 1;
            self.inherited = false;
            let used = self.tables.values().flat_map(|table| &table.blocks).copied().collect();
            self.blocks.keep(&used);
            Ok(())
        });
        self.settle(written, fresh, removed)
    }

    /// Give new flows their slots, with their arguments and no counts.
    fn install(
        &mut self,
        pipeline: &Pipeline,
        added: Vec<New>,
        removed: &[Arc<Entry>],
    ) -> Result<Vec<(FlowId, Installed)>, EbpfError> {
        let by_place: HashMap<_, _> = removed.iter().map(|entry| (place(&entry.flow), entry)).collect();
        let mut fresh = Vec::with_capacity(added.len());
        for New { entry, block, arguments } in added {
            // As in the pipeline, a flow that is added anew may start counting anew.
            let reset = entry.flow.flags.reset_counts && entry.added == entry.modified;
            let before = by_place.get(&place(&entry.flow)).filter(|_| !reset);
            let before = before.and_then(|old| self.flows.get(&old.id));
            let before = before.map(|old| self.slots.statistics(old)).unwrap_or_default();
            let position = pipeline.position(entry.id).unwrap_or(u64::MAX);
            let Some(slot) = self.slots.take() else { break };
            fresh.push((entry.id, Installed { entry, block, slot, before }));
            if let Err(error) = self.slots.write(slot, position, &arguments) {
                self.slots.give(fresh.into_iter().map(|(_, installed)| installed.slot));
                return Err(error.into());
            }
        }
        Ok(fresh)
    }

    /// After a change: the new flows are in force and the old ones' slots are free; or, where it failed,
    /// the other way round.
    fn settle(
        &mut self,
        outcome: Result<(), EbpfError>,
        fresh: Vec<(FlowId, Installed)>,
        removed: &[Arc<Entry>],
    ) -> Result<(), EbpfError> {
        if outcome.is_err() {
            self.slots.give(fresh.into_iter().map(|(_, installed)| installed.slot));
            return outcome;
        }
        for entry in removed {
            let gone = self.flows.remove(&entry.id);
            self.slots.give(gone.map(|installed| installed.slot));
        }
        self.flows.extend(fresh);
        Ok(())
    }

    /// More slots: those there are keep their numbers, and what they counted moves to the flows.
    fn grow(&mut self, pipeline: &Pipeline, needed: usize) -> Result<(), EbpfError> {
        // Those that rest count: where flows come and go fast there have to be more.
        let wanted = 2 * (self.flows.len() + self.slots.resting() + needed) + 1;
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let mut larger = Slots::new(wanted.checked_next_power_of_two().unwrap_or(u32::MAX))?;
        let used: HashSet<u32> = self.flows.values().map(|installed| installed.slot).collect();
        larger.reserve(&used);
        for (id, installed) in &self.flows {
            let (_, arguments) =
                of_flow(&installed.entry.flow).map_err(super::compile::CompileError::from)?;
            let position = pipeline.position(*id).unwrap_or(u64::MAX);
            larger.write(installed.slot, position, &arguments)?;
        }
        // The old program goes on with the old slots until the new one is in force; in case that never
        // comes to be, it has to be the larger ones that both use. Without flows it uses none, or it is that of a
        // process before, which has to go on.
        if !self.flows.is_empty() {
            self.replace_program(&larger, &self.tables)?;
        }
        for installed in self.flows.values_mut() {
            installed.before = self.slots.statistics(installed);
        }
        self.slots = larger;
        Ok(())
    }

    /// The pipeline's tables, with the maps that are there for shapes that no change touches.
    fn tables_of(
        &self,
        pipeline: &Pipeline,
        fresh: &[(FlowId, Installed)],
        touched: &Touched,
    ) -> Result<BTreeMap<u8, Table>, EbpfError> {
        let fresh: HashMap<FlowId, &Installed> = fresh.iter().map(|(id, new)| (*id, new)).collect();
        let find = |id: FlowId| fresh.get(&id).copied().or_else(|| self.flows.get(&id));
        let mut tables: BTreeMap<u8, Table> = BTreeMap::new();
        let mut conjunctive: BTreeMap<u8, Vec<&Flow>> = BTreeMap::new();
        for entry in pipeline.entries() {
            let Some(installed) = find(entry.id) else { continue };
            if is_conjunctive(&entry.flow) {
                conjunctive.entry(entry.flow.table).or_default().push(&entry.flow);
                continue;
            }
            tables.entry(entry.flow.table).or_default().insert(entry, installed.block);
        }
        for table in tables.values_mut() {
            // The pipeline's order has conjunctive flows' priorities in it.
            table.shapes.sort_by_key(|shape| std::cmp::Reverse(shape.priorities.1));
        }
        for shape in tables.values_mut().flat_map(|table| &mut table.shapes) {
            for ids in shape.flows.values_mut() {
                ids.sort_by_key(|id| std::cmp::Reverse(find(*id).map_or(0, |f| f.entry.flow.priority)));
            }
        }
        for (number, flows) in conjunctive {
            let standing = self.tables.get(&number).and_then(|table| table.conjunctions.clone());
            let conjunctions = match standing.filter(|_| !touched.conjunctions.contains(&number)) {
                Some(standing) => standing,
                None => Arc::new(Conjunctions::of(number, &flows)?),
            };
            tables.entry(number).or_default().conjunctions = Some(conjunctions);
        }
        shapes::place(&mut tables, &self.tables, touched, &find)?;
        Ok(tables)
    }

    fn replace_program(&self, slots: &Slots, tables: &BTreeMap<u8, Table>) -> Result<(), EbpfError> {
        let code = self.plan(tables).generate(self.map_fds(slots), Outputs::Redirect)?;
        let program = Program::load("footbridge", &code)?;
        Ok(self.shared.programs.put(&0u32.to_ne_bytes(), &program.as_value())?)
    }

    fn map_fds(&self, slots: &Slots) -> MapFds {
        MapFds {
            scratch: self.shared.scratch.fd(),
            nesting: self.shared.nesting.fd(),
            port_counters: self.shared.port_counters.fd(),
            flow_counters: slots.counters.fd(),
            arguments: slots.arguments.fd(),
            out_ports: self.shared.out_ports.fd(),
            fdb: self.shared.fdb.fd(),
            flood: self.shared.flood.fd(),
            tunnels: self.shared.tunnels.fd(),
            punts: self.shared.punts.fd(),
            frames: self.shared.frames.fd(),
            copies: self.shared.copies.fd(),
            pushed: self.shared.pushed.fd(),
            tracker: self.shared.connections.fds(),
        }
    }

    fn plan(&self, tables: &BTreeMap<u8, Table>) -> Plan {
        let block = |number: &u16| Some((*number, self.blocks.blocks.get(usize::from(*number))?.clone()));
        let table = |(number, table): (&u8, &Table)| {
            let shapes = table.shapes.iter().map(Shape::plan).collect();
            let conjunctions = table.conjunctions.as_ref().map(|conjunctions| conjunctions.plan());
            let blocks = table.blocks.iter().filter_map(block).collect();
            (*number, TablePlan { shapes, conjunctions, blocks })
        };
        Plan { tables: tables.iter().map(table).collect(), tells_misses: self.tells_misses }
    }

    /// The program as it is in force, but for its outputs, which go to the record with this descriptor.
    #[cfg(test)]
    pub(super) fn recording(&self, record: i32) -> Result<Program, EbpfError> {
        let code = self.plan(&self.tables).generate(self.map_fds(&self.slots), Outputs::Record(record))?;
        Ok(Program::load("fb_recording", &code)?)
    }
}

impl Installed {
    fn value(&self) -> u64 {
        flow_value(self.entry.flow.priority, self.block, self.slot)
    }
}

impl Blocks {
    /// The block's number, a new one where it has none yet.
    fn number(&mut self, block: Block) -> Result<u16, EbpfError> {
        if let Some(number) = self.numbers.get(&block) {
            return Ok(*number);
        }
        let number = if let Some(number) = self.free.pop() {
            self.blocks[usize::from(number)] = block.clone();
            number
        } else {
            let number = u16::try_from(self.blocks.len())
                .map_err(|_| EbpfError::Absent("more than 65 536 different action lists"))?;
            self.blocks.push(block.clone());
            number
        };
        self.numbers.insert(block, number);
        Ok(number)
    }

    /// Forget all but these, when the program in force knows no others: a number that is used again is one that
    /// it does not know, so that a flow of it makes another program.
    fn keep(&mut self, used: &HashSet<u16>) {
        let free = &mut self.free;
        self.numbers.retain(|_, number| {
            let keep = used.contains(number);
            if !keep {
                free.push(*number);
            }
            keep
        });
    }
}

fn mask_of(matching: &Match) -> Mask {
    matching.terms().iter().map(|term| (term.word, term.mask)).collect()
}

fn key_of(matching: &Match) -> Vec<u64> {
    matching.terms().iter().map(|term| term.value).collect()
}

fn bytes_of(key: &[u64]) -> Vec<u8> {
    key.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// What a flow is replaced by: one of the same table, priority and match.
fn place(flow: &Flow) -> (u8, u16, &Match) {
    (flow.table, flow.priority, &flow.matching)
}

fn sum(a: FlowStatistics, b: FlowStatistics) -> FlowStatistics {
    FlowStatistics {
        packets: a.packets + b.packets,
        bytes: a.bytes + b.bytes,
        last_used: a.last_used.max(b.last_used),
    }
}
