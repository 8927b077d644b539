//! Flow tables: tuple-space search by shape.
//!
//! A *shape* is the set of a table's flows with the same match mask. Each shape is one hash table
//! from masked words to flows, so that a lookup costs one probe a shape; shapes stand by falling
//! highest priority, and a lookup stops as soon as no remaining shape can beat the hit.
//!
//! # Contract
//!
//! * Of several flows that take a packet the highest priority wins; among equals, which OpenFlow
//!   leaves undefined, the one added first.
//! * [`Pipeline::entries`] is in Open vSwitch's dump order: by table; then shapes by falling highest
//!   priority, the older first; then flows in the order of adding. A flow that replaces another
//!   takes its place.
//! * Conjunctive flows work as in ovs-fields(7), "conj_id": see [`Pipeline::lookup`].
//! * What [`Pipeline::insert`] and [`Pipeline::remove`] displace, [`Pipeline::restore`] puts back as
//!   if nothing had been, so that several changes can be made in place and undone together.
//!
mod shape;
#[cfg(test)]
mod tests;

use crate::refusal::{self, Reason, Refusal};
use crate::time::Time;
use footbridge_openflow::{Action, Field, Flow, Key, Match};
use hashbrown::DefaultHashBuilder;
use shape::{Shape, Slot, Table, hash_words, mask_of, masks, values};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The number of one installed flow, never used for another: later ones are higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId(pub u64);

/// As many flows as a pipeline can hold: what some gigabytes of memory do.
pub const MAX_FLOWS: usize = 8 << 20;

/// The lower bits of a [`FlowId`] are the flow's slot, so that it is found without a search; those above
/// count, and last for 2^40 flows.
const SLOT_BITS: u32 = 24;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;
const _: () = assert!(MAX_FLOWS as u64 <= SLOT_MASK);

impl FlowId {
    fn slot(self) -> u32 {
        (self.0 & SLOT_MASK) as u32
    }
}

/// An installed flow.
#[derive(Debug)]
pub struct Entry {
    /// Its number.
    pub id: FlowId,
    /// The flow as the controller gave it.
    pub flow: Flow,
    /// When it was added, or last replaced by another flow.
    pub added: Time,
    /// When its actions or its cookie were last changed, by adding it or by modifying it: what its
    /// hard timeout counts from.
    pub modified: Time,
    /// What passed it.
    pub counters: FlowCounters,
    /// Whether it has `conjunction` actions, by which it takes no packet itself.
    conjunctive: bool,
    may_end: bool,
}

/// A flow with all done that can be before it is installed, so that the tables need not be locked for it.
#[derive(Debug)]
pub struct Prepared(Arc<Entry>);

impl Prepared {
    /// Check the flow.
    ///
    /// # Errors
    ///
    /// When the pipeline can't carry it out.
    pub fn new(flow: Flow) -> Result<Prepared, Refusal> {
        refusal::check(&flow)?;
        Ok(Prepared(Arc::new(Entry::new(flow, Time::default(), Time::default(), FlowCounters::default()))))
    }

    /// The flow.
    pub fn flow(&self) -> &Flow {
        &self.0.flow
    }
}

impl Entry {
    /// One that has no number yet.
    fn new(flow: Flow, added: Time, modified: Time, counters: FlowCounters) -> Entry {
        let conjunctive = flow.actions.iter().any(|action| matches!(action, Action::Conjunction { .. }));
        let closes = flow.actions.iter().any(|action| matches!(action, Action::FinTimeout { .. }));
        let may_end = flow.idle_timeout != 0 || flow.hard_timeout != 0 || closes;
        Entry { id: FlowId(0), flow, added, modified, counters, conjunctive, may_end }
    }

    /// Whether the flow may end by itself: it has timeouts, or a `fin_timeout` may give it some later.
    pub fn may_end(&self) -> bool {
        self.may_end
    }

