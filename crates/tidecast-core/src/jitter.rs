//! Interarrival jitter (RFC 3550, section 6.4.1), for the core and for `probe`: one estimate in
//! seconds, independent of the clock rate. [`StampClock`] gives the clock rate of RTP timestamps,
//! and [`rates`] measures it if it is not described.
//!
//! Pure: arrivals are plain numbers.

use std::time::Duration;

use crate::limits::{JITTER_CLOCK_STEP, JITTER_GAIN};

mod clock;
pub mod rates;

pub use clock::StampClock;

/// Ticks per second of timestamps in microseconds.
pub const MICROSECONDS: u32 = 1_000_000;

/// Average absolute deviation, smoothed with the gain of RFC 3550 (appendix A.8); in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deviation(f64);

impl Deviation {
    /// Adds one deviation, in either direction.
    #[inline]
    pub fn push(&mut self, seconds: f64) {
        self.0 += (seconds.abs() - self.0) * JITTER_GAIN;
    }

    /// The smoothed deviation; zero before the first one.
    pub fn seconds(self) -> f64 {
        self.0
    }
}

/// Jitter estimate of one flow.
#[derive(Debug, Clone, Copy)]
pub struct Jitter {
    /// Arrival minus timestamp of the last packet, in seconds; NaN before the first one.
    transit: f64,
    deviation: Deviation,
    /// Clock rate of that packet.
    rate: u32,
    measured: bool,
}

impl Default for Jitter {
    fn default() -> Jitter {
        Jitter { transit: f64::NAN, deviation: Deviation::default(), rate: 0, measured: false }
    }
}

impl Jitter {
    /// Adds a packet: `arrived` in seconds on any fixed scale, the timestamp in ticks, and its
    /// clock rate, not 0.
    #[inline]
    pub fn update(&mut self, arrived: f64, ticks: u64, rate: u32) {
        let transit = arrived - ticks as f64 / f64::from(rate);
        let difference = transit - self.transit;
        // A clock that was set or has wrapped is not jitter, and neither is the first packet of
        // another clock.
        if difference.abs() < JITTER_CLOCK_STEP && rate == self.rate {
            self.deviation.push(difference);
            self.measured = true;
        }
        (self.transit, self.rate) = (transit, rate);
    }

    /// The sender's clock in seconds at `arrived`, extrapolated from the last packet; `None`
    /// before the first one.
    pub fn stamped(&self, arrived: f64) -> Option<f64> {
        Some(arrived - self.transit).filter(|stamped| !stamped.is_nan())
    }

    /// The estimate; `None` before two packets of one clock.
    pub fn estimate(&self) -> Option<Duration> {
        self.measured.then(|| self.value())
    }

    /// The estimate, or zero.
    pub fn value(&self) -> Duration {
        Duration::from_secs_f64(self.deviation.seconds())
    }

    /// Starts a new session with a new clock; keeps the estimate.
    pub fn restart(&mut self) {
        self.transit = f64::NAN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_formula_of_rfc_3550() {
        let mut jitter = Jitter::default();
        let mut model = 0.0;
        let arrivals = [0.000, 0.021, 0.040, 0.066, 0.080];
        for (i, a) in arrivals.iter().enumerate() {
            jitter.update(*a, 160 * i as u64, 8_000);
            if i > 0 {
                let d: f64 = (a - arrivals[i - 1]) - 0.02;
                model += (d.abs() - model) / 16.0;
            }
        }
        assert!((jitter.value().as_secs_f64() - model).abs() < 1e-9);
        assert!(model > 0.0);
    }

    #[test]
    fn steady_packets_have_none_and_alternating_ones_what_they_vary_by() {
        let (mut steady, mut uneven) = (Jitter::default(), Jitter::default());
        assert_eq!((steady.estimate(), steady.stamped(1.0)), (None, None));
        for i in 0..400_u32 {
            let at = f64::from(i) * 0.010;
            let stamp = u64::from((u32::MAX - 90_000).wrapping_add(900 * i));
            steady.update(at, stamp, 90_000);
            uneven.update(at + 0.004 * f64::from(i & 1), stamp, 90_000);
        }
        assert!(steady.estimate().unwrap() < Duration::from_micros(1));
        let uneven = uneven.estimate().unwrap().as_secs_f64();
        assert!((uneven - 0.004).abs() < 1e-5, "{uneven}");
    }

    #[test]
    fn another_clock_is_no_jitter() {
        let mut jitter = Jitter::default();
        for i in 0..400_u64 {
            let (stamp, rate) = if i < 200 { (160 * i, 8_000) } else { (32_000 + 960 * i, 48_000) };
            jitter.update(i as f64 * 0.020, stamp, rate);
        }
        assert!(jitter.value() < Duration::from_micros(1), "{jitter:?}");
    }
}
