//! Properties of the text form, over random flows and random text.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Dialect, Random};
use footbridge_openflow::text::{parse_dump, parse_flow, parse_flow_with_stats, parse_packet, parse_ports};
use footbridge_openflow::{FlowStats, PortNames, PortNo};
use proptest::prelude::*;
use std::time::Duration;

/// Names of every kind: plain, in need of quotes, and nasty.
fn names() -> PortNames {
    [
        (1, "eth0"),
        (2, "antrea-gw0"),
        (3, "0start"),
        (4, "with space"),
        (5, "a\"b\\c"),
        (6, "comma,equals="),
        (7, "é"),
    ]
    .into_iter()
    .map(|(number, name)| (PortNo(number), name))
    .collect()
}

/// Text that looks like a flow until it does not.
fn almost_a_flow() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..4_u8), 1..4);
    (any::<u64>(), pieces).prop_map(|(seed, edits)| {
        let flow = Random::new(seed).flow(Dialect::Any);
        let mut text: Vec<char> = flow.display(&names()).to_string().chars().collect();
        for (index, c, kind) in edits {
            let at = index.index(text.len().max(1)).min(text.len().saturating_sub(1));
            match kind {
                0 if !text.is_empty() => drop(text.remove(at)),
                1 => text.insert(at, c),
                2 => text.insert(at, ['(', ')', ',', '=', ':', '"', '[', ']', '/', '>'][c as usize % 10]),
                _ => text.truncate(at),
            }
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_flow_printed_reads_back_the_same(seed: u64) {
        let flow = Random::new(seed).flow(Dialect::Any);
        for names in [PortNames::none(), names()] {
            let line = flow.display(&names).to_string();
            let read = parse_flow(&line, &names);
            prop_assert_eq!(read.as_ref(), Ok(&flow), "{}", line);
        }
    }

    #[test]
    fn statistics_printed_read_back_the_same(
        seed: u64, secs: u32, nanos in 0..1_000_000_000_u32, n_packets: u64, n_bytes: u64, idle_age: Option<u32>,
    ) {
        let flow = Random::new(seed).flow(Dialect::Any);
        let duration = Duration::new(secs.into(), nanos);
        let stats = FlowStats { duration, n_packets, n_bytes, idle_age, hard_age: None };
        let line = flow.display_with_stats(&stats, &names()).to_string();
        prop_assert_eq!(parse_flow_with_stats(&line, &names()), Ok((flow, stats)), "{}", line);
    }

    #[test]
    fn nothing_panics_on_arbitrary_text(text in "\\PC*", line in any::<String>()) {
        for text in [&text, &line] {
            let _ = parse_flow(text, &names());
            let _ = parse_dump(text, "file", &names());
            let _ = parse_packet(text, &names());
            let _ = parse_ports(text);
            let _ = parse_flow(&format!("actions={text}"), &names());
            let _ = parse_flow(&format!("in_port={text},actions=drop"), &names());
        }
    }

    #[test]
    fn nothing_panics_on_text_that_is_almost_a_flow(text in almost_a_flow()) {
        let columns = text.chars().count() + 1;
        if let Err(error) = parse_flow(&text, &names()) {
            prop_assert!((1..=columns).contains(&error.column), "{}: {}", text, error);
            let _ = error.to_string();
        }
        let _ = parse_packet(&text, &names());
    }
}