    /// The idle and hard timeouts in seconds, 0 for none: the flow's own, or what `fin_timeout`
    /// cut them to when a TCP FIN or RST passed.
    pub fn timeouts(&self) -> (u16, u16) {
        let cut = |own: u16, fin: u16| match (own, fin) {
            (own, 0) => own,
            (0, fin) => fin,
            (own, fin) => own.min(fin),
        };
        let own = (self.flow.idle_timeout, self.flow.hard_timeout);
        if !self.counters.closing.load(Ordering::Relaxed) {
            return own;
        }
        self.flow.actions.iter().fold(own, |(i, h), action| match action {
            Action::FinTimeout { idle, hard } => (cut(i, *idle), cut(h, *hard)),
            _ => (i, h),
        })
    }
}

/// What passed a flow.
#[derive(Debug, Default)]
pub struct FlowCounters {
    packets: AtomicU64,
    bytes: AtomicU64,
    last_used: AtomicU64,
    closing: AtomicBool,
}

impl FlowCounters {
    /// Packets that hit the flow.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    /// Their bytes, Ethernet header included.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// When the last packet hit; None where none did.
    pub fn last_used(&self) -> Option<Time> {
        Some(Time(self.last_used.load(Ordering::Relaxed))).filter(|time| *time != Time::default())
    }

    /// Count one packet of `bytes` bytes.
    pub fn hit(&self, bytes: u64, now: Time) {
        self.packets.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.last_used.fetch_max(now.0, Ordering::Relaxed);
    }

    /// A TCP FIN or RST passed the flow's `fin_timeout`.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    fn carried_over(&self) -> FlowCounters {
        FlowCounters {
            packets: self.packets().into(),
            bytes: self.bytes().into(),
            last_used: self.last_used.load(Ordering::Relaxed).into(),
            closing: false.into(),
        }
    }
}

/// What passed a table.
#[derive(Debug, Default)]
pub struct TableCounters {
    lookups: AtomicU64,
    matches: AtomicU64,
}

impl TableCounters {
    /// Packets that were looked up in it.
    pub fn lookups(&self) -> u64 {
        self.lookups.load(Ordering::Relaxed)
    }

    /// Those that a flow took.
    pub fn matches(&self) -> u64 {
        self.matches.load(Ordering::Relaxed)
    }

    /// Count one packet.
    pub fn looked_up(&self, matched: bool) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.matches.fetch_add(matched.into(), Ordering::Relaxed);
    }
}

/// The flow tables of a bridge.
///
/// A value: a clone is another pipeline with the same flows; the entries that both hold, and the
/// tables, share their counters.
#[derive(Debug, Clone, Default)]
pub struct Pipeline {
    tables: BTreeMap<u8, Table>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    hasher: DefaultHashBuilder,
    next_number: u64,
    counters: EveryTable,
}

/// One for each number that a table can have.
#[derive(Debug, Clone)]
struct EveryTable(Arc<[TableCounters]>);

impl Default for EveryTable {
    fn default() -> EveryTable {
        EveryTable((0..=u8::MAX).map(|_| TableCounters::default()).collect())
    }
}

/// A flow that was taken away or replaced, and its place: what it takes to put it back.
#[derive(Debug, Clone)]
pub struct Displaced {
    entry: Arc<Entry>,
    position: u64,
    /// Its shape's: the shape may have gone with it.
    born: u64,
}

impl Displaced {
    /// The flow.
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }
}

/// A flow that was installed.
#[derive(Debug, Clone)]
pub struct Inserted {
    /// It, installed.
    pub entry: Arc<Entry>,
    /// The one that stood in its place.
    pub replaced: Option<Displaced>,
}

/// What a lookup found.
#[derive(Debug, Clone)]
pub struct Found<'a> {
    /// The flow that takes the packet.
    pub entry: &'a Arc<Entry>,
    /// The conjunction that became complete, where the flow was found by its `conj_id`.
    pub conjunction: Option<u32>,
}

impl Pipeline {
    /// A pipeline without flows: every packet is dropped.
    pub fn new() -> Pipeline {
        Pipeline::default()
    }

    /// Make room for this many flows more, so that adding them does not have to, time and again.
    pub fn reserve(&mut self, flows: usize) {
        self.slots.reserve(flows.saturating_sub(self.free.len()));
    }

