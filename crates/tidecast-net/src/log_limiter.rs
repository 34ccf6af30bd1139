//! Limits the log lines about a lasting problem: the first is logged immediately and then one per
//! interval, so that the log keeps space for other lines.

use std::time::Instant;

use crate::limits::LOG_INTERVAL;

/// Limits the log lines about one kind of problem of one leg, output, listener or sender to one
/// line per [`LOG_INTERVAL`].
#[derive(Debug, Clone, Default)]
pub struct LogLimiter {
    quiet_until: Option<Instant>,
    suppressed: u64,
}

impl LogLimiter {
    /// Returns whether a line may be logged now, for callers that must first find out whether
    /// there is a problem.
    pub fn is_open(&self, now: Instant) -> bool {
        self.quiet_until.is_none_or(|until| now >= until)
    }

    /// Returns whether to log a line now. If so, no other may be logged for [`LOG_INTERVAL`].
    pub fn admits(&mut self, now: Instant) -> bool {
        self.admit(now).is_some()
    }

    /// Like [`LogLimiter::admits`], but returns the number of lines suppressed since the last
    /// logged line.
    pub fn admit(&mut self, now: Instant) -> Option<u64> {
        if !self.is_open(now) {
            self.suppressed += 1;
            return None;
        }
        self.quiet_until = Some(now + LOG_INTERVAL);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn what_lasts_is_logged_now_and_then() {
        let (mut limiter, now) = (LogLimiter::default(), clock::now());
        let tenths = (0..1000).map(|tenth| now + LOG_INTERVAL / 100 * tenth);
        let logged: Vec<u64> = tenths.filter_map(|now| limiter.admit(now)).collect();
        assert_eq!(logged, [0, 99, 99, 99, 99, 99, 99, 99, 99, 99]);
    }

    #[test]
    fn a_look_suppresses_nothing() {
        let (mut limiter, now) = (LogLimiter::default(), clock::now());
        assert!(limiter.is_open(now) && limiter.admits(now) && !limiter.is_open(now));
        assert_eq!(limiter.admit(now + LOG_INTERVAL), Some(0));
    }
}
