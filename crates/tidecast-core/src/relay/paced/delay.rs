//! How much later than the fastest path could bring them packets go out.

use std::time::Duration;

use crate::limits::{
    PACED_DELAY_MAX, PACED_DELAY_START, PACED_JITTER_START, PACED_MARGIN, PACED_NEED_WINDOW, PACED_SLEW,
    PACED_YOUNG,
};

use super::nanos;

/// The configured delay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delay {
    /// Enough for the hold and the jitter measured.
    #[default]
    Auto,
    /// Always this.
    Fixed(Duration),
}

impl Delay {
    /// What it is at least.
    pub(in crate::relay) fn least(self) -> Duration {
        match self {
            Delay::Auto => PACED_DELAY_START,
            Delay::Fixed(delay) => delay,
        }
    }
}

/// The delay in force. The automatic one rises slowly to what packets have needed again and again,
/// at once while the flow is young; it falls only when the source begins anew.
#[derive(Debug)]
pub(super) struct DelayInForce {
    auto: bool,
    start: i64,
    /// At `since`.
    value: i64,
    since: i64,
    target: i64,
    /// When the source began.
    begun: Option<i64>,
    window: i64,
    /// The most that a packet needed in this window, and in the one before.
    needs: [i64; 2],
}

impl DelayInForce {
    pub(super) fn new(delay: Delay, hold: i64) -> DelayInForce {
        let (auto, start) = match delay {
            Delay::Auto => (true, nanos(PACED_DELAY_START).max(hold + nanos(PACED_JITTER_START))),
            Delay::Fixed(delay) => (false, nanos(delay)),
        };
        DelayInForce {
            auto,
            start,
            value: start,
            since: 0,
            target: start,
            begun: None,
            window: 0,
            needs: [0; 2],
        }
    }

    /// As of the last packet.
    pub(super) fn get(&self) -> i64 {
        self.value
    }

    /// The delay at `now`.
    pub(super) fn at(&self, now: i64) -> i64 {
        let most = ((now - self.since).max(0) as f64 * PACED_SLEW) as i64;
        self.value + (self.target - self.value).clamp(0, most)
    }

    /// The source begins anew: so does the delay, with what was needed lately.
    pub(super) fn restart(&mut self) {
        self.begun = None;
        if self.auto {
            let needed = self.needs[0].max(self.needs[1]) + nanos(PACED_MARGIN);
            self.target = self.start.max(needed).min(nanos(PACED_DELAY_MAX));
            self.value = self.target;
        }
    }

    /// What was needed so far was measured by a wrong clock.
    pub(super) fn forget(&mut self) {
        self.needs = [0; 2];
        self.restart();
    }

    /// A packet was ready to leave so long after the fastest path could have brought it; `jitter`:
    /// so late a packet could be ready that waits for the whole hold.
    pub(super) fn needs(&mut self, needed: i64, jitter: i64, now: i64) {
        if !self.auto {
            return;
        }
        self.value = self.at(now);
        self.since = self.since.max(now);
        let begun = *self.begun.get_or_insert(now);
        if now - self.window > nanos(PACED_NEED_WINDOW) {
            self.window = now;
            self.needs = [0, self.needs[0]];
        }
        self.needs[0] = self.needs[0].max(needed).max(jitter).min(nanos(PACED_DELAY_MAX));
        let young = now - begun < nanos(PACED_YOUNG);
        // One that was late once is none to wait for ever after.
        let again = if young { self.needs[0] } else { self.needs[0].min(self.needs[1]) };
        self.target = self.target.max(again + nanos(PACED_MARGIN)).min(nanos(PACED_DELAY_MAX));
        if young {
            self.value = self.target;
        }
    }
}
