//! How the source's clock stands to ours: the smallest transit time, and how fast it changes.
//!
//! The transit time of a packet (arrival minus source time) is never below that of the fastest
//! path, and jitter only adds to it; so the smallest of a while is where the clocks stand to each
//! other (RFC 5905, section 10, picks its samples so). A straight line is fitted to these minima,
//! over a longer time the more they scatter; its slope is the drift. What packets leave by follows
//! that line slowly, so that receivers hardly see it.

use crate::limits::{
    CLOCK_DRIFT_MAX, CLOCK_FIT_MAX, CLOCK_FIT_MIN, CLOCK_PULL_MAX, CLOCK_STEP, CLOCK_WINDOW,
    CLOCK_WINDOW_MAX, CLOCK_WINDOW_SAMPLES,
};

use super::nanos;

/// Seconds in which the base would reach the line.
const PULL_TIME: f64 = 4.0;
/// Of the average excess over the base, and of the average scatter of the minima.
const TYPICAL_GAIN: f64 = 1.0 / 64.0;
const SCATTER_GAIN: f64 = 1.0 / 16.0;

/// Smallest and largest transit time of a while.
#[derive(Debug, Clone, Copy)]
struct Window {
    since: i64,
    samples: u32,
    min: f64,
    min_at: i64,
    max: f64,
}

/// A straight line through the minima, with the drift for its slope.
#[derive(Debug, Clone, Copy)]
struct Line {
    value: f64,
    at: i64,
    /// Minima that it was fitted to.
    count: f64,
    /// How far they are off it, on average.
    scatter: f64,
}

/// What transit times are measured from.
#[derive(Debug)]
pub(super) struct Base {
    /// At `since`, in nanoseconds.
    value: f64,
    since: i64,
    /// Its change per time by the clocks' rates, and what pulls it to the line.
    drift: f64,
    pull: f64,
    /// Minima that the drift was fitted to.
    fitted: f64,
    /// Nothing has left yet that a change would disturb.
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

    /// The change of transit times per time.
    pub(super) fn drift(&self) -> f64 {
        self.drift
    }

    /// The usual excess of a packet over the base; none while the start is still sought.
    pub(super) fn typical(&self) -> i64 {
        if self.free { 0 } else { self.typical as i64 }
    }

    /// The first packet leaves: from here on the base moves slowly.
    pub(super) fn hold_still(&mut self) {
        self.free = false;
    }

    /// Nothing waits to leave: the start may be sought anew. The clocks' rates are as they were.
    pub(super) fn restart(&mut self) {
        self.free = true;
        self.typical = 0.0;
        self.forget();
    }

    /// What was measured so far was measured by a wrong clock.
    pub(super) fn distrust(&mut self) {
        (self.drift, self.fitted, self.typical) = (0.0, 0.0, 0.0);
        self.forget();
    }

    /// Whether the start is still sought.
    pub(super) fn is_free(&self) -> bool {
        self.free
    }

    fn forget(&mut self) {
        self.window = None;
        self.line = None;
        self.pull = 0.0;
    }

    /// A packet's transit time. `delay`: when one is so much above the base, it is late.
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
            // All are late, or far too early: the path is another one, or the clock was set.
            self.forget();
            self.value = window.min;
            return;
        }
        let line = self.fit(&window);
        self.line = Some(line);
        let error = line.value + self.drift * (now - line.at) as f64 - self.value;
        self.pull = (error / PULL_TIME / 1e9).clamp(-CLOCK_PULL_MAX, CLOCK_PULL_MAX);
    }

    /// The line with one more minimum. The gains are those of a least-squares fit, down to those of
    /// as many minima as their scatter asks for.
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
