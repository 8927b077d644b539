//! Figures: medians, ranges, and Markdown.

use serde::Serialize;
use std::fmt;

/// Several measurements of one thing.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Samples(pub(crate) Vec<f64>);

impl Samples {
    /// The middle one; of an even number the mean of the middle two. 0 of none.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        match (sorted.get(middle), sorted.len() % 2) {
            (Some(value), 1) => *value,
            (Some(value), _) => (sorted[middle - 1] + value) / 2.0,
            (None, _) => 0.0,
        }
    }

    /// Half of the range that the middle half of the samples lies in; of fewer than four, of all.
    pub(crate) fn noise(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let quarter = sorted.len() / 4;
        match (sorted.get(quarter), sorted.get(sorted.len().saturating_sub(1 + quarter))) {
            (Some(low), Some(high)) => (high - low) / 2.0,
            _ => 0.0,
        }
    }

    pub(crate) fn range(&self) -> (f64, f64) {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        (least, self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max))
    }
}

/// `median (least–most)`, with two decimals.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.range();
        write!(f, "{:.2} ({least:.2}–{most:.2})", self.median())
    }
}

/// A Markdown table.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<&str> = cells.collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let mut text = line(&mut head.iter().copied());
    text += &line(&mut head.iter().map(|_| "---"));
    for row in rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_the_range_the_ends() {
        assert_eq!(Samples(vec![3.0, 1.0, 2.0]).to_string(), "2.00 (1.00–3.00)");
        assert_eq!(Samples(vec![4.0, 1.0]).median(), 2.5);
        assert_eq!(Samples::default().median(), 0.0);
        assert_eq!(Samples(vec![1.0, 9.0, 2.0, 4.0]).noise(), 1.0);
    }
}
