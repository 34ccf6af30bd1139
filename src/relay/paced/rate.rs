//! The clock rate of RTP time stamps: known for the static payload types (RFC 3551), otherwise the likely one that
//! the arrivals show. One that the arrivals contradict is given up.

use crate::{
    limits::{PACED_STEP, RATE_CHECK_LONGEST, RATE_CHECK_TIME, RATE_GUESS_AFTER, RATE_GUESS_TIME},
    wire::rtp::PayloadTypes,
};

use super::nanos;

/// The clock rates of RTP payload formats.
const RATES: [u32; 11] =
    [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 90_000, 96_000];
/// The most that a guess may be off: the nearest two are 6 % apart.
const GUESS_OFF: f64 = 0.03;
/// So much of the time that a rate was measured over may be the bursts of the sender.
const BURST: f64 = 300e6;

#[derive(Debug, Default)]
pub(super) struct Rate {
    known: Option<u32>,
    payload_type: Option<u8>,
    /// When the first packet came.
    begun: Option<i64>,
    /// Arrival and ticks of the first one that is measured from: senders begin with a burst.
    first: Option<(i64, i64)>,
    highest: i64,
    check: Check,
    /// The rate of the static type was a wrong one.
    refuted: bool,
}

impl Rate {
    pub(super) fn get(&self) -> Option<u32> {
        self.known
    }

    /// The rate, and whether the one before has turned out to be wrong.
    pub(super) fn learn(&mut self, payload_type: u8, ticks: i64, arrived: i64) -> (Option<u32>, bool) {
        if self.payload_type != Some(payload_type) {
            self.payload_type = Some(payload_type);
            let fixed = PayloadTypes::default().clock_rate(payload_type).filter(|_| !self.refuted);
            self.known = fixed.or(self.known);
        }
        let begun = *self.begun.get_or_insert(arrived);
        if arrived - begun < nanos(RATE_GUESS_AFTER) {
            return (self.known, false);
        }
        if let Some(rate) = self.known {
            let wrong = self.check.is_wrong(rate, ticks, arrived);
            if wrong {
                (self.known, self.first, self.refuted) = (None, None, true);
                self.check = Check::default();
            }
            return (self.known, wrong);
        }
        let (since, from) = *self.first.get_or_insert((arrived, ticks));
        self.highest = if ticks == from { ticks } else { self.highest.max(ticks) };
        let lasted = arrived - since;
        if lasted >= nanos(RATE_GUESS_TIME) {
            self.known = guess((self.highest - from) as f64 * 1e9 / lasted as f64);
            // Otherwise once more, from here.
            self.first = None;
        }
        (self.known, false)
    }
}

fn guess(measured: f64) -> Option<u32> {
    RATES.into_iter().find(|rate| (measured / f64::from(*rate) - 1.0).abs() < GUESS_OFF)
}

/// How long it took by the source's clock, and by ours.
#[derive(Debug, Clone, Copy, Default)]
struct Lasted {
    clock: f64,
    ours: f64,
}

impl Lasted {
    fn add(&mut self, clock: f64, ours: f64) {
        self.clock += clock;
        self.ours += ours;
    }

    fn is_off(&self) -> bool {
        let tolerance = GUESS_OFF + BURST / self.ours;
        self.ours >= nanos(RATE_CHECK_TIME) as f64 && (self.clock / self.ours - 1.0).abs() > tolerance
    }
}

/// Compares a rate with the arrivals.
#[derive(Debug, Default)]
struct Check {
    /// Arrival and ticks.
    last: Option<(i64, i64)>,
    all: Lasted,
    /// Without the steps that the clock and the arrivals make apart: jumps, and pauses in which the clock stands.
    steady: Lasted,
}

impl Check {
    /// With its bursts a sender is wrong between them, with pauses over them; with both, the rate is.
    fn is_wrong(&mut self, rate: u32, ticks: i64, arrived: i64) -> bool {
        let Some((before, from)) = self.last.replace((arrived, ticks)) else { return false };
        let (clock, ours) = ((ticks - from) as f64 * 1e9 / f64::from(rate), (arrived - before) as f64);
        self.all.add(clock, ours);
        if (clock - ours).abs() < nanos(PACED_STEP) as f64 {
            self.steady.add(clock, ours);
        }
        let wrong = self.all.is_off() && self.steady.is_off();
        if self.all.ours >= nanos(RATE_CHECK_LONGEST) as f64 {
            (self.all, self.steady) = (Lasted::default(), Lasted::default());
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_guessed_only_when_they_are_clear() {
        for rate in RATES {
            assert_eq!(guess(f64::from(rate) * 1.02), Some(rate));
            assert_eq!(guess(f64::from(rate) * 0.98), Some(rate));
        }
        assert_eq!(guess(70_000.0), None);
        assert_eq!(guess(0.0), None);
    }

    #[test]
    fn a_dynamic_type_needs_a_while() {
        let mut rate = Rate::default();
        let learnt: Vec<Option<u32>> =
            (0..200).map(|n| rate.learn(97, n * 960, n * 20_000_000 + n % 3 * 10_000_000).0).collect();
        assert_eq!((learnt[10], learnt[199]), (None, Some(48_000)));
        assert_eq!(Rate::default().learn(33, 0, 0), (Some(90_000), false));
        assert_eq!(Rate::default().learn(0, 0, 0), (Some(8_000), false));
    }

    /// Packets of type 0 (8 kHz), 20 ms apart, whose ticks and arrivals are made from their numbers.
    fn refuted(ticks: impl Fn(i64) -> i64, arrived: impl Fn(i64) -> i64) -> (Option<i64>, Option<u32>) {
        let mut rate = Rate::default();
        let wrong = (0..1000).filter(|n| rate.learn(0, ticks(*n), arrived(*n) * 1_000_000).1);
        (wrong.collect::<Vec<_>>().first().copied(), rate.get())
    }

    #[test]
    fn a_wrong_rate_is_given_up_soon() {
        let steady = |n| n * 20;
        let (when, then) = refuted(|n| n * 320, steady);
        assert!(when.is_some_and(|n| n < 100), "{when:?}");
        assert_eq!(then, Some(16_000));
        let (when, then) = refuted(|n| n * 80, steady);
        assert!(when.is_some_and(|n| n < 100), "{when:?}");
        assert_eq!(then, None);
    }

    #[test]
    fn a_right_rate_is_kept_in_bursts_pauses_and_jumps() {
        let steady = |n| n * 20;
        assert_eq!(refuted(|n| n * 160, |n| n / 13 * 260), (None, Some(8_000)), "bursts");
        assert_eq!(
            refuted(|n| n * 160, |n| n * 20 + n / 150 * 2000),
            (None, Some(8_000)),
            "stands in pauses"
        );
        assert_eq!(refuted(|n| n * 160 + n / 50 * 2400, steady), (None, Some(8_000)), "jumps");
        let pauses = |n: i64| n * 20 + n / 150 * 2000;
        assert_eq!(refuted(|n| n * 160 + n / 150 * 16_000, pauses), (None, Some(8_000)), "goes on in pauses");
    }
}
