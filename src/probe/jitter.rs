//! Interarrival jitter (RFC 3550 section A.8), also for payload types whose clock is not known beforehand.

use std::time::{Duration, Instant};

use crate::limits::{JITTER_GAIN, RATE_GUESS_AFTER};

/// Clock rates that RTP payloads use (RFC 3551 and common dynamic types).
const RATES: [f64; 9] =
    [8_000.0, 16_000.0, 22_050.0, 24_000.0, 32_000.0, 44_100.0, 48_000.0, 90_000.0, 96_000.0];
/// Microseconds, as native datagrams count.
pub(super) const MICROSECONDS: f64 = 1e6;

/// How much the spacing of packets varies against their time stamps.
#[derive(Debug, Default)]
pub(super) struct Jitter {
    rate: Option<f64>,
    first: Option<(Instant, u64)>,
    last: Option<(Instant, u64)>,
    seconds: f64,
    measured: bool,
}

impl Jitter {
    /// Of a clock with this rate.
    pub(super) fn with_rate(rate: f64) -> Jitter {
        Jitter { rate: Some(rate), ..Jitter::default() }
    }

    /// Of an RTP payload type (RFC 3551 section 6).
    pub(super) fn of_payload_type(payload_type: u8) -> Jitter {
        match payload_type {
            0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => Jitter::with_rate(8_000.0),
            6 => Jitter::with_rate(16_000.0),
            16 => Jitter::with_rate(11_025.0),
            17 => Jitter::with_rate(22_050.0),
            10 | 11 => Jitter::with_rate(44_100.0),
            14 | 25 | 26 | 28 | 31..=34 => Jitter::with_rate(90_000.0),
            _ => Jitter::default(),
        }
    }

    /// A packet with its time stamp, of `bits` bits, in the order of arrival.
    pub(super) fn push(&mut self, now: Instant, stamp: u64, bits: u32) {
        let Some((last_at, last_stamp)) = self.last.replace((now, stamp)) else {
            self.first = Some((now, stamp));
            return;
        };
        let Some(rate) = self.rate else { return self.guess(now, stamp, bits) };
        let stamps = steps(last_stamp, stamp, bits) / rate;
        if stamps.abs() > 10.0 {
            return; // another clock
        }
        let transit = (seconds(last_at, now) - stamps).abs();
        self.seconds += (transit - self.seconds) * JITTER_GAIN;
        self.measured = true;
    }

    /// The clock's rate from half a second of it, to the nearest that is in use.
    fn guess(&mut self, now: Instant, stamp: u64, bits: u32) {
        let Some((first_at, first_stamp)) = self.first else { return };
        if now.saturating_duration_since(first_at) < RATE_GUESS_AFTER {
            return;
        }
        let measured = steps(first_stamp, stamp, bits) / seconds(first_at, now);
        let ratio = |rate: &f64| (measured.max(1.0) / rate).ln().abs();
        self.rate = RATES.into_iter().min_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    }

    /// The clock, per second; none yet.
    pub(super) fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// The estimate; none before the clock is known.
    pub(super) fn estimate(&self) -> Option<Duration> {
        self.measured.then(|| Duration::from_secs_f64(self.seconds))
    }
}

/// Ticks from one stamp to another, by the shorter way.
fn steps(from: u64, to: u64, bits: u32) -> f64 {
    let unused = 64 - bits;
    ((to.wrapping_sub(from) << unused) as i64 >> unused) as f64
}

fn seconds(from: Instant, to: Instant) -> f64 {
    match to.checked_duration_since(from) {
        Some(after) => after.as_secs_f64(),
        None => -from.duration_since(to).as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn steady_packets_have_none_and_alternating_ones_what_they_vary_by() {
        let start = clock::now();
        let (mut steady, mut uneven) = (Jitter::of_payload_type(33), Jitter::of_payload_type(33));
        for i in 0..400u64 {
            let at = start + Duration::from_millis(10 * i);
            let stamp = (u64::from(u32::MAX - 90_000) + 900 * i) & u64::from(u32::MAX); // it wraps
            steady.push(at, stamp, 32);
            uneven.push(at + Duration::from_millis(4 * (i & 1)), stamp, 32);
        }
        assert!(steady.estimate().unwrap() < Duration::from_micros(1));
        let uneven = uneven.estimate().unwrap().as_secs_f64();
        assert!((uneven - 0.004).abs() < 1e-5, "{uneven}");
    }

    #[test]
    fn the_clock_of_a_dynamic_type_is_found() {
        for rate in RATES {
            let start = clock::now();
            let mut jitter = Jitter::of_payload_type(96);
            for i in 0..100u64 {
                let late = Duration::from_millis(i % 3);
                jitter.push(start + Duration::from_millis(20 * i) + late, (rate * 0.02) as u64 * i, 32);
            }
            assert_eq!(jitter.rate(), Some(rate));
            assert!(jitter.estimate().unwrap() < Duration::from_millis(3));
        }
        assert_eq!(Jitter::of_payload_type(96).estimate(), None);
    }
}
