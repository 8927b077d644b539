//! Shapes: where the best flow of each masked key is.
//!
//! Those of one or two keys are compares in the program. The others are in maps: of its own for each shape, as
//! long as there are few enough (a program can use 64 maps); the smaller ones share one for each number of key
//! words, in which the shape's number stands before the words.
//!
//! The kernel uses an element of a hash map that is deleted or replaced again at once, while a packet that has
//! found it may not yet have read it, and would take another key's flow. So elements of a map stay what they
//! are as long as the map: see [`KeyMap`].

use super::{Installed, Mask, Touched, bytes_of, key_of, mask_of};
use crate::ebpf::compile::plan::{ShapePlan, Source};
use crate::ebpf::load::{LoadError, Map, MapKind};
use footbridge_openflow::Match;
use footbridge_pipeline::{Entry, FlowId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// As many maps as a program can use (Linux, MAX_USED_MAPS), but for those that all programs use. A
/// [`KeyMap`] is two.
const MAPS: usize = 64 - 24;
/// How many keys a shape has at most that is compared with them.
const COMPARED: usize = 2;
/// How many keys a map has room for at least.
const ROOM: usize = 1024;

/// One table as the program has it.
#[derive(Default)]
pub(super) struct Table {
    /// By falling highest priority.
    pub(super) shapes: Vec<Shape>,
    pub(super) blocks: BTreeSet<u16>,
    pub(super) conjunctions: Option<Arc<super::Conjunctions>>,
}

/// One shape as the program has it.
pub(super) struct Shape {
    pub(super) mask: Mask,
    /// The lowest and highest priority that the program reckons with.
    pub(super) priorities: (u16, u16),
    /// The flows of each masked key, the best first.
    pub(super) flows: HashMap<Vec<u64>, Vec<FlowId>>,
    pub(super) best: Best,
    /// The cells of keys in the map, of those without flows too.
    pub(super) cells: HashMap<Vec<u64>, u32>,
}

/// A hash map from masked keys to the numbers of cells, and the cells: flows, or 0 for none. An element, once
/// it is there, is never changed nor deleted; its cell, one aligned 64-bit word, is. When all cells are used up,
/// those of keys without flows are left behind with the map.
pub(super) struct KeyMap {
    keys: Map,
    cells: Map,
    used: AtomicU32,
}

impl KeyMap {
    fn new(name: &str, words: usize, keys: usize) -> Result<KeyMap, LoadError> {
        let room = u32::try_from((2 * keys).max(ROOM)).unwrap_or(u32::MAX);
        let cells = Map::new(MapKind::Array, &format!("{name}c"), 4, 8, room)?;
        let keys = Map::new(MapKind::Hash, name, 8 * words, 8, room)?;
        Ok(KeyMap { keys, cells, used: AtomicU32::new(0) })
    }

    pub(super) fn has_room(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.cells.max_entries()
    }

    /// Have a cell have this flow.
    pub(super) fn set(&self, cell: u32, flow: u64) -> Result<(), LoadError> {
        self.cells.put(&cell.to_ne_bytes(), &flow.to_ne_bytes())
    }

    /// Have a key that was not there lead to this flow; its cell.
    pub(super) fn insert(&self, number: Option<u64>, key: &[u64], flow: u64) -> Result<u32, LoadError> {
        let cell = self.used.fetch_add(1, Ordering::Relaxed);
        self.set(cell, flow)?;
        let words: Vec<u64> = number.into_iter().chain(key.iter().copied()).collect();
        self.keys.put(&bytes_of(&words), &u64::from(cell).to_ne_bytes())?;
        Ok(cell)
    }
}

/// Where the best flow of each of a shape's keys is.
#[derive(Clone)]
pub(super) enum Best {
    /// In the program: keys and flows. The shape that takes every packet has a key of no words.
    Compared(Vec<(Vec<u64>, u64)>),
    /// In a map; where shapes share it, behind this number.
    Mapped(Arc<KeyMap>, Option<u64>),
}

impl Table {
    pub(super) fn shape(&self, matching: &Match) -> Option<&Shape> {
        self.shape_of(&mask_of(matching))
    }

    fn shape_of(&self, mask: &Mask) -> Option<&Shape> {
        self.shapes.iter().find(|shape| shape.mask == *mask)
    }

    pub(super) fn shape_mut(&mut self, matching: &Match) -> Option<&mut Shape> {
        let mask = mask_of(matching);
        self.shapes.iter_mut().find(|shape| shape.mask == mask)
    }

    /// Add a flow.
    pub(super) fn insert(&mut self, entry: &Entry, block: u16) {
        let flow = &entry.flow;
        self.blocks.insert(block);
        let mask = mask_of(&flow.matching);
        let at = self.shapes.iter().position(|shape| shape.mask == mask).unwrap_or_else(|| {
            let (priorities, flows) = ((u16::MAX, 0), HashMap::new());
            self.shapes.push(Shape {
                mask,
                priorities,
                flows,
                best: Best::Compared(Vec::new()),
                cells: HashMap::new(),
            });
            self.shapes.len() - 1
        });
        let shape = &mut self.shapes[at];
        let (lowest, highest) = shape.priorities;
        shape.priorities = (lowest.min(flow.priority), highest.max(flow.priority));
        shape.flows.entry(key_of(&flow.matching)).or_default().push(entry.id);
    }
}

impl Shape {
    pub(super) fn plan(&self) -> ShapePlan {
        let source = match &self.best {
            Best::Compared(keys) => Source::Compares(keys.clone()),
            Best::Mapped(map, number) => {
                Source::Map { keys: map.keys.fd(), cells: map.cells.fd(), number: *number }
            }
        };
        ShapePlan { mask: self.mask.clone(), priorities: self.priorities, source }
    }

    /// Every key, and its best flow.
    fn best_of_each<'a>(&self, find: &impl Fn(FlowId) -> Option<&'a Installed>) -> Vec<(Vec<u64>, u64)> {
        let best = |ids: &Vec<FlowId>| ids.first().and_then(|id| find(*id)).map(Installed::value);
        self.flows.iter().filter_map(|(key, ids)| Some((key.clone(), best(ids)?))).collect()
    }
}

