//! The maps of a table's conjunctive flows. They are made anew with any change of those flows.

use super::{EbpfError, Mask, bytes_of, key_of, mask_of};
use crate::ebpf::compile::block::clauses;
use crate::ebpf::compile::conjunction::{Conjunction, ConjunctionPlan, IDS, Numbering};
use crate::ebpf::load::{Map, MapKind};
use footbridge_openflow::Flow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// A table's conjunctions as the program has them.
pub(super) struct Conjunctions {
    numbering: Numbering,
    masks: Vec<Mask>,
    map: Map,
}

impl Conjunctions {
    /// Those of a table's conjunctive flows, of which there are some.
    pub(super) fn of(table: u8, flows: &[&Flow]) -> Result<Conjunctions, EbpfError> {
        let all = flows.iter().flat_map(|flow| parts(flow)).map(|(conjunction, _)| conjunction);
        let numbering = Numbering::of(all);
        let numbering = numbering.ok_or(EbpfError::Absent("so many conjunctions in one table"))?;
        let mut shapes: BTreeMap<Mask, HashMap<Vec<u64>, Vec<u64>>> = BTreeMap::new();
        for flow in flows {
            let keys = shapes.entry(mask_of(&flow.matching)).or_default();
            let bits = keys.entry(key_of(&flow.matching)).or_insert_with(|| vec![0; numbering.words()]);
            parts(flow).for_each(|(conjunction, clause)| numbering.set(bits, &conjunction, clause));
        }
        let width = shapes.keys().map(Vec::len).max().unwrap_or(0).max(1);
        let count: usize = shapes.values().map(HashMap::len).sum::<usize>() + numbering.iter().count();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let size = 8 * numbering.words();
        let map = Map::new(MapKind::Hash, &format!("fb_clauses{table}"), 8 * (1 + width), size, count)?;
        let put = |number: u64, key: &[u64], value: &[u64]| {
            let mut words = [&[number], key].concat();
            words.resize(1 + width, 0);
            map.put(&bytes_of(&words), &bytes_of(value))
        };
        let mut masks = Vec::with_capacity(shapes.len());
        for (number, (mut mask, keys)) in (0..).zip(shapes) {
            keys.iter().try_for_each(|(key, bits)| put(number, key, bits))?;
            mask.resize(width, (0, 0));
            masks.push(mask);
        }
        for (number, conjunction) in (0..).zip(numbering.iter()) {
            let mut value = vec![u64::from(conjunction.priority.0) << 32 | u64::from(conjunction.id)];
            value.resize(numbering.words(), 0);
            put(IDS, &[number], &value)?;
        }
        Ok(Conjunctions { numbering, masks, map })
    }

    pub(super) fn plan(&self) -> ConjunctionPlan {
        ConjunctionPlan { numbering: self.numbering.clone(), masks: self.masks.clone(), map: self.map.fd() }
    }
}

/// What the flow is part of, and as which clause.
fn parts(flow: &Flow) -> impl Iterator<Item = (Conjunction, u8)> {
    let priority = Reverse(flow.priority);
    clauses(flow).map(move |(id, clause, n_clauses)| (Conjunction { priority, id, n_clauses }, clause))
}
