//! Slots: where the arguments and counters of flows are.
//!
//! A packet may have read a slot's number and not yet what is there. So one that comes free rests before it is
//! used again, for longer than any program runs.

use super::{Installed, sum};
use crate::FlowStatistics;
use crate::ebpf::compile::block::ARGUMENTS;
use crate::ebpf::compile::layout::{self, FLOW_COUNTERS, FLOW_IS_CLOSING};
use crate::ebpf::load::{LoadError, Map, MapKind};
use footbridge_pipeline::Time;
use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

/// Bytes of a flow's place in order and arguments.
const ARGUMENT_BYTES: usize = 8 * (1 + ARGUMENTS);

/// Arguments and counters of flows.
pub(super) struct Slots {
    pub(super) arguments: Map,
    pub(super) counters: Map,
    /// With the moments when they came free; the longest free ones first.
    free: VecDeque<(u32, Option<Instant>)>,
}

/// How long a slot rests.
const REST: Duration = Duration::from_millis(100);

impl Slots {
    pub(super) fn new(count: u32) -> Result<Slots, LoadError> {
        Ok(Slots {
            arguments: Map::new(MapKind::Array, "fb_arguments", 4, ARGUMENT_BYTES, count)?,
            counters: Map::new(MapKind::PerCpuArray, "fb_flows", 4, FLOW_COUNTERS, count)?,
            // 0 is no flow's.
            free: (1..count).map(|slot| (slot, None)).collect(),
        })
    }

    /// Whether so many can be had.
    pub(super) fn has(&self, count: usize) -> bool {
        let rested = |(_, since): &(u32, Option<Instant>)| since.is_none_or(|since| since.elapsed() >= REST);
        count.checked_sub(1).is_none_or(|last| self.free.get(last).is_some_and(rested))
    }

    /// How many are free and have not rested yet.
    pub(super) fn resting(&self) -> usize {
        self.free.iter().filter(|(_, since)| since.is_some_and(|since| since.elapsed() < REST)).count()
    }

    /// A free one; None where there is none that has rested.
    pub(super) fn take(&mut self) -> Option<u32> {
        if self.has(1) { self.free.pop_front().map(|(slot, _)| slot) } else { None }
    }

    /// Packets may have read these numbers.
    pub(super) fn give(&mut self, slots: impl IntoIterator<Item = u32>) {
        let now = Instant::now();
        self.free.extend(slots.into_iter().map(|slot| (slot, Some(now))));
    }

    /// These are taken.
    pub(super) fn reserve(&mut self, used: &HashSet<u32>) {
        self.free.retain(|(slot, _)| !used.contains(slot));
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
            if packets & FLOW_IS_CLOSING != 0 {
                installed.entry.counters.close();
            }
            let packets = packets & !FLOW_IS_CLOSING;
            sum(before, FlowStatistics { packets, bytes, last_used })
        })
    }
}
