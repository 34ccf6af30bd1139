//! Measures undescribed clock rates of RTP timestamps: the slope of a straight line through the
//! arrivals over the timestamps, and its error. A rate that is not clearly one of the usual ones
//! stays unknown.

use crate::limits::{
    PAYLOAD_TYPES_MEASURED, RATE_CHECK_LONGEST, RATE_GUESS_AFTER, RATE_OFF_MAX, RATE_PACKETS_MIN,
    RATE_STANDARD_ERRORS,
};

/// Clock rates of RTP payload formats: those of audio, and 90 kHz for video.
pub const RATES: [u32; 18] = [
    8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 90_000, 96_000,
    128_000, 176_400, 192_000, 352_800, 384_000,
];

const _: () = {
    let mut place = 1;
    while place < RATES.len() {
        let ratio = RATES[place] as f64 / RATES[place - 1] as f64;
        assert!(ratio > 1.0 + 2.0 * RATE_OFF_MAX);
        place += 1;
    }
};

/// A straight line through arrivals over timestamps (least squares), updated packet by packet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Line {
    /// Timestamp in ticks and arrival in nanoseconds of the first packet.
    first: Option<(i64, i64)>,
    lasted: i64,
    count: f64,
    /// Means relative to the first packet, and sums of squares and products about them; in ticks
    /// and seconds.
    ticks: f64,
    seconds: f64,
    ticks_ticks: f64,
    ticks_seconds: f64,
    seconds_seconds: f64,
}

impl Line {
    /// Adds a packet: its continuous timestamp, and its arrival in nanoseconds.
    pub fn push(&mut self, ticks: i64, arrived: i64) {
        let (from, since) = *self.first.get_or_insert((ticks, arrived));
        self.lasted = arrived.saturating_sub(since);
        let (x, y) = (ticks.saturating_sub(from) as f64, self.lasted as f64 * 1e-9);
        self.count += 1.0;
        let (dx, dy) = (x - self.ticks, y - self.seconds);
        self.ticks += dx / self.count;
        self.seconds += dy / self.count;
        self.ticks_ticks += dx * (x - self.ticks);
        self.ticks_seconds += dx * (y - self.seconds);
        self.seconds_seconds += dy * (y - self.seconds);
    }

    /// Nanoseconds from the first packet to the last.
    pub fn lasted(&self) -> i64 {
        self.lasted
    }

    /// The rate, if it is clearly one of [`RATES`].
    pub fn rate(&self) -> Option<u32> {
        if self.count < f64::from(RATE_PACKETS_MIN) || self.ticks_seconds <= 0.0 {
            return None;
        }
        let slope = self.ticks_seconds / self.ticks_ticks;
        let off_line = (self.seconds_seconds - slope * self.ticks_seconds).max(0.0) / (self.count - 2.0);
        let error = (off_line / self.ticks_ticks).sqrt() / slope;
        let clear = |rate: &u32| {
            let off = (1.0 / slope / f64::from(*rate) - 1.0).abs();
            off + RATE_STANDARD_ERRORS * error < RATE_OFF_MAX
        };
        RATES.into_iter().find(clear)
    }
}

/// Measured clocks of one flow's latest payload types, at most `PAYLOAD_TYPES_MEASURED`.
#[derive(Debug, Default)]
pub struct Clocks {
    /// The latest first.
    types: Vec<Clock>,
}

#[derive(Debug)]
struct Clock {
    payload_type: u8,
    rate: Option<u32>,
    line: Line,
    /// The last timestamp, and its distance from the first one.
    stamp: u32,
    ticks: i64,
    /// Arrival of the first packet. Senders start with a burst, so measuring starts later.
    begun: i64,
}

impl Clocks {
    /// Adds a packet; returns the rate of its payload type, once it is clear.
    pub fn rate(&mut self, payload_type: u8, stamp: u32, arrived: i64) -> Option<u32> {
        match self.types.iter().position(|clock| clock.payload_type == payload_type) {
            Some(place) => self.types[..=place].rotate_right(1),
            None => {
                self.types.truncate(PAYLOAD_TYPES_MEASURED - 1);
                let line = Line::default();
                let clock = Clock { payload_type, rate: None, line, stamp, ticks: 0, begun: arrived };
                self.types.insert(0, clock);
            }
        }
        self.types.first_mut().and_then(|clock| clock.rate(stamp, arrived))
    }
}

