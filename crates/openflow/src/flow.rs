//! Flows: one row of one table.

use crate::action::Action;
use crate::matching::Match;
use core::time::Duration;

/// A flow as a controller describes it and a dump shows it; counters and age are the bridge's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The table it stands in.
    pub table: u8,
    /// Higher wins.
    pub priority: u16,
    /// The controller's mark on it.
    pub cookie: u64,
    /// Which packets it takes.
    pub matching: Match,
    /// What it does; empty is `drop`.
    pub actions: Vec<Action>,
    /// Seconds without a packet after which it goes; 0 for never.
    pub idle_timeout: u16,
    /// Seconds after which it goes; 0 for never.
    pub hard_timeout: u16,
    /// Eviction importance (OpenFlow 1.4).
    pub importance: u16,
    /// OFPFF_* flags that are kept with the flow.
    pub flags: FlowFlags,
}

/// Flags kept with a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FlowFlags {
    /// `send_flow_rem`
    pub send_flow_rem: bool,
    /// `check_overlap`
    pub check_overlap: bool,
    /// `reset_counts`
    pub reset_counts: bool,
    /// `no_packet_counts`
    pub no_packet_counts: bool,
    /// `no_byte_counts`
    pub no_byte_counts: bool,
}

/// OFP_DEFAULT_PRIORITY: what text without `priority=` means.
pub const DEFAULT_PRIORITY: u16 = 0x8000;

impl Flow {
    /// A flow without timeouts or flags.
    pub fn new(table: u8, priority: u16, cookie: u64, matching: Match, actions: Vec<Action>) -> Flow {
        Flow {
            table,
            priority,
            cookie,
            matching,
            actions,
            idle_timeout: 0,
            hard_timeout: 0,
            importance: 0,
            flags: FlowFlags::default(),
        }
    }
}

/// What a bridge counts of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FlowStats {
    /// How long the flow has been there.
    pub duration: Duration,
    /// Packets it took.
    pub n_packets: u64,
    /// Their bytes, from the Ethernet header, without the frame check sequence.
    pub n_bytes: u64,
    /// Seconds since it last took a packet; None where the bridge does not say.
    pub idle_age: Option<u32>,
    /// Seconds since it was last added or modified; None where the bridge does not say.
    pub hard_age: Option<u32>,
}