    /// Install a flow. One of the same table, priority and match is replaced: it keeps its place
    /// and, unless the flow says `reset_counts`, its counters; its age starts again.
    pub fn insert(&mut self, flow: Flow, now: Time) -> Result<Inserted, Refusal> {
        self.insert_prepared(Prepared::new(flow)?, now)
    }

    /// [`Pipeline::insert`] of a flow that was checked before.
    ///
    /// # Errors
    ///
    /// When there are too many.
    pub fn insert_prepared(&mut self, prepared: Prepared, now: Time) -> Result<Inserted, Refusal> {
        let Prepared(mut entry) = prepared;
        let place = self.place(entry.flow.table, &entry.flow.matching);
        let standing = place.of_priority(self, entry.flow.priority);
        if standing.is_none() && self.len() >= MAX_FLOWS {
            let Flow { table, priority, .. } = entry.flow;
            return Err(Refusal { table, priority, reason: Reason::Full });
        }
        let counters = match standing.and_then(|index| self.slot(index)) {
            Some(old) if !entry.flow.flags.reset_counts => old.entry.counters.carried_over(),
            _ => FlowCounters::default(),
        };
        let id = self.next_id(standing);
        // Nobody else has it yet.
        if let Some(entry) = Arc::get_mut(&mut entry) {
            (entry.id, entry.added, entry.modified, entry.counters) = (id, now, now, counters);
        }
        Ok(self.install(standing, &place, entry))
    }

    /// Give a flow other actions and, where `cookie` says one, another cookie. It keeps its place, its
    /// counters and its age. None where there is no such flow.
    pub fn modify(
        &mut self,
        id: FlowId,
        actions: &[Action],
        cookie: Option<u64>,
        now: Time,
    ) -> Result<Option<Inserted>, Refusal> {
        let Some(index) = self.slot_of(id) else { return Ok(None) };
        let Some(old) = self.slot(index).map(|slot| &slot.entry) else { return Ok(None) };
        let mut flow = Flow::clone(&old.flow);
        flow.actions = actions.into();
        flow.cookie = cookie.unwrap_or(flow.cookie);
        refusal::check(&flow)?;
        let mut entry = Entry::new(flow, old.added, now, old.counters.carried_over());
        entry.id = self.next_id(Some(index));
        let place = self.place(entry.flow.table, &entry.flow.matching);
        Ok(Some(self.install(Some(index), &place, Arc::new(entry))))
    }

    /// A number for the entry that takes the slot of the one that stands there, or a vacant one.
    fn next_id(&mut self, standing: Option<u32>) -> FlowId {
        let vacant = || self.free.last().copied().unwrap_or(self.slots.len() as u32);
        let index = standing.unwrap_or_else(vacant);
        let id = FlowId(self.next_number << SLOT_BITS | u64::from(index));
        self.next_number += 1;
        id
    }

    /// Put the entry in the place of the one that stands there, or in a new one.
    fn install(&mut self, standing: Option<u32>, place: &Place, entry: Arc<Entry>) -> Inserted {
        let replaced = match standing {
            Some(index) => self.replace(index, Arc::clone(&entry)),
            None => {
                let position = entry.id.0;
                self.link(Arc::clone(&entry), place, position, position);
                None
            }
        };
        Inserted { entry, replaced }
    }

    /// Take a flow away; None where it was not there.
    pub fn remove(&mut self, id: FlowId) -> Option<Displaced> {
        let index = self.slot_of(id)?;
        let displaced = self.displaced(index)?;
        let Entry { flow: Flow { table: number, .. }, conjunctive, .. } = &*displaced.entry;
        let number = *number;
        if let Some(table) = self.tables.get_mut(&number) {
            table.conjunctive -= usize::from(*conjunctive);
            table.unlink(index, &mut self.slots);
            if table.shapes.is_empty() {
                self.tables.remove(&number);
            }
        }
        self.slots[index as usize] = None;
        self.free.push(index);
        Some(displaced)
    }

    /// Put back what [`Pipeline::remove`], [`Pipeline::insert`] or [`Pipeline::modify`] displaced: where
    /// it was, in the place of what has replaced it. Changes are undone last one first.
    pub fn restore(&mut self, displaced: Displaced) {
        let Displaced { entry, position, born } = displaced;
        let Flow { table, priority, matching, .. } = &entry.flow;
        let place = self.place(*table, matching);
        match place.of_priority(self, *priority) {
            Some(index) => drop(self.replace(index, entry)),
            None => self.link(entry, &place, position, born),
        }
    }

