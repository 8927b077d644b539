//! Slots: where the arguments and counters of flows are.
//!
//! A slot that comes free is used again only after all others: long after the last packet that has read
//! its number.

use super::{Installed, sum};
use crate::FlowStatistics;
use crate::ebpf::compile::block::ARGUMENTS;
use crate::ebpf::compile::layout::{self, FLOW_COUNTERS};
use crate::ebpf::load::{LoadError, Map, MapKind};
use footbridge_pipeline::Time;
use std::collections::VecDeque;

/// Bytes of a flow's place in order and arguments.
const ARGUMENT_BYTES: usize = 8 * (1 + ARGUMENTS);

/// Arguments and counters of flows.
pub(super) struct Slots {
    pub(super) arguments: Map,
    pub(super) counters: Map,
    pub(super) free: VecDeque<u32>,
}

impl Slots {
    pub(super) fn new(count: u32) -> Result<Slots, LoadError> {
        Ok(Slots {
            arguments: Map::new(MapKind::Array, "fb_arguments", 4, ARGUMENT_BYTES, count)?,
            counters: Map::new(MapKind::PerCpuArray, "fb_flows", 4, FLOW_COUNTERS, count)?,
            // 0 is no flow's.
            free: (1..count).collect(),
        })
    }

    pub(super) fn write(&self, slot: u32, position: u64, arguments: &[u64]) -> Result<(), LoadError> {
        let mut value = [0; ARGUMENT_BYTES];
        for (bytes, word) in value.chunks_exact_mut(8).zip([&[position], arguments].concat()) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        self.counters.clear(&slot.to_ne_bytes())?;
        self.arguments.put(&slot.to_ne_bytes(), &value)
    }

    pub(super) fn statistics(&self, installed: &Installed) -> FlowStatistics {
        let read = self.counters.get(&installed.slot.to_ne_bytes());
        let value = read.ok().flatten().unwrap_or_default();
        value.chunks_exact(FLOW_COUNTERS).fold(installed.before, |before, of_cpu| {
            let number = |offset: i16| {
                let bytes = of_cpu.get(offset as usize..).and_then(|bytes| bytes.first_chunk());
                bytes.map_or(0, |bytes| u64::from_ne_bytes(*bytes))
            };
            let last_used =
                Some(Time(number(layout::FLOW_LAST_USED))).filter(|time| *time != Time::default());
            let (packets, bytes) = (number(layout::FLOW_PACKETS), number(layout::FLOW_BYTES));
            sum(before, FlowStatistics { packets, bytes, last_used })
        })
    }
}
