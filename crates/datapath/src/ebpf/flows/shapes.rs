//! Shapes: where the best flow of each masked key is.
//!
//! Those of one or two keys are compares in the program. The others are in maps: of its own for each shape, as
//! long as there are few enough (a program can use 64 maps); the smaller ones share one for each number of key
//! words, in which the shape's number stands before the words.

use super::{Installed, Mask, Touched, bytes_of, key_of, mask_of};
use crate::ebpf::compile::plan::{ShapePlan, Source};
use crate::ebpf::load::{LoadError, Map, MapKind};
use footbridge_openflow::Match;
use footbridge_pipeline::{Entry, FlowId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// As many maps as a program can use (Linux, MAX_USED_MAPS), but for those that all programs use.
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
}

/// Where the best flow of each of a shape's keys is.
#[derive(Clone)]
pub(super) enum Best {
    /// In the program: keys and flows. The shape that takes every packet has a key of no words.
    Compared(Vec<(Vec<u64>, u64)>),
    /// In a map; where shapes share it, behind this number.
    Mapped(Arc<Map>, Option<u64>),
}

impl Best {
    /// A key in the map.
    pub(super) fn key(number: Option<u64>, key: &[u64]) -> Vec<u8> {
        let words: Vec<u64> = number.into_iter().chain(key.iter().copied()).collect();
        bytes_of(&words)
    }
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
            self.shapes.push(Shape { mask, priorities, flows, best: Best::Compared(Vec::new()) });
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
            Best::Mapped(map, number) => Source::Map(map.fd(), *number),
        };
        ShapePlan { mask: self.mask.clone(), priorities: self.priorities, source }
    }

    /// Every key, and its best flow.
    fn best_of_each<'a>(&self, find: &impl Fn(FlowId) -> Option<&'a Installed>) -> Vec<(Vec<u64>, u64)> {
        let best = |ids: &Vec<FlowId>| ids.first().and_then(|id| find(*id)).map(Installed::value);
        self.flows.iter().filter_map(|(key, ids)| Some((key.clone(), best(ids)?))).collect()
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
    let mut mapped: Vec<(u8, &mut Shape, Option<Best>)> = Vec::new();
    for (number, table) in tables {
        let before = standing.get(number);
        for shape in &mut table.shapes {
            let kept = before.and_then(|table| table.shape_of(&shape.mask)).map(|shape| shape.best.clone());
            // One that was large once stays in a map, where changes of it are cheap.
            let was_mapped = matches!(kept, Some(Best::Mapped(..)));
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
    let own = if mapped.len() <= room { room } else { room.saturating_sub(widths.len()) };
    mapped.sort_by_key(|(_, shape, _)| std::cmp::Reverse(shape.flows.len()));
    let mut shared: BTreeMap<usize, Vec<(&mut Shape, Option<Best>)>> = BTreeMap::new();
    for (index, (table, shape, kept)) in mapped.into_iter().enumerate() {
        if index >= own {
            shared.entry(shape.mask.len()).or_default().push((shape, kept));
        } else if let Some(best @ Best::Mapped(_, None)) = kept {
            shape.best = best;
        } else {
            let map = new_map(&format!("fb_table{table}"), shape.mask.len(), shape.flows.len())?;
            fill(shape, &map, None, find)?;
            shape.best = Best::Mapped(Arc::new(map), None);
        }
    }
    shared.into_iter().try_for_each(|(width, shapes)| share(width, shapes, find))
}

/// Put shapes of one width in one map.
fn share<'a>(
    width: usize,
    mut shapes: Vec<(&mut Shape, Option<Best>)>,
    find: &impl Fn(FlowId) -> Option<&'a Installed>,
) -> Result<(), LoadError> {
    let of_kept = |kept: &Option<Best>| match kept {
        Some(Best::Mapped(map, Some(_))) => Some(Arc::as_ptr(map)),
        _ => None,
    };
    let first = shapes.first().and_then(|(_, kept)| of_kept(kept));
    if first.is_some() && shapes.iter().all(|(_, kept)| of_kept(kept) == first) {
        for (shape, kept) in &mut shapes {
            if let Some(best) = kept.take() {
                shape.best = best;
            }
        }
        return Ok(());
    }
    let keys = shapes.iter().map(|(shape, _)| shape.flows.len()).sum();
    let map = Arc::new(new_map(&format!("fb_shapes{width}"), width + 1, keys)?);
    for (number, (shape, _)) in (0..).zip(shapes) {
        fill(shape, &map, Some(number), find)?;
        shape.best = Best::Mapped(Arc::clone(&map), Some(number));
    }
    Ok(())
}

fn new_map(name: &str, words: usize, keys: usize) -> Result<Map, LoadError> {
    let room = u32::try_from((2 * keys).max(ROOM)).unwrap_or(u32::MAX);
    Map::new(MapKind::Hash, name, 8 * words, 8, room)
}

fn fill<'a>(
    shape: &Shape,
    map: &Map,
    number: Option<u64>,
    find: &impl Fn(FlowId) -> Option<&'a Installed>,
) -> Result<(), LoadError> {
    let mut keys = shape.best_of_each(find).into_iter();
    keys.try_for_each(|(key, best)| map.put(&Best::key(number, &key), &best.to_ne_bytes()))
}
