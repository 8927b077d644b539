//! Shapes: the flows of a table with one and the same match mask, in one hash table.
//!
//! The hash tables hold slot numbers only (the masked words are those of the flow's own match), so
//! that a million flows cost little more than the flows.

use super::{Entry, FlowId};
use footbridge_openflow::Match;
use footbridge_openflow::matching::Term;
use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

/// One table's shapes, by falling highest priority, the older first.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) shapes: Vec<Shape>,
    pub(super) conjunctive: usize,
}

pub(super) type Mask = SmallVec<[(u8, u64); 4]>;

#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) mask: Mask,
    pub(super) born: u64,
    /// How many flows there are of each priority; never empty.
    pub(super) priorities: BTreeMap<u16, u32>,
    /// Slots of the first flow of each masked key; the rest hang behind it by `Slot::next`.
    pub(super) heads: HashTable<u32>,
}

#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) entry: Arc<Entry>,
    /// The entry's number, its masked key's hash and its priority, here as well: a hash table that grows
    /// asks for the hash of every flow, and not to look into each keeps that cheap.
    pub(super) id: FlowId,
    pub(super) key_hash: u64,
    /// Order of adding.
    pub(super) position: u64,
    /// The next flow of the same shape and masked key, by falling priority.
    pub(super) next: Option<u32>,
    pub(super) priority: u16,
    pub(super) conjunctive: bool,
}

impl Slot {
    /// Which of two flows that take a packet wins: the lesser.
    pub(super) fn order(&self) -> (std::cmp::Reverse<u16>, u64) {
        (std::cmp::Reverse(self.priority), self.position)
    }
}

impl Shape {
    pub(super) fn highest(&self) -> u16 {
        self.priorities.last_key_value().map_or(0, |(priority, _)| *priority)
    }

    /// Whether its flows compare all the bits that `matching` does: one that doesn't takes packets that
    /// `matching` does not.
    pub(super) fn covers(&self, matching: &Match) -> bool {
        matching.terms().iter().all(|term| {
            self.mask.iter().any(|(word, mask)| *word == term.word && mask & term.mask == term.mask)
        })
    }
}

impl Table {
    pub(super) fn sort(&mut self) {
        self.shapes.sort_by_key(|shape| (std::cmp::Reverse(shape.highest()), shape.born));
    }

    /// Make a shape; which one it is.
    pub(super) fn add_shape(&mut self, mask: Mask, born: u64) -> usize {
        self.shapes.push(Shape { mask, born, priorities: BTreeMap::new(), heads: HashTable::new() });
        self.shapes.len() - 1
    }

    /// Put a slot in its shape: behind the flows of its masked key, of which `head` is the first, that have
    /// a higher priority.
    pub(super) fn link(&mut self, at: usize, head: Option<u32>, index: u32, slots: &mut [Option<Slot>]) {
        let Some(&Slot { key_hash, priority, .. }) = slots[index as usize].as_ref() else { return };
        let shape = &mut self.shapes[at];
        let before = shape.highest();
        let fresh = shape.priorities.is_empty();
        *shape.priorities.entry(priority).or_insert(0) += 1;
        let higher = |slots: &[Option<Slot>], i: u32| {
            slots[i as usize].as_ref().is_some_and(|slot| slot.priority > priority)
        };
        match head {
            None => {
                let rehash = |i: &u32| slots[*i as usize].as_ref().map_or(0, |slot| slot.key_hash);
                shape.heads.insert_unique(key_hash, index, rehash);
            }
            Some(head) if higher(slots, head) => {
                let mut previous = head;
                while let Some(next) =
                    slots[previous as usize].as_ref().and_then(|s| s.next).filter(|n| higher(slots, *n))
                {
                    previous = next;
                }
                let after = slots[previous as usize].as_mut().and_then(|s| s.next.replace(index));
                set_next(slots, index, after);
            }
            Some(head) => {
                if let Some(first) = shape.heads.find_mut(key_hash, |i| *i == head) {
                    *first = index;
                }
                set_next(slots, index, Some(head));
            }
        }
        if fresh || self.shapes[at].highest() != before {
            self.sort();
        }
    }

    pub(super) fn unlink(&mut self, index: u32, slots: &mut [Option<Slot>]) {
        let Some(slot) = slots[index as usize].clone() else { return };
        let flow = &slot.entry.flow;
        let mask = mask_of(&flow.matching);
        let Some(at) = self.shapes.iter().position(|shape| shape.mask == mask) else { return };
        let shape = &mut self.shapes[at];
        let before = shape.highest();
        if let Some(count) = shape.priorities.get_mut(&flow.priority) {
            *count -= 1;
            if *count == 0 {
                shape.priorities.remove(&flow.priority);
            }
        }
        let hash = slot.key_hash;
        let same =
            |i: &u32| slots[*i as usize].as_ref().is_some_and(|s| s.entry.flow.matching == flow.matching);
        if let Ok(mut head) = shape.heads.find_entry(hash, same) {
            match (*head.get() == index, slot.next) {
                (true, Some(next)) => *head.get_mut() = next,
                (true, None) => drop(head.remove()),
                (false, next) => {
                    let mut previous = *head.get();
                    while let Some(i) =
                        slots[previous as usize].as_ref().and_then(|s| s.next).filter(|i| *i != index)
                    {
                        previous = i;
                    }
                    set_next(slots, previous, next);
                }
            }
        }
        if shape.priorities.is_empty() {
            self.shapes.remove(at);
        } else if shape.highest() != before {
            self.sort();
        }
    }
}

fn set_next(slots: &mut [Option<Slot>], index: u32, next: Option<u32>) {
    if let Some(slot) = &mut slots[index as usize] {
        slot.next = next;
    }
}

pub(super) fn mask_of(matching: &Match) -> Mask {
    masks(matching).collect()
}

pub(super) fn masks(matching: &Match) -> impl Iterator<Item = (u8, u64)> + '_ {
    matching.terms().iter().map(|term| (term.word, term.mask))
}

pub(super) fn values(matching: &Match) -> impl Iterator<Item = u64> + '_ {
    matching.terms().iter().map(|Term { value, .. }| *value)
}

pub(super) fn hash_words(hasher: &DefaultHashBuilder, words: impl Iterator<Item = u64>) -> u64 {
    let mut state = hasher.build_hasher();
    words.for_each(|word| state.write_u64(word));
    state.finish()
}
