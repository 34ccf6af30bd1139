//! So many in a second, and no more.

use std::time::{Duration, Instant};

/// A budget that is full again at the start of each second.
#[derive(Debug)]
pub struct PerSecond {
    max: u32,
    left: u32,
    since: Instant,
}

impl PerSecond {
    /// A full budget.
    pub fn new(max: u32, now: Instant) -> PerSecond {
        PerSecond { max, left: max, since: now }
    }

    /// Takes one, if there is one left.
    pub fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            *self = PerSecond::new(self.max, now);
        }
        let some = self.left > 0;
        self.left -= u32::from(some);
        some
    }
}