    fn link(&mut self, entry: Arc<Entry>, place: &Place, position: u64, born: u64) {
        let (id, number, conjunctive) = (entry.id, entry.flow.table, entry.conjunctive);
        let priority = entry.flow.priority;
        let table = self.tables.entry(number).or_default();
        table.conjunctive += usize::from(conjunctive);
        let shape = place.shape.unwrap_or_else(|| table.add_shape(mask_of(&entry.flow.matching), born));
        let slot = Slot { entry, id, key_hash: place.key_hash, position, next: None, priority, conjunctive };
        occupy(&mut self.slots, &mut self.free, slot);
        table.link(shape, place.head, id.slot(), &mut self.slots);
    }

    fn displaced(&self, index: u32) -> Option<Displaced> {
        let slot = self.slot(index)?;
        let mask = mask_of(&slot.entry.flow.matching);
        let shapes = self.tables.get(&slot.entry.flow.table).map(|table| &table.shapes[..]);
        let shape = shapes.unwrap_or_default().iter().find(|shape| shape.mask == mask);
        let born = shape.map_or(slot.position, |shape| shape.born);
        Some(Displaced { entry: Arc::clone(&slot.entry), position: slot.position, born })
    }

    /// An installed flow.
    pub fn get(&self, id: FlowId) -> Option<&Arc<Entry>> {
        self.slot_of(id).and_then(|index| self.slot(index)).map(|slot| &slot.entry)
    }

    /// Where a flow stands in the order of adding: of two that take a packet and have the same priority, the
    /// one with the lesser number wins.
    pub fn position(&self, id: FlowId) -> Option<u64> {
        self.slot_of(id).and_then(|index| self.slot(index)).map(|slot| slot.position)
    }

    /// The flow of exactly this table, priority and match.
    pub fn get_strict(&self, table: u8, priority: u16, matching: &Match) -> Option<&Arc<Entry>> {
        self.find_strict(table, priority, matching).and_then(|index| self.slot(index)).map(|slot| &slot.entry)
    }

