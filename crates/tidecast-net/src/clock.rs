//! The only place that reads a clock. The core gets time as an argument; the I/O shell reads it
//! here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock.
#[allow(clippy::disallowed_methods)] // the one allowed site
pub fn now() -> Instant {
    Instant::now()
}

/// The wall clock, as the time since the Unix epoch.
#[allow(clippy::disallowed_methods)] // the one allowed site
pub fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The wall clock in microseconds since the Unix epoch, as native datagrams carry it.
pub fn unix_micros() -> u64 {
    u64::try_from(unix().as_micros()).unwrap_or(u64::MAX)
}

/// Both clocks read together, to translate kernel time stamps (wall clock) into [`Instant`]s.
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

    /// The instant of a wall-clock stamp, never later than this pair's own reading and never
    /// earlier than `floor`, so that a stepped wall clock cannot move arrivals into the future or
    /// far into the past.
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
