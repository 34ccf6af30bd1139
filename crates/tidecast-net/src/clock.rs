//! The only module that reads a clock. The core gets the time as an argument; the code that does
//! I/O reads it here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads the monotonic clock.
#[allow(clippy::disallowed_methods)] // the one allowed site
pub fn now() -> Instant {
    Instant::now()
}

/// Reads the wall clock, as the time since the Unix epoch.
#[allow(clippy::disallowed_methods)] // the one allowed site
pub fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Reads the wall clock in microseconds since the Unix epoch, the unit in native datagrams.
pub fn unix_micros() -> u64 {
    u64::try_from(unix().as_micros()).unwrap_or(u64::MAX)
}

/// Readings of both clocks at the same time, to convert kernel timestamps (wall clock) into
/// [`Instant`]s.
#[derive(Debug, Clone, Copy)]
pub struct ClockPair {
    /// The monotonic clock.
    pub monotonic: Instant,
    /// The wall clock, since the Unix epoch.
    pub wall: Duration,
}

impl ClockPair {
    /// Reads both clocks now.
    pub fn read() -> ClockPair {
        ClockPair { monotonic: now(), wall: unix() }
    }

    /// Converts a wall-clock timestamp to an instant, not later than this pair's own reading and
    /// not earlier than `floor`, so that a step of the wall clock cannot move arrival times into
    /// the future or far into the past.
    pub fn instant_of(&self, stamp: Duration, floor: Instant) -> Instant {
        let age = self.wall.saturating_sub(stamp);
        self.monotonic.checked_sub(age).unwrap_or(floor).max(floor).min(self.monotonic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_map_between_floor_and_now() {
        let pair = ClockPair::read();
        let floor = pair.monotonic - Duration::from_millis(10);
        let at = |age_ms: i64| {
            let stamp = if age_ms >= 0 {
                pair.wall - Duration::from_millis(age_ms as u64)
            } else {
                pair.wall + Duration::from_millis(age_ms.unsigned_abs())
            };
            pair.instant_of(stamp, floor)
        };
        assert_eq!(at(4), pair.monotonic - Duration::from_millis(4));
        assert_eq!(at(1000), floor);
        assert_eq!(at(-5), pair.monotonic);
    }
}
