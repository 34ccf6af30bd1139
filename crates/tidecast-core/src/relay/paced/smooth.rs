//! Smoothed arrivals, for packets that carry no time but come at a steady rate.
//!
//! A straight line is fitted to the arrivals, ever more slowly, until it follows about the last
//! hundred (an alpha-beta filter). An arrival far off the line starts a new one. Readings that
//! come occasionally always do, so such packets go out as they came.

use crate::limits::SMOOTH_OFF_MAX;

use super::nanos;

/// Number of packets after which the gains of the line stop falling.
const STEADY: f64 = 128.0;

#[derive(Debug, Default)]
pub(super) struct Smooth {
    /// The last packet's time on the line, and the line's slope in nanoseconds per packet.
    line: Option<(f64, f64)>,
    count: f64,
}

impl Smooth {
    /// Continues from a packet at `time`, at a known rate.
    pub(super) fn lead(&mut self, time: i64, period: f64) {
        self.line = Some((time as f64, period));
        self.count = STEADY / 2.0;
    }

    /// Time on the line of the packet that comes `packets` after the last one.
    pub(super) fn ahead(&self, packets: i64) -> Option<i64> {
        self.line.map(|(time, period)| (time + period * packets as f64) as i64)
    }

    /// Continues the line without using the arrival, across the missing packets.
    pub(super) fn go_on(&mut self, missing: i64) {
        if let Some((time, period)) = &mut self.line {
            *time += *period * (missing + 1) as f64;
        }
    }

    /// Moves all times on the line.
    pub(super) fn move_by(&mut self, by: i64) {
        if let Some((time, _)) = &mut self.line {
            *time += by as f64;
        }
    }

    /// Discards the line.
    pub(super) fn forget(&mut self) {
        *self = Smooth::default();
    }

    /// Whether the line is based on many packets.
    pub(super) fn is_steady(&self) -> bool {
        self.count >= STEADY / 8.0
    }

    /// Time of the next packet after `missing` packets. `true` if it starts a new line.
    pub(super) fn next(&mut self, arrived: i64, missing: i64) -> (i64, bool) {
        let steps = (missing + 1) as f64;
        let fitted = self.line.and_then(|(time, period)| self.fit(time, period, arrived as f64, steps));
        if fitted.is_none() {
            self.count = 1.0;
        }
        let line = fitted.unwrap_or((arrived as f64, 0.0));
        self.line = Some(line);
        (line.0 as i64, fitted.is_none())
    }

    fn fit(&mut self, time: f64, period: f64, arrived: f64, steps: f64) -> Option<(f64, f64)> {
        let predicted = time + period * steps;
        let off = arrived - predicted;
        if off.abs() > nanos(SMOOTH_OFF_MAX) as f64 {
            return None;
        }
        self.count = (self.count + 1.0).min(STEADY);
        let n = self.count;
        // The gains of a least-squares fit to n points.
        let (phase, rate) = (2.0 * (2.0 * n - 1.0) / (n * (n + 1.0)), 6.0 / (n * (n + 1.0)));
        Some((predicted + phase * off, (period + rate * off / steps).max(0.0)))
    }
}
