//! The delay of paced release: the time between the fastest possible arrival of a packet and its
//! release.

use std::time::Duration;

use crate::limits::{
    PACED_DELAY_MAX, PACED_DELAY_START, PACED_JITTER_START, PACED_MARGIN, PACED_NEED_WINDOW, PACED_SLEW,
    PACED_YOUNG,
};

use super::nanos;

/// The configured delay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delay {
    /// Long enough for the hold and the measured jitter.
    #[default]
    Auto,
    /// A constant delay.
    Fixed(Duration),
}

impl Delay {
    /// Minimum of this delay.
    pub(in crate::relay) fn least(self) -> Duration {
        match self {
            Delay::Auto => PACED_DELAY_START,
            Delay::Fixed(delay) => delay,
        }
    }
}

/// The current delay. The automatic one rises slowly to what packets have needed repeatedly, and
/// at once while the flow is young; it falls only when the source restarts.
#[derive(Debug)]
pub(super) struct DelayInForce {
    auto: bool,
    start: i64,
    /// Value at `since`.
    value: i64,
    since: i64,
    target: i64,
    /// When the source started.
    begun: Option<i64>,
    window: i64,
    /// Largest need of a packet in this window, and in the previous one.
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

    /// The delay as of the last packet.
    pub(super) fn get(&self) -> i64 {
        self.value
    }

    /// The delay at `now`.
    pub(super) fn at(&self, now: i64) -> i64 {
        let most = ((now - self.since).max(0) as f64 * PACED_SLEW) as i64;
        self.value + (self.target - self.value).clamp(0, most)
    }

    /// The source restarts: the automatic delay restarts from the recent needs.
    pub(super) fn restart(&mut self) {
        self.begun = None;
        if self.auto {
            let needed = self.needs[0].max(self.needs[1]) + nanos(PACED_MARGIN);
            self.target = self.start.max(needed).min(nanos(PACED_DELAY_MAX));
            self.value = self.target;
        }
    }

    /// Discards the needs: a wrong clock measured them.
    pub(super) fn forget(&mut self) {
        self.needs = [0; 2];
        self.restart();
    }

    /// A packet was ready `needed` after the fastest path could have brought it. `jitter`: the
    /// same for a packet that waits for the whole hold.
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
        // A need that shows up in one window only does not raise the delay permanently.
        let again = if young { self.needs[0] } else { self.needs[0].min(self.needs[1]) };
        self.target = self.target.max(again + nanos(PACED_MARGIN)).min(nanos(PACED_DELAY_MAX));
        if young {
            self.value = self.target;
        }
    }
}
