//! Offset between the source's clock and ours: the smallest transit time, and its rate of change.
//!
//! The transit time of a packet (arrival minus source time) is never below that of the fastest
//! path, and jitter only adds to it. So the minimum of a time window shows the offset between the
//! clocks (RFC 5905, section 10, selects samples in the same way). A straight line is fitted to
//! these minima, over a longer time if they scatter more; its slope is the drift. The base that
//! releases packets follows the line slowly, so that receivers hardly notice.

use crate::limits::{
    CLOCK_DRIFT_MAX, CLOCK_FIT_MAX, CLOCK_FIT_MIN, CLOCK_PULL_MAX, CLOCK_STEP, CLOCK_WINDOW,
    CLOCK_WINDOW_MAX, CLOCK_WINDOW_SAMPLES,
};

use super::nanos;

/// Seconds in which the base would reach the line.
const PULL_TIME: f64 = 4.0;
/// Gain of the average excess over the base, per packet, and of the average scatter of the minima,
/// per window.
const TYPICAL_GAIN: f64 = 1.0 / 64.0;
const SCATTER_GAIN: f64 = 1.0 / 16.0;

/// Smallest and largest transit time within one window.
#[derive(Debug, Clone, Copy)]
struct Window {
    since: i64,
    samples: u32,
    min: f64,
    min_at: i64,
    max: f64,
}

/// A straight line through the minima; its slope is the drift.
#[derive(Debug, Clone, Copy)]
struct Line {
    value: f64,
    at: i64,
    /// Number of minima that it is fitted to.
    count: f64,
    /// Average distance of the minima from the line.
    scatter: f64,
}

/// The reference from which transit times are measured.
#[derive(Debug)]
pub(super) struct Base {
    /// Value at `since`, in nanoseconds.
    value: f64,
    since: i64,
    /// Change per nanosecond: the drift between the clocks, and the correction towards the line.
    drift: f64,
    pull: f64,
    /// Number of minima that the drift is fitted to.
    fitted: f64,
    /// No packet has left yet, so the base may change at once without disturbing a receiver.
    free: bool,
    typical: f64,
    window: Option<Window>,
    line: Option<Line>,
}

impl Base {
    pub(super) fn new() -> Base {
        Base {
            value: 0.0,
            since: 0,
            drift: 0.0,
            pull: 0.0,
            fitted: 0.0,
            free: true,
            typical: 0.0,
            window: None,
            line: None,
        }
    }

    /// The base at `now`.
    pub(super) fn at(&self, now: i64) -> i64 {
        (self.value + (now - self.since).max(0) as f64 * (self.drift + self.pull)) as i64
    }

    /// Change of the transit time per nanosecond: the drift.
    pub(super) fn drift(&self) -> f64 {
        self.drift
    }

    /// Average excess of a packet over the base; zero while the base is still free.
    pub(super) fn typical(&self) -> i64 {
        if self.free { 0 } else { self.typical as i64 }
    }

    /// The first packet leaves: from now on the base moves slowly.
    pub(super) fn hold_still(&mut self) {
        self.free = false;
    }

    /// No packet waits: the base may change at once again. The drift stays, since the clocks are
    /// the same.
    pub(super) fn restart(&mut self) {
        self.free = true;
        self.typical = 0.0;
        self.forget();
    }

    /// Discards the drift and the offset: a wrong clock measured them.
    pub(super) fn distrust(&mut self) {
        (self.drift, self.fitted, self.typical) = (0.0, 0.0, 0.0);
        self.forget();
    }

    /// Whether the base may still change at once.
    pub(super) fn is_free(&self) -> bool {
        self.free
    }

    fn forget(&mut self) {
        self.window = None;
        self.line = None;
        self.pull = 0.0;
    }

    /// Adds the transit time of a packet. `delay`: a transit time that exceeds the base by more is
    /// late.
    pub(super) fn sample(&mut self, arrived: i64, transit: i64, delay: i64) {
        let transit = transit as f64;
        self.advance(arrived);
        if self.free && transit < self.value {
            self.value = transit;
        }
        self.typical += ((transit - self.value).max(0.0) - self.typical) * TYPICAL_GAIN;
        let new = Window { since: arrived, samples: 0, min: transit, min_at: arrived, max: transit };
        let window = self.window.get_or_insert(new);
        window.samples += 1;
        window.max = window.max.max(transit);
        if transit < window.min {
            (window.min, window.min_at) = (transit, arrived);
        }
        let lasted = arrived - window.since;
        let enough = lasted >= nanos(CLOCK_WINDOW) && window.samples >= CLOCK_WINDOW_SAMPLES;
        if enough || lasted >= nanos(CLOCK_WINDOW_MAX) {
            let window = *window;
            self.window = None;
            self.close(window, arrived, delay as f64);
        }
    }

    fn advance(&mut self, now: i64) {
        if now > self.since {
            self.value += (now - self.since) as f64 * (self.drift + self.pull);
            self.since = now;
        }
    }

    fn close(&mut self, window: Window, now: i64, delay: f64) {
        if window.min > self.value + delay || window.max < self.value - nanos(CLOCK_STEP) as f64 {
            // All packets are late, or far too early: the path has changed, or a clock was set.
            self.forget();
            self.value = window.min;
            return;
        }
        let line = self.fit(&window);
        self.line = Some(line);
        let error = line.value + self.drift * (now - line.at) as f64 - self.value;
        self.pull = (error / PULL_TIME / 1e9).clamp(-CLOCK_PULL_MAX, CLOCK_PULL_MAX);
    }

    /// Fits the line to one more minimum. The gains are those of a least-squares fit; they stop
    /// falling at a number of minima that grows with the scatter.
    fn fit(&mut self, window: &Window) -> Line {
        let Some(line) = self.line else {
            return Line { value: window.min, at: window.min_at, count: 1.0, scatter: 0.0 };
        };
        let after = (window.min_at - line.at) as f64;
        let predicted = line.value + self.drift * after;
        let off = window.min - predicted;
        let scatter = line.scatter + (off.abs() - line.scatter) * SCATTER_GAIN;
        let most = (CLOCK_FIT_MIN * (1.0 + scatter / 1e6)).min(CLOCK_FIT_MAX);
        let count = (line.count + 1.0).min(most);
        self.fitted = (self.fitted + 1.0).clamp(count, most.max(count));
        let phase = 2.0 * (2.0 * count - 1.0) / (count * (count + 1.0));
        let rate = 6.0 / (self.fitted * (self.fitted + 1.0));
        let change = rate * off / after.max(nanos(CLOCK_WINDOW) as f64);
        self.drift = (self.drift + change).clamp(-CLOCK_DRIFT_MAX, CLOCK_DRIFT_MAX);
        Line { value: predicted + phase * off, at: window.min_at, count, scatter }
    }
}
