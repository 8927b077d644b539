//! Flow lines, as `ovs-ofctl dump-flows` prints them.

use super::print_action::{ActionText, ActionsText};
use super::print_match::MatchText;
use crate::action::Action;
use crate::flow::{DEFAULT_PRIORITY, Flow, FlowStats};
use crate::matching::Match;
use crate::port::PortNames;
use core::fmt::{self, Display};
use core::time::Duration;

impl Flow {
    /// The line that `ovs-ofctl dump-flows --no-stats --names` prints of this flow, without the
    /// line feed.
    pub fn display<'a>(&'a self, names: &'a PortNames) -> impl Display + use<'a> {
        FlowText { flow: self, stats: None, names }
    }

    /// The line that `ovs-ofctl dump-flows --names` prints of this flow, without the line feed.
    pub fn display_with_stats<'a>(
        &'a self,
        stats: &'a FlowStats,
        names: &'a PortNames,
    ) -> impl Display + use<'a> {
        FlowText { flow: self, stats: Some(stats), names }
    }
}

impl Match {
    /// The match as it stands in a flow line; empty for one that takes every packet.
    pub fn display<'a>(&'a self, names: &'a PortNames) -> impl Display + use<'a> {
        MatchText { matching: self, priority: None, names }
    }
}

impl Action {
    /// The action as it stands in a flow line.
    pub fn display<'a>(&'a self, names: &'a PortNames) -> impl Display + use<'a> {
        ActionText { action: self, names }
    }
}

/// A list of actions as it stands behind `actions=`; an empty one is `drop`.
pub fn display_actions<'a>(actions: &'a [Action], names: &'a PortNames) -> impl Display + use<'a> {
    ActionsText { actions, names }
}

struct FlowText<'a> {
    flow: &'a Flow,
    stats: Option<&'a FlowStats>,
    names: &'a PortNames,
}

impl Display for FlowText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flow, names) = (self.flow, self.names);
        f.write_str(" ")?;
        if self.stats.is_some() || flow.cookie != 0 {
            write!(f, "cookie={:#x}, ", flow.cookie)?;
        }
        if let Some(stats) = self.stats {
            f.write_str("duration=")?;
            duration(f, stats.duration)?;
            f.write_str(", ")?;
        }
        if self.stats.is_some() || flow.table != 0 {
            write!(f, "table={}, ", flow.table)?;
        }
        if let Some(stats) = self.stats {
            write!(f, "n_packets={}, n_bytes={}, ", stats.n_packets, stats.n_bytes)?;
        }
        if flow.idle_timeout != 0 {
            write!(f, "idle_timeout={}, ", flow.idle_timeout)?;
        }
        if flow.hard_timeout != 0 {
            write!(f, "hard_timeout={}, ", flow.hard_timeout)?;
        }
        let flags = [
            (flow.flags.send_flow_rem, "send_flow_rem "),
            (flow.flags.check_overlap, "check_overlap "),
            (flow.flags.reset_counts, "reset_counts "),
            (flow.flags.no_packet_counts, "no_packet_counts "),
            (flow.flags.no_byte_counts, "no_byte_counts "),
        ];
        flags.iter().filter(|(set, _)| *set).try_for_each(|(_, word)| f.write_str(word))?;
        if flow.importance != 0 {
            write!(f, "importance={}, ", flow.importance)?;
        }
        if let Some(age) = self.stats.and_then(|s| s.idle_age) {
            write!(f, "idle_age={age}, ")?;
        }
        if let Some(stats) = self.stats
            && let Some(age) = stats.hard_age
            && u64::from(age) != stats.duration.as_secs()
        {
            write!(f, "hard_age={age}, ")?;
        }
        let priority = (flow.priority != DEFAULT_PRIORITY).then_some(flow.priority);
        MatchText { matching: &flow.matching, priority, names }.fmt(f)?;
        if priority.is_some() || flow.matching != Match::any() {
            f.write_str(" ")?;
        }
        write!(f, "actions={}", ActionsText { actions: &flow.actions, names })
    }
}

/// Seconds: without decimals where there are none, with three where milliseconds suffice, else with
/// as many as it takes.
fn duration(f: &mut fmt::Formatter<'_>, duration: Duration) -> fmt::Result {
    write!(f, "{}", duration.as_secs())?;
    match duration.subsec_nanos() {
        0 => {}
        n if n % 1_000_000 == 0 => write!(f, ".{:03}", n / 1_000_000)?,
        n => write!(f, ".{}", format!("{n:09}").trim_end_matches('0'))?,
    }
    f.write_str("s")
}