impl Clock {
    fn rate(&mut self, stamp: u32, arrived: i64) -> Option<u32> {
        let step = stamp.wrapping_sub(std::mem::replace(&mut self.stamp, stamp)) as i32;
        self.ticks += i64::from(step);
        let least = RATE_GUESS_AFTER.as_nanos() as i64;
        if self.rate.is_none() && arrived - self.begun >= least {
            self.line.push(self.ticks, arrived);
            if self.line.lasted() >= least {
                self.rate = self.line.rate();
            }
            if self.line.lasted() >= RATE_CHECK_LONGEST.as_nanos() as i64 {
                self.line = Line::default();
            }
        }
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// The rate found after `lasts` ms of a stream with packets of `packet` ms, each delayed by
    /// `late` ms.
    fn found(rate: f64, packet: f64, lasts: f64, late: impl Fn(i64) -> f64) -> Option<u32> {
        let mut line = Line::default();
        for n in 0..(lasts / packet) as i64 {
            let at = n as f64 * packet;
            line.push((at * rate / 1e3) as i64, ((at + late(n)) * 1e6) as i64);
        }
        line.rate()
    }

    #[test]
    fn every_rate_is_found_and_none_between() {
        for rate in RATES {
            for packet in [1.0, 5.0, 20.0] {
                let off = |off: f64| found(f64::from(rate) * (1.0 + off), packet, 2500.0, |_| 0.0);
                assert_eq!([0.0, 0.004, -0.004].map(off), [Some(rate); 3], "{rate}");
            }
        }
        for rate in [89_100.0, 70_000.0, 46_000.0, 3_000.0, 50.0] {
            assert_eq!(found(rate, 20.0, 2500.0, |_| 0.0), None, "{rate}");
        }
        assert_eq!(found(0.0, 20.0, 2500.0, |_| 0.0), None);
    }

    /// With 40 ms of jitter or bursts the measurement takes longer, but never finds a wrong rate.
    #[test]
    fn jitter_and_bursts_make_it_unsure_and_not_wrong() {
        let jitter = |n: i64| (n * 7919 % 41) as f64;
        let bursts = |n: i64| (12 - n % 13) as f64 * 20.0;
        for rate in [88_200, 90_000, 44_100, 48_000] {
            for lasts in 1..80 {
                for found in [
                    found(f64::from(rate), 20.0, f64::from(lasts) * 125.0, jitter),
                    found(f64::from(rate), 20.0, f64::from(lasts) * 125.0, bursts),
                ] {
                    assert!(found.is_none_or(|found| found == rate), "{found:?} for {rate} after {lasts}");
                }
            }
            assert_eq!(found(f64::from(rate), 20.0, 2500.0, jitter), Some(rate));
            assert_eq!(found(f64::from(rate), 20.0, 9900.0, bursts), Some(rate));
        }
    }

    #[test]
    fn payload_types_are_measured_side_by_side() {
        let mut clocks = Clocks::default();
        let mut rates = [None; 3];
        for n in 0..150_u32 {
            let at = i64::from(n) * 20 * MS;
            let begin = u32::MAX - 40_000; // it wraps
            rates[0] = clocks.rate(111, begin.wrapping_add(960 * n), at);
            rates[1] = clocks.rate(98, 441 * 4 * n, at);
            rates[2] = clocks.rate(101, 5, at);
        }
        assert_eq!(rates, [Some(48_000), Some(88_200), None]);
        for payload_type in 0..100 {
            clocks.rate(payload_type, 0, 0);
            assert!(clocks.types.len() <= PAYLOAD_TYPES_MEASURED);
        }
    }

    #[test]
    fn one_that_cannot_be_told_is_measured_again() {
        let mut clocks = Clocks::default();
        let mut found = None;
        for n in 0..1500_i64 {
            let ticks = if n < 600 { n * 2 } else { n * 160 };
            found = clocks.rate(100, ticks as u32, n * 20 * MS);
            assert!(n > 600 || found.is_none());
        }
        assert_eq!(found, Some(8_000));
    }
}
