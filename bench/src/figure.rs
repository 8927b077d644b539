//! One thing measured on several peers in turn: its table row, and its plot.

use crate::report::Samples;
use serde::Serialize;
use std::fmt::Write as _;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Better {
    More,
    Less,
}

/// One thing, measured on each peer, several times.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// By peer, in the order they are shown in; Footbridge's is the last.
    pub(crate) peers: Vec<(&'static str, Samples)>,
}

impl Figure {
    pub(crate) fn new(what: impl Into<String>, unit: &'static str, better: Better) -> Figure {
        Figure { what: what.into(), unit, better, peers: Vec::new() }
    }

    /// Note a measurement of a peer.
    pub(crate) fn note(&mut self, peer: &'static str, value: f64) {
        match self.peers.iter_mut().find(|(name, _)| *name == peer) {
            Some((_, samples)) => samples.0.push(value),
            None => self.peers.push((peer, Samples(vec![value]))),
        }
    }

    pub(crate) fn of(&self, peer: &str) -> Option<&Samples> {
        self.peers.iter().find(|(name, _)| *name == peer).map(|(_, samples)| samples)
    }

    /// How many times `peer` is better than `other`, by the medians.
    fn ratio(&self, peer: &Samples, other: &Samples) -> f64 {
        match self.better {
            Better::More => peer.median() / other.median(),
            Better::Less => other.median() / peer.median(),
        }
    }
}

/// Figures of the same peers as one Markdown table: medians with their ranges, and how many times better the last
/// peer is than each of the others.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text = String::new();
    let Some(first) = figures.first() else { return text };
    let names: Vec<&str> = first.peers.iter().map(|(name, _)| *name).collect();
    let (ours, others) = names.split_last().map_or(("", &[][..]), |(ours, others)| (*ours, others));
    let mut head = vec!["what".to_owned()];
    head.extend(names.iter().map(|name| (*name).to_owned()));
    head.extend(others.iter().map(|other| format!("times {other}")));
    let rows = figures.iter().map(|figure| {
        let mut row = vec![format!("{}, {}", figure.what, figure.unit)];
        row.extend(names.iter().map(|name| figure.of(name).map_or_else(|| "–".to_owned(), short)));
        row.extend(others.iter().map(|other| match (figure.of(ours), figure.of(other)) {
            (Some(ours), Some(other)) => format!("{:.2}", figure.ratio(ours, other)),
            _ => "–".to_owned(),
        }));
        row
    });
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    text += &crate::report::table(&head, &rows.collect::<Vec<_>>());
    text
}

/// `median (least–most)`, with three digits that count.
fn short(samples: &Samples) -> String {
    let (least, most) = samples.range();
    format!("{} ({}–{})", digits(samples.median()), digits(least), digits(most))
}

fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.2}M", value / 1e6),
        v if v >= 1e5 => format!("{:.0}k", value / 1e3),
        v if v >= 1e3 => format!("{:.1}k", value / 1e3),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

const WIDTH: u32 = 720;
const LEFT: u32 = 210;
const BAR: u32 = 18;
const STEP: u32 = 26;
const TITLE: u32 = 30;

/// The figures as one picture: a bar for each peer's median, with its range, each figure on a scale of its own.
///
/// Plain SVG: a picture of bars and text is less than what a plotting library needs to be told, and these follow the
/// reader's light or dark scheme.
pub(crate) fn plot(figures: &[Figure]) -> String {
    let height: u32 = figures.iter().map(|figure| TITLE + STEP * figure.peers.len() as u32 + 14).sum();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"system-ui,sans-serif\" \
         font-size=\"13\">\n<style>text{{fill:#1f2328}}.t{{font-weight:600}}.b{{fill:#9aa4af}}.o{{fill:#2f81f7}}\
         .w{{stroke:#1f2328;stroke-width:1.5}}\n@media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}\
         .b{{fill:#6e7681}}.w{{stroke:#e6edf3}}}}</style>\n"
    );
    let mut y = 0;
    for figure in figures {
        let better = match figure.better {
            Better::More => "more is better",
            Better::Less => "less is better",
        };
        let title = format!("{}, {} ({better})", figure.what, figure.unit);
        let _infallible =
            writeln!(svg, "<text class=\"t\" x=\"4\" y=\"{}\">{}</text>", y + 20, escape(&title));
        y += TITLE;
        let most = figure.peers.iter().map(|(_, samples)| samples.range().1).fold(0.0, f64::max);
        let scale = f64::from(WIDTH - LEFT - 80) / if most > 0.0 { most } else { 1.0 };
        for (at, (name, samples)) in figure.peers.iter().enumerate() {
            let class = if at + 1 == figure.peers.len() { "o" } else { "b" };
            let (least, most) = samples.range();
            let x = |value: f64| f64::from(LEFT) + value * scale;
            let (middle, text) = (y + BAR / 2, y + 14);
            let _infallible = writeln!(
                svg,
                "<text x=\"{}\" y=\"{text}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\"/>\
                 <line class=\"w\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
                 <text x=\"{:.1}\" y=\"{text}\">{}</text>",
                LEFT - 8,
                escape(name),
                samples.median() * scale,
                x(least),
                x(most),
                x(most) + 6.0,
                digits(samples.median()),
            );
            y += STEP;
        }
        y += 14;
    }
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(better: Better) -> Figure {
        let mut figure = Figure::new("replies", "per second", better);
        for (peer, value) in [("wire", 200.0), ("ours", 100.0), ("ours", 300.0), ("ours", 400.0)] {
            figure.note(peer, value);
        }
        figure
    }

    #[test]
    fn a_ratio_says_how_many_times_better_ours_is() {
        let lines = table(&[figure(Better::More)]);
        assert_eq!(
            lines.lines().last(),
            Some("| replies, per second | 200 (200–200) | 300 (100–400) | 1.50 |")
        );
        assert!(table(&[figure(Better::Less)]).ends_with("| 0.67 |\n"));
    }

    #[test]
    fn a_plot_has_a_bar_for_each_peer() {
        let svg = plot(&[figure(Better::More), figure(Better::Less)]);
        assert_eq!(svg.matches("<rect").count(), 4);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    }
}
