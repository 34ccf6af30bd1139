//! A time counter read from packets, made continuous: undoes wraps, and reports whether the counter
//! still runs.

use crate::limits::{PACED_CLOCK_SILENT, PACED_CLOCK_STANDS, PACED_PAUSE};

use super::nanos;

/// Largest step in ticks: 36 years of microseconds.
const STEP_MAX: i64 = 1 << 50;
/// Number of intervals between two moves that are stored. The second longest is taken as the usual
/// one, because the longest may be a single pause.
const INTERVALS: usize = 4;

#[derive(Debug)]
pub(super) struct Counter {
    last: Option<u64>,
    total: i64,
    /// When the last packet came, whether the counter moved or not.
    seen: Option<i64>,
    /// Time during which packets have come since the last move; a pause between packets counts up
    /// to a limit.
    still: i64,
    intervals: [i64; INTERVALS],
}

impl Default for Counter {
    fn default() -> Counter {
        // Starts with the longest interval, so that a slow counter is not taken for a stopped one.
        let intervals = [nanos(PACED_CLOCK_SILENT); INTERVALS];
        Counter { last: None, total: 0, seen: None, still: 0, intervals }
    }
}

impl Counter {
    /// A packet of the source has come, with or without a value.
    pub(super) fn pass(&mut self, arrived: i64) {
        let pause = arrived - self.seen.unwrap_or(arrived);
        self.still += pause.clamp(0, nanos(PACED_PAUSE));
        self.seen = Some(arrived.max(self.seen.unwrap_or(arrived)));
    }

    /// Continuous value; `None` if the counter did not move. A `modulus` of 0 means 2^64.
    pub(super) fn next(&mut self, value: u64, modulus: u64) -> Option<i64> {
        let Some(last) = self.last.replace(value) else {
            self.still = 0;
            return Some(self.total);
        };
        let ahead = value.wrapping_sub(last);
        let step = match modulus {
            0 => ahead as i64,
            modulus => {
                let ahead = (value + modulus - last) % modulus;
                if ahead < modulus / 2 { ahead as i64 } else { -((modulus - ahead) as i64) }
            }
        };
        if step == 0 {
            return None;
        }
        self.intervals.rotate_left(1);
        self.intervals[INTERVALS - 1] = std::mem::take(&mut self.still);
        // No clock makes a larger step, so its exact size does not matter.
        self.total = self.total.wrapping_add(step.clamp(-STEP_MAX, STEP_MAX));
        Some(self.total)
    }

    /// Whether the counter still moves as often as usual.
    pub(super) fn is_alive(&self) -> bool {
        self.last.is_some() && self.still < self.patience()
    }

    fn patience(&self) -> i64 {
        let (mut longest, mut usual) = (0, 0);
        for interval in self.intervals {
            usual = usual.max(interval.min(longest));
            longest = longest.max(interval);
        }
        (2 * usual).clamp(nanos(PACED_CLOCK_STANDS), nanos(PACED_CLOCK_SILENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidecast_wire::ts::Pcr;

    const MS: i64 = 1_000_000;

    #[test]
    fn counters_wrap_both_ways() {
        let mut counter = Counter::default();
        let values = [u32::MAX - 1, u32::MAX - 1, 1, u32::MAX, 100];
        let totals: Vec<Option<i64>> =
            values.iter().map(|value| counter.next(u64::from(*value), 1 << 32)).collect();
        assert_eq!(totals, [Some(0), None, Some(3), Some(1), Some(102)]);
        let mut pcr = Counter::default();
        assert_eq!(pcr.next(Pcr::WRAP - 1, Pcr::WRAP), Some(0));
        assert_eq!(pcr.next(5, Pcr::WRAP), Some(6));
        let mut micros = Counter::default();
        assert_eq!(micros.next(1 << 60, 0), Some(0));
        assert_eq!(micros.next(5, 0), Some(-STEP_MAX));
    }

    /// Runs a counter that moves every `moves` packets, 10 ms apart; returns how long it counts as
    /// alive afterwards.
    fn alive_for(moves: u64, packets: u64) -> i64 {
        let mut counter = Counter::default();
        let mut at = 0;
        for packet in 0..moves * packets {
            counter.pass(at);
            if packet.is_multiple_of(packets) {
                counter.next(1 + packet, 0);
            }
            assert!(counter.is_alive());
            at += 10 * MS;
        }
        let stood = at - packets as i64 * 10 * MS;
        loop {
            counter.pass(at);
            if !counter.is_alive() {
                return at - stood;
            }
            at += 10 * MS;
        }
    }

    #[test]
    fn it_stands_when_it_takes_twice_its_time() {
        assert_eq!(alive_for(100, 4), nanos(PACED_CLOCK_STANDS));
        assert_eq!(alive_for(100, 50), 1000 * MS);
        assert_eq!(alive_for(1, 4), nanos(PACED_CLOCK_SILENT));
    }

    #[test]
    fn a_pause_of_the_packets_is_none_of_the_counter() {
        let mut counter = Counter::default();
        for packet in 0..10 {
            counter.pass(packet * 40 * MS);
            counter.next(1 + packet as u64, 0);
        }
        counter.pass(5000 * MS);
        assert!(counter.is_alive());
        for packet in 1..20 {
            counter.pass(5000 * MS + packet * 10 * MS);
        }
        assert!(!counter.is_alive());
    }
}