    /// How many flows there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every flow, in Open vSwitch's dump order.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.tables.values().flat_map(|table| &table.shapes).flat_map(|shape| self.dump_shape(shape))
    }

    /// One table's flows, in Open vSwitch's dump order.
    pub fn table(&self, number: u8) -> impl Iterator<Item = &Arc<Entry>> {
        let shapes = self.tables.get(&number).map(|table| &table.shapes[..]).unwrap_or_default();
        shapes.iter().flat_map(|shape| self.dump_shape(shape))
    }

    /// The flows of one table, or of all, whose matches `matching` contains: every packet that they
    /// take, it takes too. In Open vSwitch's dump order; shapes that can have none are passed over.
    pub fn within<'a>(
        &'a self,
        table: Option<u8>,
        matching: &'a Match,
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        let tables = match table {
            Some(number) => self.tables.range(number..=number),
            None => self.tables.range(..),
        };
        tables
            .flat_map(|(_, table)| &table.shapes)
            .filter(|shape| shape.covers(matching))
            .flat_map(move |shape| self.dump_shape(shape))
            .filter(move |entry| entry.flow.matching.is_subset_of(matching))
    }

    /// The flows of one table and priority, other than of this very match, that take some packet which
    /// `matching` takes too.
    pub fn overlapping<'a>(
        &'a self,
        table: u8,
        priority: u16,
        matching: &'a Match,
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        let shapes = self.tables.get(&table).map(|table| &table.shapes[..]).unwrap_or_default();
        // Within one shape, two different matches have no packet in common.
        let mask = mask_of(matching);
        shapes
            .iter()
            .filter(move |shape| shape.mask != mask && shape.priorities.contains_key(&priority))
            .flat_map(|shape| self.dump_shape(shape))
            .filter(move |entry| entry.flow.priority == priority && entry.flow.matching.overlaps(matching))
    }

    /// What passed a table, with flows or without.
    pub fn counters(&self, table: u8) -> &TableCounters {
        &self.counters.0[usize::from(table)]
    }

    /// How many flows a table has.
    pub fn table_len(&self, table: u8) -> usize {
        let shapes = self.tables.get(&table).map(|table| &table.shapes[..]).unwrap_or_default();
        shapes.iter().flat_map(|shape| shape.priorities.values()).map(|count| *count as usize).sum()
    }

    /// The numbers of the tables that have flows, rising.
    pub fn tables(&self) -> impl Iterator<Item = u8> {
        self.tables.keys().copied()
    }

    /// The flow that takes the packet in one table.
    ///
    /// A flow with `conjunction` actions takes no packet itself. Going down by priority, such flows
    /// of one priority are gathered; when they complete a conjunction, its id is put in `conj_id`
    /// and the table looked up again, in which a flow of any priority may match; when they complete
    /// none, the next lower flow has its turn. Of several complete ones
    /// the lowest id comes first.
    pub fn lookup(&self, table: u8, key: &Key) -> Option<Found<'_>> {
        let table = self.tables.get(&table)?;
        if table.conjunctive > 0 {
            return self.lookup_conjunctive(table, key);
        }
        let hit = self.best(table, key)?;
        Some(Found { entry: &hit.entry, conjunction: None })
    }

    fn best(&self, table: &Table, key: &Key) -> Option<&Slot> {
        let mut best: Option<&Slot> = None;
        for shape in &table.shapes {
            if best.is_some_and(|b| b.entry.flow.priority > shape.highest()) {
                break;
            }
            let hit = self.chain(shape, key).find(|slot| !slot.conjunctive);
            best = match (best, hit) {
                (Some(b), Some(h)) => Some(if h.order() < b.order() { h } else { b }),
                (b, h) => b.or(h),
            };
        }
        best
    }

    fn lookup_conjunctive(&self, table: &Table, key: &Key) -> Option<Found<'_>> {
        let hard = self.best(table, key);
        let floor = hard.map(|slot| slot.entry.flow.priority);
        // A conjunctive flow beats flows of lower priority only: between equals the plain flow wins.
        let mut soft: SmallVec<[&Slot; 16]> = table
            .shapes
            .iter()
            .take_while(|shape| floor.is_none_or(|floor| shape.highest() > floor))
            .flat_map(|shape| self.chain(shape, key))
            .filter(|slot| slot.conjunctive && floor.is_none_or(|floor| slot.entry.flow.priority > floor))
            .collect();
        soft.sort_by_key(|slot| slot.order());
        for level in soft.chunk_by(|a, b| a.entry.flow.priority == b.entry.flow.priority) {
            for id in complete_conjunctions(level.iter().map(|slot| &slot.entry.flow)) {
                let mut with_id = key.clone();
                with_id.set(Field::ConjId, id.into());
                if let Some(slot) = self.best(table, &with_id) {
                    let by_id = slot.entry.flow.matching.exact(Field::ConjId) == Some(id.into());
                    return Some(Found { entry: &slot.entry, conjunction: by_id.then_some(id) });
                }
            }
        }
        hard.map(|slot| Found { entry: &slot.entry, conjunction: None })
    }

    /// The flows of a shape that take the packet, by falling priority.
    fn chain<'a>(&'a self, shape: &Shape, key: &Key) -> impl Iterator<Item = &'a Slot> + use<'a> {
        let words = key.words();
        let masked =
            || shape.mask.iter().map(|(word, mask)| words.get(usize::from(*word)).map_or(0, |w| w & mask));
        let head = shape
            .heads
            .find(hash_words(&self.hasher, masked()), |index| {
                self.slot(*index).is_some_and(|s| values(&s.entry.flow.matching).eq(masked()))
            })
            .copied();
        std::iter::successors(head.and_then(|index| self.slot(index)), |slot| self.slot(slot.next?))
    }

    fn dump_shape<'a>(&'a self, shape: &'a Shape) -> impl Iterator<Item = &'a Arc<Entry>> + use<'a> {
        let mut slots: Vec<&Slot> = shape
            .heads
            .iter()
            .flat_map(|head| std::iter::successors(self.slot(*head), |slot| self.slot(slot.next?)))
            .collect();
        slots.sort_unstable_by_key(|slot| slot.position);
        slots.into_iter().map(|slot| &slot.entry)
    }

    fn slot(&self, index: u32) -> Option<&Slot> {
        self.slots.get(index as usize).and_then(Option::as_ref)
    }

    fn find_strict(&self, table: u8, priority: u16, matching: &Match) -> Option<u32> {
        self.place(table, matching).of_priority(self, priority)
    }

    /// Where flows of this match stand, or would.
    fn place(&self, table: u8, matching: &Match) -> Place {
        let key_hash = hash_words(&self.hasher, values(matching));
        let shapes = self.tables.get(&table).map(|table| &table.shapes[..]).unwrap_or_default();
        let shape = shapes.iter().position(|shape| shape.mask.iter().copied().eq(masks(matching)));
        let head = shape.and_then(|at| {
            let same = |index: &u32| {
                self.slot(*index).is_some_and(|slot| {
                    slot.key_hash == key_hash && values(&slot.entry.flow.matching).eq(values(matching))
                })
            };
            shapes[at].heads.find(key_hash, same).copied()
        });
        Place { key_hash, shape, head }
    }

    /// Put the entry in the place of another of the same table, priority and match.
    fn replace(&mut self, index: u32, entry: Arc<Entry>) -> Option<Displaced> {
        let displaced = self.displaced(index)?;
        let (id, number, conjunctive) = (entry.id, entry.flow.table, entry.conjunctive);
        let slot = self.slots[index as usize].as_mut()?;
        let was_conjunctive = std::mem::replace(&mut slot.conjunctive, conjunctive);
        (slot.entry, slot.id) = (entry, id);
        if let Some(table) = self.tables.get_mut(&number) {
            table.conjunctive = table.conjunctive + usize::from(conjunctive) - usize::from(was_conjunctive);
        }
        Some(displaced)
    }

    fn slot_of(&self, id: FlowId) -> Option<u32> {
        self.slot(id.slot()).filter(|slot| slot.id == id).map(|_| id.slot())
    }
}

