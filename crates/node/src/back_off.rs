//! How long to wait before a failed thing is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that double from the first to the longest, each with up to a quarter more at random, so that nodes
/// that failed together do not come back together.
#[derive(Debug)]
pub(crate) struct BackOff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl BackOff {
    pub(crate) fn new(first: Duration, longest: Duration) -> BackOff {
        BackOff { first, longest, failures: 0 }
    }

    /// The wait after one failure more.
    pub(crate) fn failed(&mut self) -> Duration {
        // Enough doublings for any two durations that a program would wait.
        let wait = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let random = RandomState::new().hash_one(self.failures) % 1000;
        wait + wait.mul_f64(random as f64 / 4000.0)
    }

    /// It went well: the next wait is the first again.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_success() {
        let ms = Duration::from_millis;
        let mut back_off = BackOff::new(ms(100), ms(1000));
        for least in [100, 200, 400, 800, 1000, 1000] {
            let wait = back_off.failed();
            assert!((ms(least)..ms(least + least / 4)).contains(&wait), "{wait:?} after {least}");
        }
        assert!((0..100).all(|_| back_off.failed() >= ms(1000)));
        back_off.succeeded();
        assert!(back_off.failed() < ms(125));
    }
}
