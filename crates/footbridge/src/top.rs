//! Flows and drops by rate: what happened between two looks at a running bridge.
//!
//! Pure but for [`Sample::take`]: two samples make the [`Rates`], and those the text.

use footbridge_switch::control::{Client, ClientError, Reply, Request};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// A bridge's counters at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    when: Instant,
    /// Packets and bytes, by table, priority and match.
    flows: BTreeMap<(u8, u16, String), (u64, u64)>,
    /// Packets, by reason.
    drops: BTreeMap<String, u64>,
    /// Packets received and sent, by port.
    ports: BTreeMap<String, (u64, u64)>,
}

/// What passed a second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// Over how many seconds.
    pub(crate) seconds: f64,
    /// The busiest first; those that nothing passed are left out.
    pub(crate) flows: Vec<FlowRate>,
    /// The most first.
    pub(crate) drops: Vec<DropRate>,
    /// The busiest first.
    pub(crate) ports: Vec<PortRate>,
}

/// A flow.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FlowRate {
    table: u8,
    priority: u16,
    #[serde(rename = "match")]
    matching: String,
    packets_per_second: f64,
    bytes_per_second: f64,
}

/// A reason.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct DropRate {
    reason: String,
    packets_per_second: f64,
    packets: u64,
}

/// A port.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PortRate {
    name: String,
    received_per_second: f64,
    sent_per_second: f64,
}

impl Sample {
    /// Look at the bridge.
    ///
    /// # Errors
    /// It does not answer.
    pub(crate) fn take(client: &mut Client) -> Result<Sample, ClientError> {
        let mut sample = Sample {
            when: Instant::now(),
            flows: BTreeMap::new(),
            drops: BTreeMap::new(),
            ports: BTreeMap::new(),
        };
        let flows = Request::Flows { filter: String::new(), no_names: false, stats: false };
        if let Reply::Flows { flows } = client.ask(&flows)? {
            let counted = |flow: footbridge_switch::control::FlowRow| {
                ((flow.table, flow.priority, flow.matching), (flow.packets, flow.bytes))
            };
            sample.flows = flows.into_iter().map(counted).collect();
        }
        if let Reply::Ports { ports } = client.ask(&Request::Ports {})? {
            for port in ports {
                for (reason, packets) in port.drops {
                    *sample.drops.entry(reason).or_default() += packets;
                }
                sample.ports.insert(port.name, (port.rx.packets, port.tx.packets));
            }
        }
        Ok(sample)
    }

    /// What passed since `earlier`. A counter that is lower than it was began anew.
    pub(crate) fn since(&self, earlier: &Sample) -> Rates {
        let seconds =
            self.when.saturating_duration_since(earlier.when).max(Duration::from_millis(1)).as_secs_f64();
        let rate = |now: u64, before: Option<u64>| {
            let before = before.unwrap_or(0);
            (if now >= before { now - before } else { now }) as f64 / seconds
        };
        let mut flows: Vec<FlowRate> = (self.flows.iter())
            .map(|(key, (packets, bytes))| {
                let before = earlier.flows.get(key);
                FlowRate {
                    table: key.0,
                    priority: key.1,
                    matching: key.2.clone(),
                    packets_per_second: rate(*packets, before.map(|before| before.0)),
                    bytes_per_second: rate(*bytes, before.map(|before| before.1)),
                }
            })
            .filter(|flow| flow.packets_per_second > 0.0)
            .collect();
        flows.sort_by(|a, b| b.packets_per_second.total_cmp(&a.packets_per_second));
        let mut drops: Vec<DropRate> = (self.drops.iter())
            .map(|(reason, packets)| DropRate {
                reason: reason.clone(),
                packets_per_second: rate(*packets, earlier.drops.get(reason).copied()),
                packets: *packets,
            })
            .filter(|drop| drop.packets > 0)
            .collect();
        drops.sort_by(|a, b| {
            b.packets_per_second.total_cmp(&a.packets_per_second).then(b.packets.cmp(&a.packets))
        });
        let mut ports: Vec<PortRate> = (self.ports.iter())
            .map(|(name, (received, sent))| {
                let before = earlier.ports.get(name);
                PortRate {
                    name: name.clone(),
                    received_per_second: rate(*received, before.map(|before| before.0)),
                    sent_per_second: rate(*sent, before.map(|before| before.1)),
                }
            })
            .collect();
        let busy = |port: &PortRate| port.received_per_second + port.sent_per_second;
        ports.sort_by(|a, b| busy(b).total_cmp(&busy(a)));
        Rates { seconds, flows, drops, ports }
    }
}

