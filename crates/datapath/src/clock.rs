//! The clock that packets and flows are timed by.

use footbridge_pipeline::Time;
use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Now, on `CLOCK_BOOTTIME`: it goes on while the machine sleeps, and eBPF programs read the same.
pub fn now() -> Time {
    // The call can't fail: every kernel since 2.6.39 has the clock.
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map_or(Time::default(), |time| Time::default().after(Duration::from(time)))
}