impl Shape {
    /// The map of the shape as it was.
    fn keep(&mut self, before: &Shape) {
        (self.best, self.cells) = (before.best.clone(), before.cells.clone());
    }

    /// Put all keys in a new map.
    fn fill<'a>(
        &mut self,
        map: Arc<KeyMap>,
        number: Option<u64>,
        find: &impl Fn(FlowId) -> Option<&'a Installed>,
    ) -> Result<(), LoadError> {
        for (key, best) in self.best_of_each(find) {
            let cell = map.insert(number, &key, best)?;
            self.cells.insert(key, cell);
        }
        self.best = Best::Mapped(map, number);
        Ok(())
    }
}

/// Give every shape its place: a map that is there and that the change does not touch, or a new one.
pub(super) fn place<'a>(
    tables: &mut BTreeMap<u8, Table>,
    standing: &BTreeMap<u8, Table>,
    touched: &Touched,
    find: &impl Fn(FlowId) -> Option<&'a Installed>,
) -> Result<(), LoadError> {
    let conjunctions = tables.values().filter(|table| table.conjunctions.is_some()).count();
    let mut mapped: Vec<(u8, &mut Shape, Option<&Shape>)> = Vec::new();
    for (number, table) in tables {
        let before = standing.get(number);
        for shape in &mut table.shapes {
            let kept = before.and_then(|table| table.shape_of(&shape.mask));
            // One that was large once stays in a map, where changes of it are cheap.
            let was_mapped = kept.is_some_and(|shape| matches!(shape.best, Best::Mapped(..)));
            if shape.mask.is_empty() || (shape.flows.len() <= COMPARED && !was_mapped) {
                shape.best = Best::Compared(shape.best_of_each(find));
            } else {
                let untouched = !touched.shapes.contains(&(*number, shape.mask.clone()));
                mapped.push((*number, shape, kept.filter(|_| untouched && was_mapped)));
            }
        }
    }
    let widths: BTreeSet<usize> = mapped.iter().map(|(_, shape, _)| shape.mask.len()).collect();
    let room = MAPS.saturating_sub(conjunctions);
    let room = room / 2;
    let own = if mapped.len() <= room { room } else { room.saturating_sub(widths.len()) };
    mapped.sort_by_key(|(_, shape, _)| std::cmp::Reverse(shape.flows.len()));
    let mut shared: BTreeMap<usize, Vec<(&mut Shape, Option<&Shape>)>> = BTreeMap::new();
    for (index, (table, shape, kept)) in mapped.into_iter().enumerate() {
        if index >= own {
            shared.entry(shape.mask.len()).or_default().push((shape, kept));
        } else if let Some(kept) = kept.filter(|kept| matches!(kept.best, Best::Mapped(_, None))) {
            shape.keep(kept);
        } else {
            let map = KeyMap::new(&format!("fb_table{table}"), shape.mask.len(), shape.flows.len())?;
            shape.fill(Arc::new(map), None, find)?;
        }
    }
    shared.into_iter().try_for_each(|(width, shapes)| share(width, shapes, find))
}

/// Put shapes of one width in one map.
fn share<'a>(
    width: usize,
    shapes: Vec<(&mut Shape, Option<&Shape>)>,
    find: &impl Fn(FlowId) -> Option<&'a Installed>,
) -> Result<(), LoadError> {
    let map_of = |kept: Option<&Shape>| match kept.map(|kept| &kept.best) {
        Some(Best::Mapped(map, Some(_))) => Some(Arc::as_ptr(map)),
        _ => None,
    };
    let first = shapes.first().and_then(|(_, kept)| map_of(*kept));
    if first.is_some() && shapes.iter().all(|(_, kept)| map_of(*kept) == first) {
        for (shape, kept) in shapes {
            kept.into_iter().for_each(|kept| shape.keep(kept));
        }
        return Ok(());
    }
    let keys = shapes.iter().map(|(shape, _)| shape.flows.len()).sum();
    let map = Arc::new(KeyMap::new(&format!("fb_shapes{width}"), width + 1, keys)?);
    for (number, (shape, _)) in (0..).zip(shapes) {
        shape.fill(Arc::clone(&map), Some(number), find)?;
    }
    Ok(())
}
