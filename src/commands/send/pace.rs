//! When each datagram is due: fixed rates, and the time line that turns due times into instants.
//!
//! Pure: no clock and no I/O. Sources cut by [`super::pcr`] or at a [`Rate`] give each datagram a
//! due time since the start; a [`Timeline`] turns it into an instant, and handles stalls.

use std::time::{Duration, Instant};

use crate::limits::PACE_CATCH_UP_MAX;
use tidecast_net::units::Rate;

/// Gives datagrams of any size their due times at a fixed [`Rate`].
#[derive(Debug, Clone)]
pub struct RatePacer {
    rate: Rate,
    bits: u64,
    datagrams: u64,
}

impl RatePacer {
    /// A pacer whose first datagram is due at once.
    pub fn new(rate: Rate) -> RatePacer {
        RatePacer { rate, bits: 0, datagrams: 0 }
    }

    /// When the next datagram, of `bytes` bytes, is due, since the start.
    pub fn due(&mut self, bytes: usize) -> Duration {
        let seconds = match self.rate {
            Rate::Bits(rate) => self.bits as f64 / rate,
            Rate::Packets(rate) => self.datagrams as f64 / rate,
        };
        let due = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        self.bits += bytes as u64 * 8;
        self.datagrams += 1;
        due
    }
}

/// Turns due times since the start into instants, and never lets a late source catch up in one long
/// burst.
#[derive(Debug, Clone)]
pub struct Timeline {
    start: Instant,
}

impl Timeline {
    /// A time line that starts at this instant.
    pub fn new(start: Instant) -> Timeline {
        Timeline { start }
    }

    /// The instant for something that is due `at` after the start; `None` if it cannot be
    /// represented.
    pub fn instant(&self, at: Duration) -> Option<Instant> {
        self.start.checked_add(at)
    }

    /// Call it before something that was due `at` is sent at `now`. If it is later than
    /// [`PACE_CATCH_UP_MAX`], the time line moves so that no more than that is caught up; returns
    /// by how much it moved.
    pub fn settle(&mut self, at: Duration, now: Instant) -> Duration {
        let late = self.instant(at).map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        let moved = late.saturating_sub(PACE_CATCH_UP_MAX);
        self.start += moved;
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_rate_spaces_datagrams_by_what_was_sent_before() {
        let mut bits = RatePacer::new(Rate::Bits(8_000.0));
        let due: Vec<_> = [1000, 500, 250].map(|bytes| bits.due(bytes).as_millis()).to_vec();
        assert_eq!(due, [0, 1000, 1500]);
        let mut packets = RatePacer::new(Rate::Packets(4.0));
        let due: Vec<_> = [1000, 1, 7].map(|bytes| packets.due(bytes).as_millis()).to_vec();
        assert_eq!(due, [0, 250, 500]);
    }

    #[test]
    fn a_long_run_does_not_drift() {
        let mut pacer = RatePacer::new(Rate::Bits(7_777_777.0));
        let last = (0..1_000_000).map(|_| pacer.due(1316)).last().expect("a million due times");
        let exact = 999_999.0 * 1316.0 * 8.0 / 7_777_777.0;
        assert!((last.as_secs_f64() - exact).abs() < 1e-6);
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // any instant will do
    fn after_a_stall_only_a_bounded_time_is_caught_up() {
        let start = Instant::now();
        let mut line = Timeline::new(start);
        let mut pacer = RatePacer::new(Rate::Packets(100.0));
        let mut sent_at_resume = 0;
        let resume = start + Duration::from_secs(60);
        let mut moved = Duration::ZERO;
        loop {
            let at = pacer.due(100);
            // The process was asleep from the start until `resume`.
            moved += line.settle(at, resume);
            if line.instant(at).expect("within time") > resume {
                break;
            }
            sent_at_resume += 1;
        }
        let allowed = (PACE_CATCH_UP_MAX.as_secs_f64() * 100.0) as u32 + 1;
        assert_eq!(sent_at_resume, allowed, "a burst of {allowed}, not of 6,000");
        assert_eq!(moved, Duration::from_secs(60) - PACE_CATCH_UP_MAX);
    }

    #[test]
    #[allow(clippy::disallowed_methods)] // any instant will do
    fn being_a_little_late_moves_nothing() {
        let start = Instant::now();
        let mut line = Timeline::new(start);
        let at = Duration::from_secs(1);
        assert_eq!(line.settle(at, start + at + PACE_CATCH_UP_MAX), Duration::ZERO);
        assert_eq!(line.instant(at), Some(start + at));
    }
}
