//! The maps of a table's conjunctive flows. They are made anew with any change of those flows.

use super::{EbpfError, Mask, bytes_of, key_of, mask_of};
use crate::ebpf::compile::block::clauses;
use crate::ebpf::compile::conjunction::{Conjunction, ConjunctionPlan, ConjunctiveShape, Numbering};
use crate::ebpf::load::{Map, MapKind};
use footbridge_openflow::Flow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// A table's conjunctions as the program has them.
pub(super) struct Conjunctions {
    numbering: Numbering,
    shapes: Vec<(Mask, Map)>,
    ids: Map,
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
        let map = |(mask, keys): (Mask, HashMap<Vec<u64>, Vec<u64>>)| {
            let (name, size) = (format!("fb_clauses{table}"), 8 * numbering.words());
            // A key of no words is none that a map can have: a word of 0 then stands for it.
            let mask = if mask.is_empty() { vec![(0, 0)] } else { mask };
            let count = u32::try_from(keys.len()).unwrap_or(u32::MAX);
            let map = Map::new(MapKind::Hash, &name, 8 * mask.len(), size, count)?;
            for (key, bits) in keys {
                let key = if key.is_empty() { vec![0] } else { key };
                map.put(&bytes_of(&key), &bytes_of(&bits))?;
            }
            Ok((mask, map))
        };
        let shapes = shapes.into_iter().map(map).collect::<Result<_, EbpfError>>()?;
        let count = u32::try_from(numbering.iter().count()).unwrap_or(u32::MAX);
        let ids = Map::new(MapKind::Array, &format!("fb_conj{table}"), 4, 8, count)?;
        for (number, conjunction) in (0u32..).zip(numbering.iter()) {
            let Conjunction { id, priority: Reverse(priority), .. } = conjunction;
            let value = [id.to_ne_bytes(), u32::from(*priority).to_ne_bytes()].concat();
            ids.put(&number.to_ne_bytes(), &value)?;
        }
        Ok(Conjunctions { numbering, shapes, ids })
    }

    pub(super) fn plan(&self) -> ConjunctionPlan {
        let shape = |(mask, map): &(Mask, Map)| ConjunctiveShape { mask: mask.clone(), map: map.fd() };
        ConjunctionPlan {
            numbering: self.numbering.clone(),
            shapes: self.shapes.iter().map(shape).collect(),
            ids: self.ids.fd(),
        }
    }
}

/// What the flow is part of, and as which clause.
fn parts(flow: &Flow) -> impl Iterator<Item = (Conjunction, u8)> {
    let priority = Reverse(flow.priority);
    clauses(flow).map(move |(id, clause, n_clauses)| (Conjunction { priority, id, n_clauses }, clause))
}