/// Where the flows of one table and match stand, or would.
struct Place {
    key_hash: u64,
    /// Which of the table's shapes is theirs, where there is one.
    shape: Option<usize>,
    /// The slot of the first of them.
    head: Option<u32>,
}

impl Place {
    fn of_priority(&self, pipeline: &Pipeline, priority: u16) -> Option<u32> {
        let mut index = self.head;
        while let Some((at, slot)) = index.and_then(|at| Some((at, pipeline.slot(at)?))) {
            if slot.priority == priority {
                return Some(at);
            }
            index = slot.next;
        }
        None
    }
}

/// Fill the slot that the id says, which is vacant.
fn occupy(slots: &mut Vec<Option<Slot>>, free: &mut Vec<u32>, slot: Slot) {
    let index = slot.id.slot();
    match slots.get_mut(index as usize) {
        Some(vacant) => {
            *vacant = Some(slot);
            // The last one, but for a flow that is put back out of turn.
            if let Some(at) = free.iter().rposition(|free| *free == index) {
                free.swap_remove(at);
            }
        }
        None => slots.push(Some(slot)),
    }
}

/// The ids whose every clause one of the flows has, rising.
pub fn complete_conjunctions<'a>(flows: impl Iterator<Item = &'a Flow>) -> SmallVec<[u32; 2]> {
    let mut seen: BTreeMap<(u32, u8), u64> = BTreeMap::new();
    for flow in flows {
        for action in &flow.actions {
            if let Action::Conjunction { id, clause, n_clauses } = action {
                *seen.entry((*id, *n_clauses)).or_default() |=
                    1u64.checked_shl(u32::from(*clause) - 1).unwrap_or(0);
            }
        }
    }
    let all = |n: u8| 1u64.checked_shl(n.into()).map_or(u64::MAX, |bit| bit - 1);
    seen.into_iter().filter(|((_, n), clauses)| *clauses == all(*n)).map(|((id, _), _)| id).collect()
}