impl Rates {
    /// As text of at most this many columns and lines; all of it without a limit.
    pub(crate) fn text(&self, size: Option<(usize, usize)>) -> String {
        let mut text = format!("over {:.1} s\n\n", self.seconds);
        let _infallible = writeln!(
            text,
            "{:>12}  {:>12}  {:>5}  {:>8}  match",
            "packets/s", "bytes/s", "table", "priority"
        );
        // Drops and ports have their room below.
        let room = size
            .map_or(usize::MAX, |(_, lines)| lines.saturating_sub(8 + self.drops.len() + self.ports.len()));
        for flow in self.flows.iter().take(room) {
            let matching = if flow.matching.is_empty() { "everything" } else { &flow.matching };
            let _infallible = writeln!(
                text,
                "{:>12.1}  {:>12.0}  {:>5}  {:>8}  {matching}",
                flow.packets_per_second, flow.bytes_per_second, flow.table, flow.priority
            );
        }
        if self.flows.len() > room {
            let _infallible = writeln!(text, "{:>12}  {} more", "", self.flows.len() - room);
        }
        let _infallible = writeln!(text, "\n{:>12}  {:>12}  dropped, why", "packets/s", "packets");
        for drop in &self.drops {
            let _infallible =
                writeln!(text, "{:>12.1}  {:>12}  {}", drop.packets_per_second, drop.packets, drop.reason);
        }
        let _infallible = writeln!(text, "\n{:>12}  {:>12}  port", "received/s", "sent/s");
        for port in &self.ports {
            let _infallible = writeln!(
                text,
                "{:>12.1}  {:>12.1}  {}",
                port.received_per_second, port.sent_per_second, port.name
            );
        }
        match size {
            None => text,
            Some((columns, lines)) => {
                let cut = |line: &str| line.chars().take(columns).collect::<String>();
                text.lines().take(lines).map(cut).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(after: u64, flow: u64, dropped: u64) -> Sample {
        let start = Instant::now();
        let flows = [((10, 200, "arp".to_owned()), (flow, flow * 60)), ((0, 0, String::new()), (5, 300))];
        Sample {
            when: start + Duration::from_secs(after),
            flows: flows.into_iter().collect(),
            drops: [("flow_drop".to_owned(), dropped)].into_iter().collect(),
            ports: [("eth0".to_owned(), (flow, 0))].into_iter().collect(),
        }
    }

    #[test]
    fn rates_are_what_passed_between_two_looks() {
        let first = sample(0, 10, 1);
        let second = Sample { when: first.when + Duration::from_secs(2), ..sample(0, 30, 7) };
        let rates = second.since(&first);
        assert_eq!(rates.flows.len(), 1, "nothing passed the other");
        assert_eq!((rates.flows[0].packets_per_second, rates.flows[0].bytes_per_second), (10.0, 600.0));
        assert_eq!((rates.drops[0].packets_per_second, rates.drops[0].packets), (3.0, 7));
        assert_eq!(rates.ports[0].received_per_second, 10.0);
        // The flow was added anew.
        let third = Sample { when: second.when + Duration::from_secs(1), ..sample(0, 4, 7) };
        assert_eq!(third.since(&second).flows[0].packets_per_second, 4.0);
    }

    #[test]
    fn a_terminals_size_is_kept_to() {
        let (first, mut second) = (sample(0, 0, 0), sample(1, 1, 1));
        second.flows = (0..100).map(|n| ((0, n, "x".repeat(200)), (u64::from(n) + 1, 0))).collect();
        let text = second.since(&first).text(Some((40, 20)));
        assert!(text.lines().count() <= 20 && text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("more") && text.contains("port"), "{text}");
    }
}
