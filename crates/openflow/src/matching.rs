//! Matches: which packets a flow takes.

use crate::field::{Field, ones};
use crate::key::{KEY_WORDS, Key};
use smallvec::SmallVec;

/// One word of a [`Match`]: the packet's word `word`, and-ed with `mask`, must equal `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term {
    /// Index of the key word.
    pub word: u8,
    /// Bits compared; never 0.
    pub mask: u64,
    /// What they must equal; no bit outside `mask`.
    pub value: u64,
}

/// A set of packets, as masked words of a [`Key`].
///
/// Sparse and canonical: terms are sorted by word, have a non-zero mask, and no value bit outside
/// it; so two matches that take the same bits are equal, whatever words the text used. The empty
/// match takes every packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Match {
    terms: SmallVec<[Term; 4]>,
}

impl Match {
    /// The match that takes every packet.
    pub fn any() -> Match {
        Match::default()
    }

    /// This match, and also `field` equal to `value`.
    #[must_use]
    pub fn with(self, field: Field, value: impl Into<u128>) -> Match {
        self.with_masked(field, value, field.all_ones())
    }

    /// This match, and also the bits of `mask` in `field` equal to those of `value`.
    #[must_use]
    pub fn with_masked(mut self, field: Field, value: impl Into<u128>, mask: impl Into<u128>) -> Match {
        self.set(field, value.into(), mask.into());
        self
    }

    /// Replace what the match says of `field`'s bits: those of `mask` must equal those of `value`,
    /// the field's other bits are free.
    pub fn set(&mut self, field: Field, value: u128, mask: u128) {
        let row = field.info();
        let (word, shift) = (row.location.word, row.location.shift);
        if row.width > 64 {
            self.set_word(word, u64::MAX, (value >> 64) as u64, (mask >> 64) as u64);
            self.set_word(word + 1, u64::MAX, value as u64, mask as u64);
        } else {
            let field_bits = (ones(field.width()) as u64) << shift;
            let place = |bits: u128| ((bits as u64) << shift) & field_bits;
            self.set_word(word, field_bits, place(value), place(mask));
        }
    }

    /// What the match says of `field`: `(value, mask)`, both 0 when it says nothing.
    pub fn get(&self, field: Field) -> (u128, u128) {
        let row = field.info();
        let (word, shift) = (row.location.word, row.location.shift);
        let term = |w: u8| self.term(w).map_or((0, 0), |t| (t.value, t.mask));
        if row.width > 64 {
            let ((high, high_mask), (low, low_mask)) = (term(word), term(word + 1));
            let join = |h: u64, l: u64| (u128::from(h) << 64) | u128::from(l);
            (join(high, low), join(high_mask, low_mask))
        } else {
            let (value, mask) = term(word);
            let cut = |bits: u64| u128::from(bits >> shift) & ones(field.width());
            (cut(value), cut(mask))
        }
    }

    /// The value of `field` where the match fixes all its bits.
    pub fn exact(&self, field: Field) -> Option<u128> {
        let (value, mask) = self.get(field);
        (mask == field.all_ones()).then_some(value)
    }

    /// The terms, by rising word.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Whether the match takes the packet.
    pub fn matches(&self, key: &Key) -> bool {
        let words = key.words();
        self.terms.iter().all(|t| words.get(usize::from(t.word)).is_some_and(|w| w & t.mask == t.value))
    }

    /// Whether every packet that this match takes, `other` takes too.
    pub fn is_subset_of(&self, other: &Match) -> bool {
        other.terms.iter().all(|o| {
            self.term(o.word).is_some_and(|t| t.mask & o.mask == o.mask && t.value & o.mask == o.value)
        })
    }

    /// Whether some packet is taken by both.
    pub fn overlaps(&self, other: &Match) -> bool {
        self.terms.iter().all(|t| {
            other.term(t.word).is_none_or(|o| {
                let both = t.mask & o.mask;
                t.value & both == o.value & both
            })
        })
    }

    fn term(&self, word: u8) -> Option<&Term> {
        self.terms.binary_search_by_key(&word, |t| t.word).ok().map(|i| &self.terms[i])
    }

    fn set_word(&mut self, word: u8, field_bits: u64, value: u64, mask: u64) {
        debug_assert!(usize::from(word) < KEY_WORDS);
        let position = self.terms.binary_search_by_key(&word, |t| t.word);
        let old = position.map_or((0, 0), |i| (self.terms[i].value, self.terms[i].mask));
        let new_mask = (old.1 & !field_bits) | mask;
        let new_value = ((old.0 & !field_bits) | value) & new_mask;
        let term = Term { word, mask: new_mask, value: new_value };
        match (position, new_mask) {
            (Ok(i), 0) => drop(self.terms.remove(i)),
            (Ok(i), _) => self.terms[i] = term,
            (Err(_), 0) => {}
            (Err(i), _) => self.terms.insert(i, term),
        }
    }
}

#[cfg(test)]
mod tests;
